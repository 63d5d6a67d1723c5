//! A seeded simulation of the commit protocol: up to three runs of one job, interleaved call by call over one store,
//! with crashes, power cuts, calls that fail, calls that do not tell, and creates that arrive late.
//!
//! The runs are the production functions themselves: a [`Site`] that is stepped gives way before every call, so a
//! schedule is a list of whose turn it is, and a crash is a run that never gets another turn.
//!
//! Told by each schedule, at the end or as soon as it happens:
//! 1. Every number has one winner, and every commit that was reported is in the chain.
//! 2. The published rows are the input's records up to the head's offset, each once.
//! 3. Nothing is published that no manifest of the chain names; nothing is deleted that the head names.
//!
//! `HEADWAY_SCHEDULES` says how many each test plays, `HEADWAY_SEED` where it begins. With `--nocapture` each prints a line of
//! JSON. The figure of the README, a few minutes:
//!
//! ```text
//! HEADWAY_SCHEDULES=40000 cargo test --lib engine::simulation -- --nocapture
//! ```

use crate::engine::clock::Manual;
use crate::engine::commit::change_files;
use crate::engine::commit::checkpoint::{Found, begin_on};
use crate::engine::commit::checkpoint_tests::{reads, stage, state};
use crate::engine::commit::decide::Folding;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::tests::job;
use crate::engine::commit::segment;
use crate::engine::commit::site::Site;
use crate::engine::commit::test_store::{Dice, TestStore};
use crate::engine::format::changes::ViewVersion;
use crate::engine::format::manifest::{Kind, LakeFile, LakeKind, Manifest, Nonce};
use crate::engine::format::names::{self, Seq};
use headway_operators::state::SectionKind;
use headway_operators::time::Epoch;
use headway_operators::view::row::{Value, ViewRow, ViewUpdate};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

/// Bound on the steps of one schedule: far more than any needs.
const STEPS_MAX: usize = 20_000;

/// What the runs of a schedule have reported: manifests that count, by number.
type Reported = Rc<RefCell<BTreeMap<Seq, Nonce>>>;

type Playing = Pin<Box<dyn Future<Output = ()>>>;

/// The kinds of trouble in a schedule.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    runs: u64,
    crashes: u64,
    faults_per_mille: u64,
}

/// One run: begins, commits some epochs, sweeps now and then, ends.
async fn play(store: TestStore, site: Site, mut dice: Dice, reported: Reported) {
    let mut small = job(1);
    small.folding = Folding { segment: 1 + dice.below(3), keep: dice.below(4) };
    // Whichever run folds, the ranges must be the same: all runs of a schedule fold alike.
    small.folding = Folding { segment: 2, ..small.folding };
    // About the bytes of two change files.
    small.keeping.views.bytes = 600;
    let Ok((mut committer, resume)) = begin_on(site, small, Found::default()).await.map_err(expected) else {
        return;
    };
    report(&reported, &resume.manifest);
    check_state(&store, &resume.manifest);
    let run = resume.manifest.generation;
    let mut next = resume.manifest.inputs[0].partitions[0].next;
    let first = resume.first_epoch;
    for epoch in (first.0..first.0 + dice.below(6)).map(Epoch) {
        if dice.below(4) == 0 && committer.sweep_on().await.map_err(expected).is_err() {
            return;
        }
        if dice.below(6) == 0 && committer.heartbeat_on().await.map_err(expected).is_err() {
            return;
        }
        let from = next;
        next += i64::try_from(dice.below(3)).expect("small");
        let mut acks = reads(0, from.0, next.0);
        if next > from {
            let rows: String = (from.0..next.0).map(|offset| format!("{offset} by {run}\n")).collect();
            acks.push(stage(&store, (run, epoch), &rows));
            let kind = if dice.below(2) == 0 { SectionKind::Base } else { SectionKind::Change };
            acks.push(state(&store, (run, epoch), kind));
            let row = ViewRow(vec![Value::Int(next.0)]);
            let (views, updates) = (versions(), vec![ViewUpdate { view: 0, row, diff: 1 }]);
            match committer.stage_changes(epoch, views, updates) {
                Ok((file, _)) => acks.push(file),
                Err(error) => return expected(error),
            }
        }
        match committer.commit_on(epoch, &acks).await {
            Ok(None) => assert_eq!(next, from),
            Ok(Some(_)) => report(&reported, committer.head()),
            Err(error) => return expected(error),
        }
    }
}

fn versions() -> Vec<ViewVersion> {
    vec![ViewVersion { name: "rows".into(), version: 1 }]
}

/// A run may be fenced, or give up on a store that fails again and again. Nothing else may happen to it.
fn expected(error: CheckpointError) {
    assert!(
        matches!(error.code(), "fenced" | "store-failed" | "already-running"),
        "{}: {error}",
        error.code()
    );
}

fn report(reported: &Reported, manifest: &Manifest) {
    let before = reported.borrow_mut().insert(manifest.seq, manifest.nonce);
    assert!(before.is_none_or(|nonce| nonce == manifest.nonce), "number {} has two winners", manifest.seq);
}

/// Everything that `manifest` needs to be restored is there.
fn check_state(store: &TestStore, manifest: &Manifest) {
    let files = store.files();
    for entry in &manifest.state {
        let path = entry.place(&manifest.job).name;
        let size = files.get(&path).map(|bytes| bytes.len() as u64);
        assert_eq!(size, Some(entry.bytes), "state file {path} is not there");
    }
}

/// What the runs of a schedule share.
struct World {
    store: TestStore,
    reported: Reported,
    nonces: Arc<AtomicU64>,
}

impl World {
    fn new() -> World {
        let (store, reported) = (TestStore::watched(), Reported::default());
        World { store, reported, nonces: Arc::new(AtomicU64::new(1)) }
    }

    /// A run that has done nothing yet.
    fn start(&self, dice: &mut Dice, faults_per_mille: u64) -> Playing {
        let store = self.store.faulty(faults_per_mille, dice.below(1 << 30));
        let nonces = Arc::clone(&self.nonces);
        let nonce = move || Nonce(u128::from(nonces.fetch_add(1, Ordering::Relaxed)));
        let site = Site::stepped(Arc::new(store.clone()), Arc::new(Manual::default()), nonce);
        let dice = Dice::new(dice.below(1 << 30));
        Box::pin(play(store, site, dice, Rc::clone(&self.reported)))
    }

    /// One more run, undisturbed, makes good what is left; then everything must hold.
    fn ends_well(&self, dice: &mut Dice) {
        let mut last = self.start(dice, 0);
        while !has_ended(&mut last) {}
        check(&self.store, &self.reported.borrow());
    }
}

/// Lets a run take a step.
fn has_ended(run: &mut Playing) -> bool {
    run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Plays one schedule.
fn schedule(seed: u64, trouble: Trouble) {
    let mut dice = Dice::new(seed);
    let world = World::new();
    let store = &world.store;
    // 1. Play: whose turn it is, is drawn; some sleep for long.
    let mut playing: Vec<Playing> = Vec::new();
    let (mut to_start, mut crashes, mut sleeper) = (trouble.runs + trouble.crashes, trouble.crashes, None);
    for _ in 0..STEPS_MAX {
        if to_start > 0 && (playing.len() as u64) < trouble.runs && dice.below(12) == 0 {
            to_start -= 1;
            playing.push(world.start(&mut dice, trouble.faults_per_mille));
        }
        if playing.is_empty() {
            if to_start == 0 {
                break;
            }
            continue;
        }
        if dice.below(40) == 0 {
            sleeper = (dice.below(3) > 0).then(|| dice.below(playing.len() as u64) as usize);
        }
        let turn = dice.below(playing.len() as u64) as usize;
        if sleeper == Some(turn) && playing.len() > 1 {
            continue;
        }
        if crashes > 0 && dice.below(60) == 0 {
            crashes -= 1;
            if dice.below(3) == 0 {
                // The power fails: all runs end, and so do names that were not made durable.
                playing.clear();
                store.power_cut();
            } else {
                drop(playing.swap_remove(turn));
            }
            continue;
        }
        store.deliver_late(&mut dice);
        if has_ended(&mut playing[turn]) {
            drop(playing.swap_remove(turn));
        }
    }
    assert!(playing.is_empty(), "the schedule did not end");
    // 2. See what is left.
    world.ends_well(&mut dice);
}

/// What must hold when all runs have ended.
fn check(store: &TestStore, reported: &BTreeMap<Seq, Nonce>) {
    let manifests = chain(store);
    for (seq, nonce) in reported {
        let found = manifests.get(usize::try_from(seq.0).expect("small")).map(|manifest| manifest.nonce);
        assert_eq!(found, Some(*nonce), "the commit {seq} that was reported is not in the chain");
    }
    let head = manifests.last().expect("the last run claimed a number");
    check_state(store, head);
    // The rows of the chain are the records, each once, by the run that committed them.
    let mut rows = Vec::new();
    let mut named = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.kind == Kind::Commit) {
        let part = &manifest.inputs[0].partitions[0];
        rows.extend((part.from.0..part.next.0).map(|offset| format!("{offset} by {}", manifest.generation)));
        named.extend(manifest.lake.iter().filter(|file| file.kind == LakeKind::Rows).map(LakeFile::path));
    }
    check_changes(store, &manifests);
    assert_eq!(rows.len() as i64, head.inputs[0].partitions[0].next.0, "offsets tile");
    named.sort_unstable();
    assert_eq!(store.below("gate/"), named, "published is what the chain names, no more and no less");
    let files = store.files();
    let published = named.iter().flat_map(|name| {
        let text = String::from_utf8_lossy(&files[name]).into_owned();
        text.lines().map(str::to_string).collect::<Vec<_>>()
    });
    let mut published: Vec<String> = published.collect();
    published.sort_unstable();
    rows.sort_unstable();
    assert_eq!(published, rows);
}

/// The change files that the head keeps are there, each once and each after the one before; no others are, but those that
/// a killed run has given up and not deleted.
fn check_changes(store: &TestStore, manifests: &[Manifest]) {
    let from = manifests.last().and_then(|head| head.changes_from).unwrap_or_default();
    let mut before = None;
    for manifest in manifests.iter().filter(|manifest| change_files::named(manifest).next().is_some()) {
        let found = change_files::read(store, "job", manifest.seq, manifest.written_ms);
        let found = found.expect("a change file is what was committed");
        assert!(found.is_some() || manifest.seq < from, "the change file of {} is not there", manifest.seq);
        if let Some(found) = found {
            assert_eq!((found.changes.id, found.changes.after), (manifest.id(), before), "a chain");
        }
        before = Some(manifest.id());
    }
    let named: Vec<String> = manifests.iter().flat_map(change_files::named).map(LakeFile::path).collect();
    for file in store.below("_headway/job/changes/") {
        assert!(named.contains(&file), "{file} was published, and no manifest names it");
    }
}

/// All manifests, folded and loose, read by the production functions.
fn chain(store: &TestStore) -> Vec<Manifest> {
    let site = Site::new(Arc::new(store.clone()), Arc::new(Manual::default()));
    crate::engine::commit::site::run(async {
        let chain = crate::engine::commit::recover::chain(&site, "job").await.expect("the chain is whole");
        let mut all = Vec::new();
        for range in segment::ranges(&site, "job").await.expect("the segments tile") {
            all.extend(segment::read(&site, "job", range).await.expect("a segment is whole"));
        }
        assert_eq!(all.last(), chain.folded.last());
        all.extend(chain.loose);
        all
    })
}

fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

fn simulate(trouble: Trouble, schedules: u64) {
    let schedules = number("HEADWAY_SCHEDULES", schedules);
    let first = number("HEADWAY_SEED", 0);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + schedules {
                        return;
                    }
                    let played = std::panic::catch_unwind(|| schedule(seed, trouble));
                    assert!(played.is_ok(), "HEADWAY_SEED={seed} HEADWAY_SCHEDULES=1 shows it again");
                }
            });
        }
    });
    let Trouble { runs, crashes, faults_per_mille } = trouble;
    println!(
        "{{\"name\": \"commit-simulation\", \"seed\": {first}, \"n\": {schedules}, \"violations\": 0, \"runs\": {runs}, \
         \"crashes\": {crashes}, \"faults_per_mille\": {faults_per_mille}}}"
    );
}

/// Lets a first run come to the step in which it writes a segment, a second one take `ahead` steps, and the first one write it
/// and end before its name is durable. The second one goes on, the power is cut, and what is left must hold. False if the second
/// run has ended before that.
fn segment_appears_under_another_run(seed: u64, step: usize, ahead: usize) -> bool {
    let (mut dice, world) = (Dice::new(seed), World::new());
    let mut first = world.start(&mut dice, 0);
    for _ in 1..step {
        has_ended(&mut first);
    }
    let mut second = world.start(&mut dice, 0);
    if (0..ahead).any(|_| has_ended(&mut second)) {
        return false;
    }
    let segments = || world.store.below(&names::segment_folder("job"));
    let before = segments();
    has_ended(&mut first);
    drop(first);
    // The store makes a name durable as it creates it.
    segments().iter().filter(|name| !before.contains(name)).for_each(|name| world.store.unsync(name));
    while !has_ended(&mut second) {}
    drop(second);
    world.store.power_cut();
    world.ends_well(&mut dice);
    true
}

/// After how many steps of a first run there is a segment more than before.
fn steps_that_write_a_segment(seed: u64) -> Vec<usize> {
    let (mut dice, world) = (Dice::new(seed), World::new());
    let mut first = world.start(&mut dice, 0);
    let (mut steps, mut known) = (Vec::new(), 0);
    for step in 1.. {
        let has_ended = has_ended(&mut first);
        let segments = world.store.below(&names::segment_folder("job")).len();
        if segments > known {
            steps.push(step);
        }
        known = segments;
        if has_ended {
            return steps;
        }
    }
    unreachable!("a run ends")
}

/// The moment between the name of a segment and its sync is short: it is sought, not left to chance.
#[test]
fn segment_of_a_killed_run_is_durable_before_another_one_takes_its_manifests_away() {
    let (mut written, mut schedules) = (0, 0);
    for seed in 0..30 {
        for step in steps_that_write_a_segment(seed) {
            written += 1;
            let reached = |ahead: &usize| segment_appears_under_another_run(seed, step, *ahead);
            schedules += (0..).take_while(reached).count();
        }
    }
    assert!(written >= 10 && schedules >= 200, "{written} segments, {schedules} schedules");
}

#[test]
fn three_runs_and_two_crashes_leave_every_record_once() {
    simulate(Trouble { runs: 3, crashes: 2, faults_per_mille: 0 }, 500);
}

#[test]
fn three_runs_on_a_store_that_fails_leave_every_record_once() {
    simulate(Trouble { runs: 3, crashes: 2, faults_per_mille: 50 }, 1_000);
}

#[test]
fn one_run_after_the_other_goes_on_where_the_last_one_crashed() {
    simulate(Trouble { runs: 1, crashes: 2, faults_per_mille: 50 }, 500);
}
