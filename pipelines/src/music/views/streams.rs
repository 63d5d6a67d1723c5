//! `streams_per_hour`, `streams_by_state`, `dim_location`: when and where songs were played.

use super::play::{Place, Play};
use super::songs::day;
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::record::Stamped;
use headway_operators::time::EventTime;
use headway_operators::view::latest::Latest;
use headway_operators::view::rollup::Sums;
use headway_operators::view::table::Table;
use headway_operators::view::text::Text;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

pub(super) const HOUR_MS: i64 = 3_600_000;

/// A row of `streams_per_hour`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hour {
    /// Its first instant, in UTC.
    pub hour: EventTime,
    /// How many songs began in it.
    pub streams: i64,
    /// How many began in the same hour of the day before.
    pub day_before: Option<i64>,
}

/// The hour that an instant is in.
pub fn hour(time: EventTime) -> EventTime {
    EventTime(time.ms().div_euclid(HOUR_MS) * HOUR_MS)
}

/// `streams_per_hour`, with the same hour of the day before beside it. Each play counts in two hours: in its own, and as a play "of the
/// day before" in the hour 24 hours later. So an hour needs no row of the day before, which may have left memory.
pub fn per_hour<'s>(build: &mut Build<'s>, plays: &Flow<'s, Stamped<Play>>) -> Table<'s, Hour> {
    let own = plays.clone().map(|Stamped { time, .. }| (hour(time), Sums::of([1, 0])));
    let before = own.clone().map(|(hour, _)| (hour.plus_ms(24 * HOUR_MS), Sums::of([0, 1])));
    let sums: Table<'s, (EventTime, Sums<2>)> =
        build.rollup_by_day("StreamsByHour", own.and(before), |hour| day(*hour));
    sums.filter_map(|(hour, Sums { amounts: [streams, before], .. })| {
        let count = |plays: i128| i64::try_from(plays).expect("plays are counted one by one");
        let day_before = (before > 0).then(|| count(before));
        (streams > 0).then(|| Hour { hour, streams: count(streams), day_before })
    })
}

/// `streams_by_state`: songs by day and state.
pub fn by_state<'s>(
    build: &mut Build<'s>,
    plays: &Flow<'s, Stamped<Play>>,
) -> Table<'s, ((i64, Option<Text>), Sums<0>)> {
    let by_state =
        plays.clone().map(|Stamped { time, data: play, .. }| ((day(time), play.place.state), Sums::of([])));
    build.rollup_by_day("StreamsByState", by_state, |(day, _)| *day)
}

/// `dim_location`: each place once, with its first play.
pub fn locations<'s>(
    build: &mut Build<'s>,
    plays: &Flow<'s, Stamped<Play>>,
) -> Table<'s, (Place, (Reverse<EventTime>, ()))> {
    let first = |Stamped { time, data: play, .. }: Stamped<Play>| (play.place, (Reverse(time), ()));
    build.keep("Locations", Latest::default(), plays.clone().map(first))
}
