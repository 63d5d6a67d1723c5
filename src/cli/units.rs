//! What a person writes for a quantity: `5m`, `16MiB`, `50%`, `2015-03-21T00:00:00Z`, `none`.
//!
//! Each type is read the same way from a flag and from the configuration file, and prints what it would be read
//! from. A bare number is refused where a unit matters: `--window 5` would be a guess.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use headway_operators::duration;
use headway_operators::time::EventTime;
use serde::de::{Deserialize, Deserializer, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// Why a text is not the quantity it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Bad(String);

/// A quantity that has a written form.
pub(crate) trait Written: FromStr<Err = Bad> {
    /// What is expected, with an example, to follow "expected".
    const EXPECTED: &'static str;
}

/// A length of time in milliseconds, written `50ms`, `1s`, `2h30m`; never negative, at most 100 years, so that
/// adding a few to an instant cannot overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Millis(pub(crate) i64);

impl Written for Millis {
    const EXPECTED: &'static str = "a duration such as \"5m\", \"50ms\" or \"2h30m\"";
}

impl FromStr for Millis {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Millis, Bad> {
        duration::parse(text).map(Millis).map_err(Bad)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration::show(self.0))
    }
}

/// How long ago something was, in milliseconds: days, or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) i64);

impl FromStr for Age {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Age, Bad> {
        let days = text.strip_suffix('d').filter(|days| days.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(days) = days else { return text.parse::<Millis>().map(|Millis(ms)| Age(ms)) };
        let ms = days.parse::<i64>().ok().and_then(|days| days.checked_mul(24 * 3_600_000));
        ms.map(Age)
            .ok_or_else(|| Bad("expected days such as \"90d\", or a duration such as \"12h\"".to_string()))
    }
}

/// A size in bytes, written `64KiB`, `16MiB`, `1MB`, `512B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) u64);

/// Units of size; the binary ones first, in falling order, because sizes are printed with them.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Written for Bytes {
    const EXPECTED: &'static str = "a size such as \"64KiB\" or \"16MiB\"";
}

impl FromStr for Bytes {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Bytes, Bad> {
        let bad = |why: &str| Bad(format!("\"{text}\" is not a size: {why}"));
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(bad("write a whole number with a unit, such as 64KiB or 16MiB"));
        }
        let number: u64 = number.parse().map_err(|_| bad("it is too large"))?;
        let unit = unit.trim_start();
        let known = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let (_, factor) = known.ok_or_else(|| bad("the units are B, KiB, MiB, GiB, kB, MB and GB"))?;
        number.checked_mul(*factor).map(Bytes).ok_or_else(|| bad("it is too large"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES[..3].iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match whole {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A share of a whole, from 0 to 1, written `50%`, `0.1%` or `0.001`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Share(pub(crate) f64);

impl Written for Share {
    const EXPECTED: &'static str = "a share such as \"50%\" or 0.5";
}

impl FromStr for Share {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Share, Bad> {
        let bad = || Bad(format!("\"{text}\" is not a share: write 0% to 100%, or 0 to 1"));
        let (number, whole) = match text.strip_suffix('%') {
            Some(number) => (number, 100.0),
            None => (text, 1.0),
        };
        let share = number.parse::<f64>().map_err(|_| bad())? / whole;
        if (0.0..=1.0).contains(&share) { Ok(Share(share)) } else { Err(bad()) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded to 10^-9 %, so that 0.07 prints as it was written.
        write!(f, "{}%", (self.0 * 1e11).round() / 1e9)
    }
}

/// An instant in milliseconds UTC, written as RFC 3339, or without a zone, or as a date alone, both in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct When(pub(crate) i64);

impl Written for When {
    const EXPECTED: &'static str = "a quoted time such as \"2015-03-21T00:00:00Z\" or \"2015-03-21\"";
}

impl FromStr for When {
    type Err = Bad;

    fn from_str(text: &str) -> Result<When, Bad> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(When(time.timestamp_millis()));
        }
        let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        if let Some(time) = local.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()) {
            return Ok(When(time.and_utc().timestamp_millis()));
        }
        match NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0)) {
            Some(time) => Ok(When(time.and_utc().timestamp_millis())),
            None => Err(Bad(format!(
                "\"{text}\" is not a time: write 2015-03-21T00:00:00Z, or 2015-03-21 for midnight UTC"
            ))),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.0) {
            Some(time) if self.0 % 1000 == 0 => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%SZ")),
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.3fZ")),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// A rough age: its two largest units.
pub(crate) fn age(ms: i64) -> Millis {
    Millis(match ms {
        ..10_000 => ms,
        10_000..3_600_000 => ms / 1_000 * 1_000,
        3_600_000..86_400_000 => ms / 60_000 * 60_000,
        _ => ms / 3_600_000 * 3_600_000,
    })
}

/// An event time, or that there is none.
pub(crate) fn time(time: EventTime) -> String {
    if time == EventTime::MIN { "none yet".to_string() } else { When(time.ms()).to_string() }
}

/// A whole number, written with digits; a unit would be wrong here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count(pub(crate) u64);

impl Written for Count {
    const EXPECTED: &'static str = "a whole number";
}

impl FromStr for Count {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Count, Bad> {
        let digits = text.replace('_', "");
        digits.parse().map(Count).map_err(|_| Bad(format!("\"{text}\" is not a whole number")))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A quantity that may be switched off with `none` or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    /// The quantity.
    At(T),
    /// Switched off.
    Off,
}

impl<T> Limit<T> {
    /// The quantity; `None` if it is switched off.
    pub(crate) fn at(self) -> Option<T> {
        match self {
            Limit::At(value) => Some(value),
            Limit::Off => None,
        }
    }
}

impl<T: Written> Written for Limit<T> {
    const EXPECTED: &'static str = T::EXPECTED;
}

impl<T: Written> FromStr for Limit<T> {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Limit<T>, Bad> {
        match text {
            "none" | "never" => Ok(Limit::Off),
            _ => text.parse().map(Limit::At),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::At(value) => value.fmt(f),
            Limit::Off => f.write_str("none"),
        }
    }
}

/// Reads a quantity from text or from a bare number; the latter lets the error speak of the missing unit.
struct Reader<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

macro_rules! deserialize_written {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(Reader(PhantomData))
            }
        }
    )*};
}

deserialize_written!(Millis, Bytes, Share, When, Count);

impl<'de, T: Written> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        let bytes = |text: &str| text.parse::<Bytes>().ok().map(|size| size.0);
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("16MiB"), Some(16 << 20));
        assert_eq!(bytes("16 mib"), Some(16 << 20));
        assert_eq!(bytes("2GiB"), Some(2 << 30));
        assert_eq!(bytes("1MB"), Some(1_000_000));
        assert_eq!(bytes("512B"), Some(512));
        for text in ["", "64", "K", "1.5MiB", "-1B", "1Mi", "99999999999999999999B", "99999999999GiB", "1é"]
        {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(Bytes(16 << 20).to_string(), "16MiB");
        assert_eq!(Bytes(1500).to_string(), "1500B");
        assert_eq!(Bytes(0).to_string(), "0B");
    }

    #[test]
    fn shares_are_percentages_or_fractions() {
        let share = |text: &str| text.parse::<Share>().ok().map(|share| share.0);
        assert_eq!(share("50%"), Some(0.5));
        assert_eq!(share("0.1%"), Some(0.001));
        assert_eq!(share("0.02"), Some(0.02));
        assert_eq!(share("1"), Some(1.0));
        for text in ["", "%", "2", "101%", "-1%", "NaN", "inf", "half"] {
            assert_eq!(share(text), None, "{text}");
        }
        assert_eq!(Share(0.07).to_string(), "7%");
        assert_eq!(Share(0.001).to_string(), "0.1%");
    }

    #[test]
    fn times_are_rfc_3339_or_utc() {
        let when = |text: &str| text.parse::<When>().ok().map(|when| when.0);
        assert_eq!(when("1970-01-01T00:00:01Z"), Some(1_000));
        assert_eq!(when("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(when("1970-01-01 00:00:02"), Some(2_000));
        assert_eq!(when("1970-01-02"), Some(86_400_000));
        for text in ["", "2015", "2015-02-30", "03/21/2015", "now"] {
            assert_eq!(when(text), None, "{text}");
        }
        assert_eq!(When(1_500).to_string(), "1970-01-01T00:00:01.500Z");
    }

    #[test]
    fn limits_can_be_switched_off() {
        assert_eq!("never".parse::<Limit<Millis>>(), Ok(Limit::Off));
        assert_eq!("none".parse::<Limit<Count>>(), Ok(Limit::Off));
        assert_eq!("60s".parse::<Limit<Millis>>(), Ok(Limit::At(Millis(60_000))));
        assert!("nope".parse::<Limit<Count>>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(n in 0..=duration::MAX_MS, size in 0u64..1 << 45) {
            prop_assert_eq!(Millis(n).to_string().parse::<Millis>(), Ok(Millis(n)));
            prop_assert_eq!(Bytes(size).to_string().parse::<Bytes>(), Ok(Bytes(size)));
            prop_assert_eq!(When(n).to_string().parse::<When>(), Ok(When(n)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = (text.parse::<Millis>(), text.parse::<Bytes>(), text.parse::<Share>(), text.parse::<When>());
        }
    }
}
