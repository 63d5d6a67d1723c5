//! One worker's reader of a topic: see [`crate::connect::kafka`].
//!
//! **Positions are ours**, never the client's. A partition rests by being unassigned, and is assigned again where we
//! stand: librdkafka's own pause resumes where *it* thinks we stand, which up to 2.12.1 is one message too far once it
//! has given a partition's end in a batch (confluentinc/librdkafka#4844).

use crate::connect::kafka::client::{assign, broken, number, partition, unassign, unusable};
use crate::connect::kafka::context::Context;
use crate::connect::kafka::leader_check::{LeaderCheck, RecentReads, Verdict, changes};
use crate::connect::kafka::native::{Fetched, Reader, high_watermark, remind_of_brokers};
use crate::connect::{End, Event, Heard, MESSAGE_BYTES_MIN, Polled, Source, error};
use headway_operators::record::{LastRead, Offset, Partition, Payload, Raw};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// After how long without a message, or an end, the client is given its first brokers again.
const REMIND: Duration = Duration::from_secs(10);

/// How long a transaction may hold a partition's end before it is worth a line in the log.
const STALLED_MAX: Duration = Duration::from_secs(30);

/// How often the watermark of a partition that was read to its end is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long to wait for an answer about a partition whose offset was refused, and how long until the next try.
const ASK: Duration = Duration::from_millis(500);

/// What the client says where a new leader does not have all that was read.
const TRUNCATED: &str = "truncation";

/// The error for a partition that no longer has all records that were read.
const LOST: &str = "of which records were lost that were read";

/// How often an offset that is there may be refused, with nothing read in between.
const REFUSALS_MAX: u32 = 20;

/// High watermarks of the partitions of a topic, as their readers saw them last.
pub(super) type Ends = Arc<Mutex<BTreeMap<Partition, End>>>;

/// What the leader of a partition answered when it was asked where that ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// The high watermark: what open transactions hold lies before it.
    pub(super) end: Offset,
    /// When that was first the answer, to every question since.
    pub(super) since: Instant,
    /// When it was asked last.
    pub(super) last: Instant,
}

/// The answers for the partitions of a topic.
pub(super) type Answers = Arc<Mutex<BTreeMap<Partition, Answer>>>;

/// What the readers of a topic have from its connector.
pub(super) struct Shared {
    pub(super) ends: Ends,
    pub(super) answers: Answers,
    /// The brokers to ask first, in the client's form.
    pub(super) brokers: CString,
    pub(super) leader_check: LeaderCheck,
    /// The last records that an earlier run has read.
    pub(super) earlier: BTreeMap<Partition, LastRead>,
}

/// A partition that is read.
struct Part {
    partition: Partition,
    /// The next offset.
    next: Offset,
    /// The last message, of this run or the one before.
    last: Option<LastRead>,
    recent: RecentReads,
    /// Where its end was seen, since the last message.
    end: Option<Offset>,
    /// That a broker says the same.
    heard: Option<Answer>,
    /// Since when its end was reported as held by a transaction; and it was said in the log.
    stalled: Option<(Instant, bool)>,
    /// When to ask why its offset was refused.
    refused: Option<Instant>,
    /// How often that was, since the last message.
    refusals: u32,
    /// Not read for now: not assigned to the client.
    rests: bool,
    /// Its leader is being asked for the last record before: it is not read before the answer, and not assigned either.
    asked: bool,
    /// The leader epoch of the next record, if the leader was asked about the records before it.
    next_leader: Option<i32>,
}

/// Reads the partitions of one worker.
pub(super) struct KafkaSource {
    reader: Reader<Context>,
    topic: String,
    name: CString,
    identity: String,
    parts: Vec<Part>,
    /// By partition: its place in `parts`.
    places: Vec<Option<usize>>,
    looked: Instant,
    shared: Shared,
    /// When something came last, or the client was told where its brokers are.
    heard: Instant,
    /// Some partition's offset was refused.
    in_doubt: bool,
    /// Why a partition that rested cannot be read again.
    failure: Option<error::Error>,
}

impl KafkaSource {
    /// A reader of `assigned`, of the topic of this name and identity.
    pub(super) fn new(
        consumer: BaseConsumer<Context>,
        topic: &str,
        identity: &str,
        assigned: &[(Partition, Offset)],
        shared: Shared,
    ) -> Result<KafkaSource, error::Error> {
        let name = CString::new(topic).map_err(|_| unusable(topic, "no such name"))?;
        let reader = Reader::new(consumer).map_err(|failed| unusable(topic, &failed.reason))?;
        let mut source = KafkaSource {
            reader,
            topic: topic.to_string(),
            name,
            identity: identity.to_string(),
            parts: Vec::new(),
            places: Vec::new(),
            looked: Instant::now(),
            shared,
            heard: Instant::now(),
            in_doubt: false,
            failure: None,
        };
        source.add(assigned)?;
        Ok(source)
    }

    fn add(&mut self, assigned: &[(Partition, Offset)]) -> Result<(), error::Error> {
        for (partition, next) in assigned.iter().copied() {
            let place = partition.index();
            if self.places.len() <= place {
                self.places.resize(place + 1, None);
            }
            self.places[place] = Some(self.parts.len());
            self.parts.push(Part {
                partition,
                next,
                last: self.shared.earlier.get(&partition).copied(),
                recent: RecentReads::default(),
                end: None,
                heard: None,
                stalled: None,
                refused: None,
                refusals: 0,
                rests: false,
                asked: false,
                next_leader: None,
            });
        }
        if assigned.is_empty() {
            return Ok(());
        }
        assign(self.reader.consumer(), &self.topic, assigned)
    }

    /// Takes what is not a message.
    fn event(
        &mut self,
        code: Code,
        (partition, offset): (i32, Offset),
        reason: &str,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), error::Error> {
        let place = place(&self.places, partition);
        match (code, place) {
            // It belongs to the time before the leader check began.
            (Code::PartitionEOF | Code::AutoOffsetReset, Some(place)) if self.parts[place].asked => Ok(()),
            (Code::PartitionEOF, Some(place)) => {
                self.heard = Instant::now();
                let high = high_watermark(self.reader.consumer().client(), &self.name, partition);
                let part = &mut self.parts[place];
                (part.end, part.heard) = (Some(offset), None);
                part.next = part.next.max(offset);
                if high.is_some_and(|high| high > offset) {
                    part.stall(each);
                } else {
                    part.stalled = None;
                    each(Event::CaughtUp(part.partition, offset));
                }
                Ok(())
            }
            // The log was cut: records that were read are gone, and later records may have their offsets. The client gives no
            // offset then.
            (Code::AutoOffsetReset, Some(place)) if offset < Offset(0) || reason.contains(TRUNCATED) => {
                Err(self.other(place, &format!("{LOST}: {reason}")))
            }
            // The client has stopped reading the partition.
            (Code::AutoOffsetReset, Some(place)) if !self.parts[place].rests => {
                self.parts[place].refused = Some(Instant::now());
                self.in_doubt = true;
                Ok(())
            }
            _ => broken(&self.topic, code, partition, offset, reason).map_or(Ok(()), Err),
        }
    }

    /// The error for a partition that does not have any more what was read of it: `found` says what shows it.
    fn other(&self, place: usize, found: &str) -> error::Error {
        let part = &self.parts[place];
        error::Error::OtherIdentity {
            input: self.topic.clone(),
            partition: part.partition,
            expected: format!("{} up to offset {}", self.identity, part.next),
            found: format!("{}, {found}", self.identity),
        }
    }

    /// Stops reading the partition at `place`, whose next record is `next`, until its leader has answered about the record before.
    fn ask_leader(&mut self, place: usize, last: LastRead, next: LastRead) -> Result<(), error::Error> {
        let part = &mut self.parts[place];
        (part.asked, part.next_leader) = (true, Some(next.leader_epoch));
        part.forget_end();
        let partition = part.partition;
        // Messages that were fetched before the pause may still arrive.
        if !part.rests {
            unassign(self.reader.consumer(), &self.topic, partition)?;
        }
        self.shared.leader_check.ask(partition, last, next)
    }

    /// Takes the answers of leaders: reads on the partitions that lost nothing, and refuses those that did. Call it when
    /// everything that was taken from the client was given: the rest would be skipped.
    fn take_verdicts(&mut self) -> Result<(), error::Error> {
        for (partition, verdict) in self.shared.leader_check.answers()? {
            let Some(place) = self.places.get(partition.index()).copied().flatten() else { continue };
            if let Verdict::Lost(read) = verdict {
                let found = format!("{LOST}: the one at offset {} is another one now, or none", read.offset);
                return Err(self.other(place, &found));
            }
            let part = &mut self.parts[place];
            part.asked = false;
            if !part.rests {
                assign(self.reader.consumer(), &self.topic, &[(partition, part.next)])?;
            }
        }
        Ok(())
    }

    /// Finds out why offsets were refused.
    fn ask(&mut self) -> Result<(), error::Error> {
        let now = Instant::now();
        for place in 0..self.parts.len() {
            if self.parts[place].refused.is_none_or(|when| when > now) {
                continue;
            }
            let partition = self.parts[place].partition;
            match self.reader.consumer().fetch_watermarks(&self.topic, number(partition), ASK) {
                Err(error) => {
                    tracing::debug!(%error, %partition, "could not ask where the partition begins");
                    self.parts[place].refused = Some(Instant::now() + ASK);
                }
                Ok((low, high)) => self.judge(place, Offset(low), Offset(high))?,
            }
        }
        self.in_doubt = self.parts.iter().any(|part| part.refused.is_some());
        Ok(())
    }

    /// What it means that the offset was refused, where the partition goes from `low` to `high`.
    fn judge(&mut self, place: usize, low: Offset, high: Offset) -> Result<(), error::Error> {
        let part = &mut self.parts[place];
        let (partition, next) = (part.partition, part.next);
        if next < low {
            let input = self.topic.clone();
            return Err(error::Error::RecordsGone { input, partition, from: next, to: low });
        }
        if next > high {
            return Err(self.other(place, &format!("which ends at offset {high}")));
        }
        // It is there now: a broker that had just become the leader did not know so yet.
        part.refused = None;
        part.refusals += 1;
        if part.refusals > REFUSALS_MAX {
            let why = format!("offset {next} of partition {partition} is refused, and lies in {low}..{high}");
            return Err(unusable(&self.topic, &why));
        }
        unassign(self.reader.consumer(), &self.topic, partition)?;
        assign(self.reader.consumer(), &self.topic, &[(partition, next)])
    }

    /// Tells the client where its brokers are, if nothing has come for long. One that only has nothing to read takes no
    /// harm.
    fn remind(&mut self) {
        if self.heard.elapsed() > REMIND {
            self.heard = Instant::now();
            remind_of_brokers(self.reader.consumer().client(), &self.shared.brokers);
        }
    }

    /// Notes where partitions end now, and reports those whose end a transaction holds that has opened since.
    fn look_at_ends(&mut self, each: &mut dyn FnMut(Event<'_>)) {
        if self.looked.elapsed() < LOOK_AGAIN {
            return;
        }
        self.looked = Instant::now();
        let mut ends = self.shared.ends.lock().expect("no thread panicked with this lock held");
        for part in self.parts.iter_mut() {
            let client = self.reader.consumer().client();
            let Some(high) = high_watermark(client, &self.name, number(part.partition)) else { continue };
            if part.stalled.is_none() && !part.rests && part.end.is_some_and(|end| high > end) {
                part.stall(each);
            }
            let (partition, stalled) = (part.partition, part.stalled.is_some());
            ends.insert(partition, End { stalled, ..End::at(partition, high) });
            part.warn_of_stall(&self.topic);
        }
        let answers = self.shared.answers.lock().expect("no thread panicked with this lock held");
        for part in self.parts.iter_mut() {
            let answer = answers.get(&part.partition).filter(|answer| part.end == Some(answer.end));
            part.heard = answer.copied().or(part.heard);
        }
    }
}

/// The place of the partition with the client's `number`.
fn place(places: &[Option<usize>], number: i32) -> Option<usize> {
    partition(number).and_then(|partition| places.get(partition.index()).copied().flatten())
}

impl Part {
    /// Forgets where its end was seen: it is not read for a while.
    fn forget_end(&mut self) {
        (self.end, self.heard, self.stalled, self.refused) = (None, None, None, None);
    }

    /// Reports that a transaction holds its end.
    fn stall(&mut self, each: &mut dyn FnMut(Event<'_>)) {
        self.stalled.get_or_insert((Instant::now(), false));
        each(Event::Stalled(self.partition, self.next));
    }

    /// Warns once if a transaction has held its end for long: nothing else in the log says why windows stay open.
    fn warn_of_stall(&mut self, topic: &str) {
        let (partition, offset) = (self.partition, self.next);
        let Some((since, said)) = self.stalled.as_mut().filter(|(_, said)| !said) else { return };
        if since.elapsed() > STALLED_MAX {
            *said = true;
            tracing::warn!(
                topic,
                %partition,
                %offset,
                "an open transaction holds the partition, and its windows"
            );
        }
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, error::Error> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.in_doubt {
            self.ask()?;
        }
        self.look_at_ends(each);
        let mut bytes = 0;
        let mut some = false;
        while bytes < bytes_max {
            if self.reader.is_spent() {
                self.take_verdicts()?;
            }
            match self.reader.next() {
                None => {
                    while self.reader.log() {}
                    if some {
                        self.heard = Instant::now();
                    }
                    self.remind();
                    return Ok(Polled::Nothing);
                }
                Some(Fetched::Message {
                    partition,
                    offset,
                    leader_epoch,
                    timestamp_ms,
                    key,
                    headers,
                    value,
                }) => {
                    let place = place(&self.places, partition);
                    let place = place.expect("a consumer gives only what it is assigned");
                    let part = &mut self.parts[place];
                    if part.asked || offset < part.next {
                        continue;
                    }
                    let read = LastRead { offset, leader_epoch };
                    if let Some(last) = part.last.filter(|last| changes(*last, read))
                        && part.next_leader != Some(leader_epoch)
                    {
                        self.ask_leader(place, last, read)?;
                        continue;
                    }
                    (part.next, part.last, part.next_leader) = (offset + 1, Some(read), None);
                    part.recent.read(read);
                    some = true;
                    (part.end, part.heard, part.stalled, part.refusals) = (None, None, None, 0);
                    let read = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                    bytes += read.max(MESSAGE_BYTES_MIN);
                    let (partition, payload) = (part.partition, Payload::of(value));
                    let raw = Raw { timestamp_ms, key, headers, ..Raw::of(partition, offset, payload) };
                    each(Event::Message(raw, read));
                }
                Some(Fetched::Event { code, partition, offset, reason }) => {
                    let reason = reason.to_string();
                    self.event(code, (partition, offset), &reason, each)?;
                }
            }
        }
        Ok(Polled::More)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), error::Error> {
        self.add(&[(partition, next)])
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        let Some(place) = self.places.get(partition.index()).copied().flatten() else { return };
        let (part, consumer) = (&mut self.parts[place], self.reader.consumer());
        if part.rests == paused {
            return;
        }
        if part.asked {
            part.rests = paused;
            return;
        }
        let done = match paused {
            true => unassign(consumer, &self.topic, partition),
            false => assign(consumer, &self.topic, &[(partition, part.next)]),
        };
        match done {
            // What was taken from the client before still comes; what comes again is passed over by its offset.
            Ok(()) => {
                part.rests = paused;
                part.forget_end();
            }
            // It goes on being read, which loses nothing.
            Err(error) if paused => tracing::warn!(%error, %partition, "could not let a partition rest"),
            Err(error) => self.failure = Some(error),
        }
    }

    fn heard(&self, partition: Partition) -> Option<Heard> {
        let place = self.places.get(partition.index()).copied().flatten()?;
        let Answer { since, last, .. } = self.parts[place].heard?;
        Some(Heard { since: since.elapsed(), last: last.elapsed() })
    }

    fn leader_epoch(&mut self, partition: Partition, offset: Offset) -> Option<i32> {
        let place = self.places.get(partition.index()).copied().flatten()?;
        self.parts[place].recent.leader_epoch(offset).filter(|epoch| *epoch >= 0)
    }
}
