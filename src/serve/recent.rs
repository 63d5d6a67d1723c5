//! The commits of the last minutes: when, how much, and how long they took.

use crate::engine::commit::checkpoint::Committed;
use crate::engine::format::board::Steps;
use crate::engine::format::manifest::{Fates, Manifest};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// How many commits are kept.
const COMMITS_MAX: usize = 300;

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
    /// When, in milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// Records that it made true, and those of them that are dead letters.
    pub(crate) records: u64,
    pub(crate) dead: u64,
    /// Rows in its files.
    pub(crate) rows: u64,
    pub(crate) steps: Steps,
}

/// The newest commits, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<Entry>);

impl Recent {
    pub(crate) fn note(&mut self, committed: &Committed, head: &Manifest) {
        let fates: Vec<Fates> = head.inputs.iter().map(|input| input.fates()).collect();
        if self.0.len() == COMMITS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Entry {
            seq: committed.seq.0,
            epoch: committed.epoch.0,
            at_ms: head.written_ms,
            records: fates.iter().map(|fates| fates.consumed).sum(),
            dead: fates.iter().map(Fates::dead_total).sum(),
            rows: committed.rows,
            steps: committed.steps,
        });
    }

    /// How long all but one in a hundred took at most; `None` if there were none.
    pub(crate) fn p99(&self) -> Option<Duration> {
        let mut took: Vec<Duration> = self.0.iter().map(|entry| entry.steps.total()).collect();
        took.sort_unstable();
        took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied()
    }

    /// Records, and dead letters among them.
    pub(crate) fn dead(&self) -> (u64, u64) {
        let sum = |of: fn(&Entry) -> u64| self.0.iter().map(of).sum();
        (sum(|entry| entry.records), sum(|entry| entry.dead))
    }

    /// The commits after `seq`, as JSON.
    pub(crate) fn after(&self, seq: Option<u64>) -> Vec<Value> {
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let one = |entry: &Entry| {
            let steps = entry.steps.commit().map(|(name, time)| (name.to_string(), json!(ms(time))));
            json!({
                "seq": entry.seq,
                "epoch": entry.epoch,
                "at_ms": entry.at_ms,
                "records": entry.records,
                "dead": entry.dead,
                "rows": entry.rows,
                "took_ms": ms(entry.steps.total()),
                "steps_ms": serde_json::Map::from_iter(steps),
            })
        };
        self.0.iter().filter(|entry| seq.is_none_or(|seq| entry.seq > seq)).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::first;
    use crate::engine::format::names::Seq;
    use headway_operators::time::Epoch;

    #[test]
    fn newest_commits_are_kept_and_the_slowest_of_a_hundred_is_seen() {
        let mut recent = Recent::default();
        assert_eq!(recent.p99(), None);
        let mut head = first(1);
        head.inputs[0].partitions[0].fates.consumed = 7;
        for seq in 1..=1000_u64 {
            let steps = Steps { publish: Duration::from_millis(seq % 100), ..Steps::default() };
            let committed = Committed { seq: Seq(seq), epoch: Epoch(seq), rows: 1, files: 1, steps };
            recent.note(&committed, &head);
        }
        assert_eq!(recent.p99(), Some(Duration::from_millis(98)));
        assert_eq!(recent.dead(), (7 * COMMITS_MAX as u64, 0));
        assert_eq!(recent.after(None).len(), COMMITS_MAX);
        assert_eq!(recent.after(Some(998)).len(), 2);
    }
}
