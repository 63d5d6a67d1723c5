//! Why a message of the topic is a dead letter, beside the reasons that all pipelines share.

use headway_operators::error::Reason;

/// An unclosed quote.
pub const BAD_CSV: Reason = Reason::of("bad-csv");
/// A header line that lacks a column, or has one twice.
pub const BAD_HEADER: Reason = Reason::of("bad-header");
/// More than one record in the message.
pub const TOO_MANY_RECORDS: Reason = Reason::of("too-many-records");
/// Not as many fields as names.
pub const WRONG_FIELD_COUNT: Reason = Reason::of("wrong-field-count");
/// A control character in a column of the key.
pub const CONTROL_CHARACTER: Reason = Reason::of("control-character");
