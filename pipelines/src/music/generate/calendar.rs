//! When sessions begin: less at night, less at weekends and on holidays.

use crate::day::Day;
use crate::draws::Draws;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// The least pause between two sessions of a user, in seconds.
const GAP_S: i64 = 1_800;

/// Around midnight before and after a free day its weight rises and falls over so long.
const RAMP_S: i64 = 6 * HOUR_S;

/// The ramp begins so long before midnight.
const BEFORE_MIDNIGHT_S: i64 = 3 * HOUR_S;

/// How often the begin of a session is drawn anew because it lies on a free day.
const REDRAWS_MAX: u32 = 64;

/// How much day and week shape the begin of sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    /// How far sessions move away from the night, in days.
    pub(super) day_damping: f64,
    /// The share of sessions of weekends and holidays that are drawn anew.
    pub(super) weekend_damping: f64,
}

impl Calendar {
    /// Draws when the next session begins after one that ended at `ended_ms`; pauses are `pause_s` long on average.
    pub(super) fn next_session_ms(&self, ended_ms: i64, pause_s: f64, draws: &mut Draws) -> i64 {
        let earliest = ended_ms.saturating_add(GAP_S * 1000);
        let mut begin = earliest;
        for _ in 0..REDRAWS_MAX {
            let pause_ms = (draws.exponential(pause_s) as i64).saturating_mul(1000);
            begin = self.off_the_night(earliest.saturating_add(pause_ms)).max(earliest);
            if !draws.chance(self.weekend_damping * free_time(begin)) {
                break;
            }
        }
        begin
    }

    /// Moves an instant by whole seconds, towards the afternoon.
    fn off_the_night(&self, ms: i64) -> i64 {
        let second = ms.div_euclid(1000).rem_euclid(DAY_S);
        let angle = std::f64::consts::TAU * (second - 3 * HOUR_S) as f64 / DAY_S as f64;
        let moved_s = (self.day_damping * DAY_S as f64 * angle.sin()) as i64;
        ms.saturating_add(moved_s * 1000)
    }
}

/// How much an instant belongs to a weekend or a holiday, 0 to 1.
fn free_time(ms: i64) -> f64 {
    let shifted_s = ms.div_euclid(1000) + BEFORE_MIDNIGHT_S;
    let (day, into_s) = (shifted_s.div_euclid(DAY_S), shifted_s.rem_euclid(DAY_S));
    let is_free = |day: i64| {
        let day = Day::numbered(day);
        matches!(day.weekday(), 1 | 7) || is_holiday(day)
    };
    let now = if is_free(day) { 1.0 } else { 0.0 };
    if into_s >= RAMP_S {
        return now;
    }
    let before = if is_free(day - 1) { 1.0 } else { 0.0 };
    before + (now - before) * into_s as f64 / RAMP_S as f64
}

/// True for the holidays of the United States that are the same in all states.
fn is_holiday(day: Day) -> bool {
    let (_, month, of_month) = day.civil();
    // Weekdays are numbered from Sunday, which is 1.
    match (month, day.weekday()) {
        (1, 2) if (15..=21).contains(&of_month) => true, // Martin Luther King's birthday
        (2, 2) if (15..=21).contains(&of_month) => true, // Washington's birthday
        (5, 2) if of_month >= 25 => true,                // Memorial Day
        (9, 2) if of_month <= 7 => true,                 // Labor Day
        (10, 2) if (8..=14).contains(&of_month) => true, // Columbus Day
        (11, 5) if (22..=28).contains(&of_month) => true, // Thanksgiving
        _ => matches!((month, of_month), (1, 1) | (7, 4) | (11, 11) | (12, 25)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-06, a Saturday, at 00:00 UTC.
    const SATURDAY_MS: i64 = 1_704_499_200_000;

    #[test]
    fn weekend_rises_around_friday_midnight_and_falls_around_sunday_midnight() {
        let at = |hours: i64| free_time(SATURDAY_MS + hours * HOUR_S * 1000);
        let seen = [-4, -3, 0, 3, 24, 45, 48, 51, 60].map(at);
        assert_eq!(seen, [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn holidays_are_free_days_as_weekends_are() {
        let of_year = |year: i64| {
            let days = (year - 1970) * 365 + (year - 1969) / 4..;
            let days = days.map(Day::numbered).take(366).filter(|day| i64::from(day.civil().0) == year);
            days.filter(|day| is_holiday(*day)).map(|day| day.iso()[5..].to_string()).collect::<Vec<_>>()
        };
        let of_2024 =
            ["01-01", "01-15", "02-19", "05-27", "07-04", "09-02", "10-14", "11-11", "11-28", "12-25"];
        assert_eq!(of_year(2024), of_2024);
        let of_2018 =
            ["01-01", "01-15", "02-19", "05-28", "07-04", "09-03", "10-08", "11-11", "11-22", "12-25"];
        assert_eq!(of_year(2018), of_2018);
        // Monday, 15 January 2024, is nine days after that Saturday; its weekend begins 48 hours before it and lasts until the Tuesday.
        let at = |hours: i64| free_time(SATURDAY_MS + (9 * 24 + hours) * HOUR_S * 1000);
        let seen = [-48, -3, 0, 12, 21, 24, 27].map(at);
        assert_eq!(seen, [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn sessions_keep_a_pause_and_are_rarer_at_night_and_at_weekends() {
        let calendar = Calendar { day_damping: 0.09375, weekend_damping: 0.5 };
        let mut draws = Draws::new(3, 0);
        let (mut by_hour, mut at_weekend) = ([0_u32; 24], 0_u32);
        let count = 40_000;
        for _ in 0..count {
            let begin = calendar.next_session_ms(SATURDAY_MS, 30.0 * DAY_S as f64, &mut draws);
            assert!(begin >= SATURDAY_MS + GAP_S * 1000 && begin % 1000 == 0);
            by_hour[((begin / 1000 % DAY_S) / HOUR_S) as usize] += 1;
            at_weekend += u32::from(free_time(begin) == 1.0);
        }
        // The density at second s is 1 / (1 + 0.589 cos(2 pi (s - 3 h) / day)) where s lay before it was moved.
        assert!(by_hour[3] * 2 < by_hour[15], "{by_hour:?}");
        // 42 of 168 hours, and those of a few holidays; half of them are drawn anew.
        let share = f64::from(at_weekend) / f64::from(count);
        assert!((0.14..0.2).contains(&share), "{share}");
    }
}
