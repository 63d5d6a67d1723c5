//! Sessions: folds the records of a key that lie less than a gap apart, and gives the session when nothing can join it.
//!
//! # Input
//! Records of the kit.
//! # Output
//! A [`Session`] for each session of a key, with event time `end - 1 ms`.
//! # State
//! For each key with an open session: its first and last event time, and what the records were folded to.
//! # Progress
//! A session `[first, last + gap)` leaves in the epoch whose watermark has reached its end. A record at its end, or later,
//! belongs to another session.
//! # Late and bad data
//! As [`PerKey`](crate::kit::PerKey): a record that is behind its partition's watermark is late, or dropped.
//! # Restart
//! As `PerKey`: open sessions with their timers.
//! # Cost
//! One timer a session, put off when it fires too early: O(1) a record.

use crate::kit::logic::{Context, Logic};
use crate::time::{EventTime, Span};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::time::Duration;
use timely::ExchangeData;

/// What a session makes of its records.
///
/// ```rust
/// use headway_operators::kit::session::{Fold, Session, Sessions};
/// use headway_operators::time::EventTime;
/// use std::time::Duration;
///
/// /// Counts the clicks of a user.
/// struct Clicks;
///
/// impl Fold for Clicks {
///     type Key = String;
///     type In = String;
///     type Total = u64;
///     const VERSION: u32 = 1;
///
///     fn key(user: &String) -> String {
///         user.clone()
///     }
///
///     fn add(&self, clicks: &mut u64, _: EventTime, _: String) {
///         *clicks += 1;
///     }
/// }
///
/// let half_an_hour = Sessions::new(Clicks, Duration::from_secs(1800));
/// # let _ = half_an_hour;
/// ```
pub trait Fold: 'static {
    /// What a session belongs to. Its encoding must never change.
    type Key: Clone + Debug + Serialize + DeserializeOwned + 'static;
    /// What is folded.
    type In: ExchangeData + Clone;
    /// What the records of a session are folded to.
    type Total: Clone + Default + PartialEq + Serialize + DeserializeOwned + 'static;

    /// The version of the encoding of `Total` and `In`.
    const VERSION: u32;

    /// The key of a record.
    fn key(record: &Self::In) -> Self::Key;

    /// Adds a record of the session. Records come in the order of event time.
    fn add(&self, total: &mut Self::Total, time: EventTime, record: Self::In);

    /// Reads a total that an earlier `version` wrote; `None` refuses it, and the job does not start.
    fn migrate(_version: u32, _total: &[u8]) -> Option<Self::Total> {
        None
    }

    /// Reads a waiting record that an earlier `version` wrote; `None` refuses it, and the job does not start.
    fn migrate_record(_version: u32, _record: &[u8]) -> Option<Self::In> {
        None
    }
}

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session<K, T> {
    /// Its key.
    pub key: K,
    /// From its first record to a gap after its last one.
    pub span: Span,
    /// The event time of its last record.
    pub last: EventTime,
    /// How many records it has.
    pub records: u64,
    /// What they were folded to.
    pub total: T,
}

/// A session that may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open<T> {
    first: EventTime,
    last: EventTime,
    records: u64,
    total: T,
}

/// Sessions of each key.
#[derive(Clone, Copy, Debug)]
pub struct Sessions<F> {
    fold: F,
    gap_ms: i64,
}

impl<F: Fold> Sessions<F> {
    /// Sessions that end `gap` after their last record.
    ///
    /// # Panics
    /// If `gap` is shorter than a millisecond.
    pub fn new(fold: F, gap: Duration) -> Sessions<F> {
        let gap_ms = i64::try_from(gap.as_millis()).unwrap_or(i64::MAX);
        assert!(gap_ms > 0, "sessions end at least a millisecond after their last record");
        Sessions { fold, gap_ms }
    }

    /// How far beyond a record its session may reach: the horizon of the input.
    pub fn horizon_ms(&self) -> i64 {
        self.gap_ms
    }

    /// The last instant of a session whose last record is at `last`.
    fn last_instant(&self, last: EventTime) -> EventTime {
        last.plus_ms(self.gap_ms - 1)
    }
}

impl<F: Fold> Logic for Sessions<F> {
    type Key = F::Key;
    type In = F::In;
    type State = Option<Open<F::Total>>;
    type Out = Session<F::Key, F::Total>;

    const VERSION: u32 = F::VERSION;

    fn key(record: &F::In) -> F::Key {
        F::key(record)
    }

    fn on_record(&self, record: F::In, open: &mut Self::State, cx: &mut Context<'_, Self>) {
        let time = cx.time();
        let session = open.get_or_insert_with(|| {
            cx.timer(self.last_instant(time));
            Open { first: time, last: time, records: 0, total: F::Total::default() }
        });
        (session.last, session.records) = (time, session.records + 1);
        self.fold.add(&mut session.total, time, record);
    }

    fn on_timer(&self, open: &mut Self::State, cx: &mut Context<'_, Self>) {
        let last_instant = open.as_ref().map(|session| self.last_instant(session.last));
        if let Some(later) = last_instant.filter(|last| *last > cx.time()) {
            cx.timer(later);
            return;
        }
        let Some(Open { first, last, records, total }) = open.take() else { return };
        let span = Span { start: first, end: last.plus_ms(self.gap_ms) };
        cx.emit(Session { key: cx.key().clone(), span, last, records, total });
    }

    fn migrate(version: u32, state: &[u8]) -> Option<Self::State> {
        // An open session is its times, its count and, at the end, the total: only that has a version.
        let (is_open, rest): (bool, _) = postcard::take_from_bytes(state).ok()?;
        if !is_open {
            return Some(None);
        }
        let ((first, last, records), total) = postcard::take_from_bytes(rest).ok()?;
        Some(Some(Open { first, last, records, total: F::migrate(version, total)? }))
    }

    fn migrate_record(version: u32, record: &[u8]) -> Option<F::In> {
        F::migrate_record(version, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::script::{At, script, seconds};
    use proptest::prelude::*;

    /// The values of a session in their order.
    struct Values;

    impl Fold for Values {
        type Key = u8;
        type In = (u8, u32);
        type Total = Vec<u32>;
        const VERSION: u32 = 1;

        fn key((key, _): &(u8, u32)) -> u8 {
            *key
        }

        fn add(&self, values: &mut Vec<u32>, _: EventTime, (_, value): (u8, u32)) {
            values.push(value);
        }
    }

    const GAP_S: u64 = 10;

    fn sessions() -> Sessions<Values> {
        Sessions::new(Values, seconds(GAP_S))
    }

    fn session(key: u8, (first, last): (At, At), total: &[u32]) -> Session<u8, Vec<u32>> {
        let (At(start), At(last)) = (first, last);
        let span = Span { start, end: last + seconds(GAP_S) };
        Session { key, span, last, records: total.len() as u64, total: total.to_vec() }
    }

    #[test]
    fn session_leaves_when_the_watermark_reaches_its_end_and_a_record_at_its_end_begins_another() {
        script(sessions)
            .horizon(seconds(GAP_S))
            .record("10:00:00", (1, 1))
            .record("10:00:09", (1, 2))
            .watermark("10:00:18")
            .gives([])
            .watermark("10:00:19")
            .gives([session(1, ("10:00:00".into(), "10:00:09".into()), &[1, 2])])
            .record("10:00:19", (1, 3))
            .end()
            .gives([session(1, ("10:00:19".into(), "10:00:19".into()), &[3])])
            .check();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn sessions_are_those_of_a_slow_twin(
            drawn in prop::collection::vec((0u32..2, 0u8..3, 0i64..9, 0u8..4), 1..40)
        ) {
            let mut played = script(sessions).inputs(&[2]).lateness(seconds(60)).horizon(seconds(GAP_S));
            let mut by_key: std::collections::BTreeMap<u8, Vec<(EventTime, u32, u32)>> = Default::default();
            let mut now = 0;
            for (value, (partition, key, ahead, cut)) in (0..).zip(drawn) {
                now += ahead;
                // Up to 20 seconds of disorder.
                let time = EventTime((now - ahead % 3 * 10).max(0) * 1000);
                played = played.from(0, partition).record(time, (key, value));
                played = if cut == 0 { played.epoch() } else { played };
                by_key.entry(key).or_default().push((time, partition, value));
            }
            let mut expected = Vec::new();
            for (key, mut records) in by_key {
                records.sort();
                let together = |a: &(EventTime, _, _), b: &(EventTime, _, _)| b.0 < a.0 + seconds(GAP_S);
                for records in records.chunk_by(together) {
                    let values: Vec<u32> = records.iter().map(|(_, _, value)| *value).collect();
                    let (first, last) = (records[0].0, records[records.len() - 1].0);
                    expected.push(session(key, (At(first), At(last)), &values));
                }
            }
            played.end().gives_in_any_order(expected).check();
        }
    }

    #[test]
    fn open_session_of_an_earlier_version_is_read_by_what_reads_its_total() {
        struct Sum;

        impl Fold for Sum {
            type Key = u8;
            type In = (u8, u32);
            type Total = u64;
            const VERSION: u32 = 2;

            fn key((key, _): &(u8, u32)) -> u8 {
                *key
            }

            fn add(&self, sum: &mut u64, _: EventTime, (_, value): (u8, u32)) {
                *sum += u64::from(value);
            }

            fn migrate(version: u32, total: &[u8]) -> Option<u64> {
                let values: Vec<u32> = postcard::from_bytes(total).ok().filter(|_| version == 1)?;
                Some(values.into_iter().map(u64::from).sum())
            }
        }

        let (first, last) = (EventTime(1), EventTime(2));
        let saved =
            postcard::to_stdvec(&Some(Open { first, last, records: 3, total: vec![4u32, 5, 6] })).unwrap();
        let read = Sessions::<Sum>::migrate(1, &saved).expect("version 1 is read");
        assert_eq!(read, Some(Open { first, last, records: 3, total: 15 }));
        assert_eq!(Sessions::<Sum>::migrate(3, &saved), None);
        let none = postcard::to_stdvec(&None::<Open<Vec<u32>>>).unwrap();
        assert_eq!(Sessions::<Sum>::migrate(1, &none), Some(None));
    }
}
