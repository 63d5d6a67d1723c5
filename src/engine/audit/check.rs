//! Proves from the lake alone that nothing is lost or doubled, or names the first thing that contradicts.
//!
//! 1. Every file below the job's prefixes is listed first: whatever is published later is no litter.
//! 2. The manifests are read from number 0 to the head; each must follow from the one before
//!    ([`crate::engine::audit::rules`]).
//! 3. Every lake file they name is there with its size; deep: with its bytes and rows.
//! 4. The head's state files are there; deep: they decode.
//! 5. What was listed is named.
//!
//! Changes nothing, and may run beside the job.

use crate::connect::formats::of_file;
use crate::engine::audit::rules::follows;
use crate::engine::clock::Clock;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::loose;
use crate::engine::commit::recover::{self, Chain};
use crate::engine::commit::site::{Site, checksum, run as finish};
use crate::engine::commit::{claim, segment};
use crate::engine::format::manifest::{LakeFile, Manifest};
use crate::engine::format::names::Seq;
use crate::engine::format::state;
use crate::store::local::TEMPORARY;
use crate::store::{Error as StoreError, Store};
use std::collections::BTreeSet;
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
    /// Their rows.
    pub rows: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Records that the manifests account for.
    pub records: u64,
    /// State files of the head.
    pub state_files: u64,
    /// Files of the head that do not have their final name yet: the next start gives it.
    pub unpublished: u64,
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
            CheckpointError::Invalid { .. } | CheckpointError::Inconsistent { .. } => {
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
        deep,
        report: Report::default(),
        last: None,
        named: BTreeSet::new(),
        claimed: Vec::new(),
    };
    match audit.walk(&site, job) {
        Ok(()) => {}
        Err(Stop::Found(finding)) => audit.report.finding = Some(finding),
        Err(Stop::Failed(error)) => return Err(error),
    }
    Ok(audit.report)
}

struct Audit<'a> {
    store: &'a dyn Store,
    deep: bool,
    report: Report,
    last: Option<Manifest>,
    /// Final names of all lake files.
    named: BTreeSet<String>,
    /// The folders that the job has claimed, where nobody else may write.
    claimed: Vec<String>,
}

impl Audit<'_> {
    fn walk(&mut self, site: &Site, job: &str) -> Result<(), Stop> {
        // 1. What is there, before what is named.
        let mut listed = Vec::new();
        for prefix in finish(claim::prefixes_of(site, job))? {
            let folder = format!("{prefix}/");
            self.list(&folder, &mut listed, DEPTH_MAX)?;
            self.claimed.push(folder);
        }
        // 2. and 3. Manifests in order, each with its files.
        let chain = finish(recover::chain(site, job))?;
        let first = chain.loose.first().map_or(Seq(0), |first| first.seq);
        let ranges = finish(segment::ranges(site, job))?;
        for range in ranges.into_iter().filter(|range| range.1 < first) {
            for manifest in finish(segment::read(site, job, range))? {
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
        let Some(head) = self.last.take() else { return Ok(()) };
        // 4. and 5.
        self.state(site, &head)?;
        if let Some(name) = listed.iter().find(|name| !self.named.contains(*name)) {
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
        follows(self.last.as_ref(), &manifest).map_err(found)?;
        for file in &manifest.lake {
            if !self.claimed.iter().any(|folder| file.path.starts_with(folder)) {
                return Err(found(format!("lake file \"{}\" is where the job has no claim", file.path)));
            }
            if !self.named.insert(file.path.clone()) {
                return Err(found(format!("lake file \"{}\" is in two manifests", file.path)));
            }
            match self.lake_file(file)? {
                None => {}
                // Its run may be just about to publish it, or have died before.
                Some(_) if is_head && self.is_staged(file)? => self.report.unpublished += 1,
                Some(what) => {
                    let path = self.store.describe(&file.path);
                    return Err(found(format!("lake file \"{path}\" {what}")));
                }
            }
            self.report.files += 1;
            self.report.rows += file.rows;
            self.report.bytes += file.bytes;
        }
        let parts = manifest.inputs.iter().flat_map(|input| &input.partitions);
        self.report.records += parts.map(|part| part.fates.consumed).sum::<u64>();
        self.report.manifests += 1;
        self.last = Some(manifest);
        Ok(())
    }

    /// True if a file that has not its final name yet is still staged, as it was committed.
    fn is_staged(&self, file: &LakeFile) -> Result<bool, Stop> {
        if !self.deep {
            return Ok(self.store.size(&file.staged)? == Some(file.bytes));
        }
        let found = checksum(self.store, &file.staged)?;
        Ok(found.is_some_and(|found| found == (file.bytes, file.checksum.clone())))
    }

    /// What is wrong with a lake file.
    fn lake_file(&self, file: &LakeFile) -> Result<Option<String>, Stop> {
        let what = match self.store.size(&file.path)? {
            None => Some("is not there".to_string()),
            Some(bytes) if bytes != file.bytes => {
                Some(format!("has {bytes} bytes, and was committed with {}", file.bytes))
            }
            Some(_) if !self.deep => None,
            Some(_) => {
                let found = checksum(self.store, &file.path)?;
                if found.is_none_or(|(_, found)| found != file.checksum) {
                    Some("has other bytes than were committed".to_string())
                } else {
                    let rows = self.rows(&file.path)?;
                    let wrong = rows.filter(|rows| *rows != file.rows);
                    wrong.map(|rows| format!("has {rows} rows, and was committed with {}", file.rows))
                }
            }
        };
        Ok(what)
    }

    /// Rows of a file, if its kind is one that can be counted.
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
    fn state(&mut self, site: &Site, head: &Manifest) -> Result<(), Stop> {
        for entry in &head.state {
            let file = &entry.file;
            let what = match self.store.size(&file.path)? {
                None => Some("is not there".to_string()),
                Some(bytes) if bytes != file.bytes => Some(format!("has {bytes} bytes, not {}", file.bytes)),
                Some(_) if !self.deep => None,
                Some(_) => match self.store.read(&file.path, state::BYTES_MAX)? {
                    None => Some("is not there".to_string()),
                    Some(bytes) => state::decode_named(file, &bytes).err().map(|error| error.to_string()),
                },
            };
            if let Some(what) = what {
                if finish(loose::highest(site, &head.job))? != Some(head.seq) {
                    return Ok(());
                }
                let what = format!("state file \"{}\" {what}", self.store.describe(&file.path));
                return Err(Stop::Found(Finding { seq: Some(head.seq), what }));
            }
            self.report.state_files += 1;
        }
        Ok(())
    }
}
