//! Whether a partition still has what was read of it, after others have led it.
//!
//! A leader that lacks records of the one before (an unclean election, a log that was cut) gives their offsets away. Each
//! record carries the epoch of the leader that took it: where that changes, the last record before is read once more, and
//! must still be of its epoch. One that is not there any more (a compacted topic, retention) says nothing.
//!
//! The client has such a check of its own (KIP-320), which is left out for partitions that rest while their leader
//! changes, and where the new leader is not connected yet when the client hears of it.

use crate::connect::error;
use crate::connect::kafka::{Context, list, unusable};
use crate::connect::kafka_native::{Fetched, Reader, remind_of_brokers};
use crate::connect::kafka_reader::broken;
use headway_operators::record::{LastRead, Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::VecDeque;
use std::ffi::CString;
use std::time::{Duration, Instant};

/// After how long without an answer the question is put again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How long to wait for the broker's word on where a partition begins and ends.
const BOUNDS_MAX: Duration = Duration::from_millis(500);

/// Whether `next`, the record that follows `last`, was taken by another leader.
pub(super) fn changes(last: LastRead, next: LastRead) -> bool {
    last.leader_epoch != next.leader_epoch
}

/// What it means that `found` is at the offset of `read`, or the first record after that.
fn compare(read: LastRead, found: LastRead) -> Verdict {
    match found.offset == read.offset && changes(read, found) {
        true => Verdict::Lost(read),
        false => Verdict::Kept,
    }
}

/// What it means that `read` is refused by a partition that goes from `low` to `high`; `None` if it lies in there.
fn outside(read: LastRead, (low, high): (Offset, Offset)) -> Option<Verdict> {
    match read.offset {
        offset if offset < low => Some(Verdict::Kept),
        offset if offset >= high => Some(Verdict::Lost(read)),
        _ => None,
    }
}

/// Which record was the last one before an offset. Behind each record of a leader follows the next one, or a gap; those at
/// ends are noted, for reading may stop there.
#[derive(Debug, Default)]
pub(super) struct Trail(VecDeque<(Offset, LastRead)>);

impl Trail {
    /// Notes a record that was read.
    pub(super) fn read(&mut self, read: LastRead) {
        if self.0.back().is_none_or(|(_, last)| changes(*last, read)) {
            self.0.push_back((read.offset + 1, read));
        }
    }

    /// Notes that there is nothing between `last`, the last record read, and `next`.
    pub(super) fn gap(&mut self, last: LastRead, next: Offset) {
        if last.offset + 1 < next {
            self.0.push_back((next, last));
        }
    }

    /// The last record before `next`, if it was noted. Forgets what is known of offsets before.
    pub(super) fn before(&mut self, next: Offset) -> Option<LastRead> {
        while self.0.get(1).is_some_and(|(from, _)| *from <= next) {
            self.0.pop_front();
        }
        let (from, last) = *self.0.front().filter(|(from, _)| *from <= next)?;
        Some(if from == next { last } else { LastRead { offset: next - 1, ..last } })
    }
}

/// What is there of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Itself, or nothing that says otherwise.
    Kept,
    /// Another one, or nothing: this one was lost.
    Lost(LastRead),
}

/// Makes the client that looks.
pub(super) type Make = Box<dyn Fn() -> Result<BaseConsumer<Context>, error::Error>>;

/// Looks at records that were read before.
pub(super) struct Witness {
    topic: String,
    make: Make,
    brokers: CString,
    /// Made with the first question.
    reader: Option<Reader<Context>>,
    asked: Option<(Partition, LastRead, Instant)>,
}

impl Witness {
    pub(super) fn new(topic: &str, brokers: CString, make: Make) -> Witness {
        Witness { topic: topic.to_string(), make, brokers, reader: None, asked: None }
    }

    /// Begins to look at `read`, a record of `partition`.
    ///
    /// # Errors
    /// If there can be no client.
    pub(super) fn ask(&mut self, partition: Partition, read: LastRead) -> Result<(), error::Error> {
        tracing::debug!(partition, offset = read.offset, "another leader: looking at the last record again");
        if self.reader.is_none() {
            let reader = Reader::new((self.make)()?);
            self.reader = Some(reader.map_err(|failed| unusable(&self.topic, &failed.reason))?);
        }
        self.asked = Some((partition, read, Instant::now()));
        self.assign(partition, Some(read.offset))
    }

    /// The answer, which ends the question; `None` while it is not there.
    ///
    /// # Errors
    /// If the client cannot go on.
    pub(super) fn answer(&mut self) -> Result<Option<Verdict>, error::Error> {
        let Some(((partition, read, since), reader)) = self.asked.zip(self.reader.as_mut()) else {
            return Ok(None);
        };
        let (mut answer, mut again) = (None, since.elapsed() > ASK_AGAIN);
        while let (None, Some(fetched)) = (answer, reader.next()) {
            match fetched {
                Fetched::Message { partition: of, offset, leader_epoch, .. } if of == partition as i32 => {
                    answer = Some(compare(read, LastRead { offset, leader_epoch }));
                }
                Fetched::Event { code: Code::AutoOffsetReset, partition: of, .. }
                    if of == partition as i32 =>
                {
                    let bounds = reader.consumer().fetch_watermarks(&self.topic, of, BOUNDS_MAX);
                    answer = bounds.ok().and_then(|bounds| outside(read, bounds));
                    again |= answer.is_none();
                }
                Fetched::Event { code, partition, offset, reason } => {
                    broken(&self.topic, code, (partition, offset), reason).map_or(Ok(()), Err)?;
                }
                Fetched::Message { .. } => {}
            }
        }
        while reader.log() {}
        if answer.is_some() {
            self.asked = None;
            self.assign(partition, None)?;
        } else if again {
            remind_of_brokers(reader.consumer().client(), &self.brokers);
            self.ask(partition, read)?;
        }
        Ok(answer)
    }

    /// Reads `partition` from an offset on, or no more.
    fn assign(&mut self, partition: Partition, from: Option<Offset>) -> Result<(), error::Error> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let assigned: Vec<_> = from.map(|offset| (partition, offset)).into_iter().collect();
        let done = list(&self.topic, &assigned).and_then(|list| reader.consumer().assign(&list));
        // What the client had of an earlier assignment it does not give any more: nothing older than the question is seen.
        reader.clear();
        done.map_err(|error| unusable(&self.topic, &error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: Offset, leader_epoch: i32) -> LastRead {
        LastRead { offset, leader_epoch }
    }

    #[test]
    fn only_another_record_or_none_at_all_is_a_loss() {
        let read = at(10, 3);
        let (kept, lost) = (Verdict::Kept, Verdict::Lost(read));
        let cases = [
            ("itself", at(10, 3), kept),
            ("one of a later leader", at(10, 5), lost),
            ("one of an earlier leader", at(10, 2), lost),
            ("the next one, of the same leader: compacted", at(11, 3), kept),
            ("the next one, of a later leader: it may be compacted", at(11, 5), kept),
        ];
        for (what, found, expected) in cases {
            assert_eq!(compare(read, found), expected, "{what}");
        }
        let bounds = [
            ("it is among them", (0, 11), None),
            ("it is the first", (10, 20), None),
            ("retention took it", (11, 20), Some(kept)),
            ("the partition ends before it", (0, 10), Some(lost)),
            ("the partition is empty", (0, 0), Some(lost)),
        ];
        for (what, bounds, expected) in bounds {
            assert_eq!(outside(read, bounds), expected, "{what}");
        }
    }

    #[test]
    fn trail_leads_to_the_last_record_before_an_offset() {
        let mut trail = Trail::default();
        assert_eq!(trail.before(7), None);
        // Leader 1 from offset 4 on; a gap after offset 8, seen at the end; leader 3 from offset 20 on.
        (4..9).for_each(|offset| trail.read(at(offset, 1)));
        trail.gap(at(8, 1), 11);
        (11..14).for_each(|offset| trail.read(at(offset, 1)));
        trail.gap(at(13, 1), 14);
        (20..31).for_each(|offset| trail.read(at(offset, 3)));
        assert_eq!(trail.0.len(), 3, "few are kept");
        let cases = [
            (4, None),
            (5, Some(at(4, 1))),
            (7, Some(at(6, 1))),
            (11, Some(at(8, 1))),
            (13, Some(at(12, 1))),
            (21, Some(at(20, 3))),
            (30, Some(at(29, 3))),
        ];
        for (next, expected) in cases {
            assert_eq!(trail.before(next), expected, "before {next}");
        }
        assert_eq!(trail.before(5), None, "what lies before is forgotten");
    }
}
