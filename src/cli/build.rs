//! `headway build`: runs a job to the end of its input, and says what became of each of its live tables.
//!
//! One line a table, as those who build models in a warehouse know it: `OK` where no row changed, `CHANGED`, or `ERROR`. Then
//! one line an expectation: `PASS`, `WARN`, `FAIL`, or `SKIP` where it was not judged.

use super::lake;
use super::run::membership;
use super::run::outcome;
use super::run::{self, Remarks, remarks};
use super::settings::config::Until;
use super::settings::plan;
use super::status::expectations;
use super::terminal::failure::{Code, Failure};
use super::terminal::form::Form;
use super::terminal::progress::Progress;
use super::terminal::signals;
use super::terminal::table::{counted, grouped};
use super::terminal::text::visible;
use super::views::verify;
use crate::engine::Control;
use crate::engine::run::gold::{self, ViewOutcome};
use crate::engine::run::launch::shape;
use clap::Args;
use headway_operators::pipeline::Entry;
use headway_operators::spec::ViewSpec;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// What is for a job of several processes.
const ELSEWHERE: [&str; 9] = [
    "cluster.processes",
    "cluster.process",
    "cluster.hostfile",
    "cluster.secret_file",
    "cluster.cert_file",
    "cluster.key_file",
    "cluster.ca_file",
    "cluster.join_within",
    "cluster.members",
];

/// What `build` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
// One process builds, to the end of what is there.
#[command(mut_arg("job.until", |arg| arg.help("When it ends by itself [default: caught-up]")))]
#[command(mut_args(|arg| { let one = ELSEWHERE.contains(&arg.get_id().as_str()); arg.hide(one) }))]
pub(crate) struct Flags {
    #[command(flatten)]
    plan: plan::Flags,
    /// Recompute each table from the committed rows, and compare; a difference is an error
    #[arg(long)]
    verify: bool,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// What became of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Same,
    Changed,
    Error,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Same => "OK",
            Status::Changed => "CHANGED",
            Status::Error => "ERROR",
        }
    }
}

/// Runs the job, and answers on `out`.
///
/// # Errors
/// What refused or stopped the job, with its exit code; exit 1 if a table differs from what was committed.
pub(crate) fn run(
    flags: Flags,
    catalogue: &'static [Entry],
    progress: Progress,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Flags { plan, verify, output } = flags;
    let mut plan = plan.on_by_default("views").plan(catalogue)?;
    if plan.asked.wish.addresses.as_ref().is_some_and(|addresses| addresses.len() > 1) {
        let what = "headway build runs in one process";
        return Err(Failure::new(Code::SettingInvalid, what).hint(
            "Leave out --processes and --hostfile; or use headway run --until caught-up, then headway views verify.",
        ));
    }
    let members = membership::workers(&mut plan)?;
    if members.processes > 1 {
        let what = format!("headway build runs in one process, and the job has {}", members.processes);
        return Err(Failure::new(Code::SettingInvalid, what)
            .hint("Use headway run --until caught-up, then headway views verify; or headway rescale --to 1x1 first."));
    }
    plan.until.get_or_insert(Until::CaughtUp);
    let built = shape(plan.made.pipeline.as_ref())?;
    let views: Vec<ViewSpec> = built.views.iter().cloned().chain(gold::day_files(&built)).collect();
    if views.is_empty() {
        let what = format!("pipeline \"{}\" has no views to build", plan.made.pipeline.name());
        return Err(Failure::new(Code::ViewUnknown, what)
            .detail("The job would run, and there would be nothing to say of it.")
            .hint("Run it with `headway run`, or leave out --views=false."));
    }
    let control = Control::new();
    signals::drain_on_signal(control.clone())?;
    let summary = match run::start(&plan, progress, &control) {
        Ok(summary) => summary,
        Err(failure) => {
            let stopped = |view| Line { view, status: Status::Error, outcome: None, why: None };
            write(views.iter().map(|view| stopped(view.name)), output, out)?;
            expectations::write(&plan.expectations, output, out)?;
            return Err(failure);
        }
    };
    let wrong = if verify {
        let job = lake::Job::open(&plan.lake, &plan.job)?;
        let verified = verify::verify(&job, catalogue)?;
        verified.wrong().into_iter().map(|(view, why)| (view.to_string(), why)).collect()
    } else {
        BTreeMap::new()
    };
    write(summary.views.iter().map(|view| line(view, &wrong)), output, out)?;
    expectations::write(&plan.expectations, output, out)?;
    let Remarks { advice, held } = remarks(&plan, &summary);
    let drained = control.is_draining();
    match output {
        Form::Text => {
            writeln!(out, "{}", outcome::line(if drained { "drained" } else { "done" }, &summary, &held))?;
        }
        Form::Json => {
            let (job, seq) = (&summary.head.job, summary.head.seq);
            let mut answer = json!({ "schema_version": 1, "job": job, "seq": seq, "drained": drained, "held_open_by": held });
            if let (Value::Object(all), Value::Object(more)) =
                (&mut answer, outcome::answer(&summary.outcome))
            {
                all.extend(more);
            }
            writeln!(out, "{answer}")?;
        }
    }
    if let Some((view, why)) = wrong.first_key_value() {
        let views = wrong.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let what = format!("{} not what was committed: {views}", counted(wrong.len() as u64, "view"));
        return Err(Failure::new(Code::ViewsDiffer, what).detail(format!("In {view}, {}.", visible(why))));
    }
    if drained { Ok(()) } else { outcome::accepted_something(&summary.outcome, &advice) }
}

/// A line of the answer.
struct Line<'a> {
    view: &'a str,
    status: Status,
    /// What the run did to it; `None` if it did not end.
    outcome: Option<&'a ViewOutcome>,
    /// What is wrong with it.
    why: Option<&'a str>,
}

fn line<'a>(outcome: &'a ViewOutcome, wrong: &'a BTreeMap<String, String>) -> Line<'a> {
    let why = wrong.get(outcome.name).map(String::as_str);
    let status = match (why, outcome.counts.changes) {
        (Some(_), _) => Status::Error,
        (None, 0) => Status::Same,
        (None, _) => Status::Changed,
    };
    Line { view: outcome.name, status, outcome: Some(outcome), why }
}

fn write<'a>(lines: impl Iterator<Item = Line<'a>>, output: Form, out: &mut dyn Write) -> io::Result<()> {
    let lines: Vec<Line<'_>> = lines.collect();
    let width = lines.iter().map(|line| line.view.len()).max().unwrap_or_default();
    let all = lines.len();
    for (number, Line { view, status, outcome, why }) in (1..).zip(lines) {
        let seconds = outcome.map(|outcome| outcome.took.as_secs_f64());
        let counts = outcome.map(|outcome| outcome.counts);
        match (output, counts) {
            (Form::Json, _) => {
                let line = json!({
                    "schema_version": 1,
                    "view": view,
                    "status": status.name().to_lowercase(),
                    "rows": counts.map(|counts| counts.rows),
                    "changes": counts.map(|counts| counts.changes),
                    "seconds": seconds,
                    "why": why,
                });
                writeln!(out, "{line}")?;
            }
            (Form::Text, None) => {
                writeln!(out, "{number:>2} of {all}  {:<7}  {view}", status.name())?;
            }
            (Form::Text, Some(counts)) => {
                let (rows, changes) = (grouped(counts.rows), grouped(counts.changes));
                let seconds = seconds.unwrap_or_default();
                writeln!(
                    out,
                    "{number:>2} of {all}  {:<7}  {view:width$}  {rows:>9} rows  {changes:>9} changes  {seconds:.2} s",
                    status.name()
                )?;
            }
        }
    }
    Ok(())
}
