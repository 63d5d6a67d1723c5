//! A job that goes on with another number of processes or workers, because a person has asked for it: the rows are those of a job
//! that always had one worker, whatever happens in the middle.

use crate::cli::{Run, folder, headway};
use crate::process::signal;
use crate::processes::{
    PATIENCE, Processes, Size, answer, head, messages, run_job, same_messages, seq, until,
};
#[cfg(feature = "serve")]
use crate::processes::{address, get};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// The job: epochs so small that it has not read everything when it is asked for the last size, however slow the questions are.
const JOB: [&str; 9] =
    ["run", "turnstile", "--source", "files:in", "--lake", "lake", "--epoch", "50ms", "--epoch-bytes=1KiB"];

/// A way through the sizes 1x1, 2x1, 1x2 and 3x1 that goes from each to each other one, once.
const WAY: [&str; 13] =
    ["1x1", "2x1", "1x1", "1x2", "1x1", "3x1", "2x1", "1x2", "2x1", "3x1", "1x2", "3x1", "1x1"];

/// The processes of a job of `size`, and those that stand by, three in all.
fn pool<'a>(folder: &'a Path, size: &str, more: &[&str]) -> Processes<'a> {
    let mut job = Processes::of(folder, 3);
    (0..3).for_each(|process| job.start(process, &sized(size, more)));
    job
}

/// The command of a job of `size`.
fn sized<'a>(size: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let (processes, workers) = size.split_once('x').expect("it is a size");
    [&JOB[..], &["-n", processes, "-w", workers], more].concat()
}

/// Asks for another size, and waits until the job has it.
fn rescale(folder: &Path, to: &str) -> Run {
    let args = ["rescale", "--lake", "lake", "--to", to, "-H", "hosts", "--execute", "-o", "json"];
    headway(folder, &args)
}

/// The size of the last run.
fn size(folder: &Path) -> String {
    let members = head(folder).expect("there is a manifest")["members"].clone();
    format!("{}x{}", members["processes"], members["workers"])
}

/// Drains the job, ends those that stand by, and reads what is left, in large epochs.
fn settle(mut job: Processes<'_>) {
    job.children.iter().for_each(|child| signal(child, Signal::TERM));
    assert_eq!(job.codes(), [Some(0); 3], "{}", [0, 1, 2].map(|process| job.log("err", process)).concat());
    assert!(job.log("out", 0).starts_with("drained"), "{}", job.log("out", 0));
    run_job(job.folder, Size { processes: 1, workers: 1 }, &in_large_epochs());
}

/// The command of a job that soon ends.
fn in_large_epochs() -> Vec<&'static str> {
    [&JOB[..8], &["--epoch-bytes=1MiB"]].concat()
}

/// What one worker makes of the messages of a folder.
fn expected(whole: &Path) -> (Vec<Vec<String>>, Vec<String>) {
    run_job(whole, Size { processes: 1, workers: 1 }, &in_large_epochs());
    answer(whole)
}

#[test]
fn job_goes_from_each_size_to_each_other_one_while_it_runs() {
    let (whole, folder) = (folder(), folder());
    messages(whole.path(), 400_000);
    same_messages(whole.path(), folder.path());
    let mut job = pool(folder.path(), WAY[0], &[]);
    until(&mut job, -1, 3);
    for pair in WAY.windows(2) {
        let run = rescale(folder.path(), pair[1]);
        assert_eq!(run.code, Some(0), "{pair:?}: {}{}", run.err, job.log("err", 0));
        let said: Value = serde_json::from_str(&run.out).expect("it is JSON");
        assert_eq!((&said["from"], &said["to"]), (&pair[0].into(), &pair[1].into()), "{said}");
        assert_eq!((said["outcome"].as_str(), size(folder.path())), (Some("rescaled"), pair[1].to_string()));
        let at = seq(folder.path());
        until(&mut job, at, 2);
    }
    let log = job.log("err", 0);
    assert!(log.contains("event=\"rescaled\""), "{log}");
    settle(job);
    assert_eq!(answer(folder.path()), expected(whole.path()));
    assert_eq!(
        head(folder.path()).expect("there is a manifest")["restarts"],
        Value::Null,
        "no run has failed"
    );
}

#[test]
fn kill_in_the_middle_of_a_rescale_delays_it() {
    let whole = folder();
    messages(whole.path(), 150_000);
    let expected = expected(whole.path());
    for (from, to, victim, delay_ms) in
        [("2x1", "3x1", 1, 0), ("3x1", "2x1", 0, 300), ("1x1", "3x1", 2, 600), ("2x1", "1x2", 0, 700)]
    {
        let folder = folder();
        same_messages(whole.path(), folder.path());
        let mut job = pool(folder.path(), from, &["--members", "as-committed"]);
        until(&mut job, -1, 3);
        let asking = std::thread::spawn({
            let (path, to) = (folder.path().to_path_buf(), to.to_string());
            move || rescale(&path, &to)
        });
        std::thread::sleep(Duration::from_millis(delay_ms));
        job.kill(victim, &sized(from, &["--members", "as-committed"]));
        let run = asking.join().expect("it ends");
        let case = format!("{from} -> {to}, process {victim} after {delay_ms} ms");
        let logs = || [0, 1, 2].map(|process| job.log("err", process)).concat();
        assert_eq!((run.code, size(folder.path()).as_str()), (Some(0), to), "{case}: {}{}", run.err, logs());
        // The process that was started again listens for signals before it logs anything.
        let began = Instant::now();
        while job.log("err", victim).is_empty() {
            assert!(began.elapsed() < PATIENCE, "{case}: process {victim} logs nothing");
        }
        settle(job);
        assert_eq!(answer(folder.path()), expected, "{case}");
    }
}

#[test]
fn process_that_is_not_needed_stands_by_and_a_signal_ends_it_alone() {
    let folder = folder();
    let args =
        ["run", "turnstile", "--source", "generate:messages=none", "--lake", "lake", "--epoch", "50ms"];
    let args = [&args[..], &["--epoch-bytes", "64KiB", "-n", "1", "--listen", "0"]].concat();
    let mut job = Processes::of(folder.path(), 3);
    (0..3).for_each(|process| job.start(process, &args));
    until(&mut job, -1, 3);
    // Lines that are too long for a terminal go on below.
    let shown = || {
        let status = headway(folder.path(), &["status", "--lake", "lake"]).out;
        status.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let wait_for = |why: &str| {
        while !shown().contains(&format!(": the job has {why}")) {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for("one process, process 0, and this is process 1");
    wait_for("one process, process 0, and this is process 2");
    let run = rescale(folder.path(), "2x1");
    assert_eq!((run.code, size(folder.path()).as_str()), (Some(0), "2x1"), "{}", run.err);
    let why = "2 processes, 0 to 1, and this is process 2";
    wait_for(why);
    #[cfg(feature = "serve")]
    {
        let address = address(&job, 2);
        assert_eq!(get(&address, "/livez").0, "200");
        let (code, said) = get(&address, "/readyz");
        assert!(code == "503" && said.contains(why), "{code}: {said}");
        assert_eq!(get(&address, "/v1/views").0, "421");
    }
    signal(&job.children[2], Signal::TERM);
    assert_eq!(job.children[2].wait().expect("it ends").code(), Some(0), "{}", job.log("err", 2));
    assert_eq!(job.log("out", 2), "stood by: process 2 of a job of 2\n");
    assert!(!shown().contains("standby "), "its sign is gone, and process 1 stands by no more");
    drop(job.children.pop());
    let at = seq(folder.path());
    until(&mut job, at, 3);
    signal(&job.children[0], Signal::TERM);
    assert_eq!(job.codes(), [Some(0); 2], "{}", job.log("err", 0));
}

#[test]
fn started_without_a_size_a_job_has_that_of_its_last_run() {
    let folder = folder();
    messages(folder.path(), 12_000);
    let drained = |args: &[&str], expected: &str| {
        let at = seq(folder.path());
        let mut job = Processes::alone(folder.path(), &[&JOB[..], args].concat());
        until(&mut job, at, 4);
        signal(&job.children[0], Signal::TERM);
        assert_eq!(job.codes(), [Some(0)], "{}", job.log("err", 0));
        assert_eq!(size(folder.path()), expected);
        job.log("err", 0)
    };
    drained(&["-w", "2"], "1x2");
    drained(&[], "1x2");
    // A request for a job that does not run is taken by its next start, whatever that says.
    let run = rescale(folder.path(), "1x3");
    assert!(run.code == Some(0) && run.out.contains("\"left\""), "{}{}", run.out, run.err);
    let log = drained(&["-w", "2"], "1x3");
    assert!(log.contains("from=\"1x2\" to=\"1x3\""), "{log}");
    let log = drained(&["-w", "1"], "1x1");
    assert!(log.contains("from=\"1x3\" to=\"1x1\""), "{log}");
}
