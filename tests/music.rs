//! The music job on the production engine: four topics, killed again and again on another number of workers, against what a
//! reader computes that shares nothing with the job but JSON.
//!
//! `HEADWAY_KILLS` says how often the job is killed in one lake:
//!
//! ```text
//! HEADWAY_KILLS=50 cargo test --test promises four_topics
//! ```

use flate2::read::MultiGzDecoder;
use headway::connect::Connector;
use headway::connect::generator::Generator;
use headway::engine::clock::{Clock, System};
use headway::engine::run::feed::Until;
use headway::engine::{Control, Error, Launch, audit, launch};
use headway::store::Store;
use headway::store::memory::Memory;
use headway_operators::generate::{Generate, Message, Options};
use headway_operators::pipeline::{Configured, Entry};
use headway_operators::record::{Offset, Partition};
use headway_pipelines::music::ENTRY;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The topics, which are inputs and outputs.
const TOPICS: [&str; 4] = ["listen_events", "page_view_events", "auth_events", "status_change_events"];

/// The other outputs, which are made of the topics.
pub(crate) const OUTPUTS: [&str; 5] =
    ["wide_streams", "sessions", "active_users", "top_songs_last_hour", "top_artists_last_hour"];

/// How often the job is killed.
fn kills() -> u64 {
    std::env::var("HEADWAY_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

fn options() -> Options {
    let own = (ENTRY.generate)(TOPICS[0]).expect("it has a generator");
    // Enough that there is something left to do after each kill.
    let messages = Some(6_000.max(400 * kills()));
    Options { messages, keys: 300, partitions: 2, disorder_s: 900.0, bad: 0.01, ..own }
}

fn made(entry: &Entry, views: bool) -> Configured {
    let views = if views { "true" } else { "false" };
    entry
        .configure([("format", "ndjson.gz"), ("lateness", "1h"), ("views", views)])
        .expect("the settings make a job")
}

fn generators(made: &Configured) -> Vec<Arc<dyn Generate>> {
    let generator = |topic| made.pipeline.generator(topic, &options()).expect("it has a generator");
    TOPICS.map(generator).into_iter().map(Arc::from).collect()
}

/// Runs the job; after so many commits it is killed.
fn run(store: &Memory, workers: usize, kill_after: Option<u64>) {
    run_with(made(&ENTRY, true), store, workers, kill_after);
}

/// Runs the job that was `made`; after so many commits it is killed.
fn run_with(made: Configured, store: &Memory, workers: usize, kill_after: Option<u64>) {
    let connectors: [Arc<dyn Connector>; 4] = generators(&made)
        .into_iter()
        .map(|generate| Arc::new(Generator::new(generate)) as Arc<dyn Connector>)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| panic!("four topics"));
    let control = Control::new();
    let (killer, commits) = (control.clone(), AtomicU64::new(0));
    let job = Launch {
        workers,
        until: Until::End,
        epoch: Duration::from_millis(1),
        epoch_bytes: 32 << 10,
        on_commit: Box::new(move |_, _| {
            if Some(commits.fetch_add(1, Ordering::Relaxed) + 1) == kill_after {
                killer.fail(Error::Start { workers, reason: "killed".into() });
            }
        }),
        ..Launch::new(made, connectors, Arc::new(store.clone()))
    };
    let ended = launch(job, &control);
    assert_eq!(ended.is_err(), kill_after.is_some(), "{:?}", ended.err());
}

/// True for a file of rows: not what the engine keeps, and no gold table.
fn is_rows(name: &str) -> bool {
    !name.starts_with("_headway") && !name.starts_with("gold/")
}

/// The rows of each output, as objects without the columns that have no value, sorted.
fn rows(store: &Memory) -> BTreeMap<String, Vec<String>> {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, bytes) in store.files().into_iter().filter(|(name, _)| is_rows(name)) {
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("it is gzipped text");
        let folder =
            name.split('/').take(if name.starts_with('_') { 2 } else { 1 }).collect::<Vec<_>>().join("/");
        let row = |line: &str| {
            let mut row: Map<String, Value> = serde_json::from_str(line).expect("a row is an object");
            row.retain(|_, value| !value.is_null());
            Value::from(row).to_string()
        };
        rows.entry(folder).or_default().extend(text.lines().map(row));
    }
    rows.values_mut().for_each(|rows| rows.sort());
    rows
}

/// The rows of the gold tables, as texts.
#[cfg(feature = "parquet")]
fn gold(store: &Memory) -> BTreeMap<String, Vec<Vec<String>>> {
    let folder = crate::cli::folder();
    for (name, bytes) in store.files().into_iter().filter(|(name, _)| name.starts_with("gold/")) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
        std::fs::write(path, bytes).expect("the file can be written");
    }
    crate::weekly::tables(folder.path(), "music")
}

/// The tables agree with each other and with the `plays` that the rows hold.
#[cfg(feature = "parquet")]
fn agree(gold: &BTreeMap<String, Vec<Vec<String>>>, plays: usize) {
    let names: Vec<&str> = gold.keys().map(String::as_str).collect();
    let all = [
        "active_users",
        "dim_artists",
        "dim_location",
        "dim_songs",
        "dim_users",
        "sessions",
        "streams_by_state",
        "streams_per_hour",
        "top_artists",
        "top_artists_last_hour",
        "top_songs",
        "top_songs_last_hour",
        "users_by_gender_level",
    ];
    assert_eq!(names, all);
    let sum = |table: &str, column: usize| {
        gold[table].iter().map(|row| row[column].parse::<usize>().expect("a count")).sum::<usize>()
    };
    assert_eq!(sum("streams_per_hour", 2), plays);
    assert_eq!(sum("streams_by_state", 3), plays);
    // The histories of a user tile time: each row ends where the next one begins, and only the last one has no end.
    let mut users: BTreeMap<&str, Vec<(i64, Option<i64>)>> = BTreeMap::new();
    for row in &gold["dim_users"] {
        let (from, to) = (row[1].parse().expect("an instant"), row[2].parse().ok());
        assert_eq!(row[3], to.is_none().to_string());
        users.entry(&row[0]).or_default().push((from, to));
    }
    for (user, rows) in &mut users {
        rows.sort_unstable();
        let ends: Vec<_> = rows.iter().map(|(_, to)| *to).collect();
        let next: Vec<_> = rows.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]).collect();
        assert_eq!(ends, next, "user {user}");
    }
    assert_eq!(sum("users_by_gender_level", 2), users.len());
}

/// What a reader makes of the messages: the objects of each topic that have a time, and how many messages have none.
fn expected() -> (BTreeMap<String, Vec<String>>, usize) {
    let (mut good, mut dead) = (BTreeMap::new(), 0);
    for (topic, generator) in TOPICS.iter().zip(generators(&made(&ENTRY, true))) {
        let mut rows = Vec::new();
        for partition in (0..2).map(Partition) {
            for offset in (0..generator.end(partition).expect("it ends").0).map(Offset) {
                let mut message = Message::default();
                generator.message(partition, offset, &mut message);
                let value = message.value.unwrap_or_default();
                match serde_json::from_slice::<Map<String, Value>>(&value) {
                    Ok(object) if object.get("ts").is_some_and(Value::is_i64) => {
                        rows.push(Value::from(object).to_string());
                    }
                    _ => dead += 1,
                }
            }
        }
        rows.sort();
        good.insert(topic.to_string(), rows);
    }
    (good, dead)
}

#[test]
fn four_topics_are_what_was_sent_however_often_the_job_is_killed() {
    let (sent, dead) = expected();
    let listens = sent["listen_events"].iter().filter(|row| row.contains("\"userId\"")).count();
    assert!(dead > 50 && listens > 1_000, "{dead} {listens}");
    let mut straight = None;
    #[cfg(feature = "parquet")]
    let mut tables = None;
    for kills in [0, kills()] {
        let store = Memory::new();
        // Each one meets a run at work.
        (0..kills).for_each(|kill| run(&store, 1 + kill as usize % 3, Some(1 + kill % 4)));
        run(&store, 2, None);
        let found = rows(&store);
        for topic in TOPICS {
            assert_eq!(found[topic].len(), sent[topic].len(), "{topic}");
            assert_eq!(found[topic], sent[topic], "{topic}");
        }
        assert_eq!(found["_dead/music"].len(), dead);
        assert!(!found.contains_key("_late/music"), "nothing is late within the lateness");
        assert_eq!(found["wide_streams"].len(), listens);
        let views = OUTPUTS.map(|output| found[output].clone());
        assert_eq!(*straight.get_or_insert_with(|| views.clone()), views, "with {kills} kills");
        #[cfg(feature = "parquet")]
        {
            let gold = gold(&store);
            agree(&gold, listens);
            assert!(*tables.get_or_insert_with(|| gold.clone()) == gold, "other tables with {kills} kills");
        }
        let (files, clock) =
            (Arc::new(store) as Arc<dyn Store>, Arc::new(System::default()) as Arc<dyn Clock>);
        let report = audit::run(&files, &clock, "music", true).expect("the lake can be read");
        assert_eq!(report.finding, None);
    }
}

/// The plays of the first commits are in no file yet: they are the saved rows of open files.
#[cfg(feature = "parquet")]
#[test]
fn views_that_come_later_begin_with_the_rows_of_open_files_too() {
    let straight = Memory::new();
    run(&straight, 2, None);
    let expected = gold(&straight);
    for workers in [1, 3] {
        let store = Memory::new();
        run_with(made(&ENTRY, false), &store, workers, Some(6));
        let has_rows = store.files().keys().any(|name| name.starts_with("listen_events/"));
        assert!(!has_rows, "all rows are in open files");
        // Killed before or after what the new views keep is committed.
        [1, 2].into_iter().for_each(|commits| run(&store, 4 - workers, Some(commits)));
        run(&store, workers, None);
        assert!(gold(&store) == expected, "tables that came later on {workers} workers");
    }
}
