//! `top_songs_last_hour` and `top_artists_last_hour`: every five minutes, what was played most in the hour before.
//!
//! Two operators for each: the first counts the plays of a song, or of an artist, by slices of five minutes and gives, at the end of
//! each slice, how many there were in the last twelve; the second keeps the first ten of an hour, and gives them when all have come.

use super::play::Song;
use super::songs::TOP;
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::kit::{Context, Logic, Record};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::time::EventTime;
use headway_operators::view::table::Key;
use headway_operators::view::text::Text;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

const SLICE_MS: i64 = 300_000;
const HOUR_MS: i64 = 3_600_000;

/// The columns of the rows of songs.
pub(super) const SONG_COLUMNS: [Column; 6] = [
    Column::new("start", Kind::Time),
    Column::new("end", Kind::Time),
    Column::new("rank", Kind::Int),
    Column::new("artist", Kind::Text),
    Column::new("song", Kind::Text),
    Column::new("streams", Kind::Int),
];

/// The columns of the rows of artists.
pub(super) const ARTIST_COLUMNS: [Column; 5] = [
    Column::new("start", Kind::Time),
    Column::new("end", Kind::Time),
    Column::new("rank", Kind::Int),
    Column::new("artist", Kind::Text),
    Column::new("streams", Kind::Int),
];

/// What is ranked. Of two that were played as often, the lesser one comes first.
pub(super) trait Contender: Key + Sync {
    /// Gives the cells that name it.
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>));
}

impl Contender for Song {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(self.artist.as_deref().map_or(Cell::Null, Cell::Text));
        put(self.title.as_deref().map_or(Cell::Null, Cell::Text));
    }
}

/// An artist, by name.
impl Contender for Text {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Text(self));
    }
}

/// Counts the plays of a contender in the hour before each slice's end.
struct InLastHour<C>(PhantomData<C>);

impl<C: Contender> Logic for InLastHour<C> {
    type Key = C;
    type In = C;
    /// Plays by the first instant of the slice.
    type State = BTreeMap<EventTime, i64>;
    type Out = (EventTime, i64, C);

    const VERSION: u32 = 1;

    fn key(contender: &C) -> C {
        contender.clone()
    }

    fn on_record(&self, _contender: C, slices: &mut Self::State, cx: &mut Context<'_, Self>) {
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

/// Ranks the contenders of an hour.
struct Rank<C>(PhantomData<C>);

impl<C: Contender> Logic for Rank<C> {
    type Key = EventTime;
    type In = (EventTime, i64, C);
    /// The first few so far.
    type State = BTreeSet<(Reverse<i64>, C)>;
    type Out = LastHour<C>;

    const VERSION: u32 = 1;

    fn key((end, ..): &Self::In) -> EventTime {
        *end
    }

    fn on_record(
        &self,
        (end, plays, contender): Self::In,
        top: &mut Self::State,
        cx: &mut Context<'_, Self>,
    ) {
        if top.is_empty() {
            cx.timer(end.minus_ms(1));
        }
        top.insert((Reverse(plays), contender));
        // Each contender comes once an hour: what is not among the first now never will be.
        while top.len() > TOP as usize {
            top.pop_last();
        }
    }

    fn on_timer(&self, top: &mut Self::State, cx: &mut Context<'_, Self>) {
        let end = *cx.key();
        for (rank, (Reverse(streams), contender)) in (1..).zip(std::mem::take(top)) {
            cx.emit(LastHour { end, rank, contender, streams });
        }
    }
}

/// One of those that were played most in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastHour<C> {
    end: EventTime,
    rank: i64,
    contender: C,
    streams: i64,
}

impl<C: Contender> Row for LastHour<C> {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Time(self.end.minus_ms(HOUR_MS)));
        put(Cell::Time(self.end));
        put(Cell::Int(self.rank));
        self.contender.cells(put);
        put(Cell::Int(self.streams));
    }

    fn time(&self) -> EventTime {
        self.end.minus_ms(1)
    }
}

/// What was played most in the hour before the end of every five minutes in which something is played, and of the eleven after that.
/// `what` names the two operators: songs, or artists.
pub(super) fn last_hour<'s, C: Contender>(
    build: &mut Build<'s>,
    what: &str,
    plays: Flow<'s, Record<C>>,
) -> Flow<'s, LastHour<C>> {
    let counted = build.logic(&format!("{what}InLastHour"), InLastHour(PhantomData), plays);
    build.logic(&format!("Top{what}LastHour"), Rank(PhantomData), counted).map(|record| record.data)
}
