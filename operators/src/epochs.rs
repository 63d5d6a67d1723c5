//! Work that waits for its epoch to close: stash per epoch, close in order.
//!
//! 1. What arrives is put into the stash of its epoch, which keeps a capability for each output of the operator.
//! 2. When every input's frontier has passed an epoch, all of it is there, from all workers: the epoch is taken out, the
//!    lowest first, and the operator gives what it makes true.
//! 3. Dropping the capabilities lets the frontier of the outputs pass the epoch.
//!
//! Invariant: epochs close in rising order, each once.

use crate::time::Epoch;
use std::collections::BTreeMap;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::MutableAntichain;

/// What has arrived for epochs that are not closed yet.
///
/// ```rust
/// use headway_operators::epochs::Epochs;
/// use headway_operators::time::Epoch;
/// use timely::container::CapacityContainerBuilder;
/// use timely::dataflow::channels::pact::Pipeline;
/// use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// // An operator that sums the numbers of an epoch.
/// let sum = |worker: &mut timely::worker::Worker| worker.dataflow::<Epoch, _, _>(|scope| {
///     let numbers = [1, 2, 3].to_stream(scope).container::<Vec<u64>>();
///     let mut builder = OperatorBuilder::new("Sum".into(), scope);
///     let mut numbers = builder.new_input(numbers, Pipeline);
///     let (sums, sum_stream) = builder.new_output();
///     let mut sums = OutputBuilder::<_, CapacityContainerBuilder<Vec<u64>>>::from(sums);
///     builder.build(move |_initial| {
///         let mut epochs: Epochs<u64> = Epochs::new(1);
///         move |frontiers| {
///             numbers.for_each(|cap, batch| *epochs.at(&cap) += batch.drain(..).sum::<u64>());
///             let mut sums = sums.activate();
///             while let Some(closed) = epochs.closed(frontiers) {
///                 sums.session(&closed.caps[0]).give(closed.stash);
///             }
///         }
///     });
///     sum_stream.capture()
/// });
/// assert_eq!(timely::execute_directly(sum).extract(), [(Epoch(0), vec![6])]);
/// ```
#[derive(Debug)]
pub struct Epochs<T> {
    outputs: usize,
    open: BTreeMap<Epoch, Open<T>>,
}

#[derive(Debug)]
struct Open<T> {
    caps: Vec<Capability<Epoch>>,
    stash: T,
}

/// An epoch that nothing can be added to any more.
#[derive(Debug)]
pub struct Closed<T> {
    /// The epoch.
    pub epoch: Epoch,
    /// Its capabilities, one for each output of the operator.
    pub caps: Vec<Capability<Epoch>>,
    /// What has arrived for it.
    pub stash: T,
}

impl<T: Default> Epochs<T> {
    /// No open epoch, in an operator with so many `outputs`.
    pub fn new(outputs: usize) -> Epochs<T> {
        Epochs { outputs, open: BTreeMap::new() }
    }

    /// The stash of the epoch that `cap` belongs to.
    pub fn at(&mut self, cap: &InputCapability<Epoch>) -> &mut T {
        let outputs = self.outputs;
        let open = self.open.entry(*cap.time()).or_insert_with(|| Open {
            caps: (0..outputs).map(|output| cap.retain(output)).collect(),
            stash: T::default(),
        });
        &mut open.stash
    }

    /// Takes out the lowest open epoch, if every frontier has passed it.
    pub fn closed(&mut self, frontiers: &[MutableAntichain<Epoch>]) -> Option<Closed<T>> {
        let lowest = lowest(frontiers);
        let entry =
            self.open.first_entry().filter(|entry| lowest.is_none_or(|lowest| *entry.key() < lowest))?;
        let (epoch, Open { caps, stash }) = entry.remove_entry();
        Some(Closed { epoch, caps, stash })
    }

    /// True if no epoch is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// The lowest epoch that can still arrive at one of the inputs; `None` if nothing can.
pub fn lowest(frontiers: &[MutableAntichain<Epoch>]) -> Option<Epoch> {
    frontiers.iter().filter_map(|frontier| frontier.frontier().iter().min().copied()).min()
}
