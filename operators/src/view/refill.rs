//! Adds what earlier runs have committed to a flow, so that a view which is new to a job begins with its past, and a day that a
//! person unseals comes back.
//!
//! # Input
//! A flow of facts, and the committed rows of the outputs that a [`Refill`] names, those of files that are still open too: all of them if
//! some operator of views is new; else those in files of unsealed days, if there are any.
//! # Output
//! The facts of the flow, and at the committed epoch those of the rows, each once.
//! # State
//! None. At the committed epoch, an operator with restored state discards the facts, but for those of unsealed days where it
//! keeps by day; an operator that is new starts from them.
//! # Progress
//! The committed epoch ends when all rows were read; a file is read in one step of the worker.
//! # Late and bad data
//! A row that makes no fact stops the job: a view that lacks it would be wrong for ever.
//! # Restart
//! Until an epoch is committed with the new operators the next start reads the rows again. Those of unsealed days are read at
//! each start that unseals them.
//! # Cost
//! Reads every committed fact, once in the life of a view; for an unsealed day the files that have rows of it. One file is in memory
//! on each worker.

use crate::flow::Flow;
use crate::row::Cell;
use crate::time::Epoch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::operator::source;

/// The outputs whose rows are the facts of a pipeline's views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// The output that is on whenever views are. It has [`crate::spec::OutputSpec::folders`].
    pub facts: &'static str,
    /// The output that has the same facts of epochs without views.
    pub before: Option<&'static str>,
    /// How long before a day those facts begin, in milliseconds, that the rows of the day are made of.
    pub back_ms: i64,
}

/// A committed row.
#[derive(Clone, Copy, Debug)]
pub struct CommittedRow<'a> {
    /// The output it belongs to.
    pub output: &'a str,
    /// The names of its columns.
    pub columns: &'a [String],
    /// Its cells. Formats without types have texts.
    pub cells: &'a [Cell<'a>],
}

impl<'a> CommittedRow<'a> {
    /// The cell of `column`; `None` if there is no such column.
    pub fn cell(&self, column: &str) -> Option<Cell<'a>> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.cells.get(at).copied()
    }

    /// The text in `column`.
    ///
    /// # Errors
    /// If there is none.
    pub fn text(&self, column: &str) -> Result<&'a str, String> {
        match self.cell(column) {
            Some(Cell::Text(text)) => Ok(text),
            other => Err(format!("column \"{column}\" has no text: {other:?}")),
        }
    }

    /// The whole number in `column`, which may be written as text.
    ///
    /// # Errors
    /// If there is none.
    pub fn number(&self, column: &str) -> Result<i128, String> {
        match self.cell(column) {
            Some(Cell::Wide(number)) => Ok(number),
            Some(Cell::Int(number)) => Ok(i128::from(number)),
            Some(Cell::Text(text)) => {
                text.parse().map_err(|_| format!("column \"{column}\" has no number: \"{text}\""))
            }
            other => Err(format!("column \"{column}\" has no number: {other:?}")),
        }
    }
}

/// What is done with each row.
pub type Put<'a> = &'a mut dyn FnMut(&CommittedRow<'_>) -> Result<(), String>;

/// The committed rows that one worker reads.
pub trait CommittedRows {
    /// Gives the rows of the next file to `put`; false if there is none. Where `put` refuses a row, the job is stopped.
    fn next(&mut self, put: Put<'_>) -> bool;
}

/// `flow`, and at epoch `committed` what `read` makes of `rows`.
pub(crate) fn refill<'s, R: Clone + 'static>(
    flow: Flow<'s, R>,
    committed: Epoch,
    rows: Option<Box<dyn CommittedRows>>,
    read: impl Fn(&CommittedRow<'_>) -> Result<Option<R>, String> + 'static,
) -> Flow<'s, R> {
    let scope = flow.records().scope();
    let past = source::<_, CapacityContainerBuilder<Vec<R>>, _, _>(scope, "Refill", |mut cap, info| {
        let activator = scope.activator_for(info.address);
        cap.downgrade(&committed);
        let mut open = rows.map(|rows| (cap, rows));
        move |output| {
            let Some((cap, rows)) = &mut open else { return };
            let mut facts = Vec::new();
            let more = rows.next(&mut |row| {
                facts.extend(read(row)?);
                Ok(())
            });
            output.session(&*cap).give_iterator(facts.into_iter());
            if more {
                activator.activate();
            } else {
                open = None;
            }
        }
    });
    let all = flow.records().concat(past);
    Flow { whole: None, ..flow.with(all) }
}
