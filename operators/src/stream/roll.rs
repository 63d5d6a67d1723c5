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
//! Rows with their epoch, and the last epoch that left ("cleared"): rows up to it are gone. Version 2; version 1 had
//! reasons by number, and no limits.
//! # Cost
//! O(1) a row, a sort a roll. Rows are held encoded, one after the other: tens of thousands of them live for a minute among
//! what lives for a moment, and allocated one by one they would pin its memory. Holds at most [`BYTES_MAX`] and one
//! epoch's refused bytes more.

use crate::error::StateError;
use crate::keyed::{Fates, Keyed};
use crate::progress::Tick;
use crate::record::{Offset, Partition, Refused};
use crate::row::{Cell, Column, Kind, Row};
use crate::snapshots::{Wanted, Written};
use crate::state::{KeyHash, Saved, SectionKind, Shard};
use crate::stream::decode::Definition;
use crate::time::{Epoch, EventTime, Watermark};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// After how long an open roll leaves, in milliseconds of the sources' wall clock.
pub const AGE_MAX_MS: i64 = 60_000;

/// At how many bytes in memory an open roll leaves, on one worker. Rows without a payload count too.
pub const BYTES_MAX: usize = 4 << 20;

/// A refused record that leaves with its roll.
#[derive(Clone, Debug)]
pub struct Rolled {
    /// The rows of the roll, encoded.
    roll: Arc<Vec<u8>>,
    /// Where in it this one is.
    place: Place,
}

/// Where a row is in its roll, and what it is found and ordered by.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The epoch it was read in.
    since: Epoch,
    partition: Partition,
    offset: Offset,
    /// Its first byte.
    start: usize,
    /// Which sections have it.
    written: Written,
}

/// A refused record where it lies: the same encoding, borrowed.
type Entry<'a> = Refused<&'a str, &'a [u8], &'a str>;

/// Rows one after the other, each as a section has it.
#[derive(Debug, Default)]
struct Rows {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// The open roll of one side output of an input.
#[derive(Debug)]
pub struct Roll {
    name: String,
    rows: Rows,
    /// Wall-clock time of the roll's first epoch; `None` while that epoch is open.
    opened_ms: Option<i64>,
    /// How many of `rows` the last snapshot had: what comes after them is new.
    saved: usize,
    /// Shards that have rows on disk.
    dirty: BTreeMap<Shard, Epoch>,
    /// Shards whose rows on disk are gone since their base, up to which epoch, and which sections say so.
    cleared: BTreeMap<Shard, (Epoch, Written)>,
    /// Rows that pieces have brought, while state comes back.
    known: BTreeSet<(Epoch, Partition, Offset)>,
}

/// A shard's part of a snapshot. Its rows are put together from where they lie.
#[derive(Deserialize)]
struct Section<Row> {
    cleared: Option<Epoch>,
    rows: Vec<(Epoch, Row)>,
}

/// A row of version 1.
#[derive(Deserialize)]
struct Entry1<'a> {
    topic: &'a str,
    partition: Partition,
    offset: Offset,
    timestamp_ms: Option<i64>,
    /// Place in [`REASONS_1`].
    reason: Option<u32>,
    event_time: Option<EventTime>,
    stamp: Option<EventTime>,
    #[serde(borrow)]
    payload: Option<&'a [u8]>,
    too_long: Option<(u64, u128)>,
}

/// The reasons that version 1 knew, by number. Written down once: it never changes.
const REASONS_1: [&str; 13] = [
    "null-value",
    "too-long",
    "not-utf8",
    "empty",
    "bad-csv",
    "bad-header",
    "too-many-records",
    "wrong-field-count",
    "missing-field",
    "bad-number",
    "bad-timestamp",
    "future-event-time",
    "bad-json",
];

impl<'a> Entry1<'a> {
    /// The row as it is today; `None` if its reason has no name.
    fn today(self) -> Option<Entry<'a>> {
        let Entry1 { topic, partition, offset, timestamp_ms, event_time, stamp, payload, too_long, .. } =
            self;
        let reason = match self.reason {
            None => None,
            Some(number) => Some(*REASONS_1.get(usize::try_from(number).ok()?)?),
        };
        let limit = None;
        Some(Refused {
            topic,
            partition,
            offset,
            timestamp_ms,
            reason,
            event_time,
            stamp,
            limit,
            payload,
            too_long,
        })
    }
}

/// The section that a snapshot holds; `None` if it does not decode.
fn section(saved: &Saved) -> Option<Section<Entry<'_>>> {
    if saved.version != 1 {
        return postcard::from_bytes(&saved.bytes).ok();
    }
    let Section { cleared, rows }: Section<Entry1<'_>> = postcard::from_bytes(&saved.bytes).ok()?;
    let rows = rows.into_iter().map(|(since, row)| Some((since, row.today()?)));
    Some(Section { cleared, rows: rows.collect::<Option<_>>()? })
}

impl Rows {
    /// Adds a row at `place`, but for where it begins. `row` encodes as an [`Entry`].
    fn push(&mut self, place: Place, row: &impl Serialize) {
        let since = place.since;
        self.places.push(Place { start: self.bytes.len(), ..place });
        let encoded = postcard::to_extend(&(since, row), std::mem::take(&mut self.bytes));
        self.bytes = encoded.expect("a row of plain values encodes");
    }

    /// The bytes of row `at`.
    fn row(&self, at: usize) -> &[u8] {
        let end = self.places.get(at + 1).map_or(self.bytes.len(), |next| next.start);
        &self.bytes[self.places[at].start..end]
    }

    /// Bytes in memory, with those that the rows take on their way out.
    fn size(&self) -> usize {
        self.bytes.len() + self.places.len() * (size_of::<Place>() + size_of::<Rolled>())
    }
}

/// The row that `bytes` begin with.
fn entry(bytes: &[u8]) -> Entry<'_> {
    let (row, _) =
        postcard::take_from_bytes::<(Epoch, Entry<'_>)>(bytes).expect("a row that was encoded here");
    row.1
}

impl Roll {
    /// An empty roll. `name` is the operator's in manifests.
    pub fn new(name: &str) -> Roll {
        Roll {
            name: name.to_string(),
            rows: Rows::default(),
            opened_ms: None,
            saved: 0,
            dirty: BTreeMap::new(),
            cleared: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }
}

/// The shard of a refused record: that of its topic and partition.
fn shard_of(topic: &str, partition: Partition) -> Shard {
    let mut bytes = partition.0.to_le_bytes().to_vec();
    bytes.extend_from_slice(topic.as_bytes());
    KeyHash::of(&bytes).shard()
}

impl Keyed for Roll {
    type In = Refused;
    type Key = ();
    type Out = Rolled;

    const VERSION: u32 = 2;

    fn name(&self) -> &str {
        &self.name
    }

    fn shard(record: &Refused) -> Shard {
        shard_of(&record.topic, record.partition)
    }

    fn define(&mut self, _definition: Definition<()>) {}

    fn apply(&mut self, epoch: Epoch, batch: &mut Vec<Refused>, _fates: &mut Fates) {
        for refused in batch.drain(..) {
            let Refused { partition, offset, .. } = refused;
            self.rows
                .push(Place { since: epoch, partition, offset, start: 0, written: Written::No }, &refused);
        }
    }

    fn close(&mut self, epoch: Epoch, tick: &Tick, out: &mut Vec<Rolled>) {
        if self.rows.places.is_empty() {
            return;
        }
        let opened_ms = *self.opened_ms.get_or_insert(tick.wall_ms);
        let old = tick.wall_ms.saturating_sub(opened_ms) >= AGE_MAX_MS;
        if !(old || self.rows.size() >= BYTES_MAX || tick.finishing) {
            return;
        }
        let Rows { bytes, mut places } = std::mem::take(&mut self.rows);
        places.sort_unstable_by_key(|place| (place.partition, place.offset));
        let roll = Arc::new(bytes);
        out.extend(places.into_iter().map(|place| Rolled { roll: Arc::clone(&roll), place }));
        (self.opened_ms, self.saved) = (None, 0);
        let cleared = std::mem::take(&mut self.dirty).into_keys().map(|shard| (shard, (epoch, Written::No)));
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
        for at in if wanted.is_changes() { self.saved } else { 0 }..self.rows.places.len() {
            let (place, bytes) = (self.rows.places[at], self.rows.row(at));
            let shard = shard_of(entry(bytes).topic, place.partition);
            let kind = wanted.kind(shard);
            if place.written.is_in(kind) {
                let (_, count, rows) = shards.entry(shard).or_default();
                *count += 1;
                rows.extend_from_slice(bytes);
                self.dirty.insert(shard, place.since);
                self.rows.places[at].written = Written::restored(kind);
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
        let what = "a section of refused rows";
        let section = section(saved).ok_or(StateError::Malformed { operator, shard: shard.0, what })?;
        if let Some(cleared) = section.cleared {
            let rows = std::mem::take(&mut self.rows);
            for (at, place) in rows.places.iter().enumerate() {
                let row = entry(rows.row(at));
                if place.since > cleared || shard_of(row.topic, row.partition) != shard {
                    self.rows.push(*place, &row);
                }
            }
            self.cleared.insert(shard, (cleared, Written::Since));
        }
        let written = Written::restored(saved.kind);
        for (since, row) in section.rows {
            // In lakes of format 1 a base repeats rows that earlier changes had.
            if self.known.insert((since, row.partition, row.offset)) {
                let (partition, offset) = (row.partition, row.offset);
                self.rows.push(Place { since, partition, offset, start: 0, written }, &row);
                self.dirty.insert(shard, since);
            }
        }
        Ok(())
    }

    fn restored(&mut self, _watermark: Watermark, _out: &mut Vec<Rolled>) {
        self.known = BTreeSet::new();
        self.saved = self.rows.places.len();
        // How old the roll was is not known: it leaves with the next epoch.
        self.opened_ms = (!self.rows.places.is_empty()).then_some(0);
    }

    fn held(&self) -> u64 {
        self.rows.places.len() as u64
    }
}

/// The columns of a side output: late records have their own time and stamp, dead letters the limit that they exceed.
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
    } else {
        columns.push(Column::new("limit", Kind::Int));
    }
    columns
}

impl Rolled {
    fn entry(&self) -> Entry<'_> {
        entry(&self.roll[self.place.start..])
    }
}

impl Row for Rolled {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        let row = self.entry();
        let Refused { topic, partition, offset, timestamp_ms, reason, payload, too_long, .. } = row;
        put(Cell::Text(topic));
        put(Cell::Int(i64::from(partition.0)));
        put(Cell::Int(offset.0));
        put(timestamp_ms.map_or(Cell::Null, Cell::Int));
        put(Cell::Text(reason.unwrap_or("late")));
        match payload.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => (put(Cell::Null), put(Cell::Null)),
            Some((_, Ok(text))) => (put(Cell::Text("utf8")), put(Cell::Text(text))),
            Some((bytes, Err(_))) => (put(Cell::Text("base64")), put(Cell::Text(&base64(bytes)))),
        };
        put(too_long.map_or(Cell::Null, |(bytes, _)| Cell::Int(i64::try_from(bytes).unwrap_or(i64::MAX))));
        match too_long {
            None => put(Cell::Null),
            Some((_, hash)) => put(Cell::Text(&format!("{hash:032x}"))),
        }
        let mut instant = |time: Option<EventTime>| put(time.map_or(Cell::Null, |time| Cell::Int(time.ms())));
        match reason {
            None => [row.event_time, row.stamp].map(&mut instant).into_iter().collect(),
            Some(_) => instant(row.limit),
        }
    }

    fn time(&self) -> EventTime {
        let row = self.entry();
        row.event_time.or(row.timestamp_ms.map(EventTime)).unwrap_or(EventTime::MIN)
    }

    fn since(&self, _epoch: Epoch) -> Epoch {
        self.place.since
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::record::{Payload, Raw};
    use crate::state::SectionKind;

    const FIRST: Tick =
        Tick { watermark: EventTime::MIN, wall_ms: 1, idle: false, ended: false, finishing: false };

    fn refused(offset: Offset, payload: Payload<'_>) -> Refused {
        Refused::of("gate", &Raw::of(Partition(0), offset, payload))
    }

    #[test]
    fn rows_without_a_payload_fill_a_roll_too() {
        let (mut roll, mut out) = (Roll::new("Roll"), Vec::new());
        let mut offset: Offset = Offset(0);
        while out.is_empty() {
            assert_eq!(roll.held(), offset.0.cast_unsigned());
            assert!(offset < Offset(1_000_000), "a roll must leave");
            roll.apply(Epoch(1), &mut vec![refused(offset, Payload::Null)], &mut Fates::default());
            offset += 1;
            roll.close(Epoch(1), &FIRST, &mut out);
        }
        assert_eq!((out.len() as i64, roll.held()), (offset.0, 0));
    }

    #[test]
    fn row_is_what_was_refused_after_a_restart_too() {
        let full = Refused {
            timestamp_ms: Some(-5),
            event_time: Some(EventTime(7)),
            stamp: Some(EventTime(i64::MAX)),
            ..refused(Offset(300), Payload::Bytes(b"caf\xe9 \x00"))
        };
        let long = refused(Offset(2), Payload::TooLong { head: b"head", bytes: u64::MAX, hash: 0xab });
        let dead = Refused { reason: Some(Reason::TOO_LONG), limit: Some(EventTime(9)), ..long };
        let mut before = Roll::new("Roll");
        before.apply(Epoch(4), &mut vec![full], &mut Fates::default());
        before.apply(Epoch(5), &mut vec![dead, refused(Offset(1), Payload::Null)], &mut Fates::default());
        let mut after = Roll::new("Roll");
        before.snapshot(&Wanted::all(SectionKind::Base), &mut |shard, bytes| {
            let saved = Saved { shard, version: 2, kind: SectionKind::Base, file: 0, bytes };
            after.restore(&saved).unwrap();
        });
        after.restored(EventTime::MIN, &mut Vec::new());
        for mut roll in [before, after] {
            let mut out = Vec::new();
            roll.close(Epoch(6), &Tick { finishing: true, ..FIRST }, &mut out);
            let text = |rolled: &Rolled| {
                let mut cells = format!("{}", rolled.since(Epoch(6)));
                rolled.cells(&mut |cell| cells += &format!(" {cell:?}"));
                cells
            };
            let rows: Vec<_> = out.iter().map(text).collect();
            assert_eq!(
                rows,
                [
                    "5 Text(\"gate\") Int(0) Int(1) Null Text(\"late\") Null Null Null Null Null Null",
                    "5 Text(\"gate\") Int(0) Int(2) Null Text(\"too-long\") Text(\"utf8\") Text(\"head\") \
                     Int(9223372036854775807) Text(\"000000000000000000000000000000ab\") Int(9)",
                    "4 Text(\"gate\") Int(0) Int(300) Int(-5) Text(\"late\") Text(\"base64\") \
                     Text(\"Y2Fm6SAA\") Null Null Int(7) Int(9223372036854775807)",
                ]
            );
        }
    }

    /// A row as version 1 wrote it: reasons were an enumeration, which encodes as a number.
    #[derive(serde::Serialize)]
    struct Row1 {
        topic: &'static str,
        partition: u32,
        offset: i64,
        timestamp_ms: Option<i64>,
        reason: Option<u32>,
        event_time: Option<EventTime>,
        stamp: Option<EventTime>,
        payload: Option<&'static [u8]>,
        too_long: Option<(u64, u128)>,
    }

    #[test]
    fn rows_of_version_1_come_back_with_their_reasons() {
        let row = |offset, reason| {
            let (topic, partition, timestamp_ms) = ("gate", 0, Some(3));
            let (event_time, stamp) = (Some(EventTime(4)), Some(EventTime(5)));
            let (payload, too_long) = (Some(&b"x"[..]), None);
            let reason: Option<u32> = reason;
            (
                7_u64,
                Row1 { topic, partition, offset, timestamp_ms, reason, event_time, stamp, payload, too_long },
            )
        };
        let restore = |reasons: &[Option<u32>]| {
            let rows: Vec<_> = (0..).zip(reasons).map(|(offset, reason)| row(offset, *reason)).collect();
            let bytes = postcard::to_stdvec(&(None::<Epoch>, rows)).expect("plain values encode");
            let mut roll = Roll::new("Roll");
            roll.restore(&Saved {
                shard: shard_of("gate", Partition(0)),
                version: 1,
                kind: SectionKind::Base,
                file: 0,
                bytes,
            })
            .map(|()| roll)
        };
        let mut reasons: Vec<Option<u32>> = (0..13).map(Some).collect();
        reasons.push(None);
        let (mut roll, mut out) = (restore(&reasons).expect("they are all known"), Vec::new());
        roll.restored(EventTime::MIN, &mut Vec::new());
        roll.close(Epoch(8), &Tick { finishing: true, ..FIRST }, &mut out);
        let names: Vec<_> = out.iter().map(|row| row.entry().reason).collect();
        assert_eq!(names, REASONS_1.iter().copied().map(Some).chain([None]).collect::<Vec<_>>());
        let Refused { timestamp_ms, event_time, stamp, limit, payload, .. } = out[13].entry();
        assert_eq!((timestamp_ms, event_time, stamp), (Some(3), Some(EventTime(4)), Some(EventTime(5))));
        assert_eq!((limit, payload), (None, Some(&b"x"[..])));
        assert!(restore(&[Some(13)]).is_err(), "a reason that version 1 did not have");
    }

    #[test]
    fn merged_change_brings_back_what_the_changes_before_it_would_and_a_base_all() {
        // Base with row 1; row 2; the roll leaves; row 3.
        let mut roll = Roll::new("Roll");
        let (mut pieces, mut out) = (Vec::new(), Vec::new());
        let steps: [(Epoch, Option<Offset>, Option<SectionKind>); 4] = [
            (Epoch(1), Some(Offset(1)), Some(SectionKind::Base)),
            (Epoch(2), Some(Offset(2)), Some(SectionKind::Change)),
            (Epoch(3), None, Some(SectionKind::Change)),
            (Epoch(4), Some(Offset(3)), None),
        ];
        let piece = |roll: &mut Roll, kind| {
            let mut piece = None;
            roll.snapshot(&Wanted::all(kind), &mut |shard, bytes| {
                piece = Some(Saved { shard, version: 1, kind, file: 0, bytes });
            });
            piece
        };
        for (epoch, offset, kind) in steps {
            let rows = offset.map(|offset| refused(offset, Payload::Null));
            roll.apply(epoch, &mut rows.into_iter().collect(), &mut Fates::default());
            roll.close(epoch, &Tick { finishing: epoch == Epoch(3), ..FIRST }, &mut out);
            pieces.extend(kind.and_then(|kind| piece(&mut roll, kind)));
        }
        assert_eq!(pieces.len(), 3, "that the roll has left is a change, too");
        let offsets = |pieces: &[Saved]| {
            let mut roll = Roll::new("Roll");
            pieces.iter().for_each(|piece| roll.restore(piece).unwrap());
            roll.restored(EventTime::MIN, &mut Vec::new());
            roll.rows.places.iter().map(|place| place.offset.0).collect::<Vec<_>>()
        };
        let merged = piece(&mut roll, SectionKind::Merged).unwrap();
        assert_eq!(offsets(&[pieces[0].clone(), merged.clone()]), [3]);
        let base = piece(&mut roll, SectionKind::Base).unwrap();
        assert_eq!(offsets(&[base]), [3]);
        assert_eq!(piece(&mut roll, SectionKind::Merged), None, "nothing has changed since the base");
        // A restored roll knows what is not in the base.
        let mut again = Roll::new("Roll");
        [&pieces[0], &merged].into_iter().for_each(|piece| again.restore(piece).unwrap());
        again.restored(EventTime::MIN, &mut Vec::new());
        assert_eq!(piece(&mut again, SectionKind::Merged).map(|piece| piece.bytes), Some(merged.bytes));
    }

    #[test]
    fn piece_of_a_later_version_is_refused_by_the_driver() {
        let resume = |version| {
            let (shard, kind, bytes) = (Shard(0), SectionKind::Change, vec![0, 0]);
            let saved = Some(vec![Saved { shard, version, kind, file: 0, bytes }]);
            let resume = crate::keyed::Resume { saved, committed: Epoch(0), watermark: EventTime::MIN };
            resume.into_operator(&mut Roll::new("Roll")).map(drop)
        };
        assert_eq!([resume(1), resume(2)], [Ok(()), Ok(())]);
        assert_eq!(resume(3), Err(StateError::Newer { operator: "Roll".into(), found: 3, known: 2 }));
    }
}
