//! Output prefixes: which job owns which folder of the lake, and what its files are called.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::commit::job::Job;
use crate::engine::commit::loose;
use crate::engine::commit::site::Site;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names;
use crate::store::Error as StoreError;
use headway_operators::time::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How often a claim whose outcome is not known is tried again.
const ATTEMPTS: u32 = 8;

/// How deep folders of the lake may be nested.
const DEPTH_MAX: usize = 16;

/// The format of a prefix's file.
const FORMAT: u32 = 1;

/// What a prefix's file says.
#[derive(Debug, Serialize, Deserialize)]
struct PrefixClaim {
    format: u32,
    prefix: String,
    job: String,
}

/// Refuses names that cannot be folders of a lake.
///
/// # Errors
/// [`CheckpointError::BadName`].
pub fn check_names(job: &Job) -> Result<(), CheckpointError> {
    if !names::is_plain(&job.name) || job.name == "prefix" {
        return Err(CheckpointError::BadName { what: "job", name: job.name.clone() });
    }
    for spec in &job.outputs {
        let plain = names::is_safe(&spec.prefix) && spec.prefix.split('/').all(names::is_plain);
        if !plain || spec.prefix.split('/').next() == Some("_headway") {
            return Err(CheckpointError::BadName { what: "prefix", name: spec.prefix.clone() });
        }
    }
    Ok(())
}

/// Claims every output prefix of `job`.
///
/// # Errors
/// [`CheckpointError::PrefixTaken`] if another job owns one, or a folder above or below it.
pub async fn claim_prefixes(site: &Site, job: &Job) -> Result<(), CheckpointError> {
    check_prefixes(site, job).await?;
    for prefix in prefixes(job) {
        claim(site, &job.name, prefix).await?;
    }
    Ok(())
}

/// Refuses what [`claim_prefixes`] would refuse, and claims nothing.
///
/// # Errors
/// As [`claim_prefixes`].
pub async fn check_prefixes(site: &Site, job: &Job) -> Result<(), CheckpointError> {
    let names = site.list(names::PREFIX_FOLDER).await?;
    let taken: Vec<String> = names.iter().filter_map(|name| names::claimed_prefix(name)).collect();
    for prefix in prefixes(job) {
        for other in taken.iter().filter(|other| overlaps(prefix, other)) {
            match owner(site, other).await? {
                Some(owner) if owner != job.name => {
                    return Err(CheckpointError::PrefixTaken { prefix: prefix.to_string(), owner });
                }
                Some(_) | None => {}
            }
        }
    }
    Ok(())
}

/// The prefixes that `job` has claimed.
///
/// # Errors
/// If a claim cannot be read.
pub async fn prefixes_of(site: &Site, job: &str) -> Result<Vec<String>, CheckpointError> {
    let mut mine = Vec::new();
    for name in site.list(names::PREFIX_FOLDER).await? {
        let Some(prefix) = names::claimed_prefix(&name) else { continue };
        if owner(site, &prefix).await?.as_deref() == Some(job) {
            mine.push(prefix);
        }
    }
    Ok(mine)
}

/// Refuses a lake where a file is visible that only a commit after `head`, the last one there is, can have published:
/// that commit was lost, and going on would publish its rows again. False if another run has committed it since `head`
/// was read.
///
/// # Errors
/// [`CheckpointError::Inconsistent`] with the file.
pub async fn is_last(site: &Site, job: &Job, head: Option<&Manifest>) -> Result<bool, CheckpointError> {
    let epoch = head.map_or(Epoch(0), |head| head.epoch);
    let changes = names::changes_folder(&job.name);
    let is_later = |name: &String| {
        let seq = names::change_file_parts(name).map(|(seq, _)| seq);
        seq.is_some_and(|seq| head.is_none_or(|head| seq > head.seq))
    };
    if let Some(name) = site.list(&changes).await?.into_iter().find(is_later) {
        return lost_or_old(site, job, head, &format!("{changes}{name}")).await;
    }
    for prefix in prefixes(job) {
        let stems: Vec<&str> =
            job.outputs.iter().filter(|spec| spec.prefix == prefix).map(|spec| spec.stem.as_ref()).collect();
        let later = |path: &String| {
            let name = &path[names::parent(path).len()..];
            stems.iter().any(|stem| names::lake_epoch(name, stem).is_some_and(|found| found > epoch))
        };
        let Some(path) = below(site, &format!("{prefix}/")).await?.into_iter().find(later) else { continue };
        return lost_or_old(site, job, head, &path).await;
    }
    Ok(true)
}

/// A file at `path` that only a commit after `head` can have published: false if another run has committed it since `head`
/// was read; else that commit is lost.
async fn lost_or_old(
    site: &Site,
    job: &Job,
    head: Option<&Manifest>,
    path: &str,
) -> Result<bool, CheckpointError> {
    if loose::highest(site, &job.name).await? != head.map(|head| head.seq) {
        return Ok(false);
    }
    let path = site.describe(path);
    Err(Inconsistency::CommitGone { path, newest: head.map(|head| head.epoch) }.into())
}

/// Every file below `folder`, in folders of an output at any depth: rows may lie by day and hour.
pub(crate) async fn below(site: &Site, folder: &str) -> Result<Vec<String>, CheckpointError> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_string()]);
    while let Some(folder) = folders.pop() {
        for name in site.list(&folder).await? {
            let path = format!("{folder}{name}");
            if !name.ends_with('/') {
                files.push(path);
            } else if path.matches('/').count() <= DEPTH_MAX {
                folders.push(path);
            }
        }
    }
    Ok(files)
}

fn prefixes(job: &Job) -> BTreeSet<&str> {
    let gold = job.gold.iter().map(|folder| folder.trim_end_matches('/'));
    job.outputs.iter().map(|spec| spec.prefix.as_str()).chain(gold).collect()
}

/// True if one of two prefixes holds the other.
fn overlaps(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn claim(site: &Site, job: &str, prefix: &str) -> Result<(), CheckpointError> {
    let claim = PrefixClaim { format: FORMAT, prefix: prefix.to_string(), job: job.to_string() };
    let bytes = serde_json::to_vec(&claim).expect("plain values encode");
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match owner(site, prefix).await? {
            Some(owner) if owner == job => return Ok(()),
            Some(owner) => return Err(CheckpointError::PrefixTaken { prefix: prefix.to_string(), owner }),
            None => {}
        }
        match site.create(&names::prefix(prefix), &bytes).await {
            Ok(_) => {}
            Err(error @ (StoreError::Unknown { .. } | StoreError::Failed { .. })) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match (owner(site, prefix).await?, last) {
        (Some(owner), _) if owner == job => Ok(()),
        (Some(owner), _) => Err(CheckpointError::PrefixTaken { prefix: prefix.to_string(), owner }),
        (None, Some(error)) => Err(error.into()),
        (None, None) => Err(Inconsistency::ClaimGoesAway { prefix: prefix.to_string() }.into()),
    }
}

async fn owner(site: &Site, prefix: &str) -> Result<Option<String>, CheckpointError> {
    let name = names::prefix(prefix);
    let Some(bytes) = site.read(&name, 1 << 16).await? else { return Ok(None) };
    match serde_json::from_slice::<PrefixClaim>(&bytes) {
        Ok(claim) if claim.prefix == prefix && claim.format == FORMAT => Ok(Some(claim.job)),
        Ok(claim) if claim.format > FORMAT => {
            let what = format!("format {}", claim.format);
            Err(CheckpointError::Newer { file: site.describe(&name), what })
        }
        Ok(_) => {
            let what = "it is about another prefix, or of a format that no release wrote".to_string();
            Err(CheckpointError::Invalid { file: site.describe(&name), what })
        }
        Err(error) => Err(CheckpointError::Invalid { file: site.describe(&name), what: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_hold_each_other_overlap() {
        assert!(overlaps("gate", "gate/a") && overlaps("a/b", "a") && overlaps("a", "a"));
        assert!(!overlaps("gate", "gate2") && !overlaps("_dead/a", "_dead/b"));
    }
}
