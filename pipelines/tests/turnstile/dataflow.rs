//! The whole dataflow, from messages in memory to rows in memory, against the oracle's rows.

use crate::oracle;
use headway_operators::ack::{InputIx, StagedFile, StateFile};
use headway_operators::build::Build;
use headway_operators::error::StateError;
use headway_operators::pipeline::{Entry, Settings};
use headway_operators::port::{Cut, Feed, Intake, Ports, Position, Stage, Start, Turn};
use headway_operators::port::{InputStart, NotAfter};
use headway_operators::progress::SharedProgress;
use headway_operators::record::{Partition, Payload, Raw};
use headway_operators::row::{Cell, Rows};
use headway_operators::spec::{InputSpec, OutputSpec};
use headway_operators::state::{Saved, StateChange};
use headway_operators::time::{Epoch, EventTime};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use timely::scheduling::SyncActivator;

/// How many messages of each partition make an epoch.
const EPOCH: usize = 100;

/// The messages of each partition, in the order of their offsets.
type Capture = Arc<Vec<Vec<Vec<u8>>>>;

/// Rows that left, by output, in the order of their epochs on each worker.
type Kept = Arc<Mutex<Vec<(Epoch, String, Vec<String>)>>>;

#[test]
fn rows_are_the_oracles_on_any_number_of_workers() {
    let folder = tempfile::tempdir().expect("a folder for the capture");
    let capture = [
        "--plain",
        "--ahead=0",
        "--messages=30000",
        "--rate=2",
        "--partitions=3",
        "--turnstiles=60",
        "--dup=0.05",
    ];
    let jobs: [(&str, &[&str], Settings); 3] = [
        ("2024-01-30 22:00:00", &["--zone=UTC"], Settings::default()),
        (
            "2024-03-10 00:30:00",
            &["--zone=America/New_York", "--size=300", "--slide=60", "--lateness=30"],
            Settings { slide_ms: Some(60_000), lateness_ms: Some(30_000), ..zoned("America/New_York") },
        ),
        (
            "2024-11-03 00:30:00",
            &["--zone=America/New_York", "--size=60", "--lateness=600"],
            Settings { window_ms: Some(60_000), lateness_ms: Some(600_000), ..zoned("America/New_York") },
        ),
    ];
    for (job, (start, flags, settings)) in jobs.into_iter().enumerate() {
        let out = folder.path().join(job.to_string());
        let out_flag = format!("--out={}", out.display());
        let start = format!("--start={start}");
        oracle::run("turnstile_capture.py", &[&capture[..], &[&out_flag, &start, flags[0]]].concat());
        let files: Vec<String> = (0..3).map(|p| format!("{}/part-{p:05}.csv", out.display())).collect();
        let mut args = vec!["expect", "--capture"];
        args.extend(files.iter().map(String::as_str));
        args.extend(flags);
        let expected = oracle::run("turnstile_oracle.py", &args);
        let mut expected: Vec<&str> = expected.lines().skip(1).collect();
        expected.sort_unstable();
        assert!(expected.len() > 1000, "{} rows", expected.len());

        let messages: Capture = Arc::new(files.iter().map(|file| lines(Path::new(file))).collect());
        for workers in 1..=3 {
            let kept = run(&settings, &messages, workers);
            let rows = kept.iter().filter(|(_, output, _)| output == "turnstile");
            let mut got: Vec<String> = rows.clone().map(|(_, _, cells)| cells.join(",")).collect();
            got.sort_unstable();
            assert!(got == expected, "job {job} on {workers} workers: {}", difference(&got, &expected));
            // Windows close as the watermark passes them, not all at the end.
            let last = kept.iter().map(|(epoch, ..)| *epoch).max().expect("rows");
            let early = rows.filter(|(epoch, ..)| *epoch < last).count();
            assert!(early * 10 > got.len() * 8, "{early} of {} rows before the end", got.len());
        }
    }
}

fn zoned(zone: &str) -> Settings {
    Settings { zone: Some(zone.to_string()), ..Settings::default() }
}

fn lines(file: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).expect("the capture was written");
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines.pop().as_deref(), Some(&b""[..]), "a capture ends with a newline");
    lines
}

/// The first rows in which two sorted lists differ.
fn difference(got: &[String], expected: &[&str]) -> String {
    let lost = expected.iter().find(|row| got.binary_search_by(|other| other.as_str().cmp(row)).is_err());
    let extra = got.iter().find(|row| expected.binary_search(&row.as_str()).is_err());
    format!("{} rows of {}, missing {lost:?}, unexpected {extra:?}", got.len(), expected.len())
}

/// Runs the pipeline to the end of the messages and gives what left it.
fn run(settings: &Settings, messages: &Capture, workers: usize) -> Vec<(Epoch, String, Vec<String>)> {
    let Entry { make, .. } = headway_pipelines::find("turnstile").expect("in the catalogue");
    let pipeline = Arc::new(make(settings).expect("a job"));
    let kept: Kept = Arc::default();
    let (messages, out) = (Arc::clone(messages), Arc::clone(&kept));
    let body = move |worker: &mut timely::worker::Worker| {
        let mine: Vec<Partition> =
            (0..3).filter(|p| *p as usize % worker.peers() == worker.index()).collect();
        let ports = Memory { messages: Arc::clone(&messages), mine, kept: Arc::clone(&out) };
        worker.dataflow::<Epoch, _, _>(|scope| {
            let mut build = Build::new(scope, Box::new(ports), pipeline.name(), pipeline.inputs());
            pipeline.build(&mut build);
            drop(build.finish());
        });
    };
    drop(timely::execute(timely::Config::process(workers), body).expect("workers start").join());
    Arc::try_unwrap(kept).expect("the workers have ended").into_inner().expect("no worker panicked")
}

/// Both ends of the dataflow, in memory.
struct Memory {
    messages: Capture,
    mine: Vec<Partition>,
    kept: Kept,
}

impl Ports for Memory {
    fn start(&mut self, _: InputIx) -> InputStart {
        InputStart {
            topic: "mta-turnstile".to_string(),
            watermark: EventTime::MIN,
            partitions: (0..3).map(|partition| (partition, EventTime::MIN, EventTime::MIN)).collect(),
            max_ahead_ms: 3_600_000,
            not_after: NotAfter::Never,
            idle_flush_ms: None,
        }
    }

    fn feed(&mut self, _: InputIx, _: &InputSpec, _: SharedProgress, _: SyncActivator) -> Box<dyn Feed> {
        Box::new(Player { messages: Arc::clone(&self.messages), mine: self.mine.clone(), epoch: 0 })
    }

    fn rows(&mut self, output: &OutputSpec, _: SyncActivator) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        let (kept, name) = (Arc::clone(&self.kept), output.name.clone());
        Box::new(AtOnce(VecDeque::new(), move |epoch, rows: Box<dyn Rows>| {
            for row in 0..rows.len() {
                let mut cells = Vec::new();
                rows.cells(row, &mut |cell| {
                    cells.push(match cell {
                        Cell::Text(text) => text.to_string(),
                        Cell::Wide(number) => number.to_string(),
                        other => format!("{other:?}"),
                    });
                });
                kept.lock().expect("no worker panicked").push((epoch, name.clone(), cells));
            }
        }))
    }

    fn state(&mut self, _: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        Box::new(AtOnce(VecDeque::new(), |_, _| {}))
    }

    fn saved(&mut self, _: &str) -> Vec<Saved> {
        Vec::new()
    }

    fn refuse(&mut self, error: StateError) {
        panic!("{error}");
    }
}

/// A stage that is done as soon as it is asked.
struct AtOnce<F>(VecDeque<Epoch>, F);

impl<Work, Done, F: FnMut(Epoch, Work)> Stage<Work, Done> for AtOnce<F> {
    fn put(&mut self, epoch: Epoch, _since: Epoch, work: Work) {
        (self.1)(epoch, work);
        self.0.push_back(epoch);
    }

    fn done(&mut self) -> Option<(Epoch, Vec<Done>)> {
        self.0.pop_front().map(|epoch| (epoch, Vec::new()))
    }
}

/// Plays the partitions of one worker, so many messages an epoch, and ends when the longest of all has ended.
struct Player {
    messages: Capture,
    mine: Vec<Partition>,
    epoch: usize,
}

impl Feed for Player {
    fn first_epoch(&self) -> Epoch {
        0
    }

    fn turn(&mut self, intake: &mut dyn Intake) -> Turn {
        let (from, until) = (self.epoch * EPOCH, (self.epoch + 1) * EPOCH);
        let is_over = self.messages.iter().all(|messages| messages.len() <= until);
        let mut cut = Cut::default();
        for partition in self.mine.iter().copied() {
            if self.epoch == 0 {
                intake.open(Start::first(partition, 0));
            }
            let messages = &self.messages[partition as usize];
            let (from, until) = (from.min(messages.len()), until.min(messages.len()));
            for (offset, value) in (from as i64..).zip(&messages[from..until]) {
                let payload = Payload::Bytes(value);
                intake.message(&Raw::of(partition, offset, payload));
            }
            let ended = until == messages.len();
            let next = until as i64;
            cut.partitions.push(Position {
                last_read: None,
                partition,
                next,
                idle_ms: None,
                joining: false,
                ended,
                backlog: true,
            });
        }
        self.epoch += 1;
        if is_over { Turn::Finish(cut) } else { Turn::Cut(cut, self.epoch as Epoch) }
    }
}
