//! Lets operators of views forget what they keep, so that the next start makes it again of what was committed.
//!
//! Like a release, it is a create of the next number on the manifest that was read: if a run starts meanwhile, one of the two
//! gives way.

use crate::engine::clock::Clock;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::release::note;
use crate::engine::commit::site::{Site, run};
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names::Seq;
use crate::store::Store;
use std::sync::Arc;

/// Notes in the manifest after `head` that `operators` keep nothing. The job must not run: its signs of life are watched first,
/// if there are any.
///
/// # Errors
/// [`CheckpointError::Running`] if the job runs; [`CheckpointError::Fenced`] if it starts meanwhile. Then nothing was noted.
pub fn forget(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    head: &Manifest,
    operators: &[String],
) -> Result<Seq, CheckpointError> {
    let site = Site::new(Arc::clone(store), Arc::clone(clock));
    run(note(&site, head, |noted| {
        for operator in operators {
            noted.operators.remove(operator);
            // Whatever runs up to this one wrote is no state any more.
            noted.dropped.insert(operator.clone(), head.generation.next());
        }
    }))
    .map(|noted| noted.seq)
}
