//! Wall-clock time and UTC: what a clock on the wall of a zone shows, and which instant it means.
//!
//! The rules come with the binary (`jiff`'s bundled database), never from the machine, so the same job gives the
//! same rows everywhere. They are rules and not a table of transitions, so they hold in the year 2999 too.

use crate::zone_suggest;
use headway_operators::setting::{Setting, Wrong};
use headway_operators::time::EventTime;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

/// A time zone of the IANA database.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// No zone has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What to write instead.
    pub hint: String,
}

/// A setting that is the name of a zone, UTC where nothing is written. It is kept as the database spells it.
pub const fn setting(name: &'static str, about: &'static str) -> Setting {
    setting_or(name, "UTC", about)
}

/// The same, with another zone where nothing is written.
pub(crate) const fn setting_or(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting::text(name, read, default, about)
}

fn read(name: &str) -> Result<String, Wrong> {
    let wrong =
        |unknown: Unknown| Wrong { what: format!("there is no time zone \"{name}\""), hint: unknown.hint };
    Ok(Zone::find(name).map_err(wrong)?.name)
}

impl Zone {
    /// The zone of `name`, in upper or lower case.
    ///
    /// # Errors
    /// If there is none: what to write instead.
    pub fn find(name: &str) -> Result<Zone, Unknown> {
        let zones = TimeZoneDatabase::bundled();
        let Ok(rules) = zones.get(name) else {
            return Err(Unknown { hint: zone_suggest::hint(&zones, name) });
        };
        Ok(Zone { name: rules.iana_name().unwrap_or(name).to_string(), rules })
    }

    /// Coordinated universal time.
    pub fn utc() -> Zone {
        Zone { name: "UTC".to_string(), rules: TimeZone::UTC }
    }

    /// Its name, spelled as the database spells it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a clock on the wall shows at `at`.
    ///
    /// # Panics
    /// Beyond the years -9999 to 9999.
    pub fn wall(&self, at: EventTime) -> Wall {
        let instant = Timestamp::from_millisecond(at.ms()).expect("event time is within the calendar");
        let shown = self.rules.to_datetime(instant);
        let small = |part: i8| u8::try_from(part).expect("no part of a wall-clock time is negative");
        Wall {
            year: shown.year(),
            month: small(shown.month()),
            day: small(shown.day()),
            hour: small(shown.hour()),
            minute: small(shown.minute()),
            second: small(shown.second()),
        }
    }
}

/// What a clock on the wall shows. Its parts need not make a time that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    /// The year.
    pub year: i16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl Wall {
    /// The seconds since 1970-01-01 00:00:00 on the same wall; `None` if the calendar has no such time.
    pub fn seconds(self) -> Option<i64> {
        const DAYS: [u8; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        if !(1..=12).contains(&self.month) || self.hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let year = i64::from(self.year);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = DAYS[usize::from(self.month) - 1] + u8::from(self.month == 2 && is_leap);
        if !(1..=days).contains(&self.day) {
            return None;
        }
        let clock = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        Some(days_from_civil(year, i64::from(self.month), i64::from(self.day)) * 86_400 + clock)
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date
/// algorithms"): years begin in March, so the leap day is the last day of one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The instants at which a clock on the wall shows one time: two where it is turned back, else they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meanings {
    /// The earlier instant.
    pub first: EventTime,
    /// The later instant.
    pub second: EventTime,
}

impl Meanings {
    /// Both instants, `ms` later.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Meanings {
        Meanings { first: self.first.plus_ms(ms), second: self.second.plus_ms(ms) }
    }

    /// The instant nearer to `newest`; the earlier one if there is no such time, or both are as near.
    pub fn nearer(self, newest: Option<EventTime>) -> EventTime {
        let Some(newest) = newest else { return self.first };
        let distance = |instant: EventTime| instant.ms().abs_diff(newest.ms());
        if distance(self.second) < distance(self.first) { self.second } else { self.first }
    }
}

/// Reads wall-clock times of one zone, and remembers the offset of the hours it met last.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: Zone,
    /// Direct-mapped by the hour's number. Invariant: an hour is here only if one offset holds in all of it.
    hours: Box<[Hour; HOURS]>,
}

/// How many hours a clock remembers.
const HOURS: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Hour {
    /// Hours since 1970-01-01 00 on the wall.
    number: i64,
    offset_s: i64,
}

impl Clock {
    /// A clock of `zone`.
    pub fn new(zone: Zone) -> Clock {
        Clock { zone, hours: Box::new([Hour { number: i64::MIN, offset_s: 0 }; HOURS]) }
    }

    /// The instant at which the hour of `wall` begins, if one offset holds in all of it; `None` where it does not, or
    /// where there is no such time.
    pub fn hour(&mut self, wall: Wall) -> Option<EventTime> {
        let number = wall.seconds()?.div_euclid(3600);
        Some(EventTime((number * 3600 - self.offset_of_hour(number)?) * 1000))
    }

    /// The instants at which the wall shows `wall`; `None` where it never does.
    pub fn meanings(&mut self, wall: Wall) -> Option<Meanings> {
        let seconds = wall.seconds()?;
        let number = seconds.div_euclid(3600);
        let slot = number.rem_euclid(HOURS as i64) as usize;
        if self.hours[slot].number != number {
            let Some(offset_s) = self.offset_of_hour(number) else {
                let instant = |offset: i64| EventTime((seconds - offset) * 1000);
                let [before, after] = self.offsets_at(seconds)?;
                return Some(Meanings { first: instant(before), second: instant(after) });
            };
            self.hours[slot] = Hour { number, offset_s };
        }
        let instant = EventTime((seconds - self.hours[slot].offset_s) * 1000);
        Some(Meanings { first: instant, second: instant })
    }

    /// The one offset of a whole hour on the wall; `None` if there is a change in it or a doubt.
    fn offset_of_hour(&self, number: i64) -> Option<i64> {
        let (first, last) = (number * 3600, number * 3600 + 3599);
        let ([offset, again], ends) = (self.offsets_at(first)?, self.offsets_at(last)?);
        let begin = Timestamp::from_second(first - offset).ok()?;
        let next = self.zone.rules.following(begin).next().map(|change| change.timestamp().as_second());
        let is_one = offset == again && ends == [offset, offset];
        (is_one && next.is_none_or(|change| change > last - offset)).then_some(offset)
    }

    /// The offsets in seconds at a wall-clock time: before and after the clock is turned back, where the wall shows the
    /// time twice, else the same one twice.
    fn offsets_at(&self, seconds: i64) -> Option<[i64; 2]> {
        let wall: DateTime = TimeZone::UTC.to_datetime(Timestamp::from_second(seconds).ok()?);
        match self.zone.rules.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some([i64::from(offset.seconds()); 2]),
            AmbiguousOffset::Fold { before, after } => {
                Some([i64::from(before.seconds()), i64::from(after.seconds())])
            }
            AmbiguousOffset::Gap { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> Wall {
        let parts: Vec<i16> =
            text.split(['-', ' ', ':']).map(|part| part.parse().expect("a number")).collect();
        let small = |i: usize| u8::try_from(parts[i]).expect("a small number");
        Wall {
            year: parts[0],
            month: small(1),
            day: small(2),
            hour: small(3),
            minute: small(4),
            second: small(5),
        }
    }

    #[test]
    fn wall_clock_time_is_the_earlier_instant_or_none() {
        // zone, wall-clock time, seconds since the Unix epoch
        let cases = [
            ("UTC", "1970-01-01 00:00:00", Some(0)),
            ("UTC", "2024-02-29 23:59:59", Some(1_709_251_199)),
            ("UTC", "2023-02-29 00:00:00", None),
            ("UTC", "2100-02-29 00:00:00", None),
            ("UTC", "2024-01-01 24:00:00", None),
            ("UTC", "2024-01-01 00:00:60", None),
            ("America/New_York", "2024-03-10 01:59:59", Some(1_710_053_999)),
            ("America/New_York", "2024-03-10 02:30:00", None),
            ("America/New_York", "2024-03-10 03:00:00", Some(1_710_054_000)),
            ("America/New_York", "2024-11-03 01:30:00", Some(1_730_611_800)),
            ("America/New_York", "2024-11-03 02:00:00", Some(1_730_617_200)),
            ("Australia/Lord_Howe", "2024-10-06 02:15:00", None),
            ("Australia/Lord_Howe", "2024-10-06 02:30:00", Some(1_728_142_200)),
            ("Asia/Kathmandu", "1970-01-01 00:00:00", Some(-19_800)),
            ("Europe/London", "2999-07-01 12:00:00", Some(32_487_822_000)),
        ];
        for (zone, text, seconds) in cases {
            let mut clock = Clock::new(Zone::find(zone).expect("a known zone"));
            // Asked twice: the second answer comes from memory.
            for _ in 0..2 {
                let instant = clock.meanings(wall(text)).map(|meanings| meanings.first);
                assert_eq!(instant, seconds.map(|s: i64| EventTime(s * 1000)), "{zone} {text}");
            }
            if let Some(seconds) = seconds {
                let shown = clock.zone.wall(EventTime(seconds * 1000));
                assert_eq!(shown, wall(text), "{zone} {text}");
            }
        }
    }

    #[test]
    fn zone_is_found_in_upper_or_lower_case() {
        assert_eq!(Zone::find("europe/berlin").expect("known").name(), "Europe/Berlin");
        assert!(Zone::find("UTC+2").expect_err("no zone").hint.contains("Etc/GMT-2"));
    }
}
