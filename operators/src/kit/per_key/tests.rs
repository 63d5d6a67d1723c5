//! Operators on the production driver, and any messages against a slow twin of the driver.

use crate::flow::Either::{self, Left, Right};
use crate::kit::logic::{Context, Logic, Now, Requests};
use crate::kit::script::{hours, minutes, script, seconds};
use crate::stream::window::{Closing, Grid};
use crate::time::EventTime;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Trips of bikes, and those that are overdue.
struct Trips;

type Trip = (String, String, String);

impl Logic for Trips {
    type Key = String;
    type In = (String, String, bool);
    type State = Option<(EventTime, String)>;
    type Out = Either<Trip, String>;
    const VERSION: u32 = 1;

    fn key((bike, ..): &Self::In) -> String {
        bike.clone()
    }

    fn on_record(&self, (bike, at, docks): Self::In, away: &mut Self::State, cx: &mut Context<'_, Self>) {
        if let Some((start, from)) = away.take() {
            cx.cancel(start + hours(2));
            if docks {
                cx.emit(Left((bike, from, at.clone())));
            }
        }
        if !docks {
            *away = Some((cx.time(), at));
            cx.timer(cx.time() + hours(2));
        }
    }

    fn on_timer(&self, _: &mut Self::State, cx: &mut Context<'_, Self>) {
        cx.emit(Right(cx.key().clone()));
    }
}

fn undock(bike: &str, at: &str) -> (String, String, bool) {
    (bike.into(), at.into(), false)
}

fn dock(bike: &str, at: &str) -> (String, String, bool) {
    (bike.into(), at.into(), true)
}

fn trip(bike: &str, from: &str, to: &str) -> Either<Trip, String> {
    Left((bike.into(), from.into(), to.into()))
}

#[test]
fn timer_fires_once_when_the_watermark_has_passed_it_and_the_state_goes_with_the_trip() {
    let b1 = || "b1".to_string();
    script(|| Trips)
        .horizon(hours(2))
        .record("10:00", undock("b1", "S0"))
        .watermark("12:00")
        .gives([])
        .timers(b1(), ["12:00"])
        .watermark("12:00:01")
        .gives([Right(b1())])
        .timers::<&str>(b1(), [])
        .record("13:00", dock("b1", "S7"))
        .watermark("13:00:01")
        .gives([trip("b1", "S0", "S7")])
        .state(b1(), None)
        .end()
        .gives([])
        .check();
}

#[test]
fn record_at_the_instant_of_a_timer_comes_before_it() {
    script(|| Trips)
        .record("10:00", undock("b1", "S0"))
        .record("12:00", dock("b1", "S1"))
        .watermark("12:00:01")
        .gives([trip("b1", "S0", "S1")])
        .check();
}

#[test]
fn records_of_one_instant_come_in_the_order_of_input_partition_and_offset() {
    // Undocked at S1 (partition 0) before it docks there (partition 1), though that was read first.
    script(|| Trips)
        .inputs(&[2, 1])
        .lateness(minutes(5))
        .from(0, 1)
        .record("10:00", dock("b1", "S2"))
        .record("10:00", undock("b1", "S2"))
        .from(1, 0)
        .record("10:00", dock("b1", "S3"))
        .epoch()
        .from(0, 0)
        .record("10:00", undock("b1", "S1"))
        .watermark("10:01")
        .gives([trip("b1", "S1", "S2"), trip("b1", "S2", "S3")])
        .check();
}

#[test]
fn record_behind_its_partition_is_late_and_one_of_a_windowed_input_is_dropped() {
    let grid = Closing::Grid(Grid::tumbling(3_600_000));
    let late = |closing, late, dropped| {
        script(|| Trips)
            .closing(closing)
            .record("10:10", undock("b1", "S0"))
            .record("10:20", dock("b2", "S0"))
            .record("10:15", dock("b1", "S1"))
            .late(late)
            .dropped("behind-watermark", dropped)
            .watermark("10:30")
            .gives([])
            .check();
    };
    late(Closing::Horizon { ms: 0 }, 1, 0);
    late(grid, 0, 1);
}

#[test]
fn idleness_of_all_partitions_fires_no_timer_also_where_windows_would_be_flushed() {
    script(|| Trips)
        .closing(Closing::Grid(Grid::tumbling(24 * 3_600_000)))
        .flush(seconds(1))
        .record("10:00", undock("b1", "S0"))
        .idle()
        .gives([])
        .record("11:00", dock("b1", "S1"))
        .watermark("11:01")
        .gives([trip("b1", "S0", "S1")])
        .check();
}

#[test]
fn input_that_wakes_meets_no_timer_that_has_fired() {
    script(|| Trips)
        .inputs(&[1, 1])
        .record("10:00", undock("b1", "S0"))
        .from(1, 0)
        .record("10:00", undock("b2", "S0"))
        .idle()
        .from(0, 0)
        .watermark("12:30")
        .gives_in_any_order([Right("b1".to_string()), Right("b2".to_string())])
        // It says that b2 was back in time, too late: it was idle, and the others went on without it.
        .from(1, 0)
        .record("11:00", dock("b2", "S1"))
        .record("12:40", dock("b2", "S1"))
        .late(1)
        .watermark("12:41")
        .gives([trip("b2", "S0", "S1")])
        .check();
}

/// Counts what comes, for a minute.
struct Recent;

impl Logic for Recent {
    type Key = u8;
    type In = u8;
    type State = u32;
    type Out = u32;
    const VERSION: u32 = 1;

    fn key(key: &u8) -> u8 {
        *key
    }

    fn on_record(&self, _: u8, count: &mut u32, cx: &mut Context<'_, Self>) {
        *count += 1;
        cx.emit(*count);
    }

    fn ttl(&self) -> Option<Duration> {
        Some(seconds(60))
    }
}

#[test]
fn key_that_nothing_touches_is_forgotten() {
    script(|| Recent)
        .record("10:00:00", 1)
        .record("10:00:30", 1)
        .record("10:01:30", 1)
        .watermark("10:02:30")
        .gives([1, 2, 3])
        .state(1, 3)
        .watermark("10:02:31")
        .state(1, 0)
        .record("10:02:40", 1)
        .watermark("10:03:00")
        .gives([1])
        .check();
}

#[test]
#[should_panic(expected = "key 7 sets a timer for 0 ms at 10 ms: it would never fire")]
fn timer_in_the_past_is_refused_by_the_name_of_its_key() {
    let mut requests = Requests::<u32>::default();
    let time = EventTime(10);
    Context::<'_, Recent> { key: &7, time, now: Now::Record, requests: &mut requests }.timer(EventTime(0));
}

/// Remembers the last few values of a key in their order: whatever is out of order is seen.
#[derive(Debug)]
struct Toy;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Event {
    key: u8,
    value: u8,
}

impl Logic for Toy {
    type Key = u8;
    type In = Event;
    type State = Vec<u8>;
    type Out = (EventTime, u8, Vec<u8>);
    const VERSION: u32 = 1;

    fn key(event: &Event) -> u8 {
        event.key
    }

    fn on_record(&self, Event { value, .. }: Event, seen: &mut Vec<u8>, cx: &mut Context<'_, Self>) {
        seen.push(value);
        match value % 5 {
            0 => cx.timer(cx.time().plus_ms(i64::from(value % 3) * 1500)),
            1 => cx.cancel(cx.time().plus_ms(1000)),
            2 => cx.emit((cx.time(), *cx.key(), seen.clone())),
            3 => seen.clear(),
            _ => {}
        }
    }

    fn on_timer(&self, seen: &mut Vec<u8>, cx: &mut Context<'_, Self>) {
        cx.emit((cx.time(), *cx.key(), seen.clone()));
        if seen.len() > 4 {
            seen.clear();
        } else if seen.len() == 3 {
            seen.push(200);
            cx.timer(cx.time().plus_ms(1000));
        }
    }
}

/// How far what a record of [`Toy`] sets reaches.
const HORIZON_MS: i64 = 60_000;

/// A step of a random script: a record, or its partition becomes idle, or the epoch ends.
#[derive(Clone, Copy, Debug)]
enum Step {
    Record { source: (u16, u32), second: i64, event: Event },
    Idle { source: (u16, u32) },
    Epoch,
}

/// The partitions of a random script.
const SOURCES: [(u16, u32); 3] = [(0, 0), (0, 1), (1, 0)];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let source = prop::sample::select(&SOURCES[..]);
    let record = (source.clone(), 0i64..7, 0u8..4, 0u8..30).prop_map(|(source, ahead, key, value)| {
        Step::Record { source, second: ahead, event: Event { key, value } }
    });
    let step = prop_oneof![12 => record, 1 => source.prop_map(|source| Step::Idle { source }), 3 => Just(Step::Epoch)];
    // Event time goes on by a second or so a step, with disorder of a few seconds.
    prop::collection::vec(step, 1..40).prop_map(|mut steps| {
        let mut now = 0;
        for step in &mut steps {
            if let Step::Record { second, .. } = step {
                now += *second % 3;
                *second = (now + *second - 3).max(0);
            }
        }
        steps
    })
}

/// The watermarks of a random script, and which of its records are on time: as the design says it, in one place.
#[derive(Default)]
struct Twin {
    lateness_ms: i64,
    own: BTreeMap<(u16, u32), i64>,
    floor: BTreeMap<(u16, u32), i64>,
    idle: BTreeSet<(u16, u32)>,
    single: [i64; 2],
    both: i64,
    offsets: BTreeMap<(u16, u32), i64>,
    /// (time, source, offset): in this order they are taken.
    on_time: BTreeMap<(i64, (u16, u32), i64), Event>,
    late: u64,
}

impl Twin {
    fn of(steps: &[Step], lateness_ms: i64) -> Twin {
        let mut twin = Twin { lateness_ms, single: [i64::MIN; 2], both: i64::MIN, ..Twin::default() };
        for step in steps {
            match *step {
                Step::Epoch => twin.close(),
                Step::Idle { source } => {
                    twin.close();
                    twin.idle.insert(source);
                    twin.close();
                }
                Step::Record { source, second, event } => twin.record(source, second * 1000, event),
            }
        }
        twin
    }

    fn record(&mut self, source: (u16, u32), time: i64, event: Event) {
        if self.idle.contains(&source) {
            // It joins in an epoch of its own, in which it does not count yet.
            self.close();
            self.close();
            self.idle.remove(&source);
            let floor = self.single[usize::from(source.0)].max(self.both);
            let known = self.floor.entry(source).or_insert(i64::MIN);
            *known = floor.max(*known);
        }
        let own = self.own.entry(source).or_insert(i64::MIN);
        let stamp = (*own).max(self.floor.get(&source).copied().unwrap_or(i64::MIN));
        *own = (*own).max(time - self.lateness_ms);
        let offset = self.offsets.entry(source).or_default();
        if time < stamp {
            self.late += 1;
        } else {
            self.on_time.insert((time, source, *offset), event);
        }
        *offset += 1;
    }

    /// The end of an epoch.
    fn close(&mut self) {
        for input in 0..2 {
            let active = SOURCES.iter().filter(|s| usize::from(s.0) == input && !self.idle.contains(s));
            let effective = active.map(|source| {
                let of = |map: &BTreeMap<_, i64>| map.get(source).copied().unwrap_or(i64::MIN);
                of(&self.own).max(of(&self.floor))
            });
            self.single[input] = self.single[input].max(effective.min().unwrap_or(i64::MIN));
        }
        let is_active =
            |input: &usize| SOURCES.iter().any(|s| usize::from(s.0) == *input && !self.idle.contains(s));
        let least = (0..2).filter(is_active).map(|input| self.single[input]).min();
        self.both = self.both.max(least.unwrap_or(i64::MIN));
    }

    /// What the operator gives until its inputs have ended.
    fn gives(&self) -> Vec<(EventTime, u8, Vec<u8>)> {
        let newest = self.own.values().max().copied().unwrap_or(i64::MIN);
        let over = newest.saturating_add(self.lateness_ms + HORIZON_MS + 1);
        let mut records = self.on_time.clone();
        let (mut states, mut given) = (BTreeMap::<u8, Vec<u8>>::new(), Vec::new());
        let mut timers: BTreeSet<(i64, u8)> = BTreeSet::new();
        loop {
            let record = records.first_key_value().map(|((time, ..), event)| (*time, *event));
            let timer = timers.first().copied().filter(|(at, _)| *at < over);
            let mut requests = Requests::default();
            let key = match (record, timer) {
                (Some((time, event)), timer) if timer.is_none_or(|(at, _)| time <= at) => {
                    records.pop_first();
                    let (time, now) = (EventTime(time), Now::Record);
                    let mut cx = Context { key: &event.key, time, now, requests: &mut requests };
                    Toy.on_record(event, states.entry(event.key).or_default(), &mut cx);
                    event.key
                }
                (_, Some((time, key))) => {
                    timers.pop_first();
                    let (time, now) = (EventTime(time), Now::Timer);
                    let mut cx = Context { key: &key, time, now, requests: &mut requests };
                    Toy.on_timer(states.entry(key).or_default(), &mut cx);
                    key
                }
                _ => return given,
            };
            for (at, sets) in requests.timers {
                if sets {
                    timers.insert((at.0, key))
                } else {
                    timers.remove(&(at.0, key))
                };
            }
            given.extend(requests.out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn operator_gives_what_a_slow_twin_gives_under_disorder_idleness_waking_kills_and_rescales(
        steps in steps(), lateness in 0u64..6,
    ) {
        let twin = Twin::of(&steps, i64::try_from(lateness).unwrap() * 1000);
        let mut played = script(|| Toy)
            .inputs(&[2, 1])
            .lateness(seconds(lateness))
            .horizon(Duration::from_millis(HORIZON_MS as u64));
        for step in &steps {
            played = match *step {
                Step::Epoch => played.epoch(),
                Step::Idle { source: (input, partition) } => played.from(input, partition).idle(),
                Step::Record { source: (input, partition), second, event } => {
                    played.from(input, partition).record(EventTime(second * 1000), event)
                }
            };
        }
        let expected = twin.gives();
        played.end().late(twin.late).gives_in_any_order(expected).check();
    }
}
