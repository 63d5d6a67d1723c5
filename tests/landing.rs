//! The life of a landing folder between runs: files that were read are moved, packed, renamed, replaced and cut, and come
//! back. By whole runs.

use crate::cli::{Run, folder, headway};
use crate::files::{Followed, capture, fates, go, gzip, lines, write};
use std::fs;
use std::path::Path;

/// Runs the job on the folder `in` until all is read.
fn catch_up(folder: &Path) -> Run {
    go(folder, "run", "files:in", &["--until", "caught-up"])
}

/// The same, which must go well.
fn caught_up(folder: &Path) -> Run {
    let run = catch_up(folder);
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

fn audited(folder: &Path) {
    let audit = headway(folder, &["audit", "--lake", "lake", "--deep"]);
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

fn rename(folder: &Path, from: &str, to: &str) {
    fs::rename(folder.join(from), folder.join(to)).expect("it can be renamed");
}

/// How many partitions are finished.
fn finished(folder: &Path) -> u64 {
    let status = headway(folder, &["status", "--lake", "lake", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status.out).expect("the status is JSON");
    status["inputs"][0]["finished"]["partitions"].as_u64().expect("it is a number")
}

#[test]
fn file_that_was_read_to_its_end_may_be_moved_away_and_come_back() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/0127.csv", lines(27, 0..40));
    write(path, "in/0128.csv", lines(28, 0..50));
    caught_up(path);
    // The next day's file comes, and what was committed goes; then a day without a new file; then none at all.
    fs::create_dir(path.join("archive")).expect("a folder can be made");
    rename(path, "in/0127.csv", "archive/0127.csv");
    write(path, "in/0129.csv", lines(29, 0..60));
    caught_up(path);
    assert_eq!((fates(path)[..2].to_vec(), finished(path)), (vec![150, 150], 1));
    rename(path, "in/0128.csv", "archive/0128.csv");
    caught_up(path);
    rename(path, "in/0129.csv", "archive/0129.csv");
    caught_up(path);
    assert_eq!((fates(path)[..2].to_vec(), finished(path)), (vec![150, 150], 3));
    let status = headway(path, &["status", "--lake", "lake"]);
    assert!(status.out.contains("finished   3 partitions read to the end and gone"), "{status:?}");
    audited(path);
    // What comes back is passed over, and another file of the same name is read.
    rename(path, "archive/0127.csv", "in/0127.csv");
    write(path, "in/0128.csv", lines(30, 0..7));
    let run = caught_up(path);
    assert!(run.err.contains("0127.csv: it was read to its end by an earlier run, and was gone"), "{run:?}");
    assert_eq!((fates(path)[..2].to_vec(), finished(path)), (vec![157, 157], 3));
    audited(path);
}

#[test]
fn read_files_may_go_when_windows_were_closed_too_and_when_workers_change() {
    let folder = folder();
    let path = folder.path();
    for day in 20..26 {
        write(path, &format!("in/{day}.csv"), lines(day, 0..30));
        let workers = (day % 3 + 1).to_string();
        let run = go(path, "run", "files:in", &["--workers", &workers, "--until", "end"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        fs::remove_file(path.join(format!("in/{day}.csv"))).expect("it can be removed");
    }
    assert_eq!((fates(path)[..2].to_vec(), finished(path)), (vec![180, 180], 5));
    audited(path);
}

#[test]
fn read_files_may_be_packed_renamed_and_replaced_between_runs() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/app.csv", lines(27, 0..40));
    write(path, "in/latest.csv", lines(28, 0..50));
    caught_up(path);
    // One is packed under another name and a new one has its name; the other one is written anew in place.
    write(path, "in/app.csv.1.gz", gzip(&lines(27, 0..40)));
    write(path, "in/app.csv", lines(29, 0..60));
    write(path, "in/latest.csv", lines(30, 0..7));
    caught_up(path);
    assert_eq!((fates(path)[..3].to_vec(), finished(path)), (vec![157, 157, 0], 1));
    // A file that has grown is read on, whatever it is called.
    rename(path, "in/latest.csv", "in/before.csv");
    write(path, "in/before.csv", lines(30, 0..9));
    caught_up(path);
    assert_eq!(fates(path)[..3], [159, 159, 0]);
    audited(path);
}

#[test]
fn file_that_was_not_read_to_its_end_is_refused_by_name_when_it_is_gone() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/app.csv", format!("{}A002,half a li", lines(27, 0..40)));
    write(path, "in/b.csv", lines(28, 0..50));
    let job = Followed::start(path, "files:in");
    job.commits(path, 90);
    assert_eq!(job.stop(), Some(0));
    fs::remove_file(path.join("in/b.csv")).expect("it can be removed");
    rename(path, "in/app.csv", "away.csv");
    for command in ["check", "run"] {
        let refused = go(path, command, "files:in", &["--follow"]);
        assert_eq!(refused.code, Some(4), "{refused:?}");
        for word in ["other-identity", "app.csv", "not read to its end"] {
            assert!(refused.err.contains(word), "{command} does not say {word}: {refused:?}");
        }
    }
    // Under another name it goes on where it was, and the other one, which was read whole, may be gone.
    write(path, "in/later.csv", lines(27, 0..42));
    caught_up(path);
    assert_eq!((fates(path)[..2].to_vec(), finished(path)), (vec![92, 92], 1));
    audited(path);
}

#[test]
fn start_after_a_rotation_goes_on_in_the_renamed_file_and_in_the_copy() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/app.csv", lines(30, 0..50));
    write(path, "in/cut.csv", lines(29, 0..50));
    let job = Followed::start(path, "files:in");
    job.commits(path, 100);
    assert_eq!(job.stop(), Some(0));
    // While nobody looks, lines are added, and then one file is rotated by renaming it, one by copying and cutting it.
    write(path, "in/app.csv", lines(30, 0..55));
    rename(path, "in/app.csv", "in/app.csv.1");
    write(path, "in/app.csv", lines(30, 55..60));
    write(path, "in/cut.csv.1", lines(29, 0..55));
    write(path, "in/cut.csv", lines(29, 55..60));
    let job = Followed::start(path, "files:in");
    job.commits(path, 120);
    assert_eq!(job.stop(), Some(0));
    caught_up(path);
    assert_eq!(fates(path)[..3], [120, 120, 0]);
    audited(path);
}

#[test]
fn followed_file_that_is_copied_and_cut_beside_itself_is_read_once() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/app.csv", lines(30, 0..50));
    let job = Followed::start(path, "files:in");
    job.commits(path, 50);
    write(path, "in/app.csv.1", lines(30, 0..55));
    write(path, "in/app.csv", lines(30, 55..60));
    job.commits(path, 60);
    assert_eq!(job.stop(), Some(0));
    assert_eq!(fates(path)[..3], [60, 60, 0]);
    caught_up(path);
    assert_eq!(fates(path)[..3], [60, 60, 0]);
    audited(path);
}

#[test]
fn followed_captures_go_on_by_the_hour_by_rotation_in_copies_and_after_deletion() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/app.ndjson", capture(3, 30, 0..50));
    let job = Followed::start(path, "files:in");
    job.commits(path, 50);
    write(path, "in/copy.ndjson", capture(3, 30, 0..50));
    job.says(&["passes over", "copy.ndjson", "it is a copy of"]);
    write(path, "in/hour.ndjson", capture(3, 30, 50..80));
    job.commits(path, 80);
    // Rotated by renaming, then by copying and cutting.
    rename(path, "in/hour.ndjson", "in/hour.ndjson.1");
    write(path, "in/hour.ndjson", capture(3, 30, 80..100));
    job.commits(path, 100);
    write(path, "in/hour.ndjson.2", capture(3, 30, 80..110));
    write(path, "in/hour.ndjson", capture(3, 30, 110..120));
    job.commits(path, 120);
    for name in ["app.ndjson", "hour.ndjson.1", "copy.ndjson"] {
        fs::remove_file(path.join("in").join(name)).expect("it can be removed");
    }
    write(path, "in/other.ndjson", capture(4, 30, 200..220));
    write(path, "in/early.ndjson", capture(3, 28, 0..20));
    job.says(&["passes over", "early.ndjson", "it begins with offset 0 of partition 3"]);
    job.commits(path, 140);
    assert_eq!(job.stop(), Some(0));
    assert_eq!(fates(path), [140, 140, 0, 0, 0]);
    // What was read may be gone at a start, and the next hour comes after that.
    for name in ["early.ndjson", "hour.ndjson", "hour.ndjson.2"] {
        fs::remove_file(path.join("in").join(name)).expect("it can be removed");
    }
    let job = Followed::start(path, "files:in");
    write(path, "in/next.ndjson", capture(3, 30, 120..130));
    job.commits(path, 150);
    assert_eq!(job.stop(), Some(0));
    caught_up(path);
    assert_eq!(fates(path), [150, 150, 0, 0, 0]);
    audited(path);
}

/// Runs until all is read, in which a partition is idle after `idle_after`.
fn quiet(folder: &Path, idle_after: &str) -> Run {
    let run = go(folder, "run", "files:in", &["--until", "caught-up", "--idle-after", idle_after]);
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

#[test]
fn run_after_run_yields_rows_although_one_file_is_quiet_and_one_is_empty() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/0127.csv", lines(27, 0..60));
    write(path, "in/0129.csv", lines(29, 0..60));
    write(path, "in/empty.csv", "");
    let first = quiet(path, "1h");
    assert!(first.out.contains("done: 0 rows"), "{first:?}");
    assert!(
        first.out.contains("windows held open by partition 2, which has had no record; idle in "),
        "{first:?}"
    );
    // The next run, and what it finds quiet was so for longer than a millisecond.
    write(path, "in/0129.csv", lines(29, 0..120));
    let next = quiet(path, "1ms");
    assert!(!next.out.contains("done: 0 rows") && !next.out.contains("held open"), "{next:?}");
    write(path, "in/0129.csv", lines(29, 0..180));
    let waiting = quiet(path, "1h");
    assert!(waiting.out.contains("done: 0 rows") && waiting.out.contains("held open"), "{waiting:?}");
    write(path, "in/0129.csv", lines(29, 0..240));
    let last = quiet(path, "1ms");
    assert!(!last.out.contains("done: 0 rows"), "{last:?}");
    // What was quiet and comes after all is late where its windows were closed without it, and counted.
    write(path, "in/0127.csv", lines(27, 0..61));
    let late = go(path, "run", "files:in", &["--until", "caught-up", "--idle-after", "1ms"]);
    assert!(late.code == Some(1) && late.err.contains("nothing-accepted"), "{late:?}");
    assert_eq!(fates(path), [301, 300, 0, 1, 0]);
    audited(path);
}

#[test]
fn capture_an_hour_is_read_run_after_run_and_one_that_comes_too_late_is_refused() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/10.ndjson", capture(3, 30, 0..40));
    write(path, "in/09.ndjson", capture(3, 30, 40..60));
    caught_up(path);
    write(path, "in/11.ndjson", capture(3, 30, 100..160));
    fs::remove_file(path.join("in/10.ndjson")).expect("it can be removed");
    for workers in ["2", "3"] {
        let run = go(path, "run", "files:in", &["--until", "caught-up", "--workers", workers]);
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    assert_eq!(fates(path), [120, 120, 0, 0, 0]);
    write(path, "in/missing.ndjson", capture(3, 30, 60..100));
    for command in ["check", "run"] {
        let refused = go(path, command, "files:in", &["--until", "caught-up"]);
        assert_eq!(refused.code, Some(4), "{refused:?}");
        assert!(
            refused.err.contains("file-below-position") && refused.err.contains("60..100"),
            "{refused:?}"
        );
    }
    fs::remove_file(path.join("in/missing.ndjson")).expect("it can be removed");
    // What was read may all go, and the next hour comes.
    ["in/09.ndjson", "in/11.ndjson"]
        .iter()
        .for_each(|name| fs::remove_file(path.join(name)).expect("it goes"));
    caught_up(path);
    write(path, "in/12.ndjson", capture(3, 30, 160..170));
    caught_up(path);
    assert_eq!((fates(path), finished(path)), ([130, 130, 0, 0, 0], 0));
    // Another capture under the name of one that was read.
    write(path, "in/12.ndjson", capture(3, 29, 160..180));
    let refused = catch_up(path);
    assert!(
        refused.code == Some(4) && refused.err.contains("with another record at offset 169"),
        "{refused:?}"
    );
    audited(path);
}
