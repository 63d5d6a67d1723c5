//! Inputs that people reported in public, made again small: `tests/field` keeps them, each in a folder named after what it
//! is. Each kind has siblings here that are made on the spot.

use crate::cli::{Run, folder, headway};
use crate::files::{capture, fates, gzip, lines, write};
use crate::odd_inputs::now_ms;
use flate2::read::MultiGzDecoder;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

fn kept(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "field", name].iter().collect()
}

/// Runs the job on a file of `tests/field`, or on one that was made in `folder`.
fn run(folder: &Path, file: &str, more: &[&str]) -> Run {
    let kept = kept(file);
    let path = if kept.exists() { kept } else { folder.join(file) };
    let source = format!("files:{}", path.display());
    headway(folder, &[&["run", "turnstile", "--lake", "lake", "--source", &source], more].concat())
}

/// What ENTRIES and EXITS of all rows add up to.
pub(crate) fn sums(folder: &Path) -> (u64, u64) {
    let mut sums = (0, 0);
    for file in fs::read_dir(folder.join("lake/turnstile")).into_iter().flatten() {
        let file = fs::File::open(file.expect("it is there").path()).expect("it opens");
        let mut text = String::new();
        MultiGzDecoder::new(file).read_to_string(&mut text).expect("it is gzipped text");
        for row in text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()) {
            let number = |at: usize| row[at].parse::<u64>().expect("it is a number");
            (sums.0, sums.1) = (sums.0 + number(9), sums.1 + number(10));
        }
    }
    sums
}

/// A case: the file, more flags, the exit code, words that are said, the fates, and the sums of the rows.
struct Case<'a> {
    file: &'a str,
    flags: &'a [&'a str],
    code: i32,
    says: &'a [&'a str],
    fates: [u64; 5],
    sums: (u64, u64),
}

const NOTHING: [u64; 5] = [0; 5];

fn judge(make: &[(&str, Vec<u8>)], cases: &[Case<'_>]) {
    for case in cases {
        let folder = folder();
        make.iter().for_each(|(name, bytes)| write(folder.path(), name, bytes));
        let run = run(folder.path(), case.file, case.flags);
        assert_eq!(run.code, Some(case.code), "{}: {run:?}", case.file);
        let said = format!("{}{}", run.out, run.err);
        for words in case.says {
            assert!(said.contains(words), "{} does not say {words:?}: {run:?}", case.file);
        }
        assert_eq!((fates(folder.path()), sums(folder.path())), (case.fates, case.sums), "{}", case.file);
    }
}

fn case<'a>(file: &'a str, fates: [u64; 5], sums: (u64, u64)) -> Case<'a> {
    Case { file, flags: &[], code: 0, says: &["done: "], fates, sums }
}

#[test]
fn packed_files_are_read_under_any_name() {
    let made = [
        ("log.1", gzip(&lines(29, 0..20))),
        ("many.csv", [gzip(&lines(29, 0..20)), gzip(&lines(29, 20..40)), vec![0; 100]].concat()),
    ];
    let cases = [
        case("packed-under-another-name/messages.csv", [400, 400, 0, 0, 0], (400, 800)),
        case("packed-under-another-name/MESSAGES.CSV.GZ", [400, 400, 0, 0, 0], (400, 800)),
        case("log.1", [20, 20, 0, 0, 0], (20, 40)),
        case("many.csv", [40, 40, 0, 0, 0], (40, 80)),
    ];
    judge(&made, &cases);
}

#[test]
fn captures_with_something_before_them_are_read_or_refused_by_line() {
    let refused =
        |file, line: &'static [&'static str]| Case { code: 2, says: line, ..case(file, NOTHING, (0, 0)) };
    let made = [
        ("warned.ndjson", format!("%4|1|FAIL|rdkafka\n%3|1|ERROR\n{}", capture(0, 29, 0..9)).into_bytes()),
        ("blank.ndjson", format!("\n{}", capture(0, 29, 0..9)).into_bytes()),
        ("marked.ndjson", format!("\u{FEFF}{}", capture(0, 29, 0..9)).into_bytes()),
    ];
    let cases = [
        refused("capture-with-a-first-line/noise.ndjson", &["noise.ndjson:1\"", "hint: "]),
        refused("warned.ndjson", &["warned.ndjson:1\"", "hint: "]),
        refused("blank.ndjson", &["blank.ndjson:1\"", "hint: "]),
        case("capture-with-a-first-line/bom.ndjson", [60, 60, 0, 0, 0], (60, 120)),
        case("marked.ndjson", [9, 9, 0, 0, 0], (9, 18)),
    ];
    judge(&made, &cases);
}

#[test]
fn numbers_at_their_limits_are_read_or_refused_and_never_spoil_a_lake() {
    const MAX: i64 = i64::MAX - 2;
    let at = |offset: i64| capture(0, 29, 7..8).replace("\"offset\":7", &format!("\"offset\":{offset}"));
    for (offset, code) in [(MAX, 0), (MAX + 1, 2), (i64::MAX, 2)] {
        let folder = folder();
        write(folder.path(), "in/a.ndjson", capture(0, 29, 0..5) + &at(offset));
        // The second run reads what the first has committed.
        for _ in 0..2 {
            let run = run(folder.path(), "in", &[]);
            assert_eq!(run.code, Some(code), "{offset}: {run:?}");
        }
    }
}

#[test]
fn only_the_topic_of_the_job_is_read_of_a_capture() {
    let other = |text: String| text.replace("\"topic\":\"mta-turnstile\"", "\"topic\":\"other\"");
    let made = [
        ("mixed.ndjson", (other(capture(0, 29, 0..9)) + &capture(1, 29, 0..5)).into_bytes()),
        ("others.ndjson", other(capture(0, 29, 0..9)).into_bytes()),
    ];
    let cases = [
        Case {
            says: &["envelopes of other topics are passed over"],
            ..case("capture-of-two-topics/two.ndjson", [50, 50, 0, 0, 0], (50, 100))
        },
        case("mixed.ndjson", [5, 5, 0, 0, 0], (5, 10)),
        Case { flags: &["--topic", "other"], ..case("others.ndjson", [9, 9, 0, 0, 0], (9, 18)) },
    ];
    judge(&made, &cases);
}

#[test]
fn header_of_a_file_says_which_column_is_which() {
    let line =
        |a: u32, b: u32| format!("A002,R051,02-00-00,59 ST,NQ,BMT,,,REGULAR,{a},{b},,2024-01-30 10:00:00\n");
    let head = |a: &str, b: &str| {
        format!("CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,{a},{b},ID,TIMESTAMP\n")
    };
    let made = [
        ("usual.csv", (head("ENTRIES", "EXITS") + &line(1, 2)).into_bytes()),
        ("swapped.csv.gz", gzip(&(head("EXITS", "ENTRIES") + &line(1, 2)))),
    ];
    let cases = [
        case("header-says-another-order/swapped.csv", [61, 60, 0, 0, 0], (120, 60)),
        case("usual.csv", [2, 1, 0, 0, 0], (1, 2)),
        case("swapped.csv.gz", [2, 1, 0, 0, 0], (2, 1)),
    ];
    judge(&made, &cases);
}

#[test]
fn control_characters_and_times_that_people_write_have_a_fate() {
    let tab = lines(29, 0..5).replacen("59 ST", "59\u{7}ST", 1);
    let late =
        lines(29, 0..5).replace(" 10:", "T10:").replace(",2024-01-29T10:00:00", ",2024-01-29T10:00:00+00:00");
    let made = [("bell.csv", tab.into_bytes()), ("offset.csv", late.into_bytes())];
    let cases = [
        Case {
            says: &["control-character 1"],
            ..case("nul-before-a-record/nul.csv", [50, 49, 0, 0, 1], (49, 98))
        },
        Case { says: &["control-character 1"], ..case("bell.csv", [5, 4, 0, 0, 1], (4, 8)) },
        case("rows-that-are-none/zulu.csv", [100, 100, 0, 0, 0], (100, 200)),
        case("offset.csv", [5, 5, 0, 0, 0], (5, 10)),
    ];
    judge(&made, &cases);
}

#[test]
fn limit_on_the_future_is_not_the_clock_of_an_earlier_run() {
    let line = |id: &str| {
        let now = chrono::DateTime::from_timestamp_millis(now_ms()).expect("a time of today");
        let time = now.format("%Y-%m-%d %H:%M:%S%.3f");
        format!("A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,1,2,{id},{time}\n")
    };
    let envelope = |offset: u32, line: String| {
        let payload = line.trim();
        let message = serde_json::json!({
            "topic": "mta-turnstile", "partition": 0, "offset": offset, "ts": -1, "key": null, "payload": payload,
        });
        format!("{message}\n")
    };
    for form in ["lines", "packed", "captured"] {
        let folder = folder();
        let file = |id: u32| {
            let line = line(&format!("m{id}"));
            match form {
                "lines" => line.into_bytes(),
                "packed" => gzip(&line),
                _ => envelope(id, line).into_bytes(),
            }
        };
        // What happened after the start of each run is beyond the clock of the one before.
        for day in 0..3 {
            write(folder.path(), &format!("in/day{day}"), file(day));
            let run = run(folder.path(), "in", &["--max-ahead", "0s", "--until", "caught-up"]);
            assert_eq!(run.code, Some(0), "{form} {day}: {run:?}");
            let count = u64::from(day) + 1;
            assert_eq!(fates(folder.path()), [count, count, 0, 0, 0], "{form}: {run:?}");
        }
    }
}

/// Messages every five minutes by a clock on the wall, from minute to minute of a day.
fn on_the_wall(spans: [(&str, u32, u32); 2]) -> String {
    let times = spans.into_iter().flat_map(|(day, from, to)| (from..to).step_by(5).map(move |at| (day, at)));
    let line = |(id, (day, at)): (usize, (&str, u32))| {
        let (hour, minute) = (at / 60, at % 60);
        format!("A002,R051,02-00-00,59 ST,NQR456W,BMT,,,REGULAR,1,2,w{id},{day} {hour:02}:{minute:02}:00\n")
    };
    times.enumerate().map(line).collect()
}

#[test]
fn hour_that_comes_twice_and_files_that_are_not_in_order_of_time() {
    let zone = ["--zone", "America/New_York"];
    let cases = [
        Case { flags: &zone, ..case("hour-that-comes-twice/dst.csv", [240, 240, 0, 0, 0], (240, 480)) },
        Case {
            flags: &["--window", "1h", "--lateness", "7d"],
            ..case("rows-that-are-late/by-turnstile.csv", [336, 336, 0, 0, 0], (336, 672))
        },
    ];
    judge(&[], &cases);
    // Elsewhere, too, and where the clock goes back by half an hour only.
    let paris = [("2024-10-27", 0, 180), ("2024-10-27", 120, 240)];
    let lord_howe = [("2024-04-07", 0, 120), ("2024-04-07", 90, 240)];
    let made =
        [("paris.csv", on_the_wall(paris).into_bytes()), ("howe.csv", on_the_wall(lord_howe).into_bytes())];
    let cases = [
        Case { flags: &["--zone", "Europe/Paris"], ..case("paris.csv", [60, 60, 0, 0, 0], (60, 120)) },
        Case { flags: &["--zone", "Australia/Lord_Howe"], ..case("howe.csv", [54, 54, 0, 0, 0], (54, 108)) },
    ];
    judge(&made, &cases);
    // Most of it is late without that; the share is told, with the flag that helps.
    let folder = folder();
    let run = run(folder.path(), "rows-that-are-late/by-turnstile.csv", &["--window", "1h"]);
    assert!(run.err.contains("--lateness 7d") && run.out.contains(" late ("), "{run:?}");
    assert!(fates(folder.path())[3] > 200);
}

#[test]
#[cfg(feature = "kafka")]
fn client_settings_are_read_as_they_come() {
    use headway::connect::kafka::config::Properties;
    let brokers = |name: &str| Properties::read(&kept(name)).map(|found| found.brokers().map(str::to_string));
    for name in ["stored-by-java", "byte-order-mark"] {
        let found =
            brokers(&format!("properties/{name}.properties")).expect("it is read").expect("it names one");
        assert_eq!(found, "127.0.0.1:9092", "{name}");
    }
    let cloud = Properties::read(&kept("properties/confluent-cloud.properties")).expect("it is read");
    assert!(!cloud.reader_notices(None).is_empty(), "what is passed over is told");
    // How many settings are passed over or translated, and the file.
    let siblings: [(usize, &[u8]); 6] = [
        (0, b"!by hand\n  bootstrap.servers : 127.0.0.1:9092\n"),
        (0, b"bootstrap.servers = 127.0.0.1:9092, \\\n   127.0.0.1:9093\r\nclient.id=caf\xe9\n"),
        (0, "\u{feff}# saved by an editor\r\n\r\nbootstrap.servers=127.0.0.1:9092\r\n".as_bytes()),
        (0, "\u{feff}\nbootstrap.servers 127.0.0.1:9092".as_bytes()),
        (
            3,
            b"bootstrap.servers=127.0.0.1:9092\nkey.deserializer=org.apache.kafka.common.serialization.StringDeserializer\n\
              value.deserializer=io.confluent.kafka.serializers.KafkaAvroDeserializer\nschema.registry.url=https://registry.invalid\n",
        ),
        (
            2,
            b"bootstrap.servers=127.0.0.1:9092\nmax.poll.records=100\npartition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor\n",
        ),
    ];
    for (passed_over, file) in siblings {
        let shown = String::from_utf8_lossy(file);
        let found =
            Properties::parse(file, "client.properties").unwrap_or_else(|error| panic!("{shown}: {error}"));
        let brokers = found.brokers().expect("it names one");
        assert!(brokers.starts_with("127.0.0.1:9092"), "{shown}: {brokers}");
        assert_eq!(
            found.reader_notices(None).len(),
            passed_over,
            "{shown}: {:?}",
            found.reader_notices(None)
        );
    }
}
