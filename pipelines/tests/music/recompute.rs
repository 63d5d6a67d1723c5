//! The slow way to the views: cases that anyone can read, and at every epoch the same tables as the dataflow's.
//!
//! `REWRITE=1 cargo test` writes the answers into the cases; a person reads the difference.

use crate::cases;
use headway_operators::ack::InputIx;
use headway_operators::kit::script::{Content, Dataflow, Flags, Item, Play, PlayInput, Source};
use headway_operators::pipeline::Pipeline;
use headway_operators::recompute::{OutputRow, Recompute};
use headway_operators::record::Partition;
use headway_operators::row::{Cell, Kind};
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::refill::CommittedRow;
use headway_operators::view::row::{Value as Shown, ViewRow};
use headway_pipelines::music::ENTRY;
use headway_pipelines::music::event::columns;
use headway_pipelines::music::topic::{Form, Topic};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const LATENESS_MS: i64 = 60_000;
pub(crate) const PARTITIONS: u32 = 3;

pub(crate) fn made(settings: &[(&'static str, &'static str)]) -> Arc<dyn Pipeline> {
    let all = [("views", "true"), ("lateness", "1m")].into_iter().chain(settings.iter().copied());
    ENTRY.configure(all).expect("the settings make a job").pipeline
}

/// Gives `recompute` the row of `topic` that `event` becomes.
pub(crate) fn add(recompute: &mut dyn Recompute, topic: Topic, event: &Map<String, Value>) {
    let columns = columns(Form::Topics, topic);
    let cell = |column: &headway_operators::row::Column| {
        let Some(value) = event.get(column.name.as_ref()).filter(|value| !value.is_null()) else {
            return Cell::Null;
        };
        match column.kind {
            Kind::Text => Cell::Text(value.as_str().expect("a text")),
            Kind::Int => Cell::Int(value.as_i64().expect("a whole number")),
            Kind::Time => Cell::Time(EventTime(value.as_i64().expect("an instant"))),
            Kind::Float => Cell::Float(value.as_f64().expect("a number")),
            Kind::Bool | Kind::Wide => panic!("no view reads {}", column.name),
        }
    };
    let cells: Vec<Cell<'_>> = columns.iter().map(cell).collect();
    let columns: Vec<String> = columns.iter().map(|column| column.name.to_string()).collect();
    let row = CommittedRow { output: topic.name(), columns: &columns, cells: &cells };
    recompute.row(&row).expect("a committed row");
}

/// A row of a view as the cases write it.
fn shown(row: &ViewRow) -> String {
    let value = |value: &Shown| match value {
        Shown::Null => "-".to_string(),
        Shown::Text(text) => format!("{:?}", text.as_str()),
        other => other.cell().to_string(),
    };
    row.0.iter().map(value).collect::<Vec<_>>().join(" ")
}

/// Runs a case and gives it with its answers.
fn run(case: &str) -> String {
    let pipeline = made(&[]);
    let mut recompute = pipeline.recompute().expect("it has views");
    let mut answered = String::new();
    for line in case.lines().filter(|line| !line.starts_with("= ")) {
        answered += &format!("{line}\n");
        match line.split_once(' ') {
            Some((">", event)) => {
                let event = serde_json::from_str(event).expect("an object");
                add(recompute.as_mut(), Topic::Listen, &event);
            }
            Some(("watermark", ms)) => {
                recompute.watermark("listen_events", EventTime(ms.parse().expect("an instant")));
                // Its own input counts, and no other.
                recompute.watermark("page_view_events", EventTime(0));
            }
            Some(("view", name)) => {
                let tables = recompute.tables();
                let mut rows: Vec<_> = tables.get(name).expect("a view").iter().map(shown).collect();
                rows.sort();
                rows.iter().for_each(|row| answered += &format!("= {row}\n"));
            }
            _ => {}
        }
    }
    answered
}

#[test]
fn cases_have_the_rows_that_they_say() {
    cases::hold("views_cases", 4, run);
}

/// Numbers from a seed.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// One of `all`; often nothing.
    fn some(&mut self, all: &[&str]) -> Value {
        let at = self.below(all.len() as u64 + 1) as usize;
        all.get(at).map_or(Value::Null, |text| json!(text))
    }
}

/// Two days of plays, few of each kind, many of one instant, out of order: each less than the lateness behind the newest.
pub(crate) fn plays(draws: &mut Draws) -> Vec<Map<String, Value>> {
    let mut all = Vec::new();
    for number in 0..400 {
        let ts = 1_541_100_000_000 + number * 3_000 + number / 40 * 20_000_000;
        let ts = ts - (draws.below(7) * 7_000) as i64;
        let user = draws.below(5);
        let play = json!({
            "ts": ts - ts % 14_000,
            "userId": user,
            "level": draws.some(&["free", "paid", "paid", "free"]),
            "artist": draws.some(&["A", "B", "\"C\"", ""]),
            "song": draws.some(&["one", "two", "three", "vier, \u{e9}", ""]),
            "duration": draws.below(4) as f64 * 61.123_456 + 0.1,
            "city": draws.some(&["Albany", ""]),
            "state": draws.some(&["NY", "DC ", " ", "XX"]),
            "lat": -0.25 * draws.below(2) as f64,
            "lon": draws.below(2) as f64,
            "firstName": draws.some(&["Ann", "Eve"]),
            "gender": draws.some(&["F", "M"]),
            "registration": 1_540_000_000_123_i64 + draws.below(2) as i64,
            // A session has one user: of two users of one instant the rows do not say who came first.
            "sessionId": 5 * draws.below(2) + user,
            "itemInSession": number,
        });
        let Value::Object(mut play) = play else { panic!("it is an object") };
        play.retain(|_, value| !value.is_null());
        if draws.below(6) == 0 {
            play.remove("userId");
        }
        all.push(play);
    }
    all
}

/// The partition of the play of this number.
pub(crate) fn partition(number: usize) -> Partition {
    Partition(number as u32 % PARTITIONS)
}

/// The page view that a play is; now and then it is of another page.
pub(crate) fn page_view(number: usize, play: &Map<String, Value>) -> Map<String, Value> {
    let page = if number.is_multiple_of(7) { "Home" } else { "NextSong" };
    let mut view = play.clone();
    view.insert("page".into(), page.into());
    view
}

/// `plays` and their page views in epochs of `size` plays; then all inputs end.
pub(crate) fn script(pipeline: &dyn Pipeline, plays: &[Map<String, Value>], size: usize) -> Play {
    let message = |input: u16, number: usize, event: Map<String, Value>| {
        let source = Source { input: InputIx(input), partition: partition(number) };
        let value = Some(Value::from(event).to_string().into_bytes());
        Item::Message { source, value, timestamp_ms: None }
    };
    let messages = |(number, play): (usize, &Map<String, Value>)| {
        [message(0, number, play.clone()), message(1, number, page_view(number, play))]
    };
    let messages: Vec<Item> = plays.iter().enumerate().flat_map(messages).collect();
    let mut lines: Vec<Vec<Item>> = messages.chunks(2 * size).map(<[Item]>::to_vec).collect();
    let flags = Flags { ended: true, ..Flags::default() };
    let inputs: Vec<PlayInput> =
        (pipeline.inputs().into_iter()).map(|spec| PlayInput { spec, partitions: PARTITIONS }).collect();
    let ends = (0..inputs.len() as u16).flat_map(|input| {
        (0..PARTITIONS).map(move |number| Item::Flags {
            source: Source { input: InputIx(input), partition: Partition(number) },
            flags,
        })
    });
    lines.push(ends.collect());
    Play { inputs, lines, flush_ms: None }
}

/// The tables of `recompute`, without empty ones.
pub(crate) fn content(recompute: &dyn Recompute) -> Content {
    let mut content = Content::new();
    for (view, rows) in recompute.tables() {
        for row in rows {
            *content.entry(view).or_default().entry(row).or_insert(0) += 1;
        }
    }
    content
}

#[test]
fn every_view_is_what_the_rows_add_up_to_at_every_epoch() {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for (seed, workers, size) in [(1, 1, 7), (2, 2, 40), (3, 3, 19)] {
        let pipeline = made(&[]);
        let plays = plays(&mut Draws(seed));
        let play = script(pipeline.as_ref(), &plays, size);
        let built = Arc::clone(&pipeline);
        let dataflow = Dataflow::of(move |build| built.build(build));
        let played = play.run(&dataflow, workers, seed);
        assert_eq!((played.fates.accepted, played.refused.len()), (800, 0));
        let mut recompute = pipeline.recompute().expect("it has views");
        let mut newest = BTreeMap::new();
        for (number, play) in plays.iter().enumerate() {
            add(recompute.as_mut(), Topic::Listen, play);
            add(recompute.as_mut(), Topic::PageView, &page_view(number, play));
            let ts = play["ts"].as_i64().expect("an instant");
            let own = newest.entry(partition(number)).or_insert(ts);
            *own = ts.max(*own);
            let is_last = (number + 1) % size == 0;
            if is_last && newest.len() == PARTITIONS as usize {
                let least = newest.values().min().expect("there are partitions") - LATENESS_MS;
                recompute.watermark("listen_events", EventTime(least));
                recompute.watermark("page_view_events", EventTime(least));
            }
            if is_last {
                let epoch = Epoch(((number + 1) / size) as u64);
                let (found, wanted) = (played.views_at(epoch), content(recompute.as_ref()));
                for (view, rows) in &wanted {
                    assert_eq!(found.get(view), Some(rows), "{view} at epoch {epoch} (left), seed {seed}");
                }
                assert_eq!(found.len(), wanted.len(), "at epoch {epoch}, seed {seed}");
            }
        }
        for input in ["listen_events", "page_view_events"] {
            recompute.watermark(input, EventTime::MAX);
        }
        for (output, rows) in recompute.outputs() {
            let Some(rows) = rows else { continue };
            let text = |row: OutputRow| row.into_iter().map(Option::unwrap_or_default).collect();
            let mut wanted: Vec<Vec<String>> = rows.into_iter().map(text).collect();
            let of_output = played.rows.iter().filter(|row| row.output == output);
            let mut found: Vec<Vec<String>> = of_output.map(|row| row.cells.clone()).collect();
            wanted.sort();
            found.sort();
            assert!(wanted.len() > 20, "{} rows of {output}", wanted.len());
            assert_eq!(found, wanted, "{output}, seed {seed}");
        }
        let end = content(recompute.as_ref());
        assert!(played.views_at(Epoch(play.lines.len() as u64)) == end, "seed {seed}");
        end.iter().for_each(|(view, rows)| *sizes.entry(*view).or_default() += rows.len());
    }
    assert!(sizes.len() == 13 && sizes.values().all(|rows| *rows > 5), "{sizes:?}");
}

#[test]
fn rows_of_text_have_the_facts_that_typed_rows_have() {
    let (typed, text) = (made(&[("format", "ndjson.gz")]), made(&[("format", "csv.gz")]));
    let (mut typed, mut text) = (typed.recompute().expect("views"), text.recompute().expect("views"));
    for mut play in plays(&mut Draws(7)) {
        // CSV has one cell for a missing text and an empty one.
        play.retain(|_, value| value != "");
        add(typed.as_mut(), Topic::Listen, &play);
        let columns: Vec<String> =
            columns(Form::Topics, Topic::Listen).iter().map(|column| column.name.to_string()).collect();
        let text_of = |column: &String| match play.get(column) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number
                .as_i64()
                .map_or_else(|| number.as_f64().expect("a number").to_string(), |n| n.to_string()),
            Some(other) => panic!("no play has {other}"),
        };
        let cells: Vec<String> = columns.iter().map(text_of).collect();
        let cells: Vec<Cell<'_>> = cells.iter().map(|cell| Cell::Text(cell)).collect();
        let row = CommittedRow { output: "listen_events", columns: &columns, cells: &cells };
        text.row(&row).expect("a committed row");
    }
    for recompute in [&mut typed, &mut text] {
        recompute.watermark("listen_events", EventTime::MAX);
    }
    assert!(content(typed.as_ref()) == content(text.as_ref()));
}

#[test]
fn row_that_is_none_of_the_topic_is_refused() {
    let pipeline = made(&[]);
    let mut recompute = pipeline.recompute().expect("it has views");
    let columns = ["ts".to_string(), "userId".to_string()];
    for (cells, says) in [
        ([Cell::Null, Cell::Int(1)], "the row has no \"ts\""),
        ([Cell::Int(1), Cell::Bool(true)], "column \"userId\" has no whole number: Bool(true)"),
        ([Cell::Text("x"), Cell::Int(1)], "column \"ts\" has no whole number: \"x\""),
    ] {
        let row = CommittedRow { output: "listen_events", columns: &columns, cells: &cells };
        assert_eq!(recompute.row(&row).err().as_deref(), Some(says));
    }
}
