//! What a job says that its operators did, against what it committed: on 1, 2 and 3 workers the counts are exact.

use crate::process::lines;
use headway::connect::Connector;
use headway::connect::memory::{Lists, Message};
use headway::engine::format::board::OperatorUse;
use headway::engine::{Control, Launch, launch};
use headway::store::memory::Memory;
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
