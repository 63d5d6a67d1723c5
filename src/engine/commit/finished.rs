//! Partitions that are finished: files that were read to their end, and are gone.
//!
//! A start that does not find such a file takes its partition out of the manifest, so that manifests do not grow with the
//! files of a landing folder; the counts stay in the input's totals. What the partition was goes into a list that only
//! starts read: a file that comes back is known again, and no later file gets its number.
//!
//! The list of an input is a section of state. The claim that finishes partitions writes the whole list anew, into a state
//! file of its own; the section before is dead from then on, as one of any operator is.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::commit::restore;
use crate::engine::commit::site::Site;
use crate::engine::commit::state_files::Headers;
use crate::engine::format::manifest::{Finished, Input, Manifest, PartitionEntry, StateEntry};
use crate::engine::format::names;
use crate::engine::format::state::{self, Author};
use crate::store::Created;
use headway_operators::ack::{Content, Place};
use headway_operators::record::Partition;
use headway_operators::state::{SectionKind, Shard, StateChange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_128;

/// The version of a list.
const VERSION: u32 = 1;

/// A partition that no run reads any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedPartition {
    /// Its number.
    pub partition: Partition,
    /// What it was.
    pub identity: String,
    /// Unpacked bytes of the file.
    pub bytes: u64,
    /// xxh3-128 of them, in hexadecimal.
    pub xxh3: String,
}

/// The finished partitions of each input, by the input's name.
pub type Lists = BTreeMap<String, Vec<FinishedPartition>>;

/// The name under which the list is saved, in the place of an operator's name.
fn section(input: &str) -> String {
    format!("Finished-{input}")
}

/// True if everything of a partition was read, so that it may be gone.
pub fn may_be_gone(part: &PartitionEntry) -> bool {
    part.content.as_ref().is_some_and(|content| content.at_end)
}

/// `input` without the partitions that are not `there` any more.
pub fn finish(input: &mut Input, there: impl Fn(Partition) -> bool) {
    let is_gone = |part: &mut PartitionEntry| !there(part.partition) && may_be_gone(part);
    for part in input.partitions.extract_if(.., is_gone) {
        let Finished { partitions, total } = &mut input.finished;
        *partitions += 1;
        total.add(&part.total);
    }
}

/// The lists that `head` names.
///
/// # Errors
/// If a state file is gone or is not what was written.
pub async fn read(site: &Site, head: &Manifest) -> Result<Lists, CheckpointError> {
    let mut lists = Lists::new();
    if head.inputs.iter().all(|input| input.finished.partitions == 0) {
        return Ok(lists);
    }
    let headers = restore::headers(site, head, &Headers::new()).await?;
    let is_list = |operator: &str| head.inputs.iter().any(|input| section(&input.name) == operator);
    let saved = restore::sections(site, head, &headers, |operator, _| is_list(operator)).await?;
    for input in &head.inputs {
        let saved = saved.get(&section(&input.name)).and_then(|sections| sections.first());
        let list: Vec<FinishedPartition> = match saved {
            Some(saved) if saved.version == VERSION => postcard::from_bytes(&saved.bytes).unwrap_or_default(),
            _ => Vec::new(),
        };
        if list.len() as u64 != input.finished.partitions {
            let (input, expected) = (input.name.clone(), input.finished.partitions);
            let found = list.len() as u64;
            return Err(Inconsistency::FinishedPartitions { input, expected, found }.into());
        }
        lists.insert(input.name.clone(), list);
    }
    Ok(lists)
}

/// Writes the lists of `claim`, where it finishes partitions of `head`, and names the file in it.
///
/// # Errors
/// If the lists before cannot be read, or the file cannot be written.
pub async fn note(site: &Site, head: Option<&Manifest>, claim: &mut Manifest) -> Result<(), CheckpointError> {
    let Some(head) = head else { return Ok(()) };
    let grows = |(old, new): (&Input, &Input)| old.finished.partitions < new.finished.partitions;
    if !head.inputs.iter().zip(&claim.inputs).any(grows) {
        return Ok(());
    }
    let mut lists = read(site, head).await?;
    let mut changes = Vec::new();
    for (old, new) in head.inputs.iter().zip(&claim.inputs) {
        let list = lists.entry(new.name.clone()).or_default();
        let is_gone =
            |part: &&PartitionEntry| new.partitions.iter().all(|kept| kept.partition != part.partition);
        list.extend(old.partitions.iter().filter(is_gone).map(finished));
        changes.push(StateChange {
            operator: section(&new.name),
            shard: Shard(0),
            version: VERSION,
            kind: SectionKind::Base,
            bytes: postcard::to_stdvec(&list).expect("plain values encode"),
        });
    }
    let entry = write(site, claim, &changes).await?;
    claim.state.push(entry);
    Ok(())
}

/// What is kept of a partition that is finished.
fn finished(part: &PartitionEntry) -> FinishedPartition {
    let Content { bytes, xxh3, .. } =
        part.content.clone().expect("a partition without content never leaves the manifest");
    FinishedPartition { partition: part.partition, identity: part.identity.clone(), bytes, xxh3 }
}

async fn write(
    site: &Site,
    claim: &Manifest,
    changes: &[StateChange],
) -> Result<StateEntry, CheckpointError> {
    let (generation, epoch, worker) = (claim.generation, claim.epoch, 0);
    let author = Author { job: &claim.job, generation, epoch, worker };
    let mut bytes = Vec::new();
    let written = state::write(&mut bytes, author, changes).expect("memory takes it");
    // Starts that race for the generation write files of their own.
    let name = names::finished(&claim.job, names::Stage { generation, epoch, worker }, claim.nonce.0);
    match site.create(&name, &bytes).await? {
        Created::Yes => {}
        Created::Exists => {
            return Err(Inconsistency::WrittenByNobody { name: site.describe(&name) }.into());
        }
    }
    Ok(StateEntry {
        generation,
        epoch,
        worker,
        part: 0,
        bytes: bytes.len() as u64,
        header_bytes: written.header_bytes,
        checksum: format!("{:032x}", xxh3_128(&bytes)),
        place: Some(Place::whole(name)),
        v1: None,
    })
}
