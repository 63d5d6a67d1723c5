//! The life of a job in the log: one line for each event, with a stable `event` key, and no flood.
//!
//! `committed` comes at most every ten seconds, `outcome` at most once a minute. If a commit has many events of partitions, one line
//! counts them. At `debug` there is a line for each epoch.

use crate::connect::End;
use crate::engine::clock::Clock;
use crate::engine::commit::checkpoint::{Committed, Resume};
use crate::engine::format::manifest::{Manifest, Members, PartitionEntry};
use crate::engine::format::names::Seq;
use crate::engine::run::closed::Closed;
use crate::engine::run::late_judge::ManyLate;
use crate::engine::run::outcome::{Outcome, describe, reasons};
use crate::engine::run::ports::idle_workers_of;
use headway_operators::ack::Ack;
use headway_operators::duration;
use headway_operators::record::Partition;
use headway_operators::time::{Epoch, EventTime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, info, warn};

/// How often commits are logged.
const COMMITTED_EVERY: Duration = Duration::from_secs(10);

/// How often the fates of all records are logged.
const OUTCOME_EVERY: Duration = Duration::from_secs(60);

/// How many events of partitions a commit may log one by one.
const PARTITIONS_MAX: usize = 8;

/// How many reasons of dead letters a line names.
const REASONS_MAX: usize = 3;

/// Lets something happen at most once in a stretch of time.
#[derive(Clone, Copy, Debug)]
struct Every {
    length: Duration,
    last: Option<Duration>,
}

impl Every {
    fn new(length: Duration) -> Every {
        Every { length, last: None }
    }

    /// True if it may happen `now`, and notes that it does.
    fn is_due(&mut self, now: Duration) -> bool {
        let due = self.last.is_none_or(|last| now.saturating_sub(last) >= self.length);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// What a partition was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Joining,
    Idle,
    Ended,
}

impl State {
    fn of(part: &PartitionEntry) -> State {
        match part {
            PartitionEntry { ended: true, .. } => State::Ended,
            PartitionEntry { idle: true, .. } => State::Idle,
            PartitionEntry { joining: true, .. } => State::Joining,
            PartitionEntry { ended: false, idle: false, joining: false, .. } => State::Reading,
        }
    }
}

/// A change of what a partition is doing, as the log names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    event: &'static str,
    input: String,
    partition: Partition,
}

/// The journal of one run.
pub struct Journal {
    clock: Arc<dyn Clock>,
    /// What the run did so far.
    pub outcome: Outcome,
    states: BTreeMap<(usize, Partition), State>,
    committed: Every,
    /// Commits and rows since the last line.
    pending: (u64, u64),
    told: Every,
    /// Warnings of late records, for each input.
    many_late: BTreeMap<String, Every>,
    is_caught_up: bool,
}

/// Warns of workers that have nothing to read, if a job has several processes: to add such workers was of no use.
fn warn_of_idle(manifest: &Manifest) {
    let idle = idle_workers_of(manifest, &manifest.members);
    if manifest.members.processes > 1 && !idle.is_empty() {
        let workers = idle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        warn!(
            event = "worker-idle",
            workers, "there is no partition for some of the workers: they compute, and read nothing"
        );
    }
}

impl Journal {
    /// The journal of a run that goes on from `resume`. Logs where the run goes on, and warns of windows that are `closed`.
    pub fn begin(
        clock: Arc<dyn Clock>,
        resume: &Resume,
        members_before: Option<&Members>,
        closed: &[Closed],
    ) -> Journal {
        let manifest = &resume.manifest;
        let (job, generation, seq) = (manifest.job.as_str(), manifest.generation.0, manifest.seq.0);
        info!(event = "claimed", job, generation, seq, "took the job");
        let workers = manifest.members.total();
        let from = members_before.and_then(|before| before.other_size(&manifest.members));
        let size = from.as_ref().map(|from| format!("{from} → {}", manifest.members.size()));
        if let Some(from) = from {
            let to = manifest.members.size();
            info!(event = "rescaled", job, from, to, "runs on another number of processes or workers");
        }
        warn_of_idle(manifest);
        if resume.fresh {
            info!(event = "started", job, generation, workers, "starts from the beginning");
        } else {
            let parts = manifest.inputs.iter().flat_map(|input| &input.partitions);
            let offsets: Vec<String> =
                parts.map(|part| format!("{}:{}", part.partition, part.next)).take(100).collect();
            let (epoch, age_s) = (manifest.epoch.0, resume.age_ms.map(|ms| ms.max(0) / 1000));
            let watermark = watermark(manifest);
            let offsets = offsets.join(" ");
            info!(
                event = "started",
                job, generation, workers, size, epoch, offsets, watermark, age_s, "resumes"
            );
        }
        let states = states(manifest).collect();
        warn_of_closed(closed);
        let outcome = Outcome::new(&manifest.inputs, closed);
        let (committed, told) = (Every::new(COMMITTED_EVERY), Every::new(OUTCOME_EVERY));
        let (pending, many_late) = ((0, 0), BTreeMap::new());
        Journal { clock, outcome, states, committed, pending, told, many_late, is_caught_up: false }
    }

    /// Notes a commit.
    pub fn committed(&mut self, committed: &Committed, manifest: &Manifest, acks: &[Ack]) {
        self.outcome.add(manifest, acks);
        let Committed { seq: Seq(seq), epoch: Epoch(epoch), rows, files, steps: _ } = *committed;
        self.pending = (self.pending.0 + 1, self.pending.1 + rows);
        let now = self.clock.elapsed();
        if self.committed.is_due(now) {
            let (commits, rows) = std::mem::take(&mut self.pending);
            let watermark = watermark(manifest);
            info!(event = "committed", seq, epoch, commits, rows, files, watermark, "committed");
        } else {
            debug!(event = "committed", seq, epoch, rows, files, "committed");
        }
        let changes = self.changes(manifest);
        for Change { event, input, partition } in changes.iter().take(PARTITIONS_MAX) {
            info!(event, input, partition = partition.0, epoch, "a partition changed");
        }
        if let Some(more) = changes.len().checked_sub(PARTITIONS_MAX).filter(|more| *more > 0) {
            info!(event = "partitions-changed", more, epoch, "more partitions changed");
        }
        if self.told.is_due(now) {
            self.tell();
        }
    }

    /// Notes where the sources end now; logs once, when everything up to there is committed.
    pub fn ends(&mut self, ends: &[Vec<End>], manifest: &Manifest) {
        if self.is_caught_up || !is_caught_up(ends, manifest) {
            return;
        }
        self.is_caught_up = true;
        info!(event = "caught-up", epoch = manifest.epoch.0, "read everything that is there now");
    }

    /// Warns of inputs with many late records, of each at most once a minute. True if it has warned.
    pub fn many_late(&mut self, found: &[ManyLate]) -> bool {
        let now = self.clock.elapsed();
        let mut has_warned = false;
        for ManyLate { input, late, records, enough_ms } in found {
            let every = self.many_late.entry(input.clone()).or_insert_with(|| Every::new(OUTCOME_EVERY));
            if !every.is_due(now) {
                continue;
            }
            has_warned = true;
            let enough = enough_ms.map(duration::show);
            warn!(
                event = "many-late",
                input,
                late,
                records,
                enough,
                "records come after their windows have closed; a lateness of `enough` would \
                have waited for nine of ten, and another lateness needs a new lake"
            );
        }
        has_warned
    }

    /// Logs the end of the run.
    pub fn end(&self, is_draining: bool) {
        self.tell();
        let (event, how) = if is_draining { ("drained", "drained") } else { ("ended", "ended") };
        info!(event, commits = self.outcome.commits, rows = self.outcome.rows, "{how}");
    }

    /// Logs what became of all records so far.
    fn tell(&self) {
        let (rows, fates) = (self.outcome.rows, self.outcome.fates());
        let (read, accepted, duplicate, late, dead, filtered) =
            (fates.consumed, fates.accepted, fates.duplicate, fates.late, fates.dead_total(), fates.filtered);
        let top = reasons(&fates.dead);
        let samples = || self.outcome.inputs.iter().flat_map(|input| &input.samples);
        let sample = top.first().and_then(|(top, _)| samples().find(|(reason, _)| reason == top));
        let sample = sample.map(|(_, sample)| describe(sample));
        let top: Vec<String> =
            top.iter().take(REASONS_MAX).map(|(reason, count)| format!("{reason} {count}")).collect();
        let reasons = Some(top.join(", ")).filter(|top| !top.is_empty());
        info!(
            event = "outcome",
            read, rows, accepted, duplicate, late, dead, filtered, reasons, sample, "what this run did"
        );
    }

    /// What the partitions of `manifest` do that they did not do before.
    fn changes(&mut self, manifest: &Manifest) -> Vec<Change> {
        let mut changes = Vec::new();
        for ((index, partition), state) in states(manifest) {
            let before = self.states.insert((index, partition), state);
            let event = match (before, state) {
                (before, state) if before == Some(state) => continue,
                (None, _) | (_, State::Joining) => "partition-joined",
                (_, State::Idle) => "idle",
                (_, State::Ended) => "partition-ended",
                (_, State::Reading) => continue,
            };
            changes.push(Change { event, input: manifest.inputs[index].name.clone(), partition });
        }
        changes
    }
}

/// Warns of windows that an earlier run closed, before this run finds records late because of that.
fn warn_of_closed(closed: &[Closed]) {
    for Closed { input, until } in closed {
        let until = utc(*until);
        warn!(
            event = "windows-closed",
            input,
            until,
            "an earlier run closed all windows: records before that time are late now; end runs with --until caught-up, \
             and windows stay open"
        );
    }
}

/// What each partition does, by the number of its input and its own.
fn states(manifest: &Manifest) -> impl Iterator<Item = ((usize, Partition), State)> + '_ {
    let of = |(index, input): (usize, &'_ crate::engine::format::manifest::Input)| {
        let states = input.partitions.iter().map(move |part| ((index, part.partition), State::of(part)));
        states.collect::<Vec<_>>()
    };
    manifest.inputs.iter().enumerate().flat_map(of)
}

/// The least watermark of the inputs; `None` if there is none yet.
fn watermark(manifest: &Manifest) -> Option<String> {
    let least = manifest.inputs.iter().map(|input| input.watermark).min()?;
    (least > EventTime::MIN).then(|| utc(least))
}

/// An event time as people read it.
fn utc(time: EventTime) -> String {
    let shown = chrono::DateTime::from_timestamp_millis(time.ms());
    shown.map_or(format!("{} ms", time.ms()), |time| time.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string())
}

/// True if the ends of all partitions are known and committed.
fn is_caught_up(ends: &[Vec<End>], manifest: &Manifest) -> bool {
    let part_is = |ends: &[End], part: &PartitionEntry| {
        ends.iter().any(|end| end.partition == part.partition && end.offset <= part.next)
    };
    !manifest.inputs.is_empty()
        && manifest.inputs.iter().enumerate().all(|(index, input)| {
            let ends = ends.get(index).map(Vec::as_slice).unwrap_or_default();
            !ends.is_empty() && input.partitions.iter().all(|part| part_is(ends, part))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Manual;
    use crate::engine::commit::state_files::Headers;
    use crate::engine::format::manifest::tests::first;
    use headway_operators::record::Offset;

    #[test]
    fn late_records_are_warned_of_once_a_minute_for_each_input() {
        let clock = Arc::new(Manual::default());
        let mut journal = Journal { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..journal() };
        let many = |input: &str| {
            [ManyLate { input: input.into(), late: 900, records: 1_000, enough_ms: Some(86_400_000) }]
        };
        assert!(journal.many_late(&many("a")) && !journal.many_late(&many("a")));
        assert!(journal.many_late(&many("b")), "another input");
        clock.advance(OUTCOME_EVERY);
        assert!(journal.many_late(&many("a")) && !journal.many_late(&[]));
    }

    fn journal() -> Journal {
        let manifest = first(2);
        let resume =
            Resume { fresh: true, first_epoch: Epoch(1), age_ms: None, manifest, headers: Headers::new() };
        Journal::begin(Arc::new(Manual::default()), &resume, None, &[])
    }

    #[test]
    fn lines_that_come_often_are_rare() {
        let mut every = Every::new(Duration::from_secs(10));
        let due: Vec<u64> = (0..31).filter(|s| every.is_due(Duration::from_secs(*s))).collect();
        assert_eq!(due, [0, 10, 20, 30]);
    }

    #[test]
    fn change_of_a_partition_is_an_event_once() {
        let mut journal = journal();
        let mut manifest = first(2);
        assert_eq!(journal.changes(&manifest), []);
        manifest.inputs[0].partitions[1].idle = true;
        let mut new = manifest.inputs[0].partitions[0].clone();
        (new.partition, new.joining) = (Partition(7), true);
        manifest.inputs[0].partitions.push(new);
        let events: Vec<_> =
            journal.changes(&manifest).into_iter().map(|change| (change.event, change.partition.0)).collect();
        assert_eq!(events, [("idle", 1), ("partition-joined", 7)]);
        assert_eq!(journal.changes(&manifest), []);
        manifest.inputs[0].partitions[1].idle = false;
        manifest.inputs[0].partitions[2].joining = false;
        assert_eq!(journal.changes(&manifest), [], "reading is no event");
    }

    #[test]
    fn job_is_caught_up_when_every_end_is_committed() {
        let mut manifest = first(2);
        manifest.inputs[0].partitions.iter_mut().for_each(|part| part.next = Offset(10));
        let end = End::at;
        assert!(!is_caught_up(&[], &manifest));
        assert!(!is_caught_up(&[vec![end(Partition(0), Offset(10))]], &manifest));
        assert!(!is_caught_up(
            &[vec![end(Partition(0), Offset(10)), end(Partition(1), Offset(11))]],
            &manifest
        ));
        assert!(is_caught_up(
            &[vec![end(Partition(0), Offset(10)), end(Partition(1), Offset(9))]],
            &manifest
        ));
    }
}
