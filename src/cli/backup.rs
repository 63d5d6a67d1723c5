//! `headway backup`: a copy of a lake from which a job can go on.

use super::lake::At;
use super::settings::place::flag_path;
use super::terminal::failure::{Code, Failure};
use super::terminal::form::Form;
use super::terminal::table::{counted, grouped};
use super::terminal::text::visible;
use crate::engine::commit::backup::rounds::Report;
use crate::store::Store;
use crate::store::local::Local;
use clap::Args;
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What `backup` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    at: At,
    /// The folder for the copy: absent, empty, or with an earlier backup of the same lake
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// Copies the job that was named, or all jobs of the lake, and answers on `out`.
///
/// # Errors
/// Exit 2 if the folder has something else; exits 3 to 5 if files cannot be read or written, or are damaged.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let jobs = flags.at.open_all()?;
    let to = flag_path("--to", &flags.to)?;
    jobs.first().map_or(Ok(()), |job| lies_elsewhere(&job.place(), &to))?;
    let copy: Arc<dyn Store> = Arc::new(Local::new(&to)?);
    for job in &jobs {
        let report = job.backup(&copy)?;
        match flags.output {
            Form::Text => text(&report, &to, out)?,
            Form::Json => writeln!(out, "{}", answer(&report))?,
        }
    }
    Ok(())
}

/// Refuses a copy in the lake itself, and a lake in its copy.
fn lies_elsewhere(lake: &Path, to: &Path) -> Result<(), Failure> {
    let real = |path: &Path| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let there = absolute.ancestors().find_map(|at| Some((at.canonicalize().ok()?, at.to_path_buf())));
        let rest = |at: &Path| absolute.strip_prefix(at).map(Path::to_path_buf).unwrap_or_default();
        there.map_or_else(|| absolute.clone(), |(found, at)| found.join(rest(&at)))
    };
    let (lake, to) = (real(lake), real(to));
    if lake.starts_with(&to) || to.starts_with(&lake) {
        let what = format!("\"{}\" lies in the lake, or the lake in it", to.display());
        return Err(Failure::new(Code::PathInvalid, what)
            .detail("A backup on the same path would be lost with the lake.")
            .hint("Use --to with a folder elsewhere, best on another disk."));
    }
    Ok(())
}

fn text(report: &Report, to: &Path, out: &mut dyn Write) -> io::Result<()> {
    let Report { job, seq, epoch, files, bytes, known, removed, rounds: _ } = report;
    let (files, bytes) = (counted(*files, "file"), grouped(*bytes));
    let (job, to) = (visible(job).into_owned(), to.display().to_string());
    writeln!(out, "copied job {job} up to manifest {seq}, epoch {epoch}: {files} of {bytes} bytes")?;
    if *known + *removed > 0 {
        let (known, removed) = (counted(*known, "file"), counted(*removed, "file"));
        writeln!(out, "{known} had been copied before; {removed} deleted that no commit needs any more")?;
    }
    writeln!(out, "prove it with: headway audit --lake {} --job {job} --deep", visible(&to))
}

fn answer(report: &Report) -> serde_json::Value {
    json!({
        "schema_version": 1,
        "job": report.job,
        "seq": report.seq.0,
        "epoch": report.epoch.0,
        "files": report.files,
        "bytes": report.bytes,
        "known": report.known,
        "removed": report.removed,
        "rounds": report.rounds,
    })
}
