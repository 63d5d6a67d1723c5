//! State of an earlier version of an operator, and records that waited in it, are read by the operator's own functions, or
//! refused: never guessed.

use headway::connect::Connector;
use headway::connect::memory::{Lists, Message};
use headway::engine::run::feed::Until;
use headway::engine::{Control, Error, Launch, launch};
use headway::store::memory::Memory;
use headway_operators::build::Build;
use headway_operators::kit::json::{Json, Timestamp};
use headway_operators::kit::{Context, Logic};
use headway_operators::pipeline::Pipeline;
use headway_operators::row;
use headway_operators::spec::InputSpec;
use headway_operators::stream::window::Closing;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A payment as the first version had it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Old {
    shop: String,
    euros: u8,
    ts: Timestamp,
}

/// A payment as later versions have it. Messages of both versions decode.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct New {
    shop: String,
    #[serde(default)]
    cents: u64,
    #[serde(default)]
    euros: u64,
    ts: Timestamp,
}

row! {
    /// What a shop took so far.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Taken {
        /// The shop.
        pub shop: String,
        /// Cents.
        pub cents: u64,
    }
}

/// Adds up euros.
struct First;

impl Logic for First {
    type Key = String;
    type In = Old;
    type State = u32;
    type Out = Taken;
    const VERSION: u32 = 1;

    fn key(paid: &Old) -> String {
        paid.shop.clone()
    }

    fn on_record(&self, paid: Old, euros: &mut u32, cx: &mut Context<'_, Self>) {
        *euros += u32::from(paid.euros);
        cx.emit(Taken { shop: paid.shop, cents: u64::from(*euros) * 100 });
    }
}

/// Adds up cents. Knows what the first version wrote, if `KNOWS`.
struct Second<const KNOWS: bool>;

impl<const KNOWS: bool> Logic for Second<KNOWS> {
    type Key = String;
    type In = New;
    type State = (u64, String);
    type Out = Taken;
    const VERSION: u32 = 2;

    fn key(paid: &New) -> String {
        paid.shop.clone()
    }

    fn on_record(&self, paid: New, (cents, _): &mut (u64, String), cx: &mut Context<'_, Self>) {
        *cents += paid.cents + paid.euros * 100;
        cx.emit(Taken { shop: paid.shop, cents: *cents });
    }

    fn migrate(version: u32, state: &[u8]) -> Option<(u64, String)> {
        assert_eq!(version, 1);
        let euros: u32 = postcard::from_bytes(state).ok().filter(|_| KNOWS)?;
        Some((u64::from(euros) * 100, "EUR".to_string()))
    }

    fn migrate_record(version: u32, record: &[u8]) -> Option<New> {
        assert_eq!(version, 1);
        let Old { shop, euros, ts } = postcard::from_bytes(record).ok().filter(|_| KNOWS)?;
        Some(New { shop, cents: 0, euros: u64::from(euros), ts })
    }
}

/// The pipeline with one of the versions.
#[derive(Clone, Copy)]
enum Shops {
    First,
    Second,
    SecondWithoutMigration,
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
        let taken = match self {
            Shops::First => {
                let paid = build.records("paid", Json::new(|paid: &Old| Some(paid.ts.time())));
                build.logic("Taken", First, paid)
            }
            Shops::Second => {
                let paid = build.records("paid", Json::new(|paid: &New| Some(paid.ts.time())));
                build.logic("Taken", Second::<true>, paid)
            }
            Shops::SecondWithoutMigration => {
                let paid = build.records("paid", Json::new(|paid: &New| Some(paid.ts.time())));
                build.logic("Taken", Second::<false>, paid)
            }
        };
        build.ndjson("taken", taken);
    }
}

/// The first three payments are of the first version; the third waits until the watermark has passed its time.
const PAID: [&str; 5] = [
    r#"{"shop":"a","euros":5,"ts":"2024-01-01T10:00:00Z"}"#,
    r#"{"shop":"b","euros":7,"ts":"2024-01-01T10:01:00Z"}"#,
    r#"{"shop":"a","euros":1,"ts":"2024-01-01T10:02:00Z"}"#,
    r#"{"shop":"a","cents":25,"ts":"2024-01-01T10:03:00Z"}"#,
    r#"{"shop":"b","cents":1,"ts":"2024-01-01T10:04:00Z"}"#,
];

fn run(store: &Memory, shops: Shops, count: usize, until: Until) -> Result<(), Error> {
    let made = Arc::new(shops);
    let message = |text: &&str| Message { value: Some(text.as_bytes().to_vec()), timestamp_ms: None };
    let lists = Lists::new(vec![PAID[..count].iter().map(message).collect()]);
    let connectors: [Arc<dyn Connector>; 1] = [Arc::new(lists)];
    let job = Launch { until, workers: 2, ..Launch::new(made, connectors, Arc::new(store.clone())) };
    launch(job, &Control::new()).map(drop)
}

/// All rows, sorted.
fn rows(store: &Memory) -> Vec<String> {
    use std::io::Read;
    let mut text = String::new();
    for (_, bytes) in store.files().iter().filter(|(name, _)| name.starts_with("taken/")) {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("it is gzipped text");
    }
    let mut rows: Vec<String> = text.lines().map(str::to_string).collect();
    rows.sort();
    rows
}

#[test]
fn state_and_waiting_records_of_an_earlier_version_are_read_or_refused() {
    let store = Memory::new();
    run(&store, Shops::First, 3, Until::CaughtUp).expect("it runs");
    let row = |shop: &str, cents: u64| format!("{{\"shop\":\"{shop}\",\"cents\":{cents}}}");
    assert_eq!(rows(&store), [row("a", 500), row("b", 700)], "the third payment waits");
    let before = store.files();
    let error =
        run(&store, Shops::SecondWithoutMigration, 5, Until::End).expect_err("it cannot read version 1");
    assert_eq!(error.code(), "checkpoint-invalid", "{error}");
    assert_eq!(rows(&store), [row("a", 500), row("b", 700)]);
    assert!(before.keys().all(|name| store.files().contains_key(name)), "a refused start deletes nothing");
    run(&store, Shops::Second, 5, Until::End).expect("it reads version 1");
    let all = [row("a", 500), row("a", 600), row("a", 625), row("b", 700), row("b", 701)];
    assert_eq!(rows(&store), all);
}
