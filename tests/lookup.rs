//! A table that records are looked up in belongs to the lake: another one under its name is refused before anything is read.

use headway::connect::Connector;
use headway::connect::memory::{Lists, Message};
use headway::engine::run::feed::Until;
use headway::engine::{Control, Error, Launch, launch};
use headway::store::memory::Memory;
use headway_operators::build::Build;
use headway_operators::kit::json::{Json, Timestamp};
use headway_operators::kit::lookup::Table;
use headway_operators::pipeline::Pipeline;
use headway_operators::row;
use headway_operators::spec::InputSpec;
use headway_operators::stream::window::Closing;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Move {
    station: String,
    ts: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
struct Station {
    id: String,
    borough: String,
}

row! {
    /// A move with the borough of its station.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Named {
        /// The station.
        pub station: String,
        /// Its borough, where the table has the station.
        pub borough: Option<String>,
    }
}

/// Looks the borough of each move up, in one table or in two.
struct Boroughs {
    tables: Vec<Table<String, Station>>,
}

impl Pipeline for Boroughs {
    fn name(&self) -> &'static str {
        "boroughs"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        let closing = Closing::Horizon { ms: 0 };
        vec![InputSpec { name: "moves", topic: "moves", lateness_ms: 0, closing, header: None }]
    }

    fn build(&self, build: &mut Build<'_>) {
        let moves = build.records("moves", Json::new(|a: &Move| Some(a.ts.time())));
        for (number, table) in self.tables.iter().enumerate() {
            let named = moves.clone().lookup(
                table,
                |a: &Move| a.station.clone(),
                |a, station: Option<&Station>| {
                    Some(Named {
                        station: a.station,
                        borough: station.map(|station| station.borough.clone()),
                    })
                },
            );
            build.ndjson(&format!("named-{number}"), named);
        }
    }
}

fn table(name: &str, borough: &str) -> Table<String, Station> {
    let content = format!("{{\"id\": \"S1\", \"borough\": \"{borough}\"}}\n");
    Table::ndjson(name, content.as_bytes(), |station: &Station| station.id.clone()).expect("it is a table")
}

/// Runs the job with `tables` on the first `count` moves.
fn run(store: &Memory, tables: Vec<Table<String, Station>>, count: usize) -> Result<(), Error> {
    let made = Arc::new(Boroughs { tables });
    let message = |at: usize| Message {
        value: Some(format!("{{\"station\": \"S1\", \"ts\": {}}}", 1_541_462_400_000_u64 + at as u64).into()),
        timestamp_ms: None,
    };
    let lists = Lists::new(vec![(0..count).map(message).collect()]);
    let connectors: [Arc<dyn Connector>; 1] = [Arc::new(lists)];
    let job = Launch { until: Until::CaughtUp, ..Launch::new(made, connectors, Arc::new(store.clone())) };
    launch(job, &Control::new()).map(drop)
}

#[test]
fn another_table_under_its_name_is_refused_and_the_same_one_goes_on() {
    let store = Memory::new();
    let stations = |borough| vec![table("stations.ndjson", borough)];
    run(&store, stations("Bronx"), 3).expect("it runs");
    let before = store.files();
    for (what, tables) in [
        ("another content", stations("Queens")),
        ("no table", Vec::new()),
        ("one more", vec![table("stations.ndjson", "Bronx"), table("lines.ndjson", "Bronx")]),
    ] {
        let error = run(&store, tables, 5).expect_err(what);
        assert_eq!((error.code(), error.exit_code()), ("state-does-not-fit", 4), "{what}: {error}");
        assert!(error.to_string().contains("table \""), "{what}: {error}");
        assert!(store.files() == before, "{what}: a start that is refused changes nothing");
    }
    run(&store, stations("Bronx"), 5).expect("it goes on");
}

#[test]
fn two_tables_of_one_name_are_found_before_anything_is_read() {
    let tables = vec![table("stations.ndjson", "Bronx"), table("stations.ndjson", "Queens")];
    let error = run(&Memory::new(), tables, 1).expect_err("which one it was could not be known");
    let Error::Pipeline { problems, .. } = error else { panic!("it is the pipeline's fault: {error}") };
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["two tables are called \"stations.ndjson\""]);
}
