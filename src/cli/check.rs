//! `headway check`: finds before a job starts what would stop it, and says what would run.

use super::run;
use super::run::listen::Listen;
use super::run::membership;
use super::run::{Found, Place};
use super::settings::cluster::mesh_tls::Certificate;
use super::settings::config;
use super::settings::plan::{self, Plan};
use super::settings::source::{Input, Source};
use super::status::expectations;
use super::terminal::failure::Failure;
use super::terminal::form::Form;
use super::terminal::table::{counted, grouped};
use super::units::{Bytes, Limit, Millis, Share, time};
use crate::connect::{self, Notice, PartitionInfo, notice};
use crate::engine::format::manifest::{Manifest, Members};
use crate::engine::run::closed::{Closed, closed};
use crate::engine::run::launch;
use crate::engine::run::ports::idle_workers;
use clap::Args;
use headway_operators::pipeline::Entry;
use headway_operators::record::Partition;
use serde_json::json;
use std::io::Write;

/// What `check` is told: the same as `run`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    plan: plan::Flags,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// Refuses what `run` would refuse, with the same message and exit code; else describes the job on `out`.
pub(crate) fn run(flags: Flags, catalogue: &'static [Entry], out: &mut dyn Write) -> Result<(), Failure> {
    let mut plan = flags.plan.plan(catalogue)?;
    let members = membership::workers(&mut plan)?;
    Listen::check(&plan)?;
    let found = look(&plan, &members)?;
    match flags.output {
        Form::Text => text(&plan, &found, out)?,
        Form::Json => {
            serde_json::to_writer(&mut *out, &answer(&plan, &found)).map_err(std::io::Error::from)?
        }
    }
    Ok(writeln!(out)?)
}

/// Opens source and lake as `run` of `members` would. Folders that are made on the way are removed again.
fn look(plan: &Plan, members: &Members) -> Result<Looked, Failure> {
    let place = Place::of(&plan.lake);
    let inspected = run::open(plan).and_then(|store| run::prepare(plan, store)).and_then(|job| {
        let (partitions, head) = launch::inspect(&job).map_err(run::refused)?;
        let entries = job.sources.iter().flat_map(|source| source.connector.entries()).collect();
        let of_sources = job.sources.iter().flat_map(|source| source.connector.notices());
        let notices =
            of_sources.chain(plan.asked.certificate.as_ref().and_then(Certificate::notice)).collect();
        let closed = head.as_ref().map(|head| closed(head, &partitions)).unwrap_or_default();
        let sources = partitions.iter().map(|partitions| Found::of(partitions)).collect();
        let numbers = |infos: &Vec<PartitionInfo>| infos.iter().map(|info| info.partition).collect();
        let open: Vec<Vec<Partition>> = partitions.iter().map(numbers).collect();
        let idle = if members.processes > 1 { idle_workers(&open, workers(members)) } else { Vec::new() };
        Ok(Looked { sources, all: Found::of(&partitions.concat()), entries, head, closed, notices, idle })
    });
    place.leave();
    inspected
}

/// How many entries of a folder are listed, of those that are read and of those that are not.
const ENTRIES_MAX: usize = 20;

/// What source and lake hold.
struct Looked {
    /// What each input holds.
    sources: Vec<Found>,
    /// What all hold together.
    all: Found,
    /// What becomes of each entry, where the source is made of entries.
    entries: Vec<connect::Entry>,
    /// The manifest that the job would go on from.
    head: Option<Manifest>,
    /// Inputs with more to read whose windows are closed.
    closed: Vec<Closed>,
    /// What the sources do not take as it is, and that the certificate ends soon.
    notices: Vec<Notice>,
    /// The workers of a job of several processes that would have no partition to read.
    idle: Vec<usize>,
}

fn workers(members: &Members) -> usize {
    usize::try_from(members.total()).unwrap_or(usize::MAX)
}

impl Looked {
    fn start(&self) -> String {
        match &self.head {
            None => "new: the job starts from the beginning".to_string(),
            Some(head) => format!("the job goes on from manifest {}, epoch {}", head.seq, head.epoch),
        }
    }

    /// The entries that are `read`, or those that are not, a line each below `label`.
    fn list(&self, label: &str, read: bool, out: &mut dyn Write) -> std::io::Result<()> {
        let entries: Vec<_> = self.entries.iter().filter(|entry| entry.read == read).collect();
        for (at, entry) in entries.iter().take(ENTRIES_MAX).enumerate() {
            let label = if at == 0 { label } else { "" };
            writeln!(out, "{label:<10}{}: {}", entry.name, entry.what)?;
        }
        match entries.len().saturating_sub(ENTRIES_MAX) {
            0 => Ok(()),
            more => writeln!(out, "{:<10}and {} more", "", grouped(more as u64)),
        }
    }
}

fn text(plan: &Plan, found: &Looked, out: &mut dyn Write) -> std::io::Result<()> {
    let settings = plan.made.settings.written();
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let (pipeline, version) = (plan.made.pipeline.name(), plan.made.pipeline.version());
    writeln!(out, "job       {} on {}", plan.job, counted(plan.workers as u64, "worker"))?;
    let settings = if settings.is_empty() { "no settings".to_string() } else { settings.join(", ") };
    writeln!(out, "pipeline  {pipeline}, version {version}: {settings}")?;
    for (input, held) in plan.inputs.iter().zip(&found.sources) {
        writeln!(out, "source    {}{}: {}", whose(plan, input), source(input), words(held))?;
    }
    for line in notice::lines(&found.notices) {
        writeln!(out, "notice    {line}")?;
    }
    if !found.idle.is_empty() {
        let idle: Vec<String> = found.idle.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "notice    no partition for workers {}: they compute, and read nothing",
            idle.join(", ")
        )?;
    }
    found.list("reads", true, out)?;
    found.list("not read", false, out)?;
    writeln!(out, "lake      {}: {}", plan.lake.display(), found.start())?;
    writeln!(out, "commits   every {}, or {} a worker", epoch(plan), Bytes(plan.epoch_bytes))?;
    writeln!(out, "idle      {}", idle(plan))?;
    for input in &plan.inputs {
        writeln!(out, "limits    {}", limits(plan, input))?;
    }
    writeln!(out, "ends      {}", ends(plan))?;
    for line in expectations::expected(&plan.expectations) {
        writeln!(out, "expects   {line}")?;
    }
    for Closed { input, until } in &found.closed {
        writeln!(
            out,
            "late      an earlier run closed all windows of \"{input}\": records before {} are late now; end runs with \
             --until caught-up, and windows stay open",
            time(*until)
        )?;
    }
    write!(out, "ok        nothing found that would stop it")
}

/// The name of `input`, where there are several.
fn whose(plan: &Plan, input: &Input) -> String {
    if plan.inputs.len() > 1 { format!("input \"{}\", ", input.spec.name) } else { String::new() }
}

fn words(found: &Found) -> String {
    let messages = found.messages.map(|count| format!(", {} messages", grouped(count)));
    format!("{}{}", counted(found.partitions as u64, "partition"), messages.unwrap_or_default())
}

fn answer(plan: &Plan, found: &Looked) -> serde_json::Value {
    let notice = |Notice { name, what, is_warning }: &Notice| json!({ "name": name, "what": what, "warning": is_warning });
    let notices: Vec<serde_json::Value> = found.notices.iter().map(notice).collect();
    json!({
        "schema_version": 1,
        "job": plan.job,
        "workers": plan.workers,
        "pipeline": plan.made.pipeline.name(),
        "pipeline_version": plan.made.pipeline.version(),
        "settings": plan.made.settings.noted(),
        "source": sources(plan),
        "inputs": plan.inputs.iter().zip(&found.sources).map(|(input, held)| json!({
            "name": input.spec.name,
            "source": source(input),
            "topic": input.topic,
            "partitions": held.partitions,
            "messages": held.messages,
            "max_ahead_ms": input.max_ahead_ms,
        })).collect::<Vec<_>>(),
        "partitions": found.all.partitions,
        "messages": found.all.messages,
        "notices": notices,
        "idle_workers": found.idle,
        "entries": found.entries.iter().map(entry).collect::<Vec<_>>(),
        "lake": plan.lake,
        "windows_closed": found.closed.iter().map(|closed| json!({
            "input": closed.input,
            "until_ms": closed.until.ms(),
        })).collect::<Vec<_>>(),
        "resumes_from_seq": found.head.as_ref().map(|head| head.seq),
        "epoch_ms": plan.epoch_ms,
        "epoch_bytes": plan.epoch_bytes,
        "idle_after_ms": plan.idle_after_ms,
        "idle_flush_ms": plan.idle_flush_ms,
        "max_ahead_ms": plan.inputs.first().map(|input| input.max_ahead_ms),
        "dead_max": plan.dead_max,
        "late_max": plan.late_max,
        "csv_index": plan.csv_index,
        "if_running": plan.if_running.word(),
        "allow_dropped_state": plan.allow_dropped_state,
        "accept_gaps": plan.accept_gaps.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "views_from": plan.views_from,
        "unseal": plan.unseal,
        "expectations": plan.expectations.found().iter().map(|found| json!({
            "name": found.name,
            "on": found.on,
            "about": found.about,
            "severity": found.severity,
        })).collect::<Vec<_>>(),
        "ends": ends(plan),
    })
}

fn entry(entry: &connect::Entry) -> serde_json::Value {
    json!({ "name": entry.name, "read": entry.read, "what": entry.what })
}

fn epoch(plan: &Plan) -> Millis {
    Millis(i64::try_from(plan.epoch_ms).unwrap_or(i64::MAX))
}

/// The sources of all inputs in one phrase.
pub(crate) fn sources(plan: &Plan) -> String {
    let all: Vec<String> =
        plan.inputs.iter().map(|input| format!("{}{}", whose(plan, input), source(input))).collect();
    all.join("; ")
}

/// A source in one phrase.
fn source(input: &Input) -> String {
    match &input.source {
        Source::Kafka { config, group } => {
            let config = config.as_ref().map(|path| format!(", client settings in {}", path.display()));
            let group = group.as_ref().map(|group| format!(", offsets told to group \"{group}\""));
            let topic = &input.topic;
            format!("Kafka topic \"{topic}\"{}{}", config.unwrap_or_default(), group.unwrap_or_default())
        }
        Source::Files { path, follow: true } => format!("files in {}, as they grow", path.display()),
        Source::Files { path, .. } => format!("files in {}", path.display()),
        Source::Generate { options } => format!("generator, seed {}", options.seed),
    }
}

fn idle(plan: &Plan) -> String {
    let after = |ms: Option<i64>| ms.map_or("never".to_string(), |ms| format!("after {}", Millis(ms)));
    format!("a partition {}; windows are flushed {}", after(plan.idle_after_ms), after(plan.idle_flush_ms))
}

fn limits(plan: &Plan, input: &Input) -> String {
    let after = match input.not_after {
        None => ", or of the clock where there is none".to_string(),
        Some(Limit::Off) => String::new(),
        Some(Limit::At(when)) => format!(", or without a timestamp, after {when}"),
    };
    let (whose, ahead, dead) = (whose(plan, input), Millis(input.max_ahead_ms), Share(plan.dead_max));
    format!("{whose}dead: more than {ahead} ahead of its timestamp{after}; stops at more than {dead} dead")
}

fn ends(plan: &Plan) -> &'static str {
    match plan.until {
        None => "on SIGTERM or Ctrl-C",
        Some(config::Until::CaughtUp) => "when what is there now was read; windows stay open",
        Some(config::Until::End) => "when the source ends; every window closes",
    }
}
