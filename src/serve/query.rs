//! What a request asks of a view: which rows, in which order, how many, in which form.
//!
//! `where=COLUMN=VALUE` may be given several times, and all must hold; `!=`, `<`, `<=`, `>` and `>=` compare too. An empty
//! VALUE is that of rows without one. `order=-entries,station` sorts, `-` from the greatest down. `limit=N` is the most rows.

use crate::engine::run::view_rows::ViewRows;
use crate::serve::encode::plain;
use headway_operators::row::{Column, Kind};
use headway_operators::time::EventTime;
use headway_operators::view::row::{Value, ViewRow};
use std::cmp::Ordering;
use std::sync::Arc;

/// The most rows where nothing is said.
const LIMIT: usize = 1_000;

/// The most conditions of a request.
const CONDITIONS_MAX: usize = 32;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object.
    Json,
    /// CSV with a header row.
    Csv,
    /// A JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

impl Form {
    /// The type of its content.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Csv => "text/csv; charset=utf-8; header=present",
            Form::Ndjson => "application/x-ndjson",
            Form::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// What is asked of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// The most rows.
    pub(crate) limit: usize,
    /// The form.
    pub(crate) form: Form,
    order: Vec<Order>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    column: usize,
    is_down: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    column: usize,
    test: Test,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// How a condition is written. Those that begin like others come first.
const TESTS: [(&str, Test); 6] = [
    ("!=", Test::Unequal),
    ("<=", Test::AtMost),
    (">=", Test::AtLeast),
    ("=", Test::Equal),
    ("<", Test::Less),
    (">", Test::More),
];

/// The rows of an answer.
#[derive(Debug)]
pub(crate) struct Selected {
    /// The rows.
    pub(crate) rows: Vec<Arc<ViewRow>>,
    /// There are more than the limit.
    pub(crate) has_more: bool,
}

/// The names and values of a query string, unescaped.
///
/// # Errors
/// If an escape is broken, or what it stands for is no UTF-8.
pub(crate) fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let unescape = |text: &str| {
        let text = text.replace('+', " ");
        let bytes = percent_encoding::percent_decode_str(&text).decode_utf8();
        bytes.map(|text| text.into_owned()).map_err(|_| format!("\"{}\" is no UTF-8", text.escape_debug()))
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((unescape(name)?, unescape(value)?))
        })
        .collect()
}

impl Query {
    /// Reads `pairs`, for a view with `columns`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn read(pairs: &[(String, String)], columns: &[Column]) -> Result<Query, String> {
        let mut query = Query { limit: LIMIT, form: Form::Json, order: Vec::new(), conditions: Vec::new() };
        for (name, value) in pairs {
            match name.as_str() {
                "limit" if value == "all" => query.limit = usize::MAX,
                "limit" => {
                    let limit = value
                        .parse()
                        .map_err(|_| format!("limit is a number or \"all\", not \"{value}\""))?;
                    query.limit = limit;
                }
                "format" => query.form = form(value)?,
                "order" => query.order = order(value, columns)?,
                "where" => query.conditions.push(condition(value, columns)?),
                other => {
                    let known = "limit, order, where and format";
                    return Err(format!("there is no \"{other}\": a view is asked by {known}"));
                }
            }
        }
        if query.conditions.len() > CONDITIONS_MAX {
            return Err(format!("there are more than {CONDITIONS_MAX} conditions"));
        }
        Ok(query)
    }

    /// At most how many rows of `rows` are looked at.
    pub(crate) fn cost(&self, rows: &ViewRows) -> usize {
        let most = rows.count_at_most(&self.prefix());
        let is_cut = self.order.is_empty() && self.conditions.is_empty();
        if is_cut { most.min(self.limit) } else { most }
    }

    /// The rows of `rows` that are asked for.
    pub(crate) fn select(&self, rows: &ViewRows) -> Selected {
        let prefix = self.prefix();
        let mut found = rows.beginning_with(&prefix).filter(|row| self.holds(row)).cloned();
        let beyond = self.limit.saturating_add(1);
        let mut rows: Vec<Arc<ViewRow>> = if self.order.is_empty() {
            found.by_ref().take(beyond).collect()
        } else {
            let mut all: Vec<_> = found.collect();
            let compare = |a: &Arc<ViewRow>, b: &Arc<ViewRow>| self.compare(a, b);
            if beyond < all.len() {
                all.select_nth_unstable_by(beyond, compare);
                all.truncate(beyond);
            }
            all.sort_unstable_by(compare);
            all
        };
        let has_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        Selected { rows, has_more }
    }

    /// The values of the first columns, as far as each must equal one: rows are in that order.
    fn prefix(&self) -> Vec<Value> {
        let value = |column: usize| {
            let mut equal = self.conditions.iter().filter(|condition| condition.test == Test::Equal);
            let condition = equal.find(|condition| condition.column == column)?;
            (condition.value != Value::Null).then(|| condition.value.clone())
        };
        (0..).map_while(value).collect()
    }

    fn holds(&self, row: &ViewRow) -> bool {
        self.conditions.iter().all(|condition| condition.holds(&row.0[condition.column]))
    }

    /// By the order that is asked for, then by the whole row: equal requests give equal answers.
    fn compare(&self, a: &ViewRow, b: &ViewRow) -> Ordering {
        let by = |order: &Order| {
            let by = a.0[order.column].cmp(&b.0[order.column]);
            if order.is_down { by.reverse() } else { by }
        };
        self.order.iter().map(by).find(|by| by.is_ne()).unwrap_or_else(|| a.cmp(b))
    }
}

impl Condition {
    fn holds(&self, value: &Value) -> bool {
        if self.value == Value::Null {
            let is_empty = plain(value).is_empty();
            return match self.test {
                Test::Equal => is_empty,
                Test::Unequal => !is_empty,
                Test::Less | Test::AtMost | Test::More | Test::AtLeast => false,
            };
        }
        // What is not there is neither less nor more than anything.
        if *value == Value::Null {
            return self.test == Test::Unequal;
        }
        let order = value.cmp(&self.value);
        match self.test {
            Test::Equal => order.is_eq(),
            Test::Unequal => order.is_ne(),
            Test::Less => order.is_lt(),
            Test::AtMost => order.is_le(),
            Test::More => order.is_gt(),
            Test::AtLeast => order.is_ge(),
        }
    }
}

fn form(name: &str) -> Result<Form, String> {
    match name {
        "json" => Ok(Form::Json),
        "csv" => Ok(Form::Csv),
        "ndjson" => Ok(Form::Ndjson),
        "parquet" if cfg!(feature = "parquet") => Ok(Form::Parquet),
        other => Err(format!("format is json, csv, ndjson or parquet, not \"{other}\"")),
    }
}

fn order(text: &str, columns: &[Column]) -> Result<Vec<Order>, String> {
    let read = |name: &str| {
        let plain = name.strip_prefix('-').unwrap_or(name);
        Ok(Order { column: find(plain, columns)?, is_down: plain != name })
    };
    text.split(',').filter(|name| !name.is_empty()).take(columns.len() + 1).map(read).collect()
}

fn find(name: &str, columns: &[Column]) -> Result<usize, String> {
    columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let known: Vec<&str> = columns.iter().map(|column| column.name.as_ref()).collect();
        format!("there is no column \"{name}\"; there are: {}", known.join(", "))
    })
}

fn condition(text: &str, columns: &[Column]) -> Result<Condition, String> {
    let end = text.find(['=', '!', '<', '>']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let found = TESTS.iter().find_map(|(sign, test)| Some((test, rest.strip_prefix(sign)?)));
    let Some((test, value)) = found else {
        return Err(format!("\"{text}\" is no condition: write COLUMN=VALUE, or !=, <, <=, >, >="));
    };
    let column = find(name, columns)?;
    Ok(Condition { column, test: *test, value: value_of(value, &columns[column])? })
}

/// `text` as a value of `column`.
fn value_of(text: &str, column: &Column) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let refuse = |what: &str| format!("column \"{}\" holds {what}, and \"{text}\" is none", column.name);
    match column.kind {
        Kind::Text => Ok(Value::Text(text.into())),
        Kind::Int => text.parse().map(Value::Int).map_err(|_| refuse("integers")),
        Kind::Wide => text.parse().map(Value::Wide).map_err(|_| refuse("integers")),
        Kind::Bool => text.parse().map(Value::Bool).map_err(|_| refuse("true and false")),
        Kind::Time => {
            time(text).map(Value::Time).ok_or_else(|| refuse("instants such as 2024-01-06T13:00:00Z"))
        }
        Kind::Float => Err(format!("column \"{}\" cannot be compared", column.name)),
    }
}

/// `2024-01-06T13:00:00Z`, or a day for its first instant in UTC.
fn time(text: &str) -> Option<EventTime> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(EventTime(time.timestamp_millis()));
    }
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(EventTime(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column::new("day", Kind::Time),
            Column::new("station", Kind::Text),
            Column::new("entries", Kind::Wide),
        ]
    }

    fn read(query: &str) -> Result<Query, String> {
        Query::read(&pairs(query)?, &columns())
    }

    /// Days 0 to 2, stations a to d; one station has no entries.
    fn rows() -> ViewRows {
        let mut rows = ViewRows::default();
        for day in 0..3 {
            for (at, station) in ["a", "b", "c", "34 ST-PENN STA"].into_iter().enumerate() {
                let entries = if station == "c" { Value::Null } else { Value::Wide(10 * day + at as i128) };
                let day = Value::Time(EventTime(day as i64 * 86_400_000));
                rows.insert(ViewRow(vec![day, Value::Text(station.into()), entries]), 1);
            }
        }
        rows
    }

    /// Day and station of the rows that a query gives.
    fn select(query: &str) -> Vec<String> {
        let selected = read(query).expect("it is a query").select(&rows());
        let name = |row: &Arc<ViewRow>| format!("{} {}", &plain(&row.0[0])[8..10], plain(&row.0[1]));
        selected.rows.iter().map(name).collect()
    }

    #[test]
    fn conditions_and_order_choose_rows() {
        assert_eq!(select("").len(), 12);
        assert_eq!(select("where=station%3Da"), ["01 a", "02 a", "03 a"]);
        assert_eq!(select("where=station=34+ST-PENN+STA&where=day=1970-01-02"), ["02 34 ST-PENN STA"]);
        assert_eq!(
            select("where=day=1970-01-03T00:00:00Z&where=entries>=20&where=entries<22"),
            ["03 a", "03 b"]
        );
        assert_eq!(select("where=entries="), ["01 c", "02 c", "03 c"], "without a value");
        assert_eq!(select("where=entries!=&where=day=1970-01-01").len(), 3);
        assert_eq!(select("where=entries!=0&where=day=1970-01-01").len(), 3, "what is not there is not 0");
        assert_eq!(select("order=-entries&limit=2"), ["03 34 ST-PENN STA", "03 b"]);
        assert_eq!(select("order=station,-day&limit=2"), ["03 34 ST-PENN STA", "02 34 ST-PENN STA"]);
        let few = read("limit=12").unwrap().select(&rows());
        assert!(!few.has_more && read("limit=11").unwrap().select(&rows()).has_more);
        assert_eq!(read("limit=all").unwrap().select(&rows()).rows.len(), 12);
        assert_eq!(select("limit=0").len(), 0);
    }

    #[test]
    fn condition_on_the_first_columns_looks_at_few_rows() {
        let mut rows = ViewRows::default();
        for key in 0..100_000 {
            rows.insert(ViewRow(vec![Value::Time(EventTime(key)), Value::Null, Value::Null]), 1);
        }
        let cost = |query: &str| read(query).expect("it is a query").cost(&rows);
        assert!(cost("where=day=1970-01-01T00:00:50Z") < 300, "{}", cost("where=day=1970-01-01T00:00:50Z"));
        assert!(cost("where=station=a") >= 100_000);
        assert_eq!(cost("limit=10"), 10);
        assert!(cost("limit=10&order=station") >= 100_000);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (query, word) in [
            ("limit=-1", "limit"),
            ("limit=99999999999999999999999", "limit"),
            ("format=xml", "xml"),
            ("order=nothing", "nothing"),
            ("where=station", "no condition"),
            ("where=nothing=1", "nothing"),
            ("where=entries=many", "integers"),
            ("where=day=yesterday", "instants"),
            ("where=%ff=1", "UTF-8"),
            ("what=1", "what"),
            (&"where=station=a&".repeat(CONDITIONS_MAX + 1), "more than"),
        ] {
            let error = read(query).expect_err(query);
            assert!(error.contains(word), "{query}: {error}");
        }
    }
}
