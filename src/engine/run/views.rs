//! The content of a job's views outside the dataflow, as of the newest commit.
//!
//! 1. A worker hands over the updates of an epoch when the epoch is complete. They wait here.
//! 2. What comes at the committed epoch e0 is the content that earlier runs delivered: it is committed, and goes into the
//!    tables before anything else. It is no change.
//! 3. Before an epoch is committed, [`Views::upcoming`] gives what it changes, one update a row.
//! 4. When it is resolved, [`Views::apply`] puts that into the tables, all views together, and whoever delivers views is
//!    given the same [`Changes`] ([`OnViews`]). Nothing that was not committed is ever visible.
//!
//! Tables of day files take the same way, but for the third step: no [`Changes`] name them. Their rows wait in encoded form until
//! they are written, after a start all of them; of what is written a digest stays ([`DayRows`]).
//!
//! In a job on several processes all changes go to workers of process 0, which has the content; timely's progress over all
//! processes says when an epoch is complete.
//!
//! Rows of sealed days leave memory in an epoch after the one that seals them. That is no change: [`Views::upcoming`] leaves them
//! out, and [`Views::resolved`] takes them from the tables. Their gold files are complete before ([`Views::is_leaving`]). Whoever is
//! asked for rows does not have them from the moment of sealing ([`Views::open`]). A day that a
//! person unseals is an open one while the run lasts: its rows come at e0, with what earlier runs delivered.
//!
//! Invariant: no row of a sealed day comes. Invariant: a row goes only where it is. A view that takes away what it never gave stops the job.

use crate::engine::format::changes::Changes;
use crate::engine::format::manifest::{Manifest, ManifestId};
use crate::engine::run::day_rows::{Changed, DayRows};
use crate::engine::run::view_rows::ViewRows;
use headway_operators::ack::StagedFile;
use headway_operators::port::Stage;
use headway_operators::shape::Shape;
use headway_operators::spec::ViewSpec;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::row::{FIRST_DAY_FILES, ViewRow, ViewUpdate};
use headway_operators::view::seal::Sealing;
use headway_operators::view::text::Text;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// Called on the commit thread once what earlier runs left is restored, and after each resolved epoch. It must return soon:
/// the next commit waits.
pub type OnViews = Box<dyn FnMut(&Resolved<'_>) + Send>;

/// The views after an epoch was resolved.
pub struct Resolved<'a> {
    /// The newest manifest.
    pub head: &'a Manifest,
    /// What the epoch changed; `None` if it changed no view.
    pub changes: Option<&'a Arc<Changes>>,
    /// The content, with these changes in it.
    pub views: &'a Arc<Views>,
}

/// All views as of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The manifest of the last changes that are in it; `None` if there were none yet.
    pub at: Option<ManifestId>,
    /// The rows of each view in order, by the number of the view.
    pub tables: Vec<Vec<Arc<ViewRow>>>,
    /// What was sealed then.
    pub sealed: Option<SealedDays>,
}

/// What a run did to a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The rows that it has.
    pub rows: u64,
    /// How many rows came or went.
    pub changes: u64,
}

/// The views of a job.
#[derive(Debug, Default)]
pub struct Views {
    specs: Vec<ViewSpec>,
    /// What the tables of day files are.
    day_files: Vec<ViewSpec>,
    /// When days are sealed; `None`: never.
    sealing: Option<Sealing>,
    /// The epoch that the run starts from.
    committed: Epoch,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    /// What workers gave for epochs that are not resolved.
    waiting: BTreeMap<Epoch, Vec<ViewUpdate>>,
    tables: Vec<Table>,
    /// The tables of day files.
    day_rows: Vec<DayRows>,
    /// What the epoch that is being committed changes in them.
    upcoming_day_rows: Vec<ViewUpdate>,
    /// The manifest of the last changes in the tables.
    at: Option<ManifestId>,
    sealed: Option<SealedDays>,
    /// The rows of the days before this instant have left the tables, but for those of unsealed days.
    left: Option<EventTime>,
    /// The rows of sealed days that leave in the epoch that is being committed.
    leaving: Vec<ViewUpdate>,
    /// What earlier runs delivered is in the tables.
    is_current: bool,
}

/// What is sealed as of the last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedDays {
    /// Days before this instant.
    pub up_to: EventTime,
    /// The name of the first day that is not sealed, nor any later one.
    pub first_open: Text,
    /// The names of days before that, which a person has unsealed for this run.
    pub unsealed: BTreeSet<Text>,
}

impl SealedDays {
    /// True if `day` is a day and sealed. What is no day, such as the total of all, is never sealed.
    pub fn has(&self, day: &str) -> bool {
        let is_day =
            day.len() == self.first_open.len() && day.starts_with(|first: char| first.is_ascii_digit());
        let is_unsealed = || self.unsealed.iter().any(|unsealed| **unsealed == *day);
        is_day && *day < *self.first_open && !is_unsealed()
    }

    /// What `head` seals, by the names that `sealing` gives to days; `None` if that is no day.
    pub fn of(sealing: &Sealing, head: &Manifest) -> Option<SealedDays> {
        let up_to = head.sealed_up_to?;
        let unsealed = head.unsealed.iter().map(|start| sealing.name_at(*start)).collect();
        Some(SealedDays { up_to, first_open: sealing.first_open_name(up_to), unsealed })
    }
}

/// The content of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    rows: ViewRows,
    /// How often it has changed, so that a copy knows whether it is up to date.
    version: u64,
    /// How many rows came or went in this run.
    changes: u64,
}

impl Views {
    /// The views that `specs` describe, of a run that goes on from `head`, with nothing in them.
    pub fn new(specs: Vec<ViewSpec>, head: &Manifest) -> Views {
        let tables = vec![Table::default(); specs.len()];
        let content = Content { tables, at: head.changes, ..Content::default() };
        let (day_files, sealing) = (Vec::new(), None);
        Views { specs, day_files, sealing, committed: head.epoch, content: Mutex::new(content) }
    }

    /// The same views, whose days are sealed as `sealing` says, of a run that goes on from `head`.
    #[must_use]
    pub fn with_sealing(self, sealing: Option<Sealing>, head: &Manifest) -> Views {
        let views = Views { sealing, ..self };
        views.lock().seal(views.sealing.as_ref(), head);
        views
    }

    /// The views of a pipeline of `shape`, and `day_files` beside them, of a run that goes on from `head`.
    pub fn of(shape: &Shape, day_files: Vec<ViewSpec>, head: &Manifest) -> Views {
        let sealing = shape.seals.as_ref().map(|seals| seals.sealing.clone());
        Views::new(shape.views.clone(), head).with_day_files(day_files).with_sealing(sealing, head)
    }

    /// The same views, and tables of day files beside them.
    #[must_use]
    pub fn with_day_files(self, day_files: Vec<ViewSpec>) -> Views {
        let table = |spec: &ViewSpec| DayRows::new(spec.day.expect("a pipeline that runs names the day"));
        self.lock().day_rows = day_files.iter().map(table).collect();
        Views { day_files, ..self }
    }

    /// What they are.
    pub fn specs(&self) -> &[ViewSpec] {
        &self.specs
    }

    /// What the tables of day files are.
    pub fn day_files(&self) -> &[ViewSpec] {
        &self.day_files
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no thread panics while it holds the views")
    }

    /// Takes rows of day files that earlier runs delivered: they are many, and are encoded at once.
    pub fn restore(&self, updates: Vec<ViewUpdate>) {
        let of_views = self.lock().fold_day_rows(updates);
        assert!(of_views.is_empty(), "{} updates are of views", of_views.len());
    }

    /// What epochs up to `epoch` change that are not resolved yet: one update for each row, by view. They are given once.
    /// What earlier runs delivered is in the tables afterwards.
    pub fn upcoming(&self, epoch: Epoch) -> Vec<ViewUpdate> {
        let mut content = self.lock();
        let later = content.waiting.split_off(&epoch.next());
        let mut complete = std::mem::replace(&mut content.waiting, later);
        let new = complete.split_off(&self.committed.next());
        for (epoch, updates) in complete {
            content.apply(&self.specs, epoch, &updates);
        }
        content.is_current = true;
        let (of_files, of_views) = parted(new.into_values().flatten());
        content.upcoming_day_rows = of_files;
        let sealed = content.sealed.clone();
        // Workers need the lock to go on.
        drop(content);
        let updates = consolidated(of_views.into_iter());
        let Some(sealed) = sealed else { return updates };
        let (leaving, updates): (Vec<_>, Vec<_>) =
            updates.into_iter().partition(|update| is_of_sealed_day(&self.specs, &sealed, update));
        let come = leaving.iter().find(|update| update.diff > 0);
        assert!(come.is_none(), "a sealed day changed in epoch {epoch}: {come:?}");
        self.lock().leaving = leaving;
        updates
    }

    /// The rows of sealed days that leave in the epoch of the last [`Views::upcoming`].
    pub fn leaving(&self) -> Vec<ViewUpdate> {
        self.lock().leaving.clone()
    }

    /// True if rows of sealed days leave memory in the epoch of the last [`Views::upcoming`]: their files must be complete before
    /// it is committed.
    pub fn is_leaving(&self) -> bool {
        !self.lock().leaving.is_empty()
    }

    /// What is sealed as of the last commit; `None` if no day is.
    pub fn sealed(&self) -> Option<SealedDays> {
        self.lock().sealed.clone()
    }

    /// The names of the views that `updates` change, and of the tables of day files of which rows came or went
    /// in the same epoch, even if they cancel.
    pub fn changed_by(&self, updates: &[ViewUpdate]) -> BTreeSet<&'static str> {
        let content = self.lock();
        let name = |update: &ViewUpdate| match update.view.checked_sub(FIRST_DAY_FILES) {
            Some(table) => self.day_files.get(usize::from(table)).map(|spec| spec.name),
            None => self.specs.get(usize::from(update.view)).map(|spec| spec.name),
        };
        updates.iter().chain(&content.upcoming_day_rows).filter_map(name).collect()
    }

    /// Notes that the epoch of the last [`Views::upcoming`] is resolved, with `head` as the newest manifest: tables of day files have
    /// what it changed in them, and rows of sealed days leave.
    pub fn resolved(&self, head: &Manifest) {
        let mut content = self.lock();
        let leaving = std::mem::take(&mut content.leaving);
        content.apply(&self.specs, head.epoch, &leaving);
        content.seal(self.sealing.as_ref(), head);
        content.settle(&self.specs);
        for ViewUpdate { view, row, diff } in std::mem::take(&mut content.upcoming_day_rows) {
            if let Some(table) = content.day_table(view) {
                table.apply(&row, diff);
                table.count(diff);
            }
        }
    }

    /// How many bytes wait for day files.
    pub fn pending_bytes(&self) -> usize {
        self.lock().day_rows.iter().map(DayRows::pending_bytes).sum()
    }

    /// The days of table `table` of day files whose files may not be what they must be.
    pub fn changed_days(&self, table: usize) -> Vec<Changed> {
        self.lock().day_rows[table].changed()
    }

    /// What came or went on `day` of table `table` since its file was written.
    pub fn take_day(&self, table: usize, day: &Text) -> Vec<(ViewRow, i64)> {
        self.lock().day_rows[table].take(day)
    }

    /// Notes that the file of `day` of table `table` is what it must be.
    pub fn wrote_day(&self, table: usize, day: &Text) {
        self.lock().day_rows[table].wrote(day);
    }

    /// How many rows table `table` of day files has, and how many came or went in this run.
    pub fn day_counts(&self, table: usize) -> Counts {
        let (rows, changes) = self.lock().day_rows[table].counts();
        Counts { rows, changes }
    }

    /// Puts `changes` into the tables: they are committed.
    pub fn apply(&self, changes: &Changes) {
        let mut content = self.lock();
        content.apply(&self.specs, changes.epoch, &changes.updates);
        for ViewUpdate { view, diff, .. } in &changes.updates {
            content.tables[usize::from(*view)].changes += diff.unsigned_abs();
        }
        content.at = Some(changes.id);
    }

    /// The manifest of the last changes in the tables; `None` if there were none yet.
    pub fn at(&self) -> Option<ManifestId> {
        self.lock().at
    }

    /// False until the first epoch of the run is resolved: what earlier runs delivered may not have arrived yet.
    pub fn is_current(&self) -> bool {
        self.lock().is_current
    }

    /// All views as of one commit; `None` while that is not known.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let content = self.lock();
        if !content.is_current {
            return None;
        }
        let (at, tables, sealed) = (content.at, content.shared(), content.sealed.clone());
        // What follows takes as long as there are rows, and workers need the lock to go on.
        drop(content);
        let rows = |table: ViewRows| table.iter().cloned().collect();
        Some(Snapshot { at, tables: tables.into_iter().map(rows).collect(), sealed })
    }

    /// The rows of each view as they are now, by the number of the view. They share what does not change later.
    pub fn tables(&self) -> Vec<ViewRows> {
        self.lock().shared()
    }

    /// The rows of each view as [`Views::tables`] gives them, without those of sealed days; and the instant before which no day is
    /// among them, but for days that a person has unsealed: `None` if no day is sealed.
    ///
    /// Rows of a day that has just been sealed are still in the tables, also where a run starts after one that had the day unsealed.
    pub fn open(&self) -> (Vec<ViewRows>, Option<EventTime>) {
        let content = self.lock();
        let (mut tables, sealed, left) = (content.shared(), content.sealed.clone(), content.left);
        drop(content);
        let up_to = sealed.as_ref().map(|sealed| sealed.up_to);
        if let Some(sealed) = sealed.filter(|_| left < up_to) {
            for (spec, table) in self.specs.iter().zip(&mut tables) {
                let rows = sealed_rows(spec, table, &sealed).cloned();
                for row in rows.collect::<Vec<_>>() {
                    assert!(table.remove(&row, 1), "it has just been found");
                }
            }
        }
        (tables, up_to)
    }

    /// The rows of view `view` in order, and how often it has changed.
    pub fn rows(&self, view: usize) -> (Vec<Arc<ViewRow>>, u64) {
        let table = self.lock().tables[view].clone();
        (table.rows.iter().cloned().collect(), table.version)
    }

    /// How many rows view `view` has, and how many came or went in this run.
    pub fn counts(&self, view: usize) -> Counts {
        let content = self.lock();
        let table = &content.tables[view];
        Counts { rows: table.rows.len(), changes: table.changes }
    }

    /// How often view `view` has changed.
    pub fn version(&self, view: usize) -> u64 {
        self.lock().tables[view].version
    }
}

/// One update for each row that has changed, in order.
fn consolidated(updates: impl Iterator<Item = ViewUpdate>) -> Vec<ViewUpdate> {
    let mut rows: BTreeMap<(u16, ViewRow), i64> = BTreeMap::new();
    for ViewUpdate { view, row, diff } in updates {
        *rows.entry((view, row)).or_default() += diff;
    }
    rows.into_iter()
        .filter(|(_, diff)| *diff != 0)
        .map(|((view, row), diff)| ViewUpdate { view, row, diff })
        .collect()
}

/// True if `update` is of a row whose day is sealed.
fn is_of_sealed_day(specs: &[ViewSpec], sealed: &SealedDays, update: &ViewUpdate) -> bool {
    let spec = specs.get(usize::from(update.view));
    spec.is_some_and(|spec| day_of(spec, &update.row).is_some_and(|day| sealed.has(day)))
}

/// The rows of `table` whose day is sealed.
fn sealed_rows<'a>(
    spec: &'a ViewSpec,
    table: &'a ViewRows,
    sealed: &'a SealedDays,
) -> impl Iterator<Item = &'a Arc<ViewRow>> {
    let rows = spec.day.map(|_| table.iter()).into_iter().flatten();
    rows.filter(|row| day_of(spec, row).is_some_and(|day| sealed.has(day)))
}

/// The day of a row; `None` where the view does not lie by day.
fn day_of<'a>(spec: &ViewSpec, row: &'a ViewRow) -> Option<&'a Text> {
    row.text(spec.day?)
}

/// Parts updates of tables of day files, which come first, from those of views.
fn parted(updates: impl IntoIterator<Item = ViewUpdate>) -> (Vec<ViewUpdate>, Vec<ViewUpdate>) {
    updates.into_iter().partition(|update| update.view >= FIRST_DAY_FILES)
}

impl Content {
    /// The table of day files of this number. A build without Parquet has none.
    fn day_table(&mut self, view: u16) -> Option<&mut DayRows> {
        self.day_rows.get_mut(usize::from(view.checked_sub(FIRST_DAY_FILES)?))
    }

    /// Takes those of `updates` that are of tables of day files; gives the others back.
    fn fold_day_rows(&mut self, updates: Vec<ViewUpdate>) -> Vec<ViewUpdate> {
        let (of_files, of_views) = parted(updates);
        for ViewUpdate { view, row, diff } in of_files {
            if let Some(table) = self.day_table(view) {
                table.apply(&row, diff);
            }
        }
        of_views
    }

    /// Notes what `head` seals.
    fn seal(&mut self, sealing: Option<&Sealing>, head: &Manifest) {
        let known = self.sealed.as_ref().map(|sealed| sealed.up_to);
        if let Some(sealing) = sealing.filter(|_| known < head.sealed_up_to) {
            self.sealed = SealedDays::of(sealing, head);
        }
    }

    /// Notes that sealed days have left the tables, if they have.
    fn settle(&mut self, specs: &[ViewSpec]) {
        let Some(sealed) = self.sealed.as_ref().filter(|sealed| self.left < Some(sealed.up_to)) else {
            return;
        };
        let has_some =
            |(spec, table): (&ViewSpec, &Table)| sealed_rows(spec, &table.rows, sealed).next().is_some();
        if !specs.iter().zip(&self.tables).any(has_some) {
            self.left = Some(sealed.up_to);
        }
    }

    /// The rows of each view, in pieces that are shared.
    fn shared(&self) -> Vec<ViewRows> {
        self.tables.iter().map(|table| table.rows.clone()).collect()
    }

    fn apply(&mut self, specs: &[ViewSpec], epoch: Epoch, updates: &[ViewUpdate]) {
        // What goes is taken away after all has come: within an epoch workers speak in any order.
        let (come, gone): (Vec<_>, Vec<_>) = updates.iter().partition(|update| update.diff > 0);
        for ViewUpdate { view, row, diff } in come {
            let table = &mut self.tables[usize::from(*view)];
            table.version += 1;
            table.rows.insert(row.clone(), diff.unsigned_abs());
        }
        for ViewUpdate { view, row, diff } in gone {
            let (table, name) = (&mut self.tables[usize::from(*view)], specs[usize::from(*view)].name);
            table.version += 1;
            let is_there = table.rows.remove(row, diff.unsigned_abs());
            assert!(is_there, "view {name} takes away what it has not, in epoch {epoch}: {row:?}");
        }
    }
}

/// One worker's end.
pub struct ViewStage {
    views: Arc<Views>,
    done: VecDeque<Epoch>,
}

impl ViewStage {
    /// The end of a worker that gives changes to `views`.
    pub fn new(views: Arc<Views>) -> ViewStage {
        ViewStage { views, done: VecDeque::new() }
    }
}

impl Stage<Vec<ViewUpdate>, StagedFile> for ViewStage {
    fn put(&mut self, epoch: Epoch, _since: Epoch, mut updates: Vec<ViewUpdate>) {
        let mut content = self.views.lock();
        if epoch <= self.views.committed {
            // Those of a dataflow that does not hand them over as they come.
            updates = content.fold_day_rows(updates);
        }
        content.waiting.entry(epoch).or_default().append(&mut updates);
        drop(content);
        self.done.push_back(epoch);
    }

    fn done(&mut self) -> Option<(Epoch, Vec<StagedFile>)> {
        self.done.pop_front().map(|epoch| (epoch, Vec::new()))
    }
}

/// The end of a worker whose process does not commit: all changes of views go to the one that does.
///
/// Invariant: none comes here. It would be missing in the views for good, so it stops the job.
#[derive(Default)]
pub struct NoViews {
    done: VecDeque<Epoch>,
}

impl Stage<Vec<ViewUpdate>, StagedFile> for NoViews {
    fn put(&mut self, epoch: Epoch, _since: Epoch, updates: Vec<ViewUpdate>) {
        assert!(
            updates.is_empty(),
            "a process that keeps no views was given {} changes of them, in epoch {epoch}",
            updates.len()
        );
        self.done.push_back(epoch);
    }

    fn done(&mut self) -> Option<(Epoch, Vec<StagedFile>)> {
        self.done.pop_front().map(|epoch| (epoch, Vec::new()))
    }
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
