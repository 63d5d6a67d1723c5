//! A song that was played: what the views need of an event of `listen_events`.

use crate::music::event::{Event, Field};
use headway_operators::state::KeyHash;
use headway_operators::view::text::Text;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

/// A floating point number as it came, with an order and an equality: its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bits(u64);

impl Bits {
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

/// What a play is read from: an event, or a committed row.
pub(super) trait Fields {
    /// Why a field cannot be read.
    type Error;

    /// The text of a field; `None` where it is missing.
    fn text(&self, field: Field) -> Result<Option<Text>, Self::Error>;

    /// The whole number, or the instant in milliseconds.
    fn whole(&self, field: Field) -> Result<Option<i64>, Self::Error>;

    /// The floating point number.
    fn bits(&self, field: Field) -> Result<Option<Bits>, Self::Error>;
}

impl Fields for Event {
    type Error = Infallible;

    fn text(&self, field: Field) -> Result<Option<Text>, Infallible> {
        Ok(self.text(field).map(Text::from))
    }

    fn whole(&self, field: Field) -> Result<Option<i64>, Infallible> {
        Ok(self.int(field))
    }

    fn bits(&self, field: Field) -> Result<Option<Bits>, Infallible> {
        Ok(self.float(field).map(|number| Bits(number.to_bits())))
    }
}

impl Play {
    /// The play that an event of `listen_events` is.
    pub fn of(event: &Event) -> Play {
        let Ok(play) = Play::read(event);
        play
    }

    /// The play in `fields`.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(super) fn read<F: Fields>(fields: &F) -> Result<Play, F::Error> {
        let code = fields.text(Field::State)?;
        let code = code.as_deref().map(str::trim).filter(|code| !code.is_empty());
        Ok(Play {
            // The number 0 is upstream's for "nobody".
            user: fields.whole(Field::UserId)?.filter(|user| *user != 0),
            level: fields.text(Field::Level)?,
            names: Names {
                first: fields.text(Field::FirstName)?,
                last: fields.text(Field::LastName)?,
                gender: fields.text(Field::Gender)?,
                registered_ms: fields.whole(Field::Registration)?,
            },
            song: Song { artist: fields.text(Field::Artist)?, title: fields.text(Field::Song)? },
            duration: fields.bits(Field::Duration)?,
            place: Place {
                city: fields.text(Field::City)?.or(fields.text(Field::Location)?),
                state: code.map(Text::from),
                lat: fields.bits(Field::Lat)?,
                lon: fields.bits(Field::Lon)?,
            },
            session: fields.whole(Field::SessionId)?,
            item: fields.whole(Field::ItemInSession)?,
        })
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
