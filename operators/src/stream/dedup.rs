//! Drops repeats of a record while a window that could count it again is open.
//!
//! # Input
//! A record's identity (a 128-bit hash of all that makes two records equal), event time, and its open windows.
//! # Output
//! Which of those windows have not counted the record yet.
//! # State
//! For each slice of event time (at most a slide, at most a minute), each identity with the end of the earliest window
//! that has counted it. Two copies of a record may find different windows open, since each is judged by its own
//! partition's watermark; the open windows are always the last ones, so the earliest end tells all. A slice goes whole
//! when its last window closes.
//! # Progress
//! Not an operator of its own: it lives beside the sums it protects, in the same shard ([`crate::stream::aggregate`]).
//! # Late and bad data
//! Late records do not get here. A record without identity is never a repeat and is not asked for.
//! # Restart
//! Identities are upserts: of two entries for one identity the earlier end wins, so pieces apply in any order.
//! # Cost
//! One hash probe a record; 24 bytes and a slot's overhead an identity.

use crate::state::KeyHash;
use crate::stream::window::Grid;
use crate::time::{EventTime, Watermark};
use crate::timeline::Timeline;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rustc_hash::FxBuildHasher;

/// Which of its open windows a record still counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// All of them.
    All,
    /// Those with an end before this one; an earlier copy has counted in the others.
    Before(EventTime),
    /// None: it repeats a record that counted in all of them.
    None,
}

/// One identity, as state keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The identity; its shard is the key's.
    pub identity: KeyHash,
    /// The slice it belongs to.
    pub slice: EventTime,
    /// The earliest window end that has counted it.
    pub earliest: EventTime,
}

/// The longest slice in milliseconds: what one table holds stays small enough for a core's cache.
const SLICE_MS: i64 = 60_000;

/// The identities of one slice of event time.
#[derive(Debug, Default)]
struct Slice {
    earliest: HashMap<KeyHash, EventTime, FxBuildHasher>,
    /// Changed since the last snapshot.
    changes: Vec<(KeyHash, EventTime)>,
}

/// The identities of all open slices.
#[derive(Debug)]
pub struct Dedup {
    grid: Grid,
    width_ms: i64,
    slices: Timeline<Slice>,
    held: u64,
}

impl Slice {
    /// An empty slice. It will hold about as many identities as the one before it, so all slices together have room for
    /// no more than about twice what they hold.
    fn after(before: Option<&Slice>) -> Slice {
        let room = before.map_or(0, |before| before.earliest.len());
        let earliest = HashMap::with_capacity_and_hasher(room, FxBuildHasher);
        Slice { earliest, changes: Vec::new() }
    }
}

impl Dedup {
    /// No identities, for windows of `grid`.
    pub fn new(grid: Grid) -> Dedup {
        Dedup { grid, width_ms: grid.slide_ms().min(SLICE_MS), slices: Timeline::default(), held: 0 }
    }

    /// Notes a copy of `identity` at `time`, whose first open window ends at `first_open`.
    pub fn admit(&mut self, identity: KeyHash, time: EventTime, first_open: EventTime) -> Admitted {
        let start = EventTime(time.0.div_euclid(self.width_ms) * self.width_ms);
        let slice = self.slices.at(start, Slice::after);
        let admitted = match slice.earliest.entry(identity) {
            Entry::Vacant(entry) => {
                entry.insert(first_open);
                self.held += 1;
                Admitted::All
            }
            Entry::Occupied(entry) if *entry.get() <= first_open => return Admitted::None,
            Entry::Occupied(mut entry) => Admitted::Before(entry.insert(first_open)),
        };
        slice.changes.push((identity, first_open));
        admitted
    }

    /// Lets go of every slice whose last window has closed.
    pub fn close(&mut self, watermark: Watermark) {
        let (grid, width_ms) = (self.grid, self.width_ms);
        let is_open = |start: EventTime| grid.last_end(start.plus_ms(width_ms - 1)) > watermark;
        for (_, slice) in self.slices.take_until(is_open) {
            self.held -= slice.earliest.len() as u64;
        }
    }

    /// Gives `put`, slice by slice, the identities with their earliest window ends: those that changed since the last
    /// call and are still open; or, with `all`, all of them.
    pub fn snapshot(&mut self, all: bool, mut put: impl FnMut(EventTime, &[(KeyHash, EventTime)])) {
        for (slice, content) in self.slices.iter_mut() {
            // Taken, not cleared: the memory would stay with every open slice.
            let mut changes = std::mem::take(&mut content.changes);
            if all {
                changes =
                    content.earliest.iter().map(|(identity, earliest)| (*identity, *earliest)).collect();
            }
            if !changes.is_empty() {
                put(*slice, &changes);
            }
        }
    }

    /// Takes back one entry.
    pub fn restore(&mut self, seen: Seen) {
        match self.slices.at(seen.slice, Slice::after).earliest.entry(seen.identity) {
            Entry::Vacant(entry) => {
                entry.insert(seen.earliest);
                self.held += 1;
            }
            Entry::Occupied(mut entry) => {
                let earliest = seen.earliest.min(*entry.get());
                entry.insert(earliest);
            }
        }
    }

    /// Identities in open slices.
    pub fn held(&self) -> u64 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The definition, literally: a window counts an identity once.
    #[derive(Default)]
    struct Slow(BTreeSet<(i64, u64)>);

    impl Slow {
        fn admit(&mut self, id: u64, ends: impl Iterator<Item = i64>) -> Vec<i64> {
            ends.filter(|end| self.0.insert((*end, id))).collect()
        }
    }

    fn identity(id: u64) -> KeyHash {
        KeyHash::of(&id.to_le_bytes())
    }

    /// A record's identity includes its event time, so one ID has one time.
    fn time_of(id: u64) -> EventTime {
        EventTime((id * 37 % 500) as i64)
    }

    proptest! {
        #[test]
        fn a_window_counts_each_identity_once_whatever_the_stamps(
            size in 1i64..120, slide in 1i64..60,
            copies in prop::collection::vec((0u64..12, -100i64..600), 0..60),
            cut in 0usize..60,
        ) {
            let grid = Grid::sliding(size.max(slide), slide);
            let (mut fast, mut slow) = (Dedup::new(grid), Slow::default());
            for (at, (id, stamp)) in copies.into_iter().enumerate() {
                if at == cut {
                    // A restart: everything goes through a snapshot.
                    let mut saved = vec![];
                    fast.snapshot(true, |slice, seen| {
                        saved.extend(seen.iter().map(|(identity, earliest)| Seen { identity: *identity, slice, earliest: *earliest }));
                    });
                    fast = Dedup::new(grid);
                    saved.into_iter().for_each(|seen| fast.restore(seen));
                }
                let time = time_of(id);
                let Some(first) = grid.first_open_end(time, EventTime(stamp)) else { continue };
                let all = |before: EventTime| {
                    let ends = (0..).map(move |k| first.ms() + k * slide);
                    ends.take_while(move |end| *end <= grid.last_end(time).ms() && *end < before.ms())
                };
                let got: Vec<_> = match fast.admit(identity(id), time, first) {
                    Admitted::All => all(EventTime::MAX).collect(),
                    Admitted::Before(end) => all(end).collect(),
                    Admitted::None => vec![],
                };
                prop_assert_eq!(got, slow.admit(id, all(EventTime::MAX)));
            }
        }
    }

    #[test]
    fn a_slice_goes_with_its_last_window_and_not_before() {
        let grid = Grid::sliding(60, 20);
        let mut dedup = Dedup::new(grid);
        dedup.admit(identity(1), EventTime(5), EventTime(20));
        dedup.close(EventTime(59));
        assert_eq!(dedup.held(), 1, "the window [0, 60) is open");
        assert_eq!(dedup.admit(identity(1), EventTime(5), EventTime(60)), Admitted::None);
        dedup.close(EventTime(60));
        assert_eq!(dedup.held(), 0);
        dedup.snapshot(false, |_, seen| panic!("{seen:?} is gone, and not saved"));
    }
}
