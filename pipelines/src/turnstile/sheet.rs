//! The long way through a message: byte order marks, JSON quoting, CSV with all its rules, header lines.
//!
//! Its answers are those of Python's `json` and `csv` modules, which read the topic before us.

use super::columns::{BLANKS, Layout, WhenAt, is_header};
use super::reason;
use super::record::{Fields, When};
use csv_core::ReadFieldResult;
use headway_operators::error::Reason;
use serde::de::{Deserialize, Deserializer, Visitor};
use std::fmt;

/// What is cut off both ends of a field.
const FIELD_BLANKS: [char; 5] = [' ', '\t', '\r', '\n', '"'];

/// The records of one message. Its buffers are used again for the next.
pub(super) struct Sheet {
    /// All fields without their quotes, one after the other.
    text: String,
    /// Where each field ends in `text`.
    ends: Vec<usize>,
    /// Where each record ends in `ends`.
    rows: Vec<usize>,
    reader: csv_core::Reader,
}

impl Sheet {
    /// A sheet without a message.
    pub(super) fn new() -> Sheet {
        // Not `default()`: that reader has no rules and never ends.
        let reader = csv_core::Reader::new();
        Sheet { text: String::new(), ends: Vec::new(), rows: Vec::new(), reader }
    }

    /// The fields of the one record in `value`; `layout` is that of a message without a header.
    pub(super) fn read(&mut self, value: &[u8], layout: &Layout) -> Result<Fields<'_>, Reason> {
        let text = std::str::from_utf8(value).map_err(|_| Reason::NOT_UTF8)?;
        let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
        let inner = json_string(text)?;
        let text = inner.as_deref().map_or(text, |inner| inner.trim_end_matches(['\r', '\n']));
        if text.trim_matches(BLANKS).is_empty() {
            return Err(Reason::EMPTY);
        }
        if memchr::memchr_iter(b'"', text.as_bytes()).count() % 2 == 1 {
            return Err(reason::BAD_CSV);
        }
        self.parse(text)?;
        self.record(layout)
    }

    /// The columns that a line of a file names; `None` if it is no header.
    fn header(&mut self, line: &[u8]) -> Result<Option<Vec<String>>, Reason> {
        let Ok(text) = std::str::from_utf8(line) else { return Ok(None) };
        self.parse(text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']))?;
        match self.rows[..] {
            [width] if self.begins_with_header() => self.names(width).map(Some),
            _ => Ok(None),
        }
    }

    /// Cuts `text` into rows of fields; blank lines are no rows.
    fn parse(&mut self, text: &str) -> Result<(), Reason> {
        self.ends.clear();
        self.rows.clear();
        let mut fields = std::mem::take(&mut self.text).into_bytes();
        fields.clear();
        // Room for every byte, and one so that the reader never finds it full.
        fields.resize(text.len() + 1, 0);
        self.reader.reset();
        // The reader drops a byte order mark it meets first, but here one is text: a blank line goes before it.
        self.reader.read_field(b"\n", &mut fields);
        let (mut input, mut at) = (text.as_bytes(), 0);
        loop {
            let (result, read, written) = self.reader.read_field(input, &mut fields[at..]);
            input = &input[read..];
            at += written;
            match result {
                ReadFieldResult::Field { record_end } => {
                    self.ends.push(at);
                    if record_end {
                        self.rows.push(self.ends.len());
                    }
                }
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => break,
            }
        }
        fields.truncate(at);
        // Quotes and separators were taken out of text, so what is left is text.
        self.text = String::from_utf8(fields).map_err(|_| Reason::NOT_UTF8)?;
        Ok(())
    }

    /// Finds the columns of the one record, whose names a header line may give.
    fn record(&self, layout: &Layout) -> Result<Fields<'_>, Reason> {
        let head = *self.rows.first().ok_or(Reason::EMPTY)?;
        let has_header = self.begins_with_header();
        let own = if has_header { Some(Layout::of(&self.names(head)?)?) } else { None };
        let layout = own.as_ref().unwrap_or(layout);
        let first = if has_header { head } else { 0 };
        match self.rows.len() - usize::from(has_header) {
            0 => return Err(Reason::EMPTY),
            1 if self.ends.len() - first == layout.width => {}
            1 => return Err(reason::WRONG_FIELD_COUNT),
            _ => return Err(reason::TOO_MANY_RECORDS),
        }
        let field = |at: usize| self.field(first + at).trim_matches(FIELD_BLANKS).as_bytes();
        Ok(Fields {
            key: layout.key.map(field),
            joined: None,
            is_clean: false,
            entries: field(layout.entries),
            exits: field(layout.exits),
            id: layout.id.map_or(&b""[..], field),
            when: match layout.when {
                WhenAt::Timestamp(at) => When::Timestamp(field(at)),
                WhenAt::DateTime(date, time) => When::DateTime(field(date), field(time)),
            },
        })
    }

    /// True if the first row is a header.
    fn begins_with_header(&self) -> bool {
        !self.rows.is_empty() && is_header(self.field(0).trim_matches(BLANKS).as_bytes())
    }

    /// The names in a header of `width` fields, if it is one that can be used.
    fn names(&self, width: usize) -> Result<Vec<String>, Reason> {
        let name = |at| self.field(at).trim_matches(BLANKS).to_uppercase();
        let names: Vec<String> = std::iter::once("CA".to_string()).chain((1..width).map(name)).collect();
        Layout::of(&names).map(|_| names)
    }

    /// The field at `at`, counted over all rows.
    fn field(&self, at: usize) -> &str {
        let from = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[from..self.ends[at]]
    }
}

/// The columns that a line of a file names; `None` if the line is no header.
///
/// # Errors
/// `bad-header` if it is a header that lacks a name, or has one twice.
pub(super) fn header(line: &[u8]) -> Result<Option<Vec<String>>, Reason> {
    if may_be_header(line) { Sheet::new().header(line) } else { Ok(None) }
}

/// False for a line that is no header for certain: its first letters say so for nearly every line of a file.
fn may_be_header(line: &[u8]) -> bool {
    const PASSED_OVER: [u8; 8] = [b' ', b'\t', b'\r', b'\n', b'"', 0xef, 0xbb, 0xbf];
    let mut letters = line.iter().filter(|byte| !PASSED_OVER.contains(byte)).map(u8::to_ascii_uppercase);
    let first = [(); 2].map(|()| letters.next().unwrap_or_default());
    matches!(&first, b"CA" | b"C/" | b"A/" | b"AC")
}

/// The content of a JSON string; `None` if `text` is none, and then it is taken as it stands.
fn json_string(text: &str) -> Result<Option<String>, Reason> {
    let is_quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    // JSON allows no control character in a string, but the parser does not look when it is asked for bytes.
    if !is_quoted || text.bytes().any(|byte| byte < b' ') {
        return Ok(None);
    }
    match serde_json::from_str::<Bytes>(text) {
        // A lone surrogate, which JSON can write and text cannot hold.
        Ok(Bytes(bytes)) => String::from_utf8(bytes).map(Some).map_err(|_| Reason::NOT_UTF8),
        Err(_) => Ok(None),
    }
}

/// The bytes of a JSON string, where a lone surrogate is kept in three bytes that are not UTF-8.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Content;
        impl Visitor<'_> for Content {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Content)
    }
}
