//! The engine's end of a dataflow's ports: feeds from connectors, stages into the sink, saved state.

use crate::connect::{Begins, Connector, WorkerSink};
use crate::engine::clock::Clock;
use crate::engine::commit::discovered::Discovered;
use crate::engine::commit::error::CheckpointError;
use crate::engine::control::Control;
use crate::engine::format::manifest::{Manifest, Members, Operator};
use crate::engine::run::board::Board;
use crate::engine::run::feed::{self, Assigned, SourceFeed, Surroundings};
use crate::engine::run::memory::OpenMessages;
use headway_operators::ack::{InputIx, StagedFile, StateFile};
use headway_operators::error::StateError;
use headway_operators::pace::{InputPace, InputsWatermark};
use headway_operators::port::InputStart;
use headway_operators::port::{Feed, Ports, RestoredRows, Stage, Unread};
use headway_operators::record::Partition;
use headway_operators::row::Rows;
use headway_operators::spec::{InputSpec, OutputSpec, ViewSpec};
use headway_operators::state::{Saved, StateChange};
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::refill::{CommittedRows, Refill};
use headway_operators::view::row::ViewUpdate;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use timely::dataflow::ProbeHandle;
use timely::scheduling::SyncActivator;

/// One input of a run.
#[derive(Clone)]
pub struct InputOptions {
    /// Where its messages come from.
    pub connector: Arc<dyn Connector>,
    /// Where it stands.
    pub start: InputStart,
    /// The partitions to read, with the ends there were when the run started.
    pub assigned: Vec<Assigned>,
    /// How its feeds behave.
    pub feed: feed::Options,
    /// The identity of every known partition.
    pub known: BTreeMap<Partition, String>,
    /// How often to look for new partitions; `None` is never.
    pub discover_every: Option<std::time::Duration>,
    /// True if only workers of process 0 read it.
    pub leader_reads: bool,
}

/// What a run starts from, beside where its inputs stand.
pub struct StartPoint {
    /// The first epoch of the run. The one before is committed.
    pub first_epoch: Epoch,
    /// `W_C` of each set of several inputs at the committed epoch.
    pub watermarks: Vec<InputsWatermark>,
    /// The instant before which days are sealed at the committed epoch.
    pub sealed_up_to: Option<EventTime>,
    /// The first instants of days before that, which a person has unsealed for this run.
    pub unsealed: Vec<EventTime>,
    /// The operators whose state the last manifest knows, an empty one too.
    pub operators: BTreeSet<String>,
    /// What those held.
    pub held: Arc<HeldBefore>,
}

impl Default for StartPoint {
    /// That of a job that never ran.
    fn default() -> Self {
        StartPoint {
            first_epoch: Epoch(1),
            watermarks: Vec::new(),
            sealed_up_to: None,
            unsealed: Vec::new(),
            operators: BTreeSet::new(),
            held: Arc::default(),
        }
    }
}

/// The ports of one worker.
pub struct WorkerPorts {
    /// This worker's number.
    pub index: usize,
    /// How many workers there are.
    pub peers: usize,
    /// How many of them are workers of process 0: those from 0 on. They take the changes of views.
    pub leaders: usize,
    /// The inputs, in the pipeline's order.
    pub inputs: Vec<InputOptions>,
    /// Partitions found since the start, per input.
    pub discovered: Vec<Discovered>,
    /// Passes an epoch when it is resolved.
    pub resolved: ProbeHandle<Epoch>,
    /// What the run starts from.
    pub start: Arc<StartPoint>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The job's handle.
    pub control: Control,
    /// Where rows and state go.
    pub sink: Box<dyn WorkerSink>,
    /// When this worker began its epochs.
    pub begins: Begins,
    /// The messages of each input that are read and not committed.
    pub open: Vec<OpenMessages>,
    /// Where the first records that are not committed are noted.
    pub board: Board,
}

/// Takes an operator's name, and how many entries one worker has restored of it.
pub type Forward = Box<dyn Fn(&str, u64) + Send + Sync>;

/// What operators held at the end of the run before: what all workers have restored must be the same.
#[derive(Default)]
pub struct HeldBefore {
    expected: BTreeMap<String, u64>,
    /// Where what is restored is counted, if not here.
    forward: Option<Forward>,
    /// How many workers have restored an operator, and how many entries.
    restored: Mutex<BTreeMap<String, (usize, u64)>>,
}

impl HeldBefore {
    /// What `manifest` says.
    pub fn of(manifest: &Manifest) -> HeldBefore {
        let held = |(name, operator): (&String, &Operator)| Some((name.clone(), operator.held?));
        HeldBefore {
            expected: manifest.operators.iter().filter_map(held).collect(),
            forward: None,
            restored: Mutex::default(),
        }
    }

    /// Another process counts: each count goes there.
    pub fn elsewhere(forward: Forward) -> HeldBefore {
        HeldBefore { forward: Some(forward), ..HeldBefore::default() }
    }

    /// True once each of `workers` has restored every operator.
    pub fn is_restored(&self, workers: usize) -> bool {
        let all = self.restored.lock().expect("no thread panics while it counts");
        self.expected.keys().all(|operator| all.get(operator).is_some_and(|(count, _)| *count == workers))
    }

    /// Notes what one of `workers` has restored of `operator`.
    ///
    /// # Errors
    /// If it is the last one, and together they have not restored what was held.
    pub fn restored(&self, operator: &str, held: u64, workers: usize) -> Result<(), StateError> {
        if let Some(forward) = &self.forward {
            forward(operator, held);
            return Ok(());
        }
        let mut all = self.restored.lock().expect("no thread panics while it counts");
        let (count, restored) = all.entry(operator.to_string()).or_default();
        (*count, *restored) = (*count + 1, *restored + held);
        let expected =
            self.expected.get(operator).filter(|expected| *count == workers && **expected != *restored);
        expected.map_or(Ok(()), |held| {
            let (operator, held, restored) = (operator.to_string(), *held, *restored);
            Err(StateError::Held { operator, held, restored })
        })
    }
}

/// The worker that reads `partition` of input `input`, where the `readers` first workers read that input.
pub fn reader_of(input: InputIx, partition: Partition, readers: usize) -> usize {
    (input.index() + partition.index()) % readers
}

/// Those of so many `workers`, by number, that would read none of the partitions in `open`, by input. None as long as there is no
/// partition at all.
pub fn idle_workers(open: &[Vec<Partition>], workers: usize) -> Vec<usize> {
    let workers = workers.max(1);
    let readers: BTreeSet<usize> = (0..)
        .map(InputIx)
        .zip(open)
        .flat_map(|(input, parts)| parts.iter().map(move |part| reader_of(input, *part, workers)))
        .collect();
    if readers.is_empty() {
        Vec::new()
    } else {
        (0..workers).filter(|worker| !readers.contains(worker)).collect()
    }
}

/// The same for the job of `head` with `members`.
pub fn idle_workers_of(head: &Manifest, members: &Members) -> Vec<usize> {
    let open = head
        .inputs
        .iter()
        .map(|input| input.partitions.iter().filter(|part| !part.ended).map(|part| part.partition).collect());
    idle_workers(&open.collect::<Vec<_>>(), usize::try_from(members.total()).unwrap_or(usize::MAX))
}

impl Ports for WorkerPorts {
    fn first_epoch(&self) -> Epoch {
        self.start.first_epoch
    }

    fn watermarks(&self) -> Vec<InputsWatermark> {
        self.start.watermarks.clone()
    }

    fn start(&mut self, index: InputIx) -> InputStart {
        self.inputs[index.index()].start.clone()
    }

    fn feed(
        &mut self,
        index: InputIx,
        _input: &InputSpec,
        pace: InputPace,
        wake: SyncActivator,
    ) -> Box<dyn Feed> {
        let input = &self.inputs[index.index()];
        let (me, readers) = (self.index, if input.leader_reads { self.leaders } else { self.peers });
        let mine = |partition: Partition| reader_of(index, partition, readers) == me;
        let assigned: Vec<_> = input.assigned.iter().filter(|a| mine(a.start.partition)).copied().collect();
        let positions: Vec<_> = assigned.iter().map(|a| (a.start.partition, a.start.next)).collect();
        let wake = move || {
            let _ = wake.activate();
        };
        let open = || match input.connector.open(&positions, Box::new(wake)) {
            Ok(source) => Some(source),
            Err(error) => {
                self.control.fail(error.into());
                None
            }
        };
        // Elsewhere nobody looks at what process 0 alone reads.
        let source = (me < readers).then(open).flatten();
        let mut found = self.discovered[index.index()].clone();
        let (board, waits, ended) = (self.board.clone(), self.board.clone(), self.board.clone());
        let around = Surroundings {
            pace,
            resolved: self.resolved.clone(),
            clock: Arc::clone(&self.clock),
            control: self.control.clone(),
            begins: self.begins.clone(),
            open: self.open[index.index()].clone(),
            found: Box::new(move || found.take(|partition| reader_of(index, partition, readers) == me)),
            waits: Box::new(move |state| waits.feed(index.index(), me, state)),
            ended: Box::new(move |epoch| ended.epoch_ended(epoch)),
            first_reads: Box::new(move |partition, firsts| {
                board.first_reads(index.index(), partition, firsts);
            }),
        };
        Box::new(SourceFeed::new(input.feed.clone(), around, source, &assigned, self.start.first_epoch))
    }

    fn rows(
        &mut self,
        output: &OutputSpec,
        wake: SyncActivator,
    ) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        self.sink.rows(
            output,
            self.begins.clone(),
            Box::new(move || {
                let _ = wake.activate();
            }),
        )
    }

    fn state(&mut self, wake: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        self.sink.state(Box::new(move || {
            let _ = wake.activate();
        }))
    }

    fn views(
        &mut self,
        _tables: &BTreeMap<u16, ViewSpec>,
        _wake: SyncActivator,
    ) -> Box<dyn Stage<Vec<ViewUpdate>, StagedFile>> {
        self.sink.views().unwrap_or_else(|| Box::new(Unread::default()))
    }

    fn restored_rows(&mut self) -> Option<RestoredRows> {
        self.sink.restored_rows()
    }

    fn sealed_up_to(&self, _by_watermark: Option<EventTime>) -> Option<EventTime> {
        self.start.sealed_up_to
    }

    fn unsealed(&self) -> Vec<EventTime> {
        self.start.unsealed.clone()
    }

    fn view_takers(&self) -> Option<usize> {
        Some(self.leaders)
    }

    fn committed_rows(&mut self, outputs: Refill) -> Option<Box<dyn CommittedRows>> {
        self.sink.committed_rows(outputs)
    }

    fn saved(&mut self, operator: &str) -> Option<Vec<Saved>> {
        self.start.operators.contains(operator).then(|| self.sink.saved(operator))
    }

    fn restored(&mut self, operator: &str, held: u64) {
        if let Err(error) = self.start.held.restored(operator, held, self.peers) {
            self.refuse(error);
        }
    }

    fn refuse(&mut self, error: StateError) {
        self.control.fail(CheckpointError::State(error).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::first;

    #[test]
    fn state_is_restored_once_every_worker_of_every_process_has_said_so() {
        let mut manifest = first(1);
        manifest.operators.insert("Sum".into(), Operator { version: 1, held: Some(5) });
        manifest.operators.insert("Roll".into(), Operator { version: 1, held: None });
        let held = HeldBefore::of(&manifest);
        assert!(!held.is_restored(2));
        held.restored("Sum", 2, 2).unwrap();
        assert!(!held.is_restored(2), "one of two workers");
        assert!(held.restored("Sum", 4, 2).is_err(), "together they hold another number of entries");
        assert!(held.is_restored(2));
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = Arc::clone(&told);
        let member = HeldBefore::elsewhere(Box::new(move |operator, held| {
            teller.lock().unwrap().push((operator.to_string(), held));
        }));
        member.restored("Sum", 2, 2).unwrap();
        assert_eq!(*told.lock().unwrap(), [("Sum".to_string(), 2)]);
    }
}
