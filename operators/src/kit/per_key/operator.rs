//! The operator itself: see [`super`] for its card.

use crate::error::{Reason, StateError};
use crate::keyed::{Fates, Keyed};
use crate::kit::logic::{Context, Logic, Now, Requests};
use crate::kit::per_key::entry::Entry;
use crate::kit::per_key::section::{SavedEntry, SavedRecord, Section};
use crate::kit::per_key::show::show;
use crate::kit::per_key::waiting::{Waiter, Waiting, encoded};
use crate::kit::record::{Origin, Place, Record};
use crate::progress::Tick;
use crate::snapshots::{Wanted, Written};
use crate::state::{KeyHash, SHARDS, Saved, SectionKind, Shard, Shown};
use crate::stream::decode::Definition;
use crate::time::{Epoch, EventTime, Watermark};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A record on its way to the shard of its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Routed<R> {
    hash: KeyHash,
    record: Record<R>,
}

impl<R> Routed<R> {
    /// Puts a record on its way to the shard of its key in `L`.
    pub fn of<L: Logic<In = R>>(record: Record<R>) -> Routed<R> {
        Routed { hash: KeyHash::of(&encoded(&L::key(&record.data))), record }
    }
}

/// Why a record that lies behind the watermark of its own partition is left out.
const BEHIND: Reason = Reason::of("behind-watermark");

/// A [`Logic`] with the state and the timers of all its keys.
pub struct PerKey<L: Logic> {
    name: String,
    logic: L,
    /// A hash of the name, for the places of what it gives.
    via: u64,
    slices: Vec<Slice<L>>,
    waiting: Waiting<L::In>,
    timers: BTreeSet<(EventTime, KeyHash)>,
    /// When to look whether a key has expired, where there is a `ttl`.
    expiries: BTreeSet<(EventTime, KeyHash)>,
    ttl_ms: Option<i64>,
    /// The entries that have changed since the last snapshot; each once.
    changed: Vec<KeyHash>,
    entries: usize,
    /// How much was given in this close.
    given: u32,
    requests: Requests<L::Out>,
    dropped: BTreeMap<Reason, u64>,
}

/// The keys of one shard.
struct Slice<L: Logic> {
    entries: HashMap<KeyHash, Box<Entry<L>>, FxBuildHasher>,
    /// Keys that some section has and that are gone; true where no section says so yet.
    deleted: BTreeMap<KeyHash, bool>,
}

impl<L: Logic> Default for Slice<L> {
    fn default() -> Self {
        Slice { entries: HashMap::default(), deleted: BTreeMap::new() }
    }
}

/// What led to a call of the logic.
struct Cause {
    hash: KeyHash,
    time: EventTime,
    since: Epoch,
    origin: Origin,
}

impl<L: Logic> PerKey<L> {
    /// Nothing remembered yet. `name` is the operator's in manifests.
    pub fn new(name: &str, logic: L) -> PerKey<L> {
        let ttl_ms = logic.ttl().map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        PerKey {
            name: name.to_string(),
            via: KeyHash::of(name.as_bytes()).0[1],
            logic,
            slices: (0..SHARDS).map(|_| Slice::default()).collect(),
            waiting: Waiting::default(),
            timers: BTreeSet::new(),
            expiries: BTreeSet::new(),
            ttl_ms,
            changed: Vec::new(),
            entries: 0,
            given: 0,
            requests: Requests::default(),
            dropped: BTreeMap::new(),
        }
    }

    /// All keys with their timers, rising, and their state.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (L::Key, Vec<EventTime>, L::State)> {
        let entries = self.slices.into_iter().flat_map(|slice| slice.entries.into_values());
        entries.map(|entry| {
            let Entry { key, timers, state, .. } = *entry;
            (key, timers.iter().collect(), state)
        })
    }

    fn slice(&mut self, hash: KeyHash) -> &mut Slice<L> {
        &mut self.slices[usize::from(hash.shard().0)]
    }

    fn take_record(&mut self, waiter: Waiter<L::In>, out: &mut Vec<Record<L::Out>>) {
        let Waiter { time, since, place, hash, data, .. } = waiter;
        let slice = &mut self.slices[usize::from(hash.shard().0)];
        let entry = slice.entries.entry(hash).or_insert_with(|| {
            self.entries += 1;
            Box::new(Entry::new(L::key(&data), time, since))
        });
        let (state, requests) = (&mut entry.state, &mut self.requests);
        let mut context = Context { key: &entry.key, time, now: Now::Record, requests };
        self.logic.on_record(data, state, &mut context);
        self.settle(Cause { hash, time, since, origin: place.origin }, out);
    }

    fn fire(&mut self, (time, hash): (EventTime, KeyHash), out: &mut Vec<Record<L::Out>>) {
        let slice = &mut self.slices[usize::from(hash.shard().0)];
        let entry = slice.entries.get_mut(&hash).expect("a key with a timer has an entry");
        entry.timers.remove(time);
        let (state, requests) = (&mut entry.state, &mut self.requests);
        let mut context = Context { key: &entry.key, time, now: Now::Timer, requests };
        self.logic.on_timer(state, &mut context);
        let since = entry.since;
        self.settle(Cause { hash, time, since, origin: Origin::Timer }, out);
    }

    /// Does what the logic asked for, and notes what has changed.
    fn settle(&mut self, cause: Cause, out: &mut Vec<Record<L::Out>>) {
        let Cause { hash, time, since, origin } = cause;
        let slice = &mut self.slices[usize::from(hash.shard().0)];
        let entry = slice.entries.get_mut(&hash).expect("the entry was just used");
        // 1. What leaves.
        let via = self.via ^ hash.0[1];
        for data in self.requests.out.drain(..) {
            let place = Place { origin, via, number: self.given };
            self.given = self.given.checked_add(1).expect("an epoch gives fewer than 2^32 records");
            out.push(Record { time, stamp: time, since: Some(entry.since.min(since)), place, data });
        }
        for reason in self.requests.dropped.drain(..) {
            *self.dropped.entry(reason).or_default() += 1;
        }
        // 2. Timers.
        for (at, sets) in self.requests.timers.drain(..) {
            match sets {
                true if entry.timers.insert(at) => drop(self.timers.insert((at, hash))),
                false if entry.timers.remove(at) => drop(self.timers.remove(&(at, hash))),
                _ => {}
            }
        }
        // 3. What is remembered.
        (entry.touched, entry.since) = (entry.touched.max(time), entry.since.min(since));
        if entry.is_empty() {
            self.forget(hash);
            return;
        }
        if !entry.is_changed {
            entry.is_changed = true;
            self.changed.push(hash);
            // The queue has a key once: it is put in again when its time comes and it was touched meanwhile.
            if let (Some(ttl_ms), Written::No) = (self.ttl_ms, entry.written) {
                self.expiries.insert((entry.expires(ttl_ms), hash));
            }
        }
    }

    /// Drops what is held of a key.
    fn forget(&mut self, hash: KeyHash) {
        let slice = &mut self.slices[usize::from(hash.shard().0)];
        let Some(entry) = slice.entries.remove(&hash) else { return };
        self.entries -= 1;
        if entry.written != Written::No {
            slice.deleted.insert(hash, true);
        }
        for at in entry.timers.iter() {
            self.timers.remove(&(at, hash));
        }
    }

    /// Drops the state of a key that nothing has touched for long.
    fn expire(&mut self, (at, hash): (EventTime, KeyHash)) {
        let Some(ttl_ms) = self.ttl_ms else { return };
        let Some(entry) = self.slice(hash).entries.get(&hash) else { return };
        let due = entry.expires(ttl_ms);
        if due > at {
            self.expiries.insert((due, hash));
        } else {
            self.forget(hash);
        }
    }

    /// Takes the records and fires the timers that `watermark` has passed, in the order of event time.
    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Record<L::Out>>) {
        self.given = 0;
        let mut records = self.waiting.take_before(watermark).into_iter().peekable();
        loop {
            let record = records.peek().map_or(watermark, |record| record.time);
            let timer = self.timers.first().map_or(watermark, |(at, _)| *at);
            let expiry = self.expiries.first().map_or(watermark, |(at, _)| *at);
            // At one instant: records, then timers, then what has expired.
            if let Some(next) = records.next_if(|_| record <= timer && record <= expiry) {
                self.take_record(next, out);
            } else if timer < watermark && timer <= expiry {
                let next = self.timers.pop_first().expect("there is a timer");
                self.fire(next, out);
            } else if expiry < watermark {
                let next = self.expiries.pop_first().expect("there is a key that may expire");
                self.expire(next);
            } else {
                break;
            }
        }
    }

    fn malformed(&self, shard: Shard, what: &'static str) -> StateError {
        StateError::Malformed { operator: self.name.clone(), shard: shard.0, what }
    }

    fn not_migrated(&self, found: u32) -> StateError {
        StateError::NotMigrated { operator: self.name.clone(), found, known: L::VERSION }
    }

    fn restore_entry(&mut self, saved: &Saved, entry: SavedEntry) -> Result<(), StateError> {
        let SavedEntry { key, since, touched, timers, state } = entry;
        let hash = KeyHash::of(&key);
        if hash.shard() != saved.shard {
            return Err(self.malformed(saved.shard, "a key of this shard"));
        }
        let key = postcard::from_bytes(&key).map_err(|_| self.malformed(saved.shard, "a key"))?;
        let state = if saved.version == L::VERSION {
            postcard::from_bytes(&state).map_err(|_| self.malformed(saved.shard, "the state of a key"))?
        } else {
            L::migrate(saved.version, &state).ok_or_else(|| self.not_migrated(saved.version))?
        };
        let (timers, written) = (timers.into_iter().collect(), Written::restored(saved.kind));
        let entry = Entry { key, state, timers, touched, since, written, is_changed: false };
        self.slice(hash).entries.insert(hash, Box::new(entry));
        Ok(())
    }

    fn restore_record(&mut self, saved: &Saved, record: SavedRecord) -> Result<(), StateError> {
        let SavedRecord { time, since, place, data } = record;
        let data: L::In = if saved.version == L::VERSION {
            postcard::from_bytes(&data).map_err(|_| self.malformed(saved.shard, "a waiting record"))?
        } else {
            L::migrate_record(saved.version, &data).ok_or_else(|| self.not_migrated(saved.version))?
        };
        let hash = KeyHash::of(&encoded(&L::key(&data)));
        if hash.shard() != saved.shard {
            return Err(self.malformed(saved.shard, "a waiting record of this shard"));
        }
        self.waiting.restore(Waiter {
            time,
            since,
            place,
            hash,
            written: Written::restored(saved.kind),
            data,
        });
        Ok(())
    }
}

impl<L: Logic> Keyed for PerKey<L> {
    type In = Routed<L::In>;
    type Key = ();
    type Out = Record<L::Out>;

    const VERSION: u32 = L::VERSION;

    fn name(&self) -> &str {
        &self.name
    }

    fn shard(routed: &Routed<L::In>) -> Shard {
        routed.hash.shard()
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, epoch: Epoch, batch: &mut Vec<Routed<L::In>>, _fates: &mut Fates) {
        for Routed { hash, record } in batch.drain(..) {
            let Record { time, stamp, since, place, data } = record;
            if time < stamp {
                *self.dropped.entry(BEHIND).or_default() += 1;
                continue;
            }
            let since = since.unwrap_or(epoch);
            self.waiting.push(Waiter { time, since, place, hash, written: Written::No, data });
        }
    }

    fn close(&mut self, _epoch: Epoch, tick: &Tick, out: &mut Vec<Record<L::Out>>) {
        self.advance(tick.watermark, out);
    }

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        let mut sections: BTreeMap<Shard, Section> = BTreeMap::new();
        // 1. Entries that have changed, and keys that are gone since the last snapshot, where no more is wanted.
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        for hash in changed {
            let shard = hash.shard();
            let Some(entry) = self.slice(hash).entries.get_mut(&hash) else { continue };
            if wanted.kind(shard) == SectionKind::Change && std::mem::take(&mut entry.is_changed) {
                entry.written = Written::Since;
                sections.entry(shard).or_default().entry(entry);
            }
        }
        for (number, slice) in (0..).zip(&mut self.slices) {
            // 2. For each shard whose base or merged change is written now, everything that belongs into it.
            let (shard, kind) = (Shard(number), wanted.kind(Shard(number)));
            if kind != SectionKind::Change {
                slice.whole(kind, sections.entry(shard).or_default());
            } else if !slice.deleted.is_empty() {
                let new = slice.deleted.iter_mut();
                let new: Vec<KeyHash> =
                    new.filter_map(|(hash, is_new)| std::mem::take(is_new).then_some(*hash)).collect();
                if !new.is_empty() {
                    sections.entry(shard).or_default().deleted.extend(new);
                }
            }
        }
        // 3. Waiting records.
        let mut add = |waiter: &Waiter<L::In>| {
            if waiter.written.is_in(wanted.kind(waiter.hash.shard())) {
                sections.entry(waiter.hash.shard()).or_default().record(waiter);
            }
        };
        if wanted.is_changes() {
            self.waiting.fresh().for_each(&mut add);
        } else {
            self.waiting.iter().for_each(&mut add);
        }
        self.waiting.saved(!wanted.is_changes(), |waiter| {
            let kind = wanted.kind(waiter.hash.shard());
            if waiter.written.is_in(kind) {
                waiter.written = Written::restored(kind);
            }
        });
        for (shard, section) in sections.into_iter().filter(|(_, section)| !section.is_empty()) {
            put(shard, section.encode());
        }
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        let section = Section::decode(&saved.bytes);
        let section = section.ok_or_else(|| self.malformed(saved.shard, "a section of keys and records"))?;
        for hash in section.deleted {
            let slice = self.slice(hash);
            slice.entries.remove(&hash);
            slice.deleted.insert(hash, false);
        }
        for entry in section.entries {
            self.restore_entry(saved, entry)?;
        }
        for record in section.waiting {
            self.restore_record(saved, record)?;
        }
        Ok(())
    }

    fn restored(&mut self, watermark: Watermark, _out: &mut Vec<Record<L::Out>>) {
        drop(self.waiting.take_before(watermark));
        for (hash, entry) in self.slices.iter().flat_map(|slice| &slice.entries) {
            self.entries += 1;
            self.timers.extend(entry.timers.iter().map(|at| (at, *hash)));
            self.expiries.extend(self.ttl_ms.map(|ttl_ms| (entry.expires(ttl_ms), *hash)));
        }
    }

    fn held(&self) -> u64 {
        (self.entries + self.timers.len() + self.waiting.len()) as u64
    }

    fn show(operator: &str, saved: &[Saved]) -> Option<Result<Vec<Shown>, StateError>> {
        Some(show::<L>(operator, saved))
    }

    fn dropped(&mut self) -> BTreeMap<Reason, u64> {
        std::mem::take(&mut self.dropped)
    }
}

impl<L: Logic> Slice<L> {
    /// Puts into `section` all that belongs into a base or a merged change.
    fn whole(&mut self, kind: SectionKind, section: &mut Section) {
        let is_in = |entry: &Entry<L>| entry.is_changed || entry.written.is_in(kind);
        let mut hashes: Vec<KeyHash> =
            self.entries.iter().filter(|(_, entry)| is_in(entry)).map(|(hash, _)| *hash).collect();
        hashes.sort_unstable();
        for hash in hashes {
            let entry = self.entries.get_mut(&hash).expect("it was just found");
            section.entry(entry);
            (entry.written, entry.is_changed) = (Written::restored(kind), false);
        }
        if kind == SectionKind::Base {
            self.deleted.clear();
        } else {
            section.deleted.extend(self.deleted.keys());
            self.deleted.values_mut().for_each(|is_new| *is_new = false);
        }
    }
}
