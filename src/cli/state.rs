//! `headway state`: what the operators of a job hold, as of its last commit; of a job that runs, too.

use super::init::new_file;
use super::lake::{At, Listing};
use super::settings::place::flag_path;
use super::terminal::failure::{Code, Failure};
use super::terminal::form::Form;
use super::terminal::table::{self, grouped};
use crate::engine::format::manifest::Manifest;
use crate::engine::run::launch::shape;
use clap::{Args, Subcommand, ValueEnum};
use headway_operators::pipeline::Entry;
#[cfg(feature = "parquet")]
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::shape::Shape;
use headway_operators::state::{Saved, Shown};
use headway_operators::time::EventTime;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// What `state` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// List the operators, and the size of their state
    Ls(Listing),
    /// Print the state of one key of an operator, as a JSON object
    Get {
        #[command(flatten)]
        at: At,
        /// The operator, as `state ls` lists it
        #[arg(value_name = "OPERATOR")]
        operator: String,
        /// The key: text, or JSON
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Print the state of an operator, one key a line
    Export {
        #[command(flatten)]
        at: At,
        /// The operator, as `state ls` lists it
        #[arg(value_name = "OPERATOR")]
        operator: String,
        /// How each key is written
        #[arg(long, value_name = "FORMAT", default_value = "ndjson")]
        format: ExportFormat,
        /// The file to write, which must not be there [default: standard output, which takes no Parquet]
        #[arg(long, value_name = "FILE", required_if_eq("format", "parquet"))]
        to: Option<PathBuf>,
    },
}

/// How keys are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum ExportFormat {
    /// JSON objects
    Ndjson,
    /// CSV with a header row; key and state are JSON
    Csv,
    /// A Parquet file; key and state are JSON
    Parquet,
}

/// Answers on `out`.
///
/// # Errors
/// Exit 1 if a key is not there; exits 2 to 5 if there is no such operator, or the lake cannot be read.
pub(crate) fn run(flags: &Flags, catalogue: &'static [Entry], out: &mut dyn Write) -> Result<(), Failure> {
    match &flags.what {
        What::Ls(Listing { at, output }) => list(&at.open()?.head()?, *output, out),
        What::Get { at, operator, key } => {
            let held = held(at, operator, catalogue)?;
            let text = Value::String(key.clone()).to_string();
            let found = held.iter().find(|shown| shown.key == *key || shown.key == text);
            let Some(shown) = found else {
                let what = format!("operator \"{operator}\" holds nothing of key \"{key}\"");
                return Err(
                    Failure::new(Code::KeyNotFound, what).hint("List all keys with: headway state export.")
                );
            };
            Ok(writeln!(out, "{}", object(shown))?)
        }
        What::Export { at, operator, format, to } => {
            let held = held(at, operator, catalogue)?;
            let Some(to) = to else { return export(&held, *format, out) };
            let mut file = Vec::new();
            export(&held, *format, &mut file)?;
            new_file(&flag_path("--to", to)?, &file)
        }
    }
}

fn list(head: &Manifest, output: Form, out: &mut dyn Write) -> Result<(), Failure> {
    if output == Form::Json {
        for (name, operator) in &head.operators {
            let line = json!({ "operator": name, "version": operator.version, "held": operator.held });
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    let held = |held: Option<u64>| held.map_or("unknown".to_string(), grouped);
    let rows = head.operators.iter();
    let rows =
        rows.map(|(name, operator)| vec![name.clone(), operator.version.to_string(), held(operator.held)]);
    Ok(table::write(out, &["OPERATOR", "VERSION", "HELD"], &rows.collect::<Vec<_>>())?)
}

/// What `operator` holds as of the last commit.
fn held(at: &At, operator: &str, catalogue: &'static [Entry]) -> Result<Vec<Shown>, Failure> {
    let job = at.open()?;
    let (head, mut saved) = job.state()?;
    let shape = pipeline_shape(&head, catalogue)?;
    let known = shape.operators.iter().position(|spec| spec.name == operator);
    let Some(number) = known.filter(|_| head.operators.contains_key(operator)) else {
        let names: Vec<&str> = head.operators.keys().map(String::as_str).collect();
        let what = format!("the job has no operator \"{operator}\"");
        return Err(Failure::new(Code::OperatorUnknown, what)
            .hint(format!("Its operators are {}.", names.join(", "))));
    };
    let saved: Vec<Saved> = saved.remove(operator).unwrap_or_default();
    match (shape.show[number])(operator, &saved) {
        Some(shown) => {
            let mut shown = shown.map_err(|error| Failure::new(Code::StateUnreadable, error.to_string()))?;
            shown.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(shown)
        }
        None => {
            let what = format!("the state of operator \"{operator}\" has no form for people");
            Err(Failure::new(Code::OperatorUnknown, what)
                .hint("Operators that are written on `headway_operators::kit::Logic` have one."))
        }
    }
}

/// What the pipeline of the job builds. Its settings do not matter: they change no type.
fn pipeline_shape(head: &Manifest, catalogue: &'static [Entry]) -> Result<Shape, Failure> {
    let name = &head.pipeline;
    let Some(entry) = catalogue.iter().find(|entry| entry.name == *name) else {
        let what = format!("this program has no pipeline \"{name}\", which wrote the state");
        return Err(Failure::new(Code::PipelineUnknown, what).hint("Use the program that runs the job."));
    };
    let made = entry.configure([]).map_err(|error| {
        Failure::new(Code::SettingInvalid, format!("pipeline \"{name}\" needs settings: {error}"))
    })?;
    Ok(shape(made.pipeline.as_ref())?)
}

fn export(held: &[Shown], format: ExportFormat, out: &mut dyn Write) -> Result<(), Failure> {
    match format {
        ExportFormat::Ndjson => {
            for shown in held {
                writeln!(out, "{}", object(shown))?;
            }
        }
        ExportFormat::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            let failed = |error: csv::Error| Failure::from(std::io::Error::from(error));
            csv.write_record(["key", "version", "touched_ms", "timers_ms", "state"]).map_err(failed)?;
            for Shown { key, version, touched, timers, state } in held {
                let (version, touched) = (version.to_string(), touched.to_string());
                csv.write_record([key, &version, &touched, &timers_cell(timers), state]).map_err(failed)?;
            }
            csv.flush()?;
        }
        ExportFormat::Parquet => return parquet(held, out),
    }
    Ok(())
}

/// The timers of a key in one cell: milliseconds, a blank between two.
fn timers_cell(timers: &[EventTime]) -> String {
    timers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(feature = "parquet")]
fn parquet(held: &[Shown], out: &mut dyn Write) -> Result<(), Failure> {
    let mut file = Vec::new();
    let rows: Vec<Exported> = held.iter().cloned().map(Exported).collect();
    crate::connect::formats::parquet::write(&rows, &COLUMNS, &[], &mut file)?;
    Ok(out.write_all(&file)?)
}

#[cfg(not(feature = "parquet"))]
fn parquet(_held: &[Shown], _out: &mut dyn Write) -> Result<(), Failure> {
    Err(Failure::new(Code::NotInThisBuild, "this build of Headway has no Parquet")
        .hint("Build it with the cargo feature parquet, or use --format ndjson."))
}

/// A key as a JSON object.
fn object(Shown { key, version, touched, timers, state }: &Shown) -> String {
    let raw = |json: &str| RawValue::from_string(json.to_string()).ok();
    let timers: Vec<i64> = timers.iter().map(|at| at.ms()).collect();
    let object = Object {
        key: raw(key),
        version: *version,
        touched_ms: touched.ms(),
        timers_ms: timers,
        state: raw(state),
    };
    serde_json::to_string(&object).expect("text and numbers have a form in JSON")
}

#[derive(serde::Serialize)]
struct Object {
    key: Option<Box<RawValue>>,
    version: u32,
    touched_ms: i64,
    timers_ms: Vec<i64>,
    state: Option<Box<RawValue>>,
}

/// A key as a row of a file.
#[cfg(feature = "parquet")]
#[derive(Clone)]
struct Exported(Shown);

#[cfg(feature = "parquet")]
const COLUMNS: [Column; 5] = [
    Column::new("key", Kind::Text),
    Column::new("version", Kind::Int),
    Column::new("touched", Kind::Time),
    Column::new("timers_ms", Kind::Text),
    Column::new("state", Kind::Text),
];

#[cfg(feature = "parquet")]
impl Row for Exported {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        let Shown { key, version, touched, timers, state } = &self.0;
        put(Cell::Text(key));
        put(Cell::Int(i64::from(*version)));
        put(Cell::Time(*touched));
        put(Cell::Text(&timers_cell(timers)));
        put(Cell::Text(state));
    }

    fn time(&self) -> EventTime {
        self.0.touched
    }
}
