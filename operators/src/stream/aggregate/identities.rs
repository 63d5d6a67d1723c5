//! A set of content hashes that remembers the order they came in: what was added since a snapshot is its last part.
//!
//! The hashes lie in a list, the table beside it holds their places: 16 bytes and about 8 of the table a hash, and a hash
//! that is new is found to be so in the table alone, which is small enough for a core's cache. The shape is that of
//! `indexmap`, which keeps 64 bits of another hash and a 64-bit place besides.

use crate::state::KeyHash;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Content hashes, each once, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Identities {
    list: Vec<KeyHash>,
    places: HashTable<u32>,
}

impl Identities {
    /// An empty set with room for `count` hashes.
    pub(super) fn with_capacity(count: usize) -> Identities {
        Identities { list: Vec::with_capacity(count), places: HashTable::with_capacity(count) }
    }

    /// Adds `identity`; false if it was there.
    ///
    /// # Panics
    /// If there were 2^32 of them: they would take more than 64 GiB.
    pub(super) fn insert(&mut self, identity: KeyHash) -> bool {
        let list = &self.list;
        let hash = |place: &u32| placed_by(list[*place as usize]);
        match self.places.entry(placed_by(identity), |place| list[*place as usize] == identity, hash) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(u32::try_from(list.len()).expect("a set holds fewer than 2^32 identities"));
                self.list.push(identity);
                true
            }
        }
    }

    /// Whether `identity` is there.
    pub(super) fn contains(&self, identity: KeyHash) -> bool {
        self.places.find(placed_by(identity), |place| self.list[*place as usize] == identity).is_some()
    }

    /// All of them, in the order they came.
    pub(super) fn as_slice(&self) -> &[KeyHash] {
        &self.list
    }
}

/// What places an identity in a table: it is a hash already, and the shard is in its other half.
fn placed_by(identity: KeyHash) -> u64 {
    identity.0[1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_answers_as_a_list_does_that_is_searched(
            room in 0usize..40, asked in prop::collection::vec((0u64..30, any::<bool>()), 0..200)
        ) {
            let (mut fast, mut slow) = (Identities::with_capacity(room), Vec::new());
            for (number, insert) in asked {
                // Some differ in one half only.
                let identity = KeyHash([number % 3, number / 3]);
                prop_assert_eq!(fast.contains(identity), slow.contains(&identity));
                if insert {
                    prop_assert_eq!(fast.insert(identity), !slow.contains(&identity));
                    if !slow.contains(&identity) {
                        slow.push(identity);
                    }
                }
                prop_assert_eq!(fast.as_slice(), &slow[..]);
            }
        }
    }
}
