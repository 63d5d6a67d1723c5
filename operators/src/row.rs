//! What leaves a pipeline: rows of named columns, without saying in which file format.

use crate::time::{Epoch, EventTime};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A 64-bit integer.
    Int,
    /// An exact integer wider than 64 bits.
    Wide,
    /// A binary floating point number: only ever a copy of an input or a final division, never a sum.
    Float,
    /// True or false.
    Bool,
    /// An instant, in milliseconds UTC.
    Time,
}

/// A column of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its type.
    pub kind: Kind,
}

impl Column {
    /// A column of `kind`.
    pub const fn new(name: &'static str, kind: Kind) -> Column {
        Column { name: Cow::Borrowed(name), kind }
    }
}

/// One value of a row, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// UTF-8 text.
    Text(&'a str),
    /// A 64-bit integer.
    Int(i64),
    /// An exact integer wider than 64 bits.
    Wide(i128),
    /// A binary floating point number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// An instant.
    Time(EventTime),
}

/// The value as text, without quotes; no value is no text.
impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => Ok(()),
            Cell::Text(text) => f.write_str(text),
            Cell::Int(value) => value.fmt(f),
            Cell::Wide(value) => value.fmt(f),
            Cell::Float(value) => value.fmt(f),
            Cell::Bool(value) => value.fmt(f),
            Cell::Time(time) => time.fmt(f),
        }
    }
}

/// One row of an output. Gives its cells in the order of the output's columns.
pub trait Row: Clone + Send + Sync + 'static {
    /// Calls `put` once for each column, in order.
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>));

    /// The row's event time; for a window, its end.
    fn time(&self) -> EventTime;

    /// The first epoch whose records may be in the row, which leaves in `epoch`.
    fn since(&self, epoch: Epoch) -> Epoch {
        epoch
    }
}

impl<R: Row> Row for Arc<R> {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        R::cells(self, put);
    }

    fn time(&self) -> EventTime {
        R::time(self)
    }

    fn since(&self, epoch: Epoch) -> Epoch {
        R::since(self, epoch)
    }
}

/// The rows of one epoch, type erased, on their way to a sink's thread.
pub trait Rows: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `put` once for each column of row `row`, in order.
    ///
    /// # Panics
    /// If there is no such row.
    fn cells(&self, row: usize, put: &mut dyn FnMut(Cell<'_>));

    /// The event time that row `row` stands for.
    ///
    /// # Panics
    /// If there is no such row.
    fn time(&self, row: usize) -> EventTime;

    /// Least and greatest event time of the rows.
    fn event_time(&self) -> Option<(EventTime, EventTime)>;
}

impl<R: Row> Rows for Vec<R> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn cells(&self, row: usize, put: &mut dyn FnMut(Cell<'_>)) {
        self[row].cells(put);
    }

    fn time(&self, row: usize) -> EventTime {
        self[row].time()
    }

    fn event_time(&self) -> Option<(EventTime, EventTime)> {
        let least = self.iter().map(Row::time).min()?;
        let greatest = self.iter().map(Row::time).max()?;
        Some((least, greatest))
    }
}
