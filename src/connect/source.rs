//! What messages are read from: the traits [`Connector`] and [`Source`], and what they report.

use crate::connect::error;
use crate::connect::notice::Notice;
use crate::connect::sink::Wake;
use headway_operators::record::{LastRead, Offset, Partition, Raw};
use serde::{Deserialize, Serialize};
use std::time::Duration;

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

    /// What is passed over, translated or risky. A start logs it, and `check` lists it.
    fn notices(&self) -> Vec<Notice> {
        Vec::new()
    }

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

/// For how long a partition's end is known to have been where reading has ended: a stretch of time, from and to so long
/// ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it was first certain.
    pub since: Duration,
    /// When it was last certain, with nothing in between that says otherwise.
    pub last: Duration,
}

impl Heard {
    /// All the time until now: of what is looked at whenever it is polled.
    pub const ALWAYS: Heard = Heard { since: Duration::MAX, last: Duration::ZERO };
}
