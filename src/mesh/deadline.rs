//! Until when a conversation with a caller that has proved nothing yet may last.

use std::io;
use std::time::{Duration, Instant};

/// The end of a conversation. Each wait on a socket gets what is left, so nobody gets more time by sending a byte now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// The deadline that is `within` from now.
    pub(super) fn within(within: Duration) -> Deadline {
        Deadline(Instant::now() + within)
    }

    /// How much time is left.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if there is none.
    pub(super) fn left(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}
