//! What the arrangements of a derived table hold does not grow with epochs: they compact by themselves, since nobody keeps a handle
//! to them. Counted by differential's own log: entries and batches, not bytes.

use crate::table_job::{Script, as_of, run};
use differential_dataflow::logging::{DifferentialEvent, DifferentialEventBuilder};
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::record::Stamped;
use headway_operators::view::rollup::Sums;
use headway_operators::view::table::Update;
use std::cmp::Reverse;
use std::sync::{Mutex, PoisonError};

/// Keys, groups of them, and how many keys change in an epoch.
const KEYS: i64 = 60;
const GROUPS: i64 = 7;
const CHANGES: i64 = 10;

const EPOCHS: i64 = 3_000;

/// The first epochs, in which the arrangements fill.
const FIRST: usize = 200;

/// What all arrangements hold, as the log has it.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    entries: usize,
    batches: usize,
    /// How many batches have come.
    inserted: usize,
    /// The most entries and batches, since the first epochs.
    most: (usize, usize),
}

/// Of the one test that logs.
static HELD: Mutex<Held> = Mutex::new(Held { entries: 0, batches: 0, inserted: 0, most: (0, 0) });

impl Held {
    fn take(&mut self, event: &DifferentialEvent) {
        match event {
            DifferentialEvent::Batch(batch) => {
                self.entries += batch.length;
                self.batches += 1;
                self.inserted += 1;
            }
            DifferentialEvent::Merge(merge) => {
                let Some(merged) = merge.complete else { return };
                self.entries = self.entries + merged - merge.length1 - merge.length2;
                self.batches -= 1;
            }
            DifferentialEvent::Drop(dropped) => {
                self.entries -= dropped.length;
                self.batches = self.batches.saturating_sub(1);
            }
            _ => {}
        }
        if self.inserted > 3 * FIRST {
            self.most = (self.most.0.max(self.entries), self.most.1.max(self.batches));
        }
    }
}

/// A row of the table: group and key, the key's records, those of its group, and whether it is among the first of its group.
type Row = (i64, (((i64, i64), Option<i64>), Option<u32>));

/// Counts records by key and by group, and looks up what belongs to a key: the count of its group, and its place in it.
fn derived<'s>(build: &mut Build<'s>, flow: Flow<'s, Stamped<i64>>) -> Flow<'s, Update<Row>> {
    let log = |event: &(std::time::Duration, DifferentialEvent)| {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).take(&event.1);
    };
    let stream = flow.records();
    stream
        .scope()
        .worker()
        .log_register()
        .expect("workers log")
        .insert::<DifferentialEventBuilder, _>("differential/arrange", move |_, events| {
            events.iter().flatten().for_each(log)
        });
    let count = |sums: Sums<1>| i64::try_from(sums.amounts[0]).unwrap();
    let keys = flow.clone().map(|record| (record.data, Sums::of([1])));
    let groups = flow.map(|record| (record.data % GROUPS, Sums::of([1])));
    let keys = build.rollup("Keys", keys).map(move |(key, sums)| (key % GROUPS, (key, count(sums))));
    let groups = build.rollup("Groups", groups).map(move |(group, sums)| (group, count(sums)));
    let first = keys.clone().map(|(group, (key, count))| (group, (Reverse(count), key))).top("First", 1);
    let first = first.map(|ranked| (ranked.group, ranked.rank));
    let pairs = keys.lookup(groups);
    pairs.lookup(first).updates()
}

#[test]
fn arrangements_hold_no_more_after_thousands_of_epochs_than_after_the_first() {
    let epoch = |epoch: i64| (0..CHANGES).map(|at| (epoch, (epoch * 17 + at * at) % KEYS)).collect();
    let script = Script { partitions: 1, lateness_ms: 0, epochs: (0..EPOCHS).map(epoch).collect() };
    let updates = run(&script, derived, 1);
    let rows = as_of(&updates, EPOCHS as u64);
    assert_eq!(rows.len(), KEYS as usize, "each key has a row");
    let held = *HELD.lock().unwrap_or_else(PoisonError::into_inner);
    // Several epochs may come in one batch, but not hundreds.
    assert!(held.inserted > 6 * FIRST, "{held:?}");
    // Two inputs of rows of keys and groups, two outputs of rows of keys, and what an epoch changes of all of them.
    let live = 4 * KEYS as usize + 2 * GROUPS as usize;
    // Batches of one size are merged when there are two of them, so a few changes of each row are there. Without compaction there
    // are all of some hundred thousand.
    assert!(held.most.0 <= 30 * live && held.most.1 <= 100, "{held:?}, {live} rows are live");
    assert!(held.most.0 >= live, "{held:?}, {live} rows are live");
}
