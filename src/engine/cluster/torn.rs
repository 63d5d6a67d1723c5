//! What timely says when a socket to another process breaks: a panic, in a thread of its own or in a worker.
//!
//! Such a panic is no bug, and its cause is known better elsewhere: the lost process may have said why it stops, and if it
//! has not, its control socket reports it. So the panic is held back for a moment, and stops the job as a lost process if
//! nothing else has stopped it by then.

use crate::engine::control::Control;
use crate::engine::error::Error;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the control sockets may take to say what happened.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

/// The job whose dataflow runs over sockets now.
static RUNNING: Mutex<Option<Control>> = Mutex::new(None);

/// Notes that the job of `control` runs over sockets; `None` when its dataflow has ended everywhere.
pub(super) fn set(control: Option<Control>) {
    *RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = control;
}

/// True for what timely says when a socket breaks, and then for all that follows from it.
fn is_torn(thread: &str, reason: &str) -> bool {
    let of_sockets = thread.starts_with("timely:send-") || thread.starts_with("timely:recv-");
    of_sockets || reason.contains("timely communication error:") || reason.contains("MergeQueue")
}

/// Takes a panic of `thread` that follows from a broken socket; false if it is another one, or no such job runs. The job is
/// stopped within a second.
pub fn take(thread: &str, reason: &str) -> bool {
    if !is_torn(thread, reason) {
        return false;
    }
    let Some(control) = RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone() else {
        // Its dataflow has ended: nobody needs the socket any more.
        return thread.starts_with("timely:");
    };
    let why = reason.to_string();
    let stop = move || {
        let began = Instant::now();
        while !control.is_stopped() && began.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
        control.fail(Error::Torn { why });
    };
    std::thread::Builder::new().name("headway-torn".into()).spawn(stop).is_ok()
}

/// Waits until the job of `control` has stopped, as it does after [`take`]; not for ever.
pub fn wait(control: &Control) {
    let began = Instant::now();
    while !control.is_stopped() && began.elapsed() < PATIENCE * 2 {
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_from_a_broken_socket_is_taken() {
        assert!(is_torn("timely:recv-1", "timely communication error: reading data: socket closed"));
        assert!(is_torn("timely:work-0", "MergeQueue poisoned."));
        assert!(!is_torn("timely:work-0", "epoch 3 was committed before"));
        assert!(!take("timely:work-0", "epoch 3 was committed before"));
    }
}
