//! Taking records back: what was refused is written as it was sent, and another run makes rows of it.

use crate::cli::{folder, headway};
use crate::files::{capture, fates, gzip, lines, write};
use crate::weekly::sample_text;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const JOB: [&str; 5] = ["run", "turnstile", "--lake", "lake", "--source"];

/// The lines of a folder's file of partition `partition`.
fn originals(folder: &Path, partition: u32) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(format!("part-{partition:05}.ndjson"))).expect("it is there");
    text.lines().map(|line| serde_json::from_str(line).expect("an envelope is JSON")).collect()
}

/// An envelope with key and headers whose payload is no record.
fn odd(partition: u32, offset: u32) -> Value {
    json!({
        "topic": "mta-turnstile", "partition": partition, "offset": offset, "tstype": "create",
        "ts": 1_706_608_800_000_i64, "broker": 0, "headers": ["trace", format!("t{offset}"), "none", null],
        "key": format!("k{offset}"), "payload": format!("no \"record\" {offset}"),
    })
}

#[test]
fn dead_letters_are_written_as_they_were_sent() {
    let folder = folder();
    let path = folder.path();
    let bad: Vec<Value> = (60..63).map(|offset| odd(4, offset)).collect();
    let bad_lines: String = bad.iter().map(|line| format!("{line}\n")).collect();
    write(path, "in/a.ndjson.gz", gzip(&(capture(4, 30, 0..60) + &bad_lines)));
    let run = headway(path, &[JOB.as_slice(), &["files:in"]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    let replayed = headway(path, &["dead", "replay", "--lake", "lake", "--to", "again"]);
    assert!(
        replayed.code == Some(0) && replayed.out.contains("wrote 3 messages to \"again\""),
        "{replayed:?}"
    );
    assert_eq!(originals(&path.join("again"), 4), bad);
    // A second time nothing is written over; a reason and a topic can be chosen.
    let again = headway(path, &["dead", "replay", "--lake", "lake", "--to", "again"]);
    assert!(again.code != Some(0) && again.err.contains("hint: "), "{again:?}");
    let none = ["dead", "replay", "--lake", "lake", "--to", "none", "--reason", "empty"];
    assert!(headway(path, &none).out.contains("wrote 0 messages"));
    let other = ["dead", "replay", "--lake", "lake", "--to", "other", "--topic", "mended"];
    assert_eq!(headway(path, &other).code, Some(0));
    assert_eq!(originals(&path.join("other"), 4)[0]["topic"], "mended");
}

#[test]
fn late_records_and_those_of_a_wrong_limit_become_rows_of_another_lake() {
    let folder = folder();
    let path = folder.path();
    // A whole day is late: its windows were closed by the day after.
    write(path, "in/0129.csv", lines(29, 0..120));
    let limit = ["--not-after", "2024-01-30"];
    let args = [JOB.as_slice(), &["files:in"], limit.as_slice()].concat();
    assert_eq!(headway(path, &args).code, Some(0));
    write(path, "in/missing.csv", lines(28, 0..60));
    write(path, "in/0130.csv", lines(30, 0..40));
    headway(path, &args);
    assert_eq!(fates(path), [220, 120, 0, 60, 40]);
    for (kind, count) in [("late", 60), ("dead", 40)] {
        let replayed = headway(path, &[kind, "replay", "--lake", "lake", "--to", kind]);
        assert!(replayed.out.contains(&format!("wrote {count} messages")), "{replayed:?}");
    }
    let mended = headway(path, &["run", "turnstile", "--lake", "mended", "--source", "files:late"]);
    assert!(mended.code == Some(0) && mended.out.contains("60 accepted"), "{mended:?}");
    let mended = headway(path, &["run", "turnstile", "--lake", "mended-too", "--source", "files:dead"]);
    assert!(mended.code == Some(0) && mended.out.contains("40 accepted"), "{mended:?}");
}

#[test]
fn lines_under_a_header_of_their_own_come_back_with_it() {
    let folder = folder();
    let path = folder.path();
    // EXITS lie before ENTRIES: 4 people enter and 3 leave at each reading.
    let header =
        "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,\"EXITS\",ENTRIES,ID,TIMESTAMP\n".to_string();
    let swapped = |day| lines(day, 0..60).replace("REGULAR,1,2,", "REGULAR,3,4,");
    let bad = swapped(28).lines().next().expect("it has one").replace(",3,4,", ",y,4,");
    write(path, "in/0129.csv", lines(29, 0..120));
    assert_eq!(headway(path, &[JOB.as_slice(), &["files:in"]].concat()).code, Some(0));
    // Read after the day behind it, all of it is late by the window of its own file.
    let newest = lines(30, 0..1).replace("REGULAR,1,2,", "REGULAR,3,4,");
    write(path, "in/swapped.csv", header + &newest + &swapped(28) + &bad + "\n");
    headway(path, &[JOB.as_slice(), &["files:in"]].concat());
    let explained = headway(path, &["explain", "dead", "1:62", "--lake", "lake"]);
    assert!(explained.out.contains("the field EXITS has \"y\""), "{explained:?}");
    let replayed = headway(path, &["late", "replay", "--lake", "lake", "--to", "again"]);
    assert!(replayed.out.contains("wrote 60 messages"), "{replayed:?}");
    let mended = headway(path, &["run", "turnstile", "--lake", "other/lake", "--source", "files:again"]);
    assert!(mended.code == Some(0) && mended.out.contains("60 accepted"), "{mended:?}");
    let sums = crate::field::sums(&path.join("other"));
    assert_eq!(sums, (240, 180), "ENTRIES and EXITS");
}

#[test]
fn lines_of_files_whose_name_decides_come_back_in_files_of_that_name() {
    let folder = folder();
    let path = folder.path();
    let text = sample_text();
    let lines: Vec<&str> = text.lines().skip(1).take(40).collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    write(path, "in/240106.csv.gz", gzip(&joined(&lines[..25])));
    write(path, "in/more/turnstile_240113.txt", joined(&lines[25..]));
    let weekly = |lake, source, more: &[&str]| {
        headway(path, &[&["run", "turnstile-weekly", "--lake", lake, "--source", source], more].concat())
    };
    // Some readings are beyond a limit that was wrong.
    let run = weekly("lake", "files:in/**", &["--not-after", "2023-12-31T06:00:00Z"]);
    let dead = fates(path)[4];
    assert!(dead > 0, "{run:?}");
    let replayed = headway(path, &["dead", "replay", "--lake", "lake", "--to", "again"]);
    assert!(replayed.out.contains(&format!("wrote {dead} messages")), "{replayed:?}");
    let mut names: Vec<_> =
        fs::read_dir(path.join("again")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["240106.csv", "turnstile_240113.csv"]);
    let mended = weekly("mended", "files:again", &[]);
    assert!(mended.code == Some(0) && mended.out.contains(&format!("{dead} accepted")), "{mended:?}");
}

#[test]
fn message_that_is_not_kept_whole_is_left_out_and_counted() {
    let folder = folder();
    let path = folder.path();
    write(path, "in/a.csv", lines(30, 0..60) + &"x".repeat(2 << 20) + "\nno record\n");
    assert_eq!(headway(path, &[JOB.as_slice(), &["files:in"]].concat()).code, Some(0));
    let replayed = headway(path, &["dead", "replay", "--lake", "lake", "--to", "again"]);
    assert!(
        replayed.out.contains("wrote 1 message ") && replayed.out.contains("left out 1 message"),
        "{replayed:?}"
    );
    assert_eq!(originals(&path.join("again"), 0)[0]["payload"], "no record");
}

/// A value, a key, the first header and a time stamp.
#[cfg(feature = "kafka")]
type Sent = (String, String, String, i64);

/// The messages of a topic of one partition.
#[cfg(feature = "kafka")]
fn topic(brokers: &str, topic: &str, count: usize) -> Vec<Sent> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::{Headers, Message};
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "replay")
        .create()
        .expect("a consumer can be made");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("it is a partition");
    consumer.assign(&list).expect("it can be assigned");
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let next = |_| {
        let message = consumer.poll(std::time::Duration::from_secs(30)).expect("there is one more");
        let message = message.expect("it can be read");
        let header = message.headers().expect("it has headers").get(0);
        let header = format!("{}={}", header.key, text(header.value));
        let time_ms = message.timestamp().to_millis().expect("it has a time");
        (text(message.payload()), text(message.key()), header, time_ms)
    };
    (0..count).map(next).collect()
}

#[test]
#[cfg(feature = "kafka")]
fn refused_messages_of_two_topics_go_back_each_to_its_own() {
    let cluster = rdkafka::mocking::MockCluster::new(1).expect("a double of a cluster starts");
    let folder = folder();
    let path = folder.path();
    let topics = ["listen_events", "auth_events"];
    for name in topics {
        cluster.create_topic(name, 1, 1).expect("a topic can be made");
        let envelope = |offset: u32| {
            json!({
                "topic": name, "partition": 0, "offset": offset, "ts": 1_706_608_800_000_i64 + i64::from(offset),
                "key": format!("k{offset}"), "headers": ["from", name], "payload": format!("no JSON {offset} of {name}"),
            })
        };
        let lines: String = (0..3).map(|offset| format!("{}\n", envelope(offset))).collect();
        write(path, &format!("{name}.ndjson"), lines);
    }
    write(path, "client.properties", format!("bootstrap.servers={}\n", cluster.bootstrap_servers()));
    let args = [
        "run",
        "music",
        "--lake=lake",
        "--source=listen_events=files:listen_events.ndjson",
        "--source=auth_events=files:auth_events.ndjson",
        "--source=page_view_events=generate:messages=1",
        "--source=status_change_events=generate:messages=1",
    ];
    let run = headway(path, &args);
    assert_eq!(run.code, Some(0), "other inputs have records that were accepted: {run:?}");
    assert_eq!(run.err.matches("input-nothing-accepted").count(), 2, "each is named: {run:?}");
    let to = ["dead", "replay", "--lake", "lake", "--to", "kafka:", "--kafka-config", "client.properties"];
    let replayed = headway(path, &to);
    assert!(
        replayed.code == Some(0) && replayed.out.contains("wrote 6 messages to 2 topics"),
        "{replayed:?}"
    );
    for name in topics {
        let sent = |offset: i64| {
            let value = format!("no JSON {offset} of {name}");
            (value, format!("k{offset}"), format!("from={name}"), 1_706_608_800_000 + offset)
        };
        assert_eq!(topic(&cluster.bootstrap_servers(), name, 3), (0..3).map(sent).collect::<Vec<_>>());
    }
}

#[test]
fn run_that_accepted_nothing_of_any_input_is_refused_with_all_their_names() {
    let folder = folder();
    let path = folder.path();
    let mut args = vec!["run".to_string(), "music".to_string(), "--lake=lake".to_string()];
    for name in ["listen_events", "auth_events", "page_view_events", "status_change_events"] {
        let envelope =
            json!({ "topic": name, "partition": 0, "offset": 0, "key": null, "payload": "no JSON" });
        write(path, &format!("{name}.ndjson"), format!("{envelope}\n"));
        args.push(format!("--source={name}=files:{name}.ndjson"));
    }
    let run = headway(path, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(run.code == Some(1) && run.err.contains("(nothing-accepted)"), "{run:?}");
    assert!(
        run.err.contains("none of the 4 records of inputs \"listen_events\", \"page_view_events\""),
        "{run:?}"
    );
    let hint = run.err.lines().find(|line| line.starts_with("hint: ")).expect("it has a hint");
    assert_eq!(hint.matches("Check --topic").count(), 1, "one hint for all inputs: {hint}");
}

#[test]
fn explain_says_of_a_refused_record_which_window_had_closed_or_what_is_wrong_with_it() {
    let folder = folder();
    let path = folder.path();
    // 150 records ten seconds apart from 10:00 on, one from their beginning, and two that are no records.
    let late =
        "A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,10:00:05,REGULAR,1,2,late,2024-01-30 10:00:05\n";
    let number = "A002,R051,02-00-00,59 ST,NQ,BMT,01-30-24,10:00:00,REGULAR,x,2,x,2024-01-30 10:00:00\n";
    let future = "A002,R051,02-00-00,59 ST,NQ,BMT,01-30-24,10:00:00,REGULAR,1,2,f,2034-01-30 10:00:00\n";
    write(path, "in/a.csv", crate::process::lines("a", 0, 150) + late + number + future);
    assert_eq!(headway(path, &[JOB.as_slice(), &["files:in"]].concat()).code, Some(0));
    let explain = |args: &[&str]| headway(path, &[&["explain"], args, &["--lake", "lake"]].concat());
    let said = explain(&["late", "0:150"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for words in [
        "happened at 2024-01-30T10:00:05Z",
        "2024-01-30T10:00:00Z to 2024-01-30T10:05:00Z, had closed: its partition was at 2024-01-30T10:19:50Z",
        "a record of the same partition at 2024-01-30T10:24:50Z, read before it, less the lateness of 5m",
        "a lateness of more than 19m50s would have kept it",
        "in epoch 1, manifest 1",
        "headway late replay",
    ] {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
    let said = explain(&["dead", "0:151"]);
    for words in [
        "must be a whole number is none",
        "the field ENTRIES has \"x\"",
        "REGULAR,x,2",
        "dead replay --lake LAKE --reason bad-number",
    ] {
        assert!(said.code == Some(0) && said.out.contains(words), "{words}: {said:?}");
    }
    let said = explain(&["dead", "0:152", "-o", "json"]);
    let answer: Value = serde_json::from_str(&said.out).expect("the answer is JSON");
    assert_eq!((&answer["reason"], &answer["seq"]), (&json!("future-event-time"), &json!(1)), "{answer}");
    assert!(
        answer["evidence"][0].as_str().is_some_and(|text| text.contains("newest event time")),
        "{answer}"
    );
    for (args, code, word) in [
        (&["late", "0:151"][..], 1, "It was read in epoch 1"),
        (&["dead", "0:5000"], 1, "No commit has read that offset"),
        (&["dead", "3:1"], 1, "(record-not-found)"),
        (&["late"], 2, "PARTITION:OFFSET"),
        (&["late", "7"], 2, "PARTITION:OFFSET"),
        (&["fenced", "0:1"], 2, "does not go with"),
    ] {
        let refused = explain(args);
        assert!(refused.code == Some(code) && refused.err.contains(word), "{args:?}: {refused:?}");
    }
}
