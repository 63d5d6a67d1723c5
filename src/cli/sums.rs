//! Sums over committed rows, the greatest first: what `headway demo` shows.

use super::terminal::table::{self, grouped};
use flate2::read::MultiGzDecoder;
use headway_operators::pipeline::Top;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// The sums of some columns, and the number of rows, for each value of another column.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    top: Top,
    of: BTreeMap<String, Sum>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    columns: Vec<i128>,
    rows: u64,
}

impl Sums {
    /// Sums of nothing.
    pub(crate) fn new(top: Top) -> Sums {
        Sums { top, of: BTreeMap::new() }
    }

    /// Adds the rows of one committed file (gzipped CSV with a header row) and gives their number.
    ///
    /// # Errors
    /// If the file cannot be read, or lacks a column, or has a cell that is no number.
    pub(crate) fn add(&mut self, file: impl Read) -> Result<u64, io::Error> {
        let unfit = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut rows = csv::Reader::from_reader(MultiGzDecoder::new(file));
        let head = rows.headers().map_err(io::Error::other)?.clone();
        let column = |name: &str| {
            head.iter().position(|found| found == name).ok_or_else(|| unfit(format!("no column \"{name}\"")))
        };
        let of = column(self.top.of)?;
        let summed = self.top.sums.iter().map(|name| column(name)).collect::<Result<Vec<_>, _>>()?;
        let mut row = csv::StringRecord::new();
        let mut count = 0;
        while rows.read_record(&mut row).map_err(io::Error::other)? {
            let number = |at: &usize| {
                row[*at].parse::<i128>().map_err(|_| unfit(format!("\"{}\" is no sum", &row[*at])))
            };
            let numbers = summed.iter().map(number).collect::<Result<Vec<_>, _>>()?;
            let sum = self.of.entry(row[of].to_string()).or_default();
            sum.columns.resize(numbers.len(), 0);
            sum.columns.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            sum.rows += 1;
            count += 1;
        }
        Ok(count)
    }

    /// Writes the `most` greatest, by the first column that is added up, or by the number of rows if there is none.
    pub(crate) fn write(&self, out: &mut dyn Write, most: usize) -> io::Result<()> {
        let mut order: Vec<(&String, &Sum)> = self.of.iter().collect();
        let first = |sum: &Sum| sum.columns.first().copied().unwrap_or(sum.rows.into());
        order.sort_by_key(|(name, sum)| (Reverse(first(sum)), *name));
        let row = |(name, sum): &(&String, &Sum)| {
            let columns = sum.columns.iter().map(|sum| grouped(*sum));
            [name.to_string()].into_iter().chain(columns).chain([grouped(sum.rows)]).collect()
        };
        let rows: Vec<Vec<String>> = order.iter().take(most).map(row).collect();
        let heads: Vec<&str> =
            [self.top.of].into_iter().chain(self.top.sums.iter().copied()).chain(["ROWS"]).collect();
        table::write(out, &heads, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    const TOP: Top = Top { title: "shops", output: "sales", of: "SHOP", sums: &["SOLD", "LEFT"] };

    fn gz(text: &str) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text.as_bytes()).expect("memory can be written");
        gz.finish().expect("memory can be written")
    }

    #[test]
    fn rows_are_summed_over_files_and_ordered_by_the_first_sum() {
        let mut sums = Sums::new(TOP);
        let first = gz("SHOP,SOLD,LEFT\nA,1,2\n\"B, C\",5,5\n");
        assert_eq!(sums.add(first.as_slice()).expect("the file is fit"), 2);
        assert_eq!(sums.add(gz("SHOP,SOLD,LEFT\nA,1000,1\n").as_slice()).expect("fit"), 1);
        let mut out = Vec::new();
        sums.write(&mut out, 2).expect("memory can be written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "  SHOP   SOLD  LEFT  ROWS\n  A     1,001     3     2\n  B, C      5     5     1\n");
    }

    #[test]
    fn without_a_sum_the_number_of_rows_decides() {
        let mut sums = Sums::new(Top { sums: &[], ..TOP });
        sums.add(gz("SHOP\nA\nB\nB\n").as_slice()).expect("the file is fit");
        let mut out = Vec::new();
        sums.write(&mut out, 1).expect("memory can be written");
        assert_eq!(String::from_utf8(out).expect("text"), "  SHOP  ROWS\n  B        2\n");
    }

    #[test]
    fn a_file_that_is_not_rows_is_refused() {
        let mut sums = Sums::new(TOP);
        assert!(sums.add(gz("SHOP,SOLD\nA,1\n").as_slice()).is_err());
        assert!(sums.add(gz("SHOP,SOLD,LEFT\nA,x,1\n").as_slice()).is_err());
        assert!(sums.add(&b"no gzip"[..]).is_err());
    }
}
