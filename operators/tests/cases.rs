//! Runs the cases in `tests/cases`: what goes in epoch by epoch, and what must come out.
//!
//! Each case runs on 1, 2 and 3 workers, without a crash and with one after every epoch, restarting with another
//! number of workers from the state of that epoch; all must give the same. `REWRITE=1 cargo test` fills in what is
//! below the line, and a person reads the diff.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod script;
mod support;

use headway_operators::record::Partition;
use headway_operators::stream::window::Grid;
use proptest::prelude::*;
use std::path::PathBuf;
use support::{Case, Item, Outcome};

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

/// The same messages, a partition's in their order, cut into other epochs: `steps` says, message by message, how many
/// epochs later than the one before it in its partition each is.
fn cut(case: &Case, messages: &[(Partition, String)], steps: &[usize]) -> Case {
    let mut at = vec![0; case.partitions as usize];
    let mut epochs = Vec::new();
    for ((partition, text), step) in messages.iter().zip(steps.iter().cycle()) {
        let epoch = &mut at[partition.index()];
        *epoch += step;
        epochs.resize_with(epochs.len().max(*epoch + 1), Vec::new);
        epochs[*epoch].push(Item::Message(*partition, text.clone()));
    }
    Case { epochs, ..case.clone() }
}

/// What may not depend on how messages were cut and interleaved: all but the epochs that rows leave in, and which of two
/// copies counted.
fn settled(outcome: Outcome) -> impl PartialEq + std::fmt::Debug {
    let mut rows: Vec<_> =
        outcome.rows.into_iter().map(|row| (row.start, row.end, row.key, row.sum)).collect();
    rows.sort();
    let counted = outcome.fates.accepted + outcome.fates.duplicate;
    (rows, outcome.late, outcome.dead, outcome.fates.consumed, counted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn how_messages_are_cut_into_epochs_and_interleaved_changes_no_row(
        (size, slide, lateness) in (1i64..6, 1i64..6, 0i64..5),
        drawn in prop::collection::vec((0u32..3, 0u32..40, 0u32..3, 1u32..4, 0u32..3), 1..60),
        cuts in prop::array::uniform2(prop::collection::vec(0usize..3, 1..9)),
        (workers, seed) in (prop::array::uniform2(1usize..4), prop::array::uniform2(any::<u64>())),
    ) {
        let grid = Grid::sliding(size.max(slide) * 60_000, size.min(slide) * 60_000);
        let case = Case { grid, lateness_ms: lateness * 60_000, flush_ms: None, partitions: 3, inputs: Vec::new(), epochs: Vec::new() };
        // Half minutes, so that there are repeats; one in three has no ID.
        let text = |(partition, half_minutes, key, amount, id): &(u32, u32, u32, u32, u32)| {
            let (minutes, seconds) = (half_minutes / 2, half_minutes % 2 * 30);
            let id = if *id == 0 { String::new() } else { format!(" id{id}") };
            (Partition(*partition), format!("10:{minutes:02}:{seconds:02} k{key} {amount}{id}"))
        };
        let messages: Vec<_> = drawn.iter().map(text).collect();
        let [one, other] = [0, 1].map(|n| support::run(&cut(&case, &messages, &cuts[n]), workers[n], seed[n]));
        prop_assert_eq!(settled(one), settled(other));
    }
}
