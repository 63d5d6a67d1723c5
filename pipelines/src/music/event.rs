//! A decoded event, as it travels and as it becomes a row.

use super::topic::{Form, Topic};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::time::EventTime;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A field of an event: first the texts, then whole numbers, floating point numbers, and what is true or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // Their names say it.
pub enum Field {
    Artist,
    Song,
    Auth,
    Level,
    Page,
    Method,
    City,
    Zip,
    State,
    Location,
    UserAgent,
    LastName,
    FirstName,
    Gender,
    Tag,
    Ts,
    SessionId,
    ItemInSession,
    Status,
    UserId,
    Registration,
    Duration,
    Lon,
    Lat,
    Success,
}

/// All fields, by number.
const FIELDS: [(Field, &str); 25] = [
    (Field::Artist, "artist"),
    (Field::Song, "song"),
    (Field::Auth, "auth"),
    (Field::Level, "level"),
    (Field::Page, "page"),
    (Field::Method, "method"),
    (Field::City, "city"),
    (Field::Zip, "zip"),
    (Field::State, "state"),
    (Field::Location, "location"),
    (Field::UserAgent, "userAgent"),
    (Field::LastName, "lastName"),
    (Field::FirstName, "firstName"),
    (Field::Gender, "gender"),
    (Field::Tag, "tag"),
    (Field::Ts, "ts"),
    (Field::SessionId, "sessionId"),
    (Field::ItemInSession, "itemInSession"),
    (Field::Status, "status"),
    (Field::UserId, "userId"),
    (Field::Registration, "registration"),
    (Field::Duration, "duration"),
    (Field::Lon, "lon"),
    (Field::Lat, "lat"),
    (Field::Success, "success"),
];

const TEXTS: usize = 15;
const INTS: usize = 6;
const FLOATS: usize = 3;

/// What kind of value a field has, and which one of its kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Text(usize),
    Int(usize),
    Float(usize),
    Bool,
}

impl Field {
    /// Its name in rows, and in messages of the four topics.
    pub fn name(self) -> &'static str {
        FIELDS[self as usize].1
    }

    /// Its name in messages of `form`.
    pub(super) fn wire_name(self, form: Form) -> &'static str {
        match (form, self) {
            (Form::Sparkify, Field::Duration) => "length",
            _ => self.name(),
        }
    }

    /// Its bit in a set of fields.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }

    pub(super) const fn slot(self) -> Slot {
        let number = self as usize;
        match number {
            0..TEXTS => Slot::Text(number),
            TEXTS..21 => Slot::Int(number - TEXTS),
            21..24 => Slot::Float(number - TEXTS - INTS),
            _ => Slot::Bool,
        }
    }

    /// Its column.
    fn column(self) -> Column {
        let kind = match (self, self.slot()) {
            (Field::Ts | Field::Registration, _) => Kind::Time,
            (_, Slot::Text(_)) => Kind::Text,
            (_, Slot::Int(_)) => Kind::Int,
            (_, Slot::Float(_)) => Kind::Float,
            (_, Slot::Bool) => Kind::Bool,
        };
        Column::new(self.name(), kind)
    }
}

/// The columns of the rows of a topic.
pub fn columns(form: Form, topic: Topic) -> Vec<Column> {
    topic.fields(form).iter().map(|field| field.column()).collect()
}

/// What was odd about a message whose row stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Odd {
    /// The fields whose value had a wrong type and is missing now, a bit each.
    wrong: u32,
    /// The fields whose text was encoded more than once, a bit each.
    repaired: u32,
    /// How many fields the topic does not know.
    pub unknown: u32,
}

impl Odd {
    /// True if nothing was.
    pub fn is_none(&self) -> bool {
        *self == Odd::default()
    }

    /// The fields whose value had a wrong type.
    pub fn wrong(&self) -> impl Iterator<Item = Field> + use<> {
        of_set(self.wrong)
    }

    /// The fields whose text was repaired.
    pub fn repaired(&self) -> impl Iterator<Item = Field> + use<> {
        of_set(self.repaired)
    }
}

fn of_set(set: u32) -> impl Iterator<Item = Field> + use<> {
    FIELDS.iter().map(|(field, _)| *field).filter(move |field| set & field.bit() != 0)
}

/// A decoded event of one of the topics: all its texts lie in one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    topic: Topic,
    form: Form,
    /// The fields that have a value, a bit each.
    present: u32,
    odd: Odd,
    text: Box<str>,
    /// Where each text ends in `text`.
    ends: [u32; TEXTS],
    ints: [i64; INTS],
    floats: [f64; FLOATS],
    success: bool,
}

impl Event {
    /// The topic whose row it is.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// When it happened.
    pub fn ts(&self) -> EventTime {
        EventTime(self.int(Field::Ts).expect("an event without a time is a dead letter"))
    }

    /// A text field; `None` if it has no value, or is of another kind.
    pub fn text(&self, field: Field) -> Option<&str> {
        let Slot::Text(at) = field.slot() else { return None };
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.has(field).then(|| &self.text[start as usize..self.ends[at] as usize])
    }

    /// A whole number; `None` if it has no value, or is of another kind.
    pub fn int(&self, field: Field) -> Option<i64> {
        let Slot::Int(at) = field.slot() else { return None };
        self.has(field).then(|| self.ints[at])
    }

    /// A floating point number; `None` if it has no value, or is of another kind.
    pub fn float(&self, field: Field) -> Option<f64> {
        let Slot::Float(at) = field.slot() else { return None };
        self.has(field).then(|| self.floats[at])
    }

    /// Whether a login was successful.
    pub fn success(&self) -> Option<bool> {
        self.has(Field::Success).then_some(self.success)
    }

    /// What was odd about its message.
    pub fn odd(&self) -> Odd {
        self.odd
    }

    fn has(&self, field: Field) -> bool {
        self.present & field.bit() != 0
    }

    /// The page view of a song as a row of `listen_events`; `None` for any other.
    pub fn as_listen(&self) -> Option<Event> {
        let is_song = self.text(Field::Page) == Some("NextSong");
        is_song.then(|| Event { topic: Topic::Listen, ..self.clone() })
    }

    /// Its value of a field.
    pub fn cell(&self, field: Field) -> Cell<'_> {
        if !self.has(field) {
            return Cell::Null;
        }
        match (field, field.slot()) {
            (_, Slot::Text(_)) => self.text(field).map_or(Cell::Null, Cell::Text),
            (Field::Ts | Field::Registration, Slot::Int(at)) => Cell::Time(EventTime(self.ints[at])),
            (_, Slot::Int(at)) => Cell::Int(self.ints[at]),
            (_, Slot::Float(at)) => Cell::Float(self.floats[at]),
            (_, Slot::Bool) => Cell::Bool(self.success),
        }
    }
}

impl Row for Event {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        self.topic.fields(self.form).iter().for_each(|field| put(self.cell(*field)));
    }

    fn time(&self) -> EventTime {
        self.ts()
    }
}

/// An event under construction, its texts where they lie in the message.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    topic: Topic,
    form: Form,
    present: u32,
    odd: Odd,
    texts: [Cow<'a, str>; TEXTS],
    ints: [i64; INTS],
    floats: [f64; FLOATS],
    success: bool,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// No value.
    Null,
    Text(Cow<'a, str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A value of the wrong type.
    Wrong,
}

impl<'a> Draft<'a> {
    pub(super) fn new(form: Form, topic: Topic) -> Draft<'a> {
        Draft {
            topic,
            form,
            present: 0,
            odd: Odd::default(),
            texts: [const { Cow::Borrowed("") }; TEXTS],
            ints: [0; INTS],
            floats: [0.0; FLOATS],
            success: false,
        }
    }

    /// Gives a field its value. A field that comes twice has the value that comes last.
    pub(super) fn set(&mut self, field: Field, value: Value<'a>) {
        let (mut is_present, mut is_wrong) = (true, false);
        match (field.slot(), value) {
            (Slot::Text(at), Value::Text(text)) => self.texts[at] = text,
            (Slot::Int(at), Value::Int(number)) => self.ints[at] = number,
            (Slot::Float(at), Value::Float(number)) => self.floats[at] = number,
            (Slot::Bool, Value::Bool(success)) => self.success = success,
            (_, Value::Null) => is_present = false,
            (_, _) => (is_present, is_wrong) = (false, true),
        }
        put(&mut self.present, field, is_present);
        put(&mut self.odd.wrong, field, is_wrong);
    }

    pub(super) fn add_unknown(&mut self) {
        self.odd.unknown += 1;
    }

    /// Replaces the text of a field, if it has one, by what `repair` makes of it.
    pub(super) fn repair(&mut self, field: Field, repair: impl Fn(&str) -> Option<String>) {
        if let Slot::Text(at) = field.slot()
            && self.present & field.bit() != 0
            && let Some(text) = repair(&self.texts[at])
        {
            self.texts[at] = Cow::Owned(text);
            self.odd.repaired |= field.bit();
        }
    }

    /// The time, if it has one.
    pub(super) fn ts(&self) -> Option<i64> {
        let Slot::Int(at) = Field::Ts.slot() else { return None };
        (self.present & Field::Ts.bit() != 0).then(|| self.ints[at])
    }

    /// True if there was a time, but none that can be read.
    pub(super) fn has_wrong_ts(&self) -> bool {
        self.odd.wrong & Field::Ts.bit() != 0
    }

    pub(super) fn finish(self) -> Event {
        let Draft { topic, form, present, odd, texts, ints, floats, success } = self;
        let bytes =
            |(at, text): (usize, &Cow<'_, str>)| if present & (1 << at) != 0 { text.len() } else { 0 };
        let mut all = String::with_capacity(texts.iter().enumerate().map(bytes).sum());
        let mut ends = [0; TEXTS];
        for (at, text) in texts.iter().enumerate() {
            if present & (1 << at) != 0 {
                all.push_str(text);
            }
            // No message is longer than 1 MiB, and no text longer than its message.
            ends[at] = all.len() as u32;
        }
        Event { topic, form, present, odd, text: all.into_boxed_str(), ends, ints, floats, success }
    }
}

fn put(set: &mut u32, field: Field, is_in: bool) {
    match is_in {
        true => *set |= field.bit(),
        false => *set &= !field.bit(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_at_their_numbers() {
        for (number, (field, name)) in FIELDS.iter().enumerate() {
            assert_eq!((*field as usize, field.name()), (number, *name));
        }
        assert_eq!(Field::Duration.wire_name(Form::Sparkify), "length");
        let slots = [Field::Tag, Field::Ts, Field::Registration, Field::Duration, Field::Lat, Field::Success];
        let expected =
            [Slot::Text(14), Slot::Int(0), Slot::Int(5), Slot::Float(0), Slot::Float(2), Slot::Bool];
        assert_eq!(slots.map(Field::slot), expected);
    }
}
