//! What became of the records that one run has read: rows, fates, and one example for each reason.

use crate::engine::format::manifest::{Fates, Input, Manifest};
use crate::engine::run::closed::Closed;
use headway_operators::ack::Ack;
use headway_operators::error::Reason;
use headway_operators::late_by::LateBy;
use headway_operators::record::Refused;
use headway_operators::time::EventTime;
use std::collections::BTreeMap;

/// Of how many reasons an example is kept; a pipeline has a dozen.
const SAMPLES_MAX: usize = 64;

/// How much of an example's payload is kept, in bytes.
const SAMPLE_BYTES_MAX: usize = 1024;

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Epochs committed.
    pub commits: u64,
    /// Rows committed. Dead letters and late records are none.
    pub rows: u64,
    /// What became of the records of each input, in the pipeline's order.
    pub inputs: Vec<InputOutcome>,
}

/// What became of the records of one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputOutcome {
    /// Its name in the pipeline.
    pub name: String,
    /// The fates of the records that this run has read.
    pub fates: Fates,
    /// The time up to which an earlier run closed all windows, if it did and there was more to read.
    pub closed_until: Option<EventTime>,
    /// How much lateness would have kept the late records.
    pub late_by: LateBy,
    /// The first dead letter of each reason.
    pub samples: BTreeMap<Reason, Refused>,
}

impl Outcome {
    /// The outcome of a run that has read nothing of `inputs` yet, and finds the windows of some `closed`.
    pub fn new(inputs: &[Input], closed: &[Closed]) -> Outcome {
        let input = |input: &Input| InputOutcome {
            name: input.name.clone(),
            closed_until: closed.iter().find(|closed| closed.input == input.name).map(|closed| closed.until),
            ..InputOutcome::default()
        };
        Outcome { commits: 0, rows: 0, inputs: inputs.iter().map(input).collect() }
    }

    /// Adds what `manifest`, which was planned from `acks`, has committed.
    pub fn add(&mut self, manifest: &Manifest, acks: &[Ack]) {
        self.commits += 1;
        self.rows += manifest.rows();
        for (outcome, input) in self.inputs.iter_mut().zip(&manifest.inputs) {
            outcome.fates.add(&input.fates());
        }
        for ack in acks {
            let Ack::Source { input, partitions, .. } = ack else { continue };
            let Some(outcome) = self.inputs.get_mut(input.index()) else { continue };
            for part in partitions {
                outcome.late_by.merge(&part.late_by);
                part.sample.iter().for_each(|sample| outcome.keep(sample));
            }
        }
    }

    /// The fates of the records of all inputs.
    pub fn fates(&self) -> Fates {
        let mut sum = Fates::default();
        self.inputs.iter().for_each(|input| sum.add(&input.fates));
        sum
    }

    /// True if this run has accepted nothing of all that it read, although there were records that were not left out on
    /// purpose and were not known already.
    pub fn is_fruitless(&self) -> bool {
        is_fruitless(&self.fates())
    }

    /// The inputs of which that is true by themselves.
    pub fn fruitless(&self) -> impl Iterator<Item = &InputOutcome> {
        self.inputs.iter().filter(|input| is_fruitless(&input.fates))
    }
}

fn is_fruitless(fates: &Fates) -> bool {
    fates.accepted == 0 && fates.duplicate == 0 && fates.late + fates.dead_total() > 0
}

impl InputOutcome {
    fn keep(&mut self, sample: &Refused) {
        let Some(reason) = &sample.reason else { return };
        if self.samples.len() < SAMPLES_MAX {
            self.samples.entry(reason.clone()).or_insert_with(|| {
                let mut sample = sample.clone();
                sample.payload.iter_mut().for_each(|payload| payload.truncate(SAMPLE_BYTES_MAX));
                sample
            });
        }
    }
}

/// The reasons of dead letters, the most frequent first.
pub fn reasons(dead: &BTreeMap<Reason, u64>) -> Vec<(&Reason, u64)> {
    let mut counts: Vec<(&Reason, u64)> = dead.iter().map(|(reason, count)| (reason, *count)).collect();
    counts.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    counts
}

/// A refused record in a few words: where it is, and the beginning of its payload.
pub fn describe(sample: &Refused) -> String {
    let payload = sample.payload.as_deref().map(String::from_utf8_lossy);
    let text = payload.map_or("no value".to_string(), |payload| excerpt(&payload));
    format!("offset {} of partition {}: {text}", sample.offset, sample.partition)
}

/// The beginning of `text`, in quotes.
pub fn excerpt(text: &str) -> String {
    const LETTERS: usize = 100;
    let head: String = text.chars().take(LETTERS).collect();
    let rest = if head.len() < text.len() { "…" } else { "" };
    format!("{head:?}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::first;
    use headway_operators::record::{Offset, Partition};
    use headway_operators::record::{Payload, Raw};

    fn fates(consumed: u64, accepted: u64, late: u64) -> Fates {
        Fates { consumed, accepted, late, ..Fates::default() }
    }

    #[test]
    fn outcome_is_the_sum_of_the_commits_of_the_run() {
        let mut manifest = first(2);
        let mut outcome = Outcome::new(&manifest.inputs, &[]);
        for part in &mut manifest.inputs[0].partitions {
            part.fates = fates(3, 2, 1);
            part.total = fates(100, 90, 10);
        }
        outcome.add(&manifest, &[]);
        outcome.add(&manifest, &[]);
        assert_eq!((outcome.commits, outcome.fates()), (2, fates(12, 8, 4)));
        assert!(!outcome.is_fruitless());
    }

    #[test]
    fn run_is_fruitless_if_it_refused_and_kept_nothing() {
        let cases = [
            (fates(0, 0, 0), false),
            (fates(5, 0, 5), true),
            (fates(5, 1, 4), false),
            (Fates { consumed: 5, filtered: 5, ..Fates::default() }, false),
            (Fates { consumed: 5, duplicate: 5, ..Fates::default() }, false),
            (Fates { consumed: 6, filtered: 5, late: 1, ..Fates::default() }, true),
        ];
        for (fates, expected) in cases {
            let input = InputOutcome { fates: fates.clone(), ..InputOutcome::default() };
            let outcome = Outcome { inputs: vec![input], ..Outcome::default() };
            assert_eq!(outcome.is_fruitless(), expected, "{fates:?}");
        }
    }

    #[test]
    fn run_is_judged_over_all_inputs_and_each_fruitless_one_is_named() {
        let input = |name: &str, fates| InputOutcome { name: name.into(), fates, ..InputOutcome::default() };
        let judged = |inputs: Vec<InputOutcome>| {
            let outcome = Outcome { inputs, ..Outcome::default() };
            let named: Vec<String> = outcome.fruitless().map(|input| input.name.clone()).collect();
            (outcome.is_fruitless(), named.join(" "))
        };
        let (good, late, none) = (fates(9, 9, 0), fates(1, 0, 1), fates(0, 0, 0));
        assert_eq!(judged(vec![input("a", good.clone()), input("b", late.clone())]), (false, "b".into()));
        assert_eq!(judged(vec![input("a", none.clone()), input("b", late.clone())]), (true, "b".into()));
        assert_eq!(judged(vec![input("a", late.clone()), input("b", late)]), (true, "a b".into()));
        assert_eq!(judged(vec![input("a", good), input("b", none)]), (false, String::new()));
    }

    #[test]
    fn sample_shows_the_beginning_of_its_payload() {
        let long = "x".repeat(101);
        let cases = [(None, "no value"), (Some("a\u{1b}b"), "\"a\\u{1b}b\""), (Some(long.as_str()), "x\"…")];
        for (value, end) in cases {
            let raw = Raw::of(Partition(3), Offset(7), Payload::of(value.map(str::as_bytes)));
            let text = describe(&Refused::of("t", &raw));
            assert!(text.starts_with("offset 7 of partition 3: ") && text.ends_with(end), "{text}");
        }
    }
}
