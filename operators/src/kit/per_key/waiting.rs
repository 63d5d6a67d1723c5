//! Records that the watermark has not passed, apart from the entries of their keys: a key with many of them is not
//! written whole in each epoch.
//!
//! Nothing is written when a waiting record goes: the watermark of the committed epoch says which ones are gone.

use crate::kit::record::Place;
use crate::snapshots::Written;
use crate::state::KeyHash;
use crate::time::{Epoch, EventTime, Watermark};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A record that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiter<R> {
    pub(super) time: EventTime,
    pub(super) since: Epoch,
    pub(super) place: Place,
    pub(super) hash: KeyHash,
    pub(super) written: Written,
    pub(super) data: R,
}

impl<R: Serialize> Waiter<R> {
    /// The order in which records are taken. Two of one place are the same record that came by two ways: their content
    /// decides.
    fn order(&self, other: &Self) -> Ordering {
        let by_place = (self.time, self.place).cmp(&(other.time, other.place));
        by_place.then_with(|| encoded(&self.data).cmp(&encoded(&other.data)))
    }
}

/// The bytes of state, a key or a record.
///
/// # Panics
/// If the type has no encoding: a map whose length is unknown, for instance.
pub(crate) fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("a type that derives Serialize has an encoding")
}

/// How much event time has one bucket, in milliseconds.
const BUCKET_MS: i64 = 1000;

/// Records that wait for the watermark.
#[derive(Debug)]
pub(super) struct Waiting<R> {
    /// By the number of their bucket.
    buckets: BTreeMap<i64, Vec<Waiter<R>>>,
    /// Those of the last epoch, in no section yet.
    fresh: Vec<Waiter<R>>,
    len: usize,
}

impl<R> Default for Waiting<R> {
    fn default() -> Self {
        Waiting { buckets: BTreeMap::new(), fresh: Vec::new(), len: 0 }
    }
}

impl<R: Serialize> Waiting<R> {
    /// Adds a record that is in no section.
    pub(super) fn push(&mut self, waiter: Waiter<R>) {
        self.fresh.push(waiter);
        self.len += 1;
    }

    /// Adds a record that sections have.
    pub(super) fn restore(&mut self, waiter: Waiter<R>) {
        self.settle(waiter);
        self.len += 1;
    }

    fn settle(&mut self, waiter: Waiter<R>) {
        self.buckets.entry(waiter.time.0.div_euclid(BUCKET_MS)).or_default().push(waiter);
    }

    /// Takes out the records that `watermark` has passed, in their order.
    pub(super) fn take_before(&mut self, watermark: Watermark) -> Vec<Waiter<R>> {
        let is_due = |waiter: &mut Waiter<R>| waiter.time < watermark;
        let mut due: Vec<_> = self.fresh.extract_if(.., is_due).collect();
        while let Some(mut bucket) = self.buckets.first_entry() {
            if *bucket.key() > watermark.0.div_euclid(BUCKET_MS) {
                break;
            }
            due.extend(bucket.get_mut().extract_if(.., is_due));
            if !bucket.get().is_empty() {
                break;
            }
            bucket.remove();
        }
        due.sort_by(Waiter::order);
        self.len -= due.len();
        due
    }

    /// The records that came since the last snapshot.
    pub(super) fn fresh(&self) -> impl Iterator<Item = &Waiter<R>> {
        self.fresh.iter()
    }

    /// All records.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter<R>> {
        self.buckets.values().flatten().chain(&self.fresh)
    }

    /// Notes what a snapshot has: `mark` is given each record that may have changed its place.
    pub(super) fn saved(&mut self, all: bool, mut mark: impl FnMut(&mut Waiter<R>)) {
        if all {
            self.buckets.values_mut().flatten().for_each(&mut mark);
        }
        for mut waiter in std::mem::take(&mut self.fresh) {
            mark(&mut waiter);
            self.settle(waiter);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}
