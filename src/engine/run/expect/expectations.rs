//! The expectations of a run, and what was found last.

use crate::engine::format::manifest::{Expectation, Severity, Subject};
use crate::engine::run::expect::rule::{Check, Records, Rule};
use headway_operators::rules::RecordRule;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The expectations of one run, with what it found. A clone is the same: whoever starts a run reads there what it found, also
/// if the run stopped for it.
#[derive(Clone, Debug, Default)]
pub struct Expectations(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<Rule>,
    records: Vec<Records>,
    counts: Mutex<Counts>,
}

/// What was found; empty before it was judged.
#[derive(Debug, Default)]
struct Counts {
    /// How many rows break each rule of a view.
    rows: Vec<u64>,
    /// How many records have broken each rule of an input.
    records: Vec<Broken>,
}

/// What broke a rule of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Broken {
    /// Records since the job had the rule.
    pub(super) in_all: u64,
    /// Records of the epoch that was judged last.
    pub(super) in_epoch: u64,
}

/// What was found of an expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is about.
    pub on: Subject,
    /// What it expects, in a few words.
    pub about: &'a str,
    /// What follows where it does not hold.
    pub severity: Severity,
    /// How many rows break it, or how many records have; `None` before it was judged.
    pub failures: Option<u64>,
    /// It may not fail, and did when it was judged last.
    pub is_failed: bool,
    /// What is counted: `row`, `day` or `record`.
    pub unit: &'static str,
}

impl Expectations {
    /// The expectations of a job: `rules` of its views, and of its `records`. None is judged yet.
    pub fn new(rules: Vec<Rule>, records: Vec<Records>) -> Expectations {
        Expectations(Arc::new(Inner { rules, records, counts: Mutex::default() }))
    }

    /// The expectations of views.
    pub fn rules(&self) -> &[Rule] {
        &self.0.rules
    }

    /// The expectations of records.
    pub fn records(&self) -> &[Records] {
        &self.0.records
    }

    /// What the source of input `input` judges.
    pub fn rules_of(&self, input: usize) -> Arc<[RecordRule]> {
        let mine = self.0.records.iter().filter(|records| records.input == input);
        mine.map(|records| records.rule.clone()).collect()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().expect("no thread panics while it holds the counts")
    }

    /// Notes how many rows break each rule of a view.
    pub(super) fn note(&self, rows: Vec<u64>) {
        self.counts().rows = rows;
    }

    /// Notes what broke each rule of an input.
    pub(super) fn note_records(&self, records: Vec<Broken>) {
        self.counts().records = records;
    }

    /// What was found last: of the rules of views, then of those of inputs.
    pub fn found(&self) -> Vec<Found<'_>> {
        let counts = self.counts();
        let rules =
            self.rules().iter().enumerate().map(|(at, rule)| of_rows(rule, counts.rows.get(at).copied()));
        let records = self.records().iter().enumerate();
        let records = records.map(|(at, records)| of_records(records, counts.records.get(at).copied()));
        rules.chain(records).collect()
    }

    /// The same as a manifest has it.
    pub fn entries(&self) -> BTreeMap<String, Expectation> {
        let entry = |Found { name, on, severity, failures, .. }: Found<'_>| {
            (name.to_string(), Expectation { on, severity, failures })
        };
        self.found().into_iter().map(entry).collect()
    }
}

fn of_rows(rule: &Rule, failures: Option<u64>) -> Found<'_> {
    let unit = match rule.check {
        Check::RowCountChange { .. } => "day",
        Check::Unique(_) | Check::NotNull(_) | Check::AcceptedValues { .. } | Check::Relationships { .. } => {
            "row"
        }
    };
    Found {
        name: &rule.name,
        on: Subject::View(rule.view_name.clone()),
        about: &rule.about,
        severity: rule.severity,
        failures,
        is_failed: rule.severity == Severity::Fail && failures.is_some_and(|failures| failures > 0),
        unit,
    }
}

fn of_records(records: &Records, broken: Option<Broken>) -> Found<'_> {
    Found {
        name: &records.rule.name,
        on: Subject::Input(records.input_name.clone()),
        about: &records.about,
        severity: records.severity,
        failures: broken.map(|broken| broken.in_all),
        // What was committed with a warning stays committed: it stops no later commit.
        is_failed: records.severity == Severity::Fail && broken.is_some_and(|broken| broken.in_epoch > 0),
        unit: "record",
    }
}
