//! The operators of views against slow twins: at every epoch the table is what a naive recomputation makes of all records
//! up to there; on 1, 2 and 3 workers; and after a restart at any epoch with another number of workers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod table_job;
mod traces;

use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::record::Stamped;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::combine::combine;
use headway_operators::view::keep::Fold;
use headway_operators::view::latest::Latest;
use headway_operators::view::rollup::Sums;
use headway_operators::view::scd2::{Event, Fact, Version};
use headway_operators::view::table::{Key, Table, Update};
use headway_operators::view::top::Ranked;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use table_job::{Job, Script, Updates, as_of, run, run_again};

/// The rows of a table, each with how many copies there are.
type Rows<D> = BTreeMap<D, i64>;

/// One copy of each row.
fn once<D: Ord>(rows: impl IntoIterator<Item = D>) -> Rows<D> {
    let mut all = BTreeMap::new();
    rows.into_iter().for_each(|row| *all.entry(row).or_insert(0) += 1);
    all
}

/// The records of the first `epochs` epochs.
fn records<T: Clone>(script: &Script<T>, epochs: usize) -> Vec<(i64, T)> {
    script.epochs[..epochs].concat()
}

/// Asserts that `updates`, which begin at epoch `from`, are consolidated and lead to what `twin` computes at every epoch.
fn same_at_every_epoch<T: Key + Sync, D: Key>(
    (updates, from): (&Updates<D>, usize),
    script: &Script<T>,
    twin: &dyn Fn(usize) -> Rows<D>,
) {
    let mut seen = BTreeSet::new();
    for (epoch, row, diff) in updates {
        assert!(seen.insert((*epoch, row)), "{row:?} changes twice in epoch {epoch}");
        assert!(
            diff.abs() == 1 && (epoch.0 as usize > from || *diff == 1),
            "{row:?} {diff:+} in epoch {epoch}"
        );
    }
    for epoch in from..=script.epochs.len() {
        assert_eq!(as_of(updates, epoch as u64), twin(epoch), "as of epoch {epoch}, from {from} on");
    }
}

/// Asserts that `job` is its `twin`.
fn check<T: Key + Sync, D: Key>(
    script: &Script<T>,
    job: Job<T, D>,
    twin: &dyn Fn(usize) -> Rows<D>,
    crash: usize,
) {
    for workers in 1..=3 {
        same_at_every_epoch((&run(script, job, workers), 0), script, twin);
    }
    let crash = crash % (script.epochs.len() + 1);
    for workers in [(1, 2), (3, 1), (2, 3)] {
        same_at_every_epoch((&run_again(script, job, workers, crash), crash), script, twin);
    }
}

/// Scripts of records that `one` draws.
fn script<T: Key>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Script<T>> {
    let epoch = prop::collection::vec((0i64..40, one), 0..7);
    prop::collection::vec(epoch, 1..9).prop_map(|epochs| Script { partitions: 3, lateness_ms: 1000, epochs })
}

/// A row that comes or goes: its group, an amount, and which way.
type Row = (u8, i64, bool);

/// Only rows that are there go.
fn consistent(mut script: Script<Row>) -> Script<Row> {
    let mut there: BTreeMap<(u8, i64), i64> = BTreeMap::new();
    for (_, (group, amount, goes)) in script.epochs.iter_mut().flatten() {
        let copies = there.entry((*group, *amount)).or_default();
        *goes = *goes && *copies > 0;
        *copies += if *goes { -1 } else { 1 };
    }
    script
}

/// The rows that are there.
fn present(script: &Script<Row>, epochs: usize) -> Rows<(u8, i64)> {
    let mut there = BTreeMap::new();
    for (_, (group, amount, goes)) in records(script, epochs) {
        *there.entry((group, amount)).or_insert(0) += if goes { -1 } else { 1 };
    }
    there.retain(|_, copies| *copies > 0);
    there
}

fn rows() -> impl Strategy<Value = Script<Row>> {
    script((0u8..4, -2i64..3, any::<bool>())).prop_map(consistent)
}

/// Keeps rows with their counts, for what is derived.
struct Count;

impl Fold for Count {
    type Key = (u8, i64);
    type Change = i64;
    type Value = i64;

    const VERSION: u32 = 1;

    fn fold(&self, value: &mut Option<i64>, change: i64) {
        *value = Some(value.unwrap_or(0) + change).filter(|count| *count != 0);
    }
}

fn counted<'s>(build: &mut Build<'s>, records: Flow<'s, Stamped<Row>>) -> Table<'s, ((u8, i64), i64)> {
    let change = |record: Stamped<Row>| {
        let (group, amount, goes) = record.data;
        ((group, amount), if goes { -1 } else { 1 })
    };
    build.keep("Count", Count, records.map(change))
}

fn keep_job<'s>(
    build: &mut Build<'s>,
    records: Flow<'s, Stamped<Row>>,
) -> Flow<'s, Update<((u8, i64), i64)>> {
    counted(build, records).updates()
}

/// What a record adds to the sums of its group.
fn to_sum(record: Stamped<Row>) -> (u8, Sums<1>) {
    let (group, amount, goes) = record.data;
    (group, Sums::of([i128::from(amount)]).times(if goes { -1 } else { 1 }))
}

fn rollup_job<'s>(build: &mut Build<'s>, records: Flow<'s, Stamped<Row>>) -> Flow<'s, Update<(u8, Sums<1>)>> {
    build.rollup("Rollup", records.map(to_sum)).updates()
}

/// A rollup of what was added up by a finer key before.
fn combine_job<'s>(
    build: &mut Build<'s>,
    records: Flow<'s, Stamped<Row>>,
) -> Flow<'s, Update<(u8, Sums<1>)>> {
    let by_group_and_amount = combine(&records.map(|record| {
        let (amount, (group, sums)) = (record.data.1, to_sum(record));
        ((group, amount), sums)
    }));
    build.rollup("Rollup", by_group_and_amount.map(|((group, _), sums)| (group, sums))).updates()
}

fn latest_job<'s>(
    build: &mut Build<'s>,
    records: Flow<'s, Stamped<Row>>,
) -> Flow<'s, Update<(u8, (i64, i64))>> {
    let candidate = |record: Stamped<Row>| (record.data.0, (record.time.ms(), record.data.1));
    build.keep("Latest", Latest::default(), records.map(candidate)).updates()
}

/// Sums ranked by amount: what derives from a rollup, which an exchange brings to other workers.
type Place = Ranked<(), (Reverse<i128>, u8)>;

fn top_job<'s>(build: &mut Build<'s>, records: Flow<'s, Stamped<Row>>) -> Flow<'s, Update<Place>> {
    let sums = build.rollup("Rollup", records.map(to_sum));
    sums.map(|(group, sums)| ((), (Reverse(sums.amounts[0]), group))).top("Top", 2).updates()
}

/// Each counted row with the latest amount of its group, where the group is even.
type Found = ((u8, i64), Option<i64>);

fn join_job<'s>(build: &mut Build<'s>, records: Flow<'s, Stamped<Row>>) -> Flow<'s, Update<Found>> {
    let rows = counted(build, records.clone()).map(|((group, amount), _)| (group, amount));
    let even = records.filter(|record| record.data.0.is_multiple_of(2));
    let latest = |record: Stamped<Row>| (record.data.0, (record.time.ms(), record.data.1));
    let latest = build.keep("Latest", Latest::default(), even.map(latest));
    let latest = latest.map(|(group, (_, amount)): (u8, (i64, i64))| (group, amount));
    rows.lookup(latest).map(|(group, (amount, latest))| ((group, amount), latest)).updates()
}

fn latest_of(script: &Script<Row>, epochs: usize) -> BTreeMap<u8, (i64, i64)> {
    let mut latest: BTreeMap<u8, (i64, i64)> = BTreeMap::new();
    for (time, (group, amount, _)) in records(script, epochs) {
        let known = latest.entry(group).or_insert((time, amount));
        *known = (*known).max((time, amount));
    }
    latest
}

fn sums_of(script: &Script<Row>, epochs: usize) -> BTreeMap<u8, Sums<1>> {
    let mut sums: BTreeMap<u8, Sums<1>> = BTreeMap::new();
    for ((group, amount), copies) in present(script, epochs) {
        let sum = sums.entry(group).or_insert(Sums { rows: 0, amounts: [0] });
        sum.rows += copies;
        sum.amounts[0] += i128::from(amount * copies);
    }
    sums
}

/// What a history gives: versions that may go again, and facts that stay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Told {
    Version(Version<u8, u8>),
    Fact(Fact<u8, u8, u16>),
}

/// A key, its value, and a number that makes a fact.
type Said = (u8, u8, u16);

fn scd2_job<'s>(build: &mut Build<'s>, records: Flow<'s, Stamped<Said>>) -> Flow<'s, Update<Told>> {
    let event = |record: Stamped<Said>| {
        let Stamped { time, stamp, partition, data: (key, value, number) } = record;
        // Every third record has no fact.
        let data = Event { key, value, fact: (!number.is_multiple_of(3)).then_some(number) };
        Stamped { time, stamp, partition, data }
    };
    let (versions, facts) = build.scd2("Levels", records.map(event));
    let facts = facts.map(|fact| (Told::Fact(fact), Epoch(0), 1));
    versions.map(Told::Version).updates().and(facts)
}

/// Versions and facts of the records that were on time, below the watermark.
fn told(script: &Script<Said>, epochs: usize) -> (Vec<Version<u8, u8>>, Vec<Told>) {
    // 1. Who is on time: one partition, so its own watermark decides.
    let (mut own, mut events) = (i64::MIN, Vec::new());
    for (time, said) in records(script, epochs) {
        if time >= own {
            events.push((time, said));
        }
        own = own.max(time - script.lateness_ms);
    }
    events.retain(|(time, _)| *time < own);
    // 2. The value of a key at each instant is the greatest that was said.
    let mut values: BTreeMap<u8, BTreeMap<i64, u8>> = BTreeMap::new();
    for (time, (key, value, _)) in &events {
        let known = values.entry(*key).or_default().entry(*time).or_default();
        *known = (*known).max(*value);
    }
    // 3. Runs of equal values.
    let mut versions: Vec<Version<u8, u8>> = Vec::new();
    for (key, values) in values {
        let first = versions.len();
        for (time, value) in values {
            let from = EventTime(time);
            if versions[first..].last().is_none_or(|last| last.value != value) {
                if let Some(last) = versions[first..].last_mut() {
                    last.to = Some(from);
                }
                versions.push(Version { key, value, from, to: None });
            }
        }
    }
    let fact = |(time, (key, _, number)): (i64, Said)| {
        let time = EventTime(time);
        let holds = |version: &&Version<u8, u8>| {
            version.key == key && version.from <= time && version.to.is_none_or(|to| time < to)
        };
        let version = versions.iter().find(holds).unwrap();
        Told::Fact(Fact { key, time, fact: number, value: version.value, from: version.from })
    };
    let facts =
        events.into_iter().filter(|(_, (_, _, number))| !number.is_multiple_of(3)).map(fact).collect();
    (versions, facts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn keep_is_the_sum_of_its_changes(script in rows(), crash in any::<usize>()) {
        check(&script, keep_job, &|epochs| once(present(&script, epochs)), crash);
    }

    #[test]
    fn rollup_is_the_sums_of_the_rows_that_are_there(script in rows(), crash in any::<usize>()) {
        check(&script, rollup_job, &|epochs| once(sums_of(&script, epochs)), crash);
    }

    #[test]
    fn rollup_of_combined_sums_is_the_same(script in rows(), crash in any::<usize>()) {
        check(&script, combine_job, &|epochs| once(sums_of(&script, epochs)), crash);
    }

    #[test]
    fn latest_is_the_greatest_of_all_that_came(script in rows(), crash in any::<usize>()) {
        check(&script, latest_job, &|epochs| once(latest_of(&script, epochs)), crash);
    }

    #[test]
    fn top_is_the_head_of_all_rows_sorted(script in rows(), crash in any::<usize>()) {
        let twin = |epochs| {
            let mut all: Vec<_> =
                sums_of(&script, epochs).iter().map(|(group, sums)| (Reverse(sums.amounts[0]), *group)).collect();
            all.sort();
            once((1..).zip(all).take(2).map(|(rank, row)| Ranked { group: (), rank, row }))
        };
        check(&script, top_job, &twin, crash);
    }

    #[test]
    fn lookup_pairs_each_row_with_the_one_of_its_key_or_none(script in rows(), crash in any::<usize>()) {
        let twin = |epochs| {
            let latest = latest_of(&script, epochs);
            let find = |group: u8| latest.get(&group).filter(|_| group.is_multiple_of(2)).map(|(_, amount)| *amount);
            once(present(&script, epochs).into_keys().map(|(group, amount)| ((group, amount), find(group))))
        };
        check(&script, join_job, &twin, crash);
    }

    #[test]
    fn history_is_that_of_all_events_in_order_of_time(
        script in script((0u8..3, 0u8..3, 0u16..99)), lateness_ms in 0i64..30, crash in any::<usize>()
    ) {
        let script = Script { partitions: 1, lateness_ms, ..script };
        // Facts do not come again after a restart: those of the run before count, too.
        let whole = run(&script, scd2_job, 1);
        let is_fact = |row: &Told| matches!(row, Told::Fact(_));
        let crash = crash % (script.epochs.len() + 1);
        for (workers, crash) in [((1, 1), 0), ((2, 3), crash), ((3, 2), crash), ((1, 2), crash)] {
            let again = run_again(&script, scd2_job, workers, crash);
            let facts = |updates: &Updates<Told>, after: usize| {
                updates.iter().filter(move |(at, row, _)| is_fact(row) && at.0 as usize > after).cloned().collect::<Vec<_>>()
            };
            let before: Updates<Told> = facts(&whole, 0).into_iter().filter(|(at, ..)| at.0 as usize <= crash).collect();
            prop_assert_eq!(facts(&again, 0).len(), facts(&again, crash).len(), "a fact came at the committed epoch");
            for epoch in crash..=script.epochs.len() {
                let (versions, facts_wanted) = told(&script, epoch);
                let all = as_of(&again, epoch as u64);
                let found: Rows<Told> = all.into_iter().filter(|(row, _)| !is_fact(row)).collect();
                prop_assert_eq!(found, once(versions.into_iter().map(Told::Version)), "epoch {}", epoch);
                let all: Updates<Told> = before.iter().cloned().chain(facts(&again, crash)).collect();
                prop_assert_eq!(as_of(&all, epoch as u64), once(facts_wanted), "facts by epoch {}", epoch);
            }
        }
    }
}
