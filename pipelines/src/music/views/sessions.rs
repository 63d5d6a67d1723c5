//! `sessions`: what users do between two pauses.

use crate::music::event::{Event, Field};
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::flow::Flow;
use headway_operators::kit::Record;
use headway_operators::kit::session::{Fold, Session, Sessions};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::time::EventTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A page view without the number of a session.
const NO_SESSION: Reason = Reason::of("no-session");

/// The columns of its rows.
pub(super) const COLUMNS: [Column; 6] = [
    Column::new("sessionId", Kind::Int),
    Column::new("userId", Kind::Int),
    Column::new("start", Kind::Time),
    Column::new("end", Kind::Time),
    Column::new("events", Kind::Int),
    Column::new("songs", Kind::Int),
];

/// What a page view says of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    session: i64,
    user: Option<i64>,
    is_song: bool,
}

/// What is known of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Total {
    /// The user, if one was shown.
    user: Option<i64>,
    songs: u64,
}

/// Counts the songs of a session.
pub(super) struct Songs;

impl Fold for Songs {
    type Key = i64;
    type In = Seen;
    type Total = Total;

    const VERSION: u32 = 1;

    fn key(seen: &Seen) -> i64 {
        seen.session
    }

    fn add(&self, total: &mut Total, _time: EventTime, seen: Seen) {
        total.user = total.user.or(seen.user);
        total.songs += u64::from(seen.is_song);
    }
}

/// A session that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionRow {
    session: i64,
    user: Option<i64>,
    start: EventTime,
    end: EventTime,
    events: u64,
    songs: u64,
}

impl Row for SessionRow {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        let count = |count: u64| Cell::Int(i64::try_from(count).unwrap_or(i64::MAX));
        put(Cell::Int(self.session));
        put(self.user.map_or(Cell::Null, Cell::Int));
        put(Cell::Time(self.start));
        put(Cell::Time(self.end));
        put(count(self.events));
        put(count(self.songs));
    }

    /// A session stands where it began.
    fn time(&self) -> EventTime {
        self.start
    }
}

/// The sessions of `views`, each once it can grow no more: from its first event to its last. Views without a session are dropped, and
/// counted.
pub(super) fn sessions<'s>(
    build: &mut Build<'s>,
    gap: Duration,
    views: Flow<'s, Record<Event>>,
) -> Flow<'s, SessionRow> {
    let seen = |record: Record<Event>| -> Result<_, Reason> {
        let event = &record.data;
        let session = event.int(Field::SessionId).ok_or(NO_SESSION)?;
        let is_song = event.text(Field::Page) == Some("NextSong");
        let seen = Seen { session, user: event.int(Field::UserId), is_song };
        Ok(record.map(|_| seen))
    };
    let seen = build.pick("ViewsOfSessions", views, seen);
    let sessions = build.logic("Sessions", Sessions::new(Songs, gap), seen);
    sessions.map(|record| {
        let Session { key, span, last, records, total } = record.data;
        let Total { user, songs } = total;
        SessionRow { session: key, user, start: span.start, end: last, events: records, songs }
    })
}
