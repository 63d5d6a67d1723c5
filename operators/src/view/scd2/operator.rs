//! The operator itself: see [`super`] for its card.

use crate::error::StateError;
use crate::keyed::{Fates, Keyed};
use crate::progress::Tick;
use crate::record::Stamped;
use crate::snapshots::Wanted;
use crate::state::{Saved, Shard};
use crate::stream::decode::Definition;
use crate::time::{Epoch, EventTime, Watermark};
use crate::view::scd2::versions::{Point, Settled, Versions};
use crate::view::scd2::waiting::{Waiting, Waits};
use crate::view::table::{Key, Update, shard_of};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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

/// A section of state: the versions of keys, the newest one apart, and events.
type Section<K, V, F> = (Vec<(K, Vec<Point<V>>, Point<V>)>, Vec<(EventTime, Event<K, V, F>)>);

/// A section of version 1: all that was known of a key.
type SectionV1<K, V, F> = Vec<(K, Option<HistoryV1<V, F>>)>;

/// Versions below the watermark, and events at or above it.
type HistoryV1<V, F> = (Vec<Point<V>>, Vec<(EventTime, V, Option<F>)>);

/// The operator.
pub struct Scd2<K, V, F> {
    name: String,
    committed: Epoch,
    watermark: Watermark,
    versions: Versions<K, V>,
    waiting: Waiting<Event<K, V, F>>,
    /// While sections are read back: how often those of version 1 have had each event.
    of_v1: BTreeMap<(EventTime, Event<K, V, F>), usize>,
}

impl<K: Key, V: Key, F: Key> Scd2<K, V, F> {
    /// No history yet. `name` is the operator's in manifests, `committed` the epoch that the run starts from.
    pub fn new(name: &str, committed: Epoch) -> Scd2<K, V, F> {
        Scd2 {
            name: name.to_string(),
            committed,
            watermark: EventTime::MIN,
            versions: Versions::default(),
            waiting: Waiting::default(),
            of_v1: BTreeMap::new(),
        }
    }

    /// Counts `events`, which are all those of one key and instant, sorted. Calls must come in the order of time. Puts into `out` the
    /// changed versions of the key, and the facts.
    fn settle(&mut self, events: &mut [Waits<Event<K, V, F>>], epoch: Epoch, out: &mut Vec<Out<K, V, F>>) {
        let Some(last) = events.last() else { return };
        let (at, key, value) = (last.time, last.event.key.clone(), last.event.value.clone());
        let version = |from, value: &V, to| Version { key: key.clone(), value: value.clone(), from, to };
        let from = match self.versions.settle(&key, at, &value) {
            Settled::Holds(from) => from,
            Settled::Begins(before) => {
                if let Some((from, before)) = before {
                    out.push(Out::Version((version(from, &before, None), epoch, -1)));
                    out.push(Out::Version((version(from, &before, Some(at)), epoch, 1)));
                }
                out.push(Out::Version((version(at, &value, None), epoch, 1)));
                at
            }
        };
        for fact in events.iter_mut().filter_map(|waits| waits.event.fact.take()) {
            out.push(Out::Fact(Fact { key: key.clone(), time: at, fact, value: value.clone(), from }));
        }
    }

    /// Takes a section of version 1 back. A later one repeats the events of its keys that still waited then.
    fn restore_v1(&mut self, saved: &Saved) -> Result<(), StateError> {
        let Saved { shard, kind, .. } = *saved;
        let entries: SectionV1<K, V, F> = self.decoded(saved)?;
        for (key, history) in entries {
            let (points, events) = history.unwrap_or_default();
            self.versions.restore(shard, kind, key.clone(), points);
            let mut counts: BTreeMap<_, usize> = BTreeMap::new();
            for (time, value, fact) in events {
                *counts.entry((time, Event { key: key.clone(), value, fact })).or_default() += 1;
            }
            for ((time, event), count) in counts {
                let known = self.of_v1.entry((time, event.clone())).or_default();
                for _ in *known..count {
                    self.waiting.restore(shard, kind, time, event.clone());
                }
                *known = count.max(*known);
            }
        }
        Ok(())
    }

    fn decoded<T: DeserializeOwned>(&self, saved: &Saved) -> Result<T, StateError> {
        postcard::from_bytes(&saved.bytes).map_err(|_| StateError::Malformed {
            operator: self.name.clone(),
            shard: saved.shard.0,
            what: "versions and events",
        })
    }
}

impl<K: Key, V: Key, F: Key> Keyed for Scd2<K, V, F> {
    type In = Stamped<Event<K, V, F>>;
    type Key = ();
    type Out = Out<K, V, F>;

    const VERSION: u32 = 2;

    fn name(&self) -> &str {
        &self.name
    }

    fn shard(event: &Self::In) -> Shard {
        shard_of(&event.data.key)
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, _epoch: Epoch, batch: &mut Vec<Self::In>, _fates: &mut Fates) {
        for Stamped { time, data: event, .. } in batch.drain(..) {
            assert!(time >= self.watermark, "an event at {time} lies below the watermark");
            let shard = self.versions.know(&event.key);
            self.waiting.add(shard, time, event);
        }
    }

    fn close(&mut self, epoch: Epoch, tick: &Tick, out: &mut Vec<Self::Out>) {
        self.watermark = tick.watermark;
        let mut events = self.waiting.take_below(tick.watermark);
        let together = |a: &Waits<Event<K, V, F>>, b: &Waits<Event<K, V, F>>| {
            (a.time, &a.event.key) == (b.time, &b.event.key)
        };
        for events in events.chunk_by_mut(together) {
            self.settle(events, epoch, out);
        }
    }

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        let (mut versions, mut events) = (self.versions.take(wanted), self.waiting.entries(wanted));
        let shards: BTreeSet<Shard> = versions.keys().chain(events.keys()).copied().collect();
        for shard in shards {
            let section =
                (versions.remove(&shard).unwrap_or_default(), events.remove(&shard).unwrap_or_default());
            put(shard, postcard::to_stdvec(&section).expect("plain values encode"));
        }
        self.waiting.wrote(wanted);
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        if saved.version == 1 {
            return self.restore_v1(saved);
        }
        let Saved { shard, kind, .. } = *saved;
        let (versions, events): Section<K, V, F> = self.decoded(saved)?;
        for (key, earlier, newest) in versions {
            let points = earlier.into_iter().chain([newest]).collect();
            self.versions.restore(shard, kind, key, points);
        }
        events.into_iter().for_each(|(time, event)| self.waiting.restore(shard, kind, time, event));
        Ok(())
    }

    fn restored(&mut self, watermark: Watermark, out: &mut Vec<Self::Out>) {
        self.watermark = watermark;
        self.of_v1.clear();
        // These counted before.
        drop(self.waiting.take_below(watermark));
        for (_, event) in self.waiting.all() {
            self.versions.know(&event.key);
        }
        let version = |(key, value, from, to): (&K, &V, _, _)| {
            let version = Version { key: key.clone(), value: value.clone(), from, to };
            Out::Version((version, self.committed, 1))
        };
        out.extend(self.versions.iter().map(version));
    }

    fn held(&self) -> u64 {
        self.versions.len()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
