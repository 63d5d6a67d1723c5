//! What travels: a message as it was read, a record stamped with its partition's watermark, a refused record.

use crate::error::Reason;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// The number of a partition within its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u32);

impl Partition {
    /// Its number, as the place of something in a list.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of a message within its partition. Offsets rise; they need not be dense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl Offset {
    /// The greatest offset that a message can have: the offset after it must be a number below the greatest one.
    pub const MAX: Offset = Offset(i64::MAX - 2);
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Add<i64> for Offset {
    type Output = Offset;

    fn add(self, messages: i64) -> Offset {
        Offset(self.0 + messages)
    }
}

impl AddAssign<i64> for Offset {
    fn add_assign(&mut self, messages: i64) {
        self.0 += messages;
    }
}

/// How many offsets lie between two, gaps included.
impl Sub for Offset {
    type Output = i64;

    fn sub(self, before: Offset) -> i64 {
        self.0 - before.0
    }
}

/// A record that was read, by which it can be found out later whether its log still has it: one that was written in its place
/// has another leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRead {
    /// Its position.
    pub offset: Offset,
    /// The leader epoch in which it was taken; -1 where the log does not tell.
    pub leader_epoch: i32,
}

/// One message as a source read it; what it holds is borrowed and never copied on the good path.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// The partition it came from.
    pub partition: Partition,
    /// Its position there.
    pub offset: Offset,
    /// The broker's time stamp in milliseconds; `None` where absent or negative.
    pub timestamp_ms: Option<i64>,
    /// The bytes of its key; `None` where it has none.
    pub key: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    /// The bytes of its value.
    pub payload: Payload<'a>,
    /// The columns that the header of its file names, where that header differs from what the input expects.
    pub columns: Option<&'a Columns>,
    /// The file that it is a line of.
    pub file: Option<&'a File>,
}

impl<'a> Raw<'a> {
    /// A message without time stamp, key, headers and columns, of no file.
    pub fn of(partition: Partition, offset: Offset, payload: Payload<'a>) -> Raw<'a> {
        let (timestamp_ms, key, headers, columns) = (None, None, Headers::NONE, None);
        Raw { partition, offset, timestamp_ms, key, headers, payload, columns, file: None }
    }
}

/// A file of lines, shared by its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path below the folder that is the input.
    pub name: Arc<str>,
    /// How many files of this name the job has met before it.
    pub earlier: u32,
}

/// The names of the columns of a file, shared by its messages: two that are the same pointer are equal.
pub type Columns = Arc<[String]>;

/// A header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name; names may repeat. Empty where it is not UTF-8.
    pub name: &'a str,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// The headers of a message, which a source reads when they are asked for.
pub trait HeaderList {
    /// Header number `at`, from 0; `None` behind the last.
    fn header(&self, at: usize) -> Option<Header<'_>>;
}

/// The headers of one message. A decoder that never looks at them pays nothing for them.
#[derive(Clone, Copy)]
pub struct Headers<'a>(Option<&'a dyn HeaderList>);

impl<'a> Headers<'a> {
    /// No headers.
    pub const NONE: Headers<'static> = Headers(None);

    /// The headers that `list` holds.
    pub fn of(list: &'a dyn HeaderList) -> Headers<'a> {
        Headers(Some(list))
    }

    /// All headers, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let list = self.0;
        (0..).map_while(move |at| list?.header(at))
    }

    /// The value of the last header called `name`: later headers win.
    pub fn last(&self, name: &str) -> Option<Header<'a>> {
        self.iter().filter(|header| header.name == name).last()
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The value of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A tombstone: the message has no value.
    Null,
    /// The whole value.
    Bytes(&'a [u8]),
    /// The value was longer than the source's limit: its first bytes, its length and its xxh3-128.
    TooLong {
        /// The first [`TOO_LONG_HEAD`] bytes.
        head: &'a [u8],
        /// Length of the whole value in bytes.
        bytes: u64,
        /// xxh3-128 of the whole value.
        hash: u128,
    },
    /// The message is the header line of a file: it names columns, is no record, and is filtered.
    Header,
}

impl<'a> Payload<'a> {
    /// The payload of a message with `value`; `None` is a tombstone.
    pub fn of(value: Option<&'a [u8]>) -> Payload<'a> {
        match value {
            None => Payload::Null,
            Some(value) if value.len() <= VALUE_BYTES_MAX => Payload::Bytes(value),
            Some(value) => {
                let head = &value[..TOO_LONG_HEAD];
                Payload::TooLong { head, bytes: value.len() as u64, hash: xxh3_128(value) }
            }
        }
    }
}

/// The longest value that is decoded, in bytes (1 MiB). Longer ones are dead letters, `too-long`.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// How much of a value that is too long a dead letter keeps, in bytes.
pub const TOO_LONG_HEAD: usize = 4096;

/// A decoded record with what decides its fate: event time, and its partition's watermark just before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<R> {
    /// When it happened.
    pub time: EventTime,
    /// The effective watermark of its own partition just before it. Lateness is decided against this only.
    pub stamp: EventTime,
    /// The partition it came from; its fate is counted there.
    pub partition: Partition,
    /// The record.
    pub data: R,
}

/// A record that was refused or came late, in the envelope that the side outputs keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused<Text = String, Bytes = Vec<u8>, Why = Reason> {
    /// Name of the input: the topic, or the name that a source without topics uses instead.
    pub topic: Text,
    /// The partition it came from.
    pub partition: Partition,
    /// Its position there.
    pub offset: Offset,
    /// The broker's time stamp in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Why it was refused; `None` for a late record.
    pub reason: Option<Why>,
    /// Event time, of a late record.
    pub event_time: Option<EventTime>,
    /// The watermark that made a record late.
    pub stamp: Option<EventTime>,
    /// The newest event time that was allowed, where a record lies beyond it.
    pub limit: Option<EventTime>,
    /// Its bytes (whole, or the head of a value that was too long); `None` for a tombstone.
    pub payload: Option<Bytes>,
    /// Length and xxh3-128 of the whole value, where `payload` is only its head.
    pub too_long: Option<(u64, u128)>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its headers: name and value of each.
    pub headers: Vec<(Text, Option<Bytes>)>,
    /// The columns that the header of its file names, as a CSV line, where they differ from what the input expects.
    pub columns: Option<Text>,
}

impl Refused {
    /// About how many bytes it takes in memory until its row is in a file, with what the allocator keeps beside each of its parts.
    pub fn memory(&self) -> usize {
        const BESIDE: usize = 16;
        // A list that grows has room for twice as many as there are in it. Later its row lies in an open file of the side output,
        // which grows in the same way, while the allocator still has the pages of the list.
        const PLACES: usize = 2;
        let payload = self.payload.as_ref().map_or(0, |payload| payload.len() + BESIDE);
        let key = self.key.as_ref().map_or(0, |key| key.len() + BESIDE);
        let header = |(name, value): &(String, Option<Vec<u8>>)| {
            let value = value.as_ref().map_or(0, |value| value.len() + BESIDE);
            size_of::<(String, Option<Vec<u8>>)>() + name.len() + BESIDE + value
        };
        let headers: usize = self.headers.iter().map(header).sum();
        let columns = self.columns.as_ref().map_or(0, |columns| columns.len() + BESIDE);
        PLACES * (size_of::<Refused>() + self.topic.len() + BESIDE) + payload + key + headers + columns
    }

    /// The envelope of `raw` as read from `topic`, without a verdict yet.
    pub fn of(topic: &str, raw: &Raw<'_>) -> Refused {
        let (payload, too_long) = match raw.payload {
            Payload::Null | Payload::Header => (None, None),
            Payload::Bytes(bytes) => (Some(bytes.to_vec()), None),
            Payload::TooLong { head, bytes, hash } => (Some(head.to_vec()), Some((bytes, hash))),
        };
        let header = |header: Header<'_>| (header.name.to_string(), header.value.map(<[u8]>::to_vec));
        Refused {
            topic: topic.to_string(),
            partition: raw.partition,
            offset: raw.offset,
            timestamp_ms: raw.timestamp_ms,
            reason: None,
            event_time: None,
            stamp: None,
            limit: None,
            payload,
            too_long,
            key: raw.key.map(<[u8]>::to_vec),
            headers: raw.headers.iter().map(header).collect(),
            columns: raw.columns.map(|columns| csv_line(columns)),
        }
    }
}

/// `names` as a line of CSV, without its newline.
fn csv_line(names: &[String]) -> String {
    let field = |name: &String| match name.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.clone(),
    };
    names.iter().map(field).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_line_keeps_the_columns_of_its_file_as_a_line_of_csv() {
        let columns: Columns = ["A", "B,C", "\"D\""].map(str::to_string).into();
        let raw = Raw::of(Partition(0), Offset(0), Payload::Bytes(b"1,2,3"));
        assert_eq!(Refused::of("gate", &raw).columns, None);
        let raw = Raw { columns: Some(&columns), ..raw };
        assert_eq!(Refused::of("gate", &raw).columns.as_deref(), Some("A,\"B,C\",\"\"\"D\"\"\""));
    }
}
