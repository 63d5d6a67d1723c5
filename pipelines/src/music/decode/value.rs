//! Reads the value of one field from its JSON.

use crate::music::event::{Field, Slot, Value};
use crate::music::topic::Form;
use serde::de::{Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The greatest whole number up to which floating point numbers have no gaps.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The value that `json` is for `field`.
pub(super) fn read(field: Field, form: Form, json: &str) -> Value<'_> {
    match (field.slot(), json.as_bytes()[0]) {
        (_, b'n') => Value::Null,
        (Slot::Text(_), b'"') => string(json).map_or(Value::Wrong, Value::Text),
        (Slot::Int(_), b'-' | b'0'..=b'9') => whole(json).map_or(Value::Wrong, Value::Int),
        (Slot::Float(_), b'-' | b'0'..=b'9') => match json.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Float(number),
            _ => Value::Wrong,
        },
        (Slot::Bool, b't') => Value::Bool(true),
        (Slot::Bool, b'f') => Value::Bool(false),
        // Hidden users have an empty text there.
        (Slot::Int(_), b'"') if field == Field::UserId && form == Form::Sparkify => {
            match &json[1..json.len() - 1] {
                "" => Value::Null,
                digits => digits.parse().map_or(Value::Wrong, Value::Int),
            }
        }
        _ => Value::Wrong,
    }
}

/// A whole number, written with a fraction of zeros or not.
fn whole(json: &str) -> Option<i64> {
    if let Ok(number) = json.parse() {
        return Some(number);
    }
    let number: f64 = json.parse().ok()?;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// A text; `None` if it is no text of Unicode.
fn string(json: &str) -> Option<Cow<'_, str>> {
    let inside = &json[1..json.len() - 1];
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// A text, borrowed where it has no escapes.
pub(super) fn text<'de, D: Deserializer<'de>>(json: D) -> Result<Cow<'de, str>, D::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_string()))
        }
    }
    json.deserialize_str(Text)
}
