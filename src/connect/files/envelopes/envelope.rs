//! Messages as `kcat -J` writes them: one JSON object a line, with `partition`, `offset`, `ts` and `payload`.
//!
//! A line that fits in a buffer is parsed where it lies. A longer one, or one that is not UTF-8, is walked piece by
//! piece: its payload goes to a [`Value`], which keeps no more than a value may be long, and what remains of the line
//! with all other strings emptied is parsed as the envelope. Either way a payload that is not text comes out as the
//! bytes it stands for, lone surrogates too, so that the decoder can refuse it.

use crate::connect::files::envelopes::headers::EnvelopeHeaders;
use crate::connect::files::envelopes::json_text::{Unescape, unquote};
use crate::connect::files::envelopes::malformed::Malformed;
use crate::connect::files::lines::{Line, Value};
use headway_operators::record::{Headers, Offset, Partition, Payload, Raw};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// How much a line may hold beside its strings, in bytes.
const BESIDE_STRINGS_MAX: usize = 64 << 10;

/// The longest field name that is looked at, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The longest topic that is looked at, in bytes: a name has up to 249, each of which JSON may write in six.
const TOPIC_BYTES_MAX: usize = 249 * 6;

/// A message without its payload.
#[derive(Clone, Copy, Debug)]
pub(in crate::connect::files) struct Head<'a> {
    /// The partition it came from.
    pub(in crate::connect::files) partition: Partition,
    /// Its position there.
    pub(in crate::connect::files) offset: Offset,
    /// Its time stamp in milliseconds; `None` where absent or negative.
    pub(in crate::connect::files) timestamp_ms: Option<i64>,
    /// It is of the topic that is read.
    pub(in crate::connect::files) is_of_topic: bool,
    /// Where its key is.
    key: Text<'a>,
    /// Where its headers are.
    headers: Text<'a>,
    /// Where its payload is: see [`Envelopes::raw`].
    pub(in crate::connect::files) text: Text<'a>,
}

/// Where a part of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connect::files) enum Text<'a> {
    /// There is none; of a payload: a tombstone.
    Null,
    /// JSON: a string in its quotes; of headers: an array.
    Json(&'a str),
    /// It was decoded while the line was walked.
    Decoded,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    topic: Option<&'a RawValue>,
    partition: Partition,
    offset: Offset,
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// What makes a line an envelope.
#[derive(Deserialize)]
struct Marks {
    #[serde(rename = "offset")]
    _offset: IgnoredAny,
    #[serde(rename = "payload")]
    _payload: IgnoredAny,
}

/// Decodes envelopes, one after the other, into buffers that are reused.
#[derive(Default)]
pub(in crate::connect::files) struct Envelopes {
    /// The topic that is read, as JSON; `None` reads all.
    topic: Option<String>,
    walk: Walk,
}

impl Envelopes {
    /// Decodes envelopes, and tells those of `topic` from those of others.
    pub(in crate::connect::files) fn of(topic: Option<&str>) -> Envelopes {
        let topic = topic.map(|topic| serde_json::Value::from(topic).to_string());
        Envelopes { topic, walk: Walk::default() }
    }

    /// The envelope in `line`; `None` where more of the line is to come.
    pub(in crate::connect::files) fn take<'l>(
        &mut self,
        line: Line<'l>,
    ) -> Result<Option<Head<'l>>, Malformed> {
        match line {
            Line::Whole(line) => {
                let error = match head(line, self.topic.as_deref()) {
                    Ok(head) => return Ok(Some(head)),
                    Err(error) => error,
                };
                if std::str::from_utf8(line).is_ok() {
                    return Err(error);
                }
                self.walk.piece(line);
            }
            Line::Piece(piece) => {
                self.walk.piece(piece);
                return Ok(None);
            }
            Line::End => {}
        }
        self.walk.end()?;
        let Walk { rest, parts, payloads, .. } = &mut self.walk;
        let head = head(rest, self.topic.as_deref())?;
        let text = match head.text {
            Text::Json("\"\"") if *payloads == 1 => Text::Decoded,
            Text::Json(_) => return Err(not_text()),
            Text::Null | Text::Decoded => Text::Null,
        };
        let key = if matches!(head.key, Text::Json("\"\"")) { Text::Decoded } else { Text::Null };
        if let Text::Json(json) = head.headers {
            parts.headers.place(json);
        }
        Ok(Some(Head { text, key, headers: Text::Decoded, ..head }))
    }

    /// The message in the envelope that was taken last.
    pub(in crate::connect::files) fn raw(&mut self, head: &Head<'_>) -> Result<Raw<'_>, Malformed> {
        let Parts { value, key, headers } = &mut self.walk.parts;
        if let Text::Json(json) = head.text {
            value.clear();
            if !unquote(json, value)? {
                return Err(not_text());
            }
        }
        let mut has_key = head.key == Text::Decoded;
        if let Text::Json(json) = head.key {
            key.clear();
            has_key = unquote(json, key)?;
        }
        match head.headers {
            Text::Json(json) => headers.read(json)?,
            Text::Null => headers.clear(),
            Text::Decoded => {}
        }
        let payload = if head.text == Text::Null { Payload::Null } else { value.payload() };
        let key = match key.payload() {
            Payload::Bytes(key) if has_key => Some(key),
            // A key that is longer than a value may be is none: a part of it would pass for another key.
            _ => None,
        };
        let raw = Raw::of(head.partition, head.offset, payload);
        Ok(Raw { timestamp_ms: head.timestamp_ms, key, headers: Headers::of(headers), ..raw })
    }

    /// True if `line` begins like the lines of `kcat -J`; `None` where more of it is to come.
    pub(in crate::connect::files) fn is_envelope(&mut self, line: Line<'_>) -> Option<bool> {
        let is_marked =
            |line: &[u8]| line.first() == Some(&b'{') && serde_json::from_slice::<Marks>(line).is_ok();
        match line {
            Line::Whole(line) => Some(is_marked(line)),
            Line::Piece(piece) => {
                self.walk.piece(piece);
                None
            }
            Line::End => Some(self.walk.end().is_ok() && is_marked(&self.walk.rest)),
        }
    }
}

fn not_text() -> Malformed {
    Malformed("its payload is neither a string nor null".into())
}

/// Parses a line; `topic` is JSON.
fn head<'a>(line: &'a [u8], topic: Option<&str>) -> Result<Head<'a>, Malformed> {
    let fields: Fields<'a> = serde_json::from_slice(line).map_err(|error| {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        Malformed(format!(
            "it is not an envelope as kcat -J writes it: {reason}, at column {}",
            error.column()
        ))
    })?;
    if !(Offset(0)..=Offset::MAX).contains(&fields.offset) {
        return Err(Malformed(format!("its offset is {}, which no message has", fields.offset)));
    }
    if i32::try_from(fields.partition.0).is_err() {
        return Err(Malformed(format!("its partition is {}, which no topic has", fields.partition)));
    }
    let timestamp_ms = timestamp(fields.ts.map(RawValue::get))?;
    let part = |json: Option<&'a RawValue>| json.map_or(Text::Null, |json| Text::Json(json.get()));
    let text = match fields.payload.get() {
        "null" => Text::Null,
        text => Text::Json(text),
    };
    let is_of_topic = topic.zip(fields.topic).is_none_or(|(topic, found)| is_same(topic, found.get()));
    let (key, headers) = (part(fields.key), part(fields.headers));
    let (partition, offset) = (fields.partition, fields.offset);
    Ok(Head { partition, offset, timestamp_ms, is_of_topic, key, headers, text })
}

/// A time stamp in milliseconds. Kafka has -1 where there is none.
fn timestamp(ts: Option<&str>) -> Result<Option<i64>, Malformed> {
    match ts {
        None | Some("null") => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(ms) => Ok(Some(ms).filter(|ms| *ms >= 0)),
            Err(_) => Err(Malformed("its ts is no whole number of milliseconds".into())),
        },
    }
}

/// True if two JSON texts are the same string, however it is escaped.
fn is_same(one: &str, other: &str) -> bool {
    let text = |json: &str| serde_json::from_str::<String>(json).ok();
    one == other || text(other).is_some_and(|other| text(one) == Some(other))
}

/// Walks over a line in pieces: see the module.
#[derive(Default)]
struct Walk {
    /// The line with its strings emptied, but for the names of its fields.
    rest: Vec<u8>,
    parts: Parts,
    unescape: Unescape,
    /// How many strings went to `value`.
    payloads: u32,
    depth: u32,
    /// In the object itself: a value comes next, not a name.
    after_colon: bool,
    string: Option<Kind>,
    /// Inside a string: the byte before was a backslash that escapes this one.
    escaped: bool,
    /// Where the name of the field begins in `rest`.
    name: usize,
    /// Where the string begins in `rest`.
    topic: usize,
    failed: Option<Malformed>,
    /// A line is being walked over.
    under_way: bool,
}

/// The parts of a message that are strings.
#[derive(Default)]
struct Parts {
    value: Value,
    key: Value,
    headers: EnvelopeHeaders,
}

/// What a string is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Payload,
    Key,
    /// A name or a value in the array of headers.
    Header,
    Topic,
    Other,
}

impl Walk {
    /// Forgets the line before.
    fn begin(&mut self) {
        let mut rest = std::mem::take(&mut self.rest);
        let mut parts = std::mem::take(&mut self.parts);
        rest.clear();
        parts.value.clear();
        parts.key.clear();
        parts.headers.clear();
        *self = Walk { rest, parts, under_way: true, ..Walk::default() };
    }

    fn piece(&mut self, mut piece: &[u8]) {
        if !self.under_way {
            self.begin();
        }
        while !piece.is_empty() && self.failed.is_none() {
            let used = match self.string {
                Some(kind) => self.inside(kind, piece),
                None => self.outside(piece),
            };
            piece = &piece[used..];
        }
    }

    fn end(&mut self) -> Result<(), Malformed> {
        self.under_way = false;
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Goes on to the next string; answers how many bytes it used.
    fn outside(&mut self, piece: &[u8]) -> usize {
        for (at, byte) in piece.iter().enumerate() {
            if self.rest.len() == BESIDE_STRINGS_MAX {
                let why = format!("it has more than {BESIDE_STRINGS_MAX} bytes beside its strings");
                self.failed = Some(Malformed(why));
                return at;
            }
            self.rest.push(*byte);
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b':' if self.depth == 1 => self.after_colon = true,
                b',' if self.depth == 1 => self.after_colon = false,
                b'"' => {
                    let field = &self.rest[self.name.min(self.rest.len())..];
                    self.string = Some(match (self.depth, self.after_colon) {
                        (1, false) => Kind::Name,
                        (1, true) if field.starts_with(b"payload\"") => Kind::Payload,
                        (1, true) if field.starts_with(b"topic\"") => Kind::Topic,
                        (1, true) if field.starts_with(b"key\"") => Kind::Key,
                        (2, _) if field.starts_with(b"headers\"") => Kind::Header,
                        _ => Kind::Other,
                    });
                    self.topic = self.rest.len();
                    if self.string == Some(Kind::Name) {
                        self.name = self.rest.len();
                    }
                    self.payloads += u32::from(self.string == Some(Kind::Payload));
                    return at + 1;
                }
                _ => {}
            }
        }
        piece.len()
    }

    /// Goes on to the end of a string; answers how many bytes it used.
    fn inside(&mut self, kind: Kind, piece: &[u8]) -> usize {
        let mut at = 0;
        let mut closed = false;
        while at < piece.len() && !closed {
            if std::mem::take(&mut self.escaped) {
                at += 1;
                continue;
            }
            match memchr::memchr2(b'"', b'\\', &piece[at..]) {
                None => at = piece.len(),
                Some(next) => {
                    self.escaped = piece[at + next] == b'\\';
                    closed = !self.escaped;
                    at += next + 1;
                }
            }
        }
        let content = &piece[..at - usize::from(closed)];
        match kind {
            Kind::Payload | Kind::Key | Kind::Header => {
                let out = match kind {
                    Kind::Payload => &mut self.parts.value,
                    Kind::Key => &mut self.parts.key,
                    _ => self.parts.headers.text(),
                };
                let mut added = self.unescape.add(content, out);
                if closed && added.is_ok() {
                    added = self.unescape.end(out);
                }
                self.failed = added.err();
                if closed && kind == Kind::Header {
                    self.parts.headers.end_text();
                }
            }
            Kind::Name => {
                self.rest.extend_from_slice(&content[..content.len().min(NAME_BYTES_MAX + 1)]);
                if self.rest.len() - self.name > NAME_BYTES_MAX {
                    // Longer than any name that matters, and cut where it may not be cut.
                    self.rest.truncate(self.name);
                }
            }
            // The names of topics are ASCII; whatever else is here is another topic.
            Kind::Topic if content.is_ascii() => {
                let room = (self.topic + TOPIC_BYTES_MAX).saturating_sub(self.rest.len());
                self.rest.extend_from_slice(&content[..content.len().min(room)]);
            }
            Kind::Topic | Kind::Other => {}
        }
        if closed {
            self.rest.push(b'"');
            self.string = None;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::record::VALUE_BYTES_MAX;
    use proptest::prelude::*;

    type Message = (Partition, Offset, Option<i64>, Option<Vec<u8>>);

    fn owned(payload: Payload<'_>) -> Option<Vec<u8>> {
        match payload {
            Payload::Null => None,
            Payload::Bytes(bytes) => Some(bytes.to_vec()),
            Payload::TooLong { .. } | Payload::Header => panic!("{payload:?} is not expected"),
        }
    }

    /// Takes `line` whole (`size` 0), or in pieces of `size`.
    fn take(envelopes: &mut Envelopes, line: &[u8], size: usize) -> Result<Message, Malformed> {
        let mut lines = vec![Line::Whole(line)];
        if size > 0 {
            lines = line.chunks(size).map(Line::Piece).chain([Line::End]).collect();
        }
        for line in lines {
            if let Some(head) = envelopes.take(line)? {
                let raw = envelopes.raw(&head)?;
                return Ok((raw.partition, raw.offset, raw.timestamp_ms, owned(raw.payload)));
            }
        }
        panic!("the line has an end");
    }

    #[test]
    fn envelopes_are_read_whole_and_in_pieces_alike() {
        let cases: &[(&[u8], Message)] = &[
            (br#"{"topic":"t","partition":2,"offset":7,"tstype":"create","ts":5,"broker":1,"key":"k","payload":"a,b"}"#, (Partition(2), Offset(7), Some(5), Some(b"a,b".to_vec()))),
            (br#"{"partition":0,"offset":0,"payload":null}"#, (Partition(0), Offset(0), None, None)),
            (br#"{"partition":0,"offset":0,"ts":-1,"payload":""}"#, (Partition(0), Offset(0), None, Some(vec![]))),
            (br#" { "payload" : "\"x\"" , "ts":15, "offset":3 , "partition":0 } "#, (Partition(0), Offset(3), Some(15), Some(b"\"x\"".to_vec()))),
            (br#"{"headers":["payload","{\"",{"payload":"no"}],"key":"payload","partition":0,"offset":1,"payload":"yes"}"#, (Partition(0), Offset(1), None, Some(b"yes".to_vec()))),
            (br#"{"partition":0,"offset":0,"payload":"\u00e9\ud83d\ude00\/\b\f\n\r\t\\"}"#, (Partition(0), Offset(0), None, Some("é😀/\u{8}\u{c}\n\r\t\\".into()))),
            (br#"{"partition":0,"offset":0,"payload":"\ud83dx\ud83d\ud83d\ude00\ude00"}"#, (Partition(0), Offset(0), None, Some([&b"\xed\xa0\xbdx\xed\xa0\xbd"[..], "😀".as_bytes(), b"\xed\xb8\x80"].concat()))),
            (b"{\"partition\":0,\"offset\":0,\"key\":\"\xff\",\"payload\":\"\xff\\n\"}\r", (Partition(0), Offset(0), None, Some(b"\xff\n".to_vec()))),
        ];
        for (line, expected) in cases {
            for size in 0..line.len() + 1 {
                let taken = take(&mut Envelopes::default(), line, size);
                assert_eq!(taken.as_ref(), Ok(expected), "{} in {size}", String::from_utf8_lossy(line));
            }
        }
    }

    #[test]
    fn key_and_headers_are_read_whole_and_in_pieces_alike() {
        /// The key, then the headers as `name=value`; `-` where there is none.
        fn says(raw: &Raw<'_>) -> String {
            let text = |bytes: Option<&[u8]>| {
                bytes.map_or("-".to_string(), |bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            let headers = raw.headers.iter().map(|one| format!("{}={}", one.name, text(one.value)));
            [text(raw.key)].into_iter().chain(headers).collect::<Vec<_>>().join(" ")
        }
        let cases: &[(&[u8], &str)] = &[
            (br#""key":"a\u00e9\"b","headers":["k","v","n",null,"k",""]"#, "a\u{e9}\"b k=v n=- k="),
            (br#""key":"","headers":[]"#, ""),
            (br#""key":null,"headers":null"#, "-"),
            (br#""topic":"t""#, "-"),
            (br#""headers":["\ud83d\ude00",",]\"" ]"#, "- \u{1f600}=,]\""),
            // Another form than kcat's is passed over.
            (br#""key":5,"headers":{"k":"v"}"#, "-"),
            (br#""key":["x"],"headers":["k"]"#, "-"),
            (br#""headers":["k",["v"]]"#, "-"),
            (br#""headers":["k",7]"#, "-"),
            (b"\"key\":\"\xff\",\"headers\":[\"k\",\"\xfe\"]", "\u{fffd} k=\u{fffd}"),
        ];
        let mut envelopes = Envelopes::default();
        for (fields, expected) in cases {
            let begin = br#"{"partition":0,"offset":0,"payload":"p","#.as_slice();
            let line = [begin, fields, b"}"].concat();
            for size in 0..line.len() + 1 {
                let pieces: Vec<_> = match size {
                    0 => vec![Line::Whole(&line)],
                    _ => line.chunks(size).map(Line::Piece).chain([Line::End]).collect(),
                };
                let head = pieces.into_iter().find_map(|piece| envelopes.take(piece).unwrap());
                let head = head.expect("the line has an end");
                let raw = envelopes.raw(&head).unwrap();
                assert_eq!(says(&raw), *expected, "{} in {size}", line.escape_ascii());
                assert_eq!(raw.payload, Payload::Bytes(b"p"));
            }
        }
    }

    #[test]
    fn other_lines_are_refused_with_the_reason() {
        let long =
            format!(r#"{{"partition":0,"offset":0,"headers":[{}1],"payload":"x"}}"#, "1,".repeat(40_000));
        let cases: &[(&str, usize, &str)] = &[
            ("", 0, "EOF"),
            ("A002,R051", 0, "expected value"),
            ("[1]", 0, "invalid"),
            (r#"{"offset":0,"payload":"x"}"#, 0, "missing field `partition`"),
            (r#"{"partition":0,"offset":0}"#, 0, "missing field `payload`"),
            (r#"{"partition":-1,"offset":0,"payload":"x"}"#, 0, "-1"),
            (r#"{"partition":0,"offset":-1,"payload":"x"}"#, 0, "its offset is -1"),
            (r#"{"partition":0,"offset":9223372036854775806,"payload":"x"}"#, 0, "which no message has"),
            (r#"{"partition":0,"offset":9223372036854775807,"payload":"x"}"#, 0, "which no message has"),
            (r#"{"partition":0,"offset":9223372036854775808,"payload":"x"}"#, 0, "invalid value"),
            (r#"{"partition":0,"offset":1e3,"payload":"x"}"#, 0, "invalid type"),
            (r#"{"partition":0,"offset":1.0,"payload":"x"}"#, 3, "invalid type"),
            (r#"{"partition":2147483648,"offset":0,"payload":"x"}"#, 0, "which no topic has"),
            (r#"{"partition":4294967296,"offset":0,"payload":"x"}"#, 0, "invalid value"),
            (r#"{"partition":0,"offset":0,"ts":1.5,"payload":"x"}"#, 0, "its ts is no whole number"),
            (r#"{"partition":0,"offset":0,"ts":1e3,"payload":"x"}"#, 3, "its ts is no whole number"),
            (
                r#"{"partition":0,"offset":0,"ts":9223372036854775808,"payload":"x"}"#,
                0,
                "its ts is no whole number",
            ),
            (r#"{"partition":0,"offset":0,"ts":"5","payload":"x"}"#, 0, "its ts is no whole number"),
            (r#"{"partition":0,"offset":0,"payload":5}"#, 0, "neither a string nor null"),
            (r#"{"partition":0,"offset":0,"payload":5}"#, 3, "neither a string nor null"),
            (r#"{"partition":0,"offset":0,"payload":"x","payload":"y"}"#, 0, "duplicate field"),
            (r#"{"partition":0,"offset":0,"payload":"x","payload":"y"}"#, 3, "duplicate field"),
            (r#"{"partition":0,"offset":0,"payload":"\x"}"#, 0, "escape"),
            (r#"{"partition":0,"offset":0,"payload":"\x"}"#, 3, "escape"),
            (r#"{"partition":0,"offset":0,"\u0070ayload":"x"}"#, 3, "neither a string nor null"),
            (r#"{"partition":0,"offset":0,"payload":"x"#, 0, "EOF"),
            (&long, 1000, "more than 65536 bytes beside its strings"),
        ];
        for (line, size, why) in cases {
            let error = take(&mut Envelopes::default(), line.as_bytes(), *size).unwrap_err().to_string();
            assert!(error.contains(why), "{line} in {size}: {error}");
        }
    }

    #[test]
    fn payload_of_any_length_is_hashed_in_bounded_memory() {
        let mut envelopes = Envelopes::default();
        envelopes.take(Line::Piece(br#"{"key":""#)).unwrap();
        let (key, text) = ("k".repeat(1 << 16), "\\u0041".repeat(1 << 14));
        (0..64).for_each(|_| assert!(envelopes.take(Line::Piece(key.as_bytes())).unwrap().is_none()));
        envelopes.take(Line::Piece(br#"","partition":1,"offset":2,"payload":""#)).unwrap();
        for _ in 0..256 {
            assert!(envelopes.take(Line::Piece(text.as_bytes())).unwrap().is_none());
        }
        envelopes.take(Line::Piece(br#""}"#)).unwrap();
        let head = envelopes.take(Line::End).unwrap().unwrap();
        assert_eq!((head.partition.0, head.offset.0), (1, 2));
        assert!(matches!(head.text, Text::Decoded));
        let whole = vec![b'A'; 256 << 14];
        assert!(whole.len() > VALUE_BYTES_MAX);
        let raw = envelopes.raw(&head).unwrap();
        assert_eq!(raw.payload, Payload::of(Some(&whole)));
        assert_eq!(raw.key, None, "a part of a long key would pass for another one");
        assert!(envelopes.walk.rest.len() < 100, "only the fields remain");
    }

    #[test]
    fn first_line_tells_envelopes_from_raw_lines() {
        let is = |line: &str| Envelopes::default().is_envelope(Line::Whole(line.as_bytes()));
        assert_eq!(is(r#"{"offset":"x","payload":null}"#), Some(true));
        assert_eq!(is(r#"{"payload":null}"#), Some(false));
        assert_eq!(is(r#"["offset","payload"]"#), Some(false));
        assert_eq!(is("CA,UNIT"), Some(false));
        let mut envelopes = Envelopes::default();
        assert_eq!(envelopes.is_envelope(Line::Piece(br#"{"offset":1,"payload":"x"#)), None);
        assert_eq!(envelopes.is_envelope(Line::Piece(br#"y"}"#)), None);
        assert_eq!(envelopes.is_envelope(Line::End), Some(true));
    }

    proptest! {
        #[test]
        fn any_text_comes_back_however_it_is_escaped_and_cut(
            text in any::<String>(),
            ascii in any::<bool>(),
            size in 0_usize..40,
        ) {
            let escape = |unit: u16| format!("\\u{unit:04X}");
            let quoted = match ascii {
                true => format!("\"{}\"", text.encode_utf16().map(escape).collect::<String>()),
                false => serde_json::to_string(&text).unwrap(),
            };
            let line = format!(r#"{{"partition":3,"offset":9,"key":{quoted},"ts":4,"payload":{quoted}}}"#);
            let taken = take(&mut Envelopes::default(), line.as_bytes(), size);
            prop_assert_eq!(taken, Ok((Partition(3), Offset(9), Some(4), Some(text.into_bytes()))));
        }
    }
}
