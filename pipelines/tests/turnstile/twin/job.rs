//! Windows, lateness, repeats and sums over all messages.

use super::capture::{Message, Partitions};
use super::clock::Clock;
use super::message::{Read, Reading, read};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};

/// How the job runs; durations and times in milliseconds. Floors and limits hold from an offset of a partition on.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Options {
    pub(crate) window_ms: i64,
    pub(crate) slide_ms: i64,
    pub(crate) lateness_ms: i64,
    pub(crate) zone: String,
    pub(crate) max_ahead_ms: i64,
    /// The latest event time of messages without a time stamp.
    #[serde(default)]
    pub(crate) not_after_ms: Option<i64>,
    #[serde(default)]
    pub(crate) floors: BTreeMap<u32, Vec<(i64, i64)>>,
    #[serde(default)]
    pub(crate) limits: BTreeMap<u32, Vec<(i64, i64)>>,
}

/// What the job must make of the messages. Lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Answer {
    pub(crate) fates: Fates,
    /// The cells of each row.
    pub(crate) rows: Vec<Vec<String>>,
    /// Partition, offset, reason.
    pub(crate) dead: Vec<(u32, i64, String)>,
    /// Partition, offset, event time, watermark of the partition.
    pub(crate) late: Vec<(u32, i64, i64, i64)>,
}

/// How many records had which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Fates {
    pub(crate) consumed: u64,
    pub(crate) accepted: u64,
    pub(crate) duplicate: u64,
    pub(crate) late: u64,
    pub(crate) dead: u64,
    pub(crate) filtered: u64,
}

impl Fates {
    /// The same, where it does not count which of two equal records, in windows that overlap, was read first.
    pub(crate) fn in_any_order(self) -> Fates {
        Fates { accepted: self.accepted + self.duplicate, duplicate: 0, ..self }
    }
}

/// Sums and what was counted already, over all partitions.
struct Job<'a> {
    options: &'a Options,
    clock: Clock,
    answer: Answer,
    /// By the end of the window and the key.
    sums: BTreeMap<(i64, [String; 7]), [i128; 2]>,
    counted: HashSet<(i64, Reading)>,
}

/// Runs the job over all messages of each partition.
pub(crate) fn run(partitions: &Partitions, options: &Options) -> Answer {
    let answer = Answer::default();
    let clock = Clock::new(&options.zone);
    let mut job = Job { options, clock, answer, sums: BTreeMap::new(), counted: HashSet::new() };
    for (number, messages) in partitions {
        job.partition(*number, messages);
    }
    job.finish()
}

impl Job<'_> {
    fn partition(&mut self, number: u32, messages: &[Message]) {
        let steps = |all: &BTreeMap<u32, Vec<(i64, i64)>>| {
            let mut steps = all.get(&number).cloned().unwrap_or_default();
            steps.sort_unstable();
            steps
        };
        let (floors, limits) = (steps(&self.options.floors), steps(&self.options.limits));
        let mut newest = None;
        for message in messages {
            let fate = &mut self.answer.fates;
            fate.consumed += 1;
            if message.is_header {
                fate.filtered += 1;
                continue;
            }
            let reached = |steps: &[(i64, i64)]| {
                steps.iter().filter(|step| step.0 <= message.offset).map(|step| step.1).collect::<Vec<_>>()
            };
            let not_after = reached(&limits).last().copied().or(self.options.not_after_ms);
            let limit = match message.timestamp_ms {
                Some(ms) => Some(ms + self.options.max_ahead_ms),
                None => not_after,
            };
            let known = Read { clock: &self.clock, columns: &message.columns, newest, limit };
            let reading = match read(message.value.as_deref(), &known) {
                Ok(reading) => reading,
                Err(reason) => {
                    fate.dead += 1;
                    self.answer.dead.push((number, message.offset, reason.to_string()));
                    continue;
                }
            };
            let own = newest.map(|newest: i64| newest - self.options.lateness_ms);
            let watermark = own.into_iter().chain(reached(&floors)).max();
            newest = newest.max(Some(reading.time_ms));
            self.record(number, message.offset, reading, watermark);
        }
    }

    /// A record, and the watermark of its partition just before it.
    fn record(&mut self, partition: u32, offset: i64, reading: Reading, watermark: Option<i64>) {
        let Options { window_ms, slide_ms, .. } = *self.options;
        // Every window that could hold it, one after the other.
        let first = (reading.time_ms - window_ms).div_euclid(slide_ms);
        let last = reading.time_ms.div_euclid(slide_ms);
        let starts = (first..=last).map(|number| number * slide_ms);
        let holds = |start: &i64| *start <= reading.time_ms && reading.time_ms < start + window_ms;
        let ends = starts.filter(holds).map(|start| start + window_ms);
        let open: Vec<i64> = ends.filter(|end| watermark.is_none_or(|watermark| *end > watermark)).collect();
        if open.is_empty() {
            let watermark = watermark.expect("only a watermark closes windows");
            self.answer.fates.late += 1;
            self.answer.late.push((partition, offset, reading.time_ms, watermark));
            return;
        }
        let mut is_new = false;
        for end in open {
            if reading.id.is_empty() || self.counted.insert((end, reading.clone())) {
                is_new = true;
                let sum = self.sums.entry((end, reading.key.clone())).or_default();
                sum[0] += i128::from(reading.entries);
                sum[1] += i128::from(reading.exits);
            }
        }
        let fate = &mut self.answer.fates;
        *(if is_new { &mut fate.accepted } else { &mut fate.duplicate }) += 1;
    }

    fn finish(mut self) -> Answer {
        for ((end, [ca, unit, scp, station, line, division, desc]), [entries, exits]) in self.sums {
            let (date, time) = self.clock.date_and_time(end);
            let (entries, exits) = (entries.to_string(), exits.to_string());
            let row = [ca, unit, scp, station, line, division, date, time, desc, entries, exits];
            self.answer.rows.push(row.to_vec());
        }
        self.answer.rows.sort_unstable();
        self.answer.dead.sort_unstable();
        self.answer.late.sort_unstable();
        self.answer
    }
}
