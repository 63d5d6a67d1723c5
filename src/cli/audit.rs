//! `headway audit`: proves from the lake alone that nothing is lost or doubled, or names the first contradiction.

use super::lake::At;
use super::terminal::failure::{Code, Failure, sentence};
use super::terminal::form::Form;
use super::terminal::table::{counted, grouped};
use super::terminal::text::visible;
use crate::engine::audit::{Finding, Report};
use clap::Args;
use serde_json::json;
use std::io::{self, Write};

/// What `audit` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    at: At,
    /// Read every file again: checksums, rows, and whether state decodes
    #[arg(long)]
    deep: bool,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// Audits the job and answers on `out`.
///
/// # Errors
/// Exit 1 if something contradicts; exits 2 to 4 if the lake cannot be audited.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    audit(&flags.at, flags.deep, flags.output, out)
}

/// What `audit`, and `checkpoint verify`, do.
pub(crate) fn audit(at: &At, deep: bool, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let report = at.open()?.audit(deep)?;
    match output {
        Form::Text => text(&report, deep, out)?,
        Form::Json => writeln!(out, "{}", answer(&report, deep))?,
    }
    let Some(Finding { seq, what }) = &report.finding else { return Ok(()) };
    let place =
        seq.map_or("the lake contradicts itself".to_string(), |seq| format!("manifest {seq} does not hold"));
    Err(Failure::new(Code::AuditFailed, place)
        .detail(sentence(what))
        .hint(
            "Nothing was changed. If files were moved away on purpose, note it with: headway lake release. Else keep a copy \
             of the lake before anything else is done to it.",
        ))
}

fn text(report: &Report, deep: bool, out: &mut dyn Write) -> io::Result<()> {
    let Report { manifests, folded, files, rows, bytes, records, state_files, unpublished, gaps, finding } =
        report;
    let (rows, bytes) = (counted(*rows, "row"), grouped(*bytes));
    if finding.is_some() {
        let (manifests, files) = (counted(*manifests, "manifest"), counted(*files, "file"));
        return writeln!(out, "read {manifests} and {files} with {rows} until something contradicted");
    }
    let read = if deep { "read again, as written" } else { "there, of the right size" };
    let (all, folded, files) = (grouped(*manifests), grouped(*folded), grouped(*files));
    writeln!(out, "manifests  {all}, {folded} of them folded: each follows from the one before")?;
    writeln!(out, "records    {}: offsets tile, and each record has one fate", grouped(*records))?;
    for gap in gaps {
        writeln!(out, "gap        {}: gone before they were read, and accepted", visible(&gap.to_string()))?;
    }
    writeln!(out, "files      {files} with {rows} in {bytes} bytes: {read}")?;
    writeln!(out, "state      {} of the last commit: there", counted(*state_files, "file"))?;
    if *unpublished > 0 {
        let files = counted(*unpublished, "file");
        writeln!(
            out,
            "waiting    {files} of the last commit without its final name: the next start gives it"
        )?;
    }
    writeln!(out, "ok         nothing contradicts")
}

fn answer(report: &Report, deep: bool) -> serde_json::Value {
    json!({
        "schema_version": 1,
        "ok": report.finding.is_none(),
        "deep": deep,
        "manifests": report.manifests,
        "folded": report.folded,
        "records": report.records,
        "files": report.files,
        "rows": report.rows,
        "bytes": report.bytes,
        "state_files": report.state_files,
        "unpublished": report.unpublished,
        "gaps": report.gaps,
        "finding": report.finding.as_ref().map(|finding| json!({ "seq": finding.seq, "what": finding.what })),
    })
}
