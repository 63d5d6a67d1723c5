//! What a file is, as its bytes say: its name counts for nothing.
//!
//! 1. The first bytes tell how it is packed, and what cannot be an input at all: an archive, a Parquet file, a web page, UTF-16.
//! 2. Unpacked, the first bytes are looked at again: there may be an archive inside.
//! 3. The first lines tell whether it holds raw lines or envelopes. Lines before a capture, and JSON that is spread
//!    over several lines, are refused: read as data, they would become dead letters.

use crate::connect::files::envelopes::envelope::Envelopes;
use crate::connect::files::lines::{Line, Lines};
use crate::connect::files::unpack::{GZIP, Packing, ZSTD};
use headway_operators::record::{Offset, Partition};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::io::{self, Read};

/// How many bytes at the beginning of a file are looked at.
pub(super) const HEAD_BYTES: usize = 512;

/// How many lines are looked at for a capture that begins below other lines.
const LINES_MAX: u64 = 100;

/// Why a file cannot be an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The line, counted from 0; `None` where it is the whole file.
    pub(super) line: Option<u64>,
    /// What it is, as the rest of a sentence: `it is a zip archive`.
    pub(super) why: String,
    /// The way out.
    pub(super) hint: &'static str,
}

impl Refusal {
    fn of_file(why: &str, hint: &'static str) -> Refusal {
        Refusal { line: None, why: why.to_string(), hint }
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A line is a message.
    Lines,
    /// A line is an envelope of `kcat -J` around a message.
    Envelopes,
}

const UNPACK: &str = "Unpack it, and read what is inside; gzip and zstd are unpacked as they are read.";

const REPACK: &str = "Unpack it, or pack it as gzip or zstd instead.";

const CONVERT: &str = "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW.";

const CONVERT_32: &str = "Save it as UTF-8: iconv -f UTF-32 -t UTF-8 FILE > NEW.";

const AS_LINES: &str = "Write its rows as lines of CSV or JSON.";

const ANSWER: &str = "A server answered with a page, such as a login: fetch the file again.";

const ONE_A_LINE: &str =
    "Write one message a line: jq -c . FILE > NEW, or jq -c '.[]' where it is one array.";

const NO_TALK: &str = "Delete the lines before the first envelope. kcat -J writes its talk to standard error, and none with -q.";

/// What cannot be an input: where its mark is, the mark, what it is, and the way out.
const FOREIGN: [(usize, &[u8], &str, &str); 25] = [
    (0, b"PK\x03\x04", "it is a zip archive", UNPACK),
    (0, b"PK\x05\x06", "it is an empty zip archive", UNPACK),
    (0, b"7z\xBC\xAF\x27\x1C", "it is a 7z archive", UNPACK),
    (0, b"Rar!\x1A\x07", "it is a rar archive", UNPACK),
    (257, b"ustar", "it is a tar archive", UNPACK),
    (0, b"BZh91AY&SY", "it is packed as bzip2", REPACK),
    (0, b"\xFD7zXZ\x00", "it is packed as xz", REPACK),
    (0, b"\x04\x22\x4D\x18", "it is packed as lz4", REPACK),
    (0, b"\xFF\x06\x00\x00sNaPpY", "it is packed as snappy", REPACK),
    (0, b"\x1F\x9D", "it is packed as compress", REPACK),
    (0, b"LZIP\x01", "it is packed as lzip", REPACK),
    (0, b"PAR1\x15", "it is a Parquet file", AS_LINES),
    (0, b"ARROW1\0\0", "it is an Arrow file", AS_LINES),
    (0, b"ORC\x0A", "it is an ORC file", AS_LINES),
    (0, b"Obj\x01", "it is an Avro file", AS_LINES),
    (0, b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "it is a workbook of Excel", AS_LINES),
    (0, b"%PDF-", "it is a PDF", AS_LINES),
    (0, b"SQLite format 3\0", "it is a database of SQLite", AS_LINES),
    (0, b"<!DOCTYPE html", "it is a web page", ANSWER),
    (0, b"<!doctype html", "it is a web page", ANSWER),
    (0, b"<html", "it is a web page", ANSWER),
    // Before UTF-16, whose mark is the beginning of this one.
    (0, b"\xFF\xFE\0\0", "it is UTF-32", CONVERT_32),
    (0, b"\0\0\xFE\xFF", "it is UTF-32", CONVERT_32),
    (0, b"\xFF\xFE", "it is UTF-16", CONVERT),
    (0, b"\xFE\xFF", "it is UTF-16", CONVERT),
];

/// How a file is packed that begins with `head`.
///
/// # Errors
/// If it cannot be an input.
pub(super) fn packing(head: &[u8]) -> Result<Packing, Refusal> {
    if head.starts_with(&GZIP) {
        return Ok(Packing::Gzip);
    }
    // A frame that is passed over may come first: its mark is one of sixteen.
    let is_skippable = head.len() >= 4 && head[0] & 0xF0 == 0x50 && head[1..4] == [0x2A, 0x4D, 0x18];
    if head.starts_with(&ZSTD) || is_skippable {
        return Ok(Packing::Zstd);
    }
    foreign(head).map(|()| Packing::Plain)
}

/// Refuses text that begins with `head`, unpacked, where it cannot be an input.
pub(super) fn unpacked(head: &[u8]) -> Result<(), Refusal> {
    match packing(head)? {
        Packing::Plain => Ok(()),
        Packing::Gzip | Packing::Zstd => Err(Refusal::of_file("it is packed twice", REPACK)),
    }
}

fn foreign(head: &[u8]) -> Result<(), Refusal> {
    for (at, mark, what, hint) in FOREIGN {
        if head.get(at..).is_some_and(|head| head.starts_with(mark)) {
            return Err(Refusal::of_file(what, hint));
        }
    }
    if is_wide(head, 2) {
        return Err(Refusal::of_file("it is UTF-16 without a byte order mark", CONVERT));
    }
    if is_wide(head, 4) {
        return Err(Refusal::of_file("it is UTF-32 without a byte order mark", CONVERT_32));
    }
    Ok(())
}

/// True if the first four characters are ASCII, each in `width` bytes of which the others are zero.
fn is_wide(head: &[u8], width: usize) -> bool {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    let Some(head) = head.get(..4 * width) else { return false };
    let characters = || head.chunks_exact(width);
    let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    characters().all(|bytes| is_text(&bytes[0]) && zeros(&bytes[1..]))
        || characters().all(|bytes| is_text(&bytes[width - 1]) && zeros(&bytes[..width - 1]))
}

/// What every line of a capture has.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "topic")]
    _topic: IgnoredAny,
    #[serde(rename = "partition")]
    _partition: Partition,
    #[serde(rename = "offset")]
    _offset: Offset,
    #[serde(rename = "payload")]
    _payload: IgnoredAny,
}

/// True if a line of a file of raw lines is an envelope after all.
pub(super) fn is_capture(line: &[u8]) -> bool {
    // Raw lines may be JSON too: most of them end here.
    line.first() == Some(&b'{')
        && memchr::memmem::find(line, b"\"offset\"").is_some()
        && memchr::memmem::find(line, b"\"payload\"").is_some()
        && serde_json::from_slice::<Envelope>(line).is_ok()
}

/// True if a line is one JSON array of envelopes.
fn is_array(line: &[u8]) -> bool {
    line.first() == Some(&b'[')
        && serde_json::from_slice::<Vec<Envelope>>(line).is_ok_and(|envelopes| !envelopes.is_empty())
}

/// What the first lines say that a file holds; `None` where there are not enough of them yet.
///
/// # Errors
/// The inner one if it cannot be an input, the outer one if it cannot be read.
pub(super) fn holds<R: Read>(lines: &mut Lines<R>) -> io::Result<Result<Option<Holds>, Refusal>> {
    let mut envelopes = Envelopes::default();
    let mut begin = Begin::Blank;
    let mut line = 0;
    while line < LINES_MAX {
        let Some(piece) = lines.next()? else { break };
        let whole = if let Line::Whole(text) = piece { Some(text) } else { None };
        let Some(is_envelope) = envelopes.is_envelope(piece) else { continue };
        // The first line may lack what every other line of a capture has.
        let is_envelope = is_envelope && (line == 0 || whole.is_none_or(is_capture));
        begin = match (begin, whole) {
            (Begin::Blank, Some(text)) if text.trim_ascii().is_empty() => Begin::Blank,
            (Begin::Blank, _) if is_envelope && line == 0 => return Ok(Ok(Some(Holds::Envelopes))),
            (Begin::Blank, _) if is_envelope => return Ok(Err(above_a_capture(0, line))),
            (Begin::Blank, text) => Begin::of(line, text.unwrap_or_default()),
            (begin, _) if is_envelope => return Ok(Err(above_a_capture(begin.line(), line))),
            (Begin::Open(first, last), Some(text)) if goes_on(last, text) => return Ok(Err(spread(first))),
            (begin, _) => Begin::Line(begin.line(), false),
        };
        if let Begin::Array(first) = begin {
            return Ok(Err(array(first)));
        }
        line += 1;
    }
    Ok(Ok(match begin {
        Begin::Blank | Begin::Line(_, true) => None,
        _ => Some(Holds::Lines),
    }))
}

/// What the first line is that is not blank.
#[derive(Clone, Copy)]
enum Begin {
    /// There is none yet.
    Blank,
    /// Envelopes in one array.
    Array(u64),
    /// JSON that does not end in this line, and the last byte of the line.
    Open(u64, u8),
    /// Anything else; whether it may be the talk of kcat, with no line below it yet.
    Line(u64, bool),
}

impl Begin {
    fn of(line: u64, text: &[u8]) -> Begin {
        let text = text.trim_ascii();
        let is_json = text.first().is_some_and(|byte| matches!(byte, b'{' | b'['));
        if is_array(text) {
            return Begin::Array(line);
        }
        match serde_json::from_slice::<IgnoredAny>(text) {
            Err(error) if is_json && error.is_eof() => Begin::Open(line, text[text.len() - 1]),
            _ => Begin::Line(line, text.starts_with(b"% ")),
        }
    }

    fn line(self) -> u64 {
        match self {
            Begin::Blank => 0,
            Begin::Array(line) | Begin::Open(line, _) | Begin::Line(line, _) => line,
        }
    }
}

/// True if a line looks like the inside of a JSON value, below a line that ends in `last`. Messages that are JSON
/// themselves begin at the margin, and one of them may be torn.
fn goes_on(last: u8, text: &[u8]) -> bool {
    match text.first() {
        Some(b' ' | b'\t' | b'"' | b'}' | b']') => true,
        Some(b'{' | b'[') => last == b'[',
        _ => false,
    }
}

fn spread(line: u64) -> Refusal {
    let why = "it is JSON that is spread over several lines".to_string();
    Refusal { line: Some(line), why, hint: ONE_A_LINE }
}

fn array(line: u64) -> Refusal {
    Refusal { line: Some(line), why: "it is one JSON array of all messages".to_string(), hint: ONE_A_LINE }
}

/// The refusal of an envelope in line `line`, counted from 0, of a file of raw lines.
pub(super) fn capture_below(line: u64) -> Refusal {
    let why = "it is an envelope of kcat -J, and the lines above it are none".to_string();
    Refusal { line: Some(line), why, hint: NO_TALK }
}

fn above_a_capture(line: u64, envelope: u64) -> Refusal {
    let why = format!("it is no envelope of kcat -J, and line {} is one", envelope + 1);
    Refusal { line: Some(line), why, hint: NO_TALK }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::files::lines::Last;

    fn of(text: &str, last: Last) -> Result<Option<Holds>, Refusal> {
        holds(&mut Lines::new(text.as_bytes(), last)).unwrap()
    }

    const ENVELOPE: &str = r#"{"topic":"t","partition":0,"offset":0,"ts":1,"payload":"x"}"#;

    #[test]
    fn first_bytes_tell_how_a_file_is_packed_and_what_is_no_input() {
        let cases: [(&[u8], Result<Packing, &str>); 24] = [
            (b"", Ok(Packing::Plain)),
            (b"A002,R051", Ok(Packing::Plain)),
            (b"PAR1,R051", Ok(Packing::Plain)),
            (b"PK,R051", Ok(Packing::Plain)),
            (b"\0\0\0\0\0\0\0\0A002", Ok(Packing::Plain)),
            (b"\x1F", Ok(Packing::Plain)),
            (b"\x1F\x8B\x08", Ok(Packing::Gzip)),
            (b"\x28\xB5\x2F\xFD", Ok(Packing::Zstd)),
            (b"\x5F\x2A\x4D\x18", Ok(Packing::Zstd)),
            (b"PK\x03\x04", Err("zip")),
            (b"\xFF\xFEA\0", Err("UTF-16")),
            (b"\xFE\xFF\0A", Err("UTF-16")),
            (b"A\x000\x000\x002\0", Err("UTF-16")),
            (b"\0A\x000\x000\x002", Err("UTF-16")),
            (b"PAR1\x15\x04", Err("Parquet")),
            (b"\xFF\xFE\0\0A\0\0\0", Err("UTF-32")),
            (b"\0\0\xFE\xFF\0\0\0A", Err("UTF-32")),
            (b"A\0\0\x000\0\0\x000\0\0\x002\0\0\0", Err("UTF-32")),
            (b"\0\0\0A\0\0\x000\0\0\x000\0\0\x002", Err("UTF-32")),
            (b"<html lang=\"en\">", Err("web page")),
            (b"<a>1</a>", Ok(Packing::Plain)),
            (b"ORC,R051", Ok(Packing::Plain)),
            (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", Err("Excel")),
            (b"\xFD7zXZ\x00", Err("xz")),
        ];
        for (head, expected) in cases {
            match (packing(head), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{head:?}"),
                (Err(refusal), Err(word)) => assert!(refusal.why.contains(word), "{head:?}: {refusal:?}"),
                (found, expected) => panic!("{head:?}: {found:?}, not {expected:?}"),
            }
        }
        let tar = [&[b'a'; 257][..], b"ustar\0"].concat();
        assert!(unpacked(&tar).unwrap_err().why.contains("tar"));
        assert!(unpacked(&GZIP).unwrap_err().why.contains("twice"));
        assert_eq!(unpacked(b"text"), Ok(()));
    }

    #[test]
    fn first_lines_tell_lines_from_envelopes() {
        let pretty = "{\n  \"topic\": \"t\"\n}\n";
        let cases = [
            ("", Ok(None)),
            ("\n\n", Ok(None)),
            ("A002\n", Ok(Some(Holds::Lines))),
            ("\nA002", Ok(Some(Holds::Lines))),
            (&format!("{ENVELOPE}\n"), Ok(Some(Holds::Envelopes))),
            (&format!("{ENVELOPE}\nnoise\n"), Ok(Some(Holds::Envelopes))),
            // Messages that are JSON themselves, one of them torn.
            ("{\"a\":1}\n{\"a\":2}\n", Ok(Some(Holds::Lines))),
            ("{\"a\":\n{\"a\":2}\n", Ok(Some(Holds::Lines))),
            ("{\n{\"a\":2}\n", Ok(Some(Holds::Lines))),
            ("{\"a\":", Ok(Some(Holds::Lines))),
            ("{\n", Ok(Some(Holds::Lines))),
            ("{\nA002\n", Ok(Some(Holds::Lines))),
            ("[1,2]\n[3,4]\n", Ok(Some(Holds::Lines))),
            (&format!("% Reading\n{ENVELOPE}\n"), Err((0, "line 2"))),
            (&format!("\n{ENVELOPE}\n"), Err((0, "line 2"))),
            (&format!("a\nb\n\nc\n{ENVELOPE}\n"), Err((0, "line 5"))),
            (pretty, Err((0, "spread"))),
            ("\n[\n{\"topic\":\"t\"},\n", Err((1, "spread"))),
            ("[{\n\"a\":1}]\n", Err((0, "spread"))),
            ("{\"topic\":\"t\",\n \"offset\":1}\n", Err((0, "spread"))),
            (&format!("[{ENVELOPE},{ENVELOPE}]\n"), Err((0, "one JSON array"))),
        ];
        for (text, expected) in cases {
            match (of(text, Last::Counts), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(refusal), Err((line, word))) => {
                    assert_eq!(refusal.line, Some(line), "{text}");
                    assert!(refusal.why.contains(word), "{text}: {refusal:?}");
                }
                (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn file_that_grows_is_nothing_yet_until_a_line_tells() {
        for (text, expected) in [
            ("A002", None),
            (ENVELOPE, None),
            ("A002\n", Some(Holds::Lines)),
            ("% Reading configuration\n", None),
            ("% Reading configuration\nA002\n", Some(Holds::Lines)),
        ] {
            assert_eq!(of(text, Last::Waits), Ok(expected), "{text}");
        }
    }
}
