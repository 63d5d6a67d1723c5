//! Compares what our decoder says of messages with what the twin says.

use crate::twin::{self, Clock, Read, Reading};
use headway_operators::record::{Columns, Offset, Partition, Payload, Raw};
use headway_operators::stream::aggregate::Summand;
use headway_operators::stream::decode::{Context, Decoded, Decoder as _};
use headway_operators::time::{Epoch, EventTime};
use headway_pipelines::turnstile::record::Decoder;
use headway_pipelines::zone::Zone;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

/// What a message says, or the reason why it is a dead letter.
pub(crate) type Answer = Result<Reading, String>;

/// A message and what is known when it is read.
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

/// The twin's answers to `messages`, whose wall-clock times are of `zone`.
pub(crate) fn answers(zone: &str, messages: &[Message]) -> Vec<Answer> {
    let (clock, usual) = (Clock::new(zone), twin::usual_columns());
    let answer = |Message { value, newest, columns }: &Message| {
        let columns = columns.as_deref().unwrap_or(&usual);
        let known = Read { clock: &clock, columns, newest: *newest, limit: None };
        twin::read(Some(value), &known).map_err(str::to_string)
    };
    messages.iter().map(answer).collect()
}

/// Our decoder's answers, its hashes checked: equal for equal content, different for different content.
fn ours(zone: &str, messages: &[Message], twins: &[Answer]) -> Vec<Answer> {
    let mut decoder = Decoder::new(Zone::find(zone).expect("a known zone"));
    let (mut keys, mut identities) = (Pairs::default(), Pairs::default());
    let mut answers = Vec::new();
    for (epoch, (message, twin)) in messages.iter().zip(twins).enumerate() {
        let mut definitions = Vec::new();
        decoder.begin(Epoch(epoch as u64));
        let raw = Raw {
            columns: message.columns.as_ref(),
            ..Raw::of(Partition(0), Offset(0), Payload::Bytes(&message.value))
        };
        let context = Context { newest: message.newest.map(EventTime) };
        let (time, reading) = match decoder.decode(&raw, &context, &mut definitions) {
            Ok(Decoded::Record(time, reading)) => (time, reading),
            Ok(Decoded::Filtered) => panic!("no message of the topic is filtered"),
            Err(reason) => {
                assert!(definitions.is_empty());
                answers.push(Err(reason.name().to_string()));
                continue;
            }
        };
        let definition = definitions.pop().expect("the first record of an epoch defines its key");
        assert!(definitions.is_empty());
        assert_eq!(definition.hash, reading.key);
        let key = definition.key.columns().map(str::to_string);
        keys.add(key.clone(), definition.hash);
        let id = match (twin, reading.identity()) {
            (Ok(twin), Some(identity)) => {
                assert_eq!(identity.shard(), reading.key.shard());
                // What the ID was is only in the hash, so it is taken from the twin.
                identities.add(twin.clone(), identity);
                twin.id.clone()
            }
            _ => String::new(),
        };
        let (entries, exits, time_ms) = (reading.entries, reading.exits, time.ms());
        answers.push(Ok(Reading { id, key, entries, exits, time_ms }));
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
    let twins = answers(zone, messages);
    for ((message, ours), twin) in messages.iter().zip(ours(zone, messages, &twins)).zip(&twins) {
        let Message { value, newest, columns } = message;
        assert_eq!(&ours, twin, "{zone}, after {newest:?}, {columns:?}: {}", value.escape_ascii());
    }
    twins
}
