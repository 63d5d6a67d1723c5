//! What operators and sinks report at the close of an epoch; the committer needs all of it before a manifest.
//!
//! Timely says when it has all: an ack travels at its epoch's time, so once the acks' frontier passes `e` no
//! worker can have anything left to say about `e`.

use crate::error::Reason;
use crate::late_by::LateBy;
use crate::record::{LastRead, Offset, Partition, Refused};
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
}

/// The limit in the future that records without a time stamp were measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The first offset that it holds for.
    pub from: Offset,
    /// The newest event time that is believed.
    pub limit_ms: i64,
}

/// A lake file that waits for its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The output it belongs to, as the pipeline names it.
    pub output: String,
    /// The part within the epoch: the worker's number.
    pub part: u32,
    /// Where it is now, relative to the lake.
    pub staged: String,
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

/// A state file that waits for its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// The operator's name.
    pub operator: String,
    /// The version of the operator's encoding.
    pub version: u32,
    /// The worker that wrote it.
    pub worker: u32,
    /// Everything that worker holds (`true`), or what changed since its last file.
    pub base: bool,
    /// Where it is, relative to the lake.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// xxh3-128 of its bytes, in hexadecimal.
    pub checksum: String,
    /// How many shards have a section in it.
    pub shards: u32,
}
