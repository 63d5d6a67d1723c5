//! Reads an input: decodes on borrowed bytes, stamps each record, refuses what is dead or late, marks each epoch.
//!
//! # Input
//! None: a source. Messages come from this worker's [`Feed`].
//! # Output
//! Records with their stamps, key definitions, marks, refused records (dead and late), acks.
//! # State
//! For each partition: own watermark, newest event time, floor, offsets and fates of the epoch.
//! # Progress
//! Holds the capability of the current epoch; downgrades when the feed cuts, drops when it finishes.
//! # Late and bad data
//! A record is late by the window kind's rule against its own partition's effective watermark just before it. Dead
//! letters and filtered messages move no watermark. Late and dead ones leave with their bytes; filtered ones are counted.
//! # Restart
//! The feed opens each partition at the offset, own watermark and floor of the manifest. The newest event time is the
//! own watermark and the lateness.
//! # Cost
//! One decode a message; no allocation on the good path beyond the batch.

use crate::ack::{Ack, InputIx, PartitionAck};
use crate::error::Reason;
use crate::port::{Cut, Feed, Intake, Start, Turn};
use crate::progress::Mark;
use crate::record::{Offset, Partition, Payload, Raw, Refused, Stamped};
use crate::stream::decode::{Context, Decoded, Decoder, Definition};
use crate::stream::window::Lateness;
use crate::time::{Epoch, EventTime, Watermark};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

/// How many turns of the feed one activation may take before it yields.
const TURNS_MAX: usize = 8;

/// What an input's records are measured against.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number of the input in its pipeline.
    pub input: InputIx,
    /// Whether every record that is sent is counted as accepted here. Set until the dataflow is built: an operator that
    /// finds repeats may count in place of the source.
    pub counts_accepted: Rc<Cell<bool>>,
    /// Name of the input in refused rows.
    pub topic: String,
    /// How much disorder is waited for, in milliseconds.
    pub lateness_ms: i64,
    /// How far event time may be ahead of a message's time stamp, in milliseconds.
    pub max_ahead_ms: i64,
    /// The newest event time of messages without a time stamp; `None` is no limit.
    pub not_after: Option<EventTime>,
}

/// What comes out of an input on one worker.
pub struct Ingested<'s, R: Clone + 'static, K: Clone + 'static> {
    /// Records that were accepted so far.
    pub records: StreamVec<'s, Epoch, Stamped<R>>,
    /// Keys of the epoch's records, by value.
    pub definitions: StreamVec<'s, Epoch, Definition<K>>,
    /// The marks of this worker's partitions.
    pub marks: StreamVec<'s, Epoch, Mark>,
    /// Dead letters (with a reason) and late records (without).
    pub refused: StreamVec<'s, Epoch, Refused>,
    /// What the committer must know.
    pub acks: StreamVec<'s, Epoch, Ack>,
}

/// Reads messages from the feed that `make` gives.
pub fn ingest<'s, D: Decoder, L: Lateness>(
    scope: Scope<'s, Epoch>,
    options: Options,
    (decoder, lateness): (D, L),
    make: impl FnOnce(SyncActivator) -> Box<dyn Feed>,
) -> Ingested<'s, D::Out, D::Key> {
    let mut builder = OperatorBuilder::new("Ingest".into(), scope);
    let (records, record_stream) = builder.new_output();
    let mut records = OutputBuilder::<_, CapacityContainerBuilder<Vec<Stamped<D::Out>>>>::from(records);
    let (definitions, definition_stream) = builder.new_output();
    let mut definitions =
        OutputBuilder::<_, CapacityContainerBuilder<Vec<Definition<D::Key>>>>::from(definitions);
    let (marks, mark_stream) = builder.new_output();
    let mut marks = OutputBuilder::<_, CapacityContainerBuilder<Vec<Mark>>>::from(marks);
    let (refused, refused_stream) = builder.new_output();
    let mut refused = OutputBuilder::<_, CapacityContainerBuilder<Vec<Refused>>>::from(refused);
    let (acks, ack_stream) = builder.new_output();
    let mut acks = OutputBuilder::<_, CapacityContainerBuilder<Vec<Ack>>>::from(acks);

    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    let mut feed = make(scope.worker().sync_activator_for(address.to_vec()));
    builder.build(move |mut caps: Vec<Capability<Epoch>>| {
        let mut bench = Bench::new(options, decoder, lateness, feed.first_epoch());
        for cap in &mut caps {
            cap.downgrade(&bench.epoch);
        }
        move |_frontiers| {
            if caps.is_empty() {
                return;
            }
            let (mut records, mut definitions) = (records.activate(), definitions.activate());
            let (mut marks, mut refused, mut acks) = (marks.activate(), refused.activate(), acks.activate());
            let mut wait = Some(Duration::ZERO);
            for _ in 0..TURNS_MAX {
                // 1. Let the feed do a bounded amount of work, and give on what it handed over.
                let turn = feed.turn(&mut bench);
                let read = bench.records.len();
                records.session(&caps[0]).give_container(&mut bench.records);
                // What was given is gone, its memory too; the next turn will need about as much.
                bench.records.reserve(read);
                definitions.session(&caps[1]).give_container(&mut bench.definitions);
                refused.session(&caps[3]).give_container(&mut bench.refused);
                // 2. End the epoch where the feed says so: marks and acks first, then the capability.
                let (cut, next) = match turn {
                    Turn::More => continue,
                    Turn::Wait(time) => {
                        wait = Some(time);
                        break;
                    }
                    Turn::Cut(cut, next) => (cut, Some(next)),
                    Turn::Finish(cut) => (cut, None),
                };
                let (epoch_marks, ack) = bench.end(&cut, next.is_none());
                marks.session(&caps[2]).give_iterator(epoch_marks.into_iter());
                acks.session(&caps[4]).give(ack);
                let Some(next) = next else {
                    caps.clear();
                    wait = None;
                    break;
                };
                bench.begin(next);
                caps.iter_mut().for_each(|cap| cap.downgrade(&next));
            }
            // 3. Ask to be run again.
            if let Some(time) = wait {
                activator.activate_after(time);
            }
        }
    });
    Ingested {
        records: record_stream,
        definitions: definition_stream,
        marks: mark_stream,
        refused: refused_stream,
        acks: ack_stream,
    }
}

/// Where messages are judged: the pure part of the operator.
struct Bench<D: Decoder, L> {
    options: Options,
    decoder: D,
    lateness: L,
    epoch: Epoch,
    parts: Vec<Part>,
    /// Index into `parts` of the partition of the last message: most messages follow one of their own.
    last: usize,
    records: Vec<Stamped<D::Out>>,
    definitions: Vec<Definition<D::Key>>,
    refused: Vec<Refused>,
}

/// A partition in the current epoch.
struct Part {
    partition: Partition,
    own: Watermark,
    floor: Watermark,
    /// What the decoder knows of it.
    context: Context,
    from: Offset,
    consumed: u64,
    sent: u64,
    late: u64,
    filtered: u64,
    dead: Vec<(Reason, u64)>,
    sample: Option<Refused>,
}

/// Why a message is a dead letter.
struct Refusal {
    reason: Reason,
    /// The newest event time that was allowed, where that is the reason.
    limit: Option<EventTime>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal { reason, limit: None }
    }
}

impl<D: Decoder, L: Lateness> Bench<D, L> {
    fn new(options: Options, mut decoder: D, lateness: L, epoch: Epoch) -> Self {
        decoder.begin(epoch);
        let (records, definitions, refused) = (Vec::new(), Vec::new(), Vec::new());
        Bench { options, decoder, lateness, epoch, parts: Vec::new(), last: 0, records, definitions, refused }
    }

    /// Index of an open partition.
    fn find(&self, partition: Partition) -> usize {
        if self.parts.get(self.last).is_some_and(|part| part.partition == partition) {
            return self.last;
        }
        let found = self.parts.iter().position(|part| part.partition == partition);
        found.unwrap_or_else(|| panic!("a message of partition {partition}, which was never opened"))
    }

    /// What a message of partition `at` says, or why it says nothing.
    fn decode(&mut self, at: usize, raw: &Raw<'_>) -> Result<Decoded<D::Out>, Refusal> {
        match raw.payload {
            Payload::Header => return Ok(Decoded::Filtered),
            Payload::TooLong { .. } => return Err(Reason::TOO_LONG.into()),
            Payload::Null | Payload::Bytes(_) => {}
        }
        let decoded = self.decoder.decode(raw, &self.parts[at].context, &mut self.definitions)?;
        let Decoded::Record(time, _) = decoded else { return Ok(decoded) };
        let stamped = raw.timestamp_ms.filter(|ms| *ms >= 0);
        let limit = match stamped {
            Some(ms) => Some(EventTime(ms).plus_ms(self.options.max_ahead_ms)),
            None => self.options.not_after,
        };
        match limit.filter(|limit| time > *limit) {
            None => Ok(decoded),
            Some(limit) => Err(Refusal { reason: Reason::FUTURE_EVENT_TIME, limit: Some(limit) }),
        }
    }

    /// Notes a dead letter of partition `at`.
    #[cold]
    fn refuse(&mut self, at: usize, raw: &Raw<'_>, Refusal { reason, limit }: Refusal) {
        let part = &mut self.parts[at];
        match part.dead.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => part.dead.push((reason.clone(), 1)),
        }
        let refused = Refused { reason: Some(reason), limit, ..Refused::of(&self.options.topic, raw) };
        part.sample.get_or_insert_with(|| refused.clone());
        self.refused.push(refused);
    }

    /// Ends the epoch: the marks and the ack of this worker's partitions.
    fn end(&mut self, cut: &Cut, last: bool) -> (Vec<Mark>, Ack) {
        let mut marks = Vec::with_capacity(cut.partitions.len());
        let mut partitions = Vec::with_capacity(cut.partitions.len());
        for position in &cut.partitions {
            let at = self.find(position.partition);
            let part = &mut self.parts[at];
            marks.push(Mark {
                partition: part.partition,
                own: part.own,
                next: position.next,
                idle_ms: position.idle_ms,
                joining: position.joining,
                ended: position.ended,
                last,
                backlog: position.backlog,
                wall_ms: cut.wall_ms,
            });
            partitions.push(PartitionAck {
                partition: part.partition,
                from: part.from,
                next: position.next,
                last_read: position.last_read,
                own: part.own,
                floor: part.floor,
                idle: position.idle_ms.is_some(),
                joining: position.joining,
                ended: position.ended,
                consumed: std::mem::take(&mut part.consumed),
                sent: std::mem::take(&mut part.sent),
                late: std::mem::take(&mut part.late),
                filtered: std::mem::take(&mut part.filtered),
                dead: std::mem::take(&mut part.dead),
                sample: part.sample.take(),
            });
            part.from = position.next;
        }
        let (input, counts_accepted) = (self.options.input, self.options.counts_accepted.get());
        (marks, Ack::Source { input, counts_accepted, partitions })
    }

    fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.decoder.begin(epoch);
    }
}

impl<D: Decoder, L: Lateness> Intake for Bench<D, L> {
    fn open(&mut self, start: Start) {
        let Start { partition, next, own, floor } = start;
        let newest = (own > EventTime::MIN).then(|| own.plus_ms(self.options.lateness_ms));
        let (dead, sample) = (Vec::new(), None);
        self.parts.push(Part {
            partition,
            own,
            floor,
            context: Context { newest },
            from: next,
            consumed: 0,
            sent: 0,
            late: 0,
            filtered: 0,
            dead,
            sample,
        });
    }

    fn floor(&mut self, partition: Partition, floor: EventTime) {
        let at = self.find(partition);
        self.parts[at].floor = self.parts[at].floor.max(floor);
    }

    fn message(&mut self, raw: &Raw<'_>) {
        let at = self.find(raw.partition);
        self.last = at;
        self.parts[at].consumed += 1;
        let (time, data) = match self.decode(at, raw) {
            Ok(Decoded::Record(time, data)) => (time, data),
            Ok(Decoded::Filtered) => return self.parts[at].filtered += 1,
            Err(refusal) => return self.refuse(at, raw, refusal),
        };
        let part = &mut self.parts[at];
        // The stamp is what the partition's watermark was just before this record; the record moves it after.
        let stamp = part.own.max(part.floor);
        part.own = part.own.max(time.minus_ms(self.options.lateness_ms));
        part.context.newest = part.context.newest.max(Some(time));
        if self.lateness.is_late(time, stamp) {
            part.late += 1;
            let (event_time, stamp) = (Some(time), Some(stamp));
            self.refused.push(Refused { event_time, stamp, ..Refused::of(&self.options.topic, raw) });
            return;
        }
        part.sent += 1;
        self.records.push(Stamped { time, stamp, partition: raw.partition, data });
    }
}
