//! What becomes of a panic in a thread of the engine: it stops the job with its reason.

use crate::engine::cluster::torn;
use crate::engine::control::Control;
use crate::engine::error::Error;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// True while a panic of this thread is caught and stops the job.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// True if a panic of this thread harms nobody else.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Notes that whoever runs this thread contains its panics: it answers requests, one of which may fail without the job.
pub fn contain() {
    CONTAINED.set(true);
}

/// True if a panic of this thread is contained: it is logged, and neither the job nor the process ends.
pub fn is_contained() -> bool {
    CONTAINED.get()
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
        let (thread, reason) = (thread(), reason(panic.as_ref()));
        match torn::take(&thread, &reason) {
            // What the thread has left must not be used before the job has stopped.
            true => torn::wait(control),
            false => control.fail(Error::Panicked { thread, reason }),
        }
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
