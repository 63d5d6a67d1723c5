//! A turnstile job that writes Parquet: the rows of the csv.gz job, checked and resumed like them.

use crate::answers::typed_rows;
use crate::cli::{Run, folder, headway, succeeds};
use std::path::{Path, PathBuf};

/// A run over `messages` into `lake`, which must end with exit code 0.
fn run(folder: &Path, lake: &str, more: &[&str]) -> Run {
    let args = ["run", "turnstile", "--source", "files:messages", "--lake", lake, "--epoch-bytes", "64KiB"];
    headway(folder, &[&args[..], more].concat())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    files
}

fn csv_rows(folder: &Path) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for path in files(folder) {
        let file = flate2::read::MultiGzDecoder::new(std::fs::File::open(path).expect("the file is there"));
        let mut reader = csv::Reader::from_reader(file);
        rows.extend(
            reader
                .records()
                .map(|row| row.expect("it is CSV").iter().map(str::to_string).collect::<Vec<_>>()),
        );
    }
    rows.sort_unstable();
    rows
}

#[test]
fn parquet_job_has_the_rows_of_the_csv_job_is_audited_and_resumed_and_its_format_is_fixed() {
    let folder = folder();
    let produce = ["produce", "turnstile", "--to", "messages", "--messages", "20000", "--rate", "20"];
    succeeds(&headway(folder.path(), &produce));
    succeeds(&run(folder.path(), "csv", &[]));
    let expected = csv_rows(&folder.path().join("csv/turnstile"));
    assert!(expected.len() > 1_000, "{} rows", expected.len());
    // 1. The first half by two workers, the second by three: windows stay open in between.
    let last = files(&folder.path().join("messages")).pop().unwrap();
    let text = std::fs::read(&last).unwrap();
    let ends: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b'\n').collect();
    std::fs::write(&last, &text[..=ends[ends.len() / 2]]).unwrap();
    succeeds(&run(folder.path(), "lake", &["--format", "parquet", "--until", "caught-up", "-w", "2"]));
    std::fs::write(&last, &text).unwrap();
    succeeds(&run(folder.path(), "lake", &["--format", "parquet", "--until", "end", "-w", "3"]));
    let lake = folder.path().join("lake/turnstile");
    let mut found = typed_rows(&lake);
    found.sort_unstable();
    assert!(found == expected, "{} and {} rows", found.len(), expected.len());
    // 2. The audit reads every file again, and sees what is not as it was.
    let audit = ["audit", "--lake", "lake", "--deep"];
    succeeds(&headway(folder.path(), &audit));
    let one = files(&lake).pop().unwrap();
    let mut bytes = std::fs::read(&one).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&one, bytes).unwrap();
    let damaged = headway(folder.path(), &audit);
    assert_eq!(damaged.code, Some(1), "{}{}", damaged.out, damaged.err);
    assert!(damaged.err.contains(".parquet"), "{}", damaged.err);
    // 3. Files of two formats in one folder would hide rows from readers.
    let other = run(folder.path(), "lake", &[]);
    assert_eq!(other.code, Some(4), "{}", other.err);
    assert!(other.err.contains("--format parquet, not csv.gz"), "{}", other.err);
}

#[test]
fn column_that_only_csv_has_is_refused_with_another_format() {
    let folder = folder();
    for (flag, format) in [("--csv-index", "parquet"), ("--csv-window-end-utc", "ndjson.gz")] {
        let refused = run(folder.path(), "lake", &["--format", format, flag]);
        assert_eq!(refused.code, Some(2), "{}", refused.err);
        assert!(refused.err.contains(&format!("{flag}: rows are written as {format}")), "{}", refused.err);
    }
}

#[test]
fn rows_can_be_objects_of_json_too() {
    let folder = folder();
    let produce = ["produce", "turnstile", "--to", "messages", "--messages", "2000", "--rate", "20"];
    succeeds(&headway(folder.path(), &produce));
    succeeds(&run(folder.path(), "csv", &["--csv-window-end-utc"]));
    succeeds(&run(folder.path(), "lake", &["--format", "ndjson.gz"]));
    let mut found = Vec::new();
    for path in files(&folder.path().join("lake/turnstile")) {
        let file = flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap());
        for line in std::io::read_to_string(file).unwrap().lines() {
            let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            let names = ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC"];
            let text = |name: &str| row[name].as_str().unwrap().to_string();
            let mut cells: Vec<String> = names.map(text).to_vec();
            cells.extend(["ENTRIES", "EXITS"].map(|name| row[name].to_string()));
            cells.push(text("WINDOW_END_UTC"));
            found.push(cells);
        }
    }
    found.sort_unstable();
    assert_eq!(found, csv_rows(&folder.path().join("csv/turnstile")));
    succeeds(&headway(folder.path(), &["audit", "--lake", "lake", "--deep"]));
}
