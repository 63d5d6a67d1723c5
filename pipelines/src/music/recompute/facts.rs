//! What the committed rows of `listen_events` and `page_view_events` say, as the slow way needs it. It has types of its own: a view
//! that is made again is not checked by what made it.

use crate::music::committed::Reader;
use crate::music::topic::Topic;
use headway_operators::view::refill::CommittedRow;

/// Who a user said to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) gender: Option<String>,
    pub(super) registered_ms: Option<i64>,
}

/// Where a song was played. Floating point numbers are their bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) city: Option<String>,
    pub(super) state: Option<String>,
    pub(super) lat: Option<u64>,
    pub(super) lon: Option<u64>,
}

/// A row of `listen_events`.
#[derive(Clone, Debug)]
pub(super) struct Played {
    pub(super) ts: i64,
    /// The user; `None` for upstream's "nobody", too.
    pub(super) user: Option<i64>,
    pub(super) level: Option<String>,
    pub(super) names: Names,
    pub(super) artist: Option<String>,
    pub(super) title: Option<String>,
    pub(super) duration: Option<u64>,
    pub(super) place: Place,
    pub(super) session: Option<i64>,
    pub(super) item: Option<i64>,
}

/// A row of `page_view_events`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viewed {
    pub(super) ts: i64,
    pub(super) user: Option<i64>,
    pub(super) session: Option<i64>,
    pub(super) is_song: bool,
}

/// A committed row.
pub(super) enum Fact {
    Played(Box<Played>),
    Viewed(Viewed),
}

impl Fact {
    /// What a row says.
    ///
    /// # Errors
    /// If the row has a value of another type than its column, or no time.
    pub(super) fn of(row: &CommittedRow<'_>, reader: Reader) -> Result<Fact, String> {
        if row.output == Topic::Listen.name() {
            Played::of(row, reader).map(Box::new).map(Fact::Played)
        } else {
            Viewed::of(row, reader).map(Fact::Viewed)
        }
    }
}

impl Played {
    fn of(row: &CommittedRow<'_>, reader: Reader) -> Result<Played, String> {
        let text = |column| reader.text(row, column);
        let whole = |column| reader.whole(row, column);
        let bits = |column| reader.bits(row, column);
        let state = text("state")?.map(|code| code.trim().to_string());
        Ok(Played {
            ts: reader.ts(row)?,
            user: whole("userId")?.filter(|user| *user != 0),
            level: text("level")?,
            names: Names {
                first: text("firstName")?,
                last: text("lastName")?,
                gender: text("gender")?,
                registered_ms: whole("registration")?,
            },
            artist: text("artist")?,
            title: text("song")?,
            duration: bits("duration")?,
            place: Place {
                city: text("city")?.or(text("location")?),
                state: state.filter(|code| !code.is_empty()),
                lat: bits("lat")?,
                lon: bits("lon")?,
            },
            session: whole("sessionId")?,
            item: whole("itemInSession")?,
        })
    }
}

impl Viewed {
    fn of(row: &CommittedRow<'_>, reader: Reader) -> Result<Viewed, String> {
        Ok(Viewed {
            ts: reader.ts(row)?,
            user: reader.whole(row, "userId")?,
            session: reader.whole(row, "sessionId")?,
            is_song: reader.text(row, "page")?.as_deref() == Some("NextSong"),
        })
    }
}
