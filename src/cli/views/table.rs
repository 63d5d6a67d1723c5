//! A gold table as the commands on views read it.

use crate::cli::client::{Client, escaped};
use crate::cli::lake::Job;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::text::visible;
use crate::connect::formats::parquet;
use crate::engine::run::gold;
use headway_operators::row::{Cell, Column, Kind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Read;

/// A table that was read.
pub(in crate::cli) struct Table {
    pub(in crate::cli) columns: Vec<Column>,
    /// What the metadata of each of its files say.
    notes: Vec<BTreeMap<String, String>>,
    pub(in crate::cli) rows: Vec<Vec<Value>>,
    pub(in crate::cli) bytes: u64,
    /// Its file, or the folder of its files.
    pub(in crate::cli) path: String,
}

/// How often a table is read whose files a run takes away meanwhile.
const ATTEMPTS: u32 = 20;

/// Reads table `view` of `job`, all of its files.
pub(in crate::cli) fn read(job: &Job, view: &str) -> Result<Table, Failure> {
    let pipeline = job.head()?.pipeline;
    for _ in 0..ATTEMPTS {
        let known = job.tables(&pipeline)?;
        let Some(files) = known.get(view) else {
            let failure = Failure::new(Code::ViewUnknown, format!("there is no view \"{}\"", visible(view)));
            let known: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(failure.hint(match known.as_slice() {
                [] => "The job has written no views: start it with --views.".to_string(),
                known => format!("There are: {}.", known.join(", ")),
            }));
        };
        let path = match files.as_slice() {
            [one] if *one == gold::path(&pipeline, view) => one.clone(),
            _ => gold::table_folder(&pipeline, view),
        };
        let (columns, notes, rows) = (Vec::new(), Vec::new(), Vec::new());
        let mut table = Table { columns, notes, rows, bytes: 0, path };
        let mut is_whole = true;
        for file in files {
            is_whole &= table.add(job, file)?;
        }
        // A run takes the file of a day away that has no rows any more.
        if is_whole {
            return Ok(table);
        }
    }
    Err(Failure::new(
        Code::LakeFileMissing,
        format!("files of view \"{}\" go while they are read", visible(view)),
    ))
}

/// The rows of table `view` that a running job serves.
///
/// # Errors
/// As [`Client::open`]; exit 2 if there is no such table.
pub(in crate::cli) fn asked(client: &Client, view: &str) -> Result<Table, Failure> {
    let answer = client.json(&format!("/v1/views/{}?limit=all", escaped(view)))?;
    let known = client.json("/v1/views")?;
    let listed = known["views"].as_array().into_iter().flatten().find(|known| known["name"] == view);
    let columns = listed.and_then(|listed| listed["columns"].as_array()).into_iter().flatten();
    // Of what kind a column is does not matter: values come as JSON has them.
    let column = |column: &Value| Column { name: shown(&column["name"]).into(), kind: Kind::Text };
    let columns: Vec<Column> = columns.map(column).collect();
    let row = |row: &Value| columns.iter().map(|column| row[&*column.name].clone()).collect();
    let rows = answer["rows"].as_array().into_iter().flatten().map(row).collect();
    let notes = vec![BTreeMap::from([("headway.seq".to_string(), shown(&answer["seq"]))])];
    Ok(Table { columns, notes, rows, bytes: 0, path: String::new() })
}

/// A cell as JSON has it: sums as texts where a JSON number may not hold them.
pub(in crate::cli) fn value(cell: &Cell<'_>) -> Value {
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

/// An instant as RFC 3339 writes it, with milliseconds where it has some.
fn instant(ms: i64) -> String {
    let format = if ms.rem_euclid(1000) == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.3fZ" };
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |time| time.format(format).to_string())
}

/// A value as a person reads it.
pub(in crate::cli) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Table {
    /// Reads a file of the table; false if it is not there any more.
    fn add(&mut self, job: &Job, path: &str) -> Result<bool, Failure> {
        let damaged = |error: std::io::Error| {
            Failure::new(Code::LakeFileDamaged, format!("could not read \"{path}\""))
                .detail(format!("{error}."))
        };
        let mut bytes = Vec::new();
        let Some(mut file) = job.file_if_there(path)? else { return Ok(false) };
        file.read_to_end(&mut bytes).map_err(damaged)?;
        let size = bytes.len() as u64;
        let (columns, notes) = parquet::describe(bytes.clone()).map_err(damaged)?;
        if !self.notes.is_empty() && self.columns != columns {
            return Err(damaged(std::io::Error::other("it has other columns than another day of the table")));
        }
        let mut row = |cells: &[Cell<'_>]| self.rows.push(cells.iter().map(value).collect());
        parquet::read(bytes, &mut row).map_err(damaged)?;
        self.columns = columns;
        self.notes.push(notes.into_iter().collect());
        self.bytes += size;
        Ok(true)
    }

    /// What the metadata of each of its files say.
    pub(in crate::cli) fn notes(&self) -> &[BTreeMap<String, String>] {
        &self.notes
    }

    /// True if it lies by day, in a folder.
    pub(in crate::cli) fn is_by_day(&self) -> bool {
        self.path.ends_with('/')
    }

    /// How many files it has.
    pub(in crate::cli) fn files(&self) -> usize {
        self.notes.len()
    }

    /// Keeps the rows that `filter`, `COLUMN=VALUE`, names.
    pub(in crate::cli) fn keep(&mut self, view: &str, filter: &str) -> Result<(), Failure> {
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
    pub(in crate::cli) fn objects(&self) -> impl Iterator<Item = Map<String, Value>> {
        let names = || self.columns.iter().map(|column| column.name.to_string());
        self.rows.iter().map(move |row| names().zip(row.iter().cloned()).collect())
    }

    /// What its metadata say of `name`: the greatest number, where it has several files.
    pub(in crate::cli) fn note(&self, name: &str) -> Option<i64> {
        let name = format!("headway.{name}");
        self.notes.iter().filter_map(|notes| notes.get(&name)?.parse().ok()).max()
    }
}
