//! A small pipeline (sum per key and window) driven epoch by epoch, without an engine.

use headway_operators::ack::{Ack, InputIx, PartitionAck, StagedFile, StateFile};
use headway_operators::build::Build;
use headway_operators::error::{Reason, StateError};
use headway_operators::pace::{InputPace, InputsWatermark};
use headway_operators::port::{Cut, Feed, Intake, Ports, Position, Stage, Start, Turn};
use headway_operators::port::{InputStart, NotAfter};
use headway_operators::progress::Standing;
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::row::{Cell, Column, Kind, Row as OutputRow, Rows};
use headway_operators::sections::read_back;
use headway_operators::snapshots;
use headway_operators::spec::{Format, InputSpec, OutputSpec};
use headway_operators::state::{KeyHash, Saved, StateChange};
use headway_operators::stream::aggregate::{Aggregate, Summand, Total};
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::window::{Closing, Grid};
use headway_operators::time::{Epoch, EventTime};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use timely::dataflow::operators::Inspect;
use timely::scheduling::SyncActivator;
use timely::{CommunicationConfig, Config, WorkerConfig};

/// A case: its windows and what goes in, epoch by epoch.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) grid: Grid,
    pub(crate) lateness_ms: i64,
    pub(crate) flush_ms: Option<u64>,
    pub(crate) partitions: u32,
    /// The partitions of each input, if there are several: an operator takes the records of all together.
    pub(crate) inputs: Vec<Vec<Partition>>,
    pub(crate) epochs: Vec<Vec<Item>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Message(Partition, String),
    Flags(Partition, Flags),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) idle_ms: Option<u64>,
    pub(crate) joining: bool,
    pub(crate) ended: bool,
}

impl Case {
    /// The input that a partition belongs to.
    fn input(&self, partition: Partition) -> InputIx {
        let at = self.inputs.iter().position(|input| input.contains(&partition));
        InputIx(u16::try_from(at.unwrap_or(0)).unwrap())
    }
}

/// What came out, in an order that depends on the content only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    pub(crate) late: Vec<(Partition, String)>,
    pub(crate) dead: Vec<(Partition, String, String)>,
    pub(crate) fates: FateSums,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) epoch: Epoch,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) key: String,
    pub(crate) sum: i128,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FateSums {
    pub(crate) consumed: u64,
    pub(crate) accepted: u64,
    pub(crate) duplicate: u64,
    pub(crate) late: u64,
    pub(crate) dead: u64,
}

/// What a run leaves behind, by epoch.
#[derive(Clone, Debug, Default)]
struct Kept {
    rows: Vec<Row>,
    refused: Vec<(Epoch, bool, Vec<String>)>,
    state: Vec<(Epoch, StateChange)>,
    acks: Vec<(Epoch, Ack)>,
    /// What each operator held once its state was back, on all workers.
    restored: BTreeMap<String, u64>,
}

type Shared = Arc<Mutex<Kept>>;

/// Where a run starts. Line 0 of a case is epoch 1.
#[derive(Clone)]
struct From {
    epoch: Epoch,
    watermarks: BTreeMap<InputIx, EventTime>,
    combined: BTreeMap<Vec<InputIx>, EventTime>,
    partitions: BTreeMap<Partition, (Offset, EventTime, EventTime)>,
    saved: BTreeMap<String, Vec<Saved>>,
}

impl Default for From {
    fn default() -> Self {
        let (watermarks, combined) = (BTreeMap::new(), BTreeMap::new());
        From { epoch: Epoch(1), watermarks, combined, partitions: BTreeMap::new(), saved: BTreeMap::new() }
    }
}

/// Runs the case on `workers`; `seed` shuffles how workers take turns.
pub(crate) fn run(case: &Case, workers: usize, seed: u64) -> Outcome {
    let kept = Shared::default();
    execute(case, (workers, seed), &From::default(), case.epochs.len() + 1, &kept);
    outcome(&kept.lock().unwrap())
}

/// Runs the case up to `crash_after`, loses all that came later, and goes on with another number of workers.
pub(crate) fn run_with_crash(case: &Case, workers: usize, crash_after: usize) -> Outcome {
    let kept = Shared::default();
    // The crash comes while later epochs are in flight: two more are run, then forgotten.
    let reached = (crash_after + 3).min(case.epochs.len());
    execute(case, (workers, 2), &From::default(), reached, &kept);
    let from = forget_after(case, &mut kept.lock().unwrap(), Epoch(crash_after as u64 + 1));
    let held = held(&kept.lock().unwrap());
    execute(case, (workers % 3 + 1, 3), &from, case.epochs.len() + 1, &kept);
    let kept = kept.lock().unwrap();
    for (operator, restored) in &kept.restored {
        let held = held.get(operator).copied().unwrap_or(0);
        assert_eq!(*restored, held, "what {operator} held and what came back, after epoch {crash_after}");
    }
    outcome(&kept)
}

/// What each operator held at the end, on all workers together.
fn held(kept: &Kept) -> BTreeMap<String, u64> {
    let mut newest: BTreeMap<(&str, u32), (Epoch, u64)> = BTreeMap::new();
    for (epoch, ack) in &kept.acks {
        let Ack::Held { operator, worker, entries } = ack else { continue };
        let known = newest.entry((operator, *worker)).or_default();
        *known = (*known).max((*epoch, *entries));
    }
    let mut held = BTreeMap::new();
    for ((operator, _), (_, entries)) in newest {
        *held.entry(operator.to_string()).or_default() += entries;
    }
    held
}

/// Keeps what epoch `last` made true, as a manifest would, and says where to go on.
fn forget_after(case: &Case, kept: &mut Kept, last: Epoch) -> From {
    kept.rows.retain(|row| row.epoch < last);
    kept.refused.retain(|(epoch, ..)| *epoch <= last);
    kept.state.retain(|(epoch, _)| *epoch <= last);
    kept.acks.retain(|(epoch, _)| *epoch <= last);
    kept.restored.clear();
    let mut from = From { epoch: last + 1, ..From::default() };
    kept.acks.sort_by_key(|(epoch, _)| *epoch);
    for (_, ack) in &kept.acks {
        match ack {
            Ack::Source { partitions, .. } => {
                for PartitionAck { partition, next, own, floor, .. } in partitions {
                    let known = from.partitions.get(partition).map_or(EventTime::MIN, |known| known.2);
                    from.partitions.insert(*partition, (*next, *own, known.max(*floor)));
                }
            }
            Ack::Watermark { input, watermark, flushed, .. } => {
                from.watermarks.insert(*input, *watermark);
                for (_, (_, _, floor)) in
                    from.partitions.iter_mut().filter(|(p, _)| case.input(**p) == *input)
                {
                    *floor = (*floor).max(flushed.unwrap_or(EventTime::MIN));
                }
            }
            Ack::InputsWatermark { inputs, watermark } => {
                from.combined.insert(inputs.clone(), *watermark);
            }
            _ => {}
        }
    }
    // A partition that joins takes the greatest watermark of that epoch that its records meet as its floor.
    for (epoch, ack) in &kept.acks {
        let Ack::Source { input: own, partitions, .. } = ack else { continue };
        for joining in partitions.iter().filter(|p| p.joining) {
            let at = kept.acks.iter().filter_map(|(e, ack)| match ack {
                Ack::Watermark { input, watermark, .. } if e == epoch && input == own => Some(*watermark),
                Ack::InputsWatermark { inputs, watermark } if e == epoch && inputs.contains(own) => {
                    Some(*watermark)
                }
                _ => None,
            });
            let floor = at.max().unwrap_or(EventTime::MIN);
            let known = from.partitions.get_mut(&joining.partition).expect("it has acks");
            known.2 = known.2.max(floor);
        }
    }
    from.saved = read_back(&kept.state);
    from
}

fn outcome(kept: &Kept) -> Outcome {
    let mut out = Outcome { rows: kept.rows.clone(), ..Outcome::default() };
    out.rows.sort();
    for (_, is_late, cells) in &kept.refused {
        let partition = Partition(cells[1].parse().unwrap());
        match is_late {
            true => out.late.push((partition, cells[6].clone())),
            false => out.dead.push((partition, cells[6].clone(), cells[4].clone())),
        }
    }
    out.late.sort();
    out.dead.sort();
    for (_, ack) in &kept.acks {
        match ack {
            Ack::Source { counts_accepted, partitions, .. } => {
                for part in partitions {
                    out.fates.accepted += if *counts_accepted { part.sent } else { 0 };
                    out.fates.consumed += part.consumed;
                    out.fates.late += part.late;
                    out.fates.dead += part.dead.iter().map(|(_, count)| count).sum::<u64>();
                }
            }
            Ack::Fates { accepted, duplicate, .. } => {
                out.fates.accepted += accepted;
                out.fates.duplicate += duplicate;
            }
            _ => {}
        }
    }
    out
}

fn execute(case: &Case, (workers, seed): (usize, u64), from: &From, until: usize, kept: &Shared) {
    let (case, from, kept) = (case.clone(), from.clone(), Arc::clone(kept));
    let communication =
        if workers == 1 { CommunicationConfig::Thread } else { CommunicationConfig::Process(workers) };
    let config = Config { communication, worker: WorkerConfig::default() };
    let body = move |worker: &mut timely::worker::Worker| {
        let ports = TestPorts {
            case: case.clone(),
            from: from.clone(),
            kept: Arc::clone(&kept),
            until,
            seed: seed ^ worker.index() as u64,
            worker: (worker.index(), worker.peers()),
        };
        let acks = Arc::clone(&kept);
        worker.dataflow::<Epoch, _, _>(|scope| {
            let spec = |name| InputSpec {
                name,
                topic: name,
                lateness_ms: case.lateness_ms,
                closing: Closing::Grid(case.grid),
                header: None,
            };
            // So few epochs that a case has every kind of section.
            let rules =
                snapshots::Rules { merge_every: 2, files_max: 3, changes_min: 2, ..Default::default() };
            let names = &["first", "second", "third"][..case.inputs.len().max(1)];
            let specs = names.iter().copied().map(spec).collect();
            let mut build = Build::new(scope, Box::new(ports), "test", specs).with_rules(rules);
            let sum = Aggregate::<Amount, String, 1>::new("Aggregate", case.grid);
            let inputs: Vec<_> = names.iter().map(|name| build.input(name, Words)).collect();
            let all = inputs.into_iter().reduce(|one, other| one.and(other)).unwrap();
            let sums = if names.len() == 1 { build.counting(sum, all) } else { build.keyed(sum, all) };
            let columns =
                [("key", Kind::Text), ("start", Kind::Time), ("end", Kind::Time), ("sum", Kind::Wide)];
            let columns = columns.map(|(name, kind)| Column::new(name, kind)).to_vec();
            let (name, prefix) = ("sums".to_string(), "sums".to_string());
            build.output(
                OutputSpec {
                    name,
                    prefix,
                    stem: "batch".into(),
                    format: Format::CsvGz,
                    columns,
                    folders: None,
                },
                sums.map(Sum),
            );
            build
                .finish()
                .inspect_time(move |epoch, ack| acks.lock().unwrap().acks.push((*epoch, ack.clone())));
        });
    };
    drop(timely::execute(config, body).unwrap().join());
}

/// `HH:MM:SS key amount [id]`
struct Words;

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Amount {
    key: KeyHash,
    identity: Option<KeyHash>,
    amount: i64,
}

impl Summand<1> for Amount {
    fn key(&self) -> KeyHash {
        self.key
    }

    fn identity(&self) -> Option<KeyHash> {
        self.identity
    }

    fn amounts(&self) -> [i64; 1] {
        [self.amount]
    }
}

impl Decoder for Words {
    type Out = Amount;
    type Key = String;

    fn begin(&mut self, _epoch: Epoch) {}

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        definitions: &mut Vec<Definition<String>>,
    ) -> Result<Decoded<Amount>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let text = std::str::from_utf8(value).map_err(|_| Reason::NOT_UTF8)?;
        let words: Vec<_> = text.split_whitespace().collect();
        let (clock, key, amount) = match words[..] {
            [clock, key, amount] | [clock, key, amount, _] => (clock, key, amount),
            _ => return Err(Reason::of("wrong-field-count")),
        };
        let parts: Vec<i64> = clock.split(':').filter_map(|part| part.parse().ok()).collect();
        let [hours, minutes, seconds] = parts[..] else { return Err(Reason::BAD_TIMESTAMP) };
        let time = EventTime((hours * 3600 + minutes * 60 + seconds) * 1000);
        let hash = KeyHash::of(key.as_bytes());
        definitions.push(Definition { hash, key: key.to_string() });
        let identity = words.get(3).map(|_| KeyHash::of(value).beside(hash));
        let amount = amount.parse().map_err(|_| Reason::BAD_NUMBER)?;
        Ok(Decoded::Record(time, Amount { key: hash, identity, amount }))
    }
}

#[derive(Clone)]
struct Sum(Total<String, 1>);

impl OutputRow for Sum {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Text(&self.0.key));
        put(Cell::Time(self.0.span.start));
        put(Cell::Time(self.0.span.end));
        put(Cell::Wide(self.0.sums[0]));
    }

    fn time(&self) -> EventTime {
        self.0.span.end
    }
}

struct TestPorts {
    case: Case,
    from: From,
    kept: Shared,
    until: usize,
    seed: u64,
    worker: (usize, usize),
}

impl Ports for TestPorts {
    fn first_epoch(&self) -> Epoch {
        self.from.epoch
    }

    fn watermarks(&self) -> Vec<InputsWatermark> {
        let set = |(inputs, watermark): (&Vec<_>, &_)| InputsWatermark {
            inputs: inputs.clone(),
            watermark: *watermark,
        };
        self.from.combined.iter().map(set).collect()
    }

    fn start(&mut self, index: InputIx) -> InputStart {
        let mut partitions: BTreeMap<_, _> = (0..self.case.partitions)
            .map(|p| (Partition(p), (Offset(0), EventTime::MIN, EventTime::MIN)))
            .collect();
        partitions.extend(self.from.partitions.iter().map(|(p, start)| (*p, *start)));
        partitions.retain(|partition, _| self.case.input(*partition) == index);
        InputStart {
            topic: "test".into(),
            watermark: self.from.watermarks.get(&index).copied().unwrap_or(EventTime::MIN),
            partitions: partitions
                .into_iter()
                .map(|(partition, (_, own, floor))| Standing { partition, own, floor })
                .collect(),
            max_ahead_ms: 3_600_000,
            not_after: NotAfter::Never,
            rules: std::sync::Arc::default(),
            idle_flush_ms: self.case.flush_ms,
        }
    }

    fn feed(&mut self, input: InputIx, _: &InputSpec, pace: InputPace, _: SyncActivator) -> Box<dyn Feed> {
        let (index, peers) = self.worker;
        let is_mine = |p: &Partition| self.case.input(*p) == input && p.index() % peers == index;
        let mine = (0..self.case.partitions).map(Partition).filter(is_mine).collect();
        let (case, from, until) = (self.case.clone(), self.from.clone(), self.until);
        Box::new(Script {
            case,
            from,
            until,
            pace,
            mine,
            epoch: None,
            seed: self.seed,
            joining: BTreeMap::new(),
            next: BTreeMap::new(),
        })
    }

    fn rows(&mut self, output: &OutputSpec, _: SyncActivator) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        let (kept, name) = (Arc::clone(&self.kept), output.name.clone());
        Box::new(Now(VecDeque::new(), move |epoch, rows: Box<dyn Rows>| {
            for at in 0..rows.len() {
                let mut cells = Vec::new();
                rows.cells(at, &mut |cell| cells.push(format_cell(cell)));
                let mut kept = kept.lock().unwrap();
                if name == "sums" {
                    let number = |at: usize| cells[at].parse::<i64>().unwrap();
                    let (start, end, sum) = (number(1), number(2), cells[3].parse().unwrap());
                    kept.rows.push(Row { epoch: epoch - 1, start, end, key: cells[0].clone(), sum });
                } else {
                    kept.refused.push((epoch, name.starts_with("late"), cells));
                }
            }
        }))
    }

    fn state(&mut self, _: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        let kept = Arc::clone(&self.kept);
        Box::new(Now(VecDeque::new(), move |epoch, changes: Vec<StateChange>| {
            kept.lock().unwrap().state.extend(changes.into_iter().map(|change| (epoch, change)));
        }))
    }

    fn saved(&mut self, operator: &str) -> Option<Vec<Saved>> {
        let (index, peers) = self.worker;
        let mine = |saved: &Saved| saved.shard.owner(peers) == index;
        let saved = self.from.saved.get(operator).into_iter().flatten().filter(|saved| mine(saved)).cloned();
        (self.from.epoch > Epoch(1)).then(|| saved.collect())
    }

    fn restored(&mut self, operator: &str, held: u64) {
        let mut kept = self.kept.lock().unwrap();
        *kept.restored.entry(operator.to_string()).or_default() += held;
    }

    fn refuse(&mut self, error: StateError) {
        panic!("{error}");
    }
}

fn format_cell(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text(text) => text.to_string(),
        Cell::Int(number) => number.to_string(),
        Cell::Wide(number) => number.to_string(),
        Cell::Time(time) => time.to_string(),
        _ => String::new(),
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

/// Plays one line of the case an epoch; after the last line everything ends.
struct Script {
    case: Case,
    from: From,
    until: usize,
    pace: InputPace,
    mine: Vec<Partition>,
    epoch: Option<Epoch>,
    seed: u64,
    joining: BTreeMap<Partition, Epoch>,
    next: BTreeMap<Partition, Offset>,
}

impl Script {
    /// True now and then: the worker takes a turn without doing anything.
    fn dawdles(&mut self) -> bool {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 33).is_multiple_of(3)
    }

    /// Idle and ended partitions stay so until a message of theirs comes, or they join.
    fn flags_before(&self, epoch: Epoch) -> BTreeMap<Partition, Flags> {
        let mut flags: BTreeMap<Partition, Flags> =
            self.mine.iter().map(|p| (*p, Flags::default())).collect();
        for item in self.case.epochs.iter().take(epoch.0 as usize - 1).flatten() {
            match item {
                Item::Message(partition, _) => flags.entry(*partition).and_modify(|f| *f = Flags::default()),
                Item::Flags(partition, new) => {
                    flags.entry(*partition).and_modify(|f| *f = Flags { joining: false, ..*new })
                }
            };
        }
        flags
    }

    fn has_joined(&self) -> bool {
        self.joining.iter().all(|(p, epoch)| self.pace.joined(*p).is_some_and(|joined| joined >= *epoch))
    }
}

impl Feed for Script {
    fn turn(&mut self, intake: &mut dyn Intake) -> Turn {
        let epoch = *self.epoch.get_or_insert_with(|| {
            for partition in &self.mine {
                let unknown = (Offset(0), EventTime::MIN, EventTime::MIN);
                let (next, own, floor) = self.from.partitions.get(partition).copied().unwrap_or(unknown);
                intake.open(Start { own, floor, ..Start::first(*partition, next) });
                self.next.insert(*partition, next);
            }
            self.from.epoch
        });
        if self.dawdles() || !self.has_joined() {
            return Turn::Wait(Duration::ZERO);
        }
        for (partition, _) in std::mem::take(&mut self.joining) {
            intake.floor(partition, self.pace.floor(partition));
        }
        let line = self.case.epochs.get(epoch.0 as usize - 1).cloned();
        let over = line.is_none();
        let mut flags = self.flags_before(epoch);
        for item in line.unwrap_or_default() {
            match item {
                Item::Flags(partition, new) => {
                    flags.entry(partition).and_modify(|flags| *flags = new);
                }
                Item::Message(partition, text) => {
                    let Some(next) = self.next.get_mut(&partition) else { continue };
                    flags.insert(partition, Flags::default());
                    let (offset, payload) = (*next, Payload::Bytes(text.as_bytes()));
                    intake.message(&Raw::of(partition, offset, payload));
                    *next += 1;
                }
            }
        }
        let position = |(partition, flags): (&Partition, &Flags)| Position {
            last_read: None,
            partition: *partition,
            next: self.next[partition],
            idle_ms: flags.idle_ms,
            joining: flags.joining,
            ended: flags.ended || over,
            backlog: true,
            content: None,
        };
        let (wall_ms, began_ms) = (epoch.0 as i64 * 1000, epoch.0 as i64 * 1000 - 1000);
        let cut = Cut { wall_ms, began_ms, partitions: flags.iter().map(position).collect() };
        self.joining = flags.iter().filter(|(_, f)| f.joining).map(|(p, _)| (*p, epoch)).collect();
        self.epoch = Some(epoch + 1);
        if over || epoch.0 as usize >= self.until { Turn::Finish(cut) } else { Turn::Cut(cut, epoch + 1) }
    }
}
