//! What a job expects, on several processes, and of the other pipelines: counts are those of one process, and what must hold
//! stops all processes before the commit.

use crate::cli::{folder, headway, succeeds};
use crate::expect::{config, dead, expected, rows, status};
use crate::processes::{JOB, Processes, Size, answer, messages, run_job, same_messages, seq, until};
use crate::weekly::sample_text;
use serde_json::Value;
use std::path::Path;

/// Rules of records that some break and that all keep, one that refuses records, and two of views.
const RULES: &str = r#"
[[expect]]
name = "only-regular"
input = "turnstile"
accepted_values = { column = "DESC", values = ["REGULAR"] }

[[expect]]
name = "few-units"
input = "turnstile"
accepted_values = { column = "UNIT", values = ["R051", "R079", "R145"] }
severity = "quarantine"

[[expect]]
name = "has-a-station"
input = "turnstile"
not_null = ["STATION"]
severity = "fail"

[[expect]]
name = "one-row-a-station-and-day"
view = "station_day"
unique = ["station", "lines", "division", "day"]
severity = "fail"

[[expect]]
name = "one-row-a-day"
view = "station_day"
unique = ["day"]
"#;

fn job(more: &[&'static str]) -> Vec<&'static str> {
    [&JOB[..], &["--views", "-c", "headway.toml", "--dead-max", "100%"], more].concat()
}

#[test]
fn counts_and_dead_letters_are_those_of_one_process_however_many_there_are_and_after_kills() {
    let whole = folder();
    messages(whole.path(), 6_000);
    config(whole.path(), RULES);
    let start = |folder: &Path| {
        same_messages(whole.path(), folder);
        config(folder, RULES);
    };
    run_job(whole.path(), Size { processes: 1, workers: 1 }, &job(&[]));
    let (counts, answers) = (expected(whole.path(), "lake"), answer(whole.path()));
    let of = |rule: &str| counts.iter().find(|(name, _, _)| name == rule).expect("it is judged").2;
    assert_eq!(of("few-units"), Some(dead(whole.path(), "lake", "few-units")), "{counts:?}");
    assert_eq!((of("has-a-station"), of("one-row-a-station-and-day")), (Some(0), Some(0)), "{counts:?}");
    assert!(of("few-units") > Some(0) && of("one-row-a-day") > Some(0), "they find something: {counts:?}");
    for (processes, workers) in [(2, 1), (3, 1), (2, 2)] {
        let folder = folder();
        start(folder.path());
        run_job(folder.path(), Size { processes, workers }, &job(&[]));
        assert_eq!(expected(folder.path(), "lake"), counts, "{processes} x {workers}");
        assert_eq!(answer(folder.path()), answers, "{processes} x {workers}");
    }
    // A member is lost, and then process 0.
    let folder = folder();
    start(folder.path());
    let args = job(&[]);
    let mut processes = Processes::of(folder.path(), 2);
    (0..2).for_each(|process| processes.start(process, &args));
    for lost in [1, 0] {
        let before = seq(folder.path());
        until(&mut processes, before, 4);
        processes.kill(lost, &args);
    }
    assert_eq!(processes.codes(), vec![Some(0); 2], "{}", processes.log("err", 0));
    assert_eq!(expected(folder.path(), "lake"), counts, "after kills");
    assert_eq!(answer(folder.path()), answers, "after kills");
}

#[test]
fn rule_that_must_hold_stops_all_processes_before_the_commit() {
    let of_records = RULES.replace("quarantine", "fail");
    let of_views = RULES.replace("unique = [\"day\"]", "unique = [\"day\"]\nseverity = \"fail\"");
    for (rules, named) in [(of_records, "few-units"), (of_views, "one-row-a-day")] {
        let folder = folder();
        messages(folder.path(), 3_000);
        config(folder.path(), &rules);
        let args = job(&[]);
        let mut processes = Processes::of(folder.path(), 3);
        (0..3).for_each(|process| processes.start(process, &args));
        let codes = processes.codes();
        let log = |process| processes.log("err", process);
        assert_eq!(codes, vec![Some(1); 3], "{named}: {}", log(0));
        for process in 0..3 {
            assert!(
                log(process).contains("expectation-failed"),
                "{named}, process {process}: {}",
                log(process)
            );
        }
        assert!(log(0).contains(&format!("--expect-warn {named}")), "{named}: {}", log(0));
        let found = expected(folder.path(), "lake");
        let count = found.iter().find(|(name, _, _)| name == named).map(|(_, _, failures)| *failures);
        assert!(
            count.is_none_or(|failures| failures.is_none_or(|failures| failures == 0)),
            "{named}: {found:?}"
        );
        if named == "few-units" {
            assert_eq!(rows(folder.path(), "lake"), 0, "the first record breaks it");
        }
        // The flag goes on, on another number of processes.
        let mut again = Processes::of(folder.path(), 2);
        (0..2).for_each(|process| again.start(process, &job(&["-w", "1", "--expect-warn", named])));
        let codes = again.codes();
        // What was left may be records alone that the other rule takes out.
        let is_all_taken_out = again.log("err", 0).contains("(nothing-accepted)");
        assert_eq!(codes, [Some(i32::from(is_all_taken_out)), Some(0)], "{named}: {}", again.log("err", 0));
        let found = expected(folder.path(), "lake");
        let warned = found.iter().find(|(name, _, _)| name == named).expect("it is judged");
        assert!(warned.1 == "warn" && warned.2 > Some(0), "{found:?}");
    }
}

const WEEKLY: &str = r#"
[[expect]]
name = "no-audits"
input = "weekly"
accepted_values = { column = "DESC", values = ["REGULAR"] }
severity = "quarantine"

[[expect]]
name = "has-registers"
input = "weekly"
not_null = ["UNIT", "ENTRIES", "EXITS"]
severity = "fail"
"#;

#[test]
fn lines_of_weekly_files_that_break_a_rule_are_kept_apart_on_any_number_of_processes() {
    let text = sample_text();
    // The readings at three are audits.
    let rare = text.replace("03:00:00,REGULAR", "03:00:00,RECOVR AUD");
    let audits = rare.matches("RECOVR AUD").count() as u64;
    assert!(audits > text.matches("RECOVR AUD").count() as u64, "there are some");
    for (processes, workers) in [(1, 2), (2, 1)] {
        let folder = folder();
        std::fs::create_dir(folder.path().join("in")).expect("the folder can be made");
        std::fs::write(folder.path().join("in/240106.csv"), &rare).expect("the file can be written");
        config(folder.path(), WEEKLY);
        let args =
            ["run", "turnstile-weekly", "--source", "files:in", "--lake", "lake", "-c", "headway.toml"];
        run_job(folder.path(), Size { processes, workers }, &[&args[..], &["--dead-max", "100%"]].concat());
        let found = expected(folder.path(), "lake");
        let pass = ("has-registers".to_string(), "pass".to_string(), Some(0));
        let warn = ("no-audits".to_string(), "warn".to_string(), Some(audits));
        assert_eq!(found, [pass, warn]);
        assert_eq!(dead(folder.path(), "lake", "no-audits"), audits);
        succeeds(&headway(folder.path(), &["views", "verify", "--lake", "lake"]));
        succeeds(&headway(folder.path(), &["audit", "--lake", "lake", "--deep"]));
    }
}

const MUSIC: &str = r#"
[[expect]]
name = "paid"
input = "listen_events"
accepted_values = { column = "level", values = ["paid"] }
severity = "warn"

[[expect]]
name = "has-a-session"
input = "auth_events"
not_null = ["sessionId"]
severity = "fail"
"#;

/// Accepted records and failures of rule "paid" of a run of the music job.
fn music(severity: &str, size: Size) -> (u64, u64) {
    let folder = folder();
    config(folder.path(), &MUSIC.replace("\"warn\"", severity));
    let job = ["run", "music", "--views", "--source", "generate:messages=4000", "--lake", "lake"];
    run_job(folder.path(), size, &[&job[..], &["-c", "headway.toml", "--dead-max", "100%"]].concat());
    let found = expected(folder.path(), "lake");
    let paid = found.iter().find(|(name, _, _)| name == "paid").and_then(|(_, _, failures)| *failures);
    assert!(found.iter().any(|(name, status, _)| name == "has-a-session" && status == "pass"), "{found:?}");
    let status = status(folder.path(), "lake");
    let inputs = status["inputs"].as_array().expect("there are inputs");
    let listen = inputs.iter().find(|input| input["name"] == "listen_events").expect("it is there");
    let total = &listen["total"];
    let dead = total["dead"].get("rule:paid").and_then(Value::as_u64).unwrap_or_default();
    let is_apart = severity == "\"quarantine\"";
    assert_eq!(dead, if is_apart { paid.unwrap_or_default() } else { 0 }, "{status}");
    (total["accepted"].as_u64().expect("a count"), paid.expect("it is judged"))
}

#[test]
fn messages_of_one_topic_that_break_a_rule_are_kept_apart_on_any_number_of_processes() {
    let one = Size { processes: 1, workers: 1 };
    let (all, free) = music("\"warn\"", one);
    assert!(0 < free && free < all, "{free} of {all}");
    for size in [one, Size { processes: 2, workers: 2 }] {
        assert_eq!(music("\"quarantine\"", size), (all - free, free), "{size:?}");
    }
}
