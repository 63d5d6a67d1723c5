//! Refused records in a roll: dead letters and late records, as the side outputs have them.

use crate::record::{Offset, Partition, Refused};
use crate::row::{Cell, Column, Kind};
use crate::state::{KeyHash, Shard};
use crate::stream::roll::operator::{Item, Limits, SavedRow, Section};
use crate::time::{Epoch, EventTime};
use serde::Deserialize;
use std::borrow::Cow;

/// When the roll of a side output leaves.
pub const SIDE_LIMITS: Limits = Limits { age_ms: 60_000, bytes: 4 << 20 };

/// A refused record where it lies: the same encoding, borrowed.
type Entry<'a> = Refused<&'a str, &'a [u8], &'a str>;

/// A shard's part of a snapshot.
#[derive(Deserialize)]
struct Stored<Row> {
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

/// A row of version 2.
#[derive(Deserialize)]
struct Entry2<'a> {
    topic: &'a str,
    partition: Partition,
    offset: Offset,
    timestamp_ms: Option<i64>,
    #[serde(borrow)]
    reason: Option<&'a str>,
    event_time: Option<EventTime>,
    stamp: Option<EventTime>,
    limit: Option<EventTime>,
    #[serde(borrow)]
    payload: Option<&'a [u8]>,
    too_long: Option<(u64, u128)>,
}

impl<'a> Entry2<'a> {
    /// The row as it is today: key, headers and columns were not kept.
    fn today(self) -> Entry<'a> {
        let Entry2 { topic, partition, offset, timestamp_ms, reason, .. } = self;
        let Entry2 { event_time, stamp, limit, payload, too_long, .. } = self;
        let (key, headers) = (None, Vec::new());
        let columns = None;
        Refused {
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
            key,
            headers,
            columns,
        }
    }
}

/// A row of version 3: one of version 2, a key, and headers.
type Entry3<'a> = (Entry2<'a>, Option<&'a [u8]>, Vec<(&'a str, Option<&'a [u8]>)>);

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
        let row = Entry2 {
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
        };
        Some(row.today())
    }
}

/// The shard of a refused record: that of its topic and partition.
fn shard_of(topic: &str, partition: Partition) -> Shard {
    let mut bytes = partition.0.to_le_bytes().to_vec();
    bytes.extend_from_slice(topic.as_bytes());
    KeyHash::of(&bytes).shard()
}

/// The row that was encoded as `bytes`.
fn entry(bytes: &[u8]) -> Entry<'_> {
    postcard::from_bytes(bytes).expect("a row that was encoded here")
}

impl Item for Refused {
    type Order = (Partition, Offset);

    /// Version 3 had no columns, version 2 no keys and headers, version 1 reasons by number and no limits.
    const VERSION: u32 = 4;
    const IS_UNIQUE: bool = true;

    fn shard(&self) -> Shard {
        shard_of(&self.topic, self.partition)
    }

    fn order(&self) -> (Partition, Offset) {
        (self.partition, self.offset)
    }

    fn since(&self, epoch: Epoch) -> Epoch {
        epoch
    }

    fn encode(&self, out: &mut Vec<u8>) {
        *out = postcard::to_extend(self, std::mem::take(out)).expect("a row of plain values encodes");
    }

    fn section(version: u32, bytes: &[u8]) -> Option<Section<(Partition, Offset)>> {
        let Stored { cleared, rows } = match version {
            1 => {
                let Stored { cleared, rows }: Stored<Entry1<'_>> = postcard::from_bytes(bytes).ok()?;
                let rows = rows.into_iter().map(|(since, row)| Some((since, row.today()?)));
                Stored { cleared, rows: rows.collect::<Option<_>>()? }
            }
            2 => {
                let Stored { cleared, rows }: Stored<Entry2<'_>> = postcard::from_bytes(bytes).ok()?;
                let rows = rows.into_iter().map(|(since, row)| (since, row.today()));
                Stored { cleared, rows: rows.collect() }
            }
            3 => {
                let Stored { cleared, rows }: Stored<Entry3<'_>> = postcard::from_bytes(bytes).ok()?;
                let rows = rows.into_iter().map(|(since, (row, key, headers))| {
                    let row: Entry<'_> = row.today();
                    (since, Refused { key, headers, ..row })
                });
                Stored { cleared, rows: rows.collect() }
            }
            _ => postcard::from_bytes(bytes).ok()?,
        };
        let row = |(since, row): (Epoch, Entry<'_>)| SavedRow {
            since,
            order: (row.partition, row.offset),
            bytes: postcard::to_stdvec(&row).expect("a row of plain values encodes"),
        };
        Some(Section { cleared, rows: rows.into_iter().map(row).collect() })
    }

    fn cells(bytes: &[u8], put: &mut dyn FnMut(Cell<'_>)) {
        let row = entry(bytes);
        let Refused { topic, partition, offset, timestamp_ms, reason, payload, too_long, .. } = row;
        put(Cell::Text(topic));
        put(Cell::Int(i64::from(partition.0)));
        put(Cell::Int(offset.0));
        put(timestamp_ms.map_or(Cell::Null, Cell::Int));
        put(Cell::Text(reason.unwrap_or("late")));
        match payload.map(text) {
            None => (put(Cell::Null), put(Cell::Null)),
            Some((encoding, payload)) => (put(Cell::Text(encoding)), put(Cell::Text(&payload))),
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
        match row.key.map(text) {
            None => (put(Cell::Null), put(Cell::Null)),
            Some((encoding, key)) => (put(Cell::Text(&key)), put(Cell::Text(encoding))),
        };
        match row.headers.is_empty() {
            true => put(Cell::Null),
            false => put(Cell::Text(&headers(&row.headers))),
        }
        put(row.columns.map_or(Cell::Null, Cell::Text));
    }

    fn time(bytes: &[u8]) -> EventTime {
        let row = entry(bytes);
        row.event_time.or(row.timestamp_ms.map(EventTime)).unwrap_or(EventTime::MIN)
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
    columns.extend(["key", "key_encoding", "headers", "columns"].map(|name| Column::new(name, Kind::Text)));
    columns
}

/// `bytes` as text, and how: `utf8` or `base64`.
fn text(bytes: &[u8]) -> (&'static str, Cow<'_, str>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => ("utf8", Cow::Borrowed(text)),
        Err(_) => ("base64", Cow::Owned(base64(bytes))),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Headers as a JSON array of names and values, one after the other. Both are base64: they may be any bytes, and need no
/// escape then. A value that is not there is `null`.
fn headers(headers: &[(&str, Option<&[u8]>)]) -> String {
    let header = |(name, value): &(&str, Option<&[u8]>)| {
        let value = value.map_or("null".to_string(), |value| format!("\"{}\"", base64(value)));
        format!("\"{}\",{value}", base64(name.as_bytes()))
    };
    format!("[{}]", headers.iter().map(header).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::error::StateError;
    use crate::keyed::{Fates, Keyed};
    use crate::progress::Tick;
    use crate::record::{Payload, Raw};
    use crate::row::Row;
    use crate::snapshots::Wanted;
    use crate::state::{Saved, SectionKind};
    use crate::stream::roll::operator::{Roll, Rolled};

    fn empty() -> Roll<Refused> {
        Roll::new("Roll", SIDE_LIMITS)
    }

    const FIRST: Tick =
        Tick { watermark: EventTime::MIN, wall_ms: 1, idle: false, ended: false, finishing: false };

    fn refused(offset: Offset, payload: Payload<'_>) -> Refused {
        Refused::of("gate", &Raw::of(Partition(0), offset, payload))
    }

    #[test]
    fn rows_without_a_payload_fill_a_roll_too() {
        let (mut roll, mut out) = (empty(), Vec::new());
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
            key: Some(b"a key".into()),
            headers: vec![("h".into(), Some(b"\xff".into())), ("n".into(), None)],
            columns: Some("B,A".into()),
            ..refused(Offset(300), Payload::Bytes(b"caf\xe9 \x00"))
        };
        let long = refused(Offset(2), Payload::TooLong { head: b"head", bytes: u64::MAX, hash: 0xab });
        let dead = Refused { reason: Some(Reason::TOO_LONG), limit: Some(EventTime(9)), ..long };
        let mut before = empty();
        before.apply(Epoch(4), &mut vec![full], &mut Fates::default());
        before.apply(Epoch(5), &mut vec![dead, refused(Offset(1), Payload::Null)], &mut Fates::default());
        let mut after = empty();
        before.snapshot(&Wanted::all(SectionKind::Base), &mut |shard, bytes| {
            let saved = Saved { shard, version: 4, kind: SectionKind::Base, file: 0, bytes };
            after.restore(&saved).unwrap();
        });
        after.restored(EventTime::MIN, &mut Vec::new());
        for mut roll in [before, after] {
            let mut out = Vec::new();
            roll.close(Epoch(6), &Tick { finishing: true, ..FIRST }, &mut out);
            let text = |rolled: &Rolled<Refused>| {
                let mut cells = format!("{}", rolled.since(Epoch(6)));
                rolled.cells(&mut |cell| cells += &format!(" {cell:?}"));
                cells
            };
            let rows: Vec<_> = out.iter().map(text).collect();
            assert_eq!(
                rows,
                [
                    "5 Text(\"gate\") Int(0) Int(1) Null Text(\"late\") Null Null Null Null Null Null Null Null Null Null",
                    "5 Text(\"gate\") Int(0) Int(2) Null Text(\"too-long\") Text(\"utf8\") Text(\"head\") \
                     Int(9223372036854775807) Text(\"000000000000000000000000000000ab\") Int(9) Null Null Null Null",
                    "4 Text(\"gate\") Int(0) Int(300) Int(-5) Text(\"late\") Text(\"base64\") \
                     Text(\"Y2Fm6SAA\") Null Null Int(7) Int(9223372036854775807) \
                     Text(\"a key\") Text(\"utf8\") Text(\"[\\\"aA==\\\",\\\"/w==\\\",\\\"bg==\\\",null]\") Text(\"B,A\")",
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
            let mut roll = empty();
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
        let names: Vec<_> = out.iter().map(|row| entry(row.bytes()).reason).collect();
        assert_eq!(names, REASONS_1.iter().copied().map(Some).chain([None]).collect::<Vec<_>>());
        let Refused { timestamp_ms, event_time, stamp, limit, payload, .. } = entry(out[13].bytes());
        assert_eq!((timestamp_ms, event_time, stamp), (Some(3), Some(EventTime(4)), Some(EventTime(5))));
        assert_eq!((limit, payload), (None, Some(&b"x"[..])));
        assert!(restore(&[Some(13)]).is_err(), "a reason that version 1 did not have");
    }

    /// A row as version 2 wrote it.
    #[derive(serde::Serialize)]
    struct Row2 {
        topic: &'static str,
        partition: u32,
        offset: i64,
        timestamp_ms: Option<i64>,
        reason: Option<&'static str>,
        event_time: Option<EventTime>,
        stamp: Option<EventTime>,
        limit: Option<EventTime>,
        payload: Option<&'static [u8]>,
        too_long: Option<(u64, u128)>,
    }

    #[test]
    fn rows_of_version_2_come_back_without_keys_and_headers() {
        let row = |offset| Row2 {
            topic: "gate",
            partition: 0,
            offset,
            timestamp_ms: None,
            reason: Some("future-event-time"),
            event_time: None,
            stamp: None,
            limit: Some(EventTime(9)),
            payload: Some(b"x"),
            too_long: None,
        };
        let rows = [(7_u64, row(1)), (7, row(2))];
        let bytes = postcard::to_stdvec(&(Some(Epoch(3)), rows.as_slice())).expect("plain values encode");
        let (mut roll, mut out) = (empty(), Vec::new());
        let (shard, kind) = (shard_of("gate", Partition(0)), SectionKind::Base);
        roll.restore(&Saved { shard, version: 2, kind, file: 0, bytes }).expect("it is known");
        roll.restored(EventTime::MIN, &mut Vec::new());
        roll.close(Epoch(8), &Tick { finishing: true, ..FIRST }, &mut out);
        let found: Vec<_> = out.iter().map(|row| entry(row.bytes())).collect();
        let says = |row: &Entry<'_>| (row.offset.0, row.limit, row.key.is_none(), row.headers.len());
        let expected = |offset| (offset, Some(EventTime(9)), true, 0);
        assert_eq!(found.iter().map(says).collect::<Vec<_>>(), [expected(1), expected(2)]);
    }

    #[test]
    fn rows_of_version_3_come_back_with_keys_and_headers_and_without_columns() {
        let (key, value) = (Some(&b"k"[..]), Some(&b"v"[..]));
        let none = (None::<i64>, Some("bad-number"), None::<i64>, None::<i64>, None::<i64>);
        let (time, reason, event_time, stamp, limit) = none;
        let headers = [("h", value)];
        let rest = (Some(&b"x"[..]), None::<(u64, u128)>, key, headers.as_slice());
        let row =
            |offset: i64| (7_u64, ("gate", 0_u32, offset, time, reason, event_time, stamp, limit, rest));
        let bytes = postcard::to_stdvec(&(None::<Epoch>, [row(1), row(2)].as_slice())).expect("it encodes");
        let (mut roll, mut out) = (empty(), Vec::new());
        let (shard, kind) = (shard_of("gate", Partition(0)), SectionKind::Base);
        roll.restore(&Saved { shard, version: 3, kind, file: 0, bytes }).expect("it is known");
        roll.restored(EventTime::MIN, &mut Vec::new());
        roll.close(Epoch(8), &Tick { finishing: true, ..FIRST }, &mut out);
        let found: Vec<_> = out.iter().map(|row| entry(row.bytes())).collect();
        let says = |row: &Entry<'_>| {
            (row.offset.0, row.key == key, row.headers == [("h", value)], row.columns.is_none())
        };
        assert_eq!(
            found.iter().map(says).collect::<Vec<_>>(),
            [(1, true, true, true), (2, true, true, true)]
        );
    }

    #[test]
    fn merged_change_brings_back_what_the_changes_before_it_would_and_a_base_all() {
        // Base with row 1; row 2; the roll leaves; row 3.
        let mut roll = empty();
        let (mut pieces, mut out) = (Vec::new(), Vec::new());
        let steps: [(Epoch, Option<Offset>, Option<SectionKind>); 4] = [
            (Epoch(1), Some(Offset(1)), Some(SectionKind::Base)),
            (Epoch(2), Some(Offset(2)), Some(SectionKind::Change)),
            (Epoch(3), None, Some(SectionKind::Change)),
            (Epoch(4), Some(Offset(3)), None),
        ];
        let piece = |roll: &mut Roll<Refused>, kind| {
            let mut piece = None;
            roll.snapshot(&Wanted::all(kind), &mut |shard, bytes| {
                piece = Some(Saved { shard, version: 4, kind, file: 0, bytes });
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
            let mut roll = empty();
            pieces.iter().for_each(|piece| roll.restore(piece).unwrap());
            roll.restored(EventTime::MIN, &mut Vec::new());
            roll.orders().into_iter().map(|(_, offset)| offset.0).collect::<Vec<_>>()
        };
        let merged = piece(&mut roll, SectionKind::Merged).unwrap();
        assert_eq!(offsets(&[pieces[0].clone(), merged.clone()]), [3]);
        let base = piece(&mut roll, SectionKind::Base).unwrap();
        assert_eq!(offsets(&[base]), [3]);
        assert_eq!(piece(&mut roll, SectionKind::Merged), None, "nothing has changed since the base");
        // A restored roll knows what is not in the base.
        let mut again = empty();
        [&pieces[0], &merged].into_iter().for_each(|piece| again.restore(piece).unwrap());
        again.restored(EventTime::MIN, &mut Vec::new());
        assert_eq!(piece(&mut again, SectionKind::Merged).map(|piece| piece.bytes), Some(merged.bytes));
    }

    #[test]
    fn roll_that_left_one_worker_takes_no_rows_of_another_ones() {
        let of = |partition: u32| {
            let raw = Raw::of(Partition(partition), Offset(1), Payload::Null);
            Refused::of("gate", &raw)
        };
        let piece = |roll: &mut Roll<Refused>, kind| {
            let mut found = Vec::new();
            roll.snapshot(&Wanted::all(kind), &mut |shard, bytes| {
                found.push(Saved { shard, version: 4, kind, file: 0, bytes });
            });
            found
        };
        // Two workers have a row each; the roll of the first leaves, that of the second stays open.
        let (mut first, mut second) = (empty(), empty());
        assert_ne!(of(0).shard(), of(1).shard(), "they are of two shards");
        first.apply(Epoch(1), &mut vec![of(0)], &mut Fates::default());
        second.apply(Epoch(1), &mut vec![of(1)], &mut Fates::default());
        let before = [piece(&mut first, SectionKind::Base), piece(&mut second, SectionKind::Base)];
        first.close(Epoch(2), &Tick { finishing: true, ..FIRST }, &mut Vec::new());
        let left = piece(&mut first, SectionKind::Change);
        // One worker takes over both, in either order of the shards.
        for order in [[0, 1], [1, 0]] {
            let mut one = empty();
            for worker in order {
                let change = if worker == 0 { left.as_slice() } else { &[] };
                before[worker]
                    .iter()
                    .chain(change)
                    .for_each(|piece| one.restore(piece).expect("it is known"));
            }
            one.restored(EventTime::MIN, &mut Vec::new());
            assert_eq!(one.orders(), [(Partition(1), Offset(1))], "{order:?}");
        }
    }

    #[test]
    fn piece_of_a_later_version_is_refused_by_the_driver() {
        let resume = |version| {
            let (shard, kind, bytes) = (Shard(0), SectionKind::Change, vec![0, 0]);
            let saved = Some(vec![Saved { shard, version, kind, file: 0, bytes }]);
            let resume = crate::keyed::Resume { saved, committed: Epoch(0), watermark: EventTime::MIN };
            resume.into_operator(&mut empty()).map(drop)
        };
        assert_eq!([1, 2, 3, 4].map(resume), [Ok(()), Ok(()), Ok(()), Ok(())]);
        assert_eq!(resume(5), Err(StateError::Newer { operator: "Roll".into(), found: 5, known: 4 }));
    }
}
