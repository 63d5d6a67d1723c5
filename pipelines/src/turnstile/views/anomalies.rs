//! `anomalies`: each interval and counter that is not believed, and why.

use super::passage::{Count, Passage};
use super::shared::{number, text};
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::view::keep::Keep;
use headway_operators::view::rollup::{Rollup, Sums};
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::seal::SEALED_DAY;
use headway_operators::view::table::Table;
use headway_operators::view::text::Text;

/// A counter's name, and what it counted in an interval.
type Counter = (&'static str, fn(&Passage) -> Count);

/// The two counters of a turnstile.
const COUNTERS: [Counter; 2] = [("entries", |passage| passage.entries), ("exits", |passage| passage.exits)];

/// What the view is, in a pipeline where its rows are `about`.
fn spec(about: &'static str) -> ViewSpec {
    ViewSpec {
        name: "anomalies",
        about,
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
    }
}

/// The row of one counter of `passage`.
fn row(passage: &Passage, counter: &str, kind: &str, difference: i64) -> ViewRow {
    let (place, counter, kind) = (&passage.place, Text::from(counter), Text::from(kind));
    ViewRow(vec![
        place.unit().into(),
        place.area().into(),
        place.scp().into(),
        passage.end.into(),
        (&counter).into(),
        place.station().name().into(),
        passage.start.into(),
        (&kind).into(),
        Value::Int(difference),
    ])
}

/// Builds the view of registers.
pub(super) fn build<'s>(build: &mut Build<'s>, passages: &Table<'s, Passage>) {
    let [entries, exits] = COUNTERS.map(|(counter, count)| {
        passages.clone().filter_map(move |passage| {
            let (kind, difference) = count(&passage).anomaly()?;
            Some(row(&passage, counter, kind, difference))
        })
    });
    build.view(spec("each interval and counter that is not counted, and why"), entries.and(exits));
}

/// Builds the view of intervals that came for a sealed day: no other view has them.
pub(super) fn build_sealed<'s>(build: &mut Build<'s>, sealed: Flow<'s, Passage>) {
    // It begins with what comes, not with what was committed: such intervals are in no table of facts.
    let keep = Keep::new("SealedAnomalies", Rollup::<Passage, 0>::default(), build.committed());
    let all = Table::of(build.keyed(keep, sealed.map(|passage| (passage, Sums::of([])))));
    let [entries, exits] = COUNTERS.map(|(counter, count)| {
        all.clone().filter_map(move |(passage, _)| match count(&passage) {
            Count::Counted(people) => {
                let people = i64::try_from(people).unwrap_or(i64::MAX);
                Some(row(&passage, counter, &SEALED_DAY.to_string(), people))
            }
            Count::Negative(_) | Count::OverBound(_) => None,
        })
    });
    build.view(spec("each interval and counter that came after its day was sealed"), entries.and(exits));
}
