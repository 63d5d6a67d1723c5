//! The two times of the engine: the epoch (what commits together) and event time (when it happened).
//!
//! *Frontier* speaks of epochs, *watermark* of event time; the two never mix.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Timely's timestamp: the unit of commit and recovery. Not a time of day.
pub type Epoch = u64;

/// When something happened, says the record: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The least event time: the watermark of a partition that has accepted nothing ("minus infinity").
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// The greatest event time.
    pub const MAX: EventTime = EventTime(i64::MAX);

    /// Milliseconds since the Unix epoch.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// This time less `ms`, stopping at [`EventTime::MIN`].
    #[must_use]
    pub fn minus_ms(self, ms: i64) -> EventTime {
        EventTime(self.0.saturating_sub(ms))
    }

    /// This time plus `ms`, stopping at [`EventTime::MAX`].
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> EventTime {
        EventTime(self.0.saturating_add(ms))
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Event time up to which an operator has seen everything it will count: newest event time less lateness.
///
/// [`EventTime::MIN`] where nothing is known yet.
pub type Watermark = EventTime;

/// A half-open interval of event time, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First instant inside.
    pub start: EventTime,
    /// First instant after.
    pub end: EventTime,
}
