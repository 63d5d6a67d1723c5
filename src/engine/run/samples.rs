//! What the board remembers: samples of the last seconds, and how partitions grew.

use crate::connect::{End, FirstRead};
use crate::engine::format::board::{OperatorTime, OperatorUse, Recent, Steps, WorkerTime};
use headway_operators::record::Offset;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

/// How many ends of a partition are remembered: one a second, while nothing is committed, for an hour.
const ENDS_MAX: usize = 3_600;

/// What there was in all at one moment.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) records: u64,
    pub(super) steps: Steps,
    pub(super) workers: Vec<WorkerTime>,
    pub(super) operators: Vec<OperatorUse>,
    pub(super) stages: Vec<Duration>,
    pub(super) store: Duration,
}

/// How a partition grew: each end that was seen, and when first. The oldest may lie below what is committed.
#[derive(Default)]
pub(super) struct Growth {
    pub(super) seen: VecDeque<(Offset, i64)>,
    pub(super) stalled: bool,
    /// What another process has read first and is not committed, where that reads it.
    pub(super) first_reads: Vec<FirstRead>,
}

impl Sample {
    /// What happened since `first`.
    pub(super) fn since(&self, first: &Sample) -> Recent {
        let worked = |(now, then): (&WorkerTime, &WorkerTime)| WorkerTime {
            busy: now.busy.saturating_sub(then.busy),
            waiting: now.waiting.saturating_sub(then.waiting),
            step_for: now.step_for,
        };
        let before = |name: &str| first.operators.iter().find(|then| then.name == name).map(|then| then.busy);
        let ran = |now: &OperatorUse| OperatorTime {
            name: now.name.clone(),
            busy: now.busy.saturating_sub(before(&now.name).unwrap_or_default()),
        };
        let mut operators: Vec<OperatorTime> = self.operators.iter().map(ran).collect();
        operators.sort_by_key(|operator| Reverse(operator.busy));
        Recent {
            operators,
            over: self.at.saturating_sub(first.at),
            records: self.records.saturating_sub(first.records),
            steps: self.steps.since(&first.steps),
            workers: self.workers.iter().zip(&first.workers).map(worked).collect(),
            stages: (self.stages.iter().enumerate())
                .map(|(at, busy)| busy.saturating_sub(first.stages.get(at).copied().unwrap_or_default()))
                .collect(),
            store: self.store.saturating_sub(first.store),
        }
    }
}

impl Growth {
    pub(super) fn see(&mut self, end: &End, now_ms: i64) {
        self.stalled = end.stalled;
        self.first_reads.clone_from(&end.first_reads);
        if self.seen.back().is_none_or(|(last, _)| *last < end.offset) {
            if self.seen.len() == ENDS_MAX {
                // Every other one is forgotten. The age reported of the oldest record is then too small, by a part of it.
                let mut keep = false;
                self.seen.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
            self.seen.push_back((end.offset, now_ms));
        }
    }

    /// The first end that lies beyond `next`, which is committed. Those before it are forgotten.
    pub(super) fn beyond(&mut self, next: Offset) -> Option<(Offset, i64)> {
        while self.seen.len() > 1 && self.seen.front().is_some_and(|(end, _)| *end <= next) {
            self.seen.pop_front();
        }
        self.seen.front().copied().filter(|(end, _)| *end > next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::record::Partition;

    #[test]
    fn memory_of_ends_is_bounded() {
        let mut growth = Growth::default();
        for at in 0..100_000 {
            growth.see(&End::at(Partition(0), Offset(at)), at * 1_000);
        }
        assert!(growth.seen.len() <= ENDS_MAX, "{}", growth.seen.len());
        let (_, since_ms) = growth.beyond(Offset(50_000)).unwrap();
        let age_ms = 100_000_000 - since_ms;
        assert!((12_500_000..=50_000_000).contains(&age_ms), "{age_ms}");
    }
}
