//! Rows that break a rule, as people read them.

use crate::engine::run::expect::rule::Rule;
use headway_operators::view::row::{Value, ViewRow};

/// How much of a text is shown.
const LETTERS_MAX: usize = 60;

/// `row` by the columns that `rule` shows: `station="34 ST", day="2024-01-05"`.
pub(super) fn row(rule: &Rule, row: &ViewRow) -> String {
    let cells = rule.shown.iter().map(|(column, name)| format!("{name}={}", value(&row.0[*column])));
    cells.collect::<Vec<_>>().join(", ")
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Wide(sum) => sum.to_string(),
        Value::Text(text) => {
            let head: String = text.chars().take(LETTERS_MAX).collect();
            let rest = if head.len() < text.len() { "…" } else { "" };
            format!("{head:?}{rest}")
        }
        Value::Time(time) => {
            let shown = chrono::DateTime::from_timestamp_millis(time.ms());
            shown.map_or_else(|| time.ms().to_string(), |time| time.to_rfc3339())
        }
    }
}
