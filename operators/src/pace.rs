//! How far the inputs of a job have got together: `W_C(e)` of every set of inputs, flushes, floors, cuts and skew.
//!
//! Every worker keeps one [`Pace`] and feeds it the same marks, so all come to the same answers.
//!
//! 1. **One sequence of epochs.** The first source of any input to end an epoch ends it for all; feeds compare their epoch
//!    with [`InputPace::newest_ended`].
//! 2. **`W_C`.** An operator over the inputs C goes by `W_C(e)` = max(`W_C(e-1)`, least `wm_i(e)` over the inputs of C that
//!    are neither idle nor ended). None left: `W_C(e-1)`. All ended: the greatest closing time. For a single input it is
//!    `wm_i(e)` itself. An input without partitions counts as neither.
//! 3. **Flush.** Where all partitions of all inputs have been idle for long enough or have ended, `wm` of an input with
//!    windows and without timers moves to the end of the last one; that becomes the floor of each of its partitions. So it does at the end of
//!    an input, windows or not.
//! 4. **Floors.** A partition of input i that joins in `e` takes the greatest of `wm_i(e)` and `W_C(e)` over all C with i;
//!    so does one that a run takes over while it stands behind ([`join_floor`]).
//!
//! Invariant: `W_C(e)` never exceeds the effective watermark of a partition of C that may send records after `e`. So no
//! record that is on time meets a watermark of any operator that it reaches.

use crate::ack::{Ack, InputIx};
use crate::progress::{Activity, Mark, Progress, Tick};
use crate::record::Partition;
use crate::time::{Epoch, EventTime, Watermark};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// `W_C` of a set of several inputs. Never falls, over restarts either: it is part of what commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputsWatermark {
    /// The inputs by number, rising.
    pub inputs: Vec<InputIx>,
    /// `W_C(e)`.
    pub watermark: Watermark,
}

/// The floor of a partition of `input` that joins, or that a run takes over while it stands behind: the greatest of the
/// input's own `watermark` and of `W_C` over the `sets` that hold the input.
pub fn join_floor<'a>(
    input: InputIx,
    watermark: Watermark,
    sets: impl IntoIterator<Item = &'a InputsWatermark>,
) -> Watermark {
    let holds = sets.into_iter().filter(|set| set.inputs.contains(&input));
    holds.map(|set| set.watermark).fold(watermark, Watermark::max)
}

/// A set of inputs whose records come together in some operator. The sets of a single input have the input's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetIx(usize);

impl SetIx {
    /// The set of one input.
    pub fn of(input: InputIx) -> SetIx {
        SetIx(input.index())
    }
}

/// A table that does not change while a job runs: records are looked up in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableSpec {
    /// The name of its file.
    pub name: String,
    /// The digest of the file's content.
    pub digest: String,
}

/// How far the inputs of a job have got, on one worker.
#[derive(Clone, Debug)]
pub struct Pace {
    inputs: Vec<Progress>,
    /// The sets that the dataflow goes by: first those of a single input, by its number.
    sets: Vec<InputsWatermark>,
    /// What an earlier run committed; a set that this run does not go by is dropped.
    restored: Vec<InputsWatermark>,
    /// The tables that the dataflow was built with.
    tables: BTreeSet<TableSpec>,
    newest_ended: Option<Epoch>,
}

/// What the close of an epoch says: a tick for each set of inputs, and what the committer must know.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    ticks: Vec<Tick>,
    acks: Vec<Ack>,
}

impl Moment {
    /// The tick of the operators that go by `set`.
    pub fn tick(&self, set: SetIx) -> Tick {
        self.ticks[set.0]
    }

    /// A moment of a job with a single set of inputs, for tests of an operator.
    #[cfg(test)]
    pub(crate) fn of(tick: Tick) -> Moment {
        Moment { ticks: vec![tick], acks: Vec::new() }
    }

    /// The watermarks, as the committer takes them.
    pub fn acks(&self) -> &[Ack] {
        &self.acks
    }
}

impl Pace {
    /// The inputs of a job by their numbers, and `W_C` of the sets of several inputs as an earlier run committed them.
    pub fn new(inputs: Vec<Progress>, restored: Vec<InputsWatermark>) -> Pace {
        let single = |(number, progress): (InputIx, &Progress)| InputsWatermark {
            inputs: vec![number],
            watermark: progress.watermark(),
        };
        let sets = (0..).map(InputIx).zip(&inputs).map(single).collect();
        Pace { inputs, sets, restored, tables: BTreeSet::new(), newest_ended: None }
    }

    /// The set of `inputs`, which an operator goes by from now on. Asked for while the dataflow is built.
    pub fn set(&mut self, inputs: &BTreeSet<InputIx>) -> SetIx {
        let is_same = |set: &&InputsWatermark| set.inputs.iter().eq(inputs);
        if let Some(known) = self.sets.iter().position(|set| is_same(&set)) {
            return SetIx(known);
        }
        let restored = self.restored.iter().find(is_same).map_or(EventTime::MIN, |set| set.watermark);
        self.sets.push(InputsWatermark { inputs: inputs.iter().copied().collect(), watermark: restored });
        SetIx(self.sets.len() - 1)
    }

    /// Notes a table that an operator looks records up in. Told of while the dataflow is built.
    pub(crate) fn table(&mut self, table: TableSpec) {
        self.tables.insert(table);
    }

    /// The tables that the dataflow was built with.
    pub(crate) fn tables(&self) -> &BTreeSet<TableSpec> {
        &self.tables
    }

    /// Notes that an operator with timers goes by `set`: no flush moves the watermark of its inputs.
    pub(crate) fn keep_timers(&mut self, set: SetIx) {
        for input in &self.sets[set.0].inputs {
            self.inputs[input.index()].keep_timers();
        }
    }

    /// The inputs of `set`.
    pub fn inputs(&self, set: SetIx) -> &[InputIx] {
        &self.sets[set.0].inputs
    }

    /// The sets of several inputs, with their `W_C` as of the newest closed epoch.
    pub fn sets(&self) -> &[InputsWatermark] {
        &self.sets[self.inputs.len()..]
    }

    /// The watermark of `set` as of the newest closed epoch.
    pub fn watermark(&self, set: SetIx) -> Watermark {
        self.sets[set.0].watermark
    }

    /// Notes a mark of `epoch` as soon as it arrives.
    pub fn see(&mut self, epoch: Epoch, input: InputIx, mark: Mark) {
        self.newest_ended = self.newest_ended.max(Some(epoch));
        self.inputs[input.index()].see(epoch, mark);
    }

    /// Closes `epoch`: applies the marks of epochs up to it. Epochs close in rising order.
    pub fn close(&mut self, epoch: Epoch) -> Moment {
        // 1. How far each input has got by itself.
        let wall_ms = self.inputs.iter_mut().map(|input| input.apply(epoch)).max().unwrap_or_default();
        let flushes = self.inputs.iter().all(Progress::is_flushable);
        let close_all = |input: &mut Progress| {
            let closes = input.activity() == Activity::Ended || (flushes && input.has_windows());
            if closes { input.close_all() } else { None }
        };
        let flushed: Vec<Option<EventTime>> = self.inputs.iter_mut().map(close_all).collect();
        // 2. How far the sets have got.
        for at in 0..self.sets.len() {
            self.sets[at].watermark = self.advanced(&self.sets[at]);
        }
        // 3. Floors of those that join.
        let (inputs, sets) = (&mut self.inputs, &self.sets);
        for (number, input) in (0..).zip(inputs) {
            input.join(epoch, join_floor(InputIx(number), input.watermark(), sets));
        }
        Moment {
            ticks: self.sets.iter().map(|set| self.tick(set, wall_ms)).collect(),
            acks: self.acks(&flushed),
        }
    }

    /// The watermark of `set`, once its inputs have moved.
    fn advanced(&self, set: &InputsWatermark) -> Watermark {
        let inputs = || set.inputs.iter().map(|input| &self.inputs[input.index()]);
        if let [_] = set.inputs[..] {
            return inputs().map(Progress::watermark).fold(set.watermark, Watermark::max);
        }
        let of =
            |activity| inputs().filter(move |input| input.activity() == activity).map(Progress::watermark);
        let is_over = self.activity(set) == Activity::Ended;
        let reached = if is_over { of(Activity::Ended).max() } else { of(Activity::Active).min() };
        set.watermark.max(reached.unwrap_or(EventTime::MIN))
    }

    /// Whether the inputs of `set`, taken together, may send records.
    fn activity(&self, set: &InputsWatermark) -> Activity {
        let of = |input: &InputIx| self.inputs[input.index()].activity();
        let any = |activity| set.inputs.iter().any(|input| of(input) == activity);
        let in_order = [Activity::Active, Activity::Idle, Activity::Ended];
        in_order.into_iter().find(|activity| any(*activity)).unwrap_or(Activity::Absent)
    }

    fn tick(&self, set: &InputsWatermark, wall_ms: i64) -> Tick {
        let activity = self.activity(set);
        let is_last = |input: &InputIx| self.inputs[input.index()].is_finishing();
        Tick {
            watermark: set.watermark,
            wall_ms,
            idle: matches!(activity, Activity::Idle | Activity::Absent),
            ended: activity == Activity::Ended,
            finishing: set.inputs.iter().all(is_last),
        }
    }

    fn acks(&self, flushed: &[Option<EventTime>]) -> Vec<Ack> {
        let single =
            |((number, input), flushed): ((InputIx, &Progress), &Option<EventTime>)| Ack::Watermark {
                input: number,
                watermark: input.watermark(),
                ended: input.activity() == Activity::Ended,
                flushed: *flushed,
            };
        let several = |set: &InputsWatermark| Ack::InputsWatermark {
            inputs: set.inputs.clone(),
            watermark: set.watermark,
        };
        let singles = (0..).map(InputIx).zip(&self.inputs).zip(flushed).map(single);
        singles.chain(self.sets().iter().map(several)).collect()
    }

    /// The inputs that some operator takes together with `input`, itself included.
    fn companions(&self, input: InputIx) -> impl Iterator<Item = &Progress> {
        let together = move |other: InputIx| {
            let both = |set: &InputsWatermark| set.inputs.contains(&input) && set.inputs.contains(&other);
            self.sets.iter().any(both)
        };
        (0..)
            .zip(&self.inputs)
            .filter(move |(other, _)| together(InputIx(*other)))
            .map(|(_, progress)| progress)
    }
}

/// Shared between the operators of one worker.
pub type SharedPace = Rc<RefCell<Pace>>;

/// What the feed of one input sees of the pace of the job.
#[derive(Clone, Debug)]
pub struct InputPace {
    pace: SharedPace,
    input: InputIx,
}

impl InputPace {
    /// The view of `input`.
    pub fn new(pace: &SharedPace, input: InputIx) -> InputPace {
        InputPace { pace: Rc::clone(pace), input }
    }

    fn with<T>(&self, ask: impl FnOnce(&Progress) -> T) -> T {
        ask(&self.pace.borrow().inputs[self.input.index()])
    }

    /// The newest epoch that some source of the job has ended, closed or not, as far as marks show.
    pub fn newest_ended(&self) -> Option<Epoch> {
        self.pace.borrow().newest_ended
    }

    /// The floor of a partition, as of the closed epochs.
    pub fn floor(&self, partition: Partition) -> Watermark {
        self.with(|progress| progress.floor(partition))
    }

    /// The closed epoch in which `partition` last joined.
    pub fn joined(&self, partition: Partition) -> Option<Epoch> {
        self.with(|progress| progress.joined(partition))
    }

    /// Own watermark of `partition`, as far as marks show.
    pub fn own(&self, partition: Partition) -> Watermark {
        self.with(|progress| progress.own(partition))
    }

    /// Effective watermark of the slowest partition that still has a backlog, of this input or of one that an operator takes
    /// together with it, as far as marks show.
    ///
    /// One that has accepted nothing yet counts as the oldest event time that any of them started with.
    pub fn slowest(&self) -> Option<Watermark> {
        let pace = self.pace.borrow();
        let first_own = pace.companions(self.input).filter_map(Progress::first_own).min();
        pace.companions(self.input).filter_map(|progress| progress.slowest(first_own)).min()
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
