//! `headway explain`: what an error means, whose turn it is, and what to do.

use super::lag;
use super::record::{self, Question};
use crate::cli::lake::At;
use crate::cli::settings::suggest::suggest;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::form::Form;
use crate::cli::terminal::page::{Page, Turn};
use crate::cli::terminal::pages::{page, pages};
use crate::cli::terminal::table;
use crate::engine::format::manifest::LakeKind;
use clap::Args;
use headway_operators::pipeline::Entry;
use serde_json::{Value, json};
use std::io::{self, Write};

/// What `explain` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    /// The code at the end of an error's first line, such as records-gone [default: list all codes]; `lag`: why a job lags;
    /// `late` and `dead`: why a record was refused; `metrics`: what can be scraped
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// With `late` and `dead`: the partition and the offset of the record, such as 0:1234
    #[arg(value_name = "P:O")]
    record: Option<String>,
    #[command(flatten)]
    at: At,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// Prints the page of a code, or the list of all; or why a job lags.
///
/// # Errors
/// Exit 2 if no error has that code; exit 1 if the job lags.
pub(crate) fn run(flags: &Flags, catalogue: &[Entry], out: &mut dyn Write) -> Result<(), Failure> {
    let Some(code) = &flags.code else { return Ok(list(flags.output, out)?) };
    // As it stands in an error's line, or alone.
    let (record, at, output) = (flags.record.as_deref(), &flags.at, flags.output);
    if let (Some(record), false) = (record, ["late", "dead"].contains(&code.as_str())) {
        return Err(Failure::new(Code::CommandLine, format!("\"{record}\" does not go with explain {code}"))
            .hint("Only explain late and explain dead take the place of a record."));
    }
    let about = |kind| Question { kind, place: record, at, catalogue };
    match code.as_str() {
        "late" => return record::run(&about(LakeKind::Late), output, out),
        "dead" => return record::run(&about(LakeKind::Dead), output, out),
        "lag" => return lag::lag(&flags.at, flags.output, out),
        "metrics" => return lag::metrics(flags.output, out),
        _ => {}
    }
    let name = code.trim_matches(['(', ')']);
    let Some(page) = page(name) else {
        let known: Vec<&str> = pages().map(|page| page.code).collect();
        return Err(Failure::new(Code::UnknownName, format!("no error has the code \"{name}\""))
            .hint(suggest(name, &known, "codes")));
    };
    match flags.output {
        Form::Text => text(page, out)?,
        Form::Json => writeln!(out, "{}", answer(page))?,
    }
    Ok(())
}

fn list(output: Form, out: &mut dyn Write) -> io::Result<()> {
    match output {
        Form::Text => {
            let row = |page: &Page| vec![page.code.to_string(), page.happened.to_string()];
            table::write(out, &["CODE", "WHAT HAPPENED"], &pages().map(row).collect::<Vec<_>>())
        }
        Form::Json => pages().try_for_each(|page| writeln!(out, "{}", answer(page))),
    }
}

fn text(page: &Page, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", page.code)?;
    writeln!(out, "  what happened  {}", page.happened)?;
    writeln!(out, "  why            {}", page.why)?;
    writeln!(out, "  whose turn     {}", turn(page.turn))?;
    writeln!(out, "  what to do     {}", page.action)
}

fn answer(page: &Page) -> Value {
    json!({
        "schema_version": 1,
        "code": page.code,
        "happened": page.happened,
        "why": page.why,
        "turn": match page.turn {
            Turn::Yours => "user",
            Turn::TheirSystem => "system",
            Turn::Ours => "headway",
        },
        "action": page.action,
    })
}

fn turn(turn: Turn) -> &'static str {
    match turn {
        Turn::Yours => "Yours.",
        Turn::TheirSystem => "The broker's, the disk's or the machine's, and of whoever runs it.",
        Turn::Ours => "The authors of Headway's.",
    }
}
