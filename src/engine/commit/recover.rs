//! Reads a job's manifests back: the chain from the newest segment to the head.

use crate::engine::commit::decide::{self, Base, Link};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::{BrokenChain, Inconsistency};
use crate::engine::commit::law;
use crate::engine::commit::loose;
use crate::engine::commit::loose::manifest;
use crate::engine::commit::segment;
use crate::engine::commit::site::Site;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names::Seq;
use std::collections::BTreeMap;

/// How often a chain that changes while it is read is read again.
const ATTEMPTS: u32 = 20;

/// The loose manifests of a job, and what they hang on.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// The end of the folded ones.
    pub base: Option<Base>,
    /// The manifests of the newest segment, oldest first.
    pub folded: Vec<Manifest>,
    /// The loose manifests from the base to the head; empty if the job never started.
    pub loose: Vec<Manifest>,
}

impl Chain {
    /// The head.
    pub fn head(&self) -> Option<&Manifest> {
        self.loose.last()
    }

    /// Checks the head against the manifest before it: a start builds on what the head says, also where its checksum is right and it was
    /// made by something else than a run.
    ///
    /// # Errors
    /// [`Inconsistency::Head`].
    pub fn is_sound(&self) -> Result<(), CheckpointError> {
        let Some((head, earlier)) = self.loose.split_last() else { return Ok(()) };
        let before = earlier.last().or(self.folded.last());
        match law::follows(before, head) {
            // Where a copy of a lake was put back, earlier releases noted what a target had of the other history. It is asked again
            // before anything is delivered.
            Ok(()) | Err(law::Contradiction::Acknowledged { .. }) => Ok(()),
            Err(what) => Err(Inconsistency::Head { job: head.job.clone(), seq: head.seq, what }.into()),
        }
    }
}

/// The chain of `job`, read while other runs may go on committing and folding.
///
/// # Errors
/// If a file is not what was written, or the manifests do not make a chain.
pub async fn chain(site: &Site, job: &str) -> Result<Chain, CheckpointError> {
    for _ in 1..ATTEMPTS {
        if let Ok(chain) = read_chain(site, job).await? {
            return Ok(chain);
        }
        // Another run may have compacted manifests between two reads. A chain that stays broken is damage.
        site.pause(std::time::Duration::from_millis(5)).await;
    }
    let chain = read_chain(site, job).await?;
    chain.map_err(|broken| Inconsistency::Chain { job: job.to_string(), broken }.into())
}

/// The chain of `job`: the `known` one if it is still current, else the one that is read now.
///
/// # Errors
/// As [`chain`].
pub async fn newest(site: &Site, job: &str, known: Option<Chain>) -> Result<Chain, CheckpointError> {
    match known {
        Some(known) if loose::highest(site, job).await? == known.head().map(|head| head.seq) => Ok(known),
        Some(_) | None => chain(site, job).await,
    }
}

/// The first manifest of `job`, folded or not; `None` if the job never started.
///
/// # Errors
/// As [`chain`].
pub async fn first(site: &Site, job: &str) -> Result<Option<Manifest>, CheckpointError> {
    if let Some(first) = manifest(site, job, Seq(0)).await? {
        return Ok(Some(first));
    }
    let Some(range) = segment::ranges(site, job).await?.first().copied() else { return Ok(None) };
    Ok(segment::read(site, job, range).await?.into_iter().next())
}

/// All manifests of `job`, folded ones too, oldest first.
///
/// # Errors
/// As [`chain`].
pub async fn all(site: &Site, job: &str) -> Result<Vec<Manifest>, CheckpointError> {
    let chain = chain(site, job).await?;
    let mut all = Vec::new();
    for range in segment::ranges(site, job).await? {
        all.extend(segment::read(site, job, range).await?);
    }
    let next = all.last().map_or(Seq(0), |last: &Manifest| last.seq.next());
    all.extend(chain.loose.into_iter().filter(|manifest| manifest.seq >= next));
    Ok(all)
}

async fn read_chain(site: &Site, job: &str) -> Result<Result<Chain, BrokenChain>, CheckpointError> {
    // Loose numbers first: what is folded afterwards is then found in the segment.
    let loose = loose::numbers(site, job).await?;
    let folded = segment::newest(site, job).await?;
    let base = folded.last().map(|last| Base { seq: last.seq, nonce: last.nonce });
    let mut manifests = BTreeMap::new();
    for seq in loose.into_iter().filter(|seq| *seq >= decide::first_loose(base)) {
        match manifest(site, job, seq).await? {
            Some(manifest) => drop(manifests.insert(seq, manifest)),
            None => return Ok(Err(BrokenChain::WentAway { seq })),
        }
    }
    let links = manifests.iter().map(|(seq, manifest)| (*seq, Link::of(manifest))).collect();
    Ok(decide::head(base, &links).map(|_| Chain { base, folded, loose: manifests.into_values().collect() }))
}
