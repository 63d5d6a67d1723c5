//! What to change, by what was seen: the flag that would have kept records from being late or dead.

use super::terminal::table::{counted, grouped, percent};
use super::units::time;
use crate::engine::run::outcome::{InputOutcome, Outcome, reasons};

/// The share of late records from which on a person should know, in percent.
const LATE_PERCENT: u64 = 20;

/// Something that a person should know of the outcome, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What was seen.
    pub(crate) seen: String,
    /// What to do.
    pub(crate) hint: String,
}

/// What to say of `outcome`, the most important first.
pub(crate) fn advice(outcome: &Outcome) -> Vec<Advice> {
    outcome.inputs.iter().flat_map(|input| [late(input), dead(input)]).flatten().collect()
}

fn late(input: &InputOutcome) -> Option<Advice> {
    let fates = &input.fates;
    let judged = fates.consumed - fates.filtered;
    if fates.late == 0 || fates.late * 100 < LATE_PERCENT * judged {
        return None;
    }
    let seen = format!(
        "{} of {} of input \"{}\" ({}) came after their windows had closed",
        grouped(fates.late),
        counted(judged, "record"),
        input.name,
        percent(fates.late, judged)
    );
    if let Some(until) = input.closed_until {
        let hint = format!(
            "An earlier run closed all windows up to {}. Fill a new --lake from all files, and end runs with \
             --until caught-up, so that windows stay open for what comes later.",
            time(until)
        );
        return Some(Advice { seen, hint });
    }
    let hint =
        "To wait longer for records that come late, use a greater --lateness. The lateness of a lake never \
                changes, so fill a new --lake."
            .to_string();
    Some(Advice { seen, hint })
}

fn dead(input: &InputOutcome) -> Option<Advice> {
    let fates = &input.fates;
    let (dead, judged) = (fates.dead_total(), fates.consumed - fates.filtered);
    let (top, _) = reasons(&fates.dead).into_iter().next()?;
    if dead * 2 < judged {
        return None;
    }
    let seen = format!(
        "{} of {} of input \"{}\" ({}) could not be decoded, most of them for \"{top}\"",
        grouped(dead),
        counted(judged, "record"),
        input.name,
        percent(dead, judged)
    );
    Some(Advice { seen, hint: for_reason(top.name()).to_string() })
}

/// What to check for a reason, where the records themselves do not say it.
fn for_reason(reason: &str) -> &'static str {
    match reason {
        "bad-timestamp" => {
            "Check --zone, and that times are written as 2024-01-30 12:32:04 or in ISO 8601, not as a count of seconds."
        }
        "future-event-time" => {
            "Check --zone. To allow records further ahead of their message, raise --max-ahead; for messages without a \
             timestamp use --not-after TIME or none."
        }
        "null-value" => {
            "Messages without a value are tombstones: check that --topic is the one with the records."
        }
        _ => "Check --topic or the path after files:, and that the pipeline is the one for this input.",
    }
}
