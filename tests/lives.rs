//! What is said of jobs that hang, that run on a copy of a lake, and that two supervisors start.

use crate::cli::{Run, folder, headway};
use crate::process::{FOLLOW, command, finished, lines, read, signal, write};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// For how long anything may take. A run is unresponsive after 15 s without a sign of life.
const PATIENCE: Duration = Duration::from_secs(120);

fn start(at: &Path, lake: &str, more: &[&str]) -> Child {
    let job = ["run", "turnstile", "--source", "files:in", "--follow", "--epoch", "50ms", "--lake", lake];
    let mut child = command(at, &[&job[..], more].concat());
    child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
}

/// Asks for the status of the job in `lake` until it is of the kind `word`.
fn status(at: &Path, lake: &str, word: &str) -> Run {
    let began = Instant::now();
    loop {
        let status = headway(at, &["status", "--lake", lake]);
        if status.out.starts_with(word) {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "it is not {word}: {status:?}");
    }
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < PATIENCE, "no {what}");
    }
}

fn drained(mut child: Child) {
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in
        std::fs::read_dir(from).expect("the folder is there").map(|entry| entry.expect("it can be read"))
    {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("it is known").is_dir() {
            true => copied(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("it can be copied")),
        }
    }
}

#[test]
fn job_that_hangs_is_unresponsive_until_it_goes_on() {
    let folder = folder();
    let at = folder.path();
    write(at, "in/a.csv", &lines("a", 0, 50));
    let child = start(at, "lake", &[]);
    wait_for("commit", || read(at) == Some(50));
    signal(&child, Signal::STOP);
    let said = status(at, "lake", "unresponsive");
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.err.contains("(not-alive)"), "{said:?}");
    let lag = headway(at, &["explain", "lag", "--lake", "lake"]);
    assert_eq!(lag.code, Some(1), "{lag:?}");
    assert!(lag.err.contains("does not run: unresponsive"), "{lag:?}");
    let file = headway(at, &["status", "--lake", "lake", "-o", "prometheus"]);
    assert!(file.out.contains("\nheadway_job_state{state=\"unresponsive\"} 1\n"), "{}", file.out);
    signal(&child, Signal::CONT);
    let said = status(at, "lake", "running");
    assert_eq!(said.code, Some(0), "{said:?}");
    drained(child);
}

#[test]
fn watched_job_is_seen_to_run_and_then_to_be_dead() {
    let folder = folder();
    let at = folder.path();
    write(at, "in/a.csv", &lines("a", 0, 50));
    let mut child = start(at, "lake", &[]);
    wait_for("commit", || read(at) == Some(50));
    let mut watch = command(at, &["status", "--lake", "lake", "--watch=100ms"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("the program starts");
    let began = Instant::now();
    let mut said = BufReader::new(watch.stdout.take().expect("it is piped")).lines();
    let mut see = |word: &str| {
        while !said.next().expect("it goes on").expect("it writes text").starts_with(word) {
            assert!(began.elapsed() < PATIENCE, "it is never {word}");
        }
    };
    // More than once.
    (0..3).for_each(|_| see("running    run 1, process "));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    see("failed     run 1 with process-gone: ");
    watch.kill().expect("it can be killed");
    watch.wait().expect("it ends");
}

#[test]
fn run_on_a_copy_of_a_live_lake_leaves_the_run_on_the_lake_alone() {
    let folder = folder();
    let at = folder.path();
    write(at, "in/a.csv", &lines("a", 0, 50));
    let child = start(at, "lake", &[]);
    wait_for("commit", || read(at) == Some(50));
    // The copy says what the lake said: that a process of this host is at work.
    copied(&at.join("lake"), &at.join("copy"));
    let refused = finished(&mut command(at, &[&FOLLOW[..6], &["copy", "--if-running", "refuse"]].concat()));
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let other = start(at, "copy", &["--if-running", "take-over"]);
    let said = status(at, "copy", "running    run 2");
    assert_eq!(said.code, Some(0), "{said:?}");
    // Both read on, each for itself.
    write(at, "in/b.csv", &lines("b", 0, 30));
    wait_for("new file in the lake", || read(at) == Some(80));
    status(at, "lake", "running    run 1");
    wait_for("new file in the copy", || {
        headway(at, &["status", "--lake", "copy"]).out.contains("80 records")
    });
    for child in [child, other] {
        drained(child);
    }
    for lake in ["lake", "copy"] {
        let audit = headway(at, &["audit", "--lake", lake, "--deep"]);
        assert_eq!(audit.code, Some(0), "{lake}: {audit:?}");
    }
}

#[test]
fn of_two_supervisors_one_has_the_job_and_the_other_one_follows_when_it_is_killed() {
    let folder = folder();
    let at = folder.path();
    write(at, "in/a.csv", &lines("a", 0, 50));
    let mut first = start(at, "lake", &[]);
    wait_for("commit", || read(at) == Some(50));
    // It waits for a sign of life, sees one, and leaves the job alone. systemd does not start it again: RestartPreventExitStatus.
    let second = finished(&mut command(at, FOLLOW.as_slice()));
    assert_eq!(second.code, Some(4), "{second:?}");
    assert!(second.err.contains("(already-running)"), "{second:?}");
    assert!(status(at, "lake", "running    run 1").code == Some(0), "the first one goes on");
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    let second = start(at, "lake", &[]);
    status(at, "lake", "running    run 2");
    write(at, "in/b.csv", &lines("b", 0, 30));
    wait_for("new file", || read(at) == Some(80));
    drained(second);
    let audit = headway(at, &["audit", "--lake", "lake", "--deep"]);
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

#[test]
fn run_that_is_taken_over_says_that_it_was_fenced_and_the_other_one_what_it_restored() {
    let folder = folder();
    let at = folder.path();
    write(at, "in/a.csv", &lines("a", 0, 50));
    let log = |name: &str| std::fs::read_to_string(at.join(name)).expect("the log is there");
    let logged = |name: &str, more: &[&str]| {
        let job = [&FOLLOW[..], &["--epoch", "50ms"], more].concat();
        let mut child = command(at, &job);
        let file = std::fs::File::create(at.join(name)).expect("a file can be made");
        child.stdout(Stdio::null()).stderr(file).spawn().expect("the program starts")
    };
    let mut first = logged("first", &[]);
    wait_for("commit", || read(at) == Some(50));
    let second = logged("second", &["--if-running", "take-over"]);
    assert_eq!(first.wait().expect("it ends").code(), Some(4), "{}", log("first"));
    assert!(log("first").contains("event=\"fenced\""), "{}", log("first"));
    status(at, "lake", "running    run 2");
    assert!(log("second").contains("event=\"restored\""), "{}", log("second"));
    drained(second);
}
