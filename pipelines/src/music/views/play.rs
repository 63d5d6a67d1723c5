//! A song that was played: what the views need of an event of `listen_events`.

use crate::music::event::{Event, Field};
use headway_operators::state::KeyHash;
use headway_operators::view::text::Text;
use serde::{Deserialize, Serialize};

/// A floating point number as it came, with an order and an equality: its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bits(u64);

impl Bits {
    fn of(number: f64) -> Bits {
        Bits::from_bits(number.to_bits())
    }

    /// The number with these bits.
    pub(super) fn from_bits(bits: u64) -> Bits {
        Bits(bits)
    }

    /// The number.
    pub fn number(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// Where a user was.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The city, or in the form "sparkify" the metropolitan area.
    pub city: Option<Text>,
    /// The code of the state, without blanks.
    pub state: Option<Text>,
    /// Latitude.
    pub lat: Option<Bits>,
    /// Longitude.
    pub lon: Option<Bits>,
}

/// What was played.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Song {
    /// Who plays it.
    pub artist: Option<Text>,
    /// Its title.
    pub title: Option<Text>,
}

/// What does not change of a user, or replaces what was before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Names {
    /// First name.
    pub first: Option<Text>,
    /// Last name.
    pub last: Option<Text>,
    /// `F` or `M`.
    pub gender: Option<Text>,
    /// When the user registered, in milliseconds.
    pub registered_ms: Option<i64>,
}

/// A song that a user played.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Play {
    /// The user; `None` for one who is not known.
    pub user: Option<i64>,
    /// What the user pays.
    pub level: Option<Text>,
    /// What the user is called.
    pub names: Names,
    /// What was played.
    pub song: Song,
    /// How long it takes, in seconds.
    pub duration: Option<Bits>,
    /// Where.
    pub place: Place,
    /// The session.
    pub session: Option<i64>,
    /// The number of the event in its session.
    pub item: Option<i64>,
}

impl Play {
    /// The play that an event of `listen_events` is.
    pub fn of(event: &Event) -> Play {
        let text = |field| event.text(field).map(Text::from);
        let bits = |field| event.float(field).map(Bits::of);
        let code = event.text(Field::State).map(str::trim).filter(|code| !code.is_empty());
        Play {
            // The number 0 is upstream's for "nobody".
            user: event.int(Field::UserId).filter(|user| *user != 0),
            level: text(Field::Level),
            names: Names {
                first: text(Field::FirstName),
                last: text(Field::LastName),
                gender: text(Field::Gender),
                registered_ms: event.int(Field::Registration),
            },
            song: Song { artist: text(Field::Artist), title: text(Field::Song) },
            duration: bits(Field::Duration),
            place: Place {
                city: text(Field::City).or_else(|| text(Field::Location)),
                state: code.map(Text::from),
                lat: bits(Field::Lat),
                lon: bits(Field::Lon),
            },
            session: event.int(Field::SessionId),
            item: event.int(Field::ItemInSession),
        }
    }
}

impl Song {
    /// The key of the song in `dim_songs`.
    pub fn key(&self) -> Text {
        key_of(self)
    }

    /// The key of its artist in `dim_artists`: made of the name, since one id of an artist may have several names.
    pub fn artist_key(&self) -> Text {
        key_of(&self.artist)
    }
}

impl Place {
    /// The key of the place in `dim_location`.
    pub fn key(&self) -> Text {
        key_of(self)
    }
}

/// A key of 32 hexadecimal digits: equal for equal values, in every release.
pub(super) fn key_of(value: &impl Serialize) -> Text {
    let bytes = serde_json::to_vec(value).expect("plain values are JSON");
    let KeyHash([high, low]) = KeyHash::of(&bytes);
    Text::from(format!("{high:016x}{low:016x}"))
}
