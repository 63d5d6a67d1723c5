//! Where state lives: 1,024 shards, chosen by a fixed hash of the key, whatever the number of workers.

use crate::error::StateError;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// How many shards there are. Fixed for the life of a lake.
pub const SHARDS: u16 = 1024;

/// The seed of every hash that reaches disk. Changing it is a new state format.
const SEED: u64 = 0x6865_6164_7761_7931;

/// The owner of a slice of an operator's state. Shard `s` lives on worker `s % workers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shard(pub u16);

impl Shard {
    /// The worker, of `workers`, that owns this shard.
    pub fn owner(self, workers: usize) -> usize {
        usize::from(self.0) % workers
    }
}

/// A 128-bit content hash with a fixed seed: stable across builds, processes and worker counts.
///
/// Its top ten bits are the shard. 128 bits are enough to stand for the content itself: with 10^12 different
/// contents the chance of any collision is below 10^-14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyHash(pub [u64; 2]);

impl KeyHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> KeyHash {
        let h = xxh3_128_with_seed(bytes, SEED);
        KeyHash([(h >> 64) as u64, h as u64])
    }

    /// The shard of the key.
    #[inline]
    pub fn shard(self) -> Shard {
        Shard((self.0[0] >> 54) as u16)
    }

    /// This hash, moved to the shard of `key`: for content that must live beside its key.
    #[must_use]
    #[inline]
    pub fn beside(self, key: KeyHash) -> KeyHash {
        const LOW: u64 = (1 << 54) - 1;
        KeyHash([(key.0[0] & !LOW) | (self.0[0] & LOW), self.0[1]])
    }
}

impl std::hash::Hash for KeyHash {
    /// The content is already a hash: its second half is enough to place it in a table.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[1]);
    }
}

/// What a section of state holds of its shard. In the order they are read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SectionKind {
    /// All of it. A section without bytes is empty, and replaces the sections before it.
    Base,
    /// Every entry that was made, changed or deleted since the base.
    Merged,
    /// Every entry that was made, changed or deleted since the section before.
    Change,
}

/// A piece of an operator's state that leaves it at the close of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// The operator's name, stable across releases.
    pub operator: String,
    /// The slice it belongs to.
    pub shard: Shard,
    /// The version of the operator's encoding.
    pub version: u32,
    /// What it holds of the shard.
    pub kind: SectionKind,
    /// The operator's own encoding.
    pub bytes: Vec<u8>,
}

/// The sections of a state file, without their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sections {
    /// The operators that have sections, by number.
    pub operators: Vec<OperatorHead>,
    /// The sections, in the order they are written.
    pub list: Vec<SectionHead>,
}

/// An operator in a state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorHead {
    /// Its name.
    pub name: String,
    /// The version of its encoding.
    pub version: u32,
}

/// A section, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionHead {
    /// The number of its operator in the file.
    pub operator: u16,
    /// The slice it belongs to.
    pub shard: Shard,
    /// What it holds of the shard.
    pub kind: SectionKind,
    /// Its length in bytes.
    pub bytes: u64,
    /// xxh3-64 of its bytes.
    pub xxh3: u64,
}

/// A piece of state that comes back when a dataflow is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The slice it belongs to.
    pub shard: Shard,
    /// The version of the encoding.
    pub version: u32,
    /// What it holds of the shard.
    pub kind: SectionKind,
    /// Which of the files it was read from, by their age.
    pub file: u32,
    /// The operator's own encoding; empty for an empty section.
    pub bytes: Vec<u8>,
}

/// What an operator holds of a key, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key, as JSON.
    pub key: String,
    /// The version that wrote it.
    pub version: u32,
    /// The event time of the last record or timer that touched it.
    pub touched: EventTime,
    /// Its timers, rising.
    pub timers: Vec<EventTime>,
    /// The state, as JSON.
    pub state: String,
}

/// Shows what sections hold: [`crate::keyed::Keyed::show`] of some operator.
pub type Show = fn(&str, &[Saved]) -> Option<Result<Vec<Shown>, StateError>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_one_that_lakes_were_written_with() {
        let h = KeyHash::of(b"A002\0R051");
        assert_eq!(h, KeyHash::of(b"A002\0R051"));
        assert_eq!(format!("{:016x}{:016x}", h.0[0], h.0[1]), GOLDEN);
    }

    /// Written down once; a change would orphan the state of every lake.
    const GOLDEN: &str = "666239997011c9c258c214608c583742";

    #[test]
    fn content_beside_a_key_has_its_shard() {
        let (key, content) = (KeyHash::of(b"key"), KeyHash::of(b"content"));
        assert_eq!(content.beside(key).shard(), key.shard());
        assert_eq!(content.beside(key).0[1], content.0[1]);
    }
}
