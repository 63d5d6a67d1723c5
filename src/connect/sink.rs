//! Where rows and state go: the traits [`Sink`] and [`WorkerSink`].

use headway_operators::ack::{StagedFile, StateFile};
use headway_operators::port::Stage;
use headway_operators::row::Rows;
use headway_operators::spec::OutputSpec;
use headway_operators::state::{Saved, StateChange};

/// Where rows and state go; one a process.
pub trait Sink: Send + Sync {
    /// The sink of worker `index` of `workers`; called once on that worker's thread.
    fn worker(&self, index: usize, workers: usize) -> Box<dyn WorkerSink>;
}

/// Called from a thread of a sink or source when a worker has something to look at.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// Where one worker's rows and state go.
pub trait WorkerSink {
    /// Where the rows of `output` go.
    fn rows(&mut self, output: &OutputSpec, wake: Wake) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>>;

    /// Where changes of state go.
    fn state(&mut self, wake: Wake) -> Box<dyn Stage<Vec<StateChange>, StateFile>>;

    /// The saved state of `operator` in the shards of this worker, oldest first. Asked for once.
    fn saved(&mut self, operator: &str) -> Vec<Saved>;
}
