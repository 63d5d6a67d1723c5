//! The handle on a running job: drain it, stop it, see whether it failed.

use crate::engine::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Shared by the workers, the commit thread and whoever started the job. Clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    draining: AtomicBool,
    stopped: AtomicBool,
    failure: Mutex<Option<Error>>,
}

impl Control {
    /// A handle on a job that has not been told anything yet.
    pub fn new() -> Control {
        Control::default()
    }

    /// Asks the job to stop reading, commit what it has read, and end. Windows stay open.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// True once [`Control::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Stops the job with `error`. Only the first failure is kept: the others follow from it.
    pub fn fail(&self, error: Error) {
        let mut failure = self.0.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        failure.get_or_insert(error);
        self.0.stopped.store(true, Ordering::SeqCst);
    }

    /// True once the job has failed: nothing more may be committed.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// Takes the failure, if there was one.
    pub fn take_failure(&self) -> Option<Error> {
        self.0.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

/// Wraps the body of an engine thread: a panic stops the job with its reason, instead of leaving it half alive.
pub fn guard(control: Control, body: impl FnOnce()) -> impl FnOnce() {
    move || report_panic(&control, catch_unwind(AssertUnwindSafe(body)))
}

/// Stops the job if `result` is a panic.
pub(super) fn report_panic(control: &Control, result: std::thread::Result<()>) {
    let Err(panic) = result else { return };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let reason =
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given").to_string();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_string();
    control.fail(Error::Panicked { thread, reason });
}
