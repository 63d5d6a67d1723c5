//! The manifest by which a run takes a job over. No I/O.

use crate::engine::commit::finished;
use crate::engine::commit::job::{InputInfo, Job, gap, gaps};
use crate::engine::commit::ledger::Stamp;
use crate::engine::format::manifest::{
    Expectation, Gap, Input, Manifest, PartitionEntry, StateEntry, Target, View,
};
use headway_operators::ack::InputIx;
use headway_operators::pace::join_floor;
use headway_operators::spec::ViewSpec;
use headway_operators::time::Epoch;
use headway_operators::time::EventTime;
use std::collections::BTreeMap;

/// The claim of `job` after `head`, the last manifest there is.
pub fn claim(job: &Job, head: Option<&Manifest>, stamp: Stamp) -> Manifest {
    let Some(head) = head else { return first(job, stamp) };
    let dropped: Vec<&String> = head.operators.keys().filter(|name| job.drops(name)).collect();
    // Views make their state again from committed rows where another version of the operator saved it.
    let remade = head.operators.iter().filter(|(name, known)| job.keeps_otherwise(name, known.version));
    let remade: Vec<&String> = remade.map(|(name, _)| name).collect();
    let generation = head.generation.next();
    let mut claim = Manifest {
        seq: head.seq.next(),
        generation,
        parent: Some(head.nonce),
        epoch: head.epoch,
        allowed: dropped.iter().map(|name| format!("dropped-state {name}")).collect(),
        restarts: head.restarts.clone(),
        gaps: head.gaps.iter().cloned().chain(gaps(job, head)).collect(),
        watermarks: head.watermarks.clone(),
        sealed_up_to: head.sealed_up_to,
        unsealed: job.unsealed.clone(),
        operators: head.operators.clone(),
        dropped: head.dropped.clone(),
        written: head.written.clone(),
        state: head.state.clone(),
        views: head.views.clone(),
        changes: head.changes,
        changes_from: head.changes_from,
        targets: kept_targets(job, head),
        expectations: kept_expectations(job, head),
        ..first(job, stamp)
    };
    if job.views_from.is_some() {
        let view = |spec: &ViewSpec| {
            let view =
                View { keeps: job.kept_version(), shows: spec.version, changed: None, from_epoch: None };
            let view = claim.views.get(spec.name).copied().unwrap_or(view);
            (spec.name.to_string(), View { from_epoch: job.views_from, ..view })
        };
        claim.views = job.views.iter().map(view).collect();
    }
    if head.format == 1 {
        // Format 1 counted some entries twice.
        claim.operators.values_mut().for_each(|operator| operator.held = None);
    }
    claim.state.sort_by_key(StateEntry::id);
    for name in dropped.into_iter().chain(remade) {
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

/// The acknowledged commits of the targets that `job` still has. Targets that it no longer has are left out.
fn kept_targets(job: &Job, head: &Manifest) -> BTreeMap<String, Target> {
    let kept = head.targets.iter().filter(|(name, _)| job.targets.contains(*name));
    kept.map(|(name, target)| (name.clone(), *target)).collect()
}

/// The expectations that `job` has now. What one of the same name has found about the same thing holds until the next commit.
fn kept_expectations(job: &Job, head: &Manifest) -> BTreeMap<String, Expectation> {
    let with_count = |(name, new): (&String, &Expectation)| {
        let known = head.expectations.get(name).filter(|known| known.on == new.on);
        let failures = known.and_then(|known| known.failures);
        (name.clone(), Expectation { failures, ..new.clone() })
    };
    job.expectations.iter().map(with_count).collect()
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
        Input { partitions: partitions.collect(), ..Input::new(&info.name, &info.kind, &info.topic) }
    };
    Manifest {
        pipeline_version: job.pipeline_version,
        fingerprint: job.fingerprint.noted.clone(),
        schemas: job.schemas(),
        program: job.program.clone(),
        written_ms: stamp.written_ms,
        members: job.members.clone(),
        not_after_ms: job.not_after_ms,
        expectations: job.expectations.clone(),
        inputs: job.inputs.iter().map(input).collect(),
        ..Manifest::first(&job.name, &job.pipeline, stamp.nonce)
    }
}

/// An input as a run takes it over: what an earlier run said of idleness and ends does not hold any more.
///
/// A partition that did not count may lie behind the watermark. It counts again now, and takes `floor` as a partition that
/// wakes does.
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
        // A gap that a person accepted; any other one was refused.
        let seen = info.partitions.iter().find(|seen| seen.partition == part.partition);
        if let Some(Gap { to, .. }) = seen.and_then(|seen| gap(&head, part, seen)) {
            (entry.from, entry.next, entry.last_read) = (to, to, None);
        }
        if entry.reached() < floor {
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
