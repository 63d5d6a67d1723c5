//! When sessions begin: less at night, less at the weekend.

use crate::draws::Draws;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// The least pause between two sessions of a user, in seconds.
const GAP_S: i64 = 1_800;

/// Around midnight before and after a weekend its weight rises and falls over so long.
const RAMP_S: i64 = 6 * HOUR_S;

/// When the weight of the weekend begins to rise: Friday 21:00, after 1970-01-01, which was a Thursday.
const WEEKEND_S: i64 = DAY_S + 21 * HOUR_S;

/// How often the begin of a session is drawn anew because it lies at a weekend.
const REDRAWS_MAX: u32 = 64;

/// How much day and week shape the begin of sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    /// How far sessions move away from the night, in days.
    pub(super) day_damping: f64,
    /// The share of sessions of a weekend that are drawn anew.
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
            if !draws.chance(self.weekend_damping * weekend(begin)) {
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

/// How much an instant belongs to a weekend, 0 to 1.
fn weekend(ms: i64) -> f64 {
    let since_rise = (ms.div_euclid(1000) - WEEKEND_S).rem_euclid(7 * DAY_S);
    match since_rise {
        0..RAMP_S => since_rise as f64 / RAMP_S as f64,
        _ if since_rise < 2 * DAY_S => 1.0,
        _ if since_rise < 2 * DAY_S + RAMP_S => 1.0 - (since_rise - 2 * DAY_S) as f64 / RAMP_S as f64,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-06, a Saturday, at 00:00 UTC.
    const SATURDAY_MS: i64 = 1_704_499_200_000;

    #[test]
    fn weekend_rises_around_friday_midnight_and_falls_around_sunday_midnight() {
        let at = |hours: i64| weekend(SATURDAY_MS + hours * HOUR_S * 1000);
        let seen = [-4, -3, 0, 3, 24, 45, 48, 51, 60].map(at);
        assert_eq!(seen, [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]);
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
            at_weekend += u32::from(weekend(begin) == 1.0);
        }
        // The density at second s is 1 / (1 + 0.589 cos(2 pi (s - 3 h) / day)) where s lay before it was moved.
        assert!(by_hour[3] * 2 < by_hour[15], "{by_hour:?}");
        // 42 of 168 hours; half of them are drawn anew.
        let share = f64::from(at_weekend) / f64::from(count);
        assert!((0.12..0.17).contains(&share), "{share}");
    }
}
