//! The judge against a slow twin that counts all rows again, through restarts and on several workers.

use super::*;
use crate::engine::error::Error;
use crate::engine::format::changes::Changes;
use crate::engine::format::manifest::tests::first;
use crate::engine::format::manifest::{Manifest, ManifestId, Nonce, Severity};
use crate::engine::format::names::Seq;
use crate::engine::run::views::{ViewStage, Views};
use headway_operators::port::Stage;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::time::Epoch;
use headway_operators::view::row::{Value, ViewRow, ViewUpdate};
use headway_operators::view::text::Text;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often each row is in each view.
type Model = BTreeMap<(u16, ViewRow), i64>;

fn specs() -> Vec<ViewSpec> {
    let columns =
        || vec![Column::new("k", Kind::Int), Column::new("v", Kind::Int), Column::new("day", Kind::Text)];
    let spec = |name| ViewSpec { name, about: "", columns: columns(), key: 1, version: 1, day: None };
    vec![spec("plays"), spec("songs")]
}

fn row(key: i64, value: i64, day: i64) -> ViewRow {
    let value = if value == 0 { Value::Null } else { Value::Int(value) };
    ViewRow(vec![Value::Int(key), value, Value::Text(Text::from(format!("2024-01-{:02}", day + 1)))])
}

fn rule(name: &str, check: Check, severity: Severity) -> Rule {
    Rule {
        name: name.to_string(),
        view: 0,
        view_name: "plays".to_string(),
        check,
        about: name.to_string(),
        shown: vec![(0, "k".to_string()), (1, "v".to_string())],
        severity,
    }
}

/// One rule of each kind, none of which stops a job.
fn rules() -> Vec<Rule> {
    let columns = |columns: &[usize]| Columns(columns.to_vec());
    let values = BTreeSet::from([Value::Int(1), Value::Int(2)]);
    let checks = [
        ("unique-one", Check::Unique(columns(&[0]))),
        ("unique-two", Check::Unique(columns(&[0, 1]))),
        ("not-null", Check::NotNull(columns(&[1]))),
        ("accepted", Check::AcceptedValues { column: 1, values }),
        ("related", Check::Relationships { columns: columns(&[1]), to: 1, to_columns: columns(&[0]) }),
        ("days", Check::RowCountChange { day: 2, max_ppm: 400_000 }),
    ];
    checks.into_iter().map(|(name, check)| rule(name, check, Severity::Warn)).collect()
}

/// What each of [`rules`] must find, counted from all rows.
fn twin(model: &Model) -> Vec<u64> {
    let rows: Vec<&ViewRow> = model
        .iter()
        .filter(|((view, _), _)| *view == 0)
        .flat_map(|((_, row), copies)| (0..*copies).map(move |_| row))
        .collect();
    let count = |breaks: &dyn Fn(&ViewRow) -> bool| rows.iter().filter(|row| breaks(row)).count() as u64;
    let same = |columns: &'static [usize]| {
        move |a: &ViewRow, b: &ViewRow| {
            columns.iter().all(|at| a.0[*at] == b.0[*at] && a.0[*at] != Value::Null)
        }
    };
    let (by_key, by_both) = (same(&[0]), same(&[0, 1]));
    let songs =
        || model.iter().filter(|((view, _), copies)| *view == 1 && **copies > 0).map(|((_, row), _)| row);
    let of_day = |day: i64| {
        let text = Value::Text(Text::from(format!("2024-01-{:02}", day + 1)));
        rows.iter().filter(|row| row.0[2] == text).count() as f64
    };
    let newest = (0..9).filter(|day| of_day(*day) > 0.0).max().unwrap_or(0);
    let is_off = |day: &i64| {
        let (before, now) = (of_day(*day - 1), of_day(*day));
        before > 0.0 && (now - before).abs() > before * 0.4 + 1e-9
    };
    vec![
        count(&|row| rows.iter().filter(|other| by_key(row, other)).count() > 1),
        count(&|row| rows.iter().filter(|other| by_both(row, other)).count() > 1),
        count(&|row| row.0[1] == Value::Null),
        count(&|row| ![Value::Null, Value::Int(1), Value::Int(2)].contains(&row.0[1])),
        count(&|row| row.0[1] != Value::Null && songs().all(|song| song.0[0] != row.0[1])),
        (1..newest).filter(is_off).count() as u64,
    ]
}

/// A run that goes on from `epoch`, on so many workers.
struct Run {
    views: Arc<Views>,
    stages: Vec<ViewStage>,
    judge: Judge,
}

impl Run {
    /// A run that finds what is in `model`.
    fn start(epoch: u64, model: &Model, workers: usize) -> Run {
        let head = Manifest { epoch: Epoch(epoch), ..first(1) };
        let views = Arc::new(Views::new(specs(), &head));
        let stages = (0..workers).map(|_| ViewStage::new(Arc::clone(&views))).collect();
        let mut run = Run { views, stages, judge: Judge::new(Expectations::new(rules(), Vec::new())) };
        let content = model.iter().map(|((view, row), diff)| (*view, row.clone(), *diff));
        run.put(epoch, content.collect());
        assert!(run.views.upcoming(Epoch(epoch)).is_empty());
        run.judge.restore(&head, &run.views.tables()).expect("no rule stops a job");
        run
    }

    /// Hands over what `epoch` changes, each change by some worker.
    fn put(&mut self, epoch: u64, updates: Vec<(u16, ViewRow, i64)>) {
        let workers = self.stages.len();
        for (at, (view, row, diff)) in updates.into_iter().enumerate() {
            // The last worker speaks first.
            let stage = &mut self.stages[workers - 1 - at % workers];
            stage.put(Epoch(epoch), Epoch(epoch), vec![ViewUpdate { view, row, diff }]);
        }
    }

    fn commit(&mut self, epoch: u64) {
        let updates = self.views.upcoming(Epoch(epoch));
        let tables = || self.views.tables();
        self.judge.judge(Epoch(epoch), &updates, &tables).expect("no rule stops a job");
        self.views.apply(&changes(epoch, updates));
    }

    fn failures(&self) -> Vec<u64> {
        let found = self.judge.expectations().found();
        found.iter().map(|found| found.failures.expect("it was judged")).collect()
    }
}

/// What the commit of `epoch` changes.
fn changes(epoch: u64, updates: Vec<ViewUpdate>) -> Changes {
    let id = ManifestId { seq: Seq(epoch), nonce: Nonce(1) };
    Changes { id, after: None, epoch: Epoch(epoch), updates }
}

/// A change that is asked for: view, key, value, day, and whether the row comes.
type Asked = (u16, i64, i64, i64, bool);

fn epochs() -> impl Strategy<Value = Vec<Vec<Asked>>> {
    let change = (0_u16..2, 0_i64..5, 0_i64..4, 0_i64..8, prop::bool::weighted(0.6));
    prop::collection::vec(prop::collection::vec(change, 0..12), 1..16)
}

proptest! {
    #[test]
    fn counts_are_those_of_all_rows_also_after_a_restart_with_other_workers(
        epochs in epochs(),
        stops in prop::collection::btree_set(0_usize..16, 0..4),
        workers in 1_usize..4,
    ) {
        let mut model = Model::new();
        let mut run = Run::start(0, &model, workers);
        for (at, changes) in epochs.into_iter().enumerate() {
            let epoch = at as u64 + 1;
            let mut updates = Vec::new();
            for (view, key, value, day, comes) in changes {
                let row = row(key, value, day);
                let there = model.entry((view, row.clone())).or_default();
                if comes || *there > 0 {
                    let diff = if comes { 1 } else { -1 };
                    *there += diff;
                    updates.push((view, row, diff));
                }
            }
            model.retain(|_, copies| *copies != 0);
            run.put(epoch, updates);
            run.commit(epoch);
            prop_assert_eq!(run.failures(), twin(&model), "in epoch {}", epoch);
            if stops.contains(&at) {
                run = Run::start(epoch, &model, 1 + (workers + at) % 3);
                prop_assert_eq!(run.failures(), twin(&model), "after a restart at epoch {}", epoch);
            }
        }
    }
}

fn update(row: ViewRow, diff: i64) -> ViewUpdate {
    ViewUpdate { view: 0, row, diff }
}

#[test]
fn rule_that_must_hold_refuses_the_epoch_and_names_its_rows() {
    let rules = vec![rule("one-a-key", Check::Unique(Columns(vec![0])), Severity::Fail)];
    let expectations = Expectations::new(rules, Vec::new());
    let mut judge = Judge::new(expectations.clone());
    let views = Views::new(specs(), &first(1));
    assert_eq!(expectations.found()[0].failures, None, "nobody has judged it");
    judge.restore(&first(1), &views.tables()).expect("there are no rows");
    let updates = [update(row(1, 1, 0), 1), update(row(2, 1, 0), 1)];
    judge.judge(Epoch(1), &updates, &|| views.tables()).expect("no key is there twice");
    views.apply(&changes(1, updates.to_vec()));
    // The row that goes breaks nothing: it is not shown.
    let updates = [update(row(2, 1, 0), -1), update(row(2, 2, 0), 1), update(row(1, 3, 0), 1)];
    let refused = judge.judge(Epoch(2), &updates, &|| views.tables()).expect_err("a key is there twice");
    let Error::ExpectationFailed { epoch, is_committed, broken } = &refused else { panic!("{refused}") };
    assert_eq!((*epoch, *is_committed, broken.len()), (Epoch(2), false, 1));
    assert_eq!(broken[0].examples, ["k=1, v=3", "k=1, v=1"], "the new one first");
    assert_eq!(refused.to_string(), "expectation \"one-a-key\" failed: 2 rows of view \"plays\" break it");
    assert_eq!((refused.code(), refused.exit_code()), ("expectation-failed", 1));
    assert!(expectations.found()[0].is_failed, "whoever started the run sees it");
    // Expected since the last commit only: no later commit would keep to it.
    let views = Views::new(specs(), &first(1));
    let mut judge = Judge::new(Expectations::new(
        vec![rule("known", Check::NotNull(Columns(vec![1])), Severity::Fail)],
        Vec::new(),
    ));
    views.apply(&changes(1, vec![update(row(1, 0, 0), 1)]));
    let refused = judge.restore(&first(1), &views.tables()).expect_err("a row is null");
    assert!(matches!(refused, Error::ExpectationFailed { is_committed: true, .. }), "{refused}");
    assert!(refused.to_string().ends_with("1 row of view \"plays\" breaks it"), "{refused}");
}
