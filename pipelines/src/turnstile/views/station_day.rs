//! `station_day`: people in and out of each station, by day.

use super::passage::{PassageSums, Station};
use super::shared::{Changes, STATION, SUMS, row, text};
use crate::day::Day;
use headway_operators::build::Build;
use headway_operators::spec::ViewSpec;
use headway_operators::view::table::Table;

/// Builds the view; gives the sums it shows.
pub(super) fn build<'s>(
    build: &mut Build<'s>,
    changes: &Changes<'s>,
) -> Table<'s, ((Station, Day), PassageSums)> {
    let by_day = changes.clone().map(|(at, sums)| ((at.station, at.interval.day), sums));
    let by_day = build.rollup_by_day("StationDay", by_day, |(_, day)| day.number());
    let spec = ViewSpec {
        name: "station_day",
        about: "people in and out of each station, by day",
        columns: [&STATION[..], &[text("day")], &SUMS].concat(),
        key: 4,
        version: 1,
        day: build.seals().then_some(3),
    };
    let rows = by_day.clone().map(|((station, day), sums)| row(&station, [(&day.iso()).into()], &sums));
    build.view(spec, rows);
    by_day
}
