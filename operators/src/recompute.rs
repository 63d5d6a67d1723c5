//! Recomputes the views of a pipeline from what its job has committed: the slow way that checks the fast one.
//!
//! A [`Recompute`] is made for each check. It is given the committed facts, all at once and in any order, and says what
//! each view must hold. It shares no operator with the dataflow, so one mistake does not hide another.

use crate::error::StateError;
use crate::state::Saved;
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
}

/// What each view must hold, by its name; the rows are in no order.
pub type Tables = BTreeMap<&'static str, Vec<ViewRow>>;

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

    /// What the views must hold.
    fn tables(&self) -> Tables;
}
