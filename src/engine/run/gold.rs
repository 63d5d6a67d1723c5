//! Gold tables: each view as one file, `gold/{pipeline}/{view}.parquet`, always whole, replaced in one step.
//!
//! 1. At most every [`GOLD_EVERY`], and when a run ends, each view that has changed since it was last written is written
//!    where no reader looks, and synced.
//! 2. The head of the manifests is read again: a run that was taken over publishes nothing.
//! 3. Each new file takes the place of the old one by a rename. A reader has the old file or the new one, never a part.
//!
//! Nobody else knows whether a table is up to date, so a run writes each of its tables once, however little has changed. The
//! file's metadata say of which commit it is: `headway.seq`, `headway.generation`, `headway.epoch`, `headway.watermark_ms`,
//! `headway.view_version`.

use crate::connect::formats::Encoder;
use crate::engine::commit::checkpoint::Committer;
use crate::engine::commit::error::CheckpointError;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names;
use crate::engine::run::views::{Counts, Views};
use crate::store::{self, Store};
use headway_operators::row::Rows;
use headway_operators::spec::{Format, OutputSpec, ViewSpec};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often tables are written at most.
pub const GOLD_EVERY: Duration = Duration::from_secs(60);

/// Writes the gold tables of a run.
pub struct Gold {
    /// The lake.
    pub store: Arc<dyn Store>,
    /// The pipeline, whose name is the folder's.
    pub pipeline: String,
    /// What is written.
    pub views: Arc<Views>,
    written: Vec<Option<u64>>,
    /// How long each was written, all times together.
    took: Vec<Duration>,
    last: Instant,
}

/// What a run did to a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewOutcome {
    /// Its name.
    pub name: &'static str,
    /// Its rows, and how many came or went.
    pub counts: Counts,
    /// How long its table was written.
    pub took: Duration,
}

impl Gold {
    /// The tables of `views`, none of which this run has written.
    pub fn new(store: Arc<dyn Store>, pipeline: &str, views: Arc<Views>) -> Gold {
        let written = vec![None; views.specs().len()];
        let took = vec![Duration::ZERO; views.specs().len()];
        Gold { store, pipeline: pipeline.to_string(), views, written, took, last: Instant::now() }
    }

    /// What the run did to each view, in the order they were built.
    pub fn outcomes(&self) -> Vec<ViewOutcome> {
        let of = |(view, spec): (usize, &ViewSpec)| ViewOutcome {
            name: spec.name,
            counts: self.views.counts(view),
            took: self.took[view],
        };
        self.views.specs().iter().enumerate().map(of).collect()
    }

    /// Writes what has changed, if it is time.
    ///
    /// # Errors
    /// If a table could not be written, or this run was taken over.
    pub fn turn(&mut self, committer: &mut Committer) -> Result<(), CheckpointError> {
        if self.last.elapsed() < GOLD_EVERY || !self.views.is_current() {
            return Ok(());
        }
        self.write(committer)
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// As [`Gold::turn`].
    pub fn write(&mut self, committer: &mut Committer) -> Result<(), CheckpointError> {
        self.last = Instant::now();
        // 1. Where no reader looks.
        let mut staged = Vec::new();
        for (view, spec) in self.views.specs().iter().enumerate() {
            let is_written = self.written[view] == Some(self.views.version(view));
            if !is_written {
                let begin = Instant::now();
                let (rows, version) = self.views.rows(view);
                let output = output(&self.pipeline, spec);
                let from = names::staged_gold(&committer.head().job, committer.head().generation, spec.name);
                let mut file = self.store.stage(&from)?;
                let failed =
                    |source| store::Error::Failed { verb: "write", name: self.store.describe(&from), source };
                write(&rows, &output, notes(committer.head(), spec), &mut file).map_err(failed)?;
                file.finish()?;
                self.took[view] += begin.elapsed();
                staged.push((view, version, from, path(&self.pipeline, spec.name)));
            }
        }
        if staged.is_empty() {
            return Ok(());
        }
        // 2. Is it still ours to publish?
        committer.heartbeat()?;
        // 3. In the place of what was there.
        let folder = folder(&self.pipeline);
        for (view, version, from, to) in staged {
            self.store.replace(&from, &to)?;
            self.written[view] = Some(version);
        }
        self.store.sync_folder(&folder)?;
        Ok(())
    }
}

/// The format of gold tables in this build.
pub const FORMAT: Format = if cfg!(feature = "parquet") { Format::Parquet } else { Format::CsvGz };

/// The folder of the tables of `pipeline`, with the final `/`.
pub fn folder(pipeline: &str) -> String {
    format!("{}{pipeline}/", names::GOLD_FOLDER)
}

/// The file of a table.
pub fn path(pipeline: &str, view: &str) -> String {
    format!("{}{view}.{}", folder(pipeline), FORMAT.name())
}

/// The table as an encoder knows it.
fn output(pipeline: &str, spec: &ViewSpec) -> OutputSpec {
    OutputSpec {
        name: spec.name.to_string(),
        prefix: folder(pipeline).trim_end_matches('/').to_string(),
        stem: spec.name.into(),
        format: FORMAT,
        columns: spec.columns.clone(),
        folders: None,
    }
}

/// What the metadata of a table say.
fn notes(head: &Manifest, spec: &ViewSpec) -> Vec<(String, String)> {
    let watermark = head.inputs.iter().map(|input| input.watermark).min().unwrap_or_default();
    let notes = [
        ("seq", head.seq.to_string()),
        ("generation", head.generation.to_string()),
        ("epoch", head.epoch.to_string()),
        ("watermark_ms", watermark.to_string()),
        ("view_version", spec.version.to_string()),
    ];
    notes.map(|(name, value)| (format!("headway.{name}"), value)).to_vec()
}

#[cfg(feature = "parquet")]
fn write(
    rows: &dyn Rows,
    output: &OutputSpec,
    notes: Vec<(String, String)>,
    file: &mut (dyn io::Write + Send),
) -> io::Result<()> {
    crate::connect::formats::parquet::Parquet { notes }.write(rows, output, file)
}

#[cfg(not(feature = "parquet"))]
fn write(
    rows: &dyn Rows,
    output: &OutputSpec,
    _notes: Vec<(String, String)>,
    file: &mut (dyn io::Write + Send),
) -> io::Result<()> {
    crate::connect::formats::csv_gz::Options::default().write(rows, output, file)
}
