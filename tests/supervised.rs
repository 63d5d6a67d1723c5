//! Programs that are replaced while a job of several processes runs, and the command that supervises such a job.

use crate::cli::folder;
use crate::process::signal;
use crate::processes::{ENDLESS, JOB, Processes, audit, messages, pid_of, seq, until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::io::Write;
use std::path::Path;

/// A job that goes on until it is drained.
const ON_AND_ON: [&str; 8] =
    ["cluster", "run", "turnstile", "--source", ENDLESS, "--lake", "lake", "--epoch=50ms"];

/// Puts the program into `folder`, in the place of one that is there, as an installer does; `build` makes it another build.
fn install(folder: &Path, build: &[u8]) {
    let (new, at) = (folder.join("new"), folder.join("headway"));
    fs::copy(env!("CARGO_BIN_EXE_headway"), &new).expect("the program can be copied");
    let mut file = fs::OpenOptions::new().append(true).open(&new).expect("it can be changed");
    file.write_all(build).expect("it can be changed");
    drop(file);
    fs::rename(new, at).expect("it can be replaced");
}

/// The addresses of `processes` processes that run a program of their own in `folder`, which can be replaced.
fn of_own_program(folder: &Path, processes: usize) -> Processes<'_> {
    install(folder, b"");
    let mut job = Processes::of(folder, processes);
    job.program = folder.join("headway");
    job
}

/// The same, started under a supervisor and at work.
fn supervised(folder: &Path, processes: usize) -> Processes<'_> {
    let mut job = of_own_program(folder, 0);
    job.start_alone(&[&ON_AND_ON[..], &["-n", &processes.to_string()]].concat());
    until(&mut job, -1, 3);
    job
}

/// A supervised job whose process 1 is killed goes on, until it is drained.
fn comes_back(folder: &Path, mut job: Processes<'_>) {
    let before = seq(folder);
    kill(pid_of(job.children[0].id(), 1).expect("it runs"));
    // The claim of the next run, and commits of it.
    until(&mut job, before, 6);
    signal(&job.children[0], Signal::TERM);
    assert_eq!(job.codes(), [Some(0)], "{}", job.log("err", 0));
    audit(folder);
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a number"), Signal::KILL).expect("it runs");
}

#[test]
fn processes_that_start_themselves_again_take_up_the_new_build() {
    let folder = folder();
    messages(folder.path(), 12_000);
    let mut job = of_own_program(folder.path(), 3);
    (0..3).for_each(|process| job.start(process, &JOB));
    until(&mut job, -1, 5);
    install(folder.path(), b"the next build");
    // Its supervisor starts it from the file that is there now.
    job.kill(1, &JOB);
    assert_eq!(job.codes(), [Some(0); 3], "{}{}", job.log("err", 0), job.log("err", 1));
    audit(folder.path());
}

#[test]
fn process_of_the_old_build_that_waits_takes_up_the_new_one() {
    let args = [&JOB[..], &["--join-within", "7s"]].concat();
    for waits in [0, 1] {
        let folder = folder();
        messages(folder.path(), 2_000);
        let mut job = of_own_program(folder.path(), 2);
        job.start(waits, &args);
        while !job.log("err", waits).contains("waiting-for-process") {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        install(folder.path(), b"the next build");
        job.start(1 - waits, &args);
        assert_eq!(job.codes(), [Some(0); 2], "{}{}", job.log("err", 0), job.log("err", 1));
        audit(folder.path());
    }
}

#[test]
fn supervisor_starts_a_lost_process_from_the_new_build() {
    let folder = folder();
    let job = supervised(folder.path(), 2);
    install(folder.path(), b"the next build");
    comes_back(folder.path(), job);
}

#[test]
fn supervisor_that_cannot_start_a_process_ends_the_others() {
    let folder = folder();
    let mut job = supervised(folder.path(), 3);
    let pids = [0, 1, 2].map(|number| pid_of(job.children[0].id(), number).expect("it runs"));
    fs::write(folder.path().join("new"), "no program").expect("a file can be written");
    fs::rename(folder.path().join("new"), folder.path().join("headway")).expect("it can be replaced");
    kill(pids[1]);
    assert_eq!(job.codes(), [Some(3)], "{}", job.log("err", 0));
    assert!(job.log("err", 0).contains("(start-failed)"), "{}", job.log("err", 0));
    for pid in pids {
        let gone = test_kill_process(Pid::from_raw(pid).expect("a number"));
        assert!(gone.is_err(), "process {pid} lives on");
    }
    audit(folder.path());
}

#[test]
fn supervised_processes_come_back_when_the_folder_of_temporary_files_was_cleaned() {
    let folder = folder();
    let mut job = Processes::alone(folder.path(), &[&ON_AND_ON[..], &["-n", "2"]].concat());
    until(&mut job, -1, 3);
    // The folder of the test is that of temporary files, too.
    let files = fs::read_dir(folder.path()).expect("it is there").map(|file| file.expect("it can be read"));
    let is_temporary = |name: &str| name != "lake" && !name.starts_with("err-") && !name.starts_with("out-");
    for file in files.filter(|file| is_temporary(&file.file_name().to_string_lossy())) {
        match file.path().is_dir() {
            true => fs::remove_dir_all(file.path()).expect("it can be deleted"),
            false => fs::remove_file(file.path()).expect("it can be deleted"),
        }
    }
    comes_back(folder.path(), job);
}
