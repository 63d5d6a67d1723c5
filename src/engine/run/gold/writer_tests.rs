use super::writer::{GOLD_EVERY, Gold};
use crate::engine::clock::Manual;
use crate::engine::commit::checkpoint::{self, Committer, Found};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::tests::job;
use crate::engine::commit::refill::FactFile;
use crate::engine::format::changes::Changes;
use crate::engine::format::manifest::{Manifest, View};
use crate::engine::run::refill::{Part, Past};
use crate::engine::run::views::{ViewStage, Views};
use crate::store::memory::Memory;
use crate::store::{Created, Error, Name, Published, Staged, Store};
use headway_operators::port::Stage;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::row::{FIRST_DAY_FILES, Value, ViewRow, ViewUpdate};
use headway_operators::view::seal::{Calendar, Sealing};
use headway_operators::view::text::Text;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type OnReplace = Box<dyn FnOnce() + Send>;

/// A store that counts replacements, and in which something happens before the first one is answered.
#[derive(Clone, Default)]
struct Watched {
    inner: Memory,
    replaced: Arc<Mutex<Vec<String>>>,
    then: Arc<Mutex<Option<OnReplace>>>,
}

impl Store for Watched {
    fn create(&self, name: Name<'_>, bytes: &[u8]) -> Result<Created, Error> {
        self.inner.create(name, bytes)
    }
    fn read(&self, name: Name<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.inner.read(name, bytes_max)
    }
    fn read_range(&self, name: Name<'_>, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        self.inner.read_range(name, from, to)
    }
    fn open(&self, name: Name<'_>) -> Result<Option<Box<dyn io::Read + Send>>, Error> {
        self.inner.open(name)
    }
    fn size(&self, name: Name<'_>) -> Result<Option<u64>, Error> {
        self.inner.size(name)
    }
    fn list(&self, folder: Name<'_>) -> Result<Vec<String>, Error> {
        self.inner.list(folder)
    }
    fn stage(&self, name: Name<'_>) -> Result<Box<dyn Staged>, Error> {
        self.inner.stage(name)
    }
    fn publish(&self, from: Name<'_>, to: Name<'_>) -> Result<Published, Error> {
        self.inner.publish(from, to)
    }
    fn replace(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Error> {
        self.inner.replace(from, to)?;
        self.replaced.lock().unwrap().push(to.to_string());
        let then = self.then.lock().unwrap().take();
        then.into_iter().for_each(|then| then());
        Ok(())
    }
    fn sync_folder(&self, folder: Name<'_>) -> Result<(), Error> {
        self.inner.sync_folder(folder)
    }
    fn delete(&self, name: Name<'_>) -> Result<(), Error> {
        self.inner.delete(name)
    }
    fn describe(&self, name: Name<'_>) -> String {
        self.inner.describe(name)
    }
}

/// A view that is one file, one that lies by day, and a table of day files: a day and a number each.
fn spec(name: &'static str, day: Option<usize>) -> ViewSpec {
    let columns = vec![Column::new("day", Kind::Text), Column::new("n", Kind::Int)];
    ViewSpec { name, about: "", columns, key: 2, version: 1, day }
}

struct Run {
    store: Watched,
    clock: Arc<Manual>,
    committer: Committer,
    views: Arc<Views>,
    gold: Gold,
    epoch: u64,
}

impl Run {
    /// A run that takes the job over, and restores `rows` of all three tables.
    fn start(store: &Watched, rows: &[(&str, i64)]) -> Run {
        Run::begin(store, rows, |views, _| views)
    }

    /// The same, with the views that `made` makes of those for which the manifest says nothing.
    fn begin(store: &Watched, rows: &[(&str, i64)], made: fn(Views, &Manifest) -> Views) -> Run {
        let clock = Arc::new(Manual::default());
        let (committer, resume) =
            checkpoint::begin(Arc::new(store.clone()), Arc::clone(&clock) as _, job(1), Found::default())
                .unwrap();
        let views = Views::new(vec![spec("whole", None), spec("daily", Some(0))], &resume.manifest)
            .with_day_files(vec![spec("facts", Some(0))]);
        let views = Arc::new(made(views, &resume.manifest));
        let gold = Gold::new(Arc::new(store.clone()), "gate", Arc::clone(&views));
        let epoch = resume.manifest.epoch.0;
        let mut run = Run { store: store.clone(), clock, committer, views, gold, epoch };
        run.change(&rows.iter().map(|(day, number)| (*day, *number, 1)).collect::<Vec<_>>());
        run
    }

    /// Lets rows come and go in the next epoch, in all three tables.
    fn change(&mut self, rows: &[(&str, i64, i64)]) {
        let epoch = Epoch(self.epoch);
        self.epoch += 1;
        let update = |view: u16, (day, number, diff): &(&str, i64, i64)| {
            let row = ViewRow(vec![Value::Text(Text::from(*day)), Value::Int(*number)]);
            ViewUpdate { view, row, diff: *diff }
        };
        let all = [0, 1, FIRST_DAY_FILES];
        let updates = all.iter().flat_map(|view| rows.iter().map(|row| update(*view, row))).collect();
        ViewStage::new(Arc::clone(&self.views)).put(epoch, epoch, updates);
        let updates = self.views.upcoming(epoch);
        let id = self.committer.head().id();
        self.views.apply(&Changes { id, after: None, epoch, updates });
        self.views.resolved(self.committer.head());
    }

    fn write(&mut self) -> Result<(), CheckpointError> {
        self.gold.write(&mut self.committer)
    }

    /// What was replaced since the last call.
    fn replaced(&self) -> Vec<String> {
        std::mem::take(&mut *self.store.replaced.lock().unwrap())
    }
}

/// The rows of each gold file.
fn files(store: &Watched) -> BTreeMap<String, Vec<(String, i64)>> {
    let files = store.inner.files().into_iter().filter(|(name, _)| name.starts_with("gold/"));
    files
        .map(|(name, _)| {
            let rows = super::file::rows(store, &name).unwrap().into_iter().map(|row| match &row.0[..] {
                [Value::Text(day), Value::Int(number)] => (day.to_string(), *number),
                other => panic!("{other:?}"),
            });
            (name.strip_prefix("gold/gate/").unwrap().to_string(), rows.collect())
        })
        .collect()
}

fn file(name: &str, rows: &[(&str, i64)]) -> (String, Vec<(String, i64)>) {
    let rows = rows.iter().map(|(day, number)| (day.to_string(), *number)).collect();
    (format!("{name}.parquet"), rows)
}

const MON: &str = "2024-01-01";
const TUE: &str = "2024-01-02";

#[test]
fn file_of_a_day_is_written_when_its_rows_change_and_no_other() {
    let store = Watched::default();
    // The one file of a view that lay in one file before.
    store.inner.put("gold/gate/daily.parquet", b"old");
    store.inner.put("gold/gate/daily/day=1999-01-01.parquet", b"old");
    let mut run = Run::start(&store, &[(MON, 1), (TUE, 2)]);
    run.write().unwrap();
    let all = [
        file("whole", &[(MON, 1), (TUE, 2)]),
        file("daily/day=2024-01-01", &[(MON, 1)]),
        file("daily/day=2024-01-02", &[(TUE, 2)]),
        file("facts/day=2024-01-01", &[(MON, 1)]),
        file("facts/day=2024-01-02", &[(TUE, 2)]),
    ];
    assert_eq!(files(&store), BTreeMap::from(all));
    assert_eq!(run.replaced().len(), 5);
    run.change(&[(TUE, 3, 1), (TUE, 2, -1), (MON, 9, 1)]);
    run.change(&[(MON, 9, -1)]);
    run.write().unwrap();
    assert_eq!(
        run.replaced(),
        ["whole", "daily/day=2024-01-02", "facts/day=2024-01-02"]
            .map(|name| format!("gold/gate/{name}.parquet"))
    );
    assert_eq!(run.views.day_counts(0).rows, 2);
    assert_eq!(run.views.pending_bytes(), 0, "of what is written nothing stays in memory");
    // Without rows a day has no file.
    run.change(&[(MON, 1, -1)]);
    run.write().unwrap();
    let left = [
        file("whole", &[(TUE, 3)]),
        file("daily/day=2024-01-02", &[(TUE, 3)]),
        file("facts/day=2024-01-02", &[(TUE, 3)]),
    ];
    assert_eq!(files(&store), BTreeMap::from(left));
}

#[test]
fn run_that_starts_writes_what_differs_and_leaves_the_rest() {
    let store = Watched::default();
    let mut first = Run::start(&store, &[(MON, 1), (TUE, 2)]);
    first.write().unwrap();
    let rows = files(&store);
    first.replaced();
    // A run that was killed has left an older file of one day.
    let mut next = Run::start(&store, &[(MON, 1), (TUE, 2), (TUE, 3)]);
    next.write().unwrap();
    assert_eq!(next.replaced().len(), 3, "no file of Monday");
    assert_ne!(files(&store), rows);
    let mut same = Run::start(&store, &[(MON, 1), (TUE, 2), (TUE, 3)]);
    same.write().unwrap();
    assert_eq!(same.replaced(), Vec::<String>::new());
}

#[test]
fn file_that_somebody_else_has_replaced_is_written_anew() {
    let store = Watched::default();
    let mut run = Run::start(&store, &[(MON, 1), (TUE, 2)]);
    let turn = |run: &mut Run| {
        run.clock.advance(GOLD_EVERY);
        run.gold.turn(&mut run.committer)
    };
    run.gold.turn(&mut run.committer).unwrap();
    assert_eq!(run.replaced().len(), 0, "it is not time yet");
    turn(&mut run).unwrap();
    let rows = files(&store);
    run.replaced();
    let other = store.inner.files()["gold/gate/whole.parquet"].clone();
    store.inner.put("gold/gate/daily/day=2024-01-01.parquet", &other);
    store.inner.delete("gold/gate/whole.parquet").unwrap();
    turn(&mut run).unwrap();
    assert_eq!((run.replaced().len(), files(&store)), (2, rows.clone()));
    // Nobody has the rows of a table of day files in memory: the next start writes it.
    store.inner.put("gold/gate/facts/day=2024-01-01.parquet", &other);
    assert!(matches!(turn(&mut run), Err(CheckpointError::GoldChanged { .. })));
    let mut next = Run::start(&store, &[(MON, 1), (TUE, 2)]);
    next.write().unwrap();
    assert_eq!(files(&store), rows);
}

#[test]
fn files_are_looked_at_again_before_rows_leave_memory() {
    let store = Watched::default();
    let mut run = Run::start(&store, &[(MON, 1), (TUE, 2)]);
    run.write().unwrap();
    let rows = files(&store);
    store.inner.delete("gold/gate/daily/day=2024-01-01.parquet").unwrap();
    run.write().unwrap();
    assert_ne!(files(&store), rows, "what has not changed is not looked at");
    let monday = ViewRow(vec![Value::Text(Text::from(MON)), Value::Int(1)]);
    run.gold.look_again(&[ViewUpdate { view: 1, row: monday, diff: -1 }]);
    run.write().unwrap();
    assert_eq!(files(&store), rows);
}

/// Mondays and Tuesdays of one week, whatever the time.
#[derive(Debug)]
struct Week;

impl Calendar for Week {
    fn day(&self, time: EventTime) -> i64 {
        time.ms()
    }
    fn start(&self, day: i64) -> EventTime {
        EventTime(day)
    }
    fn name(&self, day: i64) -> Text {
        Text::from([MON, TUE][usize::try_from(day).unwrap()])
    }
}

#[test]
fn views_that_begin_within_a_sealed_day_leave_its_file_alone() {
    let store = Watched::default();
    Run::start(&store, &[(MON, 1), (MON, 2), (TUE, 3)]).write().unwrap();
    let tuesday_is_open = |views: Views, head: &Manifest| {
        let head = Manifest { sealed_up_to: Some(EventTime(1)), ..head.clone() };
        views.with_sealing(Some(Sealing::new(0, Arc::new(Week))), &head)
    };
    let facts = FactFile { output: "rows".into(), path: "rows/1.csv.gz".into(), rows: 1 };
    let part = Part { files: vec![facts], output: "rows".into(), columns: Vec::new() };
    let past = Past { is_of_new_views: true, parts: vec![part] };
    let unsealed = Past { is_of_new_views: false, ..past.clone() };
    let [more, same] = [vec![(MON, 1), (MON, 2)], vec![(MON, 2)]];
    for (past, from, monday) in [(&past, 3, more), (&unsealed, 3, same.clone()), (&past, 0, same)] {
        let mut run = Run::begin(&store, &[(MON, 2), (TUE, 3), (TUE, 4)], tuesday_is_open);
        let view = View { keeps: 1, shows: 1, changed: None, from_epoch: Some(Epoch(from)) };
        let views = BTreeMap::from([("daily".to_string(), view)]);
        let head = Manifest { views, ..run.committer.head().clone() };
        run.gold = run.gold.sparing(Some(past), &head);
        run.write().unwrap();
        let all = files(&store);
        assert_eq!(all["daily/day=2024-01-01.parquet"], file("", &monday).1, "from epoch {from}");
        assert_eq!(
            all["daily/day=2024-01-02.parquet"],
            file("", &[(TUE, 3), (TUE, 4)]).1,
            "from epoch {from}"
        );
    }
}

#[test]
fn run_that_was_taken_over_while_it_replaced_its_tables_replaces_no_more() {
    let store = Watched::default();
    let mut old = Run::start(&store, &[(MON, 1)]);
    let (clock, other) = (Arc::clone(&old.clock), store.clone());
    *store.then.lock().unwrap() = Some(Box::new(move || {
        // It stalls, and another run takes over and writes its tables.
        clock.advance(Duration::from_secs(6));
        Run::start(&other, &[(MON, 1), (TUE, 2)]).write().unwrap();
    }));
    let written = old.write();
    assert!(matches!(written, Err(CheckpointError::Fenced { .. })), "{written:?}");
    let rows = files(&store);
    assert_eq!(rows["whole.parquet"].len(), 2);
    assert_eq!(rows["daily/day=2024-01-02.parquet"].len(), 1);
    assert_eq!(store.replaced.lock().unwrap().len(), 6, "one by the old run, five by the new one");
}
