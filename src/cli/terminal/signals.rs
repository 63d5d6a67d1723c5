//! SIGTERM and SIGINT: the first drains the job, the second ends the process at once.

use super::failure::{Exit, Failure, sentence};
use crate::engine::Control;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process;
use tracing::info;

/// From now on the first signal drains the job of `control`, and a second ends the process with 128 + its number.
pub(crate) fn drain_on_signal(control: Control) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Unreachable, "could not listen for signals").detail(sentence(&error.to_string()))
    };
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let listen = move || {
        for signal in signals.forever() {
            if control.is_draining() {
                // The last commit holds: nothing is lost by leaving now.
                process::exit(128 + signal);
            }
            info!("draining: committing what was read; a second signal ends at once");
            control.drain();
        }
    };
    std::thread::Builder::new().name("headway-signals".into()).spawn(listen).map_err(failed)?;
    Ok(())
}
