//! `station_day`: people in and out of each station, by day.

use super::day::Day;
use super::passage::{Passage, PassageSums, Station};
use super::shared::{STATION, SUMS, row, sums_by_day, text};
use headway_operators::build::Build;
use headway_operators::spec::ViewSpec;
use headway_operators::view::table::Table;

/// Builds the view; gives the sums it shows.
pub(super) fn build<'s>(
    build: &mut Build<'s>,
    passages: &Table<'s, Passage>,
) -> Table<'s, ((Station, Day), PassageSums)> {
    let key = |passage: &Passage| (passage.place.station(), passage.day);
    let by_day = sums_by_day(build, "StationDay", passages, key, |(_, day)| *day);
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
