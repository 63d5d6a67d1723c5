//! What all clients of a topic share: assignments, errors, and what the client library reports.

use crate::connect::error;
use headway_operators::record::{Offset, Partition};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset as At, TopicPartitionList};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often the same trouble is worth a line in the log.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// `positions` in the client's form.
pub(super) fn list(topic: &str, positions: &[(Partition, Offset)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (partition, next) in positions {
        list.add_partition_offset(topic, i32::try_from(*partition).unwrap_or(i32::MAX), At::Offset(*next))?;
    }
    Ok(list)
}

/// Has `consumer` read partitions from these offsets on, too.
pub(super) fn assign(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    from: &[(Partition, Offset)],
) -> Result<(), error::Error> {
    let list = list(topic, from);
    list.and_then(|list| consumer.incremental_assign(&list)).map_err(|e| unusable(topic, &e.to_string()))
}

/// Has `consumer` read a partition no more that is assigned to it.
pub(super) fn unassign(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partition: Partition,
) -> Result<(), error::Error> {
    let list = list(topic, &[(partition, 0)]);
    list.and_then(|list| consumer.incremental_unassign(&list)).map_err(|e| unusable(topic, &e.to_string()))
}

pub(super) fn unusable(topic: &str, why: &str) -> error::Error {
    let hint = "Check --topic, and that this user may read and describe it.".to_string();
    error::Error::Unusable { what: format!("topic {topic}"), why: why.to_string(), hint }
}

/// The error for an event after which the client would go on behind what it could not read. All else passes, as a group
/// does that we are not in.
pub(super) fn broken(
    topic: &str,
    code: Code,
    (partition, offset): (i32, Offset),
    reason: &str,
) -> Option<error::Error> {
    tracing::debug!(?code, partition, reason, "kafka consumer event");
    let unreadable = matches!(
        code,
        Code::BadMessage
            | Code::BadCompression
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::MessageSizeTooLarge
            | Code::NotImplemented
            | Code::UnsupportedFeature
            | Code::Fatal
            | Code::TopicAuthorizationFailed
    );
    unreadable.then(|| error::Error::Unusable {
        what: format!("topic {topic}, partition {partition}, offset {offset}"),
        why: reason.to_string(),
        hint: "Read it with another client: if that fails too, it is the broker's to repair.".into(),
    })
}

/// Hears what the clients of one topic have to say. Clones hear the same.
#[derive(Clone, Default)]
pub(super) struct Context(Arc<Mutex<Heard>>);

#[derive(Default)]
pub(super) struct Heard {
    /// The newest trouble.
    newest: Option<String>,
    warned: Option<Instant>,
    /// When it was said last that offsets could not be told to the group.
    not_told: Option<Instant>,
    /// Commits for the group that were not answered yet.
    pub(super) untold: usize,
}

impl Context {
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The newest trouble, in the client's words.
    pub(super) fn newest(&self) -> Option<String> {
        self.heard().newest.clone()
    }

    /// Forgets trouble that is over.
    pub(super) fn calm(&self) {
        self.heard().newest = None;
    }

    fn hear(&self, text: &str) {
        let mut heard = self.heard();
        // A count says less than the reason before it.
        if heard.newest.is_none() || !text.ends_with("brokers are down") {
            heard.newest = Some(text.to_string());
        }
        if heard.warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
            heard.warned = Some(Instant::now());
            tracing::warn!(reason = text, "kafka client in trouble");
        }
    }

    /// Offsets could not be told to the group.
    pub(super) fn not_told(&self, error: &KafkaError) {
        let mut heard = self.heard();
        if heard.not_told.is_none_or(|said| said.elapsed() > WARN_EVERY) {
            heard.not_told = Some(Instant::now());
            tracing::warn!(%error, "could not commit offsets for the group");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // Begins with the name of a thread of the client's.
        let text = text.split_once("]: ").map_or(text, |(_, text)| text);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => self.hear(text),
            _ => tracing::debug!(facility, "{text}"),
        }
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        self.hear(reason);
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        let mut heard = self.heard();
        heard.untold = heard.untold.saturating_sub(1);
        drop(heard);
        if let Err(error) = result {
            self.not_told(&error);
        }
    }
}
