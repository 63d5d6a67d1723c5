//! Folds old manifests into immutable segments: many lines in one file, so that no folder grows without end.
//!
//! A segment holds the manifests' own bytes, folded ([`crate::engine::format::pieces`]) and gzipped. Its range follows from the chain alone
//! ([`decide::fold`]), so two runs that fold at the same time write the same manifests.

use crate::engine::commit::decide::{self, Base, Folding};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::{BrokenChain, Inconsistency};
use crate::engine::commit::loose::{self, refuse};
use crate::engine::commit::site::Site;
use crate::engine::failpoint;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::manifest_file::BYTES_MAX;
use crate::engine::format::names::{self, Seq, SeqRange};
use crate::engine::format::pieces;
use crate::store::Error;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read, Write};

/// The longest segment that is read, in bytes before compression and folding.
const UNFOLDED_MAX: usize = 4 << 30;

/// How often a segment is written before it is left for later.
const ATTEMPTS: u32 = 8;

/// The ranges of the segments that are there, in order. They may have a gap where a backup was interrupted.
///
/// # Errors
/// If the folder cannot be read.
pub(super) async fn found(site: &Site, job: &str) -> Result<Vec<SeqRange>, CheckpointError> {
    let names = site.list(&names::segment_folder(job)).await?;
    let mut ranges: Vec<_> = names.iter().filter_map(|name| names::segment_range(name)).collect();
    ranges.sort_unstable();
    Ok(ranges)
}

/// The ranges of all segments, in order.
///
/// # Errors
/// If the folder cannot be read, or the ranges have a gap or overlap.
pub async fn ranges(site: &Site, job: &str) -> Result<Vec<SeqRange>, CheckpointError> {
    let ranges = found(site, job).await?;
    let mut next = Seq(0);
    for SeqRange { first, last } in &ranges {
        if *first != next || last < first {
            let folder = site.describe(&names::segment_folder(job));
            return Err(Inconsistency::SegmentGap { folder, seq: next }.into());
        }
        next = last.next();
    }
    Ok(ranges)
}

/// The manifests of the newest segment, oldest first; none if nothing was folded yet.
///
/// # Errors
/// If it is not what was written.
pub async fn newest(site: &Site, job: &str) -> Result<Vec<Manifest>, CheckpointError> {
    match ranges(site, job).await?.last() {
        None => Ok(Vec::new()),
        Some(range) => read(site, job, *range).await,
    }
}

/// The manifests of one segment.
///
/// # Errors
/// If it is gone or not what was written.
pub async fn read(site: &Site, job: &str, range: SeqRange) -> Result<Vec<Manifest>, CheckpointError> {
    let name = names::segment(job, range);
    let invalid = |what: String| CheckpointError::Invalid { file: site.describe(&name), what };
    let Some(bytes) = site.read(&name, BYTES_MAX * 4).await? else {
        return Err(invalid("it is gone".into()));
    };
    let texts = unfold(&bytes).map_err(|error| invalid(error.to_string()))?;
    let mut manifests = Vec::new();
    for text in texts {
        manifests
            .push(Manifest::decode(text.as_bytes()).map_err(|error| refuse(site.describe(&name), error))?);
    }
    let numbers: Vec<Seq> = manifests.iter().map(|manifest| manifest.seq).collect();
    let follows = |pair: &[Manifest]| pair[1].parent == Some(pair[0].nonce);
    if numbers != range.first.to(range.last).collect::<Vec<_>>()
        || !manifests.windows(2).all(follows)
        || manifests.iter().any(|manifest| manifest.job != job)
    {
        return Err(invalid("its manifests do not make a chain".into()));
    }
    Ok(manifests)
}

/// The manifests' own bytes in a segment.
fn unfold(bytes: &[u8]) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut decoder = GzDecoder::new(bytes);
    decoder.by_ref().take(UNFOLDED_MAX as u64).read_to_end(&mut lines)?;
    if !decoder.into_inner().is_empty() {
        return Err(std::io::Error::other("bytes after its end"));
    }
    pieces::unfold(&lines, UNFOLDED_MAX).ok_or_else(|| std::io::Error::other("it does not unfold"))
}

/// Folds the oldest loose manifests if there are enough below `head`, and returns the new base. The caller has just seen that
/// `head` is the head.
///
/// # Errors
/// If a manifest is not what was written, or a segment is there with other lines.
pub async fn fold(
    site: &Site,
    job: &str,
    base: Option<Base>,
    head: Seq,
    rule: Folding,
) -> Result<Option<Base>, CheckpointError> {
    let Some(range) = decide::fold(base, head, rule) else { return Ok(base) };
    // 1. Make the segment durable, unless an earlier run has done so before it was fenced.
    let end = match folded(site, job, range).await? {
        Some(end) => end,
        None => match loose(site, job, base, range).await? {
            Ok((texts, end)) => {
                write(site, &names::segment(job, range), &texts).await?;
                failpoint::at("fold.written");
                end
            }
            Err(broken) => match folded(site, job, range).await? {
                Some(end) => end,
                None => return Err(Inconsistency::Chain { job: job.to_string(), broken }.into()),
            },
        },
    };
    // 2. Only then take the loose ones away.
    for seq in range.first.to(range.last) {
        site.delete(&names::manifest(job, seq)).await?;
        failpoint::at("fold.deleted");
    }
    Ok(Some(end))
}

/// The end of the segment of `range`, made durable, if it is there.
async fn folded(site: &Site, job: &str, range: SeqRange) -> Result<Option<Base>, CheckpointError> {
    if !ranges(site, job).await?.contains(&range) {
        return Ok(None);
    }
    let manifests = read(site, job, range).await?;
    site.sync_folder(&names::segment_folder(job)).await?;
    Ok(manifests.last().map(|last| Base { seq: last.seq, nonce: last.nonce }))
}

/// The bytes of the loose manifests of `range` and the base they make; or what is wrong with them.
async fn loose(
    site: &Site,
    job: &str,
    base: Option<Base>,
    SeqRange { first, last }: SeqRange,
) -> Result<Result<(Vec<String>, Base), BrokenChain>, CheckpointError> {
    let (mut texts, mut parent) = (Vec::new(), base.map(|base| base.nonce));
    for seq in first.to(last) {
        let Some((manifest, bytes)) = loose::manifest_with_bytes(site, job, seq).await? else {
            return Ok(Err(BrokenChain::WentAway { seq }));
        };
        if manifest.parent != parent {
            return Ok(Err(BrokenChain::OtherParent { seq }));
        }
        parent = Some(manifest.nonce);
        texts.push(String::from_utf8(bytes).expect("it decoded as JSON"));
    }
    let nonce = parent.expect("a segment has manifests");
    Ok(Ok((texts, Base { seq: last, nonce })))
}

async fn write(site: &Site, name: &str, texts: &[String]) -> Result<(), CheckpointError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder
        .write_all(&pieces::fold(texts))
        .and_then(|()| encoder.try_finish())
        .expect("memory takes all bytes");
    let bytes = encoder.finish().expect("memory takes all bytes");
    for _ in 0..ATTEMPTS {
        match site.create(name, &bytes).await {
            Ok(_) | Err(Error::Unknown { .. } | Error::Failed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // Whoever wrote it, it must have these manifests, and be durable before the loose ones go.
        match site.read(name, BYTES_MAX * 4).await? {
            None => {}
            Some(found) if unfold(&found).is_ok_and(|found| found == texts) => {
                return Ok(site.sync_folder(names::parent(name)).await?);
            }
            Some(_) => {
                return Err(Inconsistency::SegmentDiffers { segment: site.describe(name) }.into());
            }
        }
    }
    let source = std::io::Error::other("it was tried several times");
    Err(Error::Failed { verb: "create", name: site.describe(name), source }.into())
}
