//! For tests: everything a source gives until it has nothing more.

use crate::connect::{Event, Polled, Source, error};
use headway_operators::record::{Payload, VALUE_BYTES_MAX};
use std::collections::BTreeMap;

/// A message: offset, time stamp, value. A value that is too long is its length and hash, as text.
///
/// Partitions and offsets are bare numbers here: what a test expects is then a plain list.
pub(super) type Message = (i64, Option<i64>, Option<Vec<u8>>);

/// What a source gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Drained {
    /// The messages of each partition.
    pub(super) messages: BTreeMap<u32, Vec<Message>>,
    /// Where each partition was read to its end.
    pub(super) caught_up: BTreeMap<u32, i64>,
    /// The bytes that were read for messages.
    pub(super) bytes: usize,
}

/// Polls `source`, `slice` bytes at a time, until it has nothing more.
pub(super) fn drain(source: &mut dyn Source, slice: usize) -> Result<Drained, error::Error> {
    let mut drained = Drained::default();
    while poll(source, slice, &mut drained)? == Polled::More {}
    Ok(drained)
}

/// Polls `source` once.
pub(super) fn poll(
    source: &mut dyn Source,
    slice: usize,
    drained: &mut Drained,
) -> Result<Polled, error::Error> {
    source.poll(slice, &mut |event| match event {
        Event::Message(raw, read) => {
            drained.bytes += read;
            let value = match raw.payload {
                Payload::Null | Payload::Header => None,
                Payload::Bytes(bytes) => Some(bytes.to_vec()),
                Payload::TooLong { bytes, hash, .. } => Some(too_long(bytes, hash)),
            };
            let messages = drained.messages.entry(raw.partition.0).or_default();
            messages.push((raw.offset.0, raw.timestamp_ms, value));
        }
        Event::CaughtUp(partition, next) => {
            drained.caught_up.insert(partition.0, next.0);
        }
        Event::Stalled(..) => {}
    })
}

/// How a value that is too long is written down.
pub(super) fn too_long(bytes: u64, hash: u128) -> Vec<u8> {
    assert!(bytes > VALUE_BYTES_MAX as u64);
    format!("{bytes}:{hash:032x}").into_bytes()
}
