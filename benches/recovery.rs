//! How long does a restart take, and what do commits cost? The turnstile job on a lake on disk, in process.
//!
//! ```text
//! cargo bench --bench recovery [-- restart|history|commits] [MESSAGES]
//! ```
//!
//! - `restart`: from the start of a run to its first commit, with a small state and with MESSAGES live identities.
//! - `history`: the same, of a job that has seen MESSAGES identities that have expired, against one that has seen 10,000,
//!   with equal live state. Both have more commits behind them than stay in files of their own.
//! - `commits`: CPU time of a job that commits every second against one that commits once, at its end; 9 interleaved
//!   pairs. CPU time is that of the process, user and system, all threads.
//!
//! Lakes are made in the folder TMPDIR. Each measurement also prints a line of JSON.

#![allow(clippy::print_stdout, reason = "a measurement is told on stdout")]

mod figures;

use figures::{cpu_seconds, median, most, spread};
use headway::connect::Connector;
use headway::connect::generator::Generator;
use headway::engine::run::feed::Until;
use headway::engine::run::watched::OnCommit;
use headway::engine::{Control, Launch, Summary, launch};
use headway::store::local::Local;
use headway_operators::duration;
use headway_operators::generate;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PAIRS: usize = 9;
const RESTARTS: usize = 5;

/// Messages that a restart finds waiting: more than an epoch of any length here takes.
const WAITING: u64 = 2_000_000;

/// A job: its windows and its messages.
#[derive(Clone, Copy)]
struct Shape {
    window: Duration,
    /// Messages a second of event time.
    rate: f64,
    keys: u32,
    /// No repeats and nothing to refuse: what is refused waits in open rolls, which is live state that grows with the
    /// number of messages.
    clean: bool,
}

/// When its epochs end.
#[derive(Clone, Copy)]
struct Epochs {
    length: Duration,
    bytes: usize,
}

/// As `headway run` has them.
const USUAL: Epochs = Epochs { length: Duration::from_secs(1), bytes: 16 << 20 };

fn main() {
    // Cargo gives benchmarks an argument of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |or| arguments.iter().find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(or);
    let named = |name: &str| {
        arguments.iter().all(|a| a.parse::<u64>().is_ok()) || arguments.iter().any(|a| a == name)
    };
    if named("restart") {
        restart(number(5_000_000));
    }
    if named("history") {
        history(number(10_000_000));
    }
    if named("commits") {
        commits(number(30_000_000));
    }
}

fn restart(live: u64) {
    // No window closes: every identity stays. The messages span half an hour.
    let large =
        Shape { window: Duration::from_secs(3600), rate: live as f64 / 1800.0, keys: 4_600, clean: false };
    let small = Shape { window: Duration::from_secs(60), rate: 20.0, keys: 100, clean: false };
    for (name, shape, messages) in [("small", small, 20_000), ("large", large, live)] {
        let lake = folder();
        let held = prepare(lake.path(), shape, messages, USUAL);
        let took = restarts(lake.path(), shape, messages, USUAL);
        println!("restart to first commit, {held} entries held: {} s", spread(&took, 3));
        println!(
            "{{\"name\": \"restart-{name}\", \"held\": {held}, \"n\": {}, \"median_s\": {:.3}, \"most_s\": {:.3}}}",
            took.len(),
            median(&took),
            most(&took)
        );
    }
}

fn history(seen: u64) {
    let shape = Shape { window: Duration::from_secs(60), rate: 20.0, keys: 10, clean: true };
    let mut medians = Vec::new();
    for messages in [10_000, seen] {
        // About a thousand commits each.
        let bytes = usize::try_from(messages * 150 / 1_000).expect("it is small");
        let lake = folder();
        let epochs = Epochs { length: Duration::from_secs(1), bytes };
        let held = prepare(lake.path(), shape, messages, epochs);
        let took = restarts(
            lake.path(),
            shape,
            messages,
            Epochs { length: Duration::from_millis(50), bytes: 16 << 20 },
        );
        println!("restart to first commit, {messages} seen, {held} entries held: {} s", spread(&took, 3));
        medians.push(median(&took));
    }
    let ratio = medians[1] / medians[0];
    println!("{seen} seen / 10000 seen: {ratio:.2}");
    println!(
        "{{\"name\": \"restart-history\", \"seen\": {seen}, \"n\": {RESTARTS}, \"few_s\": {:.3}, \"many_s\": {:.3}, \"ratio\": {ratio:.2}}}",
        medians[0], medians[1]
    );
}

fn commits(messages: u64) {
    let shape = Shape { window: Duration::from_secs(300), rate: 1_000.0, keys: 4_600, clean: false };
    let each_second = Epochs { length: Duration::from_secs(1), bytes: usize::MAX };
    let never = Epochs { length: Duration::from_secs(3600), bytes: usize::MAX };
    let (mut ratios, mut epochs_least) = (Vec::new(), u64::MAX);
    for pair in 0..PAIRS {
        let timed = |epochs: Epochs| {
            let lake = folder();
            let before = cpu_seconds();
            let summary = run(lake.path(), shape, messages, epochs, (&Control::new(), Box::new(|_, _| {})));
            (cpu_seconds() - before, summary.outcome.commits, summary.outcome.rows)
        };
        // In rotating order, so that whatever else the machine does meets both.
        let (with, without) = if pair % 2 == 0 {
            let with = timed(each_second);
            (with, timed(never))
        } else {
            let without = timed(never);
            (timed(each_second), without)
        };
        assert_eq!(with.2, without.2, "both have the same rows");
        assert!(
            with.1 >= 2 * without.1,
            "{} commits are not many against {}: give it more messages",
            with.1,
            without.1
        );
        epochs_least = epochs_least.min(with.1);
        println!(
            "pair {pair}: {:.2} s with {} commits, {:.2} s with {}",
            with.0, with.1, without.0, without.1
        );
        ratios.push(with.0 / without.0);
    }
    println!("CPU, a commit a second / one commit: {}", spread(&ratios, 3));
    println!(
        "{{\"name\": \"commit-cost\", \"n\": {PAIRS}, \"messages\": {messages}, \"commits_least\": {epochs_least}, \"ratio\": {:.3}, \"ratio_most\": {:.3}}}",
        median(&ratios),
        most(&ratios)
    );
}

/// Runs the job over its first `messages`, and leaves its windows open; gives how many entries it holds then.
fn prepare(lake: &Path, shape: Shape, messages: u64, epochs: Epochs) -> u64 {
    let summary = run(lake, shape, messages, epochs, (&Control::new(), Box::new(|_, _| {})));
    summary.head.operators.values().filter_map(|operator| operator.held).sum()
}

/// Seconds from each of several starts to the first commit. What a run has committed, the next goes on from.
fn restarts(lake: &Path, shape: Shape, before: u64, epochs: Epochs) -> Vec<f64> {
    let one = |_| {
        let control = Control::new();
        let first = Arc::new(Mutex::new(None));
        let (noted, stop) = (Arc::clone(&first), control.clone());
        let started = Instant::now();
        let on_commit: OnCommit = Box::new(move |_, _| {
            let mut noted = noted.lock().expect("nobody panics with it");
            noted.get_or_insert(started.elapsed());
            stop.drain();
        });
        run(lake, shape, before + WAITING, epochs, (&control, on_commit));
        let first = first.lock().expect("nobody panics with it").expect("there was a commit");
        first.as_secs_f64()
    };
    (0..RESTARTS).map(one).collect()
}

/// One run until `messages` are read and committed, or it is drained.
fn run(
    lake: &Path,
    shape: Shape,
    messages: u64,
    epochs: Epochs,
    (control, on_commit): (&Control, OnCommit),
) -> Summary {
    let entry = headway_pipelines::find("turnstile").expect("the catalogue has the turnstile pipeline");
    let window_ms = i64::try_from(shape.window.as_millis()).expect("it is short");
    let window = duration::show(window_ms);
    let made = entry.configure([("window", window.as_str())]).expect("the settings are right");
    let input = made.pipeline.inputs()[0].name;
    let usual = (entry.generate)(input).expect("it makes messages for its input");
    let (dup, bad) = if shape.clean { (0.0, 0.0) } else { (usual.dup, usual.bad) };
    let (rate, keys) = (shape.rate, shape.keys);
    let options = generate::Options { messages: Some(messages), rate, keys, late: 0.0, dup, bad, ..usual };
    let generator = made.pipeline.generator(input, &options).expect("it makes messages for its input");
    let connector = Generator::new(generator.into());
    let store = Arc::new(Local::new(lake).expect("a lake can be made here"));
    let job = Launch {
        workers: 2,
        epoch: epochs.length,
        epoch_bytes: epochs.bytes,
        until: Until::CaughtUp,
        on_commit,
        ..Launch::new(made, [Arc::new(connector) as Arc<dyn Connector>], store)
    };
    launch(job, control).expect("the job runs")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}
