//! What another number of processes or workers would mean for a job. No I/O.

use crate::engine::format::manifest::{Kind, Manifest, Members};
use crate::engine::run::ports::reader_of;
use headway_operators::ack::InputIx;
use headway_operators::state::Shard;
use std::collections::BTreeMap;

/// From how many pauses the next one is predicted, at most.
const PAUSES: usize = 5;

/// A job that was away longer than this was stopped by somebody: that is no pause.
const STOPPED_MS: i64 = 120_000;

/// What one worker would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Partitions of all inputs.
    pub(crate) partitions: u64,
    /// Bytes of saved state.
    pub(crate) state_bytes: u64,
}

/// What is known of pauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// What they were: `rescale` or `restart`.
    pub(crate) of: &'static str,
    /// How many.
    pub(crate) count: u64,
    /// The middle one, in milliseconds.
    pub(crate) median_ms: i64,
    /// The shortest.
    pub(crate) least_ms: i64,
    /// The longest.
    pub(crate) most_ms: i64,
}

/// What would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// The processes and workers.
    pub(crate) members: Members,
    /// By worker of all processes.
    pub(crate) workers: Vec<Load>,
    /// The pause between two commits, as earlier ones were; `None` if there was none.
    pub(crate) pause: Option<Pause>,
}

impl Forecast {
    /// The process of a worker.
    pub(crate) fn process_of(&self, worker: usize) -> usize {
        worker / usize::try_from(self.members.workers.max(1)).unwrap_or(usize::MAX)
    }

    /// How much more than the mean the fullest worker has: of partitions, and of bytes of state.
    pub(crate) fn imbalance(&self) -> [f64; 2] {
        let of = |amount: fn(&Load) -> u64| {
            let sum: u64 = self.workers.iter().map(amount).sum();
            let most = self.workers.iter().map(amount).max().unwrap_or_default();
            if sum == 0 { 1.0 } else { most as f64 * self.workers.len() as f64 / sum as f64 }
        };
        [of(|load| load.partitions), of(|load| load.state_bytes)]
    }
}

/// The workers that would read nothing.
pub(crate) fn without_partition(workers: &[Load]) -> impl Iterator<Item = usize> {
    workers.iter().enumerate().filter(|(_, load)| load.partitions == 0).map(|(worker, _)| worker)
}

/// The partitions that each of the workers of `members` would read, for the job of `head`.
pub(crate) fn loads(head: &Manifest, members: &Members) -> Vec<Load> {
    let peers = usize::try_from(members.total()).unwrap_or(usize::MAX).max(1);
    let mut workers = vec![Load::default(); peers];
    for (index, input) in (0..).zip(&head.inputs) {
        for part in input.partitions.iter().filter(|part| !part.ended) {
            workers[reader_of(InputIx(index), part.partition, peers)].partitions += 1;
        }
    }
    workers
}

/// What `members` would mean for the job of `head`, whose shards hold so many bytes, and which has these `manifests`.
pub(crate) fn forecast(
    head: &Manifest,
    members: &Members,
    shard_bytes: &BTreeMap<Shard, u64>,
    manifests: &[Manifest],
) -> Forecast {
    let mut workers = loads(head, members);
    let peers = workers.len();
    for (shard, bytes) in shard_bytes {
        workers[shard.owner(peers)].state_bytes += bytes;
    }
    Forecast { members: members.clone(), workers, pause: pause(manifests) }
}

/// What the last pauses of a job were: those of its rescales, or where there are none, of its restarts.
fn pause(manifests: &[Manifest]) -> Option<Pause> {
    let mut pauses: Vec<(bool, i64)> = Vec::new();
    for (at, claim) in manifests.iter().enumerate().skip(1).filter(|(_, claim)| claim.kind == Kind::Claim) {
        let before = &manifests[at - 1];
        let after = manifests[at + 1..].iter().find(|next| next.kind != Kind::Closed);
        let after = after.filter(|next| next.kind == Kind::Commit && next.generation == claim.generation);
        let Some(after) = after else { continue };
        if (0..STOPPED_MS).contains(&(claim.written_ms - before.written_ms)) {
            pauses.push((claim.members != before.members, after.written_ms - before.written_ms));
        }
    }
    let of = |rescaled: bool| -> Vec<i64> {
        let all = pauses.iter().rev().filter(|(is_rescale, _)| *is_rescale || !rescaled);
        all.map(|(_, ms)| *ms).take(PAUSES).collect()
    };
    let (mut last, of) = match of(true) {
        rescales if rescales.is_empty() => (of(false), "restart"),
        rescales => (rescales, "rescale"),
    };
    last.sort_unstable();
    Some(Pause {
        of,
        count: last.len() as u64,
        median_ms: *last.get(last.len() / 2)?,
        least_ms: *last.first()?,
        most_ms: *last.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::Program;
    use crate::engine::format::manifest::tests::first;
    use crate::engine::format::names::Generation;

    fn members(processes: u32, workers: u32) -> Members {
        let addresses = (0..processes).filter(|_| processes > 1).map(|at| format!("h{at}:1")).collect();
        Members { processes, workers, addresses }
    }

    #[test]
    fn partitions_and_state_go_to_the_workers_that_would_own_them() {
        let mut head = first(5);
        head.inputs[0].partitions[4].ended = true;
        let bytes = (0..6).map(|shard| (Shard(shard), 10)).collect();
        let found = forecast(&head, &members(3, 1), &bytes, &[]);
        let load = |partitions| Load { partitions, state_bytes: 20 };
        assert_eq!(found.workers, [load(2), load(1), load(1)]);
        assert_eq!((found.imbalance(), found.pause.clone()), ([1.5, 1.0], None));
        assert_eq!((0..3).map(|worker| found.process_of(worker)).collect::<Vec<_>>(), [0, 1, 2]);
        let found = forecast(&head, &members(2, 3), &bytes, &[]);
        assert_eq!(without_partition(&found.workers).collect::<Vec<_>>(), [4, 5]);
        assert_eq!((0..6).map(|worker| found.process_of(worker)).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn pause_is_that_of_rescales_else_of_restarts_and_never_that_of_a_stop() {
        let manifest = |kind, generation, workers, written_ms| Manifest {
            kind,
            generation: Generation(generation),
            members: members(1, workers),
            written_ms,
            program: Program::default(),
            ..first(1)
        };
        use Kind::{Claim, Commit};
        let mut all = vec![manifest(Claim, 1, 1, 0), manifest(Commit, 1, 1, 1_000)];
        assert_eq!(pause(&all), None);
        // Somebody stopped it for an hour.
        all.extend([manifest(Claim, 2, 1, 3_601_000), manifest(Commit, 2, 1, 3_602_000)]);
        assert_eq!(pause(&all), None);
        all.extend([manifest(Claim, 3, 1, 3_602_700), manifest(Commit, 3, 1, 3_604_000)]);
        let found = pause(&all).expect("it was started again");
        assert_eq!((found.of, found.count, found.median_ms), ("restart", 1, 2_000));
        all.extend([manifest(Claim, 4, 2, 3_604_500), manifest(Commit, 4, 2, 3_605_500)]);
        // It was killed before its first commit.
        all.extend([
            manifest(Claim, 5, 1, 3_605_900),
            manifest(Claim, 6, 1, 3_606_900),
            manifest(Commit, 6, 1, 3_607_000),
        ]);
        let found = pause(&all).expect("it was rescaled");
        assert_eq!((found.of, found.count, found.median_ms), ("rescale", 1, 1_500));
    }
}
