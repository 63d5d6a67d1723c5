//! The test kit notices bugs of the driver, and output that depends on more than the records.

use super::spoiler::Spoiler;
use super::{Script, hours, minutes, script};
use crate::kit::logic::{Context, Logic};
use crate::kit::per_key::Section;
use crate::state::{Saved, SectionKind, StateChange};
use crate::time::{Epoch, EventTime};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// A bug of the driver.
#[derive(Clone, Copy, Debug)]
enum Bug {
    StateNotRestored,
    ChangesNotGiven,
    TimerLost,
    TimerFiredTwice,
    TombstoneLost,
    ShardOnTwoWorkers,
    NextEpochInTheState,
}

/// Changes what a section of the operator holds.
fn edit(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Section)) {
    let Some(mut section) = Section::decode(bytes) else { return };
    change(&mut section);
    *bytes = section.encode();
}

impl Spoiler for Bug {
    fn save(&self, changes: &mut Vec<(Epoch, StateChange)>) {
        match self {
            Bug::ChangesNotGiven => changes.retain(|(_, change)| change.kind != SectionKind::Change),
            Bug::TimerLost => changes.iter_mut().for_each(|(_, change)| {
                edit(&mut change.bytes, |section| {
                    section.entries.iter_mut().for_each(|entry| entry.timers.clear());
                });
            }),
            Bug::TombstoneLost => changes.iter_mut().for_each(|(_, change)| {
                edit(&mut change.bytes, |section| section.deleted.clear());
            }),
            Bug::NextEpochInTheState => {
                changes.iter_mut().for_each(|(epoch, _)| *epoch = Epoch(epoch.0.saturating_sub(1)));
            }
            Bug::StateNotRestored | Bug::TimerFiredTwice | Bug::ShardOnTwoWorkers => {}
        }
    }

    fn restore(&self, all: &[Saved], mine: &mut Vec<Saved>) {
        match self {
            Bug::StateNotRestored => mine.clear(),
            Bug::TimerFiredTwice => mine.iter_mut().for_each(|saved| {
                edit(&mut saved.bytes, |section| {
                    let fired = section.entries.iter_mut().filter(|entry| entry.timers.is_empty());
                    fired.for_each(|entry| entry.timers.push(entry.touched));
                });
            }),
            Bug::ShardOnTwoWorkers => *mine = all.to_vec(),
            _ => {}
        }
    }
}

/// Reports a key without a record for two hours; deletes the state of a key that sends 0.
struct Silence;

impl Logic for Silence {
    type Key = u8;
    type In = (u8, u32);
    type State = Option<(EventTime, u32)>;
    type Out = (u8, u32);
    const VERSION: u32 = 1;

    fn key(record: &(u8, u32)) -> u8 {
        record.0
    }

    fn on_record(&self, (key, value): (u8, u32), held: &mut Self::State, cx: &mut Context<'_, Self>) {
        if let Some((deadline, sum)) = held.take() {
            cx.cancel(deadline);
            cx.emit((key, sum + value));
        }
        if value > 0 {
            *held = Some((cx.time() + hours(2), value));
            cx.timer(cx.time() + hours(2));
        }
    }

    fn on_timer(&self, held: &mut Self::State, cx: &mut Context<'_, Self>) {
        cx.emit((*cx.key(), held.map_or(0, |(_, value)| value)));
    }
}

fn silences() -> Script<Silence> {
    script(|| Silence)
        .inputs(&[2])
        .lateness(minutes(1))
        .record("10:00", (1, 5))
        .record("10:01", (2, 6))
        .watermark("10:02")
        .epoch()
        .record("10:30", (1, 0))
        .watermark("10:31")
        .gives([(1, 5)])
        .record("11:00", (3, 7))
        .watermark("12:02")
        .gives([(2, 6)])
        .record("12:10", (4, 8))
        .watermark("12:11")
        .epoch()
        .watermark("12:20")
        .epoch()
        .record("12:30", (2, 1))
        .record("12:30", (1, 1))
        .watermark("13:01")
        .gives_in_any_order([(2, 7), (3, 7)])
        .watermark("13:02")
}

/// True if the script finds something wrong.
fn is_red<L: Logic<Out: Send + PartialEq + std::fmt::Debug, State: std::fmt::Debug>>(
    script: Script<L>,
) -> bool {
    catch_unwind(AssertUnwindSafe(|| script.check())).is_err()
}

#[test]
fn script_is_green_on_the_driver_as_it_is() {
    silences().check();
}

#[test]
fn script_turns_red_for_every_bug_of_the_driver() {
    let bugs = [
        Bug::StateNotRestored,
        Bug::ChangesNotGiven,
        Bug::TimerLost,
        Bug::TimerFiredTwice,
        Bug::TombstoneLost,
        Bug::ShardOnTwoWorkers,
        Bug::NextEpochInTheState,
    ];
    let missed: Vec<Bug> = bugs.into_iter().filter(|bug| !is_red(silences().spoiled(*bug))).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

/// Gives the values that came before, in the order of a hash set.
struct Unordered;

impl Logic for Unordered {
    type Key = u8;
    type In = u32;
    type State = HashSet<u32>;
    type Out = u32;
    const VERSION: u32 = 1;

    fn key(_: &u32) -> u8 {
        0
    }

    fn on_record(&self, value: u32, seen: &mut HashSet<u32>, cx: &mut Context<'_, Self>) {
        seen.insert(value);
        // A copy has another order: each set has a seed of its own.
        seen.iter().copied().collect::<HashSet<u32>>().into_iter().for_each(|value| cx.emit(value));
    }
}

/// Gives what something outside says: a clock, or a counter.
struct Outside;

static CALLS: AtomicU64 = AtomicU64::new(0);

impl Logic for Outside {
    type Key = u8;
    type In = u32;
    type State = bool;
    type Out = u64;
    const VERSION: u32 = 1;

    fn key(_: &u32) -> u8 {
        0
    }

    fn on_record(&self, _: u32, _: &mut bool, cx: &mut Context<'_, Self>) {
        cx.emit(CALLS.fetch_add(1, Ordering::Relaxed));
    }
}

#[test]
fn output_that_depends_on_the_order_of_a_hash_set_or_on_something_outside_is_noticed() {
    let values = || (0..20).map(|n| (EventTime(n * 1000), n as u32));
    let played = values().fold(script(|| Unordered), |script, (time, value)| script.record(time, value));
    assert!(is_red(played.end()), "the order of a hash set");
    let played = values().fold(script(|| Outside), |script, (time, value)| script.record(time, value));
    assert!(is_red(played.end()), "something outside");
}
