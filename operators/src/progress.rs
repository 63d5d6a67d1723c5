//! How far one input has got: from the marks of all its partitions to `wm(e)` and floors.
//!
//! Every worker keeps one [`Progress`] an input and feeds it the same marks, so all come to the same answers. The inputs of
//! a job go together: [`crate::pace::Pace`] closes them, and knows what depends on several of them.
//!
//! 1. At the end of epoch `e` a source broadcasts a [`Mark`] for each of its partitions. Sources may skip epoch
//!    numbers, so marks are carried forward, never counted.
//! 2. When the marks' frontier has passed `e`, the marks of epochs up to `e` are applied, and none of a later one.
//! 3. Feeds look at what is *seen* (the newest mark, closed or not) only for what has no meaning: whom to pause.
//!
//! Invariant: `wm(e)` never exceeds the effective watermark of a partition that may still send records.

use crate::record::{Offset, Partition};
use crate::stream::window::Closing;
use crate::time::{Epoch, EventTime, Watermark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a source says of one of its partitions at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The partition.
    pub partition: Partition,
    /// Newest event time decoded so far, in offset order, less lateness; [`EventTime::MIN`] if none.
    pub own: Watermark,
    /// The next offset to read.
    pub next: Offset,
    /// For how long it has been idle, in milliseconds; `None` if it is not.
    pub idle_ms: Option<u64>,
    /// First seen, or woken: sends no record in this epoch and counts from the next one on.
    pub joining: bool,
    /// Read to its end for good.
    pub ended: bool,
    /// The source stops after this epoch, drained or ended.
    pub last: bool,
    /// There is more to read right now.
    pub backlog: bool,
    /// Wall-clock time of the cut, milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

/// What the close of an epoch says to an operator, of all inputs that it takes records from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// `wm(e)` of its input, or `W_C(e)` of its inputs.
    pub watermark: Watermark,
    /// The newest wall-clock time of the epoch's marks, milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// No input sends records at present: every partition is idle, or has ended. Those that wake take at least
    /// [`Tick::watermark`] for their floor.
    pub idle: bool,
    /// Every partition of every input has ended: all windows close.
    pub ended: bool,
    /// No source sends anything after this epoch, ended or drained.
    pub finishing: bool,
}

impl Tick {
    /// What stands in for a tick at the committed epoch: nothing has happened since.
    pub(crate) fn restored(watermark: Watermark) -> Tick {
        Tick { watermark, wall_ms: 0, idle: false, ended: false, finishing: false }
    }
}

/// Fixed facts of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What a flush and the end of the input close.
    pub closing: Closing,
    /// How much disorder is waited for, in milliseconds.
    pub lateness_ms: i64,
    /// After how long idleness of all partitions flushes the windows, in milliseconds; `None` is never.
    pub idle_flush_ms: Option<u64>,
}

/// Where a partition stands when a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The partition.
    pub partition: Partition,
    /// Its own watermark.
    pub own: Watermark,
    /// Its floor.
    pub floor: Watermark,
}

/// Whether an input may send records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It has no partition.
    Absent,
    /// Some partition may send records, or joins.
    Active,
    /// Every partition is idle or has ended, and some are idle.
    Idle,
    /// Every partition has ended.
    Ended,
}

/// How far an input has got, on one worker.
#[derive(Clone, Debug)]
pub struct Progress {
    rules: Rules,
    partitions: BTreeMap<Partition, State>,
    pending: BTreeMap<Epoch, Vec<Mark>>,
    /// The partitions whose joining marks belong to the epoch that is being closed.
    joining: Vec<Partition>,
    watermark: Watermark,
    first_own: Option<Watermark>,
    /// An operator with timers takes its records: a flush would fire them before their time.
    has_timers: bool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// The newest mark of a closed epoch; `None` counts as minus infinity.
    mark: Option<Mark>,
    /// None of its later records is stamped below this.
    floor: Watermark,
    /// The closed epoch whose joining mark set the floor.
    joined: Option<Epoch>,
    /// The newest mark of any epoch: for skew only.
    newest: Option<Mark>,
}

impl State {
    /// The effective watermark as of the closed epochs.
    fn effective(&self) -> Watermark {
        self.mark.map_or(EventTime::MIN, |mark| mark.own).max(self.floor)
    }

    fn has(&self, test: impl Fn(&Mark) -> bool) -> bool {
        self.mark.is_some_and(|mark| test(&mark))
    }
}

impl Progress {
    /// An input at `watermark`, whose partition set is `partitions`.
    pub fn new(
        rules: Rules,
        watermark: Watermark,
        partitions: impl IntoIterator<Item = Standing>,
    ) -> Progress {
        let state = |own: Watermark, floor| State {
            // A restored partition is never idle, joining or ended: that takes evidence of this run.
            mark: (own > EventTime::MIN).then_some(Mark {
                partition: Partition(0),
                own,
                next: Offset(0),
                idle_ms: None,
                joining: false,
                ended: false,
                last: false,
                backlog: true,
                wall_ms: 0,
            }),
            floor,
            joined: None,
            newest: None,
        };
        let standing = |Standing { partition, own, floor }| (partition, state(own, floor));
        let partitions = partitions.into_iter().map(standing).collect();
        let (pending, joining) = (BTreeMap::new(), Vec::new());
        Progress { rules, partitions, pending, joining, watermark, first_own: None, has_timers: false }
    }

    /// Notes a mark of `epoch` as soon as it arrives.
    pub(crate) fn see(&mut self, epoch: Epoch, mark: Mark) {
        if mark.own > EventTime::MIN {
            self.first_own = Some(self.first_own.map_or(mark.own, |own| own.min(mark.own)));
        }
        // A partition that is new enters the set when its epoch closes, not before.
        if let Some(state) = self.partitions.get_mut(&mark.partition) {
            state.newest = Some(mark);
        }
        self.pending.entry(epoch).or_default().push(mark);
    }

    /// Applies the marks of epochs up to `epoch`, and moves `wm` as far as they allow; answers the newest wall-clock time
    /// of the marks.
    pub(crate) fn apply(&mut self, epoch: Epoch) -> i64 {
        let mut wall_ms = 0;
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() <= epoch) {
            for mark in entry.remove() {
                wall_ms = wall_ms.max(mark.wall_ms);
                let new = State { mark: None, floor: EventTime::MIN, joined: None, newest: Some(mark) };
                let state = self.partitions.entry(mark.partition).or_insert(new);
                state.mark = Some(mark);
                if mark.joining {
                    self.joining.push(mark.partition);
                }
            }
        }
        let counts = |state: &&State| {
            state.mark.is_none_or(|mark| mark.idle_ms.is_none() && !mark.ended && !mark.joining)
        };
        let least = self.partitions.values().filter(counts).map(State::effective).min();
        self.watermark = self.watermark.max(least.unwrap_or(EventTime::MIN));
        wall_ms
    }

    /// Whether the input may send records, as of the applied marks.
    pub(crate) fn activity(&self) -> Activity {
        let all = |test: fn(&Mark) -> bool| self.partitions.values().all(|state| state.has(test));
        if self.partitions.is_empty() {
            Activity::Absent
        } else if all(|mark| mark.ended) {
            Activity::Ended
        } else if all(|mark| mark.ended || mark.idle_ms.is_some()) {
            Activity::Idle
        } else {
            Activity::Active
        }
    }

    /// True if every partition has ended, or is idle for long enough that windows may be flushed.
    pub(crate) fn is_flushable(&self) -> bool {
        let long = |mark: &Mark| {
            mark.idle_ms.is_some_and(|ms| self.rules.idle_flush_ms.is_some_and(|flush| ms >= flush))
        };
        self.partitions.values().all(|state| state.has(|mark| mark.ended || long(mark)))
    }

    /// Notes that an operator with timers takes records of this input.
    pub(crate) fn keep_timers(&mut self) {
        self.has_timers = true;
    }

    /// True if a flush of the job closes what is open of this input.
    pub(crate) fn has_windows(&self) -> bool {
        matches!(self.rules.closing, Closing::Grid(_)) && !self.has_timers
    }

    /// True if no source sends anything after the applied marks.
    pub(crate) fn is_finishing(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.values().all(|state| state.has(|mark| mark.last))
    }

    /// Moves `wm`, and every floor, to where nothing is open any more; answers that time if anything moved.
    pub(crate) fn close_all(&mut self) -> Option<EventTime> {
        let newest = self.partitions.values().filter_map(|s| s.mark).map(|mark| mark.own).max()?;
        if newest == EventTime::MIN {
            return None;
        }
        let newest = newest.plus_ms(self.rules.lateness_ms);
        let closing = self.rules.closing.closing_time(newest).max(self.watermark);
        let moved = closing > self.watermark || self.partitions.values().any(|s| s.floor < closing);
        self.watermark = closing;
        for state in self.partitions.values_mut() {
            state.floor = state.floor.max(closing);
        }
        moved.then_some(closing)
    }

    /// Lets the partitions that join in `epoch` do so, with `floor`.
    pub(crate) fn join(&mut self, epoch: Epoch, floor: Watermark) {
        for partition in std::mem::take(&mut self.joining) {
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.floor = state.floor.max(floor);
                state.joined = Some(epoch);
                state.mark = state.mark.map(|mark| Mark { joining: false, ..mark });
            }
        }
    }

    /// `wm` of the newest closed epoch.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// The floor of a partition, as of the closed epochs.
    pub(crate) fn floor(&self, partition: Partition) -> Watermark {
        self.partitions.get(&partition).map_or(EventTime::MIN, |state| state.floor)
    }

    /// The closed epoch in which `partition` last joined.
    pub(crate) fn joined(&self, partition: Partition) -> Option<Epoch> {
        self.partitions.get(&partition).and_then(|state| state.joined)
    }

    /// The oldest event time, less lateness, that a partition of this input started with in this run.
    pub(crate) fn first_own(&self) -> Option<Watermark> {
        self.first_own
    }

    /// Effective watermark of the slowest partition that still has a backlog, as far as marks show; `first_own` is that
    /// of a partition that has accepted nothing yet.
    pub(crate) fn slowest(&self, first_own: Option<Watermark>) -> Option<Watermark> {
        let effective = |state: &State| {
            if state.newest.is_some_and(|mark| !mark.backlog || mark.ended) {
                return None;
            }
            // One that was idle for long and may not be read yet is as far as where it joined, not as where it stood.
            let own = state.newest.map_or(EventTime::MIN, |mark| mark.own).max(state.floor);
            if own > EventTime::MIN { Some(own) } else { first_own }
        };
        self.partitions.values().filter_map(effective).min()
    }

    /// Own watermark of `partition`, as far as marks show.
    pub(crate) fn own(&self, partition: Partition) -> Watermark {
        let newest = self.partitions.get(&partition).and_then(|state| state.newest);
        newest.map_or(EventTime::MIN, |mark| mark.own)
    }
}
