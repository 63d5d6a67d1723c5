//! `headway rescale`: another number of processes or workers for a job: what that would mean, what is wanted, and the request for it.

use super::advice::{Advised, advise};
use super::plan::{Forecast, Load, forecast, without_partition};
use crate::cli::lake::{self, At, Job};
use crate::cli::settings::cluster::members::host_file;
use crate::cli::status::life::Life;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::form::Form;
use crate::cli::terminal::table::{self, counted, grouped};
use crate::cli::units::{Millis, age};
use crate::engine::commit::rescale::Request;
use crate::engine::format::manifest::{Manifest, Members};
use crate::engine::run::ports::idle_workers_of;
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks whether the job has taken the request.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long to wait for that where nothing is said.
const WITHIN: Millis = Millis(120_000);

/// A job that was stopped at the first look, and all the time since, is taken for stopped after this time: in the middle of a rescale
/// it has ended for a moment, too.
const STOPPED: Duration = Duration::from_secs(5);

/// More processes or workers than this are a typing error.
const MOST: u32 = 256;

/// What `rescale` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    at: At,
    /// Processes and workers of each, such as 3x1
    #[arg(long, value_name = "NxW", required_unless_present = "advise")]
    to: Option<Size>,
    /// The addresses of the processes, from process 0 on [default: those of the last run, if they are enough]
    #[arg(short = 'H', long, value_name = "FILE")]
    hostfile: Option<PathBuf>,
    /// Predict what would happen, and change nothing (this is the default)
    #[arg(long, conflicts_with_all = ["execute", "advise"])]
    plan: bool,
    /// Request it: the job drains, and continues with the new processes and workers. Waits for that
    #[arg(long, conflicts_with = "advise")]
    execute: bool,
    /// Recommend a size, and say why; change nothing
    #[arg(long, conflicts_with = "to")]
    advise: bool,
    /// With --execute: how long to wait for the job [default: 2m]
    #[arg(long, value_name = "TIME")]
    within: Option<Millis>,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// Processes, and workers of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    processes: u32,
    workers: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let number = |text: &str| text.parse().ok().filter(|number| (1..=MOST).contains(number));
        let size = text.split_once('x').and_then(|(processes, workers)| {
            Some(Size { processes: number(processes)?, workers: number(workers)? })
        });
        size.ok_or_else(|| format!("not processes x workers, such as 3x1, each from 1 to {MOST}"))
    }
}

/// Answers on `out`, and leaves the request if it is told to.
///
/// # Errors
/// Exit 1 if the job has not taken the request in time; exits 2 to 5 if the size cannot be one, or the lake cannot be read.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let job = flags.at.open()?;
    let Some(size) = flags.to else { return advice(&job, flags.output, out) };
    if flags.execute {
        let head = job.head()?;
        let members = members(flags, &head, size)?;
        return execute(flags, &job, &head, &members, out);
    }
    let (head, shard_bytes) = job.shard_bytes()?;
    let forecast = forecast(&head, &members(flags, &head, size)?, &shard_bytes, &job.manifests()?);
    match flags.output {
        Form::Text => text(&head, &forecast, out)?,
        Form::Json => writeln!(out, "{}", answer(&head, &forecast))?,
    }
    Ok(())
}

/// The processes and workers that are wanted.
fn members(flags: &Flags, head: &Manifest, Size { processes, workers }: Size) -> Result<Members, Failure> {
    Ok(Members { processes, workers, addresses: addresses(flags, head, processes)? })
}

/// Where `processes` processes listen; none for one.
fn addresses(flags: &Flags, head: &Manifest, processes: u32) -> Result<Vec<String>, Failure> {
    let count = usize::try_from(processes).unwrap_or(usize::MAX);
    if count == 1 {
        return Ok(Vec::new());
    }
    let file = flags.at.settings()?.and_then(|settings| settings.cluster.hostfile);
    let listed = match flags.hostfile.clone().or(file) {
        Some(path) => host_file("--hostfile", &path)?,
        None => head.members.addresses.clone(),
    };
    if listed.len() < count {
        let what = format!("{processes} processes, and {} known", counted(listed.len() as u64, "address"));
        return Err(Failure::new(Code::SettingInvalid, what)
            .hint("Use --hostfile FILE: HOST:PORT, one a line, from process 0 on."));
    }
    Ok(listed.into_iter().take(count).collect())
}

/// Leaves the request, and waits until a claim has taken it.
fn execute(
    flags: &Flags,
    job: &Job,
    head: &Manifest,
    members: &Members,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let size = members.size();
    if head.members == *members {
        // Whoever has asked for something else takes that back.
        job.withdraw()?;
        return Outcome::Unchanged(head).write(flags.output, out);
    }
    warn(job, head, members)?;
    let asked_ms = lake::now_ms();
    let ask = |after| job.ask(&Request { after, members: members.clone(), asked_ms });
    ask(head.generation)?;
    let Millis(within) = flags.within.unwrap_or(WITHIN);
    let (began, mut after) = (Instant::now(), head.generation);
    let was_stopped = is_stopped(job)?;
    let mut has_lived = !was_stopped;
    while began.elapsed() < Duration::from_millis(within.unsigned_abs()) {
        thread::sleep(LOOK_EVERY);
        let now = job.head()?;
        if now.generation > after && now.members == *members {
            return Outcome::Rescaled { before: head, now: &now }.write(flags.output, out);
        }
        if now.generation > after {
            // A run began that had looked for requests before this one was there.
            after = now.generation;
            ask(after)?;
        }
        has_lived |= !is_stopped(job)?;
        if !has_lived && began.elapsed() >= STOPPED {
            return Outcome::Left(head).write(flags.output, out);
        }
        // One that a claim has just deleted as stale is made again.
        if job.request()?.is_none() && job.head()?.generation == after {
            ask(after)?;
        }
    }
    let what = format!("job \"{}\" has not taken the request to run on {size} yet", head.job);
    Err(Failure::new(Code::RescalePending, what))
}

/// Warns of workers that will have nothing to read, and of processes that are not there yet.
fn warn(job: &Job, head: &Manifest, members: &Members) -> Result<(), Failure> {
    for idle in idle_workers_of(head, members) {
        tracing::warn!(
            event = "worker-idle",
            worker = idle,
            "no partition for a worker: it computes, and reads nothing"
        );
    }
    let standbys = job.standbys()?;
    for process in head.members.processes..members.processes {
        if standbys.iter().all(|standby| standby.process != process) {
            tracing::warn!(
                event = "process-absent",
                process,
                "does not stand by yet: the job waits for it, without work"
            );
        }
    }
    Ok(())
}

/// True if the last run of `job` has ended as it was asked to.
fn is_stopped(job: &Job) -> Result<bool, Failure> {
    Ok(Life::look(job.sign()?.as_ref(), lake::now_ms()) == Life::Stopped)
}

/// What became of a request.
enum Outcome<'a> {
    /// The claim of manifest `now` has taken it.
    Rescaled { before: &'a Manifest, now: &'a Manifest },
    /// The job does not run: its next start takes it.
    Left(&'a Manifest),
    /// The job has that size.
    Unchanged(&'a Manifest),
}

impl Outcome<'_> {
    fn write(&self, form: Form, out: &mut dyn Write) -> Result<(), Failure> {
        let (how, before, now) = match *self {
            Outcome::Rescaled { before, now } => ("rescaled", before, now),
            Outcome::Left(head) => ("left", head, head),
            Outcome::Unchanged(head) => ("unchanged", head, head),
        };
        let (from, to) = (before.members.size(), now.members.size());
        if form == Form::Json {
            let answer = json!({
                "schema_version": 1, "job": now.job, "outcome": how,
                "from": from, "to": to, "generation": now.generation, "seq": now.seq,
            });
            writeln!(out, "{answer}")?;
            return Ok(());
        }
        let Manifest { job, seq, generation, .. } = now;
        match self {
            Outcome::Rescaled { .. } => writeln!(
                out,
                "{how}: job {job} runs on {to} instead of {from}, since manifest {seq} of run {generation}"
            )?,
            Outcome::Left(_) => {
                writeln!(out, "{how}: job {job} does not run; its next start takes the request")?
            }
            Outcome::Unchanged(_) => writeln!(out, "{how}: job {job} has run {generation} on {to}")?,
        }
        Ok(())
    }
}

fn text(head: &Manifest, forecast: &Forecast, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "job        {}: {} -> {}", head.job, head.members.size(), forecast.members.size())?;
    writeln!(out)?;
    let row = |(worker, load): (usize, &Load)| {
        vec![
            worker.to_string(),
            forecast.process_of(worker).to_string(),
            load.partitions.to_string(),
            grouped(load.state_bytes),
        ]
    };
    let rows: Vec<Vec<String>> = forecast.workers.iter().enumerate().map(row).collect();
    table::write(out, &["WORKER", "PROCESS", "PARTITIONS", "STATE BYTES"], &rows)?;
    writeln!(out)?;
    let [partitions, bytes] = forecast.imbalance();
    writeln!(
        out,
        "imbalance  the fullest worker has {partitions:.2} times the mean of partitions, {bytes:.2} times that of state"
    )?;
    let idle: Vec<String> = without_partition(&forecast.workers).map(|worker| worker.to_string()).collect();
    if !idle.is_empty() {
        writeln!(
            out,
            "warning    no partition for workers {}: they compute, and read nothing",
            idle.join(", ")
        )?;
    }
    match &forecast.pause {
        Some(pause) => writeln!(
            out,
            "pause      about {} between two commits, as in the last {} ({} to {})",
            age(pause.median_ms),
            counted(pause.count, pause.of),
            age(pause.least_ms),
            age(pause.most_ms)
        )?,
        None => writeln!(out, "pause      unknown: the job has never been started again")?,
    }
    writeln!(out, "next       the same with --execute asks for it; nothing has changed")
}

fn answer(head: &Manifest, forecast: &Forecast) -> Value {
    let [partitions, bytes] = forecast.imbalance();
    let worker = |(worker, load): (usize, &Load)| {
        json!({
            "worker": worker,
            "process": forecast.process_of(worker),
            "partitions": load.partitions,
            "state_bytes": load.state_bytes,
        })
    };
    json!({
        "schema_version": 1,
        "job": head.job,
        "from": head.members.size(),
        "to": forecast.members.size(),
        "workers": forecast.workers.iter().enumerate().map(worker).collect::<Vec<_>>(),
        "imbalance": { "partitions": partitions, "state_bytes": bytes },
        "without_partition": without_partition(&forecast.workers).collect::<Vec<_>>(),
        "pause_ms": forecast.pause.as_ref().map(|pause| pause.median_ms),
        "pause_from": forecast.pause.as_ref().map(|pause| json!({
            "of": pause.of, "count": pause.count, "least_ms": pause.least_ms, "most_ms": pause.most_ms,
        })),
    })
}

/// Says which size is wanted, and why.
fn advice(job: &Job, form: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let (head, sign) = (job.head()?, job.sign()?);
    let life = Life::look(sign.as_ref(), lake::now_ms());
    let Advised { size, why } = advise(&head, life.board(sign.as_ref()));
    match form {
        Form::Json => {
            let answer = json!({
                "schema_version": 1, "job": head.job, "from": head.members.size(), "to": size, "why": why,
            });
            writeln!(out, "{answer}")?;
        }
        Form::Text => {
            let (job, from) = (&head.job, head.members.size());
            match &size {
                Some(size) => writeln!(out, "job {job} runs on {from}; {size} is wanted")?,
                None => writeln!(out, "job {job} runs on {from}; nothing else is wanted")?,
            }
            why.iter().try_for_each(|why| writeln!(out, "  why   {why}"))?;
            if let Some(size) = size {
                writeln!(out, "  next  headway rescale --to {size} says what that would mean")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_processes_and_workers() {
        assert_eq!("3x1".parse(), Ok(Size { processes: 3, workers: 1 }));
        for text in ["3", "x1", "0x1", "3x0", "257x1", "3x1x1", "-1x2", "3 x 1"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
