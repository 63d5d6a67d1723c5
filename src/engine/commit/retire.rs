//! Retiring: for a stopped job, deletes lake files whose rows are all older than an instant.
//!
//! ```text
//! which files ─► manifest n: released, and retired by this run ─► delete them
//! ```
//!
//! The manifest is the commit point, as that of a release is: before it the files are the lake's, after it nobody needs them,
//! and whoever comes next deletes what this run did not come to. What a file's rows say of time decides; dead letters and late
//! records have the time of the commit that closed their file.

use crate::engine::clock::Clock;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::publish;
use crate::engine::commit::release::{Committed, Standing, committed, note};
use crate::engine::commit::site::{Site, run};
use crate::engine::format::manifest::{LakeFile, Manifest};
use crate::engine::format::names::Seq;
use crate::store::Store;
use headway_operators::time::EventTime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The files that may be retired with all their rows before an instant.
pub fn older(manifests: &[Manifest], before: EventTime) -> Vec<Committed<'_>> {
    let written: BTreeMap<Seq, i64> =
        manifests.iter().map(|manifest| (manifest.seq, manifest.written_ms)).collect();
    let newest = |seq: Seq, file: &LakeFile| match file.event_time {
        Some(range) => range.greatest,
        None => EventTime(written.get(&seq).copied().unwrap_or(i64::MAX)),
    };
    let all = committed(manifests).into_iter();
    all.filter(|found| found.standing == Standing::Movable && newest(found.seq, found.file) < before)
        .collect()
}

/// Takes the files of [`older`] out of the lake, and deletes them; the manifest that says so, if there are any. The job, whose
/// history is `manifests`, must not run.
///
/// # Errors
/// [`CheckpointError::Running`] if the job runs; [`CheckpointError::Fenced`] if it starts meanwhile. Then nothing was deleted.
pub fn retire(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    manifests: &[Manifest],
    before: EventTime,
) -> Result<Option<Seq>, CheckpointError> {
    let paths: Vec<String> = older(manifests, before).into_iter().map(|found| found.file.path()).collect();
    let Some(head) = manifests.last().filter(|_| !paths.is_empty()) else { return Ok(None) };
    let site = Site::new(Arc::clone(store), Arc::clone(clock));
    run(async {
        let noted = note(&site, head, |noted| {
            (noted.released, noted.retired_before) = (paths, Some(before));
        });
        let noted = noted.await?;
        for path in publish::deleted(&noted) {
            site.delete(path).await?;
        }
        Ok(Some(noted.seq))
    })
}
