//! `headway views`: the tables of a job, as its newest gold files have them.
//!
//! A running job writes a changed table at most once a minute; `ls` says which commit each table shows. With `--from` the job itself
//! is asked, which answers as of its newest commit.

use super::subscribe::{self, Subscribe};
use super::table::{Table, asked, read, shown};
use super::verify;
use crate::cli::client::{Client, Served};
use crate::cli::lake::{At, Job, Listing};
use crate::cli::terminal::failure::Failure;
use crate::cli::terminal::form::Form;
use crate::cli::terminal::table::{self, counted, grouped};
use crate::cli::terminal::text::visible;
use clap::{Args, Subcommand, ValueEnum};
use headway_operators::pipeline::Entry;
use serde_json::{Value, json};
use std::io::Write;

/// What `views` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// List the tables: rows, bytes, and the commit that each is of
    Ls {
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        served: Served,
    },
    /// Print the first rows of a table
    Show {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        served: Served,
        /// The table
        view: String,
        /// Only rows whose COLUMN is VALUE; may be given several times
        #[arg(long = "where", value_name = "COLUMN=VALUE")]
        filter: Vec<String>,
        /// At most N rows
        #[arg(short = 'n', long, value_name = "N", default_value = "20")]
        limit: usize,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// Recompute each table from the committed rows, in a slow and independent way, and compare
    ///
    /// Exit 1 if a table differs. Reads every committed fact. A table is compared with the facts of the commit that it is of. Where only
    /// the facts of the last commit are known, a table that has changed since it was written is behind: exit 1, too.
    Verify(Listing),
    /// Follow the tables of a running job that was started with --listen: a line of JSON for each commit
    Subscribe(Subscribe),
    /// For a stopped job: let the next start recompute all tables from the committed rows
    Rebuild(Listing),
    /// Write all rows of a table to standard output
    Export {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        served: Served,
        /// The table
        view: String,
        /// As what
        #[arg(long = "as", value_name = "FORMAT", default_value = "csv")]
        format: Export,
        /// Form of the answer on standard output: json is --as ndjson
        #[arg(short, long, value_name = "FORM", conflicts_with = "format")]
        output: Option<Form>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Export {
    /// CSV with a header row
    Csv,
    /// A JSON object a line
    Ndjson,
}

/// Answers on `out`.
///
/// # Errors
/// Exit 1 if `verify` finds a difference; exit 2 if there is no such table or column; exit 3 if the job cannot be reached; exits
/// 3 to 5 if the lake cannot be read or is damaged.
pub(crate) fn run(flags: &Flags, catalogue: &'static [Entry], out: &mut dyn Write) -> Result<(), Failure> {
    match &flags.what {
        What::Ls { listing: Listing { at, output }, served } => match served.client()? {
            Some(client) => list_served(&client, *output, out),
            None => list(&at.open()?, *output, out),
        },
        What::Subscribe(flags) => subscribe::run(flags, out),
        What::Rebuild(Listing { at, output }) => verify::rebuild(&at.open()?, catalogue, *output, out),
        What::Verify(Listing { at, output }) => verify::run(&at.open()?, catalogue, *output, out),
        What::Show { at, served, view, filter, limit, output } => {
            let mut table = table(at, served, view)?;
            for filter in filter {
                table.keep(view, filter)?;
            }
            show(view, &table, *limit, *output, out)
        }
        What::Export { at, served, view, format, output } => {
            let table = table(at, served, view)?;
            let format = if *output == Some(Form::Json) { Export::Ndjson } else { *format };
            match format {
                Export::Csv => export_csv(&table, out),
                Export::Ndjson => {
                    table.objects().try_for_each(|row| writeln!(out, "{}", Value::Object(row)))?;
                    Ok(())
                }
            }
        }
    }
}

/// Reads a table: of the job that `served` names, or else of the lake.
fn table(at: &At, served: &Served, view: &str) -> Result<Table, Failure> {
    match served.client()? {
        Some(client) => asked(&client, view),
        None => read(&at.open()?, view),
    }
}

/// Lists the tables that a running job serves.
fn list_served(client: &Client, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let answer = client.json("/v1/views")?;
    let mut lines = Vec::new();
    for view in answer["views"].as_array().into_iter().flatten() {
        if output == Form::Json {
            let line = json!({
                "schema_version": 1,
                "view": view["name"],
                "rows": view["rows"],
                "seq": answer["seq"],
                "changed": view["changed"],
                "watermark": answer["watermark"],
            });
            writeln!(out, "{line}")?;
        }
        let text = |value: &Value| visible(&shown(value)).into_owned();
        let rows = view["rows"].as_u64().map_or_else(String::new, grouped);
        lines.push(vec![text(&view["name"]), rows, text(&answer["seq"]), text(&view["changed"])]);
    }
    if output == Form::Text {
        table::write(out, &["VIEW", "ROWS", "SEQ", "CHANGED"], &lines)?;
    }
    Ok(())
}

fn list(job: &Job, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let pipeline = job.head()?.pipeline;
    let mut lines = Vec::new();
    for view in job.tables(&pipeline)?.into_keys() {
        let table = read(job, &view)?;
        let (rows, seq, path) = (table.rows.len() as u64, table.note("seq"), table.path.clone());
        if output == Form::Json {
            let line = json!({
                "schema_version": 1,
                "view": view,
                "rows": rows,
                "bytes": table.bytes,
                "files": table.files(),
                "seq": seq,
                "epoch": table.note("epoch"),
                "generation": table.note("generation"),
                "watermark_ms": table.note("watermark_ms"),
                "path": path,
            });
            writeln!(out, "{line}")?;
        }
        let seq = seq.map_or_else(String::new, |seq| seq.to_string());
        lines.push(vec![view, grouped(rows), grouped(table.bytes), seq, path]);
    }
    if output == Form::Text {
        table::write(out, &["VIEW", "ROWS", "BYTES", "SEQ", "PATH"], &lines)?;
    }
    Ok(())
}

fn show(view: &str, table: &Table, limit: usize, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    if output == Form::Json {
        let rows: Vec<Value> = table.objects().take(limit).map(Value::Object).collect();
        let answer = json!({ "schema_version": 1, "view": view, "seq": table.note("seq"), "rows": rows });
        return Ok(writeln!(out, "{answer}")?);
    }
    let head: Vec<String> = table.columns.iter().map(|column| column.name.to_uppercase()).collect();
    let line = |row: &Vec<Value>| row.iter().map(|value| visible(&shown(value)).into_owned()).collect();
    let lines: Vec<Vec<String>> = table.rows.iter().take(limit).map(line).collect();
    table::write(out, &head.iter().map(String::as_str).collect::<Vec<_>>(), &lines)?;
    if table.rows.len() > limit {
        writeln!(out, "… and {} more", counted((table.rows.len() - limit) as u64, "row"))?;
    }
    Ok(())
}

fn export_csv(table: &Table, out: &mut dyn Write) -> Result<(), Failure> {
    let failed = |error: csv::Error| Failure::from(std::io::Error::other(error));
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(table.columns.iter().map(|column| column.name.as_ref())).map_err(failed)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(shown)).map_err(failed)?;
    }
    Ok(writer.flush()?)
}
