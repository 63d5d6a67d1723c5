//! Drives a dataflow of views epoch by epoch, without an engine: any number of workers, a restart after any epoch.

use headway_operators::ack::{Ack, InputIx, StagedFile, StateFile};
use headway_operators::build::Build;
use headway_operators::error::{Reason, StateError};
use headway_operators::flow::Flow;
use headway_operators::pace::{InputPace, InputsWatermark};
use headway_operators::port::{Cut, Feed, InputStart, Intake, NotAfter, Ports, Position, Stage, Start, Turn};
use headway_operators::progress::Standing;
use headway_operators::record::{Offset, Partition, Payload, Raw, Stamped};
use headway_operators::row::Rows;
use headway_operators::sections::read_back;
use headway_operators::snapshots;
use headway_operators::spec::{InputSpec, OutputSpec};
use headway_operators::state::{Saved, StateChange};
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::window::Closing;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::table::{Key, Update};
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use timely::dataflow::operators::Inspect;
use timely::scheduling::SyncActivator;
use timely::{CommunicationConfig, Config, WorkerConfig};

/// What goes in: epoch by epoch, records with their times. Record `n` of an epoch is of partition `n % partitions`.
#[derive(Clone, Debug)]
pub(crate) struct Script<T> {
    pub(crate) partitions: u32,
    pub(crate) lateness_ms: i64,
    pub(crate) epochs: Vec<Vec<(i64, T)>>,
}

/// The views under test.
pub(crate) type Job<T, D> = for<'s> fn(&mut Build<'s>, Flow<'s, Stamped<T>>) -> Flow<'s, Update<D>>;

/// What came out: rows with the epoch they left in, and how many copies came or went.
pub(crate) type Updates<D> = Vec<(Epoch, D, i64)>;

/// What a run leaves behind, by epoch.
struct Kept<D> {
    updates: Updates<D>,
    state: Vec<(Epoch, StateChange)>,
    acks: Vec<(Epoch, Ack)>,
    restored: BTreeMap<String, u64>,
}

impl<D> Default for Kept<D> {
    fn default() -> Self {
        Kept { updates: Vec::new(), state: Vec::new(), acks: Vec::new(), restored: BTreeMap::new() }
    }
}

/// Where a run starts. Line 0 of a script is epoch 1.
#[derive(Clone, Default)]
struct From {
    committed: u64,
    watermark: Option<EventTime>,
    partitions: BTreeMap<Partition, (Offset, EventTime)>,
    saved: BTreeMap<String, Vec<Saved>>,
}

/// Runs the whole script.
pub(crate) fn run<T: Key + Sync, D: Key>(script: &Script<T>, job: Job<T, D>, workers: usize) -> Updates<D> {
    let kept = Arc::new(Mutex::new(Kept::default()));
    execute(script, job, workers, &From::default(), &kept);
    std::mem::take(&mut kept.lock().unwrap().updates)
}

/// Runs the script, loses all that came after line `crash_after`, and goes on with another number of workers. Gives what the
/// second run emitted: from the committed epoch on.
pub(crate) fn run_again<T: Key + Sync, D: Key>(
    script: &Script<T>,
    job: Job<T, D>,
    workers: (usize, usize),
    crash_after: usize,
) -> Updates<D> {
    let kept = Arc::new(Mutex::new(Kept::default()));
    execute(script, job, workers.0, &From::default(), &kept);
    let (from, held) = {
        let kept = kept.lock().unwrap();
        (committed_at(&kept, crash_after as u64), held_at(&kept, crash_after as u64))
    };
    let kept = Arc::new(Mutex::new(Kept::default()));
    execute(script, job, workers.1, &from, &kept);
    let mut kept = kept.lock().unwrap();
    for (operator, restored) in &kept.restored {
        assert_eq!(
            *restored,
            held.get(operator).copied().unwrap_or(0),
            "what {operator} held and what came back"
        );
    }
    std::mem::take(&mut kept.updates)
}

/// The rows as of `epoch`, each with how many copies there are.
pub(crate) fn as_of<D: Ord + Clone>(updates: &Updates<D>, epoch: u64) -> BTreeMap<D, i64> {
    let mut rows = BTreeMap::new();
    for (_, row, diff) in updates.iter().filter(|(at, ..)| at.0 <= epoch) {
        *rows.entry(row.clone()).or_insert(0) += diff;
    }
    rows.retain(|_, copies| *copies != 0);
    rows
}

fn held_at<D>(kept: &Kept<D>, epoch: u64) -> BTreeMap<String, u64> {
    let mut newest: BTreeMap<(&str, u32), (Epoch, u64)> = BTreeMap::new();
    for (at, ack) in kept.acks.iter().filter(|(at, _)| at.0 <= epoch) {
        let Ack::Held { operator, worker, entries } = ack else { continue };
        let known = newest.entry((operator, *worker)).or_default();
        *known = (*known).max((*at, *entries));
    }
    let mut held = BTreeMap::new();
    for ((operator, _), (_, entries)) in newest {
        *held.entry(operator.to_string()).or_default() += entries;
    }
    held
}

fn committed_at<D>(kept: &Kept<D>, epoch: u64) -> From {
    let mut from = From { committed: epoch, ..From::default() };
    let mut acks: Vec<_> = kept.acks.iter().filter(|(at, _)| at.0 <= epoch).collect();
    acks.sort_by_key(|(at, _)| *at);
    for (_, ack) in acks {
        match ack {
            Ack::Source { partitions, .. } => {
                from.partitions.extend(partitions.iter().map(|part| (part.partition, (part.next, part.own))));
            }
            Ack::Watermark { watermark, .. } => from.watermark = Some(*watermark),
            _ => {}
        }
    }
    let state: Vec<_> = kept.state.iter().filter(|(at, _)| at.0 <= epoch).cloned().collect();
    from.saved = read_back(&state);
    from
}

fn execute<T: Key + Sync, D: Key>(
    script: &Script<T>,
    job: Job<T, D>,
    workers: usize,
    from: &From,
    kept: &Arc<Mutex<Kept<D>>>,
) {
    let (script, from, kept) = (script.clone(), from.clone(), Arc::clone(kept));
    let communication =
        if workers == 1 { CommunicationConfig::Thread } else { CommunicationConfig::Process(workers) };
    let config = Config { communication, worker: WorkerConfig::default() };
    let body = move |worker: &mut timely::worker::Worker| {
        let ports = TestPorts {
            script: script.clone(),
            from: from.clone(),
            kept: Arc::clone(&kept),
            worker: (worker.index(), worker.peers()),
        };
        let (lateness_ms, updates, acks) = (script.lateness_ms, Arc::clone(&kept), Arc::clone(&kept));
        worker.dataflow::<Epoch, _, _>(|scope| {
            let closing = Closing::Horizon { ms: 0 };
            let input = InputSpec { name: "input", topic: "input", lateness_ms, closing, header: None };
            // So few epochs that a script has every kind of section.
            let rules =
                snapshots::Rules { merge_every: 2, files_max: 3, changes_min: 2, ..Default::default() };
            let mut build = Build::new(scope, Box::new(ports), "test", vec![input]).with_rules(rules);
            let records = build.input("input", Encoded(PhantomData));
            job(&mut build, records).records().inspect_time(move |epoch, (row, _, diff)| {
                updates.lock().unwrap().updates.push((*epoch, row.clone(), *diff));
            });
            build.finish().inspect_time(move |epoch, ack| {
                acks.lock().unwrap().acks.push((*epoch, ack.clone()));
            });
        });
    };
    let guards = timely::execute(config, body).unwrap();
    guards.join().into_iter().for_each(|worker| worker.unwrap());
}

/// A message is the encoding of a time and a record.
struct Encoded<T>(PhantomData<T>);

impl<T: Key> Decoder for Encoded<T> {
    type Out = T;
    type Key = ();

    fn begin(&mut self, _epoch: Epoch) {}

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<T>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let (time, record): (i64, T) = postcard::from_bytes(value).map_err(|_| Reason::BAD_NUMBER)?;
        Ok(Decoded::Record(EventTime(time), record))
    }
}

struct TestPorts<T, D> {
    script: Script<T>,
    from: From,
    kept: Arc<Mutex<Kept<D>>>,
    worker: (usize, usize),
}

impl<T: Key, D: Key> Ports for TestPorts<T, D> {
    fn first_epoch(&self) -> Epoch {
        Epoch(self.from.committed + 1)
    }

    fn watermarks(&self) -> Vec<InputsWatermark> {
        Vec::new()
    }

    fn start(&mut self, _index: InputIx) -> InputStart {
        let standing = |partition| {
            let own = self.from.partitions.get(&partition).map_or(EventTime::MIN, |(_, own)| *own);
            Standing { partition, own, floor: EventTime::MIN }
        };
        InputStart {
            topic: "input".into(),
            watermark: self.from.watermark.unwrap_or(EventTime::MIN),
            partitions: (0..self.script.partitions).map(Partition).map(standing).collect(),
            max_ahead_ms: 0,
            not_after: NotAfter::Never,
            rules: std::sync::Arc::default(),
            idle_flush_ms: None,
        }
    }

    fn feed(&mut self, _: InputIx, _: &InputSpec, _: InputPace, _: SyncActivator) -> Box<dyn Feed> {
        let (index, peers) = self.worker;
        let mine = (0..self.script.partitions).map(Partition).filter(|p| p.index() % peers == index);
        let position = |partition| (partition, self.from.partitions.get(&partition).copied());
        let mine = mine.map(position).collect();
        Box::new(Player {
            script: self.script.clone(),
            next: BTreeMap::new(),
            mine,
            epoch: self.from.committed,
        })
    }

    fn rows(&mut self, _: &OutputSpec, _: SyncActivator) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        Box::new(Now(VecDeque::new(), |_, _| {}))
    }

    fn state(&mut self, _: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        let kept = Arc::clone(&self.kept);
        Box::new(Now(VecDeque::new(), move |epoch, changes: Vec<StateChange>| {
            kept.lock().unwrap().state.extend(changes.into_iter().map(|change| (epoch, change)));
        }))
    }

    fn saved(&mut self, operator: &str) -> Option<Vec<Saved>> {
        let (index, peers) = self.worker;
        let mine = |saved: &&Saved| saved.shard.owner(peers) == index;
        let saved = self.from.saved.get(operator).into_iter().flatten().filter(mine).cloned();
        (self.from.committed > 0).then(|| saved.collect())
    }

    fn restored(&mut self, operator: &str, held: u64) {
        *self.kept.lock().unwrap().restored.entry(operator.to_string()).or_default() += held;
    }

    fn refuse(&mut self, error: StateError) {
        panic!("{error}");
    }
}

struct Now<F>(VecDeque<Epoch>, F);

impl<Work, Done, F: FnMut(Epoch, Work)> Stage<Work, Done> for Now<F> {
    fn put(&mut self, epoch: Epoch, _since: Epoch, work: Work) {
        (self.1)(epoch, work);
        self.0.push_back(epoch);
    }

    fn done(&mut self) -> Option<(Epoch, Vec<Done>)> {
        self.0.pop_front().map(|epoch| (epoch, Vec::new()))
    }
}

/// Plays one line of the script an epoch; after the last line everything ends.
struct Player<T> {
    script: Script<T>,
    mine: Vec<(Partition, Option<(Offset, EventTime)>)>,
    next: BTreeMap<Partition, Offset>,
    epoch: u64,
}

impl<T: Key> Feed for Player<T> {
    fn turn(&mut self, intake: &mut dyn Intake) -> Turn {
        for (partition, known) in self.mine.drain(..) {
            let (next, own) = known.unwrap_or((Offset(0), EventTime::MIN));
            intake.open(Start { own, ..Start::first(partition, next) });
            self.next.insert(partition, next);
        }
        let line = self.script.epochs.get(self.epoch as usize);
        self.epoch += 1;
        for (number, record) in (0..).zip(line.into_iter().flatten()) {
            let partition = Partition(number % self.script.partitions);
            let Some(next) = self.next.get_mut(&partition) else { continue };
            let bytes = postcard::to_stdvec(record).unwrap();
            intake.message(&Raw::of(partition, *next, Payload::Bytes(&bytes)));
            *next += 1;
        }
        let over = line.is_none();
        let position = |(partition, next): (&Partition, &Offset)| Position {
            partition: *partition,
            next: *next,
            last_read: None,
            idle_ms: None,
            joining: false,
            ended: over,
            backlog: true,
            content: None,
        };
        let partitions = self.next.iter().map(position).collect();
        let cut = Cut { wall_ms: 0, began_ms: 0, partitions };
        if over { Turn::Finish(cut) } else { Turn::Cut(cut, Epoch(self.epoch + 1)) }
    }
}
