//! SIGTERM and SIGINT: the first drains the job, a later one ends the process at once.
//!
//! One stop may arrive twice: a terminal signals the whole group and a wrapper passes the signal on. So what comes
//! within a second of the first signal is the first signal.

use super::failure::{Code, Failure, sentence};
use crate::engine::Control;
use crate::engine::clock::{Clock, System};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process;
use std::time::Duration;
use tracing::info;

/// For how long after the first signal others are taken for the same one.
const SAME: Duration = Duration::from_secs(1);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Drain the job.
    Drain,
    /// Nothing: it is the first signal again.
    Again,
    /// End the process at once.
    End,
}

/// The signals so far, by a clock that never goes back.
#[derive(Clone, Copy, Debug, Default)]
struct Stops {
    first: Option<Duration>,
}

impl Stops {
    /// Takes a signal that arrived at `now`.
    fn take(&mut self, now: Duration) -> Ask {
        match self.first {
            None => {
                self.first = Some(now);
                Ask::Drain
            }
            Some(first) if now.saturating_sub(first) < SAME => Ask::Again,
            Some(_) => Ask::End,
        }
    }
}

/// From now on the first signal drains the job of `control`, and one that comes a second later or more ends the process
/// with 128 + its number.
pub(crate) fn drain_on_signal(control: Control) -> Result<(), Failure> {
    let drain = move || control.drain();
    // The last commit holds: nothing is lost by leaving now.
    listen(drain, |signal| process::exit(128 + signal))
}

/// From now on `first` is called at the first signal, and `last` with the number of one that comes a second later or more.
///
/// # Errors
/// Exit 3 if the process cannot listen for signals.
pub(crate) fn listen(
    mut first: impl FnMut() + Send + 'static,
    mut last: impl FnMut(i32) + Send + 'static,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Code::SignalsUnavailable, "could not listen for signals")
            .detail(sentence(&error.to_string()))
            .hint("Check the limits of processes and open files of this user: see ulimit -a.")
    };
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let clock = System::default();
    let listen = move || {
        let mut stops = Stops::default();
        for signal in signals.forever() {
            match stops.take(clock.elapsed()) {
                Ask::Drain => {
                    info!(event = "draining", "committing what was read; a second signal ends at once");
                    first();
                }
                Ask::Again => {}
                Ask::End => last(signal),
            }
        }
    };
    std::thread::Builder::new().name("headway-signals".into()).spawn(listen).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_that_follows_within_a_second_is_the_same() {
        let mut stops = Stops::default();
        let take = |stops: &mut Stops, ms| stops.take(Duration::from_millis(ms));
        assert_eq!(take(&mut stops, 5_000), Ask::Drain);
        assert_eq!(take(&mut stops, 5_000), Ask::Again);
        assert_eq!(take(&mut stops, 5_999), Ask::Again);
        // Counted from the first: someone who presses a key all the time gets his way.
        assert_eq!(take(&mut stops, 6_000), Ask::End);
    }
}
