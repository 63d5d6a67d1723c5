//! The weekly job by whole runs: whatever the order, the cutting, the workers and the kills, its views are what a slow twin
//! makes of all readings together.

mod autumn;
mod twin;

use crate::cli::{folder, headway, killed_after};
use crate::files::{gzip, write};
use autumn::{Draws, autumn};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use twin::{Row, Week};

/// The header of the files, padded as the real ones are.
const HEADER: &str =
    "C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS                              ";

/// The real sample: the first 25 turnstiles or so of a week, as the agency's file has them.
pub(crate) fn sample_text() -> String {
    let packed = include_bytes!("samples/240106.csv.gz");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&packed[..]), &mut text)
        .expect("the sample is packed text");
    text
}

/// The lines of the sample, without the index.
fn sample() -> Vec<String> {
    let text = sample_text();
    text.lines().skip(1).map(|line| line.split_once(',').expect("an index").1.to_string()).collect()
}

/// All rows of every view of `pipeline`, as texts.
pub(crate) fn tables(lake: &Path, pipeline: &str) -> BTreeMap<String, Vec<Row>> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let entries = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).expect("the job has written tables");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let stem = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let files = entries(&lake.join("gold").join(pipeline)).into_iter().flat_map(|path| {
        // A table that lies by day is a folder.
        let (name, files) =
            if path.is_dir() { (stem(&path), entries(&path)) } else { (stem(&path), vec![path.clone()]) };
        files.into_iter().map(move |file| (name.clone(), file)).collect::<Vec<_>>()
    });
    for (name, path) in files {
        let reader = SerializedFileReader::new(File::open(path).expect("the file is there"));
        let reader = reader.expect("a Parquet file");
        let rows = reader.get_row_iter(None).expect("rows").map(|row| {
            let cell = |(_, field): (&String, &Field)| match field {
                Field::Null => "null".to_string(),
                Field::Str(text) => text.clone(),
                Field::Long(number) => number.to_string(),
                Field::Bool(value) => value.to_string(),
                Field::TimestampMillis(ms) => ms.to_string(),
                Field::Decimal(sum) => {
                    i128::from_be_bytes(sum.data().try_into().expect("sums have 16 bytes")).to_string()
                }
                other => panic!("a view has no {other:?}"),
            };
            row.expect("a row").get_column_iter().map(cell).collect::<Row>()
        });
        tables.entry(name).or_default().extend(rows);
    }
    tables.values_mut().for_each(|rows| rows.sort());
    tables
}

/// Runs the job on `source` in `folder`.
fn go(folder: &Path, source: &str, lake: &str, more: &[&str]) {
    let args = ["run", "turnstile-weekly", "--source", source, "--lake", lake, "--if-running", "take-over"];
    let run = headway(folder, &[&args, more].concat());
    assert_eq!(run.code, Some(0), "{}", run.err);
}

/// A file of `lines` under `name`.
fn put(folder: &Path, name: &str, header: Option<&str>, lines: &[String]) {
    let text: String =
        header.into_iter().chain(lines.iter().map(String::as_str)).map(|line| format!("{line}\n")).collect();
    write(folder, name, gzip(&text));
}

/// Compares every view with the twin's, and lets the program verify them.
fn same(lake: &Path, weeks: &[Week<'_>], what: &str) {
    let verify = headway(lake, &["views", "verify", "--lake", ".", "-o", "json"]);
    assert_eq!(verify.code, Some(0), "{what}: {}{}", verify.out, verify.err);
    assert_eq!(verify.out.lines().count(), 10, "{what}: {}", verify.out);
    let (found, wanted) = (tables(lake, "turnstile-weekly"), twin::tables(weeks));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{what}");
    for (name, rows) in wanted {
        assert_eq!(found[&name], rows, "{name}, {what}");
    }
}

#[test]
fn views_of_a_real_sample_are_those_of_the_twin_on_any_number_of_workers() {
    let lines = sample();
    let folder = folder();
    put(folder.path(), "240106.csv.gz", Some(HEADER), &lines);
    for workers in ["1", "2", "3"] {
        let lake = format!("lake-{workers}");
        go(folder.path(), "files:240106.csv.gz", &lake, &["-w", workers]);
        let week = Week { published: 240_106, met: 0, lines: &lines };
        same(&folder.path().join(lake), &[week], &format!("{workers} workers"));
    }
}

#[test]
fn order_cutting_kills_and_corrections_do_not_matter() {
    for seed in 0..4 {
        let draws = &mut Draws(seed);
        let right = autumn(draws);
        // What was published first has other registers, and has readings that the correction leaves out.
        let wrong: Vec<String> = right
            .iter()
            .filter(|_| draws.below(20) > 0)
            .map(
                |line| {
                    if line.ends_with('7') { format!("{}0", &line[..line.len() - 1]) } else { line.clone() }
                },
            )
            .collect();
        let kept: Vec<String> = right.iter().filter(|line| !line.ends_with("33")).cloned().collect();
        let weeks = [
            Week { published: 241_109, met: 0, lines: &wrong },
            Week { published: 241_109, met: 1, lines: &kept },
        ];
        let all_at_once = [Week { published: 241_109, met: 0, lines: &right }];

        // 1. All at once, and cut into parts in another order: some without a header, one with an index.
        let folder = folder();
        let at = folder.path();
        put(at, "once/241109.csv.gz", Some(HEADER), &right);
        go(at, "files:once", "lake-once", &[]);
        same(&at.join("lake-once"), &all_at_once, &format!("all at once, seed {seed}"));
        // Cut between turnstiles, and where the clock goes back.
        let is_one_part = |one: &String, other: &String| {
            one[..4] == other[..4] && !(one.contains(",01:45:00,") && other.contains(",01:00:00,"))
        };
        let parts = right.chunk_by(is_one_part);
        assert_eq!(parts.clone().count(), 6);
        for (part, lines) in parts.enumerate() {
            let header = (part % 2 == 0).then_some(HEADER);
            let indexed: Vec<String> =
                (0..).zip(lines).map(|(n, line): (u32, _)| format!("{n},{line}")).collect();
            let lines: &[String] = if part == 1 { &indexed } else { lines };
            put(at, &format!("parts/{}-241109.csv.gz", 9 - part), header, lines);
        }
        // 2. A kill in the middle, and another number of workers.
        let tiny = ["--epoch-bytes", "4KiB", "-w", "2"];
        let args = ["run", "turnstile-weekly", "--source", "files:parts", "--lake", "lake-parts"];
        let manifests = at.join("lake-parts/_headway/turnstile-weekly/manifest");
        killed_after(at, &[&args[..], &tiny].concat(), &manifests, 3);
        go(at, "files:parts", "lake-parts", &["-w", "3"]);
        same(&at.join("lake-parts"), &all_at_once, &format!("in parts, killed, seed {seed}"));
        // 3. A corrected file of the same name, read later.
        put(at, "twice/241109.csv.gz", Some(HEADER), &wrong);
        go(at, "files:twice", "lake-twice", &["-w", "2"]);
        same(&at.join("lake-twice"), &weeks[..1], &format!("before the correction, seed {seed}"));
        put(at, "twice/241109.csv.gz", None, &kept);
        go(at, "files:twice", "lake-twice", &[]);
        same(&at.join("lake-twice"), &weeks, &format!("after the correction, seed {seed}"));
    }
}

#[test]
fn tables_without_rows_are_what_was_committed() {
    let folder = folder();
    let at = folder.path();
    // One reading a turnstile: nobody has passed between two.
    let mut lines = autumn(&mut Draws(1));
    lines.dedup_by(|one, other| one[..4] == other[..4]);
    put(at, "241109.csv.gz", Some(HEADER), &lines);
    go(at, "files:241109.csv.gz", "lake", &[]);
    let verify = headway(at, &["views", "verify", "--lake", "lake"]);
    assert_eq!(verify.code, Some(0), "{}{}", verify.out, verify.err);
    assert!(!verify.out.contains("absent"), "{}", verify.out);
}

#[test]
fn as_upstream_the_first_reading_counts_whatever_is_read_later() {
    for seed in 5..8 {
        // One reading of an instant: which of two is committed first is told by where an epoch ends.
        let mut right = autumn(&mut Draws(seed));
        let instant = |line: &String| line.rsplitn(4, ',').nth(3).map(str::to_string);
        right.dedup_by_key(|line| instant(line));
        let wrong: Vec<String> = right.iter().map(|line| format!("{}0", &line[..line.len() - 1])).collect();
        let folder = folder();
        let at = folder.path();
        let parity = ["--corrections", "ignore"];
        put(at, "in/241109.csv.gz", Some(HEADER), &wrong);
        go(at, "files:in", "lake", &[&parity[..], &["-w", "2"]].concat());
        let first = [Week { published: 241_109, met: 0, lines: &wrong }];
        same(&at.join("lake"), &first, &format!("what came first, seed {seed}"));
        // The corrected file changes nothing, and what is published later neither.
        put(at, "in/241109.csv.gz", Some(HEADER), &right);
        put(at, "in/0-241116.csv.gz", Some(HEADER), &right);
        go(at, "files:in", "lake", &parity);
        same(&at.join("lake"), &first, &format!("after two corrections, seed {seed}"));
        // Another pipeline's lake does not go on with it.
        let other = headway(at, &["run", "turnstile-weekly", "--source", "files:in", "--lake", "lake"]);
        assert_eq!(other.code, Some(4), "{}", other.err);
    }
}

#[test]
fn as_upstream_a_station_is_its_name() {
    let folder = folder();
    let at = folder.path();
    put(at, "in/241109.csv.gz", Some(HEADER), &autumn(&mut Draws(5)));
    go(at, "files:in", "lake", &["--station-by", "name", "-w", "2"]);
    let tables = tables(&at.join("lake"), "turnstile-weekly");
    // Two stations share the name: one row, with upstream's key.
    let stations = &tables["dim_station"];
    assert!(stations.len() == 1 && stations[0][..3] == ["59 ST", "", ""], "{stations:?}");
    assert_eq!(stations[0][3..], ["83bec2469cfb3627f41bc1248ba74119", "83bec2469cfb3627f41bc1248ba74119"]);
    assert!(tables["fact_turnstile"].iter().any(|row| row[5] == "456NQRW"), "facts keep what was read");
    let verify = headway(at, &["views", "verify", "--lake", "lake"]);
    assert_eq!(verify.code, Some(0), "{}{}", verify.out, verify.err);
}

#[test]
fn files_that_the_job_cannot_read_are_refused_and_the_right_pipeline_is_named() {
    let folder = folder();
    let (at, lines) = (folder.path(), sample()[..3].to_vec());
    put(at, "240106.csv.gz", Some(HEADER), &lines);
    put(at, "week.csv.gz", Some(HEADER), &lines);
    // Copies from which the padding or the slash was taken.
    put(at, "trimmed.csv", Some(HEADER.trim_end()), &lines);
    put(at, "turnstile_240113.txt", Some(HEADER.replace("C/A", "CA").trim_end()), &lines);
    put(at, "turnstile_100417.txt", Some(HEADER), &lines);
    let run = |pipeline: &str, file: &str| {
        let source = format!("files:{file}");
        // A file is looked into when it is read: each refusal has a lake of its own.
        headway(at, &["run", pipeline, "--source", &source, "--lake", &format!("lake-{file}")])
    };
    for (pipeline, file, says) in [
        ("turnstile", "240106.csv.gz", "turnstile-weekly"),
        ("turnstile", "trimmed.csv", "turnstile-weekly"),
        ("turnstile", "turnstile_240113.txt", "turnstile-weekly"),
        ("turnstile-weekly", "week.csv.gz", "six digits"),
        ("turnstile-weekly", "turnstile_100417.txt", "before 18 October 2014"),
    ] {
        let refused = run(pipeline, file);
        assert_eq!(refused.code, Some(2), "{file}: {}", refused.err);
        assert!(refused.err.contains(says), "{file}: {}", refused.err);
    }
}

#[test]
fn views_are_listed_shown_and_exported() {
    let folder = folder();
    let at = folder.path();
    put(at, "240106.csv.gz", Some(HEADER), &sample());
    go(at, "files:240106.csv.gz", "lake", &[]);
    let views = |args: &[&str]| headway(at, &[&["views"], args, &["--lake", "lake"]].concat());
    let listed = views(&["ls", "-o", "json"]);
    let names: Vec<String> = listed
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["view"].as_str().unwrap().into()
        })
        .collect();
    assert!(
        names.contains(&"station_day".to_string()) && names.contains(&"anomalies".to_string()),
        "{names:?}"
    );
    let shown =
        views(&["show", "top_stations", "--where", "measure=entries", "--where", "day=overall", "-n", "1"]);
    assert!(shown.out.starts_with("  MEASURE  DAY"), "{}{}", shown.out, shown.err);
    let exported = views(&["export", "dim_date"]);
    assert!(
        exported.out.starts_with("day,date_id,year") && exported.out.contains("2023-12-30"),
        "{}",
        exported.out
    );
    let [json, ndjson] =
        [["-o", "json"], ["--as", "ndjson"]].map(|form| views(&["export", "dim_date", form[0], form[1]]));
    let first: serde_json::Value =
        serde_json::from_str(json.out.lines().next().expect("a row")).expect("JSON");
    assert!(first["day"].is_string() && json.out == ndjson.out, "{}{}", json.out, json.err);
    assert_eq!(views(&["export", "dim_date", "-o", "text"]).out, exported.out);
    let both = headway(at, &["views", "ls", "--from", "127.0.0.1:1", "--lake", "lake"]);
    assert_eq!(both.code, Some(2), "a job or its files: {}", both.err);
    let nobody = headway(at, &["views", "show", "dim_date", "--from", "127.0.0.1:1"]);
    assert_eq!(nobody.code, Some(3), "{}", nobody.err);
    // A table that lies by day is read whole, and each of its files holds a day.
    let mut lines =
        listed.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let facts = lines.find(|line| line["view"] == "fact_turnstile").expect("it is listed");
    assert_eq!(facts["path"], "gold/turnstile-weekly/fact_turnstile/");
    let rows = facts["rows"].as_u64().expect("a count");
    let exported = views(&["export", "fact_turnstile"]);
    assert_eq!(exported.out.lines().count() as u64, rows + 1, "{}", exported.err);
    let days = std::fs::read_dir(at.join("lake/gold/turnstile-weekly/fact_turnstile"));
    let days = days.expect("the table is a folder").map(|entry| entry.expect("an entry").file_name());
    let days: Vec<String> = days.map(|name| name.to_string_lossy().into_owned()).collect();
    let shown = views(&["show", "fact_turnstile", "--where", "day=2023-12-30", "-n", "1"]);
    assert!(
        days.contains(&"day=2023-12-30.parquet".to_string()) && days.len() as u64 == facts["files"],
        "{days:?}"
    );
    assert!(shown.out.contains("2023-12-30"), "{}{}", shown.out, shown.err);
    let unknown = views(&["show", "station_dya"]);
    assert_eq!((unknown.code, unknown.err.contains("view-unknown")), (Some(2), true), "{}", unknown.err);
    let column = views(&["show", "dim_date", "--where", "dya=1"]);
    assert_eq!(column.code, Some(2), "{}", column.err);
}
