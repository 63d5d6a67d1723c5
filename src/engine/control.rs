//! The handle on a running job: drain it, stop it, see whether it failed.

use crate::engine::error::Error;
use crate::engine::format::names::Generation;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Shared by the workers, the commit thread and whoever started the job. Clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Somebody wants the job to end.
    ending: AtomicBool,
    /// The run is to end, so that another one goes on with other processes or workers.
    rescaling: AtomicBool,
    stopped: AtomicBool,
    /// The run that takes place; 0 before it has begun.
    run: AtomicU64,
    /// The run that was drained when this process started itself again; 0 if none was.
    drained: AtomicU64,
    /// Since when the workers of this process run.
    works_since: OnceLock<Instant>,
    failure: Mutex<Option<Error>>,
}

impl Control {
    /// A handle on a job that has not been told anything yet.
    pub fn new() -> Control {
        Control::default()
    }

    /// Asks the job to stop reading, commit what it has read, and end. Windows stay open.
    pub fn drain(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
    }

    /// Asks the run to stop reading and commit what it has read, so that another run goes on with other processes or workers.
    pub fn rescale(&self) {
        self.0.rescaling.store(true, Ordering::SeqCst);
    }

    /// The same, from the first moment on: this process was draining run `generation` when it started itself again. 0 stands for a
    /// run that is not known.
    pub fn go_on_draining(&self, generation: Generation) {
        self.0.drained.store(generation.0, Ordering::SeqCst);
        self.drain();
    }

    /// The run that was drained when this process started itself again, where it is known.
    pub fn drained_before(&self) -> Option<Generation> {
        known(&self.0.drained)
    }

    /// Notes which run takes place.
    pub fn runs(&self, generation: Generation) {
        self.0.run.store(generation.0, Ordering::SeqCst);
    }

    /// Notes that all processes are there and have read their state: the workers run from now on.
    pub fn works(&self) {
        self.0.works_since.get_or_init(Instant::now);
    }

    /// For how long the workers have run; nothing while the process waits for others or reads its state.
    pub fn has_worked(&self) -> Duration {
        self.0.works_since.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// The run that takes place, or took place before this process started itself again; `None` if none has begun.
    pub fn run(&self) -> Option<Generation> {
        known(&self.0.run).or_else(|| self.drained_before())
    }

    /// True once [`Control::drain`] or [`Control::rescale`] was called.
    pub fn is_draining(&self) -> bool {
        self.is_ending() || self.0.rescaling.load(Ordering::SeqCst)
    }

    /// True once [`Control::drain`] was called: no other run is to follow.
    pub fn is_ending(&self) -> bool {
        self.0.ending.load(Ordering::SeqCst)
    }

    /// True if another run is to follow this one at once. A drain, before or after, is the stronger word.
    pub fn is_rescaling(&self) -> bool {
        self.0.rescaling.load(Ordering::SeqCst) && !self.is_ending()
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

/// The run whose number this is; generations begin with 1.
fn known(number: &AtomicU64) -> Option<Generation> {
    Some(Generation(number.load(Ordering::SeqCst))).filter(|generation| generation.0 > 0)
}
