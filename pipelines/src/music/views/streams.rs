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

/// `streams_per_hour`, with the same hour of the day before beside it.
pub fn per_hour<'s>(build: &mut Build<'s>, plays: &Flow<'s, Stamped<Play>>) -> Table<'s, Hour> {
    let by_hour = plays.clone().map(|Stamped { time, .. }| (hour(time), Sums::of([])));
    let sums: Table<'s, (EventTime, Sums<0>)> = build.rollup("StreamsPerHour", by_hour);
    let hours = sums.map(|(hour, sums)| (hour, sums.rows));
    let next_day = hours.clone().map(|(hour, streams)| (hour.plus_ms(24 * HOUR_MS), streams));
    hours.lookup(next_day).map(|(hour, (streams, day_before))| Hour { hour, streams, day_before })
}

/// `streams_by_state`: songs by day and state.
pub fn by_state<'s>(
    build: &mut Build<'s>,
    plays: &Flow<'s, Stamped<Play>>,
) -> Table<'s, ((i64, Option<Text>), Sums<0>)> {
    let by_state =
        plays.clone().map(|Stamped { time, data: play, .. }| ((day(time), play.place.state), Sums::of([])));
    build.rollup("StreamsByState", by_state)
}

/// `dim_location`: each place once, with its first play.
pub fn locations<'s>(
    build: &mut Build<'s>,
    plays: &Flow<'s, Stamped<Play>>,
) -> Table<'s, (Place, (Reverse<EventTime>, ()))> {
    let first = |Stamped { time, data: play, .. }: Stamped<Play>| (play.place, (Reverse(time), ()));
    build.keep("Locations", Latest::default(), plays.clone().map(first))
}
