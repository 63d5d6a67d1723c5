//! An interval that comes for a sealed day is an anomaly, and in no other view. Windows of the streamed job never bring one, since its
//! lateness leaves it out before: here intervals come as they like.

use super::passage::{Count, Interval, Place};
use super::{Fact, Past, Reader, StationBy, build_live};
use crate::day::Days;
use crate::zone::Zone;
use headway_operators::ack::InputIx;
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::kit::script::{Dataflow, Item, Play, PlayInput, Played, Source};
use headway_operators::record::{Partition, Payload, Raw};
use headway_operators::spec::InputSpec;
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::window::{Closing, Grid};
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::row::Value;
use headway_operators::view::seal::Sealing;
use headway_operators::view::text::Text;
use std::sync::Arc;

const HOUR_MS: i64 = 3_600_000;

/// A message is `HOUR START PEOPLE`: its event time, and an interval of an hour that begins then.
struct Hours;

impl Decoder for Hours {
    type Out = (i64, i64);
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<(i64, i64)>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let text = std::str::from_utf8(value).map_err(|_| Reason::NOT_UTF8)?;
        let numbers: Vec<i64> = text.split(' ').map(|number| number.parse().expect("a number")).collect();
        Ok(Decoded::Record(EventTime(numbers[0] * HOUR_MS), (numbers[1], numbers[2])))
    }
}

fn job(build: &mut Build<'_>) {
    let zone = Zone::utc();
    let facts = build.input("hours", Hours).map(|record| {
        let (start, people) = record.data;
        let place = Place::new(["A002", "R051", "02-00-00", "59 ST", "NQR456W", "BMT"]);
        let (start, end) = (EventTime(start * HOUR_MS), EventTime((start + 1) * HOUR_MS));
        let counts = [people, 0].map(|people| Count::Counted(i128::from(people)));
        let passage = Interval::new(&Zone::utc(), start, end).passage(place, counts[0], counts[1]);
        Fact { passage, desc: Text::from("REGULAR"), since: Epoch(0) }
    });
    let sealing = Sealing::new(HOUR_MS, Arc::new(Days(zone.clone())));
    let grid = Grid::tumbling(HOUR_MS);
    let past = Past { outputs: Reader::outputs("rows"), reader: Reader::new(zone, grid) };
    build_live(build, &facts, sealing, past, StationBy::Lines);
}

fn play(epochs: &[&[&str]]) -> Play {
    let source = Source { input: InputIx(0), partition: Partition(0) };
    let item =
        |text: &&str| Item::Message { source, value: Some(text.as_bytes().to_vec()), timestamp_ms: None };
    let lines = epochs.iter().map(|line| line.iter().map(item).collect()).collect();
    let closing = Closing::Horizon { ms: 0 };
    let spec = InputSpec { name: "hours", topic: "hours", lateness_ms: 0, closing, header: None };
    Play { inputs: vec![PlayInput { spec, partitions: 1 }], lines, flush_ms: None }
}

/// Start in hours, counter, kind and people of each anomaly as of `epoch`.
fn anomalies(played: &Played, epoch: u64) -> Vec<(i64, String, String, i64)> {
    let content = played.views_at(Epoch(epoch));
    let rows = content.get("anomalies").into_iter().flatten();
    let text = |value: &Value| match value {
        Value::Text(text) => text.as_str().to_string(),
        other => panic!("no text: {other:?}"),
    };
    rows.map(|(row, copies)| {
        let (Value::Time(start), Value::Int(people)) = (&row.0[6], &row.0[8]) else { panic!("{row:?}") };
        assert_eq!(*copies, 1);
        (start.ms() / HOUR_MS, text(&row.0[4]), text(&row.0[7]), *people)
    })
    .collect()
}

#[test]
fn interval_of_a_sealed_day_is_an_anomaly_and_in_no_other_view() {
    let play = play(&[
        &["5 3 10", "20 18 7"],
        // The first day ends at 24 and is sealed once the watermark has passed 25.
        &["26 24 4"],
        &["27 4 30"],
        // Another one, and the same again.
        &["28 5 2", "28 4 30", "28 27 1"],
        &["29 28 1"],
    ]);
    let dataflow = Dataflow::of(job);
    let mut runs = Vec::new();
    for workers in 1..=3 {
        runs.push(play.run(&dataflow, workers, workers as u64));
    }
    runs.push(play.run_with_kills(&dataflow, &[2, 1, 3], &[1, 2, 3, 4]));
    for (run, played) in runs.iter().enumerate() {
        let row = |start: i64, counter: &str, people: i64| {
            (start, counter.to_string(), "sealed-day".to_string(), people)
        };
        assert!(anomalies(played, 2).is_empty(), "run {run}");
        let first = vec![row(4, "entries", 30), row(4, "exits", 0)];
        assert_eq!(anomalies(played, 3), first, "run {run}");
        let all = vec![row(4, "entries", 30), row(4, "exits", 0), row(5, "entries", 2), row(5, "exits", 0)];
        assert_eq!(anomalies(played, 5), all, "run {run}");
        // The total over all days has the seven, ten, four, one and one that came while their days were open.
        let content = played.views_at(Epoch(5));
        let people: i128 = content["station_weekday"]
            .keys()
            .map(|row| if let Value::Wide(entries) = row.0[5] { entries } else { panic!("{row:?}") })
            .sum();
        assert_eq!(people, 23, "run {run}");
    }
}
