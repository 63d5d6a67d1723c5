//! Reads committed facts for operators of views that are new to a job, and for days that are unsealed, whatever format they were
//! written in.

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
use headway_operators::state::Saved;
use headway_operators::stream::roll::open_rows;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::refill::{CommittedRow, CommittedRows, Put, Refill};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

/// The committed facts that operators begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Some view is new to the job, and the files are all of its past. Otherwise they are those of unsealed days.
    pub is_of_new_views: bool,
    /// The facts of each output that has some.
    pub parts: Vec<Part>,
}

/// The committed facts of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The files with facts.
    pub files: Vec<FactFile>,
    /// The output whose files may be open: their rows are state of its roll.
    pub output: String,
    /// Its columns.
    pub columns: Vec<String>,
}

/// What one worker reads: every nth file, and the rows of open files in its shards.
pub struct WorkerFacts {
    /// The lake.
    pub store: Arc<dyn Store>,
    /// All facts.
    pub past: Arc<Past>,
    /// The number of the part that is read.
    pub part: usize,
    /// The next file of this worker.
    pub next: usize,
    /// How many workers share the files.
    pub workers: usize,
    /// The state of the roll in the shards of this worker, until it was read.
    pub open: Option<Vec<Saved>>,
    /// Where failures are reported.
    pub control: Control,
}

impl CommittedRows for WorkerFacts {
    fn next(&mut self, put: Put<'_>) -> bool {
        let part = &self.past.parts[self.part];
        let given = match part.files.get(self.next) {
            Some(file) => {
                self.next += self.workers;
                read(self.store.as_ref(), file, put)
            }
            None => match self.open.take() {
                Some(open) => part.open_rows(open, put),
                None => return false,
            },
        };
        match given {
            Ok(()) => true,
            Err(error) => {
                self.control.fail(error.into());
                false
            }
        }
    }
}

impl Past {
    /// How many files have facts.
    pub fn files(&self) -> usize {
        self.parts.iter().map(|part| part.files.len()).sum()
    }
}

impl Part {
    /// Gives each row of the open files in `open` to `put`.
    fn open_rows(&self, open: Vec<Saved>, put: Put<'_>) -> Result<(), CheckpointError> {
        let Part { output, columns, .. } = self;
        let mut row = |cells: &[Cell<'_>]| put(&CommittedRow { output, columns, cells });
        open_rows(output, open, &mut row)
            .map_err(CheckpointError::State)?
            .map_err(|what| CheckpointError::Invalid { file: format!("the open files of {output}"), what })
    }
}

/// What a start asks of committed facts.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The first epoch whose facts new views begin with, if a person lets them start late.
    pub from: Option<Epoch>,
    /// The first instants of the days that a person unseals.
    pub unsealed: &'a [EventTime],
}

/// True if the job of `head` has committed something, and has not the state of some operator of views of `shape`: the operator is new,
/// or another version of it saved the state.
pub fn is_some_view_new(shape: &Shape, head: &Manifest) -> bool {
    let is_known = |keep: &String| {
        let now = shape.operators.iter().find(|known| known.name == *keep);
        let saved = head.operators.get(keep);
        saved.is_some_and(|saved| now.is_some_and(|now| now.version == saved.version))
    };
    !shape.refills.is_empty() && head.epoch != Epoch(0) && !shape.keeps.iter().all(is_known)
}

/// The name of a day that is unsealed, which begins at `start`.
fn name_of(shape: &Shape, start: EventTime) -> String {
    let seals = shape.seals.as_ref().expect("only what is sealed is unsealed");
    seals.sealing.name_at(start).to_string()
}

/// The facts that a run of `shape` begins with, which goes on from `head`: all that count, from the epoch on that was asked for or that
/// the manifest notes, if an operator is new; else those in files that have facts of unsealed days; else `None`.
///
/// # Errors
/// The first file that is not there, or cannot be used; an unsealed day without facts.
pub fn wanted(
    site: &Site,
    shape: &Shape,
    head: Option<&Manifest>,
    asked: Asked<'_>,
) -> Result<Option<Past>, CheckpointError> {
    let Some(head) = head else { return Ok(None) };
    if shape.refills.is_empty() {
        let no_facts = |start: &EventTime| CheckpointError::NoFactsOfDay { day: name_of(shape, *start) };
        return asked.unsealed.first().map_or(Ok(None), |start| Err(no_facts(start)));
    }
    let is_new = is_some_view_new(shape, head);
    if !is_new && asked.unsealed.is_empty() {
        return Ok(None);
    }
    // What a person asks for is about views that are new: those that are there began where the manifest says.
    let from = asked.from.filter(|_| is_new).unwrap_or_else(|| refill::from(head));
    let parts = site::run(async {
        let manifests = recover::all(site, &head.job).await?;
        let mut parts = Vec::new();
        for (number, outputs) in shape.refills.iter().enumerate() {
            let spec = shape.outputs.iter().find(|output| output.name == outputs.facts);
            let spec = spec.expect("facts are the rows of an output of the pipeline");
            let stays_open = spec.folders.as_ref().is_some_and(|folders| folders.roll.age_ms > 0);
            if stays_open && from > Epoch(0) {
                let why = "a file has rows of several epochs, so views cannot begin with one of them";
                return Err(CheckpointError::FactsMissing { path: spec.prefix.clone(), why });
            }
            let range = Range { until: head.seq, from };
            let need =
                Need { outputs: *outputs, range, unsealed: asked.unsealed, must_have_days: number == 0 };
            let files = select(shape, &manifests, head, &need)?;
            there(site, head, &files).await?;
            let columns = spec.columns.iter().map(|column| column.name.to_string()).collect();
            parts.push(Part { files, output: spec.name.clone(), columns });
        }
        Ok::<_, CheckpointError>(parts)
    })?;
    Ok(Some(Past { is_of_new_views: is_new, parts }))
}

/// What a run needs of the facts of some outputs.
struct Need<'a> {
    outputs: Refill,
    range: Range,
    /// The first instants of the unsealed days.
    unsealed: &'a [EventTime],
    /// Each of these days must have facts there.
    must_have_days: bool,
}

/// The files with the facts that a run of `shape` begins with: those of an unsealed day are all there. `manifests` are all of the
/// job, the last one `head`.
fn select(
    shape: &Shape,
    manifests: &[Manifest],
    head: &Manifest,
    need: &Need<'_>,
) -> Result<Vec<FactFile>, CheckpointError> {
    let Need { outputs, range, unsealed, must_have_days } = *need;
    let mut files = Vec::new();
    for start in unsealed {
        let sealing = &shape.seals.as_ref().expect("only what is sealed is unsealed").sealing;
        let of_day = refill::files_of_days(manifests, outputs, range, &[sealing.day_at(*start)])?;
        if of_day.is_empty() && must_have_days {
            return Err(CheckpointError::NoFactsOfDay { day: name_of(shape, *start) });
        }
        files.extend(of_day);
    }
    if is_some_view_new(shape, head) {
        // These have those of the days.
        return refill::files(manifests, outputs, range);
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup();
    Ok(files)
}

/// Refuses a start if one of `files` is not there.
async fn there(site: &Site, head: &Manifest, files: &[FactFile]) -> Result<(), CheckpointError> {
    // What the head names may have been killed before it was published: the claim publishes it, and looks again.
    let is_of_head = |path: &str| head.lake.iter().any(|file| file.path() == path);
    for FactFile { path, .. } in files.iter().filter(|file| !is_of_head(&file.path)) {
        if site.size(path).await?.is_none() {
            return Err(CheckpointError::FactsMissing { path: path.clone(), why: "it is not there" });
        }
    }
    Ok(())
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
        // Numbers are their digits: a sum may be wider than any number of serde_json, and a fraction must not be rounded.
        let row: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let (columns, values): (Vec<String>, Vec<Box<RawValue>>) = row.into_iter().unzip();
        let texts: Result<Vec<Option<String>>, serde_json::Error> =
            values.iter().map(|value| text(value.get())).collect();
        let texts = texts.map_err(|error| error.to_string())?;
        let cells: Vec<Cell<'_>> =
            texts.iter().map(|text| text.as_deref().map_or(Cell::Null, Cell::Text)).collect();
        each(&columns, &cells)?;
    }
    Ok(())
}

/// The text of a value: without quotes where it has some. `None` for `null`.
fn text(json: &str) -> Result<Option<String>, serde_json::Error> {
    if json.starts_with('"') {
        serde_json::from_str(json).map(Some)
    } else {
        Ok((json != "null").then(|| json.to_string()))
    }
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
