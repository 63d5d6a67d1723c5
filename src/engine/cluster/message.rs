//! What the processes of a job tell each other, as JSON: these messages are rare, and people read them in captures.

use crate::connect::{End, PartitionInfo};
use crate::engine::format::board::Snapshot;
use serde::{Deserialize, Serialize};

/// What one process tells another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message {
    /// From the leader: what it has written into its lake, for others to see.
    Token(String),
    /// From a member: it sees that in its own lake.
    Seen,
    /// From the leader: what the job starts from.
    Card(Card),
    /// From a member: it has read its part of the state.
    Ready,
    /// From the leader: all are ready.
    Start,
    /// From a member: what one of its workers has restored of an operator.
    Restored {
        /// The operator.
        operator: String,
        /// How many entries.
        held: u64,
    },
    /// From the leader: a partition that has appeared.
    Found {
        /// The input, by number.
        input: usize,
        /// The partition.
        info: PartitionInfo,
    },
    /// From a member: where the partitions end that it reads, by input.
    Ends(Vec<Vec<End>>),
    /// From a member: what is on its board.
    Board(Box<Snapshot>),
    /// The job is to drain.
    Drain,
    /// From the leader: the job is to drain, and all processes start again with another membership.
    Rescale,
    /// From a member: its dataflow has ended.
    Done,
    /// The sender stops.
    Failed(Failure),
}

/// What a job starts from, as the leader has found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The claim, as it is in the lake.
    pub claim: String,
    /// The partitions of each input, with the ends there were when the leader looked.
    pub partitions: Vec<Vec<PartitionInfo>>,
    /// Where the leader answers by HTTP, if it does.
    pub answers: Option<String>,
}

/// Why a process stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The code of its error.
    pub code: String,
    /// Its exit code.
    pub exit: u8,
    /// The error in words.
    pub message: String,
}
