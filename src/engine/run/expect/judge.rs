//! Judges what an epoch makes of the views before it is committed.

use crate::engine::error::{Broken, Error};
use crate::engine::format::manifest::{Severity, Subject};
use crate::engine::run::expect::counted::{Occurrences, References, Rows, Side, has_null};
use crate::engine::run::expect::days::{Day, Days};
use crate::engine::run::expect::expectations::{Expectations, Found};
use crate::engine::run::expect::rule::{Check, Rule};
use crate::engine::run::expect::shown;
use crate::engine::run::view_rows::ViewRows;
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
    /// What the epoch changes in the views, and their content without that.
    updates: &'a [ViewUpdate],
    tables: &'a [ViewRows],
}

impl Judge {
    /// A judge who has seen no row yet.
    pub fn new(expectations: Expectations) -> Judge {
        let kept: Vec<Kept> = expectations.rules().iter().map(|rule| Kept::of(&rule.check)).collect();
        let logged = vec![Logged::default(); kept.len()];
        Judge { expectations, kept, logged }
    }

    /// True if nothing is expected.
    pub fn is_idle(&self) -> bool {
        self.kept.is_empty()
    }

    /// What was found last.
    pub fn expectations(&self) -> &Expectations {
        &self.expectations
    }

    /// Takes the content of the views as of `epoch`, which is committed. Called once, before anything is judged.
    ///
    /// # Errors
    /// [`Error::ExpectationFailed`] if a rule that may not fail does: no later commit would keep to it.
    pub fn restore(&mut self, epoch: Epoch, tables: &[ViewRows]) -> Result<(), Error> {
        for (view, table) in (0..).zip(tables) {
            table.iter().for_each(|row| self.take(view, row, 1));
        }
        self.verdict(Judged { epoch, is_committed: true, updates: &[], tables })
    }

    /// Takes `updates`, which `epoch` makes of the content `tables`, before it is committed.
    ///
    /// # Errors
    /// [`Error::ExpectationFailed`] if a rule that may not fail does: the epoch must not be committed.
    pub fn judge(&mut self, epoch: Epoch, updates: &[ViewUpdate], tables: &[ViewRows]) -> Result<(), Error> {
        for ViewUpdate { view, row, diff } in updates {
            self.take(*view, row, *diff);
        }
        self.verdict(Judged { epoch, is_committed: false, updates, tables })
    }

    fn take(&mut self, view: u16, row: &ViewRow, diff: Rows) {
        for (rule, kept) in self.expectations.rules().iter().zip(&mut self.kept) {
            kept.take(rule, (view, row), diff);
        }
    }

    /// Notes the new counts, and refuses what may not be.
    fn verdict(&mut self, judged: Judged<'_>) -> Result<(), Error> {
        self.kept.iter_mut().for_each(Kept::settle);
        self.expectations.note(self.kept.iter().map(Kept::failures).collect());
        let found = self.expectations.found();
        let mut broken = Vec::new();
        for (at, found) in found.iter().enumerate() {
            if found.is_failed() {
                broken.push(broken_rule(found, &self.kept[at], judged));
            } else if found.rule.severity == Severity::Warn {
                self.logged[at].turn(found, &self.kept[at], judged);
            }
        }
        match broken.is_empty() {
            true => Ok(()),
            false => {
                let (epoch, is_committed) = (judged.epoch, judged.is_committed);
                Err(Error::ExpectationFailed { epoch, is_committed, broken })
            }
        }
    }
}

/// A rule that is broken, with the first rows that break it.
fn broken_rule(found: &Found<'_>, kept: &Kept, judged: Judged<'_>) -> Broken {
    let Found { rule, failures } = *found;
    Broken {
        rule: rule.name.clone(),
        on: Subject::View(rule.view_name.clone()),
        about: rule.about.clone(),
        failures: failures.unwrap_or_default(),
        unit: found.unit(),
        examples: kept.examples(rule, judged),
    }
}

impl Logged {
    /// Writes to the log where the rule does not hold, or holds again.
    fn turn(&mut self, found: &Found<'_>, kept: &Kept, judged: Judged<'_>) {
        let Found { rule, failures } = *found;
        let failures = failures.unwrap_or_default();
        let (name, view, about) = (&rule.name, &rule.view_name, &rule.about);
        if failures == self.failures {
            return;
        }
        if failures == 0 {
            tracing::info!(event = "expectation holds again", rule = %name, %view, %about, "no row breaks it any more");
            *self = Logged::default();
        } else if self.at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            // What is in the view already is not looked through again: a commit does not wait for the log.
            let examples = kept.examples(rule, Judged { tables: &[], ..judged }).join("; ");
            tracing::warn!(event = "expectation fails", rule = %name, %view, %about, failures, %examples, "rows are not as expected");
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
    fn take(&mut self, rule: &Rule, (view, row): (u16, &ViewRow), diff: Rows) {
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

    /// The first rows that break the rule, those that are new first.
    fn examples(&self, rule: &Rule, judged: Judged<'_>) -> Vec<String> {
        if let Kept::Days(days) = self {
            return days.shown(SHOWN_MAX);
        }
        let mine = || judged.updates.iter().filter(|update| update.view == rule.view);
        let gone: BTreeSet<&ViewRow> =
            mine().filter(|update| update.diff < 0).map(|update| &update.row).collect();
        let new = mine().filter(|update| update.diff > 0).map(|update| &update.row);
        let table = judged.tables.get(usize::from(rule.view));
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
        Check::NotNull(columns) => has_null(columns, row),
        Check::AcceptedValues { column, values } => {
            let value = &row.0[*column];
            *value != Value::Null && !values.contains(value)
        }
        Check::Unique(_) | Check::Relationships { .. } | Check::RowCountChange { .. } => false,
    }
}
