//! Why a job lags: one sentence, its evidence and the next step, as a pure function of the board and the last commit.
//!
//! The causes are tried in order, from what stops everything to what slows a part. A cause needs evidence of its own: where
//! there is none, the answer says so instead of guessing.

use crate::engine::format::board::{Doing, Lag, OperatorTime, Snapshot};
use crate::engine::format::manifest::{Input, Manifest, PartitionEntry};
use crate::engine::run::meter::{ENGINE, STEPS};
use headway_operators::error::Reason;
use headway_operators::time::EventTime;
use std::time::Duration;

/// A record may wait for so long beyond three epochs before the job lags.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A source that has not confirmed for so long does not answer.
const CONFIRM_MAX: Duration = Duration::from_secs(3);

/// The share of time from which on something is busy all the time, and to which it mostly waits.
const BUSY: f64 = 0.8;
const CALM: f64 = 0.4;

/// The share of all lag from which on one partition has it alone.
const ALONE: f64 = 0.8;

/// How far behind the others a partition may be before it holds windows open, in epochs of event time at least a minute.
const HELD_MS: i64 = 60_000;

/// How many operators are named as evidence.
const OPERATORS_SHOWN: usize = 3;

/// What is measured beside operators, and is none.
const ENGINE_OWN: [&str; 2] = [ENGINE, STEPS];

/// A target may be behind for so long.
const TARGET_MS: i64 = 60_000;

/// Why a job lags, or why its windows stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It does not.
    None,
    /// An open transaction holds what there is more.
    OpenTransaction,
    /// The source does not answer the question whether it is still what was read.
    SourceSilent,
    /// The lake takes longer than the epochs.
    SlowLake,
    /// The process takes nearly as much memory as it may, and its sources pause.
    PausedByMemory,
    /// One worker has all the work.
    HotShard,
    /// The workers compute all the time.
    SlowOperators,
    /// A partition is so far ahead of others that it waits for them.
    PausedBySkew,
    /// One partition brings its records slowly.
    SlowPartition,
    /// The source brings records slowly.
    SlowSource,
    /// Nothing lags, and a target does not take what is committed.
    TargetBehind,
    /// Nothing lags, and a partition without records holds windows open.
    PartitionHoldsWindows,
    /// Nothing lags, and records of the future were refused.
    FutureRefused,
    /// It lags, and nothing on the board says why.
    Unknown,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// The cause.
    pub cause: Cause,
    /// What is the matter, in a sentence.
    pub sentence: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// What to do next.
    pub next: String,
}

impl Cause {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Cause::None => "none",
            Cause::OpenTransaction => "open-transaction",
            Cause::SourceSilent => "source-silent",
            Cause::SlowLake => "slow-lake",
            Cause::PausedByMemory => "paused-by-memory",
            Cause::HotShard => "hot-shard",
            Cause::SlowOperators => "slow-operators",
            Cause::PausedBySkew => "paused-by-skew",
            Cause::SlowPartition => "slow-partition",
            Cause::SlowSource => "slow-source",
            Cause::TargetBehind => "target-behind",
            Cause::PartitionHoldsWindows => "partition-holds-windows",
            Cause::FutureRefused => "future-refused",
            Cause::Unknown => "unknown",
        }
    }

    /// True if the job keeps up and its windows close.
    pub fn is_healthy(self) -> bool {
        matches!(self, Cause::None | Cause::FutureRefused)
    }
}

/// What is looked at.
struct Look<'a> {
    head: &'a Manifest,
    board: &'a Snapshot,
    /// The partitions with records that wait, the longest wait first.
    behind: Vec<&'a Lag>,
    /// All records that wait.
    records: i64,
}

/// Why a job that runs lags, by its last commit and its board.
pub fn diagnose(head: &Manifest, board: &Snapshot) -> Diagnosis {
    let limit = board.epoch * 3 + WAIT_MAX;
    let mut behind: Vec<&Lag> = board.lags.iter().filter(|lag| lag.records > 0).collect();
    behind.sort_by_key(|lag| std::cmp::Reverse(lag.for_ms));
    let records = behind.iter().map(|lag| lag.records).sum();
    let longest = behind.first().map_or(0, |lag| lag.for_ms);
    let look = Look { head, board, behind, records };
    if Duration::from_millis(longest.unsigned_abs()) <= limit {
        return target(&look)
            .or_else(|| open_windows(&look))
            .or_else(|| future(&look))
            .unwrap_or_else(|| healthy(&look));
    }
    let causes = [memory, transaction, silent, slow_lake, busy, skew, slow_partition, slow_source];
    causes.iter().find_map(|cause| cause(&look)).unwrap_or_else(|| unknown(&look))
}

impl Look<'_> {
    /// How a partition is called.
    fn name(&self, lag: &Lag) -> String {
        let input = self.head.inputs.get(lag.input).map_or("?", |input| &input.name);
        format!("partition {} of {input}", lag.partition)
    }

    /// The share of the last seconds that `time` is.
    fn share(&self, time: Duration) -> f64 {
        self.board.recent.share(time)
    }

    /// The shares that the workers were busy.
    fn busy(&self) -> Vec<f64> {
        self.board.recent.workers.iter().map(|time| self.share(time.busy)).collect()
    }

    /// Which operators of process 0 took the most time, as evidence.
    fn operators(&self) -> Option<String> {
        let words = |(of, share): (&OperatorTime, f64)| format!("{} {}", of.name, percent(share));
        let ran = self.board.recent.operator_shares().filter(|(_, share)| *share > 0.0);
        let most: Vec<String> = ran.take(OPERATORS_SHOWN).map(words).collect();
        (!most.is_empty()).then(|| format!("most time in operators: {}", most.join(", ")))
    }

    fn entry(&self, lag: &Lag) -> Option<&PartitionEntry> {
        let parts = &self.head.inputs.get(lag.input)?.partitions;
        parts.iter().find(|part| part.partition == lag.partition)
    }

    fn waiting(&self) -> String {
        let longest = self.behind.first().map_or(0, |lag| lag.for_ms);
        let partitions = self.behind.len();
        format!(
            "{} records of {partitions} partitions wait, the oldest for {} s",
            self.records,
            longest / 1_000
        )
    }

    fn rate(&self) -> String {
        let recent = &self.board.recent;
        format!(
            "{:.0} records a second were committed in the last {:.0} s",
            recent.records_per_second().unwrap_or_default(),
            recent.over.as_secs_f64()
        )
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn healthy(look: &Look<'_>) -> Diagnosis {
    Diagnosis {
        cause: Cause::None,
        sentence: "The job keeps up: no record waits longer than its epochs take.".into(),
        evidence: vec![look.rate()],
        next: "Nothing to do.".into(),
    }
}

fn memory(look: &Look<'_>) -> Option<Diagnosis> {
    let memory = look.board.memory.filter(|memory| memory.paused)?;
    Some(Diagnosis {
        cause: Cause::PausedByMemory,
        sentence: "Sources are paused: process 0 takes nearly as much memory as it may.".into(),
        evidence: vec![
            format!("{} of {} MiB are resident", memory.resident >> 20, memory.limit >> 20),
            look.waiting(),
        ],
        next: "Give the job more memory or more processes: --memory-limit, headway rescale.".into(),
    })
}

fn transaction(look: &Look<'_>) -> Option<Diagnosis> {
    let lag = look.behind.iter().find(|lag| lag.stalled)?;
    let name = look.name(lag);
    Some(Diagnosis {
        cause: Cause::OpenTransaction,
        sentence: format!(
            "An open transaction holds back {name}: no record after it can be read before it ends."
        ),
        evidence: vec![format!(
            "{} records behind offset {} wait, for {} s",
            lag.records,
            lag.end.0 - lag.records,
            lag.for_ms / 1_000
        )],
        next: "Find the producer: kafka-transactions.sh --bootstrap-server … find-hanging --broker-id …."
            .into(),
    })
}

fn silent(look: &Look<'_>) -> Option<Diagnosis> {
    let waits = look.board.doing == Doing::Confirming && look.board.doing_for >= CONFIRM_MAX;
    let share = look.share(look.board.recent.steps.confirm);
    (waits || share >= BUSY).then(|| Diagnosis {
        cause: Cause::SourceSilent,
        sentence: "The source does not answer: before each commit the job asks whether it is still the same topic or files.".into(),
        evidence: vec![
            format!("the commit has waited for the source for {:.0} s", look.board.doing_for.as_secs_f64()),
            format!("waiting for it took {} of the last seconds", percent(share)),
        ],
        next: "Check whether the brokers answer: headway status --lake … --kafka-config ….".into(),
    })
}

fn slow_lake(look: &Look<'_>) -> Option<Diagnosis> {
    let steps = look.board.recent.steps;
    let stuck =
        look.board.doing == Doing::Committing && look.board.doing_for > look.board.epoch * 3 + WAIT_MAX;
    let share = look.share(steps.total() - steps.confirm);
    if share < BUSY && !stuck {
        return None;
    }
    let named = steps.named();
    let (step, time) = named.iter().filter(|(step, _)| *step != "confirm").max_by_key(|(_, time)| *time)?;
    Some(Diagnosis {
        cause: Cause::SlowLake,
        sentence: "The lake is slow: commits take all of the time.".into(),
        evidence: vec![
            format!(
                "commits took {} of the last seconds, most of it the step \"{step}\" ({})",
                percent(share),
                percent(look.share(*time))
            ),
            format!(
                "the slowest commit took {:.1} s",
                look.board.slowest.total().as_secs_f64().max(look.board.doing_for.as_secs_f64())
            ),
        ],
        next: "Measure the disk (for instance with fio --fsync=1), or make epochs longer: --epoch 5s.".into(),
    })
}

fn busy(look: &Look<'_>) -> Option<Diagnosis> {
    let busy = look.busy();
    let most = busy.iter().copied().fold(0.0, f64::max);
    if most < BUSY {
        return None;
    }
    let shares = busy.iter().enumerate().map(|(index, share)| format!("worker {index} {}", percent(*share)));
    let mut evidence =
        vec![format!("on a processor: {}", shares.collect::<Vec<_>>().join(", ")), look.rate()];
    evidence.extend(look.operators());
    let worker = busy.iter().position(|share| *share == most)?;
    Some(if busy.iter().filter(|share| **share < CALM).count() * 2 >= busy.len() && busy.len() > 1 {
        Diagnosis {
            cause: Cause::HotShard,
            sentence: format!("Worker {worker} has most of the work: one key or one partition has most of the records."),
            evidence,
            next: "More workers do not help: spread the records over more partitions, or the key over more keys.".into(),
        }
    } else {
        Diagnosis {
            cause: Cause::SlowOperators,
            sentence: slow_operators(look),
            evidence,
            next: format!("Start the job again with more workers: -w {}.", busy.len() * 2),
        }
    })
}

fn slow_operators(look: &Look<'_>) -> String {
    let mut shares = look.board.recent.operator_shares();
    match shares.find(|(of, share)| *share > 0.0 && !ENGINE_OWN.contains(&of.name.as_str())) {
        Some((OperatorTime { name, .. }, share)) => format!(
            "The operators are slow: the workers compute all the time, {} of it in operator {name}.",
            percent(share)
        ),
        None => "The operators are slow: the workers compute all the time.".into(),
    }
}

fn skew(look: &Look<'_>) -> Option<Diagnosis> {
    let skew = look.board.max_skew_ms?;
    let slowest = |input: &Input| input.slowest().map(PartitionEntry::reached);
    let lag = look.behind.iter().find(|lag| {
        let slowest = look.head.inputs.get(lag.input).and_then(slowest);
        let own = look.entry(lag).map(|part| part.own);
        slowest.zip(own).is_some_and(|(slowest, own)| {
            slowest > EventTime::MIN && own > slowest && own.ms().saturating_sub(slowest.ms()) > skew
        })
    })?;
    let name = look.name(lag);
    Some(Diagnosis {
        cause: Cause::PausedBySkew,
        sentence: format!("{name} is paused: its event time is too far ahead of the slowest partition."),
        evidence: vec![
            format!("more than {} s of event time are between them", skew / 1_000),
            look.waiting(),
        ],
        next: "Find why the slowest partition is behind: headway status shows its watermark.".into(),
    })
}

fn slow_partition(look: &Look<'_>) -> Option<Diagnosis> {
    let most = look.behind.iter().max_by_key(|lag| lag.records)?;
    let alone = look.board.lags.len() > 1 && most.records as f64 >= ALONE * look.records as f64;
    alone.then(|| Diagnosis {
        cause: Cause::SlowPartition,
        sentence: format!("{} is slow, and no other is.", look.name(most)),
        evidence: vec![look.waiting(), "workers and lake mostly wait".into()],
        next: "Look at the broker that leads this partition: kafka-topics.sh --describe --topic ….".into(),
    })
}

fn slow_source(look: &Look<'_>) -> Option<Diagnosis> {
    let calm = look.busy().iter().all(|share| *share < CALM);
    calm.then(|| Diagnosis {
        cause: Cause::SlowSource,
        sentence: "The source is slow: workers and lake wait for records.".into(),
        evidence: vec![look.waiting(), look.rate()],
        next: "Measure the network and the brokers: kcat -C -t … -o beginning -e > /dev/null reads without Headway.".into(),
    })
}

fn unknown(look: &Look<'_>) -> Diagnosis {
    let busy = look.busy();
    let shares = busy.iter().map(|share| percent(*share)).collect::<Vec<_>>().join(", ");
    Diagnosis {
        cause: Cause::Unknown,
        sentence: "Records wait, and no part of the job is busy or stuck enough to explain it.".into(),
        evidence: vec![look.waiting(), look.rate(), format!("workers on a processor: {shares}")],
        next: "Run it again in a few seconds; if it stays, report it with headway status -o json.".into(),
    }
}

fn target(look: &Look<'_>) -> Option<Diagnosis> {
    let behind = look.board.targets.iter().max_by_key(|target| target.for_ms)?;
    (behind.for_ms > TARGET_MS).then(|| Diagnosis {
        cause: Cause::TargetBehind,
        sentence: format!(
            "Target \"{}\" is behind: it does not apply the changes that the job commits.",
            behind.name
        ),
        evidence: vec![
            format!("{} commits wait for it, the oldest for {} s", behind.commits, behind.for_ms / 1_000),
            format!(
                "it is {}{}",
                behind.doing,
                behind.error.as_ref().map_or(String::new(), |error| format!(": {error}"))
            ),
        ],
        next:
            "Check whether the target responds. The job continues meanwhile, and keeps the changes for a day."
                .into(),
    })
}

fn open_windows(look: &Look<'_>) -> Option<Diagnosis> {
    look.head.inputs.iter().find_map(|input| {
        let slowest = input.slowest()?;
        let ahead = input.counting().map(PartitionEntry::reached).max()?;
        let behind = match slowest.reached() {
            EventTime::MIN if ahead > EventTime::MIN => i64::MAX,
            slow => ahead.ms().saturating_sub(slow.ms()),
        };
        (behind > HELD_MS).then(|| {
            let (number, name) = (slowest.partition, &input.name);
            let what = if behind == i64::MAX {
                format!("partition {number} has had no record yet")
            } else {
                format!(
                    "its newest event is {} s of event time behind the farthest partition's",
                    behind / 1_000
                )
            };
            Diagnosis {
                cause: Cause::PartitionHoldsWindows,
                sentence: format!(
                    "Partition {number} of {name} has nothing to read, and holds all windows open."
                ),
                evidence: vec![what],
                next:
                    "It is waited for as long as --idle-after says; a shorter one closes windows without it."
                        .into(),
            }
        })
    })
}

fn future(look: &Look<'_>) -> Option<Diagnosis> {
    let refused = |input: &Input| {
        input.total().dead.get(&Reason::FUTURE_EVENT_TIME).copied().filter(|count| *count > 0)
    };
    let (input, count) = look.head.inputs.iter().find_map(|input| Some((input, refused(input)?)))?;
    Some(Diagnosis {
        cause: Cause::FutureRefused,
        sentence: format!(
            "The job keeps up; {count} records of {} lay in the future and are dead letters.",
            input.name
        ),
        evidence: vec!["had they been taken, all records after them would be late".into()],
        next:
            "See them: headway dead ls --reason future-event-time. --max-ahead says how far ahead one may be."
                .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::board::{MemoryUse, OperatorTime, Recent, Steps, WorkerTime};
    use crate::engine::format::manifest::tests::first;
    use headway_operators::record::{Offset, Partition};

    /// A job of one input whose partitions are at these event times, in seconds.
    fn head(own: &[i64]) -> Manifest {
        let mut head = first(own.len() as u32);
        for (part, own) in head.inputs[0].partitions.iter_mut().zip(own) {
            part.own = if *own < 0 { EventTime::MIN } else { EventTime(own * 1_000) };
        }
        head
    }

    fn lag(partition: u32, records: i64, for_s: i64) -> Lag {
        let end = Offset(1_000 + records);
        Lag {
            input: 0,
            partition: Partition(partition),
            end,
            records,
            for_ms: for_s * 1_000,
            stalled: false,
            first_ms: None,
        }
    }

    /// The board of a run whose workers were busy for these shares of the last ten seconds.
    fn board(lags: Vec<Lag>, busy: &[f64]) -> Snapshot {
        let over = Duration::from_secs(10);
        let time =
            |share: &f64| WorkerTime { busy: over.mul_f64(*share), waiting: over.mul_f64(1.0 - share) };
        let recent =
            Recent { over, records: 500, workers: busy.iter().map(time).collect(), ..Recent::default() };
        Snapshot {
            epoch: Duration::from_secs(1),
            recent,
            lags,
            max_skew_ms: Some(600_000),
            ..Snapshot::default()
        }
    }

    #[test]
    fn each_cause_is_named() {
        let seconds = Duration::from_secs;
        let calm = [0.1, 0.1];
        let late = || vec![lag(0, 500, 30), lag(1, 480, 29)];
        let stalled = vec![Lag { stalled: true, ..lag(0, 5, 40) }, lag(1, 0, 0)];
        let with = |mut board: Snapshot, change: &dyn Fn(&mut Snapshot)| {
            change(&mut board);
            board
        };
        let publishing =
            |board: &mut Snapshot| board.recent.steps = Steps { publish: seconds(9), ..Steps::default() };
        let stuck = |board: &mut Snapshot| (board.doing, board.doing_for) = (Doing::Committing, seconds(20));
        let asking = |board: &mut Snapshot| (board.doing, board.doing_for) = (Doing::Confirming, seconds(20));
        let full = |board: &mut Snapshot| {
            board.memory = Some(MemoryUse { resident: 91 << 20, limit: 100 << 20, paused: true });
        };
        let both = [100, 100];
        let mut refused = head(&both);
        refused.inputs[0].partitions[0].total.dead.insert(Reason::FUTURE_EVENT_TIME, 3);
        let cases = [
            ("nothing waits", head(&both), board(vec![lag(0, 0, 0)], &calm), Cause::None),
            ("what waits has just come", head(&both), board(vec![lag(0, 900, 4)], &[0.9, 0.9]), Cause::None),
            ("a transaction", head(&both), board(stalled, &[0.95, 0.1]), Cause::OpenTransaction),
            ("memory", head(&both), with(board(late(), &calm), &full), Cause::PausedByMemory),
            ("the source is asked", head(&both), with(board(late(), &calm), &asking), Cause::SourceSilent),
            (
                "commits take 90 %",
                head(&both),
                with(board(late(), &[0.9, 0.9]), &publishing),
                Cause::SlowLake,
            ),
            ("one commit hangs", head(&both), with(board(late(), &calm), &stuck), Cause::SlowLake),
            ("one worker of two", head(&both), board(late(), &[0.97, 0.1]), Cause::HotShard),
            ("all workers", head(&both), board(late(), &[0.97, 0.9]), Cause::SlowOperators),
            ("the only worker", head(&both), board(late(), &[0.97]), Cause::SlowOperators),
            (
                "20 minutes ahead",
                head(&[100, 1_300]),
                board(vec![lag(0, 0, 0), lag(1, 40, 30)], &calm),
                Cause::PausedBySkew,
            ),
            (
                "one partition",
                head(&both),
                board(vec![lag(0, 10, 5), lag(1, 900, 30)], &calm),
                Cause::SlowPartition,
            ),
            ("both partitions", head(&both), board(late(), &calm), Cause::SlowSource),
            ("neither calm nor busy", head(&both), board(late(), &[0.6, 0.6]), Cause::Unknown),
            (
                "an empty partition",
                head(&[100, -1]),
                board(vec![lag(0, 0, 0)], &calm),
                Cause::PartitionHoldsWindows,
            ),
            (
                "a quiet one",
                head(&[100, 200]),
                board(vec![lag(0, 0, 0)], &calm),
                Cause::PartitionHoldsWindows,
            ),
            ("a future record", refused, board(vec![lag(0, 0, 0)], &calm), Cause::FutureRefused),
        ];
        for (what, head, board, expected) in cases {
            let found = diagnose(&head, &board);
            assert_eq!(found.cause, expected, "{what}: {found:?}");
            assert!(
                found.sentence.ends_with('.') && !found.evidence.is_empty() && found.next.ends_with('.'),
                "{found:?}"
            );
        }
    }

    #[test]
    fn slow_operator_is_named_with_its_share() {
        let time =
            |(name, ms): (&str, u64)| OperatorTime { name: name.into(), busy: Duration::from_millis(ms) };
        let late = vec![lag(0, 500, 30), lag(1, 480, 29)];
        let mut busy = board(late, &[0.97, 0.9]);
        busy.recent.operators =
            [("engine", 5_000), ("Dedup", 3_000), ("steps", 1_000), ("Sum", 1_000), ("Idle", 0)]
                .map(time)
                .into();
        let found = diagnose(&head(&[100, 100]), &busy);
        assert_eq!(found.cause, Cause::SlowOperators);
        assert!(found.sentence.contains("30 % of it in operator Dedup"), "{found:?}");
        let evidence = "most time in operators: engine 50 %, Dedup 30 %, steps 10 %";
        assert!(found.evidence.iter().any(|line| line == evidence), "{found:?}");
    }

    #[test]
    fn idle_partition_holds_nothing() {
        let mut quiet = head(&[100, -1]);
        quiet.inputs[0].partitions[1].idle = true;
        assert_eq!(diagnose(&quiet, &board(vec![lag(0, 0, 0)], &[0.1])).cause, Cause::None);
    }
}
