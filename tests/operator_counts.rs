//! What a job says that its operators did, against what it committed: on 1, 2 and 3 workers the counts are exact.

use crate::process::lines;
use headway::connect::Connector;
use headway::connect::memory::{Lists, Message};
use headway::engine::format::board::OperatorUse;
use headway::engine::run::feed::Until;
use headway::engine::{Control, Launch, launch};
use headway::store::memory::Memory;
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::kit::json::{Json, Timestamp};
use headway_operators::kit::{Context, Logic};
use headway_operators::pipeline::Pipeline;
use headway_operators::row;
use headway_operators::spec::InputSpec;
use headway_operators::stream::window::Closing;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How many messages there are of each kind.
const GOOD: u32 = 600;
const REPEATED: u64 = 40;
const LATE: u64 = 3;
const DEAD: u64 = 5;

/// Two partitions of 300 good messages each. In the first one some come twice; the second ends with messages that are late or
/// dead.
fn messages() -> Lists {
    let (one, mut other) = (lines("a", 0, GOOD / 2), lines("b", 5, GOOD / 2));
    let twice = |(at, line): (u64, &str)| format!("{line}\n").repeat(if at < REPEATED { 2 } else { 1 });
    let one: String = (0..).zip(one.lines()).map(twice).collect();
    other += &lines("late", 0, LATE as u32);
    other += &"what?\n".repeat(DEAD as usize);
    let message = |line: &str| Message { value: Some(line.into()), timestamp_ms: None };
    Lists::new([one, other].map(|text| text.lines().map(message).collect()).to_vec())
}

/// What the operators did, and how many rows the job wrote to its output.
fn run(workers: usize) -> (Vec<OperatorUse>, u64) {
    let entry = headway_pipelines::find("turnstile").expect("it is in the catalogue");
    let made = entry.configure([("window", "1m"), ("lateness", "1m")]).expect("the settings make a job");
    let connectors = [Arc::new(messages()) as Arc<dyn Connector>];
    let launched = Launch::new(made, connectors, Arc::new(Memory::new()));
    let board = launched.board.clone();
    let job = Launch { workers, epoch: Duration::from_secs(3600), epoch_bytes: 4 << 10, ..launched };
    let ended = launch(job, &Control::new()).expect("it ends well");
    let fates = ended.head.inputs[0].total();
    let dead: u64 = fates.dead.values().sum();
    assert_eq!(
        (fates.accepted, fates.duplicate),
        (u64::from(GOOD), REPEATED),
        "the messages are what they should be"
    );
    assert_eq!((fates.late, dead), (LATE, DEAD), "the messages are what they should be");
    (board.snapshot().operators, ended.head.written["turnstile"])
}

#[test]
fn operators_count_what_was_committed_on_any_number_of_workers() {
    for workers in 1..=3 {
        let (operators, rows) = run(workers);
        let of = |name: &str| {
            let found = operators.iter().find(|used| used.name == name);
            found.unwrap_or_else(|| panic!("no operator {name} in {operators:?}"))
        };
        let sent = u64::from(GOOD) + REPEATED;
        let expected = [
            ("Ingest-turnstile", None, Some(sent)),
            ("Aggregate", Some(sent), Some(rows)),
            ("Output-turnstile", Some(rows), None),
            ("Roll-dead-turnstile", Some(DEAD), Some(DEAD)),
            ("Output-dead-turnstile", Some(DEAD), None),
            ("Roll-late-turnstile", Some(LATE), Some(LATE)),
            ("Output-late-turnstile", Some(LATE), None),
        ];
        for (name, records_in, records_out) in expected {
            let used = of(name);
            let found = (used.records_in, used.records_out);
            assert_eq!(found, (records_in, records_out), "{name} on {workers} workers");
            assert!(used.runs > 0 && !used.busy.is_zero(), "{name} on {workers} workers: {used:?}");
        }
        for name in ["engine", "steps", "Watermark", "State", "Commit"] {
            assert!(of(name).runs > 0, "{name}: {operators:?}");
        }
    }
}

/// How long a run lasts whose times are looked at.
const LONG: Duration = Duration::from_secs(2);

#[test]
fn times_of_workers_add_up_to_the_time_since_the_start() {
    let entry = headway_pipelines::find("turnstile").expect("it is in the catalogue");
    let made = entry.configure([("window", "1m"), ("lateness", "1m")]).expect("the settings make a job");
    let connectors = [Arc::new(messages()) as Arc<dyn Connector>];
    let launched = Launch::new(made, connectors, Arc::new(Memory::new()));
    let (board, control) = (launched.board.clone(), Control::new());
    let shared = control.clone();
    let job = Launch { workers: 3, until: Until::Forever, ..launched };
    let thread = std::thread::spawn(move || launch(job, &shared));
    while board.running() < LONG && !thread.is_finished() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let seen = board.snapshot();
    control.drain();
    thread.join().expect("no panic").expect("it drains");
    assert_eq!(seen.workers.len(), 3);
    for time in &seen.workers {
        // What a worker has not told yet, since its step has not ended, is known apart.
        let sum = time.busy + time.waiting + time.step_for;
        let ratio = sum.as_secs_f64() / seen.running.as_secs_f64();
        assert!((0.98..=1.02).contains(&ratio), "{ratio}: {time:?} of {:?}", seen.running);
    }
}

row! {
    /// A number that was not left out.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Passed {
        /// The number.
        pub number: u64,
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Numbered {
    number: u64,
    ts: Timestamp,
}

/// Leaves out every third number.
struct Thirds;

impl Logic for Thirds {
    type Key = u64;
    type In = Numbered;
    type State = ();
    type Out = Passed;
    const VERSION: u32 = 1;

    fn key(numbered: &Numbered) -> u64 {
        numbered.number % 5
    }

    fn on_record(&self, numbered: Numbered, _: &mut (), cx: &mut Context<'_, Self>) {
        match numbered.number % 3 {
            0 => cx.drop(Reason::of("a-third")),
            _ => cx.emit(Passed { number: numbered.number }),
        }
    }
}

struct Numbers;

impl Pipeline for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        let closing = Closing::Horizon { ms: 0 };
        vec![InputSpec { name: "numbers", topic: "numbers", lateness_ms: 5_000, closing, header: None }]
    }

    fn build(&self, build: &mut Build<'_>) {
        let numbers = build.records("numbers", Json::new(|numbered: &Numbered| Some(numbered.ts.time())));
        let passed = build.logic("Thirds", Thirds, numbers);
        build.ndjson("passed", passed);
    }
}

/// In = passed + dropped + dead + held, for each operator that takes records: what a source reads, and what an operator with
/// keys takes in. The last records wait for the watermark, which is behind them by the lateness.
#[test]
fn what_an_operator_takes_in_it_passes_on_drops_or_holds() {
    let message = |number: u64| {
        let value = match number % 10 {
            9 => "what?".to_string(),
            8 => format!("{{\"number\": {number}, \"ts\": 1000}}"),
            _ => format!("{{\"number\": {number}, \"ts\": {}}}", 100_000 + number * 1_000),
        };
        Message { value: Some(value.into()), timestamp_ms: None }
    };
    for workers in 1..=3 {
        let lists = Lists::new(vec![(0..200).map(message).collect(), (200..300).map(message).collect()]);
        let connectors = [Arc::new(lists) as Arc<dyn Connector>];
        let launched = Launch::new(Arc::new(Numbers), connectors, Arc::new(Memory::new()));
        let board = launched.board.clone();
        let ended = launch(Launch { workers, until: Until::CaughtUp, ..launched }, &Control::new());
        let (head, seen) = (ended.expect("it ends well").head, board.snapshot());
        let of = |name: &str| {
            let used = seen.operators.iter().find(|used| used.name == name);
            used.unwrap_or_else(|| panic!("no operator {name} in {:?}", seen.operators)).clone()
        };
        let dropped = |name: &str| -> u64 {
            seen.dropped
                .iter()
                .filter(|dropped| dropped.operator == name)
                .map(|dropped| dropped.records)
                .sum()
        };
        let held = |name: &str| head.operators[name].held.expect("it counts");
        let fates = head.inputs[0].total();
        let (dead, ingested) = (fates.dead.values().sum::<u64>(), of("Ingest-numbers").records_out);
        assert_eq!(
            ingested.map(|out| out + dead + fates.late + fates.filtered),
            Some(300),
            "{workers}: {fates:?}"
        );
        assert!(dead > 0 && fates.late > 0, "{workers}: {fates:?}");
        let thirds = of("Thirds");
        let passed = thirds.records_out.expect("it has an output");
        assert!(
            passed > 0 && dropped("Thirds") > 0 && held("Thirds") > 0,
            "{workers}: {thirds:?} {:?}",
            seen.dropped
        );
        assert_eq!(
            thirds.records_in,
            Some(passed + dropped("Thirds") + held("Thirds")),
            "{workers}: {thirds:?}"
        );
        for side in ["Roll-dead-numbers", "Roll-late-numbers"] {
            let used = of(side);
            let passed = used.records_out.unwrap_or_default();
            assert_eq!(used.records_in, Some(passed + dropped(side) + held(side)), "{workers}: {used:?}");
        }
    }
}
