//! Decides what a worker writes of its state at the close of an epoch: changes, merged changes or bases, shard by shard.
//!
//! A worker writes one file for each epoch that changed some of its state. Three rules keep the files few and a restart
//! as cheap as live state, however long the job runs:
//!
//! 1. Every [`Rules::merge_every`]th file is *merged*: it replaces the changes of all files before it.
//! 2. A shard whose merged change has *outgrown* half its base, or what follows the base the base itself, gets a new
//!    base; a few in an epoch, since a base is encoded in memory.
//! 3. Where more than [`Rules::files_max`] files have live sections, the shards of the files with the fewest live bytes
//!    get a base.
//!
//! [`decide`] is the decision, a function of facts. [`Snapshots`] keeps the facts of one worker, for all its operators.
//! What is due waits until its operator closes an epoch: operators close them in their own time. So nothing is due twice,
//! and an operator at rest is not woken.

use crate::sections::{Live, Pieces, Section};
use crate::state::{SHARDS, Saved, SectionKind, Shard};
use crate::time::Epoch;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Shared by the keyed operators of one worker.
pub type SharedSnapshots = Rc<RefCell<Snapshots>>;

/// How many live files there may be, and how much is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// After how many files one is merged.
    pub merge_every: u32,
    /// How many files of a worker may have live sections.
    pub files_max: usize,
    /// How many files are freed at once where there are more.
    pub freed_max: usize,
    /// About how many bytes of bases are written at once, by rule 2; more where live state is large.
    pub bases_bytes: u64,
    /// How many changes there are at least before their length calls for a base.
    pub changes_min: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { merge_every: 32, files_max: 64, freed_max: 4, bases_bytes: 8 << 20, changes_min: 8 }
    }
}

/// Live state is written whole in so many epochs at most, where rule 2 asks for all of it.
const BASES_SPREAD: u64 = 8;

/// An operator of the worker, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operator(u32);

/// A file with state of this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// One of an earlier run, by its place among those that were read back.
    Earlier(u32),
    /// This worker's, of this epoch.
    Own(Epoch),
}

/// The shard of an operator.
type Key = (Operator, Shard);

/// What there is to write beside changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Whether the next file is merged.
    pub merge: bool,
    /// The shards that get a base.
    pub bases: BTreeSet<Key>,
}

/// What a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The live sections.
    pub live: &'a Live<Operator, File>,
    /// The shards that have [`outgrown`] their base.
    pub outgrown: &'a BTreeSet<Key>,
    /// The shards whose base is due already.
    pub due: &'a BTreeSet<Key>,
    /// The first file after the last merged one: what is in it and later ones is merged by itself.
    pub unmerged_from: File,
    /// How many files the worker has begun in this run.
    pub begun: u32,
}

/// True if a shard should get a new base.
pub fn outgrown(pieces: &Pieces<File>, rules: &Rules) -> bool {
    let (base, merged) = (pieces.base_bytes(), pieces.merged_bytes());
    let many = pieces.changes.len() >= rules.changes_min && merged + pieces.changes_bytes() > base;
    merged > base / 2 || many
}

/// What is due after the file that was just begun.
pub fn decide(facts: Facts<'_>, rules: &Rules) -> Due {
    let mut bases = BTreeSet::new();
    let size = |key: &Key| {
        let pieces = facts.live.pieces(key.0, key.1);
        pieces.map_or(0, |pieces| pieces.iter().map(|(_, piece)| piece.bytes).sum::<u64>())
    };
    // 1. Shards that have outgrown their base: those of the oldest files first, as many as the budget allows.
    let total: u64 = facts.live.files().values().map(|content| content.bytes).sum();
    let mut budget = rules.bases_bytes.max(total / BASES_SPREAD);
    let age = |key: &Key| {
        facts.live.pieces(key.0, key.1).and_then(|p| p.iter().next().map(|(_, piece)| piece.file))
    };
    let mut grown: Vec<_> = facts.outgrown.difference(facts.due).map(|key| (age(key), *key)).collect();
    grown.sort_unstable();
    for (_, key) in grown {
        bases.insert(key);
        budget = match budget.checked_sub(size(&key)) {
            Some(left) => left,
            None => break,
        };
    }
    // 2. Files with little that is live, where there are too many: one more than too many, for a base makes one.
    let files = facts.live.files();
    if files.len() > rules.files_max {
        let count = (files.len() - rules.files_max + 1).min(rules.freed_max);
        let old = files.range(..facts.unmerged_from);
        let mut emptiest: Vec<_> = old.map(|(file, content)| (content.bytes, *file)).collect();
        emptiest.sort_unstable();
        let freed: BTreeSet<File> = emptiest.into_iter().take(count).map(|(_, file)| file).collect();
        for (operator, shard, pieces) in facts.live.iter() {
            if !facts.due.contains(&(operator, shard))
                && pieces.iter().any(|(_, piece)| freed.contains(&piece.file))
            {
                bases.insert((operator, shard));
            }
        }
    }
    // 3. The next file is merged where it makes the number full.
    Due { merge: (facts.begun + 1).is_multiple_of(rules.merge_every), bases }
}

/// The pieces that an operator is to give at the close of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The kind of each shard; empty where all are changes.
    kinds: Vec<SectionKind>,
}

impl Wanted {
    /// Changes only.
    pub fn changes() -> Wanted {
        Wanted::default()
    }

    /// A piece of `kind` of every shard.
    pub fn all(kind: SectionKind) -> Wanted {
        Wanted { kinds: vec![kind; usize::from(SHARDS)] }
    }

    /// The same, but a piece of `kind` of each of `shards`.
    #[must_use]
    pub fn with(mut self, kind: SectionKind, shards: impl IntoIterator<Item = Shard>) -> Wanted {
        for shard in shards {
            if self.kinds.is_empty() {
                self.kinds = vec![SectionKind::Change; usize::from(SHARDS)];
            }
            self.kinds[usize::from(shard.0)] = kind;
        }
        self
    }

    /// What is wanted of `shard`.
    pub fn kind(&self, shard: Shard) -> SectionKind {
        self.kinds.get(usize::from(shard.0)).copied().unwrap_or(SectionKind::Change)
    }

    /// True if nothing but changes is wanted: what has not changed need not be looked at.
    pub fn is_changes(&self) -> bool {
        self.kinds.is_empty()
    }

    /// The shards of which a base or a merged change is wanted: it must be written though nothing is in it.
    pub fn whole(&self) -> impl Iterator<Item = (Shard, SectionKind)> {
        let kinds = (0..).zip(&self.kinds).map(|(shard, kind)| (Shard(shard), *kind));
        kinds.filter(|(_, kind)| *kind != SectionKind::Change)
    }
}

/// The state files of one worker, as far as they matter for what it writes next.
#[derive(Debug, Default)]
pub struct Snapshots {
    rules: Rules,
    live: Live<Operator, File>,
    outgrown: BTreeSet<Key>,
    /// The shards whose base is due, until their operator has given it.
    bases: BTreeSet<Key>,
    /// Whether each operator has a merge to make.
    merges: Vec<bool>,
    newest: Option<Epoch>,
    unmerged_from: Option<File>,
    /// How many files were begun, those of earlier runs that are live included; `None` until the first decision.
    begun: Option<u32>,
}

impl Snapshots {
    /// The files of a worker that has written none.
    pub fn new(rules: Rules) -> Snapshots {
        Snapshots { rules, ..Snapshots::default() }
    }

    /// Adds an operator that starts from `saved`.
    pub fn add(&mut self, saved: &[Saved]) -> Operator {
        let operator = Operator(u32::try_from(self.merges.len()).expect("operators are few"));
        self.merges.push(false);
        let section = |saved: &Saved| {
            let bytes = saved.bytes.len() as u64;
            let section = Section { operator, shard: saved.shard, kind: saved.kind, bytes };
            (File::Earlier(saved.file), section)
        };
        let mut sections: Vec<_> = saved.iter().map(section).collect();
        sections.sort_by_key(|(file, _)| *file);
        for (file, section) in sections {
            self.note(file, section);
        }
        operator
    }

    /// What `operator` is to give at the close of an epoch. What was due is not due any more.
    pub fn wanted(&mut self, operator: Operator) -> Wanted {
        if self.begun.is_none() {
            // Runs that begin one file each must not leave one more each, for ever.
            let files = u32::try_from(self.files()).expect("files are few");
            self.decide(files, File::Own(Epoch(0)));
        }
        let all = (operator, Shard(0))..=(operator, Shard(u16::MAX));
        let bases: Vec<Key> = self.bases.range(all).copied().collect();
        self.bases.retain(|key| key.0 != operator);
        let mut wanted = Wanted::changes();
        if std::mem::take(&mut self.merges[operator.0 as usize]) {
            // A shard without changes has nothing to merge.
            let changed = self.live.of_operator(operator).filter(|(_, pieces)| !pieces.changes.is_empty());
            wanted = wanted.with(SectionKind::Merged, changed.map(|(shard, _)| shard));
        }
        wanted.with(SectionKind::Base, bases.into_iter().map(|(_, shard)| shard))
    }

    /// Notes what `operator` gave at the close of `epoch`, which closes after those before it.
    pub fn wrote(&mut self, operator: Operator, epoch: Epoch, sections: &[(Shard, SectionKind, u64)]) {
        if sections.is_empty() {
            return;
        }
        for (shard, kind, bytes) in sections {
            let section = Section { operator, shard: *shard, kind: *kind, bytes: *bytes };
            self.note(File::Own(epoch), section);
        }
        if self.newest.is_none_or(|newest| newest < epoch) {
            self.newest = Some(epoch);
            self.begun(epoch);
        }
    }

    /// The file of `epoch` was begun: what is due after it?
    fn begun(&mut self, epoch: Epoch) {
        let unmerged_from = *self.unmerged_from.get_or_insert(File::Own(epoch));
        self.decide(self.begun.unwrap_or(0) + 1, unmerged_from);
    }

    /// Decides what is due next, and keeps it until the operators ask. `begun` files were begun so far; `unmerged_from` is the first
    /// one after the last merged file.
    fn decide(&mut self, begun: u32, unmerged_from: File) {
        self.begun = Some(begun);
        let (live, outgrown, due) = (&self.live, &self.outgrown, &self.bases);
        let Due { merge, bases } = decide(Facts { live, outgrown, due, unmerged_from, begun }, &self.rules);
        if merge {
            self.unmerged_from = None;
            self.merges.iter_mut().for_each(|merge| *merge = true);
        }
        self.bases.extend(bases);
    }

    fn note(&mut self, file: File, section: Section<Operator>) {
        let key = (section.operator, section.shard);
        self.live.add(file, section);
        let pieces = self.live.pieces(key.0, key.1).expect("it was just added");
        if outgrown(pieces, &self.rules) {
            self.outgrown.insert(key);
        } else {
            self.outgrown.remove(&key);
        }
    }

    /// How many files have live sections of this worker.
    pub fn files(&self) -> usize {
        self.live.files().len()
    }

    /// The live sections by operator, for tests and figures.
    pub fn live(&self) -> &Live<Operator, File> {
        &self.live
    }
}

/// How much of an entry has been written since when: what an operator keeps beside each of its entries, so that it can
/// give changes, merged changes and bases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Written {
    /// As it is, in no section.
    #[default]
    No,
    /// In a change or a merged change after the base.
    Since,
    /// In the base.
    Base,
}

impl Written {
    /// What a restored entry is that came in a section of `kind`.
    pub fn restored(kind: SectionKind) -> Written {
        if kind == SectionKind::Base { Written::Base } else { Written::Since }
    }

    /// True if a piece of `kind` has the entry.
    pub fn is_in(self, kind: SectionKind) -> bool {
        match kind {
            SectionKind::Base => true,
            SectionKind::Merged => self != Written::Base,
            SectionKind::Change => self == Written::No,
        }
    }
}

/// The keys that have changed since the base of their shard: what an operator over a map keeps beside it, so that it can
/// give changes and merged changes. A key that was deleted has changed, too.
#[derive(Clone, Debug)]
pub struct Changed<K> {
    /// Whether no section has the change yet.
    keys: BTreeMap<(Shard, K), bool>,
    /// Those of which no section has the change, each once: an epoch changes few keys, and a base is written seldom.
    new: Vec<(Shard, K)>,
}

impl<K> Default for Changed<K> {
    fn default() -> Self {
        Changed { keys: BTreeMap::new(), new: Vec::new() }
    }
}

impl<K: Ord + Clone> Changed<K> {
    /// Notes that the entry of `key` was made, changed or deleted.
    pub fn touch(&mut self, shard: Shard, key: K) {
        let entry = (shard, key);
        match self.keys.get_mut(&entry) {
            Some(true) => {}
            Some(is_new) => {
                *is_new = true;
                self.new.push(entry);
            }
            None => {
                self.keys.insert(entry.clone(), true);
                self.new.push(entry);
            }
        }
    }

    /// Notes that a section of `kind` has brought the entry of `key` back, or its deletion.
    pub fn restored(&mut self, kind: SectionKind, shard: Shard, key: K) {
        if kind != SectionKind::Base {
            self.keys.insert((shard, key), false);
        }
    }

    /// The changed keys that belong into the pieces that are `wanted`, by shard. Of a shard whose base is wanted there is
    /// none: all that it holds belongs into that.
    pub fn take(&mut self, wanted: &Wanted) -> BTreeMap<Shard, Vec<K>> {
        let mut taken: BTreeMap<Shard, Vec<K>> = BTreeMap::new();
        let mut new = std::mem::take(&mut self.new);
        if wanted.is_changes() {
            new.sort_unstable();
            for entry in new {
                *self.keys.get_mut(&entry).expect("a new change is one") = false;
                taken.entry(entry.0).or_default().push(entry.1);
            }
            return taken;
        }
        self.keys.retain(|(shard, key), is_new| {
            let kind = wanted.kind(*shard);
            let belongs = kind == SectionKind::Merged || (kind == SectionKind::Change && *is_new);
            if belongs {
                taken.entry(*shard).or_default().push(key.clone());
            }
            *is_new = false;
            kind != SectionKind::Base
        });
        taken
    }
}

#[cfg(test)]
mod tests;
