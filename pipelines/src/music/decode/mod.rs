//! Turns a message into an event: fields by name, whatever their order.
//!
//! A field that the topic does not know is counted and left out. A value of a wrong type is counted and missing, and the row
//! stays. What is no JSON object, or has no time, is a dead letter.

mod reason;
mod repair;
mod value;

pub use reason::NOT_AN_OBJECT;

use super::event::{Draft, Event, Field, columns};
use super::topic::{Form, Topic};
use headway_operators::error::Reason;
use headway_operators::pipeline::{DeadLetter, Fault};
use headway_operators::record::{Payload, Raw};
use headway_operators::row::{Cell, Column, Row};
use headway_operators::stream::decode::{self, Context, Decoded, Definition};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The last instant that has a year of four digits, 9999-12-31 23:59:59.999.
const LAST_MS: i64 = 253_402_300_799_999;

/// Decodes the messages of one topic.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// How messages say what they say.
    pub form: Form,
    /// The topic.
    pub topic: Topic,
    /// Artists and songs whose text was encoded as UTF-8 more than once become what they were.
    pub repairs: bool,
}

impl decode::Decoder for Decoder {
    type Out = Event;
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<Event>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        self.event(value).map(|event| Decoded::Record(event.ts(), event))
    }

    fn columns(&self) -> Vec<Column> {
        columns(self.form, self.topic)
    }

    fn cells(&mut self, _raw: &Raw<'_>, record: &Event, put: &mut dyn FnMut(Cell<'_>)) {
        record.cells(put);
    }
}

impl Decoder {
    /// The event that a message says.
    ///
    /// # Errors
    /// Why it is a dead letter.
    pub fn event(&self, value: &[u8]) -> Result<Event, Reason> {
        let text = std::str::from_utf8(value).map_err(|_| Reason::NOT_UTF8)?;
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        if text.is_empty() {
            return Err(Reason::EMPTY);
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json.deserialize_map(Fields(*self)).and_then(|draft| json.end().map(|()| draft));
        let Ok(mut draft) = read else {
            let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
            return Err(if is_json && !text.starts_with('{') { NOT_AN_OBJECT } else { Reason::BAD_JSON });
        };
        match draft.ts() {
            Some(0..=LAST_MS) => {}
            Some(_) => return Err(Reason::BAD_TIMESTAMP),
            None if draft.has_wrong_ts() => return Err(Reason::BAD_TIMESTAMP),
            None => return Err(Reason::MISSING_FIELD),
        }
        if self.repairs {
            draft.repair(Field::Artist, repair::repaired);
            draft.repair(Field::Song, repair::repaired);
        }
        Ok(draft.finish())
    }
}

/// The field for which a message is a dead letter: only its time can be wrong.
pub(super) fn fault(dead: &DeadLetter<'_>) -> Option<Fault> {
    if !["missing-field", "bad-timestamp"].contains(&dead.reason) {
        return None;
    }
    let event: serde_json::Value = serde_json::from_slice(dead.message).ok()?;
    Some(Fault { field: "ts".into(), found: event.get("ts").map(ToString::to_string).unwrap_or_default() })
}

/// Reads the fields of an object.
struct Fields(Decoder);

impl<'de> Visitor<'de> for Fields {
    type Value = Draft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft<'de>, A::Error> {
        let Fields(decoder) = self;
        let fields = decoder.topic.fields(decoder.form);
        let is = |field: &Field, name: &str| field.wire_name(decoder.form) == name;
        let mut draft = Draft::new(decoder.form, decoder.topic);
        // Where the next field is, if fields come in upstream's order.
        let mut next = 0;
        while let Some(Name(name)) = map.next_key()? {
            let json: &RawValue = map.next_value()?;
            if fields.get(next).is_none_or(|field| !is(field, &name)) {
                next = fields.iter().position(|field| is(field, &name)).unwrap_or(fields.len());
            }
            match fields.get(next) {
                Some(field) => draft.set(*field, value::read(*field, decoder.form, json.get())),
                None => draft.add_unknown(),
            }
            next += 1;
        }
        Ok(draft)
    }
}

/// The name of a field, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        value::text(json).map(Name)
    }
}
