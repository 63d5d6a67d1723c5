//! `headway views verify`: is each gold table, and each output that is made of facts, what the committed facts add up to?
//!
//! 1. Read every gold table; its metadata say of which commit it is.
//! 2. Make the pipeline as the manifest notes it, and give its [`Recompute`] the facts up to that commit: the committed rows of
//!    an output, or the saved state of an operator.
//! 3. Compare row by row.
//!
//! A table that has not changed since an earlier commit is compared with the facts of that commit: it must hold for both. Where only
//! the facts of the last commit are known, a table that has changed since it was written is not compared: it is behind. The days of
//! a table by day may be of several commits: they all hold for the newest one, since a run writes all days that have changed.
//!
//! **Beside a running job.** The run replaces files one after the other, so what was read of a table by day may be of two commits: a day
//! is of the earlier one, or is not there yet. Such a table differs, and soon after its files are others than those that were read:
//! then all is read again. Only what stands still for [`STILL`] is said to differ.

use super::recompute::Slow;
use super::table::{self as views, Table};
use crate::cli::lake::Job;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::form::Form;
use crate::cli::terminal::table::{counted, grouped};
use crate::cli::terminal::text::visible;
use crate::engine::commit::refill::{self, Range};
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names::Seq;
use crate::engine::run::launch::shape;
use headway_operators::pipeline::{Configured, Entry};
use headway_operators::recompute::Facts;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

/// How a table compares with what was recomputed.
struct Verdict {
    view: String,
    rows: u64,
    /// Of which commit the facts are.
    seq: u64,
    /// It is not of that commit, and has changed since.
    is_behind: bool,
    /// Rows that it lacks, and rows that it must not have.
    missing: u64,
    unexpected: u64,
    /// One of them.
    example: Option<String>,
    /// It has a file a day.
    is_by_day: bool,
}

/// Compares all tables of `job`, and answers on `out`.
///
/// # Errors
/// Exit 1 if one differs; exit 2 if the pipeline recomputes none; exits 3 to 5 if the lake cannot be read or is damaged.
pub(in crate::cli) fn run(
    job: &Job,
    catalogue: &'static [Entry],
    output: Form,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    answer(&verify(job, catalogue)?, output, out)
}

/// How all tables of a job compare.
pub(in crate::cli) struct Verified {
    verdicts: Vec<Verdict>,
    /// Views that were not written.
    absent: Vec<&'static str>,
    /// Tables that the pipeline does not recompute.
    unchecked: Vec<String>,
}

impl Verified {
    /// True if something differs that may have been read while a run replaced its files. A table in one file is of one commit.
    fn may_be_between_commits(&self) -> bool {
        let is_between = |one: &Verdict| one.is_by_day && one.example.is_some();
        !self.absent.is_empty() || self.verdicts.iter().any(is_between)
    }

    /// The views that are wrong, each with what is wrong.
    pub(in crate::cli) fn wrong(&self) -> BTreeMap<&str, String> {
        let differs = self.verdicts.iter().filter_map(|one| Some((&*one.view, one.example.clone()?)));
        let absent = self.absent.iter().map(|view| (*view, "it was not written".to_string()));
        differs.chain(absent).collect()
    }
}

/// Compares all tables of `job`.
///
/// # Errors
/// Exit 2 if the pipeline recomputes none; exits 3 to 5 if the lake cannot be read or is damaged.
pub(in crate::cli) fn verify(job: &Job, catalogue: &'static [Entry]) -> Result<Verified, Failure> {
    let begin = Instant::now();
    let mut written = Written::of(job)?;
    loop {
        let verified = verify_written(job, catalogue, &written)?;
        if !verified.may_be_between_commits() || begin.elapsed() > PATIENCE {
            return Ok(verified);
        }
        match written.newer(job)? {
            Some(newer) => written = newer,
            None => return Ok(verified),
        }
    }
}

/// How long files must stand still before a table by day is said to differ: a run replaces all its files within less.
const STILL: Duration = Duration::from_secs(3);

/// How long tables are read again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The tables of a job, as they were read.
struct Written {
    tables: Vec<(String, Table)>,
}

impl Written {
    /// All of them.
    fn of(job: &Job) -> Result<Written, Failure> {
        let pipeline = job.head()?.pipeline;
        let names = job.tables(&pipeline)?.into_keys();
        let tables = names.map(|view| Ok((view.clone(), views::read(job, &view)?)));
        Ok(Written { tables: tables.collect::<Result<_, Failure>>()? })
    }

    /// What is there as soon as it is not this any more; `None` if it stands still.
    fn newer(&self, job: &Job) -> Result<Option<Written>, Failure> {
        let (begin, pipeline) = (Instant::now(), job.head()?.pipeline);
        // What each file says of itself tells it from the one before and the one after.
        let notes = |(view, table): &(String, Table)| (view.clone(), table.notes().to_vec());
        let own: Vec<_> = self.tables.iter().map(notes).collect();
        while begin.elapsed() < STILL {
            std::thread::sleep(LOOK);
            if job.table_notes(&pipeline)? != own {
                return Written::of(job).map(Some);
            }
        }
        Ok(None)
    }
}

/// Compares the tables and outputs of `job`.
fn verify_written(job: &Job, catalogue: &'static [Entry], written: &Written) -> Result<Verified, Failure> {
    // The tables were read first: the manifests that are read now have whatever those have.
    let head = job.head()?;
    let made = made(&head, catalogue)?;
    let has_outputs = made.pipeline.recompute().is_some_and(|recompute| !recompute.outputs().is_empty());
    if written.tables.is_empty() && (!head.views.is_empty() || !has_outputs) {
        return Err(Failure::new(Code::ViewUnknown, "the job has written no views")
            .hint("Start it with --views. A run writes them once a minute, and when it ends."));
    }
    let mut slow = Slow::of(job, &made)?;
    let mut verified = verify_tables(&mut slow, written)?;
    verify_outputs(&slow, &mut verified)?;
    Ok(verified)
}

/// Compares tables with what `slow` makes of the facts: each with those of the commit that it is of, if they are known.
fn verify_tables(slow: &mut Slow<'_>, written: &Written) -> Result<Verified, Failure> {
    let mut by_facts: BTreeMap<u64, Vec<(u64, &str, &Table)>> = BTreeMap::new();
    for (view, table) in &written.tables {
        let seq = table.note("seq").and_then(|seq| u64::try_from(seq).ok()).unwrap_or_default();
        by_facts.entry(slow.facts_of(seq)).or_default().push((seq, view, table));
    }
    let (mut verdicts, mut unchecked) = (Vec::new(), Vec::new());
    let mut has_rows: BTreeSet<&'static str> = BTreeSet::new();
    for (facts, tables) in by_facts {
        let recomputed = slow.tables(Seq(facts))?;
        has_rows.extend(recomputed.iter().filter(|(_, rows)| !rows.is_empty()).map(|(view, _)| *view));
        for (seq, view, table) in tables {
            let Some(rows) = recomputed.get(view) else {
                unchecked.push(view.to_string());
                continue;
            };
            let rows = rows.iter().map(|row| row.0.iter().map(|value| views::value(&value.cell())).collect());
            let found = compare(view.to_string(), &table.rows, &rows.collect::<Vec<Vec<Value>>>());
            let is_behind = found.example.is_some() && slow.has_changed_since(&found.view, seq);
            verdicts.push(Verdict { seq: facts, is_behind, is_by_day: table.is_by_day(), ..found });
        }
    }
    let written: BTreeSet<String> = verdicts.iter().map(|verdict| verdict.view.clone()).collect();
    // A table that lies by day has no file while it has no rows.
    let is_absent = |view: &&'static str| has_rows.contains(*view) && !written.contains(*view);
    let absent = has_rows.iter().copied().filter(is_absent).collect();
    Ok(Verified { verdicts, absent, unchecked })
}

/// Compares the outputs that are made of facts, once and for ever.
fn verify_outputs(slow: &Slow<'_>, verified: &mut Verified) -> Result<(), Failure> {
    for (output, rows) in slow.outputs() {
        let Some(rows) = rows else {
            verified.unchecked.push(output);
            continue;
        };
        let found = slow.as_written(&output, slow.found(&output)?);
        let rows = slow.as_written(&output, rows);
        // A view may have the name of the output that it shows.
        let is_shown = verified.verdicts.iter().any(|one| one.view == output);
        let name = if is_shown { format!("{output} (output)") } else { output };
        verified.verdicts.push(Verdict { seq: slow.facts_of(0), ..compare(name, &found, &rows) });
    }
    Ok(())
}

/// Lets the operators of the views of `job` forget what they keep.
///
/// # Errors
/// Exit 2 if the pipeline cannot make its views again; exit 4 if the job runs, or facts are missing.
pub(in crate::cli) fn rebuild(
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
    let shape = shape(made.pipeline.as_ref())?;
    let there = |outputs| {
        let range = Range { until: head.seq, from: refill::from(head) };
        job.all_there(refill::files(&manifests, outputs, range)?)
    };
    let files = match (recompute.facts(), shape.refills.as_slice()) {
        (Facts::Rows(outputs), _) => there(outputs)?,
        (Facts::State(_), _) => 0,
        (Facts::Outputs(_), outputs @ [_, ..]) => {
            let mut files = 0;
            for outputs in outputs {
                files += there(*outputs)?;
            }
            files
        }
        (Facts::Outputs(_), []) => {
            let what = format!("pipeline \"{}\" reads no view back from its rows", made.pipeline.name());
            return Err(Failure::new(Code::ViewsNotVerifiable, what));
        }
    };
    let operators: Vec<String> =
        shape.keeps.into_iter().filter(|keep| head.operators.contains_key(keep)).collect();
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

/// Compares the rows that a view has with those that it must have.
fn compare<T: Serialize>(view: String, found: &[Vec<T>], wanted: &[Vec<T>]) -> Verdict {
    // By their JSON: a missing value is not an empty text, and no text has two meanings.
    let json = |row: &Vec<T>| serde_json::to_string(row).expect("values are JSON");
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    wanted.iter().for_each(|row| *counts.entry(json(row)).or_default() += 1);
    found.iter().for_each(|row| *counts.entry(json(row)).or_default() -= 1);
    let sum = |sign: i64| counts.values().map(|count| count.saturating_mul(sign).max(0).unsigned_abs()).sum();
    let example = counts.iter().find(|(_, count)| **count != 0).map(|(row, count)| {
        let how = if *count > 0 {
            "the facts have, and the view has not"
        } else {
            "the view has, and the facts have not"
        };
        format!("{how}: {row}")
    });
    let rows = found.len() as u64;
    let (missing, unexpected) = (sum(1), sum(-1));
    Verdict { view, rows, seq: 0, is_behind: false, missing, unexpected, example, is_by_day: false }
}

fn answer(verified: &Verified, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let Verified { verdicts, absent, unchecked } = verified;
    match output {
        Form::Json => write_lines(verified, out)?,
        Form::Text => write_text(verified, out)?,
    }
    let of = |is_behind: bool| {
        let those = verdicts.iter().filter(move |one| one.example.is_some() && one.is_behind == is_behind);
        those.map(|one| &*one.view)
    };
    let wrong: Vec<&str> = of(false).chain(absent.iter().copied()).collect();
    let behind: Vec<&str> = of(true).collect();
    if !wrong.is_empty() {
        let what =
            format!("{} not what was committed: {}", counted(wrong.len() as u64, "view"), wrong.join(", "));
        return Err(Failure::new(Code::ViewsDiffer, what));
    }
    if !behind.is_empty() {
        let what = format!(
            "{} changed after the last write: {}",
            counted(behind.len() as u64, "view"),
            behind.join(", ")
        );
        return Err(Failure::new(Code::ViewsBehind, what));
    }
    if verdicts.is_empty() {
        let what = format!("none of the views can be recomputed: {}", unchecked.join(", "));
        return Err(Failure::new(Code::ViewsNotVerifiable, what));
    }
    Ok(())
}

/// Writes a line of JSON a view.
fn write_lines(verified: &Verified, out: &mut dyn Write) -> Result<(), Failure> {
    for Verdict { view, rows, seq, is_behind, missing, unexpected, example, .. } in &verified.verdicts {
        let line = json!({
            "schema_version": 1,
            "view": view,
            "ok": example.is_none(),
            "behind": is_behind,
            "rows": rows,
            "seq": seq,
            "missing": missing,
            "unexpected": unexpected,
            "example": example,
        });
        writeln!(out, "{line}")?;
    }
    for view in &verified.absent {
        writeln!(out, "{}", json!({ "schema_version": 1, "view": view, "ok": false, "rows": null }))?;
    }
    for view in &verified.unchecked {
        writeln!(out, "{}", json!({ "schema_version": 1, "view": view, "ok": null, "checked": false }))?;
    }
    Ok(())
}

/// Writes a line of text a view, and one more for a row in which it differs.
fn write_text(verified: &Verified, out: &mut dyn Write) -> Result<(), Failure> {
    let width = verified.verdicts.iter().map(|verdict| verdict.view.len()).max().unwrap_or_default();
    for Verdict { view, rows, seq, is_behind, missing, unexpected, example, .. } in &verified.verdicts {
        let rows = counted(*rows, "row");
        let Some(example) = example else {
            writeln!(out, "ok       {view:width$}  {rows} as of manifest {seq}")?;
            continue;
        };
        if *is_behind {
            writeln!(out, "behind   {view:width$}  {rows}; it has changed since, as of manifest {seq}")?;
            continue;
        }
        let (missing, unexpected) = (grouped(*missing), grouped(*unexpected));
        writeln!(
            out,
            "differs  {view:width$}  {rows} as of manifest {seq}: {missing} missing, {unexpected} unexpected"
        )?;
        writeln!(out, "         {}", visible(example))?;
    }
    for view in &verified.absent {
        writeln!(out, "absent   {view}: it was not written yet")?;
    }
    for view in &verified.unchecked {
        writeln!(out, "unchecked {view}: the pipeline does not recompute it")?;
    }
    Ok(())
}
