//! Work that waits for its epoch to close: stash per epoch, close in order.
//!
//! 1. What arrives is put into the stash of its epoch, which keeps a capability for each output of the operator.
//! 2. When every input's frontier has passed an epoch, all of it is there, from all workers: the epoch is taken out, the
//!    lowest first, and the operator gives what it makes true.
//! 3. Dropping the capabilities lets the frontier of the outputs pass the epoch.
//!
//! Invariant: epochs close in rising order, each once.

use crate::time::Epoch;
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
    /// The open epochs, the latest first. There are few, and each operator has stashes of a type of its own: a list takes a tenth of
    /// the code of a map.
    open: Vec<Closed<T>>,
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
        Epochs { outputs, open: Vec::new() }
    }

    /// The stash of the epoch that `cap` belongs to.
    pub fn at(&mut self, cap: &InputCapability<Epoch>) -> &mut T {
        self.at_later(cap, *cap.time())
    }

    /// The stash of `epoch`, which is that of `cap` or a later one.
    ///
    /// # Panics
    /// If it is an earlier one.
    pub fn at_later(&mut self, cap: &InputCapability<Epoch>, epoch: Epoch) -> &mut T {
        let place = self.open.partition_point(|open| open.epoch > epoch);
        if self.open.get(place).is_none_or(|open| open.epoch != epoch) {
            let caps = (0..self.outputs).map(|output| cap.delayed(&epoch, output)).collect();
            self.open.insert(place, Closed { epoch, caps, stash: T::default() });
        }
        &mut self.open[place].stash
    }

    /// Takes out the lowest open epoch, if every frontier has passed it.
    pub fn closed(&mut self, frontiers: &[MutableAntichain<Epoch>]) -> Option<Closed<T>> {
        let lowest = lowest(frontiers);
        self.open.pop_if(|open| lowest.is_none_or(|lowest| open.epoch < lowest))
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
