//! Tests of the feed: what it reads, where it ends, whom it pauses. Sources are scripts; time stands still.

use crate::connect::error::Error;
use crate::connect::{Begins, Event, FirstRead, Heard, PartitionInfo, Polled, Source};
use crate::engine::clock::{Clock, Manual};
use crate::engine::control::Control;
use crate::engine::format::waits::Waits;
use crate::engine::run::feed::{Assigned, Options, SourceFeed, Surroundings, Until};
use crate::engine::run::memory::Memory;
use crate::engine::run::waiting::FeedState;
use headway_operators::ack::InputIx;
use headway_operators::pace::{InputPace, Pace, SharedPace};
use headway_operators::port::{Cut, Feed, Intake, Start, Turn};
use headway_operators::progress::{Mark, Progress, Rules, Standing};
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::stream::window::{Closing, Grid};
use headway_operators::time::{Epoch, EventTime};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Probe;
use timely::dataflow::{InputHandle, ProbeHandle};

/// What one poll of a script gives.
#[derive(Clone, Copy)]
enum Step {
    /// Messages of a partition, at these offsets.
    Messages(u32, i64, i64),
    CaughtUp(u32, i64),
    Stalled(u32, i64),
}

/// A source that gives one list of steps a poll, and notes what it is told.
#[derive(Clone, Default)]
struct Script {
    polls: Rc<RefCell<VecDeque<Vec<Step>>>>,
    paused: Rc<RefCell<BTreeSet<u32>>>,
    assigned: Rc<RefCell<Vec<(u32, i64)>>>,
    /// What is known of its partitions while they are quiet.
    heard: Rc<Cell<Option<Heard>>>,
}

impl Script {
    fn poll(&self, steps: &[Step]) {
        self.polls.borrow_mut().push_back(steps.to_vec());
    }
}

impl Source for Script {
    fn poll(&mut self, _bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, Error> {
        let Some(steps) = self.polls.borrow_mut().pop_front() else { return Ok(Polled::Nothing) };
        for step in steps {
            match step {
                Step::CaughtUp(partition, next) => each(Event::CaughtUp(Partition(partition), Offset(next))),
                Step::Stalled(partition, next) => each(Event::Stalled(Partition(partition), Offset(next))),
                Step::Messages(partition, from, to) => {
                    for offset in (from..to).map(Offset) {
                        let partition = Partition(partition);
                        let payload = Payload::Bytes(b"x");
                        let raw = Raw::of(partition, offset, payload);
                        each(Event::Message(Raw { timestamp_ms: Some(1_000 * offset.0), ..raw }, 1));
                    }
                }
            }
        }
        Ok(Polled::More)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), Error> {
        self.assigned.borrow_mut().push((partition.0, next.0));
        Ok(())
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        match paused {
            true => self.paused.borrow_mut().insert(partition.0),
            false => self.paused.borrow_mut().remove(&partition.0),
        };
    }

    fn heard(&self, _partition: Partition) -> Option<Heard> {
        self.heard.get()
    }

    /// Every message has a leader of its own.
    fn leader_epoch(&mut self, _partition: Partition, offset: Offset) -> Option<i32> {
        i32::try_from(offset.0).ok()
    }
}

/// What was handed over.
#[derive(Default)]
struct Taken {
    /// Offsets, by partition.
    offsets: BTreeMap<u32, Vec<i64>>,
    /// The wall clock, as last told.
    wall_ms: i64,
    /// The wall clock as it was told before each message.
    clocks: Vec<i64>,
    /// How many bytes each message takes in memory.
    message_bytes: usize,
}

impl Intake for Taken {
    fn open(&mut self, start: Start) {
        self.offsets.insert(start.partition.0, Vec::new());
    }

    fn floor(&mut self, _partition: Partition, _floor: EventTime) {}

    fn clock(&mut self, wall_ms: i64) {
        self.wall_ms = wall_ms;
    }

    fn message(&mut self, raw: &Raw<'_>) -> usize {
        self.clocks.push(self.wall_ms);
        self.offsets.get_mut(&raw.partition.0).expect("it was opened").push(raw.offset.0);
        self.message_bytes
    }
}

/// A feed, and what is around it.
struct Bench {
    script: Script,
    clock: Arc<Manual>,
    pace: SharedPace,
    found: Rc<RefCell<Vec<PartitionInfo>>>,
    memory: Memory,
    first_reads: Rc<RefCell<BTreeMap<Partition, Vec<FirstRead>>>>,
    waits: Rc<RefCell<FeedState>>,
    feed: SourceFeed,
    taken: Taken,
}

/// A feed in epoch 1 of partitions from 0 on, each (next offset, end at the start), with short epochs.
fn bench(until: Until, partitions: &[(i64, Option<i64>)]) -> Bench {
    bench_of(Duration::from_millis(50), until, partitions)
}

/// The same, with epochs of the length `epoch`.
fn bench_of(epoch: Duration, until: Until, partitions: &[(i64, Option<i64>)]) -> Bench {
    // Nothing holds it back: every epoch is resolved at once.
    gated(ProbeHandle::new(), epoch, until, partitions)
}

/// The same, where `resolved` has passed an epoch once it is resolved.
fn gated(
    resolved: ProbeHandle<Epoch>,
    epoch: Duration,
    until: Until,
    partitions: &[(i64, Option<i64>)],
) -> Bench {
    let assign = |(partition, (next, end)): (u32, &(i64, Option<i64>))| Assigned {
        start: Start::first(Partition(partition), Offset(*next)),
        end: end.map(Offset),
        quiet_since_ms: None,
    };
    let assigned: Vec<Assigned> = (0..).zip(partitions).map(assign).collect();
    assigned_to(resolved, epoch, until, &assigned)
}

/// The same, of partitions that say themselves where they start.
fn assigned_to(resolved: ProbeHandle<Epoch>, epoch: Duration, until: Until, assigned: &[Assigned]) -> Bench {
    let (script, clock) = (Script::default(), Arc::new(Manual::default()));
    script.heard.set(Some(Heard::ALWAYS));
    let rules = Rules { closing: Closing::Grid(Grid::tumbling(60_000)), lateness_ms: 0, idle_flush_ms: None };
    let standing = |partition| Standing { partition, own: EventTime::MIN, floor: EventTime::MIN };
    let set = assigned.iter().map(|assigned| standing(assigned.start.partition));
    let progress = Progress::new(rules, EventTime::MIN, set);
    let pace = Rc::new(RefCell::new(Pace::new(vec![progress], Vec::new())));
    let found: Rc<RefCell<Vec<PartitionInfo>>> = Rc::default();
    let memory = Memory::of(Some(u64::MAX));
    let first_reads: Rc<RefCell<BTreeMap<Partition, Vec<FirstRead>>>> = Rc::default();
    let waits: Rc<RefCell<FeedState>> = Rc::default();
    let around = Surroundings {
        open: memory.messages_of("gate"),
        pace: InputPace::new(&pace, InputIx(0)),
        resolved,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        control: Control::new(),
        begins: Begins::default(),
        found: Box::new({
            let found = Rc::clone(&found);
            move || std::mem::take(&mut *found.borrow_mut())
        }),
        waits: Box::new({
            let waits = Rc::clone(&waits);
            move |state| *waits.borrow_mut() = state
        }),
        ended: Box::new(|_| {}),
        first_reads: Box::new({
            let first_reads = Rc::clone(&first_reads);
            move |partition, firsts| drop(first_reads.borrow_mut().insert(partition, firsts))
        }),
    };
    let options = Options {
        epoch,
        epoch_bytes: 1 << 20,
        idle_after: Some(Duration::from_secs(60)),
        idle_flush: None,
        max_skew_ms: 1_000,
        until,
    };
    let feed = SourceFeed::new(options, around, Some(Box::new(script.clone())), assigned, Epoch(1));
    Bench { script, clock, pace, found, memory, first_reads, waits, feed, taken: Taken::default() }
}

impl Bench {
    fn turn(&mut self) -> Turn {
        self.feed.turn(&mut self.taken)
    }

    /// What it has said last that its partitions wait for.
    fn waits(&self) -> Vec<Waits> {
        self.waits.borrow().partitions.iter().map(|part| part.waits).collect()
    }

    /// The offset that `cut` has for the last message of its first partition.
    fn last(cut: &Cut) -> Option<i64> {
        let last = cut.partitions[0].last_read?;
        assert_eq!(Offset(last.leader_epoch.into()), last.offset, "it is asked for that message");
        Some(last.offset.0)
    }

    /// The joining mark comes back from all workers, and its epoch closes.
    fn joins(&self, epoch: u64, mark: Mark) {
        self.pace.borrow_mut().see(Epoch(epoch), InputIx(0), mark);
        self.pace.borrow_mut().close(Epoch(epoch));
    }

    /// Turns, a second apart, until the feed cuts; the cut, and whether it was the last one.
    fn cut(&mut self) -> (Cut, bool) {
        for _ in 0..10 {
            match self.turn() {
                Turn::Cut(cut, _) => return (cut, false),
                Turn::Finish(cut) => return (cut, true),
                Turn::More | Turn::Wait(_) => self.clock.advance(Duration::from_secs(1)),
            }
        }
        panic!("it does not end the epoch");
    }
}

fn joining(partition: u32, next: i64) -> Mark {
    Mark {
        partition: Partition(partition),
        own: EventTime::MIN,
        next: Offset(next),
        idle_ms: None,
        joining: true,
        ended: false,
        last: false,
        backlog: true,
        wall_ms: 0,
    }
}

#[test]
fn epoch_ends_by_what_its_messages_take_in_memory() {
    let mut bench = bench(Until::Forever, &[(0, None)]);
    // Each message has a byte, and takes a quarter of what an epoch may hold.
    bench.taken.message_bytes = 1 << 18;
    (0..4).for_each(|offset| bench.script.poll(&[Step::Messages(0, offset, offset + 1)]));
    for _ in 0..4 {
        assert_eq!(bench.turn(), Turn::More);
    }
    assert_eq!(bench.cut().0.partitions[0].next, Offset(4));
}

#[test]
fn nothing_is_read_while_memory_is_nearly_full_and_epochs_end_all_the_same() {
    let mut bench = bench(Until::Forever, &[(0, None)]);
    bench.script.poll(&[Step::Messages(0, 0, 2)]);
    bench.script.poll(&[Step::Messages(0, 2, 4)]);
    assert_eq!(bench.turn(), Turn::More);
    bench.memory.pause(true);
    assert_eq!(bench.cut().0.partitions[0].next, Offset(2));
    assert!(bench.memory.counted()[0].bytes > 0, "the messages of the epoch are open");
    assert!(matches!(bench.turn(), Turn::Wait(_)));
    assert_eq!((bench.taken.offsets[&0].as_slice(), bench.memory.counted()[0].bytes), (&[0, 1][..], 0));
    bench.memory.pause(false);
    assert_eq!(bench.turn(), Turn::More);
    assert_eq!(bench.taken.offsets[&0], [0, 1, 2, 3]);
}

#[test]
fn run_without_an_end_reads_on_where_it_had_caught_up_at_the_start() {
    let mut bench = bench(Until::Forever, &[(5, Some(5))]);
    bench.script.poll(&[Step::CaughtUp(0, 5)]);
    bench.script.poll(&[Step::Messages(0, 5, 7), Step::CaughtUp(0, 7)]);
    bench.turn();
    bench.turn();
    assert_eq!(bench.taken.offsets[&0], [5, 6]);
    assert_eq!(bench.cut().0.partitions[0].next, Offset(7));
    assert!(bench.script.paused.borrow().is_empty());
}

#[test]
fn what_comes_after_the_end_is_left_for_the_next_run() {
    for until in [Until::CaughtUp, Until::End] {
        let mut bench = bench(until, &[(0, Some(3))]);
        // The source reads on, and sees its end, before it can be told to stop.
        bench.script.poll(&[Step::Messages(0, 0, 6), Step::CaughtUp(0, 6)]);
        let (cut, last) = bench.cut();
        assert_eq!(
            (bench.taken.offsets[&0].as_slice(), cut.partitions[0].next.0, last),
            (&[0, 1, 2][..], 3, true)
        );
        assert_eq!(Bench::last(&cut), Some(2));
    }
}

#[test]
fn clock_is_told_with_the_first_message_of_an_epoch_however_long_that_is_open() {
    let mut bench = bench_of(Duration::from_secs(3 * 3600), Until::Forever, &[(0, None)]);
    // Nothing comes for two hours.
    for _ in 0..2 {
        assert!(matches!(bench.turn(), Turn::Wait(_)));
        bench.clock.advance(Duration::from_secs(3600));
    }
    bench.script.poll(&[Step::Messages(0, 0, 2)]);
    bench.turn();
    // From then on the epoch's time stands still.
    bench.clock.advance(Duration::from_secs(20));
    bench.script.poll(&[Step::Messages(0, 2, 3)]);
    bench.turn();
    bench.clock.advance(Duration::from_secs(3600));
    assert!(matches!(bench.turn(), Turn::Cut(..)));
    bench.clock.advance(Duration::from_secs(5));
    bench.script.poll(&[Step::Messages(0, 3, 4)]);
    bench.turn();
    assert_eq!(bench.taken.clocks, [7_200_000, 7_200_000, 7_200_000, 10_825_000]);
}

#[test]
fn gap_before_the_end_is_passed() {
    let mut bench = bench(Until::End, &[(0, Some(5))]);
    bench.script.poll(&[Step::Messages(0, 0, 3), Step::CaughtUp(0, 8)]);
    let (cut, last) = bench.cut();
    assert_eq!((cut.partitions[0].next.0, cut.partitions[0].ended, last), (5, true, true));
    assert_eq!(Bench::last(&cut), Some(2), "nobody read what is before the end");
}

#[test]
fn partition_that_is_found_is_read_though_nothing_else_is_left() {
    let mut bench = bench(Until::End, &[(4, Some(4))]);
    let identity = "script:1".to_string();
    bench.found.borrow_mut().push(PartitionInfo {
        partition: Partition(1),
        identity,
        first: Offset(7),
        end: Some(Offset(9)),
    });
    let (cut, last) = bench.cut();
    assert_eq!((cut.partitions[1].joining, cut.partitions[1].next.0, last), (true, 7, false));
    bench.joins(1, joining(1, 7));
    bench.turn();
    assert_eq!(*bench.script.assigned.borrow(), [(1, 7)]);
    bench.script.poll(&[Step::Messages(1, 7, 9), Step::CaughtUp(1, 9)]);
    let (cut, last) = bench.cut();
    assert_eq!(
        (bench.taken.offsets[&1].as_slice(), cut.partitions[1].ended, last),
        (&[7, 8][..], true, true)
    );
}

#[test]
fn messages_held_until_they_may_be_sent_can_be_the_last_ones() {
    for to in [9, 8] {
        let mut bench = bench(Until::End, &[(0, Some(9))]);
        bench.script.poll(&[Step::Messages(0, 0, 3), Step::CaughtUp(0, 3)]);
        bench.turn();
        bench.clock.advance(Duration::from_secs(60));
        let (cut, _) = bench.cut();
        assert!(cut.partitions[0].idle_ms.is_some());
        // It wakes, and its end comes with what it has; what is before the end of the run may be a gap.
        bench.script.poll(&[Step::Messages(0, 3, to), Step::CaughtUp(0, 9)]);
        let (cut, last) = bench.cut();
        assert_eq!((cut.partitions[0].joining, last), (true, false));
        assert_eq!(Bench::last(&cut), Some(2), "what is held was not read yet");
        bench.joins(2, joining(0, 3));
        let (cut, last) = bench.cut();
        assert_eq!(Bench::last(&cut), Some(to - 1));
        assert_eq!((cut.partitions[0].next.0, cut.partitions[0].ended, last), (9, true, true));
        assert_eq!(bench.taken.offsets[&0].last(), Some(&(to - 1)));
    }
}

#[test]
fn partition_that_is_held_back_does_not_wait_for_the_end_of_a_long_epoch() {
    let mut bench = bench_of(Duration::from_secs(3_600), Until::Forever, &[(0, None), (0, None)]);
    // Partition 1 is far ahead of 0, which has a backlog.
    bench.pace.borrow_mut().see(Epoch(0), InputIx(0), ahead(0, 0));
    bench.pace.borrow_mut().see(Epoch(0), InputIx(0), ahead(1, 5_000));
    bench.script.poll(&[Step::Messages(0, 0, 1), Step::Messages(1, 0, 1)]);
    bench.turn();
    bench.turn();
    assert!(bench.script.paused.borrow().contains(&1));
    let before = bench.clock.elapsed();
    bench.cut();
    assert!(bench.clock.elapsed() - before <= Duration::from_secs(2));
    // The mark of the epoch that was cut tells that 0 has come nearer.
    bench.pace.borrow_mut().see(Epoch(1), InputIx(0), ahead(0, 4_900));
    bench.turn();
    assert!(bench.script.paused.borrow().is_empty());
    // Nobody is held back: the epoch lasts.
    bench.script.poll(&[Step::Messages(0, 1, 2)]);
    for _ in 0..100 {
        assert!(matches!(bench.turn(), Turn::More | Turn::Wait(_)));
        bench.clock.advance(Duration::from_secs(1));
    }
}

/// A mark of a partition with a backlog.
fn ahead(partition: u32, own: i64) -> Mark {
    Mark { own: EventTime(own), joining: false, ..joining(partition, 1) }
}

#[test]
fn partition_that_is_paused_is_never_idle() {
    let mut bench = bench(Until::Forever, &[(0, None), (0, None)]);
    // Partition 1 is far ahead of 0, which has a backlog.
    bench.pace.borrow_mut().see(Epoch(0), InputIx(0), ahead(0, 0));
    bench.pace.borrow_mut().see(Epoch(0), InputIx(0), ahead(1, 5_000));
    bench.script.poll(&[Step::Messages(0, 0, 1), Step::Messages(1, 0, 1), Step::CaughtUp(1, 1)]);
    bench.turn();
    assert_eq!(bench.waits(), [Waits::Records, Waits::NextRecord]);
    // Caught up, it has nothing to hold back; then there is more, and not yet its end.
    bench.script.poll(&[Step::Messages(1, 1, 2)]);
    bench.turn();
    assert!(bench.script.paused.borrow().is_empty());
    bench.turn();
    assert!(bench.script.paused.borrow().contains(&1));
    assert_eq!(bench.waits(), [Waits::Records, Waits::Slowest]);
    bench.clock.advance(Duration::from_secs(3_600));
    bench.script.poll(&[Step::Messages(0, 1, 2)]);
    let (cut, _) = bench.cut();
    assert_eq!(cut.partitions[1].idle_ms, None);
    assert!(cut.partitions[1].backlog);
}

#[test]
fn time_behind_a_closed_gate_is_no_quiet() {
    timely::execute_directly(|worker| {
        let mut commits: InputHandle<Epoch, CapacityContainerBuilder<Vec<()>>> = InputHandle::new();
        let resolved = ProbeHandle::new();
        worker.dataflow(|scope| {
            commits.to_stream(scope).probe_with(&resolved);
        });
        let mut bench = gated(resolved.clone(), Duration::from_millis(50), Until::Forever, &[(0, None)]);
        // 1. Three epochs are read while none is resolved: the gate of the fourth is closed.
        for offset in 0..3 {
            bench.script.poll(&[Step::Messages(0, offset, offset + 1), Step::CaughtUp(0, offset + 1)]);
            bench.cut();
        }
        bench.turn();
        assert_eq!(bench.waits(), [Waits::NextRecord], "it has none yet that could wait for the gate");
        assert!(bench.waits.borrow().open_since.is_some(), "what was read is not committed");
        // 2. An hour behind the gate: what the source has is not looked at.
        bench.script.poll(&[Step::CaughtUp(0, 3)]);
        for _ in 0..60 {
            bench.clock.advance(Duration::from_secs(60));
            assert!(matches!(bench.turn(), Turn::Wait(_)), "it is not idle, and nothing is read");
        }
        assert_eq!(bench.script.polls.borrow().len(), 1);
        let first_reads = |bench: &Bench| bench.first_reads.borrow()[&Partition(0)].clone();
        let read = |offset| FirstRead { offset: Offset(offset), time_ms: 1_000 * offset };
        assert_eq!(first_reads(&bench), [0, 1, 2].map(read), "the first record of each epoch");
        // 3. The gate opens: only what was quiet while the feed listened counts.
        commits.advance_to(Epoch(5));
        worker.step_while(|| resolved.less_than(&Epoch(5)));
        bench.turn();
        assert!(bench.script.polls.borrow().is_empty(), "it reads again");
        assert_eq!(first_reads(&bench), [], "all of them are committed");
        // It was quiet for a second before the gate closed: that is when the last epoch was cut.
        bench.clock.advance(Duration::from_secs(58));
        let turn = bench.turn();
        assert!(matches!(turn, Turn::More | Turn::Wait(_)), "59 s of quiet are not 60: {turn:?}");
        bench.clock.advance(Duration::from_secs(1));
        let (cut, _) = bench.cut();
        assert!(cut.partitions[0].idle_ms >= Some(60_000));
    });
}

#[test]
fn partition_is_not_idle_while_nobody_answers_for_it() {
    let mut bench = bench(Until::Forever, &[(0, None), (0, None)]);
    bench.script.heard.set(None);
    bench.script.poll(&[Step::Messages(0, 0, 3), Step::CaughtUp(0, 3), Step::CaughtUp(1, 0)]);
    bench.turn();
    bench.clock.advance(Duration::from_secs(3_600));
    let (cut, _) = bench.cut();
    assert_eq!(cut.partitions.iter().map(|part| part.idle_ms).collect::<Vec<_>>(), [None, None]);
    // Somebody answers: from now on it is known to be quiet, but nobody could have sent anything before.
    let heard =
        |since, last| Some(Heard { since: Duration::from_secs(since), last: Duration::from_secs(last) });
    let idle = |bench: &mut Bench, since, last| {
        bench.script.heard.set(heard(since, last));
        bench.script.poll(&[Step::Messages(0, 0, 1)]);
        bench.turn();
        let (cut, _) = bench.cut();
        cut.partitions[1].idle_ms
    };
    assert_eq!(idle(&mut bench, 0, 0), None);
    assert_eq!(idle(&mut bench, 59, 0), None);
    assert_eq!(idle(&mut bench, 90, 40), None, "the last answer is old");
    assert!(idle(&mut bench, 110, 40) >= Some(60_000));
}

#[test]
fn partition_whose_end_a_transaction_holds_is_not_idle() {
    let mut bench = bench(Until::Forever, &[(0, None)]);
    bench.script.poll(&[Step::Messages(0, 0, 3), Step::CaughtUp(0, 3)]);
    bench.turn();
    bench.script.poll(&[Step::Stalled(0, 3)]);
    bench.turn();
    bench.clock.advance(Duration::from_secs(3_600));
    let (cut, _) = bench.cut();
    assert_eq!((cut.partitions[0].idle_ms, cut.partitions[0].backlog), (None, true));
}

#[test]
fn idle_partition_joins_again_when_a_transaction_opens_on_it() {
    let mut bench = bench(Until::Forever, &[(0, None)]);
    bench.script.poll(&[Step::Messages(0, 0, 3), Step::CaughtUp(0, 3)]);
    bench.turn();
    bench.clock.advance(Duration::from_secs(60));
    assert!(bench.cut().0.partitions[0].idle_ms.is_some());
    bench.script.poll(&[Step::Stalled(0, 3)]);
    let (cut, _) = bench.cut();
    assert_eq!((cut.partitions[0].idle_ms, cut.partitions[0].joining), (None, true));
    bench.joins(2, joining(0, 3));
    bench.script.poll(&[Step::Messages(0, 4, 6), Step::CaughtUp(0, 7)]);
    let (cut, _) = bench.cut();
    assert_eq!((bench.taken.offsets[&0].as_slice(), cut.partitions[0].next.0), (&[0, 1, 2, 4, 5][..], 7));
}

#[test]
fn run_ends_where_it_should_though_a_transaction_is_open_there() {
    for until in [Until::CaughtUp, Until::End] {
        let mut bench = bench(until, &[(0, Some(5))]);
        // The last offset before the end is the marker of a transaction before it.
        bench.script.poll(&[Step::Messages(0, 0, 4), Step::Stalled(0, 5)]);
        let (cut, last) = bench.cut();
        assert_eq!((cut.partitions[0].next.0, last), (5, true));
    }
}

/// Which partitions are idle in the last mark of a run that starts `quiet_ms` after each was last seen to have a record.
fn idle_at_the_end(until: Until, quiet_ms: &[i64], steps: &[Step]) -> Vec<u32> {
    let assign = |(partition, quiet_ms): (u32, &i64)| Assigned {
        start: Start::first(Partition(partition), Offset(0)),
        end: None,
        quiet_since_ms: Some(Manual::default().wall_ms() - quiet_ms),
    };
    let assigned: Vec<Assigned> = (0..).zip(quiet_ms).map(assign).collect();
    let mut bench = assigned_to(ProbeHandle::new(), Duration::from_millis(50), until, &assigned);
    bench.script.poll(steps);
    loop {
        let (cut, is_last) = bench.cut();
        if is_last {
            let idle = cut.partitions.iter().filter(|position| position.idle_ms.is_some());
            return idle.map(|position| position.partition.0).collect();
        }
    }
}

#[test]
fn run_that_ends_takes_a_partition_for_idle_that_earlier_runs_saw_quiet() {
    let caught_up = [Step::CaughtUp(0, 0), Step::CaughtUp(1, 0), Step::CaughtUp(2, 0)];
    let quiet = [60_000, 40_000, 600_000];
    assert_eq!(idle_at_the_end(Until::CaughtUp, &quiet, &caught_up), [0, 2]);
    assert_eq!(idle_at_the_end(Until::End, &quiet, &caught_up), Vec::<u32>::new(), "it ends anyway");
    // A record shows that it is not quiet; so does an open transaction.
    let record = [Step::Messages(0, 0, 1), Step::CaughtUp(0, 1), Step::CaughtUp(1, 0), Step::CaughtUp(2, 0)];
    assert_eq!(idle_at_the_end(Until::CaughtUp, &quiet, &record), [2]);
    let open = [Step::Stalled(2, 0), Step::CaughtUp(0, 0), Step::CaughtUp(1, 0), Step::CaughtUp(2, 0)];
    assert_eq!(idle_at_the_end(Until::CaughtUp, &quiet, &open), [0]);
}
