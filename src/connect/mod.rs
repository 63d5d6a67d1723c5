//! Connectors: where messages come from. An engine reads any of them through [`Connector`] and [`Source`].

use headway_operators::ack::{StagedFile, StateFile};
use headway_operators::pipeline::OutputSpec;
use headway_operators::port::Stage;
use headway_operators::record::{LastRead, Offset, Partition, Raw};
use headway_operators::row::Rows;
use headway_operators::state::{Saved, StateChange};
use serde::{Deserialize, Serialize};

/// A partition of an input as its connector sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number within the input.
    pub partition: Partition,
    /// What it is: topic id, relative path or generator settings. Another identity under the same number is refused.
    pub identity: String,
    /// The first offset that can be read.
    pub first: Offset,
    /// One past the last offset there is now; `None` where only reading will tell.
    pub end: Option<Offset>,
}

/// A partition as an earlier run left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Its number within the input.
    pub partition: Partition,
    /// What it was.
    pub identity: String,
    /// The next offset to read.
    pub next: Offset,
    /// The last record before that, if its source could tell it from another one.
    pub last_read: Option<LastRead>,
}

/// Where a partition ends that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its number within the input.
    pub partition: Partition,
    /// One past its last offset.
    pub offset: Offset,
    /// It was read as far as it may be: an open transaction holds what there is more.
    #[serde(default)]
    pub stalled: bool,
}

/// What a source reports while it is polled.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A message, in rising offsets within its partition, and how many bytes were read for it.
    Message(Raw<'a>, usize),
    /// The partition was read to its end as of now; the offset is the next to read (gaps included).
    CaughtUp(Partition, Offset),
    /// The partition was read as far as it may be, up to this offset: there is more, which an open transaction holds.
    Stalled(Partition, Offset),
}

/// A system that messages are read from; one a process and input.
pub trait Connector: Send + Sync {
    /// The kind, as in manifests: `kafka`, `files`, `generate`.
    fn kind(&self) -> &'static str;

    /// All partitions there are now, by number.
    ///
    /// # Errors
    /// If the system cannot be reached, or what it holds cannot be an input.
    fn partitions(&self) -> Result<Vec<PartitionInfo>, error::Error>;

    /// Tells, before anything else, what an earlier run of the job knew of its partitions.
    ///
    /// For connectors that number partitions themselves, and must not number them anew; and for those that can tell whether
    /// what was read is still there.
    fn remember(&self, earlier: &[Earlier]);

    /// A reader of `assigned`: (partition, next offset).
    ///
    /// # Errors
    /// If the system cannot be reached, or no longer holds the offsets asked for.
    fn open(&self, assigned: &[(Partition, Offset)], wake: Wake) -> Result<Box<dyn Source>, error::Error>;

    /// Confirms, by asking, that everything read so far came from the partitions that [`Connector::partitions`] told of
    /// first: asked before a commit, so that nothing is committed that others of the same name have sent.
    ///
    /// # Errors
    /// [`error::Error::Unreachable`] if nobody answers in time, which may pass; else if they are others now.
    fn confirm(&self) -> Result<(), error::Error>;

    /// Where partitions that are being read end, as far as it is known without asking.
    fn ends(&self) -> Vec<End>;

    /// Tells that everything before these offsets is committed, for systems that show it to others. Never waits; that
    /// it failed is no more than a line in the log.
    fn committed(&self, positions: &[(Partition, Offset)]);
}

/// One worker's reader of one input.
pub trait Source {
    /// Gives what is there now, at most about `bytes_max` bytes of messages, without waiting.
    ///
    /// # Errors
    /// If going on would skip or repeat a message.
    fn poll(&mut self, bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, error::Error>;

    /// Reads `partition` too, from `next` on.
    ///
    /// # Errors
    /// As [`Connector::open`].
    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), error::Error>;

    /// Stops or resumes reading a partition; nothing is lost meanwhile.
    fn pause(&mut self, partition: Partition, paused: bool);

    /// What is known of a partition that was read to its end and gives nothing; `None` if nothing is. That nothing comes
    /// is no evidence of quiet where nobody may be there to send it.
    fn heard(&self, partition: Partition) -> Option<Heard>;

    /// The leader epoch of the message of `partition` at `offset`, where there is one: another message at that offset has
    /// another. Asked for messages that were given, in rising order.
    fn leader_epoch(&mut self, partition: Partition, offset: Offset) -> Option<i32>;
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more at once.
    More,
    /// Nothing more until woken, or until looked at again.
    Nothing,
}

/// Where rows and state go; one a process.
pub trait Sink: Send + Sync {
    /// The sink of worker `index` of `workers`; called once on that worker's thread.
    fn worker(&self, index: usize, workers: usize) -> Box<dyn WorkerSink>;
}

/// Called from a thread of a sink or source when a worker has something to look at.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// Where one worker's rows and state go.
pub trait WorkerSink {
    /// Where the rows of `output` go.
    fn rows(&mut self, output: &OutputSpec, wake: Wake) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>>;

    /// Where changes of state go.
    fn state(&mut self, wake: Wake) -> Box<dyn Stage<Vec<StateChange>, StateFile>>;

    /// The saved state of `operator` in the shards of this worker, oldest first. Asked for once.
    fn saved(&mut self, operator: &str) -> Vec<Saved>;
}

pub use heard::Heard;

#[cfg(test)]
mod any_rows;
pub mod csv_gz;
#[cfg(test)]
mod drain;
mod envelope;
pub mod error;
mod file_identity;
mod file_reader;
pub mod files;
pub mod generator;
mod heard;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kafka")]
pub mod kafka_config;
#[cfg(feature = "kafka")]
mod kafka_native;
#[cfg(feature = "kafka")]
pub mod kafka_produce;
#[cfg(feature = "kafka")]
mod kafka_reader;
#[cfg(test)]
#[cfg(feature = "kafka")]
mod kafka_tests;
#[cfg(feature = "kafka")]
mod kafka_witness;
#[cfg(test)]
#[cfg(feature = "kafka")]
mod kafka_witness_tests;
mod lines;
pub mod memory;
pub mod ndjson_gz;
mod place;
pub mod produce;
mod scan;
