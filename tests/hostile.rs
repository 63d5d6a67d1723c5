//! A command line with any duration, size, count or instant is answered or refused: it never ends in a panic.

use crate::cli::{folder, headway};
use std::path::Path;

/// Values that parsers and sums have trouble with.
const VALUES: [&str; 40] = [
    "",
    " ",
    "0",
    "-0",
    "-1",
    "1",
    "1.5",
    "1e9",
    "1e400",
    "NaN",
    "inf",
    "none",
    "never",
    "0s",
    "0ms",
    "1ms",
    "1s",
    "-1s",
    "1s1s",
    "1h30",
    "99999999999999999999s",
    "9223372036854775807ms",
    "18446744073709551615",
    "36500d",
    "36501d",
    "292277026596y",
    "1µs",
    "１s",
    "\u{202e}1s",
    "0B",
    "1KiB",
    "16EiB",
    "99999999999EiB",
    "0%",
    "100%",
    "101%",
    "-5%",
    "1970-01-01",
    "262143-12-31T23:59:59Z",
    "-262144-01-01",
];

/// Flags of a run that take a quantity.
const FLAGS: [&str; 13] = [
    "--window",
    "--slide",
    "--lateness",
    "--idle-after",
    "--idle-flush",
    "--epoch",
    "--epoch-bytes",
    "--max-ahead",
    "--not-after",
    "--dead-max",
    "--late-max",
    "--workers",
    "--zone",
];

fn ran(folder: &Path, args: &[&str]) -> Option<i32> {
    let run = headway(folder, args);
    assert!(matches!(run.code, Some(0..=5)) && !run.err.contains("panicked"), "{args:?}: {run:?}");
    if run.code == Some(2) {
        assert!(run.err.starts_with("error: "), "{args:?}: {run:?}");
    }
    run.code
}

#[test]
fn any_quantity_on_a_command_line_is_taken_or_refused() {
    let folder = folder();
    let path = folder.path();
    let mut taken = Vec::new();
    for flag in FLAGS {
        for value in VALUES {
            let joined = format!("{flag}={value}");
            let args =
                ["turnstile", "--source", "generate:messages=50,partitions=2", "--lake", "lake", &joined];
            if ran(path, &[&["check"], args.as_slice()].concat()) == Some(0) && flag != "--workers" {
                taken.push(joined);
            }
        }
    }
    assert!(taken.len() > 40, "{taken:?}");
    // What is taken runs, alone and with others at their limits.
    for (number, joined) in taken.iter().enumerate() {
        let lake = format!("lake-{number}");
        let args = ["run", "turnstile", "--source", "generate:messages=50,partitions=2", "--lake", &lake];
        ran(path, &[args.as_slice(), &["--late-max=100%", "--dead-max=100%"], &[joined]].concat());
    }
    let most =
        ["--window=1d", "--slide=1h", "--lateness=36500d", "--idle-after=36500d", "--max-ahead=36500d"];
    let args =
        ["run", "turnstile", "--source", "generate:messages=500", "--lake", "most", "--until=caught-up"];
    ran(path, &[args.as_slice(), &most].concat());
}

#[test]
fn any_option_of_the_generator_is_taken_or_refused() {
    let folder = folder();
    let path = folder.path();
    let numbers =
        ["0", "1", "-1", "4294967295", "4294967296", "18446744073709551615", "1e300", "0.5", "x", ""];
    let options =
        ["seed", "partitions", "rate", "disorder", "dup", "late", "bad", "keys", "start", "messages", "odd"];
    for option in options {
        for value in numbers.iter().chain(&["36500d", "1s", "100%", "262143-12-31", "1970-01-01"]) {
            let messages = if option == "messages" { "" } else { ",messages=20" };
            let source = format!("generate:{option}={value}{messages}");
            ran(path, &["check", "turnstile", "--source", &source, "--lake", "lake"]);
            if option != "messages" && option != "partitions" {
                let to = format!("to-{option}-{}", value.len());
                let flags = [format!("--{option}={value}"), "--messages=20".to_string()];
                ran(path, &["produce", "turnstile", "--to", &to, &flags[0], &flags[1]]);
            }
        }
    }
}
