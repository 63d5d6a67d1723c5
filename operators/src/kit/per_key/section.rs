//! A shard's part of a snapshot: keys that are gone, entries, and waiting records.
//!
//! Keys, states and records are byte strings of their own, so that an earlier version of each can be handed to `migrate`. A
//! section is read in this order: first its deletions, then its entries.

use crate::kit::logic::Logic;
use crate::kit::per_key::entry::Entry;
use crate::kit::per_key::waiting::{Waiter, encoded};
use crate::kit::record::Place;
use crate::state::KeyHash;
use crate::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};

/// The layout of a section. What the author's types look like has a version of its own.
const LAYOUT: u8 = 1;

/// The sections of one shard, as they are written and read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Section {
    layout: u8,
    pub(crate) deleted: Vec<KeyHash>,
    pub(crate) entries: Vec<SavedEntry>,
    pub(super) waiting: Vec<SavedRecord>,
}

/// The entry of a key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedEntry {
    pub(super) key: Bytes,
    pub(super) since: Epoch,
    pub(crate) touched: EventTime,
    pub(crate) timers: Vec<EventTime>,
    pub(super) state: Bytes,
}

/// A record that waits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedRecord {
    pub(super) time: EventTime,
    pub(super) since: Epoch,
    pub(super) place: Place,
    pub(super) data: Bytes,
}

/// What some version of a type was encoded to.
pub(crate) type Bytes = Vec<u8>;

impl Section {
    pub(super) fn entry<L: Logic>(&mut self, entry: &Entry<L>) {
        self.entries.push(SavedEntry {
            key: encoded(&entry.key),
            since: entry.since,
            touched: entry.touched,
            timers: entry.timers.iter().collect(),
            state: encoded(&entry.state),
        });
    }

    pub(super) fn record<R: Serialize>(&mut self, waiter: &Waiter<R>) {
        let Waiter { time, since, place, .. } = *waiter;
        self.waiting.push(SavedRecord { time, since, place, data: encoded(&waiter.data) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.entries.is_empty() && self.waiting.is_empty()
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        encoded(&Section { layout: LAYOUT, ..self })
    }

    /// Reads what [`Section::encode`] wrote; `None` if it did not.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Section> {
        postcard::from_bytes(bytes).ok().filter(|section: &Section| section.layout == LAYOUT)
    }
}
