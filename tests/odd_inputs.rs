//! Inputs as people have them: whole runs on small files, each of a kind that was misread or lost once.

use crate::cli::{Run, folder, headway};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use headway::engine::clock::{Clock, System};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

const KEY: &str = "A002,R051,02-00-00,59 ST,NQR456W,BMT";

/// A message of 1 in and 2 out at `time`, with this ID.
fn line(time: &str, id: usize) -> String {
    format!("{KEY},,,REGULAR,1,2,m{id},{time}")
}

/// A line as `kcat -J` writes it.
fn envelope(topic: &str, offset: usize, payload: &str) -> String {
    serde_json::json!({ "topic": topic, "partition": 0, "offset": offset, "ts": -1, "key": null, "payload": payload })
        .to_string()
}

fn gz(text: &str) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(text.as_bytes()).expect("memory takes all bytes");
    gz.finish().expect("memory takes all bytes")
}

#[test]
fn pipe_in_a_lake_keeps_no_command_waiting() {
    let folder = folder();
    let path = folder.path();
    std::fs::create_dir(path.join("in")).expect("a folder can be made");
    std::fs::write(path.join("in/a.csv"), line("2024-01-30T10:00:00Z", 1) + "\n").expect("it can be written");
    assert_eq!(run(path, &[]).code, Some(0));
    let job = path.join("lake/_headway/turnstile");
    for name in ["manifest/0000000099.json", "manifest/NEXT.json", "alive.json", "odd", "stage/odd"] {
        let next = std::fs::read_dir(job.join("manifest")).expect("it is there").count();
        let name = &name.replace("NEXT", &format!("{next:010}"));
        let pipe = job.join(name);
        if name == "alive.json" {
            std::fs::remove_file(&pipe).expect("it is there");
        }
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there");
        assert!(made.success());
        let commands: [&[&str]; 5] =
            [&["status"], &["audit"], &["audit", "--deep"], &["checkpoint", "ls"], &["dead", "ls"]];
        let read = commands.map(|command| headway(path, &[command, &["--lake", "lake"]].concat()));
        for ended in read.into_iter().chain([run(path, &[])]) {
            let is_named = ended.err.contains(name.rsplit('/').next().unwrap_or_default());
            assert!(ended.code == Some(0) || is_named && ended.err.contains("error: "), "{name}: {ended:?}");
        }
        std::fs::remove_file(&pipe).expect("it can be removed");
    }
    assert_eq!(run(path, &[]).code, Some(0));
}

/// Runs the job on `in/` in `folder`, in windows of an hour without lateness.
fn run(folder: &Path, more: &[&str]) -> Run {
    let job =
        ["run", "turnstile", "--source", "files:in", "--lake", "lake", "--window", "1h", "--lateness", "0s"];
    headway(folder, &[&job[..], more].concat())
}

/// What is in the lake: each row's TIME, ENTRIES and EXITS, then all fates that are not zero.
fn lake(folder: &Path) -> String {
    let mut rows = Vec::new();
    for file in std::fs::read_dir(folder.join("lake/turnstile")).into_iter().flatten() {
        let file = std::fs::File::open(file.expect("it can be read").path()).expect("it is there");
        let mut text = String::new();
        MultiGzDecoder::new(file).read_to_string(&mut text).expect("it is gzipped text");
        let row = |line: &str| line.split(',').collect::<Vec<_>>()[7..].join(" ").replace(" REGULAR", "");
        rows.extend(text.lines().skip(1).map(row));
    }
    rows.sort_unstable();
    let status = headway(folder, &["status", "--lake", "lake", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status.out).expect("status answers in JSON");
    let mut fates: BTreeMap<String, u64> = BTreeMap::new();
    for part in status["inputs"][0]["partitions"].as_array().expect("an input has partitions") {
        for fate in ["accepted", "duplicate", "filtered", "late"] {
            *fates.entry(fate.to_string()).or_default() += part[fate].as_u64().expect("a count");
        }
        for (reason, count) in part["dead"].as_object().expect("counts by reason") {
            *fates.entry(format!("dead {reason}")).or_default() += count.as_u64().expect("a count");
        }
    }
    let fates = fates.iter().filter(|(_, count)| **count > 0).map(|(fate, count)| format!("{fate} {count}"));
    rows.into_iter().chain(fates).collect::<Vec<_>>().join("; ")
}

/// A file of an input.
type File<'a> = (&'a str, Vec<u8>);

/// Writes the files of an input into a new folder.
fn input(files: &[File<'_>]) -> tempfile::TempDir {
    let folder = folder();
    std::fs::create_dir(folder.path().join("in")).expect("a folder can be made");
    for (name, bytes) in files {
        std::fs::write(folder.path().join("in").join(name), bytes).expect("a file can be written");
    }
    folder
}

/// Lines with newlines, as bytes.
fn lines<Line: AsRef<str>>(lines: &[Line]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_ref().as_bytes(), b"\n"].concat()).collect()
}

fn assert_lake(files: &[File<'_>], more: &[&str], want: &str) {
    let folder = input(files);
    let told = run(folder.path(), more);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(lake(folder.path()), want, "{}", told.err);
}

#[test]
fn hour_that_comes_twice_is_two_hours_where_records_come_in_order() {
    // A record every 20 minutes from 00:00 to 02:40; 01:00 to 01:40 is on the wall twice.
    let mut times = Vec::new();
    for hour in ["00", "01", "01", "02"] {
        times.extend(["00", "20", "40"].map(|minute| format!("2024-11-03 {hour}:{minute}:00")));
    }
    let file: Vec<_> = times.iter().enumerate().map(|(id, time)| line(time, id)).collect();
    let zone = ["--zone", "America/New_York"];
    // TIME is a window's end: both hours from 01:00 to 02:00 end at a time on the wall, the first at 01:00.
    let want = "01:00:00 3 6; 01:00:00 3 6; 02:00:00 3 6; 03:00:00 3 6; accepted 12";
    assert_lake(&[("a.csv", lines(&file))], &zone, want);
    // An offset says which one is meant, in any order.
    let offsets = ["2024-11-03T01:30:00-05:00", "2024-11-03T01:30:00-04:00"];
    let file: Vec<_> = offsets.iter().enumerate().map(|(id, time)| line(time, id)).collect();
    assert_lake(&[("a.csv", lines(&file))], &zone, "02:00:00 1 2; accepted 1; late 1");
}

#[test]
fn instants_and_fractions_are_times() {
    let file = [
        line("2024-01-30T10:00:00Z", 0),
        line("2024-01-30 10:00:00.999", 1),
        line("2024-01-30 15:30:00+05:30", 2),
        line("\"2024-01-30T06:59:59,5-04\"", 3),
        line("2024-01-30T10:00:00z", 4),
        line("2024-01-30 10:00", 5),
        line("2024-01-30 11:00:00+2400", 6),
    ];
    assert_lake(&[("a.csv", lines(&file))], &[], "11:00:00 4 8; accepted 4; dead bad-timestamp 3");
}

#[test]
fn header_of_a_file_names_its_columns() {
    const SWAPPED: &str = "C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,EXITS,ENTRIES,ID,TIMESTAMP";
    const SHORT: &str = "EXITS,TIME,DATE,A/C,UNIT,SCP,STATION,LINENAME,DIVISION,DESC,ENTRIES";
    let messages: Vec<_> = (0..3).map(|id| line("2024-01-30 10:00:00", id)).collect();
    let with = |header: &str, more: &[String]| lines(&[&[header.to_string()], more].concat());
    let want = "11:00:00 6 3; accepted 3; filtered 1";
    assert_lake(&[("a.csv", with(SWAPPED, &messages))], &[], want);
    // With a byte order mark, blank lines before it, CRLF, in lower case, packed, and again in the middle.
    let odd = format!("\r\n \n\u{feff}{}\r\n{}\r\n", SWAPPED.to_lowercase(), messages.join("\r\n"));
    let odd = format!("{odd}{SWAPPED}\n{}\n", line("2024-01-30 10:30:00", 9));
    let want = "11:00:00 8 4; accepted 4; dead empty 2; filtered 2";
    assert_lake(&[("a.csv", gz(&odd).as_slice().to_vec())], &[], want);
    // A first line that is none: the topic's own columns, of which a header may come later.
    let own = SWAPPED.replace("EXITS,ENTRIES", "ENTRIES,EXITS");
    assert_lake(
        &[("a.csv", lines(&[&messages[0], &own, &messages[1]]))],
        &[],
        "11:00:00 2 4; accepted 2; filtered 1",
    );
    // Fewer columns, and another file has others.
    let short = "7,10:00:00.5,01/30/2024,A002,R051,02-00-00,59 ST,NQR456W,BMT,REGULAR,5";
    let short = SHORT.replacen("EXITS,TIME,DATE,A/C", "A/C,TIME,DATE,EXITS", 1)
        + "\n"
        + &short.replacen("7,10:00:00.5,01/30/2024,A002", "A002,10:00:00.5,01/30/2024,7", 1);
    let files = [("a.csv", with(SWAPPED, &messages)), ("b.csv", short.into_bytes())];
    assert_lake(&files, &[], "11:00:00 11 10; accepted 4; filtered 2");
}

#[test]
fn header_is_known_again_after_a_restart() {
    let header = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,EXITS,ENTRIES,ID,TIMESTAMP";
    let first = lines(&[header.to_string(), line("2024-01-30 10:00:00", 0)]);
    let folder = input(&[("a.csv", first.clone())]);
    assert_eq!(run(folder.path(), &["--until", "caught-up"]).code, Some(0));
    let more = lines(&[line("2024-01-30 10:10:00", 1), header.to_string(), line("2024-01-30 10:20:00", 2)]);
    std::fs::write(folder.path().join("in/a.csv"), [first, more].concat()).expect("a file can be written");
    for workers in ["2", "1"] {
        let told = run(folder.path(), &["--until", "end", "-w", workers]);
        assert_eq!(told.code, Some(0), "{told:?}");
        assert_eq!(lake(folder.path()), "11:00:00 6 3; accepted 3; filtered 2");
    }
}

#[test]
fn header_that_cannot_be_used_or_changes_stops_the_job() {
    let own = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS,ID,TIMESTAMP";
    let swapped = own.replace("ENTRIES,EXITS", "EXITS,ENTRIES");
    let message = line("2024-01-30 10:00:00", 0);
    let twice = own.replace("EXITS", "ENTRIES");
    let cases: [(Vec<&str>, [&str; 3]); 5] = [
        (vec!["CA,UNIT,SCP", &message], ["line 1 of \"in/a.csv\"", "(bad-header)", "\"CA,UNIT,SCP\""]),
        (vec!["", &twice, &message], ["line 2 of \"in/a.csv\"", "(bad-header)", "cannot be used"]),
        (vec![&swapped, &message, own], ["line 3 of \"in/a.csv\"", "(header-changed)", "EXITS,ENTRIES,ID"]),
        (vec![own, &message, &swapped], ["line 3 of \"in/a.csv\"", "(header-changed)", "ENTRIES,EXITS,ID"]),
        (
            vec![&message, &swapped],
            ["line 2 of \"in/a.csv\"", "(header-changed)", "hint: Cut the file in two"],
        ),
    ];
    for (file, words) in cases {
        let folder = input(&[("a.csv", lines(&file))]);
        let told = run(folder.path(), &[]);
        assert_eq!(told.code, Some(2), "{file:?}: {told:?}");
        for word in words {
            assert!(told.err.contains(word), "{word} is not in {}", told.err);
        }
    }
}

#[test]
fn captures_hold_other_topics_and_headers_that_are_messages() {
    let header = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS,ID,TIMESTAMP";
    let good = |offset, id| envelope("mta-turnstile", offset, &line("2024-01-30 10:00:00", id));
    let other = |offset| envelope("mta-turnstile-2", offset, &line("2024-01-30 10:00:00", 50 + offset));
    // The offsets of each topic rise, those of the file do not.
    let file = [other(1), good(0, 0), other(2), good(1, 1), envelope("mta-turnstile", 3, header)];
    let folder = input(&[("two.ndjson", lines(&file))]);
    let told = run(folder.path(), &[]);
    assert_eq!(
        (told.code, lake(folder.path()).as_str()),
        (Some(0), "11:00:00 2 4; accepted 2; dead empty 1"),
        "{told:?}"
    );
    let warnings: Vec<&str> = told.err.lines().filter(|line| line.contains("other topics")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("envelopes=2"), "{}", told.err);
    assert_lake(&[("two.ndjson", lines(&file))], &["--topic", "mta-turnstile-2"], "11:00:00 2 4; accepted 2");
}

#[test]
fn control_characters_in_a_key_make_a_dead_letter() {
    let at = "2024-01-30 10:00:00";
    let with = |station: &str, id: usize| line(at, id).replace("59 ST", station);
    let file = [
        "\0".repeat(300) + &line(at, 0),
        with("59\u{7f}ST", 1),
        with("59\u{85}ST", 2),
        with("59\tST", 3),
        // Blanks around a field are no part of it, and other columns may hold anything.
        with("\t59 ST ", 4),
        line(at, 5).replace("m5", "m\u{1}5"),
        line(at, 6).replace(",,,", ",\u{7f},,"),
        with("ESPAÑA", 7),
    ];
    let want = "11:00:00 1 2; 11:00:00 3 6; accepted 4; dead control-character 4";
    assert_lake(&[("a.csv", lines(&file))], &[], want);
}

pub(crate) fn now_ms() -> i64 {
    System::default().wall_ms()
}

/// The wall-clock time in UTC, so many minutes from now, as a message has it.
fn minutes_from_now(minutes: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(now_ms() + minutes * 60_000).expect("a time of today");
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[test]
fn limit_on_the_future_is_that_of_the_run() {
    // The first run has a fixed limit, which makes today the future.
    let first = lines(&[line("2019-01-01 00:00:00", 0), line(&minutes_from_now(0), 1)]);
    let folder = input(&[("a.csv", first.clone())]);
    let told = run(folder.path(), &["--until", "caught-up", "--not-after", "2020-01-01"]);
    assert_eq!((told.code, lake(folder.path()).as_str()), (Some(0), "accepted 1; dead future-event-time 1"));
    // The next one, some other day, has the clock.
    let more = [minutes_from_now(1), minutes_from_now(50), minutes_from_now(70)];
    let more: Vec<_> = more.iter().zip(2..).map(|(time, id)| line(time, id)).collect();
    std::fs::write(folder.path().join("in/a.csv"), [first, lines(&more)].concat())
        .expect("a file can be written");
    let before_ms = now_ms();
    assert_eq!(run(folder.path(), &["--until", "end"]).code, Some(0));
    assert!(lake(folder.path()).ends_with("accepted 3; dead future-event-time 2"), "{}", lake(folder.path()));
    // A dead letter says which limit it was.
    let shown = headway(folder.path(), &["dead", "show", "--lake", "lake"]);
    let limits: Vec<i64> = shown
        .out
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).expect("a JSON object a line");
            row["limit"].as_i64().expect("it has a limit")
        })
        .collect();
    let hour = 3_600_000;
    assert_eq!((limits.len(), limits[0]), (2, 1_577_836_800_000), "{}", shown.out);
    assert!((before_ms + hour..before_ms + hour + 120_000).contains(&limits[1]), "{}", shown.out);
    // With another reach, and none.
    let messages = [("a.csv", lines(&[line(&minutes_from_now(90), 0), line("2999-01-01 00:00:00", 1)]))];
    for (flags, want) in [
        (&["--max-ahead", "2h"], "accepted 1; dead future-event-time 1"),
        (&["--not-after", "none"], "accepted 2"),
    ] {
        let folder = input(&messages);
        let told = run(folder.path(), flags);
        assert!(told.code == Some(0) && lake(folder.path()).ends_with(want), "{flags:?}: {told:?}");
    }
}

#[test]
fn gzip_is_known_by_what_is_in_a_file() {
    let message = |id| line("2024-01-30 10:00:00", id) + "\n";
    let files = [
        ("a.csv", gz(&message(0))),
        ("B.CSV.GZ", gz(&message(1))),
        ("c.gz", message(2).into_bytes()),
        // Two members, as `cat a.gz b.gz` makes them.
        ("d", [gz(&message(3)), gz(&message(4))].concat()),
        (
            "e.ndjson",
            gz(&envelope("mta-turnstile", 0, &message(5)).replace("\"partition\":0", "\"partition\":9")),
        ),
    ];
    assert_lake(&files, &[], "11:00:00 6 12; accepted 6");
}
