//! Proves from the lake alone that nothing is lost or doubled, or names the first thing that contradicts.
//!
//! 1. Every file below the job's prefixes is listed first, so that a file published during the audit is not taken for litter.
//! 2. The manifests are read from number 0 to the head; each must follow from the one before
//!    ([`crate::engine::commit::law`]).
//! 3. Every lake file they name is there with its size; deep: with its bytes and rows. One that a later manifest
//!    releases or replaces may be gone, and so may a change file that is not kept any more.
//! 4. The head's state files are there, with their headers; deep: they decode. Each operator that holds something has
//!    state in them.
//! 5. What was listed is named.
//!
//! Changes nothing, and may run beside the job.

use crate::connect::formats::of_file;
use crate::engine::clock::Clock;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::law::follows;
use crate::engine::commit::loose;
use crate::engine::commit::recover::{self, Chain};
use crate::engine::commit::site::{Site, checksum, run as finish};
use crate::engine::commit::state_files::{Headers, StateFiles};
use crate::engine::commit::{change_files, claim, restore, segment};
use crate::engine::format::manifest::{Gap, LakeFile, LakeKind, Manifest, Operator};
use crate::engine::format::names::{self, Seq};
use crate::store::local::TEMPORARY;
use crate::store::{Error as StoreError, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How deep folders of an output may be nested.
const DEPTH_MAX: usize = 16;

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Manifests read.
    pub manifests: u64,
    /// How many of them are folded.
    pub folded: u64,
    /// Lake files that the manifests name.
    pub files: u64,
    /// Their rows, those of files that others replace counted once.
    pub rows: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Records that the manifests account for.
    pub records: u64,
    /// State files of the head.
    pub state_files: u64,
    /// Files of the head that do not have their final name yet: the next start gives it.
    pub unpublished: u64,
    /// Records that were gone before they were read, and that a start was told to pass over.
    pub gaps: Vec<Gap>,
    /// The first thing that contradicts; `None` if all holds.
    pub finding: Option<Finding>,
}

/// Something that contradicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The manifest it was found in or through; `None` where it concerns none.
    pub seq: Option<Seq>,
    /// What it is, with the name of the file.
    pub what: String,
}

/// Why an audit stops: it found something, or it cannot read.
enum Stop {
    Found(Finding),
    Failed(CheckpointError),
}

impl From<CheckpointError> for Stop {
    /// Damage is a finding; what cannot be read now is a failure.
    fn from(error: CheckpointError) -> Stop {
        match error {
            CheckpointError::Invalid { .. } | CheckpointError::Inconsistent(_) => {
                Stop::Found(Finding { seq: None, what: error.to_string() })
            }
            error => Stop::Failed(error),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Failed(error.into())
    }
}

/// Audits `job`. `deep` re-reads every file.
///
/// # Errors
/// If the lake cannot be read, or was written by a later release. What contradicts is in the report instead.
pub fn run(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    job: &str,
    deep: bool,
) -> Result<Report, CheckpointError> {
    let site = Site::new(Arc::clone(store), Arc::clone(clock));
    let mut audit = Audit {
        store: store.as_ref(),
        site,
        deep,
        report: Report::default(),
        last: None,
        named: BTreeMap::new(),
        gone: BTreeSet::new(),
        missing: BTreeMap::new(),
        claimed: Vec::new(),
    };
    match audit.walk(job) {
        Ok(()) => {}
        Err(Stop::Found(finding)) => audit.report.finding = Some(finding),
        Err(Stop::Failed(error)) => return Err(error),
    }
    Ok(audit.report)
}

struct Audit<'a> {
    store: &'a dyn Store,
    site: Site,
    deep: bool,
    report: Report,
    last: Option<Manifest>,
    /// Rows of all lake files, by their final names.
    named: BTreeMap<String, u64>,
    /// Those that a manifest has released or replaced.
    gone: BTreeSet<String>,
    /// Those that are not as they were committed, until a later manifest accounts for them.
    missing: BTreeMap<String, Finding>,
    /// The folders that the job has claimed: no other job may write there.
    claimed: Vec<String>,
}

impl Audit<'_> {
    fn walk(&mut self, job: &str) -> Result<(), Stop> {
        // 1. What is there, before what is named.
        let mut listed = Vec::new();
        let claimed = finish(claim::prefixes_of(&self.site, job))?;
        for prefix in claimed.into_iter().filter(|prefix| !prefix.starts_with(names::GOLD_FOLDER)) {
            let folder = format!("{prefix}/");
            self.list(&folder, &mut listed, DEPTH_MAX)?;
            self.claimed.push(folder);
        }
        self.list(&names::changes_folder(job), &mut listed, 0)?;
        // 2. and 3. Manifests in order, each with its files.
        let chain = finish(recover::chain(&self.site, job))?;
        let first = chain.loose.first().map_or(Seq(0), |first| first.seq);
        let ranges = finish(segment::ranges(&self.site, job))?;
        for range in ranges.into_iter().filter(|range| range.last < first) {
            for manifest in finish(segment::read(&self.site, job, range))? {
                self.report.folded += 1;
                self.manifest(manifest, false)?;
            }
        }
        let Chain { loose, .. } = chain;
        let head = loose.last().map(|head| head.seq);
        for manifest in loose {
            let is_head = Some(manifest.seq) == head;
            self.manifest(manifest, is_head)?;
        }
        let from = self.last.as_ref().and_then(|head| head.changes_from).unwrap_or_default();
        self.missing.retain(|path, finding| {
            let is_changes = path.starts_with(&names::changes_folder(job));
            !(is_changes && finding.seq.is_some_and(|seq| seq < from))
        });
        if let Some(finding) = self.missing.values().min_by_key(|finding| finding.seq).cloned() {
            return Err(Stop::Found(finding));
        }
        // 4. and 5.
        match self.last.take() {
            Some(head) => self.state(&head)?,
            None => self.nothing_is_left(job)?,
        }
        if let Some(name) = listed.iter().find(|name| !self.named.contains_key(*name)) {
            let what = format!("file \"{}\" is in no manifest", self.store.describe(name));
            return Err(Stop::Found(Finding { seq: None, what }));
        }
        Ok(())
    }

    fn list(&self, folder: &str, into: &mut Vec<String>, depth: usize) -> Result<(), Stop> {
        for name in self.store.list(folder)? {
            let path = format!("{folder}{name}");
            if name.starts_with(TEMPORARY) {
                // Litter of a start that was killed: no reader takes it, and the next start removes it.
                continue;
            }
            if !name.ends_with('/') {
                into.push(path);
            } else if depth > 0 {
                self.list(&path, into, depth - 1)?;
            }
        }
        Ok(())
    }

    fn manifest(&mut self, manifest: Manifest, is_head: bool) -> Result<(), Stop> {
        let found = |what| Stop::Found(Finding { seq: Some(manifest.seq), what });
        follows(self.last.as_ref(), &manifest).map_err(|what| found(what.to_string()))?;
        for path in manifest.released.iter().chain(manifest.lake.iter().flat_map(|file| &file.replaces)) {
            if !self.named.contains_key(path) || !self.gone.insert(path.clone()) {
                let what = format!("it takes lake file \"{path}\" away, which is not there to be taken");
                return Err(found(what));
            }
            self.missing.remove(path);
        }
        for file in &manifest.lake {
            let path = file.path();
            let is_changes = file.kind == LakeKind::Changes;
            if !is_changes && !self.claimed.iter().any(|folder| path.starts_with(folder)) {
                return Err(found(format!("lake file \"{path}\" is where the job has no claim")));
            }
            if self.named.insert(path.clone(), file.rows).is_some() {
                return Err(found(format!("lake file \"{path}\" is in two manifests")));
            }
            let replaced: u64 = file.replaces.iter().filter_map(|path| self.named.get(path)).sum();
            if !file.replaces.is_empty() && replaced != file.rows {
                let what = format!(
                    "lake file \"{path}\" has {} rows, and replaces files with {replaced}",
                    file.rows
                );
                return Err(found(what));
            }
            match self.lake_file(file)? {
                None if is_changes && self.deep => self.change_file(file, &manifest)?,
                None => {}
                // Its run may be just about to publish it, or have died before.
                Some(_) if is_head && self.is_staged(file)? => self.report.unpublished += 1,
                Some(what) => {
                    let what = format!("lake file \"{}\" {what}", self.store.describe(&path));
                    self.missing.insert(path, Finding { seq: Some(manifest.seq), what });
                }
            }
            self.report.files += 1;
            self.report.bytes += file.bytes;
        }
        let new = manifest.lake.iter().filter(|file| file.adds_rows());
        self.report.rows += new.map(|file| file.rows).sum::<u64>();
        let parts = manifest.inputs.iter().flat_map(|input| &input.partitions);
        self.report.records += parts.map(|part| part.fates.consumed).sum::<u64>();
        self.report.gaps.clone_from(&manifest.gaps);
        self.report.manifests += 1;
        self.last = Some(manifest);
        Ok(())
    }

    /// True if a file that has not its final name yet is still staged, as it was committed.
    fn is_staged(&self, file: &LakeFile) -> Result<bool, Stop> {
        if !self.deep && file.staged.range.is_none() {
            return Ok(self.store.size(&file.staged.name)? == Some(file.bytes));
        }
        let found = finish(self.site.checksum(&file.staged))?;
        Ok(found.is_some_and(|found| found == (file.bytes, file.checksum.clone())))
    }

    /// What is wrong with a lake file.
    fn lake_file(&self, file: &LakeFile) -> Result<Option<String>, Stop> {
        let path = file.path();
        let what = match self.store.size(&path)? {
            None => Some("is not there".to_string()),
            Some(bytes) if bytes != file.bytes => {
                Some(format!("has {bytes} bytes, and was committed with {}", file.bytes))
            }
            Some(_) if !self.deep => None,
            Some(_) => {
                let found = checksum(self.store, &path)?;
                if found.is_none_or(|(_, found)| found != file.checksum) {
                    Some("has other bytes than were committed".to_string())
                } else {
                    let rows = self.rows(&path)?;
                    let wrong = rows.filter(|rows| *rows != file.rows);
                    wrong.map(|rows| format!("has {rows} rows, and was committed with {}", file.rows))
                }
            }
        };
        Ok(what)
    }

    /// A change file is what its manifest says, and continues the one before.
    fn change_file(&self, file: &LakeFile, manifest: &Manifest) -> Result<(), Stop> {
        let found = |what| Stop::Found(Finding { seq: Some(manifest.seq), what });
        let path = self.store.describe(&file.path());
        let read = change_files::read(self.store, &manifest.job, manifest.seq, manifest.written_ms)?;
        let Some(read) = read else { return Ok(()) };
        let after = self.last.as_ref().and_then(|before| before.changes);
        if (read.changes.id, read.changes.after) != (manifest.id(), after) {
            return Err(found(format!("change file \"{path}\" does not follow the one before it")));
        }
        if (read.changes.epoch, read.changes.updates.len() as u64) != (manifest.epoch, file.rows) {
            return Err(found(format!("change file \"{path}\" is of another epoch, or has other updates")));
        }
        Ok(())
    }

    /// Rows of a file; `None` if rows of its format cannot be counted.
    fn rows(&self, path: &str) -> Result<Option<u64>, Stop> {
        let Some(file) = self.store.open(path)? else { return Ok(None) };
        let unreadable = |error: &dyn std::fmt::Display| {
            let what = format!("\"{}\" does not decode: {error}", self.store.describe(path));
            Stop::Found(Finding { seq: None, what })
        };
        match of_file(path) {
            Some(encoder) => encoder.count_rows(file).map(Some).map_err(|error| unreadable(&error)),
            None => Ok(None),
        }
    }

    /// The state files of the head, unless the job has gone on and taken them away.
    fn state(&mut self, head: &Manifest) -> Result<(), Stop> {
        match self.state_of(head) {
            Err(Stop::Found(_)) if finish(loose::highest(&self.site, &head.job))? != Some(head.seq) => Ok(()),
            result => result,
        }
    }

    fn state_of(&mut self, head: &Manifest) -> Result<(), Stop> {
        let found = |what| Stop::Found(Finding { seq: Some(head.seq), what });
        for entry in &head.state {
            let place = entry.place(&head.job);
            let there = self.store.size(&place.name)?;
            let what = match (there, place.range) {
                (None, _) => "is not there".to_string(),
                (Some(bytes), None) if bytes != entry.bytes => {
                    format!("has {bytes} bytes, not {}", entry.bytes)
                }
                _ => {
                    self.report.state_files += 1;
                    continue;
                }
            };
            return Err(found(format!("state file \"{}\" {what}", self.store.describe(&place.name))));
        }
        let headers = finish(restore::headers(&self.site, head, &Headers::new()))?;
        if self.deep {
            for entry in &head.state {
                finish(restore::whole(&self.site, &head.job, entry))?;
            }
        }
        let files = StateFiles::of(&headers, &head.dropped);
        let saved = files.operators();
        let holds = |(name, operator): &(&String, &Operator)| {
            operator.held.is_some_and(|held| held > 0) && !saved.contains(name.as_str())
        };
        match head.operators.iter().find(holds) {
            Some((name, operator)) => Err(found(format!(
                "operator \"{name}\" holds {} entries, and none of them is in a state file",
                operator.held.unwrap_or(0)
            ))),
            None => Ok(()),
        }
    }

    /// A job without manifests has no state either.
    fn nothing_is_left(&self, job: &str) -> Result<(), Stop> {
        for folder in [names::state_folder(job), names::stage_folder(job), names::segment_folder(job)] {
            if !self.store.list(&folder)?.is_empty() {
                let folder = self.store.describe(&folder);
                let what = format!("there are files in \"{folder}\", and no manifest: they were deleted");
                return Err(Stop::Found(Finding { seq: None, what }));
            }
        }
        Ok(())
    }
}
