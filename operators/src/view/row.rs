//! The rows of a view as they leave the dataflow: values with an order, without a type of their own.

use crate::row::{self, Cell};
use crate::time::EventTime;
use crate::view::text::Text;
use serde::{Deserialize, Serialize};

/// A value of a row. There are no floating point numbers: a view holds exact sums, and whoever reads it divides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// An exact sum.
    Wide(i128),
    /// UTF-8 text.
    Text(Text),
    /// An instant.
    Time(EventTime),
}

/// A row of a view; its first values are its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ViewRow(pub Vec<Value>);

impl ViewRow {
    /// The text in column `column`; `None` if it has none.
    pub fn text(&self, column: usize) -> Option<&Text> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// The number of the first table of day files, where an update names one: smaller numbers are views. See
/// [`crate::build::Build::day_files`].
pub const FIRST_DAY_FILES: u16 = 1 << 15;

/// A change of a view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ViewUpdate {
    /// The number of the view, in the order they were built; from [`FIRST_DAY_FILES`] on that of a table of day files.
    pub view: u16,
    /// The row.
    pub row: ViewRow,
    /// How many copies came, or went.
    pub diff: i64,
}

impl From<&Text> for Value {
    fn from(text: &Text) -> Value {
        Value::Text(text.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<i128> for Value {
    fn from(sum: i128) -> Value {
        Value::Wide(sum)
    }
}

impl From<EventTime> for Value {
    fn from(time: EventTime) -> Value {
        Value::Time(time)
    }
}

impl Value {
    /// The value as a cell.
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Value::Null => Cell::Null,
            Value::Bool(value) => Cell::Bool(*value),
            Value::Int(number) => Cell::Int(*number),
            Value::Wide(sum) => Cell::Wide(*sum),
            Value::Text(text) => Cell::Text(text),
            Value::Time(time) => Cell::Time(*time),
        }
    }
}

impl row::Row for ViewRow {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        self.0.iter().for_each(|value| put(value.cell()));
    }

    /// The first instant in it; the least there is where it has none.
    fn time(&self) -> EventTime {
        let instant = |value: &Value| match value {
            Value::Time(time) => Some(*time),
            _ => None,
        };
        self.0.iter().find_map(instant).unwrap_or(EventTime::MIN)
    }
}
