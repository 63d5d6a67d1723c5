//! A record with its place in the order of event time: what operators of the kit take in and give out.

use crate::ack::InputIx;
use crate::record::{Offset, Partition};
use crate::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};

/// What a record was made from. In this order at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// A message of an input: the record is the message, or an operator made it from the message.
    Message {
        /// The input; the lower number comes first.
        input: InputIx,
        /// The partition.
        partition: Partition,
        /// The position in the partition.
        offset: Offset,
    },
    /// A timer of an operator.
    Timer,
}

/// The place of a record among the records of one instant. It is the same for any number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// What it was made from.
    pub origin: Origin,
    /// A hash of the operator and the key that made it; 0 for a message.
    pub via: u64,
    /// Rises with what the operator gave for that key. Only the order has a meaning, and only at equal origin and `via`.
    pub number: u32,
}

impl Place {
    /// The place of a message.
    pub fn message(input: InputIx, partition: Partition, offset: Offset) -> Place {
        Place { origin: Origin::Message { input, partition, offset }, via: 0, number: 0 }
    }
}

/// A record with its event time and its place in the order of all records.
///
/// Operators of the kit take records in the order of (time, place). A record that an operator makes has the event time at
/// which the operator made it, and the origin of the record that the operator had before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<R> {
    /// When it happened.
    pub time: EventTime,
    /// The effective watermark of its own partition just before it; `time` for a record that an operator made.
    pub stamp: EventTime,
    /// The first epoch whose records may have led to it; `None` is the epoch in which it travels.
    pub since: Option<Epoch>,
    /// Its place among the records of one instant.
    pub place: Place,
    /// What it says.
    pub data: R,
}

impl<R> Record<R> {
    /// The record of a message that came on time.
    pub fn message(time: EventTime, place: Place, data: R) -> Record<R> {
        Record { time, stamp: time, since: None, place, data }
    }

    /// The same record with other data.
    pub fn map<S>(self, logic: impl FnOnce(R) -> S) -> Record<S> {
        let Record { time, stamp, since, place, data } = self;
        Record { time, stamp, since, place, data: logic(data) }
    }

    /// The same record with other data, if `logic` gives some.
    pub fn filter_map<S>(self, logic: impl FnOnce(R) -> Option<S>) -> Option<Record<S>> {
        let Record { time, stamp, since, place, data } = self;
        Some(Record { time, stamp, since, place, data: logic(data)? })
    }
}
