//! Judges, before an epoch is committed, what it makes of the views and which of its records break rules.

use crate::engine::error::{self, Error};
use crate::engine::format::manifest::{Manifest, Severity};
use crate::engine::run::expect::counted::{Occurrences, References, Rows, Side};
use crate::engine::run::expect::days::{Day, Days};
use crate::engine::run::expect::expectations::{Broken, Expectations, Found};
use crate::engine::run::expect::rule::{Check, Rule};
use crate::engine::run::expect::shown;
use crate::engine::run::outcome;
use crate::engine::run::view_rows::ViewRows;
use headway_operators::ack::Ack;
use headway_operators::time::Epoch;
use headway_operators::view::row::{Value, ViewRow, ViewUpdate};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How many rows that break a rule a message shows.
const SHOWN_MAX: usize = 3;

/// How often the log says that a rule does not hold, at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The judge of one run.
#[derive(Debug)]
pub struct Judge {
    expectations: Expectations,
    /// For each rule.
    kept: Vec<Kept>,
    /// For each rule of an input.
    records: Vec<Broken>,
    /// For each rule, those of views first.
    logged: Vec<Logged>,
}

/// What a rule remembers of the views.
#[derive(Debug)]
enum Kept {
    /// How many rows break it: whether a row does is seen in the row.
    Rows(Rows),
    Occurrences(Occurrences),
    References(References),
    Days(Days),
}

/// What the log says of a rule.
#[derive(Clone, Copy, Debug, Default)]
struct Logged {
    failures: u64,
    at: Option<Instant>,
}

/// What is judged.
#[derive(Clone, Copy)]
struct Judged<'a> {
    epoch: Epoch,
    is_committed: bool,
    /// What the epoch changes in the views.
    updates: &'a [ViewUpdate],
    /// Gives the content of the views without that.
    tables: &'a dyn Fn() -> Vec<ViewRows>,
}

impl Judge {
    /// A judge who has seen no row yet.
    pub fn new(expectations: Expectations) -> Judge {
        let kept: Vec<Kept> = expectations.rules().iter().map(|rule| Kept::of(&rule.check)).collect();
        let records = vec![Broken::default(); expectations.records().len()];
        let logged = vec![Logged::default(); kept.len() + records.len()];
        Judge { expectations, kept, records, logged }
    }

    /// True if nothing is expected.
    pub fn is_idle(&self) -> bool {
        self.logged.is_empty()
    }

    /// What was found last.
    pub fn expectations(&self) -> &Expectations {
        &self.expectations
    }

    /// Takes the content of the views as of `head`, which is committed, and what records have broken by then. Called once,
    /// before anything is judged.
    ///
    /// # Errors
    /// [`Error::ExpectationFailed`] if a rule that may not fail does: no later commit would keep to it.
    pub fn restore(&mut self, head: &Manifest, tables: &[ViewRows]) -> Result<(), Error> {
        for (records, broken) in self.expectations.records().iter().zip(&mut self.records) {
            let known = head.expectations.get(&records.rule.name);
            broken.in_all = known.and_then(|known| known.failures).unwrap_or_default();
        }
        self.expectations.note_records(self.records.clone());
        if self.kept.is_empty() {
            return Ok(());
        }
        for (view, table) in (0..).zip(tables) {
            table.iter().for_each(|row| self.take(view, row, 1));
        }
        let tables = || tables.to_vec();
        self.verdict(Judged { epoch: head.epoch, is_committed: true, updates: &[], tables: &tables })
    }

    /// Takes `updates`, which `epoch` makes of the content that `tables` gives, before it is committed.
    ///
    /// # Errors
    /// [`Error::ExpectationFailed`] if a rule that may not fail does: the epoch must not be committed.
    pub fn judge(
        &mut self,
        epoch: Epoch,
        updates: &[ViewUpdate],
        tables: &dyn Fn() -> Vec<ViewRows>,
    ) -> Result<(), Error> {
        if self.kept.is_empty() {
            return Ok(());
        }
        for ViewUpdate { view, row, diff } in updates {
            self.take(*view, row, *diff);
        }
        self.verdict(Judged { epoch, is_committed: false, updates, tables })
    }

    /// Counts the records of `epoch` that break rules, as `acks` say, before it is committed.
    ///
    /// # Errors
    /// [`Error::ExpectationFailed`] if one breaks a rule that may not fail: the epoch must not be committed.
    pub fn records(&mut self, epoch: Epoch, acks: &[Ack]) -> Result<(), Error> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut samples = vec![None; self.records.len()];
        self.records.iter_mut().for_each(|broken| broken.in_epoch = 0);
        for ack in acks {
            let Ack::Broken { rule, records, sample } = ack else { continue };
            let known = self.expectations.records().iter().position(|known| known.rule.name == *rule);
            let at = known.expect("a source judges the rules that it was given");
            self.records[at].in_epoch += records;
            samples[at] = samples[at].or(sample.as_ref());
        }
        self.records.iter_mut().for_each(|broken| broken.in_all += broken.in_epoch);
        self.expectations.note_records(self.records.clone());
        let (found, first) = (self.expectations.found(), self.kept.len());
        let mut failed = Vec::new();
        for (at, (found, sample)) in (first..).zip(found[first..].iter().zip(samples)) {
            let examples = || sample.map(outcome::describe).into_iter().collect();
            let in_epoch = self.records[at - first].in_epoch;
            if found.is_failed {
                failed.push(broken_rule(found, in_epoch, examples()));
            } else if found.severity == Severity::Warn && in_epoch > 0 {
                self.logged[at].turn(found, &examples);
            }
        }
        refuse(epoch, false, failed)
    }

    fn take(&mut self, view: u16, row: &ViewRow, diff: Rows) {
        for (rule, kept) in self.expectations.rules().iter().zip(&mut self.kept) {
            kept.take(rule, view, row, diff);
        }
    }

    /// Notes the new counts, and refuses what may not be.
    fn verdict(&mut self, judged: Judged<'_>) -> Result<(), Error> {
        self.kept.iter_mut().for_each(Kept::settle);
        self.expectations.note(self.kept.iter().map(Kept::failures).collect());
        let found = self.expectations.found();
        let mut broken = Vec::new();
        for (at, (rule, kept)) in self.expectations.rules().iter().zip(&self.kept).enumerate() {
            let found = &found[at];
            if found.is_failed {
                let examples = kept.examples(rule, judged.updates, &(judged.tables)());
                broken.push(broken_rule(found, found.failures.unwrap_or_default(), examples));
            } else if found.severity == Severity::Warn {
                // What is in the view already is not looked through again: a commit does not wait for the log.
                self.logged[at].turn(found, &|| kept.examples(rule, judged.updates, &[]));
            }
        }
        refuse(judged.epoch, judged.is_committed, broken)
    }
}

/// Refuses `epoch` if something is broken.
fn refuse(epoch: Epoch, is_committed: bool, broken: Vec<error::Broken>) -> Result<(), Error> {
    if broken.is_empty() { Ok(()) } else { Err(Error::ExpectationFailed { epoch, is_committed, broken }) }
}

/// A rule that `failures` rows or records break, with the first of them.
fn broken_rule(found: &Found<'_>, failures: u64, examples: Vec<String>) -> error::Broken {
    error::Broken {
        rule: found.name.to_string(),
        on: found.on.clone(),
        about: found.about.to_string(),
        failures,
        unit: found.unit,
        examples,
    }
}

impl Logged {
    /// Writes to the log where the rule does not hold, or holds again.
    fn turn(&mut self, found: &Found<'_>, examples: &dyn Fn() -> Vec<String>) {
        let Found { name, on, about, .. } = found;
        let failures = found.failures.unwrap_or_default();
        if failures == self.failures {
            return;
        }
        if failures == 0 {
            tracing::info!(event = "expectation holds again", rule = name, %on, about, "nothing breaks it any more");
            *self = Logged::default();
        } else if self.at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            let examples = examples().join("; ");
            tracing::warn!(event = "expectation fails", rule = name, %on, about, failures, %examples, "not as expected");
            *self = Logged { failures, at: Some(Instant::now()) };
        }
    }
}

impl Kept {
    fn of(check: &Check) -> Kept {
        match check {
            Check::NotNull(_) | Check::AcceptedValues { .. } => Kept::Rows(0),
            Check::Unique(_) => Kept::Occurrences(Occurrences::default()),
            Check::Relationships { .. } => Kept::References(References::default()),
            Check::RowCountChange { max_ppm, .. } => Kept::Days(Days::new(*max_ppm)),
        }
    }

    /// Takes `diff` copies of a row of a view.
    fn take(&mut self, rule: &Rule, view: u16, row: &ViewRow, diff: Rows) {
        let is_mine = view == rule.view;
        match (self, &rule.check) {
            (Kept::Rows(failures), check) if is_mine && breaks(check, row) => *failures += diff,
            (Kept::Occurrences(seen), Check::Unique(columns)) if is_mine => {
                columns.of(row).into_iter().for_each(|values| seen.update(values, diff));
            }
            (Kept::References(seen), Check::Relationships { columns, to, to_columns }) => {
                let from = columns.of(row).filter(|_| is_mine).map(|values| (values, Side::From));
                let to = (view == *to).then(|| to_columns.of(row)).flatten().map(|values| (values, Side::To));
                for (values, side) in from.into_iter().chain(to) {
                    seen.update(values, side, diff);
                }
            }
            (Kept::Days(days), Check::RowCountChange { day, .. }) if is_mine => {
                Day::of(&row.0[*day]).into_iter().for_each(|day| days.update(day, diff));
            }
            // Another view; else it remembers what its check needs.
            _ => {}
        }
    }

    /// Called when all changes of an epoch were taken.
    fn settle(&mut self) {
        if let Kept::Days(days) = self {
            days.settle();
        }
    }

    fn failures(&self) -> u64 {
        let failures = match self {
            Kept::Rows(rows) => *rows,
            Kept::Occurrences(seen) => seen.failures(),
            Kept::References(seen) => seen.failures(),
            Kept::Days(days) => days.failures(),
        };
        u64::try_from(failures).expect("a view has no fewer than no rows once an epoch is complete")
    }

    /// The first rows that break the rule: of `updates`, then of the content of the views before them.
    fn examples(&self, rule: &Rule, updates: &[ViewUpdate], tables: &[ViewRows]) -> Vec<String> {
        if let Kept::Days(days) = self {
            return days.shown(SHOWN_MAX);
        }
        let mine = || updates.iter().filter(|update| update.view == rule.view);
        let gone: BTreeSet<&ViewRow> =
            mine().filter(|update| update.diff < 0).map(|update| &update.row).collect();
        let new = mine().filter(|update| update.diff > 0).map(|update| &update.row);
        let table = tables.get(usize::from(rule.view));
        let old = table.into_iter().flat_map(ViewRows::iter).map(|row| &**row);
        let rows = new.chain(old.filter(|row| !gone.contains(row)));
        let breaking = rows.filter(|row| self.breaks(rule, row));
        breaking.take(SHOWN_MAX).map(|row| shown::row(rule, row)).collect()
    }

    /// True if `row`, of the view of the rule, breaks it as of now.
    fn breaks(&self, rule: &Rule, row: &ViewRow) -> bool {
        match (self, &rule.check) {
            (Kept::Rows(_), check) => breaks(check, row),
            (Kept::Occurrences(seen), Check::Unique(columns)) => {
                columns.of(row).is_some_and(|values| seen.breaks(&values))
            }
            (Kept::References(seen), Check::Relationships { columns, .. }) => {
                columns.of(row).is_some_and(|values| seen.breaks(&values))
            }
            _ => false,
        }
    }
}

/// True if `row` breaks a check that looks at one row alone.
fn breaks(check: &Check, row: &ViewRow) -> bool {
    match check {
        Check::NotNull(columns) => columns.has_null(row),
        Check::AcceptedValues { column, values } => {
            let value = &row.0[*column];
            *value != Value::Null && !values.contains(value)
        }
        Check::Unique(_) | Check::Relationships { .. } | Check::RowCountChange { .. } => false,
    }
}
