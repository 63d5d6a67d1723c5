//! Plays lines of messages on any dataflow, with the production driver: one line is one epoch.

use crate::build::Build;
use crate::kit::script::kept::{Content, Fates, Refusal, SharedKept, StartsAt, TextRow, ViewChange, content};
use crate::kit::script::lines::{Play, Unsealing};
use crate::kit::script::ports::PlayPorts;
use crate::kit::script::spoiler::Spoiler;
use crate::record::File;
use crate::sections::read_back;
use crate::snapshots;
use crate::state::Saved;
use crate::time::Epoch;
use std::collections::BTreeMap;
use std::sync::Arc;
use timely::dataflow::operators::Inspect;
use timely::{CommunicationConfig, Config, WorkerConfig};

/// The dataflow of a play.
#[derive(Clone)]
pub struct Dataflow {
    /// Builds it on one worker.
    pub build: Arc<dyn Fn(&mut Build<'_>) + Send + Sync>,
    /// Forgets what it has noted by itself of epochs after the given one: the run was killed.
    pub forget_after: Arc<dyn Fn(Epoch) + Send + Sync>,
    /// The days that are unsealed for runs that go on after a kill; `None`: no day.
    pub unsealing: Option<Arc<Unsealing>>,
    /// The file that each partition's messages are lines of, by the partition's number; there may be none.
    pub files: Arc<Vec<File>>,
    /// What spoils its state, in a test of the test kit.
    pub(crate) spoiler: Option<Arc<dyn Spoiler>>,
}

impl Dataflow {
    /// A dataflow that notes nothing by itself.
    pub fn of(build: impl Fn(&mut Build<'_>) + Send + Sync + 'static) -> Dataflow {
        let (build, forget_after) = (Arc::new(build), Arc::new(|_| {}));
        Dataflow { build, forget_after, unsealing: None, files: Arc::default(), spoiler: None }
    }
}

/// What came out of a play, in an order that depends on the content only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// The rows of all outputs.
    pub rows: Vec<TextRow>,
    /// What changed in each view, epoch by epoch.
    pub views: Vec<ViewChange>,
    /// Messages that were refused.
    pub refused: Vec<Refusal>,
    /// What became of the messages.
    pub fates: Fates,
    /// How many records operators have left out, by operator and reason.
    pub dropped: BTreeMap<(String, String), u64>,
}

/// The state of all operators after an epoch.
pub(super) type State = BTreeMap<String, Vec<Saved>>;

/// A play and what it has led to so far.
pub(super) struct Stage<'a> {
    play: Arc<Play>,
    dataflow: &'a Dataflow,
    pub(super) kept: SharedKept,
    start: Arc<StartsAt>,
}

impl Played {
    /// What the views hold as of `epoch`.
    pub fn views_at(&self, epoch: Epoch) -> Content {
        content(self.views.iter().filter(|change| change.epoch <= epoch))
    }
}

impl Play {
    /// Plays all lines on `workers`; `seed` decides how workers take turns.
    pub fn run(&self, dataflow: &Dataflow, workers: usize, seed: u64) -> Played {
        let mut stage = self.stage(dataflow);
        stage.run(workers, seed, self.last());
        stage.played()
    }

    /// Plays all lines; after each line in `kills`, rising, the run is killed while later lines are under way, and the next
    /// number of `workers` goes on.
    ///
    /// # Panics
    /// If an operator has restored another number of entries than it held.
    pub fn run_with_kills(&self, dataflow: &Dataflow, workers: &[usize], kills: &[usize]) -> Played {
        let mut stage = self.stage(dataflow);
        stage.run_with_kills(workers, kills);
        stage.played()
    }

    pub(super) fn stage<'a>(&self, dataflow: &'a Dataflow) -> Stage<'a> {
        (dataflow.forget_after)(Epoch(0));
        let (kept, start) = (SharedKept::default(), Arc::new(StartsAt::default()));
        Stage { play: Arc::new(self.clone()), dataflow, kept, start }
    }

    pub(super) fn last(&self) -> Epoch {
        Epoch(self.lines.len() as u64)
    }
}

/// How many lines after the one that is the last to be committed a run gets before it is killed.
const UNDER_WAY: u64 = 2;

impl Stage<'_> {
    /// Plays on up to the line of `until`.
    pub(super) fn run(&mut self, workers: usize, seed: u64, until: Epoch) {
        if until < self.start.epoch {
            return;
        }
        let held = self.kept.lock().held();
        self.execute(workers, seed, until);
        self.views_are_as_they_were();
        for (operator, restored) in &self.kept.lock().restored {
            let (held, epoch) = (held.get(operator).copied().unwrap_or(0), self.start.epoch);
            assert_eq!(
                *restored, held,
                "what {operator} has restored, and what it held before epoch {epoch}"
            );
        }
    }

    /// What a run gives of views at the epoch that it starts from is what earlier runs have delivered.
    fn views_are_as_they_were(&self) {
        let kept = self.kept.lock();
        let before = kept.views.iter().filter(|change| change.epoch < self.start.epoch);
        let (given, delivered) = (content(kept.restored_views.iter()), content(before));
        assert_eq!(given, delivered, "views at the start of epoch {} (left) and before", self.start.epoch);
    }

    fn execute(&self, workers: usize, seed: u64, until: Epoch) {
        let communication =
            if workers == 1 { CommunicationConfig::Thread } else { CommunicationConfig::Process(workers) };
        let config = Config { communication, worker: WorkerConfig::default() };
        let (play, start) = (Arc::clone(&self.play), Arc::clone(&self.start));
        let (kept, build) = (self.kept.clone(), Arc::clone(&self.dataflow.build));
        let (unsealing, spoiler) = (self.dataflow.unsealing.clone(), self.dataflow.spoiler.clone());
        let files = Arc::clone(&self.dataflow.files);
        let body = move |worker: &mut timely::worker::Worker| {
            let ports = PlayPorts {
                play: Arc::clone(&play),
                files: Arc::clone(&files),
                start: Arc::clone(&start),
                kept: kept.clone(),
                until,
                seed: seed ^ (worker.index() as u64).wrapping_mul(0x9e37_79b9),
                worker: worker.index(),
                workers: worker.peers(),
                unsealing: unsealing.clone().filter(|_| start.epoch > Epoch(1)),
                spoiler: spoiler.clone(),
            };
            let acks = kept.clone();
            worker.dataflow::<Epoch, _, _>(|scope| {
                let specs = play.inputs.iter().map(|input| input.spec.clone()).collect();
                let mut builder = Build::new(scope, Box::new(ports), "play", specs).with_rules(RULES);
                build(&mut builder);
                builder.finish().inspect_time(move |epoch, ack| acks.lock().acks.push((*epoch, ack.clone())));
            });
        };
        let guards = timely::execute(config, body).expect("threads can be started");
        let failed: Vec<String> = guards.join().into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "a worker panicked: {}", failed.join(", "));
    }

    pub(super) fn run_with_kills(&mut self, workers: &[usize], kills: &[usize]) {
        let mut workers = workers.iter().copied().cycle();
        let mut next = || workers.next().unwrap_or(1);
        let last = self.play.last();
        for (seed, kill) in (0..).zip(kills) {
            let kill = Epoch(*kill as u64).min(last);
            self.run(next(), seed, (kill + UNDER_WAY).min(last));
            self.kill_after(kill);
        }
        self.run(next(), u64::MAX, last);
    }

    /// Kills the run after the commit of `epoch`.
    fn kill_after(&mut self, epoch: Epoch) {
        self.start = Arc::new(self.kept.lock().forget_after(epoch));
        (self.dataflow.forget_after)(epoch);
    }

    pub(super) fn played(&self) -> Played {
        let kept = self.kept.lock();
        let mut rows = kept.rows.clone();
        rows.sort();
        let mut refused: Vec<Refusal> = kept.refused.iter().map(|(_, refused)| refused.clone()).collect();
        refused.sort();
        let mut views = kept.views.clone();
        views.sort();
        Played { rows, views, refused, fates: kept.fates(), dropped: kept.dropped() }
    }

    /// The state of all operators as of `epoch`.
    pub(super) fn state_at(&self, epoch: Epoch) -> State {
        let kept = self.kept.lock();
        let until: Vec<_> = kept.state.iter().filter(|(e, _)| *e <= epoch).cloned().collect();
        read_back(&until)
    }
}

/// So few epochs that a short script has every kind of section.
const RULES: snapshots::Rules =
    snapshots::Rules { merge_every: 3, files_max: 4, freed_max: 2, bases_bytes: 8 << 20, changes_min: 2 };
