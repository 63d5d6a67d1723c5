//! Messages of every kind through our decoder and the twin's: the answers are equal.

use crate::draws::Draws;
use crate::judge::{Message, agree};
use crate::messages::{field, message, text};
use crate::twin::{self, Reading};
use headway_operators::record::{Columns, Offset, Partition, Payload, Raw};
use headway_operators::stream::decode::{Context, Decoder as _};
use headway_pipelines::turnstile::record::Decoder;
use headway_pipelines::zone::Zone;
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

const ZONES: [&str; 5] =
    ["UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu"];

/// A line of text that a person can read; `{when}` is the TIMESTAMP.
const LINE: &str = "A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,12:32:04,REGULAR,6,7,354becd9,";

#[test]
fn mutated_messages_get_the_twins_answer() {
    let mut draws = Draws(2024);
    let mut fates: BTreeMap<String, u32> = BTreeMap::new();
    for zone in ZONES {
        let messages: Vec<Message> = (0..6000).map(|_| message(&mut draws).into()).collect();
        for answer in agree(zone, &messages) {
            let fate = match answer {
                Err(reason) => reason,
                Ok(_) => "record".to_string(),
            };
            *fates.entry(fate).or_default() += 1;
        }
    }
    // A test of nothing but refusals would show little: every outcome is met often.
    assert_eq!(fates.len(), 11, "{fates:?}");
    assert!(fates.values().all(|count| *count >= 100) && fates["record"] > 6000, "{fates:?}");
}

#[test]
fn wall_clock_times_around_every_change_get_the_twins_answer() {
    let mut draws = Draws(1970);
    for zone in ZONES {
        let rules = TimeZoneDatabase::bundled().get(zone).expect("a known zone");
        let first = Timestamp::from_second(-86_400).expect("a time");
        let last = Timestamp::from_second(32_503_680_000).expect("a time");
        let mut times: Vec<i64> =
            (0..2000).map(|_| draws.next() as i64).map(|n| n.rem_euclid(32_503_680_000)).collect();
        for change in rules.following(first).take_while(|change| change.timestamp() < last) {
            let at = change.timestamp().as_second();
            let after = i64::from(change.offset().seconds());
            let before =
                i64::from(rules.to_offset(Timestamp::from_second(at - 1).expect("a time")).seconds());
            let (low, high) = (at + before.min(after), at + before.max(after));
            times.extend([
                low - 1,
                low,
                (low + high) / 2,
                high - 1,
                high,
                low - 3600 + draws.below(9000) as i64,
            ]);
        }
        let offset = |seconds: i64| {
            i64::from(rules.to_offset(Timestamp::from_second(seconds).expect("a time")).seconds())
        };
        let mut message = |seconds: i64| {
            let wall = jiff::tz::TimeZone::UTC.to_datetime(Timestamp::from_second(seconds).expect("a time"));
            let fraction = draws.of(&["", "", ".25"]);
            let value = format!("{LINE}{}{fraction}", wall.strftime("%Y-%m-%d %H:%M:%S")).into_bytes();
            // The records before it tell which of two instants it means: half of them happened within two hours of it.
            let near = (seconds - offset(seconds)) * 1000 + draws.below(14_400_000) as i64 - 7_200_000;
            let newest = [None, Some(near), Some(near), Some(draws.next() as i64 >> 20)][draws.below(4)];
            Message { newest, ..value.into() }
        };
        let messages: Vec<Message> = times.into_iter().map(&mut message).collect();
        let first: Vec<Message> = messages.iter().map(|message| message.value.clone().into()).collect();
        let moved = agree(zone, &messages).iter().zip(agree(zone, &first)).filter(|(a, b)| *a != b).count();
        let turns_back = zone != "UTC" && zone != "Asia/Kathmandu";
        assert!(moved > 100 || !turns_back, "{zone}: the later of two instants was meant {moved} times");
    }
}

/// A message of `tests/golden`, and the answer of the reference program.
#[derive(Deserialize)]
struct Golden {
    zone: String,
    newest_ms: Option<i64>,
    text: Option<String>,
    hex: Option<String>,
    answer: GoldenAnswer,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum GoldenAnswer {
    Refused(String),
    Reading(Reading),
}

#[test]
fn messages_get_the_answers_of_the_reference_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/turnstile/messages.ndjson");
    let (mut good, mut tombstones) = (0, 0);
    for line in std::fs::read_to_string(path).expect("the golden answers").lines() {
        let Golden { zone, newest_ms, text, hex, answer } = serde_json::from_str(line).expect("an answer");
        let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal");
        let Some(value) =
            text.map(String::into_bytes).or(hex.map(|hex| hex.as_bytes().chunks(2).map(byte).collect()))
        else {
            tombstones += 1;
            continue;
        };
        let want = match answer {
            GoldenAnswer::Refused(reason) => Err(reason),
            GoldenAnswer::Reading(reading) => Ok(reading),
        };
        good += usize::from(want.is_ok());
        let message = Message { newest: newest_ms, ..value.into() };
        assert_eq!(agree(&zone, &[message]), [want], "{line}");
    }
    assert!(good > 100 && tombstones < 20, "{good} good messages, {tombstones} without a value");
}

/// A header line of a file: mostly one that can be used.
fn header(draws: &mut Draws) -> Vec<u8> {
    let mut draw = || text(draws).lines().next().unwrap_or_default().to_string();
    let mut line = draw();
    // A text begins with a header now and then.
    for _ in 0..9 {
        if !line.to_uppercase().contains("UNIT") {
            line = draw();
        }
    }
    let quoted =
        if draws.one_in(4) { line.replace("UNIT", "\"UNIT\"").replace("CA,", "\"CA\",") } else { line };
    let begin = draws.of(&["", "", "", "\u{feff}", " ", "\t", "\"", "\r"]);
    format!("{begin}{quoted}{}", draws.of(&["", "", "\r", " \r", "\"", ","])).into_bytes()
}

#[test]
fn header_lines_of_files_name_the_twins_columns() {
    let mut draws = Draws(1904);
    let mut lines: Vec<Vec<u8>> = (0..4000).map(|_| header(&mut draws)).collect();
    lines.extend((0..4000).map(|_| message(&mut draws)).filter(|line| !line.contains(&b'\n')));
    let pipeline = headway_pipelines::find("turnstile").expect("in the catalogue");
    let pipeline = pipeline.configure([]).expect("a job").pipeline;
    let read = pipeline.inputs()[0].header.expect("files have headers").read;
    let (mut bad, mut files) = (0, Vec::new());
    for line in &lines {
        let twin = twin::header_of(line).map(|record| twin::header_columns(&record)).transpose();
        let ours = read(line).map_err(|reason| reason.name().to_string());
        assert_eq!(ours, twin.map_err(str::to_string), "{}", line.escape_ascii());
        match ours {
            Err(_) => bad += 1,
            Ok(columns) => files.extend(columns.map(Columns::from)),
        }
    }
    let good = files.len();
    assert!(good > 500 && bad > 500 && good + bad < lines.len() - 500, "{good} good, {bad} bad");
    // Lines of files with these columns, in their order or in the topic's.
    let line = |columns: &Columns| {
        let fields = columns.iter().map(|name| field(&mut draws, name)).collect::<Vec<_>>();
        let value = if draws.one_in(5) { message(&mut draws) } else { fields.join(",").into_bytes() };
        Message { columns: Some(Columns::clone(columns)), ..value.into() }
    };
    let answers = agree("America/New_York", &files.iter().map(line).collect::<Vec<_>>());
    let records = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(records > 50, "{records} records of {}", answers.len());
}

/// Decodes `value`, whatever it gives.
fn decode(value: &[u8]) {
    let raw = Raw::of(Partition(0), Offset(0), Payload::Bytes(value));
    let _ = Decoder::new(Zone::utc()).decode(&raw, &Context::default(), &mut Vec::new());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(value in proptest::collection::vec(any::<u8>(), 0..300), quoted in any::<bool>()) {
        decode(&if quoted { [b"\"", value.as_slice(), b"\""].concat() } else { value });
    }

    #[test]
    fn no_text_of_few_letters_makes_it_panic(value in "[\",\r\n\\\\uUd8CA/0 é\u{feff}-]{0,80}") {
        decode(value.as_bytes());
    }
}
