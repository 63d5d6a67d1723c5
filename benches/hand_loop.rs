//! The turnstile job as one would write it by hand for one thread: the yardstick of `turnstile.rs`.
//!
//! It does the same work by the same rules (decode, refuse, stamp, late, repeats, sums, rows in order) and nothing
//! else: no epochs, no state that could be saved, no exchange. Fields are borrowed, a message costs one lookup of
//! its key and one of its identity, identities live in a set a minute of event time, sums in arrays. A message in
//! doubt (quotes inside, blanks around fields, a header, not ASCII) goes through the pipeline's own decoder, so that
//! the two agree on what a record is.

use crate::csv;
use chrono::NaiveDate;
use hashbrown::{HashSet, HashTable};
use headway::connect::memory::Message;
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::stream::aggregate::Summand;
use headway_operators::stream::decode::{Context, Decoded, Decoder as _, Definition};
use headway_operators::time::Epoch;
use headway_pipelines::turnstile::key::Key;
use headway_pipelines::turnstile::record::Decoder;
use headway_pipelines::zone::Zone;
use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const MINUTE_MS: i64 = 60_000;

/// How many messages are read from a partition before it is the next one's turn.
const SLICE: usize = 512;

/// What the loop is run with: tumbling windows, UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) window_ms: i64,
    pub(crate) lateness_ms: i64,
    pub(crate) max_ahead_ms: i64,
}

/// Reads `lists` to their end; gives the rows as CSV, a window after the other, and how many were refused.
pub(crate) fn run(options: Options, lists: &[Vec<Message>]) -> (Vec<u8>, usize) {
    let mut job = Loop::new(options);
    let mut parts = vec![Part { next: 0, own: i64::MIN }; lists.len()];
    loop {
        for (part, list) in parts.iter_mut().zip(lists) {
            let to = list.len().min(part.next + SLICE);
            for message in &list[part.next..to] {
                job.message(part, message);
            }
            part.next = to;
        }
        let open = parts.iter().zip(lists).filter(|(part, list)| part.next < list.len());
        match open.map(|(part, _)| part.own).min() {
            Some(watermark) => job.close(watermark),
            None => break,
        }
    }
    job.close(i64::MAX);
    (job.rows, job.refused.len())
}

#[derive(Clone, Debug)]
struct Part {
    next: usize,
    own: i64,
}

/// What a message says.
struct Reading {
    time: i64,
    key: u32,
    identity: Option<u128>,
    entries: i64,
    exits: i64,
}

struct Loop {
    options: Options,
    keys: Keys,
    days: Days,
    odd: Decoder,
    definitions: Vec<Definition<Key>>,
    /// Sums of each open window, by its end, then by key.
    windows: BTreeMap<i64, Vec<[i128; 2]>>,
    /// Identities of each minute that an open window holds.
    minutes: BTreeMap<i64, HashSet<u128, BuildHasherDefault<Own>>>,
    content: Vec<u8>,
    rows: Vec<u8>,
    /// What was dead or late, kept as the engine keeps it.
    refused: Vec<Option<Vec<u8>>>,
}

impl Loop {
    fn new(options: Options) -> Loop {
        Loop {
            options,
            keys: Keys::default(),
            days: Days { text: [0; 10], ms: 0 },
            odd: Decoder::new(Zone::utc()),
            definitions: Vec::new(),
            windows: BTreeMap::new(),
            minutes: BTreeMap::new(),
            content: Vec::new(),
            rows: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn message(&mut self, part: &mut Part, message: &Message) {
        let limit = message.timestamp_ms.map_or(i64::MAX, |ms| ms + self.options.max_ahead_ms);
        let reading = message.value.as_deref().and_then(|value| self.decode(value));
        let Some(reading) = reading.filter(|reading| reading.time <= limit) else {
            self.refused.push(message.value.clone());
            return;
        };
        let stamp = part.own;
        part.own = stamp.max(reading.time - self.options.lateness_ms);
        let end = (reading.time.div_euclid(self.options.window_ms) + 1) * self.options.window_ms;
        if end <= stamp {
            self.refused.push(message.value.clone());
            return;
        }
        if let Some(identity) = reading.identity {
            let minute = self.minutes.entry(reading.time.div_euclid(MINUTE_MS)).or_default();
            if !minute.insert(identity) {
                return;
            }
        }
        let sums = self.windows.entry(end).or_default();
        let key = reading.key as usize;
        if sums.len() <= key {
            // An entry that was never counted is told from a sum of zero by its sign.
            sums.resize(self.keys.rows.len(), [-1, -1]);
        }
        let [entries, exits] = sums[key].map(|sum| sum.max(0));
        sums[key] = [entries + i128::from(reading.entries), exits + i128::from(reading.exits)];
    }

    fn decode(&mut self, value: &[u8]) -> Option<Reading> {
        let Some(fields) = plain(value) else { return self.decode_odd(value) };
        let [ca, unit, scp, station, .., entries, exits, id, timestamp] = fields.each;
        if [ca, unit, scp, station].iter().any(|field| field.is_empty()) {
            return None;
        }
        let (entries, exits) = (count(entries)?, count(exits)?);
        let time = self.days.instant(timestamp)?;
        let key = self.keys.find(fields.prefix, fields.each[8]);
        let identity = (!id.is_empty()).then(|| {
            self.content.clear();
            self.content.extend_from_slice(id);
            for number in [i64::from(key), time, entries, exits] {
                self.content.extend_from_slice(&number.to_le_bytes());
            }
            xxh3_128(&self.content)
        });
        Some(Reading { time, key, identity, entries, exits })
    }

    /// A message in doubt, by all the rules. Copies of a message are equal to the byte here, so both come this way.
    fn decode_odd(&mut self, value: &[u8]) -> Option<Reading> {
        self.odd.begin(Epoch(0));
        self.definitions.clear();
        let raw = Raw::of(Partition(0), Offset(0), Payload::Bytes(value));
        let decoded = self.odd.decode(&raw, &Context::default(), &mut self.definitions).ok()?;
        let Decoded::Record(time, reading) = decoded else { return None };
        let [prefix @ .., desc] = self.definitions.first()?.key.columns();
        // A comma inside a field would make two keys look alike.
        let prefix = prefix.map(|field| field.replace(',', "\u{1f}"));
        let key = self.keys.find(prefix.join(",").as_bytes(), desc.as_bytes());
        let identity = reading.identity().map(|hash| (u128::from(hash.0[0]) << 64) | u128::from(hash.0[1]));
        Some(Reading { time: time.ms(), key, identity, entries: reading.entries, exits: reading.exits })
    }

    /// Gives the rows of every window that ends by `watermark`, ordered by key.
    fn close(&mut self, watermark: i64) {
        while let Some(entry) = self.windows.first_entry().filter(|entry| *entry.key() <= watermark) {
            let (end, sums) = entry.remove_entry();
            let at = chrono::DateTime::from_timestamp_millis(end).expect("a time of the input");
            let when = at.format("%m/%d/%Y,%H:%M:%S").to_string();
            let mut counted: Vec<usize> = (0..sums.len()).filter(|key| sums[*key][0] >= 0).collect();
            counted.sort_unstable_by(|a, b| self.keys.rows[*a].cmp(&self.keys.rows[*b]));
            for key in counted {
                let (prefix, desc) = &self.keys.rows[key];
                csv::parts(&mut self.rows, &[prefix, when.as_bytes(), desc]);
                csv::numbers(&mut self.rows, sums[key]);
            }
        }
        let minute_ends = |minute: i64| (minute + 1) * MINUTE_MS;
        let window_ms = self.options.window_ms;
        while let Some(entry) = self.minutes.first_entry() {
            let window_end = ((minute_ends(*entry.key()) - 1).div_euclid(window_ms) + 1) * window_ms;
            if window_end > watermark {
                break;
            }
            entry.remove();
        }
    }
}

/// The fields of a plain message, and the first six of them as they lie.
struct Fields<'a> {
    each: [&'a [u8]; 13],
    prefix: &'a [u8],
}

/// Cuts a message at its commas; `None` for one in doubt.
fn plain(value: &[u8]) -> Option<Fields<'_>> {
    let text = match value {
        [b'"', text @ .., b'"'] => text,
        text => text,
    };
    // Without an early end, so that many bytes are looked at in one step.
    let odd =
        text.iter().fold(false, |odd, b| odd | (*b < b' ') | (*b == b'"') | (*b == b'\\') | (*b >= 0x80));
    if odd {
        return None;
    }
    let (mut each, mut n, mut from, mut prefix) = ([&text[..0]; 13], 0, 0, &text[..0]);
    for comma in memchr::memchr_iter(b',', text).chain([text.len()]) {
        let field = &text[from..comma];
        if field.first() == Some(&b' ') || field.last() == Some(&b' ') {
            return None;
        }
        *each.get_mut(n)? = field;
        n += 1;
        if n == 6 {
            prefix = &text[..comma];
        }
        from = comma + 1;
    }
    (n == 13 && !is_header(each[0])).then_some(Fields { each, prefix })
}

/// True if a first field says that its line is a header.
fn is_header(first: &[u8]) -> bool {
    first.len() <= 3
        && ["CA", "C/A", "A/C", "AC"].iter().any(|name| first.eq_ignore_ascii_case(name.as_bytes()))
}

/// A whole number of 1 to 18 digits.
fn count(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| sum * 10 + i64::from(digit))
    })
}

/// The day of the last time stamp: most have the same one.
struct Days {
    text: [u8; 10],
    ms: i64,
}

impl Days {
    /// `YYYY-MM-DD HH:MM:SS` in UTC, in the years 1970 to 2999.
    fn instant(&mut self, text: &[u8]) -> Option<i64> {
        let text: &[u8; 19] = text.try_into().ok()?;
        let (date, clock) = (&text[..10], &text[10..]);
        if date != self.text {
            let text = std::str::from_utf8(date).ok()?;
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            let is_known = ("1970-01-01"..="2999-12-31").contains(&text);
            let start = day.and_hms_opt(0, 0, 0).filter(|_| is_known)?;
            self.ms = start.and_utc().timestamp_millis();
            self.text.copy_from_slice(date);
        }
        let &[b' ' | b'T', h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
        let two = |tens: u8, ones: u8| {
            let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
            (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
        };
        let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
        let is_clock = hour < 24 && minute < 60 && second < 60;
        is_clock.then_some(self.ms + ((hour * 60 + minute) * 60 + second) * 1000)
    }
}

/// Keys by number: the first six fields as they lie in a message, and DESC.
#[derive(Default)]
struct Keys {
    table: HashTable<u32>,
    rows: Vec<Row>,
}

type Row = (Box<[u8]>, Box<[u8]>);

impl Keys {
    fn find(&mut self, prefix: &[u8], desc: &[u8]) -> u32 {
        let hash = |prefix: &[u8], desc: &[u8]| xxh3_64(prefix) ^ desc.len() as u64;
        let rows = &self.rows;
        let is_it = |key: &u32| {
            let (known_prefix, known_desc) = &rows[*key as usize];
            **known_prefix == *prefix && **known_desc == *desc
        };
        let of_row = hash(prefix, desc);
        if let Some(key) = self.table.find(of_row, is_it) {
            return *key;
        }
        let key = u32::try_from(self.rows.len()).expect("no more keys than a u32 can number");
        self.rows.push((prefix.into(), desc.into()));
        let rows = &self.rows;
        self.table.insert_unique(of_row, key, |key| hash(&rows[*key as usize].0, &rows[*key as usize].1));
        key
    }
}

/// For content that is a hash already.
#[derive(Default)]
struct Own(u64);

impl Hasher for Own {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash << 8) | u64::from(*byte));
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}
