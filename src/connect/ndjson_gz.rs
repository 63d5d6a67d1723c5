//! gzipped newline-delimited JSON: one object a row, its names in the order of the columns.

use crate::connect::csv_gz::LEVEL;
use flate2::{Compression, GzBuilder};
use headway_operators::pipeline::OutputSpec;
use headway_operators::row::{Cell, Rows};
use std::io::{self, Write};

/// Writes `rows` as one gzip member to `out`. Equal rows give equal bytes.
///
/// # Errors
/// What `out` answers.
pub fn write(rows: &dyn Rows, output: &OutputSpec, out: impl Write) -> io::Result<()> {
    let mut gz = GzBuilder::new().mtime(0).write(out, Compression::new(LEVEL));
    let mut line = Vec::new();
    for row in 0..rows.len() {
        line.clear();
        line.push(b'{');
        let (mut names, mut result) = (output.columns.iter(), Ok(()));
        rows.cells(row, &mut |cell| {
            let name = names.next().expect("a row has as many cells as there are columns");
            if result.is_ok() {
                result = member(&mut line, &name.name, cell);
            }
        });
        result?;
        line.extend_from_slice(b"}\n");
        gz.write_all(&line)?;
    }
    gz.finish()?.flush()
}

/// Adds `"name":value` to an object.
fn member(line: &mut Vec<u8>, name: &str, cell: Cell<'_>) -> io::Result<()> {
    if line.len() > 1 {
        line.push(b',');
    }
    serde_json::to_writer(&mut *line, name)?;
    line.push(b':');
    match cell {
        Cell::Text(text) => serde_json::to_writer(line, text)?,
        Cell::Int(value) => write!(line, "{value}")?,
        Cell::Wide(value) => write!(line, "{value}")?,
        Cell::Float(value) => serde_json::to_writer(line, &value)?,
        Cell::Bool(value) => write!(line, "{value}")?,
        Cell::Time(value) => write!(line, "{value}")?,
        _ => line.extend_from_slice(b"null"),
    }
    Ok(())
}
