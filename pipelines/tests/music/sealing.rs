//! Days of the views are sealed: their rows leave memory once, on any number of workers and after any kill, and all else is what it
//! would be without sealing.

use crate::recompute::{
    Draws, LATENESS_MS, PARTITIONS, add, content, made, page_view, partition, plays, script,
};
use headway_operators::kit::script::{Content, Dataflow, Played};
use headway_operators::pipeline::Pipeline;
use headway_operators::shape::Shape;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::row::{Value, ViewRow};
use headway_pipelines::music::topic::Topic;
use serde_json::Map;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The views that have files by day: the first column names the day.
const BY_DAY: [&str; 4] = ["top_songs", "top_artists", "streams_per_hour", "streams_by_state"];

/// Those whose rows leave closed windows and sessions: a day has none of them at first.
const CLOSED: [&str; 4] = ["active_users", "sessions", "top_songs_last_hour", "top_artists_last_hour"];

/// The rows of a view, each with how many copies there are.
type Rows = BTreeMap<ViewRow, i64>;

/// The day of a row; `None` for all days together.
fn day(row: &ViewRow) -> Option<&str> {
    match &row.0[0] {
        Value::Text(text) => Some(text.as_str()).filter(|day| *day != "all"),
        other => panic!("{other:?} is no day"),
    }
}

/// Takes the rows of days before the first one of `found` away from `rows`, and counts these days.
fn without_sealed(rows: &mut Rows, found: Option<&Rows>) -> usize {
    let first = found.into_iter().flat_map(|rows| rows.keys()).filter_map(day).min();
    let is_sealed =
        |row: &ViewRow| day(row).is_some_and(|day| first.as_ref().is_none_or(|first| day < *first));
    let days: BTreeSet<String> =
        rows.keys().filter(|row| is_sealed(row)).filter_map(day).map(str::to_string).collect();
    rows.retain(|row, _| !is_sealed(row));
    days.len()
}

/// Compares every view at every epoch of `size` plays, and gives what they hold in the end and how many days are sealed then.
fn check(
    pipeline: &dyn Pipeline,
    (plays, size): (&[Map<String, serde_json::Value>], usize),
    played: &Played,
    what: &str,
) -> (Content, usize) {
    let mut recompute = pipeline.recompute().expect("it has views");
    let (mut sealed, mut newest) = (0, BTreeMap::new());
    let epochs = plays.len().div_ceil(size) + 1;
    for epoch in 1..=epochs {
        let from = (epoch - 1) * size;
        for (number, play) in plays.iter().enumerate().skip(from).take(size) {
            add(recompute.as_mut(), Topic::Listen, play);
            add(recompute.as_mut(), Topic::PageView, &page_view(number, play));
            let ts = play["ts"].as_i64().expect("an instant");
            let own = newest.entry(partition(number)).or_insert(ts);
            *own = ts.max(*own);
        }
        let is_end = epoch == epochs;
        if newest.len() == PARTITIONS as usize {
            let least = newest.values().min().expect("there are partitions") - LATENESS_MS;
            let watermark = if is_end { EventTime::MAX } else { EventTime(least) };
            for input in ["listen_events", "page_view_events"] {
                recompute.watermark(input, watermark);
            }
        }
        let (found, mut wanted) = (played.views_at(Epoch(epoch as u64)), content(recompute.as_ref()));
        let mut days = BTreeSet::new();
        for view in BY_DAY {
            let rows = wanted.get_mut(view).expect("it has rows");
            days.insert(without_sealed(rows, found.get(view)));
        }
        assert_eq!(days.len(), 1, "views seal other days at epoch {epoch}, {what}: {days:?}");
        let days = days.pop_first().expect("there is one");
        assert!(days >= sealed, "a sealed day is back at epoch {epoch}, {what}");
        sealed = days;
        for view in CLOSED {
            let Some(rows) = wanted.get_mut(view) else { continue };
            without_sealed(rows, found.get(view));
        }
        wanted.retain(|_, rows| !rows.is_empty());
        for (view, rows) in &wanted {
            assert_eq!(found.get(view), Some(rows), "{view} at epoch {epoch} (left), {what}");
        }
    }
    (played.views_at(Epoch(epochs as u64)), sealed)
}

#[test]
fn a_day_is_sealed_once_neither_plays_nor_page_views_come_for_it() {
    let pipeline = made(&[("seal_after", "1h")]);
    let shape = Shape::of(pipeline.as_ref()).expect("it can be built");
    let inputs = shape.seals.expect("it seals days").inputs;
    let names: Vec<&str> = inputs.iter().map(|input| shape.inputs[input.index()].name).collect();
    assert_eq!(names, ["listen_events", "page_view_events"]);
}

#[test]
fn sealed_days_leave_every_view_by_day_and_nothing_else_changes() {
    for (seed, seal_after, days) in [(1, "35d", 0), (2, "1h", 2)] {
        let pipeline = made(&[("seal_after", seal_after)]);
        let built = Arc::clone(&pipeline);
        let dataflow = Dataflow::of(move |build| built.build(build));
        let plays = plays(&mut Draws(seed));
        let mut ends = Vec::new();
        for (workers, size) in [(1, 7), (2, 40), (3, 19)] {
            let script = script(pipeline.as_ref(), &plays, size);
            let what = format!("{workers} workers, {size} plays an epoch, sealed after {seal_after}");
            let played = script.run(&dataflow, workers, seed);
            ends.push((check(pipeline.as_ref(), (&plays, size), &played, &what), what.clone()));
            assert!(!played.dropped.keys().any(|(operator, _)| operator == "Seal"), "{:?}", played.dropped);
            let kills: Vec<usize> = (1..script.lines.len()).step_by(6).collect();
            let killed = script.run_with_kills(&dataflow, &[2, 1, 3], &kills);
            let what = format!("{what}, killed {} times", kills.len());
            ends.push((check(pipeline.as_ref(), (&plays, size), &killed, &what), what));
        }
        for ((end, sealed), what) in &ends {
            assert!(*end == ends[0].0.0, "{what} ends with other views");
            assert_eq!(*sealed, days, "sealed days, {what}");
        }
    }
}
