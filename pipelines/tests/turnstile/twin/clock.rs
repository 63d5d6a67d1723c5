//! Text of a time to an instant, and instants to what a wall clock shows.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

/// The wall clock of a time zone.
pub(crate) struct Clock(TimeZone);

impl Clock {
    pub(crate) fn new(zone: &str) -> Clock {
        Clock(TimeZoneDatabase::bundled().get(zone).expect("a known zone"))
    }

    /// The instant of `YYYY-MM-DD HH:MM:SS`, perhaps with a fraction and `Z` or an offset, in milliseconds.
    ///
    /// Of the two instants of an hour that comes twice it is the one nearer to `newest`, else the earlier one.
    pub(super) fn instant(&self, text: &str, newest: Option<i64>) -> Option<i64> {
        let (wall, rest) = text.split_at_checked(19)?;
        let wall = wall_clock(wall)?;
        let (fraction_ms, place) = fraction(rest)?;
        let utc_ms = |ahead_s: i32| {
            let as_if_utc = TimeZone::UTC.to_timestamp(wall).ok()?;
            Some(as_if_utc.as_millisecond() + fraction_ms - i64::from(ahead_s) * 1000)
        };
        if !place.is_empty() {
            return utc_ms(offset(place)?);
        }
        match self.0.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => utc_ms(offset.seconds()),
            AmbiguousOffset::Gap { .. } => None,
            AmbiguousOffset::Fold { before, after } => {
                let (first, second) = (utc_ms(before.seconds())?, utc_ms(after.seconds())?);
                let is_second = newest.is_some_and(|newest| second.abs_diff(newest) < first.abs_diff(newest));
                Some(if is_second { second } else { first })
            }
        }
    }

    /// `MM/DD/YYYY` and `HH:MM:SS` on the wall at an instant.
    pub(super) fn date_and_time(&self, ms: i64) -> (String, String) {
        let second = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(ms.div_euclid(1000));
        let wall = self.0.to_datetime(second);
        (wall.strftime("%m/%d/%Y").to_string(), wall.strftime("%H:%M:%S").to_string())
    }
}

/// The number that `text` is, all of it ASCII digits.
fn number(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// `YYYY-MM-DD HH:MM:SS`, or with a `T`; years from 1970 to 2999.
fn wall_clock(text: &str) -> Option<DateTime> {
    let part = |from: usize, until: usize| number(text.get(from..until)?);
    for (at, allowed) in [(4, "-"), (7, "-"), (10, " T"), (13, ":"), (16, ":")] {
        allowed.contains(text.get(at..=at)?).then_some(())?;
    }
    let year = part(0, 4).filter(|year| (1970..3000).contains(year))?;
    let of = |value: Option<i64>| i8::try_from(value?).ok();
    let (month, day) = (of(part(5, 7))?, of(part(8, 10))?);
    let (hour, minute, second) = (of(part(11, 13))?, of(part(14, 16))?, of(part(17, 19))?);
    DateTime::new(year as i16, month, day, hour, minute, second, 0).ok()
}

/// Milliseconds of a fraction, if there is one, and what stands behind it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 || length > 9 {
        return None;
    }
    let cut: String = digits[..length].chars().chain("00".chars()).take(3).collect();
    Some((number(&cut)?, &digits[length..]))
}

/// Seconds that a clock with `Z`, `+HH`, `+HHMM` or `+HH:MM` is ahead of UTC.
fn offset(text: &str) -> Option<i32> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_at_checked(2)?;
    let minutes = match minutes.len() {
        0 => "00",
        2 => minutes,
        3 => minutes.strip_prefix(':')?,
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60) as i32)
}

#[test]
fn time_is_read() {
    let clock = Clock::new("America/New_York");
    for text in [
        "2024-01-30 07:32:04.567",
        "2024-01-30T07:32:04,5679",
        "2024-01-30T12:32:04.567Z",
        "2024-01-30 18:17:04.567999999+05:45",
        "2024-01-30 06:32:04.567-0600",
        "2024-01-31T06:32:04.567+18",
    ] {
        assert_eq!(clock.instant(text, None), Some(1_706_617_924_567), "{text}");
    }
    assert_eq!(clock.instant("2024-01-30 07:32:04.5", None), Some(1_706_617_924_500));
    for text in [
        "",
        "2024-01-30",
        "2024-01-30 07:32:04.",
        "2024-01-30 07:32:04z",
        "2024-01-30 07:32:04+19",
        "2024-01-30 07:32:04+05:6",
        "2024-01-30 07:32:04.1234567890",
        "2024-03-10 02:30:00",
        "2024-01-30 07:32:6é",
    ] {
        assert_eq!(clock.instant(text, None), None, "{text}");
    }
    let first = clock.instant("2024-11-03 01:30:00", None).expect("a time");
    assert_eq!(clock.instant("2024-11-03 01:30:00", Some(first + 1_800_001)), Some(first + 3_600_000));
    assert_eq!(clock.instant("2024-11-03 01:30:00", Some(first + 1_800_000)), Some(first));
    assert_eq!(clock.date_and_time(-1), ("12/31/1969".to_string(), "18:59:59".to_string()));
}
