//! Values by event time, few and mostly asked for again at once: the open windows and slices of an operator.
//!
//! A sorted list that remembers where it was last asked: records come nearly in order, so the answer is mostly there.

use crate::time::EventTime;

/// Values by event time, in rising order.
#[derive(Debug)]
pub(super) struct Timeline<V> {
    entries: Vec<(EventTime, V)>,
    last: usize,
}

impl<V> Default for Timeline<V> {
    fn default() -> Self {
        Timeline { entries: Vec::new(), last: 0 }
    }
}

impl<V> Timeline<V> {
    /// The value at `time`; if there is none, `make` makes it, and is given the value before it.
    pub(super) fn at(&mut self, time: EventTime, make: impl FnOnce(Option<&V>) -> V) -> &mut V {
        if self.entries.get(self.last).is_none_or(|(known, _)| *known != time) {
            self.last = self.entries.binary_search_by_key(&time, |(known, _)| *known).unwrap_or_else(|at| {
                let before = at.checked_sub(1).map(|before| &self.entries[before].1);
                let made = make(before);
                self.entries.insert(at, (time, made));
                at
            });
        }
        &mut self.entries[self.last].1
    }

    /// The value at `time`, if there is one.
    pub(super) fn get_mut(&mut self, time: EventTime) -> Option<&mut V> {
        let at = self.entries.binary_search_by_key(&time, |(known, _)| *known).ok()?;
        Some(&mut self.entries[at].1)
    }

    /// Takes out every entry up to the first that `keeps`, in order.
    pub(super) fn take_until(&mut self, keeps: impl Fn(EventTime) -> bool) -> Vec<(EventTime, V)> {
        let at = self.entries.iter().position(|(time, _)| keeps(*time)).unwrap_or(self.entries.len());
        self.last = 0;
        self.entries.drain(..at).collect()
    }

    /// All entries, in rising order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(EventTime, V)> {
        self.entries.iter()
    }

    /// All entries, in rising order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut (EventTime, V)> {
        self.entries.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_answers_as_an_ordered_map_does(
            asked in prop::collection::vec((0i64..12, 0i64..9), 0..80)
        ) {
            let (mut fast, mut slow) = (Timeline::default(), BTreeMap::new());
            for (time, cut) in asked {
                *fast.at(EventTime(time), |_| 0) += cut;
                *slow.entry(time).or_insert(0) += cut;
                prop_assert_eq!(fast.get_mut(EventTime(cut)).copied(), slow.get(&cut).copied());
                if cut == 8 {
                    let taken = fast.take_until(|at| at.ms() >= time);
                    let kept = slow.split_off(&time);
                    let expected: Vec<_> = std::mem::replace(&mut slow, kept).into_iter().collect();
                    prop_assert_eq!(taken.into_iter().map(|(at, v)| (at.ms(), v)).collect::<Vec<_>>(), expected);
                }
                let all: Vec<_> = fast.iter().map(|(at, v)| (at.ms(), *v)).collect();
                prop_assert_eq!(all, slow.iter().map(|(at, v)| (*at, *v)).collect::<Vec<_>>());
            }
        }
    }
}
