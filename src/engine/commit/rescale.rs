//! The membership of a job: what the last manifest says, and what a person has asked the next claim to say.
//!
//! A request is a file beside the manifests. It names the generation after which it was made: the next claim takes it, and from
//! then on it is stale, whether somebody has deleted it or not. So a process that dies at any moment finds the same answer again.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::loose;
use crate::engine::commit::site::Site;
use crate::engine::format::manifest::Members;
use crate::engine::format::names::{self, Generation};
use serde::{Deserialize, Serialize};

/// The longest request that is read, in bytes: room for thousands of addresses.
const BYTES_MAX: u64 = 1 << 20;

/// What a person wants the next run of a job to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The run that was the last one when it was made.
    pub after: Generation,
    /// The processes and workers of the next run.
    pub members: Members,
    /// When it was made, milliseconds since the Unix epoch.
    pub asked_ms: i64,
}

/// What is known of the membership of a job that has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The last run.
    pub generation: Generation,
    /// The processes and workers of that run.
    pub committed: Members,
    /// What the next claim is to say, if a person has asked for it.
    pub pending: Option<Members>,
}

/// The request that is there, stale or not; `None` if there is none. One that does not parse counts as none.
///
/// # Errors
/// If the file cannot be read.
pub async fn request(site: &Site, job: &str) -> Result<Option<Request>, CheckpointError> {
    let bytes = site.read(&names::rescale(job), BYTES_MAX).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The membership of `job`; `None` if it has never started.
///
/// # Errors
/// If the lake cannot be read, or its last manifest is damaged.
pub async fn membership(site: &Site, job: &str) -> Result<Option<Membership>, CheckpointError> {
    // The request first: a claim that comes in between makes it stale, and is seen.
    let request = request(site, job).await?;
    let Some(seq) = loose::highest(site, job).await? else { return Ok(None) };
    let Some(head) = loose::manifest(site, job, seq).await? else { return Ok(None) };
    let pending = request.filter(|request| request.after == head.generation).map(|request| request.members);
    Ok(Some(Membership { generation: head.generation, committed: head.members, pending }))
}

/// Leaves `request` for the next claim, in the place of an earlier one.
///
/// # Errors
/// If the lake cannot be written.
pub async fn ask(site: &Site, job: &str, request: &Request) -> Result<(), CheckpointError> {
    let bytes = serde_json::to_vec(request).expect("plain values encode");
    site.delete(&names::rescale(job)).await?;
    site.create(&names::rescale(job), &bytes).await?;
    Ok(())
}

/// Deletes the request that run `claimed`, or one before it, has taken. One that stays is stale: a failure is not worth stopping for.
pub async fn clear(site: &Site, job: &str, claimed: Generation) {
    let taken = request(site, job).await.ok().flatten().filter(|request| request.after < claimed);
    if taken.is_some() {
        let deleted = site.delete(&names::rescale(job)).await;
        if let Err(error) = deleted {
            tracing::debug!(%error, "could not delete a request that was taken");
        }
    }
}
