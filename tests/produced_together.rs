//! `headway produce --continuous`: the topics of one simulation side by side, in the order of time, each as it would be alone.

use crate::cli::{folder, headway, succeeds};
use serde_json::Value;
use std::collections::BTreeMap;

const TOPICS: [&str; 4] = ["listen_events", "page_view_events", "auth_events", "status_change_events"];

/// What all streams are made of.
const OF: [&str; 6] = ["--keys", "300", "--partitions", "2", "--seed", "4"];

#[test]
fn topics_of_one_simulation_are_written_side_by_side_and_each_is_what_it_is_alone() {
    let folder = folder();
    let at = folder.path();
    let to = [
        "produce",
        "music",
        "--to",
        "-",
        "--envelope",
        "--continuous",
        "--speed",
        "max",
        "--messages",
        "4000",
    ];
    let together = headway(at, &[&to[..], &OF].concat());
    succeeds(&together);
    let mut of_topic: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut before = i64::MIN;
    for line in together.out.lines() {
        let envelope: Value = serde_json::from_str(line).expect("an envelope");
        let sent = envelope["ts"].as_i64().expect("a time");
        assert!(before <= sent, "{line} was sent before the one above it");
        before = sent;
        of_topic.entry(envelope["topic"].as_str().expect("a name").into()).or_default().push(line.into());
    }
    assert_eq!(of_topic.values().map(Vec::len).sum::<usize>(), 4_000);
    for topic in TOPICS {
        let own = &of_topic[topic];
        let alone = ["produce", "music", "--to", "-", "--envelope", "--input", topic, "--messages", "6000"];
        let alone = headway(at, &[&alone[..], &OF].concat());
        succeeds(&alone);
        let all: Vec<&str> = alone.out.lines().collect();
        assert!(!own.is_empty() && own.iter().all(|line| all.contains(&line.as_str())), "{topic}");
    }
    // The same, in folders that a job reads.
    let to = ["produce", "music", "--to", "in", "--continuous", "--speed", "max", "--messages", "4000"];
    succeeds(&headway(at, &[&to[..], &OF].concat()));
    let run = ["run", "music", "--source", "files:in", "--lake", "lake", "-o", "json"];
    let run = headway(at, &run);
    succeeds(&run);
    let summary: Value = serde_json::from_str(&run.out).expect("the summary is JSON");
    assert_eq!(summary["accepted"], 4_000, "{}", run.out);
}

#[test]
fn place_that_cannot_take_all_inputs_side_by_side_is_refused() {
    let folder = folder();
    for (flags, says) in [
        (&["--to", "x"][..], "messages without end do not fit into a folder"),
        (&["--to", "-"], "a bare line does not say which input it is of"),
        (&["--to", "-", "--pace", "5"], "--pace"),
        (&["--to", "-", "--speed", "0"], "neither a number above 0 nor max"),
        (&["--to", "-", "--envelope", "--topic", "t"], "--topic is for one input, and there are 4"),
    ] {
        let refused = headway(folder.path(), &[&["produce", "music", "--continuous"], flags].concat());
        assert_eq!(refused.code, Some(2), "{flags:?}");
        assert!(refused.err.contains(says), "{flags:?}: {}", refused.err);
    }
    let alone = headway(folder.path(), &["produce", "music", "--to", "-", "--speed", "1"]);
    assert_eq!(alone.code, Some(2), "{}", alone.err);
}
