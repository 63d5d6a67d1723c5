//! The handle on a running job: drain it, stop it, see whether it failed.

use crate::engine::error::Error;
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
