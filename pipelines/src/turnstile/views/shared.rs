//! What several views share: sums of passages by a key, and their columns.

use super::day::Day;
use super::passage::{Passage, PassageSums, Station};
use headway_operators::build::Build;
use headway_operators::row::{Column, Kind};
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::table::{Key, Table};

/// Sums passages by `key`; `name` is the operator's.
pub(super) fn sums<'s, K: Key>(
    build: &mut Build<'s>,
    name: &str,
    passages: &Table<'s, Passage>,
    key: impl Fn(&Passage) -> K + 'static,
) -> Table<'s, (K, PassageSums)> {
    let row = move |(passage, _, diff): (Passage, _, i64)| (key(&passage), passage.sums().times(diff));
    build.rollup(name, passages.updates().map(row))
}

/// Sums passages by a `key` that has a day, which `day` gives: sums of sealed days leave.
pub(super) fn sums_by_day<'s, K: Key>(
    build: &mut Build<'s>,
    name: &str,
    passages: &Table<'s, Passage>,
    key: impl Fn(&Passage) -> K + 'static,
    day: fn(&K) -> Day,
) -> Table<'s, (K, PassageSums)> {
    let row = move |(passage, _, diff): (Passage, _, i64)| (key(&passage), passage.sums().times(diff));
    build.rollup_by_day(name, passages.updates().map(row), move |key| day(key).number())
}

/// A text column.
pub(super) const fn text(name: &'static str) -> Column {
    Column::new(name, Kind::Text)
}

/// A column of numbers.
pub(super) const fn number(name: &'static str) -> Column {
    Column::new(name, Kind::Int)
}

/// The columns that name a station.
pub(super) const STATION: [Column; 3] = [text("station"), text("lines"), text("division")];

/// The columns of [`PassageSums`].
pub(super) const SUMS: [Column; 5] = [
    Column::new("entries", Kind::Wide),
    Column::new("exits", Kind::Wide),
    number("intervals"),
    number("entries_counted"),
    number("exits_counted"),
];

/// A row that begins with a station, goes on with `key` and ends with sums.
pub(super) fn row<const N: usize>(station: &Station, key: [Value; N], sums: &PassageSums) -> ViewRow {
    let mut values = Vec::with_capacity(8 + N);
    values.extend(of_station(station));
    values.extend(key);
    values.extend(of_sums(sums));
    ViewRow(values)
}

/// The values that name a station.
pub(super) fn of_station(station: &Station) -> [Value; 3] {
    [(&station.name).into(), (&station.lines).into(), (&station.division).into()]
}

/// The values of sums.
pub(super) fn of_sums(sums: &PassageSums) -> [Value; 5] {
    let [entries, exits, entries_counted, exits_counted] = sums.amounts;
    let count = |intervals: i128| Value::Int(i64::try_from(intervals).expect("no more than intervals"));
    [entries.into(), exits.into(), sums.rows.into(), count(entries_counted), count(exits_counted)]
}
