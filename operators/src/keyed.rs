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
//! snapshots or counts. An operator whose state the manifest knows drops its input at e0, which is in that state already, but for
//! what it asks for ([`Keyed::enters`]); one that the manifest does not know takes it as its beginning.
//!
//! Invariant: epochs close in order, each once. Invariant: what leaves depends on the records of an epoch, never on
//! how they were batched or interleaved.

use crate::ack::{Ack, InputIx};
use crate::epochs::{Closed, Epochs, lowest};
use crate::error::{Reason, StateError};
use crate::flow::Flow;
use crate::pace::Moment;
use crate::progress::Tick;
use crate::record::Partition;
use crate::snapshots::{self, SharedSnapshots, Wanted};
use crate::state::{Saved, Shard, Shown, StateChange};
use crate::stream::decode::Definition;
use crate::time::{Epoch, Watermark};
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::empty;
use timely::scheduling::Activator;

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

    /// True if the operator takes `record` at the committed epoch, though the manifest knows its state: it has nothing of it.
    fn enters(&self, record: &Self::In) -> bool {
        let _ = record;
        false
    }

    /// Takes records of the lowest open epoch, in any order and any batching. Leaves `batch` empty.
    fn apply(&mut self, epoch: Epoch, batch: &mut Vec<Self::In>, fates: &mut Fates);

    /// The epoch is complete: gives what it makes true, in an order that depends on the content only.
    fn close(&mut self, epoch: Epoch, tick: &Tick, out: &mut Vec<Self::Out>);

    /// Gives the encoded state, each shard once: of the kind that is `wanted` of the shard.
    ///
    /// A base has all entries of the shard; a merged change those that were made, changed or deleted since the base,
    /// whether it was written by this run or restored; a change those since the last call. A shard that has no such entry
    /// is not given: the driver writes that nothing is there, where that must be written.
    /// [`crate::snapshots::Changed`] keeps track of keys.
    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>));

    /// Takes back what `snapshot` gave, in this version or an earlier one. The pieces of a shard come in the order base,
    /// merged change, changes; a later one wins, entry by entry.
    ///
    /// # Errors
    /// If the bytes are not what some version of this operator writes.
    fn restore(&mut self, saved: &Saved) -> Result<(), StateError>;

    /// Called once, after all sections: `watermark` is that of the committed epoch; what it had closed is gone.
    ///
    /// What it puts into `out` leaves at the committed epoch, before anything else: the collection as it was delivered, for
    /// an operator whose later outputs are changes of it.
    fn restored(&mut self, watermark: Watermark, out: &mut Vec<Self::Out>);

    /// Entries in open state. A restart must not change it: a run that has restored another number than the manifest
    /// says does not start.
    fn held(&self) -> u64;

    /// What sections of its state hold, for a person: those of a shard in the order base, merged change, changes. `None` where
    /// the state has no form for people.
    fn show(_operator: &str, _saved: &[Saved]) -> Option<Result<Vec<Shown>, StateError>> {
        None
    }

    /// Takes how many records were left out since the last call, by reason.
    fn dropped(&mut self) -> BTreeMap<Reason, u64> {
        BTreeMap::new()
    }
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
    #[inline]
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
    /// Where it learns what to write of its state.
    pub writes: Writes,
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

/// Where the driver learns what to write of an operator's state.
#[derive(Clone, Debug)]
pub struct Writes {
    /// The state files of the worker.
    pub snapshots: SharedSnapshots,
    /// The operator among them.
    pub operator: snapshots::Operator,
}

/// How many restored records leave in one activation.
const GIVEN_AT_ONCE: usize = 1 << 13;

/// What an operator gives of its restored state. It leaves a part an activation: else all that later operators make of it would be in
/// memory at once.
struct Restored<Out> {
    /// That of the committed epoch, until all has left.
    cap: Option<Capability<Epoch>>,
    given: std::vec::IntoIter<Out>,
    activator: Activator,
}

impl<Out> Restored<Out> {
    /// What leaves now; `None` if all has left.
    fn part(&mut self) -> Option<(Capability<Epoch>, Vec<Out>)> {
        let cap = self.cap.take()?;
        let part = self.given.by_ref().take(GIVEN_AT_ONCE).collect();
        if self.given.len() > 0 {
            self.cap = Some(cap.clone());
            self.activator.activate();
        }
        Some((cap, part))
    }
}

/// Runs an operator on the records of `flow`, on every worker.
pub fn drive<'s, K: Keyed>(driver: Driver<K>, flow: Flow<'s, K::In, K::Key>) -> Driven<'s, K::Out> {
    let Driver { mut operator, counts, resumed, writes } = driver;
    let Resumed { committed, watermark, is_known, given } = resumed;
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

    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |initial: Vec<Capability<Epoch>>| {
        let mut open: Epochs<Stash<K>> = Epochs::new(3);
        let mut rows = Vec::new();
        let cap = initial.into_iter().next().map(|cap| cap.delayed(&committed));
        let mut restored = Restored { cap, given: given.into_iter(), activator };
        move |frontiers| {
            let low = lowest(frontiers);
            let (mut out, mut state, mut acks) = (out.activate(), state.activate(), acks.activate());
            // 1. What was restored leaves at the committed epoch.
            if let Some((cap, mut part)) = restored.part() {
                out.session(&cap).give_container(&mut part);
            }
            // 2. Close every epoch that all frontiers have passed, in order. All of it was accepted before: a frontier
            //    does not pass what waits unread. Closing first keeps records of e+1 out of the state of e.
            while let Some(Closed { epoch, caps, mut stash }) = open.closed(frontiers) {
                stash.definitions.drain(..).for_each(|definition| operator.define(definition));
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
                    state.session(&caps[1]).give_iterator(writes.changes(epoch, &mut operator).into_iter());
                    acks.session(&caps[2])
                        .give_iterator(report(&mut operator, worker, counts, stash.fates).into_iter());
                }
            }
            // 3. Accept input. Only the lowest open epoch is applied; the others wait.
            let drops = |epoch: Epoch| is_known && epoch <= committed;
            records.for_each(|cap, batch: &mut Vec<K::In>| {
                let epoch = *cap.time();
                if drops(epoch) && !leave_what_enters(&operator, batch) {
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

/// Leaves in `batch`, which is of the committed epoch, what `operator` takes of it; false if that is nothing.
fn leave_what_enters<K: Keyed>(operator: &K, batch: &mut Vec<K::In>) -> bool {
    batch.retain(|record| operator.enters(record));
    !batch.is_empty()
}

/// The acks of one epoch.
fn report<K: Keyed>(operator: &mut K, worker: u32, counts: Option<InputIx>, fates: Fates) -> Vec<Ack> {
    let (name, entries) = (operator.name().to_string(), operator.held());
    let dropped = operator.dropped().into_iter();
    let dropped = dropped.map(|(reason, records)| Ack::Dropped { operator: name.clone(), reason, records });
    let mut acks: Vec<_> = dropped.collect();
    acks.push(Ack::Held { operator: name, worker, entries });
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
    /// Its live sections in the shards of this worker, each shard's in the order base, merged change, changes; `None` if the manifest does not know the operator.
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
}

impl<Out> Default for Resumed<Out> {
    fn default() -> Self {
        Resumed { committed: Epoch(0), watermark: Watermark::MIN, is_known: false, given: Vec::new() }
    }
}

impl Resume {
    /// Gives `operator` its state back.
    ///
    /// # Errors
    /// At the first piece of a later version, or that does not decode. The operator must not run then: it would give a
    /// wrong answer.
    pub fn into_operator<K: Keyed>(self, operator: &mut K) -> Result<Resumed<K::Out>, StateError> {
        let Resume { saved: sections, committed, watermark } = self;
        let is_known = sections.is_some();
        for section in sections.unwrap_or_default() {
            if section.version > K::VERSION {
                let (operator, found) = (operator.name().to_string(), section.version);
                return Err(StateError::Newer { operator, found, known: K::VERSION });
            }
            // A section without bytes says that nothing is there.
            if !section.bytes.is_empty() {
                operator.restore(&section)?;
            }
        }
        let mut given = Vec::new();
        operator.restored(watermark, &mut given);
        Ok(Resumed { committed, watermark, is_known, given })
    }
}

impl Writes {
    /// What `operator` writes at the close of `epoch`.
    fn changes<K: Keyed>(&self, epoch: Epoch, operator: &mut K) -> Vec<StateChange> {
        let wanted = self.snapshots.borrow_mut().wanted(self.operator);
        let mut pieces: BTreeMap<Shard, Vec<u8>> = BTreeMap::new();
        operator.snapshot(&wanted, &mut |shard, bytes| {
            let before = pieces.insert(shard, bytes);
            assert!(before.is_none(), "an operator gave shard {} twice", shard.0);
        });
        // A base or a merged change replaces what was there before, also where it is empty.
        for (shard, _) in wanted.whole() {
            pieces.entry(shard).or_default();
        }
        let sections: Vec<_> =
            pieces.iter().map(|(shard, bytes)| (*shard, wanted.kind(*shard), bytes.len() as u64)).collect();
        self.snapshots.borrow_mut().wrote(self.operator, epoch, &sections);
        let name = operator.name().to_string();
        let change = |(shard, bytes)| {
            let (operator, version, kind) = (name.clone(), K::VERSION, wanted.kind(shard));
            StateChange { operator, shard, version, kind, bytes }
        };
        pieces.into_iter().map(change).collect()
    }
}

#[cfg(test)]
#[path = "keyed_tests.rs"]
mod tests;
