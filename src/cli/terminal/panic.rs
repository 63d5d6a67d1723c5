//! What happens to a panic: it is logged with its place, and it ends the process as every other error does, with error, detail,
//! hint and exit code.
//!
//! A thread of the engine reports its own panics, which stop the job ([`crate::engine::guard::guard`]). A thread that answers
//! requests contains them: they are logged, and one client gets no answer. In any other thread,
//! one of a library too, nobody would hear of it and the process would live on as half of itself: there the process ends at
//! once. The last commit holds either way.

use super::failure::Failure;
use super::form::Form;
use super::log_end;
use crate::engine::Error;
use crate::engine::cluster::torn;
use crate::engine::guard;
use std::panic::{PanicHookInfo, set_hook};

/// Reports panics like this from now on, in `form`.
pub(crate) fn report(form: Form) {
    set_hook(Box::new(move |panic| {
        let (error, place) = told(panic);
        if let Error::Panicked { thread, reason } = &error {
            // A socket to another process broke: no bug, and its cause is reported elsewhere.
            if torn::take(thread, reason) {
                tracing::debug!(event = "socket-torn", thread, "{reason}");
                // Nothing is unwound: destructors would use the queues of the socket, which panic again, and abort the process.
                // The thread ends with the process, which the job's failure ends within seconds.
                loop {
                    std::thread::park();
                }
            }
        }
        tracing::error!(event = "panicked", place, "{error}");
        if guard::is_guarded() || guard::is_contained() {
            return;
        }
        let failure = Failure::from(error);
        // As every other last error: behind the lines of the log that still wait.
        log_end::end(Some(&failure.render(form)));
        std::process::exit(i32::from(failure.exit()));
    }));
}

/// The error that `panic` is, and its place in the source.
fn told(panic: &PanicHookInfo<'_>) -> (Error, String) {
    let reason = guard::reason(panic.payload());
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    (Error::Panicked { thread: guard::thread(), reason }, place)
}
