//! Why a job lags, each cause provoked on a running job: `headway explain lag` must name it. The source, an operator, the store
//! and a target stand still where a test closes a gate, and time passes when the test says so.

use crate::played::{Disk, Gate, Topic, Warehouse};
use headway::connect::Connector;
use headway::engine::clock::{Clock, Manual};
use headway::engine::format::waits::Waits;
use headway::engine::run::feed::Until;
use headway::engine::{Board, Control, Error, Launch, Memory, Summary, launch};
use headway::serve::lag::{Cause, Diagnosis, diagnose};
use headway_operators::build::Build;
use headway_operators::kit::json::{Json, Timestamp};
use headway_operators::kit::{Context, Logic};
use headway_operators::pipeline::{Configured, Pipeline};
use headway_operators::row;
use headway_operators::spec::InputSpec;
use headway_operators::stream::window::Closing;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// For how long a job may take to come to where a test wants it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// By how much time passes once a job stands still: more than records may wait.
pub(crate) const LONG: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Visit {
    page: String,
    ts: Timestamp,
}

row! {
    /// A page that was visited.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Seen {
        /// The page.
        pub page: String,
    }
}

/// Passes visits on, through a gate.
struct Doorman(Gate);

impl Logic for Doorman {
    type Key = String;
    type In = Visit;
    type State = u64;
    type Out = Seen;
    const VERSION: u32 = 1;

    fn key(visit: &Visit) -> String {
        visit.page.clone()
    }

    fn on_record(&self, visit: Visit, seen: &mut u64, cx: &mut Context<'_, Self>) {
        self.0.pass();
        *seen += 1;
        cx.emit(Seen { page: visit.page });
    }
}

/// The pipeline: one input, one operator.
struct Visits {
    doorman: Gate,
}

impl Pipeline for Visits {
    fn name(&self) -> &'static str {
        "visits"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        let closing = Closing::Horizon { ms: 0 };
        vec![InputSpec { name: "visits", topic: "visits", lateness_ms: 0, closing, header: None }]
    }

    fn build(&self, build: &mut Build<'_>) {
        let visits = build.records("visits", Json::new(|visit: &Visit| Some(visit.ts.time())));
        let seen = build.logic("Doorman", Doorman(self.doorman.clone()), visits);
        build.ndjson("seen", seen);
    }
}

/// Visits of one page, one a second from second `from` of event time on.
pub(crate) fn visits(page: &str, from: u64, count: u64) -> Vec<String> {
    let visit = |second: u64| format!("{{\"page\": \"{page}\", \"ts\": {}}}", second * 1_000);
    (from..from + count).map(visit).collect()
}

/// The memory of a process that may take so many MiB, and how many it takes: 10 at first.
pub(crate) fn memory_of(limit: u64) -> (Memory, Arc<AtomicU64>) {
    let takes = Arc::new(AtomicU64::new(10));
    let shown = Arc::clone(&takes);
    (Memory::measured(limit << 20, Box::new(move || Some(shown.load(Ordering::SeqCst) << 20))), takes)
}

/// What is around a process of a job: a topic, a store, and what time it is.
pub(crate) struct Around {
    pub(crate) topic: Topic,
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<Manual>,
}

impl Around {
    pub(crate) fn new(partitions: usize) -> Around {
        let clock = Arc::new(Manual::default());
        clock.advance(Duration::from_secs(1));
        Around { topic: Topic::new(partitions), disk: Disk::default(), clock }
    }

    /// The job of `made` in the midst of it, with a board of its own.
    pub(crate) fn job(&self, made: Configured) -> Launch {
        let connectors = [Arc::new(self.topic.clone()) as Arc<dyn Connector>];
        Launch {
            until: Until::Forever,
            epoch: Duration::from_millis(50),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            board: Board::new(Arc::clone(&self.clock) as Arc<dyn Clock>),
            ..Launch::new(made, connectors, Arc::new(self.disk.clone()))
        }
    }
}

/// The job of visits, and the gate of its operator.
pub(crate) fn visits_job() -> (Gate, Configured) {
    let doorman = Gate::default();
    let pipeline = Arc::new(Visits { doorman: doorman.clone() });
    (doorman, Configured::from(pipeline as Arc<dyn Pipeline>))
}

/// A job that runs, with all that holds it up in the hands of a test.
pub(crate) struct Running {
    pub(crate) topic: Topic,
    pub(crate) disk: Disk,
    doorman: Gate,
    pub(crate) clock: Arc<Manual>,
    pub(crate) board: Board,
    control: Control,
    thread: Option<JoinHandle<Result<Summary, Error>>>,
}

impl Running {
    /// A job on a topic of so many `partitions`, changed by `change`.
    pub(crate) fn start(partitions: usize, change: impl FnOnce(Launch) -> Launch) -> Running {
        let (doorman, made) = visits_job();
        Running::of(Around::new(partitions), made, doorman, change)
    }

    /// The job of `made` with what is `around` it, changed by `change`.
    pub(crate) fn of(
        around: Around,
        made: Configured,
        doorman: Gate,
        change: impl FnOnce(Launch) -> Launch,
    ) -> Running {
        let job = change(around.job(made));
        let (board, control) = (job.board.clone(), Control::new());
        let shared = control.clone();
        let thread = Some(std::thread::spawn(move || launch(job, &shared)));
        let Around { topic, disk, clock } = around;
        let running = Running { topic, disk, doorman, clock, board, control, thread };
        running.wait("the claim", || running.board.committed_head().is_some());
        running
    }

    /// Waits until `is_there`. Epochs pass meanwhile, and no more time than they take.
    pub(crate) fn wait(&self, what: &str, mut is_there: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_there() {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended && began.elapsed() < PATIENCE, "{what}: {:?}", self.diagnosis());
            self.clock.advance(Duration::from_millis(1));
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    pub(crate) fn consumed(&self) -> u64 {
        self.board.committed_head().map_or(0, |head| head.inputs[0].total().consumed)
    }

    pub(crate) fn wait_for_commits(&self, records: u64) {
        self.wait("records that are committed", || self.consumed() == records);
    }

    /// True if a feed of process 0 says that a partition waits for that.
    fn waits(&self, waits: Waits) -> bool {
        let board = self.board.snapshot();
        board.feeds.iter().flat_map(|feed| &feed.partitions).any(|part| part.waits == waits)
    }

    pub(crate) fn diagnosis(&self) -> Option<Diagnosis> {
        Some(diagnose(self.board.committed_head()?.as_ref(), &self.board.snapshot()))
    }

    /// Lets much time pass at once, and waits until `cause` is named for it.
    pub(crate) fn after_long(&self, cause: Cause) -> Diagnosis {
        self.clock.advance(LONG);
        self.named(cause)
    }

    /// Waits until `cause` is named; it must stay.
    pub(crate) fn named(&self, cause: Cause) -> Diagnosis {
        let mut found = None;
        let mut times = 0;
        self.wait(cause.name(), || {
            found = self.diagnosis().filter(|found| found.cause == cause);
            times = if found.is_some() { times + 1 } else { 0 };
            times == 50
        });
        found.expect("it was named")
    }

    /// Opens all gates and drains the job, which was well until then.
    pub(crate) fn end(mut self) {
        for gate in [&self.disk.staging, &self.disk.manifests, &self.doorman] {
            gate.open();
        }
        self.topic.answers_again();
        self.control.drain();
        let thread = self.thread.take().expect("it was started");
        while !thread.is_finished() {
            self.clock.advance(Duration::from_millis(1));
            std::thread::park_timeout(Duration::from_millis(1));
        }
        thread.join().expect("no panic").expect("it drains");
    }
}

#[test]
fn slow_source_is_named() {
    let job = Running::start(2, |job| job);
    (0..2).for_each(|part| job.topic.write(part, visits("a", 0, 50), 5));
    job.wait_for_commits(10);
    let found = job.after_long(Cause::SlowSource);
    assert!(found.evidence[0].starts_with("90 records of 2 partitions wait"), "{found:?}");
    job.end();
}

#[test]
fn broker_that_does_not_answer_is_named_while_nothing_waits_and_while_a_commit_does() {
    let job = Running::start(1, |mut job| {
        job.sources[0].discover_every = Some(Duration::from_millis(1));
        job
    });
    job.topic.write(0, visits("a", 0, 5), 5);
    job.wait_for_commits(5);
    assert_eq!(job.after_long(Cause::None).cause, Cause::None, "nothing is the matter");
    job.topic.goes_away();
    job.wait("a question without an answer", || !job.board.snapshot().silent.is_empty());
    let found = job.after_long(Cause::SourceSilent);
    assert!(found.evidence[0].starts_with("input visits has not answered for"), "{found:?}");
    job.topic.write(0, visits("a", 5, 5), 5);
    job.named(Cause::SourceSilent);
    job.topic.answers_again();
    job.wait_for_commits(10);
    job.named(Cause::None);
    job.end();
}

#[test]
fn slow_partition_is_named() {
    let job = Running::start(2, |job| job);
    job.topic.write(0, visits("a", 0, 50), 50);
    job.topic.write(1, visits("b", 0, 50), 5);
    job.wait_for_commits(55);
    let found = job.after_long(Cause::SlowPartition);
    assert!(found.sentence.starts_with("partition 1 of visits is slow"), "{found:?}");
    job.end();
}

#[test]
fn open_transaction_is_named() {
    let job = Running::start(2, |job| job);
    job.topic.write(0, visits("a", 0, 50), 50);
    job.topic.lock().parts[1].stalled = true;
    job.topic.write(1, visits("b", 0, 50), 5);
    job.wait_for_commits(55);
    let found = job.after_long(Cause::OpenTransaction);
    assert!(found.sentence.contains("holds back partition 1 of visits"), "{found:?}");
    job.end();
}

#[test]
fn empty_or_idle_partition_that_holds_the_watermark_is_named() {
    let job = Running::start(3, |job| job);
    job.topic.write(0, visits("a", 0, 200), 200);
    job.topic.write(1, visits("b", 150, 50), 50);
    job.wait_for_commits(250);
    let found = job.after_long(Cause::PartitionHoldsWindows);
    assert_eq!(found.sentence, "Partition 2 of visits has nothing to read, and holds all windows open.");
    // It was not empty but quiet.
    job.topic.write(2, visits("c", 0, 1), 1);
    job.wait_for_commits(251);
    let found = job.after_long(Cause::PartitionHoldsWindows);
    assert_eq!(found.sentence, "Partition 2 of visits has nothing to read, and holds all windows open.");
    assert!(found.evidence[0].contains("199 s of event time behind"), "{found:?}");
    job.topic.write(2, visits("c", 190, 10), 10);
    job.wait_for_commits(261);
    job.named(Cause::None);
    job.end();
}

#[test]
fn record_of_the_future_is_named() {
    let job = Running::start(1, |job| job);
    job.topic.write(0, visits("a", 0, 5), 5);
    job.topic.write(0, visits("a", 100_000, 1), 1);
    job.wait_for_commits(6);
    let found = job.after_long(Cause::FutureRefused);
    assert!(found.sentence.contains("1 records of visits lay in the future"), "{found:?}");
    job.end();
}

#[test]
fn hot_key_is_named() {
    let job = Running::start(1, |job| Launch { workers: 2, ..job });
    job.doorman.close();
    job.topic.write(0, visits("the one", 0, 50), 50);
    job.wait("the operator that stands still", || job.doorman.is_waited_at());
    let found = job.after_long(Cause::HotShard);
    assert!(found.sentence.contains("one key or one partition has most of the records"), "{found:?}");
    job.end();
}

#[test]
fn slow_operator_is_named() {
    let job = Running::start(1, |job| job);
    for second in 0..5 {
        // A record is taken once the watermark has passed it: the one before this one.
        job.doorman.close();
        job.topic.write(0, visits("a", second, 1), 1);
        if second > 0 {
            job.wait("the operator that stands still", || job.doorman.is_waited_at());
            // It takes a while for each record: what takes no time is not the slow one.
            let mut looks = 0;
            job.wait("a while", || {
                looks += 1;
                looks > 150
            });
        }
        job.doorman.open();
        job.wait_for_commits(second + 1);
    }
    job.doorman.close();
    job.topic.write(0, visits("a", 5, 1), 1);
    job.wait("the operator that stands still", || job.doorman.is_waited_at());
    let found = job.after_long(Cause::SlowOperators);
    assert!(found.sentence.ends_with("in operator Doorman."), "{found:?}");
    job.end();
}

#[test]
fn slow_lake_is_named_with_what_it_does_before_a_commit_and_in_one() {
    let job = Running::start(1, |job| job);
    job.topic.write(0, visits("a", 0, 5), 5);
    job.wait_for_commits(5);
    job.disk.staging.close();
    job.topic.write(0, visits("a", 5, 5), 5);
    job.wait("the store that stands still", || job.disk.staging.is_waited_at());
    let found = job.after_long(Cause::SlowLake);
    assert!(found.sentence.contains("writing files before they are committed"), "{found:?}");
    assert!(found.evidence[1].contains("the store has not come back from \"open "), "{found:?}");
    job.disk.staging.open();
    job.wait_for_commits(10);
    job.disk.manifests.close();
    job.topic.write(0, visits("a", 10, 5), 5);
    job.wait("the store that stands still", || job.disk.manifests.is_waited_at());
    let found = job.after_long(Cause::SlowLake);
    assert!(found.sentence.contains("commits take all of the time"), "{found:?}");
    job.end();
}

#[test]
fn slow_target_is_named() {
    let turnstile = headway_pipelines::find("turnstile").expect("it is in the catalogue");
    let made = turnstile.configure([("window", "1m"), ("lateness", "0s"), ("views", "true")]);
    let gate = Gate::default();
    let target = Warehouse(gate.clone());
    let made = made.expect("the settings make a job");
    let job = Running::of(Around::new(1), made, Gate::default(), |job| Launch {
        targets: vec![Box::new(target)],
        sources: job
            .sources
            .into_iter()
            .map(|source| headway::Source {
                max_ahead: Duration::MAX,
                not_after: headway_operators::port::NotAfter::Never,
                ..source
            })
            .collect(),
        ..job
    });
    gate.close();
    let lines = crate::process::lines("a", 0, 300);
    let lines: Vec<String> = lines.lines().map(str::to_string).collect();
    let count = lines.len();
    job.topic.write(0, lines, count);
    job.wait("the target that stands still", || gate.is_waited_at());
    job.clock.advance(LONG * 4);
    let found = job.named(Cause::TargetBehind);
    assert!(found.sentence.starts_with("Target \"warehouse\" is behind"), "{found:?}");
    gate.open();
    job.end();
}

#[test]
fn partition_that_is_paused_because_it_is_far_ahead_is_named() {
    let job = Running::start(2, |job| job);
    // Far ahead is more than a minute.
    job.topic.write(0, visits("a", 0, 500), 500);
    job.topic.write(1, visits("b", 0, 50), 5);
    job.wait("a partition that is paused", || job.waits(Waits::Slowest));
    let found = job.after_long(Cause::PausedBySkew);
    assert!(found.sentence.starts_with("partition 0 of visits is paused"), "{found:?}");
    job.end();
}

#[test]
fn pause_for_memory_is_named_until_there_is_room_again() {
    let (memory, takes) = memory_of(100);
    let job = Running::start(1, |job| Launch { memory, ..job });
    // What is there and does not come keeps the partition from being at its end.
    job.topic.write(0, visits("a", 0, 10), 5);
    job.wait_for_commits(5);
    takes.store(95, Ordering::SeqCst);
    job.wait("a partition that is paused", || job.waits(Waits::Memory));
    job.topic.write(0, visits("a", 10, 40), 45);
    let found = job.after_long(Cause::PausedByMemory);
    assert_eq!(found.sentence, "Sources are paused: process 0 takes nearly as much memory as it may.");
    assert_eq!(found.evidence[0], "95 of 100 MiB are resident");
    assert!(found.evidence[1].contains(" records of 1 partitions wait"), "{found:?}");
    assert_eq!(job.consumed(), 5, "nothing is read meanwhile");
    takes.store(10, Ordering::SeqCst);
    job.wait_for_commits(50);
    job.named(Cause::None);
    job.end();
}

#[test]
fn time_of_each_worker_adds_up_to_that_of_the_run() {
    let job = Running::start(1, |job| Launch { workers: 2, ..job });
    job.topic.write(0, visits("a", 0, 50), 50);
    job.wait_for_commits(50);
    job.clock.advance(LONG);
    // What a worker has not told yet is the time since it told last.
    job.wait("times that add up", || {
        let board = job.board.snapshot();
        let sums = board.workers.iter().map(|time| time.busy + time.waiting);
        board.workers.len() == 2
            && board.workers.iter().all(|time| time.busy > Duration::ZERO)
            && sums.clone().all(|sum| sum.abs_diff(board.running) <= board.running / 50)
    });
    job.end();
}

#[test]
fn start_that_finds_its_source_away_is_noted_and_leaves_the_outcome_of_the_last_run() {
    let job = Running::start(1, |job| job);
    let (topic, disk) = (job.topic.clone(), job.disk.clone());
    topic.write(0, visits("a", 0, 5), 5);
    job.wait_for_commits(5);
    job.end();
    let file = |name: &str| disk.files.files().get(&format!("_headway/visits/{name}.json")).cloned();
    let outcome = file("alive").expect("the run has said how it ended");
    assert!(file("refused").is_none());
    topic.goes_away();
    let connectors = [Arc::new(topic) as Arc<dyn Connector>];
    let again =
        Launch::new(Arc::new(Visits { doorman: Gate::default() }), connectors, Arc::new(disk.clone()));
    let error = launch(again, &Control::new()).expect_err("its source is away");
    assert_eq!(error.exit_code(), 3, "{error}");
    assert_eq!(file("alive"), Some(outcome), "the outcome is that of the run");
    let refused = file("refused").expect("the start was noted");
    let refused: serde_json::Value = serde_json::from_slice(&refused).expect("it is JSON");
    assert_eq!(refused["code"], error.code(), "{refused}");
}
