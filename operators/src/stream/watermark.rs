//! Makes the watermarks of the job, `wm(e)` and `W_C(e)`, from the marks of all partitions of all inputs.
//!
//! # Input
//! Marks with the number of their input, broadcast to every worker, at the epoch that they end.
//! # Output
//! One [`Moment`] for each epoch that had a mark, at that epoch, the same on every worker; and acks from worker 0.
//! # State
//! The newest mark of each partition ([`crate::pace::Pace`]), shared with the feeds of the same worker.
//! # Progress
//! Holds the capability of each epoch with a mark until the marks' frontier has passed it.
//! # Late and bad data
//! A mark of a later epoch never counts in `wm(e)`.
//! # Restart
//! `wm`, `W_C`, own watermarks and floors come from the manifest; idleness never does.
//! # Cost
//! O(partitions) an epoch.

use crate::ack::{Ack, InputIx};
use crate::epochs::{Closed, Epochs};
use crate::pace::{Moment, SharedPace};
use crate::progress::Mark;
use crate::time::Epoch;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

/// Makes moments, and acks of the watermarks, from the marks of this worker's sources.
pub fn watermark<'s>(
    marks: StreamVec<'s, Epoch, (InputIx, Mark)>,
    pace: SharedPace,
) -> (StreamVec<'s, Epoch, Rc<Moment>>, StreamVec<'s, Epoch, Ack>) {
    let scope = marks.scope();
    let first_worker = scope.index() == 0;
    let mut builder = OperatorBuilder::new("Watermark".into(), scope);
    let mut marks = builder.new_input(marks.broadcast(), Pipeline);
    let (moments, moment_stream) = builder.new_output();
    let mut moments = OutputBuilder::<_, CapacityContainerBuilder<Vec<Rc<Moment>>>>::from(moments);
    let (acks, ack_stream) = builder.new_output();
    let mut acks = OutputBuilder::<_, CapacityContainerBuilder<Vec<Ack>>>::from(acks);
    builder.build(move |initial| {
        drop(initial);
        let mut open: Epochs<()> = Epochs::new(2);
        move |frontiers| {
            // 1. Accept marks: what is seen is known at once, what counts only at the close.
            marks.for_each(|cap, batch: &mut Vec<(InputIx, Mark)>| {
                open.at(&cap);
                for (input, mark) in batch.drain(..) {
                    pace.borrow_mut().see(*cap.time(), input, mark);
                }
            });
            // 2. Close every epoch that the frontier has passed, in order.
            let (mut moments, mut acks) = (moments.activate(), acks.activate());
            while let Some(Closed { epoch, caps, .. }) = open.closed(frontiers) {
                let moment = pace.borrow_mut().close(epoch);
                if first_worker {
                    acks.session(&caps[1]).give_iterator(moment.acks().iter().cloned());
                }
                moments.session(&caps[0]).give(Rc::new(moment));
            }
        }
    });
    (moment_stream, ack_stream)
}
