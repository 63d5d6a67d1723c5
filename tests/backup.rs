//! Backups: a copy of a lake is whole whatever the job does meanwhile, is brought up to date, and a job goes on from it.

use crate::cli::{folder, headway, succeeds};
use crate::compaction::{clock, copy_of, small_rolls};
use crate::folders::{expected, finding, lists, plays, rows, run};
use crate::process::{lines, signal, write};
use flate2::read::MultiGzDecoder;
use headway::engine::commit::backup::rounds::{Report, backup};
use headway::engine::commit::decide::Folding;
use headway::engine::commit::error::CheckpointError;
use headway::engine::commit::upkeep;
use headway::store::faulty::{Fault, Faulty};
use headway::store::memory::{Call, Memory};
use headway::store::{Created, Error, Published, Staged, Store};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const ROWS: i64 = 2_400;

fn copies(lake: impl Store + 'static, copy: impl Store + 'static) -> Result<Option<Report>, CheckpointError> {
    let (lake, copy): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(lake), Arc::new(copy));
    backup(&lake, &copy, &clock(), "plays")
}

/// The lake of one job at four moments: after it was killed in the create of a manifest, twice; folded; and at its end.
fn moments() -> [Memory; 4] {
    let (plays, files) = (plays(ROWS), Memory::new());
    let goes_on = |creates: u64| {
        let store =
            Faulty::new(Arc::new(files.clone()), 1).at(Call::Create, creates, Fault::Stop { applied: true });
        assert!(run(small_rolls(), &lists(&plays), Arc::new(store), 2).is_err(), "it was killed");
        copy_of(&files)
    };
    let (first, second) = (goes_on(9), goes_on(7));
    run(small_rolls(), &lists(&plays), Arc::new(files.clone()), 1).expect("nothing fails");
    let rule = Folding { segment: 3, keep: 2 };
    let folded = copy_of(&files);
    let store: Arc<dyn Store> = Arc::new(folded.clone());
    let pruned = upkeep::prune(&store, &clock(), "plays", rule).expect("nothing fails");
    assert!(pruned.folded >= 6, "{pruned:?}");
    [first, second, files, folded]
}

/// A lake that is another one from its `at`-th call on: what a job does while its lake is read.
struct Moving {
    before: Memory,
    after: Memory,
    at: u64,
    calls: Arc<AtomicU64>,
}

impl Moving {
    fn now(&self) -> &Memory {
        if self.calls.fetch_add(1, Ordering::Relaxed) < self.at { &self.before } else { &self.after }
    }
}

impl Store for Moving {
    fn create(&self, _name: &str, _bytes: &[u8]) -> Result<Created, Error> {
        unreachable!("a backup writes nothing into the lake")
    }
    fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.now().read(name, bytes_max)
    }
    fn read_range(&self, name: &str, from: u64, to: u64) -> Result<Option<Vec<u8>>, Error> {
        self.now().read_range(name, from, to)
    }
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, Error> {
        self.now().open(name)
    }
    fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        self.now().size(name)
    }
    fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        self.now().list(folder)
    }
    fn stage(&self, _name: &str) -> Result<Box<dyn Staged>, Error> {
        unreachable!("a backup writes nothing into the lake")
    }
    fn publish(&self, _from: &str, _to: &str) -> Result<Published, Error> {
        unreachable!("a backup writes nothing into the lake")
    }
    fn replace(&self, _from: &str, _to: &str) -> Result<(), Error> {
        unreachable!("a backup writes nothing into the lake")
    }
    fn sync_folder(&self, _folder: &str) -> Result<(), Error> {
        unreachable!("a backup writes nothing into the lake")
    }
    fn delete(&self, _name: &str) -> Result<(), Error> {
        unreachable!("a backup writes nothing into the lake")
    }
    fn describe(&self, name: &str) -> String {
        format!("moving:{name}")
    }
}

/// The job goes on in `copy` to the end of its input, and has every row once.
fn goes_on(copy: &Memory, what: &str) {
    let plays = plays(ROWS);
    run(small_rolls(), &lists(&plays), Arc::new(copy.clone()), 1).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(rows(copy).0 == expected(&plays), "{what}: each row once");
    assert_eq!(finding(copy), None, "{what}");
}

#[test]
fn copy_is_whole_whatever_the_job_commits_folds_or_deletes_while_it_is_made() {
    let moments = moments();
    let (mut cases, mut rounds) = (0, 0);
    for (from, to) in [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)] {
        for at in (0..).step_by(3) {
            let calls = Arc::new(AtomicU64::new(0));
            let (before, after) = (moments[from].clone(), moments[to].clone());
            let lake = Moving { before, after, at, calls: Arc::clone(&calls) };
            let (copy, what) = (Memory::new(), format!("moment {from} to {to} at call {at}"));
            let report = copies(lake, copy.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(finding(&copy), None, "{what}");
            rounds = rounds.max(report.expect("the job has started").rounds);
            if cases % 16 == 0 {
                goes_on(&copy, &what);
            }
            cases += 1;
            if calls.load(Ordering::Relaxed) <= at {
                break;
            }
        }
    }
    assert!(cases > 100 && rounds > 1, "{cases} cases, at most {rounds} rounds");
}

#[test]
fn interrupted_backup_leaves_the_earlier_one_or_a_copy_that_is_refused_and_the_next_makes_it_whole() {
    let moments = moments();
    let kinds =
        [Call::Stage, Call::Write, Call::Finish, Call::Create, Call::Publish, Call::SyncFolder, Call::Delete];
    let (mut crashes, mut refused, mut earlier) = (0, 0, 0);
    for (from, to) in [(None, 3), (Some(0), 1), (Some(0), 3), (Some(1), 2), (Some(2), 3)] {
        let base = Memory::new();
        if let Some(from) = from {
            copies(moments[from].clone(), base.clone()).expect("nothing fails");
        }
        for (kind, applied) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            for nth in (1 + crashes % 23..).step_by(23) {
                let copy = copy_of(&base);
                let store = Faulty::new(Arc::new(copy.clone()), 1).at(kind, nth, Fault::Stop { applied });
                if copies(moments[to].clone(), store).is_ok() {
                    break;
                }
                crashes += 1;
                copy.power_cut();
                let what = format!("moment {from:?} to {to}, {kind:?} {nth}, applied: {applied}");
                // The commits of the earlier one, of the new one, or nothing that anyone takes for a lake.
                if crashes % 6 == 0 {
                    let plays = plays(ROWS);
                    let (mine, is_fresh) = (copy_of(&copy), from.is_none());
                    match run(small_rolls(), &lists(&plays), Arc::new(mine.clone()), 1) {
                        Ok(_) => {
                            earlier += 1;
                            assert!(rows(&mine).0 == expected(&plays), "{what}: each row once");
                        }
                        Err(error) => {
                            refused += 1;
                            assert_eq!(error.code(), "store-inconsistent", "{what}");
                            assert!(is_fresh || finding(&copy).is_some(), "{what}");
                        }
                    }
                }
                copies(moments[to].clone(), copy.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(finding(&copy), None, "{what}");
                let litter = |name: &&String| name.contains("/stage/");
                assert_eq!(copy.files().keys().find(litter), None, "{what}: nothing is left");
            }
        }
    }
    assert!(crashes > 30 && refused > 0 && earlier > 0, "{crashes} crashes, {refused}, {earlier}");
}

#[test]
fn file_that_was_changed_or_lost_is_not_copied_as_if_it_were_right() {
    let [.., files, _] = moments();
    let row_file = |name: &&String| name.starts_with("plays/");
    let one = files.files().into_keys().find(|name| row_file(&name)).expect("there are files");
    for damage in [Some(&b"other"[..]), None] {
        let damaged = Memory::new();
        for (name, bytes) in files.files() {
            match damage {
                Some(other) if name == one => damaged.put(&name, other),
                None if name == one => {}
                _ => damaged.put(&name, &bytes),
            }
        }
        let refused = copies(damaged, Memory::new()).expect_err("it is not as it was committed");
        assert_eq!(refused.code(), "store-inconsistent");
        assert!(refused.to_string().contains(&one), "{refused}");
    }
}

fn start(at: &Path) -> Child {
    let job = ["run", "turnstile", "--source", "files:in", "--follow", "--lake", "lake", "--epoch", "50ms"];
    let views: &[&str] = if cfg!(feature = "parquet") { &["--views"] } else { &[] };
    Command::new(env!("CARGO_BIN_EXE_headway"))
        .args([job.as_slice(), views].concat())
        .current_dir(at)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// The number of the last manifest in the lake.
fn last(at: &Path) -> Option<String> {
    let folder = at.join("lake/_headway/turnstile/manifest");
    let names =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".json")).max()
}

/// Writes messages for as long as `goes_on`: some more whenever a commit has taken those before.
fn feed(at: &Path, goes_on: &AtomicBool) {
    let mut file = std::fs::OpenOptions::new().append(true).open(at.join("in/a.csv")).expect("it opens");
    let mut seen = last(at);
    for n in (50..1_000).step_by(3) {
        file.write_all(lines(&format!("b{n}-"), n * 30, 3).as_bytes()).expect("it can be written");
        while goes_on.load(Ordering::Relaxed) && last(at) == seen {
            std::thread::yield_now();
        }
        seen = last(at);
        if !goes_on.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Rows of the turnstile job, sorted, with how often each is there.
fn turnstile_rows(lake: &Path) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for entry in std::fs::read_dir(lake.join("turnstile")).expect("the folder is there") {
        let file = std::fs::File::open(entry.expect("an entry").path()).expect("the file is there");
        let text = std::io::read_to_string(MultiGzDecoder::new(file)).expect("packed text");
        for line in text.lines().skip(1) {
            *rows.entry(line.to_string()).or_default() += 1;
        }
    }
    rows
}

#[test]
fn twenty_backups_of_a_running_job_audit_clean_and_the_job_goes_on_from_one() {
    let folder = folder();
    let at = folder.path();
    write(at, "in/a.csv", &lines("a", 0, 150));
    let mut child = start(at);
    let goes_on = AtomicBool::new(true);
    let views: &[&str] = if cfg!(feature = "parquet") { &["--views"] } else { &[] };
    std::thread::scope(|scope| {
        scope.spawn(|| feed(at, &goes_on));
        while last(at).is_none_or(|name| name.as_str() < "0000000003.json") {
            std::thread::yield_now();
        }
        let mut heads = BTreeMap::new();
        for n in 0..20 {
            // Every second one brings the same copy up to date.
            let to = if n % 2 == 0 { format!("copies/{n}") } else { "copies/kept".to_string() };
            let made = headway(at, &["backup", "--lake", "lake", "--to", &to, "-o", "json"]);
            succeeds(&made);
            let report: serde_json::Value = serde_json::from_str(&made.out).expect("one job");
            let seq = report["seq"].as_u64().expect("a number");
            assert!(n < 3 || n % 2 == 0 || report["known"].as_u64() > Some(0), "{report}");
            assert!(heads.insert(seq, n).is_none_or(|_| n > 0), "{report}");
            succeeds(&headway(at, &["audit", "--lake", &to, "--deep"]));
        }
        assert!(heads.len() > 10, "the job committed meanwhile: {heads:?}");
        assert_eq!(child.try_wait().expect("it is our child"), None, "the job still runs");
        goes_on.store(false, Ordering::Relaxed);
    });
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let job = ["run", "turnstile", "--source", "files:in", "--lake"];
    for lake in ["lake", "copies/6", "copies/kept"] {
        succeeds(&headway(at, &[job.as_slice(), &[lake, "--until", "end"], views].concat()));
        succeeds(&headway(at, &["audit", "--lake", lake, "--deep"]));
    }
    let rows = turnstile_rows(&at.join("lake"));
    assert!(rows.len() > 10 && rows.values().all(|count| *count == 1), "{rows:?}");
    for copy in ["copies/6", "copies/kept"] {
        assert!(turnstile_rows(&at.join(copy)) == rows, "{copy} has other rows");
    }
    #[cfg(feature = "parquet")]
    for view in ["station_day", "dim_station"] {
        let shown = |lake: &str| {
            let shown = headway(at, &["views", "show", view, "--lake", lake, "-o", "json"]);
            succeeds(&shown);
            let shown: serde_json::Value = serde_json::from_str(&shown.out).expect("the answer is JSON");
            shown["rows"].clone()
        };
        assert_eq!(shown("copies/6"), shown("lake"), "{view}");
    }
    // A copy from which a job has gone on is a lake of its own.
    let refused = headway(at, &["backup", "--lake", "lake", "--to", "copies/6"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("(not-a-backup)") && refused.err.contains("has gone on"), "{refused:?}");
}

#[test]
fn folder_with_anything_else_is_refused_and_nothing_is_written() {
    let folder = folder();
    let at = folder.path();
    write(at, "in/a.csv", &lines("a", 0, 50));
    for lake in ["lake", "other"] {
        let job = ["run", "turnstile", "--source", "files:in", "--lake", lake];
        succeeds(&headway(at, &job));
    }
    write(at, "full/notes.txt", "mine");
    succeeds(&headway(at, &["backup", "--lake", "lake", "--to", "copy"]));
    let again = headway(at, &["backup", "--lake", "lake", "--to", "copy"]);
    succeeds(&again);
    assert!(again.out.contains(": 0 files of 0 bytes"), "{again:?}");
    let cases = [
        ("lake", "full", "it is not empty, and has no backup", "not-a-backup"),
        ("other", "copy", "it has the backup of another lake", "not-a-backup"),
        ("lake", "other", "it is not empty, and has no backup", "not-a-backup"),
        ("lake", "lake/copy", "lies in the lake", "path-invalid"),
        ("lake", ".", "or the lake in it", "path-invalid"),
        ("absent", "new", "there is no lake", "lake-not-found"),
    ];
    for (lake, to, why, code) in cases {
        let refused = headway(at, &["backup", "--lake", lake, "--to", to]);
        assert!(refused.code.is_some_and(|code| [2, 3].contains(&code)), "{refused:?}");
        assert!(refused.err.contains(why) && refused.err.contains(code), "{to}: {refused:?}");
    }
    assert_eq!(std::fs::read_dir(at.join("full")).expect("it is there").count(), 1);
    assert!(!at.join("new").exists() && !at.join("lake/copy").exists());
    // The lake is what it was, and the copy too.
    for lake in ["lake", "other", "copy"] {
        succeeds(&headway(at, &["audit", "--lake", lake, "--deep"]));
    }
    let status = headway(at, &["status", "--lake", "copy"]);
    assert!(status.out.starts_with("stopped"), "{status:?}");
}
