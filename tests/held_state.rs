//! `headway state export`: what an operator holds, in each format, reads back as the same keys.

use crate::cli::{folder, headway, succeeds};
use headway::connect::formats::parquet::read;
use headway_operators::row::Cell;
use serde_json::Value;

/// A key as the NDJSON export has it, from a row of the Parquet export.
fn object(cells: &[Cell<'_>]) -> Value {
    let [Cell::Text(key), Cell::Int(version), Cell::Time(touched), Cell::Text(timers), Cell::Text(state)] =
        cells
    else {
        panic!("the columns are of other types: {cells:?}");
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("the cell is JSON");
    let timers: Vec<i64> =
        timers.split_whitespace().map(|at| at.parse().expect("the timer is a number")).collect();
    serde_json::json!({
        "key": json(key), "version": version, "touched_ms": touched.ms(), "timers_ms": timers, "state": json(state),
    })
}

#[test]
fn export_as_parquet_reads_back_as_what_the_other_formats_hold() {
    let folder = folder();
    let path = folder.path();
    succeeds(&headway(path, &["produce", "music", "--to", "in", "--messages", "2000"]));
    // The windows stay open, so operators hold something.
    let run = ["run", "music", "--source", "files:in", "--lake", "lake", "--until", "caught-up", "-w", "2"];
    succeeds(&headway(path, &run));
    let export = |operator: &'static str, format: &'static str| {
        ["state", "export", operator, "--lake", "lake", "--format", format]
    };
    let mut timers = 0;
    for operator in ["Sessions", "SongsInLastHour"] {
        let lines = headway(path, &export(operator, "ndjson"));
        succeeds(&lines);
        let expected: Vec<Value> = lines
            .out
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
            .collect();
        assert!(expected.len() > 10, "{operator} holds {} keys", expected.len());
        let mut found = Vec::new();
        let to = [&export(operator, "parquet")[..], &["--to", operator]].concat();
        succeeds(&headway(path, &to));
        let bytes = std::fs::read(path.join(operator)).expect("the file is there");
        read(bytes, &mut |cells| found.push(object(cells))).expect("the export is a Parquet file");
        let again = headway(path, &to);
        assert!(again.code == Some(2) && again.err.contains("(file-taken)"), "{again:?}");
        assert_eq!(found, expected, "{operator}");
        timers += found.iter().map(|key| key["timers_ms"].as_array().map_or(0, Vec::len)).sum::<usize>();
        let csv = headway(path, &export(operator, "csv")).out;
        assert_eq!(csv::Reader::from_reader(csv.as_bytes()).records().count(), expected.len());
    }
    assert!(timers > 10, "{timers} timers");
    let unfit = headway(path, &export("Sessions", "parquet"));
    assert!(
        unfit.code == Some(2) && unfit.err.contains("--to <FILE>"),
        "a terminal takes no Parquet: {unfit:?}"
    );
}
