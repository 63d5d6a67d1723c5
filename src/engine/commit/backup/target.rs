//! Which folders a backup is written into: an empty one, and one that has an earlier backup of the same lake.
//!
//! A mark, `_headway/{job}/backup.json`, is the first file of a copy and stays there. It names the lake by the nonce of the
//! job's first manifest, which no other lake has. A copy from which a job has gone on has manifests that the lake does not
//! have, and is not written into any more.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::loose;
use crate::engine::commit::recover;
use crate::engine::commit::site::Site;
use crate::engine::format::manifest::{Manifest, ManifestId, Nonce};
use crate::engine::format::names::{self, Seq};
use serde::{Deserialize, Serialize};

/// The format of a mark.
const FORMAT: u32 = 1;

/// The longest mark that is read, in bytes.
const BYTES_MAX: u64 = 1 << 16;

/// What the mark of a copy says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    format: u32,
    job: String,
    /// The nonce of the job's first manifest.
    lake: Nonce,
}

/// Sees that the copy at `to` may be written into by a backup of the job whose first manifest is `first`, and marks it.
///
/// # Errors
/// [`CheckpointError::NotABackup`] if not.
pub(super) async fn mark(from: &Site, to: &Site, first: &Manifest) -> Result<(), CheckpointError> {
    let folders = to.list("_headway/").await?;
    let mut is_marked = false;
    for job in folders.iter().filter_map(|name| name.strip_suffix('/')) {
        let Some(mark) = read(to, job).await? else { continue };
        let lake = if job == first.job {
            Some(first.nonce)
        } else {
            recover::first(from, job).await?.map(|first| first.nonce)
        };
        if mark.job != job || lake != Some(mark.lake) {
            return Err(refused(to, "it has the backup of another lake".to_string()));
        }
        is_marked = true;
    }
    if !is_marked && !to.list("").await?.is_empty() {
        return Err(refused(to, "it is not empty, and has no backup".to_string()));
    }
    let mark = Mark { format: FORMAT, job: first.job.clone(), lake: first.nonce };
    let bytes = serde_json::to_vec(&mark).expect("plain values encode");
    to.create(&names::backup_mark(&first.job), &bytes).await?;
    Ok(())
}

async fn read(to: &Site, job: &str) -> Result<Option<Mark>, CheckpointError> {
    let name = names::backup_mark(job);
    let Some(bytes) = to.read(&name, BYTES_MAX).await? else { return Ok(None) };
    match serde_json::from_slice::<Mark>(&bytes) {
        Ok(mark) if mark.format == FORMAT => Ok(Some(mark)),
        Ok(mark) => {
            let what = format!("format {}", mark.format);
            Err(CheckpointError::Newer { file: to.describe(&name), what })
        }
        Err(error) => Err(CheckpointError::Invalid { file: to.describe(&name), what: error.to_string() }),
    }
}

/// The number of the last manifest of the copy at `to`, `None` if its chain is not whole. The lake has `manifests`, oldest first.
///
/// # Errors
/// [`CheckpointError::NotABackup`] if the copy has a manifest that the lake does not have.
pub(super) async fn head(
    to: &Site,
    job: &str,
    manifests: &[Manifest],
) -> Result<Option<Seq>, CheckpointError> {
    let is_known = |id: ManifestId| {
        let index = usize::try_from(id.seq.0).ok();
        index.and_then(|index| manifests.get(index)).is_some_and(|known| known.nonce == id.nonce)
    };
    let (ids, head) = match recover::chain(to, job).await {
        Ok(chain) => {
            let head = chain.head().map(|head| head.seq);
            (chain.folded.iter().chain(&chain.loose).map(Manifest::id).collect(), head)
        }
        // It was interrupted while manifests got their names.
        Err(CheckpointError::Inconsistent(_)) => (loose_ids(to, job).await?, None),
        Err(error) => return Err(error),
    };
    match ids.into_iter().find(|id| !is_known(*id)) {
        None => Ok(head),
        Some(ManifestId { seq, .. }) => {
            let why = format!("its manifest {seq} is not one of the lake: a job has gone on from it");
            Err(refused(to, why))
        }
    }
}

async fn loose_ids(to: &Site, job: &str) -> Result<Vec<ManifestId>, CheckpointError> {
    let mut found = Vec::new();
    for seq in loose::numbers(to, job).await? {
        found.extend(loose::manifest(to, job, seq).await?.map(|manifest| manifest.id()));
    }
    Ok(found)
}

fn refused(to: &Site, why: String) -> CheckpointError {
    CheckpointError::NotABackup { folder: to.describe("").trim_end_matches('/').to_string(), why }
}
