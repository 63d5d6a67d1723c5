//! Our reading of Java's files and logins beside that of real Java, whose answers `scripts/kafka-suite settings` keeps.

use super::config::Properties;
use super::jaas;
use super::java_properties::{Entry, decode, entries};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// One request to Java a line, with its answer.
const ANSWERS: &str = include_str!("../../../tests/golden/java_client.ndjson");

/// The answers of requests of one kind.
fn answers(kind: &str) -> Vec<(Value, Value)> {
    let lines = ANSWERS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_kind = lines.filter(|line| line.get(kind).is_some());
    of_kind.map(|mut line| (line[kind].take(), line["answer"].take())).collect()
}

fn as_map(entries: Vec<Entry>) -> BTreeMap<String, String> {
    entries.into_iter().map(|entry| (entry.name, entry.value)).collect()
}

/// What `bytes` say; `None` is a refusal.
fn read(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = decode(bytes).unwrap();
    let mut map = as_map(entries(&text).ok()?);
    // Of a backslash that is alone in the last line Java makes a setting without name and value.
    map.retain(|name, value| !name.is_empty() || !value.is_empty());
    Some(map)
}

#[test]
fn files_are_read_as_java_reads_them() {
    let answers = answers("file");
    assert!(answers.len() > 200, "{}", answers.len());
    for (hex, answer) in answers {
        let hex = hex.as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let mut java: Option<BTreeMap<String, String>> = serde_json::from_value(answer).unwrap();
        java.iter_mut().for_each(|map| map.retain(|name, value| !name.is_empty() || !value.is_empty()));
        assert!(read(&bytes) == java, "{}: {java:?}", bytes.escape_ascii());
    }
}

#[test]
fn logins_are_read_as_kafkas_java_client_reads_them() {
    let answers = answers("login");
    assert!(answers.len() > 100, "{}", answers.len());
    for (text, answer) in answers {
        let java: Option<BTreeMap<String, String>> = serde_json::from_value(answer).unwrap();
        // A login that lacks something is refused later there.
        let java =
            java.and_then(|mut options| Some((options.remove("username")?, options.remove("password")?)));
        let ours = jaas::login(text.as_str().unwrap()).ok().map(|login| (login.username, login.password));
        assert!(ours == java, "{text}: {java:?}");
    }
}

#[test]
fn every_setting_of_kafkas_java_client_is_known() {
    let [(_, names)] = &answers("names")[..] else { panic!("there is one list") };
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.len() > 100, "{}", names.len());
    for name in names.into_iter().filter(|name| *name != "config.providers") {
        let refused = Properties::parse(format!("{name}=1"), "client.properties").err();
        let why = refused.map_or(String::new(), |error| error.to_string());
        assert!(!why.contains("no setting"), "{why}");
    }
}

/// The syntax again, a letter at a time and slowly: the state machine that Java's documentation describes.
fn slowly(text: &str) -> BTreeMap<String, String> {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        Begin,
        Comment,
        Name,
        /// Before the separator.
        Gap,
        /// Behind it.
        Separated,
        Value,
    }
    let text = format!("{}\n", text.replace("\r\n", "\n").replace('\r', "\n"));
    let mut letters = text.chars();
    let (mut map, mut at, mut name, mut value) = (BTreeMap::new(), At::Begin, String::new(), String::new());
    let mut skips = true;
    while let Some(letter) = letters.next() {
        let is_blank = matches!(letter, ' ' | '\t' | '\u{c}');
        if at == At::Comment {
            at = if letter == '\n' { At::Begin } else { At::Comment };
            skips = true;
            continue;
        }
        if skips && is_blank {
            continue;
        }
        skips = false;
        if letter == '\n' {
            if at != At::Begin {
                map.insert(std::mem::take(&mut name), std::mem::take(&mut value));
            }
            (at, skips) = (At::Begin, true);
            continue;
        }
        if at == At::Begin && (letter == '#' || letter == '!') {
            at = At::Comment;
            continue;
        }
        let escaped = if letter == '\\' { letters.next() } else { None };
        if escaped == Some('\n') {
            skips = true;
            continue;
        }
        let plain = match escaped {
            None => letter,
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('f') => '\u{c}',
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
            }
            Some(itself) => itself,
        };
        let separates = escaped.is_none() && (letter == '=' || letter == ':');
        let gap = escaped.is_none() && is_blank;
        at = match at {
            At::Begin | At::Name if separates => At::Separated,
            At::Name if gap => At::Gap,
            At::Gap if separates => At::Separated,
            At::Gap | At::Separated if gap => at,
            At::Begin | At::Name => {
                name.push(plain);
                At::Name
            }
            At::Gap | At::Separated | At::Value | At::Comment => {
                value.push(plain);
                At::Value
            }
        };
    }
    map
}

proptest! {
    #[test]
    fn fast_reading_equals_the_slow_one(
        pieces in prop::collection::vec(
            prop::sample::select(&[
                "a", "b", "é", "=", ":", " ", "\t", "\u{c}", "#", "!", "\\\\", "\n", "\r", "\r\n", "\\\n", "\\\r\n", "\\n",
                "\\u00e9", "\\u20AC", "\\:", "\\=", "\\ ", "\\#", "\"",
            ][..]),
            0..24,
        ),
    ) {
        let text = pieces.concat();
        let (mut fast, mut slow) = (as_map(entries(&text).unwrap()), slowly(&text));
        for map in [&mut fast, &mut slow] {
            map.retain(|name, value| !name.is_empty() || !value.is_empty());
        }
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(text) = decode(&bytes) {
            let _ = entries(&text);
            let _ = jaas::login(&text);
        }
        let _ = Properties::parse(&bytes, "client.properties");
    }
}

#[test]
fn bytes_are_utf8_where_they_can_be_and_latin1_elsewhere() {
    let value = |bytes: &[u8]| read(bytes).unwrap().remove("a").unwrap();
    assert_eq!(value("a=é€".as_bytes()), "é€");
    assert_eq!(value(b"a=\xe9"), "é");
    assert_eq!(value(b"\xef\xbb\xbfa=b"), "b", "a byte order mark is no part of the name");
    assert_eq!(value(b"\xef\xbb\xbfa=\xe9"), "é");
    for utf16 in [b"\xff\xfea\0=\0".as_slice(), b"\xfe\xff\0a\0="] {
        assert_eq!(decode(utf16).unwrap_err().why, "the file is UTF-16");
    }
}

#[test]
fn entries_know_the_line_where_they_begin() {
    let text = "# one\na=1\n\n!\nb=2 \\\n  more\nc=3\r\rd=4";
    let lines: Vec<(String, usize)> =
        entries(text).unwrap().into_iter().map(|entry| (entry.name, entry.line)).collect();
    assert_eq!(lines, [("a".into(), 2), ("b".into(), 5), ("c".into(), 7), ("d".into(), 9)]);
    let malformed = entries("a=1\nb=\\u00zz").err().unwrap();
    assert_eq!((malformed.line, malformed.why), (2, "the escape \\u is without four hexadecimal digits"));
    assert!(entries("a=\\ud83d").is_err(), "half of a character");
}
