//! Folders of an output, named after what is in its rows: `year=2018/month=11/day=15/hour=13/`, as Hive, Spark, DuckDB and
//! Arrow read them.
//!
//! A value is one path segment, whatever is in it: every byte but letters, digits, `-`, `_` and `.` is percent-encoded, and
//! a long value is cut and gets its hash. So no value can leave its folder, and none can be `.` or `..`, for its column's
//! name and `=` stand before it.

use headway_operators::row::{Cell, Rows};
use headway_operators::spec::{FolderBy, Folders, OutputSpec};
use headway_operators::time::EventTime;
use std::collections::BTreeMap;
use std::fmt::Write;
use xxhash_rust::xxh3::xxh3_64;

/// The longest value of a segment, encoded: with a column's name before it and a hash behind it, below the 255 bytes of most
/// file systems.
const VALUE_BYTES_MAX: usize = 120;

/// The folder name for a missing value, as Hive writes it.
const NOTHING: &str = "__HIVE_DEFAULT_PARTITION__";

const HOUR_MS: i64 = 3_600_000;

/// Rows of one folder.
pub(crate) struct Part<'a> {
    rows: &'a dyn Rows,
    /// The folder below the output's own, with its final `/`; empty for the output's own.
    pub(crate) folder: String,
    /// Which rows, rising.
    numbers: Vec<usize>,
}

impl Rows for Part<'_> {
    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn cells(&self, row: usize, put: &mut dyn FnMut(Cell<'_>)) {
        self.rows.cells(self.numbers[row], put);
    }

    fn time(&self, row: usize) -> EventTime {
        self.rows.time(self.numbers[row])
    }

    fn event_time(&self) -> Option<(EventTime, EventTime)> {
        let times = || self.numbers.iter().map(|row| self.rows.time(*row));
        Some((times().min()?, times().max()?))
    }
}

/// The rows of `output`, folder by folder.
pub(crate) fn parts<'a>(rows: &'a dyn Rows, output: &OutputSpec) -> Vec<Part<'a>> {
    let Some(folders) = &output.folders else {
        return vec![Part { rows, folder: String::new(), numbers: (0..rows.len()).collect() }];
    };
    // Whatever the levels are, rows of one hour and equal values lie together: a folder is named once for all of them.
    let mut found: BTreeMap<(i64, Vec<String>), Vec<usize>> = BTreeMap::new();
    let columns: Vec<usize> = folders.by.iter().filter_map(|by| column(by, output)).collect();
    for row in 0..rows.len() {
        let mut values = vec![NOTHING.to_string(); columns.len()];
        if !columns.is_empty() {
            let mut at = 0;
            rows.cells(row, &mut |cell| {
                for (value, _) in values.iter_mut().zip(&columns).filter(|(_, column)| **column == at) {
                    *value = of_cell(cell);
                }
                at += 1;
            });
        }
        found.entry((rows.time(row).ms().div_euclid(HOUR_MS), values)).or_default().push(row);
    }
    let mut parts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for ((hour, values), numbers) in found {
        parts.entry(name(folders, hour, &values)).or_default().extend(numbers);
    }
    let part = |(folder, mut numbers): (String, Vec<usize>)| {
        numbers.sort_unstable();
        Part { rows, folder, numbers }
    };
    parts.into_iter().map(part).collect()
}

/// The place of the column that `by` names.
fn column(by: &FolderBy, output: &OutputSpec) -> Option<usize> {
    let FolderBy::Column(name) = by else { return None };
    let found = output.columns.iter().position(|column| column.name == *name);
    Some(found.unwrap_or_else(|| panic!("output \"{}\" has no column \"{name}\"", output.name)))
}

/// The folder of `hour`, in hours since the Unix epoch, and of `values`, encoded, of the columns in it.
fn name(folders: &Folders, hour: i64, values: &[String]) -> String {
    let time = hour.checked_mul(HOUR_MS).and_then(chrono::DateTime::from_timestamp_millis);
    let of_time =
        |format: &str| time.map_or_else(|| NOTHING.to_string(), |time| time.format(format).to_string());
    let (mut values, mut path) = (values.iter(), String::new());
    for by in &folders.by {
        let (name, value) = match by {
            FolderBy::Year => ("year".to_string(), of_time("%Y")),
            FolderBy::Month => ("month".to_string(), of_time("%m")),
            FolderBy::Day => ("day".to_string(), of_time("%d")),
            FolderBy::Hour => ("hour".to_string(), of_time("%H")),
            FolderBy::Date => ("date".to_string(), of_time("%Y-%m-%d")),
            FolderBy::Column(name) => (encoded(name), values.next().expect("one for each").clone()),
        };
        let _ = write!(path, "{name}={value}/");
    }
    path
}

/// When the hour, day, month or year that `folder` is named after ends; `None` if it is named after no time.
pub(crate) fn end(folder: &str) -> Option<EventTime> {
    let value = |name: &str| folder.split('/').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| value(name)?.parse::<u32>().ok();
    let date = |year, month, day| chrono::NaiveDate::from_ymd_opt(year, month, day);
    let ms = |date: chrono::NaiveDate, hour: u32| {
        let time = date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis();
        time.checked_add(i64::from(hour) * HOUR_MS).map(EventTime)
    };
    if let Some(day) = value("date") {
        return ms(day.parse::<chrono::NaiveDate>().ok()?, 24);
    }
    let year: i32 = value("year")?.parse().ok()?;
    match (number("month"), number("day"), number("hour")) {
        (Some(month), Some(day), Some(hour)) => ms(date(year, month, day)?, hour + 1),
        (Some(month), Some(day), None) => ms(date(year, month, day)?, 24),
        (Some(month), None, _) => ms(date(year, month, 1)?.checked_add_months(chrono::Months::new(1))?, 0),
        (None, ..) => ms(date(year + 1, 1, 1)?, 0),
    }
}

fn of_cell(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => NOTHING.to_string(),
        Cell::Text(text) => encoded(text),
        Cell::Int(value) => value.to_string(),
        Cell::Wide(value) => value.to_string(),
        Cell::Float(value) => encoded(&value.to_string()),
        Cell::Bool(value) => value.to_string(),
        Cell::Time(value) => value.to_string(),
    }
}

/// `value` as a part of one segment of a path.
pub(crate) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        let (before, is_plain) = (text.len(), byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        match is_plain {
            true => text.push(char::from(byte)),
            false => drop(write!(text, "%{byte:02X}")),
        }
        if text.len() > VALUE_BYTES_MAX {
            text.truncate(before);
            let _ = write!(text, "-{:016x}", xxh3_64(value.as_bytes()));
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::names::is_safe;
    use headway_operators::row::{Column, Kind, Row};
    use headway_operators::spec::Format;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[derive(Clone, Debug)]
    struct Play(i64, Option<String>);

    impl Row for Play {
        fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
            put(Cell::Time(EventTime(self.0)));
            put(self.1.as_deref().map_or(Cell::Null, Cell::Text));
        }

        fn time(&self) -> EventTime {
            EventTime(self.0)
        }
    }

    fn output(by: Vec<FolderBy>) -> OutputSpec {
        OutputSpec {
            name: "plays".into(),
            prefix: "plays".into(),
            stem: "batch".into(),
            format: Format::Parquet,
            columns: vec![Column::new("ts", Kind::Time), Column::new("a city", Kind::Text)],
            folders: Some(Folders { by, ..Folders::by_hour() }),
        }
    }

    /// The folder and the places of the rows in it.
    fn folders(rows: &Vec<Play>, by: Vec<FolderBy>) -> Vec<(String, Vec<usize>)> {
        parts(rows, &output(by)).into_iter().map(|part| (part.folder, part.numbers)).collect()
    }

    #[test]
    fn row_lies_in_the_hour_of_its_event_time_in_utc() {
        // 2018-11-15 13:59:59.999, 14:00, late 13:00; the last hour before 1970; the end of a leap day.
        let times =
            [1_542_290_399_999, 1_542_290_400_000, 1_542_286_800_000, -1, 1_582_934_400_000 + 86_399_999];
        let rows = times.map(|time| Play(time, None)).to_vec();
        let expected = [
            ("year=1969/month=12/day=31/hour=23/", vec![3]),
            ("year=2018/month=11/day=15/hour=13/", vec![0, 2]),
            ("year=2018/month=11/day=15/hour=14/", vec![1]),
            ("year=2020/month=02/day=29/hour=23/", vec![4]),
        ];
        assert_eq!(
            folders(&rows, Folders::by_hour().by),
            expected.map(|(path, rows)| (path.to_string(), rows))
        );
        let dates: Vec<String> =
            folders(&rows, Folders::by_date().by).into_iter().map(|(path, _)| path).collect();
        assert_eq!(dates, ["date=1969-12-31/", "date=2018-11-15/", "date=2020-02-29/"]);
        let part = &parts(&rows, &output(Folders::by_hour().by))[1];
        assert_eq!(part.event_time(), Some((EventTime(times[2]), EventTime(times[0]))));
        let beyond = folders(&vec![Play(i64::MAX, None)], Folders::by_date().by);
        assert_eq!(beyond[0].0, "date=__HIVE_DEFAULT_PARTITION__/", "no calendar has that day");
    }

    #[test]
    fn hostile_value_stays_in_its_segment() {
        let by = || vec![FolderBy::Column("a city".into())];
        let cases = [
            (None, "__HIVE_DEFAULT_PARTITION__"),
            (Some(""), ""),
            (Some(".."), ".."),
            (Some("../../etc/passwd"), "..%2F..%2Fetc%2Fpasswd"),
            (Some("São José\0\\ a=b\n"), "S%C3%A3o%20Jos%C3%A9%00%5C%20a%3Db%0A"),
        ];
        for (city, value) in cases {
            let found = folders(&vec![Play(0, city.map(str::to_string))], by());
            assert_eq!(found[0].0, format!("a%20city={value}/"));
        }
    }

    proptest! {
        #[test]
        fn no_value_leaves_the_folder_of_the_output_and_no_two_values_share_one(
            cities in prop::collection::btree_set(prop_oneof![any::<String>(), "[./\\\\%~ é]{0,5}", ".{60,400}"], 1..8),
            time in any::<i64>(),
        ) {
            let rows: Vec<Play> = cities.iter().map(|city| Play(time, Some(city.clone()))).collect();
            let by = vec![FolderBy::Year, FolderBy::Column("a city".into()), FolderBy::Hour];
            let found = folders(&rows, by);
            prop_assert_eq!(found.len(), cities.len());
            for (folder, numbers) in found {
                prop_assert_eq!(numbers.len(), 1);
                let path = format!("plays/{folder}batch_1.parquet");
                prop_assert!(is_safe(&path), "{}", path);
                let parts: Vec<_> = Path::new(&path).components().collect();
                prop_assert_eq!(parts.len(), 5);
                for part in parts {
                    let Component::Normal(part) = part else { panic!("{path} has a part that is no name") };
                    prop_assert!(part.len() <= 255 && part.is_ascii(), "{:?}", part);
                }
            }
        }
    }
}
