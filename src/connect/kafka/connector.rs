//! A Kafka topic as an input: a consumer a worker, assigned to the worker's partitions, never a member of a group.
//!
//! **Where to read.** A job goes on at the offsets of its manifest; a new job starts at the low watermark. There is no other
//! fallback: an offset that is not there stops the job ([`error::Error::RecordsGone`]).
//!
//! **Which topic.** The topic's id tells topics of one name apart. A topic that was deleted and made again has the same name and valid
//! offsets, and other records. Brokers that give no id (before 2.8) are asked for the cluster's id, which does not
//! tell such topics apart. The id is asked for at start, every few seconds, and before each commit of something that
//! was read: an id that is still the same after the last message came from it was the same all along.
//!
//! **The end.** The client reports the offset at which reading ended. If that is the high watermark, the partition is caught
//! up. If it lies below, an open transaction holds the rest, and the partition is stalled. A transaction may open later, so the
//! watermark is read again while no record arrives.
//!
//! **Quiet.** The leader of each partition is asked every few seconds for the partition's end. The partition is quiet while every
//! answer is the offset at which reading ended. If a question gets no answer, that time starts anew: a producer could not
//! reach the leader either.
//!
//! **Without brokers** a running job waits until the client is connected again; while nothing arrives, the client is given the
//! addresses of the brokers again. A start waits for a limited time.

use crate::connect::kafka::client::{assign, list, partition, unusable};
use crate::connect::kafka::config::Properties;
use crate::connect::kafka::context::Context;
use crate::connect::kafka::leader_check::{LeaderCheck, Make};
use crate::connect::kafka::native::{Failed, Fetched, Reader, Topic, describe, remind_of_brokers};
use crate::connect::kafka::reader::{Answer, Answers, Ends, KafkaSource, Shared};
use crate::connect::{Connector, Earlier, End, Notice, PartitionInfo, Source, Wake, error};
use headway_operators::record::{LastRead, Offset, Partition};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset as At, TopicPartitionList};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// How long a topic that was there may be unknown to the brokers: one that has just started does not know it yet.
const MISSING_MAX: Duration = Duration::from_secs(60);

/// How long to wait before a question is asked again that a broker could not answer yet.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// How long a leader may take to say where its partitions end.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How far apart two answers may be that nothing is taken to have happened between.
const UNBROKEN_MAX: Duration = Duration::from_secs(30);

/// How long a count waits for the client to fetch more.
const COUNT_AGAIN: Duration = Duration::from_micros(100);

/// How many events of the client are served at once.
const EVENTS_MAX: u32 = 64;

/// How long the last offsets for a group may take to reach it when a run ends.
const LAST_TOLD_MAX: Duration = Duration::from_secs(2);

/// What to read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The client's settings.
    pub properties: Properties,
    /// The topic.
    pub topic: String,
    /// The group for which offsets are committed, so that lag boards see them. They are never read back.
    pub group: Option<String>,
    /// How long to wait for brokers at start, and for an answer later.
    pub patience: Duration,
}

/// A topic as an input.
pub struct Kafka {
    options: Options,
    name: CString,
    /// The brokers, as errors call them.
    label: String,
    /// The brokers to ask first, in the client's form.
    brokers: CString,
    control: BaseConsumer<Context>,
    /// Asks where partitions end, open transactions included, which `control` does not see. Made when it is needed.
    asker: OnceLock<BaseConsumer<Context>>,
    context: Context,
    /// The partitions, as they were first seen.
    known: Mutex<BTreeMap<Partition, PartitionInfo>>,
    /// Since when the brokers do not know the topic.
    missing_since: Mutex<Option<Instant>>,
    /// What the topic was when it was first asked for: what this connector reads.
    identity: OnceLock<String>,
    /// The broker that answered last; -1 before.
    answered_by: AtomicI32,
    ends: Ends,
    answers: Answers,
    /// The last records that an earlier run has read.
    earlier: Mutex<BTreeMap<Partition, LastRead>>,
}

impl Kafka {
    /// The topic that `options` name. No broker is asked yet.
    ///
    /// # Errors
    /// If the settings are not usable.
    pub fn new(options: Options) -> Result<Kafka, error::Error> {
        let properties = &options.properties;
        let name =
            CString::new(options.topic.as_str()).map_err(|_| unusable(&options.topic, "no such name"))?;
        let context = Context::default();
        let control = client(properties, &properties.reader(options.group.as_deref())?, &context)?;
        let label = format!("broker \"{}\"", properties.brokers()?);
        let brokers = CString::new(properties.brokers()?).map_err(|_| unusable(&label, "no such name"))?;
        Ok(Kafka {
            label,
            name,
            brokers,
            control,
            asker: OnceLock::new(),
            context,
            known: Mutex::default(),
            missing_since: Mutex::default(),
            identity: OnceLock::new(),
            answered_by: AtomicI32::new(-1),
            ends: Ends::default(),
            answers: Answers::default(),
            earlier: Mutex::default(),
            options,
        })
    }

    /// Reads `messages` messages from `assigned` on, and does nothing but count them and the bytes of their values: what the
    /// client gives by the way that readers take, and so what a job is measured against.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub fn count(&self, assigned: &[(Partition, Offset)], messages: u64) -> Result<(u64, u64), error::Error> {
        let consumer = self.consumer()?;
        assign(&consumer, &self.options.topic, assigned)?;
        let reader = Reader::new(consumer);
        let mut reader = reader.map_err(|failed| unusable(&self.options.topic, &failed.reason))?;
        let (mut seen, mut bytes) = (0, 0);
        while seen < messages {
            match reader.next() {
                Some(Fetched::Message { value, .. }) => {
                    seen += 1;
                    bytes += value.map_or(0, <[u8]>::len) as u64;
                }
                Some(Fetched::Event { .. }) => {}
                None => std::thread::sleep(COUNT_AGAIN),
            }
        }
        Ok((seen, bytes))
    }

    /// A consumer that can be assigned.
    fn consumer(&self) -> Result<BaseConsumer<Context>, error::Error> {
        // Without a group it cannot. It does not join the group, and commits nothing for it.
        let properties = &self.options.properties;
        client(properties, &properties.reader(Some("headway"))?, &self.context)
    }

    /// A reader of `assigned` that looks at records again with the client that `make` gives.
    pub(super) fn source(
        &self,
        assigned: &[(Partition, Offset)],
        wake: Wake,
        make: Make,
    ) -> Result<KafkaSource, error::Error> {
        let mut consumer = self.consumer()?;
        consumer.set_nonempty_callback(wake);
        let identity = self.identity.get().map_or("", String::as_str);
        let (ends, answers) = (Arc::clone(&self.ends), Arc::clone(&self.answers));
        let leader_check = LeaderCheck::new(&self.options.topic, self.brokers.clone(), make);
        let earlier = self.earlier.lock().expect("no thread panicked with this lock held").clone();
        let shared = Shared { ends, answers, brokers: self.brokers.clone(), leader_check, earlier };
        KafkaSource::new(consumer, &self.options.topic, identity, assigned, shared)
    }

    /// How to make a client that looks at records again, as their leader has them.
    pub(super) fn checking_client(&self) -> Make {
        let (properties, context) = (self.options.properties.clone(), self.context.clone());
        Box::new(move || {
            let mut config = properties.reader(Some("headway"))?;
            // It looks at a few records at a time; a follower may have what its leader has not.
            config.set("isolation.level", "read_uncommitted").set("queued.min.messages", "1");
            config.remove("client.rack");
            client(&properties, &config, &context)
        })
    }

    /// The client that asks where partitions end.
    fn asker(&self) -> Result<&BaseConsumer<Context>, error::Error> {
        if self.asker.get().is_none() {
            let properties = &self.options.properties;
            let mut config = properties.reader(None)?;
            config.set("isolation.level", "read_uncommitted");
            // Another thread may have been faster: then this one goes again.
            drop(self.asker.set(client(properties, &config, &self.context)?));
        }
        Ok(self.asker.get().expect("it was just made"))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Partition, PartitionInfo>> {
        self.known.lock().expect("no thread panicked with this lock held")
    }

    fn missing_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.missing_since.lock().expect("no thread panicked with this lock held")
    }

    /// Hears what the client has to say: one thing a poll. There are no messages.
    fn listen(&self) {
        for _ in 0..EVENTS_MAX {
            drop(self.control.poll(Duration::ZERO));
            drop(self.asker.get().map(|asker| asker.poll(Duration::ZERO)));
        }
    }

    /// As if the brokers had not known the topic for so long.
    #[cfg(test)]
    pub(super) fn missing_for(&self, time: Duration) {
        *self.missing_since() = Instant::now().checked_sub(time);
    }

    /// As if the topic had been this one when it was first asked for.
    #[cfg(test)]
    pub(super) fn known_as(&self, identity: &str) {
        self.identity.set(identity.to_string()).expect("it was not asked for yet");
    }

    fn unreachable(&self, reason: &str) -> error::Error {
        self.listen();
        remind_of_brokers(self.control.client(), &self.brokers);
        self.context.unreachable(&self.label, reason)
    }

    /// The error for a topic that is `found`, and was what this connector reads.
    fn other(&self, found: String) -> error::Error {
        let expected = self.identity.get().cloned().unwrap_or_default();
        error::Error::OtherIdentity {
            input: self.options.topic.clone(),
            partition: Partition(0),
            expected,
            found,
        }
    }

    /// The error for a topic that the brokers do not know.
    fn missing(&self) -> error::Error {
        let (topic, broker) = (self.options.topic.clone(), self.label.clone());
        if self.identity.get().is_none() {
            let was_read = !self.earlier.lock().expect("no thread panicked with this lock held").is_empty();
            return match was_read {
                true => error::Error::TopicDeleted { topic, broker },
                false => unusable(&topic, &format!("{broker} has no such topic")),
            };
        }
        match self.missing_since().get_or_insert_with(Instant::now).elapsed() > MISSING_MAX {
            true => error::Error::TopicDeleted { topic, broker },
            false => error::Error::TopicMissing { topic, broker },
        }
    }

    /// What to make of a failed description.
    fn failed(&self, Failed { code, reason }: Failed) -> error::Error {
        match code {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => self.missing(),
            RDKafkaErrorCode::InvalidTopic => unusable(&self.options.topic, "no topic can have this name"),
            RDKafkaErrorCode::TopicAuthorizationFailed => unusable(&self.options.topic, &reason),
            _ => self.unreachable(&reason),
        }
    }

    /// What the brokers say of the topic.
    fn describe(&self, deadline: Instant) -> Result<Topic, Failed> {
        let client = self.control.client();
        let brokers =
            client.fetch_metadata(Some(&self.options.topic), left(deadline)).map_err(|error| Failed {
                code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
                reason: error.to_string(),
            })?;
        let first = brokers.brokers().first().map_or(-1, |broker| broker.id());
        let broker = Some(brokers.orig_broker_id()).filter(|id| *id >= 0).unwrap_or(first);
        let topic = describe(client, broker, &self.name, left(deadline))?;
        self.answered_by.store(broker, Ordering::Relaxed);
        Ok(topic)
    }

    /// The first offset of a partition, and the one past its last stable one. A partition that was made a moment ago
    /// may have no leader yet, or one that does not know so: that passes.
    fn watermarks(&self, number: i32, deadline: Instant) -> Result<(Offset, Offset), error::Error> {
        loop {
            let error = match self.control.fetch_watermarks(&self.options.topic, number, left(deadline)) {
                Ok((low, high)) => return Ok((Offset(low), Offset(high))),
                Err(error) => error,
            };
            let passes = matches!(
                error.rdkafka_error_code(),
                Some(
                    RDKafkaErrorCode::NotLeaderForPartition
                        | RDKafkaErrorCode::LeaderNotAvailable
                        | RDKafkaErrorCode::UnknownTopicOrPartition
                        | RDKafkaErrorCode::FencedLeaderEpoch
                        | RDKafkaErrorCode::UnknownLeaderEpoch
                )
            );
            if !passes || Instant::now() >= deadline {
                return Err(self.unreachable(&error.to_string()));
            }
            std::thread::sleep(TRY_AGAIN);
        }
    }

    /// Asks where known partitions end now. That a leader does not answer is no failure: it ends what is known of quiet.
    ///
    /// # Errors
    /// If the settings are not usable.
    fn ask_for_ends(&self) -> Result<(), error::Error> {
        let known: Vec<Partition> = self.known().keys().copied().collect();
        if known.is_empty() {
            return Ok(());
        }
        let asker = self.asker()?;
        // 1. Leader by leader: one that is not there takes nothing from the others.
        let asked = Instant::now();
        let metadata = asker.fetch_metadata(Some(&self.options.topic), ANSWER_MAX);
        if metadata.is_err() {
            remind_of_brokers(asker.client(), &self.brokers);
        }
        let mut leaders: BTreeMap<i32, TopicPartitionList> = BTreeMap::new();
        for partition in metadata.iter().flat_map(|all| all.topics()).flat_map(|topic| topic.partitions()) {
            let list = leaders.entry(partition.leader()).or_default();
            list.add_partition(&self.options.topic, partition.id()).set_offset(At::End).ok();
        }
        let mut ends = BTreeMap::new();
        for list in leaders.into_values() {
            match asker.offsets_for_times(list, ANSWER_MAX) {
                Err(error) => tracing::debug!(%error, "could not ask where partitions end"),
                Ok(list) => ends.extend(list.elements().iter().filter_map(|element| {
                    let end = element.offset().to_raw().filter(|end| *end >= 0 && element.error().is_ok());
                    Some((partition(element.partition())?, Offset(end?)))
                })),
            }
        }
        // 2. Each goes on with what was known, or begins anew.
        let mut answers = self.answers.lock().expect("no thread panicked with this lock held");
        for partition in known {
            let before = answers.remove(&partition);
            let Some(end) = ends.get(&partition).copied() else { continue };
            let same = before.filter(|before| before.end == end && before.last + UNBROKEN_MAX > asked);
            let since = same.map_or(asked, |before| before.since);
            answers.insert(partition, Answer { end, since, last: asked });
        }
        Ok(())
    }

    /// What the records of the topic are known by.
    fn identity(&self, topic: &Topic, deadline: Instant) -> Result<String, error::Error> {
        if let Some(id) = &topic.id {
            return Ok(format!("kafka:{id}"));
        }
        let cluster = self.control.client().fetch_cluster_id(left(deadline));
        let cluster = cluster.ok_or_else(|| self.unreachable("the cluster does not tell its id"))?;
        Ok(format!("kafka:{cluster}/{}", self.options.topic))
    }
}

impl Connector for Kafka {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn notices(&self) -> Vec<Notice> {
        self.options.properties.reader_notices(self.options.group.as_deref())
    }

    fn remember(&self, earlier: &[Earlier]) {
        let read = earlier.iter().filter_map(|part| Some((part.partition, part.last_read?)));
        *self.earlier.lock().expect("no thread panicked with this lock held") = read.collect();
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, error::Error> {
        self.ask_for_ends()?;
        let deadline = Instant::now() + self.options.patience;
        let mut known = self.known();
        self.listen();
        let topic = self.describe(deadline).map_err(|failed| self.failed(failed))?;
        let identity = self.identity(&topic, deadline)?;
        if self.identity.get_or_init(|| identity.clone()) != &identity {
            known.clear();
        }
        *self.missing_since() = None;
        self.context.clear();
        for number in topic.partitions {
            let Some(partition) = partition(number) else { continue };
            if known.contains_key(&partition) {
                continue;
            }
            let (first, end) = self.watermarks(number, deadline)?;
            let info = PartitionInfo { partition, identity: identity.clone(), first, end: Some(end) };
            known.insert(partition, info);
        }
        Ok(known.values().cloned().collect())
    }

    fn open(&self, assigned: &[(Partition, Offset)], wake: Wake) -> Result<Box<dyn Source>, error::Error> {
        let known = self.known();
        for (partition, next) in assigned {
            let first = known.get(partition).map_or(*next, |info| info.first);
            if *next < first {
                let (input, partition) = (self.options.topic.clone(), *partition);
                return Err(error::Error::RecordsGone { input, partition, from: *next, to: first });
            }
        }
        drop(known);
        Ok(Box::new(self.source(assigned, wake, self.checking_client())?))
    }

    fn confirm(&self) -> Result<(), error::Error> {
        let deadline = Instant::now() + self.options.patience;
        let (client, last) = (self.control.client(), self.answered_by.load(Ordering::Relaxed));
        let known = (last >= 0).then(|| describe(client, last, &self.name, left(deadline)));
        let topic = match known {
            Some(Ok(topic)) => topic,
            // That broker may be gone: whoever is there may answer.
            _ => self.describe(deadline).map_err(|failed| self.failed(failed))?,
        };
        let found = self.identity(&topic, deadline)?;
        *self.missing_since() = None;
        match self.identity.get() {
            Some(expected) if *expected != found => Err(self.other(found)),
            _ => Ok(()),
        }
    }

    fn ends(&self) -> Vec<End> {
        self.ends.lock().expect("no thread panicked with this lock held").values().cloned().collect()
    }

    fn committed(&self, positions: &[(Partition, Offset)]) {
        if self.options.group.is_none() || positions.is_empty() {
            return;
        }
        self.listen();
        let list = list(&self.options.topic, positions);
        match list.and_then(|list| self.control.commit(&list, CommitMode::Async)) {
            Ok(()) => self.context.commit_sent(),
            Err(error) => self.context.commit_failed(&error),
        }
    }
}

impl Drop for Kafka {
    /// Waits a moment until the last offsets are committed for the group.
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_TOLD_MAX;
        while self.context.pending_commits() > 0 && Instant::now() < deadline {
            drop(self.control.poll(TRY_AGAIN));
        }
    }
}

/// A client with the settings `config`, which were made of `properties`.
fn client(
    properties: &Properties,
    config: &ClientConfig,
    context: &Context,
) -> Result<BaseConsumer<Context>, error::Error> {
    config.create_with_context(context.clone()).map_err(|error| properties.refused(error))
}

/// How long there is until `deadline`; not so little that no broker could answer.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100))
}
