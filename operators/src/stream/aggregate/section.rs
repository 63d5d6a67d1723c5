//! A shard's part of a snapshot of sums: the keys, the sums, and the identities that they have counted.
//!
//! A section is what `postcard` makes of keys, sums, and pieces of identities: slice of event time, earliest window end,
//! and the hashes of those that share both, 16 bytes each. It is not made from such a value: identities are most of a
//! snapshot, and are copied once, from where they are held to where they are sent from. In version 1 a piece had a slice
//! only, and the end came after each hash.

use crate::state::{KeyHash, SHARDS, Shard};
use crate::stream::aggregate::dedup::{Saving, Seen};
use crate::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};

/// The version that is written; those before are read.
pub(super) const VERSION: u32 = 2;

/// A section, as it is read back.
#[derive(Debug)]
pub(super) struct Section<'a, K> {
    /// The keys of the sums, by value.
    pub keys: Vec<(KeyHash, K)>,
    /// The sums of a key in a window.
    pub sums: Vec<Sum>,
    seen: Vec<Piece<'a>>,
}

/// Identities of one slice of event time.
#[derive(Debug)]
struct Piece<'a> {
    slice: EventTime,
    /// Their earliest window end; `None` if each says its own.
    earliest: Option<EventTime>,
    bytes: &'a [u8],
}

/// The sums of one key in one window, as they are saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    /// The window's end.
    pub end: EventTime,
    /// The first epoch whose records may be in the window.
    pub since: Epoch,
    /// The key.
    pub key: KeyHash,
    /// The sums.
    pub amounts: Vec<i128>,
}

/// Bytes of a hash in a piece, little-endian.
///
/// Fixed width, not the format of everything else: no encoding makes a hash shorter.
const HASH_BYTES: usize = 16;

/// Bytes of a window end, little-endian, after each hash of version 1.
const END_BYTES: usize = 8;

impl<'a, K: Deserialize<'a>> Section<'a, K> {
    /// Reads what some version of [`Sections::encode`] wrote; `None` if it did not.
    pub(super) fn decode(version: u32, bytes: &'a [u8]) -> Option<Section<'a, K>> {
        let (keys, sums, seen) = if version == 1 {
            let (keys, sums, seen): (_, _, Vec<(_, _)>) = postcard::from_bytes(bytes).ok()?;
            let piece = |(slice, bytes)| Piece { slice, earliest: None, bytes };
            (keys, sums, seen.into_iter().map(piece).collect::<Vec<_>>())
        } else {
            let (keys, sums, seen): (_, _, Vec<(_, _, _)>) = postcard::from_bytes(bytes).ok()?;
            let piece = |(slice, earliest, bytes)| Piece { slice, earliest: Some(earliest), bytes };
            (keys, sums, seen.into_iter().map(piece).collect())
        };
        let whole = seen.iter().all(|piece| piece.bytes.len().is_multiple_of(piece.width()));
        whole.then_some(Section { keys, sums, seen })
    }
}

impl<K> Section<'_, K> {
    /// The identities.
    pub(super) fn seen(&self) -> impl Iterator<Item = Seen> {
        self.seen.iter().flat_map(Piece::seen)
    }

    /// True if all of it lives in `shard`: elsewhere another worker would meet the records that it knows.
    pub(super) fn is_of(&self, shard: Shard) -> bool {
        let keys = self.keys.iter().map(|(key, _)| *key).chain(self.sums.iter().map(|sum| sum.key));
        keys.chain(self.seen().map(|seen| seen.identity)).all(|hash| hash.shard() == shard)
    }
}

impl Piece<'_> {
    /// Bytes of one identity.
    fn width(&self) -> usize {
        HASH_BYTES + if self.earliest.is_none() { END_BYTES } else { 0 }
    }

    fn seen(&self) -> impl Iterator<Item = Seen> {
        self.bytes.chunks_exact(self.width()).map(|entry| {
            let (eights, _) = entry.as_chunks();
            let own = || EventTime(i64::from_le_bytes(eights[2]));
            let identity = KeyHash([u64::from_le_bytes(eights[0]), u64::from_le_bytes(eights[1])]);
            Seen { identity, slice: self.slice, earliest: self.earliest.unwrap_or_else(own) }
        })
    }
}

/// The keys and sums of one shard.
#[derive(Clone, Debug)]
pub(super) struct Sums<K> {
    /// The keys that no section before has by value.
    pub keys: Vec<(KeyHash, K)>,
    /// The sums.
    pub sums: Vec<Sum>,
}

impl<K> Default for Sums<K> {
    fn default() -> Self {
        Sums { keys: Vec::new(), sums: Vec::new() }
    }
}

/// Sections, on their way to bytes.
#[derive(Debug)]
pub(super) struct Sections<K> {
    sums: Vec<Sums<K>>,
}

impl<K> Default for Sections<K> {
    fn default() -> Self {
        Sections { sums: (0..SHARDS).map(|_| Sums::default()).collect() }
    }
}

impl<K: Serialize> Sections<K> {
    /// The keys and sums of the shard of `key`.
    pub(super) fn of(&mut self, key: KeyHash) -> &mut Sums<K> {
        &mut self.sums[shard_of(key)]
    }

    /// Gives `put` a section for each shard that has something in it. `seen` are the identities.
    pub(super) fn encode(self, seen: &[Saving<'_>], put: &mut dyn FnMut(Shard, Vec<u8>)) {
        // 1. Counted first, so that a section is allocated once and is never moved.
        let counts: Vec<Vec<usize>> = seen.iter().map(count).collect();
        let start = |(shard, Sums { keys, sums }): (usize, Sums<K>)| {
            let pieces = counts.iter().filter(|counts| counts[shard] > 0).count();
            if pieces == 0 && sums.is_empty() {
                return Vec::new();
            }
            let identities: usize = counts.iter().map(|counts| counts[shard]).sum();
            let room = identities * HASH_BYTES + (pieces + 1) * HEADER_BYTES + sums.len() * size_of::<Sum>();
            append(Vec::with_capacity(room), &(keys, sums, pieces as u64))
        };
        let mut sections: Vec<Vec<u8>> = self.sums.into_iter().enumerate().map(start).collect();
        // 2. Identities, from where they are held to where they are sent from.
        for (saving, counts) in seen.iter().zip(&counts) {
            let Saving { slice, earliest, .. } = saving;
            for (section, count) in sections.iter_mut().zip(counts).filter(|(_, count)| **count > 0) {
                *section = append(std::mem::take(section), &(slice, earliest, (count * HASH_BYTES) as u64));
            }
            for identity in saving.iter() {
                let section = &mut sections[shard_of(identity)];
                identity.0.iter().for_each(|eight| section.extend_from_slice(&eight.to_le_bytes()));
            }
        }
        for (shard, section) in (0..).zip(sections).filter(|(_, section)| !section.is_empty()) {
            put(Shard(shard), section);
        }
    }
}

/// About how many bytes come before a piece of identities, and for the counts of a section.
const HEADER_BYTES: usize = 24;

fn shard_of(hash: KeyHash) -> usize {
    usize::from(hash.shard().0)
}

fn count(saving: &Saving<'_>) -> Vec<usize> {
    let mut counts = vec![0; usize::from(SHARDS)];
    saving.iter().for_each(|identity| counts[shard_of(identity)] += 1);
    counts
}

fn append(section: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, section).expect("plain values encode")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Hashes of a few shards.
    fn hashes() -> impl Strategy<Value = Vec<KeyHash>> {
        prop::collection::vec(
            (0u64..4, 0u64..99).prop_map(|(shard, low)| KeyHash([shard << 54 | low, low])),
            0..40,
        )
    }

    type Pieces<'a> = Vec<(EventTime, EventTime, &'a [u8])>;

    /// A section by value, which the library alone encodes.
    type Slow<'a> = (Vec<(KeyHash, String)>, Vec<Sum>, Pieces<'a>);

    fn bytes_of(identity: KeyHash) -> impl Iterator<Item = u8> {
        identity.0.into_iter().flat_map(u64::to_le_bytes)
    }

    proptest! {
        #[test]
        fn sections_are_what_postcard_makes_of_them_and_come_back(
            summed in hashes(), groups in prop::collection::vec((-9i64..9, -9i64..9, hashes()), 0..4)
        ) {
            // 1. Fill both.
            let (mut fast, mut slow) = (Sections::default(), BTreeMap::<Shard, Slow<'_>>::new());
            for key in summed {
                let text = format!("{key:?}");
                let sum = Sum { end: EventTime(5), since: Epoch(7), key, amounts: vec![-1, 1 << 99] };
                fast.of(key).keys.push((key, text.clone()));
                fast.of(key).sums.push(sum.clone());
                let (keys, sums, _) = slow.entry(key.shard()).or_default();
                keys.push((key, text));
                sums.push(sum);
            }
            let groups: Vec<_> =
                groups.iter().map(|(slice, end, all)| (EventTime(*slice), EventTime(*end), &all[..])).collect();
            let (mut pieces, mut expected) = (BTreeMap::<_, Vec<u8>>::new(), BTreeSet::new());
            for (at, (slice, earliest, identities)) in groups.iter().enumerate() {
                for identity in *identities {
                    pieces.entry((identity.shard(), at)).or_default().extend(bytes_of(*identity));
                    expected.insert((*identity, *slice, *earliest));
                }
            }
            for ((shard, at), piece) in &pieces {
                slow.entry(*shard).or_default().2.push((groups[*at].0, groups[*at].1, piece));
            }
            // 2. The same bytes, and the same identities in them.
            let slow: Vec<_> =
                slow.iter().map(|(shard, section)| (*shard, postcard::to_stdvec(section).unwrap())).collect();
            let mut got = Vec::new();
            let saving: Vec<_> = groups.iter().map(|(slice, end, all)| Saving::all(*slice, *end, all)).collect();
            fast.encode(&saving, &mut |shard, bytes| got.push((shard, bytes)));
            prop_assert_eq!(&got, &slow);
            let mut seen = BTreeSet::new();
            for (shard, bytes) in &got {
                let section = Section::<String>::decode(VERSION, bytes).unwrap();
                prop_assert!(section.is_of(*shard) && !section.is_of(Shard(shard.0 + 1)));
                seen.extend(section.seen().map(|seen| (seen.identity, seen.slice, seen.earliest)));
            }
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn version_2_is_the_one_that_lakes_were_written_with() {
        let (key, identity) = (KeyHash([1 << 54, 2]), KeyHash([(1 << 54) + 3, 4]));
        let mut sections = Sections::default();
        sections.of(key).keys.push((key, "key".to_string()));
        sections.of(key).sums.push(Sum { end: EventTime(300), since: Epoch(7), key, amounts: vec![-1, 200] });
        let mut text = String::new();
        let identities = [identity];
        let saving = Saving::all(EventTime(60), EventTime(-300), &identities);
        sections.encode(&[saving], &mut |shard, bytes| {
            text = bytes.iter().fold(format!("{}:", shard.0), |text, byte| text + &format!("{byte:02x}"));
        });
        let golden = "1:01808080808080802002036b657901d80407808080808080802002020190030178d704100300000000004000\
            0400000000000000";
        assert_eq!(text, golden);
    }

    #[test]
    fn version_1_had_the_end_after_each_hash() {
        let identity = KeyHash([3, u64::MAX]);
        let entry: Vec<u8> = bytes_of(identity).chain((-7i64).to_le_bytes()).collect();
        let old = (Vec::<(KeyHash, String)>::new(), Vec::<Sum>::new(), vec![(EventTime(60), &entry[..])]);
        let bytes = postcard::to_stdvec(&old).unwrap();
        let section = Section::<String>::decode(1, &bytes).unwrap();
        let seen = Seen { identity, slice: EventTime(60), earliest: EventTime(-7) };
        assert_eq!(section.seen().collect::<Vec<_>>(), [seen]);
        assert!(Section::<String>::decode(VERSION, &bytes).is_none(), "it is of another version");
    }

    #[test]
    fn identities_that_are_cut_off_are_refused() {
        let cut: Slow<'_> = (Vec::new(), Vec::new(), vec![(EventTime(0), EventTime(9), &[0; 16 + 15])]);
        assert!(Section::<String>::decode(VERSION, &postcard::to_stdvec(&cut).unwrap()).is_none());
    }
}
