//! `fact_turnstile`: the intervals that views are made of, one row a turnstile and interval: what views are rebuilt and verified
//! from.
//!
//! The streamed pipeline writes it as an append-only output, in folders by the day (UTC) in which an interval starts. A file has
//! the rows of one epoch, so what the files of commits up to n hold is what the views of commit n show. Unlike DATE and TIME of
//! the batches, `interval_end` is an instant: it is unambiguous in the hour that a zone has twice.

use super::passage::{Count, Passage};
use super::shared::{number, text};
use headway_operators::row::{self, Cell, Column, Kind};
use headway_operators::spec::{FolderBy, Folders, Format, OutputSpec};
use headway_operators::stream::roll::Limits;
use headway_operators::time::{Epoch, EventTime};
use headway_operators::view::text::Text;

/// The output's name, and the folder of its files.
pub const FACT: &str = "fact_turnstile";

/// An interval of one turnstile, as a row of the table.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What views are fed with.
    pub passage: Passage,
    /// The kind of the audit event.
    pub desc: Text,
    /// The first epoch whose records may be in it.
    pub since: Epoch,
}

/// The columns.
pub fn columns() -> Vec<Column> {
    vec![
        text("remote"),
        text("booth"),
        text("scp"),
        Column::new("interval_end", Kind::Time),
        text("desc"),
        text("station"),
        text("lines"),
        text("division"),
        Column::new("interval_start", Kind::Time),
        text("day"),
        number("hour"),
        Column::new("entries", Kind::Wide),
        Column::new("exits", Kind::Wide),
    ]
}

/// The output: a file leaves in the epoch of its rows.
pub fn output() -> OutputSpec {
    let roll = Limits { age_ms: 0, bytes: 1 };
    OutputSpec {
        name: FACT.to_string(),
        prefix: FACT.to_string(),
        stem: "fact".into(),
        format: Format::Parquet,
        columns: columns(),
        folders: Some(Folders { by: vec![FolderBy::Date], roll }),
    }
}

/// The people of a counter; nothing where the interval is not believed.
fn people(count: Count) -> Cell<'static> {
    match count {
        Count::Counted(people) => Cell::Wide(people),
        Count::Negative(_) | Count::OverBound(_) => Cell::Null,
    }
}

impl row::Row for Fact {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        let Passage { place, start, end, day, hour, entries, exits } = &self.passage;
        [place.unit(), place.area(), place.scp()].into_iter().for_each(|text| put(Cell::Text(text)));
        put(Cell::Time(*end));
        put(Cell::Text(&self.desc));
        place.station().columns().into_iter().for_each(|text| put(Cell::Text(text)));
        put(Cell::Time(*start));
        put(Cell::Text(&day.iso()));
        put(Cell::Int(i64::from(*hour)));
        put(people(*entries));
        put(people(*exits));
    }

    fn time(&self) -> EventTime {
        self.passage.start
    }

    fn since(&self, _epoch: Epoch) -> Epoch {
        self.since
    }
}
