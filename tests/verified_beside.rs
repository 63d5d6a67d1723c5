//! `headway views verify` while somebody writes the tables: it waits until files stand still before it says that they differ.

use crate::cli::{Run, files_in, folder, headway, killed_after, succeeds};
use crate::processes::Processes;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// Days of 40 turnstiles in epochs so small that there are many. A day is sealed soon, and before its rows leave memory all files that
/// are not right are written: many times in a short run.
fn job<'a>(source: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["run", "turnstile", "--source", source, "--views", "--until", "end", "--window", "1h"];
    let epochs = ["--epoch", "50ms", "--epoch-bytes", "4KiB", "--if-running", "take-over"];
    [&args[..], &epochs, &["--lake", "lake", "--seal-after", "1h"], more].concat()
}

fn verify(at: &Path) -> Run {
    headway(at, &["views", "verify", "--lake", "lake"])
}

#[test]
fn tables_of_a_running_job_are_right_whenever_they_are_verified() {
    let folder = folder();
    let at = folder.path();
    let mut run =
        Processes::alone(at, &job("generate:messages=8000,rate=0.006,keys=40,seed=5", &["-w", "2"]));
    let mut held = 0;
    loop {
        let ended = run.children[0].try_wait().expect("it is our child");
        let verified = verify(at);
        if verified.code == Some(0) {
            held += 1;
        } else {
            // It has no lake, no manifest or no view yet.
            let codes = ["lake-not-found", "job-not-found", "view-unknown"];
            let is_early = codes.iter().any(|code| verified.err.contains(code));
            assert!(held == 0 && is_early, "{}{}", verified.out, verified.err);
        }
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(0), "{}", run.log("err", 0));
            break;
        }
    }
    assert!(held > 3, "verified {held} times");
}

/// The file of the last day that the table has in `lake`.
fn last_day(lake: &Path) -> PathBuf {
    let days = std::fs::read_dir(lake.join("gold/turnstile/station_day")).expect("there are days");
    days.map(|day| day.expect("an entry").path()).max().expect("a day")
}

#[test]
fn day_of_an_earlier_commit_differs_only_if_it_stays() {
    let folder = folder();
    let at = folder.path();
    let lake = at.join("lake");
    let job = job("generate:messages=4000,rate=0.006,keys=40,seed=5", &[]);
    let (manifests, days) =
        (lake.join("_headway/turnstile/manifest"), lake.join("gold/turnstile/station_day"));
    while files_in(&days) < 3 {
        killed_after(at, &job, &manifests, files_in(&manifests) + 5);
    }
    // A day that is not over.
    let day = last_day(&lake);
    let early = std::fs::read(&day).expect("it can be read");
    succeeds(&headway(at, &job));
    let whole = std::fs::read(&day).expect("it can be read");
    assert!(early != whole, "the day went on");
    succeeds(&verify(at));
    // As a run replaces files: by a rename.
    let replace = |bytes: &[u8]| {
        std::fs::write(at.join("new"), bytes).expect("it can be written");
        std::fs::rename(at.join("new"), &day).expect("it can be replaced");
    };
    replace(&early);
    let stays = verify(at);
    assert_eq!(stays.code, Some(1), "{}{}", stays.out, stays.err);
    assert!(stays.out.contains("differs  station_day"), "{}", stays.out);
    // The run that writes the day comes to it a little later.
    std::thread::scope(|scope| {
        let (ends, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            let verified = verify(at);
            drop(ends);
            succeeds(&verified);
        });
        // It has seen the early one by then; if not, it sees the whole one.
        let waited = ended.recv_timeout(Duration::from_millis(1500));
        assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout), "it has said something of the early day");
        replace(&whole);
    });
}
