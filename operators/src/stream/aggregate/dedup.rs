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

use crate::snapshots::Wanted;
use crate::state::{KeyHash, SHARDS, SectionKind, Shard};
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
    /// For each shard, how many of them its base may have; empty if none has any.
    based: Vec<u32>,
}

/// Identities of one slice and earliest window end, on their way into a snapshot.
#[derive(Debug)]
pub(super) struct Saving<'a> {
    /// The slice of event time.
    pub(super) slice: EventTime,
    /// The earliest window end that has counted them.
    pub(super) earliest: EventTime,
    /// The identities, in the order they came.
    list: &'a [KeyHash],
    /// For each shard, how many of the list are left out; empty if none are.
    left_out: Vec<u32>,
}

/// The identities of one slice of event time.
#[derive(Debug, Default)]
struct Slice {
    /// By their earliest window end, rising. An identity may be in several; the first one counts.
    groups: Vec<Group>,
    /// How many it will hold, by what the slice before it held.
    expected: usize,
    /// How many different ones there are.
    held: u64,
}

/// The identities of all open slices.
#[derive(Debug)]
pub(super) struct Dedup {
    grid: Grid,
    width_ms: i64,
    slices: Timeline<Slice>,
    /// The slice of the last identity that was admitted: the next one is mostly of the same, and is found so without a division.
    near: EventTime,
    held: u64,
}

impl Slice {
    /// An empty slice. It will hold about as many identities as the one before it, so all slices together have room for
    /// no more than about twice what they hold.
    fn after(before: Option<&Slice>) -> Slice {
        let entries = before.map_or(0, Slice::entries);
        Slice { groups: Vec::new(), expected: entries + entries / 8, held: 0 }
    }

    fn entries(&self) -> usize {
        self.groups.iter().map(|group| group.identities.as_slice().len()).sum()
    }

    /// Notes a copy of `identity` whose first open window ends at `first_open`.
    #[inline]
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
            let group = Group { earliest: first_open, identities, saved: 0, based: Vec::new() };
            self.groups.insert(at, group);
        }
        if !self.groups[at].identities.insert(identity) {
            return Admitted::None;
        }
        // 2. In some of them?
        let counted = self.groups[at + 1..].iter().find(|group| group.identities.contains(identity));
        counted.map_or(Admitted::All, |group| Admitted::Before(group.earliest))
    }
}

impl Group {
    /// For each shard, how many of the first identities are not `wanted`.
    fn left_out(&self, wanted: &Wanted) -> Vec<u32> {
        let of = |shard: u16| match wanted.kind(Shard(shard)) {
            SectionKind::Base => 0,
            SectionKind::Merged => self.based.get(usize::from(shard)).copied().unwrap_or(0),
            SectionKind::Change => place(self.saved),
        };
        (0..SHARDS).map(of).collect()
    }
}

/// A place in a list of identities.
fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a set holds fewer than 2^32 identities")
}

impl<'a> Saving<'a> {
    /// All of `list`.
    #[cfg(test)]
    pub(super) fn all(slice: EventTime, earliest: EventTime, list: &'a [KeyHash]) -> Saving<'a> {
        Saving { slice, earliest, list, left_out: Vec::new() }
    }

    /// The identities, in the order they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = KeyHash> {
        let is_in = |(at, identity): &(u32, &KeyHash)| {
            self.left_out.get(usize::from(identity.shard().0)).is_none_or(|left_out| at >= left_out)
        };
        (0..).zip(self.list).filter(is_in).map(|(_, identity)| *identity)
    }
}

impl Dedup {
    /// No identities, for windows of `grid`.
    pub(super) fn new(grid: Grid) -> Dedup {
        let (slices, near) = (Timeline::default(), EventTime(0));
        Dedup { grid, width_ms: grid.slide_ms().min(SLICE_MS), slices, near, held: 0 }
    }

    /// Notes a copy of `identity` at `time`, whose first open window ends at `first_open`.
    #[inline]
    pub(super) fn admit(&mut self, identity: KeyHash, time: EventTime, first_open: EventTime) -> Admitted {
        if time < self.near || self.near.plus_ms(self.width_ms) <= time {
            self.near = EventTime(time.0.div_euclid(self.width_ms) * self.width_ms);
        }
        self.note(Seen { identity, slice: self.near, earliest: first_open })
    }

    #[inline]
    fn note(&mut self, seen: Seen) -> Admitted {
        let slice = self.slices.at(seen.slice, Slice::after);
        let admitted = slice.admit(seen.identity, seen.earliest);
        // Counted where it is new: an identity that several groups have is one, before a restart and after it.
        let new = u64::from(admitted == Admitted::All);
        (slice.held, self.held) = (slice.held + new, self.held + new);
        admitted
    }

    /// Lets go of every slice whose last window has closed.
    pub(super) fn close(&mut self, watermark: Watermark) {
        let (grid, width_ms) = (self.grid, self.width_ms);
        let is_open = |start: EventTime| grid.last_end(start.plus_ms(width_ms - 1)) > watermark;
        for (_, slice) in self.slices.take_until(is_open) {
            self.held -= slice.held;
        }
    }

    /// The identities by slice and earliest window end, as far as they are `wanted`: of a shard all, those since its base,
    /// or those since [`Dedup::saved`].
    pub(super) fn groups<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = Saving<'a>> {
        let groups =
            self.slices.iter().flat_map(|(start, slice)| slice.groups.iter().map(|group| (*start, group)));
        let saving = move |(slice, group): (EventTime, &'a Group)| {
            let list = group.identities.as_slice();
            let (list, left_out) = match wanted.is_changes() {
                true => (&list[group.saved..], Vec::new()),
                false => (list, group.left_out(wanted)),
            };
            Saving { slice, earliest: group.earliest, list, left_out }
        };
        groups.map(saving).filter(|saving| saving.iter().next().is_some())
    }

    /// What was `wanted` has been saved.
    pub(super) fn saved(&mut self, wanted: &Wanted) {
        for group in self.slices.iter_mut().flat_map(|(_, slice)| &mut slice.groups) {
            group.saved = group.identities.as_slice().len();
        }
        for (shard, kind) in wanted.whole() {
            if kind == SectionKind::Base {
                self.based(shard);
            }
        }
    }

    /// All that is there of `shard` is in its base.
    pub(super) fn based(&mut self, shard: Shard) {
        for group in self.slices.iter_mut().flat_map(|(_, slice)| &mut slice.groups) {
            group.based.resize(usize::from(SHARDS), 0);
            group.based[usize::from(shard.0)] = place(group.identities.as_slice().len());
        }
    }

    /// Takes back one entry, which is saved already.
    pub(super) fn restore(&mut self, seen: Seen) {
        self.note(seen);
    }

    /// Identities in open slices.
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

    fn seen(dedup: &Dedup, wanted: &Wanted) -> Vec<Seen> {
        let group = |group: Saving<'_>| {
            let seen = |identity| Seen { identity, slice: group.slice, earliest: group.earliest };
            group.iter().map(seen).collect::<Vec<_>>()
        };
        dedup.groups(wanted).flat_map(group).collect()
    }

    fn all() -> Wanted {
        Wanted::all(SectionKind::Base)
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
                    let (saved, held) = (seen(&fast, &all()), fast.held());
                    fast = Dedup::new(grid);
                    saved.into_iter().for_each(|seen| fast.restore(seen));
                    prop_assert_eq!(fast.held(), held);
                }
                let time = time_of(id);
                let Some(first) = grid.first_open_end(time, EventTime(stamp)) else { continue };
                let ends = |before: EventTime| {
                    let ends = (0..).map(move |k| first.ms() + k * slide);
                    ends.take_while(move |end| *end <= grid.last_end(time).ms() && *end < before.ms())
                };
                let got: Vec<_> = match fast.admit(identity(id), time, first) {
                    Admitted::All => ends(EventTime::MAX).collect(),
                    Admitted::Before(end) => ends(end).collect(),
                    Admitted::None => vec![],
                };
                prop_assert_eq!(got, slow.admit(id, ends(EventTime::MAX)));
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
        assert_eq!(seen(&dedup, &all()), [], "what is gone is not saved");
    }

    #[test]
    fn snapshot_has_what_came_since_the_last_one_or_since_the_base_or_all() {
        let has = |dedup: &Dedup, wanted: Wanted| {
            seen(dedup, &wanted).iter().map(|seen| (seen.identity, seen.earliest.ms())).collect::<Vec<_>>()
        };
        let mut dedup = Dedup::new(Grid::sliding(60, 20));
        dedup.admit(identity(1), EventTime(5), EventTime(40));
        dedup.saved(&Wanted::changes());
        assert_eq!(has(&dedup, Wanted::changes()), []);
        dedup.admit(identity(2), EventTime(5), EventTime(40));
        assert_eq!(dedup.admit(identity(1), EventTime(5), EventTime(20)), Admitted::Before(EventTime(40)));
        assert_eq!(dedup.held(), 2, "two identities, one of them in two groups");
        let news = [(identity(1), 20), (identity(2), 40)];
        assert_eq!(has(&dedup, Wanted::changes()), news, "an earlier end is news");
        let every = [(identity(1), 20), (identity(1), 40), (identity(2), 40)];
        assert_eq!(has(&dedup, all()), every);
        assert_eq!(has(&dedup, Wanted::all(SectionKind::Merged)), every, "there is no base yet");
        // The base of one shard, changes of the other.
        let (one, two) = (identity(1).shard(), identity(2).shard());
        let base = || Wanted::changes().with(SectionKind::Base, [one]);
        assert_eq!(has(&dedup, base()), every, "all of the one, and what is new of the other");
        dedup.saved(&base());
        dedup.admit(identity(3), EventTime(5), EventTime(40));
        let since = Wanted::changes().with(SectionKind::Merged, [one, two, identity(3).shard()]);
        assert_eq!(has(&dedup, since), [(identity(2), 40), (identity(3), 40)]);
    }
}
