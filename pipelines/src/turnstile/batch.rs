//! The shape of a committed row: one window of one turnstile, as the lake has it.

use super::key::Key;
use crate::zone::{Wall, Zone};
use headway_operators::row::{self, Cell, Column, Kind};
use headway_operators::spec::Format;
use headway_operators::stream::aggregate::Total;
use headway_operators::time::{Epoch, EventTime};
use std::sync::Arc;

/// What all rows of a job share.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The zone of DATE and TIME.
    pub zone: Zone,
    /// How the last column has the window's end in UTC.
    pub window_end_utc: WindowEnd,
}

/// How a row has its window's end in UTC. DATE and TIME alone are ambiguous in the hour that a zone has twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowEnd {
    /// Not at all, as upstream's files.
    Absent,
    /// As RFC 3339 has it.
    Text,
    /// As an instant, by which readers of typed formats skip what they do not need.
    Typed,
}

impl WindowEnd {
    /// What files of `format` have. For CSV, which upstream's readers take, it is a setting.
    pub fn of(format: Format, is_set: bool) -> WindowEnd {
        match format {
            Format::CsvGz if !is_set => WindowEnd::Absent,
            Format::CsvGz | Format::NdjsonGz => WindowEnd::Text,
            Format::Parquet => WindowEnd::Typed,
        }
    }
}

impl Shape {
    /// The columns, in the order that upstream's files have them.
    pub fn columns(&self) -> Vec<Column> {
        let text = |name| Column::new(name, Kind::Text);
        let mut columns = ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC"]
            .map(text)
            .to_vec();
        columns.extend(["ENTRIES", "EXITS"].map(|name| Column::new(name, Kind::Wide)));
        columns.extend(match self.window_end_utc {
            WindowEnd::Absent => None,
            WindowEnd::Text => Some(text("WINDOW_END_UTC")),
            WindowEnd::Typed => Some(Column::new("WINDOW_END_UTC", Kind::Time)),
        });
        columns
    }
}

/// The people who passed one turnstile in one window.
#[derive(Clone, Debug)]
pub struct Row {
    shape: Arc<Shape>,
    /// DATE and TIME are the window's end in the zone, so a window that ends at midnight has the date of the new day.
    total: Total<Key, 2>,
}

impl Row {
    /// The row of one window's sums.
    pub fn new(shape: &Arc<Shape>, total: Total<Key, 2>) -> Row {
        Row { shape: Arc::clone(shape), total }
    }
}

impl row::Row for Row {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        let Total { span, key, sums: [entries, exits], .. } = &self.total;
        let [before @ .., desc] = key.columns();
        before.into_iter().for_each(|text| put(Cell::Text(text)));
        let Wall { year, month, day, hour, minute, second } = self.shape.zone.wall(span.end);
        put(Cell::Text(&format!("{month:02}/{day:02}/{year:04}")));
        put(Cell::Text(&format!("{hour:02}:{minute:02}:{second:02}")));
        put(Cell::Text(desc));
        put(Cell::Wide(*entries));
        put(Cell::Wide(*exits));
        match self.shape.window_end_utc {
            WindowEnd::Absent => {}
            WindowEnd::Text => put(Cell::Text(&rfc3339(span.end))),
            WindowEnd::Typed => put(Cell::Time(span.end)),
        }
    }

    fn time(&self) -> EventTime {
        self.total.span.end
    }

    fn since(&self, _epoch: Epoch) -> Epoch {
        self.total.since
    }
}

/// An instant as RFC 3339 writes it, in UTC and whole seconds.
fn rfc3339(at: EventTime) -> String {
    let Wall { year, month, day, hour, minute, second } = Zone::utc().wall(at);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::row::Row as _;
    use headway_operators::stream::window::Grid;

    fn cells(zone: &str, window_end_utc: WindowEnd, end_s: i64) -> Vec<String> {
        let zone = Zone::find(zone).expect("a known zone");
        let total = Total {
            span: Grid::tumbling(300_000).span(EventTime(end_s * 1000)),
            key: Arc::new(Key::new(["A002", "R051", "02-00-00", "59 ST", "NQR456W", "BMT", "REGULAR"])),
            sums: [140, i128::from(u64::MAX)],
            since: Epoch(3),
        };
        let row = Row::new(&Arc::new(Shape { zone, window_end_utc }), total);
        let mut cells = Vec::new();
        row.cells(&mut |cell| {
            cells.push(match cell {
                Cell::Text(text) => text.to_string(),
                Cell::Wide(number) => number.to_string(),
                Cell::Time(time) => format!("at {time}"),
                other => panic!("a row has text, sums and an instant, not {other:?}"),
            });
        });
        assert_eq!(cells.len(), row.shape.columns().len());
        cells
    }

    #[test]
    fn row_of_a_window_that_ends_at_midnight_has_the_new_day() {
        let row = cells("UTC", WindowEnd::of(Format::CsvGz, false), 1_706_659_200);
        let want =
            "A002,R051,02-00-00,59 ST,NQR456W,BMT,01/31/2024,00:00:00,REGULAR,140,18446744073709551615";
        assert_eq!(row.join(","), want);
    }

    #[test]
    fn date_and_time_are_of_the_zone_and_the_last_column_is_utc() {
        let row = cells("America/New_York", WindowEnd::of(Format::CsvGz, true), 1_710_054_000);
        assert_eq!(row[6..8], ["03/10/2024", "03:00:00"]);
        assert_eq!(row[11], "2024-03-10T07:00:00Z");
        let typed = cells("America/New_York", WindowEnd::of(Format::Parquet, false), 1_710_054_000);
        assert_eq!((&typed[..11], typed[11].as_str()), (&row[..11], "at 1710054000000"));
    }
}
