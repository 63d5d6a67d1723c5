//! Sealing against a slow twin: at every epoch the table by day, the total of all days, and what was left out, are what a naive
//! recomputation makes of all records up to there; on 1, 2 and 3 workers; and after a restart at any epoch with another number of
//! workers, also where it unseals days.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod table_job;

use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::kit::script::Unsealing;
use headway_operators::record::Stamped;
use headway_operators::time::EventTime;
use headway_operators::view::refill::{CommittedRow, Refill};
use headway_operators::view::rollup::Sums;
use headway_operators::view::seal::{Calendar, Sealing};
use headway_operators::view::table::Update;
use headway_operators::view::text::Text;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use table_job::{Job, Script, Updates, as_of, run, run_again, run_again_unsealing};

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

/// The output that would have the records of open days.
const FACTS: &str = "facts";

fn sums(records: Flow<'_, Record>) -> Flow<'_, (i64, Sums<1>)> {
    records.map(|(day, amount)| (day, Sums::of([i128::from(amount)])))
}

/// The records of days that are not sealed, behind those that were committed of unsealed days.
fn open<'s>(build: &mut Build<'s>, records: &Flow<'s, Stamped<Record>>) -> Flow<'s, Record> {
    let (open, _) = build.seal(Sealing::new(TEN, Arc::new(Tens)), records, |record| record.data.0);
    let number = |row: &CommittedRow<'_>, column| {
        row.number(column).and_then(|number| i64::try_from(number).map_err(|error| error.to_string()))
    };
    let outputs = Refill { facts: FACTS, before: None, back_ms: 0 };
    let read = move |row: &CommittedRow<'_>| Ok(Some((number(row, "day")?, number(row, "amount")?)));
    build.refill(outputs, open.map(|record| record.data), read)
}

/// Sums by day, of days that are not sealed.
fn open_job<'s>(
    build: &mut Build<'s>,
    records: Flow<'s, Stamped<Record>>,
) -> Flow<'s, Update<(i64, Sums<1>)>> {
    let open = open(build, &records);
    build.rollup_by_day("Days", sums(open), |day| *day).updates()
}

/// The sum of all days: none leaves it.
fn total_job<'s>(
    build: &mut Build<'s>,
    records: Flow<'s, Stamped<Record>>,
) -> Flow<'s, Update<(i64, Sums<1>)>> {
    let all = open(build, &records).map(|(_, amount)| (0, amount));
    build.rollup("Total", sums(all)).updates()
}

/// Sums by day of what came for sealed days.
fn left_out_job<'s>(
    build: &mut Build<'s>,
    records: Flow<'s, Stamped<Record>>,
) -> Flow<'s, Update<(i64, Sums<1>)>> {
    let (_, sealed) = build.seal(Sealing::new(TEN, Arc::new(Tens)), &records, |record| record.data.0);
    build.rollup("LeftOut", sums(sealed.map(|record| record.data))).updates()
}

/// The three jobs: their numbers are those of the tables of the twin.
const JOBS: [Job<Record, (i64, Sums<1>)>; 3] = [open_job, left_out_job, total_job];

/// What a person does: after epoch `after` the job is started again with `days` unsealed.
#[derive(Clone, Debug, Default)]
struct Unsealed {
    after: usize,
    days: BTreeSet<i64>,
}

/// What the twin knows after an epoch.
#[derive(Clone, Debug, Default)]
struct Known {
    /// By day what the jobs hold, and the total under day 0.
    tables: [BTreeMap<i64, Sums<1>>; 3],
    /// Each record that counts.
    facts: Vec<Record>,
    first_open: Option<i64>,
    unsealed: BTreeSet<i64>,
}

impl Known {
    fn is_sealed(&self, day: i64) -> bool {
        self.first_open.is_some_and(|first| day < first) && !self.unsealed.contains(&day)
    }

    /// The sealed ones of `days` are made of all that counts of them.
    fn unseal(&mut self, days: &BTreeSet<i64>) {
        self.unsealed = days.iter().copied().filter(|day| self.is_sealed(*day)).collect();
        let unsealed = &self.unsealed;
        self.tables[0].retain(|day, _| !unsealed.contains(day));
        for (day, amount) in self.facts.iter().filter(|(day, _)| unsealed.contains(day)) {
            add(&mut self.tables[0], *day, *amount);
        }
    }

    fn rows(&self, table: usize) -> Rows {
        self.tables[table].iter().map(|(day, sums)| ((*day, *sums), 1)).collect()
    }
}

fn add(table: &mut BTreeMap<i64, Sums<1>>, day: i64, amount: i64) {
    let sums = Sums::of([i128::from(amount)]);
    table.entry(day).and_modify(|known| known.add(sums)).or_insert(sums);
}

/// What the jobs must hold after so many epochs.
fn twin(script: &Script<Record>, epochs: usize, person: &Unsealed) -> Known {
    let (mut known, mut newest) = (Known::default(), [None; PARTITIONS]);
    for (number, records) in (1..).zip(&script.epochs[..epochs]) {
        for (at, (time, (day, amount))) in records.iter().enumerate() {
            let partition = &mut newest[at % PARTITIONS];
            *partition = (*partition).max(Some(*time));
            let is_sealed = known.is_sealed(*day);
            add(&mut known.tables[usize::from(is_sealed)], *day, *amount);
            if !is_sealed {
                add(&mut known.tables[2], 0, *amount);
                known.facts.push((*day, *amount));
            }
        }
        // What earlier epochs have sealed leaves; what this one seals is there until the next.
        let mut open = std::mem::take(&mut known.tables[0]);
        open.retain(|day, _| !known.is_sealed(*day));
        known.tables[0] = open;
        let watermark = newest.iter().min().copied().flatten().map(|newest| newest - TEN);
        known.first_open = known.first_open.max(watermark.map(|watermark| (watermark - TEN).div_euclid(TEN)));
        if number == person.after {
            known.unseal(&person.days);
        }
    }
    known
}

/// Compares `updates`, which begin at epoch `from`, with table `table` of the twin at every epoch.
fn same(
    updates: &Updates<(i64, Sums<1>)>,
    from: usize,
    script: &Script<Record>,
    table: usize,
    person: &Unsealed,
) {
    for epoch in from..=script.epochs.len() {
        let expected = twin(script, epoch, person).rows(table);
        assert_eq!(
            as_of(updates, epoch as u64),
            expected,
            "table {table} as of epoch {epoch}, from {from} on, {person:?}"
        );
    }
}

/// What the second run is given of what the first one has committed: the facts of all days, of which it must take those of
/// unsealed ones alone.
fn unsealing(script: &Script<Record>, person: &Unsealed) -> Unsealing {
    let known = twin(script, person.after, person);
    let cells = |(day, amount): &Record| vec![day.to_string(), amount.to_string()];
    Unsealing {
        days: known.unsealed.iter().map(|day| Tens.start(*day)).collect(),
        output: FACTS,
        columns: vec!["day".to_string(), "amount".to_string()],
        rows: known.facts.iter().map(cells).collect(),
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
        let nobody = Unsealed::default();
        for (table, job) in JOBS.into_iter().enumerate() {
            for workers in 1..=3 {
                same(&run(&script, job, workers), 0, &script, table, &nobody);
            }
            let crash = crash % (script.epochs.len() + 1);
            for workers in [(1, 2), (3, 1), (2, 3)] {
                same(&run_again(&script, job, workers, crash), crash, &script, table, &nobody);
            }
        }
    }

    #[test]
    fn day_that_a_person_unseals_has_all_that_counts_and_no_total_counts_it_twice(
        script in script(),
        after in any::<usize>(),
        days in prop::collection::btree_set(-4_i64..9, 0..6),
    ) {
        let person = Unsealed { after: after % script.epochs.len() + 1, days };
        for (table, job) in JOBS.into_iter().enumerate() {
            for workers in [(1, 2), (3, 1), (2, 3)] {
                let unsealing = Some(unsealing(&script, &person));
                let updates = run_again_unsealing(&script, job, workers, person.after, unsealing);
                same(&updates, person.after, &script, table, &person);
            }
        }
    }
}

#[test]
fn scripts_seal_days_and_bring_records_for_them() {
    // Else the properties above say little: ten epochs, a record each partition, some for the day four days back.
    let epoch = |day: i64| (0..6).map(|n| (day * TEN + n, (day - n % 5, 1))).collect::<Vec<_>>();
    let script =
        Script { partitions: PARTITIONS as u32, lateness_ms: TEN, epochs: (0..9).map(epoch).collect() };
    let days = |rows: &Rows| rows.keys().map(|(day, _)| *day).collect::<Vec<_>>();
    let known = twin(&script, 9, &Unsealed::default());
    // What the epoch before the last one has sealed has left; what the last one seals is there still.
    let (open, left_out) = (known.rows(0), known.rows(1));
    assert_eq!((days(&open), days(&left_out).len()), (vec![5, 6, 7, 8], 8), "{open:?} {left_out:?}");
    // Day 4 is sealed by then. Unsealed, it has what had counted of it, and what comes for it counts again.
    let person = Unsealed { after: 8, days: BTreeSet::from([4, 7]) };
    let known = twin(&script, 9, &person);
    assert_eq!(known.unsealed, BTreeSet::from([4]), "day 7 is open");
    assert_eq!(days(&known.rows(0)), [4, 5, 6, 7, 8]);
    // Epoch 8 has sealed day 4, and its rows were saved: they must not count beside the facts.
    assert!(twin(&script, 8, &Unsealed::default()).tables[0].contains_key(&4));
    for workers in [(1, 2), (3, 1)] {
        let unsealing = Some(unsealing(&script, &person));
        same(&run_again_unsealing(&script, open_job, workers, 8, unsealing), 8, &script, 0, &person);
    }
}
