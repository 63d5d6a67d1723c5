//! Hands what an epoch gave to a thread that writes it, and tells the committer when it is durable.
//!
//! # Input
//! Rows, or changes of state, from operators of the same worker.
//! # Output
//! An ack for each file written, at the epoch it belongs to.
//! # State
//! What has come for epochs that are not closed yet.
//! # Progress
//! Holds the capability of an epoch until all of it is written and synced: that is what a commit waits for.
//! # Late and bad data
//! None here. A failed write stops the job, and its epoch is never acked.
//! # Restart
//! Nothing to restore: what was not committed is read again. What comes at the committed epoch, or before, derives from
//! restored state and was written by an earlier run: it is left out.
//! # Cost
//! Moves batches; encoding and I/O happen behind the port.

use crate::ack::Ack;
use crate::epochs::{Closed, Epochs};
use crate::port::Stage;
use crate::time::Epoch;
use std::collections::VecDeque;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

/// What a stage is called, and where it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operator's name.
    pub name: String,
    /// The first epoch of the run.
    pub first_epoch: Epoch,
}

/// Collects each epoch of `items`, hands it to the stage that `make` gives, and acks what was written.
///
/// `pack` turns the items of an epoch into (first epoch whose records may be in them, work).
pub fn stage<'s, T: Clone + 'static, Work: 'static, Done: 'static>(
    Options { name, first_epoch }: Options,
    items: StreamVec<'s, Epoch, T>,
    make: impl FnOnce(SyncActivator) -> Box<dyn Stage<Work, Done>>,
    pack: impl Fn(Epoch, Vec<T>) -> (Epoch, Work) + 'static,
    ack: impl Fn(Done) -> Ack + 'static,
) -> StreamVec<'s, Epoch, Ack> {
    let scope = items.scope();
    let mut builder = OperatorBuilder::new(name, scope);
    let mut items = builder.new_input(items, Pipeline);
    let (acks, ack_stream) = builder.new_output();
    let mut acks = OutputBuilder::<_, CapacityContainerBuilder<Vec<Ack>>>::from(acks);
    let address = builder.operator_info().address;
    let mut port = make(scope.worker().sync_activator_for(address.to_vec()));
    builder.build(move |initial| {
        drop(initial);
        let mut open: Epochs<Vec<T>> = Epochs::new(1);
        let mut writing: VecDeque<(Epoch, Capability<Epoch>)> = VecDeque::new();
        move |frontiers| {
            // 1. Accept items.
            items.for_each(|cap, batch: &mut Vec<T>| {
                if *cap.time() >= first_epoch {
                    open.at(&cap).append(batch);
                }
            });
            // 2. Hand over every epoch that is complete, in order.
            while let Some(Closed { epoch, mut caps, stash }) = open.closed(frontiers) {
                let (since, work) = pack(epoch, stash);
                port.put(epoch, since, work);
                writing.extend(caps.pop().map(|cap| (epoch, cap)));
            }
            // 3. Ack what is durable, and let go of its epoch.
            let mut acks = acks.activate();
            while let Some((epoch, done)) = port.done() {
                let (expected, cap) = writing.pop_front().expect("the port answers what it was given");
                assert_eq!(epoch, expected, "the port answers in order");
                acks.session(&cap).give_iterator(done.into_iter().map(&ack));
            }
        }
    });
    ack_stream
}
