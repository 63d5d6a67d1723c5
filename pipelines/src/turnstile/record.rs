//! Turns a message of the topic into a reading of a turnstile, or says why it cannot.
//!
//! A message is one CSV record, often JSON-quoted by upstream's producer, sometimes with a header line. There are
//! two ways through this file. A message without quotes, escapes and control characters inside, which is nearly
//! every one, is cut at its commas where it lies ([`super::plain`]). Every other message goes through [`super::sheet`],
//! which knows all of CSV. Both end in [`Readings::reading`], and where both apply they agree.

use super::columns::{FileLayout, Layout};
use super::instant::Instants;
use super::key::{self, Key};
use super::plain::plain;
use super::reason;
use super::sheet::Sheet;
use crate::defined::Defined;
use crate::zone::Zone;
use headway_operators::error::Reason;
use headway_operators::pipeline::{DeadLetter, Fault};
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::row::{Cell, Column, Kind};
use headway_operators::state::KeyHash;
use headway_operators::stream::aggregate::Summand;
use headway_operators::stream::decode::{self, Context, Decoded, Definition};
use headway_operators::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};

/// The columns of a message without a header.
pub(super) const FIELDS: [&str; 13] = [
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

/// How many of a key's columns must not be empty.
const KEY_NEEDED: usize = 4;

/// What one message says: so many people in and out since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Hash of the seven key columns.
    pub key: KeyHash,
    /// Hash of the ID and of all else that was decoded, in the key's shard; zero if the ID is empty.
    identity: KeyHash,
    /// People in.
    pub entries: i64,
    /// People out.
    pub exits: i64,
}

impl Summand<2> for Reading {
    fn key(&self) -> KeyHash {
        self.key
    }

    fn identity(&self) -> Option<KeyHash> {
        (self.identity != KeyHash::default()).then_some(self.identity)
    }

    fn amounts(&self) -> [i64; 2] {
        [self.entries, self.exits]
    }
}

/// The fields of one record that matter, trimmed. Together they are UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    /// In the order of [`key::COLUMNS`].
    pub(super) key: [&'a [u8]; key::PARTS],
    /// The first six of the key as they stand in the message, with commas, where trimming changed none of them.
    pub(super) joined: Option<&'a [u8]>,
    /// No field of the key has a control character: that was seen when the message was cut.
    pub(super) is_clean: bool,
    pub(super) entries: &'a [u8],
    pub(super) exits: &'a [u8],
    pub(super) id: &'a [u8],
    pub(super) when: When<'a>,
}

/// Which columns tell the event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When<'a> {
    /// TIMESTAMP.
    Timestamp(&'a [u8]),
    /// DATE and TIME, where the header has no TIMESTAMP.
    DateTime(&'a [u8], &'a [u8]),
}

/// Decodes the messages of the topic.
pub struct Decoder {
    readings: Readings,
    cutter: Cutter,
}

/// Cuts messages into fields.
struct Cutter {
    sheet: Sheet,
    topic: Layout,
    file: FileLayout,
}

impl Cutter {
    /// The fields of a message.
    fn fields<'a>(&'a mut self, raw: &Raw<'a>) -> Result<Fields<'a>, Reason> {
        let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
        let fields = match raw.columns {
            None => plain(value),
            // The short way knows the topic's own columns only.
            Some(_) => None,
        };
        match (fields, raw.columns) {
            (Some(fields), _) => Ok(fields),
            (None, None) => self.sheet.read(value, &self.topic),
            (None, Some(columns)) => self.sheet.read(value, &self.file.of(columns)?),
        }
    }
}

/// Makes readings of fields.
struct Readings {
    instants: Instants,
    defined: Defined,
    /// What is hashed.
    content: Vec<u8>,
}

impl Decoder {
    /// A decoder of messages whose wall-clock times are of `zone`.
    pub fn new(zone: Zone) -> Decoder {
        let content = Vec::with_capacity(256);
        let readings = Readings { instants: Instants::new(zone), defined: Defined::new(), content };
        let cutter = Cutter { sheet: Sheet::new(), topic: Layout::of_topic(), file: FileLayout::default() };
        Decoder { readings, cutter }
    }
}

impl Readings {
    /// Checks the fields in the order that decides between two reasons, and hashes what must be hashed.
    fn reading(
        &mut self,
        fields: &Fields<'_>,
        context: &Context,
        definitions: &mut Vec<Definition<Key>>,
    ) -> Result<Decoded<Reading>, Reason> {
        if fields.key[..KEY_NEEDED].iter().any(|field| field.is_empty()) {
            return Err(Reason::MISSING_FIELD);
        }
        if !fields.is_clean && fields.key.iter().any(|field| has_control(field)) {
            return Err(reason::CONTROL_CHARACTER);
        }
        let entries = count(fields.entries).ok_or(Reason::BAD_NUMBER)?;
        let exits = count(fields.exits).ok_or(Reason::BAD_NUMBER)?;
        let time = match fields.when {
            When::Timestamp(text) => self.instants.of_timestamp(text, context.newest),
            When::DateTime(date, time) => self.instants.of_date_and_time(date, time, context.newest),
        };
        let time = time.ok_or(Reason::BAD_TIMESTAMP)?;
        let key = self.key(fields);
        if self.defined.insert(key) {
            definitions.push(Definition { hash: key, key: key_of(fields)? });
        }
        let mut reading = Reading { key, identity: KeyHash::default(), entries, exits };
        if !fields.id.is_empty() {
            reading.identity = self.identity(&reading, time, fields.id);
        }
        Ok(Decoded::Record(time, reading))
    }

    /// The hash of the key: its fields with commas between, then their lengths, which make it unambiguous.
    fn key(&mut self, fields: &Fields<'_>) -> KeyHash {
        let content = &mut self.content;
        content.clear();
        match fields.joined {
            Some(joined) => content.extend_from_slice(joined),
            None => {
                content.extend_from_slice(fields.key[0]);
                for field in &fields.key[1..6] {
                    content.push(b',');
                    content.extend_from_slice(field);
                }
            }
        }
        content.push(b',');
        content.extend_from_slice(fields.key[6]);
        let mut lengths = [0; 28];
        for (length, field) in lengths.chunks_exact_mut(4).zip(fields.key) {
            // No message is longer than 1 MiB.
            length.copy_from_slice(&(field.len() as u32).to_le_bytes());
        }
        content.extend_from_slice(&lengths);
        KeyHash::of(content)
    }

    /// The hash of everything that was decoded, moved to the key's shard: repeats meet where their sum is.
    fn identity(&mut self, reading: &Reading, time: EventTime, id: &[u8]) -> KeyHash {
        let content = &mut self.content;
        content.clear();
        let KeyHash([high, low]) = reading.key;
        let numbers = [high, low, time.ms() as u64, reading.entries as u64, reading.exits as u64];
        let mut head = [0; 40];
        for (eight, number) in head.chunks_exact_mut(8).zip(numbers) {
            eight.copy_from_slice(&number.to_le_bytes());
        }
        content.extend_from_slice(&head);
        content.extend_from_slice(id);
        KeyHash::of(content).beside(reading.key)
    }
}

impl decode::Decoder for Decoder {
    type Out = Reading;
    type Key = Key;

    fn begin(&mut self, _epoch: Epoch) {
        self.readings.defined.clear();
    }

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        context: &Context,
        definitions: &mut Vec<Definition<Key>>,
    ) -> Result<Decoded<Reading>, Reason> {
        let fields = self.cutter.fields(raw)?;
        self.readings.reading(&fields, context, definitions)
    }

    /// The columns of the key, the counts, and the ID.
    fn columns(&self) -> Vec<Column> {
        let text = |name| Column::new(name, Kind::Text);
        let counts = ["ENTRIES", "EXITS"].map(|name| Column::new(name, Kind::Int));
        key::COLUMNS.into_iter().map(text).chain(counts).chain([text("ID")]).collect()
    }

    fn cells(&mut self, raw: &Raw<'_>, record: &Reading, put: &mut dyn FnMut(Cell<'_>)) {
        let fields = self.cutter.fields(raw).expect("a message that was decoded can be cut again");
        fields.key.into_iter().for_each(|field| put(text_cell(field)));
        [record.entries, record.exits].into_iter().for_each(|count| put(Cell::Int(count)));
        put(text_cell(fields.id));
    }
}

/// The field for which a message of the topic is a dead letter.
pub(super) fn fault(dead: &DeadLetter<'_>) -> Option<Fault> {
    let raw = Raw::of(Partition(0), Offset(0), Payload::Bytes(dead.message));
    let raw = Raw { columns: dead.columns, ..raw };
    let mut cutter = Cutter { sheet: Sheet::new(), topic: Layout::of_topic(), file: FileLayout::default() };
    let fields = cutter.fields(&raw).ok()?;
    let key = |is_wrong: fn(&[u8]) -> bool| {
        let mut columns = key::COLUMNS.into_iter().zip(fields.key);
        columns.find(|(_, field)| is_wrong(field)).map(|(name, field)| (name, field.to_vec()))
    };
    let (field, found) = match dead.reason {
        "missing-field" => key(<[u8]>::is_empty)?,
        "control-character" => key(has_control)?,
        "bad-number" if count(fields.entries).is_none() => ("ENTRIES", fields.entries.to_vec()),
        "bad-number" if count(fields.exits).is_none() => ("EXITS", fields.exits.to_vec()),
        "bad-timestamp" => match fields.when {
            When::Timestamp(text) => ("TIMESTAMP", text.to_vec()),
            When::DateTime(date, time) => ("DATE and TIME", [date, b" ", time].concat()),
        },
        _ => return None,
    };
    Some(Fault { field: field.into(), found: String::from_utf8_lossy(&found).into_owned() })
}

/// A field as a cell: one that is empty has no value.
fn text_cell(field: &[u8]) -> Cell<'_> {
    match std::str::from_utf8(field) {
        Ok(text) if !text.is_empty() => Cell::Text(text),
        Ok(_) | Err(_) => Cell::Null,
    }
}

/// True if a field has a control character of ASCII or Latin-1, DEL included.
fn has_control(field: &[u8]) -> bool {
    std::str::from_utf8(field).is_ok_and(|text| text.chars().any(char::is_control))
}

/// A whole number of 1 to 18 digits, so that it and any sum of two fit in an `i64`.
fn count(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| sum * 10 + i64::from(digit))
    })
}

/// The key of `fields`, by value.
fn key_of(fields: &Fields<'_>) -> Result<Key, Reason> {
    let mut columns = [""; key::PARTS];
    for (column, bytes) in columns.iter_mut().zip(fields.key) {
        *column = std::str::from_utf8(bytes).map_err(|_| Reason::NOT_UTF8)?;
    }
    Ok(Key::new(columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::record::{Offset, Partition};
    use headway_operators::stream::decode::Decoder as _;

    /// What a message says, as `TIME CA/UNIT/SCP/STATION/LINENAME/DIVISION/DESC ENTRIES EXITS`, or why it is refused.
    fn says(decoder: &mut Decoder, value: &[u8]) -> String {
        let mut definitions = Vec::new();
        decoder.begin(Epoch(0));
        let raw = Raw::of(Partition(0), Offset(0), Payload::Bytes(value));
        match decoder.decode(&raw, &Context::default(), &mut definitions) {
            Err(reason) => reason.name().to_string(),
            Ok(Decoded::Filtered) => "filtered".to_string(),
            Ok(Decoded::Record(time, reading)) => {
                let seconds = time.ms() / 1000;
                let key = definitions[0].key.columns().join("/");
                format!("{seconds} {key} {} {}", reading.entries, reading.exits)
            }
        }
    }

    #[test]
    fn message_says_a_reading_or_is_refused_for_a_reason() {
        const GOOD: &str = "1706617924 A002/R051/02-00-00/59 ST/NQR456W/BMT/REGULAR 6 7";
        const NO_DESC: &str = "1706617924 A002/R051/02-00-00/59 ST/// 6 7";
        const OHARE: &str = "1706617924 A002/R051/02-00-00/O'HARE, NORTH/L/BMT/REGULAR 6 7";
        let cases: [(&str, &str); 27] = [
            // A bare line, and as upstream's producer quotes it.
            (
                "A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,12:32:04,REGULAR,6,7,x,2024-01-30 12:32:04",
                GOOD,
            ),
            (
                r#""A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,12:32:04,REGULAR,6,7,x,2024-01-30 12:32:04""#,
                GOOD,
            ),
            // Blanks around fields and lines, zeros before numbers; DATE and TIME do not matter here.
            (
                "\u{feff} A002 ,R051,02-00-00,59 ST,NQR456W,BMT,,?,REGULAR,006, 7 ,,2024-01-30T12:32:04 \r\n",
                GOOD,
            ),
            ("\nA002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,6,7,,2024-01-30 12:32:04\n\n", GOOD),
            // Some columns may be empty.
            ("A002,R051,02-00-00,59 ST,,,,,,6,7,,2024-01-30 12:32:04", NO_DESC),
            // A quoted field, in CSV and in JSON.
            (r#"A002,R051,02-00-00,"O'HARE, NORTH",L,BMT,,,REGULAR,6,7,x,2024-01-30 12:32:04"#, OHARE),
            (r#""A002,R051,02-00-00,\"O'HARE, NORTH\",L,BMT,,,REGULAR,6,7,x,2024-01-30 12:32:04""#, OHARE),
            // A header, as the C# producer sends it; its columns may be in any order.
            (
                r#""A/C,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS,ID\nA002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,12:32:04,REGULAR,6,7,x""#,
                GOOD,
            ),
            (
                "ca,exits,unit,scp,station,linename,division,desc,more,date,time,entries  \nA002,7,R051,02-00-00,59 ST,NQR456W,BMT,REGULAR,1,01/30/2024,12:32:04,6",
                GOOD,
            ),
            ("CA,UNIT,SCP,STATION,LINENAME,DIVISION,DESC,ENTRIES,EXITS,TIMESTAMP,EXITS\n", "bad-header"),
            ("C/A,UNIT,SCP,STATION\nA002,R051,02-00-00,59 ST", "bad-header"),
            ("CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,DESC,ENTRIES,EXITS\n", "bad-header"),
            ("CA,UNIT,SCP,STATION,LINENAME,DIVISION,DESC,ENTRIES,EXITS,TIMESTAMP\n", "empty"),
            // No text, no record, or not one record.
            ("", "empty"),
            (" \t\r\n", "empty"),
            ("\"\"", "empty"),
            (r#""\ud83d""#, "not-utf8"),
            ("A002,\"R051", "bad-csv"),
            ("{}", "wrong-field-count"),
            ("A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,12:32:04,REGULAR,6,7,x", "wrong-field-count"),
            ("a\rb", "too-many-records"),
            // Fields that must be there, or must be numbers or times.
            ("A002,R051, ,59 ST,NQR456W,BMT,,,REGULAR,6,7,x,2024-01-30 12:32:04", "missing-field"),
            ("A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,-6,7,x,2024-01-30 12:32:04", "bad-number"),
            (
                "A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,6,1000000000000000000,x,2024-01-30 12:32:04",
                "bad-number",
            ),
            ("A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,6,7,x,", "bad-timestamp"),
            ("A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,6,7,x,2024-02-30 12:32:04", "bad-timestamp"),
            ("A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,6,7,x,3000-01-01 00:00:00", "bad-timestamp"),
        ];
        let mut decoder = Decoder::new(Zone::utc());
        for (message, want) in cases {
            assert_eq!(says(&mut decoder, message.as_bytes()), want, "{message}");
        }
        assert_eq!(says(&mut decoder, b"A002,\xff"), "not-utf8");
    }

    /// The reading of a good message.
    fn record(decoder: &mut Decoder, value: &[u8], definitions: &mut Vec<Definition<Key>>) -> Reading {
        let raw = Raw::of(Partition(0), Offset(0), Payload::Bytes(value));
        match decoder.decode(&raw, &Context::default(), definitions) {
            Ok(Decoded::Record(_, reading)) => reading,
            other => panic!("{} gives {other:?}", value.escape_ascii()),
        }
    }

    /// Decodes a message with these three fields, the rest as usual.
    fn reading(decoder: &mut Decoder, station: &str, desc: &str, id: &str) -> Reading {
        let line = format!("A002,R051,02-00-00,{station},NQ,BMT,,,{desc},6,7,{id},2024-01-30 12:32:04");
        record(decoder, line.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn repeat_is_the_same_id_and_the_same_record() {
        let mut decoder = Decoder::new(Zone::utc());
        let first = reading(&mut decoder, "59 ST", "REGULAR", "x");
        assert_eq!(first, reading(&mut decoder, "\"59 ST\"", " REGULAR", "x"), "two ways to write the same");
        assert_eq!(first.identity().map(KeyHash::shard), Some(first.key.shard()));
        for (station, desc, id) in [("59 ST", "REGULAR", "y"), ("5 ST", "REGULAR", "x"), ("59 ST", "", "x")] {
            assert_ne!(first.identity(), reading(&mut decoder, station, desc, id).identity());
        }
        assert_eq!(reading(&mut decoder, "59 ST", "REGULAR", "").identity(), None);
    }

    #[test]
    fn key_is_the_one_that_lakes_were_written_with() {
        let reading = reading(&mut Decoder::new(Zone::utc()), "59 ST", "REGULAR", "x");
        let hashes = [reading.key.0, reading.identity.0].map(|[high, low]| format!("{high:016x}{low:016x}"));
        assert_eq!(hashes, GOLDEN);
    }

    /// Written down once; a change would orphan the state of every lake.
    const GOLDEN: [&str; 2] = ["b3f940f0251f3e54acea40c55d4c9ad3", "b3e68d838c94d69d357b5660b94cdbd9"];

    #[test]
    fn key_is_defined_once_an_epoch() {
        let mut decoder = Decoder::new(Zone::utc());
        let mut definitions = Vec::new();
        let line = b"A002,R051,02-00-00,59 ST,NQ,BMT,,,REGULAR,6,7,x,2024-01-30 12:32:04";
        for (epoch, defined) in [(1, 1), (2, 2)] {
            decoder.begin(Epoch(epoch));
            for _ in 0..3 {
                record(&mut decoder, line, &mut definitions);
            }
            assert_eq!(definitions.len(), defined);
        }
    }

    #[test]
    fn stamped_reading_is_small() {
        // 16 bytes each for key and identity, 8 each for two counts, two times, and the partition with its padding.
        assert_eq!(size_of::<headway_operators::record::Stamped<Reading>>(), 72);
    }
}
