//! Messages of every kind through our decoder and the oracle's: the answers are equal.

use crate::oracle::{Answer, Message, agree, ask, hex};
use headway_operators::record::{Columns, Payload, Raw};
use headway_operators::stream::decode::{Context, Decoder as _};
use headway_pipelines::turnstile::record::Decoder;
use headway_pipelines::zone::Zone;
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;
use std::collections::BTreeMap;

const ZONES: [&str; 5] =
    ["UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu"];

/// A line of text that a person can read; `{when}` is the TIMESTAMP.
const LINE: &str = "A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,12:32:04,REGULAR,6,7,354becd9,";

/// SplitMix64: the same seed gives the same messages everywhere.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What may stand in any field.
const ODD: [&str; 28] = [
    "",
    " ",
    "\t",
    "\"",
    "\"\"",
    "\"a,b\"",
    "\"a\"\"b\"",
    "\"a\nb\"",
    "\"a\r\nb\"",
    "a\"b",
    "a\"b\"",
    "\"a\"b",
    " \"a\"",
    " a b ",
    "é",
    "\u{1f687}",
    "\u{feff}",
    "\u{a0}",
    "\u{2028}",
    "\u{0}",
    "\u{b}",
    "\u{85}",
    "\u{7f}",
    "a\tb",
    "\\",
    "\\n",
    "'",
    "x;y",
];

/// Counts, not all of them good.
const NUMBERS: [&str; 12] = [
    "0",
    "6",
    "0007",
    "999999999999999999",
    "1000000000000000000",
    "-1",
    "+1",
    "1.0",
    "1e3",
    " 12 ",
    "٣",
    "1_000",
];

/// Timestamps, not all of them good.
const STAMPS: [&str; 30] = [
    "2024-01-30 12:32:04",
    "2024-01-30T12:32:04",
    "2024-03-10 02:30:00",
    "2024-11-03 01:30:00",
    "1970-01-01 00:00:00",
    "1969-12-31 23:59:59",
    "2999-12-31 23:59:59",
    "3000-01-01 00:00:00",
    "2024-02-29 00:00:00",
    "2023-02-29 00:00:00",
    "2024-13-01 00:00:00",
    "2024-00-10 00:00:00",
    "2024-01-01 24:00:00",
    "2024-01-01 23:59:60",
    "2024-01-30 12:32",
    "2024-01-30t12:32:04",
    "2024-01-30 12:32:04Z",
    "2024-01-30 12:32:04z",
    "2024-01-30T12:32:04.5Z",
    "2024-01-30 12:32:04,1239999",
    "2024-01-30 12:32:04.1234567890",
    "2024-01-30 12:32:04.",
    "2024-01-30 12:32:04+05",
    "2024-01-30 12:32:04-0530",
    "2024-01-30 12:32:04.25+18:59",
    "2024-01-30 12:32:04+19:00",
    "2024-01-30 12:32:04+01:60",
    "2024-03-10 02:30:00-05:00",
    "1970-01-01 00:00:00.001+12",
    " 2024-01-30 12:32:04 ",
];

/// Dates, not all of them good.
const DATES: [&str; 8] =
    ["01-30-24", "01/30/2024", "1/30/2024", "01-30-2024", "02-30-24", "12/31/1969", "13-01-24", "01/30/24"];

/// Times of day, not all of them good.
const TIMES: [&str; 8] =
    ["12:32:04", "23:59:59", "24:00:00", "1:02:03", "12:32", "12:32:04 ", "12:32:04.5", "12:32:04+01:00"];

/// A field of the column: mostly one that is usual there, now and then one that is not.
fn field(draws: &mut Draws, column: &str) -> String {
    if draws.one_in(25) {
        return draws.of(&ODD).to_string();
    }
    let usual: &[&str] = match column {
        "CA" => &["A002", "N213", "R051A", "ca"],
        "UNIT" => &["R001", "R051"],
        "SCP" => &["02-00-00", "00-05-01"],
        "STATION" => &["59 ST", "34 ST-PENN STA", "\"O'HARE, NORTH\"", "ESPAÑA"],
        "LINENAME" => &["NQR456W", "1", ""],
        "DIVISION" => &["BMT", "IRT", ""],
        "DESC" => &["REGULAR", "RECOVR AUD", ""],
        "ENTRIES" | "EXITS" if draws.one_in(8) => &NUMBERS,
        "ENTRIES" | "EXITS" => &["0", "5", "39"],
        "TIMESTAMP" if draws.one_in(3) => &STAMPS,
        "TIMESTAMP" => &["2024-01-30 12:32:04", "2031-07-05 00:00:00"],
        "DATE" => &DATES,
        "TIME" => &TIMES,
        _ => &["354becd9-79fe-4600-a3fd-0988f5911c8b", "x", ""],
    };
    draws.of(usual).to_string()
}

/// The text of a message before it is quoted: perhaps a header, a record or more, blank lines.
fn text(draws: &mut Draws) -> String {
    const NAMES: [&str; 13] = [
        "CA",
        "UNIT",
        "SCP",
        "STATION",
        "LINENAME",
        "DIVISION",
        "DATE",
        "TIME",
        "DESC",
        "ENTRIES",
        "EXITS",
        "ID",
        "TIMESTAMP",
    ];
    const FIRST: [&str; 8] = ["CA", "C/A", "A/C", "AC", "ca", " c/a ", "\"CA\"", "CÄ"];
    let mut names: Vec<String> = NAMES.map(str::to_string).to_vec();
    let mut lines = Vec::new();
    if draws.one_in(3) {
        names[0] = draws.of(&FIRST).to_string();
        for _ in 0..draws.below(3) {
            let at = 1 + draws.below(names.len() - 1);
            match draws.below(5) {
                0 => drop(names.remove(at)),
                1 => names.insert(
                    at,
                    draws
                        .of(&["MORE", "CA", "TIMESTAMP", "ENTRIES", "", "tıme", "ſcp", "ﬆation"])
                        .to_string(),
                ),
                2 => names[at] = names[at].to_lowercase().replace('i', "ı").replace("st", "ﬆ"),
                3 => names.swap(1, at),
                _ => {
                    names[at] =
                        format!("{}{}{}", draws.of(&[" ", "\t", ""]), names[at], " ".repeat(draws.below(70)))
                }
            }
        }
        lines.push(names.join(","));
    }
    let records = if draws.one_in(20) { draws.below(3) } else { 1 };
    for _ in 0..records {
        let mut fields: Vec<String> =
            names.iter().map(|name| field(draws, name.trim().to_uppercase().as_str())).collect();
        match draws.below(40) {
            0 => drop(fields.pop()),
            1 => fields.push("x".to_string()),
            _ => {}
        }
        lines.push(fields.join(","));
    }
    if draws.one_in(12) {
        lines.insert(draws.below(lines.len() + 1), draws.of(&["", " ", "\r", "\"\""]).to_string());
    }
    let end = draws.of(&["\n", "\n", "\r\n", "\r"]);
    lines.join(end) + draws.of(&["", "", "\n", "\r\n", "\r", "\n\n"])
}

/// `text` as a JSON string, with escapes chosen at will.
fn json(draws: &mut Draws, text: &str) -> String {
    let mut out = "\"".to_string();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += draws.of(&["\\t", "\\u0009", "\t"]),
            '/' if draws.one_in(2) => out += "\\/",
            c if c < ' ' || draws.one_in(60) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
            }
            c => out.push(c),
        }
    }
    if draws.one_in(40) {
        out += draws.of(&[
            "\\ud800",
            "\\udc00",
            "\\uDBFF\\uDFFF",
            "\\ud800\\u0041",
            "\\ud8",
            "\\x",
            "\\ud800\\ud800\\udc00",
        ]);
    }
    out + "\""
}

/// A message: good, odd, or broken.
fn message(draws: &mut Draws) -> Vec<u8> {
    const PIECES: [&[u8]; 22] = [
        b"\"",
        b",",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b" ",
        b"\\",
        b"\\\"",
        b"\\n",
        b"\\u",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"0",
        b"-",
        b":",
        b"{}",
        b"CA",
        b"\t",
        b"T",
    ];
    let mut text = text(draws);
    if draws.one_in(2) {
        text = json(draws, &text);
    }
    if draws.one_in(20) {
        text = "\u{feff}".repeat(1 + draws.below(2)) + &text;
    }
    let mut value = (text + draws.of(&["", "", "", "\n", "\r\n"])).into_bytes();
    let mutations = if draws.one_in(3) { 1 + draws.below(3) } else { 0 };
    for _ in 0..mutations {
        let at = draws.below(value.len() + 1);
        let until = (at + draws.below(4)).min(value.len());
        match draws.below(5) {
            0 => drop(value.splice(at..at, draws.of(&PIECES).iter().copied())),
            1 => drop(value.splice(at..until, draws.of(&PIECES).iter().copied())),
            2 => drop(value.drain(at..until)),
            3 => value.extend_from_within(at..until),
            _ if at < value.len() => value[at] = draws.next() as u8,
            _ => value.truncate(at / 2),
        }
    }
    value
}

#[test]
fn mutated_messages_get_the_oracles_answer() {
    let mut draws = Draws(2024);
    let mut fates: BTreeMap<String, u32> = BTreeMap::new();
    for zone in ZONES {
        let messages: Vec<Message> = (0..6000).map(|_| message(&mut draws).into()).collect();
        for answer in agree(zone, &messages) {
            let fate = match answer {
                Answer::Dead { reason } => reason,
                Answer::Record { .. } => "record".to_string(),
            };
            *fates.entry(fate).or_default() += 1;
        }
    }
    // A test of nothing but refusals would show little: every outcome is met often.
    assert_eq!(fates.len(), 11, "{fates:?}");
    assert!(fates.values().all(|count| *count >= 100) && fates["record"] > 6000, "{fates:?}");
}

#[test]
fn wall_clock_times_around_every_change_get_the_oracles_answer() {
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
fn header_lines_of_files_name_the_oracles_columns() {
    #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
    #[serde(untagged)]
    enum Named {
        Bad { reason: String },
        Columns { columns: Option<Vec<String>> },
    }
    let mut draws = Draws(1904);
    let mut lines: Vec<Vec<u8>> = (0..4000).map(|_| header(&mut draws)).collect();
    lines.extend((0..4000).map(|_| message(&mut draws)).filter(|line| !line.contains(&b'\n')));
    let questions: Vec<_> = lines.iter().map(|line| serde_json::json!({ "header": hex(line) })).collect();
    let oracle: Vec<Named> = ask(&questions);
    let pipeline = headway_pipelines::find("turnstile").expect("in the catalogue");
    let pipeline = (pipeline.make)(&headway_operators::pipeline::Settings::default()).expect("a job");
    let read = pipeline.inputs()[0].header.expect("files have headers").read;
    let (mut good, mut bad, mut files) = (0, 0, Vec::new());
    for (line, oracle) in lines.iter().zip(oracle) {
        let ours = match read(line) {
            Err(reason) => Named::Bad { reason: reason.name().to_string() },
            Ok(columns) => Named::Columns { columns },
        };
        assert_eq!(ours, oracle, "{}", line.escape_ascii());
        match ours {
            Named::Bad { .. } => bad += 1,
            Named::Columns { columns: Some(columns) } => {
                good += 1;
                files.push(Columns::from(columns));
            }
            Named::Columns { columns: None } => {}
        }
    }
    assert!(good > 500 && bad > 500 && good + bad + 1000 < lines.len(), "{good} good, {bad} bad");
    // Lines of files with these columns, in their order or in the topic's.
    let line = |columns: &Columns| {
        let fields = columns.iter().map(|name| field(&mut draws, name)).collect::<Vec<_>>();
        let value = if draws.one_in(5) { message(&mut draws) } else { fields.join(",").into_bytes() };
        Message { columns: Some(Columns::clone(columns)), ..value.into() }
    };
    let answers = agree("America/New_York", &files.iter().map(line).collect::<Vec<_>>());
    let records = answers.iter().filter(|answer| matches!(answer, Answer::Record { .. })).count();
    assert!(records > 50, "{records} records of {}", answers.len());
}

/// Decodes `value`, whatever it gives.
fn decode(value: &[u8]) {
    let raw = Raw::of(0, 0, Payload::Bytes(value));
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
