//! Makes others of the records of a batch: what `map`, `filter` and `filter_map` of a flow are.
//!
//! # Input
//! Records.
//! # Output
//! What `logic` makes of each batch, in its order.
//! # State
//! None.
//! # Progress
//! A record leaves at its own epoch, at once.
//! # Late and bad data
//! There are none here.
//! # Restart
//! It has no state to restore.
//! # Cost
//! A call by pointer a batch. timely's own `map` gathers and sorts the batches of a turn by time first, in code that is compiled for
//! every closure; this is compiled once for each pair of types.
//!
//! ```rust
//! use headway_operators::flow::Flow;
//!
//! fn halves<'s>(numbers: Flow<'s, i64>) -> Flow<'s, i64> {
//!     numbers.filter(|number| number % 2 == 0).map(|number| number / 2)
//! }
//! ```

use crate::time::Epoch;
use std::vec::Drain;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Appends what it makes of the records of a batch, which all travel at one epoch.
type Logic<R, S> = Box<dyn FnMut(Epoch, Drain<'_, R>, &mut Vec<S>)>;

/// What `logic` makes of each batch, from an operator called `name`.
pub(crate) fn each<'s, R: Clone + 'static, S: Clone + 'static>(
    records: StreamVec<'s, Epoch, R>,
    name: &str,
    mut logic: Logic<R, S>,
) -> StreamVec<'s, Epoch, S> {
    let mut builder = OperatorBuilder::new(name.into(), records.scope());
    let mut records = builder.new_input(records, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (out, made) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<S>>>::from(out);
    builder.build(move |initial| {
        drop(initial);
        let mut room = Vec::new();
        move |_frontiers| {
            let mut out = out.activate();
            records.for_each(|cap, batch: &mut Vec<R>| {
                logic(*cap.time(), batch.drain(..), &mut room);
                if !room.is_empty() {
                    out.session(&cap).give_container(&mut room);
                    room.clear();
                }
            });
        }
    });
    made
}
