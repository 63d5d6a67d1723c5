//! A gold file: its rows, and what its metadata say of them.

use super::place::{self, FORMAT};
use crate::engine::format::manifest::Manifest;
use crate::engine::run::day_rows::Digest;
use crate::store::{Error, Store};
use headway_operators::row::Rows;
use headway_operators::spec::{OutputSpec, ViewSpec};
use headway_operators::view::row::ViewRow;
#[cfg(feature = "parquet")]
use std::collections::BTreeMap;
use std::io;

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The version of the view's rows.
    pub(super) version: u32,
    /// The rows.
    pub(super) digest: Digest,
}

/// What the metadata of the file at `path` say that it has; `None` if there is no such file, or it does not say.
#[cfg(feature = "parquet")]
pub(super) fn content(store: &dyn Store, path: &str) -> Result<Option<Content>, Error> {
    // A file that cannot be read as a table is none of ours: it is written anew.
    let Some(notes) = notes_in(store, path)? else { return Ok(None) };
    let version = notes.get("headway.view_version").and_then(|version| version.parse().ok());
    let digest = notes.get("headway.rows_xxh3").and_then(|digest| digest.parse().ok());
    Ok(version.zip(digest).map(|(version, digest)| Content { version, digest }))
}

/// The metadata of the file at `path`, of which only the end is read; `None` if there is no such file, or it is no table.
#[cfg(feature = "parquet")]
pub fn notes_in(store: &dyn Store, path: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
    let Some(size) = store.size(path)? else { return Ok(None) };
    let range = |from, to| match store.read_range(path, from, to) {
        Ok(bytes) => Ok(bytes.unwrap_or_default()),
        Err(error) => Err(io::Error::other(error)),
    };
    let notes = crate::connect::formats::parquet::notes(size, &range);
    Ok(notes.ok().map(|notes| notes.into_iter().collect()))
}

/// A file of this build has no metadata.
#[cfg(not(feature = "parquet"))]
pub(super) fn content(_store: &dyn Store, _path: &str) -> Result<Option<Content>, Error> {
    Ok(None)
}

/// The rows of the file at `path`.
#[cfg(feature = "parquet")]
pub(super) fn rows(store: &dyn Store, path: &str) -> io::Result<Vec<ViewRow>> {
    use headway_operators::row::Cell;
    use headway_operators::view::row::Value;
    use headway_operators::view::text::Text;
    use std::io::Read;
    let mut bytes = Vec::new();
    let Some(mut file) = store.open(path).map_err(io::Error::other)? else { return Ok(Vec::new()) };
    file.read_to_end(&mut bytes)?;
    let value = |cell: &Cell<'_>| match cell {
        Cell::Null => Ok(Value::Null),
        Cell::Bool(value) => Ok(Value::Bool(*value)),
        Cell::Int(number) => Ok(Value::Int(*number)),
        Cell::Wide(sum) => Ok(Value::Wide(*sum)),
        Cell::Text(text) => Ok(Value::Text(Text::from(*text))),
        Cell::Time(time) => Ok(Value::Time(*time)),
        Cell::Float(_) => Err(io::Error::other("a view has no floating point numbers")),
    };
    let mut rows = Ok(Vec::new());
    let mut row = |cells: &[Cell<'_>]| {
        if let Ok(known) = &mut rows {
            match cells.iter().map(value).collect() {
                Ok(values) => known.push(ViewRow(values)),
                Err(error) => rows = Err(error),
            }
        }
    };
    crate::connect::formats::parquet::read(bytes, &mut row)?;
    rows
}

/// This build writes no tables that it would have to read back.
#[cfg(not(feature = "parquet"))]
pub(super) fn rows(_store: &dyn Store, path: &str) -> io::Result<Vec<ViewRow>> {
    Err(io::Error::other(format!("this build of Headway does not read {path}")))
}

/// What the metadata of a file of table `spec` say, if it has `digest` as of `head`.
pub(super) fn notes(head: &Manifest, spec: &ViewSpec, digest: Digest) -> Vec<(String, String)> {
    let watermark = head.inputs.iter().map(|input| input.watermark).min().unwrap_or_default();
    let notes = [
        ("seq", head.seq.to_string()),
        ("generation", head.generation.to_string()),
        ("epoch", head.epoch.to_string()),
        ("watermark_ms", watermark.to_string()),
        ("view_version", spec.version.to_string()),
        ("rows_xxh3", digest.to_string()),
    ];
    notes.map(|(name, value)| (format!("headway.{name}"), value)).to_vec()
}

/// Table `spec` of `pipeline` as an encoder knows it.
pub(super) fn output(pipeline: &str, spec: &ViewSpec) -> OutputSpec {
    OutputSpec {
        name: spec.name.to_string(),
        prefix: place::folder(pipeline).trim_end_matches('/').to_string(),
        stem: spec.name.into(),
        format: FORMAT,
        columns: spec.columns.clone(),
        folders: None,
    }
}

/// Writes `rows` of a table to `file`, with `notes` in its metadata.
#[cfg(feature = "parquet")]
pub(super) fn write(
    rows: &dyn Rows,
    output: &OutputSpec,
    notes: Vec<(String, String)>,
    file: &mut (dyn io::Write + Send),
) -> io::Result<()> {
    use crate::connect::formats::Encoder;
    crate::connect::formats::parquet::Parquet { notes }.write(rows, output, file)
}

/// Writes `rows` of a table to `file`. A file of this build has no metadata.
#[cfg(not(feature = "parquet"))]
pub(super) fn write(
    rows: &dyn Rows,
    output: &OutputSpec,
    _notes: Vec<(String, String)>,
    file: &mut (dyn io::Write + Send),
) -> io::Result<()> {
    use crate::connect::formats::Encoder;
    crate::connect::formats::csv_gz::Options::default().write(rows, output, file)
}
