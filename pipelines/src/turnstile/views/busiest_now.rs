//! `busiest_now`: the ten busiest stations of the newest interval that has ended. A station that has none of that interval is
//! not among them, however few they are.

use super::passage::{PassageSums, Station};
use super::shared::{AtBooth, Changes, STATION, number, of_station};
use headway_operators::build::Build;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::time::EventTime;
use headway_operators::view::keep::Fold;
use headway_operators::view::rollup::Sums;
use headway_operators::view::row::{Value, ViewRow};
use std::cmp::Reverse;

/// How many stations.
const PLACES: u32 = 10;

/// Sums the newest interval of a station. Older ones do not count, whenever they come; no interval goes again.
struct Newest;

impl Fold for Newest {
    type Key = Station;
    type Change = (EventTime, Sums<2>);
    type Value = (EventTime, Sums<2>);

    const VERSION: u32 = 1;

    fn fold(&self, value: &mut Option<Self::Value>, (end, change): Self::Change) {
        match value {
            Some((newest, _)) if *newest > end => {}
            Some((newest, sums)) if *newest == end => sums.add(change),
            Some(_) | None => *value = Some((end, change)),
        }
    }
}

/// Builds the view. `as_of` is the end of the interval: it says how old the row is.
pub(super) fn build<'s>(build: &mut Build<'s>, changes: Changes<'s>) {
    let change = |(at, sums): (AtBooth, PassageSums)| {
        let [entries, exits, ..] = sums.amounts;
        (at.station, (at.interval.end, Sums { rows: sums.rows, amounts: [entries, exits] }))
    };
    let newest = build.keep("BusiestNow", Newest, changes.map(change));
    let of_end = newest.map(|(station, (end, sums)): (Station, (EventTime, Sums<2>))| {
        let [entries, exits] = sums.amounts;
        ((), (Reverse(end), Reverse(entries + exits), Reverse(entries), station))
    });
    let first = of_end.top("BusiestNowPlaces", PLACES);
    // Those that are left may be of older intervals: the first place is of the newest.
    let newest = first.clone().filter_map(|ranked| {
        let (Reverse(end), ..) = ranked.row;
        (ranked.rank == 1).then_some(((), end))
    });
    let first = first.map(|ranked| ((), ranked)).lookup(newest).filter_map(|((), (ranked, newest))| {
        let (Reverse(end), ..) = ranked.row;
        (Some(end) == newest).then_some(ranked)
    });
    let spec = ViewSpec {
        name: "busiest_now",
        about: "the busiest stations of the newest interval; as_of says how old it is",
        columns: [
            &[number("rank"), Column::new("as_of", Kind::Time)],
            &STATION[..],
            &[Column::new("entries", Kind::Wide), Column::new("exits", Kind::Wide)],
        ]
        .concat(),
        key: 1,
        version: 2,
        day: None,
    };
    let rows = first.map(|ranked| {
        let (Reverse(end), Reverse(people), Reverse(entries), station) = ranked.row;
        let mut values = vec![Value::Int(i64::from(ranked.rank)), end.into()];
        values.extend(of_station(&station));
        values.extend([entries.into(), (people - entries).into()]);
        ViewRow(values)
    });
    build.view(spec, rows);
}
