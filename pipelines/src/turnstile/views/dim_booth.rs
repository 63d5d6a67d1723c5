//! `dim_booth`: the booths that occur, each with its station.

use super::keys::surrogate;
use super::passage::{Passage, Station, StationBy};
use super::shared::{STATION, of_station, text};
use headway_operators::build::Build;
use headway_operators::spec::ViewSpec;
use headway_operators::view::rollup::Sums;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::table::Table;
use headway_operators::view::text::Text;

/// A remote unit and a control area.
type Booth = (Text, Text);

/// Builds the view. Where a booth is said to be at two stations, the first one in order counts.
pub(super) fn build<'s>(build: &mut Build<'s>, passages: &Table<'s, Passage>, by: StationBy) {
    let booth = |(passage, _, diff): (Passage, _, i64)| {
        let place = &passage.place;
        ((place.unit().clone(), place.area().clone(), place.station()), Sums::of([]).times(diff))
    };
    let booths = build.rollup("DimBooth", passages.updates().map(booth));
    let at = |((unit, area, station), _): ((Text, Text, Station), Sums<0>)| -> (Booth, Station) {
        ((unit, area), station)
    };
    let first = booths.map(at).top("BoothStation", 1);
    let spec = ViewSpec {
        name: "dim_booth",
        about: "the booths that occur, each with its station",
        columns: [&[text("remote"), text("booth"), text("booth_id"), text("station_id")], &STATION[..]]
            .concat(),
        key: 2,
        version: 1,
        day: None,
    };
    let rows = first.map(move |ranked| {
        let ((unit, area), station) = (ranked.group, ranked.row);
        let booth_id = surrogate(&[&unit, &area]);
        let station_id = station.id(by);
        let mut values = [&unit, &area, &booth_id, &station_id].map(Value::from).to_vec();
        values.extend(of_station(&station));
        ViewRow(values)
    });
    build.view(spec, rows);
}
