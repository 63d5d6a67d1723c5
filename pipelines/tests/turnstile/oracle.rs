//! Asks the oracle what messages say, and compares it with what our decoder says.

use headway_operators::record::{Columns, Payload, Raw};
use headway_operators::stream::aggregate::Summand;
use headway_operators::stream::decode::{Context, Decoded, Decoder as _};
use headway_operators::time::EventTime;
use headway_pipelines::turnstile::record::Decoder;
use headway_pipelines::zone::Zone;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oracle's answer to one message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// A dead letter, and why.
    Dead { reason: String },
    /// A record.
    Record { key: [String; 7], id: String, entries: i64, exits: i64, ts: i64 },
}

/// Where the oracle is: beside the repository.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/oracle");
    assert!(folder.is_dir(), "the oracle is expected at {}, beside the repository", folder.display());
    folder
}

/// What `program` of the oracle prints.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let mut python = Command::new("python3");
    let output =
        python.arg("-B").arg(folder().join(program)).args(args).output().expect("python3 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).expect("the oracle prints text")
}

/// A message as the oracle is asked about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) value: Vec<u8>,
    /// The newest event time of its partition, in milliseconds.
    pub(crate) newest: Option<i64>,
    /// The columns of its file, if they are not the topic's own.
    pub(crate) columns: Option<Columns>,
}

impl From<Vec<u8>> for Message {
    fn from(value: Vec<u8>) -> Message {
        Message { value, ..Message::default() }
    }
}

/// The oracle's answers to `questions`, each a JSON object.
pub(crate) fn ask<Answer: DeserializeOwned>(questions: &[serde_json::Value]) -> Vec<Answer> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new("python3")
        .arg(here.join("tests/turnstile/oracle.py"))
        .arg(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    // Written from a thread of its own: the oracle answers while it reads.
    let mut stdin = python.stdin.take().expect("it is piped");
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = python.wait_with_output().expect("the oracle ends");
    writer.join().expect("no panic").expect("the oracle reads to the end");
    assert!(output.status.success(), "the oracle failed: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let answers: Vec<Answer> =
        text.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

/// `bytes` in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The oracle's answers to `messages`, whose wall-clock times are of `zone`.
fn answers(zone: &str, messages: &[Message]) -> Vec<Answer> {
    let question = |Message { value, newest, columns }: &Message| {
        let columns = columns.as_ref().map(|columns| columns.to_vec());
        json!({ "zone": zone, "newest": newest, "value": hex(value), "columns": columns })
    };
    ask(&messages.iter().map(question).collect::<Vec<_>>())
}

/// Our decoder's answers, its hashes checked: equal for equal content, different for different content.
fn ours(zone: &str, messages: &[Message], oracle: &[Answer]) -> Vec<Answer> {
    let mut decoder = Decoder::new(Zone::find(zone).expect("a known zone"));
    let (mut keys, mut identities) = (Pairs::default(), Pairs::default());
    let mut answers = Vec::new();
    for (epoch, (message, oracle)) in messages.iter().zip(oracle).enumerate() {
        let mut definitions = Vec::new();
        decoder.begin(epoch as u64);
        let raw = Raw { columns: message.columns.as_ref(), ..Raw::of(0, 0, Payload::Bytes(&message.value)) };
        let context = Context { newest: message.newest.map(EventTime) };
        let (time, reading) = match decoder.decode(&raw, &context, &mut definitions) {
            Ok(Decoded::Record(time, reading)) => (time, reading),
            Ok(Decoded::Filtered) => panic!("no message of the topic is filtered"),
            Err(reason) => {
                assert!(definitions.is_empty());
                answers.push(Answer::Dead { reason: reason.name().to_string() });
                continue;
            }
        };
        let definition = definitions.pop().expect("the first record of an epoch defines its key");
        assert!(definitions.is_empty());
        assert_eq!(definition.hash, reading.key);
        let key = definition.key.columns().map(str::to_string);
        keys.add(key.clone(), definition.hash);
        let id = match (oracle, reading.identity()) {
            (Answer::Record { id, .. }, Some(identity)) => {
                assert_eq!(identity.shard(), reading.key.shard());
                // What the ID was is only in the hash, so it is taken from the oracle.
                identities.add(oracle.clone(), identity);
                id.clone()
            }
            _ => String::new(),
        };
        answers.push(Answer::Record {
            key,
            id,
            entries: reading.entries,
            exits: reading.exits,
            ts: time.ms(),
        });
    }
    answers
}

/// Shows that two kinds of names go together one to one.
struct Pairs<A, B> {
    there: HashMap<A, B>,
    back: HashMap<B, A>,
}

impl<A, B> Default for Pairs<A, B> {
    fn default() -> Self {
        Pairs { there: HashMap::new(), back: HashMap::new() }
    }
}

impl<A: Clone + Debug + Eq + Hash, B: Copy + Debug + Eq + Hash> Pairs<A, B> {
    fn add(&mut self, one: A, other: B) {
        let there = self.there.entry(one.clone()).or_insert(other);
        let back = self.back.entry(other).or_insert_with(|| one.clone());
        assert_eq!((&*there, &*back), (&other, &one));
    }
}

/// Fails on the first message on which the two differ, and gives the answers.
pub(crate) fn agree(zone: &str, messages: &[Message]) -> Vec<Answer> {
    let oracle = answers(zone, messages);
    for ((message, ours), oracle) in messages.iter().zip(ours(zone, messages, &oracle)).zip(&oracle) {
        let Message { value, newest, columns } = message;
        assert_eq!(&ours, oracle, "{zone}, after {newest:?}, {columns:?}: {}", value.escape_ascii());
    }
    oracle
}
