//! `headway views`: the tables of a job, as its newest gold files have them.
//!
//! A running job writes a table that has changed at least once a minute; `ls` says of which commit each is.

use super::lake::{At, Job};
use super::terminal::failure::{Code, Failure};
use super::terminal::form::Form;
use super::terminal::table::{self, counted, grouped};
use super::terminal::text::visible;
use crate::connect::formats::parquet;
use crate::engine::run::gold;
use clap::{Args, Subcommand, ValueEnum};
use headway_operators::row::{Cell, Column};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};

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
        at: At,
        /// Form of the answer on standard output
        #[arg(short, long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// Print the first rows of a table
    Show {
        #[command(flatten)]
        at: At,
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
    /// Write all rows of a table to standard output
    Export {
        #[command(flatten)]
        at: At,
        /// The table
        view: String,
        /// As what
        #[arg(long = "as", value_name = "FORMAT", default_value = "csv")]
        format: Export,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Export {
    /// CSV with a header row
    Csv,
    /// A JSON object a line
    Ndjson,
}

/// A table that was read.
struct Table {
    columns: Vec<Column>,
    notes: BTreeMap<String, String>,
    rows: Vec<Vec<Value>>,
    bytes: u64,
}

/// Answers on `out`.
///
/// # Errors
/// Exit 2 if there is no such table or column; exits 3 to 5 if the lake cannot be read or is damaged.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    match &flags.what {
        What::Ls { at, output } => list(&at.open()?, *output, out),
        What::Show { at, view, filter, limit, output } => {
            let mut table = read(&at.open()?, view)?;
            for filter in filter {
                table.keep(view, filter)?;
            }
            show(view, &table, *limit, *output, out)
        }
        What::Export { at, view, format } => {
            let table = read(&at.open()?, view)?;
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

/// Reads table `view` of `job`.
fn read(job: &Job, view: &str) -> Result<Table, Failure> {
    let pipeline = job.head()?.pipeline;
    let known = job.tables(&pipeline)?;
    if !known.iter().any(|name| name == view) {
        let failure = Failure::new(Code::ViewUnknown, format!("there is no view \"{}\"", visible(view)));
        return Err(failure.hint(match known.as_slice() {
            [] => "The job has written no views: start it with --views.".to_string(),
            known => format!("There are: {}.", known.join(", ")),
        }));
    }
    let path = gold::path(&pipeline, view);
    let damaged = |error: std::io::Error| {
        Failure::new(Code::LakeFileDamaged, format!("could not read \"{path}\"")).detail(format!("{error}."))
    };
    let mut bytes = Vec::new();
    job.file(&path)?.read_to_end(&mut bytes).map_err(damaged)?;
    let size = bytes.len() as u64;
    let (columns, notes) = parquet::describe(bytes.clone()).map_err(damaged)?;
    let mut rows = Vec::new();
    parquet::read(bytes, &mut |cells| rows.push(cells.iter().map(value).collect())).map_err(damaged)?;
    Ok(Table { columns, notes: notes.into_iter().collect(), rows, bytes: size })
}

/// A cell as JSON has it: sums as texts where a JSON number may not hold them.
fn value(cell: &Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => json!(text),
        Cell::Int(number) => json!(number),
        Cell::Wide(sum) => i64::try_from(*sum).map_or_else(|_| json!(sum.to_string()), |sum| json!(sum)),
        Cell::Float(number) => json!(number),
        Cell::Bool(value) => json!(value),
        Cell::Time(time) => json!(instant(time.ms())),
    }
}

/// An instant as RFC 3339 writes it.
fn instant(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A value as a person reads it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Table {
    /// Keeps the rows that `filter`, `COLUMN=VALUE`, names.
    fn keep(&mut self, view: &str, filter: &str) -> Result<(), Failure> {
        let names = || self.columns.iter().map(|column| column.name.as_ref()).collect::<Vec<_>>().join(", ");
        let found = filter.split_once('=').and_then(|(name, wanted)| {
            Some((self.columns.iter().position(|column| column.name == name)?, wanted))
        });
        let Some((at, wanted)) = found else {
            let what = format!("--where \"{}\" names no column of view \"{view}\"", visible(filter));
            return Err(Failure::new(Code::CommandLine, what)
                .hint(format!("Write COLUMN=VALUE with one of: {}.", names())));
        };
        self.rows.retain(|row| shown(&row[at]) == wanted);
        Ok(())
    }

    /// The rows as objects.
    fn objects(&self) -> impl Iterator<Item = Map<String, Value>> {
        let names = || self.columns.iter().map(|column| column.name.to_string());
        self.rows.iter().map(move |row| names().zip(row.iter().cloned()).collect())
    }

    fn note(&self, name: &str) -> Option<i64> {
        self.notes.get(&format!("headway.{name}"))?.parse().ok()
    }
}

fn list(job: &Job, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    let pipeline = job.head()?.pipeline;
    let mut lines = Vec::new();
    for view in job.tables(&pipeline)? {
        let table = read(job, &view)?;
        let (rows, seq, path) = (table.rows.len() as u64, table.note("seq"), gold::path(&pipeline, &view));
        if output == Form::Json {
            let line = json!({
                "schema_version": 1,
                "view": view,
                "rows": rows,
                "bytes": table.bytes,
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
