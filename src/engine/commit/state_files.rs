//! Which state files a manifest names: those with a live section, as [`headway_operators::sections`] defines it. No I/O.

use crate::engine::format::manifest::{StateEntry, StateId};
use crate::engine::format::names::Generation;
use headway_operators::sections::{Live, Piece, Section};
use headway_operators::state::{SectionHead, SectionKind, Sections, Shard};
use std::collections::{BTreeMap, BTreeSet};

/// The sections of state files by file: their headers, as far as the committer needs them.
pub type Headers = BTreeMap<StateId, Sections>;

/// The state files of a job, and what is live in them.
#[derive(Clone, Debug, Default)]
pub struct StateFiles {
    /// Operators by number.
    numbers: BTreeMap<String, u32>,
    live: Live<u32, StateId>,
}

/// A live section, as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSection {
    /// The operator.
    pub operator: String,
    /// The shard.
    pub shard: Shard,
    /// What it holds of the shard.
    pub kind: SectionKind,
    /// The file that has it.
    pub file: StateId,
}

impl StateFiles {
    /// The files with `headers`. Of an operator in `dropped`, what runs before that one wrote is not state any more.
    pub fn of(headers: &Headers, dropped: &BTreeMap<String, Generation>) -> StateFiles {
        let mut files = StateFiles::default();
        for (id, sections) in headers {
            files.add(*id, sections);
        }
        for (operator, generation) in dropped {
            if let Some(number) = files.numbers.get(operator).copied() {
                files.live.retain(|found, _, id| found != number || id.generation >= *generation);
            }
        }
        files
    }

    /// Adds a file that is not older than any other with the same shards.
    pub fn add(&mut self, id: StateId, sections: &Sections) {
        for section in numbered(&mut self.numbers, sections) {
            self.live.add(id, section);
        }
    }

    /// The files that the next manifest names: those of `before` and the `new` ones that have a live section then, in
    /// their order. Changes nothing.
    pub fn named(&self, before: &[StateEntry], new: &[(StateEntry, &Sections)]) -> Vec<StateEntry> {
        let mut numbers = self.numbers.clone();
        let mut added: Vec<(StateId, Section<u32>)> = Vec::new();
        for (entry, sections) in new {
            added.extend(numbered(&mut numbers, sections).into_iter().map(|section| (entry.id(), section)));
        }
        let filled: BTreeSet<StateId> =
            added.iter().map(|(id, _)| *id).chain(self.live.files().keys().copied()).collect();
        let dead = self.live.dead_after(&added);
        let all = before.iter().chain(new.iter().map(|(entry, _)| entry));
        let mut named: Vec<StateEntry> = all
            .filter(|entry| filled.contains(&entry.id()) && !dead.contains(&entry.id()))
            .cloned()
            .collect();
        named.sort_by_key(StateEntry::id);
        named
    }

    /// The live sections; those of a shard in the order base, merged change, changes.
    pub fn live(&self) -> Vec<LiveSection> {
        let names: BTreeMap<u32, &String> =
            self.numbers.iter().map(|(name, number)| (*number, name)).collect();
        let mut live = Vec::new();
        for (number, shard, pieces) in self.live.iter() {
            let section = |(kind, piece): (SectionKind, Piece<StateId>)| LiveSection {
                operator: names[&number].clone(),
                shard,
                kind,
                file: piece.file,
            };
            live.extend(pieces.iter().map(section));
        }
        live
    }

    /// How many live bytes each operator has.
    pub fn operator_bytes(&self) -> BTreeMap<String, u64> {
        let bytes = |number: u32| -> u64 {
            let pieces = self.live.of_operator(number).flat_map(|(_, pieces)| pieces.iter());
            pieces.map(|(_, piece)| piece.bytes).sum()
        };
        self.numbers.iter().map(|(name, number)| (name.clone(), bytes(*number))).collect()
    }

    /// How many live bytes each shard has, of all operators together.
    pub fn shard_bytes(&self) -> BTreeMap<Shard, u64> {
        let mut bytes = BTreeMap::new();
        for (_, shard, pieces) in self.live.iter() {
            *bytes.entry(shard).or_default() += pieces.iter().map(|(_, piece)| piece.bytes).sum::<u64>();
        }
        bytes
    }

    /// The operators that have a live section with something in it.
    pub fn operators(&self) -> BTreeSet<&str> {
        let holds = |number: u32| {
            self.live.of_operator(number).any(|(_, pieces)| pieces.iter().any(|(_, piece)| piece.bytes > 0))
        };
        let names = self.numbers.iter().filter(|(_, number)| holds(**number));
        names.map(|(name, _)| name.as_str()).collect()
    }
}

/// `sections` with the numbers of their operators; operators that have none get one.
fn numbered(numbers: &mut BTreeMap<String, u32>, sections: &Sections) -> Vec<Section<u32>> {
    let number = |name: &String| {
        let next = u32::try_from(numbers.len()).expect("operators are few");
        *numbers.entry(name.clone()).or_insert(next)
    };
    let operators: Vec<u32> = sections.operators.iter().map(|operator| &operator.name).map(number).collect();
    let section = |head: &SectionHead| Section {
        operator: operators[usize::from(head.operator)],
        shard: head.shard,
        kind: head.kind,
        bytes: head.bytes,
    };
    sections.list.iter().map(section).collect()
}
