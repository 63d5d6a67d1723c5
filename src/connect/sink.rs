//! Where rows and state go: the traits [`Sink`] and [`WorkerSink`].

use headway_operators::ack::{StagedFile, StateFile};
use headway_operators::port::{RestoredRows, Stage};
use headway_operators::row::Rows;
use headway_operators::spec::OutputSpec;
use headway_operators::state::{Saved, StateChange};
use headway_operators::time::Epoch;
use headway_operators::view::refill::{CommittedRows, Refill};
use headway_operators::view::row::ViewUpdate;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where rows and state go; one a process.
pub trait Sink: Send + Sync {
    /// The sink of worker `index` of `workers`; called once on that worker's thread.
    fn worker(&self, index: usize, workers: usize) -> Box<dyn WorkerSink>;
}

/// Called from a thread of a sink or source when a worker has something to look at.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// How many begins are remembered: far more than epochs can be open.
const BEGINS_MAX: usize = 64;

/// When a worker began its epochs, by its wall clock in milliseconds since the Unix epoch. Written by its feeds: the first
/// one that begins an epoch begins it for the worker.
#[derive(Clone, Debug, Default)]
pub struct Begins(Rc<RefCell<BTreeMap<Epoch, i64>>>);

impl Begins {
    /// Notes that a feed begins `epoch` at `wall_ms`.
    pub fn note(&self, epoch: Epoch, wall_ms: i64) {
        let mut begins = self.0.borrow_mut();
        begins.entry(epoch).or_insert(wall_ms);
        if begins.len() > BEGINS_MAX {
            begins.pop_first();
        }
    }

    /// When the worker began `epoch`, or the last one before it that it began; 0 if it began none.
    pub fn of(&self, epoch: Epoch) -> i64 {
        self.0.borrow().range(..=epoch).next_back().map_or(0, |(_, wall_ms)| *wall_ms)
    }
}

/// Where one worker's rows and state go.
pub trait WorkerSink {
    /// Where the rows of `output` go. Their files are called after the time at which the worker began the epoch.
    fn rows(
        &mut self,
        output: &OutputSpec,
        begins: Begins,
        wake: Wake,
    ) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>>;

    /// Where changes of state go.
    fn state(&mut self, wake: Wake) -> Box<dyn Stage<Vec<StateChange>, StateFile>>;

    /// Where the changes of views go. Where nobody asks for views they are dropped.
    fn views(&mut self) -> Option<Box<dyn Stage<Vec<ViewUpdate>, StagedFile>>> {
        None
    }

    /// Takes restored rows of tables of day files as they come; `None`: they wait for [`WorkerSink::views`].
    fn restored_rows(&mut self) -> Option<RestoredRows> {
        None
    }

    /// The committed rows of `outputs` that this worker reads for operators of views which are new to the job; `None` if none is.
    fn committed_rows(&mut self, _outputs: Refill) -> Option<Box<dyn CommittedRows>> {
        None
    }

    /// The live sections of `operator` in the shards of this worker; those of a shard in the order base, merged change,
    /// changes. Asked for once.
    fn saved(&mut self, operator: &str) -> Vec<Saved>;
}
