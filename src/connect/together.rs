//! Writes the generated messages of several inputs in the order of time: a simulation that is seen through several topics at once.
//!
//! Each partition of each input has its next message ready; the one that is sent first of all is written. Of messages of one instant
//! the one of the input that was named first comes first. So whoever reads the topics sees them advance side by side, as those of a
//! running service do, and a stream without an end can be written.

use crate::connect::error::Error;
use crate::connect::produce::{BATCH, Folder, Lines, Produced, WAIT_MAX};
use headway_operators::generate::{Generate, Message};
use headway_operators::record::{Offset, Partition};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Takes the messages of several inputs.
pub trait Take {
    /// Takes a message of the input of this number.
    ///
    /// # Errors
    /// If it cannot be written.
    fn take(
        &mut self,
        input: usize,
        partition: Partition,
        offset: Offset,
        message: &Message,
    ) -> Result<(), Error>;

    /// Lets readers see what was taken: nothing more may be due for long.
    ///
    /// # Errors
    /// If it cannot be written.
    fn flush(&mut self) -> Result<(), Error>;
}

/// How event time runs, and whom to tell.
pub struct Course<'a> {
    /// Seconds of event time per second of the wall clock; `None` is as fast as possible.
    pub speed: Option<f64>,
    /// How many messages are written at most.
    pub messages_max: Option<u64>,
    /// Is told now and then what was written so far, and may end it.
    pub tell: &'a mut dyn FnMut(&Produced) -> ControlFlow<()>,
}

/// The place of a message in the order of all: when it was sent, the number of its input, and its partition.
type Place = (i64, usize, Partition);

/// The next message of a partition.
#[derive(Default)]
struct Next {
    offset: Offset,
    message: Message,
}

/// Gives the messages of `inputs` to `to`, in the order of time.
///
/// # Errors
/// If `to` cannot take one.
pub fn together(inputs: &[&dyn Generate], to: &mut dyn Take, course: Course<'_>) -> Result<Produced, Error> {
    let Course { speed, messages_max, tell } = course;
    let mut nexts: Vec<Vec<Next>> = Vec::new();
    let mut order: BinaryHeap<Reverse<Place>> = BinaryHeap::new();
    for (input, generate) in inputs.iter().enumerate() {
        nexts.push((0..generate.partitions()).map(|_| Next::default()).collect());
        for partition in (0..generate.partitions()).map(Partition) {
            let next = &mut nexts[input][partition.index()];
            order.extend(next.make(*generate, partition).map(|sent_ms| Reverse((sent_ms, input, partition))));
        }
    }
    // The clock runs from the first message on: the simulation may have taken long to begin.
    let began = Instant::now();
    let first_ms = order.peek().map_or(0, |Reverse((sent_ms, ..))| *sent_ms);
    let mut produced = Produced::default();
    while let Some(Reverse((sent_ms, input, partition))) = order.pop() {
        if messages_max.is_some_and(|most| produced.messages >= most) {
            break;
        }
        let event = Duration::from_millis(sent_ms.saturating_sub(first_ms).unsigned_abs());
        let mut is_waiting = false;
        while let Some(wait) = speed.and_then(|speed| wait(event, began.elapsed(), speed)) {
            if !std::mem::replace(&mut is_waiting, true) {
                to.flush()?;
            }
            if tell(&produced).is_break() {
                return Ok(produced);
            }
            std::thread::sleep(wait.min(WAIT_MAX));
        }
        let next = &mut nexts[input][partition.index()];
        to.take(input, partition, next.offset, &next.message)?;
        produced.add(&next.message);
        next.offset += 1;
        order.extend(next.make(inputs[input], partition).map(|ms| Reverse((ms, input, partition))));
        if produced.messages.is_multiple_of(BATCH) && tell(&produced).is_break() {
            return Ok(produced);
        }
    }
    Ok(produced)
}

impl Next {
    /// Makes the message at the offset; gives when it was sent, or `None` where the partition has ended.
    fn make(&mut self, generate: &dyn Generate, partition: Partition) -> Option<i64> {
        if generate.end(partition).is_some_and(|end| self.offset >= end) {
            return None;
        }
        generate.message(partition, self.offset, &mut self.message);
        Some(self.message.timestamp_ms)
    }
}

/// How long to wait, `elapsed` after the first message, for one that was sent `event` after it; `None` if it is due.
fn wait(event: Duration, elapsed: Duration, speed: f64) -> Option<Duration> {
    let due = Duration::try_from_secs_f64(event.as_secs_f64() / speed).unwrap_or(Duration::MAX);
    due.checked_sub(elapsed).filter(|wait| !wait.is_zero())
}

/// Folders, one for each input.
pub struct Folders(pub Vec<Folder>);

impl Take for Folders {
    fn take(
        &mut self,
        input: usize,
        partition: Partition,
        offset: Offset,
        message: &Message,
    ) -> Result<(), Error> {
        self.0[input].write(partition, offset, message)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(Folder::flush)
    }
}

impl Take for Lines<'_> {
    fn take(
        &mut self,
        input: usize,
        partition: Partition,
        offset: Offset,
        message: &Message,
    ) -> Result<(), Error> {
        self.write(input, partition, offset, message)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Lines::flush(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message each so many milliseconds, which says when it was sent.
    struct Every {
        ms: i64,
        partitions: u32,
        end: Option<Offset>,
    }

    impl Generate for Every {
        fn identity(&self) -> String {
            String::new()
        }

        fn partitions(&self) -> u32 {
            self.partitions
        }

        fn end(&self, _partition: Partition) -> Option<Offset> {
            self.end
        }

        fn message(&self, partition: Partition, offset: Offset, out: &mut Message) {
            out.timestamp_ms = 1_000 + offset.0 * self.ms + i64::from(partition.0);
            out.value = (offset.0 % 3 > 0).then(|| b"ab".to_vec());
        }
    }

    /// What was taken, in order; and how often it was flushed.
    #[derive(Default)]
    struct Taken {
        all: Vec<(i64, usize, u32, i64)>,
        flushed: usize,
    }

    impl Take for Taken {
        fn take(
            &mut self,
            input: usize,
            partition: Partition,
            offset: Offset,
            message: &Message,
        ) -> Result<(), Error> {
            self.all.push((message.timestamp_ms, input, partition.0, offset.0));
            Ok(())
        }

        fn flush(&mut self) -> Result<(), Error> {
            self.flushed += 1;
            Ok(())
        }
    }

    fn course(
        speed: Option<f64>,
        messages_max: Option<u64>,
        tell: &mut dyn FnMut(&Produced) -> ControlFlow<()>,
    ) -> Course<'_> {
        Course { speed, messages_max, tell }
    }

    #[test]
    fn messages_of_all_inputs_come_in_the_order_of_time_each_once() {
        let slow = Every { ms: 70, partitions: 2, end: Some(Offset(9)) };
        let fast = Every { ms: 10, partitions: 1, end: Some(Offset(40)) };
        let mut taken = Taken::default();
        let tell = &mut |_: &Produced| ControlFlow::Continue(());
        let produced = together(&[&slow, &fast], &mut taken, course(None, None, tell)).expect("all is taken");
        assert_eq!((produced.messages, produced.tombstones, produced.bytes), (58, 20, 76));
        let mut sorted = taken.all.clone();
        sorted.sort_unstable();
        assert_eq!(taken.all, sorted);
        sorted.dedup();
        assert_eq!((sorted.len(), taken.flushed), (58, 0), "each once, and nothing is waited for");
    }

    #[test]
    fn endless_streams_advance_side_by_side_until_somebody_ends_them() {
        let slow = Every { ms: 1_000, partitions: 1, end: None };
        let fast = Every { ms: 1, partitions: 3, end: None };
        let mut taken = Taken::default();
        let tell = &mut |_: &Produced| ControlFlow::Continue(());
        together(&[&fast, &slow], &mut taken, course(None, Some(30_020), tell)).expect("all is taken");
        let newest = |input: usize| taken.all.iter().filter(|one| one.1 == input).map(|one| one.0).max();
        assert_eq!(taken.all.len(), 30_020);
        assert_eq!((newest(0), newest(1)), (Some(11_003), Some(11_000)), "ten seconds of both");
        let mut told = 0;
        let tell = &mut |_: &Produced| {
            told += 1;
            if told > 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let produced = together(&[&fast, &slow], &mut Taken::default(), course(None, None, tell));
        assert_eq!(produced.expect("all is taken").messages, 3 * BATCH);
        // Somebody who waits for years is asked, too, and readers see what there is.
        let mut taken = Taken::default();
        let tell = &mut |_: &Produced| ControlFlow::Break(());
        let produced = together(&[&slow], &mut taken, course(Some(1e-9), None, tell));
        assert_eq!((produced.expect("it is ended").messages, taken.flushed), (1, 1));
    }

    #[test]
    fn message_is_due_when_the_clock_has_run_as_far_as_event_time() {
        let s = Duration::from_secs;
        assert_eq!(wait(s(60), s(20), 1.0), Some(s(40)));
        assert_eq!(wait(s(60), s(60), 1.0), None);
        assert_eq!(wait(s(60), s(20), 2.0), Some(s(10)));
        assert_eq!(wait(s(60), s(61), 0.5), Some(s(59)));
        assert_eq!(wait(s(60), s(1), f64::MIN_POSITIVE), Some(Duration::MAX - s(1)));
    }
}
