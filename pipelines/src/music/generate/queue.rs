//! Users in the order in which they act: the next hour in a heap, later hours in a list each.
//!
//! Most of a million users rest for days. A heap of all of them would miss the cache at each step; a heap of those who act
//! within the hour does not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const HOUR_MS: i64 = 3_600_000;

/// When a user acts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// At this time.
    pub(super) at_ms: i64,
    /// This user.
    pub(super) user: u32,
}

/// Users by the time of their next event; of one instant, by number.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    near: BinaryHeap<Reverse<Due>>,
    /// What is due before this is in `near`.
    near_until_ms: i64,
    /// By number of the hour.
    later: BTreeMap<i64, Vec<Due>>,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { near: BinaryHeap::new(), near_until_ms: i64::MIN, later: BTreeMap::new() }
    }
}

impl Queue {
    /// Adds a user.
    pub(super) fn push(&mut self, due: Due) {
        if due.at_ms < self.near_until_ms {
            self.near.push(Reverse(due));
        } else {
            self.later.entry(due.at_ms.div_euclid(HOUR_MS)).or_default().push(due);
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.near.len() + self.later.values().map(Vec::len).sum::<usize>()
    }

    /// Who is next.
    pub(super) fn peek(&mut self) -> Option<Due> {
        if self.near.is_empty() {
            let (hour, due) = self.later.pop_first()?;
            self.near_until_ms = (hour + 1).saturating_mul(HOUR_MS);
            self.near = due.into_iter().map(Reverse).collect();
        }
        self.near.peek().map(|Reverse(due)| *due)
    }

    /// Removes the one who is next.
    pub(super) fn pop(&mut self) -> Option<Due> {
        self.peek()?;
        self.near.pop().map(|Reverse(due)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn users_come_in_the_order_of_a_sorted_list(
            steps in prop::collection::vec((0i64..30_000_000, 0u32..50), 1..200)
        ) {
            let (mut queue, mut list) = (Queue::default(), Vec::new());
            let mut now_ms = 0;
            for (n, (after_ms, user)) in steps.iter().enumerate() {
                // Nobody acts in the past.
                let due = Due { at_ms: now_ms + after_ms, user: *user };
                queue.push(due);
                list.push(due);
                if n % 3 == 2 {
                    list.sort_unstable();
                    let first = list.remove(0);
                    prop_assert_eq!(queue.pop(), Some(first));
                    now_ms = first.at_ms;
                }
            }
            list.sort_unstable();
            let rest: Vec<Due> = std::iter::from_fn(|| queue.pop()).collect();
            prop_assert_eq!(rest, list);
        }
    }
}
