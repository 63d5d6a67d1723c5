//! The busiest stations, added up from committed rows: what `headway demo` shows.

use super::terminal::table::{self, grouped};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// Entries, exits and rows of one station.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    entries: i128,
    exits: i128,
    rows: u64,
}

/// The sums of every station.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stations(BTreeMap<String, Sums>);

impl Stations {
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
        let (station, entries, exits) = (column("STATION")?, column("ENTRIES")?, column("EXITS")?);
        let mut row = csv::StringRecord::new();
        let mut count = 0;
        while rows.read_record(&mut row).map_err(io::Error::other)? {
            let number =
                |at: usize| row[at].parse::<i128>().map_err(|_| unfit(format!("\"{}\" is no sum", &row[at])));
            let (entries, exits) = (number(entries)?, number(exits)?);
            let sums = self.0.entry(row[station].to_string()).or_default();
            sums.entries += entries;
            sums.exits += exits;
            sums.rows += 1;
            count += 1;
        }
        Ok(count)
    }

    /// Writes the `most` stations with the most entries.
    pub(crate) fn write(&self, out: &mut dyn Write, most: usize) -> io::Result<()> {
        let mut order: Vec<(&String, &Sums)> = self.0.iter().collect();
        order.sort_by_key(|(name, sums)| (-sums.entries, *name));
        let row = |(name, sums): &(&String, &Sums)| {
            vec![name.to_string(), grouped(sums.entries), grouped(sums.exits), grouped(sums.rows)]
        };
        let rows: Vec<Vec<String>> = order.iter().take(most).map(row).collect();
        table::write(out, &["STATION", "ENTRIES", "EXITS", "ROWS"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gz(text: &str) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text.as_bytes()).expect("memory can be written");
        gz.finish().expect("memory can be written")
    }

    #[test]
    fn stations_are_summed_over_files_and_ordered_by_entries() {
        let mut stations = Stations::default();
        let first = gz("STATION,ENTRIES,EXITS\nA,1,2\n\"B, C\",5,5\n");
        assert_eq!(stations.add(first.as_slice()).expect("the file is fit"), 2);
        assert_eq!(stations.add(gz("STATION,ENTRIES,EXITS\nA,1000,1\n").as_slice()).expect("fit"), 1);
        let mut out = Vec::new();
        stations.write(&mut out, 2).expect("memory can be written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "  STATION  ENTRIES  EXITS  ROWS\n  A          1,001      3     2\n  B, C           5      5     1\n"
        );
    }

    #[test]
    fn a_file_that_is_not_rows_is_refused() {
        let mut stations = Stations::default();
        assert!(stations.add(gz("STATION,ENTRIES\nA,1\n").as_slice()).is_err());
        assert!(stations.add(gz("STATION,ENTRIES,EXITS\nA,x,1\n").as_slice()).is_err());
        assert!(stations.add(&b"no gzip"[..]).is_err());
    }
}
