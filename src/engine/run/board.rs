//! What a running job is doing right now: one place that its threads write to and that status, metrics and `explain lag` read.
//!
//! Nothing that is committed depends on it. Writers never wait for readers for longer than a copy of a few numbers takes.

use crate::connect::FirstRead;
use crate::engine::clock::Clock;
use crate::engine::commit::alive::Ends;
use crate::engine::format::board::{
    Doing, Dropped, Elsewhere, Lag, MemoryUse, OperatorUse, Snapshot, Steps, TargetLag, WorkerTime,
};
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names::Seq;
use crate::engine::format::waits::{StageWait, StoreUse};
use crate::engine::run::meter::Meter;
use crate::engine::run::samples::{Growth, Sample};
use crate::engine::run::waiting::{FeedState, Waiting};
use headway_operators::ack::Ack;
use headway_operators::error::Reason;
use headway_operators::record::Partition;
use headway_operators::time::Epoch;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// How often a sample is taken, and how many are kept: what is recent goes back about ten seconds.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
const SAMPLES: usize = 10;

/// For how long a word of another process counts: each gives one a second.
const SAID_WITHIN: Duration = Duration::from_secs(15);

/// The board of a run. A clone is the same board.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    /// Nothing is noted of what threads do, only what is committed.
    is_muted: bool,
    run: OnceLock<Run>,
    /// Where process 0 answers by HTTP.
    leader_answers: OnceLock<String>,
    state: Mutex<State>,
    /// What the workers of this process have read first and is not committed, by input and partition.
    first_reads: Mutex<BTreeMap<(usize, Partition), Vec<FirstRead>>>,
    /// What the operators of each worker of this process do.
    meters: Mutex<Vec<Arc<Meter>>>,
    /// What feeds, stages, store and sources wait for.
    waiting: Mutex<Waiting>,
}

/// What is known once the run begins.
struct Run {
    began: Duration,
    epoch: Duration,
    max_skew_ms: Option<i64>,
    workers: Vec<Mutex<WorkerClock>>,
}

/// What a worker has told of its time.
#[derive(Default)]
struct WorkerClock {
    busy: Duration,
    waiting: Duration,
    /// When, by the clock of the run; `None` before the first time.
    told: Option<Duration>,
}

#[derive(Default)]
struct State {
    doing: Doing,
    doing_since: Duration,
    draining: bool,
    /// Why this process does nothing, if it stands by.
    standby: Option<String>,
    commits: u64,
    steps: Steps,
    last: Steps,
    slowest: Steps,
    slowest_epoch: Option<Epoch>,
    tables: Option<(Seq, i64)>,
    ends: BTreeMap<(usize, Partition), Growth>,
    head: Option<Arc<Manifest>>,
    /// By operator and reason.
    dropped: BTreeMap<(String, Reason), u64>,
    targets: Vec<TargetLag>,
    memory: Option<MemoryUse>,
    rescaled_from: Option<String>,
    /// What the other processes said last of themselves, and when, by their numbers.
    elsewhere: BTreeMap<u32, (Duration, Snapshot)>,
    /// What there was at the last few moments, oldest first.
    samples: VecDeque<Sample>,
}

impl Board {
    /// The board of a run that has not begun.
    pub fn new(clock: Arc<dyn Clock>) -> Board {
        Board::of(clock, false)
    }

    /// The board of a run of which threads tell nothing: what telling costs is measured against it.
    pub fn muted(clock: Arc<dyn Clock>) -> Board {
        Board::of(clock, true)
    }

    /// True if threads need not tell anything.
    pub fn is_muted(&self) -> bool {
        self.0.is_muted
    }

    fn of(clock: Arc<dyn Clock>, is_muted: bool) -> Board {
        let (run, leader_answers) = (OnceLock::new(), OnceLock::new());
        let (state, first_reads, meters) = (Mutex::default(), Mutex::default(), Mutex::default());
        let waiting = Mutex::default();
        Board(Arc::new(Inner { clock, is_muted, run, leader_answers, state, first_reads, meters, waiting }))
    }

    /// Notes that the run begins, on so many `workers`, with epochs as long as `epoch`. Only the first call counts.
    pub fn begin(&self, workers: usize, epoch: Duration, max_skew_ms: Option<i64>) {
        let workers = (0..workers).map(|_| Mutex::default()).collect();
        self.0.run.get_or_init(|| Run { began: self.0.clock.elapsed(), epoch, max_skew_ms, workers });
    }

    /// Nothing is half written where a writer panics: each change is a few assignments.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes where process 0 of the job answers by HTTP. Only the first call counts.
    pub fn leader_answers_at(&self, address: String) {
        self.0.leader_answers.get_or_init(|| address);
    }

    /// Where process 0 of the job answers by HTTP; `None` if it does not, or that is not known yet.
    pub fn leader_answers(&self) -> Option<String> {
        self.0.leader_answers.get().cloned()
    }

    /// Notes the size of the run before this one, which has another.
    pub fn rescaled_from(&self, size: String) {
        self.state().rescaled_from = Some(size);
    }

    /// Notes why this process stands by.
    pub fn stands_by(&self, why: String) {
        self.state().standby = Some(why);
    }

    /// Why this process does nothing; `None` if it is one of the job's.
    pub fn standby(&self) -> Option<String> {
        self.state().standby.clone()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes what the feed of input number `input` on worker `worker` waits for.
    pub fn feed(&self, input: usize, worker: usize, state: FeedState) {
        if !self.is_muted() {
            self.waiting().feed(input, worker, state);
        }
    }

    /// Notes that the thread which writes the files of `worker` begins a piece of work; `queued` more wait for it.
    pub fn stage_begins(&self, worker: usize, queued: usize) {
        if !self.is_muted() {
            self.waiting().stage_begins(worker, queued, self.0.clock.elapsed());
        }
    }

    /// Notes that it has done a piece of work of `epoch`, which is durable.
    pub fn stage_ends(&self, worker: usize, queued: usize, epoch: Epoch) {
        if self.is_muted() {
            return;
        }
        let (mut waiting, now) = (self.waiting(), self.0.clock.elapsed());
        waiting.stage_ends(worker, queued, now);
        waiting.durable(epoch, now);
    }

    /// Notes that an operator has handed over rows or state of `epoch`.
    pub fn handed(&self, epoch: Epoch) {
        if !self.is_muted() {
            self.waiting().handed(epoch, self.0.clock.elapsed());
        }
    }

    /// Notes that a source has ended `epoch`.
    pub fn epoch_ended(&self, epoch: Epoch) {
        if !self.is_muted() {
            self.waiting().ended(epoch, self.0.clock.elapsed());
        }
    }

    /// How long `epoch`, which is complete, took to close, and to be staged. Asked once.
    pub fn epoch_steps(&self, epoch: Epoch) -> (Duration, Duration) {
        self.waiting().complete(epoch, self.0.clock.elapsed())
    }

    /// Notes a call of the store; the answer is for [`Board::store_answers`].
    pub fn store_call(&self, verb: &'static str, name: &str) -> u64 {
        if self.is_muted() { 0 } else { self.waiting().call_begins(verb, name, self.0.clock.elapsed()) }
    }

    /// Notes that a call of the store has come back.
    pub fn store_answers(&self, call: u64) {
        if !self.is_muted() {
            self.waiting().call_ends(call, self.0.clock.elapsed());
        }
    }

    /// Notes that the source of input number `input` was asked, and `why` it did not answer, or `None` if it did.
    pub fn source_asked(&self, input: usize, why: Option<String>) {
        self.waiting().asked(input, why, self.0.clock.elapsed());
    }

    /// Notes what the commit thread does from now on.
    pub fn doing(&self, doing: Doing) {
        let now = self.0.clock.elapsed();
        let mut state = self.state();
        (state.doing, state.doing_since) = (doing, now);
    }

    /// Notes that the run was told to end.
    pub fn draining(&self) {
        self.state().draining = true;
    }

    /// Notes up to which commit the tables of views are in the lake.
    pub fn tables(&self, written: Seq) {
        let now_ms = self.0.clock.wall_ms();
        let mut state = self.state();
        if state.tables.is_none_or(|(seq, _)| seq != written) {
            state.tables = Some((written, now_ms));
        }
    }

    /// Notes what the commit of `epoch` took.
    pub fn committed(&self, epoch: Epoch, steps: Steps) {
        let mut state = self.state();
        state.commits += 1;
        state.steps.add(&steps);
        state.last = steps;
        if steps.total() > state.slowest.total() {
            (state.slowest, state.slowest_epoch) = (steps, Some(epoch));
        }
    }

    /// Notes the records that operators dropped in an epoch.
    pub fn dropped(&self, acks: &[Ack]) {
        let mut state = self.state();
        for ack in acks {
            let Ack::Dropped { operator, reason, records } = ack else { continue };
            *state.dropped.entry((operator.clone(), reason.clone())).or_default() += records;
        }
    }

    /// What the wall clock shows, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.0.clock.wall_ms()
    }

    /// Notes how far targets are behind.
    pub fn targets(&self, targets: Vec<TargetLag>) {
        self.state().targets = targets;
    }

    /// Notes how much memory the process takes.
    pub fn memory(&self, memory: MemoryUse) {
        self.state().memory = Some(memory);
    }

    /// Notes what is committed.
    pub fn head(&self, head: Arc<Manifest>) {
        self.state().head = Some(head);
    }

    /// What is committed, once the run has begun.
    pub fn committed_head(&self) -> Option<Arc<Manifest>> {
        self.state().head.clone()
    }

    /// Notes the first record of each epoch that is not committed, as a worker of this process has read them.
    pub fn first_reads(&self, input: usize, partition: Partition, firsts: Vec<FirstRead>) {
        if !self.is_muted() {
            self.read_here().insert((input, partition), firsts);
        }
    }

    fn read_here(&self) -> MutexGuard<'_, BTreeMap<(usize, Partition), Vec<FirstRead>>> {
        self.0.first_reads.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds to `ends` what the workers of this process have read, for another process.
    pub fn add_first_reads(&self, ends: &mut Ends) {
        let here = self.read_here();
        for (input, ends) in ends.iter_mut().enumerate() {
            for end in ends {
                end.first_reads = here.get(&(input, end.partition)).cloned().unwrap_or_default();
            }
        }
    }

    /// Takes a sample, if it is time.
    fn take_sample(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        let now = self.0.clock.elapsed();
        if state.samples.back().is_none_or(|last| now.saturating_sub(last.at) >= SAMPLE_EVERY) {
            let waiting = self.waiting();
            let sample = self.sample(&state, now, &waiting.stages(now), &waiting.store(now));
            drop(waiting);
            if state.samples.len() == SAMPLES {
                state.samples.pop_front();
            }
            state.samples.push_back(sample);
        }
        state
    }

    /// What this process says of itself to the one that leads: all but what that one knows.
    pub fn report(&self) -> Snapshot {
        drop(self.take_sample());
        self.snapshot()
    }

    /// Notes what process `process`, which does not lead, says of itself.
    pub fn reported(&self, process: u32, board: Snapshot) {
        let now = self.0.clock.elapsed();
        self.state().elsewhere.insert(process, (now, board));
    }

    /// Notes where partitions end now.
    pub fn ends(&self, ends: &Ends) {
        let now_ms = self.0.clock.wall_ms();
        let mut state = self.take_sample();
        for (input, ends) in ends.iter().enumerate() {
            for end in ends {
                state.ends.entry((input, end.partition)).or_default().see(end, now_ms);
            }
        }
    }

    /// Notes how worker `index` spent the time since it told last.
    pub fn worked(&self, index: usize, busy: Duration, waiting: Duration) {
        let Some(clock) = self.0.run.get().and_then(|run| run.workers.get(index)) else { return };
        let mut clock = clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let WorkerClock { busy: all_busy, waiting: all_waiting, told } = &mut *clock;
        *all_busy += busy;
        *all_waiting += waiting;
        *told = Some(self.0.clock.elapsed());
    }

    /// For how long the run is at work.
    pub fn running(&self) -> Duration {
        let now = self.0.clock.elapsed();
        self.0.run.get().map_or(Duration::ZERO, |run| now.saturating_sub(run.began))
    }

    /// Notes where a worker of this process measures its operators.
    pub fn measures(&self, meter: Arc<Meter>) {
        self.meters().push(meter);
    }

    fn meters(&self) -> MutexGuard<'_, Vec<Arc<Meter>>> {
        self.0.meters.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What the operators did on all workers of this process.
    fn operators(&self) -> Vec<OperatorUse> {
        let mut all: Vec<OperatorUse> = Vec::new();
        for used in self.meters().iter().flat_map(|meter| meter.read()) {
            match all.iter_mut().find(|known| known.name == used.name) {
                Some(known) => known.add(&used),
                None => all.push(used),
            }
        }
        all
    }

    /// What there is in all at `at`, when `stages` and `store` were read.
    fn sample(&self, state: &State, at: Duration, stages: &[StageWait], store: &StoreUse) -> Sample {
        let inputs = state.head.iter().flat_map(|head| &head.inputs);
        let records = inputs.map(|input| input.total().consumed).sum();
        let (workers, operators) = (self.worker_times(), self.operators());
        let stages = stages.iter().map(|stage| stage.busy).collect();
        Sample { at, records, steps: state.steps, workers, operators, stages, store: store.busy }
    }

    fn worker_times(&self) -> Vec<WorkerTime> {
        let workers = self.0.run.get().into_iter().flat_map(|run| &run.workers);
        let one = |clock: &Mutex<WorkerClock>| {
            let clock = clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let now = self.0.clock.elapsed();
            // One that has not told yet restores what earlier runs left.
            let step_for = clock.told.map_or(Duration::ZERO, |told| now.saturating_sub(told));
            WorkerTime { busy: clock.busy, waiting: clock.waiting, step_for }
        };
        workers.map(one).collect()
    }

    /// What the board says now.
    pub fn snapshot(&self) -> Snapshot {
        let (now, at_ms) = (self.0.clock.elapsed(), self.0.clock.wall_ms());
        let run = self.0.run.get();
        let mut state = self.state();
        let head = state.head.clone();
        let next = |input: usize, partition: Partition| {
            let parts = head.as_ref()?.inputs.get(input)?.partitions.iter();
            parts.into_iter().find(|part| part.partition == partition).map(|part| part.next)
        };
        let here = self.read_here();
        let lags = state.ends.iter_mut().filter_map(|((input, partition), growth)| {
            let next = next(*input, *partition)?;
            let firsts = here.get(&(*input, *partition)).unwrap_or(&growth.first_reads);
            let first = firsts.iter().find(|first| first.offset >= next);
            // Reading may be ahead of what is known of the end.
            let end = growth.seen.back()?.0.max(first.map_or(next, |first| first.offset + 1));
            let first_ms = first.map(|first| first.time_ms);
            let for_ms = growth.beyond(next).map_or(0, |(_, since_ms)| at_ms.saturating_sub(since_ms).max(0));
            let records = (end - next).max(0);
            let (input, partition, stalled) = (*input, *partition, growth.stalled);
            Some(Lag { input, partition, end, records, for_ms, stalled, first_ms })
        });
        let lags = lags.collect();
        drop(here);
        let waiting = self.waiting();
        let (stages, store) = (waiting.stages(now), waiting.store(now));
        let sample = self.sample(&state, now, &stages, &store);
        let recent = state.samples.front().map(|first| sample.since(first)).unwrap_or_default();
        Snapshot {
            at_ms,
            running: self.running(),
            draining: state.draining,
            doing: state.doing,
            doing_for: now.saturating_sub(state.doing_since),
            commits: state.commits,
            steps: state.steps,
            last: state.last,
            slowest: state.slowest,
            slowest_epoch: state.slowest_epoch,
            tables: state.tables,
            epoch: run.map_or(Duration::ZERO, |run| run.epoch),
            workers: sample.workers,
            operators: sample.operators,
            recent,
            lags,
            max_skew_ms: run.and_then(|run| run.max_skew_ms),
            dropped: state.dropped.iter().map(dropped).collect(),
            targets: state.targets.clone(),
            feeds: waiting.feeds(now),
            stages,
            store,
            silent: waiting.silent(now),
            memory: state.memory,
            rescaled_from: state.rescaled_from.clone(),
            elsewhere: state.elsewhere.iter().filter_map(|said| elsewhere(said, now)).collect(),
        }
    }
}

/// What another process said last; `None` if that is so long ago that it says nothing about now.
fn elsewhere((process, (at, board)): (&u32, &(Duration, Snapshot)), now: Duration) -> Option<Elsewhere> {
    let ago = now.saturating_sub(*at);
    (ago <= SAID_WITHIN).then(|| Elsewhere { process: *process, ago, board: board.clone() })
}

fn dropped(((operator, reason), records): (&(String, Reason), &u64)) -> Dropped {
    Dropped { operator: operator.clone(), reason: reason.name().to_string(), records: *records }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::End;
    use crate::engine::clock::Manual;
    use crate::engine::format::manifest::tests::first;
    use headway_operators::record::Offset;

    fn end(partition: u32, offset: i64) -> End {
        End::at(Partition(partition), Offset(offset))
    }

    #[test]
    fn lag_counts_from_when_the_first_record_was_seen_that_is_not_committed() {
        let clock = Arc::new(Manual::default());
        let board = Board::new(clock.clone());
        let commit = |next: i64| {
            let mut head = first(1);
            head.inputs[0].partitions[0].next = Offset(next);
            board.head(Arc::new(head));
        };
        let lag = || board.snapshot().lags.first().map(|lag| (lag.records, lag.for_ms));
        commit(0);
        assert_eq!(lag(), None, "no end is known");
        board.ends(&vec![vec![end(0, 10)]]);
        clock.advance(Duration::from_secs(2));
        board.ends(&vec![vec![end(0, 30)]]);
        clock.advance(Duration::from_secs(3));
        assert_eq!(lag(), Some((30, 5_000)), "the first ten have been there for five seconds");
        commit(10);
        assert_eq!(lag(), Some((20, 3_000)), "those after them for three");
        commit(30);
        assert_eq!(lag(), Some((0, 0)));
        clock.advance(Duration::from_secs(60));
        board.ends(&vec![vec![end(0, 31)]]);
        assert_eq!(lag(), Some((1, 0)), "what has just come has not waited");
    }

    #[test]
    fn age_counts_from_the_timestamp_of_the_first_record_that_is_not_committed_once_it_was_read() {
        let clock = Arc::new(Manual::default());
        let board = Board::new(clock.clone());
        let now = board.now_ms();
        let mut head = first(1);
        head.inputs[0].partitions[0].next = Offset(10);
        board.head(Arc::new(head));
        board.ends(&vec![vec![end(0, 30)]]);
        clock.advance(Duration::from_secs(2));
        let age = |board: &Board| {
            let seen = board.snapshot();
            (seen.lags[0].records, seen.lags[0].age_ms(seen.at_ms))
        };
        assert_eq!(age(&board), (20, 2_000), "it was not read: since its end is known");
        let read = |offset, age_ms| FirstRead { offset: Offset(offset), time_ms: now - age_ms };
        board.first_reads(0, Partition(0), vec![read(4, 90_000), read(10, 60_000), read(31, 1_000)]);
        assert_eq!(age(&board), (20, 62_000), "the first of those that are not committed");
        let mut told = vec![vec![end(0, 30)]];
        board.add_first_reads(&mut told);
        let leader = Board::new(clock.clone());
        leader.head(board.committed_head().expect("it was noted"));
        leader.ends(&told);
        assert_eq!(age(&leader), (20, 62_000), "what another process has read");
        board.first_reads(0, Partition(0), vec![read(30, 5_000)]);
        assert_eq!(age(&board), (21, 7_000), "reading is ahead of the known end");
    }

    #[test]
    fn dropped_records_add_up_by_operator_and_reason() {
        let board = Board::new(Arc::new(Manual::default()));
        let dropped = |operator: &str, reason: &'static str, records| Ack::Dropped {
            operator: operator.to_string(),
            reason: Reason::of(reason),
            records,
        };
        board.dropped(&[dropped("Trips", "no-start", 2), dropped("Names", "closed", 1)]);
        board.dropped(&[dropped("Trips", "no-start", 3), dropped("Trips", "behind-watermark", 4)]);
        let seen = board.snapshot().dropped;
        let seen: Vec<_> = seen.iter().map(|d| (d.operator.as_str(), d.reason.as_str(), d.records)).collect();
        assert_eq!(
            seen,
            [("Names", "closed", 1), ("Trips", "behind-watermark", 4), ("Trips", "no-start", 5)]
        );
    }

    #[test]
    fn what_another_process_says_is_shown_with_its_age() {
        let clock = Arc::new(Manual::default());
        let (leader, member) = (Board::new(clock.clone()), Board::new(clock.clone()));
        member.begin(1, Duration::from_secs(1), None);
        member.report();
        clock.advance(Duration::from_secs(2));
        member.worked(0, Duration::from_secs(2), Duration::ZERO);
        member.source_asked(0, Some("refused".into()));
        clock.advance(Duration::from_secs(3));
        leader.reported(1, member.report());
        clock.advance(Duration::from_secs(1));
        let seen = leader.snapshot().elsewhere;
        let [Elsewhere { process: 1, ago, board }] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((*ago, board.silent[0].for_), (Duration::from_secs(1), Duration::from_secs(3)));
        let recent = &board.recent;
        assert_eq!((recent.over, recent.workers[0].busy), (Duration::from_secs(5), Duration::from_secs(2)));
        leader.reported(1, Snapshot::default());
        assert_eq!(leader.snapshot().elsewhere[0].board, Snapshot::default(), "what it said before is gone");
        clock.advance(SAID_WITHIN + Duration::from_secs(1));
        assert_eq!(leader.snapshot().elsewhere, [], "a word that is old says nothing about now");
    }

    #[test]
    fn commits_are_summed_and_the_slowest_is_kept() {
        let board = Board::new(Arc::new(Manual::default()));
        board.begin(2, Duration::from_secs(1), None);
        let steps = |ms| Steps { publish: Duration::from_millis(ms), ..Steps::default() };
        (1..).zip([5, 90, 7]).for_each(|(epoch, ms)| board.committed(Epoch(epoch), steps(ms)));
        board.worked(1, Duration::from_millis(3), Duration::from_millis(4));
        let seen = board.snapshot();
        assert_eq!((seen.commits, seen.steps, seen.last, seen.slowest), (3, steps(102), steps(7), steps(90)));
        assert_eq!(seen.slowest_epoch, Some(Epoch(2)));
        assert_eq!(seen.workers[1].busy + seen.workers[1].waiting, Duration::from_millis(7));
    }
}
