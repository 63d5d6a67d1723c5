//! `dim_station`: the stations that occur.

use super::keys::surrogate;
use super::passage::{Passage, StationBy};
use super::shared::{STATION, of_station, text};
use headway_operators::build::Build;
use headway_operators::spec::ViewSpec;
use headway_operators::view::rollup::Sums;
use headway_operators::view::row::ViewRow;
use headway_operators::view::table::Table;

/// Builds the view. `station_id` is of the station, `name_id` of its name alone: upstream's key.
pub(super) fn build<'s>(build: &mut Build<'s>, passages: &Table<'s, Passage>, by: StationBy) {
    let station = |(passage, _, diff): (Passage, _, i64)| (passage.place.station(), Sums::of([]).times(diff));
    let stations = build.rollup("DimStation", passages.updates().map(station));
    let spec = ViewSpec {
        name: "dim_station",
        about: "the stations that occur: a name, its lines and its division",
        columns: [&STATION[..], &[text("station_id"), text("name_id")]].concat(),
        key: 3,
        version: 1,
        day: None,
    };
    let rows = stations.map(move |(station, _)| {
        let mut values = of_station(&station).to_vec();
        values.push((&station.id(by)).into());
        values.push((&surrogate(&[&station.name])).into());
        ViewRow(values)
    });
    build.view(spec, rows);
}
