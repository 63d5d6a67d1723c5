//! The whole job on a store that fails: every twentieth call goes wrong, in each of the ways a call can, and whatever was
//! not made durable is gone when the job starts again. Its lake must be the one of a job that nothing happened to.
//!
//! `HEADWAY_EPOCHS` says how many epochs (about), `HEADWAY_SEED` where chance begins. With `--nocapture` the test prints a
//! line of JSON. The figure of the README:
//!
//! ```text
//! HEADWAY_EPOCHS=2000 cargo test --test promises store_faults -- --nocapture
//! ```

use headway::connect::Connector;
use headway::connect::memory::{Lists, Message};
use headway::engine::clock::{Clock, System};
use headway::engine::{Control, Error, Launch, Summary, audit, launch};
use headway::store::Store;
use headway::store::faulty::Faulty;
use headway::store::memory::{Call, Memory};
use headway_operators::generate;
use headway_operators::pipeline::Pipeline;
use headway_operators::record::{Offset, Partition};
use headway_operators::time::Epoch;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// Of a thousand calls, so many fail.
const PER_MILLE: u64 = 50;

/// A run commits an epoch or two before it meets a fault that it cannot repeat away.
const RUNS_MAX: u64 = 100_000;

fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

fn pipeline() -> Arc<dyn Pipeline> {
    let entry = headway_pipelines::find("turnstile").expect("it is in the catalogue");
    entry.configure([]).expect("the defaults are right").pipeline
}

/// Seeded messages of three partitions.
fn messages(count: u64) -> Lists {
    let entry = headway_pipelines::find("turnstile").expect("it is in the catalogue");
    let pipeline = pipeline();
    let input = pipeline.inputs()[0].name;
    let usual = (entry.generate)(input).expect("it makes messages for its input");
    let options = generate::Options { messages: Some(count), partitions: 3, ..usual };
    let generator = pipeline.generator(input, &options).expect("it makes messages for its input");
    let mut message = generate::Message::default();
    let mut list = |partition| {
        let mut one = |offset| {
            generator.message(partition, offset, &mut message);
            Message { value: message.value.clone(), timestamp_ms: Some(message.timestamp_ms) }
        };
        (0..generator.end(partition).map_or(0, |end| end.0)).map(Offset).map(&mut one).collect()
    };
    Lists::new((0..generator.partitions()).map(Partition).map(&mut list).collect())
}

/// One run of the job, to its end or its failure.
fn run(lists: &Lists, store: Arc<dyn Store>, workers: usize) -> Result<Summary, Error> {
    let run = Launch {
        workers,
        // Epochs end by their bytes alone.
        epoch: Duration::from_secs(3600),
        epoch_bytes: 1 << 10,
        ..Launch::new(pipeline(), [Arc::new(lists.clone()) as Arc<dyn Connector>], store)
    };
    launch(run, &Control::new())
}

/// The rows of all visible files with the folder they are in, sorted, without headers.
fn rows(files: &Memory) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (name, bytes) in files.files().into_iter().filter(|(name, _)| !name.starts_with("_headway/")) {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("it is gzipped text");
        let folder = name.rsplit_once('/').map(|(folder, _)| folder.to_string()).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with("CA,UNIT"));
        rows.extend(lines.map(|line| (folder.clone(), line.to_string())));
    }
    rows.sort_unstable();
    rows
}

#[test]
fn lake_of_a_job_whose_store_fails_is_the_lake_of_one_whose_store_does_not() {
    let (epochs, seed) = (number("HEADWAY_EPOCHS", 100), number("HEADWAY_SEED", 1));
    let lists = messages(epochs * 16 + 200);
    let sound = Memory::new();
    run(&lists, Arc::new(sound.clone()), 2).expect("nothing fails");
    let files = Memory::new();
    let faulty = Faulty::new(Arc::new(files.clone()), seed).rate(PER_MILLE);
    let mut runs = 0;
    let summary = loop {
        runs += 1;
        assert!(runs < RUNS_MAX, "the job does not come to its end");
        let workers = 1 + usize::try_from((seed + runs) % 3).expect("it is small");
        match run(&lists, Arc::new(faulty.clone()), workers) {
            Ok(summary) => break summary,
            Err(error) => assert_eq!(error.code(), "store-failed", "run {runs}: {error}"),
        }
        files.power_cut();
    };
    let head = summary.head;
    assert!(head.epoch >= Epoch(epochs), "{} epochs are fewer than {epochs}", head.epoch);
    assert!(runs > epochs / 20, "{runs} runs: faults were to end many");
    assert!(rows(&files) == rows(&sound), "the rows differ after {runs} runs with seed {seed}");
    let (store, clock) =
        (Arc::new(files.clone()) as Arc<dyn Store>, Arc::new(System::default()) as Arc<dyn Clock>);
    let report = audit::run(&store, &clock, "turnstile", true).expect("the lake can be read");
    assert_eq!(report.finding, None);
    let creates = faulty.calls(Call::Create);
    println!(
        "{{\"name\": \"store-faults\", \"seed\": {seed}, \"n\": {}, \"lost\": 0, \"duplicated\": 0, \"runs\": {runs}, \
         \"manifests\": {}, \"double_manifests\": 0, \"creates\": {creates}, \"per_mille\": {PER_MILLE}}}",
        head.epoch,
        head.seq.next()
    );
}
