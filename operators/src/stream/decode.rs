//! Turns the value of a message into a record, or says why it cannot. It runs inside the source, on borrowed bytes
//! ([`crate::stream::ingest`]).
//!
//! A message is one record; each is parsed by itself. A message that gives no record becomes a dead letter, with its bytes
//! and a [`Reason`]. A decoder never panics on any bytes. It may cache (interned keys, zone offsets), but its answers must
//! not depend on what came before. No allocation on the good path.

use crate::error::Reason;
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

/// Turns the value of a message into a record.
pub trait Decoder: 'static {
    /// The record: small and `Copy` on hot edges, with a [`KeyHash`] in place of its key columns.
    type Out: ExchangeData + Copy;
    /// The key columns of a record, sent once an epoch; `()` where records carry all they need.
    type Key: ExchangeData + Clone;

    /// Called when an epoch begins. Every key that `decode` meets in it must be defined in it (again).
    fn begin(&mut self, epoch: Epoch);

    /// Decodes `value`. A key met for the first time in this epoch is pushed to `definitions`.
    ///
    /// # Errors
    /// The reason why the message is a dead letter.
    fn decode(
        &mut self,
        value: &[u8],
        definitions: &mut Vec<Definition<Self::Key>>,
    ) -> Result<(EventTime, Self::Out), Reason>;
}
