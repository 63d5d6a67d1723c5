//! The program, by whole runs: every command under its own name, with two inputs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::Path;
use std::process::Command;

fn bikes(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bikes")).args(args).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs the program, which must go well, and gives what it prints.
fn done(folder: &Path, args: &[&str]) -> String {
    let (code, out, err) = bikes(folder, args);
    assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    out
}

const MOVES: &str = r#"{"bike":"b1","station":"S0","ts":"2024-01-01T10:00:00Z","event":"undock"}
{"bike":"b2","station":"S1","ts":"2024-01-01T10:05:00Z","event":"undock"}
{"bike":"b2","station":"S0","ts":"2024-01-01T10:05:00Z","event":"dock"}
{"bike":"b3","station":7,"ts":"2024-01-01T10:06:00Z","event":"dock"}
not json
{"bike":"b1","station":"S1","ts":"2024-01-01T12:30:00Z","event":"dock"}
{"bike":"b4","station":"S9","ts":"2024-01-01T12:31:00Z","event":"undock"}
"#;

const STATIONS: &str = r#"{"id":"S0","name":"Harbour","ts":"2024-01-01T00:00:00Z"}
{"id":"S0","name":"Old harbour","ts":"2024-01-01T13:00:00Z"}
"#;

const SOURCES: [&str; 4] =
    ["--source", "stations=files:stations.ndjson", "--source", "moves=files:moves.ndjson"];

#[test]
fn two_topics_become_trips_and_alerts_with_the_station_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("moves.ndjson"), MOVES).unwrap();
    std::fs::write(folder.path().join("stations.ndjson"), STATIONS).unwrap();
    let run = [&["run", "bikes"], &SOURCES[..], &["--lake", "lake", "--until", "end"]].concat();
    done(folder.path(), &[&["check", "bikes"], &SOURCES[..], &["--lake", "lake"]].concat());
    done(folder.path(), &run);
    done(folder.path(), &["audit", "--lake", "lake", "--deep"]);
    let status = done(folder.path(), &["status", "--lake", "lake"]);
    assert!(status.contains("bikes"), "{status}");
    let dead = done(folder.path(), &["dead", "ls", "--lake", "lake"]);
    assert!(dead.contains("wrong-type") && dead.contains("bad-json"), "{dead}");
    // Held state: b1 is back; b4 is away, and was reported.
    let held = done(folder.path(), &["state", "export", "Trips", "--lake", "lake"]);
    assert_eq!(
        held,
        "{\"key\":\"b4\",\"version\":1,\"touched_ms\":1704119460000,\"timers_ms\":[],\"state\":[1704112260000,\"S9\"]}\n"
    );
    assert_eq!(done(folder.path(), &["state", "get", "Trips", "b4", "--lake", "lake"]), held);
    let csv = done(folder.path(), &["state", "export", "Trips", "--format", "csv", "--lake", "lake"]);
    assert!(csv.starts_with("key,version,touched_ms,timers_ms,state\n\"\"\"b4\"\"\",1,"), "{csv}");
    let listed = done(folder.path(), &["state", "ls", "--lake", "lake"]);
    assert!(listed.contains("Names") && listed.contains("Trips"), "{listed}");
    let (code, _, err) = bikes(folder.path(), &["state", "get", "Trips", "b1", "--lake", "lake"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("holds nothing of key \"b1\" (key-not-found)"), "{err}");
    let (code, _, err) = bikes(folder.path(), &["state", "get", "Tripz", "b1", "--lake", "lake"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("(operator-unknown)") && err.contains("Names"), "{err}");
    let rows = |prefix: &str| {
        let files = std::fs::read_dir(folder.path().join("lake").join(prefix)).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let zcat = Command::new("gzip").arg("-dc").args(files).output().unwrap();
        String::from_utf8(zcat.stdout).unwrap()
    };
    let trips = rows("trips");
    // b2 docks at the instant it is taken: the order of offsets decides.
    assert!(trips.contains("b2,S1,S0,") && trips.contains("b1,S0,S1,"), "{trips}");
    let alerts = rows("overdue");
    assert!(
        alerts.contains("\"bike\":\"b1\"") && alerts.contains("\"station_name\":\"Harbour\""),
        "{alerts}"
    );
    assert!(!alerts.contains("Old harbour") && alerts.contains("\"bike\":\"b4\""), "{alerts}");
}

#[test]
fn every_dead_letter_is_explained_with_its_field_under_the_name_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"{"bike":"b1","station":"S0","ts":"2024-01-01T10:00:00Z","event":"undock"}"#;
    let with = |from: &str, to: &str| good.replace(from, to);
    // A message, its reason, and what is said of it; the good one has offset 0.
    let cases: [(String, &str, &[&str]); 9] = [
        ("not json".into(), "bad-json", &["a reader of JSON stops there: expected ident at line 1 column 2"]),
        (good[..40].into(), "cut-off", &["ends in the middle of a value", "EOF while parsing a string"]),
        (with(r#""bike":"b1","#, ""), "missing-field", &["the field bike has nothing"]),
        (with(r#""S0""#, "7"), "wrong-type", &["has another type", "the field station has \"7\""]),
        (with("undock", "fly"), "wrong-type", &[r#"the field event has "\"fly\"""#]),
        (with(r#""2024-01-01T10:00:00Z""#, "1.5"), "wrong-type", &["the field ts has \"1.5\""]),
        ("[]".into(), "wrong-type", &["or the message is no object"]),
        (with("10:00:00", "24:00:00"), "bad-timestamp", &["the field ts has"]),
        (with("2024", "2124"), "future-event-time", &["the newest event time that was allowed"]),
    ];
    let moves: String = std::iter::once(good)
        .chain(cases.iter().map(|case| case.0.as_str()))
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(folder.path().join("moves.ndjson"), moves).unwrap();
    // The other topic has a dead letter at a place of the first: both are explained, each by its own fields.
    std::fs::write(folder.path().join("stations.ndjson"), STATIONS.to_string() + r#"{"name":"Pier","ts":0}"#)
        .unwrap();
    done(folder.path(), &[&["run", "bikes"], &SOURCES[..], &["--lake", "lake", "--until", "end"]].concat());
    for (at, (message, reason, words)) in cases.iter().enumerate() {
        let place = format!("0:{}", at + 1);
        let said = done(folder.path(), &["explain", "dead", &place, "--lake", "lake"]);
        assert!(said.contains(&format!("is {reason}.")), "{message}: {said}");
        assert!(!said.contains("Its pipeline refuses it"), "{message}: {said}");
        words.iter().for_each(|words| assert!(said.contains(words), "{words}: {said}"));
        assert!(
            said.contains(&format!("bikes dead replay --lake LAKE --reason {reason} ")),
            "{message}: {said}"
        );
    }
    let both = done(folder.path(), &["explain", "dead", "0:2", "--lake", "lake"]);
    assert!(
        both.contains("\"bike-stations\" is missing-field") && both.contains("the field id has nothing"),
        "{both}"
    );
}

#[test]
fn every_other_command_knows_the_program_and_its_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // Messages of its own generators become files, a folder for each input, and the source of a run.
    done(path, &["produce", "bikes", "--to", "made", "--messages", "4000"]);
    done(path, &["run", "bikes", "--source", "files:made", "--lake", "lake", "--until", "end"]);
    let commits = done(path, &["checkpoint", "ls", "--lake", "lake"]);
    assert!(commits.lines().count() > 3, "a header, a start, an epoch, an end: {commits}");
    let shown = done(path, &["checkpoint", "show", "--lake", "lake"]);
    assert!(shown.contains("Pipeline bikes") && shown.contains("Input stations"), "{shown}");
    done(path, &["checkpoint", "verify", "--lake", "lake"]);
    let files = done(path, &["lake", "files", "--lake", "lake"]);
    assert!(files.contains("trips/"), "{files}");
    let page = done(path, &["explain", "state-does-not-fit"]);
    assert!(page.contains("state-does-not-fit"), "{page}");
    let script = done(path, &["completions", "bash"]);
    assert!(script.contains("_bikes") && script.contains("--overdue"), "no completions of its own");
    // It has no views, and says so.
    let views = done(path, &["views", "ls", "--lake", "lake"]);
    assert!(!views.contains("trips"), "{views}");
    for kind in ["dead", "late"] {
        let replayed = done(path, &[kind, "replay", "--lake", "lake", "--to", kind]);
        assert!(replayed.starts_with("wrote "), "{replayed}");
    }
}

#[test]
fn program_speaks_under_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(done(folder.path(), &["-V"]), "bikes 0.3.0\n");
    let help = done(folder.path(), &["--help"]);
    assert!(help.contains("Usage: bikes"), "{help}");
    let run = done(folder.path(), &["run", "--help"]);
    assert!(run.contains("Trips of bikes"), "{run}");
    assert!(run.contains("--overdue") && !run.contains("--window"), "{run}");
    let (code, _, err) = bikes(folder.path(), &["check", "bikes", "--overdue", "0s", "--lake", "l"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("a bike would be overdue at once"), "{err}");
}

#[test]
fn demo_shows_the_busiest_stations_of_generated_messages() {
    let folder = tempfile::tempdir().unwrap();
    let out = done(folder.path(), &["demo", "--messages", "20000"]);
    assert!(out.starts_with("bikes 0.3.0 demo: everything is under bikes-demo"), "{out}");
    assert!(out.contains("busiest stations"), "{out}");
    done(folder.path(), &["audit", "--lake", "bikes-demo/lake", "--deep"]);
}
