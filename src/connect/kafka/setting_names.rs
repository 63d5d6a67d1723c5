//! The names that settings of a Kafka client have elsewhere: what they are here, and why others mean nothing here.

/// What a reader's exactness rests on: a file that says otherwise is overruled.
pub(super) const READER: [(&str, &str); 7] = [
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// What a writer's exactness rests on.
pub(super) const WRITER: [(&str, &str); 2] = [("acks", "all"), ("enable.idempotence", "true")];

/// Why a setting means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Java's client alone has it.
    Java,
    /// It speaks of members of a consumer group.
    Group,
    /// It speaks of keys and values as objects.
    Objects,
    /// It speaks of a schema registry.
    Registry,
    /// It speaks of transactions of a producer.
    Transactions,
}

impl Why {
    /// The reason, behind "passed over, ".
    pub(super) fn words(self) -> &'static str {
        match self {
            Why::Java => "it is of Java's client alone",
            Why::Group => "headway is no member of a consumer group",
            Why::Objects => "keys and values are bytes here",
            Why::Registry => "headway asks no schema registry",
            Why::Transactions => "headway writes without transactions",
        }
    }
}

/// Names that are passed over, whatever librdkafka thinks of them.
pub(super) const PASSED_OVER: &[(&str, Why)] = &[
    ("auto.commit.enable", Why::Group),
    ("auto.commit.interval.ms", Why::Group),
    ("auto.include.jmx.reporter", Why::Java),
    ("bootstrap.controllers", Why::Java),
    ("compression.gzip.level", Why::Java),
    ("compression.lz4.level", Why::Java),
    ("compression.zstd.level", Why::Java),
    ("default.api.timeout.ms", Why::Java),
    ("exclude.internal.topics", Why::Java),
    ("group.instance.id", Why::Group),
    ("group.protocol", Why::Group),
    ("group.remote.assignor", Why::Group),
    ("heartbeat.interval.ms", Why::Group),
    ("interceptor.classes", Why::Java),
    ("internal.leave.group.on.close", Why::Group),
    ("internal.throw.on.fetch.stable.offset.unsupported", Why::Java),
    ("max.block.ms", Why::Java),
    ("max.poll.interval.ms", Why::Group),
    ("max.poll.records", Why::Java),
    ("metadata.max.idle.ms", Why::Java),
    ("metric.reporters", Why::Java),
    ("partition.assignment.strategy", Why::Group),
    ("partitioner.adaptive.partitioning.enable", Why::Java),
    ("partitioner.availability.timeout.ms", Why::Java),
    ("partitioner.class", Why::Java),
    ("partitioner.ignore.keys", Why::Java),
    ("sasl.client.callback.handler.class", Why::Java),
    ("sasl.kerberos.ticket.renew.jitter", Why::Java),
    ("sasl.kerberos.ticket.renew.window.factor", Why::Java),
    ("security.providers", Why::Java),
    ("session.timeout.ms", Why::Group),
    ("share.acknowledgement.mode", Why::Group),
    ("share.acquire.mode", Why::Group),
    ("socket.connection.setup.timeout.max.ms", Why::Java),
    ("ssl.enabled.protocols", Why::Java),
    ("ssl.engine.factory.class", Why::Java),
    ("ssl.keymanager.algorithm", Why::Java),
    ("ssl.protocol", Why::Java),
    ("ssl.provider", Why::Java),
    ("ssl.secure.random.implementation", Why::Java),
    ("ssl.trustmanager.algorithm", Why::Java),
    ("ssl.truststore.password", Why::Java),
    ("transaction.timeout.ms", Why::Transactions),
    ("transaction.two.phase.commit.enable", Why::Transactions),
    ("transactional.id", Why::Transactions),
];

/// Names that are passed over where librdkafka does not know them. One that ends with a point stands for all that begin so.
pub(super) const UNKNOWN: &[(&str, Why)] = &[
    ("apicurio.", Why::Registry),
    ("auto.register.schemas", Why::Registry),
    ("avro.", Why::Objects),
    ("basic.auth.", Why::Registry),
    ("bearer.auth.", Why::Registry),
    ("confluent.", Why::Java),
    ("context.name.strategy", Why::Registry),
    ("id.compatibility.strict", Why::Registry),
    ("json.", Why::Objects),
    ("key.", Why::Objects),
    ("latest.cache.size", Why::Registry),
    ("latest.cache.ttl.sec", Why::Registry),
    ("latest.compatibility.strict", Why::Registry),
    ("max.schemas.per.subject", Why::Registry),
    ("metrics.", Why::Java),
    ("normalize.schemas", Why::Registry),
    ("protobuf.", Why::Objects),
    ("reference.subject.name.strategy", Why::Registry),
    ("sasl.login.", Why::Java),
    ("sasl.oauthbearer.", Why::Java),
    ("schema.", Why::Registry),
    ("specific.avro.", Why::Objects),
    ("specific.protobuf.", Why::Objects),
    ("use.latest.version", Why::Registry),
    ("use.latest.with.metadata", Why::Registry),
    ("use.schema.id", Why::Registry),
    ("value.", Why::Objects),
];

/// How a value changes with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Convert {
    /// Not at all.
    Same,
    /// -1, the system's own choice in Java, is 0.
    MinusOne,
    /// Bytes become KiB, at least one.
    Kib,
}

/// Names that mean the same: as they may be written, and as they are here. Where librdkafka has two names for one setting,
/// only one of them is used, or it would be chance which of two values counts.
pub(super) const RENAMED: &[(&str, &str, Convert)] = &[
    ("buffer.memory", "queue.buffering.max.kbytes", Convert::Kib),
    ("compression.codec", "compression.type", Convert::Same),
    ("connections.max.idle.ms", "connections.max.idle.ms", Convert::MinusOne),
    ("fetch.max.wait.ms", "fetch.wait.max.ms", Convert::Same),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes", Convert::Same),
    ("max.in.flight", "max.in.flight.requests.per.connection", Convert::Same),
    ("max.request.size", "message.max.bytes", Convert::Same),
    ("message.send.max.retries", "retries", Convert::Same),
    ("message.timeout.ms", "delivery.timeout.ms", Convert::Same),
    ("metadata.broker.list", "bootstrap.servers", Convert::Same),
    ("queue.buffering.max.ms", "linger.ms", Convert::Same),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes", Convert::MinusOne),
    ("request.required.acks", "acks", Convert::Same),
    ("sasl.mechanisms", "sasl.mechanism", Convert::Same),
    ("send.buffer.bytes", "socket.send.buffer.bytes", Convert::MinusOne),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem", Convert::Same),
    ("ssl.keystore.key", "ssl.key.pem", Convert::Same),
    ("ssl.truststore.certificates", "ssl.ca.pem", Convert::Same),
];

/// Names that a mistyped one may mean.
pub(super) const NAMES: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "batch.size",
    "bootstrap.servers",
    "broker.address.family",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.type",
    "connections.max.idle.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.ssl.certificate.verification",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "group.id",
    "linger.ms",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.ms",
    "sasl.jaas.config",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "statistics.interval.ms",
];
