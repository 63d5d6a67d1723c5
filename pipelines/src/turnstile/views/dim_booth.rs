//! `dim_booth`: the booths that occur, each with its station.

use super::keys::surrogate;
use super::passage::{Station, StationBy};
use super::shared::{Changes, STATION, occurring, of_station, text};
use headway_operators::build::Build;
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::text::Text;

/// A remote unit and a control area.
type Booth = (Text, Text);

/// Builds the view. Where a booth is said to be at two stations, the first one in order counts.
pub(super) fn build<'s>(build: &mut Build<'s>, changes: &Changes<'s>, by: StationBy) {
    let booths = occurring(build, "DimBooth", changes, |at| (at.unit, at.area, at.station));
    let at = |(unit, area, station): (Text, Text, Station)| -> (Booth, Station) { ((unit, area), station) };
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
