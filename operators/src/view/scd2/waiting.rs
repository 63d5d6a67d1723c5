//! The events that the watermark has not passed, in the order in which they will count, and how they become sections of state.
//!
//! Each event is in a section once. No section says that it does not wait any more: the watermark says that, when they are read.

use crate::snapshots::{Wanted, Written};
use crate::state::{SectionKind, Shard};
use crate::time::{EventTime, Watermark};
use crate::view::table::Key;
use std::collections::BTreeMap;

/// Events that may count in any order among themselves lie in one list: those of about a second.
const LIST_MS_LOG2: u32 = 10;

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waits<E> {
    /// When it happened.
    pub(super) time: EventTime,
    /// What it says.
    pub(super) event: E,
    shard: Shard,
    written: Written,
}

/// What a section has of an event.
pub(super) type Entry<'a, E> = (EventTime, &'a E);

/// All events that wait.
#[derive(Debug)]
pub(super) struct Waiting<E> {
    /// Events that no section has yet.
    fresh: Vec<Waits<E>>,
    /// Events that a section has, by the number of their list.
    later: BTreeMap<i64, Vec<Waits<E>>>,
}

impl<E> Default for Waiting<E> {
    fn default() -> Self {
        Waiting { fresh: Vec::new(), later: BTreeMap::new() }
    }
}

impl<E: Ord> Waits<E> {
    /// By time; at one instant in the order of events.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.time.cmp(&other.time).then_with(|| self.event.cmp(&other.event))
    }
}

impl<E: Key> Waiting<E> {
    /// Adds an event of a key of `shard`.
    pub(super) fn add(&mut self, shard: Shard, time: EventTime, event: E) {
        self.fresh.push(Waits { time, event, shard, written: Written::No });
    }

    /// Takes the events below `watermark` out, in order of time; at one instant in their own.
    pub(super) fn take_below(&mut self, watermark: Watermark) -> Vec<Waits<E>> {
        let mut taken = Vec::new();
        while let Some(mut first) = self.later.first_entry().filter(|list| *list.key() < list_of(watermark)) {
            taken.append(first.get_mut());
            first.remove();
        }
        // This one may have events on both sides.
        if let Some(mut first) = self.later.first_entry().filter(|list| *list.key() == list_of(watermark)) {
            taken.extend(first.get_mut().extract_if(.., |waits| waits.time < watermark));
            if first.get().is_empty() {
                first.remove();
            }
        }
        taken.extend(self.fresh.extract_if(.., |waits| waits.time < watermark));
        // Not the unstable sort: this one is quick where events of one epoch lie in order already.
        taken.sort_by(Waits::order);
        taken
    }

    /// The events that belong into the sections that are `wanted`, by shard; [`Waiting::wrote`] follows.
    pub(super) fn entries(&mut self, wanted: &Wanted) -> BTreeMap<Shard, Vec<Entry<'_, E>>> {
        // Sections do not depend on the order of arrival.
        self.fresh.sort_by(Waits::order);
        let mut shards: BTreeMap<Shard, Vec<Entry<'_, E>>> = BTreeMap::new();
        let later = self.later.values().flatten().filter(|_| !wanted.is_changes());
        let is_in = |waits: &&Waits<E>| waits.written.is_in(wanted.kind(waits.shard));
        for waits in later.filter(is_in).chain(&self.fresh) {
            shards.entry(waits.shard).or_default().push((waits.time, &waits.event));
        }
        shards
    }

    /// The sections that were `wanted` have what [`Waiting::entries`] gave.
    pub(super) fn wrote(&mut self, wanted: &Wanted) {
        if !wanted.is_changes() {
            let bases = |waits: &&mut Waits<E>| wanted.kind(waits.shard) == SectionKind::Base;
            self.later.values_mut().flatten().filter(bases).for_each(|waits| waits.written = Written::Base);
        }
        let mut fresh = self.fresh.drain(..).peekable();
        while let Some(number) = fresh.peek().map(|waits| list_of(waits.time)) {
            let list = self.later.entry(number).or_default();
            while let Some(waits) = fresh.next_if(|waits| list_of(waits.time) == number) {
                list.push(Waits { written: Written::restored(wanted.kind(waits.shard)), ..waits });
            }
        }
    }

    /// Takes an event back from a section of this kind.
    pub(super) fn restore(&mut self, shard: Shard, kind: SectionKind, time: EventTime, event: E) {
        let waits = Waits { time, event, shard, written: Written::restored(kind) };
        self.later.entry(list_of(time)).or_default().push(waits);
    }

    /// All events, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = Entry<'_, E>> {
        self.later.values().flatten().chain(&self.fresh).map(|waits| (waits.time, &waits.event))
    }
}

/// The number of the list of events at `time`.
fn list_of(time: EventTime) -> i64 {
    time.ms() >> LIST_MS_LOG2
}
