//! An output in folders by hour: each row lies once in the hour of its event time, late ones too, across crashes, power cuts
//! and rescales; the guards of a start and the audit look into the folders.

use flate2::read::MultiGzDecoder;
use headway::connect::Connector;
use headway::connect::memory::{Lists, Message};
use headway::engine::clock::{Clock, System};
use headway::engine::{Control, Error, Launch, Summary, audit, launch};
use headway::store::Store;
use headway::store::faulty::Faulty;
use headway::store::memory::Memory;
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::pipeline::Pipeline;
use headway_operators::record::{Payload, Raw};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::spec::{FolderBy, Folders, Format, InputSpec, OutputSpec};
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::roll::Limits;
use headway_operators::stream::window::Closing;
use headway_operators::time::EventTime;
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

/// Plays of songs: a message is `time city`.
struct Plays(Folders);

impl Pipeline for Plays {
    fn name(&self) -> &'static str {
        "plays"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        // Nothing is late for the output; its rows come hours apart.
        let closing = Closing::Horizon { ms: 0 };
        vec![InputSpec { name: "plays", topic: "plays", lateness_ms: i64::MAX, closing, header: None }]
    }

    fn build(&self, build: &mut Build<'_>) {
        let plays = build.input("plays", PlayDecoder);
        let spec = OutputSpec {
            name: "plays".to_string(),
            prefix: "plays".to_string(),
            stem: "batch".into(),
            format: Format::CsvGz,
            columns: vec![Column::new("TIME", Kind::Int), Column::new("CITY", Kind::Text)],
            folders: Some(self.0.clone()),
        };
        build.output(spec, plays.map(|play| Play { time: play.time, city: CITIES[play.data] }));
    }
}

/// What can come as a city.
const CITIES: [&str; 4] = ["New York", "../../../etc", "a=b/c", ""];

struct PlayDecoder;

impl Decoder for PlayDecoder {
    type Out = usize;
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<usize>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let (time, city) =
            std::str::from_utf8(value).ok().and_then(|text| text.split_once(' ')).ok_or(Reason::EMPTY)?;
        let time = EventTime(time.parse().map_err(|_| Reason::BAD_NUMBER)?);
        Ok(Decoded::Record(time, city.parse().map_err(|_| Reason::BAD_NUMBER)?))
    }
}

#[derive(Clone)]
struct Play {
    time: EventTime,
    city: &'static str,
}

impl Row for Play {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Int(self.time.ms()));
        put(Cell::Text(self.city));
    }

    fn time(&self) -> EventTime {
        self.time
    }
}

/// Two partitions over six hours, in which every ninth play is three hours late and every 20th comes twice.
pub(crate) fn plays(count: i64) -> Vec<(i64, usize)> {
    let time = |n: i64| n * 6 * HOUR_MS / count - if n % 9 == 0 { 3 * HOUR_MS } else { 0 };
    let play = |n: i64| (1_542_240_000_000 + time(n - i64::from(n % 20 == 19)), (n % 4) as usize);
    (0..count).map(play).collect()
}

/// A play as the job reads it.
pub(crate) fn message((time, city): &(i64, usize)) -> Message {
    Message { value: Some(format!("{time} {city}").into_bytes()), timestamp_ms: None }
}

pub(crate) fn lists(plays: &[(i64, usize)]) -> Lists {
    let half = |odd: usize| plays.iter().skip(odd).step_by(2).map(message).collect();
    Lists::new(vec![half(0), half(1)])
}

/// The job of plays that reads `connector`.
pub(crate) fn job_of(connector: Arc<dyn Connector>, store: Arc<dyn Store>) -> Launch {
    Launch::new(Arc::new(Plays(Folders::by_hour())), [connector], store)
}

pub(crate) fn run(
    folders: Folders,
    lists: &Lists,
    store: Arc<dyn Store>,
    workers: usize,
) -> Result<Summary, Error> {
    let job = Launch {
        workers,
        // Epochs end by their bytes alone.
        epoch: Duration::from_secs(3600),
        epoch_bytes: 4 << 10,
        ..Launch::new(Arc::new(Plays(folders)), [Arc::new(lists.clone()) as Arc<dyn Connector>], store)
    };
    launch(job, &Control::new())
}

/// The folder, time and city of each visible row, sorted; and how many files there are.
pub(crate) fn rows(files: &Memory) -> (Vec<(String, i64, String)>, usize) {
    let (mut rows, mut count) = (Vec::new(), 0);
    for (name, bytes) in files.files().into_iter().filter(|(name, _)| !name.starts_with('_')) {
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("it is gzipped text");
        let (folder, _) = name.rsplit_once('/').expect("it lies in a folder");
        for record in csv::Reader::from_reader(text.as_bytes()).records() {
            let record = record.expect("a row");
            let (time, city) = (record[0].parse().expect("a number"), record[1].to_string());
            rows.push((folder.to_string(), time, city));
        }
        count += 1;
    }
    rows.sort_unstable();
    (rows, count)
}

fn hour_of(time: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(time).expect("it is in the calendar");
    time.format("plays/year=%Y/month=%m/day=%d/hour=%H").to_string()
}

pub(crate) fn expected(plays: &[(i64, usize)]) -> Vec<(String, i64, String)> {
    let mut rows: Vec<_> =
        plays.iter().map(|(time, city)| (hour_of(*time), *time, CITIES[*city].to_string())).collect();
    rows.sort_unstable();
    rows
}

pub(crate) fn finding(files: &Memory) -> Option<audit::Finding> {
    let (store, clock) =
        (Arc::new(files.clone()) as Arc<dyn Store>, Arc::new(System::default()) as Arc<dyn Clock>);
    audit::run(&store, &clock, "plays", true).expect("the lake can be read").finding
}

/// Rolls of some epochs: open ones are carried from run to run.
fn small_rolls() -> Folders {
    Folders { roll: Limits { age_ms: i64::MAX, bytes: 15_000 }, ..Folders::by_hour() }
}

#[test]
fn each_row_lies_once_in_the_hour_of_its_event_time_whatever_fails_and_however_many_workers() {
    let plays = plays(4_000);
    let (lists, files) = (lists(&plays), Memory::new());
    let faulty = Faulty::new(Arc::new(files.clone()), 3).rate(30);
    let (mut runs, mut held) = (0, BTreeSet::new());
    let summary = loop {
        runs += 1;
        assert!(runs < 10_000, "the job does not come to its end");
        let store: Arc<dyn Store> = Arc::new(faulty.clone());
        match run(small_rolls(), &lists, Arc::clone(&store), 1 + runs % 3) {
            Ok(summary) => break summary,
            Err(error) => assert_eq!(error.code(), "store-failed", "run {runs}: {error}"),
        }
        // Else a thread that deletes would outlive the power cut.
        assert_eq!(Arc::strong_count(&store), 1, "run {runs} goes on after its end");
        files.power_cut();
        let open = plays.len() - rows(&files).0.len();
        held.insert(open);
    };
    assert!(runs > 5 && held.len() > 2, "{runs} runs, and {held:?} rows were not visible in between");
    assert_eq!(summary.head.held("Roll-plays"), Some(0), "the end of the input closes every file");
    let (found, count) = rows(&files);
    assert!(found == expected(&plays), "{} rows of {}", found.len(), plays.len());
    assert!(count > 12, "{count} files: a roll gives one an hour");
    assert_eq!(finding(&files), None);
}

#[test]
fn start_and_audit_look_below_folders() {
    let plays = plays(400);
    let (lists, files) = (lists(&plays), Memory::new());
    run(Folders::by_hour(), &lists, Arc::new(files.clone()), 1).expect("nothing fails");
    assert_eq!(finding(&files), None);
    let one = files.files().into_keys().find(|name| name.starts_with("plays/")).expect("there are files");
    // 1. A file that no manifest names.
    let other = one.replace("batch_", "batch_x");
    files.put(&other, b"");
    let found = finding(&files).expect("it is in no manifest");
    assert!(found.what.contains(&other) && found.what.contains("no manifest"), "{found:?}");
    files.delete(&other).expect("it goes");
    // 2. A file that is gone.
    let bytes = files.files()[&one].clone();
    files.delete(&one).expect("it goes");
    let found = finding(&files).expect("it is not there");
    assert!(found.what.contains(&one) && found.what.contains("is not there"), "{found:?}");
    files.put(&one, &bytes);
    assert_eq!(finding(&files), None);
    // 3. The newest manifests are lost, and what they published is below the folders.
    let manifests = files.files().into_keys().filter(|name| name.contains("/manifest/"));
    manifests.skip(1).for_each(|name| files.delete(&name).expect("it goes"));
    let refused =
        run(Folders::by_hour(), &lists, Arc::new(files.clone()), 1).expect_err("rows would be doubled");
    assert!(refused.to_string().contains("its commit is gone"), "{refused}");
}

#[test]
fn values_of_a_column_name_folders_that_lie_in_the_outputs() {
    let plays = plays(100);
    let (lists, files) = (lists(&plays), Memory::new());
    let folders = Folders { by: vec![FolderBy::Date, FolderBy::Column("CITY".into())], ..Folders::by_hour() };
    run(folders, &lists, Arc::new(files.clone()), 2).expect("nothing fails");
    let found: BTreeSet<String> = rows(&files).0.into_iter().map(|(folder, ..)| folder).collect();
    let cities = ["", "..%2F..%2F..%2Fetc", "New%20York", "a%3Db%2Fc"];
    let expected =
        ["2018-11-14", "2018-11-15"].map(|date| cities.map(|city| format!("plays/date={date}/CITY={city}")));
    assert_eq!(found, expected.concat().into_iter().collect());
    assert_eq!(rows(&files).0.len(), plays.len());
    assert_eq!(finding(&files), None);
}
