//! The messages of a topic as files keep them: a line a message, or envelopes of `kcat -J`.

use super::json_text::bytes;
use super::message::{header_columns, header_of};
use super::usual_columns;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// The messages of each partition, in the order of their offsets.
pub(crate) type Partitions = BTreeMap<u32, Vec<Message>>;

/// A message and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) value: Option<Vec<u8>>,
    /// The columns of the message, if it has no header of its own.
    pub(crate) columns: Vec<String>,
    /// It is the header of its file, and no record.
    pub(crate) is_header: bool,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    topic: String,
    partition: u32,
    offset: i64,
    ts: Option<i64>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// The messages of `topic` in the files of a folder. The name of a file says its place: a file of lines is the partition
/// of that number.
pub(crate) fn partitions(folder: &Path, topic: &str) -> Partitions {
    let entries = std::fs::read_dir(folder).expect("the folder of a capture");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let mut found = Partitions::new();
    for (partition, path) in (0..).zip(&paths) {
        let content = content(path);
        if content.starts_with(b"{\"") {
            for line in lines(&content) {
                let text = std::str::from_utf8(line).expect("an envelope is text");
                let envelope: Envelope<'_> = serde_json::from_str(text).expect("an envelope");
                if envelope.topic == topic {
                    found.entry(envelope.partition).or_default().push(of_envelope(&envelope));
                }
            }
        } else {
            found.insert(partition, of_lines(&content));
        }
    }
    found.values_mut().for_each(|messages| messages.sort_by_key(|message| message.offset));
    found
}

fn content(path: &Path) -> Vec<u8> {
    let packed = std::fs::read(path).expect("a file of a capture");
    if !packed.starts_with(b"\x1f\x8b") {
        return packed;
    }
    let mut content = Vec::new();
    MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut content).expect("whole members");
    content
}

/// The lines of a file; the last one may have no end.
fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = content.strip_suffix(b"\n").unwrap_or(content);
    whole.split(|byte| *byte == b'\n').filter(|_| !content.is_empty())
}

fn of_envelope(envelope: &Envelope<'_>) -> Message {
    let payload = envelope.payload.get();
    Message {
        offset: envelope.offset,
        timestamp_ms: envelope.ts.filter(|ms| *ms >= 0),
        value: (payload != "null").then(|| bytes(payload).expect("a text")),
        columns: usual_columns(),
        is_header: false,
    }
}

/// The messages of a file of lines. A header as the first line that is not empty names the columns of all of them.
pub(crate) fn of_lines(content: &[u8]) -> Vec<Message> {
    let (mut columns, mut is_settled, mut messages) = (usual_columns(), false, Vec::new());
    for (offset, line) in (0..).zip(lines(content)) {
        let header = header_of(line).and_then(|names| header_columns(&names).ok());
        let is_header = header.is_some();
        if let Some(names) = header {
            assert!(!is_settled || names == columns, "the header changes in line {}", offset + 1);
            columns = names;
        }
        is_settled |= is_header || !line.trim_ascii().is_empty();
        let value = Some(line.to_vec());
        messages.push(Message { offset, timestamp_ms: None, value, columns: columns.clone(), is_header });
    }
    messages
}
