//! The engine's clock: the system's, and one that a test moves by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What time it is, in the two senses an engine needs. No decision about results depends on either.
pub trait Clock: Send + Sync {
    /// Time since the clock was made; never goes back.
    fn elapsed(&self) -> Duration;

    /// Wall-clock time, milliseconds since the Unix epoch. May jump.
    fn wall_ms(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct System(Instant);

impl Default for System {
    fn default() -> Self {
        System(Instant::now())
    }
}

impl Clock for System {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(moved_ms())
    }
}

/// How far a test has moved the wall clock of this process: the milliseconds in the file that the variable `WALL_CLOCK` names, read
/// each time, so that the clock jumps while the job runs. A file that is not there or says something else is a mistake of the test.
#[cfg(feature = "failpoints")]
fn moved_ms() -> i64 {
    std::env::var_os("WALL_CLOCK").map_or(0, |path| {
        let text = std::fs::read_to_string(path).expect("WALL_CLOCK names a file that can be read");
        text.trim().parse().expect("the file that WALL_CLOCK names has a number of milliseconds")
    })
}

/// The clock of this build is the machine's.
#[cfg(not(feature = "failpoints"))]
fn moved_ms() -> i64 {
    0
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct Manual(AtomicU64);

impl Manual {
    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for Manual {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn wall_ms(&self) -> i64 {
        i64::try_from(self.0.load(Ordering::SeqCst)).unwrap_or(i64::MAX)
    }
}
