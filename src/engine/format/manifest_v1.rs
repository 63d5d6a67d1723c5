//! Manifests of format 1, as the manifests of today that say the same.
//!
//! A build that continues a lake of format 1 names its state files in the next manifests as they are, and its lake files
//! stay where they are: nothing is written again.

use crate::engine::format::manifest::{
    Fates, Fed, Finished, Input, Kind, LakeFile, LakeKind, Manifest, Members, Nonce, Operator,
    PartitionEntry, Program, StateEntry, StateV1, TimeRange, Unjudged,
};
use crate::engine::format::names::{Generation, Seq};
use headway_operators::ack::Place;
use headway_operators::record::{LastRead, Offset, Partition};
use headway_operators::time::{Epoch, EventTime, Watermark};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct ManifestV1 {
    job: String,
    pipeline: String,
    pipeline_version: u32,
    fingerprint: BTreeMap<String, String>,
    program: String,
    seq: Seq,
    generation: Generation,
    nonce: Nonce,
    parent: Option<Nonce>,
    kind: KindV1,
    epoch: Epoch,
    workers: u32,
    written_ms: i64,
    allowed: Vec<String>,
    inputs: Vec<InputV1>,
    written: BTreeMap<String, u64>,
    held: BTreeMap<String, u64>,
    state: Vec<StateEntryV1>,
    lake: Vec<LakeFileV1>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindV1 {
    Claim,
    Epoch,
}

#[derive(Deserialize)]
struct InputV1 {
    name: String,
    kind: String,
    topic: String,
    watermark: Option<Watermark>,
    ended: bool,
    partitions: Vec<PartitionEntryV1>,
}

#[derive(Deserialize)]
struct PartitionEntryV1 {
    partition: Partition,
    identity: String,
    first: Offset,
    from: Offset,
    next: Offset,
    #[serde(default)]
    last_read: Option<LastRead>,
    own: Option<Watermark>,
    floor: Option<Watermark>,
    floor_from: Offset,
    idle: bool,
    joining: bool,
    ended: bool,
    fates: Fates,
    total: Fates,
}

#[derive(Deserialize)]
struct StateEntryV1 {
    generation: Generation,
    epoch: Epoch,
    operator: String,
    version: u32,
    worker: u32,
    base: bool,
    path: String,
    bytes: u64,
    checksum: String,
}

#[derive(Deserialize)]
struct LakeFileV1 {
    output: String,
    path: String,
    staged: String,
    rows: u64,
    bytes: u64,
    checksum: String,
    event_time: Option<(EventTime, EventTime)>,
    since: Epoch,
    fed: Vec<Fed>,
}

/// The manifest whose JSON of format 1 is `body`.
///
/// # Errors
/// If it is not one.
pub(crate) fn decode(body: &[u8]) -> Result<Manifest, String> {
    let old: ManifestV1 = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(old.into())
}

impl From<ManifestV1> for Manifest {
    /// What a person fixed as `not_after` in format 1 is left out: a run of today has a limit of its own.
    fn from(old: ManifestV1) -> Manifest {
        Manifest {
            format: 1,
            job: old.job,
            pipeline: old.pipeline,
            pipeline_version: old.pipeline_version,
            fingerprint: old.fingerprint,
            schemas: BTreeMap::new(),
            program: Program { name: "headway".to_string(), build: old.program },
            seq: old.seq,
            generation: old.generation,
            nonce: old.nonce,
            parent: old.parent,
            kind: match old.kind {
                KindV1::Claim => Kind::Claim,
                KindV1::Epoch => Kind::Commit,
            },
            epoch: old.epoch,
            began_ms: None,
            written_ms: old.written_ms,
            members: Members::one_process(old.workers),
            not_after_ms: None,
            allowed: old.allowed,
            restarts: BTreeMap::new(),
            inputs: old.inputs.into_iter().map(Input::from).collect(),
            watermarks: Vec::new(),
            sealed_up_to: None,
            unsealed: Vec::new(),
            operators: operators(&old.state, old.held),
            dropped: BTreeMap::new(),
            written: old.written,
            state: state(old.state),
            lake: old.lake.into_iter().map(LakeFile::from).collect(),
            views: BTreeMap::new(),
            changes: None,
            changes_from: None,
            targets: BTreeMap::new(),
            expectations: BTreeMap::new(),
            released: Vec::new(),
            retired_before: None,
            gaps: Vec::new(),
        }
    }
}

/// What format 1 says of operators: what they hold, and in their state files the version.
fn operators(state: &[StateEntryV1], held: BTreeMap<String, u64>) -> BTreeMap<String, Operator> {
    let mut operators: BTreeMap<String, Operator> = BTreeMap::new();
    for (name, held) in held {
        operators.entry(name).or_default().held = Some(held);
    }
    for entry in state {
        let operator = operators.entry(entry.operator.clone()).or_default();
        operator.version = operator.version.max(entry.version);
    }
    operators
}

/// The state files, each under a number of its own: in format 1 a worker wrote one for each operator.
fn state(old: Vec<StateEntryV1>) -> Vec<StateEntry> {
    let mut parts: BTreeMap<(Generation, Epoch, u32), u32> = BTreeMap::new();
    let entry = |old: StateEntryV1| {
        let next = parts.entry((old.generation, old.epoch, old.worker)).or_default();
        let part = *next;
        *next += 1;
        StateEntry {
            generation: old.generation,
            epoch: old.epoch,
            worker: old.worker,
            part,
            bytes: old.bytes,
            header_bytes: 0,
            checksum: old.checksum,
            place: Some(Place::whole(old.path)),
            v1: Some(StateV1 { operator: old.operator, version: old.version, base: old.base }),
        }
    };
    old.into_iter().map(entry).collect()
}

impl From<InputV1> for Input {
    fn from(old: InputV1) -> Input {
        Input {
            name: old.name,
            kind: old.kind,
            topic: old.topic,
            watermark: old.watermark.unwrap_or(EventTime::MIN),
            ended: old.ended,
            partitions: old.partitions.into_iter().map(PartitionEntry::from).collect(),
            finished: Finished::default(),
            unjudged: Unjudged::default(),
        }
    }
}

impl From<PartitionEntryV1> for PartitionEntry {
    fn from(old: PartitionEntryV1) -> PartitionEntry {
        PartitionEntry {
            from: old.from,
            next: old.next,
            last_read: old.last_read,
            own: old.own.unwrap_or(EventTime::MIN),
            floor: old.floor.unwrap_or(EventTime::MIN),
            floor_from: old.floor_from,
            idle: old.idle,
            joining: old.joining,
            ended: old.ended,
            fates: old.fates,
            total: old.total,
            ..PartitionEntry::new(old.partition, &old.identity, old.first)
        }
    }
}

impl From<LakeFileV1> for LakeFile {
    fn from(old: LakeFileV1) -> LakeFile {
        let (folder, name) = old.path.split_at(old.path.rfind('/').map_or(0, |at| at + 1));
        LakeFile {
            kind: LakeKind::of_folder(folder),
            output: old.output,
            folder: folder.to_string(),
            name: name.to_string(),
            staged: Place::whole(old.staged),
            rows: old.rows,
            bytes: old.bytes,
            checksum: old.checksum,
            event_time: old.event_time.map(|(least, greatest)| TimeRange { least, greatest }),
            since: old.since,
            fed: old.fed,
            replaces: Vec::new(),
        }
    }
}
