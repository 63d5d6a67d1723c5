//! Compaction: the rows of many small files lie in few large ones, wherever it crashes; readers that follow manifests see
//! each row once, readers that list folders never miss one.

use crate::cli::{folder, headway, succeeds};
use crate::folders::{expected, finding, lists, plays, rows, run};
use crate::process::{lines, write};
use flate2::read::MultiGzDecoder;
use headway::engine::clock::{Clock, System};
use headway::engine::commit::compact::{Merged, Rules, compact};
use headway::engine::commit::error::CheckpointError;
use headway::engine::commit::recover;
use headway::engine::commit::release::{Standing, committed};
use headway::engine::commit::site::{self, Site};
use headway::store::Store;
use headway::store::faulty::{Fault, Faulty};
use headway::store::memory::{Call, Memory};
use headway_operators::spec::Folders;
use headway_operators::stream::roll::Limits;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const ROWS: i64 = 600;

/// Rolls of a few dozen rows: several files an hour, and open ones at the end of an epoch.
pub(crate) fn small_rolls() -> Folders {
    Folders { roll: Limits { age_ms: i64::MAX, bytes: 8_000 }, ..Folders::by_hour() }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(System::default())
}

/// A copy of what is in `files`.
pub(crate) fn copy_of(files: &Memory) -> Memory {
    let copy = Memory::new();
    files.files().iter().for_each(|(name, bytes)| copy.put(name, bytes));
    copy
}

fn merge(store: impl Store + 'static) -> Result<Vec<Merged>, CheckpointError> {
    let store: Arc<dyn Store> = Arc::new(store);
    compact(&store, &clock(), "plays", Rules::default())
}

/// The rows that a reader of manifests finds, sorted: a file that is not published yet is read where it was staged.
fn committed_rows(files: &Memory) -> Vec<(String, i64, String)> {
    let site = Site::new(Arc::new(files.clone()), clock());
    let manifests = site::run(recover::all(&site, "plays")).expect("the chain is whole");
    let (all, mut rows) = (files.files(), Vec::new());
    for found in committed(&manifests).into_iter().filter(|found| found.standing != Standing::Gone) {
        let bytes = all.get(&found.file.path()).or_else(|| all.get(&found.file.staged.name));
        let mut csv =
            csv::Reader::from_reader(MultiGzDecoder::new(&bytes.expect("a committed file is there")[..]));
        let folder = found.file.folder.trim_end_matches('/').to_string();
        let row =
            |row: csv::StringRecord| (folder.clone(), row[0].parse().expect("a number"), row[1].to_string());
        rows.extend(csv.records().map(|record| row(record.expect("a row"))));
    }
    rows.sort_unstable();
    rows
}

#[test]
fn merged_hours_have_the_rows_of_their_files_wherever_compaction_crashes() {
    let (plays, files) = (plays(ROWS), Memory::new());
    run(small_rolls(), &lists(&plays), Arc::new(files.clone()), 2).expect("nothing fails");
    let (expected, before) = (expected(&plays), rows(&files).1);
    // 1. Undisturbed.
    let whole = copy_of(&files);
    let merged = merge(whole.clone()).expect("nothing fails");
    let hours: BTreeSet<&String> = expected.iter().map(|(folder, ..)| folder).collect();
    assert!(before > 2 * hours.len(), "{before} files in {} hours", hours.len());
    assert_eq!(
        (rows(&whole).0.as_slice(), rows(&whole).1),
        (expected.as_slice(), hours.len()),
        "one file an hour"
    );
    assert_eq!(merged.iter().map(|merged| merged.file.replaces.len()).sum::<usize>(), before);
    assert_eq!(finding(&whole), None);
    assert_eq!(merge(whole.clone()).expect("nothing fails"), [], "there is nothing left to merge");
    // 2. Ended at each call of each kind, applied or not, with a power cut behind it.
    let kinds =
        [Call::Stage, Call::Write, Call::Finish, Call::Create, Call::Publish, Call::SyncFolder, Call::Delete];
    let mut crashes = 0;
    for (kind, applied) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        for nth in (1..).step_by(2) {
            let crashed = copy_of(&files);
            let store = Faulty::new(Arc::new(crashed.clone()), 1).at(kind, nth, Fault::Stop { applied });
            if merge(store).is_ok() {
                break;
            }
            crashes += 1;
            crashed.power_cut();
            let what = format!("{kind:?} {nth}, applied: {applied}");
            assert!(committed_rows(&crashed) == expected, "{what}: a reader of manifests sees each row once");
            let listed: BTreeSet<_> = rows(&crashed).0.into_iter().collect();
            let all: BTreeSet<_> = expected.iter().cloned().collect();
            assert!(listed == all, "{what}: a reader of folders misses no row");
            assert_eq!(finding(&crashed), None, "{what}");
            // What is left is made good by the next command or run.
            if crashes % 2 == 0 {
                merge(crashed.clone()).expect("nothing fails");
                assert_eq!(rows(&crashed).1, hours.len(), "{what}");
            } else {
                run(small_rolls(), &lists(&plays), Arc::new(crashed.clone()), 1).expect("nothing fails");
            }
            assert!(rows(&crashed).0 == expected, "{what}: each row is visible once again");
            assert_eq!(finding(&crashed), None, "{what}");
        }
    }
    assert!(crashes > 30, "{crashes} crashes");
}

#[test]
fn file_that_is_not_as_it_was_committed_is_not_merged() {
    let (plays, files) = (plays(ROWS), Memory::new());
    run(small_rolls(), &lists(&plays), Arc::new(files.clone()), 1).expect("nothing fails");
    let one = files.files().into_keys().find(|name| name.starts_with("plays/")).expect("there are files");
    files.put(&one, b"");
    let before = files.files();
    let refused = merge(files.clone()).expect_err("it is not as it was committed");
    assert_eq!(refused.code(), "store-inconsistent");
    assert!(refused.to_string().contains(&one), "{refused}");
    let is_seen = |name: &&String| !name.contains("/stage/");
    assert!(files.files().keys().filter(is_seen).eq(before.keys().filter(is_seen)), "nothing was merged");
}

fn turnstile(folder: &Path, format: &str) {
    let job = ["run", "turnstile", "--source", "files:in", "--lake", "lake", "--until", "caught-up"];
    succeeds(&headway(folder, &[job.as_slice(), &["--epoch-bytes", "1KiB", "--format", format]].concat()));
}

/// The rows of a lake as text, sorted: of each format in its own way.
fn texts(folder: &Path, format: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder.join("lake/turnstile")).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let file = std::fs::File::open(&path).expect("the file is there");
        match format {
            #[cfg(feature = "parquet")]
            "parquet" => {
                use parquet::file::reader::{FileReader, SerializedFileReader};
                let reader = SerializedFileReader::new(file).expect("a Parquet file");
                all.extend(
                    reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()),
                );
            }
            _ => {
                let text = std::io::read_to_string(MultiGzDecoder::new(file)).expect("packed text");
                let header = usize::from(format == "csv.gz");
                all.extend(text.lines().skip(header).map(str::to_string));
            }
        }
    }
    all.sort_unstable();
    all
}

#[test]
fn files_of_each_format_are_merged_by_the_command_and_the_job_goes_on() {
    let formats = ["csv.gz", "ndjson.gz"].into_iter().chain(cfg!(feature = "parquet").then_some("parquet"));
    for format in formats {
        let folder = folder();
        write(folder.path(), "in/a.csv", &lines("a", 0, 500));
        turnstile(folder.path(), format);
        let before = texts(folder.path(), format);
        let compact = ["lake", "compact", "--lake", "lake", "-o", "json"];
        let merged = headway(folder.path(), &compact);
        succeeds(&merged);
        let line: serde_json::Value = serde_json::from_str(&merged.out).expect("one merged file");
        assert_eq!(line["rows"].as_u64(), Some(before.len() as u64), "{format}");
        assert!(line["replaces"].as_array().is_some_and(|replaced| replaced.len() > 2), "{line}");
        assert_eq!(texts(folder.path(), format), before, "{format}");
        assert_eq!(std::fs::read_dir(folder.path().join("lake/turnstile")).unwrap().count(), 1);
        succeeds(&headway(folder.path(), &["audit", "--lake", "lake", "--deep"]));
        let listed = headway(folder.path(), &["lake", "files", "--lake", "lake", "-o", "json"]);
        assert_eq!(listed.out.lines().count(), 1, "{}", listed.out);
        // The job goes on, and what it adds is merged with what was.
        write(folder.path(), "in/a.csv", &(lines("a", 0, 500) + &lines("b", 5_000, 500)));
        turnstile(folder.path(), format);
        let all = texts(folder.path(), format);
        assert!(all.len() > before.len());
        let again = headway(folder.path(), &["lake", "compact", "--lake", "lake"]);
        succeeds(&again);
        assert!(again.out.trim_start().starts_with("SEQ"), "{}", again.out);
        assert_eq!(texts(folder.path(), format), all, "{format}");
        succeeds(&headway(folder.path(), &["audit", "--lake", "lake", "--deep"]));
        let nothing = headway(folder.path(), &["lake", "compact", "--lake", "lake"]);
        assert!(nothing.out.starts_with("nothing to merge"), "{}", nothing.out);
    }
}
