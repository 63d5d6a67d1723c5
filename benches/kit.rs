//! What does the kit cost an author? `PerKey` against the same operator written by hand on `Keyed`, memory of many keys with
//! a timer each and the time to restore them, and the time of a long script.
//!
//! ```text
//! cargo bench --bench kit
//! ```
//!
//! Both operators are driven directly, epoch by epoch, and save their changes in each; what they give is compared before any
//! figure is printed.

#![allow(clippy::print_stdout, reason = "a measurement is told on stdout")]

mod by_hand;
#[allow(dead_code, reason = "each measurement takes what it needs")]
mod figures;

use by_hand::ByHand;
use figures::median;
use headway_operators::ack::InputIx;
use headway_operators::keyed::{Fates, Keyed};
use headway_operators::kit::per_key::Routed;
use headway_operators::kit::script::{minutes, script, seconds};
use headway_operators::kit::{Context, Logic, PerKey, Place, Record};
use headway_operators::progress::Tick;
use headway_operators::record::{Offset, Partition};
use headway_operators::snapshots::Wanted;
use headway_operators::state::{Saved, SectionKind};
use headway_operators::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

const RECORDS: u64 = 1_000_000;
const KEYS: u64 = 100_000;
const EPOCHS: u64 = 100;
const ROUNDS: usize = 5;
/// Event time of an epoch, and how far the watermark is behind.
const EPOCH_MS: i64 = 1000;
const LATENESS_MS: i64 = 5000;

/// A record: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) key: u64,
    pub(crate) value: i64,
}

/// The state of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) sum: i64,
}

impl Sum {
    /// Adds a value; every fifth one gives the sum.
    pub(crate) fn add(&mut self, value: i64) -> Option<i64> {
        (self.count, self.sum) = (self.count + 1, self.sum + value);
        self.count.is_multiple_of(5).then_some(self.sum)
    }
}

struct Sums;

impl Logic for Sums {
    type Key = u64;
    type In = Reading;
    type State = Sum;
    type Out = (u64, i64);
    const VERSION: u32 = 1;

    fn key(reading: &Reading) -> u64 {
        reading.key
    }

    fn on_record(&self, reading: Reading, sum: &mut Sum, cx: &mut Context<'_, Self>) {
        if let Some(total) = sum.add(reading.value) {
            cx.emit((reading.key, total));
        }
    }
}

/// Sets a timer for each key, as an alert does.
struct Timers;

impl Logic for Timers {
    type Key = String;
    type In = String;
    type State = Option<EventTime>;
    type Out = String;
    const VERSION: u32 = 1;

    fn key(key: &String) -> String {
        key.clone()
    }

    fn on_record(&self, _: String, since: &mut Self::State, cx: &mut Context<'_, Self>) {
        *since = Some(cx.time());
        cx.timer(cx.time() + Duration::from_secs(7200));
    }
}

fn main() {
    println!(
        "{RECORDS} records, {KEYS} keys, {EPOCHS} epochs, the watermark {} s behind",
        LATENESS_MS / 1000
    );
    let readings = readings();
    let (mut kit, mut hand) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (took, given) = drive(PerKey::new("Kit", Sums), &readings, Routed::of::<Sums>);
        let (took_by_hand, given_by_hand) = drive(ByHand::default(), &readings, |record| record);
        let mut data: Vec<(u64, i64)> = given.into_iter().map(|record| record.data).collect();
        let mut by_hand = given_by_hand;
        data.sort_unstable();
        by_hand.sort_unstable();
        assert_eq!(data, by_hand, "both give the same");
        kit.push(took);
        hand.push(took_by_hand);
    }
    let (kit, hand) = (median(&kit), median(&hand));
    println!("PerKey {kit:.3} s, by hand {hand:.3} s: {:.2} times (target 2)", kit / hand);
    many_keys();
    long_script();
}

fn readings() -> Vec<Record<Reading>> {
    let reading = |n: u64| {
        let epoch = n / (RECORDS / EPOCHS);
        let disorder = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i64 % LATENESS_MS;
        let time = EventTime(LATENESS_MS + epoch as i64 * EPOCH_MS + EPOCH_MS - disorder);
        let place = Place::message(InputIx(0), Partition(0), Offset(n as i64));
        let key = (n.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) % KEYS;
        Record::message(time, place, Reading { key, value: n as i64 % 100 })
    };
    (0..RECORDS).map(reading).collect()
}

fn tick(watermark: EventTime) -> Tick {
    Tick { watermark, wall_ms: 0, idle: false, ended: false, finishing: false }
}

/// Drives an operator epoch by epoch; how many seconds it took, and what it gave.
fn drive<K: Keyed>(
    mut operator: K,
    readings: &[Record<Reading>],
    route: impl Fn(Record<Reading>) -> K::In,
) -> (f64, Vec<K::Out>) {
    let (mut fates, mut out) = (Fates::default(), Vec::new());
    let mut saved = 0;
    let begin = Instant::now();
    for (epoch, part) in (0..).zip(readings.chunks((RECORDS / EPOCHS) as usize)) {
        for batch in part.chunks(1024) {
            let mut batch: Vec<K::In> = batch.iter().copied().map(&route).collect();
            operator.apply(Epoch(epoch + 1), &mut batch, &mut fates);
        }
        operator.close(Epoch(epoch + 1), &tick(EventTime(epoch as i64 * EPOCH_MS)), &mut out);
        operator.snapshot(&Wanted::changes(), &mut |_, bytes| saved += bytes.len());
    }
    operator.close(Epoch(EPOCHS + 1), &tick(EventTime::MAX), &mut out);
    assert!(saved > 0, "changes were saved");
    (begin.elapsed().as_secs_f64(), out)
}

/// Resident memory of this process, in bytes; 0 where the system does not say.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn many_keys() {
    let before = resident();
    let mut operator = PerKey::new("Timers", Timers);
    let (mut fates, mut out) = (Fates::default(), Vec::new());
    for epoch in 0..100 {
        let record = |n: u64| {
            let place = Place::message(InputIx(0), Partition(0), Offset(n as i64));
            Routed::of::<Timers>(Record::message(EventTime(n as i64), place, format!("bike-{n:08}")))
        };
        let mut batch: Vec<_> = (epoch * 10_000..(epoch + 1) * 10_000).map(record).collect();
        let watermark = EventTime((epoch as i64 + 1) * 10_000);
        operator.apply(Epoch(epoch + 1), &mut batch, &mut fates);
        operator.close(Epoch(epoch + 1), &tick(watermark), &mut out);
        operator.snapshot(&Wanted::changes(), &mut |_, _| {});
    }
    let held = resident().saturating_sub(before);
    println!("1,000,000 keys with a timer each: {} MB (target 400)", held / 1_000_000);
    let mut saved = Vec::new();
    operator.snapshot(&Wanted::all(SectionKind::Base), &mut |shard, bytes| {
        saved.push(Saved { shard, version: 1, kind: SectionKind::Base, file: 0, bytes });
    });
    let mut again = PerKey::new("Timers", Timers);
    let begin = Instant::now();
    for section in &saved {
        again.restore(section).expect("it reads what it wrote");
    }
    again.restored(EventTime(1_000_000), &mut Vec::new());
    let took = begin.elapsed().as_secs_f64();
    assert_eq!(again.held(), operator.held());
    let bytes: usize = saved.iter().map(|section| section.bytes.len()).sum();
    println!("restored from {} MB in {took:.2} s (target 5)", bytes / 1_000_000);
}

fn long_script() {
    let mut played = script(|| Sums).inputs(&[2]).lateness(seconds(5)).horizon(minutes(1));
    for n in 0..200u32 {
        let reading = Reading { key: u64::from(n % 7), value: i64::from(n) };
        played = played.from(0, n % 2).record(EventTime(i64::from(n) * 1000), reading);
        played = if n % 4 == 3 { played.epoch() } else { played };
    }
    let begin = Instant::now();
    played.end().check();
    println!(
        "check() of a script of 200 steps, 50 epochs: {:.2} s (target 2)",
        begin.elapsed().as_secs_f64()
    );
}
