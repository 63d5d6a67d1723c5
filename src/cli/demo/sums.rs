//! Sums over committed rows, the greatest first: what `headway demo` shows.

use crate::cli::terminal::table::{self, grouped};
#[cfg(feature = "parquet")]
use crate::cli::views::table::{shown, value};
#[cfg(feature = "parquet")]
use crate::connect::formats::parquet;
use flate2::read::MultiGzDecoder;
use headway_operators::pipeline::Top;
use headway_operators::spec::Format;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// The sums of some columns, and the number of rows, for each value of other columns.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    top: Top,
    of: BTreeMap<Vec<String>, Sum>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    columns: Vec<i128>,
    rows: u64,
}

impl Sum {
    /// The first column that is added up, or the number of rows if there is none.
    fn first(&self) -> i128 {
        self.columns.first().copied().unwrap_or(self.rows.into())
    }
}

/// Where the columns of a [`Top`] are in the rows of a file.
struct Places {
    of: Vec<usize>,
    sums: Vec<usize>,
}

impl Places {
    fn find(top: &Top, head: &[String]) -> io::Result<Places> {
        let column = |name: &&str| {
            let found = head.iter().position(|found| found == name);
            found.ok_or_else(|| unfit(format!("no column \"{name}\"")))
        };
        let columns = |names: &[&str]| names.iter().map(column).collect::<io::Result<Vec<_>>>();
        Ok(Places { of: columns(top.of)?, sums: columns(top.sums)? })
    }
}

fn unfit(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Sums {
    /// Sums of nothing.
    pub(crate) fn new(top: Top) -> Sums {
        Sums { top, of: BTreeMap::new() }
    }

    /// Adds the rows of one committed file, of which `path` says the format, and gives their number.
    ///
    /// # Errors
    /// If the file cannot be read, or lacks a column, or has a cell that is no number.
    pub(crate) fn add(&mut self, path: &str, file: impl Read) -> io::Result<u64> {
        match Format::of_file(path) {
            Some(Format::CsvGz) => self.add_csv(file),
            #[cfg(feature = "parquet")]
            Some(Format::Parquet) => self.add_parquet(file),
            _ => Err(unfit("only CSV and Parquet are added up".to_string())),
        }
    }

    fn add_csv(&mut self, file: impl Read) -> io::Result<u64> {
        let mut rows = csv::Reader::from_reader(MultiGzDecoder::new(file));
        let head: Vec<String> =
            rows.headers().map_err(io::Error::other)?.iter().map(str::to_string).collect();
        let places = Places::find(&self.top, &head)?;
        let mut row = csv::StringRecord::new();
        let mut count = 0;
        while rows.read_record(&mut row).map_err(io::Error::other)? {
            self.row(&places, |at| row[at].to_string())?;
            count += 1;
        }
        Ok(count)
    }

    #[cfg(feature = "parquet")]
    fn add_parquet(&mut self, mut file: impl Read) -> io::Result<u64> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (columns, _) = parquet::describe(bytes.clone())?;
        let head: Vec<String> = columns.iter().map(|column| column.name.to_string()).collect();
        let places = Places::find(&self.top, &head)?;
        let (mut count, mut unfit) = (0, None);
        parquet::read(bytes, &mut |cells| {
            unfit = unfit.take().or(self.row(&places, |at| shown(&value(&cells[at]))).err());
            count += 1;
        })?;
        unfit.map_or(Ok(count), Err)
    }

    /// Adds one row, of which `cell` gives the cells.
    fn row(&mut self, places: &Places, cell: impl Fn(usize) -> String) -> io::Result<()> {
        let number = |at: &usize| {
            let text = cell(*at);
            text.parse::<i128>().map_err(|_| unfit(format!("\"{text}\" is no sum")))
        };
        let numbers = places.sums.iter().map(number).collect::<io::Result<Vec<_>>>()?;
        let sum = self.of.entry(places.of.iter().map(|at| cell(*at)).collect()).or_default();
        sum.columns.resize(numbers.len(), 0);
        sum.columns.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        sum.rows += 1;
        Ok(())
    }

    /// The first sum of `of`, or its number of rows where nothing is added up.
    #[cfg(feature = "parquet")]
    pub(crate) fn first(&self, of: &[String]) -> Option<i128> {
        self.of.get(of).map(Sum::first)
    }

    /// Writes the `most` greatest, by the first column that is added up, or by the number of rows if there is none.
    pub(crate) fn write(&self, out: &mut dyn Write, most: usize) -> io::Result<()> {
        let mut order: Vec<(&Vec<String>, &Sum)> = self.of.iter().collect();
        order.sort_by_key(|(of, sum)| (Reverse(sum.first()), *of));
        let row = |(of, sum): &(&Vec<String>, &Sum)| {
            let columns = sum.columns.iter().map(|sum| grouped(*sum));
            of.iter().cloned().chain(columns).chain([grouped(sum.rows)]).collect()
        };
        let rows: Vec<Vec<String>> = order.iter().take(most).map(row).collect();
        let heads: Vec<&str> = self.top.of.iter().chain(self.top.sums).copied().chain(["ROWS"]).collect();
        table::write(out, &heads, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    const TOP: Top = Top { title: "shops", output: "sales", of: &["SHOP"], sums: &["SOLD", "LEFT"] };

    fn gz(text: &str) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text.as_bytes()).expect("memory can be written");
        gz.finish().expect("memory can be written")
    }

    #[test]
    fn rows_are_summed_over_files_and_ordered_by_the_first_sum() {
        let mut sums = Sums::new(TOP);
        let first = gz("SHOP,SOLD,LEFT\nA,1,2\n\"B, C\",5,5\n");
        assert_eq!(sums.add("a.csv.gz", first.as_slice()).expect("the file is fit"), 2);
        assert_eq!(sums.add("a.csv.gz", gz("SHOP,SOLD,LEFT\nA,1000,1\n").as_slice()).expect("fit"), 1);
        let mut out = Vec::new();
        sums.write(&mut out, 2).expect("memory can be written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "  SHOP   SOLD  LEFT  ROWS\n  A     1,001     3     2\n  B, C      5     5     1\n");
    }

    #[test]
    fn without_a_sum_the_number_of_rows_decides() {
        let mut sums = Sums::new(Top { sums: &[], ..TOP });
        sums.add("a.csv.gz", gz("SHOP\nA\nB\nB\n").as_slice()).expect("the file is fit");
        let mut out = Vec::new();
        sums.write(&mut out, 1).expect("memory can be written");
        assert_eq!(String::from_utf8(out).expect("text"), "  SHOP  ROWS\n  B        2\n");
    }

    #[test]
    fn a_file_that_is_not_rows_is_refused() {
        let mut sums = Sums::new(TOP);
        assert!(sums.add("a.csv.gz", gz("SHOP,SOLD\nA,1\n").as_slice()).is_err());
        assert!(sums.add("a.csv.gz", gz("SHOP,SOLD,LEFT\nA,x,1\n").as_slice()).is_err());
        assert!(sums.add("a.csv.gz", &b"no gzip"[..]).is_err());
        assert!(sums.add("a.ndjson.gz", gz("{}").as_slice()).is_err());
    }
}
