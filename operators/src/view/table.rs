//! A collection with retractions on its way through the dataflow.

use crate::epochs::Epochs;
use crate::flow::Flow;
use crate::state::{KeyHash, Shard};
use crate::stream::each::each;
use crate::time::Epoch;
use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::{AsCollection, VecCollection};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;
use std::vec::Drain;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// A change of a collection, in the form of differential dataflow: a row, the epoch of the change, and how many copies
/// came (or went, where it is negative).
pub type Update<D> = (D, Epoch, i64);

/// A key of a view, or a row of one.
pub trait Key: ExchangeData + Clone + Debug + Ord + Hash + DeserializeOwned {}

impl<K: ExchangeData + Clone + Debug + Ord + Hash + DeserializeOwned> Key for K {}

/// A collection of rows as the updates that make it. A clone is the same collection again.
///
/// Invariant: an update travels at its own epoch.
#[derive(Clone)]
pub struct Table<'s, D: Clone + 'static> {
    pub(crate) updates: Flow<'s, Update<D>>,
}

impl<'s, D: Clone + 'static> Table<'s, D> {
    /// The table that `updates` make; each must travel at its own epoch, as a keyed operator's output does.
    pub fn of(updates: Flow<'s, Update<D>>) -> Table<'s, D> {
        Table { updates }
    }

    /// The table of all records of `flow`: a stream whose records never go again.
    pub fn of_records(flow: Flow<'s, D>) -> Table<'s, D> {
        Table { updates: flow.with(at_epoch_of_arrival(flow.records())) }
    }

    /// Its updates, for an operator that takes them one by one.
    pub fn updates(&self) -> Flow<'s, Update<D>> {
        self.updates.clone()
    }

    /// Makes another row of each.
    pub fn map<E: Clone + 'static>(self, mut logic: impl FnMut(D) -> E + 'static) -> Table<'s, E> {
        Table { updates: self.updates.map(move |(row, epoch, diff)| (logic(row), epoch, diff)) }
    }

    /// Makes another row of each for which `logic` gives one, and leaves the others out.
    pub fn filter_map<E: Clone + 'static>(
        self,
        mut logic: impl FnMut(D) -> Option<E> + 'static,
    ) -> Table<'s, E> {
        let updates = self.updates.filter_map(move |(row, epoch, diff)| Some((logic(row)?, epoch, diff)));
        Table { updates }
    }

    /// Takes the rows of both.
    #[must_use]
    pub fn and(self, other: Table<'s, D>) -> Table<'s, D> {
        Table { updates: self.updates.and(other.updates) }
    }

    /// The same rows as a collection of differential dataflow. Keep no handle of an arrangement made of it, and call no
    /// operator that delays a time.
    pub fn collection(&self) -> VecCollection<'s, Epoch, D, i64> {
        self.updates.records().as_collection()
    }

    /// The table of a collection that was derived from this table and from `others`.
    ///
    /// Differential dataflow may send an update before its own epoch has begun, and a row that comes and goes at once. Here
    /// updates wait until their epoch is complete, and what cancels is left out: each row has one worker, since two workers
    /// may see one go and come.
    pub fn derived<E: Key>(
        &self,
        others: &[&dyn Inputs],
        collection: VecCollection<'s, Epoch, E, i64>,
    ) -> Table<'s, E> {
        let pace = Rc::clone(&self.updates.pace);
        let inputs: BTreeSet<_> =
            others.iter().flat_map(|other| other.inputs()).chain(self.inputs()).collect();
        let set = pace.borrow_mut().set(&inputs);
        let records = at_own_epoch(collection.inner);
        Table { updates: Flow { set, whole: None, ..self.updates.with(records) } }
    }
}

/// Whatever comes from inputs.
pub trait Inputs {
    /// The inputs by number, rising.
    fn inputs(&self) -> Vec<crate::ack::InputIx>;
}

impl<D: Clone + 'static> Inputs for Table<'_, D> {
    fn inputs(&self) -> Vec<crate::ack::InputIx> {
        self.updates.inputs()
    }
}

/// Sends the updates of each epoch at that epoch, consolidated.
fn at_own_epoch<'s, D: Key>(updates: StreamVec<'s, Epoch, Update<D>>) -> StreamVec<'s, Epoch, Update<D>> {
    let mut builder = OperatorBuilder::new("AtOwnEpoch".into(), updates.scope());
    let by_row = Exchange::new(|(row, _, _): &Update<D>| u64::from(shard_of(row).0));
    let mut updates = builder.new_input(updates, by_row);
    let (out, out_stream) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Update<D>>>>::from(out);
    builder.build(move |initial| {
        drop(initial);
        let mut open: Epochs<Vec<Update<D>>> = Epochs::new(1);
        move |frontiers| {
            updates.for_each(|cap, batch: &mut Vec<Update<D>>| {
                for update in batch.drain(..) {
                    open.at_later(&cap, update.1).push(update);
                }
            });
            let mut out = out.activate();
            while let Some(mut closed) = open.closed(frontiers) {
                consolidate_updates(&mut closed.stash);
                // In batches: the rows that a new view begins with are one epoch's.
                out.session(&closed.caps[0]).give_iterator(closed.stash.into_iter());
            }
        }
    });
    out_stream
}

/// Makes an insertion of each record, at the epoch it travels at.
fn at_epoch_of_arrival<'s, D: Clone + 'static>(
    records: StreamVec<'s, Epoch, D>,
) -> StreamVec<'s, Epoch, Update<D>> {
    let logic = |epoch, batch: Drain<'_, D>, made: &mut Vec<Update<D>>| {
        made.extend(batch.map(|record| (record, epoch, 1)));
    };
    each(records, "Insertions", Box::new(logic))
}

/// The shard of a key: of the hash of its encoding.
pub fn shard_of<K: Serialize>(key: &K) -> Shard {
    let mut small = [0; 256];
    match postcard::to_slice(key, &mut small) {
        Ok(bytes) => KeyHash::of(bytes).shard(),
        Err(_) => KeyHash::of(&postcard::to_stdvec(key).expect("plain values encode")).shard(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_is_that_of_the_encoding_however_long_it_is() {
        for length in [0, 3, 200, 255, 256, 257, 5000] {
            let key = "k".repeat(length);
            assert_eq!(shard_of(&key), KeyHash::of(&postcard::to_stdvec(&key).unwrap()).shard(), "{length}");
        }
    }
}
