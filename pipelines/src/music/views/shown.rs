//! The tables as rows that are shown outside the dataflow. Floating point numbers that came with events are text there, since
//! a view holds exact values only; durations are whole microseconds.

use super::Tables;
use super::play::{Bits, Place, Song};
use super::songs::{Most, day};
use super::states;
use super::streams::Hour;
use super::users::{GenderLevel, User, user_key};
use crate::day::Day;
use headway_operators::build::Build;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::time::EventTime;
use headway_operators::view::rollup::Sums;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::table::{Key, Table};
use headway_operators::view::text::Text;
use headway_operators::view::top::Ranked;
use std::cmp::Reverse;

/// What stands for all days together.
const ALL_DAYS: &str = "all";

/// Shows all tables.
pub(in crate::music) fn show<'s>(build: &mut Build<'s>, tables: Tables<'s>) {
    show_users(build, &tables);
    show_catalogue(build, &tables);
    let top_songs = ranked(tables.top_songs, |song: &Song| vec![text(&song.artist), text(&song.title)]);
    let columns = columns(&[PERIOD, RANK, ARTIST, ("song", Kind::Text), STREAMS]);
    let by_day = build.seals().then_some(0);
    let songs = spec("top_songs", "The songs that were played most, by day and over all days", 2, columns);
    build.view(ViewSpec { day: by_day, ..songs }, top_songs);
    let top_artists = ranked(tables.top_artists, |artist: &Text| vec![Value::from(artist)]);
    let artists = spec(
        "top_artists",
        "The artists that were played most, by day and over all days",
        2,
        self::columns(&[PERIOD, RANK, ARTIST, STREAMS]),
    );
    build.view(ViewSpec { day: by_day, ..artists }, top_artists);
    show_times_and_places(build, tables.per_hour, tables.by_state);
}

fn show_times_and_places<'s>(
    build: &mut Build<'s>,
    per_hour: Table<'s, Hour>,
    by_state: Table<'s, ((i64, Option<Text>), Sums<0>)>,
) {
    let by_day = build.seals().then_some(0);
    let per_hour = per_hour.map(|Hour { hour, streams, day_before }| {
        let day_before = day_before.map_or(Value::Null, Value::from);
        ViewRow(vec![date(Some(day(hour))), hour.into(), streams.into(), day_before])
    });
    let columns = self::columns(&[DAY, ("hour", Kind::Time), STREAMS, ("dayBefore", Kind::Int)]);
    let about = "How many songs began in each hour, and in the same hour of the day before";
    let spec = ViewSpec { day: by_day, version: 2, ..self::spec("streams_per_hour", about, 2, columns) };
    build.view(spec, per_hour);
    let by_state = by_state.map(|((day, state), sums)| {
        let name = state.as_deref().and_then(states::name).map(Text::from);
        ViewRow(vec![date(Some(day)), text(&state), text(&name), sums.rows.into()])
    });
    let columns = self::columns(&[DAY, ("stateCode", Kind::Text), ("state", Kind::Text), STREAMS]);
    let spec = self::spec("streams_by_state", "How many songs began, by day and state", 2, columns);
    build.view(ViewSpec { day: by_day, ..spec }, by_state);
}

const PERIOD: (&str, Kind) = ("period", Kind::Text);
const DAY: (&str, Kind) = ("day", Kind::Text);
const RANK: (&str, Kind) = ("rank", Kind::Int);
const ARTIST: (&str, Kind) = ("artist", Kind::Text);
const STREAMS: (&str, Kind) = ("streams", Kind::Int);
const FIRST_PLAYED: (&str, Kind) = ("firstPlayed", Kind::Time);

fn show_users<'s>(build: &mut Build<'s>, tables: &Tables<'s>) {
    let users = tables.users.clone().map(|User { user, level, from, to, names }| {
        let key = user_key(user, from);
        let names = names.as_ref();
        ViewRow(vec![
            user.into(),
            from.into(),
            to.map_or(Value::Null, Value::from),
            Value::Bool(to.is_none()),
            Value::Text(level),
            names.map_or(Value::Null, |names| text(&names.first)),
            names.map_or(Value::Null, |names| text(&names.last)),
            names.map_or(Value::Null, |names| text(&names.gender)),
            names.and_then(|names| names.registered_ms).map_or(Value::Null, |ms| EventTime(ms).into()),
            Value::Text(key),
        ])
    });
    let user_columns = columns(&[
        ("userId", Kind::Int),
        ("rowActivation", Kind::Time),
        ("rowExpiration", Kind::Time),
        ("currentRow", Kind::Bool),
        ("level", Kind::Text),
        ("firstName", Kind::Text),
        ("lastName", Kind::Text),
        ("gender", Kind::Text),
        ("registration", Kind::Time),
        ("userKey", Kind::Text),
    ]);
    build.view(spec("dim_users", "What each user paid, and from when to when", 2, user_columns), users);
    let by_gender = tables.by_gender_level.clone().map(|(GenderLevel { gender, level }, sums)| {
        ViewRow(vec![text(&gender), Value::Text(level), sums.rows.into()])
    });
    let gender_columns = columns(&[("gender", Kind::Text), ("level", Kind::Text), ("users", Kind::Int)]);
    build.view(
        spec("users_by_gender_level", "How many users of each gender pay what now", 2, gender_columns),
        by_gender,
    );
}

fn show_catalogue<'s>(build: &mut Build<'s>, tables: &Tables<'s>) {
    let songs = tables.songs.clone().map(|(song, (Reverse(first), duration))| {
        let artist_key = song.artist.as_ref().map(|_| song.artist_key());
        let duration_us = duration.map_or(Value::Null, |duration| Value::Int(microseconds(duration)));
        ViewRow(vec![
            Value::Text(song.key()),
            text(&artist_key),
            text(&song.artist),
            text(&song.title),
            duration_us,
            first.into(),
        ])
    });
    let song_columns = columns(&[
        ("songKey", Kind::Text),
        ("artistKey", Kind::Text),
        ARTIST,
        ("title", Kind::Text),
        ("durationUs", Kind::Int),
        FIRST_PLAYED,
    ]);
    build.view(spec("dim_songs", "Each song once", 1, song_columns), songs);
    let artists = tables.artists.clone().map(|(name, (Reverse(first), ()))| {
        let song = Song { artist: Some(name.clone()), title: None };
        ViewRow(vec![Value::Text(song.artist_key()), Value::Text(name), first.into()])
    });
    let artist_columns = columns(&[("artistKey", Kind::Text), ("name", Kind::Text), FIRST_PLAYED]);
    build.view(spec("dim_artists", "Each artist's name once", 1, artist_columns), artists);
    let locations = tables.locations.clone().map(|(place, (Reverse(first), ()))| {
        let key = place.key();
        let Place { city, state, lat, lon } = place;
        let name = state.as_deref().and_then(states::name).map(Text::from);
        let degrees = |bits: Option<Bits>| bits.map(|bits| Text::from(format!("{:?}", bits.number())));
        ViewRow(vec![
            Value::Text(key),
            text(&city),
            text(&state),
            text(&name),
            text(&degrees(lat)),
            text(&degrees(lon)),
            first.into(),
        ])
    });
    let location_columns = columns(&[
        ("locationKey", Kind::Text),
        ("city", Kind::Text),
        ("stateCode", Kind::Text),
        ("stateName", Kind::Text),
        ("latitude", Kind::Text),
        ("longitude", Kind::Text),
        FIRST_PLAYED,
    ]);
    build.view(spec("dim_location", "Each place once", 1, location_columns), locations);
}

/// The rows of a rank: the day or all days, the place, what it is, and how often it was played.
fn ranked<'s, K: Key>(table: Table<'s, Most<K>>, shown: fn(&K) -> Vec<Value>) -> Table<'s, ViewRow> {
    table.map(move |Ranked { group: day, rank, row: (Reverse(streams), what) }| {
        let mut values = vec![date(day), i64::from(rank).into()];
        values.extend(shown(&what));
        values.push(streams.into());
        ViewRow(values)
    })
}

/// A day, or all of them.
fn date(day: Option<i64>) -> Value {
    let Some(day) = day else { return Value::Text(Text::from(ALL_DAYS)) };
    Value::Text(Day::numbered(day).iso())
}

fn text(text: &Option<Text>) -> Value {
    text.as_ref().map_or(Value::Null, Value::from)
}

/// A duration in whole microseconds.
fn microseconds(seconds: Bits) -> i64 {
    (seconds.number() * 1e6).round() as i64
}

fn spec(name: &'static str, about: &'static str, key: usize, columns: Vec<Column>) -> ViewSpec {
    ViewSpec { name, about, columns, key, version: 1, day: None }
}

fn columns(columns: &[(&'static str, Kind)]) -> Vec<Column> {
    columns.iter().map(|(name, kind)| Column::new(name, *kind)).collect()
}
