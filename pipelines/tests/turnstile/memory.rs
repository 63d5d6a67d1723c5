//! The pipeline's dataflow between messages in memory and rows in memory.

use crate::twin::capture::{Message, Partitions};
use crate::twin::{Answer, Fates, Options};
use headway_operators::ack::{Ack, InputIx, StagedFile, StateFile};
use headway_operators::build::Build;
use headway_operators::duration;
use headway_operators::error::StateError;
use headway_operators::pace::{InputPace, InputsWatermark};
use headway_operators::port::{
    AtOnce, Cut, Feed, InputStart, Intake, NotAfter, Ports, Position, Stage, Start, Turn,
};
use headway_operators::progress::Standing;
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::row::Rows;
use headway_operators::spec::{InputSpec, OutputSpec};
use headway_operators::state::{Saved, StateChange};
use headway_operators::time::{Epoch, EventTime};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use timely::dataflow::operators::Inspect;
use timely::scheduling::SyncActivator;

/// The most bytes that a source hands on of one message.
const BYTES_MAX: usize = 1 << 20;

/// How the messages are read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) workers: usize,
    /// How many messages of each partition make an epoch; the last number holds for all that follow.
    pub(crate) epoch: Vec<usize>,
}

/// What a run of the dataflow gave.
pub(crate) struct Run {
    pub(crate) answer: Answer,
    /// The share of rows that left before the last epoch.
    pub(crate) early: f64,
}

/// The cells of a row by the names of their columns.
type Cells = BTreeMap<String, String>;

/// Everything that left the dataflow.
#[derive(Default)]
struct Kept {
    /// By output: the epoch, and the row.
    rows: BTreeMap<String, Vec<(Epoch, Cells)>>,
    fates: Fates,
}

/// Runs the pipeline to the end of the messages.
pub(crate) fn run(options: &Options, partitions: &Partitions, reading: &Reading) -> Run {
    let durations = [options.window_ms, options.slide_ms, options.lateness_ms].map(duration::show);
    let settings = [
        ("window", durations[0].as_str()),
        ("slide", &durations[1]),
        ("lateness", &durations[2]),
        ("zone", &options.zone),
    ];
    let entry = headway_pipelines::find("turnstile").expect("in the catalogue");
    let pipeline = entry.configure(settings).expect("a job").pipeline;
    let kept: Arc<Mutex<Kept>> = Arc::default();
    let input = Arc::new((options.clone(), partitions.clone(), reading.clone()));
    let out = Arc::clone(&kept);
    let body = move |worker: &mut timely::worker::Worker| {
        let place = (worker.index(), worker.peers());
        let ports = Memory { input: Arc::clone(&input), place, kept: Arc::clone(&out) };
        let seen = Arc::clone(&out);
        worker.dataflow::<Epoch, _, _>(|scope| {
            let mut build = Build::new(scope, Box::new(ports), pipeline.name(), pipeline.inputs());
            pipeline.build(&mut build);
            build.finish().inspect(move |ack| seen.lock().expect("no worker panicked").count(ack));
        });
    };
    drop(timely::execute(timely::Config::process(reading.workers), body).expect("workers start").join());
    Arc::try_unwrap(kept)
        .ok()
        .expect("the workers have ended")
        .into_inner()
        .expect("no worker panicked")
        .run()
}

impl Kept {
    fn count(&mut self, ack: &Ack) {
        match ack {
            Ack::Source { partitions, .. } => {
                for part in partitions {
                    self.fates.consumed += part.consumed;
                    self.fates.late += part.late;
                    self.fates.filtered += part.filtered;
                    self.fates.dead += part.dead.iter().map(|(_, count)| count).sum::<u64>();
                }
            }
            Ack::Fates { accepted, duplicate, .. } => {
                self.fates.accepted += accepted;
                self.fates.duplicate += duplicate;
            }
            _ => {}
        }
    }

    fn run(mut self) -> Run {
        let mut take = |output: &str| self.rows.remove(output).unwrap_or_default();
        let (rows, dead, late) = (take("turnstile"), take("dead-turnstile"), take("late-turnstile"));
        let last = rows.iter().map(|(epoch, _)| *epoch).max();
        let early =
            rows.iter().filter(|(epoch, _)| Some(*epoch) < last).count() as f64 / rows.len().max(1) as f64;
        let number = |cells: &Cells, name: &str| cells[name].parse::<i64>().expect("a number");
        let place = |cells: &Cells| (number(cells, "partition") as u32, number(cells, "offset"));
        let mut answer = Answer { fates: self.fates, ..Answer::default() };
        answer.rows.extend(
            rows.into_iter().map(|(_, cells)| {
                crate::twin::COLUMNS[..11].iter().map(|name| cells[*name].clone()).collect()
            }),
        );
        answer.dead.extend(dead.into_iter().map(|(_, cells)| {
            let (partition, offset) = place(&cells);
            (partition, offset, cells["reason"].clone())
        }));
        answer.late.extend(late.into_iter().map(|(_, cells)| {
            let (partition, offset) = place(&cells);
            (partition, offset, number(&cells, "event_time"), number(&cells, "stamp"))
        }));
        answer.rows.sort_unstable();
        answer.dead.sort_unstable();
        answer.late.sort_unstable();
        Run { answer, early }
    }
}

/// Both ends of the dataflow, on one worker: its index and how many there are.
struct Memory {
    input: Arc<(Options, Partitions, Reading)>,
    place: (usize, usize),
    kept: Arc<Mutex<Kept>>,
}

impl Ports for Memory {
    fn first_epoch(&self) -> Epoch {
        Epoch(1)
    }

    fn watermarks(&self) -> Vec<InputsWatermark> {
        Vec::new()
    }

    fn start(&mut self, _: InputIx) -> InputStart {
        let (options, partitions, _) = &*self.input;
        InputStart {
            topic: "mta-turnstile".to_string(),
            watermark: EventTime::MIN,
            partitions: partitions.keys().map(|number| standing(Partition(*number))).collect(),
            max_ahead_ms: options.max_ahead_ms,
            not_after: options.not_after_ms.map_or(NotAfter::Never, |ms| NotAfter::At(EventTime(ms))),
            rules: std::sync::Arc::default(),
            idle_flush_ms: None,
        }
    }

    fn feed(&mut self, _: InputIx, _: &InputSpec, _: InputPace, _: SyncActivator) -> Box<dyn Feed> {
        let (index, peers) = self.place;
        let is_mine = |partition: &Partition| partition.index() % peers == index;
        let mine = self.input.1.keys().copied().map(Partition).filter(is_mine).collect();
        Box::new(Player { input: Arc::clone(&self.input), mine, at: 0, epoch: 0 })
    }

    fn rows(&mut self, output: &OutputSpec, _: SyncActivator) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        let (kept, output) = (Arc::clone(&self.kept), output.clone());
        Box::new(AtOnce::new(move |epoch, rows: Box<dyn Rows>| {
            let mut kept = kept.lock().expect("no worker panicked");
            let of_output = kept.rows.entry(output.name.clone()).or_default();
            for row in 0..rows.len() {
                let (mut cells, mut columns) = (BTreeMap::new(), output.columns.iter());
                rows.cells(row, &mut |cell| {
                    let column = columns.next().expect("a column for each cell");
                    cells.insert(column.name.to_string(), cell.to_string());
                });
                of_output.push((epoch, cells));
            }
        }))
    }

    fn state(&mut self, _: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        Box::new(AtOnce::new(|_, _| {}))
    }

    fn saved(&mut self, _: &str) -> Option<Vec<Saved>> {
        None
    }

    fn restored(&mut self, _: &str, _: u64) {}

    fn refuse(&mut self, error: StateError) {
        panic!("{error}");
    }
}

fn standing(partition: Partition) -> Standing {
    Standing { partition, own: EventTime::MIN, floor: EventTime::MIN }
}

/// Plays the partitions of one worker, so many messages an epoch, and ends when the longest of all has ended.
struct Player {
    input: Arc<(Options, Partitions, Reading)>,
    mine: Vec<Partition>,
    /// How many messages of each partition were played.
    at: usize,
    epoch: usize,
}

impl Player {
    /// Hands on the messages of a partition up to number `until`; gives where it stands then.
    fn play(&self, intake: &mut dyn Intake, partition: Partition, until: usize) -> Position {
        let (options, partitions, _) = &*self.input;
        let messages = &partitions[&partition.0];
        let floors = options.floors.get(&partition.0).cloned().unwrap_or_default();
        for (index, message) in messages.iter().enumerate().take(until).skip(self.at) {
            let before = index.checked_sub(1).map_or(-1, |before| messages[before].offset);
            for (_, floor) in floors.iter().filter(|step| (before + 1..=message.offset).contains(&step.0)) {
                intake.floor(partition, EventTime(*floor));
            }
            hand_on(intake, partition, message);
        }
        let ended = until >= messages.len();
        let last = messages.get(until.min(messages.len()).wrapping_sub(1));
        let next = last.map_or(0, |last| last.offset + 1);
        let (last_read, content) = (None, None);
        Position {
            last_read,
            partition,
            next: Offset(next),
            idle_ms: None,
            joining: false,
            ended,
            backlog: true,
            content,
        }
    }
}

fn hand_on(intake: &mut dyn Intake, partition: Partition, message: &Message) {
    let payload = match &message.value {
        _ if message.is_header => Payload::Header,
        None => Payload::Null,
        Some(value) if value.len() > BYTES_MAX => {
            Payload::TooLong { head: &value[..4096], bytes: value.len() as u64, hash: 0 }
        }
        Some(value) => Payload::Bytes(value),
    };
    let columns =
        (message.columns != crate::twin::usual_columns()).then(|| message.columns.as_slice().into());
    let raw = Raw::of(partition, Offset(message.offset), payload);
    intake.message(&Raw { timestamp_ms: message.timestamp_ms, columns: columns.as_ref(), ..raw });
}

impl Feed for Player {
    fn turn(&mut self, intake: &mut dyn Intake) -> Turn {
        let (_, partitions, reading) = &*Arc::clone(&self.input);
        if self.epoch == 0 {
            for partition in self.mine.iter().copied() {
                intake.open(Start::first(partition, Offset(0)));
            }
        }
        let count = reading.epoch.get(self.epoch).or(reading.epoch.last()).expect("a size of epochs");
        let until = self.at + count;
        let positions = self.mine.iter().map(|partition| self.play(intake, *partition, until)).collect();
        let cut = Cut { partitions: positions, ..Cut::default() };
        self.at = until;
        self.epoch += 1;
        let is_over = partitions.values().all(|messages| messages.len() <= until);
        if is_over { Turn::Finish(cut) } else { Turn::Cut(cut, Epoch(self.epoch as u64 + 1)) }
    }
}
