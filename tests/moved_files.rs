//! Files that a loader moves away: which may go, the note that they went, and that nothing else is accepted.

use crate::cli::{Run, folder, headway};
use crate::process::{lines, write};
use serde_json::Value;
use std::path::Path;

fn run(folder: &Path) -> Run {
    let job = ["run", "turnstile", "--source", "files:in", "--lake", "lake", "--until", "caught-up"];
    let run = headway(folder, &[job.as_slice(), &["--epoch-bytes", "1KiB"]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

/// What `lake files` lists, with `more`.
fn files(folder: &Path, more: &[&str]) -> Vec<Value> {
    let listed = headway(folder, &[&["lake", "files", "--lake", "lake", "-o", "json"], more].concat());
    assert_eq!(listed.code, Some(0), "{listed:?}");
    listed.out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn path(file: &Value) -> String {
    file["path"].as_str().expect("a path").to_string()
}

fn release(folder: &Path, more: &[&str]) -> Run {
    headway(folder, &[&["lake", "release", "--lake", "lake"], more].concat())
}

fn audit(folder: &Path) -> Option<i32> {
    headway(folder, &["audit", "--lake", "lake", "--deep"]).code
}

fn remove(folder: &Path, file: &str) {
    std::fs::remove_file(folder.join("lake").join(file)).expect("the file can be moved away");
}

#[test]
fn files_of_a_bounded_run_may_all_be_moved_and_the_job_goes_on() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 500));
    run(folder.path());
    let movable = files(folder.path(), &["--movable"]);
    assert!(movable.len() > 2, "{movable:?}");
    assert_eq!(movable, files(folder.path(), &[]), "the run has ended: even its last files may go");
    movable.iter().for_each(|file| remove(folder.path(), &path(file)));
    assert_eq!(audit(folder.path()), Some(1), "nobody has said why they are gone");
    let released = release(folder.path(), &[]);
    assert!(released.out.starts_with(&format!("released {} files", movable.len())), "{released:?}");
    assert_eq!(audit(folder.path()), Some(0));
    assert_eq!(files(folder.path(), &[]), Vec::<Value>::new());
    let again = release(folder.path(), &[]);
    assert!(again.out.starts_with("nothing to release"), "{again:?}");

    // What comes later: only its files are new, and those before stay accounted for.
    let seen = movable.iter().filter_map(|file| file["seq"].as_u64()).max().expect("there were files");
    write(folder.path(), "in/a.csv", &(lines("a", 0, 500) + &lines("b", 5_000, 500)));
    run(folder.path());
    let new = files(folder.path(), &["--since", &seen.to_string()]);
    assert!(!new.is_empty() && new == files(folder.path(), &[]), "{new:?}");
    assert_eq!(audit(folder.path()), Some(0));
}

#[test]
fn file_may_be_released_before_it_is_moved() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 500));
    run(folder.path());
    let first = path(&files(folder.path(), &["--movable"])[0]);
    assert_eq!(release(folder.path(), &[&first]).code, Some(0));
    assert_eq!(audit(folder.path()), Some(0), "it is still there");
    remove(folder.path(), &first);
    assert_eq!(audit(folder.path()), Some(0), "it is gone");
}

#[test]
fn release_of_anything_else_is_refused_and_notes_nothing() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 500));
    run(folder.path());
    let first = path(&files(folder.path(), &[])[0]);
    let last = |folder: &Path| headway(folder, &["checkpoint", "show", "--lake", "lake", "-o", "json"]).out;
    let before = last(folder.path());
    let cases = [
        (vec!["turnstile/absent.csv.gz"], "no manifest of the job names it"),
        (vec!["_headway/turnstile/manifest/0000000000.json"], "no manifest of the job names it"),
        (vec![first.as_str(), first.as_str()], "it is named twice"),
        (vec![first.as_str(), "turnstile/absent.csv.gz"], "no manifest of the job names it"),
    ];
    for (files, why) in cases {
        let refused = release(folder.path(), &files);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains(why) && refused.err.contains("(not-movable)"), "{refused:?}");
    }
    assert_eq!(last(folder.path()), before);
    assert_eq!(release(folder.path(), &[&first]).code, Some(0));
    let twice = release(folder.path(), &[&first]);
    assert!(twice.err.contains("it was released before"), "{twice:?}");
}

/// The instant `minutes` after 10:00 of the day of all messages.
fn instant(minutes: u32) -> String {
    format!("2024-01-30T{}:{:02}:00Z", 10 + minutes / 60, minutes % 60)
}

#[test]
fn files_whose_rows_are_all_older_are_retired_and_the_job_goes_on() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 500));
    run(folder.path());
    let all = files(folder.path(), &[]);
    let before = instant(45);
    let retire = |more: &[&str]| {
        let args = ["lake", "retire", "--lake", "lake", "-o", "json"];
        let run = headway(folder.path(), &[args.as_slice(), more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        serde_json::from_str::<Value>(&run.out).expect("the answer is JSON")
    };
    let dry = retire(&["--before", &before, "--dry-run"]);
    assert_eq!(files(folder.path(), &[]), all, "nothing was done");
    let done = retire(&["--before", &before]);
    let count = done["files"].as_u64().expect("a number");
    assert!((1..all.len() as u64).contains(&count), "{done} of {}", all.len());
    assert_eq!((&dry["files"], &dry["records"]), (&done["files"], &done["records"]));
    assert!(dry["seq"].is_null() && done["seq"].is_u64(), "{dry} {done}");
    let left = files(folder.path(), &[]);
    assert_eq!(left.len() as u64, all.len() as u64 - count);
    for file in &all {
        let is_there = folder.path().join("lake").join(path(file)).exists();
        assert_eq!(is_there, left.contains(file), "{file}");
    }
    assert_eq!(audit(folder.path()), Some(0));
    // A run that was killed between the commit and the deletion: the next one deletes.
    let gone = all.iter().find(|file| !left.contains(file)).expect("one was retired");
    write(folder.path(), &format!("lake/{}", path(gone)), "left behind");
    assert_eq!(retire(&["--before", &before])["files"], 0);
    write(folder.path(), "in/a.csv", &(lines("a", 0, 500) + &lines("b", 5_000, 500)));
    run(folder.path());
    assert!(!folder.path().join("lake").join(path(gone)).exists(), "the start has deleted it");
    assert_eq!(audit(folder.path()), Some(0));
    // A release after that is a release: its file stays where it is.
    let first = path(&files(folder.path(), &["--movable"])[0]);
    assert_eq!(release(folder.path(), &[&first]).code, Some(0));
    run(folder.path());
    assert!(folder.path().join("lake").join(&first).exists(), "it was released, not retired");
    assert_eq!(audit(folder.path()), Some(0));
    // Everything is older than a day. A backup that has retired files deletes them too.
    let copied = |folder: &Path| headway(folder, &["backup", "--lake", "lake", "--to", "copy", "-o", "json"]);
    assert_eq!(copied(folder.path()).code, Some(0));
    let rest = files(folder.path(), &[]).len() as u64;
    assert_eq!(retire(&["--older-than", "1d"])["files"], rest);
    assert_eq!(files(folder.path(), &[]), Vec::<Value>::new());
    let report: Value = serde_json::from_str(&copied(folder.path()).out).expect("one job");
    assert_eq!(report["removed"].as_u64().map(|removed| removed >= rest), Some(true), "{report}");
    assert_eq!(headway(folder.path(), &["audit", "--lake", "copy", "--deep"]).code, Some(0));
    for wrong in [&["--older-than", "x"][..], &[], &["--older-than", "1d", "--before", "2024-01-01"]] {
        let run = headway(folder.path(), &[&["lake", "retire", "--lake", "lake"], wrong].concat());
        assert_eq!(run.code, Some(2), "{run:?}");
    }
}
