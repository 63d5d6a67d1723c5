//! Whole jobs: the dataflow and its slow twin give the same rows, fates, dead letters and late records.

use crate::captures::{Drawn, drawn, repeats};
use crate::memory::{self, Reading};
use crate::twin::capture::partitions;
use crate::twin::{self, Answer, Options};
use proptest::prelude::*;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// The folder of answers that `scripts/reference` has given.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/turnstile")
}

/// Fails with what one list has and the other has not.
fn same<T: Debug + Ord>(what: &str, got: &[T], want: &[T]) {
    let lost: Vec<&T> = want.iter().filter(|item| got.binary_search(item).is_err()).take(3).collect();
    let extra: Vec<&T> = got.iter().filter(|item| want.binary_search(item).is_err()).take(3).collect();
    let (n, m) = (got.len(), want.len());
    assert!(got == want, "{what}: {n} and not {m}\n  missing {lost:#?}\n  unexpected {extra:#?}");
}

/// Fails unless two answers are equal.
fn agree(what: &str, got: &Answer, want: &Answer) {
    same(&format!("{what}, rows"), &got.rows, &want.rows);
    same(&format!("{what}, dead letters"), &got.dead, &want.dead);
    same(&format!("{what}, late records"), &got.late, &want.late);
    assert_eq!(got.fates.in_any_order(), want.fates.in_any_order(), "{what}, fates");
}

#[test]
fn twin_and_job_give_the_answers_of_the_reference_program() {
    let mut cases = 0;
    for entry in std::fs::read_dir(golden()).expect("the golden answers") {
        let folder = entry.expect("an entry").path();
        if !folder.is_dir() {
            continue;
        }
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file of a case");
        let options: Options = serde_json::from_str(&read("job.json")).expect("options");
        let answer: Answer = serde_json::from_str(&read("answer.json")).expect("an answer");
        let messages = partitions(&folder.join("capture"), "mta-turnstile");
        let name = folder.display().to_string();
        let twins = twin::run(&messages, &options);
        agree(&format!("{name}, the twin"), &twins, &answer);
        assert_eq!(twins.fates, answer.fates, "{name}");
        cases += 1;
        // The dataflow of a run has one limit from its beginning to its end.
        if options.limits.is_empty() {
            for workers in 1..=3 {
                let run = memory::run(&options, &messages, &Reading { workers, epoch: vec![7] });
                agree(&format!("{name}, the job on {workers} workers"), &run.answer, &answer);
            }
        }
    }
    assert!(cases >= 5, "{cases} cases");
}

/// Runs what was drawn and compares; gives the twin's answer.
fn check(drawn: &Drawn) -> Answer {
    let Drawn { options, partitions, reading } = drawn;
    let want = twin::run(partitions, options);
    let run = memory::run(options, partitions, reading);
    agree(&format!("{options:?} {reading:?}"), &run.answer, &want);
    assert!(run.early >= 0.0);
    want
}

proptest! {
    // What fails is found again by its seed; smaller numbers are not simpler.
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn any_windows_over_any_messages_give_the_twins_answer(seed in any::<u64>()) {
        check(&drawn(seed));
    }

    #[test]
    fn repeats_at_any_distance_give_the_twins_answer(seed in any::<u64>()) {
        check(&repeats(seed));
    }
}

#[test]
fn drawn_jobs_meet_every_fate_and_close_windows_on_the_way() {
    let mut fates = twin::run(&drawn(0).partitions, &drawn(0).options).fates;
    let mut early = 0.0;
    for seed in 1..20 {
        let Drawn { options, partitions, reading } = drawn(seed);
        let run = memory::run(&options, &partitions, &reading);
        let more = run.answer.fates;
        fates.accepted += more.accepted;
        fates.duplicate += more.duplicate;
        fates.late += more.late;
        fates.dead += more.dead;
        fates.filtered += more.filtered;
        early += run.early;
    }
    let often = [fates.accepted, fates.duplicate, fates.late, fates.dead];
    assert!(often.iter().all(|count| *count >= 20) && fates.filtered >= 5, "{fates:?}");
    assert!(early / 19.0 > 0.5, "rows leave as windows close: {early} of 19");
}
