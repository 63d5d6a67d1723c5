//! `headway lake`: which files are committed, which of them a loader may move away, and the note that it has.

use super::lake::{At, Job, now_ms};
use super::terminal::failure::Failure;
use super::terminal::form::Form;
use super::terminal::table::{self, counted, grouped};
use super::terminal::text::visible;
use super::units::{Age, Bytes, When};
use crate::engine::commit::compact::{Merged, Rules};
use crate::engine::commit::release::{Committed, Standing, committed};
use crate::engine::commit::retire::older;
use crate::engine::format::manifest::LakeKind;
use crate::engine::format::names::Seq;
use clap::{Args, Subcommand};
use headway_operators::time::EventTime;
use serde_json::json;
use std::io::Write;

/// What `lake` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// List committed files, oldest first, without those that were released or replaced
    Files {
        #[command(flatten)]
        at: At,
        /// Only files of commits after manifest SEQ, such as the last one that a loader has seen
        #[arg(long, value_name = "SEQ")]
        since: Option<u64>,
        /// Only files that may be moved away: a later commit is there, so nothing looks for them again
        #[arg(long)]
        movable: bool,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// For a stopped job: note in a commit that files were moved away, so that an audit accepts it
    ///
    /// A file may be moved before or after it is released. Only its name is kept.
    Release {
        #[command(flatten)]
        at: At,
        /// The files, relative to the lake [default: all that may be moved and are not there any more]
        files: Vec<String>,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// For a stopped job: delete files whose rows are all older than an instant, by a commit
    ///
    /// The time of rows decides; dead letters and late records have the time of the commit that wrote them. Files of the last
    /// commit stay. Views keep what they have, and cannot be made anew from what is gone.
    #[command(group = clap::ArgGroup::new("instant").required(true))]
    Retire {
        #[command(flatten)]
        at: At,
        /// Everything older than TIME before now, such as 90d or 12h
        #[arg(long, value_name = "TIME", group = "instant")]
        older_than: Option<Age>,
        /// Everything before INSTANT, such as 2026-01-01
        #[arg(long, value_name = "INSTANT", group = "instant")]
        before: Option<When>,
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// For a stopped job: merge the small files of closed hours and folders into few large ones
    ///
    /// A folder of an hour or a day is closed once the watermark has passed its end. The merged files and which files they
    /// replace are one commit. Then the replaced files are deleted: a reader that lists folders and does not ask for committed
    /// files sees rows twice between the two, and never misses one.
    Compact {
        #[command(flatten)]
        at: At,
        /// Merge up to SIZE of files into one; a file of half of it stays as it is
        #[arg(long, value_name = "SIZE", default_value = "128MiB")]
        size: Bytes,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
}

/// Answers on `out`.
///
/// # Errors
/// Exit 2 for a file that may not be moved; exit 4 if the job runs; exits 3 to 5 if the lake cannot be read or is damaged.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    match &flags.what {
        What::Files { at, since, movable, output } => {
            let manifests = at.open()?.manifests()?;
            let is_wanted = |found: &Committed<'_>| {
                let is_new = since.is_none_or(|since| found.seq > Seq(since));
                is_new
                    && found.standing != Standing::Gone
                    && (!movable || found.standing == Standing::Movable)
            };
            let found: Vec<Committed<'_>> = committed(&manifests).into_iter().filter(is_wanted).collect();
            list(&found, *output, out)
        }
        What::Retire { at, older_than, before, dry_run, output } => {
            let age = older_than.map(|Age(ms)| now_ms().saturating_sub(ms));
            let before = age.or(before.map(|When(ms)| ms)).expect("clap demands one of them");
            retire(&at.open()?, EventTime(before), *dry_run, *output, out)
        }
        What::Compact { at, size, output } => {
            list_merged(&at.open()?.compact(Rules { bytes_max: size.0 })?, *output, out)
        }
        What::Release { at, files, output } => {
            let job = at.open()?;
            let manifests = job.manifests()?;
            let paths = if files.is_empty() { job.moved(&manifests)? } else { files.clone() };
            let count = paths.len() as u64;
            let seq = job.release(&manifests, paths)?;
            match (output, seq) {
                (Form::Json, seq) => {
                    let answer =
                        json!({ "schema_version": 1, "released": count, "seq": seq.map(|seq| seq.0) });
                    writeln!(out, "{answer}")?;
                }
                (Form::Text, None) => {
                    writeln!(out, "nothing to release: every file is where it was committed")?
                }
                (Form::Text, Some(seq)) => {
                    writeln!(out, "released {}: manifest {seq} says so", counted(count, "file"))?;
                }
            }
            Ok(())
        }
    }
}

fn retire(
    job: &Job,
    before: EventTime,
    dry_run: bool,
    output: Form,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let manifests = job.manifests()?;
    let found = older(&manifests, before);
    let files = found.len() as u64;
    let (rows, bytes) = found
        .iter()
        .fold((0, 0), |(rows, bytes), Committed { file, .. }| (rows + file.rows, bytes + file.bytes));
    let seq = if dry_run { None } else { job.retire(&manifests, before)? };
    if output == Form::Json {
        let answer = json!({
            "schema_version": 1,
            "files": files,
            "records": rows,
            "bytes": bytes,
            "before": When(before.ms()).to_string(),
            "seq": seq.map(|seq| seq.0),
        });
        return Ok(writeln!(out, "{answer}")?);
    }
    let what = format!(
        "{} with {} in {} bytes, all before {}",
        counted(files, "file"),
        counted(rows, "record"),
        grouped(bytes),
        When(before.ms())
    );
    match seq {
        Some(seq) => writeln!(out, "deleted {what}: manifest {seq} says so")?,
        None if files == 0 => {
            writeln!(out, "nothing to retire: no file has only records before {}", When(before.ms()))?;
        }
        None => writeln!(out, "would delete {what}")?,
    }
    Ok(())
}

/// What compaction did: a line for each merged file.
fn list_merged(merged: &[Merged], output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    if output == Form::Json {
        for Merged { seq, file, bytes_before } in merged {
            let line = json!({
                "schema_version": 1,
                "seq": seq.0,
                "path": file.path(),
                "rows": file.rows,
                "bytes": file.bytes,
                "bytes_before": bytes_before,
                "replaces": file.replaces,
            });
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    if merged.is_empty() {
        return Ok(writeln!(out, "nothing to merge: no closed folder has two small files")?);
    }
    let row = |Merged { seq, file, bytes_before }: &Merged| {
        vec![
            seq.to_string(),
            file.replaces.len().to_string(),
            grouped(file.rows),
            grouped(*bytes_before),
            grouped(file.bytes),
            visible(&file.path()).into_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = merged.iter().map(row).collect();
    Ok(table::write(out, &["SEQ", "MERGED", "ROWS", "BYTES BEFORE", "BYTES", "PATH"], &rows)?)
}

fn list(found: &[Committed<'_>], output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    if output == Form::Json {
        for Committed { seq, file, standing } in found {
            let line = json!({
                "schema_version": 1,
                "seq": seq.0,
                "path": file.path(),
                "kind": kind(file.kind),
                "output": file.output,
                "rows": file.rows,
                "bytes": file.bytes,
                "xxh3": file.checksum,
                "movable": *standing == Standing::Movable,
            });
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    let row = |found: &Committed<'_>| {
        let movable = if found.standing == Standing::Movable { "yes" } else { "no" };
        let file = found.file;
        vec![
            found.seq.to_string(),
            kind(file.kind).to_string(),
            grouped(file.rows),
            grouped(file.bytes),
            movable.to_string(),
            visible(&file.path()).into_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    Ok(table::write(out, &["SEQ", "KIND", "RECORDS", "BYTES", "MOVABLE", "PATH"], &rows)?)
}

fn kind(kind: LakeKind) -> &'static str {
    match kind {
        LakeKind::Rows => "rows",
        LakeKind::Changes => "changes",
        LakeKind::Dead => "dead",
        LakeKind::Late => "late",
    }
}
