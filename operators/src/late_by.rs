//! How much lateness would have kept records from being late: a small histogram, so that one record that is years old
//! does not decide what a person is advised to set.

use serde::{Deserialize, Serialize};

/// The bounds of the buckets in milliseconds, rising; what lies beyond the last one has a bucket of its own.
const BOUNDS_MS: [i64; 14] = [
    60_000,
    300_000,
    900_000,
    1_800_000,
    3_600_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
    1_209_600_000,
    2_678_400_000,
    7_948_800_000,
];

/// Of a hundred late records, how many an advised lateness must have kept.
const KEPT_PERCENT: u64 = 90;

/// How many late records needed how much lateness.
///
/// ```
/// use headway_operators::late_by::LateBy;
///
/// let mut late_by = LateBy::default();
/// (0..99).for_each(|_| late_by.add(6 * 86_400_000)); // six days
/// late_by.add(i64::MAX); // and one from long ago
/// assert_eq!(late_by.enough_ms(), Some(7 * 86_400_000));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateBy([u64; BOUNDS_MS.len() + 1]);

impl LateBy {
    /// Adds a record for which a lateness of `needed_ms` would have been enough.
    pub fn add(&mut self, needed_ms: i64) {
        let bucket = BOUNDS_MS.iter().position(|bound| needed_ms <= *bound).unwrap_or(BOUNDS_MS.len());
        self.0[bucket] += 1;
    }

    /// Adds the records of `more`.
    pub fn merge(&mut self, more: &LateBy) {
        self.0.iter_mut().zip(&more.0).for_each(|(count, more)| *count += more);
    }

    /// The least bound that would have kept nine of ten records, in milliseconds. `None` if there are no records, or no
    /// bound is enough.
    pub fn enough_ms(&self) -> Option<i64> {
        let all: u64 = self.0.iter().sum();
        if all == 0 {
            return None;
        }
        let mut kept = 0;
        self.0.iter().zip(BOUNDS_MS).find_map(|(count, bound)| {
            kept += count;
            (kept * 100 >= all * KEPT_PERCENT).then_some(bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_keeps_nine_of_ten_records() {
        let of = |needed: &[(i64, u64)]| {
            let mut all = LateBy::default();
            for (needed_ms, count) in needed {
                let mut one = LateBy::default();
                (0..*count).for_each(|_| one.add(*needed_ms));
                all.merge(&one);
            }
            all.enough_ms()
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(0, 1)]), Some(60_000));
        assert_eq!(of(&[(60_000, 1)]), Some(60_000), "a bound is part of its bucket");
        assert_eq!(of(&[(60_001, 1)]), Some(300_000));
        assert_eq!(of(&[(1_000, 90), (i64::MAX, 10)]), Some(60_000));
        assert_eq!(of(&[(1_000, 89), (i64::MAX, 11)]), None);
    }
}
