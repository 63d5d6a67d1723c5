//! Makes the input's watermark, `wm(e)`, from the marks of all its partitions.
//!
//! # Input
//! Marks, broadcast to every worker, at the epoch that they end.
//! # Output
//! One [`Tick`] for each epoch that had a mark, at that epoch, the same on every worker; and an ack from worker 0.
//! # State
//! The newest mark of each partition ([`crate::progress::Progress`]), shared with the feed of the same worker.
//! # Progress
//! Holds the capability of each epoch with a mark until the marks' frontier has passed it.
//! # Late and bad data
//! A mark of a later epoch never counts in `wm(e)`.
//! # Restart
//! `wm`, own watermarks and floors come from the manifest; idleness never does.
//! # Cost
//! O(partitions) an epoch.

use crate::ack::{Ack, InputIx};
use crate::progress::{Mark, SharedProgress, Tick};
use crate::time::Epoch;
use std::collections::BTreeMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

/// Makes ticks, and acks of `input`, from the marks of this worker's source.
pub fn watermark<'s>(
    input: InputIx,
    marks: StreamVec<'s, Epoch, Mark>,
    progress: SharedProgress,
) -> (StreamVec<'s, Epoch, Tick>, StreamVec<'s, Epoch, Ack>) {
    let scope = marks.scope();
    let first_worker = scope.index() == 0;
    let mut builder = OperatorBuilder::new("Watermark".into(), scope);
    let mut marks = builder.new_input(marks.broadcast(), Pipeline);
    let (ticks, tick_stream) = builder.new_output();
    let mut ticks = OutputBuilder::<_, CapacityContainerBuilder<Vec<Tick>>>::from(ticks);
    let (acks, ack_stream) = builder.new_output();
    let mut acks = OutputBuilder::<_, CapacityContainerBuilder<Vec<Ack>>>::from(acks);
    builder.build(move |initial| {
        drop(initial);
        let mut open: BTreeMap<Epoch, (Capability<Epoch>, Capability<Epoch>)> = BTreeMap::new();
        move |frontiers| {
            // 1. Accept marks: what is seen is known at once, what counts only at the close.
            marks.for_each(|cap, batch: &mut Vec<Mark>| {
                let epoch = *cap.time();
                open.entry(epoch).or_insert_with(|| (cap.retain(0), cap.retain(1)));
                for mark in batch.drain(..) {
                    progress.borrow_mut().see(epoch, mark);
                }
            });
            // 2. Close every epoch that the frontier has passed, in order.
            let (mut ticks, mut acks) = (ticks.activate(), acks.activate());
            while let Some(entry) = open.first_entry().filter(|e| !frontiers[0].less_equal(e.key())) {
                let (epoch, (tick_cap, ack_cap)) = entry.remove_entry();
                let tick = progress.borrow_mut().close(epoch);
                ticks.session(&tick_cap).give(tick);
                if first_worker {
                    let Tick { watermark, ended, flushed, .. } = tick;
                    acks.session(&ack_cap).give(Ack::Watermark { input, watermark, ended, flushed });
                }
            }
        }
    });
    (tick_stream, ack_stream)
}
