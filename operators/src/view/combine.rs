//! Adds up amounts by key within each epoch and worker, so that the operators behind it receive less.
//!
//! # Input
//! [`Sums`] by key, as [`rollup`](crate::view::rollup) takes them; no exchange.
//! # Output
//! The same sums: at the close of an epoch one record for each key that has changed on the worker.
//! # State
//! None: nothing of an epoch outlives it.
//! # Progress
//! Records of epoch e leave at e, once e is complete. A rollup waits for that anyway.
//! # Late and bad data
//! None here. A sum that overflows 128 bits stops the job.
//! # Restart
//! As any stateless operator: what arrives at the committed epoch leaves at it.
//! # Cost
//! A hash probe a record. It pays where several rollups are derived of one flow by coarser keys: each of them probes once for
//! each key of an epoch instead of once for each record. MapReduce calls this a combiner (Dean and Ghemawat, 2004, § 4.3).

use crate::epochs::Epochs;
use crate::flow::Flow;
use crate::view::rollup::Sums;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::hash::Hash;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

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
    let records = flow.records();
    let mut builder = OperatorBuilder::new("Combine".into(), records.scope());
    let mut records = builder.new_input(records, Pipeline);
    let (out, combined) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<(K, Sums<N>)>>>::from(out);
    builder.build(move |_initial| {
        let mut epochs: Epochs<HashMap<K, Sums<N>, FxBuildHasher>> = Epochs::new(1);
        move |frontiers| {
            records.for_each(|cap, batch: &mut Vec<(K, Sums<N>)>| {
                let sums = epochs.at(&cap);
                for (key, change) in batch.drain(..) {
                    sums.entry(key).and_modify(|sum| sum.add(change)).or_insert(change);
                }
            });
            let mut out = out.activate();
            while let Some(closed) = epochs.closed(frontiers) {
                out.session(&closed.caps[0]).give_iterator(closed.stash.into_iter());
            }
        }
    });
    Flow { whole: None, ..flow.with(combined) }
}
