//! Views over many processes: their tables are those of one process, whatever the number of processes, and whatever happens to
//! them.

use crate::cli::{folder, headway};
use crate::process::{signal, write};
use crate::processes::{JOB, Processes, Size, audit, messages, run_job, seq, until};
use crate::weekly::tables;
use rustix::process::Signal;
use std::path::Path;

/// The sizes that are compared, one process on one worker first.
const SIZES: [(usize, usize); 5] = [(1, 1), (2, 1), (1, 2), (3, 1), (2, 2)];

/// The job of turnstiles with its views.
fn job() -> Vec<&'static str> {
    [&JOB[..], &["--views"]].concat()
}

/// Demands that the tables of the job are what was committed makes them, by the slow way.
fn verified(folder: &Path) {
    let run = headway(folder, &["views", "verify", "--lake", "lake"]);
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
}

/// Demands that the tables of the job in `folder` are those of the job in `whole`.
fn same_tables(folder: &Path, whole: &Path) {
    let of = |folder: &Path| tables(&folder.join("lake"), "turnstile");
    let (found, expected) = (of(folder), of(whole));
    for (name, rows) in &expected {
        assert_eq!(found.get(name), Some(rows), "{name}");
    }
}

/// Compares the tables that `args` make in a folder that `fill` fills, for every size.
fn same_for_every_size(pipeline: &str, args: &[&str], fill: impl Fn(&Path)) {
    let mut expected = None;
    for (processes, workers) in SIZES {
        let folder = folder();
        fill(folder.path());
        run_job(folder.path(), Size { processes, workers }, args);
        let found = tables(&folder.path().join("lake"), pipeline);
        assert!(found.values().filter(|rows| !rows.is_empty()).count() > 2, "there is something in them");
        let expected = expected.get_or_insert_with(|| found.clone());
        for (name, rows) in &found {
            assert_eq!(expected.get(name), Some(rows), "{name} on {processes} x {workers}");
        }
        assert_eq!(expected.len(), found.len());
        verified(folder.path());
    }
}

#[test]
fn tables_are_those_of_one_process_however_many_there_are() {
    same_for_every_size("turnstile", &job(), |folder| messages(folder, 6_000));
}

#[test]
fn tables_of_several_topics_are_those_of_one_process() {
    let args = ["run", "music", "--views", "--source", "generate:messages=4000", "--lake", "lake"];
    same_for_every_size("music", &args, |_| ());
}

#[test]
fn tables_of_weekly_files_are_those_of_one_process() {
    let args = ["run", "turnstile-weekly", "--source", "files:in", "--lake", "lake"];
    same_for_every_size("turnstile-weekly", &args, |folder| {
        std::fs::create_dir(folder.join("in")).expect("the folder can be made");
        let sample = include_bytes!("samples/240106.csv.gz");
        std::fs::write(folder.join("in/240106.csv.gz"), sample).expect("the file can be written");
    });
}

#[test]
fn tables_survive_drains_kills_and_another_number_of_processes() {
    let whole = folder();
    messages(whole.path(), 12_000);
    run_job(whole.path(), Size { processes: 1, workers: 1 }, &job());
    let folder = folder();
    messages(folder.path(), 12_000);
    // The process that is killed, and started again as its supervisor does: the one with the views, too.
    for (processes, workers, lost) in [(2, "1", 1), (3, "1", 0), (2, "2", 0)] {
        let args = [&job()[..], &["-w", workers]].concat();
        let before = seq(folder.path());
        let mut job = Processes::of(folder.path(), processes);
        (0..processes).for_each(|process| job.start(process, &args));
        until(&mut job, before, 5);
        job.kill(lost, &args);
        until(&mut job, seq(folder.path()), 5);
        signal(&job.children[processes - 1], Signal::TERM);
        assert_eq!(job.codes(), vec![Some(0); processes], "{}", job.log("err", 0));
        verified(folder.path());
    }
    run_job(folder.path(), Size { processes: 1, workers: 2 }, &job());
    same_tables(folder.path(), whole.path());
    verified(folder.path());
    audit(folder.path());
}

#[test]
fn tables_that_are_new_to_a_job_begin_with_all_that_was_committed_by_any_process() {
    let whole = folder();
    messages(whole.path(), 3_000);
    run_job(whole.path(), Size { processes: 1, workers: 1 }, &job());
    let folder = folder();
    messages(folder.path(), 3_000);
    run_job(folder.path(), Size { processes: 3, workers: 1 }, &JOB);
    run_job(folder.path(), Size { processes: 2, workers: 2 }, &job());
    same_tables(folder.path(), whole.path());
    verified(folder.path());
}

#[test]
fn build_is_refused_in_several_processes_before_anything_is_made() {
    let folder = folder();
    messages(folder.path(), 100);
    write(folder.path(), "hosts", "127.0.0.1:1\n127.0.0.1:2\n");
    let args = ["build", "turnstile", "--source", "files:in", "--lake", "lake", "-H", "hosts", "-p", "0"];
    let run = headway(folder.path(), &args);
    assert_eq!(run.code, Some(2), "{}", run.err);
    assert!(run.err.contains("build runs in one process"), "{}", run.err);
    assert!(!folder.path().join("lake").exists());
}
