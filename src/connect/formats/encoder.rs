//! The table of file formats. Code that writes, names or counts files uses this table, so none of it can miss a format.

#[cfg(feature = "parquet")]
use crate::connect::formats::parquet::Parquet;
use crate::connect::formats::{csv_gz, ndjson_gz::NdjsonGz};
use headway_operators::row::Rows;
use headway_operators::spec::{Format, OutputSpec};
use std::io::{self, Read, Write};

/// One file format.
pub trait Encoder {
    /// What the names of its files end in, without the dot before it.
    fn extension(&self) -> &'static str;

    /// Writes `rows` to `out`. Equal rows give equal bytes.
    ///
    /// # Errors
    /// What `out` answers; and if a row has not as many cells as `output` has columns.
    fn write(&self, rows: &dyn Rows, output: &OutputSpec, out: &mut (dyn Write + Send)) -> io::Result<()>;

    /// How many rows are in `file`.
    ///
    /// # Errors
    /// If it cannot be read, or is not of this format.
    fn count_rows(&self, file: Box<dyn Read>) -> io::Result<u64>;

    /// Writes the rows of `files` to `out` as one file, in their order; how many rows it has.
    ///
    /// # Errors
    /// What a file or `out` answers; if a file is not of this format, or the columns of two files differ.
    fn merge(&self, files: Files<'_>, out: &mut (dyn Write + Send)) -> io::Result<u64>;
}

/// Files that are opened one after the other.
pub type Files<'a> = &'a mut dyn Iterator<Item = io::Result<Box<dyn Read + Send>>>;

/// The encoder of `format`.
pub fn encoder(format: Format, csv: csv_gz::Options) -> Box<dyn Encoder> {
    match format {
        Format::CsvGz => Box::new(csv),
        Format::NdjsonGz => Box::new(NdjsonGz),
        #[cfg(feature = "parquet")]
        Format::Parquet => Box::new(Parquet::default()),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => Box::new(NotBuilt(format)),
    }
}

/// True if this build writes and reads files of `format`. A job with an output of another format is refused at its start.
pub fn is_built(format: Format) -> bool {
    match format {
        Format::CsvGz | Format::NdjsonGz => true,
        Format::Parquet => cfg!(feature = "parquet"),
    }
}

/// A format that this build leaves out: its files have a name, and nothing reads or writes them.
#[cfg(not(feature = "parquet"))]
struct NotBuilt(Format);

#[cfg(not(feature = "parquet"))]
impl Encoder for NotBuilt {
    fn extension(&self) -> &'static str {
        self.0.name()
    }

    fn write(&self, _rows: &dyn Rows, _output: &OutputSpec, _out: &mut (dyn Write + Send)) -> io::Result<()> {
        Err(self.refusal())
    }

    fn count_rows(&self, _file: Box<dyn Read>) -> io::Result<u64> {
        Err(self.refusal())
    }

    fn merge(&self, _files: Files<'_>, _out: &mut (dyn Write + Send)) -> io::Result<u64> {
        Err(self.refusal())
    }
}

#[cfg(not(feature = "parquet"))]
impl NotBuilt {
    fn refusal(&self) -> io::Error {
        let what = format!("this build of Headway has no {} (cargo feature of that name)", self.0.name());
        io::Error::new(io::ErrorKind::Unsupported, what)
    }
}

/// The encoder of the file at `path`, by its name; `None` if no format has such names.
pub fn of_file(path: &str) -> Option<Box<dyn Encoder>> {
    Format::of_file(path).map(|format| encoder(format, csv_gz::Options::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_found_by_its_own_files_and_by_no_others() {
        for format in Format::ALL {
            let extension = encoder(format, csv_gz::Options::default()).extension();
            let found = of_file(&format!("gate/batch_1.{extension}")).expect("it is in the table");
            assert_eq!(found.extension(), extension);
        }
        assert!(of_file("gate/batch_1.csv").is_none() && of_file("gate/csv.gz").is_none());
    }
}
