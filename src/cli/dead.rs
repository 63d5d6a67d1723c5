//! `headway dead`: messages that could not be decoded, or came too late, as the lake keeps them.

use super::lake::{At, Job};
use super::replay;
use super::side::{damaged, files, files_there};
use super::terminal::failure::Failure;
use super::terminal::form::Form;
use super::terminal::table::{self, counted, grouped};
use crate::engine::format::manifest::{Fates, Input, LakeFile, LakeKind, Manifest};
use crate::engine::run::outcome::{excerpt, reasons};
use clap::{Args, Subcommand};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::io::{BufRead, BufReader, Write};
use std::iter;

/// What `dead` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Count them by reason
    Ls {
        #[command(flatten)]
        at: At,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
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
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    match &flags.what {
        What::Ls { at, output } => list(&at.open()?.manifests()?, *output, out),
        What::Show { at, late, reason, limit } => {
            let job = at.open()?;
            let kind = if *late { LakeKind::Late } else { LakeKind::Dead };
            show(&job, (kind, reason.as_deref()), limit.unwrap_or(u64::MAX), out)
        }
        What::Replay(flags) => replay::run(flags, LakeKind::Dead, out),
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

/// A dead letter of each group of inputs, of its most frequent reason, in a few words, if the newest files of dead letters have
/// one. `None` where there is none, where it waits for its file to be full, or where the file cannot be read: it is only an
/// example. `manifests` are those of the job.
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
    for letter in newest.iter().rev().take(EXAMPLE_FILES_MAX).flat_map(|file| letters(job, file)) {
        let (true, Some(letter)) = (wanted > 0, letter) else { break };
        for ((inputs, top), example) in groups.iter().zip(&tops).zip(&mut found) {
            let is_theirs = top.as_ref() == Some(&letter.reason)
                && inputs.iter().any(|input| input.topic == letter.topic);
            if example.is_none() && is_theirs {
                *example = Some(letter.words());
                wanted -= 1;
            }
        }
    }
    found
}

/// The dead letters of `file`; `None` in the place of what cannot be read.
fn letters(job: &Job, file: &LakeFile) -> Box<dyn Iterator<Item = Option<Letter>>> {
    match job.file(&file.path()) {
        Err(_) => Box::new(iter::once(None)),
        Ok(file) => Box::new(
            BufReader::new(MultiGzDecoder::new(file))
                .lines()
                .map(|line| serde_json::from_str(&line.ok()?).ok()),
        ),
    }
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
    (kind, reason): (LakeKind, Option<&str>),
    limit: u64,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let manifests = job.manifests()?;
    let mut shown = 0;
    for file in files_there(&manifests, kind) {
        let damaged = |why: String| damaged(file, why);
        for line in BufReader::new(MultiGzDecoder::new(job.file(&file.path())?)).lines() {
            let line = line.map_err(|error| damaged(error.to_string()))?;
            if let Some(reason) = reason {
                let found: Line<'_> =
                    serde_json::from_str(&line).map_err(|error| damaged(error.to_string()))?;
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
