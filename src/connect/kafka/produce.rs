//! Writes messages to a topic, generated ones and such as were read before: an idempotent producer, each delivery checked.

use crate::connect::error::Error;
use crate::connect::kafka::client::{number, unusable};
use crate::connect::kafka::config::Properties;
use crate::connect::kafka::context::Context;
use crate::connect::notice;
use crate::connect::original::{Original, Originals};
use crate::connect::produce::{Pace, Produced, produce};
use crate::connect::together::Take;
use headway_operators::generate::{Generate, Message};
use headway_operators::record::{Offset, Partition};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long to wait for room in the producer's queue before looking again.
const WAIT: Duration = Duration::from_millis(100);

/// Writes the messages of all partitions to `topic`, each to the partition of its number, with the time it was sent
/// at. Returns when the brokers have all of them.
///
/// # Errors
/// If no broker answers within `patience`, the topic has too few partitions, or a message cannot be delivered.
pub fn to_topic(
    generate: &dyn Generate,
    (properties, topic): (&Properties, &str),
    patience: Duration,
    pace: Pace<'_>,
) -> Result<Produced, Error> {
    let mut writer = Writer::of_generated(properties, topic, generate.partitions(), patience)?;
    let produced =
        produce(generate, pace, &mut |partition, _, message| writer.generated(partition, message))?;
    writer.deliver()?;
    Ok(produced)
}

/// Writes messages to a topic that were read before.
pub struct Writer {
    producer: BaseProducer<Deliveries>,
    /// How many partitions the topic has.
    partitions: u32,
    sent: u64,
}

impl Writer {
    /// A writer to `topic`.
    ///
    /// # Errors
    /// If no broker answers within `patience`, or the topic is not there.
    pub fn new(properties: &Properties, topic: &str, patience: Duration) -> Result<Writer, Error> {
        Writer::of_generated(properties, topic, 1, patience)
    }

    /// A writer of generated messages to `topic`, each to one of so many partitions.
    ///
    /// # Errors
    /// If no broker answers within `patience`, or the topic is not there or has too few partitions.
    pub fn of_generated(
        properties: &Properties,
        topic: &str,
        partitions: u32,
        patience: Duration,
    ) -> Result<Writer, Error> {
        notice::log(topic, &properties.writer_notices());
        let config = properties.writer()?;
        let broker = format!("broker \"{}\"", properties.brokers()?);
        let deliveries = Deliveries::new(topic, &broker, patience);
        let producer = config.create_with_context(deliveries).map_err(|error| properties.refused(error))?;
        let partitions = check(&producer, partitions)?;
        Ok(Writer { producer, partitions, sent: 0 })
    }

    /// Writes a generated message to its partition, with the time it was sent at.
    ///
    /// # Errors
    /// If it, or one before it, cannot be delivered.
    pub fn generated(&mut self, partition: Partition, message: &Message) -> Result<(), Error> {
        self.sent += 1;
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.producer.context().topic)
            .partition(number(partition))
            .key(message.key.as_slice())
            .timestamp(message.timestamp_ms);
        record.payload = message.value.as_deref();
        send(&self.producer, record)?;
        self.producer.context().check()
    }

    /// Returns when the brokers have all messages.
    fn deliver(&self) -> Result<(), Error> {
        let producer = &self.producer;
        // Ends by itself: what cannot be delivered fails when its time is over.
        while producer.in_flight_count() > 0 {
            let _ = producer.flush(WAIT);
            producer.context().check_names()?;
        }
        producer.context().check()?;
        let delivered = producer.context().delivered.load(Ordering::SeqCst);
        assert_eq!(delivered, self.sent, "each message is delivered, or fails");
        Ok(())
    }
}

/// Topics, one for each input.
pub struct Topics(Vec<Writer>);

impl Topics {
    /// Writers to `topics`, each with the number of partitions that messages are made for.
    ///
    /// # Errors
    /// As [`Writer::of_generated`].
    pub fn open(
        properties: &Properties,
        topics: &[(&str, u32)],
        patience: Duration,
    ) -> Result<Topics, Error> {
        let writers = topics
            .iter()
            .map(|(topic, partitions)| Writer::of_generated(properties, topic, *partitions, patience));
        writers.collect::<Result<_, _>>().map(Topics)
    }
}

impl Take for Topics {
    fn take(
        &mut self,
        input: usize,
        partition: Partition,
        _offset: Offset,
        message: &Message,
    ) -> Result<(), Error> {
        self.0[input].generated(partition, message)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.0.iter().try_for_each(Writer::deliver)
    }
}

impl Originals for Writer {
    /// Writes to the partition that the message came from, or, where the topic has fewer, always to the same one.
    fn write(&mut self, original: &Original) -> Result<(), Error> {
        let partition = Partition(original.partition.0 % self.partitions);
        let mut headers = OwnedHeaders::new_with_capacity(original.headers.len());
        for (key, value) in &original.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let topic = self.producer.context().topic.clone();
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).partition(number(partition)).headers(headers);
        record.timestamp = original.timestamp_ms;
        (record.key, record.payload) = (original.key.as_deref(), original.value.as_deref());
        self.sent += 1;
        send(&self.producer, record)?;
        self.producer.context().check()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.deliver()
    }
}

/// Looks whether the topic is there, with at least `partitions` partitions; how many it has.
fn check(producer: &BaseProducer<Deliveries>, partitions: u32) -> Result<u32, Error> {
    let Deliveries { topic, broker, patience, context, .. } = producer.context().as_ref();
    let described = producer.client().fetch_metadata(Some(topic), *patience);
    let described = described.map_err(|error| {
        producer.poll(Duration::ZERO);
        context.unreachable(broker, &error.to_string())
    })?;
    let there = described.topics().first().map_or(0, |topic| topic.partitions().len());
    if there >= partitions as usize {
        return Ok(u32::try_from(there).unwrap_or(u32::MAX));
    }
    let what = format!("topic {topic}");
    if there == 0 {
        let why = "it is not there".to_string();
        let hint = "Create the topic first, or choose another one with --topic.".to_string();
        return Err(Error::Unusable { what, why, hint });
    }
    Err(Error::Unusable {
        what,
        why: format!("it has {there} partitions, and messages are made for {partitions}"),
        hint: format!("Create it with {partitions} partitions, or give --partitions {there}."),
    })
}

/// Hands a message to the producer, when it has room.
fn send(producer: &BaseProducer<Deliveries>, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Error> {
    let topic = &producer.context().topic;
    loop {
        match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                producer.poll(WAIT);
                producer.context().check_names()?;
            }
            Err((error, _)) => return Err(unusable(topic, &error.to_string())),
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

/// Counts what was delivered, and keeps the first failure.
struct Deliveries {
    topic: String,
    /// The brokers, as errors call them.
    broker: String,
    /// How long to wait for a first delivery while a broker's name cannot be resolved.
    patience: Duration,
    began: Instant,
    delivered: AtomicU64,
    failure: Mutex<Option<KafkaError>>,
    context: Context,
}

impl Deliveries {
    fn new(topic: &str, broker: &str, patience: Duration) -> Deliveries {
        Deliveries {
            topic: topic.to_string(),
            broker: broker.to_string(),
            patience,
            began: Instant::now(),
            delivered: AtomicU64::default(),
            failure: Mutex::default(),
            context: Context::default(),
        }
    }

    /// Fails if nothing was delivered because the brokers advertise names that cannot be resolved. By itself a delivery would
    /// fail after minutes, and would not say why.
    fn check_names(&self) -> Result<(), Error> {
        let is_stuck = self.delivered.load(Ordering::SeqCst) == 0 && self.began.elapsed() > self.patience;
        self.context.unresolved(&self.broker).filter(|_| is_stuck).map_or(Ok(()), Err)
    }

    /// Fails if a delivery did.
    fn check(&self) -> Result<(), Error> {
        let topic = &self.topic;
        let failure = self.failure.lock().expect("no thread panicked with this lock held");
        let Some(failure) = failure.as_ref() else { return self.check_names() };
        let is_silence = matches!(
            failure.rdkafka_error_code(),
            Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::BrokerTransportFailure)
        );
        if !is_silence {
            return Err(unusable(topic, &format!("a message was refused: {failure}")));
        }
        let detail =
            self.context.newest().map_or(failure.to_string(), |newest| format!("{failure}; {newest}"));
        Err(Error::Unreachable { what: format!("topic \"{topic}\""), detail })
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.context.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::SeqCst);
            }
            Err((error, _)) => {
                // As in `Context::reports`: called from C.
                let mut failure = self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                failure.get_or_insert_with(|| error.clone());
            }
        }
    }
}
