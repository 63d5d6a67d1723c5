//! How far an input has got: from the marks of all its partitions to `wm(e)`, floors, cuts and skew.
//!
//! Every worker keeps one [`Progress`] an input and feeds it the same marks, so all come to the same answers.
//!
//! 1. At the end of epoch `e` a source broadcasts a [`Mark`] for each of its partitions. Sources may skip epoch
//!    numbers, so marks are carried forward, never counted.
//! 2. When the marks' frontier has passed `e`, [`Progress::close`] applies the marks of epochs up to `e`, and none
//!    of a later one, and answers `wm(e)`.
//! 3. Feeds look at what is *seen* (the newest mark, closed or not) only for what has no meaning: when to cut, whom
//!    to pause.
//!
//! Invariant: `wm(e)` never exceeds the effective watermark of a partition that may still send records.

use crate::record::{Offset, Partition};
use crate::stream::window::Grid;
use crate::time::{Epoch, EventTime, Watermark};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Shared between the watermark operator, which writes it, and the feed of the same worker, which reads it.
pub type SharedProgress = Rc<RefCell<Progress>>;

/// The newest epoch that some source of the job has ended, as far as marks have told this worker. All inputs of a worker
/// share it: the job has one sequence of epochs, and a quiet input must not hold a busy one back.
pub type NewestEnded = Rc<Cell<Option<Epoch>>>;

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

/// What an epoch's close says of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// `wm(e)`.
    pub watermark: Watermark,
    /// The newest wall-clock time of the epoch's marks, milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// Every partition has ended: all windows close.
    pub ended: bool,
    /// No source sends anything after this epoch, ended or drained.
    pub finishing: bool,
    /// The floor that every partition takes, where the input was flushed or ended in this epoch.
    pub flushed: Option<EventTime>,
}

/// Fixed facts of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The grid of its windows: says where a flush ends.
    pub grid: Grid,
    /// How much disorder is waited for, in milliseconds.
    pub lateness_ms: i64,
    /// After how long idleness of all partitions flushes the windows, in milliseconds; `None` is never.
    pub idle_flush_ms: Option<u64>,
}

/// How far an input has got, on one worker.
#[derive(Clone, Debug)]
pub struct Progress {
    rules: Rules,
    partitions: BTreeMap<Partition, State>,
    pending: BTreeMap<Epoch, Vec<Mark>>,
    watermark: Watermark,
    newest_ended: NewestEnded,
    first_own: Option<Watermark>,
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
}

impl Progress {
    /// An input at `watermark`, whose partition set is `partitions`: (number, own watermark, floor).
    pub fn new(
        rules: Rules,
        watermark: Watermark,
        partitions: impl IntoIterator<Item = (Partition, Watermark, Watermark)>,
    ) -> Progress {
        let state = |own: Watermark, floor| State {
            // A restored partition is never idle, joining or ended: that takes evidence of this run.
            mark: (own > EventTime::MIN).then_some(Mark {
                partition: 0,
                own,
                next: 0,
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
        let partitions = partitions.into_iter().map(|(p, own, floor)| (p, state(own, floor))).collect();
        let (pending, newest_ended) = (BTreeMap::new(), NewestEnded::default());
        Progress { rules, partitions, pending, watermark, newest_ended, first_own: None }
    }

    /// Shares the newest ended epoch with the other inputs of the worker.
    #[must_use]
    pub fn sharing(mut self, newest_ended: &NewestEnded) -> Progress {
        self.newest_ended = Rc::clone(newest_ended);
        self
    }

    /// Notes a mark of `epoch` as soon as it arrives.
    pub fn see(&mut self, epoch: Epoch, mark: Mark) {
        self.newest_ended.set(self.newest_ended.get().max(Some(epoch)));
        if mark.own > EventTime::MIN {
            self.first_own = Some(self.first_own.map_or(mark.own, |own| own.min(mark.own)));
        }
        // A partition that is first heard of enters the set when its epoch closes, not before.
        if let Some(state) = self.partitions.get_mut(&mark.partition) {
            state.newest = Some(mark);
        }
        self.pending.entry(epoch).or_default().push(mark);
    }

    /// Closes `epoch`: applies the marks of epochs up to it. Epochs close in rising order.
    pub fn close(&mut self, epoch: Epoch) -> Tick {
        let mut wall_ms = 0;
        let mut joined = Vec::new();
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() <= epoch) {
            for mark in entry.remove() {
                wall_ms = wall_ms.max(mark.wall_ms);
                let new = State { mark: None, floor: EventTime::MIN, joined: None, newest: Some(mark) };
                let state = self.partitions.entry(mark.partition).or_insert(new);
                state.mark = Some(mark);
                if mark.joining {
                    joined.push(mark.partition);
                }
            }
        }
        let flushed = self.advance();
        for partition in joined {
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.floor = state.floor.max(self.watermark);
                state.joined = Some(epoch);
                state.mark = state.mark.map(|mark| Mark { joining: false, ..mark });
            }
        }
        let all = |test: fn(&Mark) -> bool| {
            !self.partitions.is_empty() && self.partitions.values().all(|s| s.mark.is_some_and(|m| test(&m)))
        };
        let (ended, finishing) = (all(|m| m.ended), all(|m| m.last));
        Tick { watermark: self.watermark, wall_ms, ended, finishing, flushed }
    }

    /// Moves `wm` as far as the applied marks allow; answers the floor if that closed all windows.
    fn advance(&mut self) -> Option<EventTime> {
        let counts = |state: &&State| {
            state.mark.is_none_or(|mark| mark.idle_ms.is_none() && !mark.ended && !mark.joining)
        };
        let least = self.partitions.values().filter(counts).map(State::effective).min();
        if let Some(least) = least {
            self.watermark = self.watermark.max(least);
            return None;
        }
        let flushes = |state: &State| {
            let Some(mark) = state.mark else { return false };
            let long = |ms| self.rules.idle_flush_ms.is_some_and(|flush| ms >= flush);
            mark.ended || mark.idle_ms.is_some_and(long)
        };
        if self.partitions.is_empty() || !self.partitions.values().all(flushes) {
            return None;
        }
        let newest = self.partitions.values().filter_map(|s| s.mark).map(|mark| mark.own).max()?;
        if newest == EventTime::MIN {
            return None;
        }
        let closing = self.rules.grid.last_end(newest.plus_ms(self.rules.lateness_ms)).max(self.watermark);
        let moved = closing > self.watermark || self.partitions.values().any(|s| s.floor < closing);
        self.watermark = closing;
        for state in self.partitions.values_mut() {
            state.floor = state.floor.max(closing);
        }
        moved.then_some(closing)
    }

    /// `wm` of the newest closed epoch.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// The newest epoch that some source of the job has ended, closed or not.
    pub fn newest_ended(&self) -> Option<Epoch> {
        self.newest_ended.get()
    }

    /// The floor of a partition, as of the closed epochs.
    pub fn floor(&self, partition: Partition) -> Watermark {
        self.partitions.get(&partition).map_or(EventTime::MIN, |state| state.floor)
    }

    /// The closed epoch in which `partition` last joined.
    pub fn joined(&self, partition: Partition) -> Option<Epoch> {
        self.partitions.get(&partition).and_then(|state| state.joined)
    }

    /// Effective watermark of the slowest partition that still has a backlog, as far as marks tell.
    ///
    /// One that has accepted nothing yet counts as the oldest event time any partition started with.
    pub fn slowest(&self) -> Option<Watermark> {
        let effective = |state: &State| {
            if state.newest.is_some_and(|mark| !mark.backlog || mark.ended) {
                return None;
            }
            // One that was idle for long and may not be read yet is as far as where it joined, not as where it stood.
            let own = state.newest.map_or(EventTime::MIN, |mark| mark.own).max(state.floor);
            if own > EventTime::MIN { Some(own) } else { self.first_own }
        };
        self.partitions.values().filter_map(effective).min()
    }

    /// Own watermark of `partition`, as far as marks tell.
    pub fn own(&self, partition: Partition) -> Watermark {
        let newest = self.partitions.get(&partition).and_then(|state| state.newest);
        newest.map_or(EventTime::MIN, |mark| mark.own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARTITIONS: Partition = 3;

    /// The marks of one epoch: a partition may say nothing, and says no less than before.
    fn epochs() -> impl Strategy<Value = Vec<Vec<Mark>>> {
        let said = (0i64..40, prop::option::of(0u64..200), any::<bool>(), 0u8..9);
        let epoch = prop::collection::vec(prop::option::of(said), PARTITIONS as usize);
        prop::collection::vec(epoch, 1..12).prop_map(|epochs| {
            let mut own = [EventTime::MIN; PARTITIONS as usize];
            let mut marks = Vec::new();
            for said in epochs {
                let said = (0..PARTITIONS).zip(said).filter_map(|(partition, said)| Some((partition, said?)));
                let mark = |(partition, (moved, idle_ms, joining, end)): (
                    Partition,
                    (i64, Option<u64>, bool, u8),
                )| {
                    let own = &mut own[partition as usize];
                    if moved > 0 {
                        *own = (*own).max(EventTime(0)).plus_ms(moved);
                    }
                    let (ended, backlog) = (end == 0, end > 4);
                    let (next, last, wall_ms) = (0, false, 0);
                    Mark { partition, own: *own, next, idle_ms, joining, ended, last, backlog, wall_ms }
                };
                marks.push(said.map(mark).collect());
            }
            marks
        })
    }

    /// Sees the marks of each epoch, and those of so many later ones, before the epoch closes.
    fn ticks(epochs: &[Vec<Mark>], early: &[usize]) -> Vec<Tick> {
        let all = (0..PARTITIONS).map(|partition| (partition, EventTime::MIN, EventTime::MIN));
        let rules = Rules { grid: Grid::tumbling(10), lateness_ms: 5, idle_flush_ms: Some(100) };
        let (mut progress, mut seen) = (Progress::new(rules, EventTime::MIN, all), 0);
        let mut close = |epoch: usize| {
            let upto = (epoch + 1 + early[epoch % early.len()]).min(epochs.len());
            for (epoch, marks) in (0..).zip(epochs).take(upto).skip(seen) {
                marks.iter().for_each(|mark| progress.see(epoch, *mark));
            }
            seen = seen.max(upto);
            progress.close(epoch as Epoch)
        };
        (0..epochs.len()).map(&mut close).collect()
    }

    #[test]
    fn partition_that_joined_late_is_as_far_as_where_it_joined() {
        let mark = |partition, own, idle_ms, joining, backlog| Mark {
            partition,
            own: EventTime(own),
            next: 0,
            idle_ms,
            joining,
            ended: false,
            last: false,
            backlog,
            wall_ms: 0,
        };
        let rules = Rules { grid: Grid::tumbling(10), lateness_ms: 0, idle_flush_ms: None };
        let both = (0..2).map(|partition| (partition, EventTime::MIN, EventTime::MIN));
        let mut progress = Progress::new(rules, EventTime::MIN, both);
        progress.see(1, mark(0, 1_000, None, false, true));
        progress.see(1, mark(1, 5, Some(1), false, false));
        progress.close(1);
        progress.see(2, mark(0, 2_000, None, false, true));
        progress.see(2, mark(1, 5, None, true, true));
        progress.close(2);
        assert_eq!(progress.slowest(), Some(progress.floor(1)));
        assert!(progress.floor(1) >= EventTime(1_000), "it joined at the watermark");
    }

    proptest! {
        #[test]
        fn marks_that_come_before_their_epoch_closes_change_nothing(
            epochs in epochs(), early in prop::collection::vec(0usize..4, 1..6)
        ) {
            prop_assert_eq!(ticks(&epochs, &early), ticks(&epochs, &[0]));
        }

        #[test]
        fn watermark_never_falls(epochs in epochs()) {
            let watermarks: Vec<_> = ticks(&epochs, &[0]).into_iter().map(|tick| tick.watermark).collect();
            prop_assert!(watermarks.is_sorted(), "{watermarks:?}");
        }
    }
}
