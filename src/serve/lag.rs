//! Why a job lags: one sentence, its evidence and the next step, as a pure function of the board and the last commit.
//!
//! The causes are tried in order, from what stops everything to what slows a part. A cause needs evidence of its own: where
//! there is none, the answer says so instead of guessing.

use crate::engine::format::board::{Doing, Lag, Snapshot};
use crate::engine::format::manifest::{Input, Manifest, PartitionEntry};
use crate::engine::format::waits::{StageWait, Waits};
use crate::engine::run::meter::{ENGINE, STEPS};
use crate::serve::cause::Look;
pub use crate::serve::cause::{Cause, Diagnosis};
use crate::serve::process_board::{ProcessBoard, percent};
use crate::serve::windows::{future, open_windows, target};
use headway_operators::record::Partition;
use headway_operators::time::EventTime;
use std::time::Duration;

/// A source that has not confirmed for so long does not answer.
const CONFIRM_MAX: Duration = Duration::from_secs(3);

/// The share of time from which on something is busy all the time, and to which it mostly waits.
const BUSY: f64 = 0.8;
const CALM: f64 = 0.4;

/// The share of all lag from which on one partition has it alone.
const ALONE: f64 = 0.8;

/// A run that began less than this ago may still be reading what came before.
const JUST_BEGUN: Duration = Duration::from_secs(10);

/// What is measured beside operators, and is none.
const ENGINE_OWN: [&str; 2] = [ENGINE, STEPS];

/// Why a job that runs lags, by its last commit and its board.
pub fn diagnose(head: &Manifest, board: &Snapshot) -> Diagnosis {
    let look = Look::of(head, board);
    if !look.lags() {
        return target(&look)
            .or_else(|| open_windows(&look))
            .or_else(|| future(&look))
            .unwrap_or_else(|| healthy(&look));
    }
    let causes =
        [memory, transaction, silent, slow_lake, catching_up, busy, skew, slow_partition, slow_source];
    causes.iter().find_map(|cause| cause(&look)).unwrap_or_else(|| unknown(&look))
}

fn healthy(look: &Look<'_>) -> Diagnosis {
    Diagnosis {
        cause: Cause::None,
        sentence: "The job keeps up: no record waits longer than its epochs take.".into(),
        evidence: std::iter::once(look.rate()).chain(feeds(look)).collect(),
        next: "Nothing to do.".into(),
    }
}

/// What the partitions wait for, in a line.
fn feeds(look: &Look<'_>) -> Option<String> {
    let all = [Waits::Records, Waits::NextRecord, Waits::Commit, Waits::Memory, Waits::Slowest, Waits::End];
    let words = |waits: Waits| {
        let count = look.parts().filter(|(_, part)| part.waits == waits).count();
        (count > 0).then(|| format!("{count} for {}", waits.words()))
    };
    let words: Vec<String> = all.into_iter().filter_map(words).collect();
    (!words.is_empty()).then(|| format!("partitions wait: {}", words.join(", ")))
}

fn memory(look: &Look<'_>) -> Option<Diagnosis> {
    let paused =
        |one: &ProcessBoard<'_>| Some((one.process, one.board.memory.filter(|memory| memory.paused)?));
    let (process, memory) = look.processes.iter().find_map(paused)?;
    Some(Diagnosis {
        cause: Cause::PausedByMemory,
        sentence: format!("Sources are paused: process {process} takes nearly as much memory as it may."),
        evidence: vec![
            format!("{} of {} MiB are resident", memory.resident >> 20, memory.limit >> 20),
            look.waiting(),
        ],
        next: "Give the job more memory or more processes: --memory-limit, headway rescale.".into(),
    })
}

fn transaction(look: &Look<'_>) -> Option<Diagnosis> {
    let lag = look.behind.iter().find(|lag| lag.stalled)?;
    let name = look.name(lag.input, lag.partition);
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
    let board = look.board;
    let waits = board.doing == Doing::Confirming && board.doing_for >= CONFIRM_MAX;
    let share = look.share(board.recent.steps.confirm);
    let silence = look.silence().filter(|(_, silence)| silence.for_ > look.limit);
    if !waits && share < BUSY && silence.is_none() {
        return None;
    }
    let mut evidence = Vec::new();
    if let Some((one, silence)) = silence {
        let (input, seconds, why) = (look.input(silence.input), silence.for_.as_secs(), &silence.why);
        let asked_by = if one.has_others { format!(" process {}", one.process) } else { String::new() };
        evidence.push(format!("input {input} has not answered{asked_by} for {seconds} s: {why}"));
    }
    if waits {
        let seconds = board.doing_for.as_secs_f64();
        evidence.push(format!("the commit has waited for the source for {seconds:.0} s"));
    }
    if share > 0.0 {
        evidence.push(format!("waiting for it took {} of the last seconds", percent(share)));
    }
    Some(Diagnosis {
        cause: Cause::SourceSilent,
        sentence: "The source does not answer: the job asks it again and again for its partitions, and before each commit whether it is still the same topic or files.".into(),
        evidence,
        next: "Check whether the brokers answer: headway status --lake … --kafka-config ….".into(),
    })
}

/// What the writing of files before their commit is like, where it is worst.
struct Staging<'a> {
    /// The process in which it takes the most of the time, and which part of it.
    busiest: ProcessBoard<'a>,
    share: f64,
    /// The piece of work that takes longest, if that is long.
    stuck: Option<(ProcessBoard<'a>, &'a StageWait, Duration)>,
}

impl<'a> Staging<'a> {
    fn of(look: &Look<'a>) -> Staging<'a> {
        let mut busiest = look.processes[0];
        let mut stuck: Option<(ProcessBoard<'a>, &'a StageWait, Duration)> = None;
        for one in &look.processes {
            if one.stage() > busiest.stage() {
                busiest = *one;
            }
            for stage in &one.board.stages {
                let Some(time) = stage.writing_for.filter(|time| *time > look.limit) else { continue };
                if stuck.is_none_or(|(_, _, longest)| time > longest) {
                    stuck = Some((*one, stage, time));
                }
            }
        }
        Staging { busiest, share: busiest.stage(), stuck }
    }

    /// The process to be named.
    fn process(&self) -> ProcessBoard<'a> {
        self.stuck.map_or(self.busiest, |(one, _, _)| one)
    }
}

fn slow_lake(look: &Look<'_>) -> Option<Diagnosis> {
    let (board, recent) = (look.board, &look.board.recent);
    let commit = look.share(recent.steps.total().saturating_sub(recent.steps.confirm));
    let staging = Staging::of(look);
    let stuck_commit = board.doing == Doing::Committing && board.doing_for > look.limit;
    if commit < BUSY && staging.share < BUSY && !stuck_commit && staging.stuck.is_none() {
        return None;
    }
    let is_stage = !stuck_commit && (staging.stuck.is_some() || staging.share > commit);
    Some(Diagnosis {
        cause: Cause::SlowLake,
        sentence: if is_stage {
            let at = if staging.process().has_others {
                format!(" in process {}", staging.process().process)
            } else {
                String::new()
            };
            format!("The lake is slow: writing files before they are committed takes all of the time{at}.")
        } else {
            "The lake is slow: commits take all of the time.".into()
        },
        evidence: lake_evidence(look, commit, &staging, is_stage),
        next: "Measure the disk (for instance with fio --fsync=1), or make epochs longer: --epoch 5s.".into(),
    })
}

/// The evidence of a slow lake: commits took the share `commit` of the last seconds; it is the stage that is slow if `is_stage`.
fn lake_evidence(look: &Look<'_>, commit: f64, staging: &Staging<'_>, is_stage: bool) -> Vec<String> {
    let board = look.board;
    let mut evidence = Vec::new();
    if let Some((one, stage, time)) = staging.stuck {
        let (worker, at, seconds, queued) = (stage.worker, one.of(), time.as_secs(), stage.queued);
        evidence.push(format!(
            "the files of worker {worker}{at} are being written for {seconds} s, {queued} more wait"
        ));
    }
    let one = if is_stage { staging.process() } else { look.processes[0] };
    if let Some(call) = one.board.store.open.as_ref().filter(|call| call.for_ > Duration::from_secs(1)) {
        let (verb, name, seconds, at) = (&call.verb, &call.name, call.for_.as_secs(), one.of());
        evidence.push(format!("the store{at} has not come back from \"{verb} {name}\" for {seconds} s"));
    }
    let named = board.recent.steps.commit();
    let steps = named.iter().filter(|(step, _)| *step != "confirm");
    if let Some((step, time)) = steps.max_by_key(|(_, time)| *time) {
        let (all, most) = (percent(commit), percent(look.share(*time)));
        evidence
            .push(format!("commits took {all} of the last seconds, most of it the step \"{step}\" ({most})"));
    }
    let store = percent(one.share(one.board.recent.store));
    evidence.push(format!(
        "writing files before that took {}; calls of the store{} took {store} in all",
        percent(staging.share),
        one.of()
    ));
    let slowest = board.slowest.total().max(if board.doing == Doing::Committing {
        board.doing_for
    } else {
        Duration::ZERO
    });
    evidence.push(format!("the slowest commit took {:.1} s", slowest.as_secs_f64()));
    evidence
}

/// A run that has just begun is as far behind as the job was away.
fn catching_up(look: &Look<'_>) -> Option<Diagnosis> {
    let is_stuck = look.open_for().is_some_and(|open| open > look.limit);
    (look.board.running < JUST_BEGUN && !is_stuck).then(|| Diagnosis {
        cause: Cause::CatchingUp,
        sentence: "The run has just begun, and reads what came while the job was away.".into(),
        evidence: vec![format!("it began {} s ago", look.board.running.as_secs()), look.waiting()],
        next: "Run it again in a few seconds: what slows the run down is not known before.".into(),
    })
}

/// How busy a worker is.
struct Worker<'a> {
    of: ProcessBoard<'a>,
    /// Its number in the job.
    number: usize,
    busy: f64,
}

/// The workers of all processes.
fn workers<'a>(look: &Look<'a>) -> Vec<Worker<'a>> {
    let of = |one: &ProcessBoard<'a>| {
        let one = *one;
        let shares = one.busy().into_iter().enumerate();
        shares.map(move |(index, busy)| Worker { of: one, number: one.worker(index), busy })
    };
    look.processes.iter().flat_map(of).collect()
}

fn busy(look: &Look<'_>) -> Option<Diagnosis> {
    let workers = workers(look);
    let most = workers.iter().fold(None, |most: Option<&Worker<'_>>, worker| match most {
        Some(most) if most.busy >= worker.busy => Some(most),
        _ => Some(worker),
    });
    let computing = look.in_step().map_or_else(|| look.computing(), |(one, _)| one);
    let in_operators = computing.in_operators();
    if most.is_none_or(|most| most.busy < BUSY) && in_operators < BUSY && look.in_step().is_none() {
        return None;
    }
    let shares = workers.iter().map(|worker| format!("worker {} {}", worker.number, percent(worker.busy)));
    let busy = (!workers.is_empty()).then(|| format!("busy: {}", shares.collect::<Vec<_>>().join(", ")));
    let mut evidence: Vec<String> = busy.into_iter().chain([look.rate()]).collect();
    let most_are_calm = workers.iter().filter(|worker| worker.busy < CALM).count() * 2 >= workers.len();
    let hot = most.filter(|_| most_are_calm && workers.len() > 1);
    let shown = hot.map_or(computing, |hot| hot.of);
    evidence.extend(shown.operators());
    evidence.push(format!("operators{} ran for {} of the time", shown.of(), percent(shown.in_operators())));
    evidence.push(look.waiting());
    Some(if let Some(hot) = hot {
        let (worker, at) = (hot.number, hot.of.of());
        Diagnosis {
            cause: Cause::HotShard,
            sentence: format!("Worker {worker}{at} has most of the work: one key or one partition has most of the records."),
            evidence,
            next: "More workers do not help: spread the records over more partitions, or the key over more keys.".into(),
        }
    } else {
        Diagnosis {
            cause: Cause::SlowOperators,
            sentence: slow_operators(look, computing),
            evidence,
            next: format!(
                "Start the job again with more workers: -w {}.",
                look.processes[0].board.workers.len().max(1) * 2
            ),
        }
    })
}

fn slow_operators(look: &Look<'_>, computing: ProcessBoard<'_>) -> String {
    let (at, most) = (computing.of(), computing.most_of_late(&ENGINE_OWN));
    if let Some((_, step)) = look.in_step() {
        let seconds = step.as_secs();
        // What a step takes is measured at its end. Until then, what took the most so far is the best guess.
        let name = most.map(|(of, _)| &of.name).or(computing.most_of_the_run(&ENGINE_OWN).map(|of| &of.name));
        let name = name.map_or(String::new(), |name| format!(", most likely in operator {name}"));
        return format!("An operator is slow: a worker{at} has been in one step for {seconds} s{name}.");
    }
    match most {
        Some((of, share)) => format!(
            "The operators are slow: the workers{at} compute all the time, {} of it in operator {}.",
            percent(share),
            of.name
        ),
        None => format!("The operators are slow: the workers{at} compute all the time."),
    }
}

fn skew(look: &Look<'_>) -> Option<Diagnosis> {
    let skew = look.board.max_skew_ms?;
    let paused = look.parts().find(|(_, part)| part.waits == Waits::Slowest && part.waits_for > look.limit);
    let (name, evidence) = match paused {
        Some((input, part)) => (
            look.name(input, part.partition),
            format!("it has been paused for {} s", part.waits_for.as_secs()),
        ),
        // Its process has not said so yet: what is committed says how far it is ahead.
        None => {
            let lag = look.behind.iter().find(|lag| is_far_ahead(look, lag, skew))?;
            (look.name(lag.input, lag.partition), "the last commit has it that far ahead".to_string())
        }
    };
    Some(Diagnosis {
        cause: Cause::PausedBySkew,
        sentence: format!("{name} is paused: its event time is too far ahead of the slowest partition."),
        evidence: vec![
            evidence,
            format!("more than {} s of event time are between them", skew / 1_000),
            look.waiting(),
        ],
        next: "Find why the slowest partition is behind: headway status shows its watermark.".into(),
    })
}

fn is_far_ahead(look: &Look<'_>, lag: &Lag, skew: i64) -> bool {
    if look.part(lag.input, lag.partition).is_some() {
        return false;
    }
    let slowest = |input: &Input| input.slowest().map(PartitionEntry::reached);
    let slowest = look.head.inputs.get(lag.input).and_then(slowest);
    let own = look.entry(lag).map(|part| part.own);
    slowest.zip(own).is_some_and(|(slowest, own)| {
        slowest > EventTime::MIN && own > slowest && own.ms().saturating_sub(slowest.ms()) > skew
    })
}

fn slow_partition(look: &Look<'_>) -> Option<Diagnosis> {
    let (input, partition) = slow_one(look)?;
    Some(Diagnosis {
        cause: Cause::SlowPartition,
        sentence: format!("{} is slow, and no other is.", look.name(input, partition)),
        evidence: vec![look.waiting(), "workers and lake mostly wait".into()],
        next: "Look at the broker that leads this partition: kafka-topics.sh --describe --topic ….".into(),
    })
}

/// The one partition that is behind where the others are not.
fn slow_one(look: &Look<'_>) -> Option<(usize, Partition)> {
    if let Some(most) = look.behind.iter().max_by_key(|lag| lag.records) {
        let alone = look.board.lags.len() > 1 && most.records as f64 >= ALONE * look.records as f64;
        return alone.then_some((most.input, most.partition));
    }
    let mut unread = look.unread().filter(|(_, _, time)| *time > look.limit);
    let (input, partition, _) = unread.next()?;
    let is_alone = unread.next().is_none() && look.parts().count() > 1;
    is_alone.then_some((input, partition))
}

fn slow_source(look: &Look<'_>) -> Option<Diagnosis> {
    let calm = workers(look).iter().all(|worker| worker.busy < CALM);
    calm.then(|| Diagnosis {
        cause: Cause::SlowSource,
        sentence: "The source is slow: workers and lake wait for records.".into(),
        evidence: vec![look.waiting(), look.rate()],
        next: "Measure the network and the brokers: kcat -C -t … -o beginning -e > /dev/null reads without Headway.".into(),
    })
}

fn unknown(look: &Look<'_>) -> Diagnosis {
    let shares = workers(look).iter().map(|worker| percent(worker.busy)).collect::<Vec<_>>().join(", ");
    Diagnosis {
        cause: Cause::Unknown,
        sentence: "Records wait, and no part of the job is busy or stuck enough to explain it.".into(),
        evidence: vec![look.waiting(), look.rate(), format!("workers on a processor: {shares}")],
        next: "Run it again in a few seconds; if it stays, report it with headway status -o json.".into(),
    }
}

#[cfg(test)]
#[path = "lag_tests.rs"]
mod tests;
