//! gzipped CSV: a header row, LF, quotes only where they are needed, as Python's `csv` writes it.

use flate2::{Compression, GzBuilder};
use headway_operators::pipeline::OutputSpec;
use headway_operators::row::{Cell, Rows};
use std::io::{self, Write};

/// Compression level: nearly the ratio of 6 at twice its speed, with zlib-rs.
pub const LEVEL: u32 = 3;

/// How CSV files look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Puts an unnamed column of row numbers first, as pandas does.
    pub index: bool,
}

/// Writes `rows` as one gzip member to `out`. Equal rows give equal bytes.
///
/// # Errors
/// What `out` answers.
pub fn write(rows: &dyn Rows, output: &OutputSpec, options: Options, out: impl Write) -> io::Result<()> {
    let gz = GzBuilder::new().mtime(0).write(out, Compression::new(LEVEL));
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(gz);
    if options.index {
        csv.write_field("")?;
    }
    for column in &output.columns {
        csv.write_field(column.name.as_bytes())?;
    }
    csv.write_record(None::<&[u8]>)?;
    let mut number = String::new();
    for row in 0..rows.len() {
        if options.index {
            csv.write_field(row.to_string())?;
        }
        let mut result = Ok(());
        rows.cells(row, &mut |cell| {
            if result.is_ok() {
                result = csv.write_field(text(cell, &mut number));
            }
        });
        result?;
        csv.write_record(None::<&[u8]>)?;
    }
    let gz = csv.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    // `finish`, not drop: a dropped encoder throws its error away.
    gz.finish()?.flush()
}

/// A cell as text; `buffer` is used again and again.
fn text<'a>(cell: Cell<'a>, buffer: &'a mut String) -> &'a str {
    use std::fmt::Write;
    buffer.clear();
    let written = match cell {
        Cell::Text(text) => return text,
        Cell::Int(value) => write!(buffer, "{value}"),
        Cell::Wide(value) => write!(buffer, "{value}"),
        Cell::Float(value) => write!(buffer, "{value}"),
        Cell::Bool(value) => write!(buffer, "{value}"),
        Cell::Time(value) => write!(buffer, "{value}"),
        _ => return "",
    };
    written.expect("a string takes any text");
    buffer
}
