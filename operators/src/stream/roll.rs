//! Keeps refused records until there are enough of them for a file: the open roll of the side outputs.
//!
//! # Input
//! Refused records, exchanged by the shard of their topic and partition; the input's ticks.
//! # Output
//! All held rows at once, by partition and offset, when the roll is old or big enough or the input finishes.
//! # State
//! The rows of the open roll, in the shard of their partition; gone when they leave.
//! # Progress
//! As the keyed driver. Age is told by the wall-clock time in the marks, so the operator reads no clock.
//! # Late and bad data
//! It is the late and bad data.
//! # Restart
//! Rows with their epoch, and the last epoch that left ("cleared"): rows up to it are gone. Version 1.
//! # Cost
//! O(1) a row, a sort a roll. Holds at most [`BYTES_MAX`] and one epoch's refused bytes more.

use crate::error::StateError;
use crate::keyed::{Fates, Keyed};
use crate::progress::Tick;
use crate::record::Refused;
use crate::row::{Cell, Column, Kind, Row};
use crate::state::{KeyHash, Saved, Shard};
use crate::stream::decode::Definition;
use crate::time::{Epoch, EventTime, Watermark};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// After how long an open roll leaves, in milliseconds of the sources' wall clock.
pub const AGE_MAX_MS: i64 = 60_000;

/// At how many bytes in memory an open roll leaves, on one worker. Rows without a payload count too.
pub const BYTES_MAX: usize = 8 << 20;

/// A refused record that leaves with its roll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolled {
    /// The record.
    pub refused: Refused,
    /// The epoch it was read in.
    pub since: Epoch,
}

/// The open roll of one side output.
#[derive(Debug)]
pub struct Roll {
    name: String,
    rows: Vec<(Epoch, Refused)>,
    bytes: usize,
    /// Wall-clock time of the roll's first epoch; `None` while that epoch is open.
    opened_ms: Option<i64>,
    /// How many of `rows` the last snapshot had.
    saved: usize,
    /// Shards that have rows on disk.
    dirty: BTreeMap<Shard, Epoch>,
    /// Shards whose rows on disk are gone since the last snapshot, and up to which epoch.
    cleared: BTreeMap<Shard, Epoch>,
}

#[derive(Default, Serialize, Deserialize)]
struct Section {
    cleared: Option<Epoch>,
    rows: Vec<(Epoch, Refused)>,
}

impl Roll {
    /// An empty roll. `name` is the operator's in manifests.
    pub fn new(name: &str) -> Roll {
        Roll {
            name: name.to_string(),
            rows: Vec::new(),
            bytes: 0,
            opened_ms: None,
            saved: 0,
            dirty: BTreeMap::new(),
            cleared: BTreeMap::new(),
        }
    }
}

/// About how many bytes an open roll holds for a refused record.
fn bytes_of(refused: &Refused) -> usize {
    let payload = refused.payload.as_ref().map_or(0, Vec::len);
    size_of::<(Epoch, Refused)>() + refused.topic.len() + payload
}

/// The shard of a refused record: that of its topic and partition.
fn shard_of(refused: &Refused) -> Shard {
    let mut bytes = refused.partition.to_le_bytes().to_vec();
    bytes.extend_from_slice(refused.topic.as_bytes());
    KeyHash::of(&bytes).shard()
}

impl Keyed for Roll {
    type In = Refused;
    type Key = ();
    type Out = Rolled;

    const VERSION: u32 = 1;

    fn name(&self) -> &str {
        &self.name
    }

    fn shard(record: &Refused) -> Shard {
        shard_of(record)
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, epoch: Epoch, batch: &mut Vec<Refused>, _fates: &mut Fates) {
        for refused in batch.drain(..) {
            self.bytes += bytes_of(&refused);
            self.rows.push((epoch, refused));
        }
    }

    fn close(&mut self, epoch: Epoch, tick: &Tick, out: &mut Vec<Rolled>) {
        if self.rows.is_empty() {
            return;
        }
        let opened_ms = *self.opened_ms.get_or_insert(tick.wall_ms);
        let old = tick.wall_ms.saturating_sub(opened_ms) >= AGE_MAX_MS;
        if !(old || self.bytes >= BYTES_MAX || tick.finishing) {
            return;
        }
        out.extend(self.rows.drain(..).map(|(since, refused)| Rolled { refused, since }));
        out.sort_unstable_by(|a, b| {
            let place = |rolled: &Rolled| (rolled.refused.partition, rolled.refused.offset);
            (&a.refused.topic, place(a)).cmp(&(&b.refused.topic, place(b)))
        });
        (self.bytes, self.opened_ms, self.saved) = (0, None, 0);
        self.cleared.extend(std::mem::take(&mut self.dirty).into_keys().map(|shard| (shard, epoch)));
    }

    fn snapshot(&mut self, base: bool, put: &mut dyn FnMut(Shard, Vec<u8>)) {
        let mut shards: BTreeMap<Shard, Section> = BTreeMap::new();
        for (shard, epoch) in std::mem::take(&mut self.cleared) {
            shards.entry(shard).or_default().cleared = Some(epoch);
        }
        let from = if base { 0 } else { self.saved };
        for (epoch, refused) in &self.rows[from..] {
            let shard = shard_of(refused);
            shards.entry(shard).or_default().rows.push((*epoch, refused.clone()));
            self.dirty.insert(shard, *epoch);
        }
        self.saved = self.rows.len();
        for (shard, section) in shards {
            put(shard, postcard::to_stdvec(&section).expect("a section of plain values encodes"));
        }
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), StateError> {
        let (operator, shard) = (self.name.clone(), saved.shard);
        if saved.version > Self::VERSION {
            return Err(StateError::Newer { operator, found: saved.version, known: Self::VERSION });
        }
        let section: Section = postcard::from_bytes(&saved.bytes).map_err(|_| StateError::Malformed {
            operator,
            shard: shard.0,
            what: "a section of refused rows",
        })?;
        if let Some(cleared) = section.cleared {
            self.rows.retain(|(epoch, row)| *epoch > cleared || shard_of(row) != shard);
        }
        // A base repeats rows that earlier changes had.
        let place = |(epoch, row): &(Epoch, Refused)| (*epoch, row.partition, row.offset);
        let known: BTreeSet<_> = self.rows.iter().map(place).collect();
        let new: Vec<_> = section.rows.into_iter().filter(|row| !known.contains(&place(row))).collect();
        self.dirty.extend(new.iter().map(|(epoch, _)| (shard, *epoch)));
        self.rows.extend(new);
        Ok(())
    }

    fn restored(&mut self, _watermark: Watermark) {
        self.bytes = self.rows.iter().map(|(_, row)| bytes_of(row)).sum();
        self.saved = self.rows.len();
        // How old the roll was is not known: it leaves with the next epoch.
        self.opened_ms = (!self.rows.is_empty()).then_some(0);
    }

    fn held(&self) -> u64 {
        self.rows.len() as u64
    }
}

/// The columns of a side output; late records have two more.
pub fn columns(late: bool) -> Vec<Column> {
    let mut columns = vec![
        Column::new("topic", Kind::Text),
        Column::new("partition", Kind::Int),
        Column::new("offset", Kind::Int),
        Column::new("timestamp", Kind::Int),
        Column::new("reason", Kind::Text),
        Column::new("encoding", Kind::Text),
        Column::new("payload", Kind::Text),
        Column::new("length", Kind::Int),
        Column::new("hash", Kind::Text),
    ];
    if late {
        columns.push(Column::new("event_time", Kind::Int));
        columns.push(Column::new("stamp", Kind::Int));
    }
    columns
}

impl Row for Rolled {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        let Refused { topic, partition, offset, timestamp_ms, reason, event_time, stamp, payload, too_long } =
            &self.refused;
        put(Cell::Text(topic));
        put(Cell::Int(i64::from(*partition)));
        put(Cell::Int(*offset));
        put(timestamp_ms.map_or(Cell::Null, Cell::Int));
        put(Cell::Text(reason.map_or("late", |reason| reason.name())));
        match payload.as_deref().map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => (put(Cell::Null), put(Cell::Null)),
            Some((_, Ok(text))) => (put(Cell::Text("utf8")), put(Cell::Text(text))),
            Some((bytes, Err(_))) => (put(Cell::Text("base64")), put(Cell::Text(&base64(bytes)))),
        };
        put(too_long.map_or(Cell::Null, |(bytes, _)| Cell::Int(i64::try_from(bytes).unwrap_or(i64::MAX))));
        match too_long {
            None => put(Cell::Null),
            Some((_, hash)) => put(Cell::Text(&format!("{hash:032x}"))),
        }
        if reason.is_none() {
            put(event_time.map_or(Cell::Null, |time| Cell::Int(time.ms())));
            put(stamp.map_or(Cell::Null, |time| Cell::Int(time.ms())));
        }
    }

    fn time(&self) -> EventTime {
        self.refused.event_time.or(self.refused.timestamp_ms.map(EventTime)).unwrap_or(EventTime::MIN)
    }

    fn since(&self, _epoch: Epoch) -> Epoch {
        self.since
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Payload, Raw};

    #[test]
    fn rows_without_a_payload_fill_a_roll_too() {
        let tick =
            Tick { watermark: EventTime::MIN, wall_ms: 1, ended: false, finishing: false, flushed: None };
        let tombstone = |offset| {
            let raw = Raw { partition: 0, offset, timestamp_ms: None, payload: Payload::Null };
            Refused::of("gate", &raw)
        };
        let (mut roll, mut out) = (Roll::new("Roll"), Vec::new());
        roll.apply(1, &mut vec![tombstone(0)], &mut Fates::default());
        roll.close(1, &tick, &mut out);
        assert_eq!((out.len(), roll.held()), (0, 1));
        let rest = i64::try_from(BYTES_MAX / bytes_of(&tombstone(0))).unwrap();
        roll.apply(2, &mut (1..=rest).map(tombstone).collect(), &mut Fates::default());
        roll.close(2, &tick, &mut out);
        assert_eq!((out.len() as i64, roll.held()), (rest + 1, 0));
    }
}
