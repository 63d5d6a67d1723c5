//! Keeps the history of a value by key (a slowly changing dimension of type 2), and finds for each fact the version that was
//! in force.
//!
//! # Input
//! [`Event`]s stamped with their time, exchanged by the shard of their key: each says which value the key has at its time, and
//! may carry a fact.
//! # Output
//! A table of [`Version`]s: half-open intervals `[from, to)` in which the key had one value; the last has no end. And a
//! stream of [`Fact`]s, each once and for ever, with the beginning of its version.
//! # State
//! Per key the beginnings of its versions below the watermark, and every event at or above it. Beginnings alone would not
//! do: a late event that splits an interval needs the first event after it, which nobody would remember.
//! # Progress
//! An event counts when the watermark has passed its time; it leaves in that epoch. Events of a key count in the order of
//! time, whatever their order of arrival.
//! # Late and bad data
//! An event is late where its time lies below its stamp; it is refused at the source. At one instant the greatest value wins,
//! and facts of that instant belong to the version that holds then.
//! # Restart
//! As [`keep`](crate::view::keep) for the table. Facts that were emitted do not come again.
//! # Cost
//! An ordered insertion an event and one step a key and instant when the watermark passes it.
//!
//! ```text
//! free@1 free@5 paid@4, watermark 9  ──►  [1, 4) free, [4, 5) paid, [5, …) free
//! ```

use crate::error::StateError;
use crate::keyed::{Fates, Keyed};
use crate::progress::Tick;
use crate::record::Stamped;
use crate::snapshots::Wanted;
use crate::state::{Saved, Shard};
use crate::stream::decode::Definition;
use crate::time::{Epoch, EventTime, Watermark};
use crate::view::kept::Kept;
use crate::view::table::{Key, Update, shard_of};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a record says of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Event<K, V, F> {
    /// Whose value it is.
    pub key: K,
    /// The value that the key has now.
    pub value: V,
    /// What happened, if it is to be emitted with its version.
    pub fact: Option<F>,
}

/// A time in which a key had one value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Its first instant.
    pub from: EventTime,
    /// The first instant after it; `None` while it holds.
    pub to: Option<EventTime>,
}

/// A fact and the version that was in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fact<K, V, F> {
    /// The key.
    pub key: K,
    /// When it happened.
    pub time: EventTime,
    /// What happened.
    pub fact: F,
    /// The value that was in force.
    pub value: V,
    /// Since when.
    pub from: EventTime,
}

/// What the operator emits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Out<K, V, F> {
    /// An update of the table of versions.
    Version(Update<Version<K, V>>),
    /// A fact.
    Fact(Fact<K, V, F>),
}

/// What is kept of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct History<V, F> {
    /// The beginnings of versions below the watermark, rising.
    points: Vec<(EventTime, V)>,
    /// Events at or above the watermark, in the order of time, value and fact.
    waiting: Vec<(EventTime, V, Option<F>)>,
}

/// The operator.
pub struct Scd2<K, V, F> {
    name: String,
    committed: Epoch,
    watermark: Watermark,
    kept: Kept<K, History<V, F>>,
    /// The instants of waiting events.
    due: BTreeSet<(EventTime, K)>,
}

impl<K: Key, V: Key, F: Key> Scd2<K, V, F> {
    /// No history yet. `name` is the operator's in manifests, `committed` the epoch that the run starts from.
    pub fn new(name: &str, committed: Epoch) -> Scd2<K, V, F> {
        let (kept, due) = (Kept::default(), BTreeSet::new());
        Scd2 { name: name.to_string(), committed, watermark: EventTime::MIN, kept, due }
    }
}

impl<V: Key, F: Key> History<V, F> {
    /// Lets the events of the instant `at` count: those that follow come later. Gives what changes of the versions of `key`,
    /// and the facts.
    fn settle<K: Key>(&mut self, key: &K, at: EventTime, epoch: Epoch, out: &mut Vec<Out<K, V, F>>) {
        let count = self.waiting.iter().take_while(|(time, ..)| *time == at).count();
        let events: Vec<_> = self.waiting.drain(..count).collect();
        let Some((_, value, _)) = events.last().cloned() else { return };
        let version = |point: &(EventTime, V), to| Version {
            key: key.clone(),
            value: point.1.clone(),
            from: point.0,
            to,
        };
        let last = self.points.last();
        if last.is_none_or(|(_, known)| *known != value) {
            if let Some(last) = last {
                out.push(Out::Version((version(last, None), epoch, -1)));
                out.push(Out::Version((version(last, Some(at)), epoch, 1)));
            }
            let point = (at, value);
            out.push(Out::Version((version(&point, None), epoch, 1)));
            self.points.push(point);
        }
        let (from, value) = self.points.last().expect("there is one since the first event");
        for fact in events.into_iter().filter_map(|(_, _, fact)| fact) {
            let (key, value) = (key.clone(), value.clone());
            out.push(Out::Fact(Fact { key, time: at, fact, value, from: *from }));
        }
    }

    /// The versions as of now.
    fn versions<K: Key>(&self, key: &K) -> impl Iterator<Item = Version<K, V>> {
        let ends = self.points.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]);
        self.points.iter().zip(ends).map(|((from, value), to)| Version {
            key: key.clone(),
            value: value.clone(),
            from: *from,
            to,
        })
    }
}

impl<K: Key, V: Key, F: Key> Keyed for Scd2<K, V, F> {
    type In = Stamped<Event<K, V, F>>;
    type Key = ();
    type Out = Out<K, V, F>;

    const VERSION: u32 = 1;

    fn name(&self) -> &str {
        &self.name
    }

    fn shard(event: &Self::In) -> Shard {
        shard_of(&event.data.key)
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, _epoch: Epoch, batch: &mut Vec<Self::In>, _fates: &mut Fates) {
        for Stamped { time, data: Event { key, value, fact }, .. } in batch.drain(..) {
            assert!(time >= self.watermark, "an event at {time} lies below the watermark");
            self.kept.change(&key, |history| {
                let history =
                    history.get_or_insert_with(|| History { points: Vec::new(), waiting: Vec::new() });
                let event = (time, value, fact);
                let at = history.waiting.partition_point(|known| *known <= event);
                history.waiting.insert(at, event);
            });
            self.due.insert((time, key));
        }
    }

    fn close(&mut self, epoch: Epoch, tick: &Tick, out: &mut Vec<Self::Out>) {
        self.watermark = tick.watermark;
        while let Some((at, key)) = self.due.first().filter(|(at, _)| *at < tick.watermark).cloned() {
            self.due.pop_first();
            self.kept.change(&key, |history| {
                history.as_mut().expect("an event waits in it").settle(&key, at, epoch, out);
            });
        }
    }

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        self.kept.snapshot(wanted, put);
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        self.kept.restore(&self.name, saved)
    }

    fn restored(&mut self, watermark: Watermark, out: &mut Vec<Self::Out>) {
        self.watermark = watermark;
        for (key, history) in self.kept.iter() {
            let version = |version| Out::Version((version, self.committed, 1));
            out.extend(history.versions(key).map(version));
            self.due.extend(history.waiting.iter().map(|(time, ..)| (*time, key.clone())));
        }
    }

    fn held(&self) -> u64 {
        self.kept.len()
    }
}
