//! What is the matter with a job that keeps up: windows that stay open, a target that is behind, records of the future.

use crate::engine::format::manifest::{Input, PartitionEntry};
use crate::engine::format::waits::Waits;
use crate::serve::cause::{Cause, Diagnosis, Look};
use headway_operators::error::Reason;
use headway_operators::time::EventTime;

/// How far behind the others a partition may be before it holds windows open, in milliseconds of event time.
const HELD_MS: i64 = 60_000;

/// A target may be behind for so long.
const TARGET_MS: i64 = 60_000;

pub(super) fn target(look: &Look<'_>) -> Option<Diagnosis> {
    let behind = look.board.targets.iter().max_by_key(|target| target.for_ms)?;
    (behind.for_ms > TARGET_MS).then(|| Diagnosis {
        cause: Cause::TargetBehind,
        sentence: format!(
            "Target \"{}\" is behind: it does not apply the changes that the job commits.",
            behind.name
        ),
        evidence: vec![
            format!("{} commits wait for it, the oldest for {} s", behind.commits, behind.for_ms / 1_000),
            format!(
                "it is {}{}",
                behind.doing,
                behind.error.as_ref().map_or(String::new(), |error| format!(": {error}"))
            ),
        ],
        next:
            "Check whether the target responds. The job continues meanwhile, and keeps the changes for a day."
                .into(),
    })
}

/// A partition that holds the windows of its input open, or an input that holds those of others open.
pub(super) fn open_windows(look: &Look<'_>) -> Option<Diagnosis> {
    let mut inputs = look.head.inputs.iter().enumerate();
    inputs.find_map(|(at, input)| partition_holds(look, at, input)).or_else(|| input_holds(look))
}

/// How far `slow` is behind `ahead`, in milliseconds of event time; `None` if that is little.
fn behind(slow: EventTime, ahead: EventTime) -> Option<i64> {
    let behind = match slow {
        EventTime::MIN if ahead > EventTime::MIN => i64::MAX,
        slow => ahead.ms().saturating_sub(slow.ms()),
    };
    (behind > HELD_MS).then_some(behind)
}

fn partition_holds(look: &Look<'_>, at: usize, input: &Input) -> Option<Diagnosis> {
    let slowest = input.slowest()?;
    let ahead = input.counting().map(PartitionEntry::reached).max()?;
    let behind = behind(slowest.reached(), ahead)?;
    let (number, name) = (slowest.partition, &input.name);
    let mut evidence = vec![if behind == i64::MAX {
        format!("partition {number} has had no record yet")
    } else {
        format!("its newest event is {} s of event time behind the farthest partition's", behind / 1_000)
    }];
    let quiet = match look.part(at, number) {
        Some(part) if part.waits == Waits::NextRecord => {
            evidence
                .push(format!("it was read to its end, and nothing came for {} s", part.waits_for.as_secs()));
            true
        }
        Some(part) => {
            evidence.push(format!("it waits for {}", part.waits.words()));
            false
        }
        None => behind == i64::MAX,
    };
    let (what, next) = if quiet {
        (
            "has nothing to read, and holds",
            "It is waited for as long as --idle-after says; a shorter one closes windows without it.",
        )
    } else {
        (
            "is behind the others in event time, and holds",
            "Look at what writes to it: its records are older than those of the other partitions.",
        )
    };
    Some(Diagnosis {
        cause: Cause::PartitionHoldsWindows,
        sentence: format!("Partition {number} of {name} {what} all windows open."),
        evidence,
        next: next.into(),
    })
}

/// Of inputs whose windows close together, one that is far behind another.
fn input_holds(look: &Look<'_>) -> Option<Diagnosis> {
    let counts = |input: &&Input| !input.ended && input.counting().next().is_some();
    look.head.watermarks.iter().find_map(|set| {
        let inputs = set.inputs.iter().filter_map(|index| look.head.inputs.get(index.index()));
        let counting: Vec<&Input> = inputs.filter(counts).collect();
        let slow = counting.iter().min_by_key(|input| input.watermark)?;
        let ahead = counting.iter().max_by_key(|input| input.watermark)?;
        let behind = behind(slow.watermark, ahead.watermark)?;
        let slowest = slow.slowest().map(|part| part.partition)?;
        let (slow, ahead) = (&slow.name, &ahead.name);
        Some(Diagnosis {
            cause: Cause::InputHoldsWindows,
            sentence: format!("Input {slow} holds open what is joined with it: input {ahead} is far ahead."),
            evidence: vec![
                if behind == i64::MAX {
                    format!("input {slow} has no watermark yet")
                } else {
                    format!("its watermark is {} s of event time behind", behind / 1_000)
                },
                format!("its slowest partition is {slowest}"),
            ],
            next: format!(
                "Look at what writes to {slow}. If it may be quiet, --idle-after says for how long it is waited for."
            ),
        })
    })
}

pub(super) fn future(look: &Look<'_>) -> Option<Diagnosis> {
    let refused = |input: &Input| {
        input.total().dead.get(&Reason::FUTURE_EVENT_TIME).copied().filter(|count| *count > 0)
    };
    let (input, count) = look.head.inputs.iter().find_map(|input| Some((input, refused(input)?)))?;
    Some(Diagnosis {
        cause: Cause::FutureRefused,
        sentence: format!(
            "The job keeps up; {count} records of {} lay in the future and are dead letters.",
            input.name
        ),
        evidence: vec!["had they been taken, all records after them would be late".into()],
        next:
            "See them: headway dead ls --reason future-event-time. --max-ahead says how far ahead one may be."
                .into(),
    })
}
