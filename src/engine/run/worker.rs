//! Runs the workers of one process: builds the dataflow on each, steps it, and stops all when one fails.

use crate::connect::{Begins, Sink};
use crate::engine::clock::Clock;
use crate::engine::cluster::crew::Crew;
use crate::engine::commit::discovered::Discovered;
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::guard::{guard, run_guarded};
use crate::engine::run::board::Board;
use crate::engine::run::committing::{Commit, CommitPort, CommitThread, commit};
use crate::engine::run::discover::{self, Announce, Growing};
use crate::engine::run::memory::{Memory, OpenMessages};
use crate::engine::run::meter::Log;
use crate::engine::run::ports::{InputOptions, StartPoint, WorkerPorts};
use crate::engine::run::watchdog::Steps;
use headway_operators::build::Build;
use headway_operators::pipeline::Pipeline;
use headway_operators::time::Epoch;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::zero_copy::initialize::{
    CommsGuard, initialize_networking_from_sockets,
};
use timely::communication::{AllocatorBuilder, Hooks};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::execute::execute_from;
use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

/// How long a worker sleeps where nothing wakes it.
const PARK: Duration = Duration::from_millis(10);

/// How often a worker tells the board how it spends its time.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// How long the workers of a failed job may take to stop by themselves.
const GRACE: Duration = Duration::from_secs(3);

/// One run of a pipeline in this process.
pub struct Options {
    /// What to run.
    pub pipeline: Arc<dyn Pipeline>,
    /// Where its messages come from, in the order of [`Pipeline::inputs`].
    pub inputs: Vec<InputOptions>,
    /// Partitions found while the job runs, per input; the committer keeps a clone.
    pub discovered: Vec<Discovered>,
    /// Where rows and state go.
    pub sink: Arc<dyn Sink>,
    /// What makes epochs true; `None` where another process does.
    pub commit: Option<Box<dyn Commit>>,
    /// What the run starts from.
    pub start: StartPoint,
    /// How many workers this process has.
    pub workers: usize,
    /// The other processes of the job; `None` if this is the only one.
    pub crew: Option<Arc<Crew>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the workers say how they and their operators spend their time.
    pub board: Board,
    /// How much memory the process may take.
    pub memory: Memory,
    /// After how long without a step a worker counts as stuck.
    pub stuck_after: Duration,
}

/// Runs until the input ends, the job is drained, or something fails.
///
/// # Errors
/// What stopped the job, if it did not end by itself. Nothing after the last commit became visible.
pub fn run_workers(options: Options, control: &Control) -> Result<(), Error> {
    let Options { pipeline, inputs, discovered, sink, commit, start, workers, crew, clock, .. } = options;
    let Options { board, memory, stuck_after, .. } = options;
    let start = Arc::new(start);
    let Allocators { builders, sockets } = allocators(workers, crew.as_deref())?;
    let (stop, stopped) = crossbeam_channel::bounded(0);
    let steps = Steps::of(workers);
    let mut watchers = vec![steps.watch(stuck_after, stopped.clone(), control)];
    watchers.extend(memory.watch(board.clone(), stopped.clone(), control));
    let open: Vec<OpenMessages> = inputs.iter().map(|input| memory.messages_of(&input.start.topic)).collect();
    let listeners = Listeners { crew: crew.as_ref(), board: &board };
    let seekers = look_for_partitions(&inputs, &discovered, listeners, &stopped, control);
    let (commit_thread, commit_port) =
        commit.map(|commit| CommitThread::start(commit, control.clone(), start.first_epoch)).unzip();
    let commit_port = Arc::new(Mutex::new(commit_port));
    let shared = control.clone();
    let body = move |worker: &mut Worker| {
        let work = || {
            let resolved = ProbeHandle::new();
            let restored = resolved.clone();
            let ports = WorkerPorts {
                index: worker.index(),
                peers: worker.peers(),
                leaders: workers,
                inputs: inputs.clone(),
                discovered: discovered.clone(),
                resolved: resolved.clone(),
                start: Arc::clone(&start),
                clock: Arc::clone(&clock),
                control: shared.clone(),
                sink: sink.worker(worker.index(), worker.peers()),
                begins: Begins::default(),
                open: open.clone(),
                board: board.clone(),
            };
            let port = if worker.index() == 0 {
                commit_port.lock().expect("no thread panicked with this lock held").take()
            } else {
                None
            };
            let log = (!board.is_muted()).then(|| Log::open(worker));
            build(worker, pipeline.as_ref(), ports, port);
            log.into_iter().for_each(|log| board.measures(log.meter()));
            // If saved state was refused, the job is stopped already, and the dataflow takes no step.
            let (restored, first_epoch) = (&restored, start.first_epoch);
            let watch = Stopwatch::start(board.clone(), worker.index() % workers);
            run_steps(worker, Stepping { restored, first_epoch, steps: &steps, control: &shared, watch });
        };
        run_guarded(&shared, work);
        steps.rest(worker.index() % workers);
        if shared.is_stopped() {
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        }
    };
    let guards = execute_from(builders, Box::new(()), WorkerConfig::default(), body)
        .map_err(|reason| Error::Start { workers, reason })?;
    wait(guards, control);
    // Waiting for its threads would wait for the other processes; they end with their sockets.
    std::mem::forget(sockets);
    if let Some(crew) = &crew {
        crew.finish(control);
    }
    drop(stop);
    seekers.into_iter().chain(watchers).for_each(|thread| drop(thread.join()));
    let failure = control.take_failure();
    if let Some(thread) = commit_thread {
        last_commit(thread, failure.as_ref());
    }
    failure.or_else(|| control.take_failure()).map_or(Ok(()), Err)
}

/// Waits for the thread that commits. After a failure it may be inside a call that does not come back: then the run ends without it.
/// Else no write to the lake goes on after the run has ended.
fn last_commit(thread: CommitThread, failure: Option<&Error>) {
    let end = when_ended(move || thread.join());
    match failure {
        None => drop(end.recv()),
        Some(_) => drop(end.recv_timeout(GRACE)),
    }
}

/// What a worker's steps go by.
struct Stepping<'a> {
    /// How far the dataflow has come.
    restored: &'a ProbeHandle<Epoch>,
    /// The first epoch of the run.
    first_epoch: Epoch,
    /// Where the worker notes that it steps.
    steps: &'a Steps,
    control: &'a Control,
    watch: Stopwatch,
}

/// Steps the dataflow of a worker until it ends or the job stops. It is watched from the first epoch of the run on: what earlier runs
/// left goes through the dataflow at once, however long that takes.
fn run_steps(worker: &mut Worker, stepping: Stepping<'_>) {
    let Stepping { restored, first_epoch, steps, control, mut watch } = stepping;
    let mut is_restored = false;
    while !control.is_stopped() && worker.has_dataflows() {
        is_restored = is_restored || !restored.less_than(&first_epoch);
        if is_restored {
            steps.step(watch.index);
        }
        worker.step_or_park(Some(PARK));
        watch.look();
    }
}

/// How the workers of this process reach each other, and those of other processes.
struct Allocators {
    builders: Vec<AllocatorBuilder>,
    sockets: Option<CommsGuard>,
}

fn allocators(workers: usize, crew: Option<&Crew>) -> Result<Allocators, Error> {
    let failed = |reason: String| Error::Start { workers, reason };
    let Some(crew) = crew else {
        let config =
            if workers == 1 { CommunicationConfig::Thread } else { CommunicationConfig::Process(workers) };
        let (builders, _) = config.try_build().map_err(failed)?;
        return Ok(Allocators { builders, sockets: None });
    };
    let (hooks, process) = (Hooks::default(), crew.place().process.index());
    let inner = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None);
    let (builders, sockets) =
        initialize_networking_from_sockets(inner, crew.sockets(), process, workers, hooks)
            .map_err(|error| failed(error.to_string()))?;
    Ok(Allocators {
        builders: builders.into_iter().map(AllocatorBuilder::Tcp).collect(),
        sockets: Some(sockets),
    })
}

/// Tells the board now and then how a worker's thread spends its time. What it tells adds up to the time since the run began.
struct Stopwatch {
    board: Board,
    index: usize,
    /// Up to when, since the run began, it has told.
    at: Duration,
    busy: Duration,
}

impl Stopwatch {
    /// The watch of the calling thread, which is worker `index`.
    fn start(board: Board, index: usize) -> Stopwatch {
        // From now on the board shows a step that does not end, even if it is the first one.
        board.worked(index, Duration::ZERO, Duration::ZERO);
        // The time since the run began counts as the worker's: its dataflow was built in it, and state restored.
        Stopwatch { board, index, at: Duration::ZERO, busy: Duration::ZERO }
    }

    fn look(&mut self) {
        if self.board.is_muted() {
            return;
        }
        let passed = self.board.running().saturating_sub(self.at);
        if passed < TOLD_EVERY {
            return;
        }
        let busy = processor_time();
        let worked = busy.saturating_sub(self.busy).min(passed);
        self.board.worked(self.index, worked, passed - worked);
        (self.at, self.busy) = (self.at + passed, busy);
    }
}

/// The processor time of the calling thread.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Builds the pipeline's dataflow on one worker.
fn build(worker: &mut Worker, pipeline: &dyn Pipeline, ports: WorkerPorts, port: Option<CommitPort>) {
    let resolved = ports.resolved.clone();
    worker.dataflow::<Epoch, _, _>(move |scope| {
        let mut build = Build::new(scope, Box::new(ports), pipeline.name(), pipeline.inputs());
        pipeline.build(&mut build);
        commit(build.finish(), port).probe_with(&resolved);
    });
}

/// Waits for the workers; not for ever, once the job has failed: a worker may be blocked for good.
fn wait(guards: timely::communication::WorkerGuards<()>, control: &Control) {
    let end = when_ended(move || guards.join().into_iter().for_each(drop));
    while !control.is_stopped() {
        if end.recv_timeout(PARK) == Err(crossbeam_channel::RecvTimeoutError::Disconnected) {
            return;
        }
    }
    let _ = end.recv_timeout(GRACE);
}

/// A channel that is disconnected once `join` has come back, on a thread of its own.
fn when_ended(join: impl FnOnce() + Send + 'static) -> crossbeam_channel::Receiver<()> {
    let (ended, end) = crossbeam_channel::bounded(0);
    std::thread::spawn(move || {
        let _ended = ended;
        join();
    });
    end
}

/// Who learns of new partitions, besides the workers.
struct Listeners<'a> {
    crew: Option<&'a Arc<Crew>>,
    board: &'a Board,
}

/// Starts a thread for each input whose partitions may grow.
fn look_for_partitions(
    inputs: &[InputOptions],
    discovered: &[Discovered],
    listeners: Listeners<'_>,
    stopped: &crossbeam_channel::Receiver<()>,
    control: &Control,
) -> Vec<JoinHandle<()>> {
    let all = inputs.iter().zip(discovered).enumerate();
    let growing = all.filter_map(|(at, (i, d))| Some((at, i, d, i.discover_every?)));
    growing
        .map(|(at, input, discovered, every)| {
            let (crew, board) = (listeners.crew.cloned(), listeners.board.clone());
            let (connector, discovered) = (Arc::clone(&input.connector), discovered.clone());
            let (stopped, shared) = (stopped.clone(), control.clone());
            let (known, topic) = (input.known.clone(), input.start.topic.clone());
            let seek = move || {
                let growing = Growing { connector: connector.as_ref(), topic: &topic, every };
                let announce =
                    Announce { discovered: &discovered, crew: crew.as_deref(), input: at, board: &board };
                discover::run(&growing, known, &announce, &stopped, &shared);
            };
            let thread = std::thread::Builder::new().name("headway-discover".into());
            thread.spawn(guard(control.clone(), seek)).expect("a thread can be started")
        })
        .collect()
}
