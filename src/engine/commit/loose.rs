//! Reads the manifests that no segment holds yet, one by one.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::site::Site;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::manifest_file::{BYTES_MAX, DecodeError};
use crate::engine::format::names::{self, Seq};

/// The numbers of all loose manifests.
///
/// # Errors
/// If the folder cannot be read.
pub async fn numbers(site: &Site, job: &str) -> Result<Vec<Seq>, CheckpointError> {
    let names = site.list(&names::manifest_folder(job)).await?;
    Ok(names.iter().filter_map(|name| names::manifest_seq(name)).collect())
}

/// The highest loose number now.
///
/// # Errors
/// If the folder cannot be read.
pub async fn highest(site: &Site, job: &str) -> Result<Option<Seq>, CheckpointError> {
    Ok(numbers(site, job).await?.into_iter().max())
}

/// Manifest `seq`, if it is loose.
///
/// # Errors
/// If it is there and is not what was written.
pub async fn manifest(site: &Site, job: &str, seq: Seq) -> Result<Option<Manifest>, CheckpointError> {
    Ok(manifest_with_bytes(site, job, seq).await?.map(|(manifest, _)| manifest))
}

/// Manifest `seq` and the bytes of its file, if it is loose.
///
/// # Errors
/// As [`manifest`].
pub async fn manifest_with_bytes(
    site: &Site,
    job: &str,
    seq: Seq,
) -> Result<Option<(Manifest, Vec<u8>)>, CheckpointError> {
    let name = names::manifest(job, seq);
    let Some(bytes) = site.read(&name, BYTES_MAX).await? else { return Ok(None) };
    let manifest = Manifest::decode(&bytes).map_err(|error| refuse(site.describe(&name), error))?;
    if manifest.job != job || manifest.seq != seq {
        let what = format!("it says that it is manifest {} of job \"{}\"", manifest.seq, manifest.job);
        return Err(CheckpointError::Invalid { file: site.describe(&name), what });
    }
    Ok(Some((manifest, bytes)))
}

/// The error of a file that does not decode.
pub(crate) fn refuse(file: String, error: DecodeError) -> CheckpointError {
    let what = error.to_string();
    match error {
        DecodeError::Newer { .. } => CheckpointError::Newer { file, what },
        DecodeError::Malformed(_) => CheckpointError::Invalid { file, what },
    }
}
