//! Starts or resumes a job on a lake: from what a person asked for to running workers.
//!
//! 1. Read the chain of manifests, once. Tell every connector what an earlier run called its partitions, and ask for those
//!    there are now.
//! 2. Read the saved state, before anything is taken over.
//! 3. [`checkpoint::begin`]: does the job fit the lake? Take over, and say where to go on.
//! 4. Read again what has changed meanwhile, and take away what earlier runs left.
//! 5. Run the workers, committing through the [`checkpoint::Committer`].

use crate::connect::formats::{csv_gz, is_built};
use crate::connect::targets::target::Target;
use crate::connect::{Connector, PartitionInfo, notice};
use crate::engine::clock::{Clock, System};
use crate::engine::cluster::crew::Crew;
use crate::engine::cluster::membership::Wish;
use crate::engine::cluster::place::{Cluster, Place};
use crate::engine::cluster::shared;
use crate::engine::commit::alive::{Ending, Sign};
use crate::engine::commit::change_files::KEEPING;
use crate::engine::commit::checkpoint::{self, Committer, Found, Resume};
use crate::engine::commit::discovered::Discovered;
use crate::engine::commit::job::{AcceptedGap, FOLDING, IfRunning, InputInfo, Job, TABLE};
use crate::engine::commit::restore::SavedState;
use crate::engine::commit::site::{self, Site};
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::failpoint;
use crate::engine::format::manifest::{Manifest, Members, Program};
use crate::engine::format::names::Generation;
use crate::engine::run::blame::blame;
use crate::engine::run::board::Board;
use crate::engine::run::closed::{Closed, closed};
use crate::engine::run::discover;
use crate::engine::run::expect::{Expectations, Judge};
use crate::engine::run::feed::{self, Until};
use crate::engine::run::gold::{self, Gold};
use crate::engine::run::journal::Journal;
use crate::engine::run::late_judge::LateJudge;
use crate::engine::run::members::{card, watch};
use crate::engine::run::memory::Memory;
use crate::engine::run::ports::{HeldBefore, InputOptions};
use crate::engine::run::refill::Past;
use crate::engine::run::requests::Requests;
use crate::engine::run::saved::{self, Foreseen, by_worker};
use crate::engine::run::sink::Lake;
use crate::engine::run::size::Size;
use crate::engine::run::standing::{self, assigned, start_point};
use crate::engine::run::targets::{self, Targets};
use crate::engine::run::views::{OnViews, Views};
use crate::engine::run::watchdog::STUCK_AFTER;
use crate::engine::run::watched::{OnCommit, Summary, Watched};
use crate::engine::run::watched_store::WatchedStore;
use crate::engine::run::worker::{Options, run_workers};
use crate::mesh::LEADER;
use crate::store::Store;
use headway_operators::pipeline::{Configured, Pipeline};
use headway_operators::port::{InputStart, NotAfter};
use headway_operators::setting::Fingerprint;
use headway_operators::shape::Shape;
use headway_operators::spec::{InputSpec, OutputSpec};
use headway_operators::time::Epoch;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Called when a job starts.
pub type OnStart = Box<dyn Fn(&Resume, &[Vec<PartitionInfo>]) + Send>;

/// A source of one input, as a person asked for it.
#[derive(Clone)]
pub struct Source {
    /// Where messages come from.
    pub connector: Arc<dyn Connector>,
    /// The topic, or the name that a source without topics uses instead.
    pub topic: String,
    /// How often to look for new partitions, and for those of a broker to be quiet; `None` is never: no partition of a
    /// broker becomes idle then.
    pub discover_every: Option<Duration>,
    /// How far event time may be ahead of a message's time stamp.
    pub max_ahead: Duration,
    /// The newest event time of messages without a time stamp.
    pub not_after: NotAfter,
}

impl Source {
    /// A source that is looked at once.
    pub fn new(connector: Arc<dyn Connector>, topic: impl Into<String>) -> Source {
        let (discover_every, not_after) = (None, NotAfter::Clock);
        Source { connector, topic: topic.into(), discover_every, max_ahead: MAX_AHEAD, not_after }
    }

    /// True if only process 0 reads it, in a job on several: new partitions are looked for, and are numbered in the order in which
    /// they are found. Whether a new file is a copy of one that is read, or goes on where that one was cut, only the process knows
    /// that reads both. So one process looks, numbers and reads.
    pub(super) fn leader_reads(&self) -> bool {
        self.discover_every.is_some() && self.connector.numbers_as_found()
    }
}

/// How far event time may be ahead of a message's time stamp by default.
const MAX_AHEAD: Duration = Duration::from_secs(3600);

/// A job, as a person asked for it.
pub struct Launch {
    /// What to run, and the settings it was made with.
    pub pipeline: Configured,
    /// Where messages come from, in the order of the pipeline's inputs.
    pub sources: Vec<Source>,
    /// The lake.
    pub store: Arc<dyn Store>,
    /// The job's name in the lake.
    pub job: String,
    /// How many workers this process has.
    pub workers: usize,
    /// The other processes of the job; `None` if this is the only one.
    pub cluster: Option<Cluster>,
    /// What this process was started with, if it starts itself again where another membership is asked for or committed.
    pub wish: Option<Wish>,
    /// How CSV files look.
    pub csv: csv_gz::Options,
    /// Length of an epoch.
    pub epoch: Duration,
    /// How many bytes of messages fill an epoch, on one worker.
    pub epoch_bytes: usize,
    /// After how long quiet a partition that was read to its end is idle; `None` is never.
    pub idle_after: Option<Duration>,
    /// After how long idleness of all partitions windows are flushed; `None` is never.
    pub idle_flush: Option<Duration>,
    /// When the run is over.
    pub until: Until,
    /// How much memory this process may take.
    pub memory: Memory,
    /// After how long without a step a worker counts as stuck, and stops the job.
    pub stuck_after: Duration,
    /// The share of dead letters in an epoch above which the job stops.
    pub dead_max: f64,
    /// The share of late records above which the job stops; `None` never stops it.
    pub late_max: Option<f64>,
    /// What to do if another run is at work.
    pub if_running: IfRunning,
    /// Operators whose saved state may be lost.
    pub allow_dropped_state: Vec<String>,
    /// Gaps that it passes over.
    pub accept_gaps: Vec<AcceptedGap>,
    /// The first epoch whose facts views that are new begin with; `None`: all of them.
    pub views_from: Option<Epoch>,
    /// The sealed days that are open while the run lasts, by their names.
    pub unseal: Vec<String>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the run says what it is doing; one board serves one run.
    pub board: Board,
    /// Called once, before the first record is read, with the partitions of each input.
    pub on_start: OnStart,
    /// Called after each commit.
    pub on_commit: OnCommit,
    /// The expectations of views and records.
    pub expectations: Expectations,
    /// Where the views are delivered to.
    pub targets: Vec<Box<dyn Target>>,
    /// Called once what earlier runs left is restored, and after each resolved epoch, with the content of the views.
    pub on_views: OnViews,
}

/// Runs a job in the process that commits, alone or with those of `crew`.
///
/// # Errors
/// What refused or stopped it. Nothing after the last commit became visible.
pub(super) fn lead(
    mut launch: Launch,
    shape: Shape,
    crew: Option<Arc<Crew>>,
    control: &Control,
) -> Result<Summary, Error> {
    launch.store = WatchedStore::of(launch.store, launch.board.clone());
    // 1. What is there to read?
    let chain = checkpoint::look(&launch.store, &launch.clock, &launch.job)?;
    let site = Site::new(Arc::clone(&launch.store), Arc::clone(&launch.clock));
    let partitions = partitions(&launch, &site, chain.head());
    for source in &launch.sources {
        notice::log(&source.topic, &source.connector.notices());
    }
    let partitions = partitions?;
    // 2. Does its state come back? A start that cannot go on must not end a run that can.
    let mut job = launch.job(&shape, &partitions);
    let memory = launch.memory.clone();
    let place = launch.place();
    let reader = saved::Reader { site: &site, place: &place, memory: &memory };
    let foreseen = reader.foresee(&job, chain.head())?;
    launch.foresee_facts(&site, &shape, chain.head(), &mut job)?;
    // 3. Take the job over, if all processes are there still.
    if let Some(crew) = &crew {
        crew.check(control)?;
        shared::Start { site: &site, job: &launch.job, crew, control }.prove()?;
    }
    let closed = chain.head().map(|head| closed(head, &partitions)).unwrap_or_default();
    let members_before = chain.head().map(|head| head.members.clone());
    let known = foreseen.as_ref().map(|foreseen| foreseen.headers.clone()).unwrap_or_default();
    launch.size().check()?;
    let found = Found { chain: Some(chain), headers: known };
    let (committer, resume) =
        checkpoint::begin(Arc::clone(&launch.store), Arc::clone(&launch.clock), job, found)?;
    let mut sign = Sign::new(&launch.job, resume.manifest.generation, resume.manifest.nonce);
    control.runs(resume.manifest.generation);
    let claimed =
        Claimed { committer, resume, shape, partitions, foreseen, closed, members_before, crew, memory };
    let result = run_claimed(launch, claimed, control);
    site::run(sign.end(&site, ending(&result)));
    result
}

/// How a run ended, as the lake keeps it.
fn ending(result: &Result<Summary, Error>) -> Ending {
    let error = result.as_ref().err();
    Ending { code: error.map(|error| error.code().to_string()), why: error.map(ToString::to_string) }
}

/// A job that was taken over, and what is known of it.
struct Claimed {
    committer: Committer,
    resume: Resume,
    shape: Shape,
    partitions: Vec<Vec<PartitionInfo>>,
    foreseen: Option<Foreseen>,
    closed: Vec<Closed>,
    members_before: Option<Members>,
    crew: Option<Arc<Crew>>,
    memory: Memory,
}

fn run_claimed(mut launch: Launch, claimed: Claimed, control: &Control) -> Result<Summary, Error> {
    let Claimed { mut committer, resume, shape, partitions, foreseen, closed, .. } = claimed;
    let (members_before, crew, memory) = (claimed.members_before, claimed.crew, claimed.memory);
    let (site, place) = (Site::new(Arc::clone(&launch.store), Arc::clone(&launch.clock)), launch.place());
    announce(&launch, &resume, &partitions, crew.as_deref());
    // Whatever fails from here on may do so because this run was taken over.
    let blamed = launch.blamed(resume.manifest.generation);
    // 4. Read what has changed meanwhile, as the other processes do.
    let reader = saved::Reader { site: &site, place: &place, memory: &memory };
    let (saved, facts) = launch.restore(&reader, &shape, foreseen, &resume).map_err(&blamed)?;
    committer.sweep().map_err(|error| blamed(error.into()))?;
    failpoint::at("begin.restored");
    crew.as_ref().map_or(Ok(()), |crew| crew.start(control))?;
    // 5. Run.
    control.works();
    show(&launch, &shape, &resume, members_before.as_ref());
    let (inputs, discovered) = launch.inputs(&shape.inputs, &partitions, &resume.manifest);
    committer.watch(discovered.clone());
    let start = start_point(&resume.manifest, HeldBefore::of(&resume.manifest));
    let _watch = crew.as_ref().map(|crew| watch(crew, &start, launch.board.clone(), control));
    let journal = Journal::begin(Arc::clone(&launch.clock), &resume, members_before.as_ref(), &closed);
    let shared = Arc::new(Mutex::new(summary(&resume, &journal)));
    let views = Arc::new(Views::of(&shape, gold::day_files(&shape), &resume.manifest));
    let gold = Gold::new(Arc::clone(&launch.store), launch.pipeline.pipeline.name(), Arc::clone(&views));
    let gold = gold.sparing(facts.as_ref(), &resume.manifest);
    let source = targets::Source::of(&site, &committer, &views, control);
    let targets = Targets::start(std::mem::take(&mut launch.targets), source)?;
    let commit = Watched {
        requests: launch.requests(&site, resume.manifest.generation),
        committer,
        judge: Judge::new(launch.expectations.clone()),
        targets,
        gold,
        sources: launch.connectors(),
        crew: crew.clone(),
        held: Arc::clone(&start.held),
        control: control.clone(),
        on_commit: launch.on_commit,
        on_views: launch.on_views,
        is_bounded: launch.until != Until::Forever,
        late_judge: LateJudge::new(launch.late_max, launch.dead_max, &resume.manifest.inputs),
        journal,
        board: launch.board.clone(),
        summary: Arc::clone(&shared),
    };
    // Whoever ended the run before may have been too late to tell.
    commit.tell(&resume.manifest);
    let lake = Lake {
        store: launch.store,
        job: launch.job,
        generation: resume.manifest.generation,
        csv: launch.csv,
        saved: Arc::new(Mutex::new(by_worker(saved, place.peers()))),
        views: Some(views),
        facts: facts.map(Arc::new),
        control: control.clone(),
        memory: memory.clone(),
        board: launch.board.clone(),
    };
    let options = Options {
        pipeline: launch.pipeline.pipeline,
        inputs,
        discovered,
        sink: Arc::new(lake),
        commit: Some(Box::new(commit)),
        start,
        workers: launch.workers,
        crew,
        clock: launch.clock,
        board: launch.board,
        memory,
        stuck_after: launch.stuck_after,
    };
    run_workers(options, control).map_err(blamed)?;
    Ok(shared.lock().expect("no thread panicked with this lock held").clone())
}

/// What a run has done that has just begun.
fn summary(resume: &Resume, journal: &Journal) -> Summary {
    let (head, outcome) = (resume.manifest.clone(), journal.outcome.clone());
    Summary { head, outcome, views: Vec::new() }
}

/// Says what the job starts from: to whoever started it, in the log, and to the other processes.
fn announce(launch: &Launch, resume: &Resume, partitions: &[Vec<PartitionInfo>], crew: Option<&Crew>) {
    (launch.on_start)(resume, partitions);
    launch.sources.iter().for_each(|source| discover::log_entries(source.connector.as_ref()));
    if let Some(crew) = crew {
        for source in launch.sources.iter().filter(|source| source.leader_reads()) {
            let topic = &source.topic;
            tracing::info!(event = "read-by-process-0", topic, "what is followed is read by process 0 alone");
        }
        crew.deal(card(resume, partitions, launch.board.leader_answers()));
    }
}

/// Shows on the board that the run begins.
fn show(launch: &Launch, shape: &Shape, resume: &Resume, before: Option<&Members>) {
    let before = before.and_then(|before| before.other_size(&resume.manifest.members));
    before.into_iter().for_each(|size| launch.board.rescaled_from(size));
    launch.board.begin(launch.workers, launch.epoch, launch.max_skew_ms(shape));
    launch.board.head(Arc::new(resume.manifest.clone()));
}

/// Refuses what [`launch`](super::enter::launch) would refuse before its first record, and gives the partitions of each input
/// and the head that the job would go on from. Changes nothing.
///
/// # Errors
/// What would refuse it.
pub fn inspect(launch: &Launch) -> Result<(Vec<Vec<PartitionInfo>>, Option<Manifest>), Error> {
    let shape = shape(launch.pipeline.pipeline.as_ref())?;
    let mut chain = checkpoint::look(&launch.store, &launch.clock, &launch.job)?;
    let site = Site::new(Arc::clone(&launch.store), Arc::clone(&launch.clock));
    let partitions = partitions(launch, &site, chain.head())?;
    let mut job = launch.job(&shape, &partitions);
    checkpoint::inspect(&launch.store, &launch.clock, &job, &chain)?;
    let (place, memory) = (launch.place(), Memory::default());
    saved::Reader { site: &site, place: &place, memory: &memory }.foresee(&job, chain.head())?;
    launch.foresee_facts(&site, &shape, chain.head(), &mut job)?;
    Ok((partitions, chain.loose.pop()))
}

/// The partitions of each input, by the numbers that the run of `head` gave them.
fn partitions(
    launch: &Launch,
    site: &Site,
    head: Option<&Manifest>,
) -> Result<Vec<Vec<PartitionInfo>>, Error> {
    if let Some(head) = head {
        standing::remember(site, &launch.connectors(), head, &[])?;
    }
    let partitions = launch.sources.iter().map(|source| source.connector.partitions());
    Ok(partitions.collect::<Result<Vec<_>, _>>()?)
}

/// What `pipeline` builds.
///
/// # Errors
/// Everything that is wrong with it; or the first output in a format that this build leaves out.
pub fn shape(pipeline: &dyn Pipeline) -> Result<Shape, Error> {
    let shape = Shape::of(pipeline)
        .map_err(|problems| Error::Pipeline { pipeline: pipeline.name().to_string(), problems })?;
    match shape.outputs.iter().find(|output| !is_built(output.format)) {
        None => Ok(shape),
        Some(OutputSpec { name, format, .. }) => {
            Err(Error::FormatAbsent { output: name.clone(), format: format.name() })
        }
    }
}

impl Launch {
    /// The job of `pipeline` that reads all there is in `connectors`, one an input, into the lake `store`: on one worker,
    /// in epochs of a second or 16 MiB, until every window is closed. It has the pipeline's name, and tells nobody.
    pub fn new(
        pipeline: impl Into<Configured>,
        connectors: impl IntoIterator<Item = Arc<dyn Connector>>,
        store: Arc<dyn Store>,
    ) -> Launch {
        let pipeline = pipeline.into();
        let source = |(connector, spec): (_, InputSpec)| Source::new(connector, spec.topic);
        Launch {
            sources: connectors.into_iter().zip(pipeline.pipeline.inputs()).map(source).collect(),
            store,
            job: pipeline.pipeline.name().to_string(),
            pipeline,
            workers: 1,
            cluster: None,
            wish: None,
            csv: csv_gz::Options::default(),
            epoch: Duration::from_secs(1),
            epoch_bytes: 16 << 20,
            idle_after: None,
            idle_flush: None,
            until: Until::End,
            memory: Memory::default(),
            stuck_after: STUCK_AFTER,
            dead_max: 0.5,
            late_max: None,
            if_running: IfRunning::Wait,
            allow_dropped_state: Vec::new(),
            accept_gaps: Vec::new(),
            views_from: None,
            unseal: Vec::new(),
            clock: Arc::new(System::default()),
            board: Board::new(Arc::new(System::default())),
            on_start: Box::new(|_, _| {}),
            on_commit: Box::new(|_, _| {}),
            expectations: Expectations::default(),
            targets: Vec::new(),
            on_views: Box::new(|_| {}),
        }
    }

    /// Where this process stands in the job.
    pub fn place(&self) -> Place {
        Place::of(self.cluster.as_ref(), self.workers)
    }

    /// This process's part of the state of `resume`, and the facts that the run begins with.
    fn restore(
        &self,
        reader: &saved::Reader<'_>,
        shape: &Shape,
        foreseen: Option<Foreseen>,
        resume: &Resume,
    ) -> Result<(SavedState, Option<Past>), Error> {
        let saved = reader.saved(foreseen, resume)?;
        let (operators, files) = (resume.manifest.operators.len(), resume.manifest.state.len());
        let bytes: u64 = resume.manifest.state.iter().map(|entry| entry.bytes).sum();
        tracing::info!(event = "restored", operators, files, bytes, "read the state of earlier runs");
        Ok((saved, self.facts(reader.site, shape, &resume.manifest)?))
    }

    /// What this process goes by, to be compared with the lake.
    pub(super) fn size(&self) -> Size {
        let site = Site::new(Arc::clone(&self.store), Arc::clone(&self.clock));
        Size { wish: self.wish.clone(), site, job: self.job.clone(), mine: self.place().members() }
    }

    /// The requests for another membership than that of run `generation`; the one that this run has taken is deleted.
    fn requests(&self, site: &Site, generation: Generation) -> Option<Requests> {
        let here = Site::new(site.store(), Arc::clone(&self.clock));
        let of_run = || Requests::of(here, &self.job, generation, self.place().members());
        self.wish.as_ref().map(|_| of_run()).inspect(Requests::clear)
    }

    /// Where messages come from, in the order of the pipeline's inputs.
    pub(super) fn connectors(&self) -> Vec<Arc<dyn Connector>> {
        self.sources.iter().map(|source| Arc::clone(&source.connector)).collect()
    }

    /// The job as the commit protocol compares it with the lake.
    fn job(&self, shape: &Shape, partitions: &[Vec<PartitionInfo>]) -> Job {
        let info = |((spec, source), partitions): ((&InputSpec, &Source), &Vec<PartitionInfo>)| InputInfo {
            name: spec.name.to_string(),
            kind: source.connector.kind().to_string(),
            topic: source.topic.clone(),
            partitions: partitions.clone(),
        };
        Job {
            name: self.job.clone(),
            pipeline: self.pipeline.pipeline.name().to_string(),
            pipeline_version: self.pipeline.pipeline.version(),
            fingerprint: self.fingerprint(shape),
            outputs: shape.outputs.clone(),
            gold: shape.has_tables().then(|| gold::folder(self.pipeline.pipeline.name())),
            inputs: shape.inputs.iter().zip(&self.sources).zip(partitions).map(info).collect(),
            operators: shape.operators.clone(),
            program: program(),
            members: self.place().members(),
            dead_max: self.dead_max,
            if_running: self.if_running,
            not_after_ms: self.not_after_ms(),
            allow_dropped_state: self.allow_dropped_state.clone(),
            accept_gaps: self.accept_gaps.clone(),
            views_from: None,
            unsealed: Vec::new(),
            views: shape.views.iter().chain(&shape.day_files).cloned().collect(),
            keeps: shape.keeps.clone(),
            seals: shape.seals.clone(),
            folding: FOLDING,
            targets: self.targets.iter().map(|target| target.name().to_string()).collect(),
            keeping: KEEPING,
            expectations: self.expectations.entries(),
        }
    }

    /// The limit that a person fixed, where it is the same for all inputs.
    fn not_after_ms(&self) -> Option<i64> {
        let of = |source: &Source| match source.not_after {
            NotAfter::At(limit) => Some(limit.ms()),
            NotAfter::Clock | NotAfter::Never => None,
        };
        let first = self.sources.first().and_then(of);
        first.filter(|_| self.sources.iter().all(|source| of(source) == first))
    }

    /// What state and output are made with.
    pub(super) fn fingerprint(&self, shape: &Shape) -> Fingerprint {
        let mut fingerprint = self.pipeline.fingerprint();
        let name = || "csv_index".to_string();
        fingerprint.unless_noted.insert(name(), "false".to_string());
        if self.csv.index {
            fingerprint.noted.insert(name(), "true".to_string());
        }
        let tables =
            shape.tables.iter().map(|table| (format!("{TABLE}{}", table.name), table.digest.clone()));
        fingerprint.noted.extend(tables);
        fingerprint
    }

    /// The inputs as the workers run them, and the partitions that are to join.
    pub(super) fn inputs(
        &self,
        specs: &[InputSpec],
        partitions: &[Vec<PartitionInfo>],
        claim: &Manifest,
    ) -> (Vec<InputOptions>, Vec<Discovered>) {
        let mut inputs = Vec::new();
        let mut discovered = Vec::new();
        let leads = self.place().process == LEADER;
        for (index, (spec, source)) in specs.iter().zip(&self.sources).enumerate() {
            let leader_reads = source.leader_reads();
            let (input, seen) = (&claim.inputs[index], &partitions[index]);
            let new = Discovered::default();
            for info in
                seen.iter().filter(|info| input.partitions.iter().all(|p| p.partition != info.partition))
            {
                new.announce(info.clone());
            }
            discovered.push(new);
            inputs.push(InputOptions {
                connector: Arc::clone(&source.connector),
                start: InputStart {
                    topic: source.topic.clone(),
                    watermark: input.watermark,
                    partitions: input.partitions.iter().map(standing::standing).collect(),
                    max_ahead_ms: i64::try_from(source.max_ahead.as_millis()).unwrap_or(i64::MAX),
                    not_after: source.not_after,
                    rules: self.expectations.rules_of(index),
                    idle_flush_ms: self.idle_flush.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
                },
                assigned: assigned(input, seen),
                feed: self.feed(spec),
                known: seen.iter().map(|info| (info.partition, info.identity.clone())).collect(),
                discover_every: source
                    .discover_every
                    .filter(|_| self.until == Until::Forever && (leads || !leader_reads)),
                leader_reads,
            });
        }
        (inputs, discovered)
    }

    /// Says why run `generation` of the job failed, by what the lake holds then.
    pub(super) fn blamed(&self, generation: Generation) -> impl Fn(Error) -> Error + use<> {
        let (store, clock, name) = (Arc::clone(&self.store), Arc::clone(&self.clock), self.job.clone());
        move |error| match checkpoint::look(&store, &clock, &name) {
            Ok(chain) => blame(error, generation, chain.head()),
            Err(_) => error,
        }
    }

    /// The smallest distance in event time at which a partition is paused.
    pub(super) fn max_skew_ms(&self, shape: &Shape) -> Option<i64> {
        shape.inputs.iter().map(InputSpec::max_skew_ms).min()
    }

    fn feed(&self, spec: &InputSpec) -> feed::Options {
        feed::Options {
            epoch: self.epoch,
            epoch_bytes: self.epoch_bytes,
            idle_after: self.idle_after,
            idle_flush: self.idle_flush,
            max_skew_ms: spec.max_skew_ms(),
            until: self.until,
        }
    }
}

/// The program that runs, by the name of its binary.
fn program() -> Program {
    let path = std::env::current_exe().ok();
    let name =
        path.as_ref().and_then(|path| path.file_stem()).map(|name| name.to_string_lossy().into_owned());
    Program {
        name: name.unwrap_or_else(|| "headway".to_string()),
        build: env!("CARGO_PKG_VERSION").to_string(),
    }
}
