//! The change files of a job: which there are, which must stay, and what a start finds.
//!
//! 1. The change file of an epoch is staged before its manifest is written, under a name that has the manifest's number and
//!    with the manifest's nonce in it. It is published as every lake file is.
//! 2. A manifest says from which number on change files are kept (`changes_from`). Only what an earlier manifest has given
//!    up is deleted, so what is absent is either accounted for or lost.
//! 3. A target that lags holds what it has not acknowledged, up to a longer limit; beyond that it is marked for a rebuild.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::site::Site;
use crate::engine::commit::staged;
use crate::engine::failpoint;
use crate::engine::format::changes::{self, Changes, ViewVersion};
use crate::engine::format::manifest::{LakeKind, Manifest, Target};
use crate::engine::format::names::{self, Seq};
use crate::store::Store;
use headway_operators::ack::{Place, StagedFile};
use std::collections::{BTreeMap, BTreeSet};

/// A change file, as far as it matters whether it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The manifest that names it.
    pub seq: Seq,
    /// When that was built.
    pub written_ms: i64,
    /// Its size.
    pub bytes: u64,
}

/// Up to how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Up to this age, in milliseconds.
    pub age_ms: i64,
    /// Up to this size, all files together.
    pub bytes: u64,
}

/// How long change files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Where no target needs more.
    pub views: Bound,
    /// For a target that lags.
    pub targets: Bound,
}

/// An hour or 256 MiB; for a target that lags a day or 2 GiB.
pub const KEEPING: Keeping = Keeping {
    views: Bound { age_ms: 3_600_000, bytes: 256 << 20 },
    targets: Bound { age_ms: 24 * 3_600_000, bytes: 2 << 30 },
};

/// What [`keep`] decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The first file that stays; `None` if there are no files.
    pub from: Option<Seq>,
    /// Targets that have not acknowledged files that go, or that are gone.
    pub behind: BTreeSet<String>,
}

/// Decides which of `files`, oldest first, stay at `now_ms`. The newest always does.
pub fn keep(files: &[Entry], now_ms: i64, targets: &BTreeMap<String, Target>, keeping: Keeping) -> Kept {
    let first_within = |bound: Bound| {
        let mut bytes = 0_u64;
        let stays = |file: &&Entry| {
            let is_newest = bytes == 0;
            bytes = bytes.saturating_add(file.bytes.max(1));
            is_newest || (bytes <= bound.bytes && now_ms.saturating_sub(file.written_ms) <= bound.age_ms)
        };
        files.len() - files.iter().rev().take_while(stays).count()
    };
    let (mut from, longest) = (first_within(keeping.views), first_within(keeping.targets));
    let mut behind = BTreeSet::new();
    for (name, target) in targets {
        let needs = files.partition_point(|file| file.seq <= target.acknowledged);
        if target.rebuild || needs < longest {
            behind.insert(name.clone());
        } else {
            from = from.min(needs);
        }
    }
    Kept { from: files.get(from).map(|file| file.seq), behind }
}

/// Stages the change file of the manifest that `changes.id` names, which was built at `written_ms`, durably.
///
/// # Errors
/// If it could not be written or synced.
pub fn stage(
    store: &dyn Store,
    head: &Manifest,
    written_ms: i64,
    views: Vec<ViewVersion>,
    changes: &Changes,
) -> Result<StagedFile, CheckpointError> {
    let staged = names::staged_changes(&head.job, head.generation, changes.epoch);
    let (bytes, checksum) =
        staged::write(store, &staged, |out| changes::encode(&head.job, views, changes, out))?;
    failpoint::at("stage.changes");
    Ok(StagedFile {
        output: "changes".to_string(),
        folder: names::changes_folder(&head.job),
        name: names::change_file(changes.id.seq, written_ms),
        staged: Place::whole(staged),
        rows: changes.updates.len() as u64,
        bytes,
        checksum,
        event_time: None,
        since: changes.epoch,
    })
}

/// The change files of `job` from number `from` on, oldest first.
///
/// # Errors
/// If the folder cannot be read.
pub async fn found(site: &Site, job: &str, from: Option<Seq>) -> Result<Vec<Entry>, CheckpointError> {
    let folder = names::changes_folder(job);
    let mut found = Vec::new();
    for name in site.list(&folder).await? {
        let Some((seq, written_ms)) = names::change_file_parts(&name) else { continue };
        let bytes = site.size(&format!("{folder}{name}")).await?;
        if let Some(bytes) = bytes.filter(|_| from.is_none_or(|from| seq >= from)) {
            found.push(Entry { seq, written_ms, bytes });
        }
    }
    Ok(found)
}

/// Deletes the change files that `head` has given up and that are still there; gives how many.
///
/// # Errors
/// If a file stays.
pub async fn sweep(site: &Site, head: &Manifest) -> Result<u64, CheckpointError> {
    let Some(from) = head.changes_from else { return Ok(0) };
    let folder = names::changes_folder(&head.job);
    let mut removed = 0;
    for name in site.list(&folder).await? {
        if names::change_file_parts(&name).is_some_and(|(seq, _)| seq < from) {
            site.delete(&format!("{folder}{name}")).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The change file of manifest `seq`, which was built at `written_ms`; `None` if it is not there.
///
/// # Errors
/// If it cannot be read, or is not one of that manifest.
pub fn read(
    store: &dyn Store,
    job: &str,
    seq: Seq,
    written_ms: i64,
) -> Result<Option<changes::ChangeFile>, CheckpointError> {
    let name = format!("{}{}", names::changes_folder(job), names::change_file(seq, written_ms));
    let Some(bytes) = store.read(&name, u64::MAX)? else { return Ok(None) };
    let invalid = |what: String| CheckpointError::Invalid { file: store.describe(&name), what };
    let file = changes::decode(&bytes).map_err(invalid)?;
    if file.job != job || file.changes.id.seq != seq {
        let (job, seq) = (&file.job, file.changes.id.seq);
        return Err(invalid(format!("it says that it is of manifest {seq} of job \"{job}\"")));
    }
    Ok(Some(file))
}

/// The change file that `manifest` names.
pub fn named(manifest: &Manifest) -> impl Iterator<Item = &crate::engine::format::manifest::LakeFile> {
    manifest.lake.iter().filter(|file| file.kind == LakeKind::Changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Keeping =
        Keeping { views: Bound { age_ms: 100, bytes: 30 }, targets: Bound { age_ms: 1_000, bytes: 60 } };

    fn files(all: &[(u64, i64, u64)]) -> Vec<Entry> {
        all.iter()
            .map(|(seq, written_ms, bytes)| Entry { seq: Seq(*seq), written_ms: *written_ms, bytes: *bytes })
            .collect()
    }

    fn target(acknowledged: u64, rebuild: bool) -> BTreeMap<String, Target> {
        BTreeMap::from([("pg".to_string(), Target { acknowledged: Seq(acknowledged), rebuild })])
    }

    #[test]
    fn files_stay_by_age_and_size_and_for_a_target_that_lags_longer_but_not_for_ever() {
        let (none, now) = (BTreeMap::new(), 1_000);
        let three = [(3, 900, 10), (5, 950, 10), (8, 990, 10)];
        let many = [(1, 901, 20), (2, 902, 20), (3, 903, 20), (4, 904, 20)];
        let cases = [
            ("none", files(&[]), &none, None, false),
            ("all fit", files(&three), &none, Some(3), false),
            ("too old", files(&[(3, 899, 10), (5, 950, 10)]), &none, Some(5), false),
            ("the newest stays however old", files(&[(3, 0, 10)]), &none, Some(3), false),
            ("the newest stays however large", files(&[(3, 990, 10), (4, 999, 99)]), &none, Some(4), false),
            ("too many bytes", files(&many), &none, Some(4), false),
            ("a target holds what it has not acknowledged", files(&many), &target(2, false), Some(3), false),
            ("one that is up to date holds nothing", files(&many), &target(4, false), Some(4), false),
            (
                "one that lags by more than its limit holds nothing",
                files(&many),
                &target(0, false),
                Some(4),
                true,
            ),
            ("nor does one that is to be rebuilt", files(&many), &target(2, true), Some(4), true),
        ];
        for (name, files, targets, from, behind) in cases {
            let kept = keep(&files, now, targets, SMALL);
            assert_eq!((kept.from, !kept.behind.is_empty()), (from.map(Seq), behind), "{name}");
        }
    }
}
