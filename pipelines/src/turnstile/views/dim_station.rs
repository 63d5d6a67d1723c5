//! `dim_station`: the stations that occur.

use super::keys::surrogate;
use super::passage::StationBy;
use super::shared::{Changes, STATION, occurring, of_station, text};
use headway_operators::build::Build;
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::ViewRow;

/// Builds the view. `station_id` is of the station, `name_id` of its name alone: upstream's key.
pub(super) fn build<'s>(build: &mut Build<'s>, changes: &Changes<'s>, by: StationBy) {
    let stations = occurring(build, "DimStation", changes, |at| at.station);
    let spec = ViewSpec {
        name: "dim_station",
        about: "the stations that occur: a name, its lines and its division",
        columns: [&STATION[..], &[text("station_id"), text("name_id")]].concat(),
        key: 3,
        version: 1,
        day: None,
    };
    let rows = stations.map(move |station| {
        let mut values = of_station(&station).to_vec();
        values.push((&station.id(by)).into());
        values.push((&surrogate(&[station.name()])).into());
        ViewRow(values)
    });
    build.view(spec, rows);
}
