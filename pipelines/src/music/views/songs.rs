//! `dim_songs`, `dim_artists`, `top_songs`, `top_artists`: what was played, and what was played most.

use super::play::{Bits, Play, Song};
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::record::Stamped;
use headway_operators::time::EventTime;
use headway_operators::view::latest::Latest;
use headway_operators::view::rollup::Sums;
use headway_operators::view::table::{Key, Table};
use headway_operators::view::text::Text;
use headway_operators::view::top::Ranked;
use std::cmp::Reverse;

/// How many songs and artists are listed.
pub const TOP: u32 = 10;

const DAY_MS: i64 = 86_400_000;

/// When something was played first, and how long it took then.
pub type First = (Reverse<EventTime>, Option<Bits>);

/// What is listed of a day, or of all days where it is `None`: the most played first.
pub type Most<K> = Ranked<Option<i64>, (Reverse<i64>, K)>;

/// `dim_songs`: each song once, with the duration that its first play had.
pub fn songs<'s>(build: &mut Build<'s>, plays: &Flow<'s, Stamped<Play>>) -> Table<'s, (Song, First)> {
    let first = |Stamped { time, data: play, .. }: Stamped<Play>| {
        play.song.title.is_some().then_some((play.song, (Reverse(time), play.duration)))
    };
    build.keep("Songs", Latest::default(), plays.clone().filter_map(first))
}

/// `dim_artists`: each name once, with its first play.
pub fn artists<'s>(
    build: &mut Build<'s>,
    plays: &Flow<'s, Stamped<Play>>,
) -> Table<'s, (Text, (Reverse<EventTime>, ()))> {
    let first =
        |Stamped { time, data: play, .. }: Stamped<Play>| Some((play.song.artist?, (Reverse(time), ())));
    build.keep("Artists", Latest::default(), plays.clone().filter_map(first))
}

/// The number of the day that an instant is in, since 1970-01-01, in UTC.
pub fn day(time: EventTime) -> i64 {
    time.ms().div_euclid(DAY_MS)
}

/// Counts plays by day, and in all, and ranks what was played most. Two names of one rank come in their own order.
fn most<'s, K: Key>(
    build: &mut Build<'s>,
    name: &str,
    plays: &Flow<'s, Stamped<Play>>,
    of: fn(Song) -> Option<K>,
) -> Table<'s, Most<K>> {
    // What all days add up to has sums of its own: days may leave memory.
    let by_day = plays.clone().filter_map(move |Stamped { time, data: play, .. }| {
        Some(((Some(day(time)), of(play.song)?), Sums::of([])))
    });
    let overall = plays
        .clone()
        .filter_map(move |Stamped { data: play, .. }| Some(((None, of(play.song)?), Sums::of([]))));
    let by_day = build.rollup_by_day(&format!("{name}ByDay"), by_day, |(day, _): &(Option<i64>, K)| {
        day.expect("it is a sum of one day")
    });
    let overall = build.rollup(&format!("{name}Overall"), overall);
    let sums: Table<'s, ((Option<i64>, K), Sums<0>)> = by_day.and(overall);
    sums.map(|((day, what), sums)| (day, (Reverse(sums.rows), what))).top(&format!("Top{name}"), TOP)
}

/// `top_songs`: the songs that were played most, by day and overall.
pub fn top_songs<'s>(build: &mut Build<'s>, plays: &Flow<'s, Stamped<Play>>) -> Table<'s, Most<Song>> {
    most(build, "SongPlays", plays, |song| song.title.is_some().then_some(song))
}

/// `top_artists`: the artists that were played most, by day and overall.
pub fn top_artists<'s>(build: &mut Build<'s>, plays: &Flow<'s, Stamped<Play>>) -> Table<'s, Most<Text>> {
    most(build, "ArtistPlays", plays, |song| song.artist)
}
