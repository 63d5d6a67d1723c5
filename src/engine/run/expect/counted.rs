//! How many rows break a rule, kept up to date by the changes of rows.

use headway_operators::view::row::Value;
use std::collections::BTreeMap;

/// A number of rows. Within an epoch a row may go before it comes: only when the epoch is complete it is not negative.
pub(super) type Rows = i64;

/// The values that occur, and how often: for `unique`.
///
/// It holds each value once. Memory grows with the rows of the view.
#[derive(Debug, Default)]
pub(super) struct Occurrences {
    rows: BTreeMap<Vec<Value>, Rows>,
    failures: Rows,
}

impl Occurrences {
    /// All rows of a value that more than one row has break the rule.
    fn failing(rows: Rows) -> Rows {
        if rows > 1 { rows } else { 0 }
    }

    /// Takes `diff` copies of a row with `values`.
    pub(super) fn update(&mut self, values: Vec<Value>, diff: Rows) {
        let before = self.rows.get(&values).copied().unwrap_or_default();
        let now = before + diff;
        self.failures += Occurrences::failing(now) - Occurrences::failing(before);
        if now == 0 {
            self.rows.remove(&values);
        } else {
            self.rows.insert(values, now);
        }
    }

    pub(super) fn failures(&self) -> Rows {
        self.failures
    }

    /// True if a row with `values` breaks the rule.
    pub(super) fn breaks(&self, values: &[Value]) -> bool {
        self.rows.get(values).is_some_and(|rows| *rows > 1)
    }
}

/// The values that rows refer to: for `relationships`.
///
/// It holds each value of either view once. Memory grows with the rows of both.
#[derive(Debug, Default)]
pub(super) struct References {
    values: BTreeMap<Vec<Value>, Reference>,
    failures: Rows,
}

/// How many rows have a value, on each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reference {
    /// Rows that refer to it.
    from: Rows,
    /// Rows of the other view that have it.
    to: Rows,
}

impl Reference {
    /// All rows that refer to a value that no row has break the rule.
    fn failing(self) -> Rows {
        if self.to > 0 { 0 } else { self.from }
    }
}

/// On which side of a relationship a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It refers to another row.
    From,
    /// Other rows refer to it.
    To,
}

impl References {
    /// Takes `diff` copies of a row that has `values` on side `side`.
    pub(super) fn update(&mut self, values: Vec<Value>, side: Side, diff: Rows) {
        let before = self.values.get(&values).copied().unwrap_or_default();
        let mut now = before;
        match side {
            Side::From => now.from += diff,
            Side::To => now.to += diff,
        }
        self.failures += now.failing() - before.failing();
        if now == Reference::default() {
            self.values.remove(&values);
        } else {
            self.values.insert(values, now);
        }
    }

    pub(super) fn failures(&self) -> Rows {
        self.failures
    }

    /// True if a row that refers to `values` breaks the rule.
    pub(super) fn breaks(&self, values: &[Value]) -> bool {
        self.values.get(values).is_some_and(|reference| reference.to <= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: i64) -> Vec<Value> {
        vec![Value::Int(number)]
    }

    #[test]
    fn a_value_that_occurs_once_again_breaks_nothing_any_more() {
        let mut seen = Occurrences::default();
        seen.update(value(1), 1);
        assert_eq!(seen.failures(), 0);
        seen.update(value(1), 2);
        assert_eq!((seen.failures(), seen.breaks(&value(1))), (3, true), "all rows of the value");
        seen.update(value(1), -2);
        assert_eq!((seen.failures(), seen.breaks(&value(1))), (0, false));
        // A row may go before it comes.
        seen.update(value(2), -1);
        seen.update(value(2), 1);
        seen.update(value(1), -1);
        assert!(seen.failures() == 0 && seen.rows.is_empty());
    }

    #[test]
    fn rows_refer_to_nothing_until_the_other_row_is_there() {
        let mut seen = References::default();
        seen.update(value(7), Side::From, 1);
        seen.update(value(7), Side::From, 1);
        assert_eq!((seen.failures(), seen.breaks(&value(7))), (2, true));
        seen.update(value(7), Side::To, 1);
        assert_eq!((seen.failures(), seen.breaks(&value(7))), (0, false));
        seen.update(value(7), Side::To, -1);
        seen.update(value(7), Side::From, -1);
        assert_eq!(seen.failures(), 1);
        seen.update(value(7), Side::From, -1);
        assert!(seen.failures() == 0 && seen.values.is_empty());
    }
}
