//! Tests of deliveries, to a target in memory that notes what is done to it.

use super::*;
use crate::engine::clock::Manual;
use crate::engine::format::changes::ViewVersion;
use crate::engine::format::manifest::tests::first;
use crate::store::memory::Memory;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::row::{Value, ViewRow, ViewUpdate};
use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, Sender};

/// A target in memory that notes what was done to it, and is away for some calls.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    at: Option<Option<Place>>,
    done: Vec<String>,
    away: u32,
    /// After so many changes that it applies its answer is lost.
    lost: u32,
}

impl Notes {
    fn call(&self, what: String) -> Result<MutexGuard<'_, Noted>, TargetError> {
        let mut noted = self.0.lock().unwrap();
        if noted.away > 0 {
            noted.away -= 1;
            return Err(TargetError::Away { what: "nobody is there".into() });
        }
        noted.done.push(what);
        Ok(noted)
    }
}

impl Target for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn stand(&mut self, _: &Origin, _: &[ViewSpec]) -> Result<Standing, TargetError> {
        let noted = self.call("stand".into())?;
        Ok(noted.at.clone().map_or(Standing::Unfit("it is new"), Standing::At))
    }

    fn apply(&mut self, _: &Origin, step: Step<'_>, beat: &dyn Fn()) -> Result<Applied, TargetError> {
        let mut noted = self.call(format!("apply {}", step.place))?;
        beat();
        if noted.at.as_ref().map(Option::as_ref) != Some(step.after) {
            return Ok(Applied::NotHere);
        }
        noted.at = Some(Some(step.place.clone()));
        if noted.lost > 0 {
            noted.lost -= 1;
            return Err(TargetError::Away { what: "the connection was closed".into() });
        }
        Ok(Applied::Yes)
    }

    fn rebuild(&mut self, _: &Origin, whole: Whole<'_>, _: &dyn Fn()) -> Result<bool, TargetError> {
        let at = whole.place.map_or("nothing".to_string(), ToString::to_string);
        let mut noted = self.call(format!("rebuild as of {at}"))?;
        noted.at = Some(whole.place.cloned());
        Ok(true)
    }
}

fn id(seq: u64) -> ManifestId {
    ManifestId { seq: Seq(seq), nonce: Nonce(u128::from(seq)) }
}

fn entry(seq: u64) -> Entry {
    Entry { seq: Seq(seq), written_ms: 0, bytes: 1 }
}

/// A job whose run started at manifest 4, with the changes of manifest 2 as the newest.
struct Job {
    memory: Memory,
    views: Arc<Views>,
    targets: Targets,
    newest: ManifestId,
}

fn specs() -> Vec<ViewSpec> {
    let columns = vec![Column::new("n", Kind::Int)];
    vec![ViewSpec { name: "numbers", about: "", columns, key: 1, version: 1, day: None }]
}

/// For how long a run waits for a target that never gets on; for others it has the patience of a real one.
const SHORT: Duration = Duration::from_millis(300);

impl Job {
    fn start(notes: &Notes) -> Job {
        let head = Manifest { changes: Some(id(2)), ..first(1) };
        Job::start_from(&head, &Memory::new(), Box::new(notes.clone()))
    }

    /// A run whose claim is `head`, with what earlier runs left.
    fn start_from(head: &Manifest, memory: &Memory, target: Box<dyn Target>) -> Job {
        let (memory, head, newest) = (memory.clone(), head.clone(), head.changes.expect("changes"));
        let site = Site::new(Arc::new(memory.clone()), Arc::new(Manual::default()));
        memory.put(&names::manifest("job", head.seq), b"{}");
        let views = Arc::new(Views::new(specs(), &head));
        let control = Control::new();
        let source = Source { site: &site, head, files: Vec::new(), views: Arc::clone(&views), control };
        let targets = Targets::start(vec![target], source).unwrap();
        Job { memory, views, targets, newest }
    }

    /// Commits a row as manifest `seq`, with a change file that names what is before it.
    fn commit(&mut self, seq: u64) {
        self.commit_of(seq, changes::versions(&specs()));
    }

    /// The same, where the change file has views of these versions.
    fn commit_of(&mut self, seq: u64, versions: Vec<ViewVersion>) {
        let row = ViewRow(vec![Value::Int(i64::try_from(seq).unwrap())]);
        let updates = vec![ViewUpdate { view: 0, row, diff: 1 }];
        let changes = Changes { id: id(seq), after: Some(self.newest), epoch: Epoch(seq), updates };
        let mut bytes = Vec::new();
        changes::encode("job", versions, &changes, &mut bytes).unwrap();
        let name = format!("{}{}", names::changes_folder("job"), names::change_file(Seq(seq), 0));
        self.memory.put(&name, &bytes);
        self.views.upcoming(Epoch(seq));
        self.views.apply(&changes);
        self.newest = id(seq);
        let head = Manifest { seq: Seq(seq), written_ms: 0, changes: Some(id(seq)), ..first(1) };
        self.memory.put(&names::manifest("job", head.seq), b"{}");
        self.targets.head(&head);
        self.targets.committed(&changes, &head);
    }
}

fn done(notes: &Notes) -> Vec<String> {
    notes.0.lock().unwrap().done.clone()
}

#[test]
fn target_gets_each_commit_once_and_in_order_and_is_rebuilt_where_it_stands_elsewhere() {
    let at = |seq: u64, nonce: u64| Some(Place { seq, nonce: Nonce(u128::from(nonce)).to_string() });
    let files: VecDeque<Entry> = [4, 6, 9].map(entry).into();
    let cases = [
        ("it has everything", at(9, 9), Next::Nothing),
        ("one commit is missing", at(6, 6), Next::Apply(entry(9))),
        ("the next one, none skipped", at(4, 4), Next::Apply(entry(6))),
        (
            "its commit is older than all files: the first says what it follows",
            at(2, 2),
            Next::Apply(entry(4)),
        ),
        ("a later commit", at(10, 10), Next::Rebuild("it stands at a commit that this lake does not have")),
        (
            "another commit of that number",
            at(9, 7),
            Next::Rebuild("it stands at a commit that this lake does not have"),
        ),
    ];
    for (name, at, expected) in cases {
        assert_eq!(next(at.as_ref(), Some(id(9)), &files), expected, "{name}");
    }
    let gone = next(at(4, 4).as_ref(), Some(id(9)), &VecDeque::new());
    assert_eq!(gone, Next::Rebuild("the changes that come next are not kept any more"));
    assert_eq!(next(None, None, &VecDeque::new()), Next::Nothing, "nothing has changed yet");
}

#[test]
fn new_target_is_rebuilt_and_then_gets_changes_also_after_it_was_away() {
    let notes = Notes::default();
    let mut job = Job::start(&notes);
    job.views.upcoming(Epoch(0));
    job.targets.wake();
    job.targets.finish().expect("it has the content");
    assert_eq!(done(&notes), ["stand", "rebuild as of 2"]);
    job.commit(5);
    job.targets.finish().expect("it gets the changes");
    notes.0.lock().unwrap().away = 1;
    job.commit(8);
    job.targets.finish().expect("it comes back");
    assert_eq!(
        done(&notes)[2..],
        ["apply 5", "stand", "apply 8"].map(str::to_string),
        "asked where it stands"
    );
}

#[test]
fn target_that_stands_at_another_nonce_is_rebuilt_and_one_that_is_away_ends_the_run_by_name() {
    let notes = Notes::default();
    notes.0.lock().unwrap().at = Some(Some(Place { seq: 2, nonce: "another".into() }));
    let mut job = Job::start(&notes);
    job.commit(5);
    job.targets.finish().expect("it is rebuilt");
    assert_eq!(done(&notes), ["stand", "rebuild as of 5"]);
    job.commit(6);
    job.commit(7);
    job.targets.finish().expect("it gets them");
    assert_eq!(done(&notes)[2..], ["apply 6", "apply 7"].map(str::to_string));
    assert_eq!(job.targets.acknowledged()[0].1.acknowledged, Seq(7));
    notes.0.lock().unwrap().away = u32::MAX;
    job.commit(9);
    job.targets.patience = SHORT;
    let behind = job.targets.finish().expect_err("nobody is there");
    assert_eq!((behind.code(), behind.exit_code()), ("target-behind", 1));
    assert_eq!(job.targets.lags(5)[0].commits, 1);
}

#[test]
fn what_a_target_has_of_another_history_is_not_acknowledged() {
    let notes = Notes::default();
    // A copy of the lake was put back, and the target has what came after the copy.
    notes.0.lock().unwrap().at = Some(Some(Place { seq: 90, nonce: "another".into() }));
    let mut job = Job::start(&notes);
    // It was asked; the content that it is rebuilt from is not there yet.
    while job.targets.lags(0)[0].acknowledged != Some(Seq(90)) {
        std::thread::yield_now();
    }
    assert_eq!(job.targets.acknowledged(), []);
    brought_up(&job);
    job.commit(5);
    job.targets.finish().expect("it gets the changes");
    assert_eq!(job.targets.acknowledged()[0].1.acknowledged, Seq(5));
}

/// A target that has the content of manifest 2.
fn brought_up(job: &Job) {
    job.views.upcoming(Epoch(0));
    job.targets.wake();
    job.targets.finish().expect("it has the content");
}

#[test]
fn changes_whose_answer_is_lost_are_not_applied_twice() {
    let notes = Notes::default();
    let mut job = Job::start(&notes);
    brought_up(&job);
    notes.0.lock().unwrap().lost = 1;
    job.commit(5);
    job.targets.finish().expect("it has them");
    job.commit(6);
    job.targets.finish().expect("it gets the next ones");
    let expected = ["stand", "rebuild as of 2", "apply 5", "stand", "apply 6"];
    assert_eq!(done(&notes), expected, "it is asked where it stands");
}

#[test]
fn changes_of_views_in_other_versions_are_not_applied() {
    let notes = Notes::default();
    let mut job = Job::start(&notes);
    brought_up(&job);
    let specs = specs().into_iter().map(|spec| ViewSpec { version: 7, ..spec });
    job.commit_of(5, changes::versions(&specs.collect::<Vec<_>>()));
    job.targets.finish().expect("it is rebuilt");
    assert_eq!(done(&notes), ["stand", "rebuild as of 2", "rebuild as of 5"]);
}

#[test]
fn run_that_was_taken_over_rebuilds_no_target() {
    let notes = Notes::default();
    let mut job = Job::start(&notes);
    // Another run has claimed the job, and has delivered a commit that this run does not know.
    notes.0.lock().unwrap().at = Some(Some(Place { seq: 3, nonce: "another".into() }));
    job.memory.put(&names::manifest("job", Seq(1)), b"{}");
    job.views.upcoming(Epoch(0));
    job.targets.wake();
    job.targets.patience = SHORT;
    let behind = job.targets.finish().expect_err("it is not brought up to date");
    assert_eq!(behind.code(), "target-behind");
    assert_eq!(done(&notes), ["stand"]);
}

#[test]
fn run_that_unseals_a_day_rebuilds_a_target_once_wherever_it_stands() {
    let notes = Notes::default();
    notes.0.lock().unwrap().at = Some(Some(place(id(2))));
    let head = Manifest { changes: Some(id(2)), unsealed: vec![EventTime(0)], ..first(1) };
    let mut job = Job::start_from(&head, &Memory::new(), Box::new(notes.clone()));
    brought_up(&job);
    assert_eq!(done(&notes), ["stand", "rebuild as of 2"], "no change file has the rows of the day");
    job.commit(5);
    job.targets.finish().expect("it gets the changes");
    assert_eq!(done(&notes)[2..], ["apply 5"]);
}

/// Where a rebuild of [`Tables`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Before it has the lock.
    Outside,
    /// With the lock, before it writes.
    Inside,
}

/// Where tables stand, and their rows.
type Written = (Option<Option<Place>>, BTreeSet<ViewRow>);

/// Tables as a server has them: a lock is held while something is written.
#[derive(Clone, Default)]
struct Tables(Arc<Mutex<Written>>);

/// A run's connection to [`Tables`].
struct Connection {
    tables: Tables,
    /// Where its rebuilds wait, whom they tell that they do, and what lets them go on. Told again when a rebuild has ended.
    door: Option<(Door, Sender<()>, Receiver<()>)>,
}

impl Connection {
    fn wait_at(&self, place: Door) {
        if let Some((_, here, go)) = self.door.as_ref().filter(|(door, ..)| *door == place) {
            here.send(()).unwrap();
            go.recv().unwrap();
        }
    }
}

impl Target for Connection {
    fn name(&self) -> &'static str {
        "tables"
    }

    fn stand(&mut self, _: &Origin, _: &[ViewSpec]) -> Result<Standing, TargetError> {
        let at = self.tables.0.lock().unwrap().0.clone();
        Ok(at.map_or(Standing::Unfit("it is new"), Standing::At))
    }

    fn apply(&mut self, _: &Origin, step: Step<'_>, _: &dyn Fn()) -> Result<Applied, TargetError> {
        let mut held = self.tables.0.lock().unwrap();
        if held.0.as_ref().map(Option::as_ref) != Some(step.after) {
            return Ok(Applied::NotHere);
        }
        held.1.extend(step.updates.iter().map(|update| update.row.clone()));
        held.0 = Some(Some(step.place.clone()));
        Ok(Applied::Yes)
    }

    fn rebuild(&mut self, _: &Origin, whole: Whole<'_>, _: &dyn Fn()) -> Result<bool, TargetError> {
        self.wait_at(Door::Outside);
        let mut held = self.tables.0.lock().unwrap();
        let is_last = (whole.is_last)().unwrap();
        self.wait_at(Door::Inside);
        if is_last {
            *held =
                (Some(whole.place.cloned()), whole.tables[0].iter().map(|row| ViewRow::clone(row)).collect());
        }
        drop(held);
        self.door.take().into_iter().for_each(|(_, here, _)| here.send(()).unwrap());
        Ok(is_last)
    }
}

#[test]
fn rebuild_under_way_when_another_run_takes_over_leaves_what_that_run_delivers() {
    for place_of_door in [Door::Outside, Door::Inside] {
        let (memory, tables) = (Memory::new(), Tables::default());
        tables.0.lock().unwrap().0 = Some(Some(Place { seq: 9, nonce: "another".into() }));
        let ((here, is_here), (open, go)) = (mpsc::channel(), mpsc::channel());
        let head = Manifest { changes: Some(id(2)), ..first(1) };
        // 1. A run is about to rebuild: it is the last one.
        let door = Some((place_of_door, here, go));
        let first_run =
            Job::start_from(&head, &memory, Box::new(Connection { tables: tables.clone(), door }));
        first_run.views.upcoming(Epoch(0));
        first_run.targets.wake();
        is_here.recv().unwrap();
        // 2. Another run takes the job over, commits, and delivers; it waits for the lock, if the first run has that.
        let mut job =
            Job::start_from(&head, &memory, Box::new(Connection { tables: tables.clone(), door: None }));
        let claim = Manifest { seq: Seq(1), ..head };
        memory.put(&names::manifest("job", claim.seq), b"{}");
        job.targets.head(&claim);
        job.views.upcoming(Epoch(0));
        job.targets.wake();
        job.commit(5);
        if place_of_door == Door::Outside {
            job.targets.finish().expect("nobody has the lock");
        }
        // 3. The first run goes on.
        open.send(()).unwrap();
        is_here.recv().unwrap();
        job.targets.finish().expect("it has what is committed");
        let (at, rows) = tables.0.lock().unwrap().clone();
        let expected: BTreeSet<ViewRow> = job.views.rows(0).0.iter().map(|row| ViewRow::clone(row)).collect();
        assert_eq!((at, rows), (Some(Some(place(id(5)))), expected), "{place_of_door:?}");
    }
}
