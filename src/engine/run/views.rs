//! The content of a job's views outside the dataflow, as of the newest commit.
//!
//! 1. A worker hands over the updates of an epoch when the epoch is complete. They wait here.
//! 2. When the epoch is resolved, they are applied, all views together. Nothing that was not committed is ever visible.
//! 3. What comes at the committed epoch e0 is the content that earlier runs delivered. It is applied with the first epoch
//!    that is resolved, or when the run ends.
//!
//! Invariant: a row goes only where it is. A view that takes away what it never gave stops the job.

use headway_operators::ack::StagedFile;
use headway_operators::port::Stage;
use headway_operators::spec::ViewSpec;
use headway_operators::time::Epoch;
use headway_operators::view::row::{ViewRow, ViewUpdate};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// The views of a job.
#[derive(Debug, Default)]
pub struct Views {
    specs: Vec<ViewSpec>,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    /// What workers gave for epochs that are not resolved.
    waiting: BTreeMap<Epoch, Vec<ViewUpdate>>,
    tables: Vec<Table>,
    /// What earlier runs delivered is in the tables.
    is_current: bool,
}

/// The content of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    rows: BTreeMap<ViewRow, u64>,
    /// How often it has changed, so that a copy knows whether it is up to date.
    version: u64,
}

impl Views {
    /// The views that `specs` describe, with nothing in them.
    pub fn new(specs: Vec<ViewSpec>) -> Views {
        let tables = vec![Table::default(); specs.len()];
        Views { specs, content: Mutex::new(Content { tables, ..Content::default() }) }
    }

    /// What they are.
    pub fn specs(&self) -> &[ViewSpec] {
        &self.specs
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no thread panics while it holds the views")
    }

    /// Applies all that was given for epochs up to `epoch`, which is resolved.
    pub fn resolved(&self, epoch: Epoch) {
        let mut content = self.lock();
        let later = content.waiting.split_off(&epoch.next());
        let resolved = std::mem::replace(&mut content.waiting, later);
        for (epoch, updates) in resolved {
            content.apply(&self.specs, epoch, updates);
        }
        content.is_current = true;
    }

    /// False until the first epoch of the run is resolved: what earlier runs delivered may not have arrived yet.
    pub fn is_current(&self) -> bool {
        self.lock().is_current
    }

    /// The rows of view `view` in order, and how often it has changed.
    pub fn rows(&self, view: usize) -> (Vec<ViewRow>, u64) {
        let content = self.lock();
        let table = &content.tables[view];
        let copies = |(row, copies): (&ViewRow, &u64)| (0..*copies).map(|_| row.clone()).collect::<Vec<_>>();
        (table.rows.iter().flat_map(copies).collect(), table.version)
    }

    /// How often view `view` has changed.
    pub fn version(&self, view: usize) -> u64 {
        self.lock().tables[view].version
    }
}

impl Content {
    fn apply(&mut self, specs: &[ViewSpec], epoch: Epoch, updates: Vec<ViewUpdate>) {
        // What goes is taken away after all has come: within an epoch workers speak in any order.
        let (come, gone): (Vec<_>, Vec<_>) = updates.into_iter().partition(|update| update.diff > 0);
        for ViewUpdate { view, row, diff } in come {
            let table = &mut self.tables[usize::from(view)];
            table.version += 1;
            *table.rows.entry(row).or_default() += diff.unsigned_abs();
        }
        for ViewUpdate { view, row, diff } in gone {
            let (table, name) = (&mut self.tables[usize::from(view)], specs[usize::from(view)].name);
            table.version += 1;
            let copies = table.rows.get_mut(&row).filter(|copies| **copies >= diff.unsigned_abs());
            let copies = copies.unwrap_or_else(|| {
                panic!("view {name} takes away what it has not, in epoch {epoch}: {row:?}")
            });
            *copies -= diff.unsigned_abs();
            if *copies == 0 {
                table.rows.remove(&row);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::row::{Column, Kind};
    use headway_operators::view::row::Value;

    fn views() -> Arc<Views> {
        let columns = vec![Column::new("n", Kind::Int)];
        Arc::new(Views::new(vec![ViewSpec { name: "numbers", about: "", columns, key: 1, version: 1 }]))
    }

    fn update(number: i64, diff: i64) -> ViewUpdate {
        ViewUpdate { view: 0, row: ViewRow(vec![Value::Int(number)]), diff }
    }

    fn numbers(views: &Views) -> Vec<ViewRow> {
        views.rows(0).0
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
        views.resolved(Epoch(5));
        assert!(views.is_current());
        assert_eq!(numbers(&views), [update(1, 1).row, update(3, 1).row]);
        views.resolved(Epoch(6));
        assert_eq!(numbers(&views), [update(1, 1).row]);
        assert_eq!(one.done().map(|(epoch, files)| (epoch, files.len())), Some((Epoch(4), 0)));
    }

    #[test]
    #[should_panic(expected = "view numbers takes away what it has not, in epoch 4")]
    fn view_that_takes_away_what_it_never_gave_stops_the_job() {
        let views = views();
        ViewStage::new(Arc::clone(&views)).put(Epoch(4), Epoch(4), vec![update(1, -1)]);
        views.resolved(Epoch(4));
    }
}
