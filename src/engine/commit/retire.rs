//! Retiring: for a stopped job, deletes lake files whose rows are all older than an instant.
//!
//! ```text
//! which files ─► manifest n: released, and retired by this run ─► delete them
//! ```
//!
//! The manifest is the commit point, as that of a release is: before it the files are the lake's, after it nobody needs them,
//! and the next start deletes the files that this run did not delete. What a file's rows say of time decides; dead letters and late
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Manual;
    use crate::engine::commit::release::release;
    use crate::engine::format::manifest::Nonce;
    use crate::engine::format::manifest::TimeRange;
    use crate::engine::format::manifest::tests::{batch, first};
    use crate::engine::format::names;
    use crate::store::memory::Memory;

    /// A file whose rows are all of `at`.
    fn file(name: &str, at: i64) -> LakeFile {
        let event_time = Some(TimeRange { least: EventTime(at), greatest: EventTime(at) });
        LakeFile { name: name.into(), event_time, ..batch() }
    }

    #[test]
    fn files_that_are_released_next_are_left_where_they_are() {
        let mut manifests: Vec<Manifest> = (0..3).map(|_| first(1)).collect();
        for (seq, manifest) in (0..).zip(&mut manifests) {
            manifest.seq = Seq(seq);
            manifest.nonce = Nonce(u128::from(seq) + 1);
            manifest.parent = seq.checked_sub(1).map(|before| Nonce(u128::from(before) + 1));
        }
        manifests[1].lake = vec![file("old", 1), file("new", 9)];
        let memory = Memory::new();
        for manifest in &manifests {
            memory.put(&names::manifest("job", manifest.seq), &manifest.encode());
        }
        for path in ["gate/old", "gate/new"] {
            memory.put(path, b"rows");
        }
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let clock: Arc<dyn Clock> = Arc::new(Manual::default());
        let is_there = |path: &str| store.size(path).expect("memory answers").is_some();

        let retired = retire(&store, &clock, &manifests, EventTime(5)).expect("it does not run");
        assert_eq!(retired, Some(Seq(3)));
        assert!(!is_there("gate/old") && is_there("gate/new"));

        let read = |seq: u64| {
            let noted = store.read(&names::manifest("job", Seq(seq)), u64::MAX).expect("memory answers");
            Manifest::decode(&noted.expect("it is there")).expect("it was written just now")
        };
        manifests.push(read(3));
        let released = release(&store, &clock, &manifests, vec!["gate/new".to_string()]);
        assert_eq!(released.expect("it may go"), Some(Seq(4)));
        // The next start finishes what the last manifest says.
        let site = Site::new(Arc::clone(&store), clock);
        run(publish::finish(&site, &read(4))).expect("memory takes it");
        assert!(is_there("gate/new"), "a loader has it; it is no business of the lake's to delete it");
    }
}
