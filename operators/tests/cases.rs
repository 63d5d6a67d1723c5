//! Runs the cases in `tests/cases`: what goes in epoch by epoch, and what must come out.
//!
//! Each case runs on 1, 2 and 3 workers, without a crash and with one after every epoch, restarting with another
//! number of workers from the state of that epoch; all must give the same. `REWRITE=1 cargo test` fills in what is
//! below the line, and a person reads the diff.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod script;
mod support;

use std::path::PathBuf;
use support::Outcome;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/cases")
}

#[test]
fn every_case_gives_the_same_on_any_number_of_workers_and_across_a_crash() {
    let mut paths: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are cases");
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (input, expected) = text.split_once("----\n").unwrap_or((&text, ""));
        let case = script::parse(input).unwrap_or_else(|what| panic!("{}: {what}", path.display()));
        let whole = support::run(&case, 1, 0);
        let printed = script::print(&case, &whole);
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(&path, format!("{input}----\n{printed}")).unwrap();
        } else {
            assert_eq!(printed, expected, "{}: run with REWRITE=1 and read the diff", path.display());
        }
        for workers in 1..=3 {
            let label = |what: &str| format!("{} on {workers} workers, {what}", path.display());
            assert_eq!(support::run(&case, workers, 1), whole, "{}", label("uninterrupted"));
            for crash_after in 0..case.epochs.len() {
                let got = support::run_with_crash(&case, workers, crash_after);
                assert_eq!(got, whole, "{}", label(&format!("crash after epoch {crash_after}")));
            }
        }
    }
}

#[test]
fn a_case_that_is_wrong_is_seen() {
    let case = script::parse("window tumbling=60s lateness=0s\ningest 10:00:05 a 1\n").unwrap();
    let right = support::run(&case, 1, 0);
    let mut wrong = right.clone();
    wrong.rows[0].sum += 1;
    assert_ne!(script::print(&case, &right), script::print(&case, &wrong));
    assert_ne!(right, Outcome::default());
}
