//! What the music events cost: to generate them, to decode them and write Parquet, to keep the history of a million users.
//!
//! ```text
//! cargo bench --bench music [-- EVENTS]
//! ```
//!
//! Each part runs on one thread, in a process of its own: what one part frees and the allocator keeps would hide what the next one
//! needs. CPU time is that of the process, user and system. Memory is what the process holds more than before. The same run measures the obvious way beside it: only parsing the messages to `serde_json`'s values, and only
//! keeping each user's last level in a hash map. What was written is read back and counted.

#![allow(clippy::print_stdout, reason = "a measurement is told on stdout")]

mod figures;

use figures::{cpu_seconds, spread};
use headway::connect::formats::{csv_gz, encoder, parquet};
use headway_operators::generate::{Generate, Message, Options};
use headway_operators::keyed::{Fates, Keyed};
use headway_operators::progress::Tick;
use headway_operators::record::{Offset, Partition, Stamped};
use headway_operators::row::Cell;
use headway_operators::snapshots::Wanted;
use headway_operators::spec::{Format, OutputSpec};
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::scd2::{Event, Out, Scd2};
use headway_operators::view::text::Text;
use headway_pipelines::music::decode::Decoder;
use headway_pipelines::music::event::columns;
use headway_pipelines::music::generate::{Behaviour, Dictionary, Generator, World, options};
use headway_pipelines::music::topic::{Form, Topic};
use serde_json::Value;
use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

const EVENTS: u64 = 1_000_000;
const USERS: u32 = 1_000_000;
const TURNS: usize = 5;

/// The environment variable that names the part which a process is to run.
const PART: &str = "HEADWAY_BENCH_PART";

/// Plays in an epoch of histories.
const EPOCH: u64 = 20_000;

/// A part by its name: it takes a number of events.
type Part = (&'static str, fn(u64));

const PARTS: [Part; 4] = [
    ("generate", |events| generated(events, 10_000, TURNS)),
    ("generate-million", |events| generated(events, USERS, 1)),
    ("decode", |events| decode_and_write(events.min(500_000))),
    ("histories", |events| histories(events * 5)),
];

fn main() {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let events: u64 = asked.unwrap_or(EVENTS);
    if let Ok(name) = std::env::var(PART) {
        let (_, part) =
            PARTS.iter().find(|(known, _)| *known == name).expect("a part is asked for by its name");
        return part(events);
    }
    let program = std::env::current_exe().expect("a process knows its program");
    for (name, _) in PARTS {
        let part = Command::new(&program).arg(events.to_string()).env(PART, name).status();
        assert!(part.expect("the program starts").success(), "{name} failed");
    }
}

/// Makes messages of so many users, in turns.
fn generated(events: u64, users: u32, turns: usize) {
    println!("generate: {events} page views and what else they are, messages of all four topics written");
    let (mut rates, before, mut held) = (Vec::new(), rss_mib(), 0.0);
    for turn in 0..turns {
        let began = cpu_seconds();
        let (messages, now) = generate(events, users, turn as u64);
        rates.push(messages as f64 / (cpu_seconds() - began));
        held = f64::max(held, now - before);
    }
    println!("  {users} users: {} messages a second of a core, {held:.0} MiB", spread(&rates, 0));
}

/// The messages of a topic, one partition.
fn generator(events: u64, users: u32, seed: u64) -> [Generator; 4] {
    let asked = Options { messages: Some(events), keys: users, seed, ..options() };
    Generator::all(World::new(&asked, Behaviour::default(), Dictionary::default()))
}

/// Makes all messages; how many, and the memory held when the last one was made.
fn generate(events: u64, users: u32, seed: u64) -> (u64, f64) {
    let mut messages = 0;
    let generators = generator(events, users, seed);
    let mut message = Message::default();
    for generator in &generators {
        let end = generator.end(Partition(0)).expect("it ends");
        for offset in (0..end.0).map(Offset) {
            generator.message(Partition(0), offset, &mut message);
            messages += 1;
        }
    }
    (messages, rss_mib())
}

/// Decodes messages and writes their rows as Parquet, in files of 100,000 rows.
fn decode_and_write(events: u64) {
    println!("decode and write Parquet: {events} page views");
    let [_, generator, ..] = generator(events, 10_000, 1);
    let value = |offset| {
        let mut message = Message::default();
        generator.message(Partition(0), Offset(offset), &mut message);
        message.value.expect("all have a value")
    };
    let values: Vec<Vec<u8>> = (0..events as i64).map(value).collect();
    let decoder = Decoder { form: Form::Topics, topic: Topic::PageView, repairs: false };
    let spec = OutputSpec {
        name: "page_view_events".into(),
        prefix: "page_view_events".into(),
        stem: "events".into(),
        format: Format::Parquet,
        columns: columns(Form::Topics, Topic::PageView),
        folders: None,
    };
    let (mut parses, mut decodes, mut both, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..TURNS {
        let began = cpu_seconds();
        let parsed: i64 =
            values.iter().map(|value| ts(&serde_json::from_slice(value).expect("it is JSON"))).sum();
        parses.push(events as f64 / (cpu_seconds() - began));
        let mut written = Written::default();
        let began = cpu_seconds();
        let (mut decoding, mut not_ours) = (0.0, 0.0);
        bytes = 0;
        for part in values.chunks(100_000) {
            let began = cpu_seconds();
            let rows: Vec<_> = part.iter().map(|value| decoder.event(value).expect("all are good")).collect();
            decoding += cpu_seconds() - began;
            let mut file = Vec::new();
            let encoder = encoder(Format::Parquet, csv_gz::Options::default());
            encoder.write(&rows, &spec, &mut file).expect("a vector can be written to");
            bytes += file.len();
            let reading = cpu_seconds();
            written.read(file);
            not_ours += cpu_seconds() - reading;
        }
        assert_eq!(written, Written { rows: events, ts_ms: parsed }, "other rows were written than made");
        decodes.push(events as f64 / decoding);
        both.push(events as f64 / (cpu_seconds() - began - not_ours));
    }
    let ratio: Vec<f64> = decodes.iter().zip(&parses).map(|(decode, parse)| parse / decode).collect();
    println!("  decode alone: {} events a second of a core", spread(&decodes, 0));
    println!("  CPU, decode / serde_json to values: {}", spread(&ratio, 2));
    println!("  both: {} events a second of a core, {bytes} bytes of Parquet", spread(&both, 0));
}

/// The time of a message.
fn ts(message: &Value) -> i64 {
    message["ts"].as_i64().expect("each message has a time")
}

/// What files of rows have.
#[derive(Debug, Default, PartialEq)]
struct Written {
    rows: u64,
    /// All times added up.
    ts_ms: i64,
}

impl Written {
    fn read(&mut self, file: Vec<u8>) {
        let row = &mut |cells: &[Cell<'_>]| {
            let Cell::Time(time) = cells[0] else { panic!("the first column is the time") };
            self.rows += 1;
            self.ts_ms += time.ms();
        };
        parquet::read(file, row).expect("it is Parquet");
    }
}

/// Keeps the history of the level of a million users, a play each event, as events pass the watermark. Beside that: what it takes
/// to encode the state that each epoch changes.
fn histories(events: u64) {
    println!("histories: {events} plays of {USERS} users, in epochs of {EPOCH}");
    let before = rss_mib();
    let (mut operator, levels) =
        (Scd2::<i64, Text, u64>::new("Users", Epoch(0)), ["free", "paid"].map(Text::from));
    let (mut drawn, mut rows, mut facts, began) = (1_u64, 0_u64, 0_u64, cpu_seconds());
    let (mut out, mut encoding, mut bytes) = (Vec::new(), Duration::ZERO, 0);
    for epoch in 1..=events / EPOCH {
        let time = |n: u64| (epoch * EPOCH + n) as i64;
        let event = |n: u64| {
            let user = draw(&mut drawn);
            let level = levels[level(user, epoch)].clone();
            let data = Event { key: user as i64, value: level, fact: Some(n) };
            Stamped { time: EventTime(time(n)), stamp: EventTime(0), partition: Partition(0), data }
        };
        let mut batch: Vec<_> = (0..EPOCH).map(event).collect();
        operator.apply(Epoch(epoch), &mut batch, &mut Fates::default());
        // The watermark is an epoch behind, as with a lateness of a minute.
        let watermark = EventTime(time(0) - EPOCH as i64);
        let tick = Tick { watermark, wall_ms: epoch as i64, idle: false, ended: false, finishing: false };
        operator.close(Epoch(epoch), &tick, &mut out);
        rows += out.len() as u64;
        facts += out.iter().filter(|out| matches!(out, Out::Fact(_))).count() as u64;
        out.clear();
        let before = process_time();
        operator.snapshot(&Wanted::changes(), &mut |_, section| bytes += section.len());
        encoding += process_time().saturating_sub(before);
    }
    let encoding = encoding.as_secs_f64() * 1e9 / events as f64;
    let ns = (cpu_seconds() - began) * 1e9 / events as f64 - encoding;
    // The watermark has passed all epochs but the last two.
    assert_eq!(facts, (events / EPOCH).saturating_sub(2) * EPOCH, "each play is a fact once");
    println!("  {ns:.0} ns an event, {:.0} MiB held, {rows} facts and changes", rss_mib() - before);
    println!("  to encode changed state: {encoding:.0} ns an event, {} bytes", bytes as u64 / events.max(1));
    let by_map = levels_in_a_map(events / EPOCH * EPOCH);
    println!("  the last level of each user in a hash map: {by_map:.0} ns; {:.2} times as much", ns / by_map);
}

/// Nanoseconds of an event where only the last level of each user is kept.
fn levels_in_a_map(events: u64) -> f64 {
    let (mut users, mut drawn, began) = (HashMap::new(), 1, cpu_seconds());
    for n in 0..events {
        let user = draw(&mut drawn);
        users.insert(user, level(user, n / EPOCH));
    }
    let ns = (cpu_seconds() - began) * 1e9 / events as f64;
    assert!(events == 0 || !users.is_empty());
    ns
}

/// The next user.
fn draw(drawn: &mut u64) -> u64 {
    *drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*drawn >> 33) % u64::from(USERS)
}

/// The number of the level that a user has in an epoch: it changes now and then.
fn level(user: u64, epoch: u64) -> usize {
    usize::from((user + epoch / 100).is_multiple_of(10))
}

/// CPU time of this process so far, finer than [`cpu_seconds`]: for what lasts less than a tick.
fn process_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What the process holds of memory.
fn rss_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux tells what a process holds");
    let pages = status.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.expect("a number of pages") * 4096.0 / f64::from(1 << 20)
}
