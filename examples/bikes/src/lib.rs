//! Trips of bikes, and those that are overdue, from two topics of JSON.
//!
//! ```text
//! bike-moves ────── Trips ──┬── trips ─────────────────────────── trips/*.csv.gz
//!                           └── overdue ──┐
//! bike-stations ──────────────────────────┴── Names (a join) ──── overdue/*.ndjson.gz
//! ```
//!
//! Messages that cannot be decoded go to `_dead/bikes/`, late ones to `_late/bikes/`.
#![forbid(unsafe_code)]

pub mod generate;
pub mod names;
pub mod trips;

use headway_operators::build::Build;
use headway_operators::generate::{Generate, Options};
use headway_operators::kit::json::{self, Json};
use headway_operators::kit::table_join::TableJoin;
use headway_operators::pipeline::{DeadLetter, Demo, Entry, Fault, Pipeline, Top};
use headway_operators::setting::{Setting, SettingError, Settings};
use headway_operators::spec::InputSpec;
use headway_operators::stream::window::Closing;
use names::{Names, Station};
use std::time::Duration;
use trips::{Move, Trips};

/// Every pipeline of the program.
pub const CATALOGUE: &[Entry] = &[ENTRY];

const ENTRY: Entry = Entry {
    settings: &[
        Setting::duration("overdue", "2h", "After how long a bike that is away is overdue"),
        Setting::duration("lateness", "1m", "How much disorder is waited for"),
    ],
    generate: generate::options,
    fault,
    demo: Some(Demo {
        settings: &[],
        messages: 1_000_000,
        rate: Some(2.0),
        keys: None,
        top: Top {
            title: "busiest stations",
            output: "trips",
            of: &["from_station"],
            sums: &["trips", "minutes"],
        },
        view: None,
    }),
    ..Entry::new("bikes", "Trips of bikes, and those that are overdue", make)
};

/// The pipeline.
#[derive(Clone, Debug)]
struct Bikes {
    overdue: Duration,
    lateness_ms: i64,
}

/// The field for which a message is a dead letter.
fn fault(dead: &DeadLetter<'_>) -> Option<Fault> {
    match dead.input {
        "stations" => json::fault::<Station>(dead),
        _ => json::fault::<Move>(dead),
    }
}

fn make(settings: &Settings) -> Result<Box<dyn Pipeline>, SettingError> {
    let overdue_ms = u64::try_from(settings.ms("overdue")).ok().filter(|ms| *ms > 0).ok_or_else(|| {
        SettingError::new("overdue", "a bike would be overdue at once", "Write a length of time such as 2h.")
    })?;
    let overdue = Duration::from_millis(overdue_ms);
    Ok(Box::new(Bikes { overdue, lateness_ms: settings.ms("lateness") }))
}

impl Pipeline for Bikes {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        let input = |name, topic, closing| InputSpec {
            name,
            topic,
            lateness_ms: self.lateness_ms,
            closing,
            header: None,
        };
        // The table first: at one instant, its rows come before the moves.
        vec![
            input("stations", "bike-stations", Closing::Horizon { ms: 0 }),
            input("moves", "bike-moves", Closing::Horizon { ms: self.overdue.as_millis() as i64 }),
        ]
    }

    fn build(&self, build: &mut Build<'_>) {
        let stations = build.records("stations", Json::new(|station: &Station| Some(station.ts.time())));
        let moves = build.records("moves", Json::new(|a: &Move| Some(a.ts.time())));
        let (trips, overdue) = build.logic("Trips", Trips { overdue: self.overdue }, moves).apart();
        let named = build.logic("Names", TableJoin(Names), stations.either(overdue));
        build.csv("trips", trips);
        build.ndjson("overdue", named);
    }

    fn generator(&self, input: &str, options: &Options) -> Option<Box<dyn Generate>> {
        generate::generator(input, options)
    }
}
