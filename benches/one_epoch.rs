//! What do the views cost in an epoch that changes 5,000 intervals? The views that both turnstile pipelines have, on one worker
//! and without a disk: their dataflow, the rows that leave it, and their changed state, encoded.

use crate::figures::spread;
use headway_operators::ack::{InputIx, StagedFile, StateFile};
use headway_operators::build::Build;
use headway_operators::error::{Reason, StateError};
use headway_operators::pace::{InputPace, InputsWatermark};
use headway_operators::port::{
    AtOnce, Cut, Feed, InputStart, Intake, NotAfter, Ports, Position, Stage, Start, Turn,
};
use headway_operators::progress::Standing;
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::row::Rows;
use headway_operators::spec::{InputSpec, OutputSpec, ViewSpec};
use headway_operators::state::{Saved, StateChange};
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::window::Closing;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::row::{Value, ViewUpdate};
use headway_operators::view::table::Table;
use headway_pipelines::turnstile::views::build_of_both;
use headway_pipelines::turnstile::views::passage::{Count, Interval, Passage, Place, StationBy};
use headway_pipelines::zone::Zone;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use timely::dataflow::operators::Probe;
use timely::scheduling::SyncActivator;
use timely::worker::Worker;

/// Turnstiles, and so changes an epoch where an epoch closes one interval; the real weeks have 5,033.
const TURNSTILES: usize = 5_000;
const BOOTHS: usize = 830;
const STATIONS: usize = 470;
/// Intervals of four hours that are loaded first: 35 days of them.
const LOADED: usize = 35 * 6;
/// Epochs that are measured, of each kind.
const MEASURED: usize = 60;
const INTERVAL_MS: i64 = 4 * 3_600_000;
/// 2024-01-01 05:00 UTC.
const START_MS: i64 = 1_704_085_200_000;
const INPUT: &str = "passages";

/// The passages of each epoch that is still to come; `None`: there is none any more.
type Queue = Rc<RefCell<VecDeque<Option<Rc<Vec<Passage>>>>>>;

/// The passages of the epoch that is read.
type Current = Rc<RefCell<Rc<Vec<Passage>>>>;

/// What has left the dataflow.
#[derive(Default)]
struct Seen {
    specs: BTreeMap<u16, ViewSpec>,
    updates: Vec<ViewUpdate>,
    state_bytes: usize,
}

/// Entries by station (name, lines, division) and day.
type Entries = HashMap<([String; 3], String), i128>;

/// What an epoch took.
#[derive(Default)]
struct Took {
    ms: Vec<f64>,
    updates: usize,
    state_bytes: usize,
}

/// Measures, verifies and tells.
pub(crate) fn measure() {
    timely::execute_directly(|worker| {
        let made = Intervals::new();
        let mut run = Run::new(worker);
        let (mut want, mut have) = (Entries::new(), Entries::new());
        let mut epoch = |passages: Vec<Passage>, took: Option<&mut Took>| {
            for passage in &passages {
                let Count::Counted(people) = passage.entries else { unreachable!("all are counted") };
                let station = passage.place.station().columns().map(|text| text.to_string());
                *want.entry((station, passage.day.iso().to_string())).or_default() += people;
            }
            let ms = run.epoch(worker, passages);
            let seen = std::mem::take(&mut *run.seen.borrow_mut());
            if let Some(took) = took {
                took.ms.push(ms);
                took.updates += seen.updates.len();
                took.state_bytes += seen.state_bytes;
            }
            seen.apply(&mut have);
            run.seen.borrow_mut().specs = seen.specs;
        };
        for at in 0..LOADED {
            epoch(made.closed(at), None);
        }
        let (mut next, mut random) = (Took::default(), Took::default());
        for at in 0..MEASURED {
            epoch(made.closed(LOADED + at), Some(&mut next));
        }
        for at in 0..MEASURED {
            epoch(made.at_random(at), Some(&mut random));
        }
        have.retain(|_, entries| *entries != 0);
        assert!(want == have, "station_day has {} days, the passages {}", have.len(), want.len());
        println!("{} rows of station_day, equal to the sums of all passages", have.len());
        told("one interval of each turnstile", &next);
        told("any of 35 days, at random", &random);
        run.queue.borrow_mut().push_back(None);
    });
}

fn told(what: &str, took: &Took) {
    println!(
        "{TURNSTILES} changes in an epoch, {what}: {} ms of processor time, {} changes of views, {} KB of state",
        spread(&took.ms, 2),
        took.updates / took.ms.len(),
        took.state_bytes / took.ms.len() / 1000
    );
}

impl Seen {
    /// Applies what `station_day` has of it.
    fn apply(&self, days: &mut Entries) {
        for ViewUpdate { view, row, diff } in &self.updates {
            if self.specs[view].name != "station_day" {
                continue;
            }
            let text = |at: usize| row.text(at).expect("the key is text").to_string();
            let Value::Wide(entries) = row.0[4] else { panic!("entries are a sum") };
            *days.entry(([text(0), text(1), text(2)], text(3))).or_default() += entries * i128::from(*diff);
        }
    }
}

/// Makes the passages of an epoch.
struct Intervals {
    zone: Zone,
    places: Vec<Place>,
}

impl Intervals {
    fn new() -> Intervals {
        let place = |number: usize| {
            let (booth, scp) = (number % BOOTHS, number / BOOTHS);
            let station = booth * STATIONS / BOOTHS;
            let [area, unit, scp] =
                [format!("A{booth:03}"), format!("R{booth:03}"), format!("00-00-{scp:02}")];
            Place::new([&area, &unit, &scp, &format!("{station} ST-MAIN"), "ACE", "IND"])
        };
        let zone = Zone::find("America/New_York").expect("it is a zone");
        Intervals { zone, places: (0..TURNSTILES).map(place).collect() }
    }

    fn passage(&self, turnstile: usize, interval: usize, people: usize) -> Passage {
        let start = EventTime(START_MS + interval as i64 * INTERVAL_MS);
        let count = |people: usize| Count::Counted(people as i128);
        let interval = Interval::new(&self.zone, start, start.plus_ms(INTERVAL_MS));
        interval.passage(self.places[turnstile].clone(), count(people % 97), count(people % 89))
    }

    /// The interval of this number, of all turnstiles.
    fn closed(&self, interval: usize) -> Vec<Passage> {
        (0..TURNSTILES).map(|turnstile| self.passage(turnstile, interval, turnstile + 7 * interval)).collect()
    }

    /// As many, of any turnstile and interval.
    fn at_random(&self, epoch: usize) -> Vec<Passage> {
        let draw = |at: usize| {
            let hash = ((epoch * TURNSTILES + at) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            (hash as usize % TURNSTILES, hash as usize / TURNSTILES % LOADED)
        };
        (0..TURNSTILES)
            .map(|at| {
                let (turnstile, interval) = draw(at);
                self.passage(turnstile, interval, at)
            })
            .collect()
    }
}

/// The dataflow, epoch by epoch.
struct Run {
    queue: Queue,
    seen: Rc<RefCell<Seen>>,
    resolved: timely::dataflow::ProbeHandle<Epoch>,
    epoch: Epoch,
}

impl Run {
    fn new(worker: &mut Worker) -> Run {
        let (queue, seen, current) = (Queue::default(), Rc::default(), Current::default());
        let ports = Bench { queue: Rc::clone(&queue), seen: Rc::clone(&seen), current: Rc::clone(&current) };
        let input =
            InputSpec { name: INPUT, topic: INPUT, lateness_ms: 0, closing: Closing::Never, header: None };
        let resolved = worker.dataflow::<Epoch, _, _>(move |scope| {
            let mut build = Build::new(scope, Box::new(ports), "one-epoch", vec![input]);
            let decoder = Numbers(Rc::clone(&current));
            let passages = build
                .input(INPUT, decoder)
                .map(move |stamped| current.borrow()[stamped.data as usize].clone());
            build_of_both(&mut build, &Table::of_records(passages), StationBy::Lines);
            build.finish().probe().0
        });
        Run { queue, seen, resolved, epoch: Epoch(1) }
    }

    /// Runs one epoch; the milliseconds of processor time it took.
    fn epoch(&mut self, worker: &mut Worker, passages: Vec<Passage>) -> f64 {
        let passages = Rc::new(passages);
        let began = processor_time();
        self.queue.borrow_mut().push_back(Some(passages));
        while self.resolved.less_equal(&self.epoch) {
            worker.step();
        }
        let took = (processor_time() - began).as_secs_f64() * 1e3;
        self.epoch = self.epoch.next();
        took
    }
}

/// The processor time of this thread, which does all the work: what others do on the machine is not in it.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it is not before the thread began")
}

/// Decodes the number of a passage in its epoch.
struct Numbers(Current);

impl Decoder for Numbers {
    type Out = u32;
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _: &Context,
        _: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<u32>, Reason> {
        let Payload::Bytes(bytes) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let number = u32::from_le_bytes(bytes.try_into().expect("a number has four bytes"));
        Ok(Decoded::Record(self.0.borrow()[number as usize].end, number))
    }
}

/// The only worker's ports: an input in memory, and nothing to restore.
struct Bench {
    queue: Queue,
    seen: Rc<RefCell<Seen>>,
    current: Current,
}

impl Ports for Bench {
    fn first_epoch(&self) -> Epoch {
        Epoch(1)
    }

    fn watermarks(&self) -> Vec<InputsWatermark> {
        Vec::new()
    }

    fn start(&mut self, _: InputIx) -> InputStart {
        let (own, floor) = (EventTime::MIN, EventTime::MIN);
        InputStart {
            topic: INPUT.to_string(),
            watermark: EventTime::MIN,
            partitions: vec![Standing { partition: Partition(0), own, floor }],
            max_ahead_ms: 0,
            not_after: NotAfter::Never,
            rules: std::sync::Arc::default(),
            idle_flush_ms: None,
        }
    }

    fn feed(&mut self, _: InputIx, _: &InputSpec, _: InputPace, _: SyncActivator) -> Box<dyn Feed> {
        let (queue, current) = (Rc::clone(&self.queue), Rc::clone(&self.current));
        Box::new(Fed { queue, current, epoch: Epoch(1), next: Offset(0), is_open: false })
    }

    fn rows(&mut self, _: &OutputSpec, _: SyncActivator) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        Box::new(AtOnce::new(|_, _: Box<dyn Rows>| {}))
    }

    fn state(&mut self, _: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        let seen = Rc::clone(&self.seen);
        Box::new(AtOnce::new(move |_, changes: Vec<StateChange>| {
            seen.borrow_mut().state_bytes += changes.iter().map(|change| change.bytes.len()).sum::<usize>();
        }))
    }

    fn views(
        &mut self,
        tables: &BTreeMap<u16, ViewSpec>,
        _: SyncActivator,
    ) -> Box<dyn Stage<Vec<ViewUpdate>, StagedFile>> {
        self.seen.borrow_mut().specs.clone_from(tables);
        let seen = Rc::clone(&self.seen);
        Box::new(AtOnce::new(move |_, mut updates: Vec<ViewUpdate>| {
            seen.borrow_mut().updates.append(&mut updates);
        }))
    }

    fn saved(&mut self, _: &str) -> Option<Vec<Saved>> {
        None
    }

    fn restored(&mut self, _: &str, _: u64) {}

    fn refuse(&mut self, error: StateError) {
        panic!("{error}");
    }
}

/// Feeds the passages that wait in the queue: those of one epoch in each turn.
struct Fed {
    queue: Queue,
    current: Current,
    epoch: Epoch,
    next: Offset,
    is_open: bool,
}

impl Feed for Fed {
    fn turn(&mut self, intake: &mut dyn Intake) -> Turn {
        if !std::mem::replace(&mut self.is_open, true) {
            intake.open(Start::first(Partition(0), self.next));
        }
        let next = self.queue.borrow_mut().pop_front();
        let passages = match next {
            None => return Turn::Wait(Duration::ZERO),
            Some(None) => return Turn::Finish(Cut::default()),
            Some(Some(passages)) => passages,
        };
        *self.current.borrow_mut() = Rc::clone(&passages);
        for number in (0..).take(passages.len()) {
            let bytes = u32::to_le_bytes(number);
            intake.message(&Raw::of(Partition(0), self.next, Payload::Bytes(&bytes)));
            self.next += 1;
        }
        let position = Position {
            partition: Partition(0),
            next: self.next,
            last_read: None,
            idle_ms: None,
            joining: false,
            ended: false,
            backlog: true,
            content: None,
        };
        self.epoch = self.epoch.next();
        Turn::Cut(Cut { wall_ms: 0, began_ms: 0, partitions: vec![position] }, self.epoch)
    }
}
