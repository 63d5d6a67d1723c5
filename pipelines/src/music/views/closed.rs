//! `active_users`, `sessions`, `top_songs_last_hour` and `top_artists_last_hour` as views: the rows of the outputs of these names, by
//! day. A row that is written is final, so these collections only grow, and lose the days that are sealed.

use super::{active, last_hour, sessions};
use crate::day::Day;
use crate::music::committed::Reader;
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::spec::ViewSpec;
use headway_operators::time::EventTime;
use headway_operators::view::refill::{CommittedRow, Refill};
use headway_operators::view::rollup::Sums;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::text::Text;

/// An output, and how it is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::music) struct Closed {
    /// The name of the output and of the view.
    pub(in crate::music) name: &'static str,
    /// What the view is about.
    about: &'static str,
    /// The columns of the output. The view has one more before them: the day.
    pub(in crate::music) columns: &'static [Column],
    /// How many of them tell rows of one day apart.
    key: usize,
    /// The number of the column with the instant whose day counts.
    at: usize,
    /// So many milliseconds before that instant.
    before_ms: i64,
}

/// Users by windows.
pub(in crate::music) const ACTIVE_USERS: Closed = Closed {
    name: "active_users",
    about: "How many users did something in 5 minutes, in an hour and in a day",
    columns: &active::COLUMNS,
    key: 2,
    at: 1,
    before_ms: 0,
};

/// Sessions.
pub(in crate::music) const SESSIONS: Closed = Closed {
    name: "sessions",
    about: "What users did between two pauses, once it is over",
    columns: &sessions::COLUMNS,
    key: 3,
    at: 2,
    before_ms: 0,
};

/// Songs of the hour before each five minutes.
pub(in crate::music) const TOP_SONGS: Closed = Closed {
    name: "top_songs_last_hour",
    about: "Every five minutes, the songs that were played most in the hour before",
    columns: &last_hour::SONG_COLUMNS,
    key: 3,
    at: 1,
    before_ms: 1,
};

/// Artists of the hour before each five minutes.
pub(in crate::music) const TOP_ARTISTS: Closed = Closed {
    name: "top_artists_last_hour",
    about: "Every five minutes, the artists that were played most in the hour before",
    columns: &last_hour::ARTIST_COLUMNS,
    key: 3,
    at: 1,
    before_ms: 1,
};

/// The day of a row, and the row.
type OfDay = (i64, ViewRow);

impl Closed {
    /// A row with its day.
    ///
    /// # Panics
    /// If the row has not the columns of the output.
    fn of_day(&self, row: ViewRow) -> OfDay {
        match row.0.get(self.at) {
            Some(Value::Time(time)) => (super::songs::day(time.minus_ms(self.before_ms)), row),
            other => panic!("{} has {other:?} for an instant", self.name),
        }
    }

    /// The row of a view that a row of the output is, from the text of its cells.
    ///
    /// # Panics
    /// If a cell is not of the type of its column.
    pub(in crate::music) fn row(&self, cells: Vec<Option<String>>) -> ViewRow {
        let value = |(column, cell): (&Column, Option<String>)| {
            let Some(cell) = cell else { return Value::Null };
            let whole = || cell.parse().expect("a column of numbers has numbers");
            match column.kind {
                Kind::Text => Value::Text(Text::from(cell.as_str())),
                Kind::Int => Value::Int(whole()),
                Kind::Time => Value::Time(EventTime(whole())),
                other => panic!("{} has no column of {other:?}", self.name),
            }
        };
        shown(self.of_day(ViewRow(self.columns.iter().zip(cells).map(value).collect())))
    }

    /// The row that a committed one is.
    fn committed(&self, row: &CommittedRow<'_>, reader: Reader) -> Result<OfDay, String> {
        let value = |column: &Column| {
            let name = column.name.as_ref();
            Ok(match column.kind {
                Kind::Text => {
                    reader.text(row, name)?.map_or(Value::Null, |text| Value::Text(Text::from(text)))
                }
                Kind::Time => reader.whole(row, name)?.map_or(Value::Null, |ms| Value::Time(EventTime(ms))),
                _ => reader.whole(row, name)?.map_or(Value::Null, Value::Int),
            })
        };
        let values: Result<Vec<Value>, String> = self.columns.iter().map(value).collect();
        Ok(self.of_day(ViewRow(values?)))
    }

    /// Shows `rows`, which are those of the output; where the view is new to the job, after those that were committed.
    pub(super) fn show<'s, R: Row>(self, build: &mut Build<'s>, reader: Reader, rows: Flow<'s, R>) {
        let rows = rows.map(move |row| self.of_day(ViewRow(values(&row))));
        let (open, _) = build.part(&format!("Seal-{}", self.name), &rows, |(day, _)| *day);
        let past = Refill { facts: self.name, before: None, back_ms: 0 };
        let all = build.refill(past, open, move |row| self.committed(row, reader).map(Some));
        let all = all.map(|of_day| (of_day, Sums::of([])));
        let table = build.rollup_by_day(&format!("Shown-{}", self.name), all, |(day, _): &OfDay| *day);
        let spec = ViewSpec {
            name: self.name,
            about: self.about,
            columns: [&[Column::new("day", Kind::Text)], self.columns].concat(),
            key: 1 + self.key,
            version: 1,
            day: Some(0),
        };
        build.view(spec, table.map(|(of_day, Sums::<0> { .. })| shown(of_day)));
    }
}

/// A row of a view: the day before all else.
fn shown((day, row): OfDay) -> ViewRow {
    let day = Value::Text(Day::numbered(day).iso());
    ViewRow(std::iter::once(day).chain(row.0).collect())
}

/// The cells of a row.
fn values(row: &impl Row) -> Vec<Value> {
    let mut values = Vec::new();
    row.cells(&mut |cell| {
        values.push(match cell {
            Cell::Null => Value::Null,
            Cell::Text(text) => Value::Text(Text::from(text)),
            Cell::Int(number) => Value::Int(number),
            Cell::Time(time) => Value::Time(time),
            other => panic!("no closed window has {other:?}"),
        });
    });
    values
}
