//! The Kafka connector against the client's own mock cluster: a double for error paths, with a few megabytes at most.

use crate::connect::drain::{Drained, poll};
use crate::connect::error::Error;
use crate::connect::kafka::config::Properties;
use crate::connect::kafka::produce::to_topic;
use crate::connect::kafka::{Kafka, Options};
use crate::connect::produce::{Pace, Produced};
use crate::connect::{Connector, End, Event, Heard, Polled, Source};
use headway_operators::generate::{Generate, Message};
use headway_operators::record::{Offset, Partition};
use rdkafka::bindings::rd_kafka_resp_err_t as Response;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::RDKafkaApiKey;
use rdkafka::{ClientConfig, TopicPartitionList};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(super) type Cluster = MockCluster<'static, DefaultProducerContext>;

/// How long a test waits for what must happen. Never reached where it does.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", partitions, 1).unwrap();
    cluster
}

pub(super) fn options(brokers: &str) -> Options {
    let properties = Properties::parse(format!("bootstrap.servers={brokers}"), "client.properties").unwrap();
    Options { properties, topic: "t".into(), group: None, patience: Duration::from_secs(10) }
}

pub(super) fn on(cluster: &Cluster) -> Kafka {
    Kafka::new(options(&cluster.bootstrap_servers())).unwrap()
}

/// Message `offset` of a partition: a tombstone now and then.
fn value(partition: u32, offset: i64) -> Option<Vec<u8>> {
    (offset % 10 != 9).then(|| format!("{partition}:{offset}").into_bytes())
}

/// Writes messages `offsets` of `partition`, each with `padding` more bytes.
pub(super) fn produce(cluster: &Cluster, partition: u32, offsets: std::ops::Range<i64>, padding: usize) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("linger.ms", "1");
    let producer: BaseProducer = config.create().unwrap();
    for offset in offsets {
        let value = value(partition, offset).map(|value| [value, vec![b' '; padding]].concat());
        let mut record = BaseRecord::<(), _>::to("t").partition(partition as i32).timestamp(1000 + offset);
        record.payload = value.as_deref();
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// Polls until `done`, or fails the test.
pub(super) fn until(source: &mut dyn Source, drained: &mut Drained, done: impl Fn(&Drained) -> bool) {
    until_slice(source, (drained, 1000), done);
}

/// The same, about so many bytes at a time.
pub(super) fn until_slice(
    source: &mut dyn Source,
    (drained, bytes): (&mut Drained, usize),
    done: impl Fn(&Drained) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    while !done(drained) {
        assert!(Instant::now() < end, "it takes too long: {:?}", drained.caught_up);
        if poll(source, bytes, drained).unwrap() == Polled::Nothing {
            std::thread::yield_now();
        }
    }
}

pub(super) fn failure(source: &mut dyn Source, drained: &mut Drained) -> Error {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Err(error) = poll(source, 1000, drained) {
            return error;
        }
        assert!(Instant::now() < end, "it does not fail");
    }
}

pub(super) fn offsets(drained: &Drained, partition: u32) -> Vec<i64> {
    drained.messages.get(&partition).into_iter().flatten().map(|message| message.0).collect()
}

#[test]
fn every_message_comes_once_from_the_offset_asked_for() {
    let cluster = cluster(3);
    (0..2).for_each(|partition| produce(&cluster, partition, 0..100, 0));
    let kafka = on(&cluster);
    let infos = kafka.partitions().unwrap();
    let ends: Vec<_> =
        infos.iter().map(|info| (info.partition.0, info.first.0, info.end.map(|end| end.0))).collect();
    assert_eq!(ends, [(0, 0, Some(100)), (1, 0, Some(100)), (2, 0, Some(0))]);
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    let wake = Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let mut source = kafka.open(&[(Partition(0), Offset(0)), (Partition(2), Offset(0))], wake).unwrap();
    let mut drained = Drained::default();
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.len() == 2);
    source.assign(Partition(1), Offset(37)).unwrap();
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.len() == 3);
    let expected = |partition, from: i64| {
        (from..100).map(move |offset| (offset, Some(1000 + offset), value(partition, offset)))
    };
    assert_eq!(drained.messages[&0], expected(0, 0).collect::<Vec<_>>());
    assert_eq!(drained.messages[&1], expected(1, 37).collect::<Vec<_>>());
    assert_eq!(drained.caught_up, [(0, 100), (1, 100), (2, 0)].into());
    assert!(woken.load(Ordering::Relaxed) > 0, "the worker is woken");
    produce(&cluster, 0, 100..101, 0);
    until(source.as_mut(), &mut drained, |drained| drained.caught_up[&0] == 101);
    assert_eq!(offsets(&drained, 0).len(), 101);
}

#[test]
fn identity_is_that_of_the_topic_not_its_name() {
    let (one, other) = (cluster(2), cluster(2));
    let identity = |cluster: &Cluster| {
        let infos = on(cluster).partitions().unwrap();
        assert_eq!(infos[0].identity, infos[1].identity);
        infos[0].identity.clone()
    };
    assert_eq!(identity(&one), identity(&one));
    assert_ne!(identity(&one), identity(&other));
}

#[test]
fn brokers_that_are_not_there_are_named_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let brokers = listener.local_addr().unwrap().to_string();
    drop(listener);
    let kafka = Kafka::new(Options { patience: Duration::from_millis(300), ..options(&brokers) }).unwrap();
    let Err(Error::Unreachable { what, detail }) = kafka.partitions() else { panic!("it is unreachable") };
    assert_eq!(what, format!("broker \"{brokers}\""));
    assert!(detail.contains("refused"), "{detail}");
}

#[test]
fn topic_that_is_not_there_is_named() {
    let cluster = cluster(1);
    cluster.topic_error("gone", Response::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let kafka =
        Kafka::new(Options { topic: "gone".into(), ..options(&cluster.bootstrap_servers()) }).unwrap();
    let error = kafka.partitions().unwrap_err();
    assert!(matches!(&error, Error::Unusable { what, .. } if what == "topic gone"), "{error}");
    assert!(error.to_string().contains("has no such topic"), "{error}");
}

#[test]
fn records_that_are_gone_stop_the_job() {
    let cluster = cluster(1);
    // The mock cluster keeps 5 MiB a partition.
    produce(&cluster, 0, 0..80, 100_000);
    let kafka = on(&cluster);
    let mut source = kafka.open(&[(Partition(0), Offset(1))], Box::new(|| {})).unwrap();
    let error = failure(source.as_mut(), &mut Drained::default());
    let Error::RecordsGone { input, partition: Partition(0), from: Offset(1), to } = &error else {
        panic!("{error}")
    };
    let first = kafka.partitions().unwrap()[0].first;
    assert_eq!((input.as_str(), *to), ("t", first));
    assert!(first > Offset(1), "some are gone");
    let refused = kafka.open(&[(Partition(0), Offset(1))], Box::new(|| {}));
    assert!(
        matches!(refused, Err(Error::RecordsGone { from: Offset(1), .. })),
        "known before anything is read"
    );
}

#[test]
fn partition_that_ends_before_what_was_read_is_another_one() {
    let cluster = cluster(1);
    produce(&cluster, 0, 0..10, 0);
    let mut source = on(&cluster).open(&[(Partition(0), Offset(11))], Box::new(|| {})).unwrap();
    let error = failure(source.as_mut(), &mut Drained::default());
    assert!(
        matches!(&error, Error::OtherIdentity { found, .. } if found.contains("ends at offset 10")),
        "{error}"
    );
}

#[test]
fn offset_that_is_refused_for_a_moment_loses_and_repeats_nothing() {
    let cluster = cluster(1);
    produce(&cluster, 0, 0..50, 0);
    let mut source = on(&cluster).open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    let mut drained = Drained::default();
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.contains_key(&0));
    let refused = [Response::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE; 2];
    cluster.request_errors(RDKafkaApiKey::Fetch, &refused);
    produce(&cluster, 0, 50..100, 0);
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.get(&0) == Some(&100));
    assert_eq!(offsets(&drained, 0), (0..100).collect::<Vec<_>>());
}

#[test]
fn broker_that_goes_and_comes_back_loses_and_repeats_nothing() {
    let cluster = cluster(2);
    (0..2).for_each(|partition| produce(&cluster, partition, 0..50, 0));
    let patience = Duration::from_millis(300);
    let kafka = Kafka::new(Options { patience, ..options(&cluster.bootstrap_servers()) }).unwrap();
    let mut source =
        kafka.open(&[(Partition(0), Offset(0)), (Partition(1), Offset(0))], Box::new(|| {})).unwrap();
    let mut drained = Drained::default();
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.len() == 2);
    cluster.broker_down(1).unwrap();
    assert!(matches!(kafka.partitions(), Err(Error::Unreachable { .. })), "nobody answers");
    poll(source.as_mut(), 1000, &mut drained).unwrap();
    cluster.broker_up(1).unwrap();
    (0..2).for_each(|partition| produce(&cluster, partition, 50..100, 0));
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.values().all(|next| *next == 100));
    (0..2).for_each(|partition| assert_eq!(offsets(&drained, partition), (0..100).collect::<Vec<_>>()));
}

#[test]
fn partition_that_rests_gives_nothing_and_loses_nothing() {
    let cluster = cluster(2);
    (0..2).for_each(|partition| produce(&cluster, partition, 0..1000, 0));
    let mut source =
        on(&cluster).open(&[(Partition(0), Offset(0)), (Partition(1), Offset(0))], Box::new(|| {})).unwrap();
    let mut drained = Drained::default();
    until(source.as_mut(), &mut drained, |drained| offsets(drained, 0).len() > 10);
    source.pause(Partition(0), true);
    // What was taken from the client before may still come: a batch, of 256.
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.contains_key(&1));
    let before = offsets(&drained, 0).len();
    produce(&cluster, 1, 1000..1500, 0);
    until(source.as_mut(), &mut drained, |drained| drained.caught_up[&1] == 1500);
    assert_eq!(offsets(&drained, 0).len(), before, "it rests");
    assert!(before < 1000 && !drained.caught_up.contains_key(&0), "it has more: {before}");
    source.pause(Partition(0), false);
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.get(&0) == Some(&1000));
    assert_eq!(offsets(&drained, 0), (0..1000).collect::<Vec<_>>());
}

#[test]
fn generated_messages_are_read_back_as_they_were_made() {
    struct Made;
    impl Generate for Made {
        fn identity(&self) -> String {
            "made".into()
        }
        fn partitions(&self) -> u32 {
            2
        }
        fn end(&self, partition: Partition) -> Option<Offset> {
            Some(Offset(500 + i64::from(partition.0)))
        }
        fn message(&self, partition: Partition, offset: Offset, out: &mut Message) {
            (out.key, out.value, out.timestamp_ms) =
                (b"k".to_vec(), value(partition.0, offset.0), 1 + offset.0);
        }
    }
    let cluster = cluster(2);
    let properties = options(&cluster.bootstrap_servers()).properties;
    let to = |topic: &str| {
        let mut tell = |_: &Produced| ControlFlow::Continue(());
        let pace = Pace { per_second: None, tell: &mut tell };
        to_topic(&Made, (&properties, topic), Duration::from_secs(10), pace)
    };
    let produced = to("t").unwrap();
    assert_eq!((produced.messages, produced.tombstones), (1001, 100));
    let mut source =
        on(&cluster).open(&[(Partition(0), Offset(0)), (Partition(1), Offset(0))], Box::new(|| {})).unwrap();
    let mut drained = Drained::default();
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.len() == 2);
    for partition in 0..2 {
        let made = (0..500 + i64::from(partition)).map(|n| (n, Some(1 + n), value(partition, n)));
        assert!(drained.messages[&partition].iter().cloned().eq(made), "partition {partition}");
    }
    assert!(drained.bytes > 1001, "keys count too");
    cluster.create_topic("narrow", 1, 1).unwrap();
    let error = to("narrow").unwrap_err().to_string();
    assert!(error.contains("it has 1 partitions"), "{error}");
}

#[test]
fn group_sees_what_was_committed() {
    let cluster = cluster(2);
    let group = Some("observers".to_string());
    let kafka = Kafka::new(Options { group, ..options(&cluster.bootstrap_servers()) }).unwrap();
    kafka.committed(&[(Partition(0), Offset(42)), (Partition(1), Offset(7))]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "observers");
    let observer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range("t", 0, 1);
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = observer.committed_offsets(list.clone(), PATIENCE).unwrap();
        let seen: Vec<_> = seen.elements().iter().filter_map(|element| element.offset().to_raw()).collect();
        if seen == [42, 7] {
            break;
        }
        assert!(Instant::now() < end, "{seen:?}");
    }
}

#[test]
fn partition_without_a_leader_for_a_moment_is_waited_for() {
    let cluster = cluster(1);
    produce(&cluster, 0, 0..10, 0);
    let kafka = on(&cluster);
    let errors = [Response::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3];
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &errors);
    assert_eq!(kafka.partitions().unwrap()[0].end, Some(Offset(10)));
}

/// librdkafka up to 2.12.1 takes the end for a message when it is asked for a batch, and would resume one behind it
/// (confluentinc/librdkafka#4844).
#[test]
fn partition_that_rested_at_its_end_goes_on_there() {
    let cluster = cluster(1);
    produce(&cluster, 0, 0..10, 0);
    let mut source = on(&cluster).open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    let mut drained = Drained::default();
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.contains_key(&0));
    source.pause(Partition(0), true);
    produce(&cluster, 0, 10..20, 0);
    source.pause(Partition(0), false);
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.get(&0) == Some(&20));
    assert_eq!(offsets(&drained, 0), (0..20).collect::<Vec<_>>());
}

#[test]
fn topic_that_is_another_one_now_is_not_confirmed() {
    let (one, other) = (cluster(1), cluster(1));
    let kafka = on(&one);
    assert!(kafka.confirm().is_ok(), "nothing was read yet");
    kafka.partitions().unwrap();
    assert!(kafka.confirm().is_ok());
    // Two clusters stand for a topic that was made again: no mock cluster can delete one.
    let kafka = Kafka::new(options(&other.bootstrap_servers())).unwrap();
    let identity = on(&one).partitions().unwrap()[0].identity.clone();
    kafka.known_as(&identity);
    let error = kafka.confirm().unwrap_err();
    assert!(
        matches!(&error, Error::OtherIdentity { expected, found, .. } if *expected == identity && *found != identity),
        "{error}"
    );
}

#[test]
fn commit_waits_for_brokers_that_do_not_answer() {
    let cluster = cluster(1);
    let patience = Duration::from_millis(300);
    let kafka = Kafka::new(Options { patience, ..options(&cluster.bootstrap_servers()) }).unwrap();
    kafka.partitions().unwrap();
    cluster.broker_down(1).unwrap();
    assert!(matches!(kafka.confirm(), Err(Error::Unreachable { .. })));
    cluster.broker_up(1).unwrap();
    let end = Instant::now() + PATIENCE;
    while let Err(error) = kafka.confirm() {
        assert!(Instant::now() < end, "{error}");
    }
}

#[test]
fn ends_are_known_where_they_are_beyond_what_was_read() {
    let cluster = cluster(1);
    produce(&cluster, 0, 0..10, 0);
    let kafka = on(&cluster);
    let mut source = kafka.open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    let mut drained = Drained::default();
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.contains_key(&0));
    until(source.as_mut(), &mut drained, |_| kafka.ends() == [End::at(Partition(0), Offset(10))]);
}

/// Asks, as those do who look for partitions, until `known` is so of the quiet of partition 0.
fn ask_until(kafka: &Kafka, source: &mut dyn Source, known: impl Fn(Option<Heard>) -> bool) -> Option<Heard> {
    let end = Instant::now() + PATIENCE;
    loop {
        let _ = kafka.partitions();
        // Answers are looked at now and then.
        let look = Instant::now() + Duration::from_millis(200);
        while Instant::now() < look {
            poll(source, 1000, &mut Drained::default()).unwrap();
        }
        let heard = source.heard(Partition(0));
        if known(heard) {
            return heard;
        }
        assert!(Instant::now() < end, "{heard:?}");
    }
}

#[test]
fn quiet_lasts_while_brokers_say_so_each_time_they_are_asked() {
    let cluster = cluster(1);
    produce(&cluster, 0, 0..10, 0);
    let patience = Duration::from_secs(1);
    let kafka = Kafka::new(Options { patience, ..options(&cluster.bootstrap_servers()) }).unwrap();
    let mut source = kafka.open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    let mut drained = Drained::default();
    until(source.as_mut(), &mut drained, |drained| drained.caught_up.contains_key(&0));
    assert_eq!(source.heard(Partition(0)), None, "nobody was asked");
    // 1. Answers that agree make one stretch.
    let longer = Duration::from_millis(500);
    let began = Instant::now();
    ask_until(&kafka, source.as_mut(), |heard| heard.is_some_and(|heard| heard.since > heard.last + longer));
    // 2. A question without an answer ends it: the next stretch begins after it.
    cluster.broker_down(1).unwrap();
    assert!(kafka.partitions().is_err(), "nobody answers");
    cluster.broker_up(1).unwrap();
    let back = Instant::now();
    let heard = ask_until(&kafka, source.as_mut(), |heard| {
        heard.is_some_and(|heard| heard.since < began.elapsed().saturating_sub(longer))
    });
    assert!(heard.is_some_and(|heard| heard.since <= back.elapsed()), "{heard:?}");
    // 3. What is sent ends it too.
    produce(&cluster, 0, 10..20, 0);
    until(source.as_mut(), &mut drained, |drained| drained.caught_up[&0] == 20);
    assert_eq!(source.heard(Partition(0)), None);
}

#[test]
fn message_comes_with_its_key_and_its_headers() {
    let cluster = cluster(1);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: BaseProducer = config.create().unwrap();
    let header = |key, value| rdkafka::message::Header { key, value };
    let headers = rdkafka::message::OwnedHeaders::new()
        .insert(header("kind", Some("enter")))
        .insert(header("trace", None::<&str>))
        .insert(header("kind", Some("")));
    let bare = BaseRecord::<str, str>::to("t").partition(0).payload("bare");
    let empty_key = BaseRecord::to("t").partition(0).key("").payload("x");
    let full = BaseRecord::to("t").partition(0).key("A002").payload("x").headers(headers);
    for record in [bare, empty_key, full] {
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let mut source = on(&cluster).open(&[(Partition(0), Offset(0))], Box::new(|| {})).unwrap();
    let (end, mut told) = (Instant::now() + PATIENCE, Vec::new());
    while told.len() < 3 && Instant::now() < end {
        let polled = source.poll(1000, &mut |event| {
            if let Event::Message(raw, _) = event {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let key = raw.key.map(text);
                let headers: Vec<_> =
                    raw.headers.iter().map(|one| (one.name.to_string(), one.value.map(text))).collect();
                let last = raw.headers.last("kind").and_then(|one| one.value.map(text));
                told.push((key, headers, last));
            }
        });
        polled.unwrap();
    }
    let some = |text: &str| Some(text.to_string());
    let named = |name: &str, value: Option<String>| (name.to_string(), value);
    let all = vec![named("kind", some("enter")), named("trace", None), named("kind", some(""))];
    assert_eq!(told, [(None, vec![], None), (some(""), vec![], None), (some("A002"), all, some(""))]);
}
