//! Reads committed facts for operators of views that are new to a job, whatever format they were written in.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::recover;
use crate::engine::commit::refill::{self, FactFile, Range};
use crate::engine::commit::site::{self, Site};
use crate::engine::control::Control;
use crate::engine::format::manifest::Manifest;
use crate::store::Store;
use flate2::read::MultiGzDecoder;
use headway_operators::row::Cell;
use headway_operators::shape::Shape;
use headway_operators::spec::Format;
use headway_operators::time::Epoch;
use headway_operators::view::refill::{CommittedRow, CommittedRows, Put};
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

/// The files that one worker reads: every nth.
pub struct WorkerFacts {
    /// The lake.
    pub store: Arc<dyn Store>,
    /// All of them.
    pub files: Arc<Vec<FactFile>>,
    /// The next one of this worker.
    pub next: usize,
    /// How many workers share them.
    pub workers: usize,
    /// Where failures are reported.
    pub control: Control,
}

impl CommittedRows for WorkerFacts {
    fn next(&mut self, put: Put<'_>) -> bool {
        let Some(file) = self.files.get(self.next) else { return false };
        self.next += self.workers;
        match read(self.store.as_ref(), file, put) {
            Ok(()) => true,
            Err(error) => {
                self.control.fail(error.into());
                false
            }
        }
    }
}

/// The files with the facts that operators of `shape` which are new to the job of `head` begin with, from epoch `from` on: that
/// of a person, or the one that the manifest notes. None if no operator is new, or nothing was committed yet.
///
/// # Errors
/// The first file that is not there, or cannot be used.
pub fn wanted(
    site: &Site,
    shape: &Shape,
    head: Option<&Manifest>,
    from: Option<Epoch>,
) -> Result<Vec<FactFile>, CheckpointError> {
    let (Some(outputs), Some(head)) = (shape.refill, head) else { return Ok(Vec::new()) };
    if head.epoch == Epoch(0) || shape.keeps.iter().all(|keep| head.operators.contains_key(keep)) {
        return Ok(Vec::new());
    }
    site::run(async {
        let manifests = recover::all(site, &head.job).await?;
        let range = Range { until: head.seq, from: from.unwrap_or_else(|| refill::from(head)) };
        let files = refill::files(&manifests, outputs, range)?;
        // What the head names may have been killed before it was published: the claim publishes it, and looks again.
        let is_of_head = |path: &str| head.lake.iter().any(|file| file.path() == path);
        for FactFile { path, .. } in files.iter().filter(|file| !is_of_head(&file.path)) {
            if site.size(path).await?.is_none() {
                return Err(CheckpointError::FactsMissing { path: path.clone(), why: "it is not there" });
            }
        }
        tracing::info!(
            event = "views-refilled",
            files = files.len(),
            "views that are new begin with what was committed"
        );
        Ok(files)
    })
}

/// Gives each row of `file` to `put`.
///
/// # Errors
/// If the file is not there, is damaged, or has a row that `put` refuses.
pub fn read(store: &dyn Store, file: &FactFile, put: Put<'_>) -> Result<(), CheckpointError> {
    let FactFile { output, path, rows } = file;
    let Some(mut from) = store.open(path)? else {
        return Err(CheckpointError::FactsMissing { path: path.clone(), why: "it is not there" });
    };
    let invalid = |what: String| CheckpointError::Invalid { file: path.clone(), what };
    let mut found = 0;
    let mut each = |columns: &[String], cells: &[Cell<'_>]| {
        found += 1;
        put(&CommittedRow { output, columns, cells })
    };
    match Format::of_file(path) {
        Some(Format::CsvGz) => csv(&mut from, &mut each),
        Some(Format::NdjsonGz) => ndjson(&mut from, &mut each),
        Some(Format::Parquet) => parquet(&mut from, &mut each),
        None => Err("its name has the ending of no format".to_string()),
    }
    .map_err(invalid)?;
    if found == *rows { Ok(()) } else { Err(invalid(format!("it has {found} rows, not {rows}"))) }
}

/// What is done with the columns and the cells of each row.
type Each<'a> = &'a mut dyn FnMut(&[String], &[Cell<'_>]) -> Result<(), String>;

fn csv(file: &mut dyn Read, each: Each<'_>) -> Result<(), String> {
    let mut reader = csv::Reader::from_reader(MultiGzDecoder::new(file));
    let header = reader.headers().map_err(|error| error.to_string())?;
    let columns: Vec<String> = header.iter().map(str::to_string).collect();
    for row in reader.records() {
        let row = row.map_err(|error| error.to_string())?;
        let cells: Vec<Cell<'_>> = row.iter().map(Cell::Text).collect();
        each(&columns, &cells)?;
    }
    Ok(())
}

fn ndjson(file: &mut dyn Read, each: Each<'_>) -> Result<(), String> {
    for line in BufReader::new(MultiGzDecoder::new(file)).lines() {
        let line = line.map_err(|error| error.to_string())?;
        let row: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let (columns, values): (Vec<String>, Vec<serde_json::Value>) = row.into_iter().unzip();
        // A sum may be wider than any JSON number that is read as one: it is read as its digits.
        let texts: Vec<String> = values
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_string))
            .collect();
        let cells: Vec<Cell<'_>> = texts.iter().map(|text| Cell::Text(text)).collect();
        each(&columns, &cells)?;
    }
    Ok(())
}

#[cfg(feature = "parquet")]
fn parquet(file: &mut dyn Read, each: Each<'_>) -> Result<(), String> {
    use crate::connect::formats::parquet;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let (columns, _) = parquet::describe(bytes.clone()).map_err(|error| error.to_string())?;
    let columns: Vec<String> = columns.iter().map(|column| column.name.to_string()).collect();
    let mut result = Ok(());
    let mut row = |cells: &[Cell<'_>]| {
        if result.is_ok() {
            result = each(&columns, cells);
        }
    };
    parquet::read(bytes, &mut row).map_err(|error| error.to_string())?;
    result
}

#[cfg(not(feature = "parquet"))]
fn parquet(_file: &mut dyn Read, _each: Each<'_>) -> Result<(), String> {
    Err("this build of Headway reads no parquet".to_string())
}
