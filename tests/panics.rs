//! A panic ends the process as every other error does: with error, detail, hint, and exit code 101.

use crate::cli::folder;
use headway_operators::build::Build;
use headway_operators::error::Reason;
use headway_operators::pipeline::{Entry, Pipeline};
use headway_operators::record::Raw;
use headway_operators::spec::InputSpec;
use headway_operators::stream::decode::{Context, Decoded, Decoder, Definition};
use headway_operators::stream::window::Closing;
use headway_operators::time::EventTime;
use serde_json::Value;
use std::ffi::OsString;
use std::process::{Command, ExitCode, Output, Stdio};

/// The variable that makes a program of [`is_the_program_that_panics`]: what it panics for.
const PANICS: &str = "HEADWAY_TEST_PANICS";

const ENTRY: Entry = Entry::new("panics", "A pipeline that panics", |_| Ok(Box::new(Panics)));

struct Panics;

impl Pipeline for Panics {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<InputSpec> {
        assert_ne!(std::env::var(PANICS).as_deref(), Ok("outside of the engine"), "as it was asked to");
        let closing = Closing::Horizon { ms: 0 };
        vec![InputSpec { name: "in", topic: "in", lateness_ms: 0, closing, header: None }]
    }

    fn build(&self, build: &mut Build<'_>) {
        drop(build.input("in", Broken));
    }
}

#[derive(Clone)]
struct Broken;

impl Decoder for Broken {
    type Out = i64;
    type Key = ();

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        _context: &Context,
        _definitions: &mut Vec<Definition<()>>,
    ) -> Result<Decoded<i64>, Reason> {
        assert!(raw.offset.0 < 1, "no record has offset {}", raw.offset);
        Ok(Decoded::Record(EventTime(0), 0))
    }
}

/// Runs this test's own program again, as the program that panics.
fn run(panics: &str, form: &str) -> (Output, String) {
    let folder = folder();
    std::fs::write(folder.path().join("in"), "a\nb\n").expect("the file can be written");
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", "panics::is_the_program_that_panics", "--nocapture", "--test-threads=1"])
        .current_dir(folder.path())
        .env(PANICS, panics)
        .env("HEADWAY_LOG_FORMAT", form)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, err)
}

#[test]
fn is_the_program_that_panics() {
    if std::env::var_os(PANICS).is_none() {
        return; // It is run by the other tests.
    }
    let args = ["headway", "run", "panics", "--source", "files:in", "--lake", "lake"];
    let code = headway::main_with(&[ENTRY], args.map(OsString::from));
    std::process::exit(if code == ExitCode::from(101) { 101 } else { 1 });
}

#[test]
fn panic_of_an_engine_thread_stops_the_job_with_three_parts_and_exit_code_101() {
    let (output, err) = run("in the engine", "text");
    assert_eq!(output.status.code(), Some(101), "{err}");
    assert!(err.contains("panicked: no record has offset 1 (panicked)\ndetail: "), "{err}");
    assert!(err.contains("\nhint: ") && err.contains("tests/panics.rs:"), "{err}");
    let (output, err) = run("in the engine", "json");
    assert_eq!(output.status.code(), Some(101), "{err}");
    let lines: Vec<Value> = err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let last = lines.last().expect("there is an error");
    assert_eq!((&last["code"], &last["exit_code"]), (&"panicked".into(), &101.into()), "{err}");
    assert!(lines.iter().any(|line| line["event"] == "panicked" && line["place"].is_string()), "{err}");
}

#[test]
fn panic_outside_of_the_engine_ends_the_process_in_the_same_way() {
    let (output, err) = run("outside of the engine", "json");
    assert_eq!(output.status.code(), Some(101), "{err}");
    let last: Value = serde_json::from_str(err.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["code"], &last["exit_code"]), (&"panicked".into(), &101.into()), "{err}");
}
