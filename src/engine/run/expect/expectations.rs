//! The expectations of a run, and what was found last.

use crate::engine::format::manifest::{Expectation, Severity, Subject};
use crate::engine::run::expect::rule::{Check, Rule};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The expectations of one run, with what it found. A clone is the same: whoever starts a run reads there what it found, also
/// if the run stopped for it.
#[derive(Clone, Debug, Default)]
pub struct Expectations(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<Rule>,
    /// How many rows break each rule; empty before they were judged.
    failures: Mutex<Vec<u64>>,
}

/// What was found of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// How many rows break it; `None` before it was judged.
    pub failures: Option<u64>,
}

impl Found<'_> {
    /// What is counted: `row` or `day`.
    pub fn unit(&self) -> &'static str {
        match self.rule.check {
            Check::RowCountChange { .. } => "day",
            Check::Unique(_)
            | Check::NotNull(_)
            | Check::AcceptedValues { .. }
            | Check::Relationships { .. } => "row",
        }
    }

    /// True if the rule may not fail and does.
    pub fn is_failed(&self) -> bool {
        self.rule.severity == Severity::Fail && self.failures.is_some_and(|failures| failures > 0)
    }
}

impl Expectations {
    /// The expectations `rules`, which nobody has judged yet.
    pub fn new(rules: Vec<Rule>) -> Expectations {
        Expectations(Arc::new(Inner { rules, failures: Mutex::default() }))
    }

    /// What is expected.
    pub fn rules(&self) -> &[Rule] {
        &self.0.rules
    }

    fn failures(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.failures.lock().expect("no thread panics while it holds the counts")
    }

    /// Notes how many rows break each rule.
    pub(super) fn note(&self, failures: Vec<u64>) {
        *self.failures() = failures;
    }

    /// What was found last, in the order of the rules.
    pub fn found(&self) -> Vec<Found<'_>> {
        let failures = self.failures();
        let found = |(at, rule)| Found { rule, failures: failures.get(at).copied() };
        self.rules().iter().enumerate().map(found).collect()
    }

    /// The same as a manifest has it.
    pub fn entries(&self) -> BTreeMap<String, Expectation> {
        let entry = |found: Found<'_>| {
            let Found { rule: Rule { name, view_name, severity, .. }, failures } = found;
            let on = Subject::View(view_name.clone());
            (name.clone(), Expectation { on, severity: *severity, failures })
        };
        self.found().into_iter().map(entry).collect()
    }
}
