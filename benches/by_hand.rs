//! The operator of `benches/kit.rs` written by hand on `Keyed`: waiting records in order, sums by key, changes for the snapshot.

use super::{Reading, Sum};

use headway_operators::error::StateError;
use headway_operators::keyed::{Fates, Keyed};
use headway_operators::kit::{Place, Record};
use headway_operators::progress::Tick;
use headway_operators::snapshots::{Changed, Wanted};
use headway_operators::state::{KeyHash, Saved, SectionKind, Shard};
use headway_operators::stream::decode::Definition;
use headway_operators::time::{Epoch, EventTime, Watermark};
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub(crate) struct ByHand {
    waiting: BTreeMap<(EventTime, Place), Reading>,
    /// Waiting records that no section has.
    fresh: Vec<(EventTime, Place)>,
    sums: HashMap<u64, Sum>,
    changed: Changed<u64>,
}

fn shard_of(key: u64) -> Shard {
    KeyHash::of(&key.to_le_bytes()).shard()
}

type Waiting = Vec<(EventTime, Place, Reading)>;

/// What a section holds: the sums of keys, without one if it is gone, and the records that wait.
type Section = (Vec<(u64, Option<Sum>)>, Waiting);

impl Keyed for ByHand {
    type In = Record<Reading>;
    type Key = ();
    type Out = (u64, i64);

    const VERSION: u32 = 1;

    fn name(&self) -> &str {
        "ByHand"
    }

    fn shard(record: &Record<Reading>) -> Shard {
        shard_of(record.data.key)
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, _epoch: Epoch, batch: &mut Vec<Record<Reading>>, _fates: &mut Fates) {
        for record in batch.drain(..) {
            // The exchange asks for the shard once.
            std::hint::black_box(Self::shard(&record));
            self.waiting.insert((record.time, record.place), record.data);
            self.fresh.push((record.time, record.place));
        }
    }

    fn close(&mut self, _epoch: Epoch, tick: &Tick, out: &mut Vec<(u64, i64)>) {
        while let Some(first) = self.waiting.first_entry().filter(|entry| entry.key().0 < tick.watermark) {
            let Reading { key, value } = first.remove();
            out.extend(self.sums.entry(key).or_default().add(value).map(|total| (key, total)));
            self.changed.touch(shard_of(key), key);
        }
    }

    fn snapshot(&mut self, wanted: &Wanted, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        let mut sections: BTreeMap<Shard, Section> = BTreeMap::new();
        for (shard, keys) in self.changed.take(wanted) {
            let sums = keys.iter().map(|key| (*key, self.sums.get(key).copied()));
            sections.entry(shard).or_default().0.extend(sums);
        }
        if !wanted.is_changes() {
            let whole = |shard| wanted.kind(shard) == SectionKind::Base;
            for (key, sum) in self.sums.iter().filter(|(key, _)| whole(shard_of(**key))) {
                sections.entry(shard_of(*key)).or_default().0.push((*key, Some(*sum)));
            }
        }
        for place in self.fresh.drain(..) {
            if let Some(reading) = self.waiting.get(&place) {
                sections.entry(shard_of(reading.key)).or_default().1.push((place.0, place.1, *reading));
            }
        }
        for (shard, section) in sections {
            put(shard, postcard::to_stdvec(&section).expect("numbers have an encoding"));
        }
    }

    fn restore(&mut self, _saved: &Saved) -> Result<(), StateError> {
        unreachable!("this one is measured, not restarted")
    }

    fn restored(&mut self, _watermark: Watermark, _out: &mut Vec<(u64, i64)>) {}

    fn held(&self) -> u64 {
        (self.waiting.len() + self.sums.len()) as u64
    }
}
