//! The views of the music job by whole runs: they are what its committed rows add up to, in any format of rows, on any number of
//! workers, after kills, where it has been drained, and after compaction. A table that is wrong is found.

use crate::cli::{Run, files_in, folder, headway, killed_after, succeeds};
use crate::music::OUTPUTS;
use crate::weekly::tables;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A few hours of 300 users.
const SOURCE: &str = "generate:messages=3000,keys=300,seed=3";

/// The job, in epochs so small that it has many commits.
fn job<'a>(lake: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let job = ["run", "music", "--source", SOURCE, "--lake", lake, "--if-running", "take-over"];
    [&job[..], &["--epoch", "50ms", "--epoch-bytes", "64KiB"], more].concat()
}

fn verify(at: &Path, lake: &str) -> Run {
    headway(at, &["views", "verify", "--lake", lake])
}

/// Every view is verified. Gives how many rows each one has.
fn verified(at: &Path, lake: &str) -> BTreeMap<String, u64> {
    let verify = verify(at, lake);
    succeeds(&verify);
    let known = tables(&at.join(lake), "music");
    for view in known.keys() {
        assert!(verify.out.contains(&format!("ok       {view} ")), "{view} of {lake}: {}", verify.out);
    }
    for output in OUTPUTS {
        let shown = if output == "wide_streams" { output.to_string() } else { format!("{output} (output)") };
        assert!(verify.out.contains(&format!("ok       {shown} ")), "{output} of {lake}: {}", verify.out);
    }
    assert_eq!(verify.out.matches("unchecked odd_fields-").count(), 4, "{}", verify.out);
    assert!(known.len() == 13 && known.values().all(|rows| !rows.is_empty()), "{lake}: {:?}", known.keys());
    let rows = verify.out.lines().filter_map(|line| {
        let mut words = line.strip_prefix("ok ")?.split_whitespace();
        Some((words.next()?.to_string(), words.next()?.replace(',', "").parse().ok()?))
    });
    rows.collect()
}

#[test]
fn views_of_music_are_what_its_rows_add_up_to() {
    let folder = folder();
    let at = folder.path();
    let mut expected = None;
    for (lake, format, kills) in [
        ("typed", "parquet", &["2", "1", "3"][..]),
        ("text", "csv.gz", &["3"]),
        ("lines", "ndjson.gz", &["1"]),
    ] {
        let manifests = at.join(lake).join("_headway/music/manifest");
        for workers in kills {
            let args = job(lake, &["--views", "--format", format, "-w", workers]);
            killed_after(at, &args, &manifests, files_in(&manifests) + 6);
            // A job that was killed may not have written its tables. They are old then, and never wrong.
            let verify = verify(at, lake);
            assert!(!verify.out.contains("differs"), "{}{}", verify.out, verify.err);
        }
        succeeds(&headway(at, &job(lake, &["--views", "--format", format, "-w", "2", "--until", "end"])));
        verified(at, lake);
        let found = tables(&at.join(lake), "music");
        assert!(*expected.get_or_insert_with(|| found.clone()) == found, "the tables of {lake}");
        // Files that were merged hold the same facts.
        let compact = headway(at, &["lake", "compact", "--lake", lake]);
        succeeds(&compact);
        assert!(!compact.out.contains("nothing to merge"), "{}", compact.out);
        verified(at, lake);
        succeeds(&headway(at, &["audit", "--lake", lake, "--deep"]));
    }
}

#[test]
fn views_of_a_drained_job_are_those_of_what_the_watermark_has_passed() {
    let folder = folder();
    let at = folder.path();
    succeeds(&headway(at, &["produce", "music", "--to", "in", "--messages", "3000", "--keys", "60"]));
    let job = ["run", "music", "--views", "--source", "files:in", "--lake", "lake", "--until"];
    succeeds(&headway(at, &[&job[..], &["caught-up", "-w", "2"]].concat()));
    let open = verified(at, "lake");
    succeeds(&headway(at, &[&job[..], &["end", "-w", "3"]].concat()));
    let closed = verified(at, "lake");
    for output in OUTPUTS {
        assert!(open[output] < closed[output], "{output}: {} and {}", open[output], closed[output]);
    }
    assert_eq!(open["streams_per_hour"], closed["streams_per_hour"]);
}

/// A file of `view` in `lake`: of a table that lies by day, its first day.
fn table_of(lake: &Path, view: &str) -> PathBuf {
    let gold = lake.join("gold/music");
    let of_day = std::fs::read_dir(gold.join(view)).into_iter().flatten();
    let of_day = of_day.map(|entry| entry.expect("it can be listed").path()).min();
    of_day.unwrap_or_else(|| gold.join(format!("{view}.parquet")))
}

#[test]
fn table_of_music_that_is_not_what_was_committed_is_found() {
    let folder = folder();
    let at = folder.path();
    for (lake, seed) in [("lake", "1"), ("other", "2")] {
        let source = format!("generate:messages=1000,keys=50,seed={seed}");
        let args = ["run", "music", "--views", "--source", &source, "--until", "end", "--lake", lake];
        succeeds(&headway(at, &args));
        verified(at, lake);
    }
    for view in tables(&at.join("lake"), "music").keys() {
        let (table, other) = (table_of(&at.join("lake"), view), table_of(&at.join("other"), view));
        let right = std::fs::read(&table).expect("the table can be read");
        std::fs::copy(other, &table).expect("it can be copied");
        let verify = verify(at, "lake");
        assert_eq!((verify.code, verify.err.contains("views-differ")), (Some(1), true), "{}", verify.err);
        assert_eq!(verify.out.matches("differs  ").count(), 1, "{}", verify.out);
        assert!(verify.out.contains(&format!("differs  {view} ")), "{}", verify.out);
        std::fs::write(&table, right).expect("the table can be written");
    }
    verified(at, "lake");
    // Facts that were moved away are asked for by name.
    std::fs::remove_dir_all(at.join("other/listen_events")).expect("facts can be removed");
    succeeds(&headway(at, &["lake", "release", "--lake", "other"]));
    let verify = verify(at, "other");
    assert_eq!((verify.code, verify.err.contains("was moved away")), (Some(4), true), "{}", verify.err);
}

#[test]
fn sealed_days_of_music_keep_their_files_and_leave_memory() {
    let folder = folder();
    let at = folder.path();
    // A message of 50 users each few minutes: 4,000 are some days.
    let source = "generate:messages=4000,keys=50,seed=5";
    let run = |lake: &str, workers: &str, more: &[&str]| {
        let job = ["run", "music", "--views", "--source", source, "--lake", lake, "--epoch-bytes", "64KiB"];
        headway(at, &[&job[..], &["--epoch", "50ms", "-w", workers], more].concat())
    };
    succeeds(&run("whole", "2", &["--until", "end"]));
    succeeds(&run("sealed", "2", &["--until", "end", "--seal-after", "1h"]));
    let days = |lake: &str| files_in(&at.join(lake).join("gold/music/streams_per_hour"));
    assert!(days("sealed") > 2, "{} days", days("sealed"));
    // What was sealed is what it would be without sealing, and is still verified.
    assert!(tables(&at.join("sealed"), "music") == tables(&at.join("whole"), "music"));
    verified(at, "sealed");
    let files = |lake: &str| {
        let of = |view: &str| {
            let folder = std::fs::read_dir(at.join(lake).join("gold/music").join(view)).expect("a folder");
            let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
            files.sort();
            files.into_iter().map(|file| std::fs::read(file).expect("it can be read")).collect::<Vec<_>>()
        };
        ["top_songs", "top_artists", "streams_per_hour", "streams_by_state", "sessions", "active_users"]
            .map(of)
    };
    let before = files("sealed");
    succeeds(&run("sealed", "3", &["--until", "end", "--seal-after", "1h"]));
    assert!(files("sealed") == before, "a sealed day does not change");
    // A file that was lost comes back, with the hours of the day before beside its own.
    for view in ["top_songs", "streams_per_hour", "sessions", "top_artists_last_hour"] {
        let folder = at.join("sealed/gold/music").join(view);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        let lost = &files[1];
        std::fs::remove_file(lost).expect("it can be removed");
        let name = lost.file_stem().expect("a name").to_string_lossy().into_owned();
        let day = name.strip_prefix("day=").expect("the file of a day");
        succeeds(&run("sealed", "2", &["--until", "end", "--seal-after", "1h", "--unseal", day]));
        assert!(lost.exists(), "{view} of {day}");
        assert!(tables(&at.join("sealed"), "music") == tables(&at.join("whole"), "music"), "{view} of {day}");
    }
    verified(at, "sealed");
}

#[test]
fn views_of_music_that_come_later_or_are_made_again_are_those_of_the_whole_job() {
    let folder = folder();
    let at = folder.path();
    let ran =
        |lake: &str, more: &[&str]| succeeds(&headway(at, &job(lake, &[more, &["--until", "end"]].concat())));
    ran("whole", &["--views"]);
    let whole = tables(&at.join("whole"), "music");
    for (lake, format) in [("typed", "parquet"), ("text", "csv.gz")] {
        let manifests = at.join(lake).join("_headway/music/manifest");
        let format = ["--format", format];
        // Most rows are in open files when views are switched on.
        for more in [&["-w", "2"][..], &["--views", "-w", "3"]] {
            killed_after(at, &job(lake, &[&format[..], more].concat()), &manifests, files_in(&manifests) + 5);
        }
        ran(lake, &[&format[..], &["--views", "-w", "1"]].concat());
        verified(at, lake);
        assert!(tables(&at.join(lake), "music") == whole, "views that came later in {lake}");
        let rebuilt = headway(at, &["views", "rebuild", "--lake", lake]);
        succeeds(&rebuilt);
        // A file has rows of several epochs: there is no epoch to begin with.
        let from = [&format[..], &["--views", "--views-from", "3"]].concat();
        let refused = headway(at, &job(lake, &from));
        assert_eq!((refused.code, refused.err.contains("facts-missing")), (Some(4), true), "{}", refused.err);
        ran(lake, &[&format[..], &["--views", "-w", "3"]].concat());
        verified(at, lake);
        assert!(tables(&at.join(lake), "music") == whole, "views that were made again in {lake}");
    }
    // A file with facts is gone: nothing is made of the rest without a word.
    std::fs::remove_dir_all(at.join("typed/listen_events")).expect("facts can be removed");
    let rebuild = headway(at, &["views", "rebuild", "--lake", "typed"]);
    assert_eq!((rebuild.code, rebuild.err.contains("facts-missing")), (Some(4), true), "{}", rebuild.err);
}
