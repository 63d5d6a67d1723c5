//! The rows of a view, in order, as a value that is cheap to copy: a copy shares every chunk that does not change later.
//!
//! Readers hold a copy for as long as they like, and the job goes on. A change copies the chunk that it falls into if a reader
//! holds it too: at most [`CHUNK_ROWS_MAX`] pointers. A copy of the whole is one pointer a chunk.

use headway_operators::view::row::{Value, ViewRow};
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// The most rows of a chunk. A full chunk is split in halves.
const CHUNK_ROWS_MAX: usize = 128;

/// A row, and how often it is there: more than once only while an epoch is being applied.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    row: Arc<ViewRow>,
    copies: u64,
}

/// Rows in order.
///
/// Invariant: no chunk is empty, and the rows of a chunk lie before those of the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewRows {
    chunks: Vec<Arc<Vec<Entry>>>,
    len: u64,
}

impl ViewRows {
    /// How many rows there are, copies counted.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `copies` of `row`.
    pub fn insert(&mut self, row: ViewRow, copies: u64) {
        self.len += copies;
        let Some(at) = self.chunk(&row) else {
            self.chunks.push(Arc::new(vec![Entry { row: Arc::new(row), copies }]));
            return;
        };
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        match chunk.binary_search_by(|entry| (*entry.row).cmp(&row)) {
            Ok(found) => chunk[found].copies += copies,
            Err(place) => chunk.insert(place, Entry { row: Arc::new(row), copies }),
        }
        if chunk.len() > CHUNK_ROWS_MAX {
            let upper = chunk.split_off(CHUNK_ROWS_MAX / 2);
            self.chunks.insert(at + 1, Arc::new(upper));
        }
    }

    /// Takes `copies` of `row` away. False if there are fewer; then nothing changes.
    #[must_use]
    pub fn remove(&mut self, row: &ViewRow, copies: u64) -> bool {
        let Some(at) = self.chunk(row) else { return false };
        let found = self.chunks[at].binary_search_by(|entry| (*entry.row).cmp(row));
        let Some(place) = found.ok().filter(|place| self.chunks[at][*place].copies >= copies) else {
            return false;
        };
        self.len -= copies;
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        chunk[place].copies -= copies;
        if chunk[place].copies == 0 {
            chunk.remove(place);
            self.shrink(at);
        }
        true
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ViewRow>> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter());
        entries.flat_map(|entry| (0..entry.copies).map(move |_| &entry.row))
    }

    /// The rows that begin with `values`, in order.
    pub fn beginning_with<'a>(&'a self, values: &'a [Value]) -> impl Iterator<Item = &'a Arc<ViewRow>> {
        let chunks = self.chunks_with(values);
        let entries = self.chunks[chunks].iter().flat_map(|chunk| chunk.iter());
        let entries = entries.filter(move |entry| begins(&entry.row, values) == Ordering::Equal);
        entries.flat_map(|entry| (0..entry.copies).map(move |_| &entry.row))
    }

    /// At most how many rows begin with `values`.
    pub fn count_at_most(&self, values: &[Value]) -> usize {
        self.chunks_with(values).len() * CHUNK_ROWS_MAX
    }

    /// The chunks that may hold rows that begin with `values`.
    fn chunks_with(&self, values: &[Value]) -> Range<usize> {
        let last = |chunk: &Arc<Vec<Entry>>| begins(&chunk[chunk.len() - 1].row, values);
        let from = self.chunks.partition_point(|chunk| last(chunk) == Ordering::Less);
        let count =
            self.chunks[from..].partition_point(|chunk| begins(&chunk[0].row, values) != Ordering::Greater);
        from..from + count
    }

    /// The chunk that has `row`, or would have it.
    fn chunk(&self, row: &ViewRow) -> Option<usize> {
        let after = self.chunks.partition_point(|chunk| *chunk[0].row <= *row);
        (!self.chunks.is_empty()).then(|| after.saturating_sub(1))
    }

    /// Removes chunk `at` if it is empty, and joins it with the next one or the one before if both are small.
    fn shrink(&mut self, at: usize) {
        if self.chunks[at].is_empty() {
            self.chunks.remove(at);
        } else if !self.join(at) && at > 0 {
            self.join(at - 1);
        }
    }

    /// Joins chunk `at` with the next one if both are small; true if it did.
    fn join(&mut self, at: usize) -> bool {
        let len = self.chunks[at].len();
        let is_small = self.chunks.get(at + 1).is_some_and(|next| len + next.len() <= CHUNK_ROWS_MAX / 2);
        if is_small {
            let next = self.chunks.remove(at + 1);
            Arc::make_mut(&mut self.chunks[at]).extend(next.iter().cloned());
        }
        is_small
    }
}

/// Where the first values of `row` lie, seen from `values`.
fn begins(row: &ViewRow, values: &[Value]) -> Ordering {
    row.0.iter().take(values.len()).cmp(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn row(key: i64, value: i64) -> ViewRow {
        ViewRow(vec![Value::Int(key), Value::Int(value)])
    }

    fn plain(rows: &ViewRows) -> Vec<ViewRow> {
        rows.iter().map(|row| (**row).clone()).collect()
    }

    proptest! {
        #[test]
        fn rows_are_those_of_a_sorted_list_and_a_copy_never_changes(
            changes in proptest::collection::vec((0_i64..40, 0_i64..20, any::<bool>()), 0..3_000),
        ) {
            let (mut rows, mut twin) = (ViewRows::default(), BTreeMap::<ViewRow, u64>::new());
            let mut copies = Vec::new();
            let list = |twin: &BTreeMap<ViewRow, u64>| -> Vec<ViewRow> {
                twin.iter().flat_map(|(row, copies)| (0..*copies).map(|_| row.clone())).collect()
            };
            for (at, (key, value, comes)) in changes.into_iter().enumerate() {
                let row = row(key, value);
                let there = twin.get(&row).copied().unwrap_or_default();
                if comes {
                    rows.insert(row.clone(), 1);
                    *twin.entry(row).or_default() += 1;
                } else {
                    prop_assert_eq!(rows.remove(&row, 1), there > 0);
                    if there > 1 { twin.insert(row, there - 1); } else { twin.remove(&row); }
                }
                if at % 500 == 0 {
                    copies.push((rows.clone(), list(&twin)));
                }
            }
            copies.push((rows, list(&twin)));
            for (rows, expected) in copies {
                prop_assert_eq!(&plain(&rows), &expected);
                prop_assert_eq!(rows.len(), expected.len() as u64);
                prop_assert!(rows.chunks.iter().all(|chunk| (1..=CHUNK_ROWS_MAX).contains(&chunk.len())));
                for key in -1..41 {
                    let values = [Value::Int(key)];
                    let found: Vec<ViewRow> =
                        rows.beginning_with(&values).map(|row| (**row).clone()).collect();
                    let wanted: Vec<ViewRow> =
                        expected.iter().filter(|row| row.0[0] == values[0]).cloned().collect();
                    prop_assert!(found.len() <= rows.count_at_most(&values));
                    prop_assert_eq!(found, wanted);
                }
            }
        }
    }

    #[test]
    fn small_chunks_are_joined_when_rows_go() {
        let mut rows = ViewRows::default();
        (0..10_000).for_each(|key| rows.insert(row(key, 0), 1));
        let full = rows.chunks.len();
        (0..10_000).filter(|key| key % 50 != 0).for_each(|key| assert!(rows.remove(&row(key, 0), 1)));
        assert!(rows.chunks.len() * 4 < full, "{} of {full}", rows.chunks.len());
        assert_eq!(rows.len(), 200);
    }
}
