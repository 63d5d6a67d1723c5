//! What to change, by what was seen: the flag that would have kept records from being late or dead.

use crate::cli::terminal::table::{counted, grouped, percent};
use crate::cli::units::{Millis, When, time};
use crate::engine::run::late_judge::WARN_PERCENT;
use crate::engine::run::outcome::{InputOutcome, Outcome, reasons};
use headway_operators::error::Reason;
use headway_operators::record::Refused;
use headway_operators::setting::Settings;

/// Something that a person should know of the outcome, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What was seen.
    pub(crate) seen: String,
    /// What to do.
    pub(crate) hint: String,
}

/// What to say of the `outcome` of a job with `settings`, whose inputs waited for `lateness_ms` each.
pub(crate) fn advice(outcome: &Outcome, lateness_ms: &[i64], settings: &Settings) -> Vec<Advice> {
    let inputs = outcome.inputs.iter().zip(lateness_ms);
    inputs
        .flat_map(|(input, lateness_ms)| [late(input, *lateness_ms, settings), dead(input, settings)])
        .flatten()
        .collect()
}

fn late(input: &InputOutcome, lateness_ms: i64, settings: &Settings) -> Option<Advice> {
    let fates = &input.fates;
    let judged = fates.consumed - fates.filtered;
    if fates.late == 0 || fates.late * 100 < WARN_PERCENT * judged {
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
    let enough = input.late_by.enough_ms().filter(|enough| *enough > lateness_ms);
    let flag = match enough {
        _ if !settings.has("lateness") => "A greater lateness would wait longer for them".to_string(),
        Some(enough) => format!("--lateness {} would have waited for nine of ten", Millis(enough)),
        None => "A greater --lateness waits longer for them".to_string(),
    };
    let hint = format!("{flag}. The lateness of a lake never changes, so fill a new --lake.");
    Some(Advice { seen, hint })
}

fn dead(input: &InputOutcome, settings: &Settings) -> Option<Advice> {
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
    Some(Advice { seen, hint: for_dead(top, input.samples.get(top), zone(settings)) })
}

/// The zone in which the job reads times, as a person may check it.
fn zone(settings: &Settings) -> &'static str {
    if settings.has("zone") { "--zone" } else { "the zone of their times" }
}

/// What to check for a reason: by its example, where that says it. Times are read in `zone`.
fn for_dead(reason: &Reason, sample: Option<&Refused>, zone: &str) -> String {
    let seen = match reason.name() {
        "future-event-time" => sample.and_then(|sample| for_future(sample, zone)),
        "bad-timestamp" => sample.and_then(for_timestamp),
        "wrong-field-count" => sample.and_then(for_fields),
        "too-many-records" => sample.and_then(for_line_ends),
        _ => None,
    };
    seen.unwrap_or_else(|| for_reason(reason.name(), zone))
}

/// The first instant, in milliseconds, that no count of seconds of this century looks like: 1973-03-03.
const MILLIS_MIN: i64 = 100_000_000_000;

/// What to do about a record beyond its limit.
fn for_future(sample: &Refused, zone: &str) -> Option<String> {
    Some(match sample.timestamp_ms {
        Some(ms @ 1..MILLIS_MIN) => format!(
            "The messages' own timestamps look like seconds, not milliseconds ({ms} is {}). Let their producer write \
             milliseconds, or raise --max-ahead.",
            When(ms)
        ),
        Some(ms) => format!(
            "Its message was written at {}. If its times are those of another zone, check {zone}; to allow \
             records further ahead of their message, raise --max-ahead.",
            When(ms)
        ),
        None => {
            let limit =
                sample.limit.map_or(String::new(), |limit| format!(" The limit was {}.", time(limit)));
            format!("Its message has no timestamp.{limit} Set another limit with --not-after TIME, or none.")
        }
    })
}

/// What to do about a time that is a bare number.
fn for_timestamp(sample: &Refused) -> Option<String> {
    let payload = String::from_utf8_lossy(sample.payload.as_deref()?).into_owned();
    let last = payload.trim().trim_end_matches('"').rsplit(',').next()?.trim().trim_matches('"').to_string();
    let unit = match last.len() {
        9..=10 => "seconds",
        12..=13 => "milliseconds",
        _ => return None,
    };
    last.bytes().all(|byte| byte.is_ascii_digit()).then(|| {
        format!("{last} looks like {unit} since 1970: write times as 2024-01-30 12:32:04 or in ISO 8601.")
    })
}

/// What to do about fields that something else than a comma separates.
fn for_fields(sample: &Refused) -> Option<String> {
    let payload = sample.payload.as_deref()?;
    let count = |mark: u8| payload.iter().filter(|byte| **byte == mark).count();
    let marks =
        [(b';', "\";\"", "tr ';' ','"), (b'\t', "tabs", "tr '\\t' ','"), (b'|', "\"|\"", "tr '|' ','")];
    let (_, name, change) =
        marks.into_iter().find(|(mark, ..)| count(*mark) >= 5 && count(*mark) > count(b','))?;
    Some(format!("Its fields are separated by {name}. Where no field has a comma: {change} < FILE > NEW."))
}

/// What to do about lines that end in a carriage return alone.
fn for_line_ends(sample: &Refused) -> Option<String> {
    let payload = sample.payload.as_deref()?;
    let is_old = payload.contains(&b'\r') && !payload.contains(&b'\n');
    is_old.then(|| "Its lines end in a carriage return alone: tr '\\r' '\\n' < FILE > NEW.".to_string())
}

/// What to check for a reason, where the records themselves do not say it.
fn for_reason(reason: &str, zone: &str) -> String {
    match reason {
        "bad-timestamp" => format!(
            "Check {zone}, and that times are written as 2024-01-30 12:32:04 or in ISO 8601, not as a count of seconds."
        ),
        "future-event-time" => format!(
            "Check {zone}. To allow records further ahead of their message, raise --max-ahead; for messages without a \
             timestamp use --not-after TIME or none."
        ),
        "not-utf8" => {
            "Write text as UTF-8; from Latin-1, for example: iconv -f LATIN1 -t UTF-8 FILE > NEW.".to_string()
        }
        "null-value" => {
            "Messages without a value are tombstones: check that --topic is the one with the records."
                .to_string()
        }
        _ => "Check --topic or the path after files:, and that the pipeline is the one for this input."
            .to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::record::{Offset, Partition, Payload, Raw};

    fn sample(payload: &str, timestamp_ms: Option<i64>) -> Refused {
        let raw = Raw::of(Partition(0), Offset(0), Payload::Bytes(payload.as_bytes()));
        Refused::of("t", &Raw { timestamp_ms, ..raw })
    }

    #[test]
    fn hint_names_the_flag_for_what_was_seen() {
        let cases = [
            ("future-event-time", "", Some(1_706_609_524), "look like seconds"),
            ("future-event-time", "", Some(1_706_609_524_000), "2024-01-30T10:12:04Z"),
            ("future-event-time", "", Some(1_706_609_524_000), "--max-ahead"),
            ("future-event-time", "", None, "--not-after"),
            ("bad-timestamp", "A,1,2,x,1706609524", None, "seconds since 1970"),
            ("bad-timestamp", "\"A,1,2,x,1706609524000\"", None, "milliseconds since 1970"),
            ("bad-timestamp", "A,1,2,x,30 Jan 2024", None, "--zone"),
            ("null-value", "", None, "--topic"),
            ("not-utf8", "", None, "iconv -f LATIN1"),
            ("wrong-field-count", "A;B;C;D;E;1,5;2", None, "separated by \";\""),
            ("wrong-field-count", "A\tB\tC\tD\tE\tF", None, "separated by tabs"),
            ("wrong-field-count", "A|B|C|D|E|F", None, "separated by \"|\""),
            ("wrong-field-count", "A,B;C", None, "--topic"),
            ("too-many-records", "A,1\rA,2", None, "carriage return alone"),
            ("too-many-records", "A,1\r\nA,2", None, "--topic"),
            ("of-a-pipeline", "", None, "--topic"),
        ];
        for (reason, payload, timestamp_ms, words) in cases {
            let hint = for_dead(&Reason::of(reason), Some(&sample(payload, timestamp_ms)), "--zone");
            assert!(hint.contains(words), "{reason} {payload}: {hint}");
        }
    }
}
