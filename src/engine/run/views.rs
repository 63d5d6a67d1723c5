//! The content of a job's views outside the dataflow, as of the newest commit.
//!
//! 1. A worker hands over the updates of an epoch when the epoch is complete. They wait here.
//! 2. What comes at the committed epoch e0 is the content that earlier runs delivered: it is committed, and goes into the
//!    tables before anything else. It is no change.
//! 3. Before an epoch is committed, [`Views::upcoming`] gives what it changes, one update a row.
//! 4. When it is resolved, [`Views::apply`] puts that into the tables, all views together, and whoever delivers views is
//!    given the same [`Changes`] ([`OnViews`]). Nothing that was not committed is ever visible.
//!
//! Tables of day files take the same way, but for the third step: no [`Changes`] name them, and of what is written nothing stays
//! in memory but a digest ([`DayRows`]).
//!
//! In a job on several processes all changes go to workers of process 0, which has the content; timely's progress over all
//! processes says when an epoch is complete.
//!
//! Invariant: a row goes only where it is. A view that takes away what it never gave stops the job.

use crate::engine::format::changes::Changes;
use crate::engine::format::manifest::{Manifest, ManifestId};
use crate::engine::run::day_rows::{Changed, DayRows};
use crate::engine::run::view_rows::ViewRows;
use headway_operators::ack::StagedFile;
use headway_operators::port::Stage;
use headway_operators::spec::ViewSpec;
use headway_operators::time::Epoch;
use headway_operators::view::row::{FIRST_DAY_FILES, ViewRow, ViewUpdate};
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
    upcoming: Vec<ViewUpdate>,
    /// The manifest of the last changes in the tables.
    at: Option<ManifestId>,
    /// What earlier runs delivered is in the tables.
    is_current: bool,
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
        Views { specs, day_files: Vec::new(), committed: head.epoch, content: Mutex::new(content) }
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
        let (of_files, of_views) =
            new.into_values().flatten().partition(|update| update.view >= FIRST_DAY_FILES);
        content.upcoming = of_files;
        // Workers need the lock to go on.
        drop(content);
        consolidated(Vec::into_iter(of_views))
    }

    /// The names of the views that `updates` change, and of the tables of day files that the same epoch changes.
    pub fn changed_by(&self, updates: &[ViewUpdate]) -> BTreeSet<&'static str> {
        let content = self.lock();
        let name = |update: &ViewUpdate| match update.view.checked_sub(FIRST_DAY_FILES) {
            Some(table) => self.day_files.get(usize::from(table)).map(|spec| spec.name),
            None => self.specs.get(usize::from(update.view)).map(|spec| spec.name),
        };
        updates.iter().chain(&content.upcoming).filter_map(name).collect()
    }

    /// Notes that the epoch of the last [`Views::upcoming`] is resolved: tables of day files have what it changed in them.
    pub fn resolved(&self) {
        let mut content = self.lock();
        for ViewUpdate { view, row, diff } in std::mem::take(&mut content.upcoming) {
            if let Some(table) = content.day_rows.get_mut(usize::from(view - FIRST_DAY_FILES)) {
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

    /// True if table `table` has rows of `day`.
    pub fn has_day(&self, table: usize, day: &str) -> bool {
        self.lock().day_rows[table].has(day)
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
        let (at, tables) = (content.at, content.shared());
        // What follows takes as long as there are rows, and workers need the lock to go on.
        drop(content);
        let rows = |table: ViewRows| table.iter().cloned().collect();
        Some(Snapshot { at, tables: tables.into_iter().map(rows).collect() })
    }

    /// The rows of each view as they are now, by the number of the view. They share what does not change later.
    pub fn tables(&self) -> Vec<ViewRows> {
        self.lock().shared()
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

impl Content {
    /// The rows of each view, in pieces that are shared.
    fn shared(&self) -> Vec<ViewRows> {
        self.tables.iter().map(|table| table.rows.clone()).collect()
    }

    fn apply(&mut self, specs: &[ViewSpec], epoch: Epoch, updates: &[ViewUpdate]) {
        // What goes is taken away after all has come: within an epoch workers speak in any order.
        let (of_files, of_views): (Vec<_>, Vec<_>) =
            updates.iter().partition(|update| update.view >= FIRST_DAY_FILES);
        for ViewUpdate { view, row, diff } in of_files {
            // A build without Parquet has no such tables.
            if let Some(table) = self.day_rows.get_mut(usize::from(*view - FIRST_DAY_FILES)) {
                table.apply(row, *diff);
            }
        }
        let (come, gone): (Vec<_>, Vec<_>) = of_views.into_iter().partition(|update| update.diff > 0);
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
        self.views.lock().waiting.entry(epoch).or_default().append(&mut updates);
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
mod tests {
    use super::*;
    use crate::engine::format::manifest::Nonce;
    use crate::engine::format::manifest::tests::first;
    use crate::engine::format::names::Seq;
    use headway_operators::row::{Column, Kind};
    use headway_operators::view::row::Value;

    /// One view, of a run that goes on from epoch 3.
    fn views() -> Arc<Views> {
        let columns = vec![Column::new("n", Kind::Int)];
        let specs = vec![ViewSpec { name: "numbers", about: "", columns, key: 1, version: 1, day: None }];
        let head = Manifest { epoch: Epoch(3), changes: Some(id(7)), ..first(1) };
        Arc::new(Views::new(specs, &head))
    }

    fn id(seq: u64) -> ManifestId {
        ManifestId { seq: Seq(seq), nonce: Nonce(u128::from(seq)) }
    }

    fn update(number: i64, diff: i64) -> ViewUpdate {
        ViewUpdate { view: 0, row: ViewRow(vec![Value::Int(number)]), diff }
    }

    fn commit(views: &Views, seq: u64, epoch: u64) -> Changes {
        let updates = views.upcoming(Epoch(epoch));
        let changes = Changes { id: id(seq), after: views.at(), epoch: Epoch(epoch), updates };
        views.apply(&changes);
        changes
    }

    fn numbers(views: &Views) -> Vec<ViewRow> {
        views.rows(0).0.iter().map(|row| (**row).clone()).collect()
    }

    #[test]
    fn change_is_visible_once_its_epoch_is_resolved_and_not_before() {
        let views = views();
        let (mut one, mut other) = (ViewStage::new(Arc::clone(&views)), ViewStage::new(Arc::clone(&views)));
        one.put(Epoch(4), Epoch(4), vec![update(1, 1)]);
        // Another worker takes a row away that the first one gives.
        other.put(Epoch(5), Epoch(5), vec![update(2, -1)]);
        one.put(Epoch(5), Epoch(5), vec![update(2, 1), update(3, 1)]);
        one.put(Epoch(6), Epoch(6), vec![update(3, -1)]);
        assert_eq!(numbers(&views), []);
        assert!(!views.is_current(), "nobody may take it for the content");
        assert_eq!(views.snapshot(), None);
        let changes = commit(&views, 8, 5);
        assert_eq!(changes.updates, [update(1, 1), update(3, 1)], "what cancels is no change");
        assert!(views.is_current());
        assert_eq!(numbers(&views), [update(1, 1).row, update(3, 1).row]);
        assert_eq!(commit(&views, 9, 6).updates, [update(3, -1)]);
        assert_eq!(numbers(&views), [update(1, 1).row]);
        let tables = vec![vec![Arc::new(update(1, 1).row)]];
        assert_eq!(views.snapshot(), Some(Snapshot { at: Some(id(9)), tables }));
        assert_eq!(one.done().map(|(epoch, files)| (epoch, files.len())), Some((Epoch(4), 0)));
    }

    #[test]
    fn what_earlier_runs_delivered_is_content_and_no_change() {
        let views = views();
        ViewStage::new(Arc::clone(&views)).put(Epoch(3), Epoch(3), vec![update(1, 1), update(2, 1)]);
        ViewStage::new(Arc::clone(&views)).put(Epoch(4), Epoch(4), vec![update(2, -1)]);
        assert_eq!(views.upcoming(Epoch(4)), [update(2, -1)]);
        assert_eq!(views.snapshot().map(|found| (found.at, found.tables[0].len())), Some((Some(id(7)), 2)));
    }

    #[test]
    #[should_panic(expected = "keeps no views was given 1 changes of them, in epoch 4")]
    fn change_that_comes_where_no_views_are_kept_stops_the_job() {
        let mut stage = NoViews::default();
        stage.put(Epoch(3), Epoch(3), Vec::new());
        assert!(stage.done().is_some());
        stage.put(Epoch(4), Epoch(4), vec![update(1, 1)]);
    }

    #[test]
    #[should_panic(expected = "view numbers takes away what it has not, in epoch 4")]
    fn view_that_takes_away_what_it_never_gave_stops_the_job() {
        let views = views();
        ViewStage::new(Arc::clone(&views)).put(Epoch(4), Epoch(4), vec![update(1, -1)]);
        commit(&views, 8, 4);
    }
}
