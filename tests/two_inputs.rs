//! A job of two inputs, one of which is quiet for long: it must not hold the other one back, and nothing of one input
//! may stand in the way of the other.

use flate2::read::MultiGzDecoder;
use headway::connect::{Connector, Event, Heard, PartitionInfo, Polled, Source, Wake, error};
use headway::engine::clock::{Clock, System};
use headway::engine::run::feed::Until;
use headway::engine::{Control, Error, Launch, audit, launch};
use headway::store::Store;
use headway::store::memory::Memory;
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::pipeline::Pipeline;
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::spec::{Format, InputSpec, OutputSpec};
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::window::Closing;
use headway_operators::time::EventTime;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The inputs, each written to an output of its name.
const INPUTS: [&str; 2] = ["busy", "quiet"];

/// What is read as it is: numbers to rows, one by one, without a keyed operator.
struct Pair;

impl Pipeline for Pair {
    fn name(&self) -> &'static str {
        "pair"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        // Nothing is late.
        let closing = Closing::Horizon { ms: 0 };
        let spec = |name| InputSpec { name, topic: name, lateness_ms: i64::MAX, closing, header: None };
        INPUTS.map(spec).to_vec()
    }

    fn build(&self, build: &mut Build<'_>) {
        for name in INPUTS {
            let numbers = build.input(name, Numbers);
            build.output(output(name), numbers.map(|record| Number(record.data)));
        }
    }
}

fn output(name: &str) -> OutputSpec {
    OutputSpec {
        name: name.to_string(),
        prefix: name.to_string(),
        stem: "batch".into(),
        format: Format::CsvGz,
        columns: vec![Column::new("NUMBER", Kind::Int)],
        folders: None,
    }
}

/// A message is a number: its event time in milliseconds.
struct Numbers;

impl Decoder for Numbers {
    type Out = i64;
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<i64>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        number.map(|number| Decoded::Record(EventTime(number), number)).ok_or(Reason::BAD_NUMBER)
    }
}

#[derive(Clone)]
struct Number(i64);

impl Row for Number {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Int(self.0));
    }

    fn time(&self) -> EventTime {
        EventTime(self.0)
    }
}

/// Two partitions that grow while they are read.
#[derive(Clone, Default)]
struct Growing(Arc<Mutex<[Vec<String>; 2]>>);

impl Growing {
    fn push(&self, partition: usize, value: &str) {
        self.0.lock().expect("no thread panicked")[partition].push(value.to_string());
    }
}

impl Connector for Growing {
    fn kind(&self) -> &'static str {
        "growing"
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, error::Error> {
        let info = |partition: Partition| PartitionInfo {
            partition,
            identity: format!("growing:{partition}"),
            first: Offset(0),
            end: None,
        };
        Ok((0..2).map(Partition).map(info).collect())
    }

    fn open(&self, assigned: &[(Partition, Offset)], _wake: Wake) -> Result<Box<dyn Source>, error::Error> {
        Ok(Box::new(Reader { lists: self.clone(), assigned: assigned.to_vec() }))
    }
}

struct Reader {
    lists: Growing,
    assigned: Vec<(Partition, Offset)>,
}

impl Source for Reader {
    fn poll(&mut self, _bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, error::Error> {
        let lists = self.lists.0.lock().expect("no thread panicked");
        for (partition, next) in &mut self.assigned {
            for value in &lists[partition.index()][usize::try_from(next.0).expect("offsets are positions")..]
            {
                let payload = Payload::Bytes(value.as_bytes());
                let raw = Raw::of(*partition, *next, payload);
                each(Event::Message(raw, value.len()));
                *next += 1;
            }
            each(Event::CaughtUp(*partition, *next));
        }
        Ok(Polled::Nothing)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), error::Error> {
        self.assigned.push((partition, next));
        Ok(())
    }

    fn pause(&mut self, _partition: Partition, _paused: bool) {}

    fn heard(&self, _partition: Partition) -> Option<Heard> {
        Some(Heard::ALWAYS)
    }
}

/// Runs the job. Each commit writes the next number to the busy topic; after so many the job is killed, or drained if
/// `drains`. That nothing is committed for long is a failure.
fn run(topics: &[Growing; 2], store: &Memory, workers: usize, numbers: std::ops::Range<i64>, drains: bool) {
    let control = Control::new();
    let (commits, committed) = crossbeam_channel::unbounded();
    let connectors = topics.clone().map(|topic| Arc::new(topic) as Arc<dyn Connector>);
    let job = Launch {
        workers,
        until: Until::Forever,
        epoch: Duration::from_millis(1),
        on_commit: Box::new(move |_, _| {
            let _ = commits.send(());
        }),
        ..Launch::new(Arc::new(Pair), connectors, Arc::new(store.clone()))
    };
    let shared = control.clone();
    let thread = std::thread::spawn(move || launch(job, &shared));
    let last = numbers.end - 1;
    for number in numbers {
        let partition = usize::try_from(number % 2).expect("it is small");
        topics[0].push(partition, &number.to_string());
        if number == last && !drains {
            // The last one may be committed or not, as in any crash.
            break;
        }
        if committed.recv_timeout(Duration::from_secs(30)).is_err() {
            control.fail(Error::Start { workers, reason: "stuck".into() });
            panic!("number {number} was not committed; the job said {:?}", thread.join());
        }
    }
    match drains {
        true => control.drain(),
        false => control.fail(Error::Start { workers, reason: "killed".into() }),
    }
    let ended = thread.join().expect("no panic");
    assert_eq!(ended.is_ok(), drains, "{:?}", ended.err());
}

/// The rows of each output and side output, sorted.
fn rows(files: &Memory) -> BTreeMap<String, Vec<i64>> {
    let mut rows: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (name, bytes) in files.files().into_iter().filter(|(name, _)| !name.starts_with('_')) {
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("it is gzipped text");
        let (folder, _) = name.split_once('/').expect("it lies in a folder");
        let numbers = text.lines().skip(1).map(|line| line.parse::<i64>().expect("a number"));
        rows.entry(folder.to_string()).or_default().extend(numbers);
    }
    rows.values_mut().for_each(|numbers| numbers.sort_unstable());
    rows
}

#[test]
fn quiet_input_holds_no_busy_one_back_on_any_number_of_workers_and_across_kills() {
    for workers in 1..=3 {
        let (topics, store) = ([Growing::default(), Growing::default()], Memory::new());
        // Both have a dead letter, which leave in the same epoch: when the job drains.
        topics[0].push(0, "dead");
        topics[1].push(0, "dead");
        topics[1].push(1, "7");
        run(&topics, &store, workers, 0..10, false);
        run(&topics, &store, workers % 3 + 1, 10..25, false);
        run(&topics, &store, (workers + 1) % 3 + 1, 25..40, true);
        let expected = [("busy", (0..40).collect()), ("quiet", vec![7])];
        assert_eq!(rows(&store), expected.map(|(name, rows)| (name.to_string(), rows)).into());
        for name in INPUTS {
            let dead = format!("_dead/pair/dead-{name}_");
            let files = store.files().into_keys().filter(|name| name.starts_with(&dead)).count();
            assert_eq!(files, 1, "{dead}…");
        }
        let (files, clock) =
            (Arc::new(store) as Arc<dyn Store>, Arc::new(System::default()) as Arc<dyn Clock>);
        let report = audit::run(&files, &clock, "pair", true).expect("the lake can be read");
        assert_eq!(report.finding, None);
    }
}
