//! Reads an input: decodes on borrowed bytes, stamps each record, refuses what is dead or late, marks each epoch.
//!
//! # Input
//! None: a source. Messages come from this worker's [`Feed`].
//! # Output
//! Records with their stamps, key definitions, marks, refused records (dead and late), acks.
//! # State
//! For each partition: own watermark, newest event time, floor, limit in the future, offsets and fates of the epoch.
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

use crate::ack::{Ack, InputIx, Limit, PartitionAck};
use crate::error::Reason;
use crate::late_by::LateBy;
use crate::port::{Cut, Feed, Intake, NotAfter, Start, Turn};
use crate::progress::Mark;
use crate::record::{Offset, Partition, Payload, Raw, Refused, Stamped};
use crate::rules::{Judged, RecordRule};
use crate::stream::decode::{Context, Decoded, Decoder, Definition};
use crate::stream::window::Lateness;
use crate::time::{Epoch, EventTime, Watermark};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
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
    /// The operator's name.
    pub name: String,
    /// The number of the input in its pipeline.
    pub input: InputIx,
    /// The epoch that the first records belong to.
    pub first_epoch: Epoch,
    /// Whether every record that is sent is counted as accepted here. Set until the dataflow is built: an operator that
    /// finds repeats may count in place of the source.
    pub counts_accepted: Rc<Cell<bool>>,
    /// Name of the input in refused rows.
    pub topic: String,
    /// How much disorder is waited for, in milliseconds.
    pub lateness_ms: i64,
    /// How far event time may be ahead of a message's time stamp, in milliseconds.
    pub max_ahead_ms: i64,
    /// The newest event time of messages without a time stamp.
    pub not_after: NotAfter,
    /// The rules that each record is judged by.
    pub rules: Arc<[RecordRule]>,
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
    decoder: D,
    lateness: L,
    make: impl FnOnce(SyncActivator) -> Box<dyn Feed>,
) -> Ingested<'s, D::Out, D::Key> {
    let mut builder = OperatorBuilder::new(options.name.clone(), scope);
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
        let mut bench = Bench::new(options, decoder, lateness);
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
                // 1. Let the feed do a bounded amount of work, and send the records that it handed over.
                let turn = feed.turn(&mut bench);
                let read = bench.records.len();
                records.session(&caps[0]).give_container(&mut bench.records);
                // The container was given away with its memory. The next turn needs about as much.
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
                acks.session(&caps[4]).give_iterator(bench.rules.acks().into_iter());
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
    rules: Judged,
    lateness: L,
    epoch: Epoch,
    /// What the wall clock showed before the first message of the epoch; `None` before that.
    wall_ms: Option<i64>,
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
    late_by: LateBy,
    filtered: u64,
    dead: Vec<(Reason, u64)>,
    sample: Option<Refused>,
    /// The newest limit by the clock that a record without a time stamp was measured against.
    limit: Option<EventTime>,
    /// That limit is the one of this epoch.
    is_limit_of_epoch: bool,
    /// The limit that began in this epoch.
    began: Option<Limit>,
}

impl Part {
    /// The limit of this epoch by the clock, for the record at `offset`. It never goes back.
    fn limit_by_clock(&mut self, now: EventTime, offset: Offset) -> EventTime {
        let limit =
            self.limit.map_or(now, |before| if self.is_limit_of_epoch { before } else { before.max(now) });
        if self.limit != Some(limit) {
            self.began = Some(Limit { from: offset, limit_ms: limit.ms() });
            self.limit = Some(limit);
        }
        self.is_limit_of_epoch = true;
        limit
    }
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
    fn new(options: Options, mut decoder: D, lateness: L) -> Self {
        let epoch = options.first_epoch;
        decoder.begin(epoch);
        let (records, definitions, refused) = (Vec::new(), Vec::new(), Vec::new());
        Bench {
            rules: Judged::new(Arc::clone(&options.rules)),
            options,
            decoder,
            lateness,
            epoch,
            wall_ms: None,
            parts: Vec::new(),
            last: 0,
            records,
            definitions,
            refused,
        }
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
        let limit = match (stamped, self.options.not_after) {
            (Some(ms), _) => Some(EventTime(ms).plus_ms(self.options.max_ahead_ms)),
            (None, NotAfter::Never) => None,
            (None, NotAfter::At(limit)) => Some(limit),
            (None, NotAfter::Clock) => {
                let wall_ms =
                    self.wall_ms.expect("a feed tells the time before the first message of an epoch");
                let now = EventTime(wall_ms).plus_ms(self.options.max_ahead_ms);
                Some(self.parts[at].limit_by_clock(now, raw.offset))
            }
        };
        match limit.filter(|limit| time > *limit) {
            None => self.judged(raw, decoded),
            Some(limit) => Err(Refusal { reason: Reason::FUTURE_EVENT_TIME, limit: Some(limit) }),
        }
    }

    /// The record that was `decoded` from `raw`, or why a rule refuses it.
    fn judged(&mut self, raw: &Raw<'_>, decoded: Decoded<D::Out>) -> Result<Decoded<D::Out>, Refusal> {
        let Decoded::Record(_, record) = &decoded else { return Ok(decoded) };
        if self.rules.is_idle() {
            return Ok(decoded);
        }
        let (decoder, topic) = (&mut self.decoder, &self.options.topic);
        let refused = self.rules.judge(|put| decoder.cells(raw, record, put), || Refused::of(topic, raw));
        refused.map_or(Ok(decoded), |reason| Err(reason.into()))
    }

    /// Notes a dead letter of partition `at`; returns the bytes it takes in memory.
    #[cold]
    fn refuse(&mut self, at: usize, raw: &Raw<'_>, Refusal { reason, limit }: Refusal) -> usize {
        let part = &mut self.parts[at];
        match part.dead.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => part.dead.push((reason.clone(), 1)),
        }
        let refused = Refused { reason: Some(reason), limit, ..Refused::of(&self.options.topic, raw) };
        part.sample.get_or_insert_with(|| refused.clone());
        let bytes = refused.memory();
        self.refused.push(refused);
        bytes
    }

    /// Ends the epoch: the marks and the ack of this worker's partitions.
    fn end(&mut self, cut: &Cut, last: bool) -> (Vec<Mark>, Ack) {
        let mut marks = Vec::with_capacity(cut.partitions.len());
        let mut partitions = Vec::with_capacity(cut.partitions.len());
        for position in &cut.partitions {
            let at = self.find(position.partition);
            let part = &mut self.parts[at];
            let quiet_since_ms = (part.consumed > 0).then_some(cut.wall_ms);
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
                late_by: std::mem::take(&mut part.late_by),
                filtered: std::mem::take(&mut part.filtered),
                dead: std::mem::take(&mut part.dead),
                sample: part.sample.take(),
                limit: part.began.take(),
                quiet_since_ms,
                content: position.content.clone(),
            });
            part.from = position.next;
            part.is_limit_of_epoch = false;
        }
        let (input, counts_accepted) = (self.options.input, self.options.counts_accepted.get());
        (marks, Ack::Source { input, began_ms: cut.began_ms, counts_accepted, partitions })
    }

    fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.wall_ms = None;
        self.decoder.begin(epoch);
    }
}

impl<D: Decoder, L: Lateness> Intake for Bench<D, L> {
    fn open(&mut self, start: Start) {
        let Start { partition, next, own, floor, limit } = start;
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
            late_by: LateBy::default(),
            filtered: 0,
            dead,
            sample,
            limit,
            is_limit_of_epoch: false,
            began: None,
        });
    }

    fn floor(&mut self, partition: Partition, floor: EventTime) {
        let at = self.find(partition);
        self.parts[at].floor = self.parts[at].floor.max(floor);
    }

    fn clock(&mut self, wall_ms: i64) {
        self.wall_ms = Some(wall_ms);
    }

    fn message(&mut self, raw: &Raw<'_>) -> usize {
        let at = self.find(raw.partition);
        self.last = at;
        self.parts[at].consumed += 1;
        let (time, data) = match self.decode(at, raw) {
            Ok(Decoded::Record(time, data)) => (time, data),
            Ok(Decoded::Filtered) => {
                self.parts[at].filtered += 1;
                return 0;
            }
            Err(refusal) => return self.refuse(at, raw, refusal),
        };
        let part = &mut self.parts[at];
        // The stamp is what the partition's watermark was just before this record; the record moves it after.
        let stamp = part.own.max(part.floor);
        part.own = part.own.max(time.minus_ms(self.options.lateness_ms));
        let newest = part.context.newest.unwrap_or(time);
        part.context.newest = Some(newest.max(time));
        if self.lateness.is_late(time, stamp) {
            part.late += 1;
            // Where only a floor made it late, no lateness would have kept it: it needed little.
            part.late_by.add(newest.ms().saturating_sub(time.ms()));
            let (event_time, stamp) = (Some(time), Some(stamp));
            let refused = Refused { event_time, stamp, ..Refused::of(&self.options.topic, raw) };
            let bytes = refused.memory();
            self.refused.push(refused);
            return bytes;
        }
        part.sent += 1;
        self.records.push(Stamped { time, stamp, partition: raw.partition, data });
        size_of::<Stamped<D::Out>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Position;

    /// Nothing is late.
    struct Never;

    impl Lateness for Never {
        fn is_late(&self, _time: EventTime, _stamp: Watermark) -> bool {
            false
        }
    }

    /// A message is its event time in milliseconds; an empty one is filtered.
    struct Numbers;

    impl Decoder for Numbers {
        type Out = i64;
        type Key = ();

        fn decode(
            &mut self,
            raw: &Raw<'_>,
            context: &Context,
            _definitions: &mut Vec<Definition<()>>,
        ) -> Result<Decoded<i64>, Reason> {
            let Payload::Bytes(value) = raw.payload else { return Err(Reason::NULL_VALUE) };
            if value.is_empty() {
                return Ok(Decoded::Filtered);
            }
            let time = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let time = time.ok_or(Reason::BAD_NUMBER)?;
            Ok(Decoded::Record(EventTime(time), context.newest.map_or(-1, EventTime::ms)))
        }
    }

    /// A bench in epoch 1 of partition 0, at offset 0, which may be 100 ms ahead and is 10 ms late.
    fn bench(not_after: NotAfter, start: Start) -> Bench<Numbers, Never> {
        let options = Options {
            name: "Ingest".to_string(),
            input: InputIx(0),
            first_epoch: Epoch(1),
            counts_accepted: Rc::default(),
            topic: "t".to_string(),
            lateness_ms: 10,
            max_ahead_ms: 100,
            not_after,
            rules: Arc::default(),
        };
        let mut bench = Bench::new(options, Numbers, Never);
        bench.open(start);
        bench
    }

    /// Takes the next message of partition 0.
    fn take(bench: &mut Bench<Numbers, Never>, timestamp_ms: Option<i64>, value: &str) {
        let part = &bench.parts[0];
        let offset = part.from + part.consumed.cast_signed();
        let raw = Raw::of(Partition(0), offset, Payload::Bytes(value.as_bytes()));
        bench.message(&Raw { timestamp_ms, ..raw });
    }

    /// Ends the epoch, and gives what it says of partition 0.
    fn end(bench: &mut Bench<Numbers, Never>) -> PartitionAck {
        let part = &bench.parts[0];
        let next = part.from + part.consumed.cast_signed();
        let position = Position {
            partition: Partition(0),
            next,
            last_read: None,
            idle_ms: None,
            joining: false,
            ended: false,
            backlog: true,
            content: None,
        };
        let (_, ack) = bench.end(&Cut { wall_ms: 0, began_ms: 0, partitions: vec![position] }, false);
        bench.begin(bench.epoch + 1);
        let Ack::Source { mut partitions, .. } = ack else { panic!("it is the source's") };
        partitions.remove(0)
    }

    #[test]
    fn limit_follows_the_clock_from_epoch_to_epoch_and_never_goes_back() {
        let limit = Some(EventTime(450));
        let mut bench = bench(NotAfter::Clock, Start { limit, ..Start::first(Partition(0), Offset(20)) });
        /// What the clock shows, the time stamps and values of the messages, and the limit that begins.
        struct Step<'a> {
            wall_ms: i64,
            messages: &'a [(Option<i64>, &'a str)],
            began: Option<Limit>,
        }
        let step = |wall_ms, messages, began| Step { wall_ms, messages, began };
        let limit = |from, limit_ms| Some(Limit { from: Offset(from), limit_ms });
        let steps = [
            // As an earlier run had it: the clock is behind.
            step(300, &[(None, "450"), (None, "451")], None),
            // Only records without a time stamp are measured against it, from the first one on.
            step(
                500,
                &[(Some(700), "800"), (None, "x"), (None, "600"), (None, "601"), (Some(-1), "601")],
                limit(24, 600),
            ),
            step(700, &[(Some(700), "801")], None),
            step(900, &[(None, ""), (None, "1000")], limit(29, 1000)),
            step(800, &[(None, "1000"), (None, "1001")], None),
        ];
        for Step { wall_ms, messages, began } in steps {
            bench.clock(wall_ms);
            messages.iter().for_each(|(timestamp_ms, value)| take(&mut bench, *timestamp_ms, value));
            assert_eq!(end(&mut bench).limit, began, "at {wall_ms}");
        }
        let dead: Vec<_> =
            bench.refused.iter().map(|one| (one.offset.0, one.limit.map(EventTime::ms))).collect();
        let dead_wanted = [
            (21, Some(450)),
            (23, None),
            (25, Some(600)),
            (26, Some(600)),
            (27, Some(800)),
            (31, Some(1000)),
        ];
        assert_eq!(dead, dead_wanted);
        let sent: Vec<_> = bench.records.iter().map(|record| record.time.ms()).collect();
        assert_eq!(sent, [450, 800, 600, 1000, 1000]);
    }

    #[test]
    fn fixed_limit_is_no_news_and_may_be_none() {
        for (not_after, limit) in [(NotAfter::Never, None), (NotAfter::At(EventTime(5)), Some(5))] {
            let mut bench = bench(
                not_after,
                Start { limit: Some(EventTime(1)), ..Start::first(Partition(0), Offset(0)) },
            );
            take(&mut bench, None, "5");
            take(&mut bench, None, "6");
            assert_eq!(end(&mut bench).limit, None);
            let found: Vec<_> = bench.refused.iter().map(|one| one.limit.map(EventTime::ms)).collect();
            assert_eq!(found, limit.map(Some).into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn newest_event_time_is_that_of_records_alone_also_after_a_restart() {
        // Where an earlier run had decoded 30.
        let mut bench = bench(
            NotAfter::At(EventTime(90)),
            Start { own: EventTime(20), ..Start::first(Partition(0), Offset(0)) },
        );
        for value in ["25", "91", "", "x", "40", "35"] {
            take(&mut bench, None, value);
        }
        let seen: Vec<_> = bench.records.iter().map(|record| (record.time.ms(), record.data)).collect();
        assert_eq!(seen, [(25, 30), (40, 30), (35, 40)], "each with the newest before it");
        let ack = end(&mut bench);
        assert_eq!((ack.consumed, ack.sent, ack.filtered, ack.own), (6, 3, 1, EventTime(30)));
        assert_eq!(ack.dead, [(Reason::FUTURE_EVENT_TIME, 1), (Reason::BAD_NUMBER, 1)]);
    }
}
