//! The handle on a running job: drain it, stop it, see whether it failed.

use crate::engine::error::Error;
use std::any::Any;
use std::cell::Cell;
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
        // Panics are reported here: a lock that one of them poisoned must not keep the next from it. What it guards is whole,
        // since it is set at once.
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

thread_local! {
    /// True while a panic of this thread is caught and stops the job.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// True if a panic of this thread is reported to a job, which stops then. A panic of any other thread ends the process.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Wraps the body of an engine thread: a panic stops the job with its reason, instead of leaving it half alive.
pub fn guard(control: Control, body: impl FnOnce()) -> impl FnOnce() {
    move || run_guarded(&control, body)
}

/// Runs `body`; a panic stops the job with its reason.
pub(super) fn run_guarded(control: &Control, body: impl FnOnce()) {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(before);
    if let Err(panic) = result {
        control.fail(Error::Panicked { thread: thread(), reason: reason(panic.as_ref()) });
    }
}

/// What a panic said.
pub fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given").to_string()
}

/// The name of this thread.
pub fn thread() -> String {
    std::thread::current().name().unwrap_or("unnamed").to_string()
}
