//! For a stopped job, folds manifests and deletes files that no manifest names.

use crate::engine::clock::Clock;
use crate::engine::commit::decide::{self, Folding};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::IfRunning;
use crate::engine::commit::site::{Site, run};
use crate::engine::commit::{alive, publish, recover, segment};
use crate::store::Store;
use std::sync::Arc;

/// What upkeep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Manifests that were folded.
    pub folded: u64,
    /// Other files that were removed.
    pub removed: u64,
}

/// Folds the manifests of `job` by `rule`, and removes stages and state files that nothing names. A running job does
/// so by itself, so this one must not run: its signs of life are watched first, if there are any.
///
/// # Errors
/// [`CheckpointError::Running`] if it runs; [`CheckpointError::Fenced`] if it starts meanwhile: then nothing it needs
/// was touched. Else as a start of the job.
pub fn prune(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    job: &str,
    rule: Folding,
) -> Result<Pruned, CheckpointError> {
    let site = Site::new(Arc::clone(store), Arc::clone(clock));
    run(async {
        alive::admit(&site, job, IfRunning::Wait).await?;
        let chain = recover::chain(&site, job).await?;
        let Some(head) = chain.head() else { return Ok(Pruned::default()) };
        // What the last run committed and did not publish is still in its stage.
        publish::is_highest(&site, head).await?;
        publish::finish(&site, head).await?;
        let mut base = chain.base;
        let first = decide::first_loose(base);
        loop {
            publish::is_highest(&site, head).await?;
            let next = segment::fold(&site, job, base, head.seq, rule).await?;
            if next == base {
                break;
            }
            base = next;
        }
        publish::is_highest(&site, head).await?;
        let removed = publish::sweep(&site, head, decide::first_loose(base)).await?;
        Ok(Pruned { folded: decide::first_loose(base).0 - first.0, removed })
    })
}
