//! `headway explain dead` of every reason for which the pipelines refuse a message: what the reason means, which field it is
//! and what that holds, and the command that goes on.

use crate::cli::{folder, headway};
use crate::files::write;
use serde_json::{Value, json};
use std::path::Path;

/// A message that is a dead letter, and what is said of it.
struct Case {
    message: Option<Vec<u8>>,
    reason: &'static str,
    /// Words of the sentence and of the evidence.
    words: &'static [&'static str],
}

fn case(message: impl AsRef<[u8]>, reason: &'static str, words: &'static [&'static str]) -> Case {
    Case { message: Some(message.as_ref().to_vec()), reason, words }
}

fn no_value() -> Case {
    Case { message: None, reason: "null-value", words: &["The message has no value", "it has no value"] }
}

/// A capture of partition 0 of `topic`: `good`, and the message of each case at the offset after its place.
fn capture(topic: &str, good: &str, cases: &[Case]) -> Vec<u8> {
    // A byte that is no text stands in a capture as it was sent.
    const NO_TEXT: char = '\u{fffd}';
    let mut text = String::new();
    let all = std::iter::once(Some(good.as_bytes())).chain(cases.iter().map(|case| case.message.as_deref()));
    for (offset, message) in all.enumerate() {
        let payload = message.map_or(Value::Null, |message| String::from_utf8_lossy(message).into());
        let line = json!({ "topic": topic, "partition": 0, "offset": offset, "ts": 1_706_618_000_000_i64, "payload": payload });
        text += &format!("{line}\n");
    }
    let parts: Vec<&[u8]> = text.split(NO_TEXT).map(str::as_bytes).collect();
    parts.join(&0xff)
}

/// Asks why the record at `place` is a dead letter, and holds the answer against `case`.
fn explain(path: &Path, place: &str, case: &Case) {
    let answer = |form: &str| headway(path, &["explain", "dead", place, "--lake", "lake", "-o", form]);
    let said = answer("text");
    let shown = format!("{place} {}: {said:?}", case.reason);
    assert_eq!(said.code, Some(0), "{shown}");
    let is_first = |line: &str| line.contains(&format!("is {}.", case.reason));
    assert!(said.out.lines().next().is_some_and(is_first), "{shown}");
    for words in case.words {
        assert!(said.out.contains(words), "{words}: {shown}");
    }
    assert!(!said.out.contains("Its pipeline refuses it as"), "the reason has no meaning: {shown}");
    let json: Value = serde_json::from_str(&answer("json").out).expect("the answer is JSON");
    assert_eq!(json["reason"], case.reason, "{shown}");
    let next = json["next"].as_str().expect("it says what to do next");
    let kept = format!("headway dead replay --lake LAKE --reason {} --to again", case.reason);
    let goes_on =
        next.contains(&kept) || case.reason == "too-long" && next.contains("where it was read from");
    assert!(goes_on, "{next}: {shown}");
}

/// Each case lies in partition 0, at the offset after its place.
fn explain_all(path: &Path, cases: &[Case]) {
    for (offset, case) in (1..).zip(cases) {
        explain(path, &format!("0:{offset}"), case);
    }
}

#[test]
fn every_dead_letter_of_turnstile_is_explained() {
    let folder = folder();
    let path = folder.path();
    const GOOD: &str = "A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,6,7,x,2024-01-30 12:32:04";
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    let cases = [
        no_value(),
        case(
            "x".repeat(2 << 20),
            "too-long",
            &["longer than a record may be", "it had 2097152 bytes, of which only the first are kept"],
        ),
        case(b"A002,\xff", "not-utf8", &["no UTF-8 text", "byte 6 of 6 is 0xff", "its bytes in base64"]),
        case("", "empty", &["The message is empty"]),
        case(
            "CA,UNIT,SCP,STATION\nA002,R051,02-00-00,59 ST",
            "bad-header",
            &["lacks a column, or has one twice"],
        ),
        case("A002,\"R051", "bad-csv", &["a quote is not closed"]),
        case(
            "A002,R051,7",
            "wrong-field-count",
            &["more or fewer fields", "cut at its commas it has 3 fields"],
        ),
        case("a\rb", "too-many-records", &["has more than one record"]),
        case(with("02-00-00", " "), "missing-field", &["missing or empty", "the field SCP has"]),
        case(
            with("59 ST", "59\u{7}ST"),
            "control-character",
            &["has a control character", "the field STATION has \"59\\u{7}ST\""],
        ),
        case(
            with("R,6,", "R,-6,"),
            "bad-number",
            &["must be a whole number is none", "the field ENTRIES has \"-6\""],
        ),
        case(with(",7,x", ",1e3,x"), "bad-number", &["the field EXITS has \"1e3\""]),
        case(
            with("01-30 12", "02-30 12"),
            "bad-timestamp",
            &["The time of the record", "the field TIMESTAMP has \"2024-02-30 12:32:04\""],
        ),
        case(
            with("2024-01-30", "2034-01-30"),
            "future-event-time",
            &["further in the future", "the newest event time that was allowed"],
        ),
    ];
    write(path, "in/a.ndjson", capture("mta-turnstile", GOOD, &cases));
    let run = headway(path, &["run", "turnstile", "--lake", "lake", "--source", "files:in"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    explain_all(path, &cases);
}

#[test]
fn every_dead_letter_of_music_is_explained() {
    let folder = folder();
    let path = folder.path();
    let cases = [
        no_value(),
        case("x".repeat(2 << 20), "too-long", &["longer than a record may be", "it had 2097152 bytes"]),
        case(b"{\"ts\":\xff}", "not-utf8", &["no UTF-8 text", "byte 7 of 8 is 0xff"]),
        case(" ", "empty", &["The message is empty"]),
        case("[1]", "not-an-object", &["JSON, and no object", "its text: \"[1]\""]),
        case(
            "{\"ts\":17",
            "bad-json",
            &[
                "no JSON of the expected form",
                "a reader of JSON stops there: EOF while parsing an object at line 1 column 8",
            ],
        ),
        case("{\"song\":\"a\"}", "missing-field", &["missing or empty", "the field ts has nothing"]),
        case("{\"ts\":\"soon\"}", "bad-timestamp", &["The time of the record", "the field ts has"]),
        case(
            "{\"ts\":4102444800000}",
            "future-event-time",
            &["further in the future", "that was allowed: 2024-01-30"],
        ),
    ];
    write(path, "listen.ndjson", capture("listen_events", "{\"ts\":1706608800000}", &cases));
    let run = headway(
        path,
        &[
            "run",
            "music",
            "--lake=lake",
            "--source=listen_events=files:listen.ndjson",
            "--source=auth_events=generate:messages=1",
            "--source=page_view_events=generate:messages=1",
            "--source=status_change_events=generate:messages=1",
        ],
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    explain_all(path, &cases);
}

#[cfg(feature = "parquet")]
#[test]
fn every_dead_letter_of_weekly_files_is_explained() {
    let folder = folder();
    let path = folder.path();
    const GOOD: &str =
        "A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,0000102019,0000073801";
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    let cases = vec![
        case(
            b"A002,\xff,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,1,2",
            "not-utf8",
            &["no UTF-8 text", "byte 6 of "],
        ),
        case(
            with(",BMT", ""),
            "wrong-field-count",
            &["more or fewer fields", "cut at its commas it has 10 fields"],
        ),
        case(with("59 ST", ""), "missing-field", &["missing or empty", "the field STATION has nothing"]),
        case(
            with("59 ST", "59\u{7}ST"),
            "control-character",
            &["has a control character", "the field STATION has \"59\\u{7}ST\""],
        ),
        case(
            with("0000102019", "-1"),
            "bad-number",
            &["must be a whole number is none", "the field ENTRIES has \"-1\""],
        ),
        case(with("0000073801", ""), "bad-number", &["the field EXITS has nothing"]),
        case(
            with("12/30", "02/30"),
            "bad-timestamp",
            &["The time of the record", "the field DATE and TIME has \"02/30/2023 03:00:00\""],
        ),
        case(
            with("12/30/2023", "12/30/2093"),
            "future-event-time",
            &["further in the future", "the newest event time that was allowed"],
        ),
    ];
    let lines = |cases: &[Case]| {
        let mut file = format!("{GOOD}\n").into_bytes();
        for case in cases {
            file.extend(case.message.as_deref().expect("a line has bytes"));
            file.push(b'\n');
        }
        file
    };
    write(path, "in/turnstile_240106.txt", lines(&cases));
    let run = headway(path, &["run", "turnstile-weekly", "--lake", "lake", "--source", "files:in"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    explain_all(path, &cases);
}
