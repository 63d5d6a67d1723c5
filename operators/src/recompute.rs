//! Recomputes the views of a pipeline from what its job has committed: the slow way that checks the fast one.
//!
//! A [`Recompute`] is made for each check. It is given the committed facts, all at once and in any order, and says what
//! each view must hold. It shares no operator with the dataflow, so one mistake does not hide another.

use crate::error::StateError;
use crate::state::Saved;
use crate::time::Watermark;
use crate::view::refill::{CommittedRow, Refill};
use crate::view::row::ViewRow;
use std::collections::BTreeMap;

/// Where the facts of a pipeline are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facts {
    /// In the files of these outputs, which are append-only.
    Rows(Refill),
    /// In the saved state of this operator.
    State(&'static str),
    /// In the rows of these outputs as of the last commit: those of files, and those of files that are still open, which are saved
    /// state. How many of them an earlier commit had is not known.
    Outputs(&'static [&'static str]),
}

/// What each view must hold, by its name; the rows are in no order.
pub type Tables = BTreeMap<&'static str, Vec<ViewRow>>;

/// A row of an output: its cells as [`Cell`](crate::row::Cell) writes them, in the order of its columns; `None` for no value.
pub type OutputRow = Vec<Option<String>>;

/// The rows that outputs must have, by the name of the output, in no order; `None` for an output whose rows do not follow from the
/// facts.
pub type OutputRows = BTreeMap<String, Option<Vec<OutputRow>>>;

/// Makes the views of a pipeline from facts, slowly.
pub trait Recompute {
    /// Where the facts are.
    fn facts(&self) -> Facts;

    /// Takes a row of the outputs that have the facts.
    ///
    /// # Errors
    /// If it is no such row.
    ///
    /// # Panics
    /// If the facts are state.
    fn row(&mut self, _row: &CommittedRow<'_>) -> Result<(), String> {
        panic!("the facts are the state of an operator, not rows");
    }

    /// Takes the sections of the operator that has the facts, those of a shard in the order base, merged change, changes.
    ///
    /// # Errors
    /// If the sections are not what the operator writes.
    ///
    /// # Panics
    /// If the facts are rows.
    fn state(&mut self, _saved: &[Saved]) -> Result<(), StateError> {
        panic!("the facts are rows, not the state of an operator");
    }

    /// Takes the watermark of an input as of the last commit. Called for each input before [`Recompute::tables`] where the facts
    /// are [`Facts::Outputs`].
    fn watermark(&mut self, _input: &str, _watermark: Watermark) {}

    /// What the views must hold.
    fn tables(&self) -> Tables;

    /// What outputs must hold whose rows are made of the facts, once and for ever: the rows that have left as of the last commit,
    /// those in open files included. Called only where the facts are [`Facts::Outputs`].
    fn outputs(&self) -> OutputRows {
        OutputRows::new()
    }
}
