//! Stops a job whose records come too late, before the commit that would make most of them late for good. Where no share is
//! set, it finds what the log must warn of.
//!
//! Each input is judged by itself, at a commit, once 1,000 records were read since it was last judged. What has not been
//! judged yet is in the manifest, so that restarts do not hide late records; how late they are is known of this run alone.

use crate::engine::commit::error::CheckpointError;
use crate::engine::format::manifest::{Input, Unjudged};
use crate::engine::run::outcome::{InputOutcome, Outcome};
use headway_operators::ack::Ack;
use headway_operators::late_by::LateBy;
use headway_operators::time::Epoch;

/// How many records a bounded run must have read before it is judged as a whole.
const RECORDS_MIN: u64 = Unjudged::UNFILTERED_MIN;

/// The share of late records, in percent, from which on a job without a limit warns.
pub const WARN_PERCENT: u64 = 20;

/// An input of which so many records are late that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManyLate {
    /// The input.
    pub input: String,
    /// Late records since the input was last judged.
    pub late: u64,
    /// All records since then, without those that were left out on purpose.
    pub records: u64,
    /// A lateness that would have kept nine of ten of them.
    pub enough_ms: Option<i64>,
}

/// The judge of one run.
#[derive(Clone, Debug)]
pub struct LateJudge {
    /// The share of late records, 0 to 1, above which the job stops; `None` never stops it, and warns.
    late_max: Option<f64>,
    /// The share of dead letters at the end of a bounded run; during the run the ledger judges them.
    dead_max: f64,
    /// For each input, in the pipeline's order.
    inputs: Vec<Judged>,
}

/// What is known of an input since it was last judged.
#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    unjudged: Unjudged,
    /// How late the records of this run were.
    late_by: LateBy,
}

impl LateJudge {
    /// A judge of a job that goes on with `inputs`, as the manifest has them.
    pub fn new(late_max: Option<f64>, dead_max: f64, inputs: &[Input]) -> LateJudge {
        let judged = |input: &Input| Judged { unjudged: input.unjudged, late_by: LateBy::default() };
        LateJudge { late_max, dead_max, inputs: inputs.iter().map(judged).collect() }
    }

    /// Judges all that a bounded run has read, when it is committed: its last records may be too few to be judged by
    /// themselves.
    ///
    /// # Errors
    /// [`CheckpointError::TooManyLate`] or [`CheckpointError::TooManyDead`], for an input of which at least 1,000 records
    /// were read.
    pub fn judge_run(&self, outcome: &Outcome, epoch: Epoch) -> Result<(), CheckpointError> {
        let whole_run = true;
        for InputOutcome { name, fates, late_by, samples, .. } in &outcome.inputs {
            let (consumed, input) = (fates.consumed, name.clone());
            if consumed < RECORDS_MIN {
                continue;
            }
            let (dead, late, records) = (fates.dead_total(), fates.late, consumed - fates.filtered);
            if dead as f64 > self.dead_max * consumed as f64 {
                let reason = fates.dead.iter().max_by_key(|(_, count)| **count).map(|(reason, _)| reason);
                let reason = reason.expect("there are dead letters, so there is a reason").clone();
                let sample = samples.get(&reason).map(|sample| Box::new(sample.clone()));
                return Err(CheckpointError::TooManyDead {
                    epoch,
                    input,
                    dead,
                    consumed,
                    reason,
                    sample,
                    whole_run,
                });
            }
            if self.late_max.is_some_and(|late_max| late as f64 > late_max * records as f64) {
                let enough_ms = late_by.enough_ms();
                return Err(CheckpointError::TooManyLate {
                    epoch,
                    input,
                    late,
                    records,
                    enough_ms,
                    whole_run,
                });
            }
        }
        Ok(())
    }

    /// Judges what `acks` add in `epoch`, before it is committed. Without a limit, the inputs that have too many late records.
    ///
    /// # Errors
    /// [`CheckpointError::TooManyLate`] if more records are late than may be: the epoch must not be committed.
    pub fn judge(
        &mut self,
        epoch: Epoch,
        acks: &[Ack],
        inputs: &[Input],
    ) -> Result<Vec<ManyLate>, CheckpointError> {
        for ack in acks {
            let Ack::Source { input, partitions, .. } = ack else { continue };
            let Some(judged) = self.inputs.get_mut(input.index()) else { continue };
            for part in partitions {
                judged.unjudged.unfiltered += part.consumed - part.filtered;
                judged.unjudged.late += part.late;
                judged.late_by.merge(&part.late_by);
            }
        }
        let mut found = Vec::new();
        for (judged, input) in self.inputs.iter_mut().zip(inputs) {
            if !judged.unjudged.judges_late() {
                continue;
            }
            let Judged { unjudged: Unjudged { unfiltered: records, late, .. }, late_by } =
                std::mem::take(judged);
            let (input, enough_ms) = (input.name.clone(), late_by.enough_ms());
            match self.late_max {
                // Counts between two judgements are far below 2^53: the quotient is good enough for a limit.
                Some(late_max) if late as f64 > late_max * records as f64 => {
                    return Err(CheckpointError::TooManyLate {
                        epoch,
                        input,
                        late,
                        records,
                        enough_ms,
                        whole_run: false,
                    });
                }
                None if late * 100 >= WARN_PERCENT * records => {
                    found.push(ManyLate { input, late, records, enough_ms });
                }
                Some(_) | None => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::Fates;
    use crate::engine::format::manifest::tests::first;
    use headway_operators::ack::{InputIx, PartitionAck};
    use headway_operators::error::Reason;
    use headway_operators::record::{Offset, Partition};
    use headway_operators::time::EventTime;
    use std::collections::BTreeMap;

    /// The acks of an epoch in which `records` were read, `late` of them a day late.
    fn acks(records: u64, late: u64) -> [Ack; 1] {
        let mut late_by = LateBy::default();
        (0..late).for_each(|_| late_by.add(86_400_000));
        let part = PartitionAck {
            partition: Partition(0),
            from: Offset(0),
            next: Offset(records.cast_signed()),
            last_read: None,
            own: EventTime::MIN,
            floor: EventTime::MIN,
            idle: false,
            joining: false,
            ended: false,
            consumed: records,
            sent: records - late,
            late,
            late_by,
            filtered: 0,
            dead: Vec::new(),
            sample: None,
            limit: None,
            quiet_since_ms: None,
            content: None,
        };
        [Ack::Source { input: InputIx(0), began_ms: 0, counts_accepted: false, partitions: vec![part] }]
    }

    /// Whether each epoch of `epochs`, as records and late ones, may be committed.
    fn judged(late_max: Option<f64>, epochs: &[(u64, u64)]) -> Vec<bool> {
        let inputs = first(1).inputs;
        let mut judge = LateJudge::new(late_max, 0.5, &inputs);
        let judge_one =
            |(records, late): &(u64, u64)| judge.judge(Epoch(1), &acks(*records, *late), &inputs).is_ok();
        epochs.iter().map(judge_one).collect()
    }

    #[test]
    fn share_is_judged_once_a_thousand_records_were_read() {
        assert_eq!(judged(Some(0.2), &[(999, 999)]), [true], "too few to judge");
        assert_eq!(judged(Some(0.2), &[(999, 999), (1, 0)]), [true, false], "counted over epochs");
        assert_eq!(judged(Some(0.2), &[(1_000, 200)]), [true], "not above the share");
        assert_eq!(judged(Some(0.2), &[(1_000, 201)]), [false]);
        assert_eq!(judged(Some(0.2), &[(1_000, 0), (999, 999), (4_000, 0)]), [true; 3], "each judged once");
        assert_eq!(judged(None, &[(5_000, 5_000)]), [true], "without a limit nothing stops it");
    }

    #[test]
    fn without_a_limit_many_late_records_are_found_while_the_job_runs() {
        let inputs = first(1).inputs;
        let found = |late_max, epochs: &[(u64, u64)]| -> Vec<(u64, u64)> {
            let mut judge = LateJudge::new(late_max, 0.5, &inputs);
            let mut judge =
                |(records, late): &(u64, u64)| judge.judge(Epoch(1), &acks(*records, *late), &inputs);
            let found = epochs.iter().flat_map(|epoch| judge(epoch).expect("it may be committed"));
            found.map(|many| (many.late, many.records)).collect()
        };
        assert_eq!(
            found(None, &[(999, 999), (1, 0), (1_000, 199), (1_000, 200)]),
            [(999, 1_000), (200, 1_000)]
        );
        assert_eq!(found(Some(0.9), &[(1_000, 800)]), [], "the limit is what somebody wants to know");
    }

    #[test]
    fn records_of_earlier_runs_that_nobody_has_judged_count() {
        let mut inputs = first(1).inputs;
        inputs[0].unjudged = Unjudged { unfiltered: 900, late: 900, ..Unjudged::default() };
        let judge = |late_max| LateJudge::new(Some(late_max), 0.5, &inputs);
        let error = judge(0.5).judge(Epoch(1), &acks(100, 0), &inputs).expect_err("most are late");
        assert!(error.to_string().starts_with("900 of 1000 records"), "{error}");
        assert!(judge(0.5).judge(Epoch(1), &acks(99, 99), &inputs).is_ok(), "too few to judge");
        assert!(judge(0.9).judge(Epoch(1), &acks(100, 0), &inputs).is_ok(), "not above the share");
    }

    #[test]
    fn whole_run_is_judged_at_its_end_if_it_read_a_thousand_records() {
        let judged = |consumed: u64, late: u64, dead: u64, late_max| {
            let dead = BTreeMap::from([(Reason::of("empty"), dead)]);
            let fates = Fates { consumed, late, dead, ..Fates::default() };
            let mut outcome = Outcome::new(&first(1).inputs, &[]);
            outcome.inputs[0].fates = fates;
            LateJudge::new(late_max, 0.5, &[]).judge_run(&outcome, Epoch(9)).map_err(|error| error.code())
        };
        assert_eq!(judged(1_000, 0, 500, None), Ok(()));
        assert_eq!(judged(1_999, 0, 1_000, None), Err("too-many-dead"));
        assert_eq!(judged(999, 0, 999, None), Ok(()), "too few to judge");
        assert_eq!(judged(1_000, 900, 0, None), Ok(()), "without a limit");
        assert_eq!(judged(1_000, 200, 0, Some(0.2)), Ok(()));
        assert_eq!(judged(1_000, 201, 0, Some(0.2)), Err("too-many-late"));
    }

    #[test]
    fn refusal_names_the_lateness_that_would_have_been_enough() {
        let error = LateJudge::new(Some(0.5), 0.5, &first(1).inputs).judge(
            Epoch(1),
            &acks(1_000, 900),
            &first(1).inputs,
        );
        let error = error.expect_err("most are late");
        assert_eq!((error.code(), error.exit_code()), ("too-many-late", 1));
        assert!(error.hint().is_some_and(|hint| hint.contains("--lateness 1d")), "{error:?}");
    }
}
