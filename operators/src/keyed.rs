//! The driver of keyed operators: exchange by shard, stash per epoch, close, snapshot.
//!
//! An operator behind [`Keyed`] sees a simple life: records of one epoch after the other, a close with the epoch's
//! watermark, a snapshot. The driver makes it so, on any number of workers:
//!
//! ```text
//! records ──exchange by shard──┐
//! definitions ──same exchange──┼─► stash per epoch ─► apply (lowest open epoch) ─► close ─► rows, state, acks
//! ticks ───────────────────────┘                                                  all at the epoch's own time
//! ```
//!
//! 1. Records of the lowest open epoch are applied as they come; those of later epochs wait in the stash, so no
//!    channel ever blocks and no record of e+1 is in the state of e.
//! 2. When the frontier of all three inputs has passed `e`, the operator closes it at `wm(e)`, and its changed
//!    entries leave as [`StateChange`]s at time `e`. Nothing of e+1 has been applied then.
//! 3. Dropping the capability of `e` tells everyone downstream that this worker has said all about `e`.
//!
//! Invariant: epochs close in order, each once. Invariant: what leaves depends on the records of an epoch, never on
//! how they were batched or interleaved.

use crate::ack::{Ack, InputIx};
use crate::error::StateError;
use crate::progress::Tick;
use crate::record::Partition;
use crate::state::{Saved, SectionKind, Shard, StateChange};
use crate::stream::decode::Definition;
use crate::time::{Epoch, Watermark};
use std::collections::{BTreeMap, BTreeSet};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// After how many change files a worker writes a base again.
const CHANGES_MAX: u32 = 63;

/// The least number of change files before their size can call for a new base.
const CHANGES_MIN: u32 = 8;

/// An operator whose state belongs to shards of a key.
pub trait Keyed: 'static {
    /// What it takes in.
    type In: ExchangeData + Clone;
    /// The keys that records carry as hashes; `()` if none.
    type Key: ExchangeData + Clone;
    /// What it gives out.
    type Out: Clone + 'static;

    /// The version of its state's encoding.
    const VERSION: u32;

    /// Its name in manifests, logs and metrics, unique in the pipeline and stable across releases.
    fn name(&self) -> &str;

    /// The shard that a record belongs to.
    fn shard(record: &Self::In) -> Shard;

    /// A key that records of the epoch may carry as a hash. May come before or after them.
    fn define(&mut self, definition: Definition<Self::Key>);

    /// Takes records of the lowest open epoch, in any order and any batching. Leaves `batch` empty.
    fn apply(&mut self, epoch: Epoch, batch: &mut Vec<Self::In>, fates: &mut Fates);

    /// The epoch is complete: gives what it makes true, in an order that depends on the content only.
    fn close(&mut self, epoch: Epoch, tick: &Tick, out: &mut Vec<Self::Out>);

    /// Gives the encoded state, shard by shard: all of it (`base`), or the entries changed or deleted since the last call.
    /// A shard that holds nothing gives nothing: the driver writes its empty base. Nothing that is given is empty.
    fn snapshot(&mut self, base: bool, put: &mut dyn FnMut(Shard, Vec<u8>));

    /// Takes back what `snapshot` gave, in this version or an earlier one. The sections of a shard come oldest first, from
    /// its last base on; a later one wins, entry by entry.
    ///
    /// # Errors
    /// If the bytes are not what some version of this operator writes.
    fn restore(&mut self, saved: &Saved) -> Result<(), StateError>;

    /// Called once, after all pieces: `watermark` is that of the restored epoch; what it had closed is gone.
    fn restored(&mut self, watermark: Watermark);

    /// Entries in open state.
    fn held(&self) -> u64;
}

/// What became of the records of each partition, counted by a keyed operator.
#[derive(Debug, Default)]
pub struct Fates {
    /// Partition, and how many of its records were accepted, duplicate, filtered.
    counts: Vec<(Partition, [u64; 3])>,
    /// Where the last partition is: records of one come together.
    last: usize,
}

impl Fates {
    /// Counts records of one partition.
    pub fn add(&mut self, partition: Partition, accepted: u64, duplicate: u64, filtered: u64) {
        if self.counts.get(self.last).is_none_or(|(known, _)| *known != partition) {
            let found = self.counts.iter().position(|(known, _)| *known == partition);
            self.last = found.unwrap_or_else(|| {
                self.counts.push((partition, [0; 3]));
                self.counts.len() - 1
            });
        }
        let counts = &mut self.counts[self.last].1;
        *counts = [counts[0] + accepted, counts[1] + duplicate, counts[2] + filtered];
    }
}

/// What comes out of a keyed operator on one worker.
pub struct Driven<'s, Out: Clone + 'static> {
    /// Its rows.
    pub out: StreamVec<'s, Epoch, Out>,
    /// Its changes of state.
    pub state: StreamVec<'s, Epoch, StateChange>,
    /// What the committer must know.
    pub acks: StreamVec<'s, Epoch, Ack>,
}

/// The streams that a keyed operator takes in.
pub struct Inputs<'s, In: Clone + 'static, Key: Clone + 'static> {
    /// Records, on any worker.
    pub records: StreamVec<'s, Epoch, In>,
    /// Keys by value, on any worker.
    pub definitions: StreamVec<'s, Epoch, Definition<Key>>,
    /// The ticks of the input, on every worker.
    pub ticks: StreamVec<'s, Epoch, Tick>,
}

/// What has come for an epoch that is not closed yet.
struct Open<K: Keyed> {
    caps: [Capability<Epoch>; 3],
    records: Vec<Vec<K::In>>,
    definitions: Vec<Definition<K::Key>>,
    tick: Option<Tick>,
    fates: Fates,
}

impl<K: Keyed> Open<K> {
    fn new(cap: &InputCapability<Epoch>) -> Self {
        let caps = [cap.retain(0), cap.retain(1), cap.retain(2)];
        Open { caps, records: Vec::new(), definitions: Vec::new(), tick: None, fates: Fates::default() }
    }
}

/// Runs `operator` on every worker, as it was [resumed](Resume). `input` is where its fates are counted, if they are.
pub fn drive<'s, K: Keyed>(
    (mut operator, saved): (K, BTreeSet<Shard>),
    input: Option<InputIx>,
    inputs: Inputs<'s, K::In, K::Key>,
) -> Driven<'s, K::Out> {
    let scope = inputs.records.scope();
    let worker = u32::try_from(scope.index()).expect("workers are few");
    let mut builder = OperatorBuilder::new(operator.name().into(), scope);
    let by_shard = Exchange::new(|record: &K::In| u64::from(K::shard(record).0));
    let mut records = builder.new_input(inputs.records, by_shard);
    let by_shard = Exchange::new(|definition: &Definition<K::Key>| u64::from(definition.hash.shard().0));
    let mut definitions = builder.new_input(inputs.definitions, by_shard);
    let mut ticks = builder.new_input(inputs.ticks, Pipeline);
    let (out, out_stream) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<K::Out>>>::from(out);
    let (state, state_stream) = builder.new_output();
    let mut state = OutputBuilder::<_, CapacityContainerBuilder<Vec<StateChange>>>::from(state);
    let (acks, ack_stream) = builder.new_output();
    let mut acks = OutputBuilder::<_, CapacityContainerBuilder<Vec<Ack>>>::from(acks);

    let mut bases = Bases { saved, ..Bases::default() };
    builder.build(move |initial| {
        drop(initial);
        let mut open: BTreeMap<Epoch, Open<K>> = BTreeMap::new();
        let mut rows = Vec::new();
        move |frontiers| {
            let low = frontiers.iter().filter_map(|f| f.frontier().iter().min().copied()).min();
            // 1. Close every epoch that all frontiers have passed, in order. All of it was accepted before: a frontier
            //    does not pass what waits unread. Closing first keeps records of e+1 out of the state of e.
            let (mut out, mut state, mut acks) = (out.activate(), state.activate(), acks.activate());
            while let Some(entry) = open.first_entry().filter(|e| low.is_none_or(|low| *e.key() < low)) {
                let (epoch, mut done) = entry.remove_entry();
                for definition in done.definitions.drain(..) {
                    operator.define(definition);
                }
                for mut batch in done.records.drain(..) {
                    operator.apply(epoch, &mut batch, &mut done.fates);
                }
                if let Some(tick) = done.tick {
                    operator.close(epoch, &tick, &mut rows);
                }
                out.session(&done.caps[0]).give_container(&mut rows);
                rows.clear();
                state.session(&done.caps[1]).give_iterator(bases.changes(&mut operator).into_iter());
                let told = report::<K>((input, worker), &operator, done.fates);
                acks.session(&done.caps[2]).give_iterator(told);
            }
            // 2. Accept input. Only the lowest open epoch is applied; the others wait.
            records.for_each(|cap, batch: &mut Vec<K::In>| {
                let epoch = *cap.time();
                let entry = open.entry(epoch).or_insert_with(|| Open::new(&cap));
                if low == Some(epoch) {
                    operator.apply(epoch, batch, &mut entry.fates);
                } else {
                    entry.records.push(std::mem::take(batch));
                }
            });
            definitions.for_each(|cap, batch: &mut Vec<Definition<K::Key>>| {
                open.entry(*cap.time()).or_insert_with(|| Open::new(&cap)).definitions.append(batch);
            });
            ticks.for_each(|cap, batch: &mut Vec<Tick>| {
                open.entry(*cap.time()).or_insert_with(|| Open::new(&cap)).tick = batch.pop();
            });
        }
    });
    Driven { out: out_stream, state: state_stream, acks: ack_stream }
}

/// The acks of one epoch.
fn report<K: Keyed>(
    (input, worker): (Option<InputIx>, u32),
    operator: &K,
    fates: Fates,
) -> impl Iterator<Item = Ack> + use<K> {
    let held = Ack::Held { operator: operator.name().to_string(), worker, entries: operator.held() };
    let mut counts = if input.is_some() { fates.counts } else { Vec::new() };
    counts.sort_unstable();
    let fates = counts.into_iter().zip(input.into_iter().cycle()).map(
        |((partition, [accepted, duplicate, filtered]), input)| Ack::Fates {
            input,
            partition,
            accepted,
            duplicate,
            filtered,
        },
    );
    fates.chain(std::iter::once(held))
}

/// What a keyed operator starts from.
#[derive(Debug)]
pub struct Resume {
    /// Its saved pieces in the shards of this worker, oldest first.
    pub saved: Vec<Saved>,
    /// `wm` at the epoch they were saved.
    pub watermark: Watermark,
}

impl Resume {
    /// Gives `operator` its state back; answers the shards that have sections on disk.
    ///
    /// # Errors
    /// At the first section of a later version, or that does not decode. The operator must not run then: it would give a
    /// wrong answer.
    pub fn into_operator<K: Keyed>(self, operator: &mut K) -> Result<BTreeSet<Shard>, StateError> {
        // A base replaces all that was saved of its shard before it, by whichever worker.
        let bases = self.saved.iter().enumerate().filter(|(_, saved)| saved.kind == SectionKind::Base);
        let last_base: BTreeMap<Shard, usize> = bases.map(|(at, saved)| (saved.shard, at)).collect();
        let mut shards = BTreeSet::new();
        for (at, saved) in self.saved.into_iter().enumerate() {
            if saved.version > K::VERSION {
                let (operator, found) = (operator.name().to_string(), saved.version);
                return Err(StateError::Newer { operator, found, known: K::VERSION });
            }
            if last_base.get(&saved.shard).is_some_and(|base| at < *base) || saved.bytes.is_empty() {
                continue;
            }
            operator.restore(&saved)?;
            shards.insert(saved.shard);
        }
        operator.restored(self.watermark);
        Ok(shards)
    }
}

/// Decides when a worker's state is written whole again: restart time is bounded by live state, not by history.
#[derive(Debug, Default)]
struct Bases {
    /// The shards that have sections on disk which are not empty.
    saved: BTreeSet<Shard>,
    written: bool,
    base_bytes: usize,
    changes: u32,
    change_bytes: usize,
}

impl Bases {
    fn changes<K: Keyed>(&mut self, operator: &mut K) -> Vec<StateChange> {
        let outgrown = self.changes >= CHANGES_MIN && self.change_bytes > self.base_bytes;
        let base = !self.written || self.changes >= CHANGES_MAX || outgrown;
        let kind = if base { SectionKind::Base } else { SectionKind::Change };
        let name = operator.name().to_string();
        let section =
            |shard, bytes| StateChange { operator: name.clone(), shard, version: K::VERSION, kind, bytes };
        let (mut changes, mut shards, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
        operator.snapshot(base, &mut |shard, encoded: Vec<u8>| {
            assert!(!encoded.is_empty(), "operator \"{name}\" gives an empty section of shard {}", shard.0);
            bytes += encoded.len();
            shards.insert(shard);
            changes.push(section(shard, encoded));
        });
        // What a shard held on disk and does not hold any more would else come back with the next start.
        let empty = self.saved.difference(&shards).filter(|_| base);
        changes.extend(empty.map(|shard| section(*shard, Vec::new())));
        if changes.is_empty() {
            return changes;
        }
        if base {
            *self = Bases { saved: shards, written: true, base_bytes: bytes, changes: 0, change_bytes: 0 };
        } else {
            self.saved.extend(shards);
            self.changes += 1;
            self.change_bytes += bytes;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keeps the last value of each key. A deleted key is in a change by its absence; a base has only what is there.
    #[derive(Default)]
    struct Latest {
        values: BTreeMap<u16, u8>,
        changed: BTreeSet<u16>,
    }

    impl Latest {
        fn set(&mut self, key: u16, value: Option<u8>) {
            match value {
                Some(value) => drop(self.values.insert(key, value)),
                None => drop(self.values.remove(&key)),
            }
            self.changed.insert(key);
        }
    }

    impl Keyed for Latest {
        type In = u16;
        type Key = ();
        type Out = ();

        const VERSION: u32 = 1;

        fn name(&self) -> &str {
            "Latest"
        }

        fn shard(key: &u16) -> Shard {
            Shard(key % 3)
        }

        fn define(&mut self, _definition: Definition<()>) {}

        fn apply(&mut self, _epoch: Epoch, _batch: &mut Vec<u16>, _fates: &mut Fates) {}

        fn close(&mut self, _epoch: Epoch, _tick: &Tick, _out: &mut Vec<()>) {}

        fn snapshot(&mut self, base: bool, put: &mut dyn FnMut(Shard, Vec<u8>)) {
            let changed = std::mem::take(&mut self.changed);
            let keys: Vec<u16> =
                if base { self.values.keys().copied().collect() } else { changed.into_iter().collect() };
            let mut sections: BTreeMap<Shard, Vec<(u16, Option<u8>)>> = BTreeMap::new();
            for key in keys {
                sections.entry(Latest::shard(&key)).or_default().push((key, self.values.get(&key).copied()));
            }
            for (shard, section) in sections {
                put(shard, postcard::to_stdvec(&section).unwrap());
            }
        }

        fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
            let section: Vec<(u16, Option<u8>)> = postcard::from_bytes(&saved.bytes).unwrap();
            section.into_iter().for_each(|(key, value)| self.set(key, value));
            Ok(())
        }

        fn restored(&mut self, _watermark: Watermark) {
            self.changed.clear();
        }

        fn held(&self) -> u64 {
            self.values.len() as u64
        }
    }

    proptest! {
        #[test]
        fn state_that_was_deleted_stays_deleted_whenever_bases_are_written(
            steps in prop::collection::vec((0u16..5, prop::option::of(any::<u8>()), 0u8..12), 1..200)
        ) {
            let (mut operator, mut bases) = (Latest::default(), Bases::default());
            let mut disk: Vec<Saved> = Vec::new();
            for (key, value, restart) in steps {
                operator.set(key, value);
                for StateChange { shard, version, kind, bytes, .. } in bases.changes(&mut operator) {
                    disk.push(Saved { shard, version, kind, bytes });
                }
                let mut again = Latest::default();
                let resume = Resume { saved: disk.clone(), watermark: Watermark::MIN };
                let saved = resume.into_operator(&mut again).unwrap();
                prop_assert_eq!(&again.values, &operator.values);
                if restart == 0 {
                    (operator, bases) = (again, Bases { saved, ..Bases::default() });
                }
            }
        }
    }
}
