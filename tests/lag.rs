//! The lag in time that a running job reports: by the timestamp of the first record that is not committed, to the millisecond.

use crate::cli::folder;
use crate::odd_inputs::now_ms;
use crate::process::{lines, signal, write};
use crate::processes::{PATIENCE, Processes, address, get};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::Signal;
use std::path::Path;
use std::time::Instant;

const TOPIC: &str = "mta-turnstile";
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

/// A job that reads the topic with epochs of an hour, and where it listens.
fn job(at: &Path) -> (Processes<'_>, String) {
    let source = ["--source", "kafka:", "--kafka-config", "client.properties"];
    let job = ["run", "turnstile", "--lake", "lake", "--listen", "0", "--epoch", "1h"];
    let job = Processes::alone(at, &[&job[..], &source[..]].concat());
    let address = address(&job, 0);
    (job, address)
}

/// Drains the job, which commits what it has read.
fn drain(mut job: Processes<'_>) {
    signal(&job.children[0], Signal::TERM);
    assert_eq!(job.codes(), [Some(0)], "{}", job.log("err", 0));
}

/// The lag that the job reports, in milliseconds; `None` before it knows where the partition ends.
fn lag_ms(address: &str) -> Option<i64> {
    let (_, metrics) = get(address, "/metrics");
    let value: f64 = metrics.lines().find_map(|line| line.strip_prefix(LAG)?.parse().ok())?;
    // As it was printed: whole milliseconds.
    Some((value * 1_000.0).round() as i64)
}

/// Asks for the lag until `is_due`, which is given when it was asked for, holds for it.
fn wait_for_lag(address: &str, what: &str, mut is_due: impl FnMut(i64, Option<i64>) -> bool) {
    let began = Instant::now();
    loop {
        let asked_ms = now_ms();
        let lag = lag_ms(address);
        if is_due(asked_ms, lag) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: after {PATIENCE:?} the lag in milliseconds is {lag:?}");
    }
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
    let (running, address) = job(at);
    let mut exact = 0;
    wait_for_lag(&address, "that of the first record", |asked_ms, lag| {
        let due = asked_ms - first_ms..=now_ms() - first_ms;
        exact = if lag.is_some_and(|lag| due.contains(&lag)) { exact + 1 } else { 0 };
        exact == 5
    });
    drain(running);
    // 2. All is committed: there is no lag. What comes next counts from its own timestamp.
    let (running, address) = job(at);
    wait_for_lag(&address, "all is committed", |_, lag| lag == Some(0));
    let next_ms = now_ms() - 30_000;
    produce(&brokers, &lines("c", 300, 5), next_ms);
    wait_for_lag(&address, "that of the next record", |asked_ms, lag| {
        let (before, lag) = (asked_ms - next_ms, lag.expect("the end is known"));
        let is_due = (before..=now_ms() - next_ms).contains(&lag);
        assert!(is_due || lag < before, "it was an older one: {lag}");
        is_due
    });
    drain(running);
}
