//! `headway views verify`: is each gold table what the committed facts add up to?
//!
//! 1. Read every gold table; its metadata say of which commit it is.
//! 2. Make the pipeline as the manifest notes it, and give its [`Recompute`] the facts up to that commit: the committed rows of
//!    an output, or the saved state of an operator.
//! 3. Compare row by row.
//!
//! A table that has not changed since an earlier commit is compared with the facts of that commit: it must hold for both.

use super::lake::Job;
use super::terminal::failure::{Code, Failure};
use super::terminal::form::Form;
use super::terminal::table::{counted, grouped};
use super::terminal::text::visible;
use super::views_table::{self as views, Table};
use crate::engine::commit::refill::{self, Range};
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names::Seq;
use crate::engine::run::launch::shape;
use headway_operators::pipeline::{Configured, Entry};
use headway_operators::recompute::{Facts, Recompute, Tables};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// How a table compares with what was recomputed.
struct Verdict {
    view: String,
    rows: u64,
    /// Of which commit it is.
    seq: u64,
    /// Rows that it lacks, and rows that it must not have.
    missing: u64,
    unexpected: u64,
    /// One of them.
    example: Option<String>,
}

/// Compares all tables of `job`, and answers on `out`.
///
/// # Errors
/// Exit 1 if one differs; exit 2 if the pipeline recomputes none; exits 3 to 5 if the lake cannot be read or is damaged.
pub(super) fn run(
    job: &Job,
    catalogue: &'static [Entry],
    output: Form,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Verified { verdicts, absent } = verify(job, catalogue)?;
    answer(&verdicts, &absent, output, out)
}

/// How all tables of a job compare.
pub(super) struct Verified {
    verdicts: Vec<Verdict>,
    /// Views that were not written.
    absent: Vec<&'static str>,
}

impl Verified {
    /// The views that are wrong, each with what is wrong.
    pub(super) fn wrong(&self) -> BTreeMap<&str, String> {
        let differs = self.verdicts.iter().filter_map(|one| Some((&*one.view, one.example.clone()?)));
        let absent = self.absent.iter().map(|view| (*view, "it was not written".to_string()));
        differs.chain(absent).collect()
    }
}

/// Compares all tables of `job`.
///
/// # Errors
/// Exit 2 if the pipeline recomputes none; exits 3 to 5 if the lake cannot be read or is damaged.
pub(super) fn verify(job: &Job, catalogue: &'static [Entry]) -> Result<Verified, Failure> {
    // The tables first: the manifests that are read behind them have whatever they have.
    let pipeline = job.head()?.pipeline;
    let mut tables: BTreeMap<u64, Vec<(String, Table)>> = BTreeMap::new();
    for view in job.tables(&pipeline)?.into_keys() {
        let table = views::read(job, &view)?;
        let seq = table.note("seq").and_then(|seq| u64::try_from(seq).ok()).unwrap_or_default();
        tables.entry(seq).or_default().push((view, table));
    }
    if tables.is_empty() {
        return Err(Failure::new(Code::ViewUnknown, "the job has written no views")
            .hint("Start it with --views. A run writes them once a minute, and when it ends."));
    }
    let manifests = job.manifests()?;
    let made = made(manifests.last().expect("a job that has started"), catalogue)?;
    let mut slow = Slow::of(job, &made)?;
    let mut verdicts = Vec::new();
    let mut has_rows: BTreeSet<&'static str> = BTreeSet::new();
    for (seq, of_commit) in tables {
        let recomputed = slow.tables(&manifests, Seq(seq))?;
        has_rows.extend(recomputed.iter().filter(|(_, rows)| !rows.is_empty()).map(|(view, _)| *view));
        for (view, table) in of_commit {
            if let Some(rows) = recomputed.get(view.as_str()) {
                let rows =
                    rows.iter().map(|row| row.0.iter().map(|value| views::value(&value.cell())).collect());
                verdicts.push(Verdict { seq, ..compare(view, &table, rows.collect()) });
            }
        }
    }
    let written: BTreeSet<String> = verdicts.iter().map(|verdict| verdict.view.clone()).collect();
    // A table that lies by day has no file while it has no rows.
    let is_absent = |view: &&'static str| has_rows.contains(*view) && !written.contains(*view);
    let absent = has_rows.iter().copied().filter(is_absent).collect();
    Ok(Verified { verdicts, absent })
}

/// Lets the operators of the views of `job` forget what they keep.
///
/// # Errors
/// Exit 2 if the pipeline cannot make its views again; exit 4 if the job runs, or facts are missing.
pub(super) fn rebuild(
    job: &Job,
    catalogue: &'static [Entry],
    output: Form,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let manifests = job.manifests()?;
    let head = manifests.last().expect("a job that has started");
    let made = made(head, catalogue)?;
    let Some(recompute) = made.pipeline.recompute() else {
        let what = format!("pipeline \"{}\" cannot make its views again", made.pipeline.name());
        return Err(Failure::new(Code::ViewsNotVerifiable, what));
    };
    let files = match recompute.facts() {
        Facts::Rows(outputs) => {
            let range = Range { until: head.seq, from: refill::from(head) };
            job.all_there(refill::files(&manifests, outputs, range)?)?
        }
        Facts::State(_) => 0,
    };
    let keeps = shape(made.pipeline.as_ref())?.keeps;
    let operators: Vec<String> = keeps.into_iter().filter(|keep| head.operators.contains_key(keep)).collect();
    let seq = job.forget(head, &operators)?;
    match output {
        Form::Json => {
            let answer =
                json!({ "schema_version": 1, "seq": seq, "operators": operators, "fact_files": files });
            writeln!(out, "{answer}")?;
        }
        Form::Text => {
            let operators = counted(operators.len() as u64, "operator");
            writeln!(
                out,
                "{operators} will begin anew: manifest {seq} says so. The next start makes all views again"
            )?;
        }
    }
    Ok(())
}

/// The pipeline as `head` notes it.
fn made(head: &Manifest, catalogue: &'static [Entry]) -> Result<Configured, Failure> {
    let name = &head.pipeline;
    let Some(entry) = catalogue.iter().find(|entry| entry.name == *name) else {
        let what = format!("this program has no pipeline \"{name}\", which made the views");
        return Err(Failure::new(Code::PipelineUnknown, what).hint("Use the program that runs the job."));
    };
    entry.configure_as_noted(&head.fingerprint).map_err(|error| {
        Failure::new(Code::SettingInvalid, format!("pipeline \"{name}\" cannot be made as it ran: {error}"))
    })
}

/// What the views must be, made of the facts commit by commit: each is read once.
struct Slow<'a> {
    job: &'a Job,
    recompute: Box<dyn Recompute>,
    /// The files that were read.
    read: BTreeSet<String>,
}

impl Slow<'_> {
    /// Nothing was read yet, but state, which is that of the last commit.
    fn of<'a>(job: &'a Job, made: &Configured) -> Result<Slow<'a>, Failure> {
        let Some(mut recompute) = made.pipeline.recompute() else {
            let what = format!("pipeline \"{}\" recomputes no view", made.pipeline.name());
            return Err(Failure::new(Code::ViewsNotVerifiable, what));
        };
        if let Facts::State(operator) = recompute.facts() {
            let (_, mut saved) = job.state()?;
            let saved = saved.remove(operator).unwrap_or_default();
            let unreadable = |error: headway_operators::error::StateError| {
                Failure::new(Code::StateUnreadable, error.to_string())
            };
            recompute.state(&saved).map_err(unreadable)?;
        }
        Ok(Slow { job, recompute, read: BTreeSet::new() })
    }

    /// The views as of manifest `until`, which is no earlier one than the last time.
    fn tables(&mut self, manifests: &[Manifest], until: Seq) -> Result<Tables, Failure> {
        if let Facts::Rows(outputs) = self.recompute.facts() {
            let from = refill::from(manifests.last().expect("a job that has started"));
            for file in refill::files(manifests, outputs, Range { until, from })? {
                if self.read.insert(file.path.clone()) {
                    self.job.facts(&file, &mut |row| self.recompute.row(row))?;
                }
            }
        }
        Ok(self.recompute.tables())
    }
}

/// Compares the table of a view with the rows that it must have.
fn compare(view: String, table: &Table, rows: Vec<Vec<Value>>) -> Verdict {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let text = |row: &[Value]| row.iter().map(views::shown).collect::<Vec<_>>().join(", ");
    rows.iter().for_each(|row| *counts.entry(text(row)).or_default() += 1);
    table.rows.iter().for_each(|row| *counts.entry(text(row)).or_default() -= 1);
    let sum = |sign: i64| counts.values().map(|count| count.saturating_mul(sign).max(0).unsigned_abs()).sum();
    let example = counts.iter().find(|(_, count)| **count != 0).map(|(row, count)| {
        let how = if *count > 0 {
            "the facts have, and the view has not"
        } else {
            "the view has, and the facts have not"
        };
        format!("{how}: {row}")
    });
    let rows = table.rows.len() as u64;
    Verdict { view, rows, seq: 0, missing: sum(1), unexpected: sum(-1), example }
}

fn answer(verdicts: &[Verdict], absent: &[&str], output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let width = verdicts.iter().map(|verdict| verdict.view.len()).max().unwrap_or_default();
    for Verdict { view, rows, seq, missing, unexpected, example } in verdicts {
        if output == Form::Json {
            let line = json!({
                "schema_version": 1,
                "view": view,
                "ok": example.is_none(),
                "rows": rows,
                "seq": seq,
                "missing": missing,
                "unexpected": unexpected,
                "example": example,
            });
            writeln!(out, "{line}")?;
            continue;
        }
        let rows = counted(*rows, "row");
        match example {
            None => writeln!(out, "ok       {view:width$}  {rows} as of manifest {seq}")?,
            Some(example) => {
                let (missing, unexpected) = (grouped(*missing), grouped(*unexpected));
                writeln!(
                    out,
                    "differs  {view:width$}  {rows} as of manifest {seq}: {missing} missing, {unexpected} unexpected"
                )?;
                writeln!(out, "         {}", visible(example))?;
            }
        }
    }
    for view in absent {
        match output {
            Form::Json => {
                writeln!(out, "{}", json!({ "schema_version": 1, "view": view, "ok": false, "rows": null }))?
            }
            Form::Text => writeln!(out, "absent   {view}: it was not written yet")?,
        }
    }
    let wrong: Vec<&str> =
        verdicts.iter().filter(|one| one.example.is_some()).map(|one| &*one.view).collect();
    let wrong = [&wrong[..], absent].concat();
    if wrong.is_empty() {
        return Ok(());
    }
    let what =
        format!("{} not what was committed: {}", counted(wrong.len() as u64, "view"), wrong.join(", "));
    Err(Failure::new(Code::ViewsDiffer, what))
}
