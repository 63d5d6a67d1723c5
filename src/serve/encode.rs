//! Rows of views as JSON and CSV.
//!
//! An integer beyond 2^53 is a JSON text: most readers would round it as a number. An instant is RFC 3339 in UTC.

use headway_operators::row::Column;
use headway_operators::time::EventTime;
use headway_operators::view::row::{Value, ViewRow};
use std::io::Write;

/// The greatest integer up to which every reader of JSON is exact.
const EXACT_MAX: i128 = (1 << 53) - 1;

/// An instant as RFC 3339 writes it; milliseconds where there are some.
pub(crate) fn instant(time: EventTime) -> String {
    let form = if time.ms().rem_euclid(1000) == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.3fZ" };
    chrono::DateTime::from_timestamp_millis(time.ms())
        .map_or_else(|| time.ms().to_string(), |time| time.format(form).to_string())
}

/// A value as CSV has it, and as a person writes it in a query. No value is an empty text.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Wide(sum) => sum.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Time(time) => instant(*time),
    }
}

/// Adds `text` as a JSON text.
pub(crate) fn json_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory takes every text");
}

/// Adds `row` as a JSON object.
pub(crate) fn json_row(out: &mut Vec<u8>, columns: &[Column], row: &ViewRow) {
    out.push(b'{');
    for (at, (column, value)) in columns.iter().zip(&row.0).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json_text(out, &column.name);
        out.push(b':');
        json_value(out, value);
    }
    out.push(b'}');
}

fn json_value(out: &mut Vec<u8>, value: &Value) {
    let integer = |out: &mut Vec<u8>, number: i128| {
        let quote = if number.abs() > EXACT_MAX { "\"" } else { "" };
        write!(out, "{quote}{number}{quote}").expect("memory takes every text");
    };
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => integer(out, i128::from(*number)),
        Value::Wide(sum) => integer(out, *sum),
        Value::Text(text) => json_text(out, text),
        Value::Time(time) => json_text(out, &instant(*time)),
    }
}

/// Adds a line of CSV.
pub(crate) fn csv_line<T: AsRef<[u8]>>(out: &mut Vec<u8>, cells: impl IntoIterator<Item = T>) {
    let mut writer = csv::WriterBuilder::new().from_writer(out);
    writer.write_record(cells).and_then(|()| Ok(writer.flush()?)).expect("memory takes every line");
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::row::Kind;

    #[test]
    fn json_is_exact_for_every_reader() {
        let names = ["a", "b", "c", "d", "e", "f\""];
        let columns: Vec<Column> = names.iter().map(|name| Column::new(name, Kind::Text)).collect();
        let row = ViewRow(vec![
            Value::Null,
            Value::Int(9_007_199_254_740_991),
            Value::Int(9_007_199_254_740_992),
            Value::Wide(-170_141_183_460_469_231_731_687_303_715_884_105_728 + 1),
            Value::Time(EventTime(1_541_462_400_123)),
            Value::Text("say \"hi\"\n\u{2028}".into()),
        ]);
        let mut out = Vec::new();
        json_row(&mut out, &columns, &row);
        let text = String::from_utf8(out).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["b"], 9_007_199_254_740_991_i64);
        assert_eq!(read["c"], "9007199254740992");
        assert_eq!(read["d"], "-170141183460469231731687303715884105727");
        assert_eq!(read["e"], "2018-11-06T00:00:00.123Z");
        assert_eq!(read["f\""], "say \"hi\"\n\u{2028}");
        assert!(!text.contains('\n'), "an event of a stream is one line");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let mut out = Vec::new();
        csv_line(&mut out, ["a,b", "say \"hi\"", ""]);
        assert_eq!(String::from_utf8(out).unwrap(), "\"a,b\",\"say \"\"hi\"\"\",\n");
    }
}
