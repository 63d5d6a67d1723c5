//! What several views share: sums of passages by a key, and their columns.

use super::passage::{Interval, Passage, PassageSums, Station};
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::row::{Column, Kind};
use headway_operators::view::combine::combine;
use headway_operators::view::rollup::Sums;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::table::{Key, Table};
use headway_operators::view::text::Text;

/// A booth and an interval: what most views are sums over. A booth has six turnstiles in the mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AtBooth {
    /// The remote unit.
    pub unit: Text,
    /// The control area.
    pub area: Text,
    /// The station.
    pub station: Station,
    /// The interval.
    pub interval: Interval,
}

/// What each epoch changes, by booth and interval.
pub(super) type Changes<'s> = Flow<'s, (AtBooth, PassageSums)>;

/// The changes that `passages` are.
pub(super) fn changes<'s>(passages: &Table<'s, Passage>) -> Changes<'s> {
    combine(&passages.updates().map(|(passage, _, diff)| {
        let Passage { place, .. } = &passage;
        let (unit, area, station) = (place.unit().clone(), place.area().clone(), place.station().clone());
        (AtBooth { unit, area, station, interval: passage.interval() }, passage.sums().times(diff))
    }))
}

/// Sums passages by `key`; `name` is the operator's.
pub(super) fn sums<'s, K: Key>(
    build: &mut Build<'s>,
    name: &str,
    changes: &Changes<'s>,
    key: impl Fn(AtBooth) -> K + 'static,
) -> Table<'s, (K, PassageSums)> {
    build.rollup(name, changes.clone().map(move |(at, sums)| (key(at), sums)))
}

/// Counts passages by `key`, for a view of what occurs; `name` is the operator's.
pub(super) fn occurring<'s, K: Key>(
    build: &mut Build<'s>,
    name: &str,
    changes: &Changes<'s>,
    key: impl Fn(AtBooth) -> K + 'static,
) -> Table<'s, K> {
    let row = move |(at, sums): (AtBooth, PassageSums)| (key(at), Sums { rows: sums.rows, amounts: [] });
    build.occurring(name, changes.clone().map(row))
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
    station.columns().map(Value::from)
}

/// The values of sums.
pub(super) fn of_sums(sums: &PassageSums) -> [Value; 5] {
    let [entries, exits, entries_counted, exits_counted] = sums.amounts;
    let count = |intervals: i128| Value::Int(i64::try_from(intervals).expect("no more than intervals"));
    [entries.into(), exits.into(), sums.rows.into(), count(entries_counted), count(exits_counted)]
}
