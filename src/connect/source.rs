//! What messages are read from: the traits [`Connector`] and [`Source`], and what they report.

use crate::connect::error;
use crate::connect::notice::Notice;
use crate::connect::sink::Wake;
use headway_operators::ack::Content;
use headway_operators::record::{LastRead, Offset, Partition, Raw};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A partition of an input as its connector sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Everything that was read of it, if its source keeps a hash of that.
    pub content: Option<Content>,
    /// It was read to its end and was gone at an earlier start: whatever is found of it again is passed over.
    pub finished: bool,
    /// Nothing was read of it yet: another process of this run has found it, and has given it its number.
    pub is_new: bool,
}

/// A record that was read and is not committed, with the time that its system gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstRead {
    /// Its offset.
    pub offset: Offset,
    /// When it was written, by its timestamp, in milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// Where a partition ends that is being read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its number within the input.
    pub partition: Partition,
    /// One past its last offset.
    pub offset: Offset,
    /// It was read as far as it may be: an open transaction holds back the records after that.
    #[serde(default)]
    pub stalled: bool,
    /// The first record of each epoch that is not committed, oldest first, as far as they were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_reads: Vec<FirstRead>,
}

impl End {
    /// An end, of which nothing more is known.
    pub fn at(partition: Partition, offset: Offset) -> End {
        End { partition, offset, stalled: false, first_reads: Vec::new() }
    }
}

/// An entry of an input that is made of entries, such as a folder, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it is read, or passed over.
    pub read: bool,
    /// What it holds, in a few words; or why it is passed over, as a sentence.
    pub what: String,
}

impl Entry {
    /// The entries that are `read`, or those that are not, in a line; `None` if there are none.
    pub fn line(entries: &[Entry], read: bool) -> Option<String> {
        let of = |entry: &Entry| format!("{}: {}", entry.name, entry.what);
        let lines: Vec<String> = entries.iter().filter(|entry| entry.read == read).map(of).collect();
        (!lines.is_empty()).then(|| names(&lines))
    }
}

/// How many names a line of the log has.
const NAMES_MAX: usize = 10;

/// Up to so many names, and how many more there are.
pub(super) fn names(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMES_MAX);
    let shown = all[..all.len() - more].join("; ");
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

/// What a message counts at least where the bytes of a poll are bounded: one without any takes memory, too.
pub const MESSAGE_BYTES_MIN: usize = 64;

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
///
/// The methods with a body are for systems that can change behind our back, such as a broker. A list or a file that is read
/// where it lies needs none of them.
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

    /// True if partitions are numbered in the order in which they are found. Two processes that look while the job runs may
    /// then number them differently: in a job on several processes, process 0 alone looks and reads where new ones come.
    fn numbers_as_found(&self) -> bool {
        false
    }

    /// What becomes of each entry that [`Connector::partitions`] has found, by name, where the input is made of entries. A
    /// start logs it, and `check` lists it.
    fn entries(&self) -> Vec<Entry> {
        Vec::new()
    }

    /// A reader of `assigned`: (partition, next offset).
    ///
    /// # Errors
    /// If the system cannot be reached, or no longer holds the offsets asked for.
    fn open(&self, assigned: &[(Partition, Offset)], wake: Wake) -> Result<Box<dyn Source>, error::Error>;

    /// Takes over what an earlier run of the job knew of its partitions. Called before all else.
    ///
    /// For connectors that number partitions themselves, and must keep the numbers of earlier runs; and for connectors that
    /// can check whether the records that were read are still there.
    fn remember(&self, _earlier: &[Earlier]) {}

    /// Asks the system whether its partitions are still those that [`Connector::partitions`] reported first. Called before
    /// a commit, so that nothing is committed that was read from another topic of the same name.
    ///
    /// # Errors
    /// One that [is transient](error::Error::is_transient) if there is no answer in time; else if they are others now.
    fn confirm(&self) -> Result<(), error::Error> {
        Ok(())
    }

    /// The ends of the partitions that are being read, as far as they are known without asking.
    fn ends(&self) -> Vec<End> {
        Vec::new()
    }

    /// Reports that everything before these offsets is committed, to systems that show it to others. Never waits; a
    /// failure is only logged.
    fn committed(&self, _positions: &[(Partition, Offset)]) {}
}

/// One worker's reader of one input.
pub trait Source {
    /// Gives what is there now, at most about `bytes_max` bytes of messages, without waiting. A message counts at least
    /// [`MESSAGE_BYTES_MIN`].
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

    /// The evidence that a partition which was read to its end is quiet. Silence is evidence of idleness only while the
    /// system answers; a source that looks at all of its data in each poll gives [`Heard::ALWAYS`]. Without evidence
    /// (`None`) the partition never counts as idle.
    fn heard(&self, _partition: Partition) -> Option<Heard> {
        None
    }

    /// The leader epoch of the message of `partition` at `offset`, if there is one: a message that replaces it has
    /// another. Called for messages that were given, in rising order.
    fn leader_epoch(&mut self, _partition: Partition, _offset: Offset) -> Option<i32> {
        None
    }

    /// Everything that was read of `partition`, where that has changed since the last call and the source keeps a hash
    /// of it. `next` is the offset up to which messages were handed on: what lies behind it must not be in the answer.
    fn content(&mut self, _partition: Partition, _next: Offset) -> Option<Content> {
        None
    }
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more at once.
    More,
    /// Nothing more until woken, or until looked at again.
    Nothing,
}

/// The period during which the system confirmed that we are at the end of a partition, as ages: how long ago it began, and
/// how long ago it was confirmed last.
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
