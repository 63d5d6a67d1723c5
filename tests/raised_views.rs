//! A view whose kept collection has another version is made again of the committed facts, and no other view is; where the versions
//! are those of the lake, no fact is read.

use crate::cli::folder;
use crate::weekly::tables;
use headway::connect::Connector;
use headway::connect::memory::{Lists, Message};
use headway::engine::run::feed::Until;
use headway::engine::{Control, Error, Launch, launch};
use headway::store::local::Local;
use headway_operators::build::Build;
use headway_operators::kit::json::{Json, Timestamp};
use headway_operators::pipeline::Pipeline;
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::spec::{FolderBy, Folders, Format, InputSpec, OutputSpec, ViewSpec};
use headway_operators::stream::roll::Limits;
use headway_operators::stream::window::Closing;
use headway_operators::time::EventTime;
use headway_operators::view::keep::Fold;
use headway_operators::view::refill::Refill;
use headway_operators::view::rollup::Sums;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::text::Text;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A payment, as it is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Paid {
    shop: String,
    cents: i64,
    ts: Timestamp,
}

/// A payment, as a committed row.
#[derive(Clone, Debug)]
struct Fact {
    shop: String,
    cents: i64,
    time: EventTime,
}

impl Row for Fact {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Text(&self.shop));
        put(Cell::Int(self.cents));
    }

    fn time(&self) -> EventTime {
        self.time
    }
}

/// The first version keeps what a shop took.
struct Sum;

impl Fold for Sum {
    type Key = String;
    type Change = i64;
    type Value = i64;

    const VERSION: u32 = 1;

    fn fold(&self, value: &mut Option<i64>, cents: i64) {
        *value = Some(value.unwrap_or(0) + cents);
    }
}

/// The second version keeps the greatest payment as well, which no sum tells.
struct SumAndGreatest;

impl Fold for SumAndGreatest {
    type Key = String;
    type Change = i64;
    type Value = (i64, i64);

    const VERSION: u32 = 2;

    fn fold(&self, value: &mut Option<(i64, i64)>, cents: i64) {
        let (sum, greatest) = value.unwrap_or((0, i64::MIN));
        *value = Some((sum + cents, greatest.max(cents)));
    }
}

/// The pipeline, with a version of what it keeps.
struct Shops {
    keeps: u32,
}

fn view(name: &'static str, columns: &[&'static str], version: u32) -> ViewSpec {
    let column =
        |(at, name): (usize, &&'static str)| Column::new(name, if at == 0 { Kind::Text } else { Kind::Int });
    let columns = columns.iter().enumerate().map(column).collect();
    ViewSpec { name, about: "a test", columns, key: 1, version, day: None }
}

fn row(shop: &str, numbers: &[i64]) -> ViewRow {
    let shop = Value::Text(Text::from(shop));
    ViewRow(std::iter::once(shop).chain(numbers.iter().map(|number| Value::Int(*number))).collect())
}

impl Pipeline for Shops {
    fn name(&self) -> &'static str {
        "shops"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        let closing = Closing::Horizon { ms: 0 };
        vec![InputSpec { name: "paid", topic: "paid", lateness_ms: 0, closing, header: None }]
    }

    fn build(&self, build: &mut Build<'_>) {
        let paid = build.records("paid", Json::new(|paid: &Paid| Some(paid.ts.time())));
        let facts = paid.map(|paid| {
            let (time, Paid { shop, cents, .. }) = (paid.time, paid.data);
            Fact { shop, cents, time }
        });
        let roll = Limits { age_ms: 0, bytes: 1 };
        let output = OutputSpec {
            name: "facts".into(),
            prefix: "facts".into(),
            stem: "fact".into(),
            format: Format::Parquet,
            columns: vec![Column::new("shop", Kind::Text), Column::new("cents", Kind::Int)],
            folders: Some(Folders { by: vec![FolderBy::Date], roll }),
        };
        build.output(output, facts.clone());
        let facts = build.refill(Refill { facts: "facts", before: None, back_ms: 0 }, facts, |row| {
            let cents = i64::try_from(row.number("cents")?).expect("it was one");
            Ok(Some(Fact { shop: row.text("shop")?.to_string(), cents, time: EventTime::MIN }))
        });
        let counts = facts.clone().map(|fact| (fact.shop, Sums::of([1])));
        let counts = build.rollup("Counts", counts);
        let count = |sums: Sums<1>| i64::try_from(sums.amounts[0]).expect("they are few");
        build.view(
            view("counts", &["shop", "payments"], 1),
            counts.map(move |(shop, sums)| row(&shop, &[count(sums)])),
        );
        let changes = facts.map(|fact| (fact.shop, fact.cents));
        if self.keeps == 1 {
            let sums = build.keep("Takings", Sum, changes);
            build.view(
                view("takings", &["shop", "cents"], 1),
                sums.map(|(shop, sum): (String, i64)| row(&shop, &[sum])),
            );
        } else {
            let sums = build.keep("Takings", SumAndGreatest, changes);
            build.view(
                view("takings", &["shop", "cents", "greatest"], 2),
                sums.map(|(shop, (sum, greatest)): (String, (i64, i64))| row(&shop, &[sum, greatest])),
            );
        }
    }
}

/// Ten payments of three shops in each of two partitions, of which `count` are there.
fn messages(count: i64) -> Lists {
    let message = |at: i64| {
        let (shop, cents) = (["a", "b", "c"][(at % 3) as usize], 100 * (at * 7 % 11));
        let text = format!(r#"{{"shop":"{shop}","cents":{cents},"ts":"2024-01-01T10:{at:02}:00Z"}}"#);
        Message { value: Some(text.into_bytes()), timestamp_ms: None }
    };
    let half = |odd: i64| (0..count).map(|at| message(2 * at + odd)).collect();
    Lists::new(vec![half(0), half(1)])
}

/// What the tables hold of so many payments.
fn wanted(count: i64) -> [Vec<Vec<String>>; 2] {
    let mut rows = [Vec::new(), Vec::new()];
    for (number, shop) in (0..).zip(["a", "b", "c"]) {
        let cents: Vec<i64> =
            (0..2 * count).filter(|at| at % 3 == number).map(|at| 100 * (at * 7 % 11)).collect();
        let (sum, greatest): (i64, i64) = (cents.iter().sum(), *cents.iter().max().expect("some"));
        rows[0].push(vec![shop.to_string(), cents.len().to_string()]);
        rows[1].push(vec![shop.to_string(), sum.to_string(), greatest.to_string()]);
    }
    rows
}

fn run(lake: &Path, keeps: u32, workers: usize, count: i64) -> Result<(), Error> {
    let connectors: [Arc<dyn Connector>; 1] = [Arc::new(messages(count))];
    let store = Arc::new(Local::new(lake).expect("a folder"));
    let made = Arc::new(Shops { keeps });
    let job = Launch { until: Until::CaughtUp, workers, ..Launch::new(made, connectors, store) };
    launch(job, &Control::new()).map(drop)
}

/// The `keeps` of the view, as the last manifest has it.
fn keeps(lake: &Path) -> u64 {
    head(lake)["views"]["takings"]["keeps"].as_u64().expect("a version")
}

/// The last manifest.
fn head(lake: &Path) -> serde_json::Value {
    let newest = files(&lake.join("_headway/shops/manifest")).pop().expect("a manifest");
    serde_json::from_slice(&std::fs::read(newest).expect("it can be read")).expect("JSON")
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("it is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Removes the oldest file of facts: whoever reads them all misses it.
fn lose_facts(lake: &Path) {
    let oldest = files(&lake.join("facts/date=2024-01-01")).remove(0);
    std::fs::remove_file(oldest).expect("it can be removed");
}

fn right(lake: &Path, count: i64, what: &str) {
    let tables = tables(lake, "shops");
    let [counts, takings] = wanted(count);
    assert_eq!((&tables["counts"], &tables["takings"]), (&counts, &takings), "{what}");
}

#[test]
fn raised_version_of_what_a_view_keeps_is_filled_from_the_committed_facts() {
    for workers in 1..=3 {
        let folder = folder();
        let lake = folder.path();
        run(lake, 1, 4 - workers, 6).expect("it runs");
        assert_eq!(keeps(lake), 1);
        let what = format!("{workers} workers");
        // The greatest payment is among the first ones: the sum that was saved does not tell it.
        run(lake, 2, workers, 10).expect("it makes the view again");
        right(lake, 10, &what);
        assert_eq!(keeps(lake), 2, "{what}");
        let head = head(lake);
        assert_eq!(head["operators"]["Takings"]["version"], 2, "{what}");
        assert!(head["allowed"].as_array().is_none_or(Vec::is_empty), "nobody allowed to lose it: {head}");
        // What was made again is saved: the next start needs no fact.
        lose_facts(lake);
        run(lake, 2, 4 - workers, 12).expect("it continues");
        right(lake, 12, &what);
    }
}

#[test]
fn facts_are_read_if_a_version_was_raised_and_only_then() {
    let folder = folder();
    let lake = folder.path();
    run(lake, 1, 2, 6).expect("it runs");
    lose_facts(lake);
    run(lake, 1, 1, 7).expect("what is kept is of this version");
    let error = run(lake, 2, 1, 8).expect_err("it cannot be made again of what is gone");
    assert_eq!(error.code(), "facts-missing", "{error}");
    run(lake, 1, 2, 8).expect("a start that was refused changed nothing");
    assert_eq!(tables(lake, "shops")["counts"], wanted(8)[0]);
}
