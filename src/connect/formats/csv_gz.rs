//! gzipped CSV: a header row, LF, quotes only where they are needed, as Python's `csv` writes it.

use crate::connect::formats::{Encoder, Files};
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use headway_operators::row::{Cell, Rows};
use headway_operators::spec::{Format, OutputSpec};
use std::io::{self, Read, Write};

/// Compression level: nearly the ratio of 6 at twice its speed, with zlib-rs.
pub const LEVEL: u32 = 3;

/// How CSV files look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Puts an unnamed column of row numbers first, as pandas does.
    pub index: bool,
}

/// This format, with these options.
impl Encoder for Options {
    fn extension(&self) -> &'static str {
        Format::CsvGz.name()
    }

    fn write(&self, rows: &dyn Rows, output: &OutputSpec, out: &mut (dyn Write + Send)) -> io::Result<()> {
        write(rows, output, *self, out)
    }

    fn count_rows(&self, file: Box<dyn Read>) -> io::Result<u64> {
        let mut csv = csv::Reader::from_reader(MultiGzDecoder::new(file));
        let (mut rows, mut record) = (0, csv::ByteRecord::new());
        while csv.read_byte_record(&mut record).map_err(io::Error::other)? {
            rows += 1;
        }
        Ok(rows)
    }

    fn merge(&self, files: Files<'_>, out: &mut (dyn Write + Send)) -> io::Result<u64> {
        merge(files, out)
    }
}

/// Writes the rows of `files` below one header. A column of row numbers is counted anew.
fn merge(files: Files<'_>, out: impl Write) -> io::Result<u64> {
    let mut csv = writer(out);
    let (mut header, mut rows, mut record) = (None, 0_u64, csv::ByteRecord::new());
    for file in files {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(MultiGzDecoder::new(file?));
        let mut own = csv::ByteRecord::new();
        reader.read_byte_record(&mut own).map_err(cause)?;
        match &header {
            None => csv.write_byte_record(&own).map_err(cause)?,
            Some(first) if *first == own => {}
            Some(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the columns of two files differ"));
            }
        }
        let is_numbered = own.get(0).is_some_and(<[u8]>::is_empty);
        header.get_or_insert(own);
        while reader.read_byte_record(&mut record).map_err(cause)? {
            if is_numbered {
                csv.write_field(rows.to_string()).map_err(cause)?;
            }
            let fields = record.iter().skip(usize::from(is_numbered));
            csv.write_record(fields).map_err(cause)?;
            rows += 1;
        }
    }
    finish(csv)?;
    Ok(rows)
}

/// A writer of one gzip member: the same bytes at any time of day.
fn writer<W: Write>(out: W) -> csv::Writer<GzEncoder<W>> {
    let gz = GzBuilder::new().mtime(0).write(out, Compression::new(LEVEL));
    csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(gz)
}

fn finish<W: Write>(csv: csv::Writer<GzEncoder<W>>) -> io::Result<()> {
    let gz = csv.into_inner().map_err(|error| {
        let cause = error.error();
        io::Error::new(cause.kind(), cause.to_string())
    })?;
    // `finish`, not drop: a dropped encoder throws its error away.
    gz.finish()?.flush()
}

/// Writes `rows` as one gzip member to `out`. Equal rows give equal bytes.
///
/// # Errors
/// What `out` answers, of the same kind; and if a row has not as many cells as `output` has columns.
pub fn write(rows: &dyn Rows, output: &OutputSpec, options: Options, out: impl Write) -> io::Result<()> {
    let mut csv = writer(out);
    if options.index {
        csv.write_field("").map_err(cause)?;
    }
    for column in &output.columns {
        csv.write_field(column.name.as_bytes()).map_err(cause)?;
    }
    csv.write_record(None::<&[u8]>).map_err(cause)?;
    let mut number = String::new();
    for row in 0..rows.len() {
        if options.index {
            csv.write_field(row.to_string()).map_err(cause)?;
        }
        let mut result = Ok(());
        rows.cells(row, &mut |cell| {
            if result.is_ok() {
                result = csv.write_field(text(cell, &mut number));
            }
        });
        result.and_then(|()| csv.write_record(None::<&[u8]>)).map_err(cause)?;
    }
    finish(csv)
}

/// The cause of a failure with its kind, so that a full disk can be told apart from a broken row.
fn cause(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    }
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
        Cell::Null => return "",
    };
    written.expect("a string takes any text");
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::formats::any_rows::{AnyRow, Full, Value, output, python, rows};
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;

    fn encoded(rows: &dyn Rows, output: &OutputSpec, options: Options) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(rows, output, options, &mut bytes).unwrap();
        bytes
    }

    fn unpacked(bytes: &[u8]) -> String {
        let mut text = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes), &mut text).unwrap();
        text
    }

    #[test]
    fn file_has_a_header_line_feeds_and_no_quotes_without_need() {
        let rows = vec![
            AnyRow(vec![Value::Text("59 ST".into()), Value::Wide(i128::from(i64::MAX) + 1)]),
            AnyRow(vec![Value::Text("a,b \"c\"".into()), Value::Null]),
        ];
        let output = output(2);
        let bytes = encoded(&rows, &output, Options::default());
        assert_eq!(unpacked(&bytes), "c0,c1\n59 ST,9223372036854775808\n\"a,b \"\"c\"\"\",\n");
        assert_eq!(bytes[4..8], [0; 4], "no time of day in the file");
        let indexed = encoded(&rows, &output, Options { index: true });
        assert_eq!(unpacked(&indexed).lines().map(|l| &l[..1]).collect::<Vec<_>>(), [",", "0", "1"]);
    }

    #[test]
    fn python_reads_what_was_written() {
        let script = "import csv,gzip,io,json,sys\n\
            text = gzip.decompress(sys.stdin.buffer.read()).decode('utf-8')\n\
            rows = list(csv.reader(io.StringIO(text, newline='')))\n\
            def line(row):\n\
            \x20 out = io.StringIO(newline='')\n\
            \x20 csv.writer(out).writerow(row)\n\
            \x20 return out.getvalue()[:-2] + '\\n'\n\
            json.dump([rows, ''.join(map(line, rows)) == text], sys.stdout)";
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for columns in [1, 2, 5] {
            let drawn = prop::collection::vec(rows(columns), 200).new_tree(&mut runner).unwrap().current();
            let output = output(columns);
            let Some(said) = python(script, &encoded(&drawn, &output, Options::default())) else { return };
            let (read, same): (Vec<Vec<String>>, bool) = serde_json::from_slice(&said).unwrap();
            assert!(same, "Python would have quoted otherwise");
            let mut buffer = String::new();
            let mut want = vec![output.columns.iter().map(|c| c.name.to_string()).collect::<Vec<_>>()];
            want.extend(drawn.iter().map(|row| {
                row.0.iter().map(|value| text(value.cell(), &mut buffer).to_string()).collect::<Vec<_>>()
            }));
            assert_eq!(read, want);
        }
    }

    #[test]
    fn full_disk_is_told_as_one_wherever_it_strikes() {
        let rows: Vec<_> = (0..5000u64)
            .map(|n| AnyRow(vec![Value::Int((n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1) as i64)]))
            .collect();
        let whole = encoded(&rows, &output(1), Options::default()).len();
        for room in [0, 9, 10, whole / 2, whole - 9, whole - 1] {
            let error = write(&rows, &output(1), Options::default(), Full(room)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "room for {room} of {whole}");
        }
        write(&rows, &output(1), Options::default(), Full(whole)).unwrap();
    }

    #[test]
    fn row_that_does_not_fit_its_columns_is_an_error() {
        let rows = vec![AnyRow(vec![Value::Null])];
        assert!(write(&rows, &output(2), Options::default(), Vec::new()).is_err());
    }
}
