//! Decodes messages that are JSON objects into a type that derives `Deserialize`, with a reason for each kind of failure.

use crate::error::Reason;
use crate::pipeline::{DeadLetter, Fault};
use crate::record::{Payload, Raw};
use crate::stream::decode::{Context, Decoded, Decoder, Definition};
use crate::time::EventTime;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use timely::ExchangeData;

/// A field has another type than the record, or a name that the record does not know.
pub const WRONG_TYPE: Reason = Reason::of("wrong-type");
/// JSON ends in the middle of a value.
pub const CUT_OFF: Reason = Reason::of("cut-off");

/// Decodes JSON objects. A function says when the record happened; `None` is a dead letter (`bad-timestamp`).
///
/// | what the message is | reason |
/// |---|---|
/// | a tombstone | `null-value` |
/// | not UTF-8 | `not-utf8` |
/// | blank | `empty` |
/// | not JSON | `bad-json` |
/// | JSON that ends too early | `cut-off` |
/// | JSON without a field of the record | `missing-field` |
/// | JSON with a field of another type, or an unknown variant | `wrong-type` |
/// | JSON with a number that does not fit | `bad-number` |
/// | JSON with a text that is no instant, or without an event time | `bad-timestamp` |
///
/// ```rust
/// use headway_operators::kit::json::{Json, Timestamp};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Move {
///     bike: String,
///     ts: Timestamp,
/// }
///
/// let decoder = Json::new(|a: &Move| Some(a.ts.time()));
/// # fn is_decoder<D: headway_operators::stream::decode::Decoder>(_: D) {}
/// # is_decoder(decoder);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Json<T, F> {
    time: F,
    record: PhantomData<fn() -> T>,
}

impl<T, F: Fn(&T) -> Option<EventTime> + 'static> Json<T, F> {
    /// Decodes records of type `T`; `time` says when one happened.
    pub fn new(time: F) -> Json<T, F> {
        Json { time, record: PhantomData }
    }
}

impl<T, F> Decoder for Json<T, F>
where
    T: DeserializeOwned + ExchangeData + Clone,
    F: Fn(&T) -> Option<EventTime> + 'static,
{
    type Out = T;
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<T>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let text = std::str::from_utf8(value).map_err(|_| Reason::NOT_UTF8)?;
        if text.trim().is_empty() {
            return Err(Reason::EMPTY);
        }
        let record: T = serde_json::from_str(text).map_err(|error| reason(&error))?;
        let time = (self.time)(&record).ok_or(Reason::BAD_TIMESTAMP)?;
        Ok(Decoded::Record(time, record))
    }
}

/// How errors of [`Timestamp`] begin.
const NO_INSTANT: &str = "not an instant";

/// The kind of a failure. Serde says which kind of data error it is in words only; a test holds on to them.
fn reason(error: &serde_json::Error) -> Reason {
    match error.classify() {
        Category::Eof => CUT_OFF,
        Category::Syntax | Category::Io => Reason::BAD_JSON,
        Category::Data => {
            let text = error.to_string();
            let kinds = [
                ("missing field", Reason::MISSING_FIELD),
                ("invalid value: integer", Reason::BAD_NUMBER),
                ("invalid value: floating point", Reason::BAD_NUMBER),
                (NO_INSTANT, Reason::BAD_TIMESTAMP),
            ];
            let kind = kinds.into_iter().find(|(words, _)| text.starts_with(words));
            kind.map_or(WRONG_TYPE, |(_, reason)| reason)
        }
    }
}

/// The field for which a message is no `T`; `None` where no field of its own is the cause. It serves as
/// [`Entry::fault`](crate::pipeline::Entry::fault) of a pipeline whose inputs are [`Json`].
///
/// ```rust
/// use headway_operators::kit::json;
/// use headway_operators::pipeline::DeadLetter;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Move {
///     bike: String,
///     station: String,
/// }
///
/// let message = br#"{"bike":"b1","station":7}"#;
/// let dead = DeadLetter { input: "moves", message, columns: None, reason: "wrong-type" };
/// let fault = json::fault::<Move>(&dead).expect("a field is wrong");
/// assert_eq!((fault.field.as_ref(), fault.found.as_str()), ("station", "7"));
/// ```
pub fn fault<T: DeserializeOwned>(dead: &DeadLetter<'_>) -> Option<Fault> {
    let text = std::str::from_utf8(dead.message).ok()?;
    let error = serde_json::from_str::<T>(text).err().filter(|error| error.classify() == Category::Data)?;
    let words = error.to_string();
    if let Some(field) = words.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        return Some(Fault { field: field.to_string().into(), found: String::new() });
    }
    // Serde reports where it stopped, not in which field: that is the one whose value lies there.
    let before = error.line().checked_sub(1)?;
    let line_begins: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let at = line_begins + error.column();
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    fields.into_iter().find_map(|(field, value)| {
        let value = value.get();
        let begins = value.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        let is_there = (begins..=begins + value.len()).contains(&at);
        is_there.then(|| Fault { field: field.into(), found: value.to_string() })
    })
}

/// An instant in JSON: milliseconds since the Unix epoch, or text such as `2024-03-10T06:59:59.5Z` (RFC 3339).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(EventTime);

impl Timestamp {
    /// The event time.
    pub fn time(self) -> EventTime {
        self.0
    }
}

impl From<EventTime> for Timestamp {
    fn from(time: EventTime) -> Timestamp {
        Timestamp(time)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.ms())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(|ms| Timestamp(EventTime(ms)));
        }
        deserializer.deserialize_any(Instants)
    }
}

struct Instants;

impl Visitor<'_> for Instants {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds or a time such as 2024-03-10T06:59:59Z")
    }

    fn visit_i64<E: Error>(self, ms: i64) -> Result<Timestamp, E> {
        Ok(Timestamp(EventTime(ms)))
    }

    fn visit_u64<E: Error>(self, ms: u64) -> Result<Timestamp, E> {
        let ms = i64::try_from(ms).map_err(|_| E::custom(format!("{NO_INSTANT}: {ms} ms")))?;
        self.visit_i64(ms)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        let ms = instant(text).ok_or_else(|| E::custom(format!("{NO_INSTANT}: \"{text}\"")))?;
        self.visit_i64(ms)
    }
}

/// The milliseconds of an instant by RFC 3339; a fraction is cut.
fn instant(text: &str) -> Option<i64> {
    let (date, clock) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    let number = |text: &str, width: usize| {
        let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i64>().ok()).flatten()
    };
    let pair = |text: &str| {
        let (one, other) = text.split_once(':')?;
        Some((number(one, 2)?, number(other, 2)?))
    };
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days_of_month = *days.get(usize::try_from(month - 1).ok()?)?;
    // The zone follows the seconds and their fraction.
    let zone_at = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at(zone_at);
    let (minutes, seconds) = (clock.get(..5)?, clock.get(5..)?.strip_prefix(':')?);
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let ((hour, minute), second) = (pair(minutes)?, number(seconds, 2)?);
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let (millis, offset) = (
        number(&fraction, 3)?,
        match zone {
            "Z" | "z" => 0,
            _ => {
                let (hours, minutes) = pair(&zone[1..])?;
                let minutes = (hours * 60 + minutes) * 60_000;
                if hours > 23 || minutes > 24 * 3_600_000 {
                    return None;
                }
                if zone.starts_with('-') { -minutes } else { minutes }
            }
        },
    );
    let is_valid = (1..=days_of_month).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let days = days_before(year) + days[..usize::try_from(month - 1).ok()?].iter().sum::<i64>() + day - 1;
    let ms = ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + millis - offset;
    is_valid.then_some(ms)
}

/// The days from 1970 to the first day of `year`.
fn days_before(year: i64) -> i64 {
    let leaps = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Offset, Partition};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Dock,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Move {
        bike: String,
        count: u8,
        kind: Kind,
        ts: Option<Timestamp>,
    }

    fn decode(value: Payload<'_>) -> Result<i64, String> {
        let mut decoder = Json::new(|a: &Move| a.ts.map(Timestamp::time));
        let raw = Raw::of(Partition(0), Offset(0), value);
        match decoder.decode(&raw, &Context::default(), &mut Vec::new()) {
            Ok(Decoded::Record(time, _)) => Ok(time.ms()),
            Ok(Decoded::Filtered) => Err("filtered".to_string()),
            Err(reason) => Err(reason.name().to_string()),
        }
    }

    #[test]
    fn each_kind_of_failure_has_its_reason() {
        let cases = [
            (r#"{"bike":"b","count":1,"kind":"dock","ts":7,"more":null}"#, Ok(7)),
            (r#"{"bike":"b","count":1,"kind":"dock","ts":"1970-01-01T01:00:00.0019+01:00"}"#, Ok(1)),
            ("", Err("empty")),
            (" \n", Err("empty")),
            ("bike", Err("bad-json")),
            (r#"{"bike":"b"} x"#, Err("missing-field")),
            (r#"{"bike":"b","count":1,"kind":"dock","ts":7} x"#, Err("bad-json")),
            (r#"{"bike":"b","count":1"#, Err("cut-off")),
            (r#"{"bike":"b","kind":"dock","ts":7}"#, Err("missing-field")),
            (r#"{"bike":7,"count":1,"kind":"dock","ts":7}"#, Err("wrong-type")),
            (r#"{"bike":"b","count":1,"kind":"fly","ts":7}"#, Err("wrong-type")),
            (r#"["b"]"#, Err("wrong-type")),
            (r#"{"bike":"b","count":256,"kind":"dock","ts":7}"#, Err("bad-number")),
            (r#"{"bike":"b","count":-1,"kind":"dock","ts":7}"#, Err("bad-number")),
            (r#"{"bike":"b","count":1,"kind":"dock","ts":"soon"}"#, Err("bad-timestamp")),
            (r#"{"bike":"b","count":1,"kind":"dock"}"#, Err("bad-timestamp")),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(Payload::Bytes(text.as_bytes())), expected.map_err(str::to_string), "{text}");
        }
        assert_eq!(decode(Payload::Null), Err("null-value".to_string()));
        assert_eq!(decode(Payload::Bytes(b"\xff")), Err("not-utf8".to_string()));
    }

    #[test]
    fn field_that_is_the_cause_is_found() {
        let cases = [
            (r#"{"bike":"b","kind":"dock","ts":7}"#, Some(("count", ""))),
            (r#"{"bike":7,"count":1,"kind":"dock","ts":7}"#, Some(("bike", "7"))),
            (r#"{"bike":null,"count":1,"kind":"dock","ts":7}"#, Some(("bike", "null"))),
            (r#"{"bike":{"a":[1]},"count":1,"kind":"dock","ts":7}"#, Some(("bike", r#"{"a":[1]}"#))),
            (r#"{ "bike" : ["b"] , "count":1,"kind":"dock","ts":7}"#, Some(("bike", r#"["b"]"#))),
            (r#"{"bike":"b","count":"one","kind":"dock","ts":7}"#, Some(("count", r#""one""#))),
            (r#"{"bike":"b","count":1.5,"kind":"dock","ts":7}"#, Some(("count", "1.5"))),
            (r#"{"bike":"größe","count":256,"kind":"dock","ts":7}"#, Some(("count", "256"))),
            (
                "{\"bike\":\"b\",\n  \"count\":1,\n  \"kind\":\"fly\",\n  \"ts\":7}",
                Some(("kind", r#""fly""#)),
            ),
            (r#"{"bike":"b","count":1,"kind":"dock","ts":"soon"}"#, Some(("ts", r#""soon""#))),
            (r#"{"bike":"b","count":1,"kind":"dock","ts":true,"more":1}"#, Some(("ts", "true"))),
            // No field of its own is the cause.
            (r#"{"bike":"b","count":1,"kind":"dock","ts":7}"#, None),
            (r#"{"bike":"b","count":1,"kind":"dock"}"#, None),
            (r#"{"bike":"b","count":1"#, None),
            (r#"["b"]"#, None),
            ("7", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let dead =
                DeadLetter { input: "moves", message: text.as_bytes(), columns: None, reason: "wrong-type" };
            let found = fault::<Move>(&dead);
            let found = found.as_ref().map(|fault| (fault.field.as_ref(), fault.found.as_str()));
            assert_eq!(found, expected, "{text}");
        }
        let dead = DeadLetter { input: "moves", message: b"\xff", columns: None, reason: "not-utf8" };
        assert_eq!(fault::<Move>(&dead), None);
    }

    #[test]
    fn instants_are_those_of_rfc_3339() {
        let good = [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2024-03-10T06:59:59-05:00", 1_710_071_999_000),
            ("1969-12-31 23:59:59z", -1000),
            ("2100-03-01T00:00:00+00:00", 4_107_542_400_000),
        ];
        for (text, ms) in good {
            assert_eq!(instant(text), Some(ms), "{text}");
        }
        let bad = [
            "",
            "2024-02-30T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01",
            "2024-01-01T00:00Z",
            "2024-01-01T00:00:00",
            "2024-1-01T00:00:00Z",
            "größe-die-nicht-geht",
            "2024-01-01T00:00:00+1:00",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.Z x",
        ];
        for text in bad {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
