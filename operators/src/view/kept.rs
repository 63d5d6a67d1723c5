//! What an operator of views keeps of each key, and how that becomes sections of state.

use crate::error::StateError;
use crate::snapshots::{Wanted, Written};
use crate::state::{Saved, SectionKind, Shard};
use crate::view::table::shard_of;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::hash::Hash;

/// A value for each key, saved by shard. A key without a value is gone.
#[derive(Debug)]
pub(super) struct Kept<K, V> {
    slots: HashMap<K, Slot<V>, FxBuildHasher>,
    /// The keys that have changed since the last snapshot, each once.
    dirty: Vec<K>,
    /// How many keys have a value.
    live: u64,
}

#[derive(Debug)]
struct Slot<V> {
    /// `None` until the next base of the shard, where some section has a value of the key.
    value: Option<V>,
    shard: Shard,
    written: Written,
    /// True if the list that [`Kept::note`] fills has the key.
    is_noted: bool,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Kept { slots: HashMap::default(), dirty: Vec::new(), live: 0 }
    }
}

impl<K, V> Kept<K, V>
where
    K: Clone + Ord + Hash + Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    /// Changes the value of `key` in place; the next snapshot has it.
    pub(super) fn change<T>(&mut self, key: &K, change: impl FnOnce(&mut Option<V>) -> T) -> T {
        self.in_slot(key, |slot| change(&mut slot.value))
    }

    /// As [`change`](Kept::change), and `noted` gets the key and the value that it had, unless it has the key already.
    pub(super) fn note(
        &mut self,
        key: &K,
        noted: &mut Vec<(K, Option<V>)>,
        change: impl FnOnce(&mut Option<V>),
    ) where
        V: Clone,
    {
        self.in_slot(key, |slot| {
            if !std::mem::replace(&mut slot.is_noted, true) {
                noted.push((key.clone(), slot.value.clone()));
            }
            change(&mut slot.value);
        });
    }

    /// The value of a key that was noted: the next change notes it again.
    pub(super) fn noted(&mut self, key: &K) -> Option<&V> {
        let slot = self.slots.get_mut(key)?;
        slot.is_noted = false;
        slot.value.as_ref()
    }

    /// Changes the slot of `key`, with one look into the map where it has one.
    fn in_slot<T>(&mut self, key: &K, change: impl FnOnce(&mut Slot<V>) -> T) -> T {
        let slot = match self.slots.get_mut(key) {
            Some(slot) => slot,
            None => self.slots.entry(key.clone()).or_insert(Slot {
                value: None,
                shard: shard_of(key),
                written: Written::Since,
                is_noted: false,
            }),
        };
        if slot.written != Written::No {
            // The first change since the last snapshot.
            slot.written = Written::No;
            self.dirty.push(key.clone());
        }
        let before = slot.value.is_some();
        let changed = change(slot);
        self.live = self.live + u64::from(slot.value.is_some()) - u64::from(before);
        changed
    }

    /// Removes the keys that `is_leaving` names, and gives them with their values, in no order.
    pub(super) fn remove(&mut self, is_leaving: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let keys: Vec<K> = self.iter().map(|(key, _)| key).filter(|key| is_leaving(key)).cloned().collect();
        let take = |key: K| self.change(&key, Option::take).map(|value| (key, value));
        keys.into_iter().filter_map(take).collect()
    }

    /// The keys that have a value, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().filter_map(|(key, slot)| Some((key, slot.value.as_ref()?)))
    }

    /// How many keys have a value.
    pub(super) fn len(&self) -> u64 {
        self.live
    }

    /// Gives the sections that are `wanted`.
    pub(super) fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        let mut keys = std::mem::take(&mut self.dirty);
        if !wanted.is_changes() {
            let is_in = |(key, slot): (&K, &Slot<V>)| {
                slot.written.is_in(wanted.kind(slot.shard)).then(|| key.clone())
            };
            keys = self.slots.iter().filter_map(is_in).collect();
        }
        keys.sort_unstable();
        let mut shards: BTreeMap<Shard, Vec<(&K, Option<&V>)>> = BTreeMap::new();
        let mut gone = Vec::new();
        for key in &keys {
            let slot = self.slots.get_mut(key).expect("a changed key has a slot");
            let kind = wanted.kind(slot.shard);
            slot.written = Written::restored(kind);
            // What a base does not have is gone.
            if kind == SectionKind::Base && slot.value.is_none() {
                gone.push(key);
            }
        }
        for key in gone {
            self.slots.remove(key);
        }
        for key in &keys {
            if let Some(slot) = self.slots.get(key) {
                shards.entry(slot.shard).or_default().push((key, slot.value.as_ref()));
            }
        }
        for (shard, entries) in shards {
            put(shard, postcard::to_stdvec(&entries).expect("plain values encode"));
        }
    }

    /// Takes a section back.
    pub(super) fn restore(&mut self, operator: &str, saved: &Saved) -> Result<(), StateError> {
        let entries: Vec<(K, Option<V>)> =
            postcard::from_bytes(&saved.bytes).map_err(|_| StateError::Malformed {
                operator: operator.to_string(),
                shard: saved.shard.0,
                what: "a list of keys and values",
            })?;
        for (key, value) in entries {
            let is_live = value.is_some();
            let written = Written::restored(saved.kind);
            let slot = Slot { value, shard: saved.shard, written, is_noted: false };
            let before = self.slots.insert(key, slot);
            let was_live = before.is_some_and(|slot| slot.value.is_some());
            self.live = self.live + u64::from(is_live) - u64::from(was_live);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind() -> impl Strategy<Value = SectionKind> {
        prop::sample::select(vec![SectionKind::Base, SectionKind::Merged, SectionKind::Change])
    }

    proptest! {
        #[test]
        fn what_sections_bring_back_is_what_was_kept(
            steps in prop::collection::vec(
                (prop::collection::vec((0u8..9, prop::option::of(any::<u16>())), 0..5), kind()), 1..12)
        ) {
            let mut kept = Kept::<u8, u16>::default();
            // The sections that are live, in the order they are read back: base, merged change, changes.
            let mut live: BTreeMap<Shard, Vec<Saved>> = BTreeMap::new();
            let mut expected = BTreeMap::new();
            for (changes, kind) in steps {
                for (key, value) in changes {
                    kept.change(&key, |slot| *slot = value);
                    match value {
                        Some(value) => expected.insert(key, value),
                        None => expected.remove(&key),
                    };
                }
                // Every second shard gets the kind that was drawn.
                let shards = (0..1024).step_by(2).map(Shard);
                let wanted = if kind == SectionKind::Change { Wanted::changes() } else { Wanted::changes().with(kind, shards) };
                let mut put: BTreeMap<Shard, Vec<u8>> = BTreeMap::new();
                kept.snapshot(&wanted, &mut |shard, bytes| assert!(put.insert(shard, bytes).is_none()));
                for (shard, kind) in wanted.whole() {
                    let pieces = live.entry(shard).or_default();
                    pieces.retain(|piece| kind == SectionKind::Merged && piece.kind == SectionKind::Base);
                }
                for (shard, bytes) in put {
                    let kind = wanted.kind(shard);
                    live.entry(shard).or_default().push(Saved { shard, version: 1, kind, file: 0, bytes });
                }
                let mut back = Kept::<u8, u16>::default();
                for saved in live.values().flatten() {
                    back.restore("Keep", saved).unwrap();
                }
                let found: BTreeMap<u8, u16> = back.iter().map(|(key, value)| (*key, *value)).collect();
                prop_assert_eq!(&found, &expected);
                prop_assert_eq!((kept.len(), back.len()), (expected.len() as u64, expected.len() as u64));
            }
        }
    }
}
