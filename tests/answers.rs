//! The rows, dead letters and late records of whole runs are those that the reference program has computed.
//!
//! The captures and answers are in `tests/golden/turnstile`. To make the answers anew, after the rules have changed:
//! `python3 scripts/reference golden tests/golden/turnstile`. CI checks that they are those of the reference program.

use crate::cli::{folder, headway};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Job {
    window_ms: u64,
    slide_ms: u64,
    lateness_ms: u64,
    zone: String,
    max_ahead_ms: u64,
    #[serde(default)]
    floors: BTreeMap<String, Value>,
    #[serde(default)]
    limits: BTreeMap<String, Value>,
}

/// Sorted lists: the cells of rows; partition, offset and reason; partition, offset, event time and watermark.
#[derive(Debug, PartialEq, Deserialize)]
struct Answer {
    rows: Vec<Vec<String>>,
    dead: Vec<(u32, i64, String)>,
    late: Vec<(u32, i64, i64, i64)>,
}

fn read<T: serde::de::DeserializeOwned>(path: PathBuf) -> T {
    let text = std::fs::read_to_string(&path).expect("a file of a case");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of all files of a folder whose names end so.
fn texts(folder: &Path, ending: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let text = |path: PathBuf| {
        let mut text = String::new();
        let packed = std::fs::File::open(path).expect("the file is there");
        MultiGzDecoder::new(packed).read_to_string(&mut text).expect("packed text");
        text
    };
    paths.filter(|path| path.to_string_lossy().ends_with(ending)).map(text).collect()
}

/// The rows of Parquet files without their last column, which csv.gz does not have: read by the row interface of the
/// crate, which the program does not use.
#[cfg(feature = "parquet")]
pub(crate) fn typed_rows(folder: &Path) -> Vec<Vec<String>> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut rows = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if !path.to_string_lossy().ends_with(".parquet") {
            continue;
        }
        let file = std::fs::File::open(path).expect("the file is there");
        let reader = SerializedFileReader::new(file).expect("a Parquet file");
        for row in reader.get_row_iter(None).expect("its rows") {
            let row = row.expect("a row");
            let cell = |(_, field): (&String, &Field)| match field {
                Field::Str(text) => text.clone(),
                Field::Decimal(sum) => {
                    let bytes: [u8; 16] = sum.data().try_into().expect("sums have 16 bytes");
                    assert_eq!((sum.precision(), sum.scale()), (38, 0));
                    i128::from_be_bytes(bytes).to_string()
                }
                Field::TimestampMillis(ms) => ms.to_string(),
                other => panic!("a row has text, sums and an instant, not {other:?}"),
            };
            let mut cells: Vec<String> = row.get_column_iter().map(cell).collect();
            let end = cells.pop().expect("the window's end");
            assert_eq!(end.parse::<i64>().expect("an instant") % 1000, 0);
            rows.push(cells);
        }
    }
    rows
}

#[cfg(not(feature = "parquet"))]
fn typed_rows(_folder: &Path) -> Vec<Vec<String>> {
    Vec::new()
}

/// What a lake holds.
fn written(lake: &Path) -> Answer {
    let mut rows = typed_rows(&lake.join("turnstile"));
    for text in texts(&lake.join("turnstile"), ".csv.gz") {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        rows.extend(
            reader
                .records()
                .map(|row| row.expect("a row").iter().map(str::to_string).collect::<Vec<String>>()),
        );
    }
    let refused = |kind: &str| -> Vec<Value> {
        let texts = texts(&lake.join(kind).join("turnstile"), ".ndjson.gz");
        texts
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| serde_json::from_str(line).expect("an object"))
            .collect()
    };
    let number = |row: &Value, name: &str| row[name].as_i64().expect("a number");
    let place = |row: &Value| (number(row, "partition") as u32, number(row, "offset"));
    let dead = refused("_dead").into_iter().map(|row| {
        let (partition, offset) = place(&row);
        (partition, offset, row["reason"].as_str().expect("a reason").to_string())
    });
    let mut dead: Vec<_> = dead.collect();
    let late = refused("_late").into_iter().map(|row| {
        let (partition, offset) = place(&row);
        (partition, offset, number(&row, "event_time"), number(&row, "stamp"))
    });
    let mut late: Vec<_> = late.collect();
    rows.sort_unstable();
    dead.sort_unstable();
    late.sort_unstable();
    Answer { rows, dead, late }
}

#[test]
fn runs_give_the_answers_of_the_reference_program() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/turnstile");
    let entries = std::fs::read_dir(golden).expect("the golden answers");
    let cases = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    let mut runs = 0;
    for case in cases {
        let job: Job = read(case.join("job.json"));
        // Floors and limits come from manifests: no flag sets them.
        if !job.floors.is_empty() || !job.limits.is_empty() {
            continue;
        }
        let answer: Answer = read(case.join("answer.json"));
        let parquet = cfg!(feature = "parquet").then_some(("2", "parquet"));
        for (workers, format) in [("1", "csv.gz"), ("3", "csv.gz")].into_iter().chain(parquet) {
            let folder = folder();
            let source = format!("files:{}", case.join("capture").display());
            let ms = |ms: u64| format!("{ms}ms");
            let durations = [job.window_ms, job.slide_ms, job.lateness_ms, job.max_ahead_ms].map(ms);
            let [window, slide, lateness, ahead] = durations.each_ref().map(String::as_str);
            let mut args =
                vec!["run", "turnstile", "--source", &source, "--lake", "lake", "--zone", &job.zone];
            args.extend(["--window", window, "--slide", slide, "--lateness", lateness, "--max-ahead", ahead]);
            args.extend([
                "--until",
                "end",
                "--idle-after",
                "never",
                "--not-after",
                "none",
                "--epoch-bytes",
                "4KiB",
            ]);
            args.extend(["--workers", workers, "--format", format]);
            let run = headway(folder.path(), &args);
            assert_eq!(run.code, Some(0), "{}: {run:?}", case.display());
            let got = written(&folder.path().join("lake"));
            assert!(
                got == answer,
                "{}, {format} by {workers} workers: {}",
                case.display(),
                difference(&got, &answer)
            );
            runs += 1;
        }
    }
    assert!(runs >= 8, "{runs} runs");
}

/// The first things that one answer has and the other has not.
fn difference(got: &Answer, want: &Answer) -> String {
    fn of<T: PartialEq + std::fmt::Debug>(got: &[T], want: &[T]) -> String {
        let lost: Vec<&T> = want.iter().filter(|item| !got.contains(item)).take(2).collect();
        let extra: Vec<&T> = got.iter().filter(|item| !want.contains(item)).take(2).collect();
        format!("{} and not {}, missing {lost:?}, unexpected {extra:?}", got.len(), want.len())
    }
    let [rows, dead, late] =
        [of(&got.rows, &want.rows), of(&got.dead, &want.dead), of(&got.late, &want.late)];
    format!("\n  rows: {rows}\n  dead: {dead}\n  late: {late}")
}
