//! A followed folder over many processes: new files, growing files, rotated and renamed ones are read as by one process, whoever is
//! killed meanwhile.

use crate::cli::{folder, succeeds};
use crate::files::{LAKE, fates, go, lines, write};
use crate::process::signal;
use crate::processes::{self, Processes, audit, same_messages};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The job on the folder `in`, which is followed.
fn job() -> Vec<&'static str> {
    let args = ["run", "turnstile", "--source", "files:in", "--follow", "--epoch", "50ms"];
    [&args[..], &LAKE].concat()
}

/// Waits until `count` messages are committed; all processes must be there then.
fn commits(job: &mut Processes<'_>, count: u64) {
    while fates(job.folder)[0] < count {
        for (at, child) in job.children.iter_mut().enumerate() {
            let ended = child.try_wait().expect("it is our child");
            assert_eq!(ended, None, "process {at} ended");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn append(folder: &Path, name: &str, text: &str) {
    let file = fs::OpenOptions::new().append(true).open(folder.join(name));
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("lines can be added");
}

#[test]
fn followed_folder_is_read_as_by_one_process_whoever_is_killed() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/app.csv", lines(27, 0..50));
    write(path, "in/other.csv", lines(27, 50..90));
    let mut job = Processes::of(path, 3);
    (0..3).for_each(|process| job.start(process, &self::job()));
    commits(&mut job, 90);
    // A file grows, one comes, one is copied and cut beside itself, one is renamed.
    append(path, "in/other.csv", &lines(27, 90..100));
    write(path, "in/new.csv", lines(27, 100..130));
    commits(&mut job, 130);
    write(path, "in/app.csv.1", lines(27, 0..50) + &lines(27, 130..135));
    write(path, "in/app.csv", lines(27, 135..140));
    fs::rename(path.join("in/other.csv"), path.join("in/old.csv")).expect("it can be renamed");
    commits(&mut job, 140);
    // The process that reads the folder is killed, and one that does not.
    job.kill(1, &self::job());
    append(path, "in/old.csv", &lines(27, 140..150));
    commits(&mut job, 150);
    job.kill(0, &self::job());
    append(path, "in/new.csv", &lines(27, 150..160));
    write(path, "in/last.csv", lines(27, 160..170));
    commits(&mut job, 170);
    signal(&job.children[2], Signal::TERM);
    assert_eq!(job.codes(), [Some(0); 3], "{}", job.log("err", 0));
    assert!(job.log("err", 1).contains("all processes are there"), "{}", job.log("err", 1));
    assert_eq!(fates(path), [170, 170, 0, 0, 0]);
    audit(path);
    // Its windows, closed by one process, are those of one process that reads all at once.
    succeeds(&go(path, "run", "files:in", &["-n", "1"]));
    let whole = crate::cli::folder();
    same_messages(path, whole.path());
    succeeds(&go(whole.path(), "run", "files:in", &[]));
    let [found, expected] = [path, whole.path()].map(|folder| processes::lines(folder, "turnstile"));
    assert!(!expected.is_empty());
    assert_eq!(found, expected);
}

#[test]
fn copy_of_a_file_is_read_once_whichever_process_its_number_belongs_to() {
    let folder = folder();
    let path = folder.path();
    for (name, from) in [("in/a.csv", 0), ("in/b.csv", 40), ("in/c.csv", 80)] {
        write(path, name, lines(27, from..from + 40));
    }
    let mut job = Processes::of(path, 2);
    (0..2).for_each(|process| job.start(process, &self::job()));
    commits(&mut job, 120);
    // By their numbers the next two files would belong to process 1 and to process 0, and those that they are copies of to 0 and 1.
    write(path, "in/a.csv.1", lines(27, 0..40) + &lines(27, 120..125));
    write(path, "in/a.csv", lines(27, 125..130));
    commits(&mut job, 130);
    write(path, "in/b.csv.1", lines(27, 40..80) + &lines(27, 130..135));
    write(path, "in/b.csv", lines(27, 135..140));
    commits(&mut job, 140);
    signal(&job.children[0], Signal::TERM);
    assert_eq!(job.codes(), [Some(0); 2], "{}", job.log("err", 0));
    assert_eq!(fates(path), [140, 140, 0, 0, 0]);
    audit(path);
}
