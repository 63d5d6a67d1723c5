//! Files as people really have them: what is read, what is refused by name, and what a job lives through. By whole runs.

use crate::cli::{Run, folder, headway};
use crate::process::signal;
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a job may take to say what it must say.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages `from..to` of a day, one every ten seconds, each with one entry, a line each.
pub(crate) fn lines(day: u32, numbers: std::ops::Range<u32>) -> String {
    numbers
        .map(|n| {
            let time = format!("{:02}:{:02}:{:02}", 10 + n / 360, n / 6 % 60, n % 6 * 10);
            format!(
                "A002,R051,02-00-00,59 ST,NQR456W,BMT,01-{day}-24,{time},REGULAR,1,2,{day}-{n},2024-01-{day} {time}\n"
            )
        })
        .collect()
}

/// The same as `kcat -J` writes them, from partition `partition` and offset `from` on.
pub(crate) fn capture(partition: u32, day: u32, numbers: std::ops::Range<u32>) -> String {
    let first = numbers.start;
    lines(day, numbers)
        .lines()
        .zip(first..)
        .map(|(payload, offset)| {
            let envelope = serde_json::json!({
                "topic": "mta-turnstile", "partition": partition, "offset": offset, "tstype": "create",
                "ts": 1_706_608_800_000_i64, "broker": 1, "key": null, "payload": payload,
            });
            format!("{envelope}\n")
        })
        .collect()
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(text.as_bytes()).expect("memory takes it");
    gz.finish().expect("memory takes it")
}

pub(crate) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder can be made");
    fs::write(path, bytes).expect("a file can be written");
}

pub(crate) const LAKE: [&str; 4] = ["--lake", "lake", "--max-ahead", "24h"];

/// Runs a command of the turnstile job on `source`.
pub(crate) fn go(folder: &Path, command: &str, source: &str, more: &[&str]) -> Run {
    headway(folder, &[&[command, "turnstile", "--source", source], LAKE.as_slice(), more].concat())
}

/// What became of all messages: consumed, accepted, duplicate, late, dead.
pub(crate) fn fates(folder: &Path) -> [u64; 5] {
    let status = headway(folder, &["status", "--lake", "lake", "-o", "json"]);
    if status.out.is_empty() {
        // There is no job yet.
        return [0; 5];
    }
    let status: serde_json::Value = serde_json::from_str(&status.out).expect("the status is JSON");
    let partitions = status["inputs"][0]["partitions"].as_array().expect("partitions are a list").clone();
    ["consumed", "accepted", "duplicate", "late", "dead"].map(|fate| {
        // Dead letters are counted by reason.
        let sum = |count: &serde_json::Value| match count.as_object() {
            Some(reasons) => reasons.values().filter_map(serde_json::Value::as_u64).sum(),
            None => count.as_u64().unwrap_or_default(),
        };
        let gone = sum(&status["inputs"][0]["finished"]["total"][fate]);
        partitions.iter().map(|part| sum(&part[fate])).sum::<u64>() + gone
    })
}

/// A job that follows its files.
pub(crate) struct Followed {
    child: Child,
    log: Receiver<String>,
}

impl Followed {
    pub(crate) fn start(folder: &Path, source: &str) -> Followed {
        let mut child = Command::new(env!("CARGO_BIN_EXE_headway"))
            .args(["run", "turnstile", "--source", source, "--follow", "-v", "--epoch", "50ms"])
            .args(LAKE)
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (log, err) = (channel(), child.stderr.take().expect("standard error is piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                if log.0.send(line).is_err() {
                    return;
                }
            }
        });
        Followed { child, log: log.1 }
    }

    /// Waits for a line of the log that has all of `words`.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let mut before = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if words.iter().all(|word| line.contains(word)) => return line,
                Ok(line) => before.push(line),
                Err(why) => panic!("it does not say {words:?} ({why}), but:\n{}", before.join("\n")),
            }
        }
    }

    /// Waits until `count` messages are committed.
    pub(crate) fn commits(&self, folder: &Path, count: u64) {
        while fates(folder)[0] < count {
            self.says(&["committed"]);
        }
    }

    /// Tells it to stop; its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        signal(&self.child, Signal::TERM);
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // Ended already, unless a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn bytes_decide_what_a_file_is() {
    let folder = folder();
    write(folder.path(), "in/MESSAGES.CSV.GZ", gzip(&lines(29, 0..10)));
    write(
        folder.path(),
        "in/messages.csv",
        [gzip(&lines(29, 10..20)), gzip(&lines(29, 20..30)), vec![0; 600]].concat(),
    );
    write(folder.path(), "in/plain.gz", lines(29, 30..40));
    write(folder.path(), "in/capture.log", format!("\u{FEFF}{}", capture(9, 29, 40..50)));
    let run = go(folder.path(), "run", "files:in", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(fates(folder.path()), [50, 50, 0, 0, 0]);
}

#[test]
fn what_cannot_be_read_is_refused_by_name_and_line_and_never_becomes_dead_letters() {
    let folder = folder();
    let utf16: Vec<u8> = lines(29, 0..9).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let pretty =
        serde_json::to_string_pretty(&serde_json::json!({"topic": "t", "payload": "x"})).expect("JSON");
    let cases: [(&str, Vec<u8>, &str); 7] = [
        (
            "noise",
            format!("% Reading configuration\n{}", capture(0, 29, 0..60)).into(),
            "noise:1\" is not a usable input",
        ),
        (
            "warning",
            format!("WARN a\nWARN b\n{}", capture(0, 29, 0..60)).into(),
            "warning:1\" is not a usable input",
        ),
        ("export.csv", [&b"PK\x03\x04\x14"[..], &[0; 60]].concat(), "it is a zip archive"),
        ("utf16.csv", utf16.clone(), "it is UTF-16"),
        ("marked.csv", [&b"\xFF\xFE"[..], &utf16].concat(), "it is UTF-16"),
        ("pretty.json", pretty.into(), "it is JSON that is spread over several lines"),
        (
            "array.json",
            format!("[{}]", capture(0, 29, 0..2).trim().replace('\n', ",")).into(),
            "it is one JSON array",
        ),
    ];
    for (name, bytes, words) in cases {
        write(folder.path(), name, bytes);
        for command in ["check", "run"] {
            let refused = go(folder.path(), command, &format!("files:{name}"), &[]);
            assert_eq!(refused.code, Some(2), "{name}: {refused:?}");
            assert!(refused.err.contains(words) && refused.err.contains("hint: "), "{refused:?}");
        }
        assert!(!folder.path().join("lake").exists(), "a job that is refused leaves nothing behind");
    }
}

#[test]
fn damaged_file_has_one_code_wherever_the_damage_is_and_stops_no_folder() {
    let (short, long) = (gzip(&lines(30, 0..30)), gzip(&lines(30, 0..3_000)));
    let flipped = |mut bytes: Vec<u8>, from_end: usize| {
        let at = bytes.len() - from_end;
        bytes[at] ^= 0xFF;
        bytes
    };
    let cases = [
        ("in the first lines", flipped(short.clone(), short.len() / 2)),
        ("in the checksum of a short file", flipped(short.clone(), 6)),
        ("behind the first lines", flipped(long.clone(), 1_000)),
        ("in the checksum of a long file", flipped(long.clone(), 6)),
        ("a short file ends early", short[..short.len() - 30].to_vec()),
        ("a long file ends early", long[..long.len() - 900].to_vec()),
    ];
    for (name, bytes) in cases {
        let folder = folder();
        write(folder.path(), "one.csv.gz", &bytes);
        write(folder.path(), "in/a.csv", lines(29, 0..50));
        write(folder.path(), "in/b.csv.gz", &bytes);
        for command in ["check", "run"] {
            let refused = go(folder.path(), command, "files:one.csv.gz", &[]);
            assert_eq!(refused.code, Some(3), "{name}: {refused:?}");
            assert!(refused.err.contains("(source-failed)"), "{name}: {refused:?}");
            assert!(refused.err.contains("Its gzip is damaged"), "{name}: {refused:?}");
            let passed = go(folder.path(), command, "files:in", &[]);
            assert_eq!(passed.code, Some(0), "{name}: {passed:?}");
            let said = passed.out + &passed.err;
            assert!(said.contains("b.csv.gz: it cannot be read: its gzip is damaged"), "{name}: {said}");
        }
        assert_eq!(fates(folder.path())[0], 50, "{name}");
        // Once it is whole it is read.
        write(folder.path(), "in/b.csv.gz", &long);
        go(folder.path(), "run", "files:in", &["--until", "caught-up"]);
        assert_eq!(fates(folder.path())[0], 3_050, "{name}");
    }
}

#[test]
fn odd_entries_of_a_folder_are_passed_over_and_listed() {
    let folder = folder();
    write(folder.path(), "in/a.csv", lines(29, 0..50));
    write(folder.path(), "in/a.csv~", lines(29, 0..50));
    write(folder.path(), "in/b.csv.tmp", lines(29, 0..50));
    write(folder.path(), "in/old.zip", b"PK\x03\x04");
    write(folder.path(), "in/sub/c.csv", lines(29, 50..60));
    let link = |name: &str| std::os::unix::fs::symlink("nowhere", folder.path().join("in").join(name));
    link(".#a.csv").and_then(|()| link("dangling")).expect("links can be made");
    let pipe = Command::new("mkfifo").arg(folder.path().join("in/pipe")).status();
    assert!(pipe.expect("mkfifo is there").success());
    let checked = go(folder.path(), "check", "files:in", &[]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    for words in [
        "reads     a.csv: lines\n",
        "old.zip: it is a zip archive",
        "dangling: it is a link to nowhere",
        "pipe: it is a pipe",
        "sub: it is a folder",
        "a.csv~: it belongs to an editor",
    ] {
        assert!(checked.out.contains(words), "it does not list {words:?}:\n{}", checked.out);
    }
    let run = go(folder.path(), "run", "files:in", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.err.contains("passes over") && run.err.contains("pipe: it is a pipe"), "{run:?}");
    assert_eq!(fates(folder.path()), [50, 50, 0, 0, 0]);
    let below = headway(folder.path(), &["run", "turnstile", "--source", "files:in/**", "--lake", "below"]);
    assert_eq!(below.code, Some(0), "{below:?}");
    assert!(below.err.contains("sub/c.csv: lines"), "{below:?}");
}

/// Runs a command of the job under a limit of open files.
fn with_few_descriptors(folder: &Path, limit: u32, args: &str) {
    let script = format!("ulimit -Sn {limit}; exec '{}' {args} --lake lake", env!("CARGO_BIN_EXE_headway"));
    let run = Command::new("sh").args(["-c", &script]).current_dir(folder).env_remove("RUST_LOG").output();
    let run = run.expect("a shell starts");
    assert!(run.status.success(), "{args}: {}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn more_files_than_descriptors_are_read() {
    let line = |n: u32| {
        format!(
            "A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,10:00:00,REGULAR,1,2,m{n},2024-01-30 10:00:00\n"
        )
    };
    /// What the files hold, how many there are, and the limit.
    type Kind<'a> = (&'a dyn Fn(u32) -> Vec<u8>, u32, u32);
    let kinds: [Kind<'_>; 4] = [
        (&|n| line(n).into_bytes(), 1_500, 256),
        (&|n| gzip(&line(n)), 300, 64),
        // A partition each, and all of one partition.
        (&|n| capture(n, 29, 0..1).replace("29-0", &format!("29-{n}")).into_bytes(), 300, 64),
        (&|n| capture(0, 29, n..n + 1).into_bytes(), 300, 64),
    ];
    for (bytes, count, limit) in kinds {
        let folder = folder();
        (0..count).for_each(|n| write(folder.path(), &format!("in/f{n:04}"), bytes(n)));
        for command in ["check", "run"] {
            with_few_descriptors(folder.path(), limit, &format!("{command} turnstile --source files:in"));
        }
        let count = u64::from(count);
        assert_eq!(fates(folder.path()), [count, count, 0, 0, 0]);
    }
}

#[test]
fn packed_file_that_appears_in_a_followed_folder_is_passed_over() {
    let folder = folder();
    write(folder.path(), "in/app.csv", lines(30, 0..50));
    let job = Followed::start(folder.path(), "files:in");
    job.commits(folder.path(), 50);
    let zstd = [&b"\x28\xB5\x2F\xFD\x20\x01\x09\x00\x00"[..], b"x"].concat();
    let packed = [
        ("app.csv.1.gz", gzip(&lines(29, 0..5)), "packed"),
        // Under any name, and by another packer.
        ("app.csv.2", gzip(&lines(28, 0..5)), "packed"),
        ("app.csv.3.zst", zstd, "packed"),
        ("app.zip", b"PK\x03\x04\x14\x00".to_vec(), "it is a zip archive"),
    ];
    for (count, (name, bytes, why)) in (1..).zip(packed) {
        write(folder.path(), &format!("in/{name}"), bytes);
        job.says(&["passes over", name, why]);
        write(folder.path(), &format!("in/new{count}.csv"), lines(30, 40 + count * 10..50 + count * 10));
        job.commits(folder.path(), u64::from(50 + count * 10));
    }
    assert_eq!(job.stop(), Some(0));
    assert_eq!(fates(folder.path()), [90, 90, 0, 0, 0]);
}

#[test]
fn file_that_is_rotated_by_renaming_is_read_once_and_the_new_one_too() {
    let folder = folder();
    write(folder.path(), "in/app.csv", lines(30, 0..50));
    let job = Followed::start(folder.path(), "files:in");
    job.commits(folder.path(), 50);
    let at = |name: &str| folder.path().join("in").join(name);
    fs::rename(at("app.csv"), at("app.csv.1")).expect("it can be renamed");
    write(folder.path(), "in/app.csv", lines(30, 50..100));
    job.says(&["is called", "app.csv.1"]);
    job.commits(folder.path(), 100);
    assert_eq!(job.stop(), Some(0));
    assert_eq!(fates(folder.path()), [100, 100, 0, 0, 0]);
}
