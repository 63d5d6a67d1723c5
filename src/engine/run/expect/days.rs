//! Closed days whose number of rows differs too much from that of the day before: for `row_count_change`.

use crate::engine::run::expect::counted::Rows;
use headway_operators::view::row::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A day has this many milliseconds.
const DAY_MS: i64 = 86_400_000;

/// A day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(i64);

impl Day {
    /// The day in `value`; `None` if it has none, as the text `all days` has none.
    pub(super) fn of(value: &Value) -> Option<Day> {
        match value {
            Value::Time(time) => Some(Day(time.ms().div_euclid(DAY_MS))),
            Value::Text(text) => {
                let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
                let date = date.filter(|date| date.to_string() == text.as_str())?;
                Some(Day(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis() / DAY_MS))
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Wide(_) => None,
        }
    }

    fn next(self) -> Day {
        Day(self.0 + 1)
    }

    fn before(self) -> Day {
        Day(self.0 - 1)
    }

    /// The day as people write it.
    fn shown(self) -> String {
        let time = chrono::DateTime::from_timestamp_millis(self.0.saturating_mul(DAY_MS));
        time.map_or_else(|| self.0.to_string(), |time| time.format("%Y-%m-%d").to_string())
    }
}

/// How many rows each day has, and which closed days break the rule.
///
/// A day without rows counts too: it has none. Nothing is compared with a day that has no rows.
#[derive(Debug)]
pub(super) struct Days {
    max_ppm: u64,
    rows: BTreeMap<Day, Rows>,
    failing: BTreeSet<Day>,
    /// Days that have changed since [`Days::settle`].
    touched: BTreeSet<Day>,
    /// The newest day when [`Days::settle`] was last called; it is not closed.
    newest: Option<Day>,
}

impl Days {
    /// Days of which none is known, and by how much they may differ, in millionths.
    pub(super) fn new(max_ppm: u64) -> Days {
        let (rows, failing, touched) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Days { max_ppm, rows, failing, touched, newest: None }
    }

    /// Takes `diff` rows of `day`. What breaks the rule is known after [`Days::settle`].
    pub(super) fn update(&mut self, day: Day, diff: Rows) {
        let rows = self.rows.entry(day).or_default();
        *rows += diff;
        if *rows == 0 {
            self.rows.remove(&day);
        }
        self.touched.insert(day);
    }

    /// Judges again the days that may have changed their verdict. A verdict is about the rows of a day and of the day before, and
    /// about whether a later day is there: besides the days that changed, that is the newest day, as it was and as it is.
    pub(super) fn settle(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return;
        }
        touched.extend(self.newest);
        self.newest = self.rows.last_key_value().map(|(day, _)| *day);
        touched.extend(self.newest);
        for day in touched.into_iter().flat_map(|day| [day, day.next()]) {
            if self.is_broken(day) {
                self.failing.insert(day);
            } else {
                self.failing.remove(&day);
            }
        }
    }

    fn rows_of(&self, day: Day) -> u64 {
        self.rows.get(&day).copied().unwrap_or_default().unsigned_abs()
    }

    fn is_broken(&self, day: Day) -> bool {
        let is_closed = self.newest.is_some_and(|newest| day < newest);
        let (before, now) = (self.rows_of(day.before()), self.rows_of(day));
        let most = u128::from(self.max_ppm) * u128::from(before);
        is_closed && before > 0 && u128::from(now.abs_diff(before)) * 1_000_000 > most
    }

    pub(super) fn failures(&self) -> Rows {
        Rows::try_from(self.failing.len()).unwrap_or(Rows::MAX)
    }

    /// The first `count` days that break the rule, as people read them.
    pub(super) fn shown(&self, count: usize) -> Vec<String> {
        let shown = |day: &Day| {
            let (before, now) = (self.rows_of(day.before()), self.rows_of(*day));
            format!("{} with {now} rows after {before}", day.shown())
        };
        self.failing.iter().take(count).map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::time::EventTime;
    use headway_operators::view::text::Text;
    use proptest::prelude::*;

    /// What [`Days`] must say, computed from all rows.
    fn twin(rows: &BTreeMap<Day, Rows>, max_ppm: u64) -> Vec<Day> {
        let (Some((first, _)), Some((newest, _))) = (rows.first_key_value(), rows.last_key_value()) else {
            return Vec::new();
        };
        let of = |day: i64| rows.get(&Day(day)).copied().unwrap_or_default();
        let breaks = |day: &i64| {
            let (before, now) = (of(*day - 1), of(*day));
            before > 0 && (now - before).abs() * 1_000_000 > before * i64::try_from(max_ppm).expect("small")
        };
        (first.0..newest.0).filter(breaks).map(Day).collect()
    }

    proptest! {
        #[test]
        fn broken_days_are_those_that_a_count_from_the_beginning_finds(
            epochs in proptest::collection::vec(proptest::collection::vec((0_i64..12, -3_i64..6), 0..6), 0..20),
            max_ppm in prop_oneof![Just(0_u64), Just(250_000), Just(500_000), Just(2_000_000)],
        ) {
            let mut days = Days::new(max_ppm);
            let mut rows: BTreeMap<Day, Rows> = BTreeMap::new();
            for epoch in epochs {
                for (day, diff) in epoch {
                    // What goes was there.
                    let diff = diff.max(-rows.get(&Day(day)).copied().unwrap_or_default());
                    *rows.entry(Day(day)).or_default() += diff;
                    rows.retain(|_, rows| *rows != 0);
                    days.update(Day(day), diff);
                }
                days.settle();
                let expected = twin(&rows, max_ppm);
                prop_assert_eq!(days.failures(), i64::try_from(expected.len()).expect("few"));
                prop_assert_eq!(days.failing.iter().copied().collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn a_day_is_read_from_a_date_and_from_an_instant() {
        let of = |text: &str| Day::of(&Value::Text(Text::from(text)));
        assert_eq!(of("1970-01-02"), Some(Day(1)));
        assert_eq!(Day::of(&Value::Time(EventTime(-1))), Some(Day(-1)));
        assert_eq!(Day::of(&Value::Time(EventTime(DAY_MS))), Some(Day(1)));
        for none in ["overall", "", "2024-02-30", "2024-1-5", "2024-01-05 "] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(Day::of(&Value::Null), None);
        assert_eq!(of("2024-01-31").map(Day::shown), Some("2024-01-31".to_string()));
    }
}
