//! The operator behind [`Item`]: holds encoded rows, gives them all at once, and saves those that stay.

use crate::error::StateError;
use crate::keyed::{Fates, Keyed};
use crate::progress::Tick;
use crate::row::{Cell, Row};
use crate::snapshots::{Wanted, Written};
use crate::state::{Saved, SectionKind, Shard};
use crate::stream::decode::Definition;
use crate::time::{Epoch, EventTime, Watermark};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;
use timely::ExchangeData;

/// A row that a roll can hold, in an encoding of its own.
pub trait Item: ExchangeData + Clone {
    /// What the rows of a roll are ordered by; rows of the same order by their bytes.
    type Order: Ord + Copy + Debug + Send + Sync;

    /// The version of its encoding.
    const VERSION: u32;

    /// True if no two rows of an epoch have the same order. A row that a base repeats is then known again: in lakes of format
    /// 1 a base has rows that earlier changes have, too.
    const IS_UNIQUE: bool;

    /// The shard it is held in.
    fn shard(&self) -> Shard;

    /// See [`Item::Order`].
    fn order(&self) -> Self::Order;

    /// The first epoch whose records may be in it, where it comes in `epoch`.
    fn since(&self, epoch: Epoch) -> Epoch;

    /// Its bytes. In a section, they follow its epoch.
    fn encode(&self, out: &mut Vec<u8>);

    /// What a section of `version` holds; `None` if it does not decode.
    fn section(version: u32, bytes: &[u8]) -> Option<Section<Self::Order>>;

    /// Calls `put` with each cell of the row that was encoded as `bytes`.
    fn cells(bytes: &[u8], put: &mut dyn FnMut(Cell<'_>));

    /// The event time of the row that was encoded as `bytes`.
    fn time(bytes: &[u8]) -> EventTime;
}

/// A shard's part of a snapshot, read back.
#[derive(Debug)]
pub struct Section<Order> {
    /// Rows of this epoch and earlier ones are gone.
    pub cleared: Option<Epoch>,
    /// The rows.
    pub rows: Vec<SavedRow<Order>>,
}

/// A row of a section.
#[derive(Debug)]
pub struct SavedRow<Order> {
    /// The first epoch whose records may be in it.
    pub since: Epoch,
    /// See [`Item::Order`].
    pub order: Order,
    /// Its bytes, in today's encoding.
    pub bytes: Vec<u8>,
}

/// When a roll leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// After so many milliseconds of the sources' wall clock.
    pub age_ms: i64,
    /// At so many bytes in memory on one worker. Rows without content count too.
    pub bytes: usize,
}

impl Default for Limits {
    /// Two minutes or 32 MiB.
    fn default() -> Limits {
        Limits { age_ms: 120_000, bytes: 32 << 20 }
    }
}

/// A row that leaves with its roll.
#[derive(Clone, Debug)]
pub struct Rolled<I: Item> {
    /// The rows of the roll, encoded.
    roll: Arc<Vec<u8>>,
    /// Where in it this one is.
    place: Place<I::Order>,
    item: PhantomData<fn() -> I>,
}

/// Where a row is in its roll, and what it is found and ordered by.
#[derive(Clone, Copy, Debug)]
struct Place<Order> {
    /// The first epoch whose records may be in it.
    since: Epoch,
    order: Order,
    shard: Shard,
    /// Its first byte: that of its epoch.
    start: usize,
    /// The first byte behind its epoch.
    row: usize,
    /// One past its last byte.
    end: usize,
    /// Which sections have it.
    written: Written,
}

/// What a row is found and ordered by, before it has a place.
struct Head<Order> {
    since: Epoch,
    order: Order,
    shard: Shard,
    written: Written,
}

/// Rows one after the other, each as a section has it.
#[derive(Debug)]
struct Rows<Order> {
    bytes: Vec<u8>,
    places: Vec<Place<Order>>,
}

/// An open roll.
#[derive(Debug)]
pub struct Roll<I: Item> {
    name: String,
    limits: Limits,
    rows: Rows<I::Order>,
    /// Wall-clock time of the roll's first epoch; `None` while that epoch is open.
    opened_ms: Option<i64>,
    /// How many of `rows` the last snapshot had: what comes after them is new.
    saved: usize,
    /// Shards that have rows on disk.
    dirty: BTreeSet<Shard>,
    /// Shards whose rows on disk are gone since their base, up to which epoch, and which sections say so.
    cleared: BTreeMap<Shard, (Epoch, Written)>,
    /// Rows that pieces have brought, while state comes back.
    known: BTreeSet<(Epoch, I::Order)>,
}

impl<Order> Default for Rows<Order> {
    fn default() -> Self {
        Rows { bytes: Vec::new(), places: Vec::new() }
    }
}

impl<Order: Copy> Rows<Order> {
    /// Adds a row, which `encode` appends.
    fn push(&mut self, head: Head<Order>, encode: impl FnOnce(&mut Vec<u8>)) {
        let Head { since, order, shard, written } = head;
        let start = self.bytes.len();
        let encoded = postcard::to_extend(&since, std::mem::take(&mut self.bytes));
        self.bytes = encoded.expect("a number encodes");
        let row = self.bytes.len();
        encode(&mut self.bytes);
        self.places.push(Place { since, order, shard, start, row, end: self.bytes.len(), written });
    }

    /// Bytes in memory, with those that the rows take on their way out.
    fn size(&self) -> usize {
        // A `Rolled` is a place and a pointer.
        self.bytes.len() + self.places.len() * (2 * size_of::<Place<Order>>() + size_of::<usize>())
    }
}

impl<I: Item> Roll<I> {
    /// An empty roll. `name` is the operator's in manifests.
    pub fn new(name: &str, limits: Limits) -> Roll<I> {
        Roll {
            name: name.to_string(),
            limits,
            rows: Rows::default(),
            opened_ms: None,
            saved: 0,
            dirty: BTreeSet::new(),
            cleared: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }
}

impl<I: Item> Keyed for Roll<I> {
    type In = I;
    type Key = ();
    type Out = Rolled<I>;

    const VERSION: u32 = I::VERSION;

    fn name(&self) -> &str {
        &self.name
    }

    fn shard(row: &I) -> Shard {
        row.shard()
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, epoch: Epoch, batch: &mut Vec<I>, _fates: &mut Fates) {
        for row in batch.drain(..) {
            let (since, order, shard) = (row.since(epoch), row.order(), row.shard());
            self.rows.push(Head { since, order, shard, written: Written::No }, |bytes| row.encode(bytes));
        }
    }

    fn close(&mut self, epoch: Epoch, tick: &Tick, out: &mut Vec<Rolled<I>>) {
        if self.rows.places.is_empty() {
            return;
        }
        let opened_ms = *self.opened_ms.get_or_insert(tick.wall_ms);
        let old = tick.wall_ms.saturating_sub(opened_ms) >= self.limits.age_ms;
        if !(old || self.rows.size() >= self.limits.bytes || tick.finishing) {
            return;
        }
        let Rows { bytes, mut places } = std::mem::take(&mut self.rows);
        let content = |place: &Place<I::Order>| &bytes[place.row..place.end];
        places.sort_unstable_by(|a, b| a.order.cmp(&b.order).then_with(|| content(a).cmp(content(b))));
        let roll = Arc::new(bytes);
        let rolled = |place| Rolled { roll: Arc::clone(&roll), place, item: PhantomData };
        out.extend(places.into_iter().map(rolled));
        (self.opened_ms, self.saved) = (None, 0);
        let cleared = std::mem::take(&mut self.dirty).into_iter().map(|shard| (shard, (epoch, Written::No)));
        self.cleared.extend(cleared);
    }

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        // Of each shard: up to which epoch rows are gone, how many there are to save, and those.
        let mut shards: BTreeMap<Shard, (Option<Epoch>, u64, Vec<u8>)> = BTreeMap::new();
        self.cleared.retain(|shard, (epoch, written)| {
            // A base has the rows that are there, and nothing else.
            let kind = wanted.kind(*shard);
            if kind != SectionKind::Base && written.is_in(kind) {
                shards.entry(*shard).or_default().0 = Some(*epoch);
                *written = Written::Since;
            }
            kind != SectionKind::Base
        });
        let Rows { bytes, places } = &mut self.rows;
        for place in &mut places[if wanted.is_changes() { self.saved } else { 0 }..] {
            let kind = wanted.kind(place.shard);
            if place.written.is_in(kind) {
                let (_, count, rows) = shards.entry(place.shard).or_default();
                *count += 1;
                rows.extend_from_slice(&bytes[place.start..place.end]);
                self.dirty.insert(place.shard);
                place.written = Written::restored(kind);
            }
        }
        self.saved = self.rows.places.len();
        for (shard, (cleared, count, rows)) in shards {
            let mut section = postcard::to_stdvec(&(cleared, count)).expect("plain values encode");
            section.extend_from_slice(&rows);
            put(shard, section);
        }
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        let (operator, shard) = (self.name.clone(), saved.shard);
        let what = "a section of rows in an open file";
        let section = I::section(saved.version, &saved.bytes);
        let section = section.ok_or(StateError::Malformed { operator, shard: shard.0, what })?;
        if let Some(cleared) = section.cleared {
            let Rows { bytes, places } = std::mem::take(&mut self.rows);
            for place in places.into_iter().filter(|place| place.since > cleared || place.shard != shard) {
                let Place { since, order, shard, row, end, written, .. } = place;
                let head = Head { since, order, shard, written };
                self.rows.push(head, |out| out.extend_from_slice(&bytes[row..end]));
            }
            self.cleared.insert(shard, (cleared, Written::Since));
        }
        let written = Written::restored(saved.kind);
        for SavedRow { since, order, bytes } in section.rows {
            if !I::IS_UNIQUE || self.known.insert((since, order)) {
                let head = Head { since, order, shard, written };
                self.rows.push(head, |out| out.extend_from_slice(&bytes));
                self.dirty.insert(shard);
            }
        }
        Ok(())
    }

    fn restored(&mut self, _watermark: Watermark, _out: &mut Vec<Rolled<I>>) {
        self.known = BTreeSet::new();
        self.saved = self.rows.places.len();
        // How old the roll was is not known: it leaves with the next epoch.
        self.opened_ms = (!self.rows.places.is_empty()).then_some(0);
    }

    fn held(&self) -> u64 {
        self.rows.places.len() as u64
    }
}

impl<I: Item> Roll<I> {
    /// The rows that are held, as they were encoded.
    pub(super) fn held_rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.places.iter().map(|place| &self.rows.bytes[place.row..place.end])
    }
}

#[cfg(test)]
impl<I: Item> Roll<I> {
    /// The orders of the rows that are held.
    pub(super) fn orders(&self) -> Vec<I::Order> {
        self.rows.places.iter().map(|place| place.order).collect()
    }
}

impl<I: Item> Rolled<I> {
    /// The row, as it was encoded.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.roll[self.place.row..self.place.end]
    }
}

impl<I: Item> Row for Rolled<I> {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        I::cells(self.bytes(), put);
    }

    fn time(&self) -> EventTime {
        I::time(self.bytes())
    }

    fn since(&self, _epoch: Epoch) -> Epoch {
        self.place.since
    }
}
