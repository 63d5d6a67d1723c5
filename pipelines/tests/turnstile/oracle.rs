//! Asks the oracle what messages say, and compares it with what our decoder says.

use headway_operators::stream::aggregate::Summand;
use headway_operators::stream::decode::Decoder as _;
use headway_pipelines::turnstile::record::Decoder;
use headway_pipelines::zone::Zone;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
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

/// The oracle's answers to `values`, whose wall-clock times are of `zone`.
pub(crate) fn answers(zone: &str, values: &[Vec<u8>]) -> Vec<Answer> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new("python3")
        .arg(here.join("tests/turnstile/oracle.py"))
        .arg(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut questions = String::new();
    for value in values {
        write!(questions, "{zone} ").expect("a string takes any text");
        value.iter().for_each(|byte| write!(questions, "{byte:02x}").expect("a string takes any text"));
        questions.push('\n');
    }
    // Written from a thread of its own: the oracle answers while it reads.
    let mut stdin = python.stdin.take().expect("it is piped");
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = python.wait_with_output().expect("the oracle ends");
    writer.join().expect("no panic").expect("the oracle reads to the end");
    assert!(output.status.success(), "the oracle failed: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let answers: Vec<Answer> =
        text.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    assert_eq!(answers.len(), values.len());
    answers
}

/// Our decoder's answers, its hashes checked: equal for equal content, different for different content.
pub(crate) fn ours(zone: &str, values: &[Vec<u8>], oracle: &[Answer]) -> Vec<Answer> {
    let mut decoder = Decoder::new(Zone::find(zone).expect("a known zone"));
    let (mut keys, mut identities) = (Pairs::default(), Pairs::default());
    let mut answers = Vec::new();
    for (epoch, (value, oracle)) in values.iter().zip(oracle).enumerate() {
        let mut definitions = Vec::new();
        decoder.begin(epoch as u64);
        let (time, reading) = match decoder.decode(value, &mut definitions) {
            Ok(record) => record,
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
pub(crate) fn agree(zone: &str, values: &[Vec<u8>]) -> Vec<Answer> {
    let oracle = answers(zone, values);
    for ((value, ours), oracle) in values.iter().zip(ours(zone, values, &oracle)).zip(&oracle) {
        assert_eq!(&ours, oracle, "{zone}: {}", value.escape_ascii());
    }
    oracle
}
