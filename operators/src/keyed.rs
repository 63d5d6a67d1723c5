//! The driver of keyed operators: exchange by shard, stash per epoch, close, snapshot.
//!
//! An operator behind [`Keyed`] sees a simple life: records of one epoch after the other, a close with the epoch's
//! watermark, a snapshot. The driver makes it so, on any number of workers:
//!
//! ```text
//! records ──exchange by shard──┐
//! definitions ──same exchange──┼─► stash per epoch ─► apply (lowest open epoch) ─► close ─► rows, state, acks
//! moments ─────────────────────┘                                                  all at the epoch's own time
//! ```
//!
//! 1. Records of the lowest open epoch are applied as they come; those of later epochs wait in the stash, so no
//!    channel ever blocks and no record of e+1 is in the state of e.
//! 2. When the frontier of all three inputs has passed `e`, the operator closes it at the watermark of its inputs, and its
//!    changed entries leave as [`StateChange`]s at time `e`. Nothing of e+1 has been applied then.
//! 3. Dropping the capability of `e` tells everyone downstream that this worker has said all about `e`.
//!
//! **Restored collections.** A run starts at the committed epoch e0. What an operator gives when its state is back leaves at
//! e0, and so does everything derived from it: that is the snapshot of what was delivered before. At e0 no operator acks,
//! snapshots or counts. An operator whose state the manifest knows drops its input at e0, which is in that state already; one
//! that the manifest does not know takes it as its beginning.
//!
//! Invariant: epochs close in order, each once. Invariant: what leaves depends on the records of an epoch, never on
//! how they were batched or interleaved.

use crate::ack::{Ack, InputIx};
use crate::epochs::{Closed, Epochs, lowest};
use crate::error::StateError;
use crate::flow::Flow;
use crate::pace::Moment;
use crate::progress::Tick;
use crate::record::Partition;
use crate::state::{Saved, SectionKind, Shard, StateChange};
use crate::stream::decode::Definition;
use crate::time::{Epoch, Watermark};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::empty;

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

    /// Called once, after all sections: `watermark` is that of the committed epoch; what it had closed is gone.
    ///
    /// What it puts into `out` leaves at the committed epoch, before anything else: the collection as it was delivered, for
    /// an operator whose later outputs are changes of it.
    fn restored(&mut self, watermark: Watermark, out: &mut Vec<Self::Out>);

    /// Entries in open state.
    fn held(&self) -> u64;
}

/// What a keyed operator did with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It counts.
    Accepted,
    /// It repeats a record that counts.
    Duplicate,
    /// It was left out on purpose.
    Filtered,
}

/// What became of the records of each partition, counted by a keyed operator.
#[derive(Debug, Default)]
pub struct Fates {
    /// The partitions, each with its records by [`Fate`].
    counts: Vec<(Partition, [u64; 3])>,
    /// Where the last partition is: records of one come together.
    last: usize,
}

impl Fates {
    /// Counts one record of a partition.
    pub fn add(&mut self, partition: Partition, fate: Fate) {
        if self.counts.get(self.last).is_none_or(|(known, _)| *known != partition) {
            let found = self.counts.iter().position(|(known, _)| *known == partition);
            self.last = found.unwrap_or_else(|| {
                self.counts.push((partition, [0; 3]));
                self.counts.len() - 1
            });
        }
        self.counts[self.last].1[fate as usize] += 1;
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

/// A keyed operator with its state back, ready to run.
#[derive(Debug)]
pub struct Driver<K: Keyed> {
    /// The operator.
    pub operator: K,
    /// The input whose accepted records and duplicates it counts, if it does.
    pub counts: Option<InputIx>,
    /// What it starts from.
    pub resumed: Resumed<K::Out>,
}

/// What has come for an epoch that is not closed yet.
struct Stash<K: Keyed> {
    records: Vec<Vec<K::In>>,
    definitions: Vec<Definition<K::Key>>,
    tick: Option<Tick>,
    fates: Fates,
}

impl<K: Keyed> Default for Stash<K> {
    fn default() -> Self {
        Stash { records: Vec::new(), definitions: Vec::new(), tick: None, fates: Fates::default() }
    }
}

/// Runs an operator on the records of `flow`, on every worker.
pub fn drive<'s, K: Keyed>(driver: Driver<K>, flow: Flow<'s, K::In, K::Key>) -> Driven<'s, K::Out> {
    let Driver { mut operator, counts, resumed } = driver;
    let Resumed { committed, watermark, is_known, mut given, saved } = resumed;
    let (scope, set) = (flow.records.scope(), flow.set);
    let worker = u32::try_from(scope.index()).expect("workers are few");
    let mut builder = OperatorBuilder::new(operator.name().into(), scope);
    let by_shard = Exchange::new(|record: &K::In| u64::from(K::shard(record).0));
    let mut records = builder.new_input(flow.records, by_shard);
    let by_shard = Exchange::new(|definition: &Definition<K::Key>| u64::from(definition.hash.shard().0));
    let mut definitions = builder.new_input(flow.definitions.unwrap_or_else(|| empty(scope)), by_shard);
    let mut moments = builder.new_input(flow.moments, Pipeline);
    let (out, out_stream) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<K::Out>>>::from(out);
    let (state, state_stream) = builder.new_output();
    let mut state = OutputBuilder::<_, CapacityContainerBuilder<Vec<StateChange>>>::from(state);
    let (acks, ack_stream) = builder.new_output();
    let mut acks = OutputBuilder::<_, CapacityContainerBuilder<Vec<Ack>>>::from(acks);

    let mut bases = Bases { saved, ..Bases::default() };
    builder.build(move |mut initial: Vec<Capability<Epoch>>| {
        let mut open: Epochs<Stash<K>> = Epochs::new(3);
        let mut rows = Vec::new();
        move |frontiers| {
            let low = lowest(frontiers);
            let (mut out, mut state, mut acks) = (out.activate(), state.activate(), acks.activate());
            // 1. What was restored leaves at the committed epoch.
            for cap in initial.drain(..).take(1) {
                out.session(&cap.delayed(&committed)).give_container(&mut given);
            }
            // 2. Close every epoch that all frontiers have passed, in order. All of it was accepted before: a frontier
            //    does not pass what waits unread. Closing first keeps records of e+1 out of the state of e.
            while let Some(Closed { epoch, caps, mut stash }) = open.closed(frontiers) {
                for definition in stash.definitions.drain(..) {
                    operator.define(definition);
                }
                for mut batch in stash.records.drain(..) {
                    operator.apply(epoch, &mut batch, &mut stash.fates);
                }
                let is_restored = epoch <= committed;
                if let Some(tick) = stash.tick.or(is_restored.then_some(Tick::restored(watermark))) {
                    operator.close(epoch, &tick, &mut rows);
                }
                out.session(&caps[0]).give_container(&mut rows);
                rows.clear();
                if !is_restored {
                    state.session(&caps[1]).give_iterator(bases.changes(&mut operator).into_iter());
                    acks.session(&caps[2])
                        .give_iterator(report(&operator, worker, counts, stash.fates).into_iter());
                }
            }
            // 3. Accept input. Only the lowest open epoch is applied; the others wait.
            let drops = |epoch: Epoch| is_known && epoch <= committed;
            records.for_each(|cap, batch: &mut Vec<K::In>| {
                let epoch = *cap.time();
                if drops(epoch) {
                    return;
                }
                let stash = open.at(&cap);
                if low == Some(epoch) {
                    operator.apply(epoch, batch, &mut stash.fates);
                } else {
                    stash.records.push(std::mem::take(batch));
                }
            });
            definitions.for_each(|cap, batch: &mut Vec<Definition<K::Key>>| {
                if !drops(*cap.time()) {
                    open.at(&cap).definitions.append(batch);
                }
            });
            moments.for_each(|cap, batch: &mut Vec<Rc<Moment>>| {
                open.at(&cap).tick = batch.pop().map(|moment| moment.tick(set));
            });
        }
    });
    Driven { out: out_stream, state: state_stream, acks: ack_stream }
}

/// The acks of one epoch.
fn report<K: Keyed>(operator: &K, worker: u32, counts: Option<InputIx>, fates: Fates) -> Vec<Ack> {
    let mut acks =
        vec![Ack::Held { operator: operator.name().to_string(), worker, entries: operator.held() }];
    let mut fates = fates.counts;
    fates.sort_unstable();
    acks.extend(counts.into_iter().flat_map(|input| {
        fates.iter().map(move |(partition, [accepted, duplicate, filtered])| Ack::Fates {
            input,
            partition: *partition,
            accepted: *accepted,
            duplicate: *duplicate,
            filtered: *filtered,
        })
    }));
    acks
}

/// What an earlier run left of a keyed operator.
#[derive(Debug)]
pub struct Resume {
    /// Its saved sections in the shards of this worker, oldest first; `None` if the manifest does not know the operator.
    pub saved: Option<Vec<Saved>>,
    /// The committed epoch.
    pub committed: Epoch,
    /// The watermark of its inputs at that epoch.
    pub watermark: Watermark,
}

/// What a keyed operator has its state back from.
#[derive(Debug)]
pub struct Resumed<Out> {
    committed: Epoch,
    watermark: Watermark,
    /// The manifest knows its state, an empty one too.
    is_known: bool,
    /// What it gives of its restored state.
    given: Vec<Out>,
    /// The shards that have sections on disk which are not empty.
    saved: BTreeSet<Shard>,
}

impl<Out> Default for Resumed<Out> {
    fn default() -> Self {
        let (given, saved) = (Vec::new(), BTreeSet::new());
        Resumed { committed: Epoch(0), watermark: Watermark::MIN, is_known: false, given, saved }
    }
}

impl Resume {
    /// Gives `operator` its state back.
    ///
    /// # Errors
    /// At the first section of a later version, or that does not decode. The operator must not run then: it would give a
    /// wrong answer.
    pub fn into_operator<K: Keyed>(self, operator: &mut K) -> Result<Resumed<K::Out>, StateError> {
        let Resume { saved: sections, committed, watermark } = self;
        let is_known = sections.is_some();
        let sections = sections.unwrap_or_default();
        // A base replaces all that was saved of its shard before it, by whichever worker.
        let bases = sections.iter().enumerate().filter(|(_, saved)| saved.kind == SectionKind::Base);
        let last_base: BTreeMap<Shard, usize> = bases.map(|(at, saved)| (saved.shard, at)).collect();
        let (mut saved, mut given) = (BTreeSet::new(), Vec::new());
        for (at, section) in sections.into_iter().enumerate() {
            if section.version > K::VERSION {
                let (operator, found) = (operator.name().to_string(), section.version);
                return Err(StateError::Newer { operator, found, known: K::VERSION });
            }
            if last_base.get(&section.shard).is_some_and(|base| at < *base) || section.bytes.is_empty() {
                continue;
            }
            operator.restore(&section)?;
            saved.insert(section.shard);
        }
        operator.restored(watermark, &mut given);
        Ok(Resumed { committed, watermark, is_known, given, saved })
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

        fn restored(&mut self, _watermark: Watermark, _out: &mut Vec<()>) {
            self.changed.clear();
        }

        fn held(&self) -> u64 {
            self.values.len() as u64
        }
    }

    /// Counts each number it has taken, and gives those of an epoch; what it restores it gives again.
    struct Counts {
        name: &'static str,
        counts: BTreeMap<u16, u64>,
        new: Vec<u16>,
    }

    impl Keyed for Counts {
        type In = u16;
        type Key = ();
        type Out = u16;

        const VERSION: u32 = 1;

        fn name(&self) -> &str {
            self.name
        }

        fn shard(number: &u16) -> Shard {
            Shard(*number)
        }

        fn define(&mut self, _definition: Definition<()>) {}

        fn apply(&mut self, _epoch: Epoch, batch: &mut Vec<u16>, _fates: &mut Fates) {
            for number in batch.drain(..) {
                *self.counts.entry(number).or_default() += 1;
                self.new.push(number);
            }
        }

        fn close(&mut self, _epoch: Epoch, _tick: &Tick, out: &mut Vec<u16>) {
            out.append(&mut self.new);
        }

        fn snapshot(&mut self, _base: bool, put: &mut dyn FnMut(Shard, Vec<u8>)) {
            for (number, count) in &self.counts {
                put(Shard(*number), postcard::to_stdvec(count).unwrap());
            }
        }

        fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
            self.counts.insert(saved.shard.0, postcard::from_bytes(&saved.bytes).unwrap());
            Ok(())
        }

        fn restored(&mut self, _watermark: Watermark, out: &mut Vec<u16>) {
            out.extend(self.counts.keys());
        }

        fn held(&self) -> u64 {
            self.counts.values().sum()
        }
    }

    /// What leaves an operator of a chain: numbers, acks and sections of state, each with its epoch.
    type Left = (Vec<(Epoch, Vec<u16>)>, Vec<(Epoch, Vec<String>)>, Vec<(Epoch, Vec<Shard>)>);

    /// A chain of two operators behind a run that committed epoch 5 with numbers 1 and 4 in the first one; epoch 6 has 7.
    /// The manifest knows the state of the second one, or not.
    fn restored_chain(is_known: bool) -> [Left; 2] {
        use timely::dataflow::operators::capture::Extract;
        use timely::dataflow::operators::vec::Map;
        use timely::dataflow::operators::{Capture, Input};
        let saved: Vec<Saved> = [1, 4]
            .map(|shard| Saved { shard: Shard(shard), version: 1, kind: SectionKind::Base, bytes: vec![1] })
            .to_vec();
        let parts = timely::execute_directly(move |worker| {
            let (mut numbers, mut moments, captured) = worker.dataflow::<Epoch, _, _>(|scope| {
                let (numbers, records) = scope.new_input::<Vec<u16>>();
                let (moments, moment_stream) = scope.new_input::<Vec<Rc<Moment>>>();
                let rules = crate::progress::Rules {
                    closing: crate::stream::window::Closing::Horizon { ms: 0 },
                    lateness_ms: 0,
                    idle_flush_ms: None,
                };
                let progress = crate::progress::Progress::new(rules, Watermark::MIN, []);
                let pace = crate::pace::Pace::new(vec![progress], Vec::new());
                let (pace, set) =
                    (Rc::new(std::cell::RefCell::new(pace)), crate::pace::SetIx::of(InputIx(0)));
                let flow = |records| Flow {
                    records,
                    definitions: None,
                    moments: moment_stream.clone(),
                    pace: Rc::clone(&pace),
                    set,
                    whole: None,
                };
                let run = |name, saved, records| {
                    let mut operator = Counts { name, counts: BTreeMap::new(), new: Vec::new() };
                    let resume = Resume { saved, committed: Epoch(5), watermark: Watermark::MIN };
                    let resumed = resume.into_operator(&mut operator).unwrap();
                    drive(Driver { operator, counts: None, resumed }, flow(records))
                };
                let first = run("First", Some(saved.clone()), records);
                let second = run("Second", is_known.then_some(saved), first.out.clone());
                let capture = |driven: Driven<'_, u16>| {
                    let acks = driven.acks.map(|ack| format!("{ack:?}"));
                    (driven.out.capture(), acks.capture(), driven.state.map(|change| change.shard).capture())
                };
                (numbers, moments, [first, second].map(capture))
            });
            numbers.advance_to(Epoch(6));
            moments.advance_to(Epoch(6));
            numbers.send(7);
            moments.send(Rc::new(crate::pace::Moment::of(Tick::restored(Watermark::MIN))));
            captured
        });
        parts.map(|(out, acks, state)| (out.extract(), acks.extract(), state.extract()))
    }

    #[test]
    fn restored_collection_leaves_at_the_committed_epoch_which_nothing_acks_or_saves_again() {
        for is_known in [true, false] {
            let [first, second] = restored_chain(is_known);
            for (name, (out, acks, state)) in [("First", first), ("Second", second)] {
                // The snapshot first; from the next epoch on, changes. One that is known has it in its own state already.
                assert_eq!(out, [(Epoch(5), vec![1, 4]), (Epoch(6), vec![7])], "{name}, known: {is_known}");
                let held = Ack::Held { operator: name.to_string(), worker: 0, entries: 3 };
                assert_eq!(acks, [(Epoch(6), vec![format!("{held:?}")])], "{name}, known: {is_known}");
                let saved = vec![Shard(1), Shard(4), Shard(7)];
                assert_eq!(state, [(Epoch(6), saved)], "{name}, known: {is_known}");
            }
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
                let resume = Resume { saved: Some(disk.clone()), committed: Epoch(0), watermark: Watermark::MIN };
                let saved = resume.into_operator(&mut again).unwrap().saved;
                prop_assert_eq!(&again.values, &operator.values);
                if restart == 0 {
                    (operator, bases) = (again, Bases { saved, ..Bases::default() });
                }
            }
        }
    }
}
