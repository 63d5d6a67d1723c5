//! What a job expects of its views and records, by whole runs: what is refused, what stops a commit, what is counted.

use crate::cli::{Run, files_in, folder, headway, killed_after};
use crate::weekly::tables;
use serde_json::Value;
use std::path::Path;

const SOURCE: &str = "generate:messages=6000,rate=0.3,keys=60,seed=1";

/// Writes `text` as the configuration file.
pub(crate) fn config(at: &Path, text: &str) {
    std::fs::write(at.join("headway.toml"), text).expect("the file can be written");
}

fn run(at: &Path, command: &str, more: &[&str]) -> Run {
    let job = [command, "turnstile", "-c", "headway.toml", "--source", SOURCE, "--lake", "lake"];
    headway(at, &[&job[..], more].concat())
}

/// What `headway status` says of the job in `lake`.
pub(crate) fn status(at: &Path, lake: &str) -> Value {
    let status = headway(at, &["status", "--lake", lake, "-o", "json"]);
    serde_json::from_str(&status.out).unwrap_or_else(|_| panic!("{status:?}"))
}

/// What `headway status` says of expectations: name, status, failures.
pub(crate) fn expected(at: &Path, lake: &str) -> Vec<(String, String, Option<u64>)> {
    let status = status(at, lake);
    let text = |value: &Value| value.as_str().expect("a text").to_string();
    let one = |found: &Value| (text(&found["name"]), text(&found["status"]), found["failures"].as_u64());
    status["expectations"].as_array().expect("a list").iter().map(one).collect()
}

/// How many records of the first input are dead letters because of rule `rule`, as `headway status` says.
pub(crate) fn dead(at: &Path, lake: &str, rule: &str) -> u64 {
    let status = status(at, lake);
    let count = status["inputs"][0]["total"]["dead"][format!("rule:{rule}")].as_u64();
    count.unwrap_or_else(|| panic!("{status}"))
}

/// How many rows of the stream are committed, as `headway status` says.
pub(crate) fn rows(at: &Path, lake: &str) -> u64 {
    status(at, lake)["rows"].as_u64().expect("a count")
}

/// The beginning of an expectation of a view.
const OF_A_VIEW: &str = "[[expect]]\nname = \"a\"\nview = \"station_day\"\n";

/// The beginning of an expectation of records.
const OF_RECORDS: &str = "[[expect]]\nname = \"a\"\ninput = \"turnstile\"\n";

/// What follows the beginning, or a whole file; what is said of it; and the hint.
type Fault = (&'static str, &'static str, &'static str);

const FAULTS_OF_VIEWS: [Fault; 15] = [
    ("[expect]\nname = \"a\"\n", "1:2: \"expect\" is a list of sections", "Write [[expect]]"),
    (
        "[[expect]]\nname = \"a\"\nveiw = \"b\"\n",
        "3:1: unknown key \"veiw\" in [[expect]]",
        "Did you mean \"view\"?",
    ),
    ("[[expect]]\nview = \"a\"\n", "missing field `name`", ""),
    (
        "[[expect]]\nname = \"a\"\nview = \"station_days\"\nunique = [\"day\"]\n",
        "3:8: there is no view \"station_days\"",
        "Did you mean \"station_day\"?",
    ),
    (
        "unique = [\"station\", \"dayy\"]\n",
        "4:22: \"station_day\" has no column \"dayy\"",
        "Did you mean \"day\"?",
    ),
    ("not_null = []\n", "4:12: no column is named", "Name one"),
    ("", "2:8: expectation \"a\" expects nothing", "Give it one of unique"),
    ("unique = [\"day\"]\nnot_null = [\"day\"]\n", "2:8: expectation \"a\" expects two things", ""),
    ("[[expect]]\nname = \"A b\"\nview = \"x\"\n", "2:8: \"A b\" cannot be the name", "lower-case words"),
    (
        "unique = [\"day\"]\n[[expect]]\nname = \"a\"\nview = \"station_day\"\nunique = [\"day\"]\n",
        "6:8: \"a\" is the name of two",
        "",
    ),
    (
        "accepted_values = { column = \"day\", values = [\"x\", 3] }\n",
        "4:52: column \"day\" never has a value of the type integer",
        "write them in quotes",
    ),
    (
        "row_count_change = { day = \"entries\", max = \"50%\" }\n",
        "4:28: column \"entries\" has no days",
        "2024-01-31",
    ),
    ("row_count_change = { day = \"day\", max = \"half\" }\n", "4:41: \"half\" says not by how much", "50%"),
    (
        "relationships = { columns = [\"day\"], to = \"dim_stations\", to_columns = [\"a\"] }\n",
        "there is no view \"dim_stations\"",
        "Did you mean \"dim_station\"?",
    ),
    (
        "severity = \"stop\"\nunique = [\"day\"]\n",
        "4:12: unknown variant `stop`, expected one of `warn`, `quarantine`, `fail`",
        "",
    ),
];

const FAULTS_OF_RECORDS: [Fault; 6] = [
    (
        "[[expect]]\nname = \"a\"\ninput = \"turnstiles\"\nnot_null = [\"ID\"]\n",
        "3:9: there is no input \"turnstiles\"",
        "Did you mean \"turnstile\"?",
    ),
    (
        "not_null = [\"DIVISON\"]\n",
        "4:13: \"turnstile\" has no column \"DIVISON\"",
        "Did you mean \"DIVISION\"?",
    ),
    ("unique = [\"ID\"]\n", "2:8: expectation \"a\" is not about one record", "of a view"),
    (
        "row_count_change = { day = \"ID\", max = \"1%\" }\n",
        "2:8: row_count_change cannot be expected of records",
        "of a view",
    ),
    ("view = \"station_day\"\nnot_null = [\"ID\"]\n", "2:8: expectation \"a\" is not about one thing", ""),
    (
        "[[expect]]\nname = \"a\"\nview = \"station_day\"\nseverity = \"quarantine\"\nunique = [\"day\"]\n",
        "4:12: \"quarantine\" is for records of an input",
        "\"warn\" or \"fail\"",
    ),
];

/// The file of a fault.
fn whole(start: &str, text: &str) -> String {
    let start = if text.starts_with('[') { "" } else { start };
    format!("{start}{text}")
}

#[test]
fn expectation_of_what_is_not_there_is_refused_with_its_place() {
    let folder = folder();
    let at = folder.path();
    let views = FAULTS_OF_VIEWS.map(|(text, what, hint)| (whole(OF_A_VIEW, text), what, hint));
    let records = FAULTS_OF_RECORDS.map(|(text, what, hint)| (whole(OF_RECORDS, text), what, hint));
    for (text, what, hint) in views.into_iter().chain(records) {
        config(at, &text);
        for command in ["check", "run"] {
            let refused = run(at, command, &["--views"]);
            assert_eq!(
                (refused.code, refused.err.contains("(config-invalid)")),
                (Some(2), true),
                "{refused:?}"
            );
            assert!(refused.err.contains(what) && refused.err.contains(hint), "{what}: {}", refused.err);
        }
    }
    assert!(!at.join("lake").exists(), "nothing was begun");
    config(at, &whole(OF_A_VIEW, "unique = [\"day\"]\n"));
    let refused = run(at, "check", &[]);
    assert!(
        refused.err.contains("3:8: there is no view") && refused.err.contains("--views"),
        "{}",
        refused.err
    );
    let refused = run(at, "check", &["--views", "--expect-warn", "b"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("--expect-warn: there is no expectation \"b\""), "{}", refused.err);
    let checked = run(at, "check", &["--views", "--expect-warn", "a"]);
    assert!(
        checked.out.contains("expects   a: view \"station_day\", unique (day); else warn"),
        "{checked:?}"
    );
}

/// Two that hold, and three that do not: there is more than one row a day, and there are other divisions than IND.
const RULES: &str = r#"
[[expect]]
name = "one-row-a-station-and-day"
view = "station_day"
unique = ["station", "lines", "division", "day"]
severity = "fail"

[[expect]]
name = "station-is-known"
view = "station_day"
relationships = { columns = ["station", "lines"], to = "dim_station", to_columns = ["station", "lines"] }
severity = "fail"

[[expect]]
name = "one-row-a-day"
view = "station_day"
unique = ["day"]

[[expect]]
name = "only-ind"
view = "dim_station"
accepted_values = { column = "division", values = ["IND"] }

[[expect]]
name = "only-a-few-booths"
view = "dim_booth"
relationships = { columns = ["remote"], to = "dim_station", to_columns = ["station"] }
"#;

#[test]
fn counts_are_those_of_the_tables_after_kills_and_with_any_number_of_workers() {
    let folder = folder();
    let at = folder.path();
    config(at, RULES);
    let small = ["--views", "--until", "end", "--epoch", "50ms", "--epoch-bytes", "32KiB"];
    let manifests = at.join("lake/_headway/turnstile/manifest");
    let job = ["run", "turnstile", "-c", "headway.toml", "--source", SOURCE, "--lake", "lake"];
    let job = [&job[..], &small[..], &["--if-running", "take-over"]].concat();
    for workers in ["2", "1"] {
        let before = files_in(&manifests);
        killed_after(at, &[&job[..], &["-w", workers]].concat(), &manifests, before + 4);
    }
    let done = headway(at, &[&job[..], &["-w", "3"]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    let tables = tables(&at.join("lake"), "turnstile");
    let (days, stations, booths) = (&tables["station_day"], &tables["dim_station"], &tables["dim_booth"]);
    let others = stations.iter().filter(|row| row[2] != "IND").count() as u64;
    let same_day = |row: &&Vec<String>| days.iter().filter(|other| other[3] == row[3]).count() > 1;
    let same_day = days.iter().filter(same_day).count() as u64;
    let unrelated = |row: &&Vec<String>| stations.iter().all(|station| station[0] != row[0]);
    let unrelated = booths.iter().filter(unrelated).count() as u64;
    assert!(others > 0 && same_day > 0 && unrelated > 0, "the rules find something");
    let found = [
        ("one-row-a-day", "warn", same_day),
        ("one-row-a-station-and-day", "pass", 0),
        ("only-a-few-booths", "warn", unrelated),
        ("only-ind", "warn", others),
        ("station-is-known", "pass", 0),
    ];
    let found: Vec<_> = found.into_iter().map(|(n, s, f)| (n.to_string(), s.to_string(), Some(f))).collect();
    assert_eq!(expected(at, "lake"), found);
    let build = headway(at, &[&["build"], &job[1..]].concat());
    assert_eq!(build.code, Some(0), "{build:?}");
    assert_eq!(
        (build.out.matches("  PASS  ").count(), build.out.matches("  WARN  ").count()),
        (2, 3),
        "{}",
        build.out
    );
}

#[test]
fn rule_that_must_hold_stops_before_the_commit_and_a_flag_goes_on() {
    let folder = folder();
    let at = folder.path();
    config(
        at,
        "[[expect]]\nname = \"only-ind\"\nview = \"dim_station\"\nseverity = \"fail\"\n\
         accepted_values = { column = \"division\", values = [\"IND\"] }\n",
    );
    let stopped = run(at, "build", &["-o", "json"]);
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert!(
        stopped.err.contains("expectation-failed") && stopped.err.contains("--expect-warn only-ind"),
        "{stopped:?}"
    );
    assert!(stopped.err.contains("division=") && stopped.err.contains("Nothing of epoch"), "{stopped:?}");
    let lines: Vec<Value> =
        stopped.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let rule = lines.last().expect("a line a rule");
    assert_eq!((&rule["expectation"], &rule["status"]), (&"only-ind".into(), &"fail".into()), "{stopped:?}");
    // What would break it is in no manifest and in no table: a row of the view comes in the epoch of a row of the stream.
    assert_eq!(rows(at, "lake"), 0, "rows were committed");
    assert!(!at.join("lake/gold/turnstile/dim_station.parquet").exists());
    let found = expected(at, "lake");
    assert!(found.iter().all(|(_, _, failures)| failures.is_none_or(|failures| failures == 0)), "{found:?}");
    // A restart judges the same rows again.
    assert_eq!(run(at, "run", &["--views"]).code, Some(1));
    let warned = run(at, "build", &["--expect-warn", "only-ind"]);
    assert_eq!((warned.code, warned.out.contains("WARN     only-ind")), (Some(0), true), "{warned:?}");
    assert!(expected(at, "lake").iter().all(|(_, status, failures)| status == "warn" && *failures > Some(0)));
    // It is committed now: without the flag the job does not go on.
    let stopped = run(at, "build", &[]);
    assert_eq!(
        (stopped.code, stopped.err.contains("was committed before this was expected")),
        (Some(1), true),
        "{stopped:?}"
    );
    assert!(stopped.out.contains("1 of 1  FAIL     only-ind"), "{stopped:?}");
}

/// Most records are of another station than 59 ST, and many of another unit than these two.
const RECORDS: &str = r#"
[[expect]]
name = "only-59-st"
input = "turnstile"
accepted_values = { column = "STATION", values = ["59 ST"] }

[[expect]]
name = "known-unit"
input = "turnstile"
accepted_values = { column = "UNIT", values = ["R051", "R079"] }
severity = "quarantine"

[[expect]]
name = "has-a-station"
input = "turnstile"
not_null = ["STATION", "ENTRIES"]
severity = "fail"
"#;

#[test]
fn records_are_counted_and_kept_apart_after_kills_and_with_any_number_of_workers() {
    let folder = folder();
    let at = folder.path();
    config(at, RECORDS);
    let job = |lake: &'static str, workers: &'static str| {
        let small =
            ["--epoch", "50ms", "--epoch-bytes", "32KiB", "--if-running", "take-over", "--dead-max", "100%"];
        let job =
            ["run", "turnstile", "-c", "headway.toml", "--source", SOURCE, "--lake", lake, "-w", workers];
        [&job[..], &small[..]].concat()
    };
    let whole = headway(at, &job("whole", "1"));
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let manifests = at.join("killed/_headway/turnstile/manifest");
    for workers in ["2", "1"] {
        killed_after(at, &job("killed", workers), &manifests, files_in(&manifests) + 4);
    }
    let done = headway(at, &job("killed", "3"));
    assert_eq!(done.code, Some(0), "{done:?}");
    let found = expected(at, "whole");
    assert_eq!(found, expected(at, "killed"), "as a job that was never stopped");
    let [
        ("has-a-station", "pass", Some(0)),
        ("known-unit", "warn", Some(others)),
        ("only-59-st", "warn", Some(elsewhere)),
    ] = [0, 1, 2].map(|at| (found[at].0.as_str(), found[at].1.as_str(), found[at].2))
    else {
        panic!("{found:?}")
    };
    assert!(0 < others && others < elsewhere, "{found:?}");
    for lake in ["whole", "killed"] {
        assert_eq!(dead(at, lake, "known-unit"), others, "{lake}");
        let dead = headway(at, &["dead", "ls", "--lake", lake]);
        assert!(dead.out.contains("rule:known-unit"), "{dead:?}");
        let audit = headway(at, &["audit", "--lake", lake, "--deep"]);
        assert_eq!(audit.code, Some(0), "{audit:?}");
    }
}

#[test]
fn record_that_must_not_come_stops_before_the_commit_and_a_flag_goes_on() {
    let folder = folder();
    let at = folder.path();
    config(at, &RECORDS.replace("quarantine", "fail"));
    let stopped = run(at, "run", &[]);
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert!(
        stopped.err.contains("expectation-failed") && stopped.err.contains("of input \"turnstile\""),
        "{stopped:?}"
    );
    assert!(
        stopped.err.contains("--expect-warn known-unit") && stopped.err.contains("offset "),
        "{stopped:?}"
    );
    let found = expected(at, "lake");
    assert!(
        found.iter().all(|(name, _, failures)| name != "known-unit" || failures.is_none_or(|f| f == 0)),
        "{found:?}"
    );
    let warned = run(at, "run", &["--expect-warn", "known-unit"]);
    assert_eq!(warned.code, Some(0), "{warned:?}");
    let found = expected(at, "lake");
    assert!(
        found
            .iter()
            .any(|(name, status, failures)| name == "known-unit" && status == "warn" && *failures > Some(0))
    );
    // What was committed with a warning stays committed: it stops no later commit.
    assert_eq!(run(at, "run", &[]).code, Some(0));
}
