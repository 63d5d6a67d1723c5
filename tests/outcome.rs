//! The outcome is reported: rows, duplicates, late, dead and filtered records apart, and what to change.

use crate::cli::{Run, folder, headway};
use crate::process::{lines, write};
use serde_json::Value;
use std::path::Path;

/// Runs the job over `source` with `more`, and gives what it said with its JSON summary.
fn run(folder: &Path, source: &str, more: &[&str]) -> (Run, Value) {
    let args = [&["run", "turnstile", "--source", source, "--lake", "lake", "-o", "json"], more].concat();
    let run = headway(folder, &args);
    let summary = serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    (run, summary)
}

/// Messages whose times nothing can read.
fn unreadable(count: u32) -> String {
    lines("x", 0, count).replace(",2024-01-30 ", ",30 Jan 2024 ")
}

/// A week of two turnstiles, sorted by turnstile: the second begins where the first one did.
fn by_turnstile() -> String {
    let line = |booth: u32, n: u32| {
        let (day, hour) = (6 + n / 6, n % 6 * 4);
        format!(
            "A00{booth},R051,02-00-00,59 ST,NQR456W,BMT,01-{day:02}-24,{hour:02}:00:00,REGULAR,1,2,{booth}-{n},\
             2024-01-{day:02} {hour:02}:00:00\n"
        )
    };
    (1..=2).flat_map(|booth| (0..42).map(move |n| line(booth, n))).collect()
}

#[test]
fn rows_that_are_none_are_not_called_rows() {
    let folder = folder();
    write(folder.path(), "in.csv", &unreadable(100));
    let job = ["run", "turnstile", "--source", "files:in.csv", "--lake", "lake"];
    let refused = headway(folder.path(), &job);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let last = refused.out.lines().last().unwrap_or_default();
    let expected = "done: 0 rows from 100 records: 0 accepted, 0 duplicate, 0 late, 100 dead, 0 filtered; ";
    assert!(last.starts_with(expected), "{last}");
    assert!(last.contains("dead: bad-timestamp 100, such as offset 0 of partition 0: \"A002,"), "{last}");
    assert!(refused.err.contains("(nothing-accepted)"), "{refused:?}");
    assert!(refused.err.contains("bad-timestamp 100") && refused.err.contains("--zone"), "{refused:?}");

    // It is committed all the same: a second run has nothing to read, and nothing to complain about.
    let status = headway(folder.path(), &["status", "--lake", "lake"]);
    assert!(status.out.contains("records    100 records: 0 accepted"), "{status:?}");
    assert!(status.out.contains("dead       bad-timestamp 100; offset 0 of partition 0"), "{status:?}");
    assert!(status.out.contains("rows       0 since"), "{status:?}");
    let listed = headway(folder.path(), &["checkpoint", "ls", "--lake", "lake"]);
    assert!(
        listed.out.contains("DEAD") && listed.out.contains("\ndead: bad-timestamp 100; offset 0"),
        "{listed:?}"
    );
    let (again, summary) = run(folder.path(), "files:in.csv", &[]);
    assert_eq!(
        (again.code, &summary["rows"], &summary["dead"]),
        (Some(0), &0.into(), &0.into()),
        "{summary}"
    );
}

#[test]
fn few_rows_among_dead_letters_are_rows() {
    let folder = folder();
    write(folder.path(), "in.csv", &(unreadable(99) + &lines("a", 0, 1)));
    let (run, summary) = run(folder.path(), "files:in.csv", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let counts = ["rows", "consumed", "accepted", "dead", "late"].map(|name| summary[name].as_u64());
    assert_eq!(counts, [1, 100, 1, 99, 0].map(Some), "{summary}");
    assert_eq!(summary["dead_reasons"]["bad-timestamp"], 99, "{summary}");
    let sample = &summary["inputs"][0]["samples"][0];
    assert_eq!((&sample["reason"], &sample["offset"]), (&"bad-timestamp".into(), &0.into()), "{summary}");
    assert!(
        summary["advice"][0]["seen"].as_str().is_some_and(|seen| seen.contains("99 of 100")),
        "{summary}"
    );
    assert!(run.err.contains("99 of 100 records"), "{run:?}");
}

#[test]
fn header_without_a_record_is_no_failure() {
    let folder = folder();
    write(folder.path(), "in.csv", "");
    let (run, summary) = run(folder.path(), "files:in.csv", &[]);
    assert_eq!((run.code, &summary["rows"]), (Some(0), &0.into()), "{run:?}");
}

#[test]
fn rows_that_are_late_are_counted_and_the_flag_is_named() {
    let folder = folder();
    write(folder.path(), "in.csv", &by_turnstile());
    let (first, summary) = run(folder.path(), "files:in.csv", &["--window", "1h"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    let counts = ["rows", "accepted", "late", "dead"].map(|name| summary[name].as_u64());
    assert_eq!(counts, [43, 43, 41, 0].map(Some), "{summary}");
    let advice = &summary["advice"][0];
    assert_eq!(
        advice["seen"],
        "41 of 84 records of input \"turnstile\" (48 %) came after their windows had closed"
    );
    let hint = advice["hint"].as_str().unwrap_or_default();
    assert!(hint.starts_with("--lateness 7d would") && hint.contains("--lake"), "{hint}");
    assert!(first.err.contains("(48 %)") && first.err.contains("--lateness"), "{first:?}");
    let text = headway(folder.path(), &["status", "--lake", "lake"]);
    let words = text.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("41 late (48 %)"), "{text:?}");
}

#[test]
fn job_stops_before_it_makes_too_many_records_late() {
    let folder = folder();
    // One hour, and again the same hour by another turnstile.
    let twice = lines("a", 0, 700) + &lines("b", 0, 700);
    write(folder.path(), "in.csv", &twice);
    let job = ["run", "turnstile", "--source", "files:in.csv", "--lake", "lake", "--late-max", "20%"];
    let refused = headway(folder.path(), &job);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{refused:?}");
    assert!(refused.err.contains("(too-many-late)") && refused.err.contains("hint: Fill"), "{refused:?}");
    assert!(refused.err.contains("--lateness 3h"), "{refused:?}");
    let status = headway(folder.path(), &["status", "--lake", "lake"]);
    assert!(status.out.contains("records    0 records"), "nothing was committed: {status:?}");
    let allowed = headway(folder.path(), &[&job[..6], &["--late-max", "60%"]].concat());
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
}

#[test]
fn run_that_finds_its_windows_closed_warns_before_it_refuses_records() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 50));
    let (first, _) = run(folder.path(), "files:in", &[]);
    assert!(!first.err.contains("closed all windows"), "{first:?}");
    let (same, _) = run(folder.path(), "files:in", &[]);
    assert!(!same.err.contains("closed all windows"), "there is nothing to read: {same:?}");
    let more = |name: &str| {
        let check = headway(folder.path(), &["check", "turnstile", "--source", "files:in", "--lake", "lake"]);
        check.out.contains(&format!("late      an earlier run closed all windows of \"{name}\""))
    };
    assert!(!more("turnstile"));
    // The same file has grown.
    write(folder.path(), "in/a.csv", &(lines("a", 0, 50) + &lines("c", 10, 20)));
    assert!(more("turnstile"));
    write(folder.path(), "in/a.csv", &lines("a", 0, 50));
    assert!(!more("turnstile"));
    // Both fall into windows that the first run has closed, although they were open by the records alone.
    write(folder.path(), "in/b.csv", &lines("b", 10, 40));
    let check = headway(folder.path(), &["check", "turnstile", "--source", "files:in", "--lake", "lake"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.out.contains("late      an earlier run closed all windows"), "{check:?}");
    assert!(check.out.contains("--until caught-up"), "{check:?}");
    let (second, summary) = run(folder.path(), "files:in", &[]);
    let (warned, committed) = (second.err.find("closed all windows"), second.err.find("event=\"committed\""));
    assert!(warned.is_some() && warned < committed, "{second:?}");
    assert!(second.err.contains("--until caught-up"), "{second:?}");
    assert_eq!((second.code, summary["late"].as_u64()), (Some(1), Some(40)), "{second:?}");
    assert!(second.err.contains("\"code\":\"nothing-accepted\""), "{second:?}");
}

#[test]
fn run_that_stops_where_it_caught_up_leaves_windows_open() {
    let folder = folder();
    write(folder.path(), "in/a.csv", &lines("a", 0, 50));
    let (first, _) = run(folder.path(), "files:in", &["--until", "caught-up"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    write(folder.path(), "in/b.csv", &lines("b", 10, 40));
    let (second, summary) = run(folder.path(), "files:in", &["--until", "caught-up"]);
    assert!(!second.err.contains("closed all windows"), "{second:?}");
    assert_eq!((second.code, summary["accepted"].as_u64()), (Some(0), Some(40)), "{second:?}");
}

#[test]
fn log_has_one_line_for_each_event_with_a_stable_key() {
    let folder = folder();
    write(folder.path(), "in.csv", &lines("a", 0, 500));
    let job = ["--log-format", "json", "run", "turnstile", "--source", "files:in.csv", "--lake", "lake"];
    let run = |more: &[&str]| -> Vec<Value> {
        let run = headway(folder.path(), &[job.as_slice(), more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        run.err.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    };
    let events = |log: &[Value]| -> Vec<String> {
        log.iter().filter_map(|line| line["event"].as_str().map(str::to_string)).collect()
    };
    let first = run(&["--epoch", "50ms", "--epoch-bytes", "1KiB"]);
    let found = events(&first);
    let place = |event: &str| found.iter().position(|found| found == event);
    let order = ["claimed", "started", "committed", "outcome", "ended"].map(place);
    assert!(order[0].is_some() && order.is_sorted(), "{found:?}");
    assert_eq!(found.iter().filter(|event| *event == "committed").count(), 1, "at most every ten seconds");
    let outcome = first.iter().rfind(|line| line["event"] == "outcome").expect("it was said");
    assert_eq!(
        (&outcome["read"], &outcome["accepted"], &outcome["late"]),
        (&500.into(), &500.into(), &0.into())
    );
    let second = run(&["--workers", "2"]);
    let rescaled = second.iter().find(|line| line["event"] == "rescaled").expect("it was said");
    assert_eq!((&rescaled["from"], &rescaled["to"]), (&"1x1".into(), &"1x2".into()));
}
