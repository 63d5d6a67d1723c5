//! The manifest: the file that makes an epoch true, and what it says.
//!
//! One line of JSON whose last field is the checksum of everything before it, so that a flipped bit is found even
//! where the JSON still parses. Times are milliseconds UTC; `null` stands for "nothing known yet".
//!
//! A field with a default is left out of the file where it has it. Several fields have no writer yet: they are part of the
//! format all the same, so that later releases need no other format. The comment at each field names its writer.

use crate::engine::format::names::{Generation, Seq};
use headway_operators::pace::InputsWatermark;
use headway_operators::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use crate::engine::format::entries::{
    Expectation, Fates, Fed, Finished, Gap, Input, LakeFile, LakeKind, ManifestId, Nonce, Operator,
    PartitionEntry, Severity, StateEntry, StateId, StateV1, Subject, Target, TimeRange, Unjudged, View,
};

/// The format that this build writes; it reads the ones before. Frozen: files of each are kept in `tests/golden`, and
/// whatever changes what is written is a new format, except fields that builds may ignore without harm. A new format of
/// state files or segments is a new format of manifests: a build that cannot read them must not take over.
pub const FORMAT: u32 = 2;

/// What one commit says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this file.
    pub format: u32,
    /// The job it belongs to.
    pub job: String,
    /// The pipeline that ran.
    pub pipeline: String,
    /// The version of the pipeline's output and state.
    pub pipeline_version: u32,
    /// What state and output were made with: window, lateness, zone, …
    pub fingerprint: BTreeMap<String, String>,
    /// The columns of each output that is not self-describing, as a hash. Other columns need another prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, String>,
    /// The program that wrote it.
    pub program: Program,
    /// Its number, dense.
    pub seq: Seq,
    /// The run that wrote it.
    pub generation: Generation,
    /// Unique to this manifest.
    pub nonce: Nonce,
    /// The nonce of manifest `seq - 1`; `None` for the first.
    pub parent: Option<Nonce>,
    /// Why it was written.
    pub kind: Kind,
    /// The last epoch that is committed; 0 before the first.
    pub epoch: Epoch,
    /// When the first worker began that epoch, by its clock; `None` in a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_ms: Option<i64>,
    /// When it was built, by the committer's clock.
    pub written_ms: i64,
    /// The processes and workers of the run.
    pub members: Members,
    /// The newest event time of messages without a time stamp, where a person fixed it for this run. A run does not take
    /// over what another one had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_ms: Option<i64>,
    /// What a person allowed when this run started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// How often the job was started after a run that had failed, by the code of what had ended that one; `process-gone` for
    /// one that had not said so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<String, u64>,
    /// Records that the job has passed over since its start, since they were gone and a person accepted that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// The inputs, in the pipeline's order.
    pub inputs: Vec<Input>,
    /// `W_C(epoch)` of every set of several inputs that some operator combines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watermarks: Vec<InputsWatermark>,
    /// Views: every day before this instant is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_up_to: Option<EventTime>,
    /// Views: the first instants of days before that, which a person has unsealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsealed: Vec<EventTime>,
    /// Every operator with state, whether it holds something or not.
    pub operators: BTreeMap<String, Operator>,
    /// Operators whose saved state is lost on purpose: what runs before this one wrote of them is not state any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, Generation>,
    /// Rows of each output since the job's start, this manifest's included.
    pub written: BTreeMap<String, u64>,
    /// The state as of `epoch`: every file that has a live section, oldest first.
    pub state: Vec<StateEntry>,
    /// The lake files that this manifest makes true.
    pub lake: Vec<LakeFile>,
    /// Views by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<String, View>,
    /// Views: the newest manifest with a change file, which the next change file names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<ManifestId>,
    /// Views: change files of manifests before this number are not kept any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_from: Option<Seq>,
    /// What each target outside the lake has acknowledged. Written by targets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, Target>,
    /// What each expectation found, by name. Written by expectations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expectations: BTreeMap<String, Expectation>,
    /// Lake files of earlier manifests that a person has moved away, as this manifest notes. Written by `lake release`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<String>,
    /// The released files are deleted: all their rows are older than this. Written by `lake retire`. A build that does not know
    /// this field takes them for moved away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_before: Option<EventTime>,
}

/// Why a manifest was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A run started.
    Claim,
    /// An epoch was committed.
    Commit,
    /// A bounded run ended. Adds nothing: what the manifest before names is published, and may be moved away.
    Closed,
}

/// A program, as a person would look for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The name of the binary.
    pub name: String,
    /// The version of Headway in it.
    pub build: String,
}

/// The processes and workers of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Processes.
    pub processes: u32,
    /// Workers of each process.
    pub workers: u32,
    /// Where the processes listen, by their index; none if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

impl Manifest {
    /// This manifest, as others name it.
    pub fn id(&self) -> ManifestId {
        ManifestId { seq: self.seq, nonce: self.nonce }
    }

    /// The first manifest of a job: a claim of run 1 with one worker and no inputs, in which nothing has happened yet.
    pub fn first(job: &str, pipeline: &str, nonce: Nonce) -> Manifest {
        Manifest {
            format: FORMAT,
            job: job.to_string(),
            pipeline: pipeline.to_string(),
            pipeline_version: 1,
            fingerprint: BTreeMap::new(),
            schemas: BTreeMap::new(),
            program: Program::default(),
            seq: Seq(0),
            generation: Generation(1),
            nonce,
            parent: None,
            kind: Kind::Claim,
            epoch: Epoch(0),
            began_ms: None,
            written_ms: 0,
            members: Members::one_process(1),
            not_after_ms: None,
            allowed: Vec::new(),
            restarts: BTreeMap::new(),
            gaps: Vec::new(),
            inputs: Vec::new(),
            watermarks: Vec::new(),
            sealed_up_to: None,
            unsealed: Vec::new(),
            operators: BTreeMap::new(),
            dropped: BTreeMap::new(),
            written: BTreeMap::new(),
            state: Vec::new(),
            lake: Vec::new(),
            views: BTreeMap::new(),
            changes: None,
            changes_from: None,
            targets: BTreeMap::new(),
            expectations: BTreeMap::new(),
            released: Vec::new(),
            retired_before: None,
        }
    }

    /// New rows in lake files. Dead letters and late records are no rows; those of files that it replaces are not new.
    pub fn rows(&self) -> u64 {
        let new = self.lake.iter().filter(|file| !file.is_side() && file.replaces.is_empty());
        new.map(|file| file.rows).sum()
    }

    /// Entries that `operator` holds after the epoch, on all workers, if that is known.
    pub fn held(&self, operator: &str) -> Option<u64> {
        self.operators.get(operator)?.held
    }
}

impl Members {
    /// One process with `workers` workers.
    pub fn one_process(workers: u32) -> Members {
        Members { processes: 1, workers, addresses: Vec::new() }
    }

    /// Processes and workers of each, such as `3x1`.
    pub fn size(&self) -> String {
        format!("{}x{}", self.processes, self.workers)
    }

    /// The size in the form 3x2, if that of `later` is another one.
    pub fn other_size(&self, later: &Members) -> Option<String> {
        Some(self.size()).filter(|size| *size != later.size())
    }

    /// Workers of all processes.
    pub fn total(&self) -> u32 {
        self.processes.saturating_mul(self.workers)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use headway_operators::ack::Place;
    use headway_operators::record::{Offset, Partition};

    /// A first manifest of one input with `partitions` partitions, nothing read.
    pub(crate) fn first(partitions: u32) -> Manifest {
        let partitions = (0..partitions).map(|partition| {
            PartitionEntry::new(Partition(partition), &format!("file-{partition}"), Offset(0))
        });
        Manifest {
            fingerprint: BTreeMap::from([("window".into(), "300".into())]),
            program: Program { name: "headway".into(), build: "0.1.0".into() },
            written_ms: 1_541_462_400_000,
            inputs: vec![Input { partitions: partitions.collect(), ..Input::new("gate", "files", "gates") }],
            ..Manifest::first("job", "gate", Nonce(1))
        }
    }

    /// A lake file of one row, as the first epoch commits it.
    pub(crate) fn batch() -> LakeFile {
        LakeFile {
            kind: LakeKind::Rows,
            output: "batch".into(),
            folder: "gate/".into(),
            name: "batch_1.csv.gz".into(),
            staged: Place::whole("s"),
            rows: 1,
            bytes: 3,
            checksum: "abc".into(),
            event_time: None,
            since: Epoch(1),
            fed: Vec::new(),
            replaces: Vec::new(),
        }
    }
}
