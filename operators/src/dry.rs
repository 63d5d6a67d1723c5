//! Builds a pipeline once without running it: finds its [`Shape`], and what is wrong with it, before anything is read.

use crate::ack::{InputIx, StagedFile, StateFile};
use crate::build::Build;
use crate::error::StateError;
use crate::pace::{InputPace, InputsWatermark};
use crate::pipeline::Pipeline;
use crate::port::{Cut, Feed, InputStart, Intake, NotAfter, Ports, Stage, Turn};
use crate::row::Rows;
use crate::shape::{Problem, Shape};
use crate::spec::{InputSpec, OutputSpec};
use crate::state::{Saved, StateChange};
use crate::time::{Epoch, EventTime};
use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::scheduling::SyncActivator;
use timely::worker::Worker;

impl Shape {
    /// The shape of `pipeline`.
    ///
    /// # Errors
    /// Everything that is wrong with it. It must not run then.
    pub fn of(pipeline: &dyn Pipeline) -> Result<Shape, Vec<Problem>> {
        let mut worker = Worker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), None);
        // The dataflow is dropped with its worker, before it takes a step.
        let (shape, problems) = worker.dataflow::<Epoch, _, _>(|scope| {
            let mut build = Build::new(scope, Box::new(Dry), pipeline.name(), pipeline.inputs());
            pipeline.build(&mut build);
            let shape = build.shape();
            build.connect();
            shape
        });
        if problems.is_empty() { Ok(shape) } else { Err(problems) }
    }
}

/// Ports with nothing behind them.
struct Dry;

impl Ports for Dry {
    fn first_epoch(&self) -> Epoch {
        Epoch(1)
    }

    fn watermarks(&self) -> Vec<InputsWatermark> {
        Vec::new()
    }

    fn start(&mut self, _index: InputIx) -> InputStart {
        InputStart {
            topic: String::new(),
            watermark: EventTime::MIN,
            partitions: Vec::new(),
            max_ahead_ms: 0,
            not_after: NotAfter::Never,
            rules: std::sync::Arc::default(),
            idle_flush_ms: None,
        }
    }

    fn feed(
        &mut self,
        _index: InputIx,
        _input: &InputSpec,
        _pace: InputPace,
        _wake: SyncActivator,
    ) -> Box<dyn Feed> {
        Box::new(Dry)
    }

    fn rows(
        &mut self,
        _output: &OutputSpec,
        _wake: SyncActivator,
    ) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        Box::new(Dry)
    }

    fn state(&mut self, _wake: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        Box::new(Dry)
    }

    fn saved(&mut self, _operator: &str) -> Option<Vec<Saved>> {
        None
    }

    fn restored(&mut self, _operator: &str, _held: u64) {}

    fn refuse(&mut self, error: StateError) {
        unreachable!("there is no state to refuse: {error}")
    }
}

impl Feed for Dry {
    fn turn(&mut self, _intake: &mut dyn Intake) -> Turn {
        Turn::Finish(Cut::default())
    }
}

impl<Work, Done> Stage<Work, Done> for Dry {
    fn put(&mut self, _epoch: Epoch, _since: Epoch, _work: Work) {}

    fn done(&mut self) -> Option<(Epoch, Vec<Done>)> {
        None
    }
}
