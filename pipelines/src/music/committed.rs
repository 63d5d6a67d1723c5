//! Reads the cells of committed rows, whatever format the rows were written in.

use headway_operators::row::Cell;
use headway_operators::view::refill::CommittedRow;

/// Reads rows of one job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    /// The rows are CSV, which has the same cell for a missing text and for an empty one: both are read as missing.
    pub(super) is_csv: bool,
}

impl Reader {
    /// The time of a row, in milliseconds.
    pub(super) fn ts(self, row: &CommittedRow<'_>) -> Result<i64, String> {
        self.whole(row, "ts")?.ok_or_else(|| "the row has no \"ts\"".to_string())
    }

    /// The cell of a column; `Null` where the rows have no such column, as `city` in the form "sparkify".
    fn cell<'a>(self, row: &CommittedRow<'a>, column: &str) -> Cell<'a> {
        match row.cell(column) {
            None => Cell::Null,
            Some(Cell::Text("")) if self.is_csv => Cell::Null,
            Some(cell) => cell,
        }
    }

    /// The text in a column.
    pub(super) fn text(self, row: &CommittedRow<'_>, column: &str) -> Result<Option<String>, String> {
        match self.cell(row, column) {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text.to_string())),
            other => Err(format!("column \"{column}\" has no text: {other:?}")),
        }
    }

    /// A whole number, or an instant in milliseconds.
    pub(super) fn whole(self, row: &CommittedRow<'_>, column: &str) -> Result<Option<i64>, String> {
        match self.cell(row, column) {
            Cell::Null => Ok(None),
            Cell::Int(number) => Ok(Some(number)),
            Cell::Time(time) => Ok(Some(time.ms())),
            Cell::Text(text) => text
                .parse()
                .map(Some)
                .map_err(|_| format!("column \"{column}\" has no whole number: \"{text}\"")),
            other => Err(format!("column \"{column}\" has no whole number: {other:?}")),
        }
    }

    /// The bits of a floating point number.
    pub(super) fn bits(self, row: &CommittedRow<'_>, column: &str) -> Result<Option<u64>, String> {
        match self.cell(row, column) {
            Cell::Null => Ok(None),
            Cell::Float(number) => Ok(Some(number.to_bits())),
            Cell::Text(text) => {
                let number: Result<f64, _> = text.parse();
                let bits = number.map(|number| Some(number.to_bits()));
                bits.map_err(|_| format!("column \"{column}\" has no number: \"{text}\""))
            }
            other => Err(format!("column \"{column}\" has no number: {other:?}")),
        }
    }
}
