//! The membership of a job: what the last manifest says, and what a person has asked the next claim to say.
//!
//! A request is a file beside the manifests. It names the generation after which it was made: the next claim takes it, and from
//! then on it is stale, whether somebody has deleted it or not. So a process that dies at any moment finds the same answer again.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::loose;
use crate::engine::commit::site::Site;
use crate::engine::format::manifest::Members;
use crate::engine::format::names::{self, Generation};
use crate::store::Created;
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

/// How often the last manifest is looked for: it may be folded into a segment between the list and the read.
const LOOKS: u32 = 5;

/// How often a request is written that another one is in the way of.
const WRITES: u32 = 5;

/// The membership of `job`; `None` if it has never started.
///
/// # Errors
/// If the lake cannot be read, or its last manifest is damaged.
pub async fn membership(site: &Site, job: &str) -> Result<Option<Membership>, CheckpointError> {
    // The request first: a claim that comes in between makes it stale, and is seen.
    let request = request(site, job).await?;
    for _ in 0..LOOKS {
        let Some(seq) = loose::highest(site, job).await? else { return Ok(None) };
        let Some(head) = loose::manifest(site, job, seq).await? else { continue };
        let pending = request.filter(|request| request.after == head.generation);
        let pending = pending.map(|request| request.members);
        return Ok(Some(Membership { generation: head.generation, committed: head.members, pending }));
    }
    let file = site.describe(&names::manifest_folder(job));
    Err(CheckpointError::Invalid { file, what: "its last manifest is gone whenever it is read".to_string() })
}

/// Leaves `request` for the next claim, in the place of an earlier one.
///
/// # Errors
/// If the lake cannot be written.
pub async fn ask(site: &Site, job: &str, request: &Request) -> Result<(), CheckpointError> {
    let bytes = serde_json::to_vec(request).expect("plain values encode");
    for _ in 0..WRITES {
        withdraw(site, job).await?;
        if site.create(&names::rescale(job), &bytes).await? == Created::Yes {
            return Ok(());
        }
    }
    // Somebody else asks all the time: theirs is the later word.
    Ok(())
}

/// Takes the request back, if there is one.
///
/// # Errors
/// If the lake cannot be written.
pub async fn withdraw(site: &Site, job: &str) -> Result<(), CheckpointError> {
    Ok(site.delete(&names::rescale(job)).await?)
}

/// Notes that run `claimed` has `members`: deletes a request for them, and makes one again that its claim was too early for. One that is
/// older is stale. A failure is not worth stopping for: a stale request changes nothing.
pub async fn taken(site: &Site, job: &str, claimed: Generation, members: &Members) {
    let Ok(Some(found)) = request(site, job).await else { return };
    let done = match found.after {
        after if after >= claimed => return,
        after if after.next() == claimed && found.members != *members => {
            tracing::info!(
                event = "rescale-late",
                to = found.members.size(),
                "a request came just before the claim: it is made again"
            );
            ask(site, job, &Request { after: claimed, ..found }).await
        }
        _ => withdraw(site, job).await,
    };
    if let Err(error) = done {
        tracing::debug!(%error, "could not delete a request that was taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Manual;
    use crate::engine::commit::site::run;
    use crate::store::memory::Memory;
    use std::sync::Arc;

    #[test]
    fn request_is_taken_by_one_claim_and_is_not_lost_if_the_claim_was_too_early() {
        let site = Site::new(Arc::new(Memory::new()), Arc::new(Manual::default()));
        let asked = |after, workers| {
            let (after, members) = (Generation(after), Members::one_process(workers));
            Request { after, members, asked_ms: 7 }
        };
        let cases = [
            // The claim of run 4, on two workers, after a request (for the claim after this run, workers): what is left.
            ((3, 2), None),
            ((3, 3), Some((4, 3))),
            ((2, 3), None),
            ((4, 3), Some((4, 3))),
        ];
        for ((after, workers), left) in cases {
            run(ask(&site, "gate", &asked(after, workers))).unwrap();
            run(taken(&site, "gate", Generation(4), &Members::one_process(2)));
            let found = run(request(&site, "gate")).unwrap();
            assert_eq!(found, left.map(|(after, workers)| asked(after, workers)), "{after} {workers}");
        }
    }
}
