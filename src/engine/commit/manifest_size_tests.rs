//! How long a manifest becomes: many operators on several workers for a long time, by the rules and encoders of production.

use crate::engine::commit::change_files::KEEPING;
use crate::engine::commit::checkpoint_tests::reads;
use crate::engine::commit::history::History;
use crate::engine::commit::job::tests::job;
use crate::engine::commit::ledger::{Ledger, Rules, Stamp};
use crate::engine::commit::state_files::StateFiles;
use crate::engine::format::manifest::tests::first;
use crate::engine::format::manifest::{Manifest, Nonce};
use headway_operators::ack::{Ack, StateFile};
use headway_operators::snapshots::{self, Operator, Snapshots};
use headway_operators::spec::OperatorSpec;
use headway_operators::state::{OperatorHead, SHARDS, SectionHead, SectionKind, Sections, Shard};
use headway_operators::time::Epoch;
use std::collections::BTreeSet;

const WORKERS: u32 = 4;
const OPERATORS: u16 = 12;
const EPOCHS: u64 = 10_000;

/// The target.
const BYTES_MAX: usize = 64 << 10;

/// Bytes of an entry of state.
const ENTRY_BYTES: u64 = 24;

fn operators() -> Vec<OperatorSpec> {
    (0..OPERATORS).map(|n| OperatorSpec { name: format!("Aggregate-of-input-{n}"), version: 3 }).collect()
}

/// The same numbers in each run: xorshift, seeded.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A shard of one operator: its entries, and how many of them have changed since its last base and since its last section.
#[derive(Clone, Copy, Default)]
struct Held {
    entries: u64,
    since_base: u64,
    since_section: u64,
}

impl Held {
    /// The length of a section of `kind`, which is written now.
    fn write(&mut self, kind: SectionKind) -> u64 {
        let entries = match kind {
            SectionKind::Base => self.entries,
            SectionKind::Merged => self.since_base,
            SectionKind::Change => self.since_section,
        };
        self.since_section = 0;
        if kind == SectionKind::Base {
            self.since_base = 0;
        }
        entries * ENTRY_BYTES
    }
}

/// One worker: what its operators hold in its shards, and the production's rules of what is written of that.
struct Worker {
    number: u32,
    snapshots: Snapshots,
    operators: Vec<(Operator, Vec<Held>)>,
}

impl Worker {
    fn new(number: u32) -> Worker {
        let mut snapshots = Snapshots::new(snapshots::Rules::default());
        let operators =
            (0..OPERATORS).map(|_| (snapshots.add(&[]), vec![Held::default(); usize::from(SHARDS)]));
        let operators = operators.collect();
        Worker { number, snapshots, operators }
    }

    /// The state file of `epoch`, in which every operator has changed a few entries, and some of them nothing.
    fn close(&mut self, epoch: Epoch, draw: &mut Draw) -> Ack {
        let mut list = Vec::new();
        for (at, (operator, held)) in self.operators.iter_mut().enumerate() {
            let mut written = BTreeSet::new();
            for _ in 0..draw.below(6) {
                let own = draw.below(u64::from(SHARDS) / u64::from(WORKERS)) as u16 * WORKERS as u16;
                let own = own + self.number as u16;
                written.insert(Shard(own));
                let shard = &mut held[usize::from(own)];
                // Windows come and go: what is held stays about the same.
                shard.entries = (shard.entries + draw.below(3)).min(40);
                shard.since_base = (shard.since_base + 1).min(shard.entries.max(1));
                shard.since_section += 1;
            }
            let wanted = self.snapshots.wanted(*operator);
            written.extend(wanted.whole().map(|(shard, _)| shard));
            let mut section = |shard: Shard| {
                let kind = wanted.kind(shard);
                (shard, kind, held[usize::from(shard.0)].write(kind))
            };
            let sections: Vec<_> = written.into_iter().map(&mut section).collect();
            self.snapshots.wrote(*operator, epoch, &sections);
            list.extend(sections.into_iter().map(|(shard, kind, bytes)| SectionHead {
                operator: at as u16,
                shard,
                kind,
                bytes,
                xxh3: draw.below(u64::MAX),
            }));
        }
        let head = |spec: OperatorSpec| OperatorHead { name: spec.name, version: spec.version };
        let sections = Sections { operators: operators().into_iter().map(head).collect(), list };
        Ack::State(StateFile {
            worker: self.number,
            bytes: sections.list.iter().map(|section| section.bytes).sum::<u64>() + 4_000,
            header_bytes: 4_000,
            checksum: format!("{:032x}", u128::from(draw.below(u64::MAX)) << 64 | 1),
            place: None,
            sections,
        })
    }
}

#[test]
fn manifest_of_many_operators_does_not_grow_with_epochs() {
    let head = first(WORKERS);
    let history = History::of([&head]);
    let rules = Rules {
        dead_max: 0.5,
        outputs: job(1).outputs,
        operators: operators(),
        workers: WORKERS,
        keeping: KEEPING,
        views: Vec::new(),
        keeps: 1,
        seals: None,
    };
    let mut ledger = Ledger::new(rules, head, history, StateFiles::default());
    let (mut draw, mut workers) = (Draw(7), (0..WORKERS).map(Worker::new).collect::<Vec<_>>());
    let (mut longest, mut halfway) = (0, 0);
    for epoch in (1..=EPOCHS).map(Epoch) {
        let at = i64::try_from(epoch.0).expect("it is small");
        let mut acks: Vec<Ack> = (0..WORKERS).flat_map(|partition| reads(partition, at - 1, at)).collect();
        for worker in &mut workers {
            acks.push(worker.close(epoch, &mut draw));
            let held =
                |spec: OperatorSpec| Ack::Held { operator: spec.name, worker: worker.number, entries: 9_000 };
            acks.extend(operators().into_iter().map(held));
        }
        let stamp = Stamp { nonce: Nonce(u128::from(epoch.0) << 64 | 1), written_ms: 1_706_659_200_000 + at };
        let planned = ledger.plan(epoch, &acks, stamp).expect("the records add up");
        if epoch.0 % 50 == 0 || epoch.0 > EPOCHS - 100 {
            let bytes = planned.as_ref().map(Manifest::encode).map_or(0, |bytes| bytes.len());
            longest = longest.max(bytes);
            if epoch.0 <= EPOCHS / 2 {
                halfway = longest;
            }
        }
        ledger.resolved(&acks, planned);
    }
    let files = ledger.head().state.len();
    assert!(files > 100, "there are only {files} state files: the simulation does not load the rules");
    assert!(longest <= BYTES_MAX, "a manifest of {longest} bytes, with {files} state files");
    assert!(longest < halfway * 5 / 4, "{halfway} bytes became {longest} in the second half");
}
