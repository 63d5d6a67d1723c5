//! `--unseal` by whole runs: the day is in the views while a run lasts and in no total twice, its files are what was committed, and
//! the next run seals it again; on any number of workers and processes, and after kills.

use crate::cli::{Run, files_in, folder, headway, killed_after, succeeds};
use crate::processes::{Size, head_of, run_job};
use crate::weekly::tables;
use std::path::{Path, PathBuf};

/// The first day of the generator, and the instant at which it ends.
const DAY: (&str, i64) = ("2024-01-06", 1_704_585_600_000);

/// Eight days of 40 turnstiles, of which all but the last two or three are sealed in the end, in epochs so small that there are many.
fn job<'a>(lake: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let source = "generate:messages=4000,rate=0.006,keys=40,seed=5";
    let args = ["run", "turnstile", "--source", source, "--views", "--until", "end", "--window", "1h"];
    let epochs = ["--epoch", "50ms", "--epoch-bytes", "16KiB", "--if-running", "take-over"];
    [&args[..], &epochs, &["--lake", lake, "--seal-after", "1d"], more].concat()
}

fn ran(at: &Path, lake: &str, more: &[&str]) {
    succeeds(&headway(at, &job(lake, more)));
}

fn refused(run: &Run, code: i32, says: &str) {
    assert_eq!(run.code, Some(code), "{}{}", run.out, run.err);
    assert!(run.err.contains(says), "{}", run.err);
}

/// What `StationDay` keeps as of the last commit.
fn held(lake: &Path) -> usize {
    let held = head_of(lake).expect("a manifest")["operators"]["StationDay"]["held"].as_u64();
    held.expect("a count") as usize
}

/// How many days the last manifest names as unsealed.
fn unsealed(lake: &Path) -> usize {
    head_of(lake).expect("a manifest")["unsealed"].as_array().map_or(0, Vec::len)
}

fn file(lake: &Path, view: &str, day: &str) -> PathBuf {
    lake.join("gold/turnstile").join(view).join(format!("day={day}.parquet"))
}

/// Every table is that of `whole`, and what was committed.
fn right(at: &Path, lake: &str, whole: &std::collections::BTreeMap<String, Vec<Vec<String>>>) {
    let found = tables(&at.join(lake), "turnstile");
    for (view, rows) in whole {
        assert!(found.get(view) == Some(rows), "{view} of {lake} is another table");
    }
    succeeds(&headway(at, &["views", "verify", "--lake", lake]));
    succeeds(&headway(at, &["audit", "--lake", lake]));
}

#[test]
fn unsealed_day_is_there_for_one_run_and_its_files_are_mended() {
    let folder = folder();
    let at = folder.path();
    let lake = at.join("lake");
    ran(at, "lake", &["-w", "2"]);
    let (whole, before) = (tables(&lake, "turnstile"), held(&lake));
    let of_day = whole["station_day"].iter().filter(|row| row[3] == DAY.0).count();
    assert!(of_day > 10 && before < whole["station_day"].len() - of_day, "{of_day} of {before}");
    // One file is lost, one is that of another day: a run leaves files of sealed days alone.
    std::fs::remove_file(file(&lake, "station_day", DAY.0)).expect("it is there");
    std::fs::copy(file(&lake, "top_stations", "2024-01-07"), file(&lake, "top_stations", DAY.0))
        .expect("it can be copied");
    ran(at, "lake", &["-w", "1"]);
    assert!(!file(&lake, "station_day", DAY.0).exists());
    refused(&headway(at, &["views", "verify", "--lake", "lake"]), 1, "station_day");
    // A start that unseals the day has its rows once, however often it is started.
    for workers in ["3", "1"] {
        ran(at, "lake", &["-w", workers, "--unseal", DAY.0]);
        assert_eq!((unsealed(&lake), held(&lake)), (1, before + of_day), "{workers} workers");
        right(at, "lake", &whole);
    }
    // On several processes, with another day beside it.
    let more = ["--unseal", DAY.0, "--unseal", "2024-01-07"];
    run_job(at, Size { processes: 3, workers: 1 }, &job("lake", &more));
    assert!(unsealed(&lake) == 2 && held(&lake) > before + of_day);
    right(at, "lake", &whole);
    // The next start seals them again.
    ran(at, "lake", &["-w", "2", "-n", "1"]);
    assert_eq!((unsealed(&lake), held(&lake)), (0, before));
    right(at, "lake", &whole);
}

#[test]
fn unsealed_day_is_whole_after_kills_and_no_total_counts_it_twice() {
    let folder = folder();
    let at = folder.path();
    ran(at, "whole", &[]);
    let whole = tables(&at.join("whole"), "turnstile");
    let lake = at.join("lake");
    let manifests = lake.join("_headway/turnstile/manifest");
    let is_sealed = || {
        let head = head_of(&lake);
        head.and_then(|head| head["sealed_up_to"].as_i64()).is_some_and(|up_to| up_to >= DAY.1)
    };
    while !is_sealed() {
        killed_after(at, &job("lake", &["-w", "2"]), &manifests, files_in(&manifests) + 5);
    }
    for workers in ["3", "1", "2"] {
        let more = ["-w", workers, "--unseal", DAY.0];
        killed_after(at, &job("lake", &more), &manifests, files_in(&manifests) + 4);
        assert_eq!(unsealed(&lake), 1, "{workers} workers");
    }
    let ended = head_of(&lake).expect("a manifest")["inputs"][0]["ended"].as_bool();
    assert_eq!(ended, Some(false), "there must be something left to read");
    ran(at, "lake", &["-w", "3", "--unseal", DAY.0]);
    right(at, "lake", &whole);
    let of_day = whole["station_day"].iter().filter(|row| row[3] == DAY.0).count();
    assert_eq!(held(&lake), held(&at.join("whole")) + of_day);
    // A run that is killed after it has sealed the day again leaves it sealed.
    killed_after(at, &job("lake", &["-w", "1"]), &manifests, files_in(&manifests) + 2);
    ran(at, "lake", &["-w", "2"]);
    assert_eq!(held(&lake), held(&at.join("whole")));
    right(at, "lake", &whole);
}

#[test]
fn day_of_views_that_began_late_is_completed_in_its_file_before_it_is_sealed_again() {
    let folder = folder();
    let at = folder.path();
    let lake = at.join("lake");
    let without = job("lake", &[]).into_iter().filter(|word| *word != "--views");
    let without: Vec<&str> = without.take_while(|word| *word != "--seal-after").collect();
    killed_after(at, &without, &lake.join("_headway/turnstile/manifest"), 4);
    let epoch = head_of(&lake).expect("a manifest")["epoch"].as_u64().expect("an epoch");
    ran(at, "lake", &["--views-from", &(epoch + 1).to_string()]);
    let whole = tables(&lake, "turnstile");
    let [day, other] = ["2024-01-09", "2024-01-10"];
    ran(at, "lake", &["--unseal", day]);
    // What a kill leaves between the commit that seals a day again and the next one: a file that is not that of the rows in memory.
    std::fs::copy(file(&lake, "station_day", other), file(&lake, "station_day", day))
        .expect("it can be copied");
    ran(at, "lake", &["--unseal", other]);
    right(at, "lake", &whole);
}

#[test]
fn day_that_cannot_be_unsealed_is_refused_by_name_and_nothing_is_taken_over() {
    let folder = folder();
    let at = folder.path();
    let unseal = |lake: &str, more: &[&str]| headway(at, &job(lake, more));
    refused(&unseal("lake", &["--unseal", DAY.0]), 4, "day-not-sealed");
    assert!(!at.join("lake").exists(), "a job that is refused leaves nothing behind");
    ran(at, "lake", &[]);
    let seq = || head_of(&at.join("lake")).expect("a manifest")["seq"].as_u64();
    let before = seq();
    // An open day, one to come, and what is no day.
    for day in ["2024-01-13", "2031-01-01", "yesterday", "0"] {
        let run = unseal("lake", &["--unseal", day]);
        refused(&run, 4, &format!("day \"{day}\" is not sealed"));
    }
    for day in ["2024-01-04", "1999-01-01"] {
        refused(&unseal("lake", &["--unseal", day]), 4, "no committed file has facts of day");
    }
    let without = job("lake", &["--unseal", DAY.0]).into_iter().filter(|word| *word != "--views");
    refused(&headway(at, &without.collect::<Vec<_>>()), 2, "the job has no views whose days are sealed");
    let check = job("lake", &["--unseal", "2031-01-01"]);
    refused(&headway(at, &[&["check"], &check[1..]].concat()), 4, "day-not-sealed");
    // A file with facts of the day is gone; one of another day is not missed.
    let facts = at.join("lake/fact_turnstile");
    std::fs::rename(facts.join("date=2024-01-07"), at.join("other")).expect("it can be moved");
    succeeds(&unseal("lake", &["--unseal", DAY.0]));
    std::fs::rename(at.join("other"), facts.join("date=2024-01-07")).expect("it can be moved back");
    assert!(seq() > before);
    let before = seq();
    std::fs::rename(facts.join("date=2024-01-06"), at.join("moved")).expect("it can be moved");
    refused(&unseal("lake", &["--unseal", DAY.0]), 4, "facts-missing");
    succeeds(&headway(at, &["lake", "release", "--lake", "lake"]));
    refused(&unseal("lake", &["--unseal", DAY.0]), 4, "was moved away");
    assert_eq!(seq(), before.map(|seq| seq + 1), "only the release was noted");
}
