//! `headway run`: one process of a job, until its input ends, it is drained, or something stops it.

use super::advice::{Advice, advice};
use super::listen::Listen;
use super::membership;
use super::outcome;
use super::restart;
use super::standby;
use super::targets::targets;
use crate::cli::lake::now_ms;
use crate::cli::settings::config::{IfRunning, Until};
use crate::cli::settings::plan::{self, Plan};
use crate::cli::settings::source::{Input, Source};
use crate::cli::status::holder::{Patience, holder};
use crate::cli::terminal::failure::Failure;
use crate::cli::terminal::form::Form;
use crate::cli::terminal::progress::{Bar, Progress};
use crate::cli::terminal::signals;
use crate::cli::units::Limit;
use crate::connect::PartitionInfo;
use crate::connect::formats::csv_gz;
use crate::engine;
use crate::engine::clock::{Clock, System};
use crate::engine::cluster::place::Cluster;
use crate::engine::commit::job;
use crate::engine::format::names;
use crate::engine::run::board::Board;
use crate::engine::run::enter::launch;
use crate::engine::run::feed;
use crate::engine::run::launch::{self, Launch, shape};
use crate::engine::run::memory::Memory;
use crate::engine::run::outcome::{InputOutcome, Outcome};
use crate::engine::run::watchdog::STUCK_AFTER;
use crate::engine::run::watched::Summary;
use crate::engine::{Control, Error};
use crate::mesh::{LEADER, Process};
#[cfg(feature = "serve")]
use crate::serve::feed::Limits;
#[cfg(feature = "serve")]
use crate::serve::live::{About, Live, Member};
use crate::store::Store;
use crate::store::local::Local;
use clap::Args;
use headway_operators::pipeline::Entry;
use headway_operators::port::NotAfter;
use headway_operators::time::{Epoch, EventTime};
use serde_json::json;
use std::fs;
use std::io::Write;
#[cfg(feature = "serve")]
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tracing::warn;

/// How often a followed folder is looked at for new files; more often where epochs are shorter, since a record should not wait longer for
/// its file to be found than for its commit.
const FILES_EVERY: Duration = Duration::from_secs(1);

/// How often brokers are asked for new partitions, and where partitions end: at least, and at most.
const KAFKA_EVERY: [Duration; 2] = [Duration::from_secs(10), Duration::from_millis(100)];

/// What `run` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    plan: plan::Flags,
    /// Form of the summary on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

impl Flags {
    /// What says which job.
    pub(crate) fn into_plan(self) -> plan::Flags {
        self.plan
    }
}

/// Runs the job, then says on `out` what it did.
pub(crate) fn run(
    flags: Flags,
    catalogue: &'static [Entry],
    progress: Progress,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut plan = flags.plan.plan(catalogue)?;
    let control = Control::new();
    signals::drain_on_signal(control.clone())?;
    restart::go_on_draining(&control);
    let begin = Instant::now();
    match membership::settle(&mut plan) {
        Ok(None) => {}
        Ok(Some(standby)) => return standby::stand_by(&plan, standby, &control, out),
        Err(failure) => return Err(restart::again(failure, membership::restarts(&plan), &control)),
    }
    let summary = match start(&plan, progress, &control) {
        Ok(summary) => summary,
        Err(failure)
            if plan.cluster.is_some() && failure.name() == engine::code::Code::JoinStopped.name() =>
        {
            return Ok(writeln!(out, "{}", not_joined(&control))?);
        }
        Err(failure) => return Err(restart::again(failure, membership::restarts(&plan), &control)),
    };
    if control.is_rescaling()
        && let Some(failure) = restart::rescaled(true, &control)
    {
        return Err(failure);
    }
    if let Some(Cluster { process, addresses, .. }) = plan.cluster.as_ref().filter(|c| c.process != LEADER) {
        return member(flags.output, *process, addresses.len(), control.is_draining(), out);
    }
    let took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let drained = control.is_draining();
    let Remarks { advice, held } = remarks(&plan, &summary);
    match flags.output {
        Form::Text => {
            let how = if drained { "drained" } else { "done" };
            writeln!(out, "{}", outcome::line(how, &summary, &held))?;
        }
        Form::Json => {
            let mut answer = json!({
                "schema_version": 1,
                "job": summary.head.job,
                "drained": drained,
                "commits": summary.outcome.commits,
                "rows": summary.outcome.rows,
                "seq": summary.head.seq,
                "epoch": summary.head.epoch,
                "generation": summary.head.generation,
                "took_ms": took_ms,
                "held_open_by": held,
                "advice": advice.iter().map(|a| json!({ "seen": a.seen, "hint": a.hint })).collect::<Vec<_>>(),
            });
            let more = outcome::answer(&summary.outcome);
            if let Some((all, more)) = answer.as_object_mut().zip(more.as_object()) {
                all.extend(more.clone());
            }
            writeln!(out, "{answer}")?;
        }
    }
    if plan.until.is_some() && !drained {
        outcome::accepted_something(&summary.outcome, &advice)?;
        warn_of_fruitless(&summary.outcome);
    }
    for Advice { seen, hint } in &advice {
        warn!(event = "advice", hint, "{seen}");
    }
    Ok(())
}

/// Names the inputs of which a bounded run has accepted nothing, although it has accepted records of others.
fn warn_of_fruitless(outcome: &Outcome) {
    for InputOutcome { name, fates, .. } in outcome.fruitless() {
        let (late, dead) = (fates.late, fates.dead_total());
        warn!(
            event = "input-nothing-accepted",
            input = name,
            late,
            dead,
            "nothing of this input was accepted"
        );
    }
}

/// What a process says that was told to end while it waited for the others.
fn not_joined(control: &Control) -> &'static str {
    match control.run() {
        None => "drained before all processes were there: nothing had begun",
        Some(_) => "drained: what was committed holds, and the other processes are not there any more",
    }
}

/// What a person should know of a run beside its counts.
pub(crate) struct Remarks {
    /// What would mend what is odd.
    pub(crate) advice: Vec<Advice>,
    /// What holds windows open.
    pub(crate) held: Vec<String>,
}

/// What is to be said of the run of `plan`.
pub(crate) fn remarks(plan: &Plan, summary: &Summary) -> Remarks {
    let lateness_ms: Vec<i64> = plan.made.pipeline.inputs().iter().map(|input| input.lateness_ms).collect();
    let advice = advice(&summary.outcome, &lateness_ms, &plan.made.settings);
    let patience = Patience { idle_after_ms: plan.idle_after_ms, now_ms: now_ms() };
    let held = summary.head.inputs.iter().filter_map(|input| holder(input, Some(patience))).collect();
    Remarks { advice, held }
}

/// What a process says that does not lead: process 0 says the rest.
fn member(
    form: Form,
    process: Process,
    processes: usize,
    drained: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match form {
        Form::Text => {
            let how = if drained { "drained" } else { "done" };
            writeln!(out, "{how}: process {} of {processes}", process.0)?;
        }
        Form::Json => {
            let answer = json!({
                "schema_version": 1,
                "process": process.0,
                "processes": processes,
                "drained": drained,
            });
            writeln!(out, "{answer}")?;
        }
    }
    Ok(())
}

/// Runs the job of `plan`.
///
/// # Errors
/// What refused or stopped it, with the exit code.
pub(crate) fn start(plan: &Plan, progress: Progress, control: &Control) -> Result<Summary, Failure> {
    let place = Place::of(&plan.lake);
    let listen = Listen::of(plan)?;
    let mut job = prepare(plan, open(plan)?)?;
    let served = listen.map(|listen| serve(&listen, plan, &mut job, control)).transpose()?;
    // Set once nothing refuses the job any more.
    let bar: Arc<OnceLock<Bar>> = Arc::default();
    let (begun, told) = (Arc::clone(&bar), Arc::clone(&bar));
    job.on_start = Box::new(move |_, partitions| {
        begun.get_or_init(|| progress.count(Found::of(&partitions.concat()).messages));
    });
    let mut serving = std::mem::replace(&mut job.on_commit, Box::new(|_, _| ()));
    job.on_commit = Box::new(move |committed, manifest| {
        serving(committed, manifest);
        if let Some(bar) = told.get() {
            bar.committed(committed, manifest);
        }
    });
    let result = {
        let _until_it_has_ended = served;
        launch(job, control)
    };
    match (result, bar.get()) {
        (result, Some(bar)) => {
            bar.end();
            Ok(result?)
        }
        (Ok(summary), None) => Ok(summary),
        (Err(error), None) => {
            place.leave();
            Err(refused(error))
        }
    }
}

/// Answers by HTTP for `job`, as long as the result is there.
#[cfg(feature = "serve")]
fn serve(
    listen: &Listen,
    plan: &Plan,
    job: &mut Launch,
    control: &Control,
) -> Result<crate::serve::server::Server, Failure> {
    let group = |input: &Input| match &input.source {
        Source::Kafka { group, .. } => group.clone(),
        Source::Files { .. } | Source::Generate { .. } => None,
    };
    let about = About {
        board: job.board.clone(),
        clock: Arc::clone(&job.clock),
        groups: plan.inputs.iter().map(group).collect(),
        token: listen.token(),
        views: shape(plan.made.pipeline.as_ref())?.views,
        member: plan.cluster.as_ref().and_then(|cluster| member_of(cluster, control)),
    };
    let is_leader = about.member.is_none();
    let (server, live) = listen.start(Live::new(about, Limits::default()))?;
    if let Some(cluster) = plan.cluster.as_ref().filter(|_| is_leader) {
        job.board.leader_answers_at(reached_at(server.address(), &cluster.addresses));
    }
    let noted = Arc::clone(&live);
    job.on_commit = Box::new(move |committed, head| noted.committed(committed, head));
    job.on_views = Box::new(move |resolved| live.resolved(resolved));
    Ok(server)
}

/// What a process of `cluster` is where it answers by HTTP; `None` for the one that leads.
#[cfg(feature = "serve")]
fn member_of(cluster: &Cluster, control: &Control) -> Option<Member> {
    let (process, processes, control) = (cluster.process.0, cluster.addresses.len(), control.clone());
    (cluster.process != LEADER).then_some(Member { process, processes, control })
}

/// Where other processes find the server of process 0, which listens on `address`: by its name in the host file where it listens
/// on every address.
#[cfg(feature = "serve")]
fn reached_at(address: SocketAddr, hosts: &[String]) -> String {
    let host = hosts.first().and_then(|first| first.rsplit_once(':')).map(|(host, _)| host);
    match host {
        Some(host) if address.ip().is_unspecified() => format!("{host}:{}", address.port()),
        _ => address.to_string(),
    }
}

#[cfg(not(feature = "serve"))]
fn serve(_listen: &Listen, _plan: &Plan, _job: &mut Launch, _control: &Control) -> Result<(), Failure> {
    Err(super::listen::does_not_listen())
}

/// What kept a job from starting.
pub(crate) fn refused(error: Error) -> Failure {
    match error {
        // What is wrong with a source counts as at start, not as in a running job.
        Error::Source(error) => error.into(),
        error => error.into(),
    }
}

/// A lake's folder before it was opened, so that a job that is refused leaves nothing behind.
pub(crate) struct Place<'a> {
    lake: &'a Path,
    /// The folders that were not there, innermost first.
    new: Vec<&'a Path>,
}

impl Place<'_> {
    /// The folder as it is now.
    pub(crate) fn of(lake: &Path) -> Place<'_> {
        let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        Place { lake, new: lake.ancestors().take_while(is_new).collect() }
    }

    /// Takes away what was made since, as far as it is empty.
    pub(crate) fn leave(&self) {
        // Only an empty folder can be removed like this: what fails has something in it, and stays.
        let _ = fs::remove_dir(self.lake.join("_headway"));
        self.new.iter().for_each(|path| drop(fs::remove_dir(path)));
    }
}

/// What a source holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// How many partitions.
    pub(crate) partitions: usize,
    /// Offsets that can be read now; `None` where only reading will tell.
    pub(crate) messages: Option<u64>,
}

impl Found {
    /// What `partitions` hold together.
    pub(crate) fn of(partitions: &[PartitionInfo]) -> Found {
        let there = |part: &PartitionInfo| Some((part.end? - part.first).max(0).unsigned_abs());
        Found { partitions: partitions.len(), messages: partitions.iter().map(there).sum() }
    }
}

/// Opens the lake for writing, and checks that it can be one.
///
/// # Errors
/// Exit 3 if it cannot be written, 2 if its parts lie on several file systems or the pipeline is broken.
pub(crate) fn open(plan: &Plan) -> Result<Arc<dyn Store>, Failure> {
    let lake = Local::new(&plan.lake)?;
    let outputs = shape(plan.made.pipeline.as_ref())?.outputs.into_iter().map(|output| output.prefix);
    let folders: Vec<String> = outputs.chain([names::stage_folder(&plan.job)]).collect();
    lake.probe(&folders.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(Arc::new(lake))
}

/// The job of `plan` on `store`, ready to be launched or inspected.
///
/// # Errors
/// Exit 2 if the pipeline or this build cannot be fed like this.
pub(crate) fn prepare(plan: &Plan, store: Arc<dyn Store>) -> Result<Launch, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(System::default());
    let duration = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    let epoch = Duration::from_millis(plan.epoch_ms);
    let source = |input: &Input| {
        Ok(launch::Source {
            connector: input.connector(plan.made.pipeline.as_ref())?,
            topic: input.topic.clone(),
            discover_every: match &input.source {
                Source::Kafka { .. } => Some(kafka_every(plan.idle_after_ms.map(duration))),
                Source::Files { follow: true, .. } => Some(epoch.min(FILES_EVERY)),
                Source::Files { follow: false, .. } | Source::Generate { .. } => None,
            },
            max_ahead: duration(input.max_ahead_ms),
            not_after: match input.not_after {
                None => NotAfter::Clock,
                Some(Limit::Off) => NotAfter::Never,
                Some(Limit::At(when)) => NotAfter::At(EventTime(when.0)),
            },
        })
    };
    Ok(Launch {
        pipeline: plan.made.clone(),
        sources: plan.inputs.iter().map(source).collect::<Result<Vec<_>, Failure>>()?,
        store,
        job: plan.job.clone(),
        workers: plan.workers,
        cluster: plan.cluster.clone(),
        wish: plan.is_settled.then(|| plan.asked.wish.clone()),
        csv: csv_gz::Options { index: plan.csv_index },
        epoch,
        epoch_bytes: usize::try_from(plan.epoch_bytes).unwrap_or(usize::MAX),
        idle_after: plan.idle_after_ms.map(duration),
        idle_flush: plan.idle_flush_ms.map(duration),
        until: match plan.until {
            None => feed::Until::Forever,
            Some(Until::CaughtUp) => feed::Until::CaughtUp,
            Some(Until::End) => feed::Until::End,
        },
        memory: Memory::of(plan.memory_limit),
        stuck_after: STUCK_AFTER,
        dead_max: plan.dead_max,
        late_max: plan.late_max,
        if_running: match plan.if_running {
            IfRunning::Wait => job::IfRunning::Wait,
            IfRunning::TakeOver => job::IfRunning::TakeOver,
            IfRunning::Refuse => job::IfRunning::Refuse,
        },
        allow_dropped_state: plan.allow_dropped_state.clone(),
        accept_gaps: plan.accept_gaps.clone(),
        views_from: plan.views_from.map(Epoch),
        unseal: plan.unseal.clone(),
        board: Board::new(Arc::clone(&clock)),
        clock,
        on_start: Box::new(|_, _| ()),
        on_commit: Box::new(|_, _| ()),
        expectations: plan.expectations.clone(),
        targets: targets(plan)?,
        on_views: Box::new(|_| ()),
    })
}

/// How often brokers are asked: often enough to see in time that a partition is idle.
fn kafka_every(idle_after: Option<Duration>) -> Duration {
    let [longest, shortest] = KAFKA_EVERY;
    idle_after.map_or(longest, |after| (after / 2).clamp(shortest, longest))
}
