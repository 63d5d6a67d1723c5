//! Notices a worker that does not come back from a step: an operator that computes without end, or a call that blocks for good.
//!
//! A worker is watched from the first epoch on: before that it takes up what earlier runs left, in one step, however long that takes.
//! Heartbeats between processes do not see it: they have a thread of their own. The watchdog counts its own looks, not time: a process
//! that was stopped as a whole, or a machine that slept, is no stuck worker.

use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::guard::guard;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// After how long without a step a worker counts as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// How many looks that takes.
const LOOKS: u32 = 60;

/// What stands for a worker that takes no more steps: it has ended, or has not begun.
const RESTS: u64 = 0;

/// The steps of the workers of one process. A clone is the same.
#[derive(Clone)]
pub struct Steps(Arc<[AtomicU64]>);

impl Steps {
    /// Those of so many `workers`, of which none has begun.
    pub fn of(workers: usize) -> Steps {
        Steps((0..workers).map(|_| AtomicU64::new(RESTS)).collect())
    }

    /// Worker `index` of this process has taken a step, or begins.
    pub fn step(&self, index: usize) {
        self.0[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Worker `index` of this process takes no more steps.
    pub fn rest(&self, index: usize) {
        self.0[index].store(RESTS, Ordering::Relaxed);
    }

    /// Looks until `stopped`, and stops the job if a worker has taken no step for `stuck_after`.
    pub fn watch(&self, stuck_after: Duration, stopped: Receiver<()>, control: &Control) -> JoinHandle<()> {
        let (steps, shared) = (self.clone(), control.clone());
        let body = move || {
            let mut seen = vec![Seen::default(); steps.0.len()];
            while stopped.recv_timeout(stuck_after / LOOKS) == Err(RecvTimeoutError::Timeout) {
                for (worker, (seen, now)) in seen.iter_mut().zip(steps.0.iter()).enumerate() {
                    if seen.look(now.load(Ordering::Relaxed)) >= LOOKS {
                        return shared.fail(Error::WorkerStuck { worker, after: stuck_after });
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("headway-watchdog".into());
        thread.spawn(guard(control.clone(), body)).expect("a thread can be started")
    }
}

/// What was seen of a worker.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    steps: u64,
    looks: u32,
}

impl Seen {
    /// How many looks in a row have found the worker in the same step, this one included.
    fn look(&mut self, steps: u64) -> u32 {
        self.looks = if steps == self.steps && steps != RESTS { self.looks + 1 } else { 0 };
        self.steps = steps;
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_worker_in_the_middle_of_a_step_can_be_stuck() {
        let mut seen = Seen::default();
        assert_eq!([0, 0, 1, 1, 1, 2, 2, 0, 0].map(|steps| seen.look(steps)), [0, 0, 0, 1, 2, 0, 1, 0, 0]);
    }

    #[test]
    fn worker_that_does_not_come_back_from_a_step_stops_the_job_by_name() {
        let (control, steps) = (Control::new(), Steps::of(2));
        steps.step(0);
        steps.rest(0);
        steps.step(1);
        let (_stop, stopped) = crossbeam_channel::bounded(0);
        let thread = steps.watch(Duration::from_millis(120), stopped, &control);
        thread.join().expect("it ends by itself");
        let error = control.take_failure().expect("worker 1 is stuck");
        assert_eq!((error.code(), error.exit_code()), ("worker-stuck", 101));
        assert!(error.to_string().contains("worker 1"), "{error}");
    }
}
