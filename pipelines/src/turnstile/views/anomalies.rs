//! `anomalies`: each interval and counter that is not believed, and why.

use super::passage::{Count, Passage};
use super::shared::{number, text};
use headway_operators::build::Build;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::table::Table;
use headway_operators::view::text::Text;

/// A counter's name, and what it counted in an interval.
type Counter = (&'static str, fn(&Passage) -> Count);

/// The two counters of a turnstile.
const COUNTERS: [Counter; 2] = [("entries", |passage| passage.entries), ("exits", |passage| passage.exits)];

/// Builds the view.
pub(super) fn build<'s>(build: &mut Build<'s>, passages: &Table<'s, Passage>) {
    let spec = ViewSpec {
        name: "anomalies",
        about: "each interval and counter that is not counted, and why",
        columns: vec![
            text("remote"),
            text("booth"),
            text("scp"),
            Column::new("interval_end", Kind::Time),
            text("counter"),
            text("station"),
            Column::new("interval_start", Kind::Time),
            text("kind"),
            number("difference"),
        ],
        key: 5,
        version: 1,
        day: None,
    };
    let [entries, exits] = COUNTERS.map(|(counter, count)| {
        passages.clone().filter_map(move |passage| {
            let (kind, difference) = count(&passage).anomaly()?;
            let (place, counter, kind) = (&passage.place, Text::from(counter), Text::from(kind));
            Some(ViewRow(vec![
                place.unit().into(),
                place.area().into(),
                place.scp().into(),
                passage.end.into(),
                (&counter).into(),
                place.name().into(),
                passage.start.into(),
                (&kind).into(),
                Value::Int(difference),
            ]))
        })
    });
    build.view(spec, entries.and(exits));
}
