//! The rows of a table of day files that its files do not have yet, and a digest of those that each day has.
//!
//! Such a table is too large for memory. For a day whose file is written, memory holds only its name and a digest, about 200 bytes;
//! the digest identifies the rows that the file must have. Changes wait in encoded form until the file is written again. After a
//! start all rows do, about 110 bytes each, until their files are written or found to be right.

use headway_operators::view::row::ViewRow;
use headway_operators::view::text::Text;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_128;

/// Tells sets of rows apart, whatever the order in which rows came and went: the number of rows, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    rows: i64,
    sum: u128,
}

impl Digest {
    /// That of `rows`.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a ViewRow>) -> Digest {
        let mut digest = Digest::default();
        rows.into_iter().for_each(|row| digest.add(&encoded(row), 1));
        digest
    }

    /// Adds `diff` copies of the row that `encoded` is.
    fn add(&mut self, encoded: &[u8], diff: i64) {
        self.rows += diff;
        // As a wrapping factor a negative count is its two's complement.
        let times = i128::from(diff).cast_unsigned();
        self.sum = self.sum.wrapping_add(xxh3_128(encoded).wrapping_mul(times));
    }

    /// How many rows there are.
    pub fn rows(self) -> u64 {
        self.rows.unsigned_abs()
    }
}

fn encoded(row: &ViewRow) -> Vec<u8> {
    postcard::to_stdvec(row).expect("plain values encode")
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.rows, self.sum)
    }
}

impl FromStr for Digest {
    type Err = ();

    fn from_str(text: &str) -> Result<Digest, ()> {
        let (rows, sum) = text.split_once('-').ok_or(())?;
        Ok(Digest { rows: rows.parse().map_err(drop)?, sum: u128::from_str_radix(sum, 16).map_err(drop)? })
    }
}

/// The table.
#[derive(Debug)]
pub struct DayRows {
    /// The column that names the day.
    day: usize,
    days: BTreeMap<Text, Day>,
    /// How many rows came or went.
    changes: u64,
}

#[derive(Debug, Default)]
struct Day {
    /// The rows that it has.
    digest: Digest,
    /// The rows that its file has, as this run has written or found it. `None`: `pending` is all there is.
    base: Option<Digest>,
    /// What came or went since, encoded.
    pending: Vec<u8>,
}

/// A day whose file is not what it must be, or of which that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The day.
    pub day: Text,
    /// The rows that its file must have.
    pub digest: Digest,
    /// The rows that its file had; `None`: [`DayRows::take`] gives all.
    pub base: Option<Digest>,
}

impl DayRows {
    /// A table without rows; column `day` names the day.
    pub fn new(day: usize) -> DayRows {
        DayRows { day, days: BTreeMap::new(), changes: 0 }
    }

    /// Takes `diff` copies of `row`.
    ///
    /// # Panics
    /// If it names no day.
    pub fn apply(&mut self, row: &ViewRow, diff: i64) {
        let Some(day) = row.text(self.day) else { panic!("a row names no day: {row:?}") };
        let day = self.days.entry(day.clone()).or_default();
        let bytes = encoded(row);
        day.digest.add(&bytes, diff);
        let pending = std::mem::take(&mut day.pending);
        day.pending = postcard::to_extend(&diff, pending).expect("plain values encode");
        day.pending.extend(bytes);
    }

    /// Counts rows that came or went in this run.
    pub fn count(&mut self, diff: i64) {
        self.changes += diff.unsigned_abs();
    }

    /// How many rows it has, and how many came or went in this run.
    pub fn counts(&self) -> (u64, u64) {
        (self.days.values().map(|day| day.digest.rows()).sum(), self.changes)
    }

    /// How many bytes wait for files.
    pub fn pending_bytes(&self) -> usize {
        self.days.values().map(|day| day.pending.len()).sum()
    }

    /// The days whose files may not be what they must be, in order.
    pub fn changed(&mut self) -> Vec<Changed> {
        for day in self.days.values_mut().filter(|day| day.base == Some(day.digest)) {
            // What came has gone again.
            day.pending = Vec::new();
        }
        let changed = self.days.iter().filter(|(_, day)| day.base != Some(day.digest));
        let of =
            |(name, day): (&Text, &Day)| Changed { day: name.clone(), digest: day.digest, base: day.base };
        changed.map(of).collect()
    }

    /// What came or went on `day` since its file was written.
    pub fn take(&mut self, day: &Text) -> Vec<(ViewRow, i64)> {
        let pending = self.days.get_mut(day).map(|day| std::mem::take(&mut day.pending)).unwrap_or_default();
        let (mut updates, mut rest) = (Vec::new(), pending.as_slice());
        while !rest.is_empty() {
            let ((diff, row), after) =
                postcard::take_from_bytes::<(i64, ViewRow)>(rest).expect("what was encoded decodes");
            updates.push((row, diff));
            rest = after;
        }
        updates
    }

    /// Notes that the file of `day` is what it must be.
    pub fn wrote(&mut self, day: &Text) {
        let Some(of) = self.days.get_mut(day) else { return };
        of.pending = Vec::new();
        of.base = Some(of.digest);
        if of.digest == Digest::default() {
            self.days.remove(day);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::view::row::Value;
    use proptest::prelude::*;

    fn row(day: u8, number: i64) -> ViewRow {
        ViewRow(vec![Value::Text(Text::from(format!("2024-01-{day:02}"))), Value::Int(number)])
    }

    proptest! {
        #[test]
        fn digest_is_that_of_the_rows_whatever_came_and_went(
            steps in proptest::collection::vec((0_u8..3, 0_i64..4, any::<bool>()), 0..60)
        ) {
            let mut table = DayRows::new(0);
            let mut rows: BTreeMap<ViewRow, i64> = BTreeMap::new();
            for (day, number, comes) in steps {
                let row = row(day, number);
                let copies = rows.entry(row.clone()).or_default();
                let diff = if comes { 1 } else if *copies > 0 { -1 } else { continue };
                *copies += diff;
                table.apply(&row, diff);
            }
            for day in 0..3 {
                let name = Text::from(format!("2024-01-{day:02}"));
                let of = rows.iter().filter(|(row, _)| row.0[0] == Value::Text(name.clone()));
                let of: Vec<_> = of.flat_map(|(row, copies)| (0..*copies).map(move |_| row)).collect();
                let digest = Digest::of(of.iter().copied());
                let found = table.changed().into_iter().find(|changed| changed.day == name);
                prop_assert_eq!(found.map(|changed| changed.digest).unwrap_or_default(), digest);
                prop_assert_eq!(digest.to_string().parse(), Ok(digest));
                let mut sum: BTreeMap<ViewRow, i64> = BTreeMap::new();
                table.take(&name).into_iter().for_each(|(row, diff)| *sum.entry(row).or_default() += diff);
                sum.retain(|_, diff| *diff != 0);
                prop_assert_eq!(sum.values().sum::<i64>().unsigned_abs(), digest.rows());
                table.wrote(&name);
                prop_assert_eq!(table.days.contains_key(&Text::from(&*name)), digest.rows() > 0);
            }
            prop_assert_eq!((table.changed(), table.pending_bytes()), (Vec::new(), 0));
        }
    }

    #[test]
    fn sets_of_equal_size_have_other_digests() {
        assert_ne!(Digest::of([&row(1, 1)]), Digest::of([&row(1, 2)]));
        assert_ne!(Digest::of([&row(1, 1), &row(1, 1)]), Digest::of([&row(1, 1), &row(1, 2)]));
    }
}
