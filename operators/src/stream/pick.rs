//! Makes another record of each, or drops it with a reason, and counts what it drops.
//!
//! # Input
//! Records.
//! # Output
//! What `logic` makes of each record, and acks that say how many records it dropped, by reason.
//! # State
//! None.
//! # Progress
//! A record leaves at its own epoch, at once.
//! # Late and bad data
//! Records that `logic` gives a reason for do not leave. Those of the committed epoch, with which new views begin, were counted by
//! an earlier run, and are not counted again.
//! # Restart
//! It has no state to restore: records that were not committed are read and counted again.
//! # Cost
//! A call a record, and a message to the committer for each batch in which a record is dropped.
//!
//! ```rust
//! use headway_operators::build::Build;
//! use headway_operators::error::Reason;
//! use headway_operators::flow::Flow;
//!
//! /// Halves even numbers; [`Build::pick`] counts the odd ones.
//! fn halves<'s>(build: &mut Build<'s>, numbers: Flow<'s, i64>) -> Flow<'s, i64> {
//!     const ODD: Reason = Reason::of("odd");
//!     build.pick("Halves", numbers, |number| if number % 2 == 0 { Ok(number / 2) } else { Err(ODD) })
//! }
//! ```

use crate::ack::Ack;
use crate::error::Reason;
use crate::time::Epoch;
use std::collections::BTreeMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// What leaves the operator called `name`, and its acks. `committed` is the epoch that the run starts from.
pub(crate) fn pick<'s, R: Clone + 'static, S: Clone + 'static>(
    records: StreamVec<'s, Epoch, R>,
    name: &str,
    committed: Epoch,
    mut logic: impl FnMut(R) -> Result<S, Reason> + 'static,
) -> (StreamVec<'s, Epoch, S>, StreamVec<'s, Epoch, Ack>) {
    let operator = name.to_string();
    let mut builder = OperatorBuilder::new(operator.clone(), records.scope());
    let mut records = builder.new_input(records, Pipeline);
    let (out, picked) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<S>>>::from(out);
    let (ack_out, acks) = builder.new_output();
    let mut ack_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Ack>>>::from(ack_out);
    builder.build(move |initial| {
        drop(initial);
        move |_frontiers| {
            let (mut out, mut ack_out) = (out.activate(), ack_out.activate());
            records.for_each(|cap, batch: &mut Vec<R>| {
                let is_new = *cap.time() > committed;
                let mut dropped: BTreeMap<Reason, u64> = BTreeMap::new();
                let mut session = out.session(&cap);
                for record in batch.drain(..) {
                    match logic(record) {
                        Ok(picked) => session.give(picked),
                        Err(reason) => *dropped.entry(reason).or_default() += 1,
                    }
                }
                let dropped = dropped.into_iter().filter(|_| is_new);
                let acks = dropped.map(|(reason, records)| {
                    let operator = operator.clone();
                    Ack::Dropped { operator, reason, records }
                });
                ack_out.session(&cap).give_iterator(acks);
            });
        }
    });
    (picked, acks)
}
