//! Compaction: for a stopped job, merges the small files of each closed folder into few large ones.
//!
//! ```text
//! plan ─► write each merged file where no reader looks, sync, read back ─► manifest n: the merged files, and which files
//! each replaces ─► publish the merged files, durably ─► delete the replaced ones
//! ```
//!
//! 1. The manifest is the commit point. Before it the old files are the lake's; after it the merged ones are, and whoever
//!    comes next publishes them and deletes what they replace, if this run does not come to it.
//! 2. A reader that follows manifests sees each row once: up to manifest n in the old files, from n on in the merged ones.
//! 3. A reader that lists a folder sees only whole files, and no row is ever missing. From the publishing of a merged file
//!    until the files it replaces are deleted, it sees their rows twice. A crash in between keeps it so until the next start,
//!    compaction or release of the job.
//! 4. Staged files lie in a generation that no run has claimed: neither an upkeep command nor a run that is being fenced
//!    takes them away, and the next run does.
//!
//! Invariant: rows of a merged file are exactly the rows of the files it replaces, in their order. Both are counted.

use crate::connect::formats::of_file;
use crate::engine::clock::Clock;
use crate::engine::commit::checkpoint::create;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::commit::job::IfRunning;
use crate::engine::commit::ledger::{Stamp, closed};
use crate::engine::commit::release::{Committed, Standing, committed};
use crate::engine::commit::site::{Site, run};
use crate::engine::commit::staged;
use crate::engine::commit::{alive, publish, recover};
use crate::engine::format::folders;
use crate::engine::format::manifest::{Fed, LakeFile, LakeKind, Manifest, TimeRange};
use crate::engine::format::names::{self, Seq};
use crate::store::{Error as StoreError, Store};
use headway_operators::ack::Place;
use headway_operators::time::EventTime;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

/// Merged files of one manifest: more wait for the next one, so that a crash costs little.
const FILES_MAX: usize = 64;

/// Which files are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// About how many bytes of old files go into a merged one. A file of half of it stays as it is.
    pub bytes_max: u64,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { bytes_max: 128 << 20 }
    }
}

/// A file that was merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The manifest that says so.
    pub seq: Seq,
    /// The merged file.
    pub file: LakeFile,
    /// Bytes of the files that it replaces.
    pub bytes_before: u64,
}

/// Merges the small files of the closed folders of `job`, which must not run: its signs of life are watched first, if there
/// are any. A folder is closed if its hour or day lies before the watermarks of all inputs, or if it is none of a time.
///
/// # Errors
/// [`CheckpointError::Running`] if the job runs, [`CheckpointError::Fenced`] if it starts meanwhile: then what was merged
/// before holds, and the rest was left as it was. Else if a file is damaged or cannot be read or written.
pub fn compact(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    job: &str,
    rules: Rules,
) -> Result<Vec<Merged>, CheckpointError> {
    let site = Site::new(Arc::clone(store), Arc::clone(clock));
    run(async {
        alive::admit(&site, job, IfRunning::Wait).await?;
        let mut manifests = recover::all(&site, job).await?;
        let Some(head) = manifests.last() else { return Ok(Vec::new()) };
        publish::is_highest(&site, head).await?;
        // What the last run committed and did not publish must be published before there is a next manifest.
        publish::finish(&site, head).await?;
        let mut all = Vec::new();
        loop {
            let mut groups = plan(&manifests, rules);
            groups.truncate(FILES_MAX);
            let Some(head) = manifests.last().filter(|_| !groups.is_empty()) else { return Ok(all) };
            let noted = merge(&site, store.as_ref(), head, &groups).await?;
            create(&site, &noted).await?;
            publish::publish(&site, &noted).await?;
            for file in &noted.lake {
                site.delete(&file.staged.name).await?;
            }
            all.extend(noted.lake.iter().zip(&groups).map(|(file, group)| Merged {
                seq: noted.seq,
                file: file.clone(),
                bytes_before: group.iter().map(|file| file.bytes).sum(),
            }));
            manifests.push(noted);
        }
    })
}

/// The files to merge, in the order of their commits; each group becomes one file.
fn plan(manifests: &[Manifest], rules: Rules) -> Vec<Vec<LakeFile>> {
    let Some(head) = manifests.last() else { return Vec::new() };
    let open = head.inputs.iter().filter(|input| !input.ended);
    let reached = open.map(|input| input.watermark).min().unwrap_or(EventTime(i64::MAX));
    let mut folders: BTreeMap<(&str, &str), Vec<&LakeFile>> = BTreeMap::new();
    for Committed { file, standing, .. } in committed(manifests) {
        let is_closed = || folders::end(&file.folder).is_none_or(|end| end <= reached);
        let is_small = file.bytes < rules.bytes_max / 2;
        if standing == Standing::Movable && file.kind == LakeKind::Rows && is_small && is_closed() {
            folders.entry((&file.output, &file.folder)).or_default().push(file);
        }
    }
    let mut groups = Vec::new();
    for files in folders.into_values() {
        let (mut group, mut bytes) = (Vec::new(), 0);
        for file in files {
            if bytes + file.bytes > rules.bytes_max {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += file.bytes;
            group.push(file.clone());
        }
        groups.push(group);
    }
    // One file alone stays what it is.
    groups.retain(|group| group.len() > 1);
    groups
}

/// Writes a file for each of `groups`, and gives the manifest after `head` that commits them.
async fn merge(
    site: &Site,
    store: &dyn Store,
    head: &Manifest,
    groups: &[Vec<LakeFile>],
) -> Result<Manifest, CheckpointError> {
    let stamp = Stamp { nonce: site.nonce(), written_ms: site.now_ms() };
    let mut noted = closed(head, stamp);
    for (number, group) in groups.iter().enumerate() {
        for file in group {
            let found = site.checksum(&Place::whole(file.path())).await?;
            if found != Some((file.bytes, file.checksum.clone())) {
                let path = site.describe(&file.path());
                return Err(Inconsistency::CannotMerge { path }.into());
            }
        }
        let (next, name) = (head.generation.next(), format!("{}-{number}", stamp.nonce));
        let name = names::staged_merge(&head.job, next, head.epoch, &name);
        noted.lake.push(write(store, &name, group, noted.seq)?);
    }
    Ok(noted)
}

/// Writes the rows of `group`, to be committed by manifest `seq`, to the staged file `name`.
fn write(store: &dyn Store, name: &str, group: &[LakeFile], seq: Seq) -> Result<LakeFile, CheckpointError> {
    let newest = group.last().expect("a group has files");
    let Some(encoder) = of_file(&newest.path()) else {
        return Err(Inconsistency::UnknownFormat { path: newest.path() }.into());
    };
    let mut files = group.iter().map(|file| open(store, &file.path()));
    let mut rows = 0;
    let written = staged::write(store, name, |out| {
        rows = encoder.merge(&mut files, out)?;
        Ok(())
    });
    let (bytes, checksum) = written?;
    let expected: u64 = group.iter().map(|file| file.rows).sum();
    if rows != expected {
        return Err(Inconsistency::RowsDiffer { path: newest.path(), expected, found: rows }.into());
    }
    Ok(LakeFile {
        name: merged_name(&newest.name, encoder.extension(), seq),
        staged: Place::whole(name),
        rows,
        bytes,
        checksum,
        event_time: event_time(group),
        since: group.iter().map(|file| file.since).min().unwrap_or(newest.since),
        fed: fed(group),
        replaces: group.iter().map(LakeFile::path).collect(),
        ..newest.clone()
    })
}

fn open(store: &dyn Store, path: &str) -> io::Result<Box<dyn Read + Send>> {
    match store.open(path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(io::Error::new(io::ErrorKind::NotFound, format!("\"{path}\" is gone"))),
        Err(StoreError::Failed { source, .. }) => Err(source),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// `batch_7_20181115_130000-m42.parquet` for the merged file whose newest part is called `batch_7_20181115_130000.parquet`.
fn merged_name(newest: &str, extension: &str, seq: Seq) -> String {
    let stem = newest.strip_suffix(extension).unwrap_or(newest).trim_end_matches('.');
    let own = stem.rsplit_once("-m").filter(|(_, digits)| digits.bytes().all(|byte| byte.is_ascii_digit()));
    format!("{}-m{seq}.{extension}", own.map_or(stem, |(stem, _)| stem))
}

fn event_time(group: &[LakeFile]) -> Option<TimeRange> {
    let ranges = || group.iter().filter_map(|file| file.event_time);
    let least = ranges().map(|range| range.least).min()?;
    Some(TimeRange { least, greatest: ranges().map(|range| range.greatest).max()? })
}

/// The offsets that fed any of `group`.
fn fed(group: &[LakeFile]) -> Vec<Fed> {
    let mut ranges: Vec<Fed> = group.iter().flat_map(|file| file.fed.clone()).collect();
    ranges.sort_unstable_by_key(|fed| (fed.input, fed.partition, fed.from));
    let mut all: Vec<Fed> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last)
                if (last.input, last.partition) == (range.input, range.partition)
                    && range.from <= last.next =>
            {
                last.next = last.next.max(range.next);
            }
            _ => all.push(range),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::{batch, first};
    use headway_operators::ack::InputIx;
    use headway_operators::record::{Offset, Partition};
    use headway_operators::time::Epoch;

    fn file(folder: &str, name: &str, bytes: u64) -> LakeFile {
        let kind = LakeKind::of_folder(folder);
        LakeFile { kind, folder: folder.into(), name: name.into(), bytes, ..batch() }
    }

    /// The names of the files in each group, where the files of `lake` lie in one manifest below the head.
    fn groups(lake: Vec<LakeFile>, watermark_ms: i64, ended: bool) -> Vec<Vec<String>> {
        let (mut before, mut head) = (first(1), first(1));
        before.lake = lake;
        head.seq = before.seq.next();
        (head.inputs[0].watermark, head.inputs[0].ended) = (EventTime(watermark_ms), ended);
        let groups = plan(&[before, head], Rules { bytes_max: 100 });
        groups.iter().map(|group| group.iter().map(|file| file.name.clone()).collect()).collect()
    }

    #[test]
    fn small_files_of_a_folder_are_merged_up_to_the_limit_and_large_or_lonely_ones_stay() {
        let sizes =
            [("a", 40), ("b", 30), ("large", 50), ("c", 30), ("d", 10), ("e", 49), ("f", 49), ("lonely", 49)];
        let mut lake: Vec<LakeFile> = sizes.iter().map(|(name, bytes)| file("gate/", name, *bytes)).collect();
        lake.push(file("gate/x=1/", "other", 1));
        lake.extend([file("_dead/gate/", "dead", 1), file("_dead/gate/", "letters", 1)]);
        assert_eq!(groups(lake, 0, false), [vec!["a", "b", "c"], vec!["d", "e"], vec!["f", "lonely"]]);
    }

    #[test]
    fn folder_of_an_hour_or_a_day_is_merged_once_the_watermark_has_passed_its_end() {
        let end = 1_542_290_400_000;
        let hour = || {
            vec![
                file("p/year=2018/month=11/day=15/hour=13/", "a", 1),
                file("p/year=2018/month=11/day=15/hour=13/", "b", 1),
            ]
        };
        assert_eq!(groups(hour(), end - 1, false), Vec::<Vec<String>>::new());
        assert_eq!(groups(hour(), end, false).len(), 1);
        assert_eq!(groups(hour(), 0, true).len(), 1, "an input that has ended waits for nothing");
        let day = || vec![file("p/date=2018-11-15/", "a", 1), file("p/date=2018-11-15/", "b", 1)];
        let midnight = 1_542_326_400_000;
        assert_eq!((groups(day(), midnight - 1, false).len(), groups(day(), midnight, false).len()), (0, 1));
    }

    #[test]
    fn name_of_a_merged_file_has_the_newest_epoch_and_the_manifest() {
        let name = |newest, seq| merged_name(newest, "csv.gz", Seq(seq));
        assert_eq!(name("batch_7_20181115_130000_2.csv.gz", 42), "batch_7_20181115_130000_2-m42.csv.gz");
        assert_eq!(name("batch_7_20181115_130000_2-m42.csv.gz", 50), "batch_7_20181115_130000_2-m50.csv.gz");
        assert_eq!(names::lake_epoch(&name("batch_7_20181115_130000.csv.gz", 1), "batch"), Some(Epoch(7)));
    }

    #[test]
    fn offsets_that_fed_a_merged_file_are_those_of_its_parts() {
        let range = |partition, from, next| Fed {
            input: InputIx(0),
            partition: Partition(partition),
            from: Offset(from),
            next: Offset(next),
        };
        let of = |fed| LakeFile { fed, ..file("gate/", "a", 1) };
        let group = [of(vec![range(0, 0, 5), range(1, 3, 4)]), of(vec![range(0, 4, 9), range(1, 6, 8)])];
        assert_eq!(fed(&group), [range(0, 0, 9), range(1, 3, 4), range(1, 6, 8)]);
    }
}
