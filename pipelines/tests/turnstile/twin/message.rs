//! One message to a reading, or to the reason why it cannot be used.

use super::clock::Clock;
use super::csv_text::records;
use super::json_text::{Said, said};
use serde::Deserialize;
use std::collections::HashSet;

/// The columns of a key, of which the first four must not be empty.
const KEY: [&str; 7] = ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DESC"];

/// The most bytes that a message may have.
const BYTES_MAX: usize = 1 << 20;

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct Reading {
    pub(crate) id: String,
    pub(crate) key: [String; 7],
    pub(crate) entries: i64,
    pub(crate) exits: i64,
    pub(crate) time_ms: i64,
}

/// Why a message is a dead letter.
pub(crate) type Refused = &'static str;

/// What is known when a message is read.
#[derive(Clone, Copy)]
pub(crate) struct Read<'a> {
    /// Of wall-clock times.
    pub(crate) clock: &'a Clock,
    /// The columns of a message without a header of its own.
    pub(crate) columns: &'a [String],
    /// The newest event time of its partition so far.
    pub(crate) newest: Option<i64>,
    /// The latest event time that is believed.
    pub(crate) limit: Option<i64>,
}

/// Reads one message. The order of the checks decides between two reasons.
pub(crate) fn read(value: Option<&[u8]>, known: &Read<'_>) -> Result<Reading, Refused> {
    let text = text_of(value.ok_or("null-value")?)?;
    let (columns, fields) = one_record(&text, known.columns)?;
    let cell = |name: &str| {
        let at = columns.iter().position(|column| column == name)?;
        Some(fields[at].trim_matches([' ', '\t', '\r', '\n', '"']).to_string())
    };
    let key = KEY.map(|name| cell(name).expect("a header has all columns of a key"));
    if key[..4].iter().any(String::is_empty) {
        return Err("missing-field");
    }
    if key.iter().any(|part| part.chars().any(char::is_control)) {
        return Err("control-character");
    }
    let entries = count(cell("ENTRIES")).ok_or("bad-number")?;
    let exits = count(cell("EXITS")).ok_or("bad-number")?;
    let when = match cell("TIMESTAMP") {
        Some(when) => Some(when),
        None => date_and_time(cell("DATE"), cell("TIME")),
    };
    let time_ms = when.and_then(|when| known.clock.instant(&when, known.newest)).ok_or("bad-timestamp")?;
    if known.limit.is_some_and(|limit| time_ms > limit) {
        return Err("future-event-time");
    }
    Ok(Reading { id: cell("ID").unwrap_or_default(), key, entries, exits, time_ms })
}

/// The text of a message, without JSON's quotes around it.
fn text_of(value: &[u8]) -> Result<String, Refused> {
    if value.len() > BYTES_MAX {
        return Err("too-long");
    }
    let mut text = plain_text(value)?.to_string();
    if text.len() >= 2 && text.starts_with('"') && text.ends_with('"') {
        match said(&text) {
            Said::Text(inside) => text = inside.trim_end_matches(['\r', '\n']).to_string(),
            Said::HalfAPair => return Err("not-utf8"),
            Said::Nothing => {}
        }
    }
    if text.trim_matches(BLANKS).is_empty() { Err("empty") } else { Ok(text) }
}

/// Bytes as text, without byte order marks in front and line ends behind.
fn plain_text(value: &[u8]) -> Result<&str, Refused> {
    let text = std::str::from_utf8(value).map_err(|_| "not-utf8")?;
    Ok(text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']))
}

/// The columns and the fields of the only record of a message.
fn one_record(text: &str, columns: &[String]) -> Result<(Vec<String>, Vec<String>), Refused> {
    if !text.matches('"').count().is_multiple_of(2) {
        return Err("bad-csv");
    }
    let (mut records, mut columns) = (records(text), columns.to_vec());
    if records.first().is_some_and(|first| is_header(first)) {
        columns = header_columns(&records.remove(0))?;
    }
    match records.len() {
        0 => return Err("empty"),
        1 => {}
        _ => return Err("too-many-records"),
    }
    let fields = records.remove(0);
    if fields.len() == columns.len() { Ok((columns, fields)) } else { Err("wrong-field-count") }
}

/// The record of a line that begins as a header does.
pub(crate) fn header_of(line: &[u8]) -> Option<Vec<String>> {
    let mut records = records(plain_text(line).ok().filter(|_| line.len() <= BYTES_MAX)?);
    let is_one = records.len() == 1 && is_header(&records[0]);
    is_one.then(|| records.remove(0))
}

/// True for a record that names columns.
fn is_header(record: &[String]) -> bool {
    let first = record[0].trim_matches(BLANKS).to_uppercase();
    ["CA", "C/A", "A/C", "AC"].contains(&first.as_str())
}

/// The columns that a header names, if they can be used.
pub(crate) fn header_columns(record: &[String]) -> Result<Vec<String>, Refused> {
    let mut names: Vec<String> = record.iter().map(|name| name.trim_matches(BLANKS).to_uppercase()).collect();
    names[0] = "CA".to_string();
    let unique: HashSet<&str> = names.iter().map(String::as_str).collect();
    let has = |name: &str| unique.contains(name);
    let has_time = has("TIMESTAMP") || has("DATE") && has("TIME");
    let is_whole = KEY.iter().chain(&["ENTRIES", "EXITS"]).all(|name| has(name));
    if unique.len() == names.len() && is_whole && has_time { Ok(names) } else { Err("bad-header") }
}

/// A number of 1 to 18 digits.
fn count(cell: Option<String>) -> Option<i64> {
    let digits = cell.filter(|cell| (1..=18).contains(&cell.len()))?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// DATE, `MM-DD-YY` of the years from 2000 or `MM/DD/YYYY`, and TIME as one text.
fn date_and_time(date: Option<String>, time: Option<String>) -> Option<String> {
    let (date, time) = (date?, time?);
    let (mark, century, length) = if date.contains('-') { ('-', "20", 2) } else { ('/', "", 4) };
    let parts: Vec<&str> = date.split(mark).collect();
    let &[month, day, year] = parts.as_slice() else { return None };
    let fits = month.len() == 2 && day.len() == 2 && year.len() == length;
    fits.then(|| format!("{century}{year}-{month}-{day} {time}"))
}

#[test]
fn message_is_read_or_refused() {
    let columns = super::usual_columns();
    let clock = Clock::new("UTC");
    let known = Read { clock: &clock, columns: &columns, newest: None, limit: Some(1_706_617_924_000) };
    let line = "A002,R051,02-00-00,59 ST,NQ,BMT,01-30-24,12:32:04,REGULAR,6,7,x,2024-01-30 12:32:04";
    let header = super::COLUMNS.join(",");
    let cases: [(&str, &str); 14] = [
        (line, "good"),
        (&format!("{line}.001"), "future-event-time"),
        (&format!("\u{feff}{header}\r\n{line}\r\n"), "good"),
        (&format!("\"{line}\\n\""), "good"),
        (&header, "empty"),
        ("\"\\ud800\"", "not-utf8"),
        ("\t", "empty"),
        ("a\"", "bad-csv"),
        (&format!("CA,UNIT\n{line}"), "bad-header"),
        (&format!("{line}\r{line}"), "too-many-records"),
        ("{}", "wrong-field-count"),
        (&line.replace("R051", " \""), "bad-csv"),
        (&line.replace("NQ", "\u{85}"), "control-character"),
        (&line.replace(",6,", ",-6,"), "bad-number"),
    ];
    for (text, want) in cases {
        let got = read(Some(text.as_bytes()), &known);
        assert_eq!(got.as_ref().map_or_else(|reason| *reason, |_| "good"), want, "{text}");
    }
    assert_eq!(read(None, &known), Err("null-value"));
    assert_eq!(read(Some(b"\xff"), &known), Err("not-utf8"));
    assert_eq!(read(Some(&vec![b'x'; BYTES_MAX + 1]), &known), Err("too-long"));
}
