//! What does the turnstile job cost from a Kafka topic to the lake, against reading the topic and doing nothing?
//!
//! ```text
//! scripts/kafka run sh -c 'scripts/kafka topic bench 4 && cargo bench --bench kafka [-- MESSAGES ROUNDS]'
//! ```
//!
//! Three contestants read the same topic to its end, in rotating order, with the settings of a real run: the whole job on
//! one worker, into a lake on disk; a bare loop over what the job's source takes messages from, librdkafka's batches,
//! counting bytes and nothing else; and the client's ordinary `poll`, counting bytes. The topic `bench` of the broker at
//! `$KAFKA` is filled if it is empty, and read once before anything is timed. Each has to find all messages, and the same
//! bytes. CPU time is that of the process: the client's threads count, the broker does not.

#![allow(clippy::print_stdout, reason = "a measurement is told on stdout")]

mod figures;

use figures::{cpu_seconds, median, spread};
use headway::connect::Connector;
use headway::connect::kafka::config::Properties;
use headway::connect::kafka::{Kafka, Options, produce};
use headway::connect::produce::Pace;
use headway::engine::run::feed::Until;
use headway::engine::run::launch::{self, Launch};
use headway::engine::{Control, launch as start};
use headway::store::local::Local;
use headway_operators::generate;
use headway_operators::pipeline::Pipeline;
use headway_operators::record::{Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset as At, TopicPartitionList};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MESSAGES: u64 = 5_000_000;
const ROUNDS: usize = 3;
const TOPIC: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages, and bytes of their values where they were counted.
type Found = (u64, Option<u64>);

/// Who takes part, by name.
type Contestant<'a> = (&'static str, Box<dyn Fn() -> Found + 'a>);

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let messages = numbers.next().unwrap_or(MESSAGES);
    let rounds = numbers.next().map_or(ROUNDS, |rounds| usize::try_from(rounds).unwrap_or(ROUNDS));
    // `cargo test --benches` has no broker.
    let Ok(brokers) = std::env::var("KAFKA") else {
        println!("no broker: see the head of benches/kafka.rs");
        return;
    };
    let text = format!("bootstrap.servers={brokers}");
    let properties = Properties::parse(&text, "$KAFKA").expect("an address makes a setting");
    let pipeline = pipeline();
    fill(pipeline.as_ref(), &properties, messages);
    let contestants: [Contestant<'_>; 3] = [
        ("job, 1 worker, to the lake", Box::new(|| job(&pipeline, &properties))),
        ("bare reader, bytes only", Box::new(|| bare(&properties))),
        ("the client's poll, bytes only", Box::new(|| client(&properties))),
    ];

    // 1. All find the same. This also warms everything up.
    let found: Vec<Found> = contestants.iter().map(|(_, run)| run()).collect();
    for ((name, _), found) in contestants.iter().zip(&found) {
        assert_eq!(found.0, messages, "{name} does not find all messages");
    }
    assert_eq!(found[1].1, found[2].1, "the bytes of both readers");
    println!("{messages} messages, {} bytes, found by all", found[1].1.unwrap_or_default());

    // 2. Rounds, and the table: nanoseconds a message.
    let mut took = vec![(Vec::new(), Vec::new()); contestants.len()];
    for round in 0..rounds {
        for turn in 0..contestants.len() {
            let which = (round + turn) % contestants.len();
            let (cpu, wall) = (cpu_seconds(), Instant::now());
            assert_eq!(contestants[which].1().0, messages);
            let each = |seconds: f64| seconds * 1e9 / messages as f64;
            took[which].0.push(each(cpu_seconds() - cpu));
            took[which].1.push(each(wall.elapsed().as_secs_f64()));
        }
    }
    println!("{:30} {:>26} {:>26}", "ns a message, median (spread)", "CPU", "wall");
    for ((name, _), (cpu, wall)) in contestants.iter().zip(&took) {
        println!("{name:30} {:>26} {:>26}", spread(cpu, 0), spread(wall, 0));
    }
    let speed = |to: usize| 100.0 * median(&took[to].1) / median(&took[0].1);
    println!(
        "the job's speed, of the bare reader's: {:.0} %; of the client's poll: {:.0} %",
        speed(1),
        speed(2)
    );
}

fn pipeline() -> Arc<dyn Pipeline> {
    let entry = headway_pipelines::find("turnstile").expect("the catalogue has the turnstile pipeline");
    entry.configure([]).expect("the default settings make a job").pipeline
}

fn kafka(properties: &Properties) -> Kafka {
    let (properties, topic) = (properties.clone(), TOPIC.to_string());
    Kafka::new(Options { properties, topic, group: None, patience: PATIENCE })
        .expect("the settings are usable")
}

/// Where the topic's partitions begin, and how many messages there are. It has no gaps.
fn there(kafka: &Kafka) -> (Vec<(Partition, Offset)>, u64) {
    let infos = kafka.partitions().expect("the topic is there: see the head of this file");
    let count: i64 = infos.iter().map(|info| info.end.unwrap_or(info.first) - info.first).sum();
    (infos.iter().map(|info| (info.partition, info.first)).collect(), count.unsigned_abs())
}

/// Fills the topic with the generator's messages, unless it is filled.
fn fill(pipeline: &dyn Pipeline, properties: &Properties, messages: u64) {
    let (partitions, found) = there(&kafka(properties));
    if found == messages {
        return;
    }
    assert_eq!(found, 0, "topic \"{TOPIC}\" holds another number of messages");
    let entry = headway_pipelines::find(pipeline.name()).expect("the catalogue has it");
    let partitions = u32::try_from(partitions.len()).expect("a few partitions");
    let input = pipeline.inputs()[0].name;
    let usual = (entry.generate)(input).expect("it makes messages for its input");
    let options = generate::Options { messages: Some(messages), partitions, ..usual };
    let generator = pipeline.generator(input, &options).expect("it makes messages for its input");
    let mut tell = |_: &_| ControlFlow::Continue(());
    let pace = Pace { per_second: None, tell: &mut tell };
    produce::to_topic(generator.as_ref(), (properties, TOPIC), PATIENCE, pace)
        .expect("the topic can be filled");
}

/// The whole job, into a fresh lake.
fn job(pipeline: &Arc<dyn Pipeline>, properties: &Properties) -> Found {
    let folder = tempfile::tempdir().expect("a folder for the lake");
    let store = Arc::new(Local::new(folder.path()).expect("the lake can be written"));
    let job = Launch {
        sources: vec![launch::Source {
            discover_every: Some(Duration::from_secs(10)),
            ..launch::Source::new(Arc::new(kafka(properties)), TOPIC)
        }],
        idle_after: Some(Duration::from_secs(60)),
        idle_flush: Some(Duration::from_secs(600)),
        until: Until::CaughtUp,
        ..Launch::new(Arc::clone(pipeline), [], store)
    };
    let summary = start(job, &Control::new()).expect("the job ends well");
    assert!(summary.outcome.rows > 0, "windows close");
    let partitions = summary.head.inputs.iter().flat_map(|input| &input.partitions);
    (partitions.map(|part| part.total.consumed).sum(), None)
}

/// A bare reader: the interface and the settings of a run, and nothing but counting.
fn bare(properties: &Properties) -> Found {
    let kafka = kafka(properties);
    let (starts, there) = there(&kafka);
    let (messages, bytes) = kafka.count(&starts, there).expect("the topic can be read");
    (messages, Some(bytes))
}

/// The client as most programs use it.
fn client(properties: &Properties) -> Found {
    let (starts, there) = there(&kafka(properties));
    let config = properties.reader(Some("bench")).expect("the settings are usable");
    let consumer: BaseConsumer = config.create().expect("a consumer can be made");
    let mut list = TopicPartitionList::new();
    for (partition, first) in starts {
        let partition = i32::try_from(partition.0).expect("a few partitions");
        list.add_partition_offset(TOPIC, partition, At::Offset(first.0)).expect("an offset");
    }
    consumer.assign(&list).expect("the topic can be read");
    let (mut messages, mut bytes) = (0, 0);
    while messages < there {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                messages += 1;
                bytes += message.payload().map_or(0, <[u8]>::len) as u64;
            }
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => panic!("the topic cannot be read: {error}"),
        }
    }
    (messages, Some(bytes))
}
