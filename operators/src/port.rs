//! The ports of a dataflow: what the engine gives it at both ends.
//!
//! `operators` does no I/O. A source's bytes come in through a [`Feed`], rows and state leave through a [`Stage`],
//! and the engine implements both. Everything here is one worker's: nothing is shared between threads.

use crate::ack::{Content, InputIx, StagedFile, StateFile};
use crate::error::StateError;
use crate::pace::{InputPace, InputsWatermark};
use crate::progress::Standing;
use crate::record::{LastRead, Offset, Partition, Raw};
use crate::row::Rows;
use crate::rules::RecordRule;
use crate::spec::{InputSpec, OutputSpec, ViewSpec};
use crate::state::{Saved, StateChange};
use crate::time::{Epoch, EventTime, Watermark};
use crate::view::refill::{CommittedRows, Refill};
use crate::view::row::ViewUpdate;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use timely::scheduling::SyncActivator;

/// What the engine supplies while a dataflow is built on one worker.
pub trait Ports {
    /// The first epoch of the run. The one before is committed.
    fn first_epoch(&self) -> Epoch;

    /// `W_C` of each set of several inputs at the committed epoch.
    fn watermarks(&self) -> Vec<InputsWatermark>;

    /// Where input `index` stands.
    fn start(&mut self, index: InputIx) -> InputStart;

    /// The messages of `input` that this worker reads.
    fn feed(
        &mut self,
        index: InputIx,
        input: &InputSpec,
        pace: InputPace,
        wake: SyncActivator,
    ) -> Box<dyn Feed>;

    /// Where the rows of `output` go. `wake` is called when staged work is done.
    fn rows(&mut self, output: &OutputSpec, wake: SyncActivator)
    -> Box<dyn Stage<Box<dyn Rows>, StagedFile>>;

    /// Where changes of state go.
    fn state(&mut self, wake: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>>;

    /// Where the changes of views and of tables of day files go, which `tables` has by number; those of the committed epoch first.
    /// Without a reader of views they are dropped.
    fn views(
        &mut self,
        tables: &BTreeMap<u16, ViewSpec>,
        wake: SyncActivator,
    ) -> Box<dyn Stage<Vec<ViewUpdate>, StagedFile>> {
        drop((tables, wake));
        Box::new(Unread::default())
    }

    /// Takes restored rows of tables of day files as they come, before the committed epoch is complete: they are many. `None`: they
    /// wait for [`Ports::views`].
    fn restored_rows(&mut self) -> Option<RestoredRows> {
        None
    }

    /// How many workers take the changes of views, from worker 0 on; `None`: all. The same on every worker.
    fn view_takers(&self) -> Option<usize> {
        None
    }

    /// The instant before which days are sealed as of the committed epoch, where the committed watermark says `by_watermark`. It is
    /// in the manifest, and never goes back. The same on every worker.
    fn sealed_up_to(&self, by_watermark: Option<EventTime>) -> Option<EventTime> {
        by_watermark
    }

    /// The first instants of the sealed days that a person has unsealed for this run: their committed rows are among
    /// [`Ports::committed_rows`]. The same on every worker.
    fn unsealed(&self) -> Vec<EventTime> {
        Vec::new()
    }

    /// The committed rows of `outputs` that this worker reads, for operators of views which are new to the job and for unsealed days;
    /// `None` if there are neither.
    fn committed_rows(&mut self, _outputs: Refill) -> Option<Box<dyn CommittedRows>> {
        None
    }

    /// The live sections of `operator` in the shards this worker owns, those of a shard in the order base, merged change,
    /// changes; `None` if the manifest does not know the operator. Asked for once.
    fn saved(&mut self, operator: &str) -> Option<Vec<Saved>>;

    /// What `operator` holds on this worker, with its saved state back. The job must not run where that is not, on all
    /// workers together, what the manifest says.
    fn restored(&mut self, operator: &str, held: u64);

    /// Saved state did not decode: the job must stop before its first epoch. The dataflow is built, and must not run.
    fn refuse(&mut self, error: StateError);
}

/// Takes restored rows of tables of day files.
pub type RestoredRows = Box<dyn FnMut(Vec<ViewUpdate>)>;

/// Where an input stands when a run starts.
#[derive(Clone, Debug)]
pub struct InputStart {
    /// The topic, or the name that a source without topics uses instead, as refused rows show it.
    pub topic: String,
    /// `wm` of the last committed epoch.
    pub watermark: Watermark,
    /// The partition set.
    pub partitions: Vec<Standing>,
    /// How far event time may be ahead of a message's time stamp, in milliseconds.
    pub max_ahead_ms: i64,
    /// The newest event time of messages without a time stamp.
    pub not_after: NotAfter,
    /// The rules that each record is judged by.
    pub rules: Arc<[RecordRule]>,
    /// After how long idleness of all partitions flushes, in milliseconds; `None` is never.
    pub idle_flush_ms: Option<u64>,
}

/// The newest event time of messages without a time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAfter {
    /// As far ahead of the source's wall clock as of a message's time stamp. The clock is read once an epoch, and within a
    /// partition the limit never goes back.
    Clock,
    /// This instant.
    At(EventTime),
    /// There is no limit.
    Never,
}

/// Work that is done off the engine's thread, an epoch at a time.
pub trait Stage<Work, Done> {
    /// Starts writing everything that `epoch` gave. Never blocks for long; may be called for rising epochs only.
    /// `since` is the first epoch whose records may be in it.
    fn put(&mut self, epoch: Epoch, since: Epoch, work: Work);

    /// The oldest finished epoch, with what was written and synced. Failures stop the job by themselves.
    fn done(&mut self) -> Option<(Epoch, Vec<Done>)>;
}

/// A stage that writes nothing.
#[derive(Debug, Default)]
pub struct Unread(VecDeque<Epoch>);

impl<Work, Done> Stage<Work, Done> for Unread {
    fn put(&mut self, epoch: Epoch, _since: Epoch, _work: Work) {
        self.0.push_back(epoch);
    }

    fn done(&mut self) -> Option<(Epoch, Vec<Done>)> {
        self.0.pop_front().map(|epoch| (epoch, Vec::new()))
    }
}

/// A stage that does its work at once, on the thread of the engine, and gives nothing back: for what needs no disk.
#[derive(Debug)]
pub struct AtOnce<F> {
    work: F,
    done: VecDeque<Epoch>,
}

impl<F> AtOnce<F> {
    /// A stage that calls `work` with each epoch.
    pub fn new(work: F) -> AtOnce<F> {
        AtOnce { work, done: VecDeque::new() }
    }
}

impl<Work, Done, F: FnMut(Epoch, Work)> Stage<Work, Done> for AtOnce<F> {
    fn put(&mut self, epoch: Epoch, _since: Epoch, work: Work) {
        (self.work)(epoch, work);
        self.done.push_back(epoch);
    }

    fn done(&mut self) -> Option<(Epoch, Vec<Done>)> {
        self.done.pop_front().map(|epoch| (epoch, Vec::new()))
    }
}

/// The messages of one input on one worker, and when its epochs end.
pub trait Feed {
    /// Does a bounded amount of work: hands messages to `intake`, or says what else there is to do.
    fn turn(&mut self, intake: &mut dyn Intake) -> Turn;
}

/// What a source should do after a turn of its feed.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// There is more to read: call again soon.
    More,
    /// Nothing to do now: call again when woken, or after this time.
    Wait(Duration),
    /// The current epoch ends here. Give its marks, go on at epoch `next`.
    Cut(Cut, Epoch),
    /// The current epoch ends here, and nothing comes after it.
    Finish(Cut),
}

/// The end of an epoch on one worker, as its feed sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cut {
    /// Wall-clock time, milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// When the feed began the epoch, by the same clock.
    pub began_ms: i64,
    /// One for each partition this worker reads.
    pub partitions: Vec<Position>,
}

/// Where a partition stands at the end of an epoch, as its feed sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The next offset to read.
    pub next: Offset,
    /// The last record before that, where the source has a way to know it again.
    pub last_read: Option<LastRead>,
    /// Read to its end and quiet for `idle_after`; how long quiet, in milliseconds.
    pub idle_ms: Option<u64>,
    /// First seen, or woken: counts from the next epoch on.
    pub joining: bool,
    /// Read to its end for good.
    pub ended: bool,
    /// There is more to read right now.
    pub backlog: bool,
    /// Everything that was read of it so far, where the source keeps a hash of that.
    pub content: Option<Content>,
}

/// Where a feed puts what it reads: decoding and stamping happen behind it, on the borrowed bytes.
pub trait Intake {
    /// A partition that this worker reads from now on.
    fn open(&mut self, start: Start);

    /// Raises the floor of a partition: none of its later records is stamped below it.
    fn floor(&mut self, partition: Partition, floor: EventTime);

    /// What the wall clock shows, in milliseconds since the Unix epoch: told before the first message of each epoch.
    fn clock(&mut self, wall_ms: i64);

    /// One message of an open partition, in rising offsets. Returns about how many bytes it takes in memory until its epoch has
    /// closed: a message without bytes takes memory, too.
    fn message(&mut self, raw: &Raw<'_>) -> usize;
}

/// Where a partition starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The partition.
    pub partition: Partition,
    /// The first offset that will be read.
    pub next: Offset,
    /// Own watermark so far; [`EventTime::MIN`] at first.
    pub own: EventTime,
    /// Floor so far; [`EventTime::MIN`] at first.
    pub floor: EventTime,
    /// The newest limit that messages without a time stamp were measured against; `None` if there was none.
    pub limit: Option<EventTime>,
}

impl Start {
    /// The start, at `next`, of a partition that no run has read yet.
    pub fn first(partition: Partition, next: Offset) -> Start {
        Start { partition, next, own: EventTime::MIN, floor: EventTime::MIN, limit: None }
    }
}
