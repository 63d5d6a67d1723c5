//! What a running job says of itself beside its manifests: advisory, in the sign of life and in metrics.

use crate::engine::format::names::Seq;
use crate::engine::format::waits::{FeedWait, Silence, StageWait, StoreUse};
use headway_operators::record::{Offset, Partition};
use headway_operators::time::Epoch;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the commit thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// It waits for an epoch to be complete.
    #[default]
    Nothing,
    /// It waits for a source to confirm what was read from it.
    Confirming,
    /// It writes a manifest and publishes what that names.
    Committing,
}

impl Doing {
    /// True while there is an epoch to commit.
    pub fn is_work(self) -> bool {
        self != Doing::Nothing
    }
}

/// How long the steps of one or more commits took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Steps {
    /// From the moment the sources ended the epoch until the last operator of this process had handed over its rows and state.
    pub close: Duration,
    /// From then until these rows and this state were durable.
    pub stage: Duration,
    /// The commit waited until every source had confirmed what was read from it.
    pub confirm: Duration,
    /// The commit decided what becomes true, and wrote the manifest.
    pub manifest: Duration,
    /// The commit made files visible.
    pub publish: Duration,
    /// The commit deleted files that no manifest names any more.
    pub clean: Duration,
    /// The slowest delivery to a target that ended since the commit before: from the commit whose changes it brought until the target
    /// had them. Zero if none ended.
    pub target: Duration,
}

impl Steps {
    /// How long the commit itself took: the steps in which only one commit can be at a time.
    pub fn total(&self) -> Duration {
        self.commit().iter().map(|(_, time)| time).sum()
    }

    /// The steps of the commit itself, with their names and in order.
    pub fn commit(&self) -> [(&'static str, Duration); 4] {
        let Steps { confirm, manifest, publish, clean, .. } = *self;
        [("confirm", confirm), ("manifest", manifest), ("publish", publish), ("clean", clean)]
    }

    /// Each step with its name, in order: what comes before the commit, the commit, what comes after it.
    pub fn named(&self) -> [(&'static str, Duration); 7] {
        let [confirm, manifest, publish, clean] = self.commit();
        [
            ("close", self.close),
            ("stage", self.stage),
            confirm,
            manifest,
            publish,
            clean,
            ("target", self.target),
        ]
    }

    /// What was added to these sums since they were `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Steps) -> Steps {
        Steps {
            close: self.close.saturating_sub(earlier.close),
            stage: self.stage.saturating_sub(earlier.stage),
            target: self.target.saturating_sub(earlier.target),
            confirm: self.confirm.saturating_sub(earlier.confirm),
            manifest: self.manifest.saturating_sub(earlier.manifest),
            publish: self.publish.saturating_sub(earlier.publish),
            clean: self.clean.saturating_sub(earlier.clean),
        }
    }

    /// Adds those of other commits.
    pub fn add(&mut self, other: &Steps) {
        self.close += other.close;
        self.stage += other.stage;
        self.target += other.target;
        self.confirm += other.confirm;
        self.manifest += other.manifest;
        self.publish += other.publish;
        self.clean += other.clean;
    }
}

/// How a worker spent its time since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerTime {
    /// On a processor.
    pub busy: Duration,
    /// Waiting: for something to do, for a disk, or for a processor.
    pub waiting: Duration,
    /// For how long it has been in a step of the dataflow that has not ended, and is in neither of the two.
    #[serde(default)]
    pub step_for: Duration,
}

/// What the operators of one name did, on the workers of one process, since the run began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperatorUse {
    /// The name.
    pub name: String,
    /// For how long they ran.
    pub busy: Duration,
    /// How often.
    pub runs: u64,
    /// What they took in by their first input; `None` if they have no input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_in: Option<u64>,
    /// What they gave out by their first output; `None` if nothing takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_out: Option<u64>,
}

impl OperatorUse {
    /// Adds what those of another worker did.
    pub fn add(&mut self, other: &OperatorUse) {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        self.busy += other.busy;
        self.runs += other.runs;
        self.records_in = sum(self.records_in, other.records_in);
        self.records_out = sum(self.records_out, other.records_out);
    }
}

/// For how long the operators of one name ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorTime {
    /// The name.
    pub name: String,
    /// How long.
    pub busy: Duration,
}

/// What happened of late: the differences over the last seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    /// How long that is.
    pub over: Duration,
    /// Records committed.
    pub records: u64,
    /// What commits took, together.
    pub steps: Steps,
    /// How each worker spent its time.
    pub workers: Vec<WorkerTime>,
    /// For how long the thread of each worker wrote files before their commit, those of this process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Duration>,
    /// For how long the store was asked, all threads together.
    pub store: Duration,
    /// For how long each operator of this process ran, those that took the most time first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<OperatorTime>,
}

impl Recent {
    /// How many records were committed in a second; `None` if nothing was measured yet.
    pub fn records_per_second(&self) -> Option<f64> {
        (!self.over.is_zero()).then(|| self.records as f64 / self.over.as_secs_f64())
    }

    /// Which share of the last seconds `time` is, from 0 to 1; 0 if nothing was measured yet.
    pub fn share(&self, time: Duration) -> f64 {
        part(time, self.over)
    }

    /// The operators in their order, each with its share of the time of all operators.
    pub fn operator_shares(&self) -> impl Iterator<Item = (&OperatorTime, f64)> {
        let all: Duration = self.operators.iter().map(|operator| operator.busy).sum();
        self.operators.iter().map(move |operator| (operator, part(operator.busy, all)))
    }
}

fn part(time: Duration, all: Duration) -> f64 {
    if all.is_zero() { 0.0 } else { (time.as_secs_f64() / all.as_secs_f64()).min(1.0) }
}

/// How many records of a partition are not committed, and for how long the oldest of them has been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// The number of the input.
    pub input: usize,
    /// The partition.
    pub partition: Partition,
    /// Where the partition ends.
    pub end: Offset,
    /// Offsets between what is committed and the end.
    pub records: i64,
    /// Since when the first of them is known to be there; zero if there are none. A run that begins behind counts from its
    /// start.
    pub for_ms: i64,
    /// It was read as far as it may be: an open transaction holds back the records after that.
    pub stalled: bool,
    /// The timestamp of the first of them, in milliseconds since the Unix epoch, once it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<i64>,
}

impl Lag {
    /// For how long the first record that is not committed has been there, at `now_ms`: by its own timestamp where it was
    /// read, else since when it is known to be there. Zero if there is none.
    pub fn age_ms(&self, now_ms: i64) -> i64 {
        if self.records == 0 {
            return 0;
        }
        self.first_ms.map_or(self.for_ms, |first_ms| now_ms.saturating_sub(first_ms).max(0))
    }
}

/// How far a target is behind what is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetLag {
    /// Its name.
    pub name: String,
    /// The last manifest whose changes it has.
    pub acknowledged: Option<Seq>,
    /// How many commits with changes it does not have.
    pub commits: u64,
    /// For how long the oldest of them is committed, in milliseconds.
    pub for_ms: i64,
    /// What is done for it now.
    pub doing: String,
    /// What it said last, if it is away.
    pub error: Option<String>,
}

/// Bytes of one operator, or of the messages of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What they belong to.
    pub name: String,
    /// How many.
    pub bytes: u64,
}

/// How much memory a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Resident memory in bytes, as the system counts it.
    pub resident: u64,
    /// How much it may be.
    pub limit: u64,
    /// Sources are paused, because it is nearly that much.
    pub paused: bool,
}

/// The board at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// When it was taken, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// For how long the run is at work.
    pub running: Duration,
    /// It was told to end.
    pub draining: bool,
    /// What the commit thread is doing.
    pub doing: Doing,
    /// For how long.
    pub doing_for: Duration,
    /// Commits of this run.
    pub commits: u64,
    /// What they took, together.
    pub steps: Steps,
    /// What the last one took.
    pub last: Steps,
    /// The slowest commit of this run.
    pub slowest: Steps,
    /// The epoch that it committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowest_epoch: Option<Epoch>,
    /// The last commit that the tables of views in the lake have, and when they were written, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables: Option<(Seq, i64)>,
    /// How long an epoch is meant to be.
    pub epoch: Duration,
    /// How each worker spent its time.
    pub workers: Vec<WorkerTime>,
    /// What the operators did on the workers of this process, in the order in which they were built.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<OperatorUse>,
    /// What happened of late.
    pub recent: Recent,
    /// The partitions whose ends are known.
    pub lags: Vec<Lag>,
    /// How far ahead in event time a partition may be before it is paused, in milliseconds.
    pub max_skew_ms: Option<i64>,
    /// Records that operators of this run dropped, in their order.
    pub dropped: Vec<Dropped>,
    /// How far targets are behind.
    pub targets: Vec<TargetLag>,
    /// What the feeds of this process wait for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub feeds: Vec<FeedWait>,
    /// What the threads of this process that write files do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageWait>,
    /// What the store does.
    pub store: StoreUse,
    /// The sources that did not answer when they were asked last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silence>,
    /// How much memory this process takes, if it has a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
    /// The size of the run before, in the form 3x2, if this one has another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescaled_from: Option<String>,
    /// What the other processes said last of themselves, which each does once a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
}

impl Snapshot {
    /// The boards of all processes that have said something, each with the number of its process; that of process 0 is this one.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Snapshot)> {
        std::iter::once((0, self)).chain(self.elsewhere.iter().map(|said| (said.process, &said.board)))
    }
}

/// The board of another process than the one that leads. What the leader alone knows is not on it: commits, ends, targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Elsewhere {
    /// The number of the process.
    pub process: u32,
    /// How long ago it said so.
    pub ago: Duration,
    /// What is on its board.
    pub board: Snapshot,
}

/// Records that an operator dropped for one reason. They were accepted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The operator.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub records: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_of_the_first_record_is_zero_where_none_waits() {
        let (input, partition, end) = (0, Partition(0), Offset(7));
        let mut lag =
            Lag { input, partition, end, records: 2, for_ms: 40, stalled: false, first_ms: Some(1_000) };
        assert_eq!(lag.age_ms(5_000), 4_000);
        assert_eq!(Lag { first_ms: None, ..lag }.age_ms(5_000), 40);
        lag.records = 0;
        assert_eq!((lag.age_ms(5_000), Lag { first_ms: None, ..lag }.age_ms(5_000)), (0, 0));
    }

    #[test]
    fn shares_and_rates_are_of_the_time_that_was_measured() {
        let operator = |name: &str, ms| OperatorTime { name: name.into(), busy: Duration::from_millis(ms) };
        let recent = Recent {
            over: Duration::from_secs(4),
            records: 10,
            operators: vec![operator("a", 30), operator("b", 10), operator("idle", 0)],
            ..Recent::default()
        };
        assert_eq!((recent.records_per_second(), recent.share(Duration::from_secs(1))), (Some(2.5), 0.25));
        assert_eq!(recent.share(Duration::from_secs(5)), 1.0);
        let shares: Vec<_> = recent.operator_shares().map(|(of, share)| (of.name.as_str(), share)).collect();
        assert_eq!(shares, [("a", 0.75), ("b", 0.25), ("idle", 0.0)]);
        let nothing = Recent::default();
        assert_eq!((nothing.records_per_second(), nothing.share(Duration::from_secs(1))), (None, 0.0));
    }
}
