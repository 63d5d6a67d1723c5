//! What all clients of a topic share: assignments and errors.

use crate::connect::error;
use crate::connect::kafka::context::Context;
use headway_operators::record::{Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset as At, TopicPartitionList};

/// The client's number of a partition.
pub(super) fn number(partition: Partition) -> i32 {
    i32::try_from(partition.0).unwrap_or(i32::MAX)
}

/// The partition with the client's `number`; `None` if that stands for no partition.
pub(super) fn partition(number: i32) -> Option<Partition> {
    u32::try_from(number).ok().map(Partition)
}

/// `positions` in the client's form.
pub(super) fn list(topic: &str, positions: &[(Partition, Offset)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (partition, next) in positions {
        list.add_partition_offset(topic, number(*partition), At::Offset(next.0))?;
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
    let list = list(topic, &[(partition, Offset(0))]);
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
    partition: i32,
    offset: Offset,
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
