//! Seeded messages in a pipeline's wire format: the embedded source, and `headway produce`.

use crate::record::{Offset, Partition};

/// What to generate. The same options give the same messages, in every release of the same version.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Chooses everything that is drawn.
    pub seed: u64,
    /// Messages in all partitions together; `None` never ends.
    pub messages: Option<u64>,
    /// Partitions.
    pub partitions: u32,
    /// Messages per second of event time, in all partitions together.
    pub rate: f64,
    /// Up to how many seconds a message arrives after it happened.
    pub disorder_s: f64,
    /// Share of messages that repeat an earlier one, 0 to 1.
    pub dup: f64,
    /// Share of messages that come hours late, 0 to 1.
    pub late: f64,
    /// Share of messages that cannot be decoded, 0 to 1.
    pub bad: f64,
    /// Distinct keys (turnstiles, users).
    pub keys: u32,
    /// Event time of the first message, milliseconds UTC.
    pub start_ms: i64,
}

/// One generated message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The message's key, as upstream's producer sets it.
    pub key: Vec<u8>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its time stamp in milliseconds: when it was sent, in the generator's time.
    pub timestamp_ms: i64,
}

/// A function from position to message: any offset can be made again without those before it.
pub trait Generate: Send + Sync {
    /// Identity of the stream for the manifest: kind, version and all options that shape the messages.
    fn identity(&self) -> String;

    /// Number of partitions.
    fn partitions(&self) -> u32;

    /// One past the last offset of `partition`; `None` where it never ends.
    fn end(&self, partition: Partition) -> Option<Offset>;

    /// Writes the message at `offset` of `partition` into `out`, whose buffers are reused.
    fn message(&self, partition: Partition, offset: Offset, out: &mut Message);
}
