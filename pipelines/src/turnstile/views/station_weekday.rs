//! `station_weekday`: people in and out of each station, by day of the week, over all weeks.

use super::shared::{Changes, STATION, SUMS, number, row, sums, text};
use crate::day::weekday_name;
use headway_operators::build::Build;
use headway_operators::spec::ViewSpec;
use headway_operators::view::text::Text;

/// Builds the view.
pub(super) fn build<'s>(build: &mut Build<'s>, changes: &Changes<'s>) {
    let by_weekday = sums(build, "StationWeekday", changes, |at| (at.station, at.interval.day.weekday()));
    let spec = ViewSpec {
        name: "station_weekday",
        about: "people in and out of each station, by day of the week; 1 is Sunday",
        columns: [&STATION[..], &[number("weekday"), text("weekday_name")], &SUMS].concat(),
        key: 4,
        version: 1,
        day: None,
    };
    let rows = by_weekday.map(|((station, weekday), sums)| {
        let name = Text::from(weekday_name(weekday));
        row(&station, [i64::from(weekday).into(), (&name).into()], &sums)
    });
    build.view(spec, rows);
}
