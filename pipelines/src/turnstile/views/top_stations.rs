//! `top_stations`: the ten busiest stations by entries and by exits, of each day and overall.

use super::passage::{PassageSums, Station};
use super::shared::{Changes, STATION, number, of_station, sums, text};
use crate::day::Day;
use headway_operators::build::Build;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::table::Table;
use headway_operators::view::text::Text;
use std::cmp::Reverse;

/// How many stations of a group.
const PLACES: u32 = 10;

/// By what stations are ranked: the number of an amount of [`PassageSums`], and its name.
const MEASURES: [(u8, &str); 2] = [(0, "entries"), (1, "exits")];

/// The day, `None` for overall, and the measure.
type Group = (Option<Day>, u8);

/// Builds the view. Overall has sums of its own: a total must not be derived from days, which may leave memory.
pub(super) fn build<'s>(
    build: &mut Build<'s>,
    changes: &Changes<'s>,
    by_day: Table<'s, ((Station, Day), PassageSums)>,
) {
    let overall = sums(build, "StationTotal", changes, |at| at.station);
    let overall = overall.map(|(station, sums)| ((station, None), sums));
    let by_day = by_day.map(|((station, day), sums)| ((station, Some(day)), sums));
    let all = by_day.and(overall);
    let ranked = |(measure, name): (u8, &'static str)| {
        let row = move |((station, day), sums): ((Station, Option<Day>), PassageSums)| {
            let group: Group = (day, measure);
            (group, (Reverse(sums.amounts[usize::from(measure)]), station))
        };
        all.clone().map(row).top(&format!("TopStations-{name}"), PLACES)
    };
    let [entries, exits] = MEASURES.map(ranked);
    let spec = ViewSpec {
        name: "top_stations",
        about: "the ten busiest stations by entries and by exits, by day and overall",
        columns: [
            &[text("measure"), text("day"), number("rank")],
            &STATION[..],
            &[Column::new("people", Kind::Wide)],
        ]
        .concat(),
        key: 3,
        version: 1,
        day: build.seals().then_some(1),
    };
    let rows = entries.and(exits).map(|ranked| {
        let ((day, measure), (Reverse(people), station)) = (ranked.group, ranked.row);
        let measure = Text::from(MEASURES[usize::from(measure)].1);
        let day = day.map_or_else(|| Text::from("overall"), Day::iso);
        let mut values = vec![Value::from(&measure), (&day).into(), i64::from(ranked.rank).into()];
        values.extend(of_station(&station));
        values.push(people.into());
        ViewRow(values)
    });
    build.view(spec, rows);
}
