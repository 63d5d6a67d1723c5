//! In which order the manifests of a backup get their names in the copy: until the last one has its name, whoever reads the
//! copy finds the commits of the backup before, or a chain with a gap, which every command and every start refuses. No I/O.

use crate::engine::format::names::{Seq, SeqRange};
use std::collections::BTreeSet;

/// Which manifests there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// The ranges of segments.
    pub(super) segments: BTreeSet<SeqRange>,
    /// The numbers of loose manifests.
    pub(super) loose: BTreeSet<Seq>,
}

impl Files {
    /// The first number that no segment has.
    pub(super) fn first_loose(&self) -> Seq {
        self.segments.last().map_or(Seq(0), |range| range.last.next())
    }
}

/// A file with manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A segment of this range.
    Segment(SeqRange),
    /// A loose manifest.
    Manifest(Seq),
}

/// The files that `copy`, whose chain is whole up to `head` if it is, lacks of those in `lake`. All files of a group may get
/// their names in any order; a group begins when the names of the one before are durable.
pub(super) fn order(copy: &Files, head: Option<Seq>, lake: &Files) -> Vec<Vec<Step>> {
    let new: Vec<SeqRange> = lake.segments.difference(&copy.segments).copied().collect();
    let loose: Vec<Seq> = lake.loose.difference(&copy.loose).copied().collect();
    // 1. Segments of what the copy has loose, below its head: they change nothing for who reads it.
    let is_below = |range: &SeqRange| head.is_some_and(|head| range.last < head);
    let (below, rest): (Vec<_>, Vec<_>) = new.into_iter().partition(is_below);
    let mut groups: Vec<Vec<Step>> = below.into_iter().map(|range| vec![Step::Segment(range)]).collect();
    // 2. Of all others the lowest one comes last: without it the chain has a gap.
    let continues = head.is_some_and(|head| loose.first() == Some(&head.next()));
    let mut hidden: Vec<Step> = loose.into_iter().rev().map(Step::Manifest).collect();
    if !continues {
        hidden.extend(rest.iter().rev().copied().map(Step::Segment));
    }
    let last = hidden.pop();
    groups.extend([hidden, last.into_iter().collect()].into_iter().filter(|group| !group.is_empty()));
    // 3. Segments of what the chain now has loose.
    if continues {
        groups.extend(rest.into_iter().map(|range| vec![Step::Segment(range)]));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::commit::decide::{self, Base, Link};
    use crate::engine::format::manifest::Nonce;
    use std::collections::BTreeMap;

    /// Files with `count` segments of ten manifests each, and all manifests from there up to `head` loose.
    fn files(count: u64, head: u64) -> Files {
        let segments = (0..count).map(|n| SeqRange { first: Seq(n * 10), last: Seq(n * 10 + 9) }).collect();
        Files { segments, loose: (count * 10..=head).map(Seq).collect() }
    }

    /// The head of a lake that has `files`; `Err` if its chain has a gap. The nonce of a manifest is its number.
    fn head(files: &Files) -> Result<Option<Seq>, ()> {
        let mut next = Seq(0);
        for SeqRange { first, last } in &files.segments {
            if *first != next {
                return Err(());
            }
            next = last.next();
        }
        let nonce = |seq: Seq| Nonce(u128::from(seq.0));
        let base = next.0.checked_sub(1).map(|last| Base { seq: Seq(last), nonce: nonce(Seq(last)) });
        let link = |seq: &Seq| {
            (
                *seq,
                Link { seq: *seq, nonce: nonce(*seq), parent: seq.0.checked_sub(1).map(|n| nonce(Seq(n))) },
            )
        };
        let loose: BTreeMap<Seq, Link> = files.loose.iter().map(link).collect();
        decide::head(base, &loose).map_err(drop)
    }

    fn add(files: &mut Files, step: Step) {
        match step {
            Step::Segment(range) => drop(files.segments.insert(range)),
            Step::Manifest(seq) => drop(files.loose.insert(seq)),
        }
    }

    #[test]
    fn copy_is_the_old_one_or_broken_until_its_last_file_has_its_name_and_then_the_new_one() {
        let copies = [
            (0, None),
            (0, Some(0)),
            (0, Some(4)),
            (0, Some(25)),
            (1, Some(25)),
            (1, Some(10)),
            (2, Some(29)),
        ];
        let lakes = [(0, 0), (0, 4), (0, 30), (1, 12), (1, 30), (2, 30), (3, 30), (3, 31), (3, 55), (5, 55)];
        let mut cases = 0;
        for ((folded, head_before), (more, head_after)) in
            copies.into_iter().flat_map(|copy| lakes.map(|lake| (copy, lake)))
        {
            let before = head_before.map_or(Files::default(), |head| files(folded, head));
            if head_before.is_some_and(|head| head > head_after) || folded > more {
                continue;
            }
            let (after, old) = (files(more, head_after), head_before.map(Seq));
            let (mut copy, mut is_new) = (before.clone(), old == Some(Seq(head_after)));
            let groups = order(&before, old, &after);
            for (at, group) in groups.iter().enumerate() {
                // A power cut may keep any of the names of a group that is not durable yet.
                let subsets: u32 = if group.len() > 6 { 1 } else { 1 << group.len() };
                for subset in 0..subsets {
                    let mut cut = copy.clone();
                    let kept = group.iter().enumerate().filter(|(n, _)| subset >> n & 1 == 1);
                    kept.for_each(|(_, step)| add(&mut cut, *step));
                    let what = format!("{before:?} to {after:?}, group {at} of {groups:?}, subset {subset}");
                    match head(&cut) {
                        Err(()) => assert!(!is_new, "{what}"),
                        Ok(found) if is_new => assert_eq!(found, Some(Seq(head_after)), "{what}"),
                        Ok(found) => {
                            assert!(found == old || found == Some(Seq(head_after)), "{what}: {found:?}")
                        }
                    }
                }
                group.iter().for_each(|step| add(&mut copy, *step));
                is_new |= head(&copy) == Ok(Some(Seq(head_after)));
                // A copy that was interrupted here is made whole by the next backup.
                let mut again = copy.clone();
                let steps = order(&copy, head(&copy).ok().flatten(), &files(more, head_after + 3));
                steps.into_iter().flatten().for_each(|step| add(&mut again, step));
                assert_eq!(head(&again), Ok(Some(Seq(head_after + 3))));
            }
            assert!(is_new, "{before:?} to {after:?}");
            cases += 1;
        }
        assert!(cases > 40, "{cases} cases");
    }
}
