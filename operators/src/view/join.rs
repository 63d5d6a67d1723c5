//! Looks up the one row of another table that has the same key.
//!
//! # Input
//! A table of `(key, left)` and a table of `(key, right)` with at most one row a key.
//! # Output
//! A table of `(key, (left, Some(right)))`, or `(key, (left, None))` while there is no such row: a left join. A row that comes
//! on the right later changes what was emitted.
//! # State
//! The rows of both inputs by key, and the pairs, arranged in memory. Nothing is saved: the inputs are, by the operators that
//! made them.
//! # Progress
//! Changes of epoch e leave at e. Both inputs must advance: one that stands still keeps every update of the other.
//! # Late and bad data
//! Two rows of one key on the right stop the job: every sum over the result would be wrong.
//! # Restart
//! At the committed epoch both inputs come again.
//! # Cost
//! One reduce of differential dataflow over the rows of both inputs: two arrangements. All left rows of a key are looked at
//! again whenever one of the key changes; where a key has many, a join would cost less, and five times the program code.
//!
//! ```text
//! left (A, 1) (B, 2)   right (A, x)   ──►  (A, (1, Some x)) (B, (2, None))
//! ```

use crate::view::table::{Key, Table};
use serde::{Deserialize, Serialize};

/// A row of one of the two inputs. Those of the right come first in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Side<L, R> {
    Right(R),
    Left(L),
}

impl<'s, K: Key, L: Key> Table<'s, (K, L)> {
    /// Pairs each row with the row of `right` that has its key, if there is one.
    pub fn lookup<R: Key>(self, right: Table<'s, (K, R)>) -> Table<'s, (K, (L, Option<R>))> {
        let pair = |key: &K, rows: &[(&Side<L, R>, i64)], out: &mut Vec<((L, Option<R>), i64)>| {
            let (found, rows) = match rows {
                [(Side::Right(row), 1), rest @ ..] => (Some(row), rest),
                rows => (None, rows),
            };
            for (row, copies) in rows {
                let Side::Left(left) = row else {
                    panic!("more than one row has the key {key:?} of a lookup")
                };
                out.push(((left.clone(), found.cloned()), *copies));
            }
        };
        let left = self.collection().map(|(key, row)| (key, Side::Left(row)));
        let both = left.concat(right.collection().map(|(key, row)| (key, Side::Right(row))));
        self.derived(&[&right], both.reduce_named("Lookup", pair))
    }
}
