//! What we need of librdkafka that its Rust wrapper does not offer, behind functions that cannot be misused.
//!
//! Four things: messages a batch at a time, with partition and offset of errors and ends too (the wrapper drops
//! them, and takes twice as long); the id of a topic; the high watermark that came with the last fetch; and brokers
//! that are told to a client again.
//!
//! This is the only file of the workspace with `unsafe` in it. What it relies on, and each call says which:
//! 1. *Handle*: a [`Client`] or [`BaseConsumer`] keeps its native handle alive for as long as it is borrowed.
//! 2. *Owned*: what a `_new`, `_copy`, `consume` or `poll` function gives is ours until we destroy it, once. A [`Guard`]
//!    does, or [`Reader`] for its messages, before the consumer they came from is dropped.
//! 3. *Borrowed*: what is reached through an event or a message lives until that is destroyed; it is copied, or its
//!    lifetime is tied to the borrow of the owner.
//! 4. *Thread safety*: librdkafka's handles, queues and messages may be used from any thread; a queue's messages are
//!    taken by one at a time here, since [`Reader::next`] wants `&mut`.
#![allow(unsafe_code)]

use headway_operators::record::{Header, HeaderList, Headers, Offset};
use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};
use std::time::Duration;

const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

/// How many messages are taken from the client at once.
const BATCH: usize = 256;

/// What a consumer gives.
#[derive(Debug)]
pub(super) enum Fetched<'a> {
    /// A message.
    Message {
        /// The partition it came from.
        partition: i32,
        /// Its position there.
        offset: Offset,
        /// The leader epoch in which it was taken; -1 in formats that do not have it.
        leader_epoch: i32,
        /// Its time stamp in milliseconds; `None` where absent or negative.
        timestamp_ms: Option<i64>,
        /// Its key; `None` if it has none.
        key: Option<&'a [u8]>,
        /// Its headers, which the client parses when they are asked for.
        headers: Headers<'a>,
        /// Its value; `None` is a tombstone.
        value: Option<&'a [u8]>,
    },
    /// Something else happened, to a partition or (partition -1) to the consumer.
    Event {
        /// What.
        code: RDKafkaErrorCode,
        /// Where.
        partition: i32,
        /// At which offset, where that has a meaning.
        offset: Offset,
        /// The client's words for it.
        reason: &'a str,
    },
}

/// A consumer, and the messages that were taken from it.
pub(super) struct Reader<C: ConsumerContext> {
    /// Owned messages: `taken[at..]`, each not null. Those before `at` are destroyed.
    taken: Vec<Taken>,
    at: usize,
    /// The message at `at` was given.
    given: bool,
    queue: Guard<native::rd_kafka_queue_t>,
    /// Where the client's log goes: from its own queue it would go to standard error.
    log: Guard<native::rd_kafka_queue_t>,
    /// Dropped last, after [`Reader::drop`] has given back the messages, and the fields above the queues.
    consumer: BaseConsumer<C>,
}

impl<C: ConsumerContext> Reader<C> {
    /// A reader of what `consumer` is assigned to; fails if it has no group, and thus no queue.
    pub(super) fn new(consumer: BaseConsumer<C>) -> Result<Reader<C>, Failed> {
        let rk = consumer.client().native_ptr();
        // SAFETY: 1, 2. Both queues are references of our own. The client keeps one to the log's.
        let (queue, log) = unsafe {
            let queue = Guard::new(native::rd_kafka_queue_get_consumer(rk), native::rd_kafka_queue_destroy)?;
            let log = Guard::new(native::rd_kafka_queue_new(rk), native::rd_kafka_queue_destroy)?;
            native::rd_kafka_set_log_queue(rk, log.get());
            (queue, log)
        };
        Ok(Reader { taken: Vec::with_capacity(BATCH), at: 0, given: false, queue, log, consumer })
    }

    /// The consumer.
    pub(super) fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// The next message or event; `None` if there is none now. Never waits.
    pub(super) fn next(&mut self) -> Option<Fetched<'_>> {
        // The message given before is not borrowed any more, since we are borrowed anew.
        if self.given {
            self.given = false;
            // SAFETY: 2. What is at `at` is ours, and not any more from here on.
            unsafe { native::rd_kafka_message_destroy(self.taken[self.at].0) };
            self.at += 1;
        }
        if self.at == self.taken.len() {
            self.take();
        }
        let message = self.taken.get(self.at)?;
        self.given = true;
        // SAFETY: 2, 3. The message is not null, and is destroyed by the next call at the earliest, which needs the
        // borrow that the result has of `self` to be over.
        Some(unsafe { look(message) })
    }

    /// Whether all that was taken from the client was given: what comes next was not taken yet.
    pub(super) fn is_spent(&self) -> bool {
        self.at + usize::from(self.given) == self.taken.len()
    }

    /// Gives the client's context the oldest line of its log that it was not given; false if there is none.
    pub(super) fn log(&mut self) -> bool {
        // SAFETY: 2. The event that comes is ours.
        let event = unsafe {
            let event = native::rd_kafka_queue_poll(self.log.get(), 0);
            Guard::new(event, native::rd_kafka_event_destroy)
        };
        let Ok(event) = event else { return false };
        let (mut facility, mut line, mut level) = (null(), null(), 0);
        // SAFETY: 3. The texts live as long as the event. An event that is no line of the log leaves them null.
        let (facility, line) = unsafe {
            native::rd_kafka_event_log(event.get(), &mut facility, &mut line, &mut level);
            (text(facility), text(line))
        };
        self.consumer.context().log(level_of(level), &facility, &line);
        true
    }

    /// Takes a batch. All messages of the batch before are destroyed.
    fn take(&mut self) {
        self.at = 0;
        self.taken.clear();
        let room = self.taken.spare_capacity_mut();
        // SAFETY: the client writes at most as many pointers as there is room for, and says how many. They are ours (2).
        // A `Taken` is nothing but such a pointer.
        let taken = unsafe {
            let room = (room.as_mut_ptr().cast(), room.len());
            native::rd_kafka_consume_batch_queue(self.queue.get(), 0, room.0, room.1)
        };
        // SAFETY: so many are written; -1, an error, is none.
        unsafe { self.taken.set_len(usize::try_from(taken).unwrap_or(0)) };
    }
}

impl<C: ConsumerContext> Drop for Reader<C> {
    fn drop(&mut self) {
        for message in &self.taken[self.at..] {
            // SAFETY: 2. They are ours, and no borrow of `self` is left.
            unsafe { native::rd_kafka_message_destroy(message.0) };
        }
    }
}

/// A message that is ours: not null, and destroyed by the [`Reader`] that holds it.
#[repr(transparent)]
struct Taken(*mut native::rd_kafka_message_t);

impl HeaderList for Taken {
    fn header(&self, at: usize) -> Option<Header<'_>> {
        let (mut headers, mut name, mut value, mut bytes) = (null_mut(), null(), null(), 0);
        // SAFETY: 3, 4. The message lives as long as the borrow. The client parses its headers at the first call, keeps them
        // with it, and answers with an error where there are none, or none at `at`; it writes the outputs before it says
        // that there is no error. A value is null or so many bytes. A name is a C string.
        unsafe {
            if native::rd_kafka_message_headers(self.0, &mut headers) != NO_ERROR
                || native::rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut bytes) != NO_ERROR
            {
                return None;
            }
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), bytes));
            Some(Header { name: CStr::from_ptr(name).to_str().unwrap_or_default(), value })
        }
    }
}

/// A level of syslog as the wrapper names it.
fn level_of(level: i32) -> RDKafkaLogLevel {
    match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 | 6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}

/// Reads a message.
///
/// # Safety
/// `taken` is a message of a consumer, and is not destroyed while it is borrowed.
unsafe fn look(taken: &Taken) -> Fetched<'_> {
    let message = taken.0;
    // SAFETY: as the caller promises. Key and value are null or so many bytes, which live as long as the message.
    unsafe {
        let native::rd_kafka_message_t { err, partition, offset, payload, len, key, key_len, .. } = *message;
        let value =
            (!payload.is_null()).then(|| std::slice::from_raw_parts(payload.cast_const().cast::<u8>(), len));
        if err != NO_ERROR {
            let reason = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
            return Fetched::Event { code: err.into(), partition, offset: Offset(offset), reason };
        }
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        let timestamp_ms = native::rd_kafka_message_timestamp(message, &mut kind);
        let is_there = kind != native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        let timestamp_ms = Some(timestamp_ms).filter(|ms| is_there && *ms >= 0);
        let leader_epoch = native::rd_kafka_message_leader_epoch(message);
        let key =
            (!key.is_null()).then(|| std::slice::from_raw_parts(key.cast_const().cast::<u8>(), key_len));
        let headers = Headers::of(taken);
        Fetched::Message {
            partition,
            offset: Offset(offset),
            leader_epoch,
            timestamp_ms,
            key,
            headers,
            value,
        }
    }
}

/// The high watermark of a partition as of the last fetch; `None` if nothing was fetched yet.
pub(super) fn high_watermark<C: ClientContext>(
    client: &Client<C>,
    topic: &CStr,
    partition: i32,
) -> Option<Offset> {
    let (mut low, mut high) = (-1, -1);
    // SAFETY: 1. Topic and both numbers live during the call; it keeps none of them.
    let error = unsafe {
        native::rd_kafka_get_watermark_offsets(
            client.native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (error == NO_ERROR && high >= 0).then_some(Offset(high))
}

/// Gives the client its first brokers again. Sends no request, and keeps the brokers that the client knows.
///
/// A broker that has been away answers for a moment that the cluster has no brokers. librdkafka from 2.10 on then
/// forgets all of them, the first ones too, and would never connect again (confluentinc/librdkafka#5301).
pub(super) fn remind_of_brokers<C: ClientContext>(client: &Client<C>, brokers: &CStr) {
    // SAFETY: 1. The text lives during the call; the client copies what it keeps.
    unsafe { native::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
}

/// A topic as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    /// Its id, unlike that of any other topic ever; `None` from brokers that give none (before 2.8).
    pub(super) id: Option<String>,
    /// The numbers of its partitions.
    pub(super) partitions: Vec<i32>,
}

/// An error, in the client's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) code: RDKafkaErrorCode,
    pub(super) reason: String,
}

/// Asks a broker about a topic, and waits for the answer for `patience` at most. Any broker knows; left to itself the
/// client would ask the controller.
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    topic: &CStr,
    patience: Duration,
) -> Result<Topic, Failed> {
    let timeout = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    // SAFETY: 1, 2. Each of these is ours, and its guard outlives all uses below. The client copies the topic's name.
    let (queue, options, names) = unsafe {
        let mut name: *const c_char = topic.as_ptr();
        let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        (
            Guard::new(native::rd_kafka_queue_new(rk), native::rd_kafka_queue_destroy)?,
            Guard::new(
                native::rd_kafka_AdminOptions_new(rk, operation),
                native::rd_kafka_AdminOptions_destroy,
            )?,
            Guard::new(
                native::rd_kafka_TopicCollection_of_topic_names(&mut name, 1),
                native::rd_kafka_TopicCollection_destroy,
            )?,
        )
    };
    // SAFETY: 1, 2. The client copies options and names. The event that comes is ours.
    let event = unsafe {
        native::rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout.max(1), null_mut(), 0);
        native::rd_kafka_AdminOptions_set_broker(options.get(), broker, null_mut(), 0);
        native::rd_kafka_DescribeTopics(rk, names.get(), options.get(), queue.get());
        // The client answers by itself when the time is over: the second more is for that.
        let event = native::rd_kafka_queue_poll(queue.get(), timeout.saturating_add(1000));
        Guard::new(event, native::rd_kafka_event_destroy)?
    };
    // SAFETY: 3. Everything is reached through the event, and copied while its guard lives.
    unsafe {
        let code = native::rd_kafka_event_error(event.get());
        if code != NO_ERROR {
            let reason = native::rd_kafka_event_error_string(event.get());
            return Err(Failed { code: code.into(), reason: text(reason) });
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event.get());
        let mut count = 0;
        let topics = if result.is_null() {
            null_mut()
        } else {
            native::rd_kafka_DescribeTopics_result_topics(result, &mut count)
        };
        match array(topics, count).first() {
            Some(topic) => copy(*topic),
            None => Err(no_answer()),
        }
    }
}

/// Copies a description.
///
/// # Safety
/// `topic` is a description that lives during the call.
unsafe fn copy(topic: *const native::rd_kafka_TopicDescription_t) -> Result<Topic, Failed> {
    // SAFETY: as the caller promises; everything reached through it lives as long (3).
    unsafe {
        let error = native::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = native::rd_kafka_error_code(error);
            if code != NO_ERROR {
                let reason = native::rd_kafka_error_string(error);
                return Err(Failed { code: code.into(), reason: text(reason) });
            }
        }
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let is_zero = id.is_null()
            || (native::rd_kafka_Uuid_most_significant_bits(id) == 0
                && native::rd_kafka_Uuid_least_significant_bits(id) == 0);
        let id = (!is_zero).then(|| text(native::rd_kafka_Uuid_base64str(id)));
        let mut count = 0;
        let partitions = native::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let partitions = array(partitions, count)
            .iter()
            .map(|partition| native::rd_kafka_TopicPartitionInfo_partition(*partition))
            .collect();
        Ok(Topic { id, partitions })
    }
}

fn no_answer() -> Failed {
    Failed { code: RDKafkaErrorCode::OperationTimedOut, reason: "no answer in time".into() }
}

/// A C array as a slice; null is empty.
///
/// # Safety
/// `first` is null, or `count` elements from there on live during `'a`.
unsafe fn array<'a, T>(first: *mut T, count: usize) -> &'a [T] {
    // SAFETY: as the caller promises.
    if first.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

/// Copies a C string; null is empty.
///
/// # Safety
/// `text` is null, or a C string that lives during the call.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: as the caller promises.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy().into() }
}

/// Destroys what it holds.
struct Guard<T>(NonNull<T>, unsafe extern "C" fn(*mut T), PhantomData<T>);

impl<T> Guard<T> {
    /// Takes over `pointer`; no answer if it is null.
    ///
    /// # Safety
    /// `pointer` is null, or ours, and to be destroyed by `destroy`.
    unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Guard<T>, Failed> {
        NonNull::new(pointer).map(|pointer| Guard(pointer, destroy, PhantomData)).ok_or_else(no_answer)
    }

    fn get(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that this is how, and this is the only time.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}
