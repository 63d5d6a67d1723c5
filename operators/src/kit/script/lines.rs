//! What a play is made of: messages and what sources say, epoch by epoch.

use crate::ack::InputIx;
use crate::record::Partition;
use crate::spec::InputSpec;
use crate::time::EventTime;

/// A partition of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The input.
    pub input: InputIx,
    /// Its partition.
    pub partition: Partition,
}

/// What happens in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message.
    Message {
        /// Where it comes from.
        source: Source,
        /// Its value; `None` is a tombstone.
        value: Option<Vec<u8>>,
        /// Its time stamp in milliseconds.
        timestamp_ms: Option<i64>,
    },
    /// What its source says of a partition at the end of the epoch.
    Flags {
        /// The partition.
        source: Source,
        /// What is said.
        flags: Flags,
    },
}

impl Item {
    /// The partition that it is about.
    pub fn source(&self) -> Source {
        match self {
            Item::Message { source, .. } | Item::Flags { source, .. } => *source,
        }
    }
}

/// What a source says of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// For how long it has been idle, in milliseconds.
    pub idle_ms: Option<u64>,
    /// It wakes, or is new: it sends nothing in this epoch.
    pub joining: bool,
    /// It was read to its end for good.
    pub ended: bool,
}

/// One epoch.
pub type Line = Vec<Item>;

/// An input of a play.
#[derive(Clone, Debug)]
pub struct PlayInput {
    /// The input.
    pub spec: InputSpec,
    /// How many partitions it has.
    pub partitions: u32,
}

/// Messages of some inputs, epoch by epoch. A run drains after the last line.
#[derive(Clone, Debug)]
pub struct Play {
    /// The inputs.
    pub inputs: Vec<PlayInput>,
    /// The epochs; the first one is epoch 1.
    pub lines: Vec<Line>,
    /// After how long idleness of all partitions flushes, in milliseconds; `None` is never.
    pub flush_ms: Option<u64>,
}

/// Days that a person unseals, and the committed rows that the run is given for them.
#[derive(Clone, Debug, Default)]
pub struct Unsealing {
    /// The first instants of the days.
    pub days: Vec<EventTime>,
    /// The output that has the rows.
    pub output: &'static str,
    /// The names of its columns.
    pub columns: Vec<String>,
    /// The cells of each row.
    pub rows: Vec<Vec<String>>,
}
