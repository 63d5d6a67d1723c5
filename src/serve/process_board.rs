//! What one process of a job says of itself, as `explain lag` looks at it.

use crate::engine::format::board::{OperatorTime, OperatorUse, Snapshot, WorkerTime};
use std::time::Duration;

/// How often a worker says how it spends its time, with room to spare: what lasts longer is one long step.
const STEP_MAX: Duration = Duration::from_secs(1);

/// How many operators are named as evidence.
const OPERATORS_SHOWN: usize = 3;

/// One process, and its board.
#[derive(Clone, Copy)]
pub(super) struct ProcessBoard<'a> {
    /// Its number.
    pub(super) process: u32,
    /// The job has others.
    pub(super) has_others: bool,
    pub(super) board: &'a Snapshot,
}

impl<'a> ProcessBoard<'a> {
    /// All processes of the job that have said something.
    pub(super) fn all(board: &'a Snapshot) -> Vec<ProcessBoard<'a>> {
        let has_others = !board.elsewhere.is_empty();
        board.all().map(|(process, board)| ProcessBoard { process, has_others, board }).collect()
    }

    /// Words that say which process it is, to follow a noun; none if it is the only one.
    pub(super) fn of(&self) -> String {
        if self.has_others { format!(" of process {}", self.process) } else { String::new() }
    }

    /// The share of the last seconds that `time` is.
    pub(super) fn share(&self, time: Duration) -> f64 {
        self.board.recent.share(time)
    }

    /// The shares that its workers were busy: on a processor, or in a step that has not ended.
    pub(super) fn busy(&self) -> Vec<f64> {
        let busy = |time: &WorkerTime| {
            let step = Some(time.step_for).filter(|time| *time > STEP_MAX).unwrap_or_default();
            self.share(time.busy + step)
        };
        self.board.recent.workers.iter().map(busy).collect()
    }

    /// The number in the job of its worker `index`: all processes have as many workers.
    pub(super) fn worker(&self, index: usize) -> usize {
        usize::try_from(self.process).unwrap_or(usize::MAX) * self.board.recent.workers.len() + index
    }

    /// The share of the time of its workers in which an operator ran.
    pub(super) fn in_operators(&self) -> f64 {
        let all: Duration = self.board.recent.operators.iter().map(|operator| operator.busy).sum();
        let workers = u32::try_from(self.board.recent.workers.len()).unwrap_or(1).max(1);
        self.share(all / workers)
    }

    /// For how long the worker that has been longest in one step of the dataflow has been in it.
    pub(super) fn in_step(&self) -> Duration {
        self.board.workers.iter().map(|time| time.step_for).max().unwrap_or_default()
    }

    /// The share of the last seconds in which the busiest of its threads wrote files before their commit.
    pub(super) fn stage(&self) -> f64 {
        self.board.recent.stages.iter().map(|busy| self.share(*busy)).fold(0.0, f64::max)
    }

    /// The operator that took the most of the last seconds, of those that are not `left_out`, and its share.
    pub(super) fn most_of_late(&self, left_out: &[&str]) -> Option<(&'a OperatorTime, f64)> {
        let mut shares = self.board.recent.operator_shares();
        shares.find(|(of, share)| *share > 0.0 && !left_out.contains(&of.name.as_str()))
    }

    /// The operator that took the most of the whole run, of those that are not `left_out`.
    pub(super) fn most_of_the_run(&self, left_out: &[&str]) -> Option<&'a OperatorUse> {
        let used = self.board.operators.iter().filter(|used| !left_out.contains(&used.name.as_str()));
        used.max_by_key(|used| used.busy).filter(|used| !used.busy.is_zero())
    }

    /// Which of its operators took the most time, as evidence.
    pub(super) fn operators(&self) -> Option<String> {
        let words = |(of, share): (&OperatorTime, f64)| format!("{} {}", of.name, percent(share));
        let ran = self.board.recent.operator_shares().filter(|(_, share)| *share > 0.0);
        let most: Vec<String> = ran.take(OPERATORS_SHOWN).map(words).collect();
        (!most.is_empty()).then(|| format!("most time in operators{}: {}", self.of(), most.join(", ")))
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
