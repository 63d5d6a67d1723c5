//! Which keys a decoder has defined in the current epoch.

use hashbrown::HashSet;
use headway_operators::state::KeyHash;
use rustc_hash::FxBuildHasher;

/// The hashes of the keys that were defined: no more than an epoch has records.
pub(crate) struct Defined {
    all: HashSet<KeyHash, FxBuildHasher>,
    /// Some of them, each at the place that its hash says: nearly every message has a key that is found here by one look.
    recent: Box<[KeyHash]>,
}

impl Defined {
    /// As many places as a city has turnstiles, in a core's cache.
    const PLACES: usize = 4096;

    pub(crate) fn new() -> Defined {
        let mut new =
            Defined { all: HashSet::default(), recent: vec![KeyHash::default(); Self::PLACES].into() };
        new.clear();
        new
    }

    /// Forgets all: an epoch begins.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.recent.fill(KeyHash::default());
        // The hash zero belongs to the first place: what stands for "none" there belongs to another.
        self.recent[0] = KeyHash([0, 1]);
    }

    /// Adds `key`; false if it was there.
    pub(crate) fn insert(&mut self, key: KeyHash) -> bool {
        let KeyHash([_, low]) = key;
        let place = &mut self.recent[low as usize % Self::PLACES];
        if *place == key {
            return false;
        }
        *place = key;
        self.all.insert(key)
    }
}
