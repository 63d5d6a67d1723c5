//! The long way through a message: byte order marks, JSON quoting, CSV with all its rules, header lines.
//!
//! Its answers are those of Python's `json` and `csv` modules, which read the topic before us.

use super::key;
use super::record::{FIELDS, Fields, When, is_header};
use csv_core::ReadFieldResult;
use headway_operators::error::Reason;
use serde::de::{Deserialize, Deserializer, Visitor};
use std::fmt;

/// What is cut off both ends of a name, and of a whole message before it is called empty.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

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

    /// The fields of the one record in `value`.
    pub(super) fn read(&mut self, value: &[u8]) -> Result<Fields<'_>, Reason> {
        let text = std::str::from_utf8(value).map_err(|_| Reason::NotUtf8)?;
        let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
        let inner = json_string(text)?;
        let text = inner.as_deref().map_or(text, |inner| inner.trim_end_matches(['\r', '\n']));
        if text.trim_matches(BLANKS).is_empty() {
            return Err(Reason::Empty);
        }
        if memchr::memchr_iter(b'"', text.as_bytes()).count() % 2 == 1 {
            return Err(Reason::BadCsv);
        }
        self.parse(text)?;
        self.record()
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
        self.text = String::from_utf8(fields).map_err(|_| Reason::NotUtf8)?;
        Ok(())
    }

    /// Finds the columns by their names, which a header line may give.
    fn record(&self) -> Result<Fields<'_>, Reason> {
        let head = *self.rows.first().ok_or(Reason::Empty)?;
        let has_header = is_header(self.field(0).trim_matches(BLANKS).as_bytes());
        let names = has_header.then(|| self.names(head));
        let rows = self.rows.len() - usize::from(has_header);
        let column = |name: &str| match &names {
            // Of two columns with one name the last counts.
            Some(names) => names.iter().rposition(|known| known == name),
            None => FIELDS.iter().position(|known| *known == name),
        };
        let is_whole = key::COLUMNS.iter().chain(&["ENTRIES", "EXITS"]).all(|name| column(name).is_some());
        let timestamp = column("TIMESTAMP");
        let when = timestamp.map(|at| (at, at)).or_else(|| column("DATE").zip(column("TIME")));
        let (true, Some(when)) = (is_whole, when) else { return Err(Reason::BadHeader) };
        let width = names.as_ref().map_or(FIELDS.len(), Vec::len);
        let first = if has_header { head } else { 0 };
        match rows {
            0 => return Err(Reason::Empty),
            1 if self.ends.len() - first == width => {}
            1 => return Err(Reason::WrongFieldCount),
            _ => return Err(Reason::TooManyRecords),
        }
        let field = |at: usize| self.field(first + at).trim_matches(FIELD_BLANKS).as_bytes();
        let named = |name: &str| column(name).map_or(&b""[..], field);
        Ok(Fields {
            key: key::COLUMNS.map(named),
            joined: None,
            entries: named("ENTRIES"),
            exits: named("EXITS"),
            id: named("ID"),
            when: match timestamp {
                Some(at) => When::Timestamp(field(at)),
                None => When::DateTime(field(when.0), field(when.1)),
            },
        })
    }

    /// The names in a header of `width` fields.
    fn names(&self, width: usize) -> Vec<String> {
        let name = |at| self.field(at).trim_matches(BLANKS).to_uppercase();
        std::iter::once("CA".to_string()).chain((1..width).map(name)).collect()
    }

    /// The field at `at`, counted over all rows.
    fn field(&self, at: usize) -> &str {
        let from = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[from..self.ends[at]]
    }
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
        Ok(Bytes(bytes)) => String::from_utf8(bytes).map(Some).map_err(|_| Reason::NotUtf8),
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
