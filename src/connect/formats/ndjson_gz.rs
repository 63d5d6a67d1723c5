//! gzipped newline-delimited JSON: one object a row, its names in the order of the columns.
//!
//! Numbers are written with all their digits, however wide. Readers must parse exact integers.

use crate::connect::formats::csv_gz::LEVEL;
use crate::connect::formats::{Encoder, Files};
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use headway_operators::row::{Cell, Rows};
use headway_operators::spec::{Format, OutputSpec};
use std::io::{self, Read, Write};

/// This format.
pub struct NdjsonGz;

impl Encoder for NdjsonGz {
    fn extension(&self) -> &'static str {
        Format::NdjsonGz.name()
    }

    fn write(&self, rows: &dyn Rows, output: &OutputSpec, out: &mut (dyn Write + Send)) -> io::Result<()> {
        write(rows, output, out)
    }

    fn count_rows(&self, file: Box<dyn Read>) -> io::Result<u64> {
        copy(MultiGzDecoder::new(file), &mut io::sink())
    }

    fn merge(&self, files: Files<'_>, out: &mut (dyn Write + Send)) -> io::Result<u64> {
        let (mut gz, mut rows) = (GzBuilder::new().mtime(0).write(out, Compression::new(LEVEL)), 0);
        for file in files {
            rows += copy(MultiGzDecoder::new(file?), &mut gz)?;
        }
        gz.finish()?.flush()?;
        Ok(rows)
    }
}

/// Copies lines; how many there are.
fn copy(mut lines: impl Read, out: &mut dyn Write) -> io::Result<u64> {
    let (mut rows, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let read = lines.read(&mut buffer)?;
        if read == 0 {
            return Ok(rows);
        }
        out.write_all(&buffer[..read])?;
        rows += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}

/// Writes `rows` as one gzip member to `out`. Equal rows give equal bytes.
///
/// # Errors
/// What `out` answers; and if a row has not as many cells as `output` has columns.
pub fn write(rows: &dyn Rows, output: &OutputSpec, out: impl Write) -> io::Result<()> {
    let mut gz = GzBuilder::new().mtime(0).write(out, Compression::new(LEVEL));
    // `{"first":`, `,"second":`, …
    let mut names = Vec::with_capacity(output.columns.len());
    for (number, column) in output.columns.iter().enumerate() {
        let mut name = vec![if number == 0 { b'{' } else { b',' }];
        serde_json::to_writer(&mut name, &column.name)?;
        name.push(b':');
        names.push(name);
    }
    let mut line = Vec::new();
    for row in 0..rows.len() {
        line.clear();
        let (mut cells, mut result) = (0, Ok(()));
        rows.cells(row, &mut |cell| {
            if let (Some(name), Ok(())) = (names.get(cells), &result) {
                line.extend_from_slice(name);
                result = value(&mut line, cell);
            }
            cells += 1;
        });
        result?;
        if cells != names.len() {
            let what = format!("row {row} has {cells} cells for {} columns", names.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        line.extend_from_slice(if names.is_empty() { b"{}\n" } else { b"}\n" });
        gz.write_all(&line)?;
    }
    // `finish`, not drop: a dropped encoder throws its error away.
    gz.finish()?.flush()
}

/// Adds a value to an object. What JSON has no number for (`NaN`, infinity) is `null`.
fn value(line: &mut Vec<u8>, cell: Cell<'_>) -> io::Result<()> {
    match cell {
        Cell::Text(text) => serde_json::to_writer(line, text)?,
        Cell::Int(value) => write!(line, "{value}")?,
        Cell::Wide(value) => write!(line, "{value}")?,
        Cell::Float(value) => serde_json::to_writer(line, &value)?,
        Cell::Bool(value) => write!(line, "{value}")?,
        Cell::Time(value) => write!(line, "{value}")?,
        Cell::Null => line.extend_from_slice(b"null"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::formats::any_rows::{AnyRow, Value, output, python, rows};
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;

    fn encoded(rows: &dyn Rows, columns: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(rows, &output(columns), &mut bytes).unwrap();
        bytes
    }

    /// A value as the test's Python script prints it.
    fn shown(value: &Value) -> String {
        match value {
            Value::Null => "None".into(),
            Value::Text(text) => {
                format!("str {}", text.bytes().map(|b| format!("{b:02x}")).collect::<String>())
            }
            Value::Int(n) | Value::Time(n) => format!("int {n}"),
            Value::Wide(n) => format!("int {n}"),
            Value::Float(x) if x.is_finite() => format!("float {:016x}", x.to_bits()),
            Value::Float(_) => "None".into(),
            Value::Bool(b) => format!("bool {b}"),
        }
    }

    #[test]
    fn row_is_an_object_in_the_order_of_the_columns() {
        let wide = i128::from(u64::MAX) * 10;
        let rows = vec![AnyRow(vec![Value::Text("a\"b\n".into()), Value::Wide(-wide), Value::Null])];
        let bytes = encoded(&rows, 3);
        let mut text = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut text).unwrap();
        assert_eq!(text, format!("{{\"c0\":\"a\\\"b\\n\",\"c1\":-{wide},\"c2\":null}}\n"));
        assert_eq!(bytes[4..8], [0; 4], "no time of day in the file");
    }

    #[test]
    fn python_reads_what_was_written() {
        let script = "import gzip,json,struct,sys\n\
            def show(v):\n\
            \x20 if v is None: return 'None'\n\
            \x20 if isinstance(v, bool): return 'bool ' + str(v).lower()\n\
            \x20 if isinstance(v, int): return f'int {v}'\n\
            \x20 if isinstance(v, float): return 'float ' + struct.pack('>d', v).hex()\n\
            \x20 return 'str ' + v.encode('utf-8').hex()\n\
            text = gzip.decompress(sys.stdin.buffer.read()).decode('utf-8')\n\
            lines = [json.loads(l, object_pairs_hook=list) for l in text.split('\\n')[:-1]]\n\
            json.dump([[[k, show(v)] for k, v in l] for l in lines], sys.stdout)";
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let drawn = prop::collection::vec(rows(4), 300).new_tree(&mut runner).unwrap().current();
        let Some(said) = python(script, &encoded(&drawn, 4)) else { return };
        let read: Vec<Vec<(String, String)>> = serde_json::from_slice(&said).unwrap();
        let named = |row: &AnyRow| {
            (0..).zip(&row.0).map(|(n, value): (u32, _)| (format!("c{n}"), shown(value))).collect::<Vec<_>>()
        };
        assert_eq!(read, drawn.iter().map(named).collect::<Vec<_>>());
    }

    #[test]
    fn row_that_does_not_fit_its_columns_is_an_error() {
        for cells in [1, 3] {
            let rows = vec![AnyRow(vec![Value::Null; cells])];
            assert!(write(&rows, &output(2), Vec::new()).is_err());
        }
    }
}
