//! Messages of a few partitions, drawn from a seed, and how a job reads them.

use crate::draws::Draws;
use crate::memory::Reading;
use crate::messages::message;
use crate::twin::capture::{Message, Partitions};
use crate::twin::{COLUMNS, Options, usual_columns};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// A job and what it reads.
pub(crate) struct Drawn {
    pub(crate) options: Options,
    pub(crate) partitions: Partitions,
    pub(crate) reading: Reading,
}

/// Where, and a second since 1970 that is a short time before the clock changes there, or does not.
const PLACES: [(&str, i64); 7] = [
    ("UTC", 1_706_616_000),
    ("America/New_York", 1_710_048_600),
    ("America/New_York", 1_730_608_200),
    ("Europe/London", 1_711_843_800),
    ("Europe/London", 1_729_984_200),
    ("Australia/Lord_Howe", 1_712_410_800),
    ("Asia/Kathmandu", 1_735_661_700),
];

/// Lengths of windows in seconds. Nothing may depend on windows that divide an hour.
const WINDOWS_S: [i64; 11] = [1, 7, 45, 60, 61, 90, 180, 300, 600, 1800, 5400];

/// A job of which everything is drawn.
pub(crate) fn drawn(seed: u64) -> Drawn {
    let mut draws = Draws(seed);
    let window = draws.of(&WINDOWS_S);
    let slide = if draws.one_in(2) { window } else { between(&mut draws, (window + 5) / 6, window) };
    let lateness = draws.of(&[0, 1, 30, 100, window, window / 3, 2 * window]);
    let (options, start_s) = options(&mut draws, [window, slide, lateness]);
    let count = draws.of(&[200, 600]);
    let span_s = draws.of(&[4, 20, 60]) * (window + lateness + 10);
    let shares = Shares { repeats: draws.below(20), conflicts: 3, late: 3, broken: draws.below(8) };
    let partitions = Writer::new(&mut draws, &options, shares).write(count, start_s, span_s.min(36_000));
    Drawn { partitions, reading: reading(seed), options }
}

/// A job with many repeats, which come as late as their windows are open: that is what identities are kept for.
pub(crate) fn repeats(seed: u64) -> Drawn {
    let mut draws = Draws(seed);
    let window = draws.of(&[90, 150, 180, 300, 420]);
    // Beyond a minute and no multiple of one, where a record's windows differ within the minute.
    let slide = draws.of(&[61, 75, 90, window]).min(window);
    let lateness = between(&mut draws, 0, 2 * window);
    let (options, start_s) = options(&mut draws, [window, slide, lateness]);
    let shares = Shares { repeats: 50, conflicts: 2, late: 0, broken: 0 };
    let partitions = Writer::new(&mut draws, &options, shares).write(600, start_s, 10 * (window + lateness));
    Drawn { partitions, reading: reading(seed), options }
}

fn between(draws: &mut Draws, least: i64, most: i64) -> i64 {
    least + draws.below((most - least) as usize + 1) as i64
}

/// The options of a job with windows in seconds, and the second at which its messages begin.
fn options(draws: &mut Draws, [window_s, slide_s, lateness_s]: [i64; 3]) -> (Options, i64) {
    let (zone, start_s) = draws.of(&PLACES);
    let options = Options {
        window_ms: window_s * 1000,
        slide_ms: slide_s * 1000,
        lateness_ms: lateness_s * 1000,
        zone: zone.to_string(),
        max_ahead_ms: draws.of(&[60_000, 3_600_000]),
        not_after_ms: Some((start_s + 50_000) * 1000),
        floors: BTreeMap::new(),
        limits: BTreeMap::new(),
    };
    (options, start_s)
}

/// How messages are read: each run of epochs has its own length, so that epochs begin anywhere.
fn reading(seed: u64) -> Reading {
    let mut draws = Draws(seed ^ 0x7265_6164);
    let epoch = (0..20).map(|_| 1 + draws.below(40)).collect();
    Reading { workers: 1 + draws.below(3), epoch }
}

/// Parts of a hundred.
#[derive(Clone, Copy)]
struct Shares {
    repeats: usize,
    conflicts: usize,
    late: usize,
    broken: usize,
}

/// Writes records as messages.
struct Writer<'a> {
    draws: &'a mut Draws,
    options: &'a Options,
    shares: Shares,
    zone: TimeZone,
    partitions: Partitions,
    /// For each partition the columns of its lines, if it is a file with a header.
    columns: BTreeMap<u32, Vec<String>>,
    /// Records that were written, by the names of their columns.
    written: Vec<BTreeMap<&'static str, String>>,
}

impl<'a> Writer<'a> {
    fn new(draws: &'a mut Draws, options: &'a Options, shares: Shares) -> Writer<'a> {
        let zone = TimeZoneDatabase::bundled().get(&options.zone).expect("a known zone");
        let (partitions, columns) = (BTreeMap::new(), BTreeMap::new());
        Writer { draws, options, shares, zone, partitions, columns, written: Vec::new() }
    }

    /// Writes `count` messages that come within `span_s` seconds from `start_s` on.
    fn write(mut self, count: usize, start_s: i64, span_s: i64) -> Partitions {
        let partitions = 1 + self.draws.below(4) as u32;
        for partition in 0..partitions {
            self.partitions.insert(partition, Vec::new());
            if self.draws.one_in(3) {
                self.header(partition);
            }
        }
        for index in 0..count {
            let partition = self.draws.below(partitions as usize) as u32;
            let now_s = start_s + span_s * index as i64 / count as i64;
            let chance = self.draws.below(100);
            let Shares { repeats, conflicts, late, broken } = self.shares;
            if chance < broken {
                let value = Some(message(self.draws)).filter(|_| !self.draws.one_in(10));
                self.put(partition, value, now_s);
                continue;
            }
            let disorder_s =
                self.options.lateness_ms / 1000 + self.draws.of(&[1, 1, self.options.window_ms / 1000]);
            let mut age_s = between(self.draws, 0, disorder_s);
            age_s += if chance < broken + late { 3600 } else { 0 };
            let record = match (self.written.len(), self.draws.below(100)) {
                (1.., chance) if chance < repeats => self.earlier(),
                (1.., chance) if chance < repeats + conflicts => {
                    let counts = self.record(now_s - age_s);
                    let id = self.earlier().remove("ID").expect("every record has one");
                    BTreeMap::from_iter(counts.into_iter().chain([("ID", id)]))
                }
                _ => self.record(now_s - age_s),
            };
            let value = self.line(partition, &record);
            self.put(partition, Some(value), now_s);
            self.written.push(record);
        }
        self.partitions
    }

    /// Makes a partition a file with a header of its own order.
    fn header(&mut self, partition: u32) {
        let mut columns = usual_columns();
        for at in 1..columns.len() {
            let other = 1 + self.draws.below(columns.len() - 1);
            columns.swap(at, other);
        }
        let (offset, timestamp_ms, value) = (0, None, Some(columns.join(",").into_bytes()));
        let header = Message { offset, timestamp_ms, value, columns: columns.clone(), is_header: true };
        self.partitions.insert(partition, vec![header]);
        self.columns.insert(partition, columns);
    }

    /// One of the last records.
    fn earlier(&mut self) -> BTreeMap<&'static str, String> {
        let back = 1 + self.draws.below(self.written.len().min(150));
        self.written[self.written.len() - back].clone()
    }

    fn record(&mut self, second: i64) -> BTreeMap<&'static str, String> {
        let turnstile = self.draws.below(5);
        let texts = [
            format!("A{turnstile:03}"),
            format!("R{:03}", turnstile / 2),
            "02-00-00".to_string(),
            self.draws.of(&["59 ST", "59 ST", "ESPAÑA", "O'HARE, NORTH"]).to_string(),
            "NQR".to_string(),
            "BMT".to_string(),
            self.wall(second, "%m/%d/%Y"),
            self.wall(second, "%H:%M:%S"),
            "REGULAR".to_string(),
            self.draws.below(40).to_string(),
            if self.draws.one_in(50) { "999999999999999999" } else { "7" }.to_string(),
            if self.draws.one_in(20) { String::new() } else { format!("{:x}", self.draws.next()) },
            self.time(second),
        ];
        COLUMNS.into_iter().zip(texts).collect()
    }

    fn wall(&self, second: i64, format: &str) -> String {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        self.zone.to_datetime(at).strftime(format).to_string()
    }

    /// A time in one of its spellings.
    fn time(&mut self, second: i64) -> String {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        match self.draws.below(6) {
            0 => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            1 => (at + SignedDuration::from_mins(345)).strftime("%Y-%m-%d %H:%M:%S.000999+05:45").to_string(),
            2 => self.wall(second, "%Y-%m-%dT%H:%M:%S,25"),
            _ => self.wall(second, "%Y-%m-%d %H:%M:%S"),
        }
    }

    /// A record as a message of a partition.
    fn line(&mut self, partition: u32, record: &BTreeMap<&'static str, String>) -> Vec<u8> {
        let columns = self.columns.get(&partition).cloned().unwrap_or_else(usual_columns);
        let quoted = |cell: &String| if cell.contains(',') { format!("\"{cell}\"") } else { cell.clone() };
        let cells: Vec<String> = columns.iter().map(|name| quoted(&record[name.as_str()])).collect();
        let line = cells.join(",");
        if self.draws.one_in(2) {
            return serde_json::to_vec(&line).expect("text is JSON");
        }
        line.into_bytes()
    }

    fn put(&mut self, partition: u32, value: Option<Vec<u8>>, now_s: i64) {
        let is_file = self.columns.contains_key(&partition);
        let columns = self.columns.get(&partition).cloned().unwrap_or_else(usual_columns);
        let timestamp_ms = (!is_file && !self.draws.one_in(10)).then_some(now_s * 1000);
        let messages = self.partitions.get_mut(&partition).expect("a partition that was made");
        let gap = if is_file { 0 } else { i64::from(self.draws.one_in(10)) };
        let offset = messages.last().map_or(0, |last| last.offset + 1 + gap);
        messages.push(Message { offset, timestamp_ms, value, columns, is_header: false });
    }
}
