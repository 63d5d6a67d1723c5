//! `fact_turnstile` of the weekly job: the intervals that its views are made of, one row a turnstile and interval, in a gold file
//! for each day.
//!
//! It is no append-only output as that of the streamed job ([`super::fact`]): a corrected file that is read later changes rows of
//! a day that is long over, and the file of that day is written anew. The table is too large for memory, so only files have it.

use super::fact::FACT;
use super::passage::{Count, Passage};
use super::shared::{number, of_station, text};
use crate::day::Day;
use headway_operators::build::Build;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::table::Table;
use headway_operators::view::text::Text;

/// The column of the day.
const DAY: usize = 8;

/// The people of a counter; nothing where the interval is not believed.
fn people(count: Count) -> Value {
    match count {
        Count::Counted(people) => people.into(),
        Count::Negative(_) | Count::OverBound(_) => Value::Null,
    }
}

/// Builds the table.
pub(super) fn build<'s>(build: &mut Build<'s>, passages: &Table<'s, Passage>) {
    let spec = ViewSpec {
        name: FACT,
        about: "each interval of each turnstile, and who passed; entries or exits are missing where they are an anomaly",
        columns: vec![
            text("remote"),
            text("booth"),
            text("scp"),
            Column::new("interval_end", Kind::Time),
            text("station"),
            text("lines"),
            text("division"),
            Column::new("interval_start", Kind::Time),
            text("day"),
            number("hour"),
            Column::new("entries", Kind::Wide),
            Column::new("exits", Kind::Wide),
        ],
        key: 4,
        version: 1,
        day: Some(DAY),
    };
    // Rows of a day come together.
    let mut last: Option<(Day, Text)> = None;
    let rows = passages.clone().map(move |passage| {
        let Passage { place, start, end, day, hour, entries, exits } = &passage;
        let name = match &last {
            Some((known, name)) if known == day => name.clone(),
            _ => last.insert((*day, day.iso())).1.clone(),
        };
        let mut values: Vec<Value> = [place.unit(), place.area(), place.scp()].map(Value::from).to_vec();
        values.push((*end).into());
        values.extend(of_station(place.station()));
        values.extend([(*start).into(), (&name).into(), i64::from(*hour).into()]);
        values.extend([people(*entries), people(*exits)]);
        ViewRow(values)
    });
    build.day_files(spec, rows);
}
