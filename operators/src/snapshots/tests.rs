//! Which sections a worker writes: the rules by cases, and against a slow twin.

use super::*;
use SectionKind::{Base, Change, Merged};
use proptest::prelude::*;

const RULES: Rules = Rules { merge_every: 4, files_max: 6, freed_max: 2, bases_bytes: 100, changes_min: 3 };

fn key(shard: u16) -> Key {
    (Operator(0), Shard(shard))
}

/// What is due after `sections` of operator 0: (epoch, shard, kind, bytes).
fn due(sections: &[(Epoch, u16, SectionKind, u64)]) -> Due {
    let section = |(epoch, shard, kind, bytes): &(Epoch, u16, SectionKind, u64)| {
        let (operator, shard) = (Operator(0), Shard(*shard));
        (File::Own(*epoch), Section { operator, shard, kind: *kind, bytes: *bytes })
    };
    let live = Live::of(sections.iter().map(section));
    let grown = live.iter().filter(|(_, _, pieces)| outgrown(pieces, &RULES));
    let grown = grown.map(|(operator, shard, _)| (operator, shard)).collect();
    let begun = sections.iter().map(|section| section.0).collect::<BTreeSet<_>>().len();
    let unmerged_from = File::Own(Epoch((begun as u64 / 4) * 4));
    let facts = Facts {
        live: &live,
        outgrown: &grown,
        due: &BTreeSet::from([key(9)]),
        unmerged_from,
        begun: begun as u32,
    };
    decide(facts, &RULES)
}

#[test]
fn what_is_due_follows_from_the_files() {
    type Case = (&'static str, Vec<(Epoch, u16, SectionKind, u64)>, bool, Vec<u16>);
    let changes = |epochs: std::ops::RangeInclusive<u64>, bytes| {
        epochs.map(move |epoch| (Epoch(epoch), 0, Change, bytes)).collect::<Vec<_>>()
    };
    let bases =
        |bytes: [u64; 7]| (1..).zip(0..7).map(move |(e, s)| (Epoch(e), s, Base, bytes[usize::from(s)]));
    let cases: [Case; 12] = [
        ("one file", changes(1..=1, 5), false, vec![]),
        ("every fourth file is merged", changes(1..=3, 0), true, vec![]),
        ("and the eighth", changes(1..=7, 0), true, vec![0]),
        ("changes without a base call for one", changes(1..=3, 5), true, vec![0]),
        ("two do not", changes(1..=2, 5), false, vec![]),
        (
            "nor do three of a large base",
            [vec![(Epoch(1), 0, Base, 15)], changes(2..=4, 5)].concat(),
            false,
            vec![],
        ),
        (
            "but those that weigh more",
            [vec![(Epoch(1), 0, Base, 14)], changes(2..=4, 5)].concat(),
            false,
            vec![0],
        ),
        (
            "a merged change of half the base",
            vec![(Epoch(1), 0, Base, 10), (Epoch(2), 0, Merged, 5)],
            false,
            vec![],
        ),
        ("a merged change of more", vec![(Epoch(1), 0, Base, 10), (Epoch(2), 0, Merged, 6)], false, vec![0]),
        (
            "one whose base is due already",
            vec![(Epoch(1), 9, Base, 10), (Epoch(2), 9, Merged, 6)],
            false,
            vec![],
        ),
        (
            "no more than the budget, the oldest first",
            vec![(Epoch(1), 2, Merged, 99), (Epoch(1), 3, Merged, 9), (Epoch(2), 1, Merged, 1)],
            false,
            vec![2, 3],
        ),
        ("too many files", bases([9, 8, 7, 1, 9, 9, 9]).collect(), true, vec![2, 1]),
    ];
    for (name, sections, merge, bases) in cases {
        let bases = bases.into_iter().map(key).collect();
        assert_eq!(due(&sections), Due { merge, bases }, "{name}");
    }
}

/// An operator over a map, with its state files: what it holds must come back from the live sections.
struct Toy {
    held: BTreeMap<u8, u32>,
    changed: Changed<u8>,
    operator: Operator,
}

/// Each file's sections: what was written, in order.
type Written<'a> = Vec<(File, Key, SectionKind, Vec<(u8, Option<u32>)>)>;

fn shard_of(key: u8) -> Shard {
    Shard(u16::from(key % 5))
}

impl Toy {
    fn close(&mut self, epoch: Epoch, snapshots: &mut Snapshots, disk: &mut Written<'_>) {
        let wanted = snapshots.wanted(self.operator);
        let mut pieces: BTreeMap<Shard, Vec<u8>> = self.changed.take(&wanted);
        for (shard, kind) in wanted.whole() {
            let piece = pieces.entry(shard).or_default();
            if kind == Base {
                piece.extend(self.held.keys().filter(|key| shard_of(**key) == shard));
            }
        }
        let mut sections = Vec::new();
        for (shard, keys) in pieces {
            let kind = wanted.kind(shard);
            let entries: Vec<_> = keys.iter().map(|key| (*key, self.held.get(key).copied())).collect();
            sections.push((shard, kind, 4 * entries.len() as u64));
            disk.push((File::Own(epoch), (self.operator, shard), kind, entries));
        }
        snapshots.wrote(self.operator, epoch, &sections);
    }

    /// The operator that a start makes of what is on disk; its files are earlier ones then.
    fn restored(
        snapshots: &mut Snapshots,
        disk: &Written<'_>,
        live: &Live<Operator, File>,
        was: Operator,
    ) -> Toy {
        let mut toy = Toy { held: BTreeMap::new(), changed: Changed::default(), operator: was };
        let files: Vec<File> = live.files().keys().copied().collect();
        let mut saved = Vec::new();
        for (shard, pieces) in live.of_operator(was) {
            for (kind, piece) in pieces.iter() {
                let found = disk.iter().find(|(file, key, ..)| (*file, *key) == (piece.file, (was, shard)));
                let (_, _, written, entries) = found.expect("a live section is on disk");
                assert_eq!(*written, kind);
                for (key, value) in entries {
                    toy.changed.restored(kind, shard, *key);
                    match value {
                        Some(value) => toy.held.insert(*key, *value),
                        None => toy.held.remove(key),
                    };
                }
                let file = files.binary_search(&piece.file).expect("it is live") as u32;
                saved.push(Saved { shard, version: 1, kind, file, bytes: vec![0; piece.bytes as usize] });
            }
        }
        toy.operator = snapshots.add(&saved);
        toy
    }
}

/// What a start makes of what `toys` have written.
fn started_again(toys: &[Toy], snapshots: &Snapshots, disk: &mut Written<'_>) -> (Vec<Toy>, Snapshots) {
    let (live, mut next) = (snapshots.live(), Snapshots::new(RULES));
    let again = toys.iter().map(|toy| Toy::restored(&mut next, disk, live, toy.operator)).collect();
    // On disk, the live files are now the earlier ones, by number.
    let files: Vec<File> = live.files().keys().copied().collect();
    let place = |file: &File| files.binary_search(file).ok().map(|at| File::Earlier(at as u32));
    *disk = std::mem::take(disk)
        .into_iter()
        .filter_map(|(file, key, kind, entries)| Some((place(&file)?, key, kind, entries)))
        .collect();
    (again, next)
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, u8, u32),
    Delete(usize, u8),
    /// The operators that close the epoch.
    Close(Vec<bool>),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0usize..3, 0u8..20, any::<u32>()).prop_map(|(op, key, value)| Step::Set(op, key, value)),
        4 => (0usize..3, 0u8..20).prop_map(|(op, key)| Step::Delete(op, key)),
        8 => prop::collection::vec(prop::bool::weighted(0.9), 3).prop_map(Step::Close),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_held_comes_back_from_the_live_sections_and_files_stay_few(steps in steps()) {
        let mut snapshots = Snapshots::new(RULES);
        let mut toys: Vec<Toy> = (0..3).map(|_| Toy {
            held: BTreeMap::new(),
            changed: Changed::default(),
            operator: snapshots.add(&[]),
        }).collect();
        let (mut disk, mut epoch): (Written<'_>, _) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Set(toy, key, value) => {
                    toys[toy].held.insert(key, value);
                    toys[toy].changed.touch(shard_of(key), key);
                }
                Step::Delete(toy, key) => if toys[toy].held.remove(&key).is_some() {
                    toys[toy].changed.touch(shard_of(key), key);
                },
                Step::Close(closes) => {
                    epoch += 1;
                    let closing = toys.iter_mut().zip(closes).filter(|(_, closes)| *closes);
                    closing.for_each(|(toy, _)| toy.close(Epoch(epoch), &mut snapshots, &mut disk));
                }
                Step::Restart => {
                    // A commit needs every operator's word: all close before a restart may go on from there.
                    epoch += 1;
                    toys.iter_mut().for_each(|toy| toy.close(Epoch(epoch), &mut snapshots, &mut disk));
                    let (again, next) = started_again(&toys, &snapshots, &mut disk);
                    for (toy, again) in toys.iter().zip(&again) {
                        prop_assert_eq!(&toy.held, &again.held);
                    }
                    (toys, snapshots) = (again, next);
                }
            }
            // One more than there may be is begun before it is known; operators that are behind hold a few more.
            prop_assert!(snapshots.files() <= RULES.files_max + 4, "{} files", snapshots.files());
        }
    }
}

#[test]
fn job_at_rest_has_nothing_due_for_ever() {
    let mut snapshots = Snapshots::new(RULES);
    let operator = snapshots.add(&[]);
    for epoch in 1..=50 {
        let shard = Shard(epoch as u16);
        let wanted = snapshots.wanted(operator);
        let mut sections: Vec<_> = wanted.whole().map(|(shard, kind)| (shard, kind, 3)).collect();
        sections.push((shard, Change, 3));
        snapshots.wrote(operator, Epoch(epoch), &sections);
    }
    let mut written = 0;
    for epoch in 51..=100 {
        let wanted = snapshots.wanted(operator);
        let sections: Vec<_> = wanted.whole().map(|(shard, kind)| (shard, kind, 3)).collect();
        written += usize::from(!sections.is_empty());
        snapshots.wrote(operator, Epoch(epoch), &sections);
    }
    assert!(written < 30, "{written} files of a job that stands still");
    assert_eq!(snapshots.wanted(operator), Wanted::changes());
}

#[test]
fn runs_of_one_epoch_each_leave_few_files() {
    let (mut disk, mut snapshots) = (Written::new(), Snapshots::new(RULES));
    let (held, changed) = (BTreeMap::new(), Changed::default());
    let mut toy = Toy { held, changed, operator: snapshots.add(&[]) };
    for run in 1..=200 {
        let key = (run % 20) as u8;
        toy.held.insert(key, run);
        toy.changed.touch(shard_of(key), key);
        toy.close(Epoch(u64::from(run)), &mut snapshots, &mut disk);
        assert!(snapshots.files() <= RULES.files_max + 4, "{} files after {run} runs", snapshots.files());
        let before = toy.held.clone();
        let (mut again, next) = started_again(&[toy], &snapshots, &mut disk);
        (toy, snapshots) = (again.remove(0), next);
        assert_eq!(toy.held, before);
    }
}
