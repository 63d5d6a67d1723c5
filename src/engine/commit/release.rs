//! Lake files that a loader may move away, and the note in a manifest that it has.
//!
//! A file may go once a later manifest is there: then it is published, and no start looks for it again. Only its name is
//! kept, so that an audit knows why it is gone. Everything else that a job needs of itself lies under `_headway/`.
//!
//! Invariant: a release is a create of the next number like any other, on the manifest that was read. If a run starts or
//! commits meanwhile, one of the two finds the number taken, and it is the release that gives up or the run that was
//! believed dead that is fenced.

use crate::engine::clock::Clock;
use crate::engine::commit::checkpoint::create;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::IfRunning;
use crate::engine::commit::ledger::{Stamp, closed};
use crate::engine::commit::site::{Site, run};
use crate::engine::commit::{alive, publish};
use crate::engine::format::manifest::{LakeFile, LakeKind, Manifest};
use crate::engine::format::names::Seq;
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whether a lake file may be moved away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Movable,
    /// Not yet: the last manifest names it, and its run may be about to give it its name.
    Newest,
    /// Not at all: the job reads it again.
    Kept,
    /// It was, or another file has its rows.
    Gone,
}

/// A lake file with the manifest that committed it.
#[derive(Clone, Debug)]
pub struct Committed<'a> {
    /// The manifest.
    pub seq: Seq,
    /// The file.
    pub file: &'a LakeFile,
    /// Whether it may be moved away.
    pub standing: Standing,
}

/// The lake files of all `manifests` of a job, oldest first.
pub fn committed(manifests: &[Manifest]) -> Vec<Committed<'_>> {
    let replaced = manifests.iter().flat_map(|manifest| &manifest.lake).flat_map(|file| &file.replaces);
    let gone: BTreeSet<&String> =
        manifests.iter().flat_map(|manifest| &manifest.released).chain(replaced).collect();
    let head = manifests.last().map(|head| head.seq);
    let changes_from = manifests.last().and_then(|head| head.changes_from);
    let of = |manifest: &'_ Manifest, file: &LakeFile| match file.kind {
        _ if gone.contains(&file.path()) => Standing::Gone,
        LakeKind::Changes if changes_from.is_some_and(|from| manifest.seq < from) => Standing::Gone,
        LakeKind::Changes => Standing::Kept,
        LakeKind::Rows | LakeKind::Dead | LakeKind::Late if Some(manifest.seq) == head => Standing::Newest,
        LakeKind::Rows | LakeKind::Dead | LakeKind::Late => Standing::Movable,
    };
    let mut all = Vec::new();
    for manifest in manifests {
        let files = manifest.lake.iter();
        all.extend(files.map(|file| Committed { seq: manifest.seq, file, standing: of(manifest, file) }));
    }
    all
}

/// Refuses the first of `paths` that may not be moved away, or is named twice.
fn all_movable(paths: &[String], manifests: &[Manifest]) -> Result<(), CheckpointError> {
    let standings: BTreeMap<String, Standing> =
        committed(manifests).into_iter().map(|found| (found.file.path(), found.standing)).collect();
    let mut seen = BTreeSet::new();
    for path in paths {
        let why = match standings.get(path) {
            _ if !seen.insert(path) => "it is named twice",
            Some(Standing::Movable) => continue,
            Some(Standing::Newest) => "the last commit made it, and only files of earlier ones may be moved",
            Some(Standing::Kept) => "the job reads it again",
            Some(Standing::Gone) => "it was released before, or another file has its rows",
            None => "no manifest of the job names it",
        };
        return Err(CheckpointError::NotMovable { path: path.clone(), why });
    }
    Ok(())
}

/// Notes in the next manifest of `job`, whose history is `manifests`, that `paths` were moved away. The job must not run:
/// its signs of life are watched first, if there are any.
///
/// # Errors
/// [`CheckpointError::NotMovable`] for a file that may not go; [`CheckpointError::Running`] if the job runs;
/// [`CheckpointError::Fenced`] if it starts meanwhile. Then nothing was noted.
pub fn release(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    manifests: &[Manifest],
    paths: Vec<String>,
) -> Result<Option<Seq>, CheckpointError> {
    let Some(head) = manifests.last().filter(|_| !paths.is_empty()) else { return Ok(None) };
    all_movable(&paths, manifests)?;
    let site = Site::new(Arc::clone(store), Arc::clone(clock));
    run(note(&site, head, |noted| noted.released = paths)).map(|noted| Some(noted.seq))
}

/// Creates the manifest after `head` of a job that does not run: no epoch, and what `edit` makes of it.
pub(super) async fn note(
    site: &Site,
    head: &Manifest,
    edit: impl FnOnce(&mut Manifest),
) -> Result<Manifest, CheckpointError> {
    alive::admit(site, &head.job, IfRunning::Wait).await?;
    publish::is_highest(site, head).await?;
    // What the last run committed and did not publish must be published before there is a next manifest.
    publish::finish(site, head).await?;
    let mut noted = closed(head, Stamp { nonce: site.nonce(), written_ms: site.now_ms() });
    edit(&mut noted);
    create(site, &noted).await?;
    Ok(noted)
}

/// Those of `manifests`' movable files that are not in the lake any more.
///
/// # Errors
/// If the lake cannot be read.
pub fn moved(store: &Arc<dyn Store>, manifests: &[Manifest]) -> Result<Vec<String>, CheckpointError> {
    let mut moved = Vec::new();
    for Committed { file, .. } in
        committed(manifests).into_iter().filter(|found| found.standing == Standing::Movable)
    {
        if store.size(&file.path())?.is_none() {
            moved.push(file.path());
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Manual;
    use crate::engine::format::manifest::Nonce;
    use crate::engine::format::manifest::tests::{batch, first};
    use crate::engine::format::names;
    use crate::store::memory::Memory;

    fn file(kind: LakeKind, name: &str) -> LakeFile {
        LakeFile { kind, name: name.into(), checksum: "0".repeat(32), ..batch() }
    }

    /// Three manifests: the second names `a`, `c` (changes) and `gone`; the third releases `gone` and names `b`.
    fn manifests() -> Vec<Manifest> {
        let mut all: Vec<Manifest> = (0..3)
            .map(|seq| {
                let mut manifest = first(1);
                manifest.seq = Seq(seq);
                manifest.nonce = Nonce(u128::from(seq) + 1);
                manifest.parent = seq.checked_sub(1).map(|before| Nonce(u128::from(before) + 1));
                manifest
            })
            .collect();
        let (rows, changes) = (LakeKind::Rows, LakeKind::Changes);
        all[1].lake = vec![file(rows, "a"), file(changes, "c"), file(rows, "gone")];
        all[2].lake = vec![file(rows, "b")];
        all[2].released = vec!["gate/gone".into()];
        all
    }

    /// A lake that holds `manifests`.
    fn lake(manifests: &[Manifest]) -> (Memory, Arc<dyn Store>) {
        let memory = Memory::new();
        for manifest in manifests {
            memory.put(&names::manifest("job", manifest.seq), &manifest.encode());
        }
        (memory.clone(), Arc::new(memory))
    }

    #[test]
    fn only_files_below_the_head_that_are_still_there_may_go() {
        let manifests = manifests();
        let standings: Vec<(String, Standing)> =
            committed(&manifests).into_iter().map(|found| (found.file.path(), found.standing)).collect();
        let expected = [
            ("gate/a", Standing::Movable),
            ("gate/c", Standing::Kept),
            ("gate/gone", Standing::Gone),
            ("gate/b", Standing::Newest),
        ];
        assert_eq!(standings, expected.map(|(path, standing)| (path.to_string(), standing)));
        for (path, why) in [("gate/b", "last commit"), ("gate/c", "reads it again"), ("gate/gone", "before")]
        {
            let (memory, store) = lake(&manifests);
            let clock: Arc<dyn Clock> = Arc::new(Manual::default());
            let refused = release(&store, &clock, &manifests, vec![path.to_string()]).expect_err(path);
            assert!(refused.code() == "not-movable" && refused.to_string().contains(why), "{refused}");
            assert_eq!(memory.files().len(), 3, "nothing was noted");
        }
    }

    #[test]
    fn release_gives_way_to_a_run_that_has_gone_on() {
        let mut manifests = manifests();
        manifests[2].lake.clear();
        let (memory, store) = lake(&manifests);
        let clock: Arc<dyn Clock> = Arc::new(Manual::default());
        // What was read is a manifest old: another run has committed since.
        let refused = release(&store, &clock, &manifests[..2], Vec::from(["gate/a".to_string()]));
        assert_eq!(refused.map_err(|error| error.code()), Err("not-movable"), "it was the newest then");
        let mut old = manifests.clone();
        let mut next = first(1);
        (next.seq, next.nonce, next.parent) = (Seq(3), Nonce(4), Some(Nonce(3)));
        memory.put(&names::manifest("job", next.seq), &next.encode());
        let refused = release(&store, &clock, &old, vec!["gate/a".to_string()]);
        assert_eq!(refused.map_err(|error| error.code()), Err("fenced"));
        assert_eq!(memory.files().len(), 4, "nothing was noted");
        old.push(next);
        let noted = release(&store, &clock, &old, vec!["gate/a".to_string()]).expect("the job stands still");
        assert_eq!(noted, Some(Seq(4)));
    }
}
