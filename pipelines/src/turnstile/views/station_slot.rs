//! `station_slot`: people in and out of each station, by slot of four hours, over all days.

use super::shared::{Changes, STATION, SUMS, number, row, sums, text};
use headway_operators::build::Build;
use headway_operators::spec::ViewSpec;
use headway_operators::view::text::Text;

/// Hours of a slot.
const HOURS: u8 = 4;

/// What the slots are called.
const NAMES: [&str; 6] =
    ["00:00-03:59", "04:00-07:59", "08:00-11:59", "12:00-15:59", "16:00-19:59", "20:00-23:59"];

/// Builds the view.
pub(super) fn build<'s>(build: &mut Build<'s>, changes: &Changes<'s>) {
    let by_slot = sums(build, "StationSlot", changes, |at| (at.station, at.interval.hour / HOURS));
    let spec = ViewSpec {
        name: "station_slot",
        about: "people in and out of each station, by slot of four hours",
        columns: [&STATION[..], &[number("slot"), text("hours")], &SUMS].concat(),
        key: 4,
        version: 1,
        day: None,
    };
    let rows = by_slot.map(|((station, slot), sums)| {
        let hours = Text::from(NAMES[usize::from(slot)]);
        row(&station, [i64::from(slot).into(), (&hours).into()], &sums)
    });
    build.view(spec, rows);
}
