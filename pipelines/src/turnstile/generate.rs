//! Seeded messages of the topic, in upstream's wire format: the embedded source, and `headway produce turnstile`.
//!
//! Message `n` of the whole stream is sent at `start_ms + n / rate`, and lies in partition `n % partitions` at offset
//! `n / partitions`. Everything drawn for it comes from a hash of the seed and `n`, so any message can be made
//! without those before it. What a turnstile is called, and where it stands, is a function of its number alone.

use crate::digits::number_to;
use crate::draws::Draws;
use crate::zone::{Wall, Zone};
use headway_operators::generate::{Generate, Message, Options};
use headway_operators::record::{Offset, Partition};
use headway_operators::time::EventTime;

/// Raised when the same options give other messages.
const VERSION: u32 = 1;

/// Control area, unit, station, lines and division of each booth, as the weekly file of 2024-01-06 has them.
const BOOTHS: &str = include_str!("booths.csv");

/// How far back a repeated message may lie, in messages of the whole stream.
const REPEAT_WITHIN: u64 = 2000;

/// How many repeats of repeats are followed. Above it a message is made anew.
const REPEATS_MAX: u32 = 64;

/// The last event time that messages can carry, 2999-12-31 23:59:59.
const LAST_MS: i64 = 32_503_679_999_000;

/// The options where nothing else is said: 200,000 messages, a little over three minutes of a busy morning.
pub fn options() -> Options {
    Options {
        seed: 7,
        messages: Some(200_000),
        partitions: 4,
        rate: 1000.0,
        disorder_s: 20.0,
        dup: 0.01,
        late: 0.002,
        bad: 0.001,
        keys: 4600,
        start_ms: 1_704_499_200_000,
    }
}

/// Makes the messages of one set of options.
#[derive(Clone, Debug)]
pub struct Generator {
    options: Options,
    booths: Vec<Booth>,
    zone: Zone,
}

/// Where turnstiles stand, as CSV.
#[derive(Clone, Copy, Debug)]
struct Booth {
    /// `CA,UNIT`
    area: &'static str,
    /// `STATION,LINENAME,DIVISION`
    station: &'static str,
}

impl Generator {
    /// A generator of `options`, whose messages tell the time by a clock on the wall of `zone`: in the hour that it
    /// shows twice, the second is taken for the first, as it is with real turnstiles. There is at least one partition
    /// and one key; a rate that is not a positive number is 1 a second.
    pub fn new(options: &Options, zone: Zone) -> Generator {
        let mut options = options.clone();
        options.partitions = options.partitions.max(1);
        options.keys = options.keys.max(1);
        if !(options.rate.is_finite() && options.rate > 0.0) {
            options.rate = 1.0;
        }
        let booth = |line: &'static str| {
            let second_comma = line.match_indices(',').nth(1).map(|(at, _)| at)?;
            Some(Booth { area: &line[..second_comma], station: &line[second_comma + 1..] })
        };
        Generator { options, booths: BOOTHS.lines().filter_map(booth).collect(), zone }
    }

    /// When message `n` of the whole stream is sent.
    fn sent_ms(&self, n: u64) -> i64 {
        let after = (n as f64 * 1000.0 / self.options.rate) as i64;
        self.options.start_ms.saturating_add(after).clamp(0, LAST_MS)
    }

    /// The message that message `n` repeats, or itself.
    fn original(&self, n: u64) -> u64 {
        let mut n = n;
        for _ in 0..REPEATS_MAX {
            let mut draws = Draws::new(!self.options.seed, n);
            if n == 0 || !draws.chance(self.options.dup) {
                break;
            }
            n -= 1 + draws.below(n.min(REPEAT_WITHIN));
        }
        n
    }

    /// Writes key and value of message `n`, which repeats none; false if the value is a tombstone.
    fn write(&self, n: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) -> bool {
        let mut draws = Draws::new(self.options.seed, n);
        let mut lag_s = draws.unit() * self.options.disorder_s;
        let (is_late, hours) = (draws.chance(self.options.late), draws.unit());
        if is_late {
            lag_s += 3600.0 * (1.0 + 2.0 * hours);
        }
        let is_bad = draws.chance(self.options.bad);
        let reading = Line {
            turnstile: draws.below(u64::from(self.options.keys)),
            entries: draws.below(40),
            exits: draws.below(40),
            happened_ms: self.sent_ms(n).saturating_sub((lag_s * 1000.0) as i64).clamp(0, LAST_MS),
        };
        uuid(draws.next(), draws.next(), key);
        value.push(b'"');
        self.line(&reading, key, value);
        value.push(b'"');
        !is_bad || spoil(draws.next(), value)
    }

    /// Writes one line of CSV.
    fn line(&self, reading: &Line, id: &[u8], out: &mut Vec<u8>) {
        let booths = self.booths.len() as u64;
        let (booth, number) = (reading.turnstile % booths, reading.turnstile / booths);
        let Booth { area, station } = self.booths[booth as usize];
        let wall = self.zone.wall(EventTime(reading.happened_ms));
        out.extend_from_slice(area.as_bytes());
        out.push(b',');
        join(&[booth % 3, number / 100, number % 100], b'-', out);
        out.push(b',');
        out.extend_from_slice(station.as_bytes());
        out.push(b',');
        let Wall { month, day, .. } = wall;
        let year = u64::from(wall.year.unsigned_abs());
        join(&[month.into(), day.into(), year % 100], b'-', out);
        out.push(b',');
        clock(&wall, out);
        let is_recovered = reading.turnstile % 97 == 96;
        out.extend_from_slice(if is_recovered { b",RECOVR AUD," } else { b",REGULAR," });
        number_to(reading.entries, 1, out);
        out.push(b',');
        number_to(reading.exits, 1, out);
        out.push(b',');
        out.extend_from_slice(id);
        out.push(b',');
        join(&[year, month.into(), day.into()], b'-', out);
        out.push(b' ');
        clock(&wall, out);
    }
}

impl Generate for Generator {
    fn identity(&self) -> String {
        let Options { seed, messages: _, partitions, rate, disorder_s, dup, late, bad, keys, start_ms } =
            &self.options;
        // How many there are does not shape them: a stream that goes on is the same stream.
        let zone = match self.zone.name() {
            "UTC" => String::new(),
            name => format!(" zone={name}"),
        };
        format!(
            "turnstile/{VERSION} seed={seed} partitions={partitions} rate={rate:?} disorder_s={disorder_s:?} \
             dup={dup:?} late={late:?} bad={bad:?} keys={keys} start_ms={start_ms}{zone}"
        )
    }

    fn partitions(&self) -> u32 {
        self.options.partitions
    }

    fn end(&self, partition: Partition) -> Option<Offset> {
        let partitions = u64::from(self.options.partitions);
        let before = self.options.messages?.saturating_sub(u64::from(partition.0));
        Some(Offset(i64::try_from(before.div_ceil(partitions)).unwrap_or(i64::MAX)))
    }

    fn message(&self, partition: Partition, offset: Offset, out: &mut Message) {
        let n = offset.0.unsigned_abs() * u64::from(self.options.partitions) + u64::from(partition.0);
        out.timestamp_ms = self.sent_ms(n);
        out.key.clear();
        let mut value = out.value.take().unwrap_or_default();
        value.clear();
        let has_value = self.write(self.original(n), &mut out.key, &mut value);
        out.value = has_value.then_some(value);
    }
}

/// What a line says.
struct Line {
    turnstile: u64,
    entries: u64,
    exits: u64,
    happened_ms: i64,
}

/// Writes a random UUID (version 4) of 122 drawn bits.
fn uuid(high: u64, low: u64, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    for (i, byte) in high.to_be_bytes().into_iter().chain(low.to_be_bytes()).enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Writes `HH:MM:SS`.
fn clock(wall: &Wall, out: &mut Vec<u8>) {
    join(&[wall.hour.into(), wall.minute.into(), wall.second.into()], b':', out);
}

/// Writes numbers of at least two digits with `between` them.
fn join(numbers: &[u64], between: u8, out: &mut Vec<u8>) {
    for (i, number) in numbers.iter().enumerate() {
        if i > 0 {
            out.push(between);
        }
        number_to(*number, 2, out);
    }
}

/// Breaks a good value in one of many ways; false if it becomes a tombstone.
fn spoil(draw: u64, value: &mut Vec<u8>) -> bool {
    const HEADER: &[u8] = b"CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS,ID,TIMESTAMP";
    match draw % 17 {
        0 => return false,
        1 => value.clear(),
        2 => *value = b"{}".to_vec(),
        3 => value.truncate(1),
        4 => value.truncate(value.len() / 2),
        // Fields too few, too many, or not parted.
        5 => drop(value.drain(field(value, 11).start..field(value, 12).start)),
        6 => drop(value.splice(1..1, *b"x,")),
        7 => value.iter_mut().filter(|byte| **byte == b',').for_each(|byte| *byte = b';'),
        // Fields that say nothing or nonsense.
        8 => drop(value.splice(field(value, 12), *b"2024-13-40 99:00:00")),
        9 => drop(value.splice(field(value, 12), [])),
        10 => drop(value.splice(field(value, 9), *b"-1")),
        11 => drop(value.splice(field(value, 3), [])),
        // Not text: a byte that UTF-8 has not, half of a surrogate pair.
        12 => value[1] = 0xff,
        13 => drop(value.splice(1..1, *br"\ud800")),
        // A header that lacks columns, one without a record, one with two.
        14 => drop(value.splice(1..1, *br"CA,UNIT,SCP\n")),
        15 => drop(value.splice(1..value.len() - 1, HEADER.iter().copied())),
        _ => {
            let line = value[1..value.len() - 1].to_vec();
            *value = [b"\"", HEADER, br"\n", &line, br"\n", &line, b"\""].concat();
        }
    }
    true
}

/// Where the field at `index` of a JSON-quoted value lies.
fn field(value: &[u8], index: usize) -> std::ops::Range<usize> {
    let commas: Vec<usize> = memchr::memchr_iter(b',', value).collect();
    let start = if index == 0 { 1 } else { commas[index - 1] + 1 };
    start..commas.get(index).copied().unwrap_or(value.len() - 1)
}
