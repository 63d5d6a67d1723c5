//! Views of the music events, each a small file.
//!
//! ```text
//! listen_events ────┬── history of levels ──┬── dim_users ── users_by_gender_level
//!                   │                       └── wide_streams: each play with the level that held
//!                   ├── dim_songs, dim_artists, dim_location
//!                   ├── top_songs, top_artists: by day and overall; top_songs_last_hour, top_artists_last_hour
//!                   └── streams_per_hour, streams_by_state
//! page_view_events ─┬── sessions
//!                   └── active_users
//! ```
//!
//! A play counts in `wide_streams` and `dim_users` when the watermark has passed it; so do sessions and active users, which
//! are final when they are written; with views on, `closed` shows them, too. The other views follow at once.

mod active;
pub(super) mod closed;
pub(super) mod committed;
mod last_hour;
mod odd;
pub mod play;
mod sessions;
mod shown;
pub mod songs;
pub(super) mod states;
pub mod streams;
pub mod users;
mod wide;

pub(super) use shown::show;

use super::committed::Reader;
use super::event::{Event, Field};
use super::topic::Topic;
use closed::Closed;
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::flow::Flow;
use headway_operators::kit::{Origin, Record};
use headway_operators::record::{Partition, Stamped};
use headway_operators::row::{Column, Row};
use headway_operators::spec::{Folders, Format, OutputSpec};
use headway_operators::time::EventTime;
use headway_operators::view::rollup::Sums;
use headway_operators::view::table::Table;
use headway_operators::view::text::Text;
use play::{Place, Play, Song};
use songs::{First, Most};
use std::cmp::Reverse;
use std::time::Duration;
use streams::Hour;
use users::{GenderLevel, PlayFact, User};

/// The longest time after a record in which something that it opened ends, beside sessions: the day of `active_users`.
pub const HORIZON_MS: i64 = 86_400_000;

/// The output of all plays.
pub const WIDE_STREAMS: &str = "wide_streams";

/// A play without a title.
const NO_SONG: Reason = Reason::of("no-song");

/// A play without an artist.
const NO_ARTIST: Reason = Reason::of("no-artist");

/// How rows are written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// After how long without an event a session is over.
    pub gap: Duration,
    /// The format of their files.
    pub format: Format,
}

impl Options {
    /// Reads committed rows.
    pub(super) fn reader(&self) -> Reader {
        Reader { is_csv: self.format == Format::CsvGz }
    }
}

/// What plays say of users, songs and places, as of now: collections whose rows may go again.
pub struct Tables<'s> {
    /// `dim_users`.
    pub users: Table<'s, User>,
    /// `users_by_gender_level`.
    pub by_gender_level: Table<'s, (GenderLevel, Sums<0>)>,
    /// `dim_songs`.
    pub songs: Table<'s, (Song, First)>,
    /// `dim_artists`.
    pub artists: Table<'s, (Text, (Reverse<EventTime>, ()))>,
    /// `dim_location`.
    pub locations: Table<'s, (Place, (Reverse<EventTime>, ()))>,
    /// `top_songs`.
    pub top_songs: Table<'s, Most<Song>>,
    /// `top_artists`.
    pub top_artists: Table<'s, Most<Text>>,
    /// `streams_per_hour`.
    pub per_hour: Table<'s, Hour>,
    /// `streams_by_state`.
    pub by_state: Table<'s, ((i64, Option<Text>), Sums<0>)>,
}

/// Builds the tables of `plays`, which begin with those of earlier runs where a view is new to the job; and gives each `new` play of
/// a known user with the version of the user that held. Histories are state of every job, with views or without: they are never new.
pub fn tables<'s>(
    build: &mut Build<'s>,
    new: &Flow<'s, Stamped<Play>>,
    plays: &Flow<'s, Stamped<Play>>,
) -> (Tables<'s>, Flow<'s, PlayFact>) {
    let (users, facts) = users::users(build, new, plays);
    let tables = Tables {
        by_gender_level: users::by_gender_level(build, &users),
        users,
        songs: songs::songs(build, plays),
        artists: songs::artists(build, plays),
        locations: streams::locations(build, plays),
        top_songs: songs::top_songs(build, plays),
        top_artists: songs::top_artists(build, plays),
        per_hour: streams::per_hour(build, plays),
        by_state: streams::by_state(build, plays),
    };
    (tables, facts)
}

/// The plays that events of `listen_events` are.
pub fn plays<'s>(listens: Flow<'s, Record<Event>>) -> Flow<'s, Record<Play>> {
    listens.map_data(|event| Play::of(&event))
}

/// Writes what is final once the watermark has passed it: `wide_streams` of the facts, `top_songs_last_hour` and
/// `top_artists_last_hour` of the plays, `sessions` and `active_users` of `views`, the rows of `page_view_events`. Where
/// days are sealed, all of them but `wide_streams` are views, too.
pub fn outputs<'s>(
    build: &mut Build<'s>,
    options: &Options,
    plays: Flow<'s, Record<Play>>,
    facts: Flow<'s, PlayFact>,
    views: Flow<'s, Record<Event>>,
) {
    build.output(spec(WIDE_STREAMS, &wide::COLUMNS, options), facts.map(wide::Wide::from));
    let song = |record: Record<Play>| match record.data.song.title {
        Some(_) => Ok(record.map(|play| play.song)),
        None => Err(NO_SONG),
    };
    let songs = build.pick("PlaysOfSongs", plays.clone(), song);
    let songs = last_hour::last_hour(build, "Songs", songs);
    write(build, closed::TOP_SONGS, options, songs);
    let artist = |record: Record<Play>| match record.data.song.artist.clone() {
        Some(artist) => Ok(record.map(|_| artist)),
        None => Err(NO_ARTIST),
    };
    let artists = build.pick("PlaysOfArtists", plays, artist);
    let artists = last_hour::last_hour(build, "Artists", artists);
    write(build, closed::TOP_ARTISTS, options, artists);
    let users = views.clone().filter_map_data(|event| event.int(Field::UserId).filter(|user| *user != 0));
    let active = active::active_users(build, users);
    write(build, closed::ACTIVE_USERS, options, active);
    let sessions = sessions::sessions(build, options.gap, views);
    write(build, closed::SESSIONS, options, sessions);
}

/// Writes the rows of `closed`, and shows them where the job has views.
fn write<'s, R: Row>(build: &mut Build<'s>, closed: Closed, options: &Options, rows: Flow<'s, R>) {
    build.output(spec(closed.name, closed.columns, options), rows.clone());
    if build.seals() {
        closed.show(build, options.reader(), rows);
    }
}

/// Writes how many fields of the messages of `topic` were odd.
pub fn odd_fields<'s>(
    build: &mut Build<'s>,
    options: &Options,
    topic: Topic,
    events: Flow<'s, Record<Event>>,
) {
    let rows = odd::odd_fields(build, topic, events);
    let all = spec("odd_fields", &odd::COLUMNS, options);
    build.output(OutputSpec { name: odd_fields_of(topic), stem: topic.name().into(), ..all }, rows);
}

/// The output that counts the odd fields of `topic`.
pub fn odd_fields_of(topic: Topic) -> String {
    format!("odd_fields-{}", topic.name())
}

/// A record as the operators of views take it.
pub fn stamped<R>(record: Record<R>) -> Stamped<R> {
    let Record { time, stamp, place, data, .. } = record;
    let partition = match place.origin {
        Origin::Message { partition, .. } => partition,
        Origin::Timer => Partition(0),
    };
    Stamped { time, stamp, partition, data }
}

/// The output called `name`.
fn spec(name: &'static str, columns: &[Column], options: &Options) -> OutputSpec {
    OutputSpec {
        name: name.to_string(),
        prefix: name.to_string(),
        stem: "rows".into(),
        format: options.format,
        columns: columns.to_vec(),
        folders: Some(Folders::by_date()),
    }
}
