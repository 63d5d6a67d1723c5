//! What the parts of a running job wait for: its feeds, the threads that write files, its store and its sources.

use headway_operators::record::Partition;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a partition waits for, as the feed that reads it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waits {
    /// For records that its source has, or may have.
    Records,
    /// It was read to its end: for a record that is not there yet.
    NextRecord,
    /// For the commit of epochs that are read already.
    Commit,
    /// For memory.
    Memory,
    /// For partitions that are behind it in event time.
    Slowest,
    /// For nothing: it was read to the end of the run.
    End,
}

/// A partition that is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartWait {
    /// Its number.
    pub partition: Partition,
    /// What it waits for.
    pub waits: Waits,
    /// For how long it has waited for that.
    pub waits_for: Duration,
    /// For how long it has not been read to its end; `None` if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_for: Option<Duration>,
}

/// The feed of one input on one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedWait {
    /// The number of the input.
    pub input: usize,
    /// The number of the worker.
    pub worker: usize,
    /// For how long the oldest record has been read that is not committed; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_for: Option<Duration>,
    /// Its partitions.
    pub partitions: Vec<PartWait>,
}

/// The thread that writes the files of one worker before they are committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageWait {
    /// The number of the worker.
    pub worker: usize,
    /// For how long it has written since the run began.
    pub busy: Duration,
    /// For how long it has written the piece that it writes now; `None` if it does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing_for: Option<Duration>,
    /// How many pieces wait for it.
    pub queued: usize,
}

/// A call of the store that has not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCall {
    /// What is done, as a verb.
    pub verb: String,
    /// With which file or folder.
    pub name: String,
    /// For how long.
    pub for_: Duration,
}

/// The store of the lake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreUse {
    /// The time of all calls since the run began. Calls of several threads count each.
    pub busy: Duration,
    /// The call that has not come back for the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<StoreCall>,
}

/// A source that did not answer when it was asked last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The number of the input.
    pub input: usize,
    /// For how long it has not answered: since the first question without an answer.
    pub for_: Duration,
    /// What the last question came to.
    pub why: String,
}
