//! Stops a job whose records come too late, before the commit that would make most of them late for good.
//!
//! Each input is judged by itself, at a commit, once 1,000 records were read since it was last judged. What has not been
//! judged yet is kept in memory: a restart begins anew.

use crate::engine::commit::error::CheckpointError;
use crate::engine::format::manifest::Input;
use crate::engine::run::outcome::{InputOutcome, Outcome};
use headway_operators::ack::Ack;
use headway_operators::late_by::LateBy;
use headway_operators::time::Epoch;

/// How many records must have been read before the share of late ones is judged.
const RECORDS_MIN: u64 = 1_000;

/// Records that were not judged yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unjudged {
    records: u64,
    late: u64,
    late_by: LateBy,
}

/// The judge of one run.
#[derive(Clone, Debug)]
pub struct LateJudge {
    /// The share of late records, 0 to 1, above which the job stops; `None` never stops it.
    late_max: Option<f64>,
    /// The share of dead letters at the end of a bounded run; during the run the ledger judges them.
    dead_max: f64,
    /// For each input, in the pipeline's order.
    unjudged: Vec<Unjudged>,
}

impl LateJudge {
    /// A judge of a job with `inputs` inputs.
    pub fn new(late_max: Option<f64>, dead_max: f64, inputs: usize) -> LateJudge {
        LateJudge { late_max, dead_max, unjudged: vec![Unjudged::default(); inputs] }
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

    /// Judges what `acks` add in `epoch`, before it is committed.
    ///
    /// # Errors
    /// [`CheckpointError::TooManyLate`] if more records are late than may be: the epoch must not be committed.
    pub fn judge(&mut self, epoch: Epoch, acks: &[Ack], inputs: &[Input]) -> Result<(), CheckpointError> {
        let Some(late_max) = self.late_max else { return Ok(()) };
        for ack in acks {
            let Ack::Source { input, partitions, .. } = ack else { continue };
            let Some(unjudged) = self.unjudged.get_mut(input.index()) else { continue };
            for part in partitions {
                unjudged.records += part.consumed - part.filtered;
                unjudged.late += part.late;
                unjudged.late_by.merge(&part.late_by);
            }
        }
        for (unjudged, input) in self.unjudged.iter_mut().zip(inputs) {
            if unjudged.records < RECORDS_MIN {
                continue;
            }
            let Unjudged { records, late, late_by } = std::mem::take(unjudged);
            // Counts between two judgements are far below 2^53: the quotient is good enough for a limit.
            if late as f64 > late_max * records as f64 {
                let (input, enough_ms) = (input.name.clone(), late_by.enough_ms());
                return Err(CheckpointError::TooManyLate {
                    epoch,
                    input,
                    late,
                    records,
                    enough_ms,
                    whole_run: false,
                });
            }
        }
        Ok(())
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
        let (inputs, mut judge) = (first(1).inputs, LateJudge::new(late_max, 0.5, 1));
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
    fn whole_run_is_judged_at_its_end_if_it_read_a_thousand_records() {
        let judged = |consumed: u64, late: u64, dead: u64, late_max| {
            let dead = BTreeMap::from([(Reason::of("empty"), dead)]);
            let fates = Fates { consumed, late, dead, ..Fates::default() };
            let mut outcome = Outcome::new(&first(1).inputs, &[]);
            outcome.inputs[0].fates = fates;
            LateJudge::new(late_max, 0.5, 1).judge_run(&outcome, Epoch(9)).map_err(|error| error.code())
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
        let error = LateJudge::new(Some(0.5), 0.5, 1).judge(Epoch(1), &acks(1_000, 900), &first(1).inputs);
        let error = error.expect_err("most are late");
        assert_eq!((error.code(), error.exit_code()), ("too-many-late", 1));
        assert!(error.hint().is_some_and(|hint| hint.contains("--lateness 1d")), "{error:?}");
    }
}
