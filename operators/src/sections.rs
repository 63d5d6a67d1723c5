//! Which sections of state files are still needed: the one rule of liveness, for a worker and for the committer.
//!
//! A state file has a section for each (operator, shard) that something is written of. A later **base** replaces every
//! earlier section of its (operator, shard); a later **merged change** replaces the changes and merged changes after the
//! base. What is left is read back in the order base, merged change, changes.
//!
//! Invariant: whoever replaced a dead section is live itself, or was replaced by a live one. So the sections of all files
//! that have a live section say which of them are dead: a start needs nothing else. That is why an empty base counts.

use crate::state::{KeyHash, Saved, SectionKind, Shard, StateChange};
use crate::time::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// A section, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<Operator> {
    /// The operator.
    pub operator: Operator,
    /// The shard.
    pub shard: Shard,
    /// What it holds.
    pub kind: SectionKind,
    /// Its length.
    pub bytes: u64,
}

/// A live section of a shard, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<File> {
    /// The file that has it.
    pub file: File,
    /// Its length.
    pub bytes: u64,
}

/// The live sections of one shard of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces<File> {
    /// The last base.
    pub base: Option<Piece<File>>,
    /// The last merged change after it.
    pub merged: Option<Piece<File>>,
    /// The changes after that, oldest first.
    pub changes: Vec<Piece<File>>,
}

/// What is live of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its live sections.
    pub sections: u64,
    /// Their length.
    pub bytes: u64,
}

/// The live sections of a set of files. `File` orders files by age; two files of one age never have the same shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live<Operator, File> {
    pieces: BTreeMap<(Operator, Shard), Pieces<File>>,
    files: BTreeMap<File, Content>,
}

impl<File> Default for Pieces<File> {
    fn default() -> Self {
        Pieces { base: None, merged: None, changes: Vec::new() }
    }
}

impl<Operator, File> Default for Live<Operator, File> {
    fn default() -> Self {
        Live { pieces: BTreeMap::new(), files: BTreeMap::new() }
    }
}

impl<File: Copy + Ord> Pieces<File> {
    /// Adds a section that is later than all there are, and gives `dead` each piece that it replaces.
    fn add(&mut self, kind: SectionKind, piece: Piece<File>, dead: &mut impl FnMut(Piece<File>)) {
        assert!(self.iter().all(|(_, old)| old.file <= piece.file), "sections are added in their order");
        match kind {
            SectionKind::Base => {
                self.iter().for_each(|(_, old)| dead(old));
                *self = Pieces { base: Some(piece), ..Pieces::default() };
            }
            SectionKind::Merged => {
                self.merged.replace(piece).into_iter().for_each(&mut *dead);
                self.changes.drain(..).for_each(dead);
            }
            SectionKind::Change => self.changes.push(piece),
        }
    }

    /// All pieces, in the order they are read back.
    pub fn iter(&self) -> impl Iterator<Item = (SectionKind, Piece<File>)> {
        let base = self.base.iter().map(|piece| (SectionKind::Base, *piece));
        let merged = self.merged.iter().map(|piece| (SectionKind::Merged, *piece));
        base.chain(merged).chain(self.changes.iter().map(|piece| (SectionKind::Change, *piece)))
    }

    /// Length of the base; 0 if there is none.
    pub fn base_bytes(&self) -> u64 {
        self.base.map_or(0, |piece| piece.bytes)
    }

    /// Length of the merged change; 0 if there is none.
    pub fn merged_bytes(&self) -> u64 {
        self.merged.map_or(0, |piece| piece.bytes)
    }

    /// Length of the changes after both.
    pub fn changes_bytes(&self) -> u64 {
        self.changes.iter().map(|piece| piece.bytes).sum()
    }
}

impl<Operator: Copy + Ord, File: Copy + Ord> Live<Operator, File> {
    /// The live ones of `sections`, which may come in any order.
    pub fn of(sections: impl IntoIterator<Item = (File, Section<Operator>)>) -> Live<Operator, File> {
        let mut sections: Vec<_> = sections.into_iter().collect();
        sections.sort_by_key(|(file, _)| *file);
        let mut live = Live::default();
        sections.into_iter().for_each(|(file, section)| live.add(file, section));
        live
    }

    /// Adds a section of `file`, which is not older than any file that has the same shard.
    ///
    /// # Panics
    /// If it is older.
    pub fn add(&mut self, file: File, section: Section<Operator>) {
        let Section { operator, shard, kind, bytes } = section;
        let content = self.files.entry(file).or_default();
        (content.sections, content.bytes) = (content.sections + 1, content.bytes + bytes);
        let files = &mut self.files;
        let mut dead = |old: Piece<File>| {
            let content = files.get_mut(&old.file).expect("a file with a live section is known");
            (content.sections, content.bytes) = (content.sections - 1, content.bytes - old.bytes);
            if content.sections == 0 {
                files.remove(&old.file);
            }
        };
        self.pieces.entry((operator, shard)).or_default().add(kind, Piece { file, bytes }, &mut dead);
    }

    /// The files that have no live section any more once `added` are there, each in its file. Changes nothing.
    pub fn dead_after(&self, added: &[(File, Section<Operator>)]) -> BTreeSet<File> {
        let mut changed: BTreeMap<(Operator, Shard), Pieces<File>> = BTreeMap::new();
        let mut sections: BTreeMap<File, u64> = BTreeMap::new();
        let count = |file: &File| self.files.get(file).map_or(0, |content| content.sections);
        for (file, Section { operator, shard, kind, bytes }) in added {
            *sections.entry(*file).or_insert_with(|| count(file)) += 1;
            let key = (*operator, *shard);
            let known = || self.pieces.get(&key).cloned().unwrap_or_default();
            let mut dead =
                |old: Piece<File>| *sections.entry(old.file).or_insert_with(|| count(&old.file)) -= 1;
            let piece = Piece { file: *file, bytes: *bytes };
            changed.entry(key).or_insert_with(known).add(*kind, piece, &mut dead);
        }
        sections.into_iter().filter(|(_, sections)| *sections == 0).map(|(file, _)| file).collect()
    }

    /// Forgets every section that `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(Operator, Shard, File) -> bool) {
        for ((operator, shard), pieces) in &mut self.pieces {
            let mut keeps = |piece: &Piece<File>| keep(*operator, *shard, piece.file);
            pieces.base = pieces.base.filter(&mut keeps);
            pieces.merged = pieces.merged.filter(&mut keeps);
            pieces.changes.retain(keeps);
        }
        self.pieces.retain(|_, pieces| pieces.iter().next().is_some());
        self.files.clear();
        for (_, piece) in self.pieces.values().flat_map(Pieces::iter) {
            let content = self.files.entry(piece.file).or_default();
            (content.sections, content.bytes) = (content.sections + 1, content.bytes + piece.bytes);
        }
    }

    /// The files with a live section, oldest first.
    pub fn files(&self) -> &BTreeMap<File, Content> {
        &self.files
    }

    /// The live sections of a shard.
    pub fn pieces(&self, operator: Operator, shard: Shard) -> Option<&Pieces<File>> {
        self.pieces.get(&(operator, shard))
    }

    /// The live sections of all shards.
    pub fn iter(&self) -> impl Iterator<Item = (Operator, Shard, &Pieces<File>)> {
        self.pieces.iter().map(|((operator, shard), pieces)| (*operator, *shard, pieces))
    }

    /// The live sections of one operator's shards.
    pub fn of_operator(&self, operator: Operator) -> impl Iterator<Item = (Shard, &Pieces<File>)> {
        let all = (operator, Shard(0))..=(operator, Shard(u16::MAX));
        self.pieces.range(all).map(|((_, shard), pieces)| (*shard, pieces))
    }
}

/// What a start reads back of `changes`, each written at the close of its epoch: by operator, the sections of a shard in
/// the order base, merged change, changes. For what keeps state in memory, as tests do.
pub fn read_back(changes: &[(Epoch, StateChange)]) -> BTreeMap<String, Vec<Saved>> {
    let mut written: BTreeMap<(&str, Shard, Epoch), &StateChange> = BTreeMap::new();
    for (epoch, change) in changes {
        written.insert((&change.operator, change.shard, *epoch), change);
    }
    let section = |(epoch, change): &'_ (Epoch, StateChange)| {
        let StateChange { operator, shard, kind, bytes, .. } = change;
        (
            *epoch,
            Section {
                operator: KeyHash::of(operator.as_bytes()),
                shard: *shard,
                kind: *kind,
                bytes: bytes.len() as u64,
            },
        )
    };
    let live = Live::of(changes.iter().map(section));
    let files: BTreeMap<Epoch, u32> = live.files().keys().copied().zip(0..).collect();
    let mut saved: BTreeMap<String, Vec<Saved>> = BTreeMap::new();
    for operator in changes.iter().map(|(_, change)| change.operator.as_str()).collect::<BTreeSet<_>>() {
        for (shard, pieces) in live.of_operator(KeyHash::of(operator.as_bytes())) {
            for (kind, Piece { file, .. }) in pieces.iter() {
                let change = written[&(operator, shard, file)];
                let (version, bytes, file) = (change.version, change.bytes.clone(), files[&file]);
                saved.entry(operator.to_string()).or_default().push(Saved {
                    shard,
                    version,
                    kind,
                    file,
                    bytes,
                });
            }
        }
    }
    saved
}

#[cfg(test)]
mod tests {
    use super::*;
    use SectionKind::{Base, Change, Merged};
    use proptest::prelude::*;

    fn section(operator: u32, shard: u16, kind: SectionKind) -> Section<u32> {
        Section { operator, shard: Shard(shard), kind, bytes: 1 }
    }

    /// The live files of sections of one shard: (file, kind).
    fn live(sections: &[(u32, SectionKind)]) -> Vec<u32> {
        let all = sections.iter().map(|(file, kind)| (*file, section(0, 0, *kind)));
        Live::of(all).files().keys().copied().collect()
    }

    #[test]
    fn section_is_live_until_a_later_one_replaces_it() {
        type Case<'a> = (&'a str, &'a [(u32, SectionKind)], &'a [u32]);
        let cases: [Case<'_>; 8] = [
            ("changes add up", &[(1, Change), (2, Change)], &[1, 2]),
            ("a base replaces all", &[(1, Base), (2, Change), (3, Merged), (4, Change), (5, Base)], &[5]),
            ("a merged change replaces changes", &[(1, Change), (2, Change), (3, Merged)], &[3]),
            ("and merged changes", &[(1, Merged), (2, Change), (3, Merged)], &[3]),
            ("but not the base", &[(1, Base), (2, Change), (3, Merged)], &[1, 3]),
            ("changes after a merged one stay", &[(1, Base), (2, Merged), (3, Change)], &[1, 2, 3]),
            ("whatever the order they are found in", &[(3, Base), (1, Base), (2, Change)], &[3]),
            ("nothing", &[], &[]),
        ];
        for (name, sections, expected) in cases {
            assert_eq!(live(sections), expected, "{name}");
        }
    }

    #[test]
    fn empty_base_is_a_base() {
        let empty = Section { bytes: 0, ..section(0, 0, Base) };
        let live = Live::of([(1, section(0, 0, Base)), (2, section(0, 0, Change)), (3, empty)]);
        assert_eq!(live.files().keys().collect::<Vec<_>>(), [&3], "else what it replaced would come back");
    }

    #[test]
    fn shards_and_operators_do_not_replace_each_other() {
        let live = Live::of([(1, section(0, 0, Base)), (2, section(0, 1, Base)), (3, section(1, 0, Base))]);
        assert_eq!(live.files().len(), 3);
    }

    /// Sections in rising files, each file and shard once.
    fn sections() -> impl Strategy<Value = Vec<(u32, Section<u32>)>> {
        let kind = prop_oneof![Just(Base), Just(Merged), Just(Change), Just(Change)];
        let one = (0u32..3, 0u16..3, kind, 0u64..9).prop_map(|(operator, shard, kind, bytes)| Section {
            operator,
            shard: Shard(shard),
            kind,
            bytes,
        });
        let file = prop::collection::vec(one, 0..5).prop_map(|mut sections| {
            sections.sort_by_key(|section| (section.operator, section.shard));
            sections.dedup_by_key(|section| (section.operator, section.shard));
            sections
        });
        prop::collection::vec(file, 0..20).prop_map(|files| {
            let numbered = (0u32..).zip(files);
            numbered.flat_map(|(file, sections)| sections.into_iter().map(move |s| (file, s))).collect()
        })
    }

    /// The definition, said slowly: a section is live unless a later one of its shard replaces it.
    fn slow(all: &[(u32, Section<u32>)]) -> Vec<(u32, Section<u32>)> {
        let replaces = |(later, new): &(u32, Section<u32>), (file, old): &(u32, Section<u32>)| {
            let same = (new.operator, new.shard) == (old.operator, old.shard);
            same && later > file && (new.kind == Base || (new.kind == Merged && old.kind != Base))
        };
        all.iter().filter(|old| !all.iter().any(|new| replaces(new, old))).copied().collect()
    }

    proptest! {
        #[test]
        fn live_sections_are_those_of_the_definition(all in sections()) {
            let live = Live::of(all.iter().copied());
            let mut expected = slow(&all);
            expected.sort_by_key(|(file, s)| (s.operator, s.shard, s.kind, *file));
            let found: Vec<_> = live.iter().flat_map(|(operator, shard, pieces)| {
                let section = move |(kind, piece): (_, Piece<u32>)| {
                    (piece.file, Section { operator, shard, kind, bytes: piece.bytes })
                };
                pieces.iter().map(section).collect::<Vec<_>>()
            }).collect();
            prop_assert_eq!(&found, &expected);
            let mut files: BTreeMap<u32, Content> = BTreeMap::new();
            for (file, section) in &expected {
                let content = files.entry(*file).or_default();
                (content.sections, content.bytes) = (content.sections + 1, content.bytes + section.bytes);
            }
            prop_assert_eq!(live.files(), &files);
        }

        #[test]
        fn files_that_live_say_what_is_dead_in_them(all in sections()) {
            // A start reads the files with live sections only, dead sections included.
            let live = Live::of(all.iter().copied());
            let named = all.iter().filter(|(file, _)| live.files().contains_key(file)).copied();
            prop_assert_eq!(Live::of(named), live.clone());
        }

        #[test]
        fn dead_files_are_foreseen(all in sections(), at in 0u32..20) {
            let (before, added): (Vec<_>, Vec<_>) = all.iter().copied().partition(|(file, _)| *file < at);
            let (before, after) = (Live::of(before), Live::of(all.iter().copied()));
            let every = before.files().keys().copied().chain(added.iter().map(|(file, _)| *file));
            let dead: BTreeSet<u32> = every.filter(|file| !after.files().contains_key(file)).collect();
            prop_assert_eq!(before.dead_after(&added), dead);
        }
    }
}
