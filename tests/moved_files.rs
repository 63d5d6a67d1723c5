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
