//! Turns each batch of records into another one: the operator behind `map`, `filter` and `filter_map` of a flow.
//!
//! # Input
//! Records.
//! # Output
//! What `logic` makes of each batch, in the order of the records.
//! # State
//! None.
//! # Progress
//! A record leaves at its own epoch, at once.
//! # Late and bad data
//! There are none here.
//! # Restart
//! It has no state to restore.
//! # Cost
//! A call through a pointer for each batch. timely's own `map` first gathers and sorts the batches of a turn by time, in code that is
//! compiled for every closure; this is compiled once for each pair of types. What a filter leaves of a batch is a batch, however
//! small.
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

/// Appends what it makes of the records of a batch. They all travel at one epoch.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::capture::Extract;
    use timely::dataflow::operators::vec::Map;
    use timely::dataflow::operators::{Capture, Input};

    type Sent = Vec<(Epoch, Vec<u32>)>;

    /// What each way makes of records that are sent epoch by epoch.
    fn both(epochs: Vec<Vec<u32>>) -> (Sent, Sent) {
        let few = |number: u32| (0..number % 3).map(move |copy| number * 10 + copy);
        let (ours, theirs) = timely::execute_directly(move |worker| {
            let mut input = InputHandle::new();
            let captured = worker.dataflow(|scope| {
                let numbers = scope.input_from(&mut input);
                let logic =
                    move |_, batch: Drain<'_, u32>, made: &mut Vec<u32>| made.extend(batch.flat_map(few));
                (each(numbers.clone(), "Few", Box::new(logic)).capture(), numbers.flat_map(few).capture())
            });
            for (epoch, numbers) in (1..).map(Epoch).zip(epochs) {
                numbers.into_iter().for_each(|number| input.send(number));
                input.advance_to(epoch);
                worker.step();
            }
            captured
        });
        (by_epoch(ours.extract()), by_epoch(theirs.extract()))
    }

    /// The records of each epoch, in their order, in whatever batches they came.
    fn by_epoch(sent: Sent) -> Sent {
        let mut all: Sent = Vec::new();
        for (epoch, numbers) in sent {
            match all.last_mut().filter(|(last, _)| *last == epoch) {
                Some((_, together)) => together.extend(numbers),
                None => all.push((epoch, numbers)),
            }
        }
        all
    }

    proptest! {
        #[test]
        fn records_are_those_of_timelys_own_operator_at_their_epochs_in_their_order(
            epochs in prop::collection::vec(prop::collection::vec(0..100u32, 0..40), 0..8),
        ) {
            let (ours, theirs) = both(epochs);
            prop_assert_eq!(ours, theirs);
        }
    }
}
