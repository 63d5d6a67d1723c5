//! The manifest by which a run takes a job over. No I/O.

use crate::engine::commit::finished;
use crate::engine::commit::job::{InputInfo, Job};
use crate::engine::commit::ledger::Stamp;
use crate::engine::format::manifest::{
    FORMAT, Finished, Input, Kind, Manifest, Members, PartitionEntry, StateEntry, Unjudged,
};
use crate::engine::format::names::Generation;
use crate::engine::format::names::Seq;
use headway_operators::ack::InputIx;
use headway_operators::pace::join_floor;
use headway_operators::time::Epoch;
use headway_operators::time::EventTime;
use std::collections::BTreeMap;

/// The claim of `job` after `head`, the last manifest there is.
pub fn claim(job: &Job, head: Option<&Manifest>, stamp: Stamp) -> Manifest {
    let Some(head) = head else { return first(job, stamp) };
    let dropped: Vec<&String> = head.operators.keys().filter(|name| job.drops(name)).collect();
    let generation = head.generation.next();
    let mut claim = Manifest {
        seq: head.seq.next(),
        generation,
        parent: Some(head.nonce),
        epoch: head.epoch,
        allowed: dropped.iter().map(|name| format!("dropped-state {name}")).collect(),
        restarts: head.restarts.clone(),
        watermarks: head.watermarks.clone(),
        sealed_up_to: head.sealed_up_to,
        unsealed: head.unsealed.clone(),
        operators: head.operators.clone(),
        dropped: head.dropped.clone(),
        written: head.written.clone(),
        state: head.state.clone(),
        views: head.views.clone(),
        changes: head.changes,
        targets: head.targets.clone(),
        ..first(job, stamp)
    };
    if head.format == 1 {
        // Format 1 counted some entries twice.
        claim.operators.values_mut().for_each(|operator| operator.held = None);
    }
    claim.state.sort_by_key(StateEntry::id);
    for name in dropped {
        claim.operators.remove(name);
        claim.dropped.insert(name.clone(), generation);
    }
    // Before the first epoch every partition is there from the start; later ones have to join.
    let inputs = (0..).zip(job.inputs.iter().zip(&head.inputs));
    claim.inputs = inputs
        .map(|(index, (info, input))| {
            let floor = join_floor(InputIx(index), input.watermark, &head.watermarks);
            claimed(info, input, floor, head.epoch == Epoch(0), stamp)
        })
        .collect();
    claim
}

/// The claim of a job that never started.
fn first(job: &Job, stamp: Stamp) -> Manifest {
    let input = |info: &InputInfo| {
        let partitions = info.partitions.iter().map(|seen| {
            let quiet_since_ms = Some(stamp.written_ms);
            PartitionEntry {
                quiet_since_ms,
                ..PartitionEntry::new(seen.partition, &seen.identity, seen.first)
            }
        });
        Input {
            name: info.name.clone(),
            kind: info.kind.clone(),
            topic: info.topic.clone(),
            watermark: EventTime::MIN,
            ended: false,
            partitions: partitions.collect(),
            finished: Finished::default(),
            unjudged: Unjudged::default(),
        }
    };
    Manifest {
        format: FORMAT,
        job: job.name.clone(),
        pipeline: job.pipeline.clone(),
        pipeline_version: job.pipeline_version,
        fingerprint: job.fingerprint.noted.clone(),
        schemas: job.schemas(),
        program: job.program.clone(),
        seq: Seq(0),
        generation: Generation(1),
        nonce: stamp.nonce,
        parent: None,
        kind: Kind::Claim,
        epoch: Epoch(0),
        began_ms: None,
        written_ms: stamp.written_ms,
        members: Members::one_process(job.workers),
        not_after_ms: job.not_after_ms,
        allowed: Vec::new(),
        restarts: BTreeMap::new(),
        inputs: job.inputs.iter().map(input).collect(),
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
        targets: BTreeMap::new(),
        released: Vec::new(),
    }
}

/// An input as a run takes it over: what an earlier run said of idleness and ends does not hold any more.
///
/// A partition that did not count may lie behind the watermark, and now counts again: as one that wakes, it takes `floor`.
/// Else its records would be stamped as if closed windows were open to them.
fn claimed(info: &InputInfo, head: &Input, floor: EventTime, all: bool, stamp: Stamp) -> Input {
    let mut head = head.clone();
    finished::finish(&mut head, |partition| info.partitions.iter().any(|seen| seen.partition == partition));
    let mut partitions = BTreeMap::new();
    for part in &head.partitions {
        let mut entry = PartitionEntry {
            idle: false,
            joining: false,
            ended: false,
            // One of a lake of format 1 has been quiet for we do not know how long.
            quiet_since_ms: part.quiet_since_ms.or(Some(stamp.written_ms)),
            ..part.carried()
        };
        if entry.own.max(entry.floor) < floor {
            (entry.floor, entry.floor_from) = (floor, entry.next);
        }
        partitions.insert(entry.partition, entry);
    }
    for seen in info.partitions.iter().filter(|_| all) {
        let quiet_since_ms = Some(stamp.written_ms);
        let new = || PartitionEntry {
            quiet_since_ms,
            ..PartitionEntry::new(seen.partition, &seen.identity, seen.first)
        };
        partitions.entry(seen.partition).or_insert_with(new);
    }
    Input { ended: false, partitions: partitions.into_values().collect(), ..head }
}
