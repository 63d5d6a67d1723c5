//! Views that are switched on, or made again, for a job that has run: they are what they would be had they been there from the
//! start, or the start is refused by name.

use crate::cli::{Run, files_in, folder, headway, killed_after};
use crate::live_views::{SOURCE, same};
use std::path::Path;

/// The job, in epochs so small that it has many commits.
fn job<'a>(lake: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let job = [
        "run",
        "turnstile",
        "--source",
        SOURCE,
        "--until",
        "end",
        "--if-running",
        "take-over",
        "--lake",
        lake,
    ];
    [&job[..], &["--epoch", "50ms", "--epoch-bytes", "64KiB"], more].concat()
}

/// Starts the job, and kills it after some commits.
fn killed(at: &Path, lake: &str, more: &[&str]) {
    let manifests = at.join(lake).join("_headway/turnstile/manifest");
    killed_after(at, &job(lake, more), &manifests, files_in(&manifests) + 5);
}

fn ran(at: &Path, lake: &str, more: &[&str]) {
    let run = headway(at, &job(lake, more));
    assert_eq!(run.code, Some(0), "{}", run.err);
}

fn verify(at: &Path, lake: &str) {
    let verify = headway(at, &["views", "verify", "--lake", lake]);
    assert_eq!(verify.code, Some(0), "{lake}: {}{}", verify.out, verify.err);
}

fn refused(run: &Run, says: &str) {
    assert_eq!(run.code, Some(4), "{}{}", run.out, run.err);
    assert!(run.err.contains(says), "{}", run.err);
}

#[test]
fn views_that_are_switched_on_later_are_those_of_the_whole_job() {
    let folder = folder();
    let at = folder.path();
    for (lake, format) in [("text", &["--format", "csv.gz"]), ("typed", &["--format", "parquet"])] {
        killed(at, lake, &[&format[..], &["-w", "2"]].concat());
        // The first run with views may be killed before it has committed what they keep, or after.
        killed(at, lake, &[&format[..], &["--views", "-w", "3"]].concat());
        ran(at, lake, &[&format[..], &["--views"]].concat());
        if lake == "text" {
            same(&at.join(lake), "views that came later");
        }
        verify(at, lake);
        refused(&headway(at, &job(lake, &format[..])), "--views true, not false");
        let audit = headway(at, &["audit", "--lake", lake, "--deep"]);
        assert_eq!(audit.code, Some(0), "{}", audit.err);
    }
}

#[test]
fn views_are_made_again_of_the_committed_facts_and_a_missing_file_is_named() {
    let folder = folder();
    let at = folder.path();
    ran(at, "lake", &["--views", "-w", "2"]);
    let rebuild = || headway(at, &["views", "rebuild", "--lake", "lake"]);
    let rebuilt = rebuild();
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.err);
    ran(at, "lake", &["--views", "-w", "3"]);
    same(&at.join("lake"), "made again");
    verify(at, "lake");
    // A file of the past is gone: nothing is made of the rest without a word.
    assert_eq!(rebuild().code, Some(0));
    let files = headway(at, &["lake", "files", "--lake", "lake", "-o", "json"]);
    let files = files.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let first = files.into_iter().find(|file| file["output"] == "fact_turnstile").expect("a file with facts");
    let path = first["path"].as_str().expect("a path");
    std::fs::remove_file(at.join("lake").join(path)).expect("it can be removed");
    refused(&headway(at, &job("lake", &["--views"])), path);
    refused(&rebuild(), "facts-missing");
    // Unless a person says from where on. The manifest keeps that, and the views are right of what is left.
    let seq = first["seq"].as_u64().expect("a number");
    let manifest = headway(at, &["checkpoint", "show", &seq.to_string(), "--lake", "lake", "-o", "json"]);
    let epoch = serde_json::from_str::<serde_json::Value>(&manifest.out).expect("JSON")["epoch"].as_u64();
    let from = (epoch.expect("an epoch") + 1).to_string();
    ran(at, "lake", &["--views", "--views-from", &from]);
    verify(at, "lake");
    ran(at, "lake", &["--views"]);
    verify(at, "lake");
}
