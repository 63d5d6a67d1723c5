//! Runs the cases in `tests/histories`: each gives the events of keys epoch by epoch, and the histories (`view/scd2/`) that they must make.
//!
//! Each case runs on 1, 2 and 3 workers, without a crash and with one after every epoch, restarting with another number of
//! workers; all must give the same. After every epoch the laws of a history hold: see [`laws`]. `REWRITE=1 cargo test` fills in
//! what is below the line, and a person reads the diff.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod table_job;

use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::record::Stamped;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::scd2::{Event, Fact, Version};
use headway_operators::view::table::Update;
use headway_operators::view::text::Text;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use table_job::{Script, Updates, as_of, run, run_again};

/// What a message says: a key has a value, and maybe that something happened. `None` only moves the watermark.
type Said = Option<(Text, Text, Option<u32>)>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Told {
    Version(Version<Text, Text>),
    Fact(Fact<Text, Text, u32>),
}

fn job<'s>(build: &mut Build<'s>, records: Flow<'s, Stamped<Said>>) -> Flow<'s, Update<Told>> {
    let event = |record: Stamped<Said>| {
        let Stamped { time, stamp, partition, data } = record;
        let (key, value, fact) = data?;
        Some(Stamped { time, stamp, partition, data: Event { key, value, fact } })
    };
    let (versions, facts) = build.scd2("Levels", records.filter_map(event));
    let facts = facts.map(|fact| (Told::Fact(fact), Epoch(0), 1));
    versions.map(Told::Version).updates().and(facts)
}

/// Reads a case: `lateness MS`, then a line `ingest KEY TIME VALUE [FACT] | …` for each epoch, in which `clock TIME` only moves
/// the watermark.
fn parse(text: &str) -> Script<Said> {
    let mut script = Script { partitions: 1, lateness_ms: 0, epochs: Vec::new() };
    let item = |words: &str| match words.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["clock", time] => (time.parse().unwrap(), None),
        [key, time, value, fact @ ..] => {
            let fact = fact.first().map(|number| number.parse().unwrap());
            (time.parse().unwrap(), Some((Text::from(*key), Text::from(*value), fact)))
        }
        other => panic!("{other:?} says nothing"),
    };
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("lateness", ms) => script.lateness_ms = ms.parse().unwrap(),
            ("ingest", items) => {
                let items = items.split('|').map(str::trim).filter(|item| !item.is_empty());
                script.epochs.push(items.map(item).collect());
            }
            (word, _) => panic!("no line begins with \"{word}\""),
        }
    }
    script
}

/// What changed by epoch, in all: versions that went, versions that came, facts.
fn print(script: &Script<Said>, updates: &Updates<Told>) -> String {
    let mut out = String::new();
    for epoch in 1..=script.epochs.len() as u64 {
        let mut changes: BTreeMap<&Told, i64> = BTreeMap::new();
        let of_epoch = updates.iter().filter(|(at, ..)| at.0 == epoch);
        of_epoch.for_each(|(_, row, diff)| *changes.entry(row).or_default() += diff);
        let mut lines: Vec<_> = changes.into_iter().filter(|(_, diff)| *diff != 0).collect();
        lines.sort_by_key(|(row, diff)| (matches!(row, Told::Fact(_)), *diff, *row));
        for (row, diff) in lines {
            match row {
                Told::Version(Version { key, value, from, to }) => {
                    let (sign, to) = (if diff < 0 { '-' } else { '+' }, to.map(|to| to.ms().to_string()));
                    let to = to.unwrap_or_default();
                    writeln!(out, "epoch {epoch}  {sign} {key}  {}..{to}  {value}", from.ms()).unwrap();
                }
                Told::Fact(Fact { key, time, fact, value, from }) => {
                    let (time, from) = (time.ms(), from.ms());
                    writeln!(out, "epoch {epoch}  {fact} at {time}: {key} has {value} since {from}").unwrap();
                }
            }
        }
    }
    out
}

/// Asserts of the versions of all keys: each is there once and ends after it begins; those of a key tile the time from the first
/// on, without gap or overlap; neighbours differ; the newest has no end, and no other one.
fn laws(rows: &BTreeMap<Told, i64>, what: &str) {
    let mut of_key: BTreeMap<&Text, Vec<&Version<Text, Text>>> = BTreeMap::new();
    for (row, copies) in rows {
        assert_eq!(*copies, 1, "{what}: {row:?} is there {copies} times");
        if let Told::Version(version) = row {
            of_key.entry(&version.key).or_default().push(version);
        }
    }
    for versions in of_key.values_mut() {
        versions.sort_by_key(|version| version.from);
        for pair in versions.windows(2) {
            assert_eq!(pair[0].to, Some(pair[1].from), "{what}: gap or overlap");
            assert!(pair[0].from < pair[1].from, "{what}: {:?} ends before it begins", pair[0]);
            assert_ne!(pair[0].value, pair[1].value, "{what}: one version is cut in two");
        }
        let newest = versions.last().unwrap();
        assert_eq!(newest.to, None, "{what}: {newest:?} is closed although it is the newest");
    }
}

/// The versions of `updates` as of `epoch`, and the facts that came after `crash`.
fn content(updates: &Updates<Told>, epoch: u64, crash: u64) -> (BTreeMap<Told, i64>, Updates<Told>) {
    let is_fact = |row: &Told| matches!(row, Told::Fact(_));
    let mut versions = as_of(updates, epoch);
    versions.retain(|row, _| !is_fact(row));
    let facts = updates.iter().filter(|(at, row, _)| is_fact(row) && (crash + 1..=epoch).contains(&at.0));
    let mut facts: Updates<Told> = facts.cloned().collect();
    facts.sort();
    (versions, facts)
}

/// Asserts that `updates` of a run that began after epoch `crash` keep the laws and are those of the `whole` run.
fn same(script: &Script<Said>, whole: &Updates<Told>, updates: &Updates<Told>, crash: u64, what: &str) {
    for epoch in crash..=script.epochs.len() as u64 {
        let what = format!("{what}, as of epoch {epoch}");
        let (versions, facts) = content(updates, epoch, crash);
        laws(&versions, &what);
        assert_eq!((versions, facts), content(whole, epoch, crash), "{what}");
    }
    let numbers = |(_, row, _): &(Epoch, Told, i64)| match row {
        Told::Fact(fact) => Some(fact.fact),
        Told::Version(_) => None,
    };
    let facts: Vec<u32> = updates.iter().filter_map(numbers).collect();
    assert_eq!(facts.iter().collect::<BTreeSet<_>>().len(), facts.len(), "{what}: a fact came twice");
}

#[test]
fn every_case_keeps_the_laws_on_any_number_of_workers_and_across_a_crash() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 6, "{paths:?}");
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (input, expected) = text.split_once("----\n").unwrap_or((&text, ""));
        let script = parse(input);
        let whole = run(&script, job, 1);
        let printed = print(&script, &whole);
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(&path, format!("{input}----\n{printed}")).unwrap();
        } else {
            assert_eq!(printed, expected, "{}: run with REWRITE=1 and read the diff", path.display());
        }
        for workers in 1..=3 {
            let what = format!("{} on {workers} workers", path.display());
            same(&script, &whole, &run(&script, job, workers), 0, &what);
            for crash in 0..=script.epochs.len() {
                let what = format!("{what}, crash after epoch {crash}");
                let again = run_again(&script, job, (workers, workers % 3 + 1), crash);
                same(&script, &whole, &again, crash as u64, &what);
            }
        }
    }
}

#[test]
fn laws_see_each_of_the_known_faults() {
    let version = |from, to: Option<i64>, value: &str| {
        let (key, to) = (Text::from("ada"), to.map(EventTime));
        Told::Version(Version { key, value: Text::from(value), from: EventTime(from), to })
    };
    let holds = |rows: Vec<(Told, i64)>| {
        std::panic::catch_unwind(|| laws(&rows.into_iter().collect(), "a fault")).is_ok()
    };
    let good = |to| vec![(version(1, to, "free"), 1), (version(5, None, "paid"), 1)];
    assert!(holds(good(Some(5))));
    assert!(
        !holds(good(Some(4))) && !holds(good(Some(6))) && !holds(good(None)),
        "gap, overlap, two that are open"
    );
    assert!(!holds(vec![(version(1, Some(5), "free"), 1)]), "the newest is closed");
    assert!(!holds(vec![(version(1, Some(5), "free"), 1), (version(5, None, "free"), 1)]), "cut in two");
    assert!(!holds(vec![(version(1, None, "free"), 2)]), "it is there twice");
    assert!(
        !holds(vec![(version(5, Some(1), "free"), 1), (version(1, None, "paid"), 1)]),
        "it ends before it begins"
    );
}
