//! Why a record can be refused, and why state cannot be restored.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a message became a dead letter. The names are part of the lake's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// A tombstone.
    NullValue,
    /// Longer than [`crate::record::VALUE_BYTES_MAX`].
    TooLong,
    /// Not UTF-8, or a JSON string with a lone surrogate.
    #[serde(rename = "not-utf8")]
    NotUtf8,
    /// Nothing but blanks, or a header without a record.
    Empty,
    /// An unclosed quote.
    BadCsv,
    /// A header line that lacks a column.
    BadHeader,
    /// More than one record in the message.
    TooManyRecords,
    /// Not as many fields as names.
    WrongFieldCount,
    /// A field that must not be empty is.
    MissingField,
    /// Not a whole number of 1 to 18 digits.
    BadNumber,
    /// Not a time, or a wall-clock time that does not exist in the zone.
    BadTimestamp,
    /// Further ahead of its message's time stamp than is believable.
    FutureEventTime,
    /// Not JSON of the expected shape.
    BadJson,
}

impl Reason {
    /// The stable name, as the lake stores it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NullValue => "null-value",
            Reason::TooLong => "too-long",
            Reason::NotUtf8 => "not-utf8",
            Reason::Empty => "empty",
            Reason::BadCsv => "bad-csv",
            Reason::BadHeader => "bad-header",
            Reason::TooManyRecords => "too-many-records",
            Reason::WrongFieldCount => "wrong-field-count",
            Reason::MissingField => "missing-field",
            Reason::BadNumber => "bad-number",
            Reason::BadTimestamp => "bad-timestamp",
            Reason::FutureEventTime => "future-event-time",
            Reason::BadJson => "bad-json",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why saved state could not be taken back. Never skipped: the job stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Written by a later version of the operator.
    #[error("operator \"{operator}\" cannot read its state of version {found}, only up to {known}")]
    Newer {
        /// The operator's name.
        operator: String,
        /// The version found.
        found: u32,
        /// The newest version this build reads.
        known: u32,
    },
    /// The bytes are not what the operator writes.
    #[error("state of operator \"{operator}\" in shard {shard} does not decode: {what}")]
    Malformed {
        /// The operator's name.
        operator: String,
        /// The shard.
        shard: u16,
        /// What did not fit.
        what: &'static str,
    },
}
