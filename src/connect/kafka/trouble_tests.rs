//! What a person is told where the brokers answer and nothing can be read: names that nobody can resolve, topics that are gone.

use super::connector_tests::{Cluster, PATIENCE, cluster, on, options};
use super::produce::to_topic;
use super::{Kafka, Options};
use crate::connect::error::Error;
use crate::connect::produce::{Pace, Produced};
use crate::connect::{Connector, Earlier};
use headway_operators::generate::{Generate, Message};
use headway_operators::record::{LastRead, Offset, Partition};
use rdkafka::bindings::rd_kafka_resp_err_t as Response;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The name of the brokers of a mock cluster, and one of the same length that nobody can resolve.
const NAMES: [&[u8; 9]; 2] = [b"127.0.0.1", b"x.invalid"];

/// An address where `cluster` answers under the second of [`NAMES`].
fn renamed(cluster: &Cluster) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, brokers) = (listener.local_addr().unwrap(), cluster.bootstrap_servers());
    // It ends with the tests; its connections end with their clients.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, broker) = (client.unwrap(), TcpStream::connect(&brokers).unwrap());
            let (from, to) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
            std::thread::spawn(move || pass(from, to));
            std::thread::spawn(move || pass(broker, client));
        }
    });
    address.to_string()
}

/// Passes on what comes, renamed: frames of four bytes of length and so many more.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut length = [0; 4];
    while from.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        if from.read_exact(&mut frame).is_err() {
            break;
        }
        while let Some(at) = frame.windows(9).position(|name| name == NAMES[0]) {
            frame[at..at + 9].copy_from_slice(NAMES[1]);
        }
        if to.write_all(&length).and_then(|()| to.write_all(&frame)).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// The first error of `ask` that is about a name; the resolver may take its time.
fn about_a_name(ask: impl Fn() -> Error) -> Error {
    let end = Instant::now() + PATIENCE;
    loop {
        let error = ask();
        match error {
            Error::Unresolved { .. } => return error,
            _ => assert!(Instant::now() < end, "{error}"),
        }
    }
}

#[test]
fn broker_that_advertises_a_name_which_nobody_can_resolve_is_named_with_it() {
    let cluster = cluster(1);
    let address = renamed(&cluster);
    let kafka = Kafka::new(Options { patience: Duration::from_secs(1), ..options(&address) }).unwrap();
    let error = about_a_name(|| kafka.partitions().unwrap_err());
    let Error::Unresolved { name, advertised_by, .. } = &error else { panic!("{error}") };
    assert!(name.starts_with("x.invalid:"), "{error}");
    assert_eq!(advertised_by.as_deref(), Some(format!("broker \"{address}\"").as_str()));
    assert!(error.hint().contains("advertised.listeners") && error.is_transient());
    assert_eq!(error.code(), "broker-unresolved");
}

#[test]
fn bootstrap_name_that_nobody_can_resolve_is_told_apart() {
    let patience = Duration::from_secs(1);
    let kafka = Kafka::new(Options { patience, ..options("x.invalid:9092") }).unwrap();
    let error = about_a_name(|| kafka.partitions().unwrap_err());
    assert!(matches!(&error, Error::Unresolved { advertised_by: None, .. }), "{error}");
    assert!(error.hint().contains("bootstrap.servers"));
}

/// A message on one partition.
struct One;

impl Generate for One {
    fn identity(&self) -> String {
        "one".into()
    }
    fn partitions(&self) -> u32 {
        1
    }
    fn end(&self, _: Partition) -> Option<Offset> {
        Some(Offset(1))
    }
    fn message(&self, _: Partition, _: Offset, out: &mut Message) {
        (out.key, out.value, out.timestamp_ms) = (Vec::new(), Some(b"v".to_vec()), 1);
    }
}

#[test]
fn producer_does_not_wait_for_minutes_for_a_name_which_nobody_can_resolve() {
    let cluster = cluster(1);
    let properties = options(&renamed(&cluster)).properties;
    let error = about_a_name(|| {
        let mut tell = |_: &Produced| ControlFlow::Continue(());
        let pace = Pace { per_second: None, tell: &mut tell };
        to_topic(&One, (&properties, "t"), Duration::from_secs(1), pace).unwrap_err()
    });
    assert!(matches!(&error, Error::Unresolved { advertised_by: Some(_), .. }), "{error}");
}

#[test]
fn topic_that_is_missing_for_a_moment_is_waited_for_and_then_it_was_deleted() {
    let cluster = cluster(1);
    let kafka = on(&cluster);
    kafka.partitions().unwrap();
    let gone = Response::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    cluster.topic_error("t", gone).unwrap();
    for error in [kafka.partitions().unwrap_err(), kafka.confirm().unwrap_err()] {
        assert!(
            matches!(&error, Error::TopicMissing { topic, .. } if topic == "t") && error.is_transient(),
            "{error}"
        );
    }
    cluster.topic_error("t", Response::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    assert_eq!(kafka.partitions().unwrap().len(), 1);
    cluster.topic_error("t", gone).unwrap();
    assert!(matches!(kafka.partitions().unwrap_err(), Error::TopicMissing { .. }), "its time begins anew");
    kafka.missing_for(Duration::from_secs(61));
    let error = kafka.confirm().unwrap_err();
    let Error::TopicDeleted { topic, broker } = &error else { panic!("{error}") };
    assert_eq!((topic.as_str(), broker.contains("127.0.0.1")), ("t", true));
    assert!(!error.is_transient() && error.code() == "topic-deleted", "{error}");
}

#[test]
fn topic_that_an_earlier_run_has_read_was_deleted_where_it_is_not_there() {
    let cluster = cluster(1);
    cluster.topic_error("t", Response::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let kafka = on(&cluster);
    let last_read = Some(LastRead { offset: Offset(6), leader_epoch: 0 });
    kafka.remember(&[Earlier {
        partition: Partition(0),
        identity: "kafka:x".into(),
        next: Offset(7),
        last_read,
        content: None,
        finished: false,
        is_new: false,
    }]);
    assert!(matches!(kafka.partitions().unwrap_err(), Error::TopicDeleted { .. }));
}
