//! Rows of anything, for the tests of file formats, and Python to read what was written.

use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::spec::{Format, OutputSpec};
use headway_operators::time::EventTime;
use proptest::prelude::*;
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// A cell that owns its text.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Text(String),
    Int(i64),
    Wide(i128),
    Float(f64),
    Bool(bool),
    Time(i64),
}

impl Value {
    pub(crate) fn cell(&self) -> Cell<'_> {
        match self {
            Value::Null => Cell::Null,
            Value::Text(text) => Cell::Text(text),
            Value::Int(value) => Cell::Int(*value),
            Value::Wide(value) => Cell::Wide(*value),
            Value::Float(value) => Cell::Float(*value),
            Value::Bool(value) => Cell::Bool(*value),
            Value::Time(value) => Cell::Time(EventTime(*value)),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct AnyRow(pub(crate) Vec<Value>);

impl Row for AnyRow {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        self.0.iter().for_each(|value| put(value.cell()));
    }

    fn time(&self) -> EventTime {
        EventTime(7)
    }
}

/// Rows with `columns` cells: any text, full of what needs quoting, and numbers at their ends.
pub(crate) fn rows(columns: usize) -> impl Strategy<Value = AnyRow> {
    let text = prop_oneof![
        any::<String>(),
        "[,;\"'\r\n\t \\\\a#-]{0,6}",
        Just(String::new()),
        Just("\u{feff}\u{2028}\u{1f689}".to_string()),
    ];
    // Python reads files without NUL only; none comes out of a decoder.
    let text = text.prop_map(|text| text.replace('\0', ""));
    let value = prop_oneof![
        4 => text.prop_map(Value::Text),
        1 => Just(Value::Null),
        1 => any::<i64>().prop_map(Value::Int),
        1 => any::<i128>().prop_map(Value::Wide),
        1 => any::<f64>().prop_map(Value::Float),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<i64>().prop_map(Value::Time),
    ];
    prop::collection::vec(value, columns).prop_map(AnyRow)
}

/// An output of `columns` columns called `c0`, `c1`, …
pub(crate) fn output(columns: usize) -> OutputSpec {
    let column = |n| Column { name: format!("c{n}").into(), kind: Kind::Text };
    OutputSpec {
        name: "rows".into(),
        prefix: "rows".into(),
        stem: "batch".into(),
        format: Format::CsvGz,
        columns: (0..columns).map(column).collect(),
        folders: None,
    }
}

/// What a Python script says to `input`; `None`, with the reason printed, where there is no Python.
pub(crate) fn python(script: &str, input: &[u8]) -> Option<Vec<u8>> {
    let mut command = Command::new("python3");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("skipped: python3 is not installed");
        return None;
    };
    // The scripts read all of their input before they say anything.
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the script failed");
    Some(output.stdout)
}

/// A medium without room.
pub(crate) struct Full(pub(crate) usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
