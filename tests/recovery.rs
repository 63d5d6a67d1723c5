//! What a run takes over from the one before, seen from outside: whole runs of the program, one after the other.

use crate::cli::{Run, folder, headway};
use std::io::{Read, Write};
use std::path::Path;

/// Appends messages of one turnstile, an entry each at these times of a day.
fn append(file: &Path, times: &[&str]) {
    let mut file = std::fs::File::options().create(true).append(true).open(file).expect("it can be written");
    for time in times {
        let fields = ["A002", "R051", "02-00-00", "59 ST", "NQR456W", "BMT", "01-06-24", time, "REGULAR"];
        let line = format!("{},1,0,id-{time},2024-01-06 {time}", fields.join(","));
        writeln!(file, "{line}").expect("it can be written");
    }
}

/// Runs the job on the files of `folder/messages`.
fn run(folder: &Path, more: &[&str]) -> Run {
    let args = ["run", "turnstile", "--source", "files:messages", "--lake", "lake", "--window", "5m"];
    headway(folder, &[&args[..], &["--lateness", "5m", "--not-after", "none", "-o", "json"], more].concat())
}

/// TIME, ENTRIES of every row there is, sorted.
fn rows(folder: &Path) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let Ok(files) = std::fs::read_dir(folder.join("lake/turnstile")) else { return rows };
    for file in files {
        let file = std::fs::File::open(file.expect("it can be read").path()).expect("it is there");
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("it is gzipped text");
        let fields = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        rows.extend(fields.map(|fields| (fields[7].to_string(), fields[9].to_string())));
    }
    rows.sort_unstable();
    rows
}

fn row(time: &str, entries: &str) -> (String, String) {
    (time.to_string(), entries.to_string())
}

#[test]
fn what_comes_after_the_end_of_a_run_is_late_where_that_run_had_closed_its_windows() {
    for workers in ["1", "2", "3"] {
        let folder = folder();
        let messages = folder.path().join("messages");
        std::fs::create_dir(&messages).expect("a folder can be made");
        append(&messages.join("a"), &["00:00:15", "00:04:00", "00:11:00"]);
        let first = run(folder.path(), &["--until", "end", "-w", workers]);
        assert_eq!(first.code, Some(0), "{}", first.err);
        assert_eq!(rows(folder.path()), [row("00:05:00", "2"), row("00:15:00", "1")]);
        // The newest record less the lateness is 00:06:00; the end closed everything up to 00:15:00.
        append(&messages.join("a"), &["00:12:00", "00:14:59", "00:16:00"]);
        let second = run(folder.path(), &["--until", "end", "-w", workers]);
        assert_eq!(second.code, Some(0), "{}", second.err);
        let expected = [row("00:05:00", "2"), row("00:15:00", "1"), row("00:20:00", "1")];
        assert_eq!(rows(folder.path()), expected);
        let late = headway(folder.path(), &["dead", "ls", "--lake", "lake", "-o", "json"]);
        assert!(late.out.contains("\"late\":2"), "{}", late.out);
    }
}
