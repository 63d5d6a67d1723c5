//! Rows of an output in a roll: their cells, encoded, ordered by event time.

use crate::error::StateError;
use crate::keyed::Resume;
use crate::row::{Cell, Row};
use crate::spec::roll_of;
use crate::state::{KeyHash, Saved, Shard};
use crate::stream::roll::operator::{Item, Limits, Roll, SavedRow, Section};
use crate::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};

/// Over how many shards rows are spread, by their hash: enough for every worker to take part, and few sections to write.
const LANES: u64 = 64;

/// A row by its cells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cells {
    since: Epoch,
    time: EventTime,
    shard: Shard,
    /// How many cells, then each of them.
    cells: Vec<u8>,
}

/// A cell where it lies.
#[derive(Serialize, Deserialize)]
enum Stored<'a> {
    Null,
    Text(&'a str),
    Int(i64),
    Wide(i128),
    Float(f64),
    Bool(bool),
    Time(EventTime),
}

impl<'a> Stored<'a> {
    fn of(cell: Cell<'a>) -> Stored<'a> {
        match cell {
            Cell::Null => Stored::Null,
            Cell::Text(text) => Stored::Text(text),
            Cell::Int(value) => Stored::Int(value),
            Cell::Wide(value) => Stored::Wide(value),
            Cell::Float(value) => Stored::Float(value),
            Cell::Bool(value) => Stored::Bool(value),
            Cell::Time(value) => Stored::Time(value),
        }
    }

    fn cell(self) -> Cell<'a> {
        match self {
            Stored::Null => Cell::Null,
            Stored::Text(text) => Cell::Text(text),
            Stored::Int(value) => Cell::Int(value),
            Stored::Wide(value) => Cell::Wide(value),
            Stored::Float(value) => Cell::Float(value),
            Stored::Bool(value) => Cell::Bool(value),
            Stored::Time(value) => Cell::Time(value),
        }
    }
}

impl Cells {
    /// The cells of `row`, of which an output has `columns`, which leaves in `epoch`.
    pub fn of(row: &impl Row, columns: usize, epoch: Epoch) -> Cells {
        let mut cells = postcard::to_stdvec(&columns).expect("a number encodes");
        let mut count = 0;
        row.cells(&mut |cell| {
            let encoded = postcard::to_extend(&Stored::of(cell), std::mem::take(&mut cells));
            cells = encoded.expect("a plain value encodes");
            count += 1;
        });
        assert_eq!(count, columns, "a row has another number of cells than its output has columns");
        let lane = KeyHash::of(&cells).0[1] % LANES;
        let shard = Shard(u16::try_from(lane).expect("there are few"));
        Cells { since: row.since(epoch), time: row.time(), shard, cells }
    }
}

/// The cells that `bytes` begin with, each given to `put`; what is left of `bytes`.
fn cells<'a>(bytes: &'a [u8], put: &mut dyn FnMut(Cell<'a>)) -> Option<&'a [u8]> {
    let (columns, mut rest) = postcard::take_from_bytes::<usize>(bytes).ok()?;
    for _ in 0..columns {
        let (cell, after) = postcard::take_from_bytes::<Stored<'_>>(rest).ok()?;
        put(cell.cell());
        rest = after;
    }
    Some(rest)
}

impl Item for Cells {
    type Order = EventTime;

    const VERSION: u32 = 1;
    const IS_UNIQUE: bool = false;

    fn shard(&self) -> Shard {
        self.shard
    }

    fn order(&self) -> EventTime {
        self.time
    }

    fn since(&self, _epoch: Epoch) -> Epoch {
        self.since
    }

    fn encode(&self, out: &mut Vec<u8>) {
        *out = postcard::to_extend(&self.time, std::mem::take(out)).expect("a number encodes");
        out.extend_from_slice(&self.cells);
    }

    fn section(_version: u32, bytes: &[u8]) -> Option<Section<EventTime>> {
        let ((cleared, count), mut rest) = postcard::take_from_bytes::<(Option<Epoch>, u64)>(bytes).ok()?;
        let mut rows = Vec::new();
        for _ in 0..count {
            let (since, row) = postcard::take_from_bytes::<Epoch>(rest).ok()?;
            let (order, after) = postcard::take_from_bytes::<EventTime>(row).ok()?;
            rest = cells(after, &mut |_| ())?;
            rows.push(SavedRow { since, order, bytes: row[..row.len() - rest.len()].to_vec() });
        }
        rest.is_empty().then_some(Section { cleared, rows })
    }

    fn cells(bytes: &[u8], put: &mut dyn FnMut(Cell<'_>)) {
        let (_, row) = postcard::take_from_bytes::<EventTime>(bytes).expect("a row that was encoded here");
        cells(row, &mut |cell| put(cell)).expect("a row that was encoded here");
    }

    fn time(bytes: &[u8]) -> EventTime {
        postcard::take_from_bytes(bytes).expect("a row that was encoded here").0
    }
}

/// Calls `put` with the cells of each row in the open files of output `name`, until it refuses one: then the inner result says
/// why. `saved` are the live sections of the operator that holds these rows ([`roll_of`]), of any number of workers.
///
/// # Errors
/// If a section does not decode.
pub fn open_rows(
    name: &str,
    saved: Vec<Saved>,
    put: &mut dyn FnMut(&[Cell<'_>]) -> Result<(), String>,
) -> Result<Result<(), String>, StateError> {
    let mut roll = Roll::<Cells>::new(&roll_of(name), Limits::default());
    Resume { saved: Some(saved), committed: Epoch(0), watermark: EventTime::MIN }.into_operator(&mut roll)?;
    for row in roll.held_rows() {
        let (_, row) = postcard::take_from_bytes::<EventTime>(row).expect("a row that was encoded here");
        let mut held = Vec::new();
        cells(row, &mut |cell| held.push(cell)).expect("a row that was encoded here");
        if let Err(refused) = put(&held) {
            return Ok(Err(refused));
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::{Fates, Keyed};
    use crate::progress::Tick;
    use crate::snapshots::Wanted;
    use crate::state::{Saved, SectionKind};
    use crate::stream::roll::operator::{Limits, Roll};

    /// What a test knows of a row: its number, which is its event time, and a text.
    #[derive(Clone)]
    struct Song(i64, &'static str);

    impl Row for Song {
        fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
            put(Cell::Time(EventTime(self.0)));
            put(Cell::Text(self.1));
            put(Cell::Null);
            put(Cell::Wide(i128::MIN));
            put(Cell::Float(-0.0));
            put(Cell::Bool(true));
        }

        fn time(&self) -> EventTime {
            EventTime(self.0)
        }

        fn since(&self, epoch: Epoch) -> Epoch {
            Epoch(epoch.0 - 1)
        }
    }

    fn tick(wall_ms: i64, finishing: bool) -> Tick {
        Tick { watermark: EventTime::MIN, wall_ms, idle: false, ended: false, finishing }
    }

    fn roll(limits: Limits) -> Roll<Cells> {
        Roll::new("Roll", limits)
    }

    fn add(roll: &mut Roll<Cells>, epoch: u64, songs: &[Song]) {
        let mut batch = songs.iter().map(|song| Cells::of(song, 6, Epoch(epoch))).collect();
        roll.apply(Epoch(epoch), &mut batch, &mut Fates::default());
    }

    /// What leaves at the close of `epoch`: event time, first epoch and cells of each row.
    fn close(roll: &mut Roll<Cells>, epoch: u64, tick: Tick) -> Vec<String> {
        let mut out = Vec::new();
        roll.close(Epoch(epoch), &tick, &mut out);
        let text = |row: &crate::stream::roll::operator::Rolled<Cells>| {
            let mut cells = format!("{} {}", row.time(), row.since(Epoch(epoch)));
            row.cells(&mut |cell| cells += &format!(" {cell:?}"));
            cells
        };
        out.iter().map(text).collect()
    }

    #[test]
    fn rows_leave_in_order_of_event_time_once_the_roll_is_old_or_big_or_the_input_finishes() {
        let limits = Limits { age_ms: 120_000, bytes: 1 << 20 };
        let mut one = roll(limits);
        add(&mut one, 4, &[Song(9, "b"), Song(2, "z")]);
        assert_eq!(close(&mut one, 4, tick(1_000, false)), Vec::<String>::new());
        add(&mut one, 5, &[Song(9, "a"), Song(9, "a")]);
        assert_eq!(close(&mut one, 5, tick(120_999, false)).len(), 0, "a millisecond too young");
        let rest = format!("Null Wide({}) Float(-0.0) Bool(true)", i128::MIN);
        let expected = [
            format!("2 3 Time(EventTime(2)) Text(\"z\") {rest}"),
            format!("9 4 Time(EventTime(9)) Text(\"a\") {rest}"),
            format!("9 4 Time(EventTime(9)) Text(\"a\") {rest}"),
            format!("9 3 Time(EventTime(9)) Text(\"b\") {rest}"),
        ];
        assert_eq!(close(&mut one, 6, tick(121_000, false)), expected);
        assert_eq!(one.held(), 0);
        let mut big = roll(Limits { bytes: 1, ..limits });
        add(&mut big, 7, &[Song(1, "a")]);
        assert_eq!(close(&mut big, 7, tick(0, false)).len(), 1);
        big.snapshot(&Wanted::all(SectionKind::Change), &mut |shard, _| {
            panic!("{shard:?} was written for nothing")
        });
        let mut last = roll(limits);
        add(&mut last, 8, &[Song(1, "a")]);
        assert_eq!(close(&mut last, 8, tick(0, true)).len(), 1);
    }

    #[test]
    fn open_rows_come_back_from_any_kind_of_section_equal_ones_too_and_those_that_left_do_not() {
        let limits = Limits::default();
        let mut before = roll(limits);
        let mut pieces: Vec<Saved> = Vec::new();
        let save = |roll: &mut Roll<Cells>, kind, pieces: &mut Vec<Saved>| {
            roll.snapshot(&Wanted::all(kind), &mut |shard, bytes| {
                pieces.push(Saved { shard, version: 1, kind, file: 0, bytes });
            });
        };
        add(&mut before, 1, &[Song(1, "gone")]);
        close(&mut before, 1, tick(0, false));
        save(&mut before, SectionKind::Base, &mut pieces);
        assert_eq!(close(&mut before, 2, tick(0, true)).len(), 1);
        save(&mut before, SectionKind::Change, &mut pieces);
        add(&mut before, 3, &[Song(5, "same"), Song(5, "same"), Song(4, "other")]);
        close(&mut before, 3, tick(0, false));
        save(&mut before, SectionKind::Change, &mut pieces);
        let mut merged = Vec::from([pieces[0].clone()]);
        save(&mut before, SectionKind::Merged, &mut merged);
        let mut base = Vec::new();
        save(&mut before, SectionKind::Base, &mut base);
        let expected = close(&mut before, 4, tick(0, true));
        assert_eq!(expected.len(), 3);
        for (name, pieces) in [("changes", pieces), ("merged", merged), ("base", base)] {
            let mut open = Vec::new();
            let mut row = |cells: &[Cell<'_>]| {
                open.push(format!("{:?} {:?}", cells[0], cells[1]));
                Ok(())
            };
            assert_eq!(open_rows("songs", pieces.clone(), &mut row), Ok(Ok(())));
            let mut given = 0;
            let mut refuses = |_: &[Cell<'_>]| {
                given += 1;
                Err("no".to_string())
            };
            assert_eq!(open_rows("songs", pieces.clone(), &mut refuses), Ok(Err("no".to_string())));
            assert_eq!(given, 1, "{name}: it ends at the first row that is refused");
            open.sort();
            let of = |ms, song| format!("Time(EventTime({ms})) Text({song:?})");
            assert_eq!(open, [of(4, "other"), of(5, "same"), of(5, "same")], "{name}");
            let mut after = roll(limits);
            pieces.iter().for_each(|piece| after.restore(piece).unwrap());
            after.restored(EventTime::MIN, &mut Vec::new());
            assert_eq!(after.held(), 3, "{name}");
            assert_eq!(close(&mut after, 4, tick(0, false)).len(), 0, "{name}: the age is not known yet");
            assert_eq!(close(&mut after, 5, tick(i64::MAX, false)), expected, "{name}");
        }
    }

    #[test]
    fn section_that_is_cut_or_longer_than_it_says_is_refused() {
        let mut whole = roll(Limits::default());
        add(&mut whole, 1, &[Song(1, "a"), Song(1, "a")]);
        whole.snapshot(&Wanted::all(SectionKind::Base), &mut |shard, bytes| {
            let restore = |bytes: Vec<u8>| {
                let saved = Saved { shard, version: 1, kind: SectionKind::Base, file: 0, bytes };
                roll(Limits::default()).restore(&saved)
            };
            assert!(restore(bytes.clone()).is_ok());
            (0..bytes.len()).for_each(|end| assert!(restore(bytes[..end].to_vec()).is_err(), "{end}"));
            assert!(restore([&bytes[..], &[0]].concat()).is_err());
        });
    }
}
