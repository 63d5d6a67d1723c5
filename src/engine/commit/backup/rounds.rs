//! Copies a job's part of a lake while the job may run.
//!
//! ```text
//! gold tables ─► the head is read ─► its lake files, claims, state files ─► manifests, the last name makes it true ─► clean
//!                    ▲                    │ a file is gone: the job has gone on
//!                    └────────────────────┘
//! ```
//!
//! 1. Committed files never change, so a copied file stays right, and a later backup copies only new ones. Each is compared
//!    with the checksum in its manifest.
//! 2. A running job deletes state, change files and loose manifests that its head no longer needs. A file that is gone ends
//!    the round, and the next one begins with a newer head; what was copied stays, so that each round has less to copy. A
//!    file that two heads name and that is not there is damage.
//! 3. Gold tables are copied before the head is read, so that none shows more than the copy has committed. No manifest names
//!    them: the job writes them again when it goes on.
//! 4. Manifests come last, in an order that makes the copy whole with the last name ([`super::order`]).
//! 5. The sign of life is not copied: nobody runs in the copy.
//!
//! Invariant: what the lake has released stays in the copy, and what a commit has deleted goes.

use crate::engine::clock::Clock;
use crate::engine::commit::backup::copier::{Copier, Expected};
use crate::engine::commit::backup::order::{Files, Step, order};
use crate::engine::commit::backup::target::{self, mark};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::commit::release::{Standing, committed};
use crate::engine::commit::site::{Site, run};
use crate::engine::commit::{claim, loose, publish, recover, segment};
use crate::engine::format::manifest::{LakeFile, Manifest, StateEntry};
use crate::engine::format::names::{self, Seq};
use crate::store::Store;
use crate::store::local::TEMPORARY;
use headway_operators::ack::Place;
use headway_operators::time::Epoch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often a backup begins anew with a newer head.
const ROUNDS_MAX: u32 = 50;

/// How long it waits where manifests were compacted while they were read.
const PAUSE: Duration = Duration::from_millis(5);

/// What a backup did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The job.
    pub job: String,
    /// The last manifest of the copy.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// Files that were copied.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Files that the copy had already.
    pub known: u64,
    /// Files of the copy that were deleted, since the lake does not need them any more.
    pub removed: u64,
    /// How many heads it took.
    pub rounds: u32,
}

/// What a lake has at one moment.
struct Seen {
    /// All manifests, oldest first; at least one.
    manifests: Vec<Manifest>,
    files: Files,
    /// The loose manifests as they are on disk.
    loose: BTreeMap<Seq, Vec<u8>>,
}

impl Seen {
    fn head(&self) -> &Manifest {
        self.manifests.last().expect("a lake that is copied has a manifest")
    }
}

/// Why a round ends early.
enum Stop {
    /// A file that the head names is not there.
    Gone(String),
    /// Nothing can be copied.
    Failed(CheckpointError),
}

impl<E: Into<CheckpointError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}

/// Copies all that `job` has in `lake` to `copy`: an empty store, or one with an earlier backup of the same lake, which is
/// brought up to date. The job may run; `None` if it never started.
///
/// # Errors
/// [`CheckpointError::NotABackup`] if the copy has something else; [`CheckpointError::Overtaken`] if the job deletes files
/// faster than they are copied; else if a file is damaged, or cannot be read or written.
pub fn backup(
    lake: &Arc<dyn Store>,
    copy: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    job: &str,
) -> Result<Option<Report>, CheckpointError> {
    let from = Site::new(Arc::clone(lake), Arc::clone(clock));
    let to = Site::new(Arc::clone(copy), Arc::clone(clock));
    run(async {
        let Some(first) = recover::first(&from, job).await? else { return Ok(None) };
        mark(&from, &to, &first).await?;
        let mut backup = Backup {
            from: &from,
            to: &to,
            job,
            copier: Copier::new(&from, &to, job),
            known: 0,
            is_first: true,
        };
        backup.gold().await?;
        let mut gone: Option<String> = None;
        for rounds in 1..=ROUNDS_MAX {
            let Some(seen) = look(&from, job).await? else {
                from.pause(PAUSE).await;
                continue;
            };
            match backup.round(&seen).await {
                Ok(removed) => return Ok(Some(backup.report(&seen, removed, rounds))),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Gone(path)) if gone.as_ref() == Some(&path) => {
                    return Err(Inconsistency::CannotCopy { path: from.describe(&path) }.into());
                }
                Err(Stop::Gone(path)) => (gone, backup.is_first) = (Some(path), false),
            }
        }
        Err(CheckpointError::Overtaken { job: job.to_string(), rounds: ROUNDS_MAX })
    })
}

/// What the lake has now; `None` if manifests were compacted meanwhile.
async fn look(from: &Site, job: &str) -> Result<Option<Seen>, CheckpointError> {
    let manifests = recover::all(from, job).await?;
    let segments = segment::ranges(from, job).await?.into_iter().collect();
    let mut files = Files { segments, loose: BTreeSet::new() };
    let first = files.first_loose();
    let Some(head) = manifests.last().filter(|head| head.seq >= first) else { return Ok(None) };
    let mut loose = BTreeMap::new();
    for seq in first.to(head.seq) {
        let Some((_, bytes)) = loose::manifest_with_bytes(from, job, seq).await? else { return Ok(None) };
        loose.insert(seq, bytes);
    }
    files.loose = loose.keys().copied().collect();
    Ok(Some(Seen { manifests, files, loose }))
}

/// A backup that is under way.
struct Backup<'a> {
    from: &'a Site,
    to: &'a Site,
    job: &'a str,
    copier: Copier<'a>,
    /// Files that the copy had already.
    known: u64,
    /// Whether this is the first round: what the copy has later may be of an earlier round.
    is_first: bool,
}

impl Backup<'_> {
    fn report(&self, seen: &Seen, removed: u64, rounds: u32) -> Report {
        let head = seen.head();
        Report {
            job: self.job.to_string(),
            seq: head.seq,
            epoch: head.epoch,
            files: self.copier.files,
            bytes: self.copier.bytes,
            known: self.known,
            removed,
            rounds,
        }
    }

    /// Copies gold tables that differ, and deletes those that the lake does not have.
    async fn gold(&mut self) -> Result<(), CheckpointError> {
        for prefix in claim::prefixes_of(self.from, self.job).await? {
            if !prefix.starts_with(names::GOLD_FOLDER) {
                continue;
            }
            let folder = format!("{prefix}/");
            let is_whole = |path: &&String| !path[names::parent(path).len()..].starts_with(TEMPORARY);
            let there = claim::below(self.from, &folder).await?;
            for path in there.iter().filter(is_whole) {
                let place = Place::whole(path.as_str());
                let found = self.from.checksum(&place).await?;
                if found.is_none() || found == self.to.checksum(&place).await? {
                    continue;
                }
                if let Some(draft) = self.copier.draft(&place, path, None).await? {
                    self.copier.replace(draft)?;
                }
            }
            for path in claim::below(self.to, &folder).await?.iter().filter(|path| !there.contains(path)) {
                self.to.delete(path).await?;
            }
        }
        Ok(())
    }

    /// Copies what `seen` names, and then makes the copy say so; gives how many files were deleted.
    async fn round(&mut self, seen: &Seen) -> Result<u64, Stop> {
        let before = target::head(self.to, self.job, &seen.manifests).await?;
        for found in committed(&seen.manifests) {
            if found.standing != Standing::Gone {
                self.lake_file(found.file).await?;
            }
        }
        for prefix in claim::prefixes_of(self.from, self.job).await? {
            let name = names::prefix(&prefix);
            self.whole(&name, None).await?;
        }
        self.state(seen.head()).await?;
        self.copier.settle().await?;
        self.manifests(seen, before).await?;
        Ok(self.clean(seen).await?)
    }

    async fn lake_file(&mut self, file: &LakeFile) -> Result<(), Stop> {
        let path = file.path();
        if self.is_known(&path, file.bytes).await? {
            return Ok(());
        }
        // A file of the head may not have its name yet, or be given it in this moment.
        let expected = Some(Expected { bytes: file.bytes, checksum: &file.checksum });
        for place in [&Place::whole(path.as_str()), &file.staged, &Place::whole(path.as_str())] {
            if self.copier.copy(place, &path, expected).await? {
                return Ok(());
            }
        }
        Err(Stop::Gone(path))
    }

    /// Copies the files with state that `head` names, youngest first: those are deleted first.
    async fn state(&mut self, head: &Manifest) -> Result<(), Stop> {
        let of_whole_files = |entry: &StateEntry| {
            let place = entry.place(self.job);
            place.range.is_none().then(|| (place.name, (entry.bytes, entry.checksum.clone())))
        };
        let whole: BTreeMap<String, (u64, String)> = head.state.iter().filter_map(of_whole_files).collect();
        let mut seen = BTreeSet::new();
        for entry in head.state.iter().rev() {
            let path = entry.place(self.job).name;
            if seen.insert(path.clone()) {
                let expected = whole.get(&path);
                let expected = expected.map(|(bytes, checksum)| Expected { bytes: *bytes, checksum });
                self.whole(&path, expected).await?;
            }
        }
        Ok(())
    }

    /// Copies a file that never changes, under its own name.
    async fn whole(&mut self, path: &str, expected: Option<Expected<'_>>) -> Result<(), Stop> {
        let bytes = match expected {
            Some(expected) => Some(expected.bytes),
            None => self.from.size(path).await?,
        };
        let Some(bytes) = bytes else { return Err(Stop::Gone(path.to_string())) };
        if self.is_known(path, bytes).await? || self.copier.copy(&Place::whole(path), path, expected).await? {
            Ok(())
        } else {
            Err(Stop::Gone(path.to_string()))
        }
    }

    /// True if the copy has the file. A file gets its name when all of it is durable.
    async fn is_known(&mut self, path: &str, bytes: u64) -> Result<bool, Stop> {
        let is_known = self.to.size(path).await? == Some(bytes);
        self.known += u64::from(is_known && self.is_first);
        Ok(is_known)
    }

    /// Gives the manifests of `seen` their names in a copy whose head is `before`.
    async fn manifests(&mut self, seen: &Seen, before: Option<Seq>) -> Result<(), Stop> {
        let copy = Files {
            segments: segment::found(self.to, self.job).await?.into_iter().collect(),
            loose: loose::numbers(self.to, self.job).await?.into_iter().collect(),
        };
        let groups = order(&copy, before, &seen.files);
        let mut drafts = Vec::new();
        for group in groups {
            let mut of_group = Vec::new();
            for step in group {
                of_group.push(match step {
                    Step::Manifest(seq) => {
                        self.copier.draft_of(&seen.loose[&seq], &names::manifest(self.job, seq))?
                    }
                    Step::Segment(range) => {
                        let name = names::segment(self.job, range);
                        let draft = self.copier.draft(&Place::whole(name.as_str()), &name, None).await?;
                        draft.ok_or(Stop::Gone(name))?
                    }
                });
            }
            drafts.push(of_group);
        }
        for group in drafts {
            for draft in group {
                self.copier.name(draft).await?;
            }
            self.copier.settle().await?;
        }
        // Whatever was in the copy before: from here on it must be what was seen.
        let head = recover::chain(self.to, self.job).await?.head().map(Manifest::id);
        if head == Some(seen.head().id()) {
            Ok(())
        } else {
            let (folder, seq) = (self.to.describe(""), seen.head().seq);
            Err(CheckpointError::from(Inconsistency::CopyDiffers { folder, seq }).into())
        }
    }

    /// Deletes what the lake does not need any more; gives how many files.
    async fn clean(&self, seen: &Seen) -> Result<u64, CheckpointError> {
        let mut removed = publish::sweep(self.to, seen.head(), seen.files.first_loose()).await?;
        for path in seen.manifests.iter().flat_map(publish::deleted) {
            if self.to.size(path).await?.is_some() {
                self.to.delete(path).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
