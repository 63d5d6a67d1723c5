//! What is held of one key.

use crate::kit::logic::Logic;
use crate::snapshots::Written;
use crate::time::{Epoch, EventTime};
use std::collections::BTreeSet;

/// What is held of one key.
pub(super) struct Entry<L: Logic> {
    pub(super) key: L::Key,
    pub(super) state: L::State,
    pub(super) timers: Timers,
    /// The event time of its last record or timer.
    pub(super) touched: EventTime,
    /// The first epoch whose records may have led to it.
    pub(super) since: Epoch,
    /// Which sections have an earlier value of it.
    pub(super) written: Written,
    /// It has changed since the last snapshot, and is in the list of those that have.
    pub(super) is_changed: bool,
}

impl<L: Logic> Entry<L> {
    pub(super) fn new(key: L::Key, time: EventTime, since: Epoch) -> Entry<L> {
        let (state, timers, written) = (L::State::default(), Timers::None, Written::No);
        Entry { key, state, timers, touched: time, since, written, is_changed: false }
    }

    /// True if nothing has to be remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.timers.len() == 0 && self.state == L::State::default()
    }

    /// When it expires, `ttl_ms` after it was last touched, as far as is known now.
    pub(super) fn expires(&self, ttl_ms: i64) -> EventTime {
        self.timers.last().map_or(self.touched, |last| last.max(self.touched)).plus_ms(ttl_ms)
    }
}

/// The timers of one key: mostly none or one.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::box_collection,
    reason = "a key has one timer as a rule: a pointer keeps its entry 16 bytes smaller"
)]
pub(super) enum Timers {
    #[default]
    None,
    One(EventTime),
    Many(Box<BTreeSet<EventTime>>),
}

impl Timers {
    /// Adds a timer; false if it was there.
    pub(super) fn insert(&mut self, at: EventTime) -> bool {
        match self {
            Timers::None => {
                *self = Timers::One(at);
                true
            }
            Timers::One(other) if *other == at => false,
            Timers::One(other) => {
                *self = Timers::Many(Box::new(BTreeSet::from([*other, at])));
                true
            }
            Timers::Many(all) => all.insert(at),
        }
    }

    /// Takes a timer out; false if it was not there.
    pub(super) fn remove(&mut self, at: EventTime) -> bool {
        match self {
            Timers::None => false,
            Timers::One(other) => {
                let is_it = *other == at;
                if is_it {
                    *self = Timers::None;
                }
                is_it
            }
            Timers::Many(all) => {
                let was_there = all.remove(&at);
                if let (1, Some(last)) = (all.len(), all.first().copied()) {
                    *self = Timers::One(last);
                }
                was_there
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Timers::None => 0,
            Timers::One(_) => 1,
            Timers::Many(all) => all.len(),
        }
    }

    fn last(&self) -> Option<EventTime> {
        match self {
            Timers::None => None,
            Timers::One(at) => Some(*at),
            Timers::Many(all) => all.last().copied(),
        }
    }

    /// All of them, rising.
    pub(super) fn iter(&self) -> impl Iterator<Item = EventTime> {
        let (one, many) = match self {
            Timers::None => (None, None),
            Timers::One(at) => (Some(*at), None),
            Timers::Many(all) => (None, Some(all.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl FromIterator<EventTime> for Timers {
    fn from_iter<T: IntoIterator<Item = EventTime>>(times: T) -> Timers {
        let mut timers = Timers::None;
        for at in times {
            timers.insert(at);
        }
        timers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn timers_are_a_set(steps in prop::collection::vec((0i64..4, any::<bool>()), 0..40)) {
            let (mut timers, mut twin) = (Timers::None, BTreeSet::new());
            for (at, sets) in steps {
                let at = EventTime(at);
                let (did, would) = match sets {
                    true => (timers.insert(at), twin.insert(at)),
                    false => (timers.remove(at), twin.remove(&at)),
                };
                prop_assert_eq!(did, would);
                prop_assert_eq!(timers.iter().collect::<Vec<_>>(), twin.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!((timers.len(), timers.last()), (twin.len(), twin.last().copied()));
            }
        }
    }
}
