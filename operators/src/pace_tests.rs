//! Tests of the pace: what moves watermarks, and that no record that is on time ever meets one.

use super::*;
use crate::progress::{Rules, Standing};
use crate::record::Offset;
use crate::stream::window::{Closing, Grid};
use proptest::prelude::*;
use std::collections::BTreeMap;

const LATENESS_MS: i64 = 5;

fn rules(closing: Closing) -> Rules {
    Rules { closing, lateness_ms: LATENESS_MS, idle_flush_ms: Some(100) }
}

fn fresh(partitions: u32, closing: Closing) -> Progress {
    let (own, floor) = (EventTime::MIN, EventTime::MIN);
    let standing = |partition| Standing { partition, own, floor };
    Progress::new(rules(closing), EventTime::MIN, (0..partitions).map(Partition).map(standing))
}

fn mark(partition: Partition, own: i64) -> Mark {
    let (idle_ms, joining, ended, last) = (None, false, false, false);
    Mark {
        partition,
        own: EventTime(own),
        next: Offset(0),
        idle_ms,
        joining,
        ended,
        last,
        backlog: true,
        wall_ms: 0,
    }
}

fn grid() -> Closing {
    Closing::Grid(Grid::tumbling(10))
}

/// Two inputs of one partition each, which one operator takes together.
fn pair(closing: [Closing; 2]) -> (Pace, SetIx) {
    let mut pace = Pace::new(closing.map(|closing| fresh(1, closing)).to_vec(), Vec::new());
    let both = pace.set(&BTreeSet::from([InputIx(0), InputIx(1)]));
    (pace, both)
}

/// Closes `epoch` with the newest marks of the two inputs.
fn close(pace: &mut Pace, epoch: Epoch, marks: [Mark; 2]) -> Moment {
    (0..).zip(marks).for_each(|(input, mark)| pace.see(epoch, InputIx(input), mark));
    pace.close(epoch)
}

#[test]
fn partition_that_joined_late_is_as_far_as_where_it_joined() {
    let mut pace = Pace::new(vec![fresh(2, grid())], Vec::new());
    pace.see(Epoch(1), InputIx(0), mark(Partition(0), 1_000));
    pace.see(Epoch(1), InputIx(0), Mark { idle_ms: Some(1), backlog: false, ..mark(Partition(1), 5) });
    pace.close(Epoch(1));
    pace.see(Epoch(2), InputIx(0), mark(Partition(0), 2_000));
    pace.see(Epoch(2), InputIx(0), Mark { joining: true, ..mark(Partition(1), 5) });
    pace.close(Epoch(2));
    let input = InputPace::new(&Rc::new(RefCell::new(pace)), InputIx(0));
    assert_eq!(input.slowest(), Some(input.floor(Partition(1))));
    assert!(input.floor(Partition(1)) >= EventTime(1_000), "it joined at the watermark");
}

#[test]
fn operator_over_several_inputs_goes_by_the_slowest_that_is_neither_idle_nor_ended() {
    let (mut pace, both) = pair([grid(), grid()]);
    let at = |moment: &Moment| moment.tick(both).watermark.ms();
    assert_eq!(at(&close(&mut pace, Epoch(1), [mark(Partition(0), 100), mark(Partition(0), 30)])), 30);
    // The slow one is idle: the other one alone counts.
    let idle = Mark { idle_ms: Some(1), ..mark(Partition(0), 30) };
    let moment = close(&mut pace, Epoch(2), [mark(Partition(0), 200), idle]);
    assert_eq!((at(&moment), moment.tick(both).idle), (200, false));
    // None is left: it stands still.
    let moment = close(&mut pace, Epoch(3), [Mark { idle_ms: Some(1), ..mark(Partition(0), 250) }, idle]);
    assert_eq!((at(&moment), moment.tick(both).idle), (200, true));
    // The slow one wakes, behind the others' watermark: it takes that for its floor.
    close(&mut pace, Epoch(4), [mark(Partition(0), 260), Mark { joining: true, ..mark(Partition(0), 30) }]);
    assert_eq!(pace.watermark(SetIx::of(InputIx(1))).ms(), 30);
    assert_eq!(pace.inputs[1].floor(Partition(0)).ms(), 200);
    let moment = close(&mut pace, Epoch(5), [mark(Partition(0), 300), mark(Partition(0), 40)]);
    assert_eq!((at(&moment), moment.tick(both).idle), (200, false));
    // One ends early: the other one alone counts. Both have ended: the greatest closing time.
    let ended = Mark { ended: true, ..mark(Partition(0), 300) };
    let moment = close(&mut pace, Epoch(6), [ended, mark(Partition(0), 210)]);
    assert_eq!((at(&moment), moment.tick(both).ended), (210, false));
    assert_eq!(moment.tick(SetIx::of(InputIx(0))).watermark.ms(), 310, "305 lies in 300..310");
    let moment = close(&mut pace, Epoch(7), [ended, Mark { ended: true, ..mark(Partition(0), 220) }]);
    assert_eq!((at(&moment), moment.tick(both).ended), (310, true));
}

#[test]
fn windows_are_flushed_only_when_all_inputs_are_quiet_and_timers_never() {
    let (mut pace, _) = pair([grid(), Closing::Horizon { ms: 1_000 }]);
    let quiet = |own, idle_ms| Mark { idle_ms: Some(idle_ms), ..mark(Partition(0), own) };
    close(&mut pace, Epoch(1), [quiet(100, 500), quiet(30, 99)]);
    assert_eq!(
        pace.watermark(SetIx::of(InputIx(0))).ms(),
        i64::MIN,
        "the other input is not quiet for long enough"
    );
    let moment = close(&mut pace, Epoch(2), [quiet(100, 600), quiet(30, 100)]);
    assert_eq!(moment.tick(SetIx::of(InputIx(0))).watermark.ms(), 110);
    assert_eq!(moment.tick(SetIx::of(InputIx(1))).watermark.ms(), i64::MIN, "a timer would fire too early");
    let flushed = |moment: &Moment| match &moment.acks()[0] {
        Ack::Watermark { flushed, .. } => flushed.map(EventTime::ms),
        other => panic!("{other:?}"),
    };
    assert_eq!(flushed(&moment), Some(110));
    assert_eq!(
        flushed(&close(&mut pace, Epoch(3), [quiet(100, 700), quiet(30, 200)])),
        None,
        "nothing moved"
    );
}

#[test]
fn what_is_open_at_the_end_of_an_input_without_windows_closes() {
    let (mut pace, both) = pair([Closing::Horizon { ms: 1_000 }, Closing::Horizon { ms: 0 }]);
    let ended = |own| Mark { ended: true, ..mark(Partition(0), own) };
    let moment = close(&mut pace, Epoch(1), [ended(100), ended(500)]);
    assert_eq!(moment.tick(SetIx::of(InputIx(0))).watermark.ms(), 1_106, "a timer at 1,105 fires");
    assert_eq!(moment.tick(both).watermark.ms(), 1_106);
}

#[test]
fn watermark_of_a_set_comes_back_after_a_restart_and_its_floors_with_it() {
    let restored = InputsWatermark { inputs: vec![InputIx(0), InputIx(1)], watermark: EventTime(70) };
    let mut pace = Pace::new(vec![fresh(1, grid()), fresh(1, grid())], vec![restored.clone()]);
    let both = pace.set(&BTreeSet::from([InputIx(0), InputIx(1)]));
    assert_eq!(pace.watermark(both), EventTime(70));
    assert_eq!(
        close(&mut pace, Epoch(1), [mark(Partition(0), 10), mark(Partition(0), 20)]).tick(both).watermark,
        EventTime(70)
    );
    assert_eq!(join_floor(InputIx(1), EventTime(20), [&restored]), EventTime(70));
    assert_eq!(join_floor(InputIx(2), EventTime(20), [&restored]), EventTime(20));
}

#[test]
fn slowest_partition_may_be_of_another_input_only_if_an_operator_takes_both() {
    let mut pace = Pace::new(vec![fresh(1, grid()), fresh(1, grid()), fresh(1, grid())], Vec::new());
    pace.set(&BTreeSet::from([InputIx(0), InputIx(1)]));
    (0..)
        .zip([500, 30, 7])
        .for_each(|(input, own)| pace.see(Epoch(1), InputIx(input), mark(Partition(0), own)));
    let pace = Rc::new(RefCell::new(pace));
    let slowest = [0, 1, 2].map(|input| InputPace::new(&pace, InputIx(input)).slowest());
    assert_eq!(slowest, [30, 30, 7].map(|own| Some(EventTime(own))));
}

/// The marks of one epoch of one input of three partitions: one may say nothing, and says no less than before.
fn epochs() -> impl Strategy<Value = Vec<Vec<Mark>>> {
    let said = (0i64..40, prop::option::of(0u64..200), any::<bool>(), 0u8..9);
    let epoch = prop::collection::vec(prop::option::of(said), 3);
    prop::collection::vec(epoch, 1..12).prop_map(|epochs| {
        let mut own = [EventTime::MIN; 3];
        let mut marks = Vec::new();
        for said in epochs {
            let said = (0..3).zip(said).filter_map(|(partition, said)| Some((partition, said?)));
            let one = |(partition, (moved, idle_ms, joining, end)): (usize, (i64, _, _, u8))| {
                if moved > 0 {
                    own[partition] = own[partition].max(EventTime(0)).plus_ms(moved);
                }
                let (ended, backlog) = (end == 0, end > 4);
                Mark {
                    idle_ms,
                    joining,
                    ended,
                    backlog,
                    ..mark(Partition(partition as u32), own[partition].ms())
                }
            };
            marks.push(said.map(one).collect());
        }
        marks
    })
}

/// Sees the marks of each epoch, and those of so many later ones, before the epoch closes.
fn moments(epochs: &[Vec<Mark>], early: &[usize]) -> Vec<Moment> {
    let (mut pace, mut seen) = (Pace::new(vec![fresh(3, grid())], Vec::new()), 0);
    let mut close = |epoch: usize| {
        let upto = (epoch + 1 + early[epoch % early.len()]).min(epochs.len());
        for (epoch, marks) in (0..).zip(epochs).take(upto).skip(seen) {
            marks.iter().for_each(|mark| pace.see(Epoch(epoch), InputIx(0), *mark));
        }
        seen = seen.max(upto);
        pace.close(Epoch(epoch as u64))
    };
    (0..epochs.len()).map(&mut close).collect()
}

/// What happens to one partition in one epoch.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Nothing to read.
    Quiet,
    /// Records at these event times, relative to where the clock of the script stands.
    Records(i64, i64),
    /// It is idle, for so long.
    Idle(u64),
    /// Its input ends for good.
    End,
}

/// A partition as a feed and an ingest operator keep it.
#[derive(Clone, Copy, Debug)]
struct Part {
    own: Watermark,
    floor: Watermark,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Counts,
    Idle(u64),
    Joining,
    Ended,
}

/// A job of several inputs as a script, with what would be in its manifest.
struct Script {
    pace: Pace,
    parts: BTreeMap<(InputIx, Partition), Part>,
    closings: Vec<Closing>,
    sets: Vec<BTreeSet<InputIx>>,
}

impl Script {
    fn new(partitions: &[u32], closings: &[Closing], sets: &[BTreeSet<InputIx>]) -> Script {
        let part = Part { own: EventTime::MIN, floor: EventTime::MIN, phase: Phase::Counts };
        let all = (0..)
            .map(InputIx)
            .zip(partitions)
            .flat_map(|(input, count)| (0..*count).map(move |p| (input, Partition(p))));
        let pace = Pace::new(Vec::new(), Vec::new());
        let parts = all.map(|key| (key, part)).collect();
        let mut script = Script { pace, parts, closings: closings.to_vec(), sets: sets.to_vec() };
        let watermarks = vec![EventTime::MIN; partitions.len()];
        script.start(&watermarks, Vec::new());
        script
    }

    /// Builds the pace as a run does, from what is in the manifest.
    fn start(&mut self, watermarks: &[Watermark], restored: Vec<InputsWatermark>) {
        let progress = |(input, watermark): (InputIx, &Watermark)| {
            let mine = self.parts.iter().filter(|((i, _), _)| *i == input);
            let standing = mine.map(|((_, partition), part)| Standing {
                partition: *partition,
                own: part.own,
                floor: part.floor,
            });
            Progress::new(rules(self.closings[input.index()]), *watermark, standing)
        };
        self.pace = Pace::new((0..).map(InputIx).zip(watermarks).map(progress).collect(), restored);
        for set in &self.sets {
            self.pace.set(set);
        }
    }

    /// Goes on from the manifest: what was told of idleness does not hold, and what is behind takes a floor.
    fn restart(&mut self) {
        let inputs = (0..self.closings.len() as u16).map(InputIx);
        let watermarks: Vec<_> = inputs.map(|input| self.pace.watermark(SetIx::of(input))).collect();
        let restored = self.pace.sets().to_vec();
        for ((input, _), part) in &mut self.parts {
            let floor = join_floor(*input, watermarks[input.index()], &restored);
            if part.own.max(part.floor) < floor {
                part.floor = floor;
            }
            part.phase = Phase::Counts;
        }
        self.start(&watermarks, restored);
    }

    /// What every operator goes by that takes records of `input`.
    fn watermarks(&self, input: InputIx) -> impl Iterator<Item = Watermark> {
        let sets = self.pace.sets.iter().filter(move |set| set.inputs.contains(&input));
        sets.map(|set| set.watermark)
    }

    /// One epoch: what each partition does in it, at time `now`. A record that is on time must meet no watermark.
    fn epoch(&mut self, epoch: Epoch, steps: &[Step], now: i64) -> Result<(), TestCaseError> {
        let keys: Vec<_> = self.parts.keys().copied().collect();
        for (key, step) in keys.into_iter().zip(steps.iter().cycle()) {
            let mut part = self.parts[&key];
            let reads = matches!(step, Step::Records(..));
            part.phase = match (part.phase, step) {
                (Phase::Ended, _) | (_, Step::End) => Phase::Ended,
                // Its records wait until it has joined.
                (Phase::Idle(_), Step::Records(..)) => Phase::Joining,
                (Phase::Idle(_), Step::Idle(ms)) => Phase::Idle(*ms),
                (Phase::Idle(ms), _) => Phase::Idle(ms),
                (_, Step::Idle(ms)) => Phase::Idle(*ms),
                _ => Phase::Counts,
            };
            if let (true, Phase::Counts, Step::Records(a, b)) = (reads, part.phase, step) {
                for time in [now + a, now + b].map(EventTime) {
                    let stamp = part.own.max(part.floor);
                    part.own = part.own.max(time.minus_ms(LATENESS_MS));
                    // Without windows it is on time at its stamp or later. With windows, its last one must be open.
                    let closing = self.closings[key.0.index()];
                    if crate::stream::window::Lateness::is_late(&closing, time, stamp) {
                        continue;
                    }
                    let open_at = match closing {
                        Closing::Grid(grid) => grid.first_open_end(time, stamp).expect("it is not late"),
                        Closing::Horizon { .. } => time.plus_ms(1),
                        Closing::Never => EventTime::MIN,
                    };
                    for watermark in self.watermarks(key.0) {
                        prop_assert!(open_at > watermark, "{key:?}: a record at {time} met {watermark}");
                    }
                }
            }
            self.parts.insert(key, part);
        }
        // All marks of the epoch, then its close.
        for ((input, partition), part) in self.parts.clone() {
            let idle_ms = if let Phase::Idle(ms) = part.phase { Some(ms) } else { None };
            let (joining, ended) = (part.phase == Phase::Joining, part.phase == Phase::Ended);
            self.pace.see(epoch, input, Mark { idle_ms, joining, ended, ..mark(partition, part.own.ms()) });
        }
        let before: Vec<_> = self.pace.sets.iter().map(|set| set.watermark).collect();
        self.pace.close(epoch);
        for (before, set) in before.iter().zip(&self.pace.sets) {
            prop_assert!(*before <= set.watermark, "{set:?} has fallen from {before}");
        }
        for ((input, partition), part) in &mut self.parts {
            part.floor = self.pace.inputs[input.index()].floor(*partition);
        }
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Quiet),
        6 => (-60i64..40, -60i64..40).prop_map(|(a, b)| Step::Records(a, b)),
        3 => (0u64..150).prop_map(Step::Idle),
        1 => Just(Step::End),
    ]
}

proptest! {
    #[test]
    fn marks_that_come_before_their_epoch_closes_change_nothing(
        epochs in epochs(), early in prop::collection::vec(0usize..4, 1..6)
    ) {
        prop_assert_eq!(moments(&epochs, &early), moments(&epochs, &[0]));
    }

    #[test]
    fn watermark_never_falls(epochs in epochs()) {
        let watermarks: Vec<_> =
            moments(&epochs, &[0]).iter().map(|moment| moment.tick(SetIx::of(InputIx(0))).watermark).collect();
        prop_assert!(watermarks.is_sorted(), "{watermarks:?}");
    }

    #[test]
    fn record_that_is_on_time_meets_no_watermark_of_any_set_of_inputs(
        partitions in prop::array::uniform3(1u32..4),
        closings in prop::array::uniform3(prop_oneof![
            (1i64..40).prop_map(|ms| Closing::Grid(Grid::tumbling(ms))),
            (0i64..40).prop_map(|ms| Closing::Horizon { ms }),
        ]),
        drawn in prop::collection::vec(prop::array::uniform3(any::<bool>()), 0..4),
        epochs in prop::collection::vec((prop::collection::vec(step(), 3..9), 0i64..60, 0u8..6), 1..40),
    ) {
        let set = |held: &[bool; 3]| (0..).map(InputIx).zip(held).filter(|(_, held)| **held).map(|(input, _)| input).collect();
        let sets: Vec<BTreeSet<InputIx>> = drawn.iter().map(set).filter(|set: &BTreeSet<_>| set.len() > 1).collect();
        let (mut script, mut now) = (Script::new(&partitions, &closings, &sets), 0);
        for (epoch, (steps, moved, restart)) in (1..).zip(&epochs) {
            if *restart == 0 {
                script.restart();
            }
            now += moved;
            script.epoch(Epoch(epoch), steps, now)?;
        }
    }
}
