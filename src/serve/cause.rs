//! What may hold a job up, and what is looked at to find it: the board of its run and its last commit.

use crate::engine::format::board::{Lag, Snapshot};
use crate::engine::format::manifest::{Manifest, PartitionEntry};
use crate::engine::format::waits::{FeedWait, PartWait, Silence, Waits};
use crate::serve::process_board::ProcessBoard;
use headway_operators::record::Partition;
use std::time::Duration;

/// For how long a record may wait before a job with epochs of this length lags.
pub(super) fn limit(epoch: Duration) -> Duration {
    epoch * 3 + Duration::from_secs(2)
}

/// Why a job lags, or why its windows stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It does not.
    None,
    /// An open transaction holds what there is more.
    OpenTransaction,
    /// The source does not answer the question whether it is still what was read.
    SourceSilent,
    /// The lake takes longer than the epochs.
    SlowLake,
    /// The process takes nearly as much memory as it may, and its sources pause.
    PausedByMemory,
    /// One worker has all the work.
    HotShard,
    /// The workers compute all the time.
    SlowOperators,
    /// The run has just begun, and reads what came before.
    CatchingUp,
    /// A partition is so far ahead of others that it waits for them.
    PausedBySkew,
    /// One partition brings its records slowly.
    SlowPartition,
    /// The source brings records slowly.
    SlowSource,
    /// Nothing lags, and a target does not take what is committed.
    TargetBehind,
    /// Nothing lags, and a partition without records holds windows open.
    PartitionHoldsWindows,
    /// Nothing lags, and an input holds the windows of others open that are joined with it.
    InputHoldsWindows,
    /// Nothing lags, and records of the future were refused.
    FutureRefused,
    /// It lags, and nothing on the board says why.
    Unknown,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// The cause.
    pub cause: Cause,
    /// What is the matter, in a sentence.
    pub sentence: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// What to do next.
    pub next: String,
}

impl Cause {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Cause::None => "none",
            Cause::OpenTransaction => "open-transaction",
            Cause::SourceSilent => "source-silent",
            Cause::SlowLake => "slow-lake",
            Cause::PausedByMemory => "paused-by-memory",
            Cause::HotShard => "hot-shard",
            Cause::SlowOperators => "slow-operators",
            Cause::CatchingUp => "catching-up",
            Cause::PausedBySkew => "paused-by-skew",
            Cause::SlowPartition => "slow-partition",
            Cause::SlowSource => "slow-source",
            Cause::TargetBehind => "target-behind",
            Cause::PartitionHoldsWindows => "partition-holds-windows",
            Cause::InputHoldsWindows => "input-holds-windows",
            Cause::FutureRefused => "future-refused",
            Cause::Unknown => "unknown",
        }
    }

    /// True if the job keeps up and its windows close.
    pub fn is_healthy(self) -> bool {
        matches!(self, Cause::None | Cause::FutureRefused)
    }
}

/// What is looked at.
pub(super) struct Look<'a> {
    pub(super) head: &'a Manifest,
    /// The board of process 0, which commits.
    pub(super) board: &'a Snapshot,
    /// All processes that have said something, process 0 first.
    pub(super) processes: Vec<ProcessBoard<'a>>,
    /// The partitions with records that wait, the longest wait first.
    pub(super) behind: Vec<&'a Lag>,
    /// All records that wait.
    pub(super) records: i64,
    /// What waits for longer than this lags.
    pub(super) limit: Duration,
}

impl<'a> Look<'a> {
    /// What `head` and `board` say.
    pub(super) fn of(head: &'a Manifest, board: &'a Snapshot) -> Look<'a> {
        let mut behind: Vec<&Lag> = board.lags.iter().filter(|lag| lag.records > 0).collect();
        behind.sort_by_key(|lag| std::cmp::Reverse(lag.age_ms(board.at_ms)));
        let records = behind.iter().map(|lag| lag.records).sum();
        Look { head, board, processes: ProcessBoard::all(board), behind, records, limit: limit(board.epoch) }
    }

    /// True if something waits for longer than epochs explain: records, whether their partition's end is known or not, or the
    /// run itself.
    pub(super) fn lags(&self) -> bool {
        let board = self.board;
        let long = |time: Duration| time > self.limit;
        let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let waits = |lag: &&Lag| {
            // Old records may come just now. They wait where their partition was not read to its end.
            let is_read = self.part(lag.input, lag.partition).is_some_and(|part| part.behind_for.is_none());
            long(ms(lag.for_ms)) || (!is_read && long(ms(lag.age_ms(board.at_ms))))
        };
        self.behind.iter().any(waits)
            || self.open_for().is_some_and(long)
            || self.boards().flat_map(|board| &board.stages).filter_map(|stage| stage.writing_for).any(long)
            || (board.doing.is_work() && long(board.doing_for))
            || self.silence().is_some_and(|(_, silence)| long(silence.for_))
            || self.unread().any(|(_, _, time)| long(time))
    }

    /// The boards of all processes.
    fn boards(&self) -> impl Iterator<Item = &'a Snapshot> {
        self.processes.iter().map(|one| one.board)
    }

    /// The feeds of all processes.
    fn feeds(&self) -> impl Iterator<Item = &'a FeedWait> {
        self.boards().flat_map(|board| &board.feeds)
    }

    /// The source that has not answered for the longest, and the process that has asked it.
    pub(super) fn silence(&self) -> Option<(ProcessBoard<'a>, &'a Silence)> {
        let of = |one: &ProcessBoard<'a>| {
            let one = *one;
            one.board.silent.iter().map(move |silence| (one, silence))
        };
        self.processes.iter().flat_map(of).max_by_key(|(_, silence)| silence.for_)
    }

    /// For how long the oldest record has been read that is not committed.
    pub(super) fn open_for(&self) -> Option<Duration> {
        self.feeds().filter_map(|feed| feed.open_for).max()
    }

    /// What the feed of a partition says of it; `None` if its process has not said anything yet.
    pub(super) fn part(&self, input: usize, partition: Partition) -> Option<&'a PartWait> {
        let feeds = self.feeds().filter(|feed| feed.input == input);
        feeds.flat_map(|feed| &feed.partitions).find(|part| part.partition == partition)
    }

    /// All partitions with what their feeds say of them, by input.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, &'a PartWait)> {
        let of_feed = |feed: &'a FeedWait| feed.partitions.iter().map(|part| (feed.input, part));
        self.feeds().flat_map(of_feed)
    }

    /// The partitions whose end nobody knows and that were not read to it, and for how long.
    pub(super) fn unread(&self) -> impl Iterator<Item = (usize, Partition, Duration)> {
        let is_known = |input, partition| {
            self.board.lags.iter().any(|lag| (lag.input, lag.partition) == (input, partition))
        };
        self.parts().filter_map(move |(input, part)| {
            let time = part.behind_for.filter(|_| !is_known(input, part.partition))?;
            Some((input, part.partition, time))
        })
    }

    /// How an input is called.
    pub(super) fn input(&self, input: usize) -> &'a str {
        self.head.inputs.get(input).map_or("?", |input| &input.name)
    }

    /// How a partition is called.
    pub(super) fn name(&self, input: usize, partition: Partition) -> String {
        format!("partition {partition} of {}", self.input(input))
    }

    /// The process in which a worker has been longest in one step of the dataflow, if that is long, and for how long.
    pub(super) fn in_step(&self) -> Option<(ProcessBoard<'a>, Duration)> {
        let steps = self.processes.iter().map(|one| (*one, one.in_step()));
        steps.filter(|(_, time)| *time > self.limit).max_by_key(|(_, time)| *time)
    }

    /// The process whose workers were in operators for most of their time.
    pub(super) fn computing(&self) -> ProcessBoard<'a> {
        let mut most = self.processes[0];
        for one in &self.processes[1..] {
            if one.in_operators() > most.in_operators() {
                most = *one;
            }
        }
        most
    }

    /// The share of the last seconds that `time` of process 0 is.
    pub(super) fn share(&self, time: Duration) -> f64 {
        self.board.recent.share(time)
    }

    pub(super) fn entry(&self, lag: &Lag) -> Option<&'a PartitionEntry> {
        let parts = &self.head.inputs.get(lag.input)?.partitions;
        parts.iter().find(|part| part.partition == lag.partition)
    }

    /// What waits, as evidence.
    pub(super) fn waiting(&self) -> String {
        let (at_ms, partitions) = (self.board.at_ms, self.behind.len());
        if let Some(first) = self.behind.first() {
            let (records, longest) = (self.records, first.age_ms(at_ms) / 1_000);
            return format!("{records} records of {partitions} partitions wait, the oldest for {longest} s");
        }
        match (self.open_for(), self.unread().map(|(_, _, time)| time).max()) {
            (Some(open), _) if open > self.limit => {
                format!("records that were read {} s ago are not committed", open.as_secs())
            }
            (_, Some(unread)) => {
                format!("the end was not reached for {} s; how much is left is not known", unread.as_secs())
            }
            _ => "no record waits that is known of".to_string(),
        }
    }

    pub(super) fn rate(&self) -> String {
        let recent = &self.board.recent;
        format!(
            "{:.0} records a second were committed in the last {:.0} s",
            recent.records_per_second().unwrap_or_default(),
            recent.over.as_secs_f64()
        )
    }
}

impl Waits {
    /// What is waited for, in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Waits::Records => "records of its source",
            Waits::NextRecord => "the next record",
            Waits::Commit => "the commit of what was read before",
            Waits::Memory => "memory",
            Waits::Slowest => "partitions that are behind in event time",
            Waits::End => "nothing: it was read to the end of the run",
        }
    }
}
