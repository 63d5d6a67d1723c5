//! The operator itself: see [`super`] for its card.

use crate::error::StateError;
use crate::keyed::{Fate, Fates, Keyed};
use crate::progress::Tick;
use crate::record::Stamped;
use crate::snapshots::{Wanted, Written};
use crate::state::{KeyHash, Saved, SectionKind, Shard};
use crate::stream::aggregate::dedup::{Admitted, Dedup};
use crate::stream::aggregate::section::{self, Section, Sections};
use crate::stream::aggregate::timeline::Timeline;
use crate::stream::decode::Definition;
use crate::stream::window::Grid;
use crate::time::{Epoch, EventTime, Span, Watermark};
use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use timely::ExchangeData;

/// A record whose `N` amounts are summed per key.
pub trait Summand<const N: usize>: ExchangeData + Copy {
    /// The hash of its key.
    fn key(&self) -> KeyHash;

    /// The hash of all that makes two records equal, in the key's shard; `None` if it is never a repeat.
    fn identity(&self) -> Option<KeyHash>;

    /// What is summed.
    fn amounts(&self) -> [i64; N];
}

/// The sums of one key in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total<K, const N: usize> {
    /// The window.
    pub span: Span,
    /// The key.
    pub key: Arc<K>,
    /// The sums.
    pub sums: [i128; N],
    /// The first epoch whose records may be in the window.
    pub since: Epoch,
}

/// A map from content hashes, which need no second hashing of substance.
type ByHash<V> = HashMap<KeyHash, V, FxBuildHasher>;

/// Sums per window and key.
pub struct Aggregate<S, K, const N: usize> {
    name: String,
    grid: Grid,
    dedup: Dedup,
    windows: Timeline<Window<N>>,
    keys: ByHash<Known<K>>,
    /// Keys that were defined but may be in no window.
    unused: Vec<KeyHash>,
    /// Sums changed since the last snapshot; each once.
    changed: Vec<(EventTime, KeyHash)>,
    watermark: Watermark,
    summand: std::marker::PhantomData<S>,
}

struct Window<const N: usize> {
    since: Epoch,
    sums: ByHash<Sum<N>>,
}

struct Sum<const N: usize> {
    amounts: [i128; N],
    written: Written,
}

struct Known<K> {
    /// `None` until its definition comes, which is before the epoch closes.
    key: Option<Arc<K>>,
    /// Windows that hold a sum of it.
    windows: u32,
    /// Which sections have it by value.
    written: Written,
}

impl<S, K, const N: usize> Aggregate<S, K, N> {
    /// Nothing summed yet, in the windows of `grid`. `name` is the operator's in manifests.
    pub fn new(name: &str, grid: Grid) -> Self {
        Aggregate {
            name: name.to_string(),
            grid,
            dedup: Dedup::new(grid),
            windows: Timeline::default(),
            keys: HashMap::default(),
            unused: Vec::new(),
            changed: Vec::new(),
            watermark: EventTime::MIN,
            summand: std::marker::PhantomData,
        }
    }

    /// Adds `amounts` of `key` to the window that ends at `end`.
    fn add(&mut self, epoch: Epoch, end: EventTime, key: KeyHash, amounts: &[i64; N]) {
        // A window has about as many keys as the one before it.
        let begin = |before: Option<&Window<N>>| {
            let room = before.map_or(0, |before| before.sums.len());
            Window { since: epoch, sums: HashMap::with_capacity_and_hasher(room, FxBuildHasher) }
        };
        let window = self.windows.at(end, begin);
        let sum = window.sums.entry(key).or_insert_with(|| {
            self.keys.entry(key).or_insert_with(Known::unknown).windows += 1;
            Sum { amounts: [0; N], written: Written::Since }
        });
        for (sum, amount) in sum.amounts.iter_mut().zip(amounts) {
            *sum = sum.checked_add(i128::from(*amount)).expect("2^64 amounts of 64 bits fit in 128");
        }
        // A new one, too: it is noted once, and is in no section until then.
        if sum.written != Written::No {
            sum.written = Written::No;
            self.changed.push((end, key));
        }
    }

    /// Forgets one window's hold on `key`.
    fn release(keys: &mut ByHash<Known<K>>, key: KeyHash) -> Arc<K> {
        let known = keys.get_mut(&key).expect("a key with a sum is known");
        known.windows -= 1;
        let value = known.key.clone().expect("a key is defined before its epoch closes");
        if known.windows == 0 {
            keys.remove(&key);
        }
        value
    }
}

impl<K> Known<K> {
    fn unknown() -> Self {
        Known { key: None, windows: 0, written: Written::No }
    }
}

impl<S, K, const N: usize> Keyed for Aggregate<S, K, N>
where
    S: Summand<N>,
    K: ExchangeData + Clone + Ord + Serialize + for<'a> Deserialize<'a>,
{
    type In = Stamped<S>;
    type Key = K;
    type Out = Total<K, N>;

    const VERSION: u32 = section::VERSION;

    fn name(&self) -> &str {
        &self.name
    }

    fn shard(record: &Stamped<S>) -> Shard {
        record.data.key().shard()
    }

    fn define(&mut self, definition: Definition<K>) {
        let known = self.keys.entry(definition.hash).or_insert_with(Known::unknown);
        if known.key.is_none() {
            known.key = Some(Arc::new(definition.key));
        }
        if known.windows == 0 {
            self.unused.push(definition.hash);
        }
    }

    fn apply(&mut self, epoch: Epoch, batch: &mut Vec<Stamped<S>>, fates: &mut Fates) {
        for record in batch.drain(..) {
            // 1. Which windows are open to the record: those that end after its stamp.
            let first = self.grid.first_open_end(record.time, record.stamp);
            let first = first.expect("a late record is refused at the source");
            assert!(first > self.watermark, "a record at {} met a closed window", record.time);
            let last = self.grid.last_end(record.time);
            // 2. Which of those have not counted an equal record.
            let data = record.data;
            let admitted = match data.identity() {
                Some(identity) => self.dedup.admit(identity, record.time, first),
                None => Admitted::All,
            };
            let before = match admitted {
                Admitted::All => last.plus_ms(1),
                Admitted::Before(end) => end,
                Admitted::None => {
                    fates.add(record.partition, Fate::Duplicate);
                    continue;
                }
            };
            fates.add(record.partition, Fate::Accepted);
            // 3. Sum.
            let amounts = data.amounts();
            let mut end = first;
            while end < before {
                self.add(epoch, end, data.key(), &amounts);
                end = end.plus_ms(self.grid.slide_ms());
            }
        }
    }

    fn close(&mut self, _epoch: Epoch, tick: &Tick, out: &mut Vec<Total<K, N>>) {
        self.watermark = tick.watermark;
        for (end, window) in self.windows.take_until(|end| end > tick.watermark) {
            let (span, from) = (self.grid.span(end), out.len());
            for (hash, sum) in window.sums {
                let key = Self::release(&mut self.keys, hash);
                out.push(Total { span, key, sums: sum.amounts, since: window.since });
            }
            out[from..].sort_unstable_by(|a, b| a.key.cmp(&b.key));
        }
        self.dedup.close(tick.watermark);
        for hash in self.unused.drain(..) {
            if self.keys.get(&hash).is_some_and(|known| known.windows == 0) {
                self.keys.remove(&hash);
            }
        }
    }

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        let mut sections = Sections::default();
        let mut changed = std::mem::take(&mut self.changed);
        if !wanted.is_changes() {
            // 1. Whatever its section is to have, whether it has changed now or before.
            let all = self.windows.iter().flat_map(|(end, window)| window.sums.iter().map(|sum| (*end, sum)));
            let is_in = |(_, (key, sum)): &(EventTime, (&KeyHash, &Sum<N>))| {
                sum.written.is_in(wanted.kind(key.shard()))
            };
            changed = all.filter(is_in).map(|(end, (key, _))| (end, *key)).collect();
        }
        changed.sort_unstable();
        // 2. Sums, each with its key where no section that stays has it by value.
        let mut added: HashSet<KeyHash, FxBuildHasher> = HashSet::default();
        for (end, key) in changed {
            let Some(window) = self.windows.get_mut(end) else { continue };
            let Some(sum) = window.sums.get_mut(&key) else { continue };
            let kind = wanted.kind(key.shard());
            sum.written = Written::restored(kind);
            let known = self.keys.get_mut(&key).expect("a key with a sum is known");
            let section = sections.of(key);
            if known.written.is_in(kind) && (kind == SectionKind::Change || added.insert(key)) {
                let value = known.key.as_deref().expect("a key is defined before its epoch closes");
                section.keys.push((key, value.clone()));
                known.written = if kind == SectionKind::Change { Written::Since } else { known.written };
            }
            let (since, amounts) = (window.since, sum.amounts.to_vec());
            section.sums.push(section::Sum { end, since, key, amounts });
        }
        for key in added {
            let known = self.keys.get_mut(&key).expect("a key with a sum is known");
            known.written = Written::restored(wanted.kind(key.shard()));
        }
        // 3. Identities.
        let seen: Vec<_> = self.dedup.groups(wanted).collect();
        sections.encode(&seen, put);
        self.dedup.saved(wanted);
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        let name = self.name.clone();
        let malformed = |what| StateError::Malformed { operator: name.clone(), shard: saved.shard.0, what };
        let section = Section::<K>::decode(saved.version, &saved.bytes);
        let section = section.ok_or_else(|| malformed("a section of sums and identities"))?;
        if !section.is_of(saved.shard) {
            return Err(malformed("keys and identities of this shard"));
        }
        let written = Written::restored(saved.kind);
        section.seen().for_each(|seen| self.dedup.restore(seen));
        if saved.kind == SectionKind::Base {
            self.dedup.based(saved.shard);
        }
        for (hash, key) in section.keys {
            let known = self.keys.entry(hash).or_insert_with(Known::unknown);
            (known.key, known.written) = (Some(Arc::new(key)), known.written.max(written));
        }
        for sum in section.sums {
            let amounts: [i128; N] =
                sum.amounts.try_into().map_err(|_| malformed("as many sums as there are"))?;
            let since = sum.since;
            let window = self.windows.at(sum.end, |_| Window { since, sums: HashMap::default() });
            window.since = window.since.min(since);
            let known = self.keys.get_mut(&sum.key).ok_or_else(|| malformed("the key of every sum"))?;
            if window.sums.insert(sum.key, Sum { amounts, written }).is_none() {
                known.windows += 1;
            }
        }
        Ok(())
    }

    fn restored(&mut self, watermark: Watermark, _out: &mut Vec<Total<K, N>>) {
        self.watermark = watermark;
        for (_, window) in self.windows.take_until(|end| end > watermark) {
            for key in window.sums.into_keys() {
                Self::release(&mut self.keys, key);
            }
        }
        self.keys.retain(|_, known| known.windows > 0);
        self.dedup.close(watermark);
        self.dedup.saved(&Wanted::changes());
    }

    fn held(&self) -> u64 {
        let sums: usize = self.windows.iter().map(|(_, window)| window.sums.len()).sum();
        sums as u64 + self.dedup.held()
    }
}
