//! Adds up amounts by key within each epoch and worker, so that the operators behind it receive less.
//!
//! # Input
//! [`Sums`] by key, as [`rollup`](crate::view::rollup) takes them; no exchange.
//! # Output
//! The same sums: at the close of an epoch one record for each key that has changed on the worker, sooner and more than one
//! where an epoch changes more than 16,384 keys.
//! # State
//! None: nothing of an epoch outlives it. In memory are 16,384 keys of each open epoch at most: at the committed epoch, all that a job
//! has ever committed may come through here.
//! # Progress
//! Records of epoch e leave at e.
//! # Late and bad data
//! None here. A sum that overflows 128 bits stops the job.
//! # Restart
//! As any stateless operator: what arrives at the committed epoch leaves at it.
//! # Cost
//! A hash probe a record. It pays where several rollups are derived of one flow by coarser keys: each of them probes once for
//! each key of an epoch instead of once for each record. MapReduce calls this a combiner (Dean and Ghemawat, 2004, § 4.3).

use crate::epochs::Epochs;
use crate::flow::Flow;
use crate::time::Epoch;
use crate::view::rollup::Sums;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::hash::Hash;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// How many keys of an epoch wait for its close.
const KEYS_MAX: usize = 1 << 14;

/// Adds up the amounts of each key within each epoch.
///
/// ```rust
/// use headway_operators::build::Build;
/// use headway_operators::flow::Flow;
/// use headway_operators::view::combine::combine;
/// use headway_operators::view::rollup::Sums;
/// use headway_operators::view::table::Table;
///
/// /// Sales by shop and hour, and of them sales by shop and sales by hour.
/// fn sales<'s>(build: &mut Build<'s>, sales: Flow<'s, ((u32, u8), Sums<1>)>) -> [Table<'s, (u32, Sums<1>)>; 2] {
///     let sales = combine(&sales);
///     let by_shop = build.rollup("Shops", sales.clone().map(|((shop, _), sums)| (shop, sums)));
///     let by_hour = build.rollup("Hours", sales.map(|((_, hour), sums)| (u32::from(hour), sums)));
///     [by_shop, by_hour]
/// }
/// ```
pub fn combine<'s, K, const N: usize>(flow: &Flow<'s, (K, Sums<N>)>) -> Flow<'s, (K, Sums<N>)>
where
    K: Clone + Eq + Hash + 'static,
{
    Flow { whole: None, ..flow.with(combined(flow.records())) }
}

fn combined<'s, K, const N: usize>(
    records: StreamVec<'s, Epoch, (K, Sums<N>)>,
) -> StreamVec<'s, Epoch, (K, Sums<N>)>
where
    K: Clone + Eq + Hash + 'static,
{
    let mut builder = OperatorBuilder::new("Combine".into(), records.scope());
    let mut records = builder.new_input(records, Pipeline);
    let (out, combined) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<(K, Sums<N>)>>>::from(out);
    builder.build(move |_initial| {
        let mut epochs: Epochs<HashMap<K, Sums<N>, FxBuildHasher>> = Epochs::new(1);
        move |frontiers| {
            let mut out = out.activate();
            records.for_each(|cap, batch: &mut Vec<(K, Sums<N>)>| {
                let sums = epochs.at(&cap);
                for (key, change) in batch.drain(..) {
                    sums.entry(key).and_modify(|sum| sum.add(change)).or_insert(change);
                }
                if sums.len() >= KEYS_MAX {
                    out.session(&cap).give_iterator(sums.drain());
                }
            });
            while let Some(closed) = epochs.closed(frontiers) {
                out.session(&closed.caps[0]).give_iterator(closed.stash.into_iter());
            }
        }
    });
    combined
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;
    use timely::dataflow::operators::vec::Input;
    use timely::dataflow::operators::{Inspect, Probe};

    #[test]
    fn keys_beyond_the_most_leave_before_their_epoch_closes() {
        timely::execute_directly(|worker| {
            let seen: Rc<RefCell<BTreeMap<usize, Sums<1>>>> = Rc::default();
            let (mut input, probe) = worker.dataflow(|scope| {
                let (input, records) = scope.new_input();
                let seen = Rc::clone(&seen);
                let add = move |(key, change): &(usize, Sums<1>)| {
                    seen.borrow_mut().entry(*key).and_modify(|sum| sum.add(*change)).or_insert(*change);
                };
                let (probe, _) = combined(records).inspect(add).probe();
                (input, probe)
            });
            for key in (0..2 * KEYS_MAX).chain(0..KEYS_MAX) {
                input.send((key, Sums::of([1])));
            }
            input.flush();
            for _ in 0..1000 {
                worker.step();
            }
            assert!(seen.borrow().len() >= KEYS_MAX, "{} keys have left", seen.borrow().len());
            assert!(probe.less_equal(&Epoch(0)), "the epoch is open");
            drop(input);
            for _ in 0..1000 {
                worker.step();
            }
            assert!(probe.done());
            let seen = seen.borrow();
            assert_eq!(seen.len(), 2 * KEYS_MAX);
            assert!((0..2 * KEYS_MAX).all(|key| seen[&key].rows == if key < KEYS_MAX { 2 } else { 1 }));
        });
    }
}
