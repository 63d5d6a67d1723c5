//! The lag in time that a running job reports: by the timestamp of the first record that is not committed, to the millisecond.

use crate::cli::folder;
use crate::process::{lines, signal, write};
use crate::processes::get;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TOPIC: &str = "mta-turnstile";
/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
const LAG: &str = "headway_source_lag_seconds{input=\"turnstile\",topic=\"mta-turnstile\",partition=\"0\"} ";

/// Writes `messages` to the topic, each with the timestamp `time_ms`.
fn produce(brokers: &str, messages: &str, time_ms: i64) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer can be made");
    for line in messages.lines() {
        let record = BaseRecord::<(), _>::to(TOPIC).partition(0).timestamp(time_ms).payload(line);
        producer.send(record).map_err(|(error, _)| error).expect("there is room");
    }
    producer.flush(PATIENCE).expect("the broker takes them");
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("this century fits")
}

/// A job that reads the topic with epochs of `epoch`; where it listens, once its log says so.
fn job(at: &std::path::Path, epoch: &str) -> (Child, String) {
    let source = ["--source", "kafka:", "--kafka-config", "client.properties"];
    let job = ["run", "turnstile", "--lake", "lake", "--listen", "0", "--epoch", epoch];
    let log = std::fs::File::create(at.join("log")).expect("a file can be made");
    let child = Command::new(env!("CARGO_BIN_EXE_headway"))
        .args([&job[..], &source[..]].concat())
        .current_dir(at)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the program starts");
    (child, address_in(&at.join("log")))
}

/// The address in a job's log, once it is there.
fn address_in(log: &std::path::Path) -> String {
    loop {
        let log = BufReader::new(std::fs::File::open(log).expect("it is there"));
        let lines = log.lines().map_while(Result::ok);
        let found =
            lines.filter_map(|line| Some(line.split_once("event=\"listening\" address=")?.1.to_string()));
        if let Some(address) = found.last() {
            return address.split(' ').next().unwrap_or_default().to_string();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The lag that the job reports, in milliseconds; `None` before it knows where the partition ends.
fn lag_ms(address: &str) -> Option<i64> {
    let (_, metrics) = get(address, "/metrics");
    let value: f64 = metrics.lines().find_map(|line| line.strip_prefix(LAG)?.parse().ok())?;
    // As it was printed: whole milliseconds.
    Some((value * 1_000.0).round() as i64)
}

#[test]
fn lag_in_time_is_that_of_the_first_record_that_is_not_committed() {
    let cluster = rdkafka::mocking::MockCluster::new(1).expect("a double of a cluster starts");
    cluster.create_topic(TOPIC, 1, 1).expect("a topic can be made");
    let brokers = cluster.bootstrap_servers();
    let folder = folder();
    let at = folder.path();
    write(at, "client.properties", &format!("bootstrap.servers={brokers}\n"));
    // 1. While an epoch is open, its first record is the oldest one, however new the others are. It counts as soon as it was
    //    read, within a moment.
    let first_ms = now_ms() - 7_200_000;
    produce(&brokers, &lines("a", 0, 1), first_ms);
    produce(&brokers, &lines("b", 10, 20), now_ms());
    let (mut child, address) = job(at, "1h");
    let mut exact = 0;
    while exact < 5 {
        let before = now_ms() - first_ms;
        let lag = lag_ms(&address);
        let after = now_ms() - first_ms;
        exact = if lag.is_some_and(|lag| (before..=after).contains(&lag)) { exact + 1 } else { 0 };
    }
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "it commits what it has read");
    // 2. All is committed: there is no lag. What comes next counts from its own timestamp.
    let (mut child, address) = job(at, "1h");
    while lag_ms(&address) != Some(0) {}
    let next_ms = now_ms() - 30_000;
    produce(&brokers, &lines("c", 300, 5), next_ms);
    loop {
        let before = now_ms() - next_ms;
        let lag = lag_ms(&address).expect("the end is known");
        if (before..=now_ms() - next_ms).contains(&lag) {
            break;
        }
        assert!(lag < before, "it was an older one: {lag}");
    }
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
