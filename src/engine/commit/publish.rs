//! After the commit: gives lake files their final names, then deletes files that nothing needs any more.
//!
//! 1. Publish. Only what a manifest of the chain names; may be repeated, by this run or the next, until done.
//! 2. Make the names durable, folder by folder. Only now may the next manifest be written.
//! 3. Collect: stages of earlier runs, own stages up to the committed epoch, state files that nothing names, change files
//!    that are not kept any more.
//!
//! Invariant: the head is read again before 1 and before 3. A run that is not it any more touches nothing.

use crate::engine::commit::change_files;
use crate::engine::commit::claim;
use crate::engine::commit::decide::{self, RunEpoch};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::commit::loose;
use crate::engine::commit::site::Site;
use crate::engine::failpoint;
use crate::engine::format::manifest::{LakeFile, Manifest};
use crate::engine::format::names::Seq;
use crate::engine::format::names::{self, Generation};
use crate::store::local::TEMPORARY;
use crate::store::{Created, Error as StoreError, Published};
use headway_operators::ack::Place;
use std::collections::BTreeSet;

/// Sees that `manifest` is still the head: it is there, and the next number is not. Two questions by name, and no list.
///
/// That is enough for a manifest that has counted: a run that goes on from it takes the next number, and compaction deletes
/// both in their order.
///
/// # Errors
/// [`CheckpointError::Fenced`] if it is not.
pub async fn still_head(site: &Site, manifest: &Manifest) -> Result<(), CheckpointError> {
    let next = site.size(&names::manifest(&manifest.job, manifest.seq.next())).await?;
    let own = site.size(&names::manifest(&manifest.job, manifest.seq)).await?;
    match (next, own) {
        (None, Some(_)) => Ok(()),
        (Some(_), _) => Err(fenced(manifest)),
        // Both were compacted by a run that went on, or they were deleted.
        (None, None) => is_highest(site, manifest).await,
    }
}

/// Sees that `manifest` is the highest there is: for what is done rarely and takes many files away.
///
/// # Errors
/// [`CheckpointError::Fenced`] if it is not.
pub async fn is_highest(site: &Site, manifest: &Manifest) -> Result<(), CheckpointError> {
    let highest = loose::highest(site, &manifest.job).await?;
    match highest {
        Some(highest) if highest > manifest.seq => Err(fenced(manifest)),
        Some(highest) if decide::is_head(manifest.seq, Some(highest)) => Ok(()),
        Some(_) | None => Err(lost(site, manifest)),
    }
}

/// The error of a run whose manifests were deleted: no other run has taken over.
pub(super) fn lost(site: &Site, manifest: &Manifest) -> CheckpointError {
    let folder = site.describe(&names::manifest_folder(&manifest.job));
    let seq = Seq(manifest.seq.0.saturating_sub(1));
    Inconsistency::ManifestsDeleted { seq, folder }.into()
}

fn fenced(manifest: &Manifest) -> CheckpointError {
    let (job, generation, seq) = (manifest.job.clone(), manifest.generation, manifest.seq.next());
    CheckpointError::Fenced { job, generation, seq }
}

/// Publishes what an earlier run had committed with `head`, its last manifest. After a crash the manifest's name may be
/// visible and not durable yet, and its rows must not outlive it. No run has checked the staged files since.
///
/// # Errors
/// If a file is lost or is not the one that was committed; if the medium refuses.
pub async fn finish(site: &Site, head: &Manifest) -> Result<(), CheckpointError> {
    site.sync_folder(&names::manifest_folder(&head.job)).await?;
    verify(site, head).await?;
    publish(site, head).await
}

/// Sees that the staged files of `manifest` are those that were committed. One that is not there may be published already.
async fn verify(site: &Site, manifest: &Manifest) -> Result<(), CheckpointError> {
    for file in &manifest.lake {
        let Some(found) = site.checksum(&file.staged).await? else { continue };
        if !decide::is_published(Published::Exists, file, Some(&found)) {
            let staged = site.describe(&file.staged.name);
            return Err(Inconsistency::StagedDiffers { staged, seq: manifest.seq }.into());
        }
    }
    Ok(())
}

/// Gives every lake file of `manifest` its final name, durably; then deletes the files that they replace. Harmless if it was
/// done before.
///
/// # Errors
/// If a file is lost, or another one has its name; if the medium refuses; if another run has gone on and a file is gone.
pub async fn publish(site: &Site, manifest: &Manifest) -> Result<(), CheckpointError> {
    let mut folders = BTreeSet::new();
    failpoint::at("publish.begin");
    for file in &manifest.lake {
        if let Err(error) = publish_file(site, file).await {
            // A run that has gone on since may have published it, and may not keep it any more: change files go.
            still_head(site, manifest).await?;
            return Err(error);
        }
        failpoint::at("publish.file");
        folders.insert(file.folder.as_str());
    }
    failpoint::at("publish.linked");
    for folder in folders {
        site.sync_folder(folder).await?;
    }
    failpoint::at("publish.synced");
    // The manifest counts: nobody needs them any more.
    for path in deleted(manifest) {
        site.delete(path).await?;
    }
    Ok(())
}

/// The lake files of earlier manifests that are deleted once `manifest` counts: others have their rows, or they are retired.
pub(super) fn deleted(manifest: &Manifest) -> impl Iterator<Item = &String> {
    let retired = manifest.released.iter().filter(|_| manifest.retired_before.is_some());
    manifest.lake.iter().flat_map(|file| &file.replaces).chain(retired)
}

async fn publish_file(site: &Site, file: &LakeFile) -> Result<(), CheckpointError> {
    let path = file.path();
    let outcome = match file.staged.range {
        None => site.publish(&file.staged.name, &path).await?,
        Some(_) => publish_part(site, file, &path).await?,
    };
    if decide::is_published(outcome, file, None) {
        return Ok(());
    }
    let found = site.checksum(&Place::whole(path.as_str())).await?;
    if decide::is_published(outcome, file, found.as_ref()) {
        return Ok(());
    }
    let (path, staged) = (site.describe(&path), site.describe(&file.staged.name));
    Err(match found {
        Some(_) => Inconsistency::NameTaken { path, staged },
        None => Inconsistency::Lost { path, staged },
    }
    .into())
}

/// Publishes a part of a staged file as a file of its own.
async fn publish_part(site: &Site, file: &LakeFile, path: &str) -> Result<Published, CheckpointError> {
    let Some(bytes) = site.read_place(&file.staged).await? else { return Ok(Published::Missing) };
    match site.create(path, &bytes).await {
        Ok(Created::Yes) => Ok(Published::Yes),
        Ok(Created::Exists) => Ok(Published::Exists),
        // It may have happened: then its bytes decide.
        Err(StoreError::Unknown { .. }) if site.size(path).await?.is_some() => Ok(Published::Exists),
        Err(error) => Err(error.into()),
    }
}

/// Removes the staged files of the `head` that this run has just published, and `dropped` state and change files.
///
/// # Errors
/// If a file stays.
pub async fn collect(
    site: &Site,
    head: &Manifest,
    dropped: &BTreeSet<String>,
) -> Result<(), CheckpointError> {
    failpoint::at("collect.begin");
    // A file that holds state as well stays as long as a manifest names it.
    let state = decide::state_paths(head);
    let staged: BTreeSet<&str> = head.lake.iter().map(|file| file.staged.name.as_str()).collect();
    let mut folders = BTreeSet::new();
    for name in staged.into_iter().filter(|name| !state.contains(*name)) {
        site.delete(name).await?;
        folders.insert(names::parent(name).trim_end_matches('/'));
        failpoint::at("collect.staged");
    }
    for folder in folders {
        // Nothing but what was acknowledged is staged in an epoch that is committed.
        site.delete(folder).await?;
    }
    for path in dropped {
        site.delete(path).await?;
        failpoint::at("collect.state");
    }
    failpoint::at("collect.done");
    Ok(())
}

/// Removes what earlier runs and crashes left: their stages, state files that nothing names, folded manifests,
/// temporary files. Gives how many files that were.
///
/// # Errors
/// If a file stays.
pub async fn sweep(site: &Site, head: &Manifest, first_loose: Seq) -> Result<u64, CheckpointError> {
    failpoint::at("sweep.begin");
    let mine = RunEpoch { generation: head.generation, epoch: head.epoch };
    let named = decide::state_paths(head);
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    let mut removed = 0;
    for root in [names::stage_folder(&head.job), names::state_folder(&head.job)] {
        for generation in site.list(&root).await?.into_iter().filter(|name| name.ends_with('/')) {
            let folder = format!("{root}{generation}");
            for epoch in site.list(&folder).await?.into_iter().filter(|name| name.ends_with('/')) {
                let folder = format!("{folder}{epoch}");
                let of = names::generation_and_epoch(&root, &folder);
                let of = of.map(|(generation, epoch)| RunEpoch { generation, epoch });
                if of.is_some_and(|of| decide::is_past(of, mine)) {
                    removed += remove_unnamed(site, &folder, &named).await?;
                    failpoint::at("sweep.folder");
                }
            }
            remove_if_empty(site, &folder, &generation, head.generation).await?;
        }
    }
    removed += change_files::sweep(site, head).await?;
    let manifests = names::manifest_folder(&head.job);
    let mut files = Vec::new();
    for folder in [manifests.clone(), names::segment_folder(&head.job), names::job_folder(&head.job)] {
        let names = site.list(&folder).await?;
        files.extend(names.into_iter().map(|name| format!("{folder}{name}")));
    }
    // Starts try whether files can be linked where rows will go.
    for prefix in claim::prefixes_of(site, &head.job).await? {
        files.extend(claim::below(site, &format!("{prefix}/")).await?);
    }
    let is_folded = |path: &str| {
        let (folder, name) = path.split_at(names::parent(path).len());
        folder == manifests && names::manifest_seq(name).is_some_and(|seq| seq < first_loose)
    };
    if files.iter().any(|path| is_folded(path)) {
        // The run that wrote their segment may have ended before it knew that a power cut leaves it there.
        site.sync_folder(&names::segment_folder(&head.job)).await?;
    }
    for path in files {
        let (folded, name) = (is_folded(&path), &path[names::parent(&path).len()..]);
        // A create of a run that is being fenced may be under way: it fails at worst, and would not count.
        if folded || name.starts_with(TEMPORARY) {
            site.delete(&path).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

async fn remove_if_empty(
    site: &Site,
    folder: &str,
    generation: &str,
    mine: Generation,
) -> Result<(), CheckpointError> {
    let earlier = generation.trim_end_matches('/').parse().is_ok_and(|found| Generation(found) < mine);
    if earlier && site.list(folder).await?.is_empty() {
        site.delete(folder.trim_end_matches('/')).await?;
    }
    Ok(())
}

/// Removes the files of `folder` that are not `named`, and then the folder; gives how many files.
async fn remove_unnamed(site: &Site, folder: &str, named: &BTreeSet<&str>) -> Result<u64, CheckpointError> {
    let (mut left, mut removed) = (false, 0);
    for name in site.list(folder).await? {
        let path = format!("{folder}{name}");
        if name.ends_with('/') || named.contains(path.as_str()) {
            left = true;
        } else {
            site.delete(&path).await?;
            removed += 1;
        }
    }
    if !left {
        site.delete(folder.trim_end_matches('/')).await?;
    }
    Ok(removed)
}
