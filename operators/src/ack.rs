//! What operators and sinks report at the close of an epoch; the committer needs all of it before a manifest.
//!
//! Timely says when it has all: an ack travels at its epoch's time, so once the acks' frontier passes `e` no
//! worker can have anything left to say about `e`.

use crate::error::Reason;
use crate::late_by::LateBy;
use crate::record::{LastRead, Offset, Partition, Refused};
use crate::state::Sections;
use crate::time::{Epoch, EventTime, Watermark};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of an input within its pipeline, in the order of [`crate::pipeline::Pipeline::inputs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputIx(pub u16);

impl InputIx {
    /// Its number, as the place of something in a list.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for InputIx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One thing that became true in an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ack {
    /// A worker's source ended the epoch for its partitions.
    Source {
        /// The input.
        input: InputIx,
        /// Whether what it sent counts as accepted; else one operator counts it, in [`Ack::Fates`].
        counts_accepted: bool,
        /// When the source began the epoch, by the wall clock of its host, in milliseconds since the Unix epoch.
        began_ms: i64,
        /// One for each partition the worker owns.
        partitions: Vec<PartitionAck>,
    },
    /// What a keyed operator did with the records of one partition.
    Fates {
        /// The input.
        input: InputIx,
        /// The partition.
        partition: Partition,
        /// Records that changed at least one open window.
        accepted: u64,
        /// Records that were all repeats.
        duplicate: u64,
        /// Records left out on purpose.
        filtered: u64,
    },
    /// The watermark of an input at this epoch (from worker 0).
    Watermark {
        /// The input.
        input: InputIx,
        /// `wm(e)`.
        watermark: Watermark,
        /// True once every partition has ended and all windows were closed.
        ended: bool,
        /// The floor every partition takes, where the input was flushed or ended in this epoch.
        flushed: Option<EventTime>,
    },
    /// `W_C` of a set of several inputs at this epoch (from worker 0).
    InputsWatermark {
        /// The inputs by number, rising.
        inputs: Vec<InputIx>,
        /// `W_C(e)`.
        watermark: Watermark,
    },
    /// What a keyed operator holds after the epoch.
    Held {
        /// The operator's name.
        operator: String,
        /// The worker.
        worker: u32,
        /// Entries in open state (identities and sums), on this worker. 0 says that nothing of its state is needed.
        entries: u64,
    },
    /// Records that an operator left out on purpose, for one reason. They were accepted: this is no fate.
    Dropped {
        /// The operator's name.
        operator: String,
        /// Why.
        reason: Reason,
        /// How many.
        records: u64,
    },
    /// How many records of a source break a rule. If the rule refuses them, they are dead letters, too.
    Broken {
        /// The rule.
        rule: String,
        /// How many.
        records: u64,
        /// One of them.
        sample: Option<Refused>,
    },
    /// A lake file, written and synced where no reader looks.
    Lake(StagedFile),
    /// A state file, written and synced.
    State(StateFile),
}

/// What one partition went through in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionAck {
    /// The partition.
    pub partition: Partition,
    /// The first offset that may have been read in this epoch.
    pub from: Offset,
    /// The next offset to read.
    pub next: Offset,
    /// The last record before that, where it was read in this run and its source has a way to know it again.
    pub last_read: Option<LastRead>,
    /// Newest event time decoded so far less lateness; [`EventTime::MIN`] if none.
    pub own: Watermark,
    /// The floor in force; [`EventTime::MIN`] if none.
    pub floor: Watermark,
    /// Read to its end, and nothing came for `idle_after`.
    pub idle: bool,
    /// First seen, or woken: it counts from the next epoch on.
    pub joining: bool,
    /// Read to its end for good.
    pub ended: bool,
    /// Records read.
    pub consumed: u64,
    /// Records sent on to the operators.
    pub sent: u64,
    /// Records refused as late.
    pub late: u64,
    /// How much lateness would have kept them.
    pub late_by: LateBy,
    /// Records that the decoder left out on purpose, and header lines of files.
    pub filtered: u64,
    /// Records refused as dead letters, by reason.
    pub dead: Vec<(Reason, u64)>,
    /// One of the dead letters of the epoch, for the message that stops a job.
    pub sample: Option<Refused>,
    /// The limit in the future that began in the epoch; `None` if no record without a time stamp was read, or the limit
    /// before holds on.
    pub limit: Option<Limit>,
    /// When this run last saw it have a record, or first saw it, by the wall clock; `None` if that is not known.
    pub quiet_since_ms: Option<i64>,
    /// Everything that was read of a file so far; `None` where the source keeps no hash of it.
    pub content: Option<Content>,
}

/// The limit in the future that records without a time stamp were measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The first offset that it holds for.
    pub from: Offset,
    /// The newest event time that is believed.
    pub limit_ms: i64,
}

/// What was read of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// How many unpacked bytes.
    pub bytes: u64,
    /// xxh3-128 of them, in hexadecimal.
    pub xxh3: String,
    /// The file ended there when it was looked at last: nothing is lost if it goes away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub at_end: bool,
    /// xxh3-64 of its first 256, 1,024 and 4,096 bytes, as far as it has them, one after the other in hexadecimal: a file
    /// that was shortened or changed is told from another one by them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub begins: String,
    /// Of a captured partition, whose hash is that of its last record: ranges of offsets that lay in none of its files,
    /// before the first or between two of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<OffsetRange>,
}

/// A half-open range of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The first offset.
    pub from: Offset,
    /// One past the last.
    pub to: Offset,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Where bytes are in the lake: a file, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file, relative to the lake.
    pub name: String,
    /// The part; `None` is the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ByteRange>,
}

/// A half-open range of the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ByteRange {
    /// The first byte.
    pub from: u64,
    /// One past the last.
    pub to: u64,
}

impl Place {
    /// The whole file `name`.
    pub fn whole(name: impl Into<String>) -> Place {
        Place { name: name.into(), range: None }
    }
}

/// A lake file that waits for its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The output it belongs to, as the pipeline names it.
    pub output: String,
    /// Its folder, relative to the lake, with the final `/`.
    pub folder: String,
    /// Its final name in that folder, fixed now.
    pub name: String,
    /// Where it is now.
    pub staged: Place,
    /// Rows in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// xxh3-128 of its bytes, in hexadecimal.
    pub checksum: String,
    /// Least and greatest event time of its rows.
    pub event_time: Option<(EventTime, EventTime)>,
    /// The first epoch whose records may be in it.
    pub since: Epoch,
}

/// A state file that waits for its manifest: everything that one worker says of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// The worker that wrote it.
    pub worker: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes of its header.
    pub header_bytes: u64,
    /// xxh3-128 of its bytes, in hexadecimal.
    pub checksum: String,
    /// Where it is, if not under the name of its worker and epoch.
    pub place: Option<Place>,
    /// Its sections.
    pub sections: Sections,
}
