//! Instants as a script writes them.

use crate::time::EventTime;
use std::time::Duration;

/// An instant of a script: an [`EventTime`], or a time of day such as `"12:00:01"` on 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub EventTime);

impl From<EventTime> for At {
    fn from(time: EventTime) -> At {
        At(time)
    }
}

/// # Panics
/// If the text is not `HH:MM` or `HH:MM:SS`. Hours may be more than 23.
impl From<&str> for At {
    fn from(text: &str) -> At {
        let parts: Option<Vec<i64>> = text.split(':').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some([hours, minutes]) => At(EventTime((hours * 3600 + minutes * 60) * 1000)),
            Some([hours, minutes, seconds]) => At(EventTime((hours * 3600 + minutes * 60 + seconds) * 1000)),
            _ => panic!("\"{text}\" is not a time of day such as 12:00 or 12:00:01"),
        }
    }
}

/// So many seconds.
pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many minutes.
pub fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// So many hours.
pub fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}
