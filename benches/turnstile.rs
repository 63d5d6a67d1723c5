//! How much of a core does the engine cost? The turnstile job in process, against a loop written by hand.
//!
//! ```text
//! cargo bench --bench turnstile [-- MESSAGES PAIRS]
//! ```
//!
//! Three contestants read the same seeded messages from memory: the hand loop on one thread, the engine on one worker
//! and on two. They take turns, in rotating order, so that whatever else the machine does meets all of them. Before
//! any figure is printed their rows were found equal. CPU time is that of the process, user and system, all threads.

#![allow(clippy::print_stdout, reason = "a measurement is told on stdout")]

mod csv;
mod figures;
mod hand_loop;
mod made;

use figures::{cpu_seconds, median, spread};
use headway::connect::memory::Lists;
use headway::connect::{Begins, Connector, PartitionInfo, Sink, Wake, WorkerSink};
use headway::engine::clock::System;
use headway::engine::commit::discovered::Discovered;
use headway::engine::run::committing::Commit;
use headway::engine::run::feed::{self, Assigned, Until};
use headway::engine::{Board, Control, Error, InputOptions, Memory, Options, STUCK_AFTER, StartPoint};
use headway_operators::ack::{Ack, StagedFile, StateFile};
use headway_operators::pipeline::Pipeline;
use headway_operators::port::{InputStart, NotAfter};
use headway_operators::port::{Stage, Start};
use headway_operators::progress::Standing;
use headway_operators::row::{Cell, Rows};
use headway_operators::spec::OutputSpec;
use headway_operators::state::{Saved, StateChange};
use headway_operators::time::{Epoch, EventTime};
use made::lists;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MESSAGES: u64 = 2_000_000;
const PAIRS: usize = 9;
const MAX_AHEAD_MS: i64 = 3_600_000;

/// Rows as CSV, and how many messages were refused.
type Output = (Vec<u8>, usize);

/// Who takes part, by name.
type Contestant<'a> = (&'static str, Box<dyn Fn() -> Output + 'a>);

/// One timed run.
#[derive(Clone, Copy, Debug)]
struct Took {
    cpu: f64,
    wall: f64,
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let messages = numbers.next().unwrap_or(MESSAGES);
    let pairs = numbers.next().map_or(PAIRS, |pairs| usize::try_from(pairs).unwrap_or(PAIRS));
    let pipeline = pipeline();
    let lists = lists(pipeline.as_ref(), messages);
    let spec = pipeline.inputs().remove(0);
    let (window_ms, lateness_ms) = (spec.closing.reach_ms(), spec.lateness_ms);
    let shared = Lists::new(lists.clone());
    let by_hand = hand_loop::Options { window_ms, lateness_ms, max_ahead_ms: MAX_AHEAD_MS };
    let contestants: [Contestant<'_>; 3] = [
        ("hand loop", Box::new(|| hand_loop::run(by_hand, &lists))),
        ("1 worker", Box::new(|| engine(&pipeline, &shared, 1))),
        ("2 workers", Box::new(|| engine(&pipeline, &shared, 2))),
    ];

    // 1. Equal rows, or there is nothing to compare. This also warms everything up.
    let want = sorted(&contestants[0].1());
    for (name, run) in &contestants[1..] {
        let got = sorted(&run());
        assert!(got == want, "{name} gives other rows: {}", difference(&got, &want));
    }
    println!("{messages} messages, {} rows and {} refused, equal on all sides", want.0.len(), want.1);

    // 2. Interleaved runs.
    let mut took: [Vec<Took>; 3] = Default::default();
    for pair in 0..pairs {
        for turn in 0..contestants.len() {
            let which = (pair + turn) % contestants.len();
            took[which].push(timed(contestants[which].1.as_ref()));
        }
    }

    // 3. The table.
    println!(
        "{:10} {:>24} {:>24} {:>10}",
        "", "CPU s median (spread)", "wall s median (spread)", "ns/message"
    );
    for ((name, _), took) in contestants.iter().zip(&took) {
        let cpu: Vec<f64> = took.iter().map(|t| t.cpu).collect();
        let wall: Vec<f64> = took.iter().map(|t| t.wall).collect();
        let each = median(&cpu) * 1e9 / messages as f64;
        let (cpu, wall) = (spread(&cpu, 2), spread(&wall, 2));
        println!("{name:10} {cpu:>24} {wall:>24} {each:>10.0}");
    }
    let ratio = |of: usize, to: usize, figure: fn(&Took) -> f64| {
        let pairs = took[of].iter().zip(&took[to]);
        spread(&pairs.map(|(of, to)| figure(of) / figure(to)).collect::<Vec<_>>(), 2)
    };
    println!("CPU, 1 worker / hand loop   {}", ratio(1, 0, |took| took.cpu));
    println!("CPU, 2 workers / 1 worker   {}", ratio(2, 1, |took| took.cpu));
    println!("wall, 2 workers / 1 worker  {}", ratio(2, 1, |took| took.wall));
}

fn timed(run: &dyn Fn() -> Output) -> Took {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let output = run();
    let took = Took { cpu: cpu_seconds() - cpu, wall: wall.elapsed().as_secs_f64() };
    drop(output);
    took
}

fn sorted((rows, refused): &Output) -> (Vec<String>, usize) {
    let mut lines: Vec<String> = String::from_utf8_lossy(rows).lines().map(str::to_string).collect();
    lines.sort_unstable();
    (lines, *refused)
}

fn difference(got: &(Vec<String>, usize), want: &(Vec<String>, usize)) -> String {
    let first = got.0.iter().zip(&want.0).find(|(got, want)| got != want);
    format!(
        "{} rows and {} refused, not {} and {}; first {first:?}",
        got.0.len(),
        got.1,
        want.0.len(),
        want.1
    )
}

fn pipeline() -> Arc<dyn Pipeline> {
    let entry = headway_pipelines::find("turnstile").expect("the catalogue has the turnstile pipeline");
    entry.configure([]).expect("the default settings make a job").pipeline
}

/// Runs the job on `workers` workers, with the settings of a real run: epochs of a second, at most 16 MiB.
fn engine(pipeline: &Arc<dyn Pipeline>, lists: &Lists, workers: usize) -> Output {
    let spec = pipeline.inputs().remove(0);
    let partitions = lists.partitions().expect("lists can be read");
    let assign = |info: &PartitionInfo| Assigned {
        start: Start::first(info.partition, info.first),
        end: info.end,
        quiet_since_ms: None,
    };
    let input = InputOptions {
        start: InputStart {
            topic: spec.topic.to_string(),
            watermark: EventTime::MIN,
            partitions: partitions
                .iter()
                .map(|info| Standing {
                    partition: info.partition,
                    own: EventTime::MIN,
                    floor: EventTime::MIN,
                })
                .collect(),
            max_ahead_ms: MAX_AHEAD_MS,
            not_after: NotAfter::Never,
            rules: std::sync::Arc::default(),
            idle_flush_ms: None,
        },
        assigned: partitions.iter().map(assign).collect(),
        connector: Arc::new(lists.clone()),
        feed: feed::Options {
            epoch: Duration::from_secs(1),
            epoch_bytes: 16 << 20,
            idle_after: None,
            idle_flush: None,
            max_skew_ms: spec.max_skew_ms(),
            until: Until::End,
        },
        known: BTreeMap::new(),
        discover_every: None,
        leader_reads: false,
    };
    let text = Text::default();
    let options = Options {
        inputs: vec![input],
        discovered: vec![Discovered::default()],
        sink: Arc::new(text.clone()),
        commit: Some(Box::new(Nothing)),
        start: StartPoint::default(),
        workers,
        crew: None,
        clock: Arc::new(System::default()),
        board: Board::new(Arc::new(System::default())),
        memory: Memory::default(),
        stuck_after: STUCK_AFTER,
        pipeline: Arc::clone(pipeline),
    };
    headway::engine::run_workers(options, &Control::new()).expect("the job ends well");
    let mut output = text.0.lock().expect("no thread panicked");
    std::mem::take(&mut *output)
}

/// Makes epochs true by saying so.
struct Nothing;

impl Commit for Nothing {
    fn commit(&mut self, _epoch: Epoch, _acks: Vec<Ack>) -> Result<(), Error> {
        Ok(())
    }

    fn heartbeat(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Rows as CSV in memory; state is encoded by the operators, and dropped.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Output>>);

impl Sink for Text {
    fn worker(&self, _index: usize, _workers: usize) -> Box<dyn WorkerSink> {
        Box::new(self.clone())
    }
}

impl WorkerSink for Text {
    fn rows(
        &mut self,
        output: &OutputSpec,
        _: Begins,
        _wake: Wake,
    ) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        let (text, is_side) = (self.clone(), output.prefix.starts_with('_'));
        Box::new(AtOnce(VecDeque::new(), move |rows: Box<dyn Rows>| {
            let mut output = text.0.lock().expect("no thread panicked");
            if is_side {
                output.1 += rows.len();
            } else {
                (0..rows.len()).for_each(|row| write_row(rows.as_ref(), row, &mut output.0));
            }
        }))
    }

    fn state(&mut self, _wake: Wake) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        Box::new(AtOnce(VecDeque::new(), drop::<Vec<StateChange>>))
    }

    fn saved(&mut self, _operator: &str) -> Vec<Saved> {
        Vec::new()
    }
}

fn write_row(rows: &dyn Rows, row: usize, out: &mut Vec<u8>) {
    let mut sums = [0; 2];
    let mut n = 0;
    rows.cells(row, &mut |cell| match cell {
        // A comma inside a field would make two rows look alike.
        Cell::Text(text) if text.contains(',') => csv::parts(out, &[text.replace(',', "\u{1f}").as_bytes()]),
        Cell::Text(text) => csv::parts(out, &[text.as_bytes()]),
        Cell::Wide(sum) => {
            sums[n] = sum;
            n += 1;
        }
        other => panic!("a row of the turnstile job has no cell like {other:?}"),
    });
    csv::numbers(out, sums);
}

/// A stage that does its work at once.
struct AtOnce<F>(VecDeque<Epoch>, F);

impl<Work, Done, F: FnMut(Work)> Stage<Work, Done> for AtOnce<F> {
    fn put(&mut self, epoch: Epoch, _since: Epoch, work: Work) {
        (self.1)(work);
        self.0.push_back(epoch);
    }

    fn done(&mut self) -> Option<(Epoch, Vec<Done>)> {
        self.0.pop_front().map(|epoch| (epoch, Vec::new()))
    }
}
