//! `headway dead`: messages that could not be decoded, or came too late, as the lake keeps them.

use super::replay;
use super::side::{self, damaged, files, files_there};
use crate::cli::lake::{At, Job, Listing};
use crate::cli::terminal::failure::Failure;
use crate::cli::terminal::form::Form;
use crate::cli::terminal::table::{self, counted, grouped};
use crate::engine::format::manifest::{Fates, Input, LakeFile, LakeKind, Manifest};
use crate::engine::run::outcome::{excerpt, reasons};
use clap::{Args, Subcommand};
use headway_operators::pipeline::Entry;
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::io::Write;

/// What `dead` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Count dead letters by reason
    Ls(Listing),
    /// Print them, a JSON object a line
    Show {
        #[command(flatten)]
        at: At,
        /// Late records instead of dead letters
        #[arg(long)]
        late: bool,
        /// Only those of this reason
        #[arg(long, value_name = "REASON", conflicts_with = "late")]
        reason: Option<String>,
        /// At most N
        #[arg(short = 'n', long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Write the original messages to a folder or a topic, for another run
    Replay(replay::Flags),
}

/// Answers on `out`.
pub(crate) fn run(flags: &Flags, catalogue: &'static [Entry], out: &mut dyn Write) -> Result<(), Failure> {
    match &flags.what {
        What::Ls(Listing { at, output }) => list(&at.open()?.manifests()?, *output, out),
        What::Show { at, late, reason, limit } => {
            let job = at.open()?;
            let kind = if *late { LakeKind::Late } else { LakeKind::Dead };
            show(&job, kind, reason.as_deref(), limit.unwrap_or(u64::MAX), out)
        }
        What::Replay(flags) => replay::run(flags, LakeKind::Dead, catalogue, out),
    }
}

fn list(manifests: &[Manifest], output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let mut total = Fates::default();
    manifests
        .iter()
        .last()
        .into_iter()
        .flat_map(|head| &head.inputs)
        .for_each(|input| total.add(&input.total()));
    let (dead, late) = (&total.dead, total.late);
    let kept = |kind| files(manifests, kind).map(|found| found.file.rows).sum::<u64>();
    let sum: u64 = dead.values().sum();
    if output == Form::Json {
        let held = (sum - kept(LakeKind::Dead).min(sum), late - kept(LakeKind::Late).min(late));
        let answer = json!({
            "schema_version": 1, "dead": dead, "late": late, "dead_held": held.0, "late_held": held.1,
        });
        return Ok(writeln!(out, "{answer}")?);
    }
    let rows: Vec<Vec<String>> =
        reasons(dead).into_iter().map(|(reason, n)| vec![reason.to_string(), grouped(n)]).collect();
    if !rows.is_empty() {
        table::write(out, &["REASON", "COUNT"], &rows)?;
    }
    for (name, all, kind) in [("dead letter", sum, LakeKind::Dead), ("late record", late, LakeKind::Late)] {
        let (rows, held) = (kept(kind), all - kept(kind).min(all));
        let held = if held == 0 { String::new() } else { format!("; {} not in a file yet", grouped(held)) };
        let files = counted(files(manifests, kind).count() as u64, "file");
        writeln!(out, "{}: {} in {files}{held}", counted(all, name), grouped(rows))?;
    }
    Ok(())
}

/// What decides whether a line is shown.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

/// The place and the beginning of a dead letter.
#[derive(Deserialize)]
struct Letter {
    topic: String,
    partition: u32,
    offset: i64,
    reason: String,
    payload: Option<String>,
}

/// How many files are looked through for an example.
const EXAMPLE_FILES_MAX: usize = 8;

/// For each group of inputs, one dead letter of its most frequent reason, in a few words. `None` if the newest files have none, or
/// cannot be read. `manifests` are those of the job.
pub(crate) fn examples(job: &Job, manifests: &[Manifest], groups: &[&[Input]]) -> Vec<Option<String>> {
    let top = |inputs: &&[Input]| {
        let mut dead = Fates::default();
        inputs.iter().for_each(|input| dead.add(&input.total()));
        reasons(&dead.dead).into_iter().next().map(|(reason, _)| reason.name().to_string())
    };
    let tops: Vec<Option<String>> = groups.iter().map(top).collect();
    let mut found = vec![None; groups.len()];
    let mut wanted = tops.iter().flatten().count();
    let newest: Vec<&LakeFile> = files_there(manifests, LakeKind::Dead).collect();
    for file in newest.iter().rev().take(EXAMPLE_FILES_MAX) {
        let Ok(letters) = side::rows::<Letter>(job, file) else { return found };
        for letter in letters {
            let (true, Ok(letter)) = (wanted > 0, letter) else { return found };
            for ((inputs, top), example) in groups.iter().zip(&tops).zip(&mut found) {
                let is_theirs = top.as_ref() == Some(&letter.reason)
                    && inputs.iter().any(|input| input.topic == letter.topic);
                if example.is_none() && is_theirs {
                    *example = Some(letter.words());
                    wanted -= 1;
                }
            }
        }
    }
    found
}

impl Letter {
    fn words(&self) -> String {
        let Letter { partition, offset, reason, payload, .. } = self;
        let text = payload.as_deref().map_or("no value".to_string(), excerpt);
        format!("offset {offset} of partition {partition} is {reason}: {text}")
    }
}

fn show(
    job: &Job,
    kind: LakeKind,
    reason: Option<&str>,
    limit: u64,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let manifests = job.manifests()?;
    let mut shown = 0;
    for file in files_there(&manifests, kind) {
        for line in side::lines(job, file)? {
            let line = line?;
            if let Some(reason) = reason {
                let found: Line<'_> =
                    serde_json::from_str(&line).map_err(|error| damaged(file, error.to_string()))?;
                if found.reason != reason {
                    continue;
                }
            }
            if shown == limit {
                return Ok(());
            }
            writeln!(out, "{line}")?;
            shown += 1;
        }
    }
    Ok(())
}
