//! Delivers the views of a run to its targets: a thread for each, which never makes a commit wait.
//!
//! 1. After a commit with changes the thread gets the name of its change file, and nothing else: the changes that wait for a slow
//!    target lie on disk, not in memory.
//! 2. If the target stands at the commit before that of a change file, the file is applied. If it stands at the newest commit, there is
//!    nothing to do. In every other case (another history, a gap, a later commit, other versions, a table that somebody wrote into)
//!    the target is rebuilt from the content in memory. A run that unseals days rebuilds each target once: the rows of these days are
//!    in memory, and no change file has them.
//! 3. The next manifest has the commit that each target has acknowledged. Change files after it are kept for the target, up to a
//!    limit.
//! 4. A run that ends waits for its targets while they make progress, and [`PATIENCE`] longer.
//!
//! Invariant: a target gets only what is committed, each commit once and in order. A run that is not the last one of the job
//! rebuilds no target. A run may be taken over while a target waits for its lock: once no other writer holds it, the target asks again
//! whether the run is still the last one.

use crate::connect::targets::target::{
    Applied, Archive, Error as TargetError, Origin, Place, Standing, Step, Target, Whole,
};
use crate::engine::commit::change_files::{self, Entry};
use crate::engine::commit::checkpoint::Committer;
use crate::engine::commit::recover;
use crate::engine::commit::site::{self, Site};
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::format::board::TargetLag;
use crate::engine::format::changes::{self, ChangeFile, Changes};
use crate::engine::format::manifest;
use crate::engine::format::manifest::{Manifest, ManifestId, Nonce};
use crate::engine::format::names::{self, Seq};
use crate::engine::guard::guard;
use crate::engine::run::gold::SealedFiles;
use crate::engine::run::views::{Snapshot, Views};
use crate::store::Store;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a run that ends waits for a target that does not get on.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait before a target that is away is asked again: at first, and at most.
const AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

/// How often a thread that has nothing to do looks whether the run has ended.
const LOOK: Duration = Duration::from_secs(1);

/// The targets of a run.
pub struct Targets {
    shared: Arc<Shared>,
    patience: Duration,
}

/// What the targets of a run are given.
pub struct Source<'a> {
    site: &'a Site,
    head: Manifest,
    files: Vec<Entry>,
    views: Arc<Views>,
    control: Control,
}

impl<'a> Source<'a> {
    /// What a run that goes on with `committer` has for its targets: the content, and where a target says that the job must
    /// stop.
    pub fn of(site: &'a Site, committer: &Committer, views: &Arc<Views>, control: &Control) -> Source<'a> {
        let (head, files) = (committer.head().clone(), committer.change_files());
        Source { site, head, files, views: Arc::clone(views), control: control.clone() }
    }

    /// The nonce of the job's first manifest, by which targets know the lake: a copy has the same.
    fn lake(&self) -> Result<Nonce, Error> {
        if self.head.seq == Seq(0) {
            return Ok(self.head.nonce);
        }
        let first = site::run(recover::first(self.site, &self.head.job))?;
        Ok(first.map_or(self.head.nonce, |first| first.nonce))
    }
}

struct Shared {
    store: Arc<dyn Store>,
    pipeline: String,
    job: String,
    origin: Origin,
    views: Arc<Views>,
    control: Control,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    files: VecDeque<Entry>,
    /// The commit with the newest changes.
    newest: Option<ManifestId>,
    /// The last commit of this run.
    head: Seq,
    over: bool,
    reports: Vec<Report>,
    /// The newest commits with changes of this run, and when they were made.
    made: VecDeque<(u64, Instant)>,
    /// How long the slowest delivery took since that was asked last.
    delivered: Duration,
}

/// How many commits are remembered until they are delivered.
const MADE_MAX: usize = 64;

/// What a thread says of its target.
#[derive(Clone, Debug, Default)]
struct Report {
    name: &'static str,
    /// The commit that it stands at; the outer `None` while that is not known.
    at: Option<Option<Place>>,
    doing: &'static str,
    error: Option<String>,
    /// Raised whenever the target makes progress.
    beats: u64,
}

/// What is to be done for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// It has everything.
    Nothing,
    /// This file comes next, if it follows.
    Apply(Entry),
    /// It has to be rebuilt, and why.
    Rebuild(&'static str),
}

/// What comes next for a target that stands at `at`, where the newest changes are those of `newest`.
fn next(at: Option<&Place>, newest: Option<ManifestId>, files: &VecDeque<Entry>) -> Next {
    let place = newest.map(place);
    if at == place.as_ref() {
        return Next::Nothing;
    }
    let seq = at.map(|at| Seq(at.seq));
    if seq >= newest.map(|newest| newest.seq) {
        return Next::Rebuild("it stands at a commit that this lake does not have");
    }
    match files.iter().find(|file| seq.is_none_or(|seq| file.seq > seq)) {
        Some(file) => Next::Apply(*file),
        None => Next::Rebuild("the changes that come next are not kept any more"),
    }
}

/// False if the target stands at a commit that this lake does not have, or no longer: a copy of the lake was put back.
fn is_of_this_lake(at: &Place, newest: Option<ManifestId>) -> bool {
    newest.is_some_and(|newest| at.seq < newest.seq.0 || *at == place(newest))
}

/// A commit as targets keep it.
fn place(id: ManifestId) -> Place {
    Place { seq: id.seq.0, nonce: id.nonce.to_string() }
}

impl Targets {
    /// Starts a thread for each of `targets`.
    ///
    /// # Errors
    /// If the first manifest of the job cannot be read. Without targets it is not asked for.
    pub fn start(targets: Vec<Box<dyn Target>>, source: Source<'_>) -> Result<Targets, Error> {
        let lake = if targets.is_empty() { source.head.nonce } else { source.lake()? };
        let store = source.site.store();
        let Source { head, files, views, control, .. } = source;
        let versions = changes::versions(views.specs());
        let versions: Vec<(String, u32)> =
            versions.into_iter().map(|view| (view.name, view.version)).collect();
        let versions = serde_json::to_string(&versions).expect("names and numbers encode");
        let origin = Origin { lake: lake.to_string(), job: head.job.clone(), views: versions };
        let names = targets.iter().map(|target| target.name());
        let reports = names.map(|name| Report { name, ..Report::default() }).collect();
        let (files, newest) = (files.into(), head.changes);
        let state = State { files, newest, head: head.seq, reports, ..State::default() };
        let unsealed = (!head.unsealed.is_empty()).then_some("days were unsealed: their rows are in memory");
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let (job, pipeline) = (head.job, head.pipeline);
        let shared = Arc::new(Shared { store, pipeline, job, origin, views, control, state, changed });
        for (index, target) in targets.into_iter().enumerate() {
            let name = format!("headway-{}", target.name());
            let (mine, control) = (Arc::clone(&shared), shared.control.clone());
            let delivery = Delivery { shared: mine, index, target, stands: None, must_rebuild: unsealed };
            let run = guard(control, move || delivery.run());
            // It may be inside a call that does not come back: nobody waits for it.
            std::thread::Builder::new().name(name).spawn(run).expect("a thread can be started");
        }
        Ok(Targets { shared, patience: PATIENCE })
    }

    /// Lets the targets hear of what `head` committed.
    pub fn committed(&self, changes: &Changes, head: &Manifest) {
        let mut state = self.shared.lock();
        if state.reports.is_empty() {
            return;
        }
        let bytes = change_files::named(head).map(|file| file.bytes).sum();
        state.files.push_back(Entry { seq: head.seq, written_ms: head.written_ms, bytes });
        state.newest = Some(changes.id);
        if state.made.len() == MADE_MAX {
            state.made.pop_front();
        }
        state.made.push_back((head.seq.0, Instant::now()));
        let from = head.changes_from.unwrap_or_default();
        while state.files.front().is_some_and(|file| file.seq < from) {
            state.files.pop_front();
        }
        self.shared.changed.notify_all();
    }

    /// Lets the targets hear of the last commit, with changes or without.
    pub fn head(&self, head: &Manifest) {
        self.shared.lock().head = head.seq;
    }

    /// Lets the targets hear that the content is complete.
    pub fn wake(&self) {
        self.shared.changed.notify_all();
    }

    /// What each target has acknowledged, as the next manifest is to say.
    pub fn acknowledged(&self) -> Vec<(&'static str, manifest::Target)> {
        let state = self.shared.lock();
        let of = |report: &Report| {
            let at = report.at.as_ref()?.as_ref().filter(|at| is_of_this_lake(at, state.newest))?;
            Some((report.name, manifest::Target { acknowledged: Seq(at.seq), rebuild: false }))
        };
        state.reports.iter().filter_map(of).collect()
    }

    /// How long the slowest delivery took, from the commit on, of those since the last call; zero if there was none.
    pub fn delivered(&self) -> Duration {
        std::mem::take(&mut self.shared.lock().delivered)
    }

    /// How far each target is behind at `now_ms`.
    pub fn lags(&self, now_ms: i64) -> Vec<TargetLag> {
        let state = self.shared.lock();
        let lag = |report: &Report| {
            let at = report.at.clone().flatten();
            let waits = state.files.iter().filter(|file| at.as_ref().is_none_or(|at| file.seq.0 > at.seq));
            let oldest = waits.clone().map(|file| file.written_ms).min();
            TargetLag {
                name: report.name.to_string(),
                acknowledged: at.as_ref().map(|at| Seq(at.seq)),
                commits: waits.count() as u64,
                for_ms: oldest.map_or(0, |oldest| now_ms.saturating_sub(oldest).max(0)),
                doing: report.doing.to_string(),
                error: report.error.clone(),
            }
        };
        state.reports.iter().map(lag).collect()
    }

    /// Waits until every target has what is committed, as long as they get on.
    ///
    /// # Errors
    /// [`Error::TargetBehind`] with the first one that does not.
    pub fn finish(&self) -> Result<(), Error> {
        let mut state = self.shared.lock();
        let mut last = (0, Instant::now());
        loop {
            let newest = state.newest.map(place);
            let behind = state.reports.iter().find(|report| report.at.as_ref() != Some(&newest)).cloned();
            let Some(behind) = behind.filter(|_| !self.shared.control.is_stopped()) else { return Ok(()) };
            let beats = state.reports.iter().map(|report| report.beats).sum();
            if beats != last.0 {
                last = (beats, Instant::now());
            }
            if last.1.elapsed() >= self.patience {
                let acknowledged = behind.at.flatten().map(|at| Seq(at.seq));
                let newest = newest.map_or(Seq(0), |newest| Seq(newest.seq));
                let (target, why) = (behind.name, behind.error.unwrap_or_else(|| behind.doing.to_string()));
                return Err(Error::TargetBehind { target, acknowledged, newest, why });
            }
            state = self.shared.wait(state, LOOK.min(self.patience));
        }
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    /// True if the last commit of this run is still the last one of the job. False for a moment after each commit, too.
    ///
    /// # Errors
    /// Why that is not known.
    fn is_head(&self) -> Result<bool, String> {
        let seq = self.lock().head;
        let is_there = |seq| match self.store.size(&names::manifest(&self.job, seq)) {
            Ok(size) => Ok(size.is_some()),
            Err(error) => Err(format!("its manifests cannot be read: {error}")),
        };
        Ok(!is_there(seq.next())? && is_there(seq)?)
    }

    fn is_over(&self) -> bool {
        self.control.is_stopped() || self.lock().over
    }
}

/// A target and where it stands.
struct Delivery {
    shared: Arc<Shared>,
    index: usize,
    target: Box<dyn Target>,
    /// `None` while it has to be asked.
    stands: Option<Standing>,
    /// Why it is rebuilt wherever it stands, until it was.
    must_rebuild: Option<&'static str>,
}

impl Delivery {
    fn run(mut self) {
        let [shortest, longest] = AGAIN;
        let mut pause = shortest;
        while !self.shared.is_over() {
            match self.turn() {
                Ok(true) => pause = shortest,
                Ok(false) => {
                    let state = self.shared.lock();
                    drop(self.shared.wait(state, LOOK));
                }
                Err(TargetError::Away { what }) => {
                    tracing::warn!(event = "target away", target = self.target.name(), %what, "is asked again");
                    self.report(|report| (report.doing, report.error) = ("away", Some(what)));
                    self.stands = None;
                    let until = Instant::now() + pause;
                    while !self.shared.is_over() && Instant::now() < until {
                        let state = self.shared.lock();
                        drop(self.shared.wait(state, until.saturating_duration_since(Instant::now())));
                    }
                    pause = (pause * 2).min(longest);
                }
                Err(error @ TargetError::OtherLake { .. }) => {
                    return self
                        .shared
                        .control
                        .fail(Error::Target { target: self.target.name(), source: error });
                }
            }
        }
    }

    fn report(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.shared.lock().reports[self.index]);
        self.shared.changed.notify_all();
    }

    /// Notes where the target stands now.
    fn stands_at(&mut self, at: Option<Place>) {
        self.stands = Some(Standing::At(at.clone()));
        self.note_delivery(at.as_ref());
        self.report(|report| {
            report.at = Some(at);
            report.beats += 1;
            report.error = None;
        });
    }

    /// Notes how long the commits took to come here that the target has now and had not before.
    fn note_delivery(&self, at: Option<&Place>) {
        let mut state = self.shared.lock();
        let seq = |place: Option<&Place>| place.map_or(0, |place| place.seq);
        let before = seq(state.reports[self.index].at.as_ref().and_then(Option::as_ref));
        let first = state.made.iter().find(|(made, _)| (before + 1..=seq(at)).contains(made));
        let took = first.map_or(Duration::ZERO, |(_, made)| made.elapsed());
        state.delivered = state.delivered.max(took);
    }

    /// Does one thing; false if there is nothing to do now.
    fn turn(&mut self) -> Result<bool, TargetError> {
        let shared = Arc::clone(&self.shared);
        let stands = match self.stands.clone() {
            Some(stands) => stands,
            None => {
                let stands = self.target.stand(&shared.origin, shared.views.specs())?;
                // What has to be rebuilt is not up to date wherever it stands: a run that ends waits for it.
                if let (Standing::At(at), None) = (&stands, self.must_rebuild) {
                    self.stands_at(at.clone());
                }
                self.stands = Some(stands.clone());
                stands
            }
        };
        let at = match (stands, self.must_rebuild) {
            (Standing::Unfit(why), _) | (Standing::At(_), Some(why)) => return self.rebuild(why),
            (Standing::At(at), None) => at,
        };
        let next = {
            let state = shared.lock();
            next(at.as_ref(), state.newest, &state.files)
        };
        match next {
            Next::Nothing => {
                self.report(|report| report.doing = "up to date");
                Ok(false)
            }
            Next::Rebuild(why) => self.rebuild(why),
            Next::Apply(file) => self.apply(at.as_ref(), file),
        }
    }

    fn apply(&mut self, at: Option<&Place>, entry: Entry) -> Result<bool, TargetError> {
        let shared = Arc::clone(&self.shared);
        self.report(|report| report.doing = "applying");
        let read = change_files::read(shared.store.as_ref(), &shared.job, entry.seq, entry.written_ms);
        let file = match read {
            Ok(Some(file)) => file,
            Ok(None) => return self.rebuild("the changes that come next are not kept any more"),
            Err(error) => {
                return Err(TargetError::Away { what: format!("its changes cannot be read: {error}") });
            }
        };
        if file.changes.after.map(place).as_ref() != at {
            return self.rebuild("it stands at a commit of another history");
        }
        if !is_of(&file, &shared.views) {
            return self.rebuild("the changes that come next are of views in other versions");
        }
        let place = place(file.changes.id);
        let step = Step { after: at, place: &place, updates: &file.changes.updates };
        let applied = self.target.apply(&shared.origin, step, &|| beat_of(&shared, self.index))?;
        match applied {
            Applied::Yes => self.stands_at(Some(place)),
            Applied::NotHere => self.stands = None,
            Applied::Differs => return self.rebuild("its tables were changed by somebody else"),
        }
        Ok(true)
    }

    fn rebuild(&mut self, why: &'static str) -> Result<bool, TargetError> {
        // What earlier runs left may not be restored yet.
        let Some(Snapshot { at, tables, sealed }) = self.shared.views.snapshot() else { return Ok(false) };
        // A run that was taken over, and was asleep meanwhile, must not put its content over that of the run that took over.
        let away = |what| TargetError::Away { what };
        if !self.shared.is_head().map_err(away)? {
            return Ok(self.waits_for_head());
        }
        tracing::info!(event = "target rebuilt", target = self.target.name(), why, "from the whole content");
        self.report(|report| report.doing = "rebuilding");
        let at = at.map(place);
        let (shared, index) = (Arc::clone(&self.shared), self.index);
        let (store, pipeline) = (Arc::clone(&shared.store), shared.pipeline.clone());
        let archive = sealed.map(|sealed| SealedFiles { store, pipeline, sealed });
        let sealed = archive.as_ref().map(|archive| archive as &dyn Archive);
        let whole = Whole { place: at.as_ref(), tables: &tables, sealed, is_last: &|| shared.is_head() };
        if !self.target.rebuild(&shared.origin, whole, &|| beat_of(&shared, index))? {
            return Ok(self.waits_for_head());
        }
        self.must_rebuild = None;
        self.stands_at(at);
        Ok(true)
    }

    /// Notes that nothing can be done now: the last commit of the job is not one of this run, or one that it is about to hear of.
    fn waits_for_head(&self) -> bool {
        self.report(|report| report.doing = "waiting: the job has a later commit than this run knows of");
        false
    }
}

/// Notes that target `index` gets on.
fn beat_of(shared: &Shared, index: usize) {
    shared.lock().reports[index].beats += 1;
}

/// True if `file` has the views of this run, in the same versions.
fn is_of(file: &ChangeFile, views: &Views) -> bool {
    file.views == changes::versions(views.specs())
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;
