//! Every view of the streamed job at every epoch: what the rows that have left until then add up to, however the messages were
//! cut, on any number of workers, after any kill.

use headway_operators::ack::InputIx;
use headway_operators::kit::script::{Content, Dataflow, Flags, Item, Play, PlayInput, Played, Source};
use headway_operators::pipeline::Pipeline;
use headway_operators::record::Partition;
use headway_operators::row::Cell;
use headway_operators::time::Epoch;
use headway_operators::view::refill::CommittedRow;
use headway_operators::view::row::{Value, ViewRow};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const PARTITIONS: u64 = 3;

/// The rows of a view, each with how many copies there are.
type Rows = BTreeMap<ViewRow, i64>;

/// 3 November 2024, 03:00 UTC: an hour before midnight and three before the clocks are turned back in New York.
const BEGIN_S: u64 = 1_730_602_800;

/// Stations of which two share a name.
const STATIONS: [&str; 4] = ["59 ST,NQR456W,BMT", "59 ST,456NQRW,IRT", "CANAL ST,1,IRT", "LORIMER ST,L,BMT"];

/// Numbers from a seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A night of messages: out of order, some too late, some repeated, some without people.
fn messages(draws: &mut Draws) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for number in 0..260 {
        if number > 20 && draws.below(9) == 0 {
            let again = draws.below(20) as usize;
            all.push(all[all.len() - 1 - again].clone());
            continue;
        }
        // Twelve hours: two days, and most slots.
        let lag = if draws.below(12) == 0 { draws.below(2_400) } else { draws.below(200) };
        let at = BEGIN_S + number * 170 - lag.min(number * 170);
        let (day, second) = (3 + (at - BEGIN_S + 3 * 3600) / 86_400, (at - BEGIN_S + 3 * 3600) % 86_400);
        let time =
            format!("2024-11-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
        let (station, booth) = (STATIONS[draws.below(4) as usize], draws.below(3));
        let desc = if draws.below(6) == 0 { "RECOVR AUD" } else { "REGULAR" };
        let (entries, exits) = (draws.below(4) * draws.below(30), draws.below(40));
        all.push(format!(
            "A00{booth},R05{booth},02-00-0{},{station},,,{desc},{entries},{exits},{number},{time}",
            draws.below(2)
        ));
    }
    all
}

/// `messages` in epochs of up to `longest` messages; then the input ends.
fn play(pipeline: &dyn Pipeline, messages: &[String], longest: u64, draws: &mut Draws) -> Play {
    let source =
        |number: u64| Source { input: InputIx(0), partition: Partition((number % PARTITIONS) as u32) };
    let mut lines = vec![Vec::new()];
    let mut left = draws.below(longest);
    for (number, message) in (0..).zip(messages) {
        if left == 0 {
            lines.push(Vec::new());
            left = 1 + draws.below(longest);
        }
        left -= 1;
        let value = Some(message.clone().into_bytes());
        let item = Item::Message { source: source(number), value, timestamp_ms: None };
        lines.last_mut().expect("there is one").push(item);
    }
    let flags = Flags { ended: true, ..Flags::default() };
    lines.push((0..PARTITIONS).map(|number| Item::Flags { source: source(number), flags }).collect());
    let input = pipeline.inputs().remove(0);
    Play { inputs: vec![PlayInput { spec: input, partitions: PARTITIONS as u32 }], lines, flush_ms: None }
}

/// What the views must hold, given the rows that have left until `epoch`.
fn naive(pipeline: &dyn Pipeline, played: &Played, epoch: Epoch) -> Content {
    // Those of a committed row.
    let columns: Vec<String> =
        crate::twin::COLUMNS[..11].iter().chain(&["WINDOW_END_UTC"]).map(ToString::to_string).collect();
    let mut recompute = pipeline.recompute().expect("it has views");
    for row in played.rows.iter().filter(|row| row.output == "turnstile" && row.epoch <= epoch) {
        let cells: Vec<Cell<'_>> = row.cells.iter().map(|cell| Cell::Text(cell)).collect();
        let row = CommittedRow { output: "turnstile", columns: &columns, cells: &cells };
        recompute.row(&row).expect("a committed row");
    }
    let mut content = Content::new();
    for (view, rows) in recompute.tables() {
        for row in rows {
            *content.entry(view).or_default().entry(row).or_insert(0) += 1;
        }
    }
    content
}

/// Takes the rows of days that have left `found` away from `rows` of the same view, and counts the days: those before the first one
/// that is there. `day` is the column of the day.
fn without_sealed(rows: &Rows, found: Option<&Rows>, day: usize) -> (Rows, usize) {
    let day_of = |row: &ViewRow| match &row.0[day] {
        Value::Text(text) if text.starts_with("2024") => Some(text.to_string()),
        _ => None,
    };
    let first = found.into_iter().flat_map(|rows| rows.keys()).filter_map(day_of).min();
    let is_sealed =
        |row: &ViewRow| day_of(row).is_some_and(|day| first.as_ref().is_none_or(|first| day < *first));
    let (gone, left): (Vec<_>, Vec<_>) =
        rows.iter().map(|(row, copies)| (row.clone(), *copies)).partition(|(row, _)| is_sealed(row));
    let days: BTreeSet<_> = gone.iter().filter_map(|(row, _)| day_of(row)).collect();
    (left.into_iter().collect(), days.len())
}

/// `busiest_now` has rows of one window: the newest of the rows that have left.
fn is_of_the_newest_window(found: &Content, played: &Played, epoch: Epoch) -> bool {
    let left = played.rows.iter().filter(|row| row.output == "turnstile" && row.epoch <= epoch);
    let ends = left.map(|row| row.cells[11].parse::<jiff::Timestamp>().expect("an instant").as_millisecond());
    // Windows that overlap one before are in no view.
    let newest = ends.filter(|end| end % 300_000 == 0).max();
    let ends: BTreeSet<i64> = found
        .get("busiest_now")
        .into_iter()
        .flat_map(|rows| rows.keys())
        .map(|row| match &row.0[1] {
            Value::Time(end) => end.ms(),
            other => panic!("as_of is {other:?}"),
        })
        .collect();
    ends.into_iter().eq(newest)
}

/// Compares every view at every epoch; gives what they hold in the end, and how many days of `station_day` are sealed then. A
/// sealed day is in no view by day; all else is what it would be without sealing.
fn check(pipeline: &dyn Pipeline, played: &Played, what: &str) -> (Content, usize) {
    let mut sealed = 0;
    let last = played.rows.iter().map(|row| row.epoch).max().expect("rows have left");
    for epoch in 1..=last.0 {
        let (found, mut wanted) = (played.views_at(Epoch(epoch)), naive(pipeline, played, Epoch(epoch)));
        assert!(is_of_the_newest_window(&found, played, Epoch(epoch)), "at epoch {epoch}, {what}");
        for (view, day) in [("station_day", 3), ("top_stations", 1)] {
            let Some(rows) = wanted.get_mut(view) else { continue };
            let (left, days) = without_sealed(rows, found.get(view), day);
            *rows = left;
            if view == "station_day" {
                assert!(days >= sealed, "a sealed day is back at epoch {epoch}, {what}");
                sealed = days;
            }
        }
        wanted.retain(|_, rows| !rows.is_empty());
        for (view, rows) in &wanted {
            assert_eq!(found.get(view), Some(rows), "{view} at epoch {epoch} (left), {what}");
        }
        assert_eq!(found.len(), wanted.len(), "at epoch {epoch}, {what}");
    }
    (played.views_at(last), sealed)
}

#[test]
fn every_view_is_what_the_rows_add_up_to_at_every_epoch() {
    let (mut late, mut repeats, mut sizes) = (0, 0, BTreeMap::new());
    // The first day ends an hour after the first message.
    for (seed, slide, seal_after, days, station_by) in [
        (1, "5m", "35d", 0, "lines"),
        (2, "1m", "35d", 0, "lines"),
        (3, "5m", "35d", 0, "name"),
        (4, "5m", "1h", 1, "lines"),
        (5, "1m", "5m", 1, "name"),
    ] {
        let settings = [("window", "5m"), ("slide", slide), ("zone", "America/New_York"), ("views", "true")];
        let settings = settings.into_iter().chain([("seal_after", seal_after), ("station_by", station_by)]);
        let entry = headway_pipelines::find("turnstile").expect("in the catalogue");
        let made = entry.configure(settings.chain([("csv_window_end_utc", "true")]));
        let pipeline: Arc<dyn Pipeline> = made.expect("a job").pipeline;
        let built = Arc::clone(&pipeline);
        let dataflow = Dataflow::of(move |build| built.build(build));
        let draws = &mut Draws(seed);
        let messages = messages(draws);
        let mut ends = Vec::new();
        for (workers, longest) in [(1, 9), (2, 30), (3, 4)] {
            let play = play(pipeline.as_ref(), &messages, longest, draws);
            let what = format!("seed {seed}, {workers} workers, up to {longest} messages an epoch");
            let played = play.run(&dataflow, workers, seed);
            ends.push((check(pipeline.as_ref(), &played, &what), what.clone()));
            (late, repeats) = (late + played.fates.late, repeats + played.fates.duplicate);
            let kills: Vec<usize> = (1..play.lines.len()).step_by(8).collect();
            let killed = play.run_with_kills(&dataflow, &[2, 1, 3], &kills);
            let what = format!("{what}, killed {} times", kills.len());
            ends.push((check(pipeline.as_ref(), &killed, &what), what));
        }
        for ((end, sealed), what) in &ends {
            assert!(*end == ends[0].0.0, "{what} ends with other views");
            assert_eq!(*sealed, days, "days are sealed, {what}");
        }
        // Two stations share a name: by name they are one, without lines and division, and with upstream's key.
        let stations = &ends[0].0.0["dim_station"];
        let of_name = |row: &&ViewRow| row.0[0] == Value::Text("59 ST".into());
        let shared: Vec<&ViewRow> = stations.keys().filter(of_name).collect();
        let key = Value::Text("83bec2469cfb3627f41bc1248ba74119".into());
        match station_by {
            "name" => {
                let texts = ["", ""].map(|text| Value::Text(text.into()));
                assert!(
                    shared.len() == 1 && shared[0].0[1..3] == texts && shared[0].0[3] == key,
                    "{shared:?}"
                );
            }
            _ => assert!(shared.len() == 2 && shared.iter().all(|row| row.0[3] != key), "{shared:?}"),
        }
        for (view, rows) in &ends[0].0.0 {
            *sizes.entry(*view).or_insert(0) += rows.len();
        }
    }
    assert!(late > 20 && repeats > 40, "{late} late records, {repeats} repeats");
    assert!(sizes.len() == 8 && sizes["station_day"] > 20 && sizes["dim_date"] >= 6, "{sizes:?}");
}
