//! Which number of workers a job wants, by what it says of itself. No I/O; nothing here acts.

use crate::engine::format::board::{Snapshot, WorkerTime};
use crate::engine::format::manifest::Manifest;
use crate::serve::lag::{Cause, diagnose};

/// The share of its time above which a worker has too much to do.
const BUSY: f64 = 0.8;

/// The share of their time below which half the workers would do.
const QUIET: f64 = 0.2;

/// For how long a partition has records to read until the job counts as behind, in milliseconds.
const LAGGING_MS: i64 = 10_000;

/// A size, and what speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advised {
    /// Processes and workers, such as `3x1`; `None` if the job should stay as it is.
    pub(crate) size: Option<String>,
    /// Why.
    pub(crate) why: Vec<String>,
}

/// What the job of `head` wants, as its `board` says.
pub(crate) fn advise(head: &Manifest, board: Option<&Snapshot>) -> Advised {
    let Some(board) = board.filter(|board| !board.recent.workers.is_empty()) else {
        let why = vec!["the job has not said of late how its workers spend their time".to_string()];
        return Advised { size: None, why };
    };
    let readable: u64 =
        head.inputs.iter().flat_map(|input| &input.partitions).filter(|part| !part.ended).count() as u64;
    let (processes, workers) = (head.members.processes, head.members.workers);
    let all = u64::from(head.members.total());
    let mut why = Vec::new();
    let idle = all.saturating_sub(readable);
    if idle > 0 {
        why.push(format!("{idle} of {all} workers have no partition: there are {readable}"));
    }
    let busy = share(board.all().flat_map(|(_, board)| &board.recent.workers));
    let whose = if board.elsewhere.len() + 1 < processes as usize { " of process 0" } else { "" };
    why.push(format!("the workers{whose} work {:.0} % of their time", busy * 100.0));
    let found = diagnose(head, board);
    why.push(format!("lag: {}", found.sentence));
    let more = match found.cause {
        // More workers compute more, as long as there are keys and partitions for them.
        Cause::SlowOperators => true,
        Cause::HotShard => {
            why.push(
                "one worker has most of the work: more workers do not take it from that one key".to_string(),
            );
            false
        }
        Cause::None | Cause::Unknown => busy >= BUSY,
        Cause::OpenTransaction
        | Cause::SourceSilent
        | Cause::SlowLake
        | Cause::PausedByMemory
        | Cause::CatchingUp
        | Cause::PausedBySkew
        | Cause::SlowPartition
        | Cause::SlowSource
        | Cause::TargetBehind
        | Cause::PartitionHoldsWindows
        | Cause::InputHoldsWindows
        | Cause::FutureRefused => false,
    };
    let is_lagging = board.lags.iter().any(|lag| lag.records > 0 && lag.for_ms > LAGGING_MS);
    let is_idle = !more && !is_lagging && busy < QUIET;
    let size = if more && u64::from(processes) * u64::from(workers) <= readable.max(1) {
        Some((processes, workers * 2))
    } else if is_idle && workers > 1 {
        Some((processes, workers.div_ceil(2)))
    } else if is_idle && processes > 1 {
        Some((processes.div_ceil(2), workers))
    } else {
        None
    };
    Advised { size: size.map(|(processes, workers)| format!("{processes}x{workers}")), why }
}

/// The share of their time that workers worked.
fn share<'a>(workers: impl Iterator<Item = &'a WorkerTime>) -> f64 {
    let (busy, all) = workers.fold((0.0, 0.0), |(busy, all), worker| {
        let own = worker.busy.as_secs_f64();
        (busy + own, all + own + worker.waiting.as_secs_f64())
    });
    if all > 0.0 { busy / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::board::{Elsewhere, Recent};
    use crate::engine::format::manifest::Members;
    use crate::engine::format::manifest::tests::first;
    use std::time::Duration;

    /// A board on which each of `workers` has worked `busy` of the last ten seconds.
    fn board(workers: usize, busy: u64) -> Snapshot {
        let (busy, waiting) = (Duration::from_secs(busy), Duration::from_secs(10 - busy));
        let workers = vec![WorkerTime { busy, waiting, ..WorkerTime::default() }; workers];
        let recent = Recent { over: Duration::from_secs(10), workers, ..Recent::default() };
        Snapshot { recent, ..Snapshot::default() }
    }

    #[test]
    fn busy_jobs_want_more_and_quiet_ones_want_less() {
        let of = |partitions, (processes, workers): (u32, u32), busy| {
            let mut head = first(partitions);
            head.members = Members { processes, workers, addresses: Vec::new() };
            advise(&head, Some(&board(usize::try_from(workers).unwrap(), busy))).size
        };
        assert_eq!(of(4, (1, 1), 9).as_deref(), Some("1x2"));
        assert_eq!(of(1, (1, 2), 9), None, "one partition does not feed four workers");
        assert_eq!(of(4, (1, 2), 5), None);
        assert_eq!(of(4, (1, 4), 1).as_deref(), Some("1x2"));
        assert_eq!(of(4, (3, 1), 1).as_deref(), Some("2x1"));
        assert_eq!(of(4, (1, 1), 1), None, "there is nothing less than one");
    }

    #[test]
    fn workers_of_all_processes_count_once_they_have_said_something() {
        let mut head = first(8);
        head.members = Members { processes: 2, workers: 1, addresses: Vec::new() };
        let mut quiet = board(1, 1);
        assert_eq!(advise(&head, Some(&quiet)).size.as_deref(), Some("1x1"));
        let elsewhere = Elsewhere { process: 1, board: board(1, 9), ..Elsewhere::default() };
        quiet.elsewhere = vec![elsewhere];
        let found = advise(&head, Some(&quiet));
        assert_eq!(found.size, None, "the other process has work: {found:?}");
        assert!(found.why.contains(&"the workers work 50 % of their time".to_string()), "{found:?}");
    }

    #[test]
    fn nothing_is_advised_of_a_job_that_says_nothing() {
        let found = advise(&first(2), None);
        assert!(found.size.is_none() && found.why[0].contains("has not said"), "{found:?}");
    }
}
