//! Turns a message into a record, filters it, or says why it cannot be one. It runs inside the source, on borrowed bytes
//! ([`crate::stream::ingest`]).
//!
//! A decoder sees the whole message (key, headers, time stamp, value) and the newest event time of its partition. A message
//! gives one record, or is filtered, or becomes a dead letter, with its bytes and a [`Reason`]. A decoder never panics on any
//! bytes. It may cache (interned keys, zone offsets), but its answers depend on the message and the [`Context`] alone. No
//! allocation on the good path.

use crate::error::Reason;
use crate::record::Raw;
use crate::row::{Cell, Column};
use crate::state::KeyHash;
use crate::time::{Epoch, EventTime};
use timely::ExchangeData;

/// A key sent by value: the records of the epoch carry only its hash.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Definition<K> {
    /// The hash that the records carry.
    pub hash: KeyHash,
    /// The key.
    pub key: K,
}

/// What is known of a partition when one of its messages is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The newest event time decoded from the partition so far, late and duplicate records included, dead ones not.
    pub newest: Option<EventTime>,
}

/// What a message was decoded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<R> {
    /// A record, and when it happened.
    Record(EventTime, R),
    /// The message is left out on purpose: it is no record, and nothing is wrong with it.
    Filtered,
}

/// Turns a message into a record.
///
/// ```rust
/// use headway_operators::error::Reason;
/// use headway_operators::record::{Offset, Partition, Payload, Raw};
/// use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
/// use headway_operators::time::EventTime;
///
/// /// Messages such as `1700000000 21.5`; lines that begin with `#` are comments.
/// struct Readings;
///
/// impl Decoder for Readings {
///     type Out = String;
///     type Key = ();
///
///     fn decode(
///         &mut self,
///         raw: &Raw<'_>,
///         _context: &Context,
///         _definitions: &mut Vec<Definition<()>>,
///     ) -> Result<Decoded<String>, Reason> {
///         let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
///         let text = std::str::from_utf8(value).map_err(|_| Reason::NOT_UTF8)?;
///         if text.starts_with('#') {
///             return Ok(Decoded::Filtered);
///         }
///         let (seconds, degrees) = text.split_once(' ').ok_or(Reason::MISSING_FIELD)?;
///         let seconds: u32 = seconds.parse().map_err(|_| Reason::BAD_TIMESTAMP)?;
///         Ok(Decoded::Record(EventTime(i64::from(seconds) * 1000), degrees.to_string()))
///     }
/// }
///
/// let mut decode = |text: &str| {
///     let raw = Raw::of(Partition(0), Offset(0), Payload::Bytes(text.as_bytes()));
///     Readings.decode(&raw, &Context::default(), &mut Vec::new())
/// };
/// assert_eq!(decode("2 21.5"), Ok(Decoded::Record(EventTime(2000), "21.5".to_string())));
/// assert_eq!(decode("# degrees"), Ok(Decoded::Filtered));
/// assert_eq!(decode("soon 21.5"), Err(Reason::BAD_TIMESTAMP));
/// ```
pub trait Decoder: 'static {
    /// The record; on hot edges small and `Copy`, with a [`KeyHash`] in place of its key columns.
    type Out: ExchangeData + Clone;
    /// The key columns of a record, sent once an epoch; `()` where records carry all they need.
    type Key: ExchangeData + Clone;

    /// Called when an epoch begins. Every key that `decode` meets in it must be defined in it (again).
    /// Does nothing by default, for records without keys.
    fn begin(&mut self, _epoch: Epoch) {}

    /// Decodes `raw`. A key met for the first time in this epoch is pushed to `definitions`.
    ///
    /// The payload is [`Payload::Bytes`](crate::record::Payload::Bytes) or
    /// [`Payload::Null`](crate::record::Payload::Null): values that are too long and header lines of files do not
    /// come here.
    ///
    /// # Errors
    /// The reason why the message is a dead letter.
    fn decode(
        &mut self,
        raw: &Raw<'_>,
        context: &Context,
        definitions: &mut Vec<Definition<Self::Key>>,
    ) -> Result<Decoded<Self::Out>, Reason>;

    /// The columns of a record by which [rules](crate::rules) judge it; none where its parts have no names.
    fn columns(&self) -> Vec<Column> {
        Vec::new()
    }

    /// Calls `put` for each of these columns, in their order, with what `record` has there. It was decoded from `raw` just now.
    /// Called only where there are rules.
    fn cells(&mut self, raw: &Raw<'_>, record: &Self::Out, put: &mut dyn FnMut(Cell<'_>)) {
        let _ = (raw, record, put);
    }
}
