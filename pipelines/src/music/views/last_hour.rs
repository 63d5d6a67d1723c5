//! `top_songs_last_hour`: every five minutes, what was played most in the hour before.
//!
//! Two operators: the first counts the plays of a song by slices of five minutes and gives, at the end of each slice, how many
//! there were in the last twelve; the second keeps the first ten of an hour, and gives them when all have come.

use super::play::Song;
use super::songs::TOP;
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::kit::{Context, Logic, Record};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::time::EventTime;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

const SLICE_MS: i64 = 300_000;
const HOUR_MS: i64 = 3_600_000;

/// The columns of its rows.
pub(super) const COLUMNS: [Column; 6] = [
    Column::new("start", Kind::Time),
    Column::new("end", Kind::Time),
    Column::new("rank", Kind::Int),
    Column::new("artist", Kind::Text),
    Column::new("song", Kind::Text),
    Column::new("streams", Kind::Int),
];

/// Counts the plays of a song in the hour before each slice's end.
struct InLastHour;

impl Logic for InLastHour {
    type Key = Song;
    type In = Song;
    /// Plays by the first instant of the slice.
    type State = BTreeMap<EventTime, i64>;
    type Out = (EventTime, i64, Song);

    const VERSION: u32 = 1;

    fn key(song: &Song) -> Song {
        song.clone()
    }

    fn on_record(&self, _song: Song, slices: &mut Self::State, cx: &mut Context<'_, Self>) {
        let slice = EventTime(cx.time().ms().div_euclid(SLICE_MS) * SLICE_MS);
        if slices.is_empty() || !slices.contains_key(&slice) {
            cx.timer(slice.plus_ms(SLICE_MS - 1));
        }
        *slices.entry(slice).or_default() += 1;
    }

    fn on_timer(&self, slices: &mut Self::State, cx: &mut Context<'_, Self>) {
        let end = cx.time().plus_ms(1);
        // No record after this end has come: records and timers are taken in the order of time.
        let plays = slices.values().sum();
        if plays > 0 {
            cx.emit((end, plays, cx.key().clone()));
        }
        // What begins less than an hour before the next end still counts there.
        let first = end.plus_ms(SLICE_MS).minus_ms(HOUR_MS);
        slices.retain(|slice, _| *slice >= first);
        if !slices.is_empty() {
            cx.timer(end.plus_ms(SLICE_MS - 1));
        }
    }
}

/// Ranks the songs of an hour.
struct Rank;

impl Logic for Rank {
    type Key = EventTime;
    type In = (EventTime, i64, Song);
    /// The first few so far.
    type State = BTreeSet<(Reverse<i64>, Song)>;
    type Out = LastHour;

    const VERSION: u32 = 1;

    fn key((end, ..): &Self::In) -> EventTime {
        *end
    }

    fn on_record(&self, (end, plays, song): Self::In, top: &mut Self::State, cx: &mut Context<'_, Self>) {
        if top.is_empty() {
            cx.timer(end.minus_ms(1));
        }
        top.insert((Reverse(plays), song));
        // Each song comes once an hour: what is not among the first now never will be.
        while top.len() > TOP as usize {
            top.pop_last();
        }
    }

    fn on_timer(&self, top: &mut Self::State, cx: &mut Context<'_, Self>) {
        let end = *cx.key();
        for (rank, (Reverse(streams), song)) in (1..).zip(std::mem::take(top)) {
            cx.emit(LastHour { end, rank, song, streams });
        }
    }
}

/// A song of the last hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastHour {
    end: EventTime,
    rank: i64,
    song: Song,
    streams: i64,
}

impl Row for LastHour {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Time(self.end.minus_ms(HOUR_MS)));
        put(Cell::Time(self.end));
        put(Cell::Int(self.rank));
        put(self.song.artist.as_deref().map_or(Cell::Null, Cell::Text));
        put(self.song.title.as_deref().map_or(Cell::Null, Cell::Text));
        put(Cell::Int(self.streams));
    }

    fn time(&self) -> EventTime {
        self.end.minus_ms(1)
    }
}

/// The songs that were played most in the hour before the end of every five minutes in which one is played, and of the eleven
/// after that.
pub(super) fn last_hour<'s>(build: &mut Build<'s>, songs: Flow<'s, Record<Song>>) -> Flow<'s, LastHour> {
    let counted = build.logic("SongsInLastHour", InLastHour, songs);
    build.logic("TopSongsLastHour", Rank, counted).map(|record| record.data)
}
