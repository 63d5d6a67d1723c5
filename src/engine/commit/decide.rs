//! The decisions of the commit protocol, as functions of facts already read: which manifest is the head, whether a
//! create counts, what is published, what is garbage. No I/O; what acts calls exactly these.
//!
//! Invariants that they keep together, for any number of runs and any interleaving of their steps:
//! 1. Every number has one winner: the create that succeeded, unless the number had been folded before.
//! 2. A number is folded only while two higher ones are loose. So a run that was suspended meanwhile finds a higher number.
//! 3. A run publishes only what a manifest of the winning chain names, and deletes only what none will name again.

use crate::engine::commit::inconsistency::BrokenChain;
use crate::engine::format::manifest::{LakeFile, Manifest, Nonce};
use crate::engine::format::names::{Generation, Seq, SeqRange};
use crate::store::Published;
use headway_operators::time::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// What ties manifests to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The number.
    pub seq: Seq,
    /// Unique to this manifest.
    pub nonce: Nonce,
    /// The nonce of the one before.
    pub parent: Option<Nonce>,
}

impl Link {
    /// The link of `manifest`.
    pub fn of(manifest: &Manifest) -> Link {
        Link { seq: manifest.seq, nonce: manifest.nonce, parent: manifest.parent }
    }
}

/// The last folded manifest: the first loose one names it as its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The last folded number.
    pub seq: Seq,
    /// Its nonce.
    pub nonce: Nonce,
}

/// The first number that is loose.
pub fn first_loose(base: Option<Base>) -> Seq {
    base.map_or(Seq(0), |base| base.seq.next())
}

/// The head: the highest loose manifest whose parent chain reaches the base. `None` if the job never started.
///
/// Loose manifests with numbers up to the base are leftovers of runs that were suspended while those numbers were folded.
///
/// # Errors
/// If a higher manifest does not reach the base: going on would commit twice.
pub fn head(base: Option<Base>, loose: &BTreeMap<Seq, Link>) -> Result<Option<Seq>, BrokenChain> {
    let first = first_loose(base);
    let mut parent = base.map(|base| base.nonce);
    let mut head = None;
    for (seq, (found, link)) in (first.0..).map(Seq).zip(loose.range(first..)) {
        if *found != seq {
            return Err(BrokenChain::Gap { missing: seq, found: *found });
        }
        if link.seq != seq || link.parent != parent {
            return Err(BrokenChain::OtherParent { seq });
        }
        (head, parent) = (Some(seq), Some(link.nonce));
    }
    match (head, base) {
        (None, Some(base)) => Err(BrokenChain::OnlyFolded { last: base.seq }),
        (head, _) => Ok(head),
    }
}

/// What a create left behind, by what is found under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It happened.
    Mine,
    /// Another's is there.
    Other,
    /// Nothing is there: it did not happen.
    Absent,
}

/// Resolves a create whose outcome is not known, or that found something there.
pub fn written(mine: Nonce, found: Option<Nonce>) -> Written {
    match found {
        None => Written::Absent,
        Some(nonce) if nonce == mine => Written::Mine,
        Some(_) => Written::Other,
    }
}

/// True if the create of `mine` counts: its parent is still there, and no higher number is.
///
/// `parent` is the nonce found under the number before; `highest` the highest number found.
pub fn counts(mine: Link, parent: Option<Nonce>, highest: Option<Seq>) -> bool {
    parent == mine.parent && highest == Some(mine.seq)
}

/// True if the create of `mine` does not count because manifests were deleted: ours is the highest, and its parent is gone.
/// Compaction takes a parent away only below two higher numbers.
pub fn is_lost(mine: Link, parent: Option<Nonce>, highest: Option<Seq>) -> bool {
    mine.parent.is_some() && parent.is_none() && highest.is_none_or(|highest| highest <= mine.seq)
}

/// True if the run whose last manifest is `seq` may still publish and delete. `highest` is what was found just now.
pub fn is_head(seq: Seq, highest: Option<Seq>) -> bool {
    highest == Some(seq)
}

/// True if `file` has its final name. `found` is the size and checksum under that name; not needed for a plain yes.
pub fn is_published(outcome: Published, file: &LakeFile, found: Option<&(u64, String)>) -> bool {
    match outcome {
        Published::Yes => true,
        Published::Exists | Published::Missing => {
            found.is_some_and(|(bytes, checksum)| *bytes == file.bytes && *checksum == file.checksum)
        }
    }
}

/// An epoch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEpoch {
    /// The run.
    pub generation: Generation,
    /// The epoch.
    pub epoch: Epoch,
}

/// True if a folder of staged or state files of the epoch `of` may be deleted by a run that has committed `mine`: files in
/// it that no manifest names will never be named.
pub fn is_past(of: RunEpoch, mine: RunEpoch) -> bool {
    of.generation < mine.generation || (of.generation == mine.generation && of.epoch <= mine.epoch)
}

/// How manifests are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folding {
    /// How many make a segment.
    pub segment: u64,
    /// How many stay loose at least. At least 2: see the invariants.
    pub keep: u64,
}

/// The manifests to fold next, if there are enough: always the same ranges, whichever run folds them.
pub fn fold(base: Option<Base>, head: Seq, rule: Folding) -> Option<SeqRange> {
    let first = first_loose(base);
    let last = Seq(first.0 + rule.segment - 1);
    (last.0 + rule.keep.max(2) <= head.0).then_some(SeqRange { first, last })
}

/// The files with state that `before` names and `after` does not: nothing will name them again.
pub fn dropped_state(before: &Manifest, after: &Manifest) -> BTreeSet<String> {
    let kept = state_paths(after);
    state_paths(before).into_iter().filter(|path| !kept.contains(path)).collect()
}

/// The files with state that `manifest` names.
pub fn state_paths(manifest: &Manifest) -> BTreeSet<String> {
    manifest.state.iter().map(|entry| entry.place(&manifest.job).name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::batch;

    fn link(seq: u64, nonce: u128, parent: Option<u128>) -> (Seq, Link) {
        (Seq(seq), Link { seq: Seq(seq), nonce: Nonce(nonce), parent: parent.map(Nonce) })
    }

    #[test]
    fn head_is_the_highest_manifest_that_reaches_the_base() {
        let base = |seq, nonce| Some(Base { seq: Seq(seq), nonce: Nonce(nonce) });
        let gap = |missing, found| Err(BrokenChain::Gap { missing: Seq(missing), found: Seq(found) });
        let other_parent = |seq| Err(BrokenChain::OtherParent { seq: Seq(seq) });
        let cases = [
            ("a job that never started", None, vec![], Ok(None)),
            ("a first claim", None, vec![link(0, 10, None)], Ok(Some(0))),
            ("a chain", None, vec![link(0, 10, None), link(1, 11, Some(10))], Ok(Some(1))),
            ("a chain on a segment", base(4, 14), vec![link(5, 15, Some(14))], Ok(Some(5))),
            (
                "litter below the base does not matter",
                base(4, 14),
                vec![link(3, 99, Some(98)), link(5, 15, Some(14)), link(6, 16, Some(15))],
                Ok(Some(6)),
            ),
            ("a first one with a parent", None, vec![link(0, 10, Some(9))], other_parent(0)),
            ("a gap", None, vec![link(0, 10, None), link(2, 12, Some(11))], gap(1, 2)),
            ("a start that is missing", None, vec![link(3, 13, Some(12))], gap(0, 3)),
            ("another parent", None, vec![link(0, 10, None), link(1, 11, Some(77))], other_parent(1)),
            ("another base", base(4, 14), vec![link(5, 15, Some(77))], other_parent(5)),
            (
                "nothing on a segment",
                base(4, 14),
                vec![link(4, 14, Some(13))],
                Err(BrokenChain::OnlyFolded { last: Seq(4) }),
            ),
        ];
        for (name, base, links, expected) in cases {
            let expected = expected.map(|seq: Option<u64>| seq.map(Seq));
            assert_eq!(head(base, &links.into_iter().collect()), expected, "{name}");
        }
    }

    #[test]
    fn create_counts_only_on_its_own_parent_and_as_the_highest() {
        let mine = link(7, 17, Some(16)).1;
        let cases = [
            ("undisturbed", Some(16), Some(7), true),
            ("another parent", Some(99), Some(7), false),
            ("the parent was folded", None, Some(7), false),
            ("a higher one is there", Some(16), Some(8), false),
            ("slept through many", None, Some(300), false),
            ("ours is gone", Some(16), Some(6), false),
            ("all are gone", None, None, false),
        ];
        for (name, parent, highest, expected) in cases {
            assert_eq!(counts(mine, parent.map(Nonce), highest.map(Seq)), expected, "{name}");
        }
        let first = link(0, 10, None).1;
        assert!(counts(first, None, Some(Seq(0))));
        assert!(!counts(first, None, Some(Seq(400))), "the first number can be folded, too");
    }

    #[test]
    fn deleted_manifests_are_no_other_run() {
        let mine = link(7, 17, Some(16)).1;
        let cases = [
            ("undisturbed", Some(16), Some(7), false),
            ("another parent", Some(99), Some(7), false),
            ("the folder was deleted, and ours written since", None, Some(7), true),
            ("all are gone", None, None, true),
            ("folded by a run that went on", None, Some(300), false),
        ];
        for (name, parent, highest, expected) in cases {
            assert_eq!(is_lost(mine, parent.map(Nonce), highest.map(Seq)), expected, "{name}");
        }
        assert!(!is_lost(link(0, 10, None).1, None, Some(Seq(0))), "the first one has no parent");
    }

    #[test]
    fn outcome_of_a_write_is_read_from_its_nonce() {
        assert_eq!(written(Nonce(1), Some(Nonce(1))), Written::Mine);
        assert_eq!(written(Nonce(1), Some(Nonce(2))), Written::Other);
        assert_eq!(written(Nonce(1), None), Written::Absent);
    }

    #[test]
    fn file_that_exists_is_published_only_if_it_is_the_same() {
        let file = batch();
        let same = (3, "abc".to_string());
        let other = (3, "abd".to_string());
        let cases = [
            ("published now", Published::Yes, None, true),
            ("published before", Published::Exists, Some(&same), true),
            ("another file has the name", Published::Exists, Some(&other), false),
            ("published, and its stage cleaned", Published::Missing, Some(&same), true),
            ("neither is there", Published::Missing, None, false),
        ];
        for (name, outcome, found, expected) in cases {
            assert_eq!(is_published(outcome, &file, found), expected, "{name}");
        }
    }

    #[test]
    fn only_the_past_of_this_and_earlier_runs_is_garbage() {
        let mine = (3, 40);
        let cases = [
            ("own, committed", (3, 40), true),
            ("own, still open", (3, 41), false),
            ("of an earlier run", (2, 90), true),
            ("of a later run", (4, 1), false),
        ];
        for (name, folder, expected) in cases {
            let of =
                |(generation, epoch)| RunEpoch { generation: Generation(generation), epoch: Epoch(epoch) };
            assert_eq!(is_past(of(folder), of(mine)), expected, "{name}");
        }
    }

    #[test]
    fn segments_are_the_same_whoever_folds_and_two_stay_loose() {
        let rule = Folding { segment: 4, keep: 0 };
        assert_eq!(fold(None, Seq(4), rule), None);
        assert_eq!(fold(None, Seq(5), rule), Some(SeqRange { first: Seq(0), last: Seq(3) }));
        assert_eq!(fold(None, Seq(500), rule), Some(SeqRange { first: Seq(0), last: Seq(3) }));
        assert_eq!(
            fold(Some(Base { seq: Seq(3), nonce: Nonce(1) }), Seq(9), rule),
            Some(SeqRange { first: Seq(4), last: Seq(7) })
        );
    }
}
