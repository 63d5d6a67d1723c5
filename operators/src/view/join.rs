//! Looks up the one row of another table that has the same key.
//!
//! # Input
//! A table of `(key, left)` and a table of `(key, right)` with at most one row a key.
//! # Output
//! A table of `(key, (left, Some(right)))`, or `(key, (left, None))` while there is no such row: a left join. A row that comes
//! on the right later changes what was emitted.
//! # State
//! Both inputs arranged in memory. Nothing is saved: the inputs are, by the operators that made them.
//! # Progress
//! Changes of epoch e leave at e. Both inputs must advance: one that stands still keeps every update of the other.
//! # Late and bad data
//! Two rows of one key on the right stop the job: every sum over the result would be wrong.
//! # Restart
//! At the committed epoch both inputs come again.
//! # Cost
//! Differential dataflow's join and antijoin: two arrangements of the left table, two of the right.
//!
//! ```text
//! left (A, 1) (B, 2)   right (A, x)   ──►  (A, (1, Some x)) (B, (2, None))
//! ```

use crate::view::table::{Key, Table};

impl<'s, K: Key, L: Key> Table<'s, (K, L)> {
    /// Pairs each row with the row of `right` that has its key, if there is one.
    pub fn lookup<R: Key>(self, right: Table<'s, (K, R)>) -> Table<'s, (K, (L, Option<R>))> {
        let only = |key: &K, rows: &[(&R, i64)], out: &mut Vec<(R, i64)>| {
            let [(row, 1)] = rows else { panic!("more than one row has the key {key:?} of a lookup") };
            out.push(((*row).clone(), 1));
        };
        let one = right.collection().reduce_named("LookupRight", only);
        let left = self.collection();
        let found = left
            .clone()
            .join_map(one.clone(), |key, left, right| (key.clone(), (left.clone(), Some(right.clone()))));
        let keys = one.map(|(key, _)| key);
        let missing = left.antijoin(keys).map(|(key, left)| (key, (left, None)));
        self.derived(&[&right], found.concat(missing))
    }
}
