//! The rules of a run: of views, by the numbers of views and of columns, and of the records of an input.

use crate::engine::format::manifest::Severity;
use headway_operators::rules::RecordRule;
use headway_operators::view::row::{Value, ViewRow};
use std::collections::BTreeSet;

/// Something that is expected of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name; unique in the job.
    pub name: String,
    /// The number of the view, in the order they were built.
    pub view: u16,
    /// The name of the view.
    pub view_name: String,
    /// The condition that its rows must meet.
    pub check: Check,
    /// What it expects in a few words, such as `unique (station, day)`.
    pub about: String,
    /// The columns by which a person finds a row: number and name of each.
    pub shown: Vec<(usize, String)>,
    /// What follows where it does not hold.
    pub severity: Severity,
}

/// Something that is expected of the records of an input. The source judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The number of the input.
    pub input: usize,
    /// The name of the input.
    pub input_name: String,
    /// The condition that each record must meet, and what becomes of one that does not.
    pub rule: RecordRule,
    /// What it expects in a few words.
    pub about: String,
    /// What follows where it does not hold.
    pub severity: Severity,
}

/// Columns by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(pub Vec<usize>);

/// What can be expected of the rows of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// No two rows have the same values in these columns. Rows in which one of them is null are left out.
    Unique(Columns),
    /// No row is null in one of these columns.
    NotNull(Columns),
    /// Each row has one of these values in this column, or null.
    AcceptedValues {
        /// The column.
        column: usize,
        /// The values.
        values: BTreeSet<Value>,
    },
    /// The values of these columns are those of a row of another view. Rows in which one of them is null are left out.
    Relationships {
        /// The columns.
        columns: Columns,
        /// The number of the other view.
        to: u16,
        /// Its columns.
        to_columns: Columns,
    },
    /// A closed day has about as many rows as the day before it. A day is closed once the view has a row of a later day.
    RowCountChange {
        /// The column with the day: a text such as `2024-01-31`, or an instant, whose day is that of UTC.
        day: usize,
        /// By how much the number of rows may differ, in millionths of that of the day before.
        max_ppm: u64,
    },
}

impl Columns {
    /// The values of `row` in these columns; `None` if one of them is null.
    pub(super) fn of(&self, row: &ViewRow) -> Option<Vec<Value>> {
        let values = self.0.iter().map(|column| &row.0[*column]);
        values.map(|value| (*value != Value::Null).then(|| value.clone())).collect()
    }

    /// True if `row` is null in one of these columns.
    pub(super) fn has_null(&self, row: &ViewRow) -> bool {
        self.0.iter().any(|column| row.0[*column] == Value::Null)
    }
}
