//! Writes the gold tables of a run.
//!
//! 1. Tables are written at most every [`GOLD_EVERY`] and when a run ends; day files also once [`PENDING_MAX`] bytes wait, and all
//!    before rows of sealed days leave memory. A file is written only if its rows differ from those of the table: first where no
//!    reader looks, then synced. The [`Digest`] in the metadata of the file shows whether they differ, so a run that starts does not
//!    rewrite files that are right.
//! 2. Each new file takes the place of the old one by a rename. A reader has the old file or the new one, never a part.
//! 3. A run that was taken over replaces nothing: the head of the manifests is read before the first rename, and again before a
//!    rename more than [`LOOK_HOLDS`] later.
//! 4. Every [`GOLD_EVERY`] a run looks whether its files are still those that it left. A run that was taken over while it stalled
//!    between look and rename may have replaced one. A file of a view is written anew from memory. A file of a table of day files
//!    stops the run (`gold-changed`): the next start writes it anew from restored state.
//!
//! The metadata also say of which commit a file is: `headway.seq`, `headway.generation`, `headway.epoch`,
//! `headway.watermark_ms`, `headway.view_version`. A file that has not changed since an earlier commit names that one.

use super::file::{self, Content};
use super::place::{self, FORMAT, day_of};
use crate::engine::commit::checkpoint::Committer;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::refill;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names;
use crate::engine::format::names::Seq;
use crate::engine::run::day_rows::{Changed, Digest};
use crate::engine::run::refill::Past;
use crate::engine::run::views::{Counts, SealedDays, Views};
use crate::store::{self, Store};
use headway_operators::row::Rows;
use headway_operators::spec::{Format, ViewSpec};
use headway_operators::time::Epoch;
use headway_operators::view::row::{ViewRow, ViewUpdate};
use headway_operators::view::text::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often tables are written at most.
pub const GOLD_EVERY: Duration = Duration::from_secs(60);

/// How long after the head was read a file may be replaced.
const LOOK_HOLDS: Duration = Duration::from_secs(5);

/// How much may wait for day files in memory, in bytes: beyond that they are written at once, and no view is.
const PENDING_MAX: usize = 64 << 20;

/// Writes the gold tables of a run.
pub struct Gold {
    /// The lake.
    pub store: Arc<dyn Store>,
    /// The pipeline, whose name is the folder's.
    pub pipeline: String,
    /// What is written.
    pub views: Arc<Views>,
    /// How often each view had changed when it was last looked at.
    seen: Vec<Option<u64>>,
    /// What each file has, as far as this run knows; `None`: there is no such file.
    files: BTreeMap<String, Option<Content>>,
    /// How long each table was written, all times together: views, then tables of day files.
    took: Vec<Duration>,
    /// When tables were last written, by the clock of the run.
    last: Option<Duration>,
    /// The last commit that all tables have.
    written: Option<Seq>,
    /// Files of earlier runs that no table has any more were looked for.
    is_swept: bool,
    /// The days of which views have only a part, since they begin with an epoch within: their files stay as they are.
    spared: Option<SealedDays>,
}

/// What a run did to a view, or to a table of day files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewOutcome {
    /// Its name.
    pub name: &'static str,
    /// Its rows, and how many came or went.
    pub counts: Counts,
    /// How long its files were written.
    pub took: Duration,
}

/// A change of the files that readers see, ready to be made.
struct Draft {
    /// The file.
    path: String,
    /// Its new content, and where that is; `None` where the file goes.
    new: Option<(Content, String)>,
    /// The table and the day, where it is a day file.
    day: Option<(usize, Text)>,
}

/// A view, or a table of day files, by its number.
#[derive(Clone, Copy)]
struct Table<'a> {
    number: usize,
    spec: &'a ViewSpec,
}

/// The rows of a file, in order.
struct FileRows<'a> {
    path: String,
    rows: &'a dyn Rows,
    digest: Digest,
}

impl Gold {
    /// The tables of `views`, none of which this run has looked at.
    pub fn new(store: Arc<dyn Store>, pipeline: &str, views: Arc<Views>) -> Gold {
        let seen = vec![None; views.specs().len()];
        let took = vec![Duration::ZERO; views.specs().len() + views.day_files().len()];
        let (files, pipeline) = (BTreeMap::new(), pipeline.to_string());
        Gold {
            store,
            pipeline,
            views,
            seen,
            files,
            took,
            last: None,
            written: None,
            is_swept: false,
            spared: None,
        }
    }

    /// The same tables, of a run that continues from `head` and first reads the facts of `past`. New views may begin with the facts
    /// of a later epoch than the first (`--views-from`). Then the files of sealed days hold rows that the views do not have, and
    /// the run leaves these files as they are.
    #[must_use]
    pub fn sparing(self, past: Option<&Past>, head: &Manifest) -> Gold {
        let is_refilled = past.is_some_and(|past| past.is_of_new_views && past.files() > 0);
        let is_partial = is_refilled && refill::from(head) > Epoch(0);
        Gold { spared: self.views.sealed().filter(|_| is_partial), ..self }
    }

    /// What the run did to each view and to each table of day files, in the order they were built.
    pub fn outcomes(&self) -> Vec<ViewOutcome> {
        let views = (0..).zip(self.views.specs()).map(|(view, spec)| (spec, self.views.counts(view)));
        let tables = (0..).zip(self.views.day_files()).map(|(at, spec)| (spec, self.views.day_counts(at)));
        let of = |((spec, counts), took): ((&ViewSpec, Counts), &Duration)| ViewOutcome {
            name: spec.name,
            counts,
            took: *took,
        };
        views.chain(tables).zip(&self.took).map(of).collect()
    }

    /// Writes what has changed, if it is time.
    ///
    /// # Errors
    /// If a table could not be written, or this run was taken over.
    pub fn turn(&mut self, committer: &mut Committer) -> Result<(), CheckpointError> {
        let now = committer.elapsed();
        let is_due = now.saturating_sub(*self.last.get_or_insert(now)) >= GOLD_EVERY;
        if !self.views.is_current() {
            return Ok(());
        }
        if is_due {
            self.check()?;
            return self.write(committer);
        }
        if self.views.pending_bytes() > PENDING_MAX {
            let mut drafts = Vec::new();
            self.draft_day_files(committer, &mut drafts)?;
            return self.replace(committer, drafts);
        }
        Ok(())
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// As [`Gold::turn`].
    pub fn write(&mut self, committer: &mut Committer) -> Result<(), CheckpointError> {
        self.last = Some(committer.elapsed());
        // 1. Where no reader looks.
        let views = Arc::clone(&self.views);
        let mut drafts = Vec::new();
        for (number, spec) in views.specs().iter().enumerate() {
            let begin = Instant::now();
            self.draft_view(committer, Table { number, spec }, &mut drafts)?;
            self.took[number] += begin.elapsed();
        }
        self.draft_day_files(committer, &mut drafts)?;
        if !self.is_swept {
            self.draft_strays(&mut drafts)?;
            self.is_swept = true;
        }
        self.replace(committer, drafts)?;
        self.written = Some(committer.head().seq);
        Ok(())
    }

    /// The last commit that all tables in the lake have, as far as this run has written them.
    pub fn written(&self) -> Option<Seq> {
        self.written
    }

    /// Writes the files of all tables of day files that are not what they must be.
    fn draft_day_files(
        &mut self,
        committer: &Committer,
        drafts: &mut Vec<Draft>,
    ) -> Result<(), CheckpointError> {
        let views = Arc::clone(&self.views);
        for (number, spec) in views.day_files().iter().enumerate() {
            let begin = Instant::now();
            self.draft_days(committer, Table { number, spec }, drafts)?;
            self.took[views.specs().len() + number] += begin.elapsed();
        }
        Ok(())
    }

    /// True if `path` is the file of a sealed day: it is never written, replaced or removed again.
    fn is_sealed(&self, path: &str) -> bool {
        let day = day_of(&path[names::parent(path).len()..]);
        day.is_some_and(|day| self.views.sealed().is_some_and(|sealed| sealed.has(day)))
    }

    /// Looks whether the files are still those that this run has left or found.
    ///
    /// # Errors
    /// If one of a table of day files is not: its rows are in no other place. The next start has all of them.
    fn check(&mut self) -> Result<(), CheckpointError> {
        if FORMAT != Format::Parquet {
            return Ok(());
        }
        let folder = |spec: &ViewSpec| place::table_folder(&self.pipeline, spec.name);
        let day_files: Vec<String> = self.views.day_files().iter().map(folder).collect();
        let mut others = Vec::new();
        for (path, known) in self.files.iter().filter(|(path, _)| !self.is_sealed(path)) {
            if file::content(self.store.as_ref(), path)? != *known {
                others.push(path.clone());
            }
        }
        for path in others {
            if day_files.iter().any(|folder| path.starts_with(folder)) {
                return Err(changed(&path));
            }
            tracing::warn!(
                event = "gold-table-changed",
                file = path,
                "somebody else has replaced or removed it"
            );
            self.files.remove(&path);
            self.seen.fill(None);
        }
        Ok(())
    }

    /// Forgets what the files have of the days of `leaving`, rows of views that are about to leave memory: the next write looks at
    /// these files again, since they alone have the rows then.
    pub fn look_again(&mut self, leaving: &[ViewUpdate]) {
        let specs = self.views.specs();
        let day = |ViewUpdate { view, row, .. }: &'_ ViewUpdate| {
            let view = usize::from(*view);
            Some((view, row.text(specs[view].day?)?.clone()))
        };
        let days: BTreeSet<(usize, Text)> = leaving.iter().filter_map(day).collect();
        for (view, day) in days {
            self.files.remove(&place::day_path(&self.pipeline, specs[view].name, &day));
            self.seen[view] = None;
        }
    }

    /// What the file at `path` has, as this run knows or finds it.
    fn content(&mut self, path: &str) -> Result<Option<Content>, CheckpointError> {
        if let Some(known) = self.files.get(path) {
            return Ok(*known);
        }
        let found = file::content(self.store.as_ref(), path)?;
        self.files.insert(path.to_string(), found);
        Ok(found)
    }

    /// Writes the files of a view that are not what they must be.
    fn draft_view(
        &mut self,
        committer: &Committer,
        Table { number: view, spec }: Table<'_>,
        drafts: &mut Vec<Draft>,
    ) -> Result<(), CheckpointError> {
        let version = self.views.version(view);
        if self.seen[view].replace(version) == Some(version) {
            return Ok(());
        }
        let (rows, _) = self.views.rows(view);
        let Some(day) = spec.day else {
            let path = place::path(&self.pipeline, spec.name);
            let digest = Digest::of(rows.iter().map(|row| &**row));
            drafts.extend(self.draft(committer, spec, FileRows { path, rows: &rows, digest })?);
            return Ok(());
        };
        let folder = place::table_folder(&self.pipeline, spec.name);
        let mut by_day: BTreeMap<&Text, Vec<Arc<ViewRow>>> = BTreeMap::new();
        for row in &rows {
            let Some(of) = row.text(day) else { panic!("a row names no day: {row:?}") };
            by_day.entry(of).or_default().push(Arc::clone(row));
        }
        let path = |day: &Text| place::day_path(&self.pipeline, spec.name, day);
        let days: BTreeMap<String, _> = by_day.into_iter().map(|(day, rows)| (path(day), rows)).collect();
        let known = self.files.range(folder.clone()..).take_while(|(path, _)| path.starts_with(&folder));
        let gone = known.filter(|(path, content)| {
            content.is_some() && !days.contains_key(*path) && !self.is_sealed(path)
        });
        drafts.extend(gone.map(|(path, _)| Draft { path: path.clone(), new: None, day: None }));
        for (path, rows) in days {
            let is_spared = |day| self.spared.as_ref().is_some_and(|sealed| sealed.has(day));
            if day_of(&path[folder.len()..]).is_some_and(is_spared)
                && self.content(&path)?.is_some_and(|content| content.version == spec.version)
            {
                continue;
            }
            let digest = Digest::of(rows.iter().map(|row| &**row));
            drafts.extend(self.draft(committer, spec, FileRows { path, rows: &rows, digest })?);
        }
        Ok(())
    }

    /// Writes the files of a table of day files that are not what they must be.
    fn draft_days(
        &mut self,
        committer: &Committer,
        Table { number: table, spec }: Table<'_>,
        drafts: &mut Vec<Draft>,
    ) -> Result<(), CheckpointError> {
        for Changed { day, digest, base } in self.views.changed_days(table) {
            let path = place::day_path(&self.pipeline, spec.name, &day);
            let found = self.content(&path)?;
            let has = |rows: Digest| found == Some(Content { version: spec.version, digest: rows });
            if has(digest) {
                // An earlier run has left it as it must be.
                self.views.wrote_day(table, &day);
                continue;
            }
            let mut updates = match base.filter(|base| base.rows() > 0) {
                None => Vec::new(),
                Some(base) if has(base) => {
                    let rows = file::rows(self.store.as_ref(), &path);
                    let rows = rows.map_err(|error| {
                        tracing::warn!(event = "gold-file-unreadable", file = path, %error, "it is written anew by the next start");
                        changed(&path)
                    })?;
                    rows.into_iter().map(|row| (row, 1)).collect()
                }
                // What this run knows of the day is in no other place: the next start has all of it.
                Some(_) => return Err(changed(&path)),
            };
            updates.extend(self.views.take_day(table, &day));
            let updates = consolidated(updates);
            let taken = updates.iter().find(|(_, copies)| *copies != 1);
            assert!(taken.is_none(), "{} on {day} would have a row other than once: {taken:?}", spec.name);
            let rows: Vec<ViewRow> = updates.into_iter().map(|(row, _)| row).collect();
            if Digest::of(&rows) != digest {
                return Err(changed(&path));
            }
            let draft = if rows.is_empty() {
                found.is_some().then_some(Draft { path, new: None, day: None })
            } else {
                self.draft(committer, spec, FileRows { path, rows: &rows, digest })?
            };
            let day = Some((table, day));
            match draft {
                Some(draft) => drafts.push(Draft { day, ..draft }),
                None => day.iter().for_each(|(table, day)| self.views.wrote_day(*table, day)),
            }
        }
        Ok(())
    }

    /// Writes `rows` of table `spec` where no reader looks, if the file at `path` has others.
    fn draft(
        &mut self,
        committer: &Committer,
        spec: &ViewSpec,
        FileRows { path, rows, digest }: FileRows<'_>,
    ) -> Result<Option<Draft>, CheckpointError> {
        let content = Content { version: spec.version, digest };
        if self.content(&path)? == Some(content) {
            return Ok(None);
        }
        let head = committer.head();
        let name = path.strip_prefix(&place::folder(&self.pipeline)).expect("it lies there");
        let from = names::staged_gold(&head.job, head.generation, name);
        let mut file = self.store.stage(&from)?;
        let failed =
            |source| store::Error::Failed { verb: "write", name: self.store.describe(&from), source };
        let (output, notes) = (file::output(&self.pipeline, spec), file::notes(head, spec, digest));
        file::write(rows, &output, notes, &mut file).map_err(failed)?;
        file.finish()?;
        Ok(Some(Draft { path, new: Some((content, from)), day: None }))
    }

    /// Takes away files of earlier runs that no table has: those of days without rows, and the one file of a view that lies by
    /// day now.
    fn draft_strays(&mut self, drafts: &mut Vec<Draft>) -> Result<(), CheckpointError> {
        let views = Arc::clone(&self.views);
        let stray = |path: String| Draft { path, new: None, day: None };
        let mine: BTreeSet<String> = drafts.iter().map(|draft| draft.path.clone()).collect();
        let by_day = views.specs().iter().filter(|spec| spec.day.is_some()).chain(views.day_files());
        for spec in by_day {
            let whole = place::path(&self.pipeline, spec.name);
            if self.store.size(&whole)?.is_some() {
                drafts.push(stray(whole));
            }
            let folder = place::table_folder(&self.pipeline, spec.name);
            for name in self.store.list(&folder)? {
                let path = format!("{folder}{name}");
                let is_known = self.files.contains_key(&path) || mine.contains(&path);
                if day_of(&name).is_some() && !is_known && !self.is_sealed(&path) {
                    drafts.push(stray(path));
                }
            }
        }
        Ok(())
    }

    /// Gives the drafts the places of what is there.
    fn replace(&mut self, committer: &mut Committer, drafts: Vec<Draft>) -> Result<(), CheckpointError> {
        let mut looked: Option<Duration> = None;
        let folders: BTreeSet<String> =
            drafts.iter().map(|draft| names::parent(&draft.path).to_string()).collect();
        for Draft { path, new, day } in drafts {
            // Is it still ours to replace?
            let now = committer.elapsed();
            if looked.is_none_or(|at| now.saturating_sub(at) > LOOK_HOLDS) {
                committer.heartbeat()?;
                looked = Some(now);
            }
            match &new {
                Some((_, from)) => self.store.replace(from, &path)?,
                None => self.store.delete(&path)?,
            }
            self.files.insert(path, new.map(|(content, _)| content));
            if let Some((table, day)) = day {
                self.views.wrote_day(table, &day);
            }
        }
        for folder in folders {
            self.store.sync_folder(&folder)?;
        }
        Ok(())
    }
}

/// One update for each row that has changed, in order.
fn consolidated(mut updates: Vec<(ViewRow, i64)>) -> Vec<(ViewRow, i64)> {
    updates.sort_unstable();
    updates.dedup_by(|(row, diff), (kept, sum)| {
        let is_same = row == kept;
        *sum += if is_same { *diff } else { 0 };
        is_same
    });
    updates.retain(|(_, diff)| *diff != 0);
    updates
}

/// The error of a run that finds another file than it has written, where it has the rows in no other place.
fn changed(path: &str) -> CheckpointError {
    CheckpointError::GoldChanged { file: path.to_string() }
}
