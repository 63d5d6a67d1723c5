//! After the commit: gives lake files their final names, then takes away what nothing needs any more.
//!
//! 1. Publish. Only what a manifest of the chain names; may be repeated, by this run or the next, until done.
//! 2. Make the names durable, folder by folder. Only now may the next manifest be written.
//! 3. Collect: stages of earlier runs, own stages up to the committed epoch, state files that nothing names.
//!
//! Invariant: the head is read again before 1 and before 3. A run that is not it any more touches nothing.

use crate::engine::commit::claim;
use crate::engine::commit::decide;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::loose;
use crate::engine::commit::site::Site;
use crate::engine::failpoint;
use crate::engine::format::manifest::{LakeFile, Manifest};
use crate::engine::format::names::{self, Generation, Seq};
use crate::store::Published;
use crate::store::local::TEMPORARY;
use headway_operators::time::Epoch;
use std::collections::BTreeSet;

/// Sees that `manifest`, of run `generation`, is still the head.
///
/// # Errors
/// [`CheckpointError::Fenced`] if it is not.
pub async fn still_head(
    site: &Site,
    manifest: &Manifest,
    generation: Generation,
) -> Result<(), CheckpointError> {
    let highest = loose::highest(site, &manifest.job).await?;
    if decide::is_head(manifest.seq, highest) {
        return Ok(());
    }
    let seq = manifest.seq.next();
    Err(CheckpointError::Fenced { job: manifest.job.clone(), generation, seq })
}

/// Publishes what an earlier run had committed with `head`, its last manifest. After a crash the manifest's name may be
/// visible and not durable yet, and its rows must not outlive it; and nobody has looked at the staged files since.
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
            let staged = site.describe(&file.staged);
            let what = format!("\"{staged}\" is not the file that manifest {} committed", manifest.seq);
            return Err(CheckpointError::Inconsistent { what });
        }
    }
    Ok(())
}

/// Gives every lake file of `manifest` its final name, durably. Harmless if it was done before.
///
/// # Errors
/// If a file is lost, or another one has its name; if the medium refuses.
pub async fn publish(site: &Site, manifest: &Manifest) -> Result<(), CheckpointError> {
    let mut folders = BTreeSet::new();
    failpoint::at("publish.begin");
    for file in &manifest.lake {
        publish_file(site, file).await?;
        failpoint::at("publish.file");
        folders.insert(names::parent(&file.path));
    }
    failpoint::at("publish.linked");
    for folder in folders {
        site.sync_folder(folder).await?;
    }
    failpoint::at("publish.synced");
    Ok(())
}

async fn publish_file(site: &Site, file: &LakeFile) -> Result<(), CheckpointError> {
    let outcome = site.publish(&file.staged, &file.path).await?;
    if decide::is_published(outcome, file, None) {
        return Ok(());
    }
    let found = site.checksum(&file.path).await?;
    if decide::is_published(outcome, file, found.as_ref()) {
        return Ok(());
    }
    let (path, staged) = (site.describe(&file.path), site.describe(&file.staged));
    let what = match found {
        Some(_) => format!("\"{path}\" is there and is not the file that was committed as \"{staged}\""),
        None => format!("\"{path}\" was committed, and neither it nor \"{staged}\" is there"),
    };
    Err(CheckpointError::Inconsistent { what })
}

/// Removes the staged files of this run's epochs up to the head's, and `dropped` state files.
///
/// # Errors
/// If a file stays.
pub async fn collect(site: &Site, head: &Manifest, dropped: &[String]) -> Result<(), CheckpointError> {
    failpoint::at("collect.begin");
    let stage = format!("{}{}/", names::stage_folder(&head.job), head.generation);
    for name in site.list(&stage).await? {
        let epoch = name.strip_suffix('/').and_then(|number| number.parse().ok()).map(Epoch);
        if epoch.is_some_and(|e| decide::is_past((head.generation, e), (head.generation, head.epoch))) {
            remove_unnamed(site, &format!("{stage}{name}"), &BTreeSet::new()).await?;
            failpoint::at("collect.staged");
        }
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
    let mine = (head.generation, head.epoch);
    let named: BTreeSet<&str> = head.state.iter().map(|entry| entry.file.path.as_str()).collect();
    let mut removed = 0;
    for root in [names::stage_folder(&head.job), names::state_folder(&head.job)] {
        for generation in site.list(&root).await?.into_iter().filter(|name| name.ends_with('/')) {
            let folder = format!("{root}{generation}");
            for epoch in site.list(&folder).await?.into_iter().filter(|name| name.ends_with('/')) {
                let folder = format!("{folder}{epoch}");
                let of = names::generation_and_epoch(&root, &folder);
                if of.is_some_and(|of| decide::is_past(of, mine)) {
                    removed += remove_unnamed(site, &folder, &named).await?;
                    failpoint::at("sweep.folder");
                }
            }
            remove_if_empty(site, &folder, &generation, head.generation).await?;
        }
    }
    let manifests = names::manifest_folder(&head.job);
    let mut folders = vec![manifests.clone(), names::segment_folder(&head.job), names::job_folder(&head.job)];
    // Starts try whether files can be linked where rows will go.
    folders.extend(claim::prefixes_of(site, &head.job).await?.iter().map(|prefix| format!("{prefix}/")));
    for folder in folders {
        for name in site.list(&folder).await? {
            let folded =
                folder == manifests && names::manifest_seq(&name).is_some_and(|seq| seq < first_loose);
            // A create of a run that is being fenced may be under way: it fails at worst, and would not count.
            if folded || name.starts_with(TEMPORARY) {
                site.delete(&format!("{folder}{name}")).await?;
                removed += 1;
            }
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
