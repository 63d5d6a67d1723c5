//! Turns a line of a weekly file into a reading of the two registers of a turnstile, or says why it cannot.
//!
//! Columns: an index without a name, or none; C/A (or CA), UNIT, SCP, STATION, LINENAME, DIVISION, DATE (`MM/DD/YYYY`), TIME,
//! DESC, ENTRIES, EXITS. The header may be padded, registers have leading zeros or none, and a comma may end a line.

use super::file::published;
use crate::defined::Defined;
use crate::turnstile::reason;
use crate::turnstile::views::passage::Place;
use crate::zone::{Clock, Wall, Zone};
use headway_operators::error::Reason;
use headway_operators::pipeline::{DeadLetter, Fault};
use headway_operators::record::{Columns, Payload, Raw};
use headway_operators::row::{Cell, Column, Kind};
use headway_operators::state::KeyHash;
use headway_operators::stream::decode::{self, Context, Decoded, Definition};
use headway_operators::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The columns of a file without an index.
pub(super) const COLUMNS: [&str; WIDTH] =
    ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC", "ENTRIES", "EXITS"];

/// How many columns there are.
const WIDTH: usize = 11;

/// The first of the two registers.
const REGISTERS: usize = 9;

/// A reading comes from no file whose name says when it was published.
const NO_FILE_DATE: Reason = Reason::of("no-file-date");

/// Which of two readings of one turnstile and instant counts: the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Rank {
    /// The day its file was published, `YYYYMMDD`.
    pub published: u32,
    /// How many files of that name were met before.
    pub earlier: u32,
    /// It was read as usual; else it was recovered later.
    pub is_regular: bool,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// Hash of CA, UNIT and SCP.
    pub turnstile: KeyHash,
    /// Hash of the six columns of its place, in the turnstile's shard.
    pub place: KeyHash,
    /// The second instant at which the wall shows its time, where that comes twice; else its time.
    pub second: EventTime,
    /// Where it stands in its file.
    pub line: i64,
    /// Which reading of an instant counts.
    pub rank: Rank,
    /// The register of people in.
    pub entries: i64,
    /// The register of people out.
    pub exits: i64,
}

/// Decodes lines of weekly files.
pub(super) struct Decoder {
    clock: Clock,
    /// Places defined in this epoch.
    defined: Defined,
    /// The place of the last line: a turnstile's lines stand together.
    last: Option<(Vec<u8>, KeyHash, KeyHash)>,
    /// The file of the last line, and when it was published.
    file: Option<(Arc<str>, Option<u32>)>,
    layout: Option<(Columns, [usize; WIDTH])>,
}

impl Decoder {
    /// A decoder of files whose times are of `zone`.
    pub(super) fn new(zone: Zone) -> Decoder {
        let (clock, defined) = (Clock::new(zone), Defined::new());
        Decoder { clock, defined, last: None, file: None, layout: None }
    }

    /// When the file of a line was published.
    fn published(&mut self, raw: &Raw<'_>) -> Option<(u32, u32)> {
        let file = raw.file?;
        if self.file.as_ref().is_none_or(|(name, _)| !Arc::ptr_eq(name, &file.name)) {
            self.file = Some((Arc::clone(&file.name), published(&file.name)));
        }
        let (_, published) = self.file.as_ref()?;
        Some(((*published)?, file.earlier))
    }

    /// The fields of a line, in the order of [`COLUMNS`].
    fn fields<'a>(&mut self, line: &'a [u8], names: Option<&Columns>) -> Result<[&'a [u8]; WIDTH], Reason> {
        let mut all = [&b""[..]; WIDTH + 2];
        let mut width = 0;
        for field in line.split(|byte| *byte == b',') {
            let place = all.get_mut(width).ok_or(reason::WRONG_FIELD_COUNT)?;
            *place = trimmed(field);
            width += 1;
        }
        if let Some(names) = names {
            let at = self.layout(names)?;
            // One more is the comma at the end.
            let is_whole = width == names.len() || (width == names.len() + 1 && all[names.len()].is_empty());
            return if is_whole { Ok(at.map(|at| all[at])) } else { Err(reason::WRONG_FIELD_COUNT) };
        }
        // A part of a file may have no header: an index is what comes before the eleven.
        let first = match width {
            WIDTH => 0,
            _ if width == WIDTH + 1 && all[WIDTH].is_empty() => 0,
            _ if width == WIDTH + 1 && all[0].iter().all(u8::is_ascii_digit) => 1,
            _ => return Err(reason::WRONG_FIELD_COUNT),
        };
        Ok(std::array::from_fn(|at| all[first + at]))
    }

    /// Where the columns called `names` have what is needed.
    fn layout(&mut self, names: &Columns) -> Result<[usize; WIDTH], Reason> {
        if let Some((known, layout)) = &self.layout
            && Columns::ptr_eq(known, names)
        {
            return Ok(*layout);
        }
        let mut layout = [0; WIDTH];
        for (at, name) in layout.iter_mut().zip(COLUMNS) {
            *at = names.iter().position(|known| known == name).ok_or(reason::BAD_HEADER)?;
        }
        self.layout = Some((Columns::clone(names), layout));
        Ok(layout)
    }

    /// The hashes of the turnstile and of the place that `fields` begin with; defines the place.
    fn place(
        &mut self,
        fields: &[&[u8]; WIDTH],
        definitions: &mut Vec<Definition<Place>>,
    ) -> Result<(KeyHash, KeyHash), Reason> {
        let mut content = fields[..6].join(&0);
        let known = self.last.as_ref().filter(|(last, ..)| *last == content);
        let (turnstile, place) = match known {
            Some((_, turnstile, place)) => (*turnstile, *place),
            None => {
                let turnstile = KeyHash::of(&fields[..3].join(&0));
                (turnstile, KeyHash::of(&content).beside(turnstile))
            }
        };
        if self.defined.insert(place) {
            let mut columns = [""; 6];
            for (column, bytes) in columns.iter_mut().zip(fields) {
                *column = std::str::from_utf8(bytes).map_err(|_| Reason::NOT_UTF8)?;
            }
            definitions.push(Definition { hash: place, key: Place::new(columns) });
        }
        let last = self.last.get_or_insert_with(|| (Vec::new(), turnstile, place));
        std::mem::swap(&mut last.0, &mut content);
        (last.1, last.2) = (turnstile, place);
        Ok((turnstile, place))
    }
}

impl decode::Decoder for Decoder {
    type Out = Reading;
    type Key = Place;

    fn begin(&mut self, _epoch: Epoch) {
        self.defined.clear();
    }

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        definitions: &mut Vec<Definition<Place>>,
    ) -> Result<Decoded<Reading>, Reason> {
        let Payload::Bytes(line) = raw.payload else { return Err(Reason::NULL_VALUE) };
        if trimmed(line).is_empty() {
            return Ok(Decoded::Filtered);
        }
        let (published, earlier) = self.published(raw).ok_or(NO_FILE_DATE)?;
        let fields = self.fields(line, raw.columns)?;
        if fields[..4].iter().any(|field| field.is_empty()) {
            return Err(Reason::MISSING_FIELD);
        }
        if fields[..6].iter().any(|field| field.iter().any(u8::is_ascii_control)) {
            return Err(reason::CONTROL_CHARACTER);
        }
        let entries = register(fields[9]).ok_or(Reason::BAD_NUMBER)?;
        let exits = register(fields[10]).ok_or(Reason::BAD_NUMBER)?;
        let wall = wall(fields[6], fields[7]).ok_or(Reason::BAD_TIMESTAMP)?;
        let meanings = self.clock.meanings(wall).ok_or(Reason::BAD_TIMESTAMP)?;
        let (turnstile, place) = self.place(&fields, definitions)?;
        let rank = Rank { published, earlier, is_regular: fields[8] == b"REGULAR" };
        let (second, line) = (meanings.second, raw.offset.0);
        let reading = Reading { turnstile, place, second, line, rank, entries, exits };
        Ok(Decoded::Record(meanings.first, reading))
    }

    /// The columns of a line; the two registers are numbers.
    fn columns(&self) -> Vec<Column> {
        let kind = |at| if at < REGISTERS { Kind::Text } else { Kind::Int };
        COLUMNS.into_iter().enumerate().map(|(at, name)| Column::new(name, kind(at))).collect()
    }

    fn cells(&mut self, raw: &Raw<'_>, record: &Reading, put: &mut dyn FnMut(Cell<'_>)) {
        let Payload::Bytes(line) = raw.payload else { return };
        let fields = self.fields(line, raw.columns).expect("a line that was decoded can be cut again");
        for field in &fields[..REGISTERS] {
            let text = std::str::from_utf8(field).ok().filter(|text| !text.is_empty());
            put(text.map_or(Cell::Null, Cell::Text));
        }
        [record.entries, record.exits].into_iter().for_each(|register| put(Cell::Int(register)));
    }
}

/// The field for which a line is a dead letter, where its columns are in the order of [`COLUMNS`].
pub(super) fn fault(dead: &DeadLetter<'_>) -> Option<Fault> {
    let fields = Decoder::new(Zone::utc()).fields(dead.message, None).ok()?;
    let first =
        |wanted: usize, is_wrong: fn(&[u8]) -> bool| fields[..wanted].iter().position(|f| is_wrong(f));
    let at = match dead.reason {
        "missing-field" => first(4, <[u8]>::is_empty)?,
        "control-character" => first(6, |field| field.iter().any(u8::is_ascii_control))?,
        "bad-number" => (REGISTERS..WIDTH).find(|at| register(fields[*at]).is_none())?,
        "bad-timestamp" => {
            let found = [fields[6], b" ", fields[7]].concat();
            let found = String::from_utf8_lossy(&found).into_owned();
            return Some(Fault { field: "DATE and TIME".into(), found });
        }
        _ => return None,
    };
    Some(Fault { field: COLUMNS[at].into(), found: String::from_utf8_lossy(fields[at]).into_owned() })
}

/// A field without what may stand around it.
pub(super) fn trimmed(field: &[u8]) -> &[u8] {
    let is_around = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'"');
    let from = field.iter().position(|byte| !is_around(byte)).unwrap_or(field.len());
    let to = field.iter().rposition(|byte| !is_around(byte)).map_or(from, |last| last + 1);
    &field[from..to]
}

/// A register: a whole number of at most 18 digits.
fn register(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// `MM/DD/YYYY` and `HH:MM:SS`.
fn wall(date: &[u8], time: &[u8]) -> Option<Wall> {
    let two = |text: &[u8]| u8::try_from(register(text)?).ok();
    let (&[m1, m2, b'/', d1, d2, b'/', y1, y2, y3, y4], &[h1, h2, b':', n1, n2, b':', s1, s2]) = (date, time)
    else {
        return None;
    };
    let year = i16::try_from(register(&[y1, y2, y3, y4])?).ok()?;
    Some(Wall {
        year,
        month: two(&[m1, m2])?,
        day: two(&[d1, d2])?,
        hour: two(&[h1, h2])?,
        minute: two(&[n1, n2])?,
        second: two(&[s1, s2])?,
    })
}

/// The names in a header line; `None` if the line is none.
///
/// # Errors
/// `bad-header` if it lacks a column, or has one twice.
pub(super) fn header(line: &[u8]) -> Result<Option<Vec<String>>, Reason> {
    if !begins_as_header(line) {
        return Ok(None);
    }
    std::str::from_utf8(line).map_err(|_| reason::BAD_HEADER)?;
    let mut names = names(line);
    names.iter_mut().filter(|name| *name == "C/A").for_each(|name| *name = "CA".into());
    let once = |name: &&str| names.iter().filter(|known| known == name).count() == 1;
    if COLUMNS.iter().all(once) { Ok(Some(names)) } else { Err(reason::BAD_HEADER) }
}

/// `line` without the mark that may begin a file.
fn unmarked(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// The names of a header line, in upper case. A comma at the end begins no column; a name may be missing at the front only.
fn names(line: &[u8]) -> Vec<String> {
    let name = |field: &[u8]| String::from_utf8_lossy(trimmed(field)).to_uppercase();
    let mut names: Vec<String> = unmarked(line).split(|byte| *byte == b',').map(name).collect();
    while names.len() > 1 && names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    names
}

/// True if a line begins as the header of a weekly file does: C/A or CA, with or without an index before it.
fn begins_as_header(line: &[u8]) -> bool {
    let mut fields = unmarked(line).split(|byte| *byte == b',').map(trimmed);
    let first = fields.next().unwrap_or_default();
    let name = if first.is_empty() { fields.next().unwrap_or_default() } else { first };
    name == b"C/A" || name == b"CA"
}

/// What a header line says of its file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// It is no header with the eleven columns, or names an ID, a TIMESTAMP or a window's end, which weekly files lack.
    Other,
    /// It names the eleven columns, as weekly files and batches of a lake both do.
    Either,
    /// It is written as only weekly files are: `C/A`, blanks or a comma after the last name, or an index without a name.
    Weekly,
}

/// What the header line `line` says of its file's format. Unlike [`header`] it takes names in lower case: what increments
/// are read from takes them too.
pub(super) fn looks(line: &[u8]) -> Looks {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let is_padded = line.trim_ascii_end().len() < line.len()
        && line.iter().rev().find(|byte| !matches!(byte, b'\r' | b'\n')).is_some_and(is_blank);
    let has_comma = line.rsplit(|byte| *byte == b',').next().is_some_and(|last| trimmed(last).is_empty());
    let names = names(line);
    let is_indexed = names[0].is_empty();
    let names = &names[usize::from(is_indexed)..];
    let is_slashed = names.first().is_some_and(|name| name == "C/A");
    let is_area = is_slashed || names.first().is_some_and(|name| name == "CA");
    let has = |name: &str| names.iter().any(|known| known == name);
    let is_other = ["ID", "TIMESTAMP", "WINDOW_END_UTC"].into_iter().any(has);
    if !is_area || is_other || !COLUMNS[1..].iter().all(|name| has(name)) {
        return Looks::Other;
    }
    if is_indexed || is_slashed || is_padded || has_comma { Looks::Weekly } else { Looks::Either }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::record::{File, Offset, Partition};
    use headway_operators::stream::decode::Decoder as _;

    fn says(zone: &str, name: &str, columns: Option<&Columns>, line: &str) -> String {
        let mut decoder = Decoder::new(Zone::find(zone).expect("a known zone"));
        decoder.begin(Epoch(1));
        let file = File { name: name.into(), earlier: 2 };
        let raw = Raw::of(Partition(0), Offset(5), Payload::Bytes(line.as_bytes()));
        let raw = Raw { columns, file: Some(&file), ..raw };
        let mut definitions = Vec::new();
        match decoder.decode(&raw, &Context::default(), &mut definitions) {
            Err(reason) => reason.name().to_string(),
            Ok(Decoded::Filtered) => "filtered".to_string(),
            Ok(Decoded::Record(time, Reading { second, rank, entries, exits, line, .. })) => {
                assert_eq!((line, rank.earlier), (5, 2));
                let place = &definitions[0].key;
                let seconds = time.ms() / 1000;
                let later = (second.ms() - time.ms()) / 1000;
                format!(
                    "{seconds}+{later} {}/{} {} {} {entries} {exits}",
                    place.area(),
                    place.station().name(),
                    rank.published,
                    rank.is_regular
                )
            }
        }
    }

    const LINE: &str =
        "A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,0000102019,0000073801";

    #[test]
    fn line_is_a_reading_with_index_or_without_padded_or_not() {
        const GOOD: &str = "1703923200+0 A002/59 ST 20240106 true 102019 73801";
        let zone = "America/New_York";
        let names: Columns = [
            "", "CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC", "ENTRIES",
            "EXITS",
        ]
        .map(String::from)
        .to_vec()
        .into();
        for (columns, line) in [
            (None, LINE.to_string()),
            (None, format!("{LINE}           ")),
            (None, format!("{LINE},\r")),
            (None, format!("17,{LINE}")),
            (Some(&names), format!("17,{LINE}")),
            (Some(&names), format!("17,{LINE},")),
        ] {
            assert_eq!(says(zone, "turnstile_240106.txt", columns, &line), GOOD, "{line}");
        }
        let recovered = LINE.replace("REGULAR", "RECOVR AUD");
        assert!(says(zone, "240106.csv", None, &recovered).contains(" false "));
    }

    #[test]
    fn line_that_is_no_reading_has_a_reason() {
        for (from, to, reason) in [
            ("0000102019", "", "bad-number"),
            ("0000102019", "-1", "bad-number"),
            ("12/30/2023", "12-30-23", "bad-timestamp"),
            ("12/30/2023", "02/30/2023", "bad-timestamp"),
            ("03:00:00", "24:00:00", "bad-timestamp"),
            ("59 ST", "", "missing-field"),
            ("59 ST", "59\u{7}ST", "control-character"),
            (",BMT", "", "wrong-field-count"),
        ] {
            assert_eq!(says("UTC", "240106.csv", None, &LINE.replace(from, to)), reason);
        }
        assert_eq!(says("UTC", "week.csv", None, LINE), "no-file-date");
        assert_eq!(says("UTC", "240106.csv", None, "  \r"), "filtered");
        assert_eq!(
            says("America/New_York", "240316.csv", None, &LINE.replace("12/30/2023,03", "03/10/2024,02")),
            "bad-timestamp"
        );
    }

    #[test]
    fn hour_that_comes_twice_has_two_instants() {
        let line = LINE.replace("12/30/2023,03:00", "11/03/2024,01:15");
        assert!(says("America/New_York", "241109.csv", None, &line).starts_with("1730610900+3600 "));
    }

    #[test]
    fn header_is_read_as_each_of_its_forms() {
        let plain = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS";
        let names =
            |line: &str| header(line.as_bytes()).expect("it can be used").map(|names| names.join(","));
        let padded = format!("{}{}", plain.replace("CA,", "C/A,"), " ".repeat(63));
        assert_eq!(names(plain).as_deref(), Some(plain));
        assert_eq!(names(&padded).as_deref(), Some(plain));
        assert_eq!(names(&format!(",{padded}")), Some(format!(",{plain}")));
        assert_eq!(names(LINE), None);
        assert!(header(b"C/A,UNIT,SCP").is_err());
    }
}
