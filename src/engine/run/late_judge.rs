//! Stops a job whose records come too late, before the commit that would make most of them late for good.
//!
//! Each input is judged by itself, at a commit, once 1,000 records were read since it was last judged. What has not been
//! judged yet is kept in memory: a restart begins anew.

use crate::engine::commit::error::CheckpointError;
use crate::engine::format::manifest::Input;
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
    /// For each input, in the pipeline's order.
    unjudged: Vec<Unjudged>,
}

impl LateJudge {
    /// A judge of a job with `inputs` inputs.
    pub fn new(late_max: Option<f64>, inputs: usize) -> LateJudge {
        LateJudge { late_max, unjudged: vec![Unjudged::default(); inputs] }
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
                return Err(CheckpointError::TooManyLate { epoch, input, late, records, enough_ms });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::first;
    use headway_operators::ack::{InputIx, PartitionAck};
    use headway_operators::record::{Offset, Partition};
    use headway_operators::time::EventTime;

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
        let (inputs, mut judge) = (first(1).inputs, LateJudge::new(late_max, 1));
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
    fn refusal_names_the_lateness_that_would_have_been_enough() {
        let error = LateJudge::new(Some(0.5), 1).judge(Epoch(1), &acks(1_000, 900), &first(1).inputs);
        let error = error.expect_err("most are late");
        assert_eq!((error.code(), error.exit_code()), ("too-many-late", 1));
        assert!(error.hint().is_some_and(|hint| hint.contains("--lateness 1d")), "{error:?}");
    }
}
