//! A day on the wall, by its number.

use crate::zone::{Wall, Zone};
use headway_operators::time::EventTime;
use headway_operators::view::seal::Calendar;
use headway_operators::view::text::Text;
use serde::{Deserialize, Serialize};

/// A day of the Gregorian calendar: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(i32);

/// The names of months.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The names of the days of a week, Sunday first.
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl Day {
    /// The day that `wall` shows.
    ///
    /// # Panics
    /// If the calendar has no such time.
    pub fn of(wall: Wall) -> Day {
        let seconds = wall.seconds().expect("a clock shows times that exist");
        Day::numbered(seconds.div_euclid(86_400))
    }

    /// The day of this number.
    ///
    /// # Panics
    /// If the calendar has no such day.
    pub fn numbered(number: i64) -> Day {
        Day(i32::try_from(number).expect("a calendar has fewer days"))
    }

    /// Days since 1970-01-01.
    pub fn number(self) -> i64 {
        i64::from(self.0)
    }

    /// Year, month and day of the month.
    pub fn civil(self) -> (i32, u8, u8) {
        // Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March.
        let day = self.0 + 719_468;
        let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i32::from(month <= 2);
        let small = |part| u8::try_from(part).expect("a month has 31 days at most, a year 12 months");
        (year, small(month), small(day))
    }

    /// `YYYY-MM-DD`.
    pub fn iso(self) -> Text {
        let (year, month, day) = self.civil();
        Text::from(format!("{year:04}-{month:02}-{day:02}"))
    }

    /// The day of the week: 1 is Sunday, as upstream has it.
    pub fn weekday(self) -> u8 {
        u8::try_from((self.0 + 4).rem_euclid(7) + 1).expect("a week has seven days")
    }

    /// The name of its month.
    pub fn month_name(self) -> &'static str {
        MONTHS[usize::from(self.civil().1) - 1]
    }
}

/// The days on the wall of a zone.
#[derive(Debug)]
pub struct Days(pub Zone);

/// Beyond these years there is no event time, and a wall clock shows none.
const YEARS_MS: (i64, i64) = (-60_000_000_000_000, 250_000_000_000_000);

impl Calendar for Days {
    fn day(&self, time: EventTime) -> i64 {
        let (least, greatest) = YEARS_MS;
        Day::of(self.0.wall(EventTime(time.ms().clamp(least, greatest)))).number()
    }

    fn start(&self, day: i64) -> EventTime {
        // No zone is more than 15 hours from UTC.
        let (midnight, most) = (day * DAY_S, 15 * 3600);
        let (mut before, mut from) = (midnight - most, midnight + most);
        while from - before > 1 {
            let middle = before + (from - before) / 2;
            let is_before = self.day(EventTime(middle * 1000)) < day;
            (before, from) = if is_before { (middle, from) } else { (before, middle) };
        }
        EventTime(from * 1000)
    }

    fn name(&self, day: i64) -> Text {
        Day::numbered(day).iso()
    }
}

/// Seconds of a day of the calendar.
const DAY_S: i64 = 86_400;

/// The name of a day of the week; 1 is Sunday.
pub fn weekday_name(weekday: u8) -> &'static str {
    WEEKDAYS[usize::from(weekday) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn day_is_what_the_calendar_says(ms in -2_000_000_000_000i64..32_000_000_000_000) {
            let wall = Zone::utc().wall(EventTime(ms));
            let day = Day::of(wall);
            prop_assert_eq!(day.civil(), (i32::from(wall.year), wall.month, wall.day));
            let date = jiff::civil::date(wall.year, wall.month as i8, wall.day as i8);
            prop_assert_eq!(day.weekday(), date.weekday().to_sunday_one_offset() as u8);
        }
    }

    proptest! {
        #[test]
        fn day_starts_where_the_clock_first_shows_it(ms in 1_600_000_000_000i64..1_900_000_000_000, zone in 0..4usize) {
            let zone = ["UTC", "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu"][zone];
            let days = Days(Zone::find(zone).expect("it is a zone"));
            let day = days.day(EventTime(ms));
            let start = days.start(day);
            prop_assert!(start.ms() <= ms && ms < days.start(day + 1).ms());
            prop_assert_eq!((days.day(start), days.day(EventTime(start.ms() - 1))), (day, day - 1));
            prop_assert!(days.name(day) < days.name(day + 1));
        }
    }

    #[test]
    fn days_have_the_names_that_upstream_gives_them() {
        let day = Day::of(Wall { year: 2023, month: 12, day: 30, hour: 3, minute: 0, second: 0 });
        assert_eq!(
            (day.iso().as_str(), day.month_name(), day.weekday(), weekday_name(7)),
            ("2023-12-30", "Dec", 7, "Sat")
        );
    }
}
