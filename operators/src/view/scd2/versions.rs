//! The versions of each key that no event can change any more, and how they become sections of state.

use crate::snapshots::{Wanted, Written};
use crate::state::{SectionKind, Shard};
use crate::time::EventTime;
use crate::view::table::{Key, shard_of};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::collections::BTreeMap;

/// The first instant of a version, and its value.
pub(super) type Point<V> = (EventTime, V);

/// What a section has of a key: the beginnings of its versions but the newest one, rising, and the newest one.
pub(super) type Entry<'a, K, V> = (&'a K, &'a [Point<V>], &'a Point<V>);

/// The versions of all keys. A key that was said to be [known](Versions::know) has an entry, which may have no version yet.
///
/// Most keys have one version, and each event looks at the newest one only: so this lies in the table itself, the others
/// elsewhere.
#[derive(Debug)]
pub(super) struct Versions<K, V> {
    slots: HashMap<K, Slot<V>, FxBuildHasher>,
    /// The beginnings of all versions but the newest one, rising.
    earlier: HashMap<K, Vec<Point<V>>, FxBuildHasher>,
    /// The keys with versions that no section has, each once.
    dirty: Vec<K>,
}

#[derive(Debug)]
struct Slot<V> {
    newest: Option<Point<V>>,
    shard: Shard,
    written: Written,
}

/// What an event did to the versions of its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled<V> {
    /// The newest version has its value, since then.
    Holds(EventTime),
    /// A version began at the event, and ended this one, if there was one.
    Begins(Option<Point<V>>),
}

impl<K, V> Default for Versions<K, V> {
    fn default() -> Self {
        Versions { slots: HashMap::default(), earlier: HashMap::default(), dirty: Vec::new() }
    }
}

impl<K: Key, V: Key> Versions<K, V> {
    /// Gives `key` an entry if it has none; its shard.
    pub(super) fn know(&mut self, key: &K) -> Shard {
        if let Some(slot) = self.slots.get(key) {
            return slot.shard;
        }
        let shard = shard_of(key);
        self.slots.insert(key.clone(), Slot { newest: None, shard, written: Written::Since });
        shard
    }

    /// Lets `key`, which is known, have `value` from `at` on, which lies after all that it had before.
    pub(super) fn settle(&mut self, key: &K, at: EventTime, value: &V) -> Settled<V> {
        let slot = self.slots.get_mut(key).expect("an event of the key has come");
        if let Some((from, known)) = &slot.newest
            && known == value
        {
            return Settled::Holds(*from);
        }
        let before = slot.newest.replace((at, value.clone()));
        if std::mem::replace(&mut slot.written, Written::No) != Written::No {
            self.dirty.push(key.clone());
        }
        if let Some(before) = &before {
            // Few keys have many versions: room for four would be wasted.
            let earlier = self.earlier.entry_ref(key).or_insert_with(|| Vec::with_capacity(1));
            earlier.push(before.clone());
        }
        Settled::Begins(before)
    }

    /// All versions, in no order: key, value, first instant and end.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V, EventTime, Option<EventTime>)> {
        self.slots.iter().flat_map(|(key, slot)| {
            let points = || self.earlier(key).iter().chain(&slot.newest);
            let ends = points().skip(1).map(|(from, _)| Some(*from)).chain([None]);
            points().zip(ends).map(move |((from, value), to)| (key, value, *from, to))
        })
    }

    /// How many keys are known.
    pub(super) fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    fn earlier(&self, key: &K) -> &[Point<V>] {
        self.earlier.get(key).map_or(&[], Vec::as_slice)
    }

    /// The entries that belong into the sections that are `wanted`, by shard and key. They are written then.
    pub(super) fn take(&mut self, wanted: &Wanted) -> BTreeMap<Shard, Vec<Entry<'_, K, V>>> {
        let mut keys = std::mem::take(&mut self.dirty);
        if !wanted.is_changes() {
            let is_in = |(key, slot): (&K, &Slot<V>)| {
                let is_in = slot.newest.is_some() && slot.written.is_in(wanted.kind(slot.shard));
                is_in.then(|| key.clone())
            };
            keys = self.slots.iter().filter_map(is_in).collect();
        }
        keys.sort_unstable();
        for key in &keys {
            let slot = self.slots.get_mut(key).expect("a changed key has an entry");
            slot.written = Written::restored(wanted.kind(slot.shard));
        }
        let mut shards: BTreeMap<Shard, Vec<Entry<'_, K, V>>> = BTreeMap::new();
        for key in &keys {
            let (key, slot) = self.slots.get_key_value(key).expect("a changed key has an entry");
            let newest = slot.newest.as_ref().expect("a changed key has a version");
            shards.entry(slot.shard).or_default().push((key, self.earlier(key), newest));
        }
        shards
    }

    /// Takes the versions of a key back from a section of this kind.
    pub(super) fn restore(&mut self, shard: Shard, kind: SectionKind, key: K, mut points: Vec<Point<V>>) {
        let newest = points.pop();
        if points.is_empty() {
            self.earlier.remove(&key);
        } else {
            points.shrink_to_fit();
            self.earlier.insert(key.clone(), points);
        }
        self.slots.insert(key, Slot { newest, shard, written: Written::restored(kind) });
    }
}
