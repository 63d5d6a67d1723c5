//! Joins records with a table that another input keeps up to date, each as of its event time.
//!
//! # Input
//! Rows of the table and records, as [`Either`]: `rows.either(records)`. The table is declared before the records: at one
//! instant the input with the lower number comes first.
//! # Output
//! One record for each record for which [`Enrich::join`] gives something, with its event time.
//! # State
//! For each key the newest row. A row that deletes its key is not kept.
//! # Progress
//! A record leaves in the epoch in which the watermark of both inputs together has passed it, and sees the table as of its
//! event time. An input that is idle holds nothing back.
//! # Late and bad data
//! As [`PerKey`](crate::kit::PerKey). A row that comes late is refused, so a record never sees it.
//! # Restart
//! As `PerKey`: rows, and what waits.
//! # Cost
//! One hash probe a record; a row is written when it changes.

use crate::flow::Either;
use crate::kit::logic::{Context, Logic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use timely::ExchangeData;

/// How records are joined with the rows of a table that changes.
///
/// ```rust
/// use headway_operators::kit::table_join::Enrich;
///
/// /// Adds the name of a station to a trip.
/// struct Named;
///
/// impl Enrich for Named {
///     type Key = u32;
///     type Row = (u32, String);
///     type In = (u32, u64);
///     type Out = (String, u64);
///     const VERSION: u32 = 1;
///
///     fn row_key(row: &Self::Row) -> u32 {
///         row.0
///     }
///
///     fn key(record: &Self::In) -> u32 {
///         record.0
///     }
///
///     fn join(&self, record: Self::In, station: Option<&Self::Row>) -> Option<Self::Out> {
///         let name = station.map_or("unknown", |station| station.1.as_str());
///         Some((name.to_string(), record.1))
///     }
/// }
/// # fn is_enrich<E: Enrich>() {}
/// # is_enrich::<Named>();
/// ```
pub trait Enrich: 'static {
    /// The key of a row. Its encoding must never change.
    type Key: Clone + Debug + Serialize + DeserializeOwned + 'static;
    /// A row of the table.
    type Row: ExchangeData + Clone + PartialEq;
    /// What is joined with it.
    type In: ExchangeData + Clone;
    /// What comes out.
    type Out: Clone + 'static;

    /// The version of the encoding of `Row` and `In`.
    const VERSION: u32;

    /// The key of a row.
    fn row_key(row: &Self::Row) -> Self::Key;

    /// The key of the row that a record is joined with.
    fn key(record: &Self::In) -> Self::Key;

    /// Joins a record with its row, if the table has one.
    fn join(&self, record: Self::In, row: Option<&Self::Row>) -> Option<Self::Out>;

    /// True if the row says that its key is deleted.
    fn deletes(_row: &Self::Row) -> bool {
        false
    }

    /// Reads a row that an earlier `version` wrote; `None` refuses it, and the job does not start.
    fn migrate(_version: u32, _row: &[u8]) -> Option<Option<Self::Row>> {
        None
    }

    /// Reads what waits and an earlier `version` wrote; `None` refuses it, and the job does not start.
    fn migrate_record(_version: u32, _record: &[u8]) -> Option<Either<Self::Row, Self::In>> {
        None
    }
}

/// The operator: run it with [`Build::logic`](crate::build::Build::logic).
#[derive(Clone, Copy, Debug)]
pub struct TableJoin<E>(pub E);

impl<E: Enrich> Logic for TableJoin<E> {
    type Key = E::Key;
    type In = Either<E::Row, E::In>;
    type State = Option<E::Row>;
    type Out = E::Out;

    const VERSION: u32 = E::VERSION;

    fn key(record: &Self::In) -> E::Key {
        match record {
            Either::Left(row) => E::row_key(row),
            Either::Right(record) => E::key(record),
        }
    }

    fn on_record(&self, record: Self::In, row: &mut Option<E::Row>, cx: &mut Context<'_, Self>) {
        match record {
            Either::Left(new) => *row = Some(new).filter(|new| !E::deletes(new)),
            Either::Right(record) => {
                if let Some(out) = self.0.join(record, row.as_ref()) {
                    cx.emit(out);
                }
            }
        }
    }

    fn migrate(version: u32, row: &[u8]) -> Option<Option<E::Row>> {
        E::migrate(version, row)
    }

    fn migrate_record(version: u32, record: &[u8]) -> Option<Self::In> {
        E::migrate_record(version, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Either::{Left, Right};
    use crate::kit::script::{script, seconds};
    use crate::time::EventTime;
    use proptest::prelude::*;

    struct Named;

    impl Enrich for Named {
        type Key = u8;
        type Row = (u8, Option<u32>);
        type In = (u8, u32);
        type Out = (u32, Option<u32>);
        const VERSION: u32 = 1;

        fn row_key(row: &Self::Row) -> u8 {
            row.0
        }

        fn key(record: &Self::In) -> u8 {
            record.0
        }

        fn join(&self, record: Self::In, row: Option<&Self::Row>) -> Option<Self::Out> {
            Some((record.1, row.and_then(|row| row.1)))
        }

        fn deletes(row: &Self::Row) -> bool {
            row.1.is_none()
        }
    }

    #[test]
    fn record_sees_the_row_of_its_own_time_also_when_the_row_comes_after_it() {
        script(|| TableJoin(Named))
            .inputs(&[1, 1])
            .from(1, 0)
            .record("10:00", Right((1, 100)))
            .record("10:05", Right((1, 101)))
            .epoch()
            .from(0, 0)
            .record("10:05", Left((1, Some(7))))
            .watermark("10:06")
            .gives([(100, None), (101, Some(7))])
            .record("10:07", Left((1, None)))
            .watermark("10:08")
            .state(1, None)
            .check();
    }

    #[test]
    fn table_that_is_idle_holds_nothing_back() {
        script(|| TableJoin(Named))
            .inputs(&[1, 1])
            .record("09:00", Left((1, Some(7))))
            .idle()
            .from(1, 0)
            .record("10:00", Right((1, 100)))
            .watermark("10:01")
            .gives([(100, Some(7))])
            .check();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10))]

        #[test]
        fn join_gives_what_a_slow_twin_gives(
            drawn in prop::collection::vec((any::<bool>(), 0u8..3, 0i64..9, 0u8..4), 1..40)
        ) {
            let mut played = script(|| TableJoin(Named)).inputs(&[1, 1]).lateness(seconds(60));
            let (mut rows, mut records, mut now) = (Vec::new(), Vec::new(), 0);
            for (number, (is_row, key, ahead, cut)) in (0..).zip(drawn) {
                now += ahead;
                let time = EventTime((now - ahead % 3 * 10).max(0) * 1000);
                let row = (key, Some(number).filter(|n| n % 5 != 0));
                played = if is_row {
                    rows.push((time, row));
                    played.from(0, 0).record(time, Left(row))
                } else {
                    records.push((time, key, number));
                    played.from(1, 0).record(time, Right((key, number)))
                };
                played = if cut == 0 { played.epoch() } else { played };
            }
            rows.sort_by_key(|(time, _)| *time);
            let expected = records.iter().map(|(time, key, number)| {
                let newest = rows.iter().rfind(|(at, row)| at <= time && row.0 == *key);
                (*number, newest.and_then(|(_, row)| row.1))
            });
            played.end().gives_in_any_order(expected.collect::<Vec<_>>()).check();
        }
    }
}
