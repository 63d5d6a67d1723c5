//! What the tables and outputs of a job must hold: a pipeline's [`Recompute`], given the committed facts.
//!
//! Facts in the files of one output are counted commit by commit, each once. Of facts in saved state, or in files that are still open,
//! only those of the last commit are known.

use crate::cli::lake::Job;
use crate::cli::terminal::failure::{Code, Failure};
use crate::engine::commit::refill::{self, Range};
use crate::engine::commit::restore::SavedState;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names::Seq;
use crate::engine::run::launch::shape;
use headway_operators::error::StateError;
use headway_operators::pipeline::Configured;
use headway_operators::recompute::{Facts, OutputRow, OutputRows, Recompute, Tables};
use headway_operators::row::{Cell, Column, Kind};
use headway_operators::spec::{Format, OutputSpec, roll_of};
use headway_operators::stream::roll::open_rows;
use headway_operators::view::refill::{CommittedRow, Put};
use std::collections::BTreeSet;

/// What the views must hold, by the facts that were read so far.
pub(in crate::cli) struct Slow<'a> {
    recompute: Box<dyn Recompute>,
    rows: Committed<'a>,
    /// The files with facts that were read.
    read: BTreeSet<String>,
    /// The last commit, where the facts are those of that one.
    head: Option<Manifest>,
}

/// The committed rows of a job.
struct Committed<'a> {
    job: &'a Job,
    manifests: Vec<Manifest>,
    /// The state of the last commit, if it was read: it has the rows of open files.
    saved: SavedState,
    outputs: Vec<OutputSpec>,
}

impl<'a> Slow<'a> {
    /// Reads the facts of `job`, whose pipeline is `made`, where only those of the last commit are known.
    ///
    /// # Errors
    /// Exit 2 if the pipeline recomputes nothing; exits 3 to 5 if the lake cannot be read or is damaged.
    pub(in crate::cli) fn of(job: &'a Job, made: &Configured) -> Result<Slow<'a>, Failure> {
        let Some(recompute) = made.pipeline.recompute() else {
            let what = format!("pipeline \"{}\" recomputes no view", made.pipeline.name());
            return Err(Failure::new(Code::ViewsNotVerifiable, what));
        };
        let facts = recompute.facts();
        let (head, saved) = match facts {
            Facts::Rows(_) => (None, SavedState::new()),
            Facts::State(_) | Facts::Outputs(_) => {
                let (head, saved) = job.state()?;
                (Some(head), saved)
            }
        };
        // After the state: a job that runs has made more manifests meanwhile, never fewer.
        let manifests = job.manifests()?;
        let rows = Committed { job, manifests, saved, outputs: shape(made.pipeline.as_ref())?.outputs };
        let mut slow = Slow { recompute, rows, read: BTreeSet::new(), head };
        match facts {
            Facts::Rows(_) => {}
            Facts::State(operator) => slow.read_state(operator)?,
            Facts::Outputs(outputs) => slow.read_outputs(outputs)?,
        }
        Ok(slow)
    }

    fn read_state(&mut self, operator: &str) -> Result<(), Failure> {
        let saved = self.rows.saved.remove(operator).unwrap_or_default();
        self.recompute.state(&saved).map_err(|error| unreadable(&error))
    }

    /// Reads all rows of `outputs`, and the watermarks of the last commit.
    fn read_outputs(&mut self, outputs: &[&'static str]) -> Result<(), Failure> {
        let head = self.head.as_ref().expect("the facts are those of the last commit");
        for output in outputs {
            self.rows.all(output, head.seq, &mut |row| self.recompute.row(row))?;
        }
        for input in &head.inputs {
            self.recompute.watermark(&input.name, input.watermark);
        }
        Ok(())
    }

    /// Of which commit the facts are that a table of commit `seq` is compared with.
    pub(in crate::cli) fn facts_of(&self, seq: u64) -> u64 {
        self.head.as_ref().map_or(seq, |head| head.seq.0)
    }

    /// True if `view` has changed after commit `seq`, and the facts are those of a later one.
    pub(in crate::cli) fn has_changed_since(&self, view: &str, seq: u64) -> bool {
        let changed = self.head.as_ref().and_then(|head| head.views.get(view)?.changed);
        changed.is_some_and(|changed| changed.0 > seq)
    }

    /// The views as of manifest `until`, which is no earlier one than the last time.
    ///
    /// # Errors
    /// Exits 3 to 5 if facts cannot be read or are damaged.
    pub(in crate::cli) fn tables(&mut self, until: Seq) -> Result<Tables, Failure> {
        if let Facts::Rows(outputs) = self.recompute.facts() {
            let from = refill::from(self.rows.manifests.last().expect("a job that has started"));
            for file in refill::files(&self.rows.manifests, outputs, Range { until, from })? {
                if self.read.insert(file.path.clone()) {
                    self.rows.job.facts(&file, &mut |row| self.recompute.row(row))?;
                }
            }
        }
        Ok(self.recompute.tables())
    }

    /// The rows that outputs must have as of the last commit.
    pub(in crate::cli) fn outputs(&self) -> OutputRows {
        match &self.head {
            Some(_) if matches!(self.recompute.facts(), Facts::Outputs(_)) => self.recompute.outputs(),
            _ => OutputRows::new(),
        }
    }

    /// The rows that an output has as of the last commit, written as those of [`Slow::outputs`].
    ///
    /// # Errors
    /// Exits 3 to 5 if they cannot be read or are damaged.
    pub(in crate::cli) fn found(&self, output: &str) -> Result<Vec<OutputRow>, Failure> {
        let until = self.head.as_ref().expect("the facts are those of the last commit").seq;
        let columns = &self.rows.spec(output).columns;
        let mut rows = Vec::new();
        self.rows.all(output, until, &mut |row| {
            rows.push(columns.iter().map(|column| text(row, column)).collect());
            Ok(())
        })?;
        Ok(rows)
    }

    /// `rows` of an output, as far as the format of its files tells them apart: CSV has one cell for no value and for an empty text.
    pub(in crate::cli) fn as_written(&self, output: &str, rows: Vec<OutputRow>) -> Vec<OutputRow> {
        if self.rows.spec(output).format != Format::CsvGz {
            return rows;
        }
        let cell = |cell: Option<String>| cell.filter(|text| !text.is_empty());
        rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect()
    }
}

impl Committed<'_> {
    fn spec(&self, output: &str) -> &OutputSpec {
        let spec = self.outputs.iter().find(|spec| spec.name == *output);
        spec.expect("a pipeline recomputes outputs that it has")
    }

    /// Gives all rows of `output` as of commit `until`, the last one, to `put`: those of its files, and those of its open files.
    fn all(&self, output: &str, until: Seq, put: Put<'_>) -> Result<(), Failure> {
        let spec = self.spec(output);
        for file in refill::rows_of(&self.manifests, output, until)? {
            self.job.facts(&file, put)?;
        }
        let columns: Vec<String> = spec.columns.iter().map(|column| column.name.to_string()).collect();
        let open = self.saved.get(&roll_of(output)).cloned().unwrap_or_default();
        let mut row = |cells: &[Cell<'_>]| put(&CommittedRow { output, columns: &columns, cells });
        open_rows(output, open, &mut row).map_err(|error| unreadable(&error))?.map_err(|what| {
            Failure::new(Code::StateUnreadable, format!("a row of an open file of \"{output}\": {what}"))
        })
    }
}

/// A cell as [`Cell`] writes it, whatever the format of the file: a floating point number has several forms in text.
fn text(row: &CommittedRow<'_>, column: &Column) -> Option<String> {
    match row.cell(&column.name)? {
        Cell::Null => None,
        Cell::Text("") if column.kind != Kind::Text => None,
        Cell::Text(text) if column.kind == Kind::Float => {
            Some(text.parse::<f64>().map_or_else(|_| text.to_string(), |number| number.to_string()))
        }
        cell => Some(cell.to_string()),
    }
}

fn unreadable(error: &StateError) -> Failure {
    Failure::new(Code::StateUnreadable, error.to_string())
}
