//! What the server knows of the views: all of them as of the newest commit, and what each commit before it changed.
//!
//! The commit thread hands over each commit once ([`Feed::commit`]) and never waits for a reader: it takes pointers. Readers
//! share what they read: one immutable [`Moment`] of each commit, one [`Step`] from each to the next.
//!
//! Bound: steps together weigh at most [`Limits::history_bytes`] and are at most [`Limits::history_for`] old; the newest stays.

use crate::engine::format::changes::Changes;
use crate::engine::format::manifest::{Manifest, ManifestId};
use crate::engine::format::names::Seq;
use crate::engine::run::view_rows::ViewRows;
use bytes::Bytes;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::time::EventTime;
use headway_operators::view::row::{Value, ViewUpdate};
use serde_json::json;
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How much is kept, and how far behind a client may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of steps.
    pub history_bytes: usize,
    /// Age of steps.
    pub history_for: Duration,
    /// Bytes of steps that a client has not taken.
    pub behind_bytes: usize,
    /// For how long a client may not take anything, and the age of the oldest step that it has not taken.
    pub behind_for: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            history_bytes: 64 << 20,
            history_for: Duration::from_secs(3600),
            behind_bytes: 8 << 20,
            behind_for: Duration::from_secs(30),
        }
    }
}

/// A commit as clients name it: its number, and enough of its nonce to tell one history from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    seq: u64,
    nonce: u32,
}

impl Id {
    /// The name of a manifest.
    pub fn of(id: ManifestId) -> Id {
        // The first eight of its 32 digits.
        Id { seq: id.seq.0, nonce: u32::try_from(id.nonce.0 >> 96).expect("32 bits are left") }
    }

    /// The number of the commit.
    pub fn seq(self) -> u64 {
        self.seq
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.seq, self.nonce)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Id, ()> {
        let (seq, nonce) = text.split_once('-').ok_or(())?;
        let is_nonce = nonce.len() == 8 && nonce.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_seq = !seq.is_empty() && seq.bytes().all(|digit| digit.is_ascii_digit());
        if !is_nonce || !is_seq {
            return Err(());
        }
        let nonce = u32::from_str_radix(nonce, 16).map_err(drop)?;
        Ok(Id { seq: seq.parse().map_err(drop)?, nonce })
    }
}

/// All views as of one commit. Immutable, and shared by all who read it.
#[derive(Debug)]
pub struct Moment {
    /// The commit.
    pub id: Id,
    /// How many commits the run had made by then.
    pub number: u64,
    /// How far event time has come; the least of the inputs'.
    pub watermark: EventTime,
    /// Days before this instant are sealed and not in the tables, but for those that a person has unsealed.
    pub from: Option<EventTime>,
    /// The views, by number.
    pub tables: Vec<Served>,
}

/// A view as of one commit.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its rows.
    pub rows: ViewRows,
    /// The commit that changed it last, as far as this run knows.
    pub changed: Id,
}

/// What one commit changed.
#[derive(Debug)]
pub struct Step {
    /// The commit.
    pub id: Id,
    /// How far event time has come.
    pub watermark: EventTime,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    number: u64,
    at: Instant,
    changes: Option<Arc<Changes>>,
    weight: usize,
    /// What all steps before it weigh together.
    before: usize,
    /// The events of each view, made for the first client that takes them, where they are small.
    events: Vec<OnceLock<Vec<Bytes>>>,
}

impl Step {
    /// What changed in view `view`.
    pub fn of_view(&self, view: usize) -> &[ViewUpdate] {
        let view = u16::try_from(view).expect("views are numbered by 16 bits");
        self.changes.as_ref().map_or(&[], |changes| changes.of_view(view))
    }

    /// The events of view `view`, once `make` has made them; `None` if they are too large to be kept: a client takes them one by
    /// one then.
    pub fn events(&self, view: usize, make: impl FnOnce() -> Vec<Bytes>) -> Option<&[Bytes]> {
        if let Some(made) = self.events[view].get() {
            return Some(made);
        }
        let bytes: usize = self.of_view(view).iter().map(weight).sum();
        (bytes <= EVENTS_BYTES_MAX).then(|| self.events[view].get_or_init(make).as_slice())
    }

    /// For how long it has been there.
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

/// What comes after a position.
pub enum Next {
    /// The next step, and how many bytes of steps come after it.
    Step(Arc<Step>, usize),
    /// Nothing yet.
    Nothing,
    /// The next step has been forgotten.
    Forgotten,
    /// The run has ended, and this is all.
    End,
}

/// The views of a run, for readers.
pub struct Feed {
    /// What the views are.
    pub specs: Vec<ViewSpec>,
    /// What is kept.
    pub limits: Limits,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    newest: Option<Arc<Moment>>,
    /// The commits that had the same views as the first moment of this run.
    beginnings: Vec<Id>,
    steps: VecDeque<Arc<Step>>,
    /// What all steps of the run weigh together, the forgotten ones too.
    weight: usize,
    is_over: bool,
}

impl Feed {
    /// The feed of a run that has not begun, with views as `specs` say.
    pub fn new(specs: Vec<ViewSpec>, limits: Limits) -> Feed {
        Feed { specs, limits, state: Mutex::default(), changed: watch::channel(()).0 }
    }

    /// Readers change nothing: nothing is half written where one of them panics, and the job goes on.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what `head` commits. `tables` gives all views and the instant before which no day is in them, and is called only for
    /// a new commit; `changes` says what differs from the commit before. The first call says what the run begins with.
    pub fn commit(
        &self,
        head: &Manifest,
        changes: Option<&Arc<Changes>>,
        tables: impl FnOnce() -> (Vec<ViewRows>, Option<EventTime>),
    ) {
        let id = Id::of(head.id());
        let mut state = self.state();
        if state.newest.as_ref().is_some_and(|newest| newest.id == id && changes.is_none()) {
            return;
        }
        let watermark = head.inputs.iter().map(|input| input.watermark).min().unwrap_or(EventTime::MIN);
        let number = match &state.newest {
            None => {
                state.beginnings = self.beginnings(head);
                0
            }
            Some(newest) => {
                let number = newest.number + 1;
                let weight =
                    changes.map_or(0, |changes| changes.updates.iter().map(weight).sum()) + STEP_BYTES;
                let (before, changes) = (state.weight, changes.cloned());
                let (at, at_ms) = (Instant::now(), head.written_ms);
                let events = self.specs.iter().map(|_| OnceLock::new()).collect();
                let step = Step { id, watermark, at_ms, number, at, changes, weight, before, events };
                state.weight += weight;
                state.steps.push_back(Arc::new(step));
                number
            }
        };
        let (tables, from) = tables();
        let changed = |view: usize| {
            // Where days have left, a table by day is another one, though nothing changed.
            let same_days = |newest: &&Arc<Moment>| newest.from == from || self.specs[view].day.is_none();
            let before = state.newest.as_ref().filter(same_days).map(|newest| newest.tables[view].changed);
            let is_same = changes
                .is_none_or(|changes| u16::try_from(view).is_ok_and(|view| changes.of_view(view).is_empty()));
            before.filter(|_| is_same).unwrap_or(id)
        };
        let tables = tables.into_iter().enumerate();
        let tables = tables.map(|(view, rows)| Served { rows, changed: changed(view) }).collect();
        let moment = Moment { id, number, watermark, from, tables };
        state.newest = Some(Arc::new(moment));
        state.forget(&self.limits);
        drop(state);
        // Nobody listens, perhaps.
        self.changed.send_replace(());
    }

    /// The commits whose views are those that the run of `head`, its claim, begins with: a claim changes none. Where a view
    /// may have been another one before, it is only the claim.
    fn beginnings(&self, head: &Manifest) -> Vec<Id> {
        let own = Id::of(head.id());
        let is_same =
            |spec: &ViewSpec| head.views.get(spec.name).is_some_and(|view| view.shows == spec.version);
        // A client of an earlier run may have no rows of a day that is unsealed: it needs all there is.
        let is_same = head.unsealed.is_empty() && self.specs.iter().all(is_same);
        let before = head.parent.filter(|_| is_same);
        let before =
            before.and_then(|nonce| Some(ManifestId { seq: Seq(head.seq.0.checked_sub(1)?), nonce }));
        [Some(own), before.map(Id::of)].into_iter().flatten().collect()
    }

    /// All views as of the newest commit; `None` while the run has not begun.
    pub fn newest(&self) -> Option<Arc<Moment>> {
        self.state().newest.clone()
    }

    /// The position of a client that has applied everything up to the commit `id`; `None` if that is of another history, or
    /// was forgotten.
    pub fn position(&self, id: Id) -> Option<u64> {
        let state = self.state();
        let oldest = state.steps.front().map_or(0, |step| step.number - 1);
        if state.beginnings.contains(&id) && oldest == 0 {
            return state.newest.as_ref().map(|_| 0);
        }
        let step = state.steps.iter().find(|step| step.id == id).map(|step| step.number);
        step.or_else(|| state.newest.as_ref().filter(|newest| newest.id == id).map(|newest| newest.number))
    }

    /// What comes after the step with number `position`.
    pub fn after(&self, position: u64) -> Next {
        let state = self.state();
        match state.steps.front().map(|first| first.number) {
            Some(first) if position + 1 < first => Next::Forgotten,
            Some(first) => match state.steps.get(usize::try_from(position + 1 - first).unwrap_or(usize::MAX))
            {
                Some(step) => Next::Step(Arc::clone(step), state.weight - step.before - step.weight),
                None if state.is_over => Next::End,
                None => Next::Nothing,
            },
            None if state.is_over => Next::End,
            None => Next::Nothing,
        }
    }

    /// Wakes whoever waits for a change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// True if no commit will follow.
    pub fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// Notes that no commit will follow.
    pub fn end(&self) {
        self.state().is_over = true;
        self.changed.send_replace(());
    }
}

impl State {
    /// Forgets what is beyond the limits.
    fn forget(&mut self, limits: &Limits) {
        while self.steps.len() > 1
            && self.steps.front().is_some_and(|oldest| {
                self.weight - oldest.before > limits.history_bytes || oldest.age() > limits.history_for
            })
        {
            self.steps.pop_front();
        }
    }
}

/// Up to this weight the events of a view are made once for all clients.
const EVENTS_BYTES_MAX: usize = 256 << 10;

/// What a step weighs that changes nothing.
const STEP_BYTES: usize = 200;

/// About the bytes of an update, in memory or as JSON.
fn weight(update: &ViewUpdate) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => 32 + text.len(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Wide(_) | Value::Time(_) => 32,
    };
    40 + update.row.0.iter().map(value).sum::<usize>()
}

/// Columns as clients are told of them.
pub(crate) fn described(columns: &[Column]) -> serde_json::Value {
    let kind = |column: &Column| match column.kind {
        Kind::Text => "text",
        Kind::Int | Kind::Wide => "integer",
        Kind::Float => "number",
        Kind::Bool => "boolean",
        Kind::Time => "instant",
    };
    columns.iter().map(|column| json!({ "name": column.name, "type": kind(column) })).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::clock::Manual;
    use crate::engine::format::manifest::tests::first;
    use crate::engine::format::manifest::{Nonce, View};
    use crate::engine::run::board::Board;
    use crate::serve::live::{About, Live};
    use headway_operators::view::row::ViewRow;
    use std::sync::Weak;

    /// One view `numbers` of a key and a value.
    pub(crate) fn specs() -> Vec<ViewSpec> {
        let columns = vec![Column::new("key", Kind::Int), Column::new("value", Kind::Text)];
        vec![ViewSpec {
            name: "numbers",
            about: "Numbers and their names.",
            columns,
            key: 1,
            version: 1,
            day: None,
        }]
    }

    /// Twelve views like it, under other names.
    pub(crate) fn twelve() -> Vec<ViewSpec> {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        names.into_iter().map(|name| ViewSpec { name, ..specs().remove(0) }).collect()
    }

    pub(crate) fn row(key: i64, value: &str) -> ViewRow {
        ViewRow(vec![Value::Int(key), Value::Text(value.into())])
    }

    /// A job that commits to a feed.
    pub(crate) struct Job {
        live: Arc<Live>,
        head: Manifest,
        rows: Vec<ViewRows>,
        /// The changes of every commit, as long as anybody holds them.
        given: Vec<Weak<Changes>>,
    }

    impl Job {
        pub(crate) fn of(live: Arc<Live>) -> Job {
            let rows = vec![ViewRows::default(); live.feed.specs.len()];
            Job { live, head: first(1), rows, given: Vec::new() }
        }

        /// One that has begun.
        fn new(limits: Limits) -> Job {
            let clock = Arc::new(Manual::default());
            let board = Board::new(clock.clone());
            let about = About { board, clock, groups: Vec::new(), token: None, views: specs(), member: None };
            let mut job = Job::of(Arc::new(Live::new(about, limits)));
            job.begin();
            job
        }

        fn feed(&self) -> &Feed {
            &self.live.feed
        }

        pub(crate) fn begin(&mut self) {
            self.feed().commit(&self.head, None, || (self.rows.clone(), None));
        }

        /// How many commits there are whose changes somebody holds.
        pub(crate) fn held(&self) -> usize {
            self.given.iter().filter(|changes| changes.strong_count() > 0).count()
        }

        /// Commits rows that come, and rows that go, in every view.
        pub(crate) fn commit(&mut self, come: &[ViewRow], gone: &[ViewRow]) -> Id {
            self.head.seq = Seq(self.head.seq.0 + 1);
            self.head.nonce = Nonce((u128::from(self.head.seq.0) + 0xabc0_0000) << 96);
            let mut updates = Vec::new();
            for (view, rows) in (0..).zip(&mut self.rows) {
                let update = |diff| move |row: &ViewRow| ViewUpdate { view, row: row.clone(), diff };
                updates.extend(gone.iter().map(update(-1)).chain(come.iter().map(update(1))));
                come.iter().for_each(|row| rows.insert(row.clone(), 1));
                gone.iter().for_each(|row| assert!(rows.remove(row, 1)));
            }
            updates.sort();
            let id = ManifestId { seq: self.head.seq, nonce: self.head.nonce };
            let changes = Changes { id, after: None, epoch: self.head.epoch, updates };
            let changes = (!changes.updates.is_empty()).then(|| Arc::new(changes));
            self.given.extend(changes.as_ref().map(Arc::downgrade));
            self.feed().commit(&self.head, changes.as_ref(), || (self.rows.clone(), None));
            Id::of(id)
        }
    }

    #[test]
    fn table_by_day_is_another_one_once_days_have_left_it() {
        let by_day = vec![ViewSpec { day: Some(1), ..specs().remove(0) }];
        let feed = Feed::new(by_day, Limits::default());
        let mut head = first(1);
        let mut commit = |seq: u64, from: Option<i64>| {
            (head.seq, head.nonce) = (Seq(seq), Nonce(u128::from(seq) << 96));
            let mut rows = ViewRows::default();
            rows.insert(row(1, "2024-01-05"), 1);
            feed.commit(&head, None, || (vec![rows], from.map(EventTime)));
            let newest = feed.newest().expect("it has begun");
            (newest.tables[0].changed.seq(), newest.from)
        };
        assert_eq!(commit(1, None), (1, None));
        assert_eq!(commit(2, None), (1, None), "nothing changed");
        assert_eq!(commit(3, Some(7)), (3, Some(EventTime(7))), "who has the rows of before must ask again");
        assert_eq!(commit(4, Some(7)), (3, Some(EventTime(7))));
    }

    #[test]
    fn client_of_an_earlier_run_begins_anew_where_a_day_was_unsealed() {
        let view = View { keeps: 1, shows: 1, changed: None, from_epoch: None };
        let views = [("numbers".to_string(), view)].into();
        let parent = Nonce(0xabc0_0000 << 96);
        let mut head = Manifest { seq: Seq(2), parent: Some(parent), views, ..first(2) };
        let before = Id::of(ManifestId { seq: Seq(1), nonce: parent });
        let position = |head: &Manifest| {
            let feed = Feed::new(specs(), Limits::default());
            feed.commit(head, None, || (vec![ViewRows::default()], None));
            (feed.position(Id::of(head.id())), feed.position(before))
        };
        assert_eq!(position(&head), (Some(0), Some(0)));
        head.unsealed = vec![EventTime(0)];
        assert_eq!(position(&head), (Some(0), None), "it may have no row of the day");
    }

    #[test]
    fn id_is_the_number_and_the_first_digits_of_the_nonce() {
        let nonce = Nonce(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let id = Id::of(ManifestId { seq: Seq(42), nonce });
        assert_eq!(id.to_string(), "42-01234567");
        assert_eq!("42-01234567".parse(), Ok(id));
        for wrong in
            ["", "-", "42", "42-", "42-0123456", "42-012345678", "42-0123456g", "+4-01234567", "4 -01234567"]
        {
            assert_eq!(wrong.parse::<Id>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn position_is_found_by_any_commit_that_is_still_known() {
        let mut job = Job::new(Limits::default());
        let begin = job.feed().newest().unwrap().id;
        assert_eq!(job.feed().position(begin), Some(0));
        let one = job.commit(&[row(1, "one")], &[]);
        let two = job.commit(&[], &[]);
        assert_eq!((job.feed().position(one), job.feed().position(two)), (Some(1), Some(2)));
        assert_eq!(job.feed().position(begin), Some(0), "nothing is forgotten yet");
        assert_eq!(job.feed().position("1-00000000".parse().unwrap()), None, "of another history");
        let newest = job.feed().newest().unwrap();
        assert_eq!((newest.id, newest.number, newest.tables[0].changed), (two, 2, one));
        let Next::Step(step, behind) = job.feed().after(0) else { panic!("there is a step") };
        assert_eq!((step.id, step.of_view(0).len(), behind), (one, 1, STEP_BYTES));
        assert!(matches!(job.feed().after(2), Next::Nothing));
        job.feed().end();
        assert!(matches!(job.feed().after(2), Next::End));
        assert!(matches!(job.feed().after(1), Next::Step(..)), "what there is, is still given");
    }

    #[test]
    fn history_is_bounded_and_what_is_forgotten_is_not_resumed() {
        let mut job = Job::new(Limits { history_bytes: 4_000, ..Limits::default() });
        let begin = job.feed().newest().unwrap().id;
        let ids: Vec<Id> = (0..100).map(|key| job.commit(&[row(key, "a number")], &[])).collect();
        let known = ids.iter().filter(|id| job.feed().position(**id).is_some()).count();
        assert!((5..40).contains(&known), "{known}");
        assert_eq!(job.feed().position(begin), None);
        assert!(matches!(job.feed().after(0), Next::Forgotten));
        assert_eq!(job.feed().position(ids[99]), Some(100));
        assert_eq!(job.feed().newest().unwrap().tables[0].rows.len(), 100);
    }

    #[test]
    fn one_commit_that_is_larger_than_the_history_is_still_given() {
        let mut job = Job::new(Limits { history_bytes: 10, ..Limits::default() });
        job.commit(&[row(1, "one")], &[]);
        job.commit(&[row(2, "two")], &[]);
        assert!(matches!(job.feed().after(1), Next::Step(..)));
    }
}
