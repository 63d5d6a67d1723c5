//! From the text of a time to an instant.
//!
//! A time is `YYYY-MM-DD HH:MM:SS` of the years 1970 to 2999, with a space or a `T` between. A fraction of a second of
//! one to nine digits may follow, and is cut to milliseconds. `Z` or an offset may end it (`+HH`, `+HHMM`, `+HH:MM`,
//! up to 18 hours): then the text is an instant. Without one it is what a clock on the wall of the zone shows.

use crate::zone::{Clock, Wall, Zone};
use headway_operators::time::EventTime;

/// Makes instants of texts.
pub(super) struct Instants {
    clock: Clock,
    hour: Hour,
}

/// The hour of the last time stamp: most have the same one.
#[derive(Default)]
struct Hour {
    /// `YYYY-MM-DD HH`, as it stands in a message; `None` before the first.
    text: Option<[u8; 13]>,
    /// The instant at which it began. One offset holds in all of it.
    start: EventTime,
}

/// What follows the seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    fraction_ms: i64,
    /// The offset from UTC in seconds, if the text says one.
    offset_s: Option<i64>,
}

impl Instants {
    /// Wall-clock times are those of `zone`.
    pub(super) fn new(zone: Zone) -> Instants {
        Instants { clock: Clock::new(zone), hour: Hour::default() }
    }

    /// The instant of a time stamp. Of the two instants of an hour that comes twice the one nearer to `newest` counts.
    pub(super) fn of_timestamp(&mut self, text: &[u8], newest: Option<EventTime>) -> Option<EventTime> {
        let (text, tail) = text.split_first_chunk::<19>()?;
        if !tail.is_empty() {
            return self.exact(timestamp(text)?, tail, newest);
        }
        let (hour, rest) = text.split_first_chunk::<13>()?;
        if self.hour.text != Some(*hour) {
            let wall = timestamp(text)?;
            let Some(start) = self.clock.hour(wall) else {
                return Some(self.clock.meanings(wall)?.nearer(newest));
            };
            self.hour = Hour { text: Some(*hour), start };
        }
        let &[b':', m1, m2, b':', s1, s2] = rest else { return None };
        let (minute, second) = (two(&[m1, m2])?, two(&[s1, s2])?);
        let ms = (i64::from(minute) * 60 + i64::from(second)) * 1000;
        (minute < 60 && second < 60).then(|| self.hour.start.plus_ms(ms))
    }

    /// The instant of a date, `MM-DD-YY` (of the years 2000 to 2099) or `MM/DD/YYYY`, and a time of day.
    pub(super) fn of_date_and_time(
        &mut self,
        date: &[u8],
        time: &[u8],
        newest: Option<EventTime>,
    ) -> Option<EventTime> {
        let (month, day, year) = match *date {
            [m1, m2, b'-', d1, d2, b'-', y1, y2] => {
                (two(&[m1, m2])?, two(&[d1, d2])?, year(20, two(&[y1, y2])?)?)
            }
            [m1, m2, b'/', d1, d2, b'/', y1, y2, y3, y4] => {
                (two(&[m1, m2])?, two(&[d1, d2])?, year(two(&[y1, y2])?, two(&[y3, y4])?)?)
            }
            _ => return None,
        };
        let (clock, tail) = time.split_first_chunk::<8>()?;
        let (hour, minute, second) = hms(clock)?;
        self.exact(Wall { year, month, day, hour, minute, second }, tail, newest)
    }

    /// The instant of a wall-clock time that `tail` follows.
    fn exact(&mut self, wall: Wall, tail: &[u8], newest: Option<EventTime>) -> Option<EventTime> {
        let Tail { fraction_ms, offset_s } = Tail::read(tail)?;
        match offset_s {
            Some(offset) => Some(EventTime((wall.seconds()? - offset) * 1000 + fraction_ms)),
            None => Some(self.clock.meanings(wall)?.plus_ms(fraction_ms).nearer(newest)),
        }
    }
}

impl Tail {
    /// Reads a fraction and an offset, either of which may be absent.
    fn read(text: &[u8]) -> Option<Tail> {
        let (fraction_ms, zone) = match text {
            [b'.' | b',', rest @ ..] => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (fraction, zone) = rest.split_at(digits);
                let digit = |at: usize| fraction.get(at).map_or(0, |byte| i64::from(byte - b'0'));
                (1..=9).contains(&digits).then(|| (digit(0) * 100 + digit(1) * 10 + digit(2), zone))?
            }
            _ => (0, text),
        };
        let offset_s = match *zone {
            [] => None,
            [b'Z'] => Some(0),
            [sign @ (b'+' | b'-'), h1, h2, ref minutes @ ..] => {
                let minutes = match *minutes {
                    [] => 0,
                    [m1, m2] | [b':', m1, m2] => two(&[m1, m2])?,
                    _ => return None,
                };
                let hours = two(&[h1, h2])?;
                let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
                let is_offset = hours <= 18 && minutes <= 59;
                Some(is_offset.then_some(if sign == b'-' { -seconds } else { seconds })?)
            }
            _ => return None,
        };
        Some(Tail { fraction_ms, offset_s })
    }
}

/// `YYYY-MM-DD HH:MM:SS`, with a space or a `T`, in the years 1970 to 2999.
fn timestamp(text: &[u8; 19]) -> Option<Wall> {
    let (date, clock) = (&text[..10], &text[11..]);
    let is_shaped = date[4] == b'-' && date[7] == b'-' && (text[10] == b' ' || text[10] == b'T');
    let year = year(two(&date[0..2])?, two(&date[2..4])?)?;
    let (month, day) = (two(&date[5..7])?, two(&date[8..10])?);
    let (hour, minute, second) = hms(clock)?;
    is_shaped.then_some(Wall { year, month, day, hour, minute, second })
}

/// A year from its first and last two digits, if it is one of 1970 to 2999.
fn year(century: u8, of_century: u8) -> Option<i16> {
    let year = i16::from(century) * 100 + i16::from(of_century);
    (1970..=2999).contains(&year).then_some(year)
}

/// `HH:MM:SS`, which need not be a time of day.
fn hms(text: &[u8]) -> Option<(u8, u8, u8)> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    Some((two(&[h1, h2])?, two(&[m1, m2])?, two(&[s1, s2])?))
}

/// Two digits.
fn two(text: &[u8]) -> Option<u8> {
    let &[tens, ones] = text else { return None };
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| tens * 10 + ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YORK: &str = "America/New_York";

    fn instant(zone: &str, text: &str, newest: Option<i64>) -> Option<i64> {
        let mut instants = Instants::new(Zone::find(zone).expect("a known zone"));
        // Asked twice: the second answer may come from memory.
        let mut ask = || instants.of_timestamp(text.as_bytes(), newest.map(EventTime)).map(EventTime::ms);
        let first = ask();
        assert_eq!(ask(), first, "{text}");
        first
    }

    #[test]
    fn text_is_an_instant_or_a_time_on_the_wall_or_nothing() {
        const NOON: i64 = 1_706_617_924_000;
        let cases = [
            ("2024-01-30 12:32:04", Some(NOON)),
            ("2024-01-30T12:32:04", Some(NOON)),
            ("2024-01-30t12:32:04", None),
            ("2024-01-30 12:32:04Z", Some(NOON)),
            ("2024-01-30 12:32:04z", None),
            // Fractions are cut, not rounded.
            ("2024-01-30 12:32:04.5", Some(NOON + 500)),
            ("2024-01-30 12:32:04,07", Some(NOON + 70)),
            ("2024-01-30 12:32:04.123456789", Some(NOON + 123)),
            ("2024-01-30 12:32:04.9999Z", Some(NOON + 999)),
            ("2024-01-30 12:32:04.1234567890", None),
            ("2024-01-30 12:32:04.", None),
            ("2024-01-30 12:32:04.Z", None),
            // Offsets.
            ("2024-01-30 12:32:04+00:00", Some(NOON)),
            ("2024-01-30 12:32:04-00", Some(NOON)),
            ("2024-01-30 12:32:04+0530", Some(NOON - 19_800_000)),
            ("2024-01-30 12:32:04.25-05:00", Some(NOON + 18_000_250)),
            ("2024-01-30 12:32:04+18:59", Some(NOON - 68_340_000)),
            ("2024-01-30 12:32:04+19", None),
            ("2024-01-30 12:32:04+01:60", None),
            ("2024-01-30 12:32:04+1", None),
            ("2024-01-30 12:32:04+01:0", None),
            ("2024-01-30 12:32:04+010", None),
            ("2024-01-30 12:32:04 +01", None),
            ("2024-01-30 12:32:04Z+01", None),
            // The years are those of the text.
            ("1970-01-01 00:00:00+01:00", Some(-3_600_000)),
            ("1969-12-31 23:59:59-01:00", None),
            ("2999-12-31 23:59:59", Some(32_503_679_999_000)),
            ("3000-01-01 00:00:00+12", None),
            ("2024-02-30 00:00:00Z", None),
            ("2024-01-30 24:00:00Z", None),
            ("2024-01-30 12:60:00", None),
            ("2024-01-30 12:32", None),
            ("2024-01-30", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(instant("UTC", text, None), want, "{text}");
        }
    }

    #[test]
    fn offset_says_more_than_the_zone() {
        // An hour that does not exist, and one that comes twice.
        for (text, want) in [
            ("2024-03-10 02:30:00", None),
            ("2024-03-10 02:30:00-05:00", Some(1_710_055_800_000)),
            ("2024-11-03 01:30:00-04:00", Some(1_730_611_800_000)),
            ("2024-11-03 01:30:00-05:00", Some(1_730_615_400_000)),
            ("2024-11-03 05:30:00Z", Some(1_730_611_800_000)),
        ] {
            assert_eq!(instant(NEW_YORK, text, Some(0)), want, "{text}");
        }
    }

    #[test]
    fn of_an_hour_that_comes_twice_the_instant_nearer_to_the_newest_counts() {
        const FIRST: i64 = 1_730_611_800_000;
        const SECOND: i64 = FIRST + 3_600_000;
        const BETWEEN: i64 = FIRST + 1_800_000;
        for (newest, want) in [
            (None, FIRST),
            (Some(0), FIRST),
            (Some(FIRST), FIRST),
            (Some(BETWEEN - 1), FIRST),
            // Both are as near.
            (Some(BETWEEN), FIRST),
            (Some(BETWEEN + 1), SECOND),
            (Some(SECOND), SECOND),
            (Some(i64::MAX / 2), SECOND),
        ] {
            assert_eq!(instant(NEW_YORK, "2024-11-03 01:30:00", newest), Some(want), "{newest:?}");
            // The fraction counts in the distance.
            let shifted = newest.map(|newest| newest + 250);
            assert_eq!(instant(NEW_YORK, "2024-11-03 01:30:00.25", shifted), Some(want + 250), "{newest:?}");
        }
        // An hour is not always what is turned back.
        let half = |newest| instant("Australia/Lord_Howe", "2024-04-07 01:45:00", Some(newest));
        let first = half(0).expect("it comes twice");
        assert_eq!(half(first + 1_800_000), Some(first + 1_800_000));
    }

    #[test]
    fn date_and_time_are_read_as_a_time_stamp_is() {
        let mut instants = Instants::new(Zone::utc());
        let mut ask = |date: &str, time: &str| {
            instants.of_date_and_time(date.as_bytes(), time.as_bytes(), None).map(EventTime::ms)
        };
        for (date, time, want) in [
            ("01-30-24", "12:32:04", Some(1_706_617_924_000)),
            ("01/30/2024", "12:32:04.5", Some(1_706_617_924_500)),
            ("01/30/2024", "12:32:04+01", Some(1_706_614_324_000)),
            ("01/30/24", "12:32:04", None),
            ("01-30-2024", "12:32:04", None),
            ("12/31/1969", "23:59:59", None),
            ("02-30-24", "12:32:04", None),
            ("01-30-24", "12:32", None),
        ] {
            assert_eq!(ask(date, time), want, "{date} {time}");
        }
    }
}
