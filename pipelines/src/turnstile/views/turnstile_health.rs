//! `turnstile_health`: how many intervals of each turnstile are counted and how many are not, and whether it counts backward.

use super::passage::{Count, Passage};
use super::shared::{number, text};
use headway_operators::build::Build;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::view::rollup::Sums;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::table::Table;

/// Counted, negative and over the bound.
fn kinds(count: Count) -> [i128; 3] {
    match count {
        Count::Counted(_) => [1, 0, 0],
        Count::Negative(_) => [0, 1, 0],
        Count::OverBound(_) => [0, 0, 1],
    }
}

/// Builds the view. A turnstile counts backward if it has more negative than counted intervals, of both counters together.
pub(super) fn build<'s>(build: &mut Build<'s>, passages: &Table<'s, Passage>) {
    let row = |(passage, _, diff): (Passage, _, i64)| {
        let ([c, n, o], [d, m, p]) = (kinds(passage.entries), kinds(passage.exits));
        let place = &passage.place;
        let turnstile = (place.unit().clone(), place.area().clone(), place.scp().clone());
        (turnstile, Sums::of([c, n, o, d, m, p]).times(diff))
    };
    let sums = build.rollup("TurnstileHealth", passages.updates().map(row));
    let spec = ViewSpec {
        name: "turnstile_health",
        about: "counted and anomalous intervals of each turnstile, and whether it counts backward",
        columns: vec![
            text("remote"),
            text("booth"),
            text("scp"),
            number("intervals"),
            number("entries_counted"),
            number("entries_negative"),
            number("entries_over_bound"),
            number("exits_counted"),
            number("exits_negative"),
            number("exits_over_bound"),
            Column::new("backward", Kind::Bool),
        ],
        key: 3,
        version: 1,
        day: None,
    };
    let rows = sums.map(|((unit, area, scp), Sums { rows, amounts })| {
        let [counted, negative, _, out_counted, out_negative, _] = amounts;
        let mut values = vec![Value::from(&unit), (&area).into(), (&scp).into(), Value::Int(rows)];
        let count = |intervals: i128| Value::Int(i64::try_from(intervals).expect("no more than intervals"));
        values.extend(amounts.map(count));
        values.push(Value::Bool(negative + out_negative > counted + out_counted));
        ViewRow(values)
    });
    build.view(spec, rows);
}
