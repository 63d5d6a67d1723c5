//! Until when a conversation with a caller that has proved nothing yet may last.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The end of a conversation. Each wait on a socket gets what is left, so nobody gets more time by sending a byte now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// The deadline that is `within` from now.
    pub(super) fn within(within: Duration) -> Deadline {
        Deadline(Instant::now() + within)
    }

    /// Lets the next read of `tcp` wait as long as time is left.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if there is none.
    pub(super) fn bound_read(self, tcp: &TcpStream) -> io::Result<()> {
        tcp.set_read_timeout(Some(self.left()?))
    }

    /// Lets the next write to `tcp` wait as long as time is left.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if there is none.
    pub(super) fn bound_write(self, tcp: &TcpStream) -> io::Result<()> {
        tcp.set_write_timeout(Some(self.left()?))
    }

    fn left(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}
