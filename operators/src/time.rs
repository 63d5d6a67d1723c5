//! The two times of the engine: the epoch (what commits together) and event time (when it happened).
//!
//! *Frontier* speaks of epochs, *watermark* of event time; the two never mix.

use differential_dataflow::lattice::{Lattice, Maximum};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;
use timely::order::{PartialOrder, TotalOrder};
use timely::progress::Timestamp;
use timely::progress::timestamp::{PathSummary, Refines};

/// Timely's timestamp: the unit of commit and recovery. Not a time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    ///
    /// # Panics
    /// If there is none: a job that ends an epoch a millisecond comes there after 500 million years.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0.checked_add(1).expect("epochs do not run out"))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Add<u64> for Epoch {
    type Output = Epoch;

    fn add(self, epochs: u64) -> Epoch {
        Epoch(self.0 + epochs)
    }
}

impl Sub<u64> for Epoch {
    type Output = Epoch;

    fn sub(self, epochs: u64) -> Epoch {
        Epoch(self.0 - epochs)
    }
}

/// How many epochs lie between two.
impl Sub for Epoch {
    type Output = u64;

    fn sub(self, before: Epoch) -> u64 {
        self.0 - before.0
    }
}

// What timely and differential ask of a timestamp: all of it is what they do for `u64`.

impl PartialOrder for Epoch {
    #[inline]
    fn less_equal(&self, other: &Epoch) -> bool {
        self <= other
    }

    #[inline]
    fn less_than(&self, other: &Epoch) -> bool {
        self < other
    }
}

impl TotalOrder for Epoch {}

impl Timestamp for Epoch {
    type Summary = u64;

    fn minimum() -> Epoch {
        Epoch(0)
    }
}

impl PathSummary<Epoch> for u64 {
    #[inline]
    fn results_in(&self, epoch: &Epoch) -> Option<Epoch> {
        self.checked_add(epoch.0).map(Epoch)
    }

    #[inline]
    fn followed_by(&self, other: &u64) -> Option<u64> {
        self.checked_add(*other)
    }
}

impl Refines<()> for Epoch {
    fn to_inner(_outer: ()) -> Epoch {
        Epoch::minimum()
    }

    fn to_outer(self) {}

    fn summarize(_path: u64) {}
}

impl Lattice for Epoch {
    #[inline]
    fn join(&self, other: &Epoch) -> Epoch {
        *self.max(other)
    }

    #[inline]
    fn meet(&self, other: &Epoch) -> Epoch {
        *self.min(other)
    }
}

impl Maximum for Epoch {
    fn maximum() -> Epoch {
        Epoch(u64::MAX)
    }
}

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

/// Whole milliseconds, stopping at [`EventTime::MAX`].
impl Add<Duration> for EventTime {
    type Output = EventTime;

    fn add(self, duration: Duration) -> EventTime {
        self.plus_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Whole milliseconds, stopping at [`EventTime::MIN`].
impl Sub<Duration> for EventTime {
    type Output = EventTime;

    fn sub(self, duration: Duration) -> EventTime {
        self.minus_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
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
