//! What became of the records: the last line of a run, and the same in JSON.

use super::advice::Advice;
use crate::cli::terminal::failure::{Code, Failure};
use crate::cli::terminal::table::{counted, grouped, percent};
use crate::cli::terminal::text::visible;
use crate::engine::Summary;
use crate::engine::format::manifest::Fates;
use crate::engine::run::outcome::{InputOutcome, Outcome, describe, reasons};
use headway_operators::error::Reason;
use headway_operators::record::Refused;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many reasons a line names.
const REASONS_MAX: usize = 3;

/// The last line of a run: rows, then each fate by itself, then why records are dead, with an example, then what holds
/// windows open.
pub(crate) fn line(how: &str, summary: &Summary, held: &[String]) -> String {
    let Summary { head, outcome, .. } = summary;
    let all = outcome.fates();
    let (rows, commits) = (counted(outcome.rows, "row"), counted(outcome.commits, "commit"));
    let example = example(outcome).map_or(String::new(), |example| format!(", such as {example}"));
    let dead = top(&all.dead).map_or(String::new(), |top| format!("; dead: {}{example}", visible(&top)));
    let held: String = held.iter().map(|held| format!("; windows {held}")).collect();
    format!(
        "{how}: {rows} from {}: {}; {commits}, the last is manifest {} of epoch {}{dead}{held}",
        counted(all.consumed, "record"),
        fates(&all),
        head.seq,
        head.epoch
    )
}

/// Each fate by itself, and the share of late records where there are any.
pub(crate) fn fates(fates: &Fates) -> String {
    let share = match (fates.late, fates.consumed) {
        (0, _) | (_, 0) => String::new(),
        (late, all) => format!(" ({})", percent(late, all)),
    };
    format!(
        "{} accepted, {} duplicate, {} late{share}, {} dead, {} filtered",
        grouped(fates.accepted),
        grouped(fates.duplicate),
        grouped(fates.late),
        grouped(fates.dead_total()),
        grouped(fates.filtered)
    )
}

/// The most frequent reasons of dead letters; `None` if there are none.
pub(crate) fn top(dead: &BTreeMap<Reason, u64>) -> Option<String> {
    let reasons = reasons(dead);
    let mut top: Vec<String> = reasons
        .iter()
        .take(REASONS_MAX)
        .map(|(reason, count)| format!("{reason} {}", grouped(*count)))
        .collect();
    let rest: u64 = reasons.iter().skip(REASONS_MAX).map(|(_, count)| count).sum();
    top.extend((rest > 0).then(|| format!("others {}", grouped(rest))));
    (!top.is_empty()).then(|| top.join(", "))
}

/// An example of the most frequent reason that has one; it names its reason if that is not the first.
fn example(outcome: &Outcome) -> Option<String> {
    let dead = outcome.fates().dead;
    let sample_of = |reason: &Reason| outcome.inputs.iter().find_map(|input| input.samples.get(reason));
    reasons(&dead).into_iter().enumerate().find_map(|(rank, (reason, _))| {
        let example = describe(sample_of(reason)?);
        Some(if rank == 0 { example } else { format!("{reason} at {example}") })
    })
}

/// The fields of a run's JSON summary that tell what became of the records.
pub(crate) fn answer(outcome: &Outcome) -> Value {
    let all = outcome.fates();
    let of_input = |input: &InputOutcome| {
        json!({
            "name": input.name,
            "fates": input.fates,
            "samples": input.samples.values().map(sample).collect::<Vec<_>>(),
        })
    };
    let mut answer = json!(all.counts());
    answer["dead_reasons"] = json!(all.dead);
    answer["inputs"] = outcome.inputs.iter().map(of_input).collect();
    answer
}

fn sample(sample: &Refused) -> Value {
    json!({
        "reason": sample.reason,
        "partition": sample.partition,
        "offset": sample.offset,
        "timestamp_ms": sample.timestamp_ms,
        "payload": sample.payload.as_deref().map(String::from_utf8_lossy),
    })
}

/// Refuses the outcome of a bounded run that has accepted nothing of what it read.
///
/// # Errors
/// `nothing-accepted`, exit 1. What the run did is committed.
pub(crate) fn accepted_something(outcome: &Outcome, advice: &[Advice]) -> Result<(), Failure> {
    if !outcome.is_fruitless() {
        return Ok(());
    }
    let (all, names) = (outcome.fates(), outcome.fruitless().map(|input| format!("\"{}\"", input.name)));
    let (names, records): (Vec<String>, _) =
        (names.collect(), counted(all.consumed - all.filtered, "record"));
    let inputs = if names.len() == 1 { "input" } else { "inputs" };
    let what = format!("none of the {records} of {inputs} {} was accepted", names.join(", "));
    let reasons = top(&all.dead).map_or(String::new(), |top| format!(" Dead: {top}."));
    let example = example(outcome).map_or(String::new(), |example| format!(" One is at {example}."));
    let failure = Failure::new(Code::NothingAccepted, what).detail(format!(
        "{}.{reasons}{example} They are committed as refused, and kept under _dead/ and _late/.",
        fates(&all)
    ));
    let mut hints: Vec<&str> = Vec::new();
    for Advice { hint, .. } in advice {
        // Two inputs may need the same.
        if !hints.contains(&hint.as_str()) {
            hints.push(hint);
        }
    }
    Err(if hints.is_empty() { failure } else { failure.hint(hints.join(" ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_frequent_reasons_come_first_and_the_rest_is_summed() {
        let dead = |counts: &[(&str, u64)]| -> BTreeMap<Reason, u64> {
            let reason = |name: &str| serde_json::from_value(json!(name)).expect("a reason");
            counts.iter().map(|(name, count)| (reason(name), *count)).collect()
        };
        assert_eq!(top(&dead(&[])), None);
        assert_eq!(top(&dead(&[("empty", 2), ("bad-csv", 1000)])).as_deref(), Some("bad-csv 1,000, empty 2"));
        let many = dead(&[("empty", 2), ("bad-csv", 5), ("too-long", 3), ("not-utf8", 1), ("bad-header", 1)]);
        assert_eq!(top(&many).as_deref(), Some("bad-csv 5, too-long 3, empty 2, others 2"));
    }
}
