//! Sealing against a slow twin: at every epoch the table by day, and what was left out, are what a naive recomputation makes of all
//! records up to there; on 1, 2 and 3 workers; and after a restart at any epoch with another number of workers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod table_job;

use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::record::Stamped;
use headway_operators::time::EventTime;
use headway_operators::view::rollup::Sums;
use headway_operators::view::seal::{Calendar, Sealing};
use headway_operators::view::table::Update;
use headway_operators::view::text::Text;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use table_job::{Job, Script, Updates, as_of, run, run_again};

/// A day, and an amount.
type Record = (i64, i64);

/// Rows of the table, each with how many copies there are.
type Rows = BTreeMap<(i64, Sums<1>), i64>;

/// Days of ten milliseconds.
#[derive(Debug)]
struct Tens;

/// A day's length, the lateness, and how long after its end a day is sealed.
const TEN: i64 = 10;

const PARTITIONS: usize = 3;

impl Calendar for Tens {
    fn day(&self, time: EventTime) -> i64 {
        time.ms().div_euclid(TEN)
    }

    fn start(&self, day: i64) -> EventTime {
        EventTime(day * TEN)
    }

    fn name(&self, day: i64) -> Text {
        Text::from(format!("{day:04}"))
    }
}

fn sums<'s>(records: Flow<'s, Stamped<Record>>) -> Flow<'s, (i64, Sums<1>)> {
    records.map(|record| (record.data.0, Sums::of([i128::from(record.data.1)])))
}

/// Sums by day, of days that are not sealed.
fn open_job<'s>(
    build: &mut Build<'s>,
    records: Flow<'s, Stamped<Record>>,
) -> Flow<'s, Update<(i64, Sums<1>)>> {
    let (open, _) = build.seal(Sealing::new(TEN, Arc::new(Tens)), &records, |record| record.data.0);
    build.rollup_by_day("Days", sums(open), |day| *day).updates()
}

/// Sums by day of what came for sealed days.
fn left_out_job<'s>(
    build: &mut Build<'s>,
    records: Flow<'s, Stamped<Record>>,
) -> Flow<'s, Update<(i64, Sums<1>)>> {
    let (_, sealed) = build.seal(Sealing::new(TEN, Arc::new(Tens)), &records, |record| record.data.0);
    build.rollup("LeftOut", sums(sealed)).updates()
}

/// What the two jobs must hold after so many epochs.
fn twin(script: &Script<Record>, epochs: usize) -> [Rows; 2] {
    let mut tables: [BTreeMap<i64, Sums<1>>; 2] = Default::default();
    let (mut newest, mut first_open) = ([None; PARTITIONS], None);
    for records in &script.epochs[..epochs] {
        for (at, (time, (day, amount))) in records.iter().enumerate() {
            let partition = &mut newest[at % PARTITIONS];
            *partition = (*partition).max(Some(*time));
            let is_sealed = first_open.is_some_and(|first| *day < first);
            let sums = Sums::of([i128::from(*amount)]);
            let table = &mut tables[usize::from(is_sealed)];
            table.entry(*day).and_modify(|known| known.add(sums)).or_insert(sums);
        }
        // What earlier epochs have sealed leaves; what this one seals is there until the next.
        tables[0].retain(|day, _| first_open.is_none_or(|first| *day >= first));
        let watermark = newest.iter().min().copied().flatten().map(|newest| newest - TEN);
        first_open = first_open.max(watermark.map(|watermark| (watermark - TEN).div_euclid(TEN)));
    }
    tables.map(|table| table.into_iter().map(|row| (row, 1)).collect())
}

/// Compares `updates`, which begin at epoch `from`, with table `table` of the twin at every epoch.
fn same(updates: &Updates<(i64, Sums<1>)>, from: usize, script: &Script<Record>, table: usize) {
    for epoch in from..=script.epochs.len() {
        let expected = &twin(script, epoch)[table];
        assert_eq!(
            as_of(updates, epoch as u64),
            *expected,
            "table {table} as of epoch {epoch}, from {from} on"
        );
    }
}

/// Epochs of which each is a day later; records of them are of days up to four days back.
fn script() -> impl Strategy<Value = Script<Record>> {
    let record = (0..TEN, 0_i64..5, -3_i64..4);
    let epochs = prop::collection::vec(prop::collection::vec(record, 0..8), 1..10);
    epochs.prop_map(|epochs| {
        let record =
            |day: i64, (time, back, amount): (i64, i64, i64)| (day * TEN + time, (day - back, amount));
        let epoch = |(day, records): (i64, Vec<_>)| records.into_iter().map(|one| record(day, one)).collect();
        let epochs = (0..).zip(epochs).map(epoch).collect();
        Script { partitions: PARTITIONS as u32, lateness_ms: TEN, epochs }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn change_of_a_sealed_day_is_left_out_and_the_day_leaves_once(script in script(), crash in any::<usize>()) {
        let jobs: [Job<Record, (i64, Sums<1>)>; 2] = [open_job, left_out_job];
        for (table, job) in jobs.into_iter().enumerate() {
            for workers in 1..=3 {
                same(&run(&script, job, workers), 0, &script, table);
            }
            let crash = crash % (script.epochs.len() + 1);
            for workers in [(1, 2), (3, 1), (2, 3)] {
                same(&run_again(&script, job, workers, crash), crash, &script, table);
            }
        }
    }
}

#[test]
fn scripts_seal_days_and_bring_records_for_them() {
    // Else the property above says little: ten epochs, a record each partition, some for the day four days back.
    let epoch = |day: i64| (0..6).map(|n| (day * TEN + n, (day - n % 5, 1))).collect::<Vec<_>>();
    let script =
        Script { partitions: PARTITIONS as u32, lateness_ms: TEN, epochs: (0..9).map(epoch).collect() };
    let [open, left_out] = twin(&script, 9);
    let days = |rows: &Rows| rows.keys().map(|(day, _)| *day).collect::<Vec<_>>();
    // What the epoch before the last one has sealed has left; what the last one seals is there still.
    assert_eq!((days(&open), days(&left_out).len()), (vec![5, 6, 7, 8], 8), "{open:?} {left_out:?}");
}
