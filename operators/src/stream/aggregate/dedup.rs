//! Drops repeats of a record while a window that could count it again is open. A part of [`super`]: it lives beside the
//! sums it protects, in the same shard.
//!
//! It is given a record's identity (a 128-bit hash of all that makes two records equal), event time, and its open
//! windows, and says which of those windows have not counted the record yet. A record without identity is never a repeat
//! and is not asked for.
//!
//! For each slice of event time (at most a slide, at most a minute) it keeps the identities by the end of the earliest
//! window that has counted them. Two copies of a record may find different windows open, since each is judged by its own
//! partition's watermark; the open windows are always the last ones, so the earliest end tells all. A slice goes whole
//! when its last window closes.
//!
//! Identities are upserts: of two entries for one identity the earlier end wins, so saved pieces apply in any order.
//!
//! Cost: one hash probe a record, and one for each later end that records of its slice have found: mostly none. About 24
//! bytes an identity.

use crate::state::KeyHash;
use crate::stream::aggregate::identities::Identities;
use crate::stream::aggregate::timeline::Timeline;
use crate::stream::window::Grid;
use crate::time::{EventTime, Watermark};

/// Which of its open windows a record still counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// All of them.
    All,
    /// Those with an end before this one; an earlier copy has counted in the others.
    Before(EventTime),
    /// None: it repeats a record that counted in all of them.
    None,
}

/// One identity, as state keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The identity; its shard is the key's.
    pub identity: KeyHash,
    /// The slice it belongs to.
    pub slice: EventTime,
    /// The earliest window end that has counted it.
    pub earliest: EventTime,
}

/// The longest slice in milliseconds: what one table holds stays small enough for a core's cache.
const SLICE_MS: i64 = 60_000;

/// The identities of one slice whose earliest window is the same.
#[derive(Debug)]
struct Group {
    earliest: EventTime,
    identities: Identities,
    /// How many of them the last snapshot had.
    saved: usize,
}

/// The identities of one slice of event time.
#[derive(Debug, Default)]
struct Slice {
    /// By their earliest window end, rising. An identity may be in several; the first one counts.
    groups: Vec<Group>,
    /// How many it will hold, by what the slice before it held.
    expected: usize,
}

/// The identities of all open slices.
#[derive(Debug)]
pub(super) struct Dedup {
    grid: Grid,
    width_ms: i64,
    slices: Timeline<Slice>,
    held: u64,
}

impl Slice {
    /// An empty slice. It will hold about as many identities as the one before it, so all slices together have room for
    /// no more than about twice what they hold.
    fn after(before: Option<&Slice>) -> Slice {
        let held = before.map_or(0, Slice::held);
        Slice { groups: Vec::new(), expected: held + held / 8 }
    }

    fn held(&self) -> usize {
        self.groups.iter().map(|group| group.identities.as_slice().len()).sum()
    }

    /// Notes a copy of `identity` whose first open window ends at `first_open`.
    fn admit(&mut self, identity: KeyHash, first_open: EventTime) -> Admitted {
        // 1. Has a copy counted in all of its windows?
        let at = self.groups.partition_point(|group| group.earliest < first_open);
        if self.groups[..at].iter().any(|group| group.identities.contains(identity)) {
            return Admitted::None;
        }
        if self.groups.get(at).is_none_or(|group| group.earliest != first_open) {
            // The first group is the one that most will be in.
            let room = if self.groups.is_empty() { self.expected } else { 0 };
            let identities = Identities::with_capacity(room);
            self.groups.insert(at, Group { earliest: first_open, identities, saved: 0 });
        }
        if !self.groups[at].identities.insert(identity) {
            return Admitted::None;
        }
        // 2. In some of them?
        let counted = self.groups[at + 1..].iter().find(|group| group.identities.contains(identity));
        counted.map_or(Admitted::All, |group| Admitted::Before(group.earliest))
    }
}

impl Dedup {
    /// No identities, for windows of `grid`.
    pub(super) fn new(grid: Grid) -> Dedup {
        Dedup { grid, width_ms: grid.slide_ms().min(SLICE_MS), slices: Timeline::default(), held: 0 }
    }

    /// Notes a copy of `identity` at `time`, whose first open window ends at `first_open`.
    pub(super) fn admit(&mut self, identity: KeyHash, time: EventTime, first_open: EventTime) -> Admitted {
        let slice = EventTime(time.0.div_euclid(self.width_ms) * self.width_ms);
        self.note(Seen { identity, slice, earliest: first_open })
    }

    fn note(&mut self, seen: Seen) -> Admitted {
        let admitted = self.slices.at(seen.slice, Slice::after).admit(seen.identity, seen.earliest);
        self.held += u64::from(admitted != Admitted::None);
        admitted
    }

    /// Lets go of every slice whose last window has closed.
    pub(super) fn close(&mut self, watermark: Watermark) {
        let (grid, width_ms) = (self.grid, self.width_ms);
        let is_open = |start: EventTime| grid.last_end(start.plus_ms(width_ms - 1)) > watermark;
        for (_, slice) in self.slices.take_until(is_open) {
            self.held -= slice.held() as u64;
        }
    }

    /// The identities by slice and earliest window end: those that came since [`Dedup::saved`] and are still open; or,
    /// with `all`, all of them.
    pub(super) fn groups(&self, all: bool) -> impl Iterator<Item = (EventTime, EventTime, &[KeyHash])> {
        let groups =
            self.slices.iter().flat_map(|(start, slice)| slice.groups.iter().map(|group| (*start, group)));
        groups.filter_map(move |(start, group)| {
            let identities = &group.identities.as_slice()[if all { 0 } else { group.saved }..];
            (!identities.is_empty()).then_some((start, group.earliest, identities))
        })
    }

    /// All there is has been saved.
    pub(super) fn saved(&mut self) {
        for group in self.slices.iter_mut().flat_map(|(_, slice)| &mut slice.groups) {
            group.saved = group.identities.as_slice().len();
        }
    }

    /// Takes back one entry, which is saved already.
    pub(super) fn restore(&mut self, seen: Seen) {
        self.note(seen);
    }

    /// Entries in open slices: identities, once for each end that was the earliest for a time.
    pub(super) fn held(&self) -> u64 {
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

    fn seen(dedup: &Dedup, all: bool) -> impl Iterator<Item = Seen> {
        dedup.groups(all).flat_map(|(slice, earliest, identities)| {
            identities.iter().map(move |identity| Seen { identity: *identity, slice, earliest })
        })
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
                    let saved: Vec<_> = seen(&fast, true).collect();
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
        assert_eq!(seen(&dedup, true).next(), None, "what is gone is not saved");
    }

    #[test]
    fn what_came_since_the_last_save_is_told_and_all_of_it_when_asked() {
        let told = |dedup: &Dedup, all| {
            seen(dedup, all).map(|seen| (seen.identity, seen.earliest.ms())).collect::<Vec<_>>()
        };
        let mut dedup = Dedup::new(Grid::sliding(60, 20));
        dedup.admit(identity(1), EventTime(5), EventTime(40));
        dedup.saved();
        assert_eq!(told(&dedup, false), []);
        dedup.admit(identity(2), EventTime(5), EventTime(40));
        assert_eq!(dedup.admit(identity(1), EventTime(5), EventTime(20)), Admitted::Before(EventTime(40)));
        assert_eq!(told(&dedup, false), [(identity(1), 20), (identity(2), 40)], "an earlier end is news");
        assert_eq!(told(&dedup, true), [(identity(1), 20), (identity(1), 40), (identity(2), 40)]);
    }
}
