//! The expectations of a configuration file as a job of this pipeline can judge them.

use super::config::Settings;
use super::expect::{AcceptedValues, CHECKS, Expect, Names, Relationships, RowCountChange};
use super::file::File;
use super::origin::Origin;
use super::suggest::suggest;
use crate::cli::terminal::failure::Failure;
use crate::engine::format::manifest::Severity;
use crate::engine::run::expect::{Check, Columns, Expectations, Records, Rule};
use headway_operators::error::Reason;
use headway_operators::pipeline::Pipeline;
use headway_operators::row::{Column, Kind};
use headway_operators::rules::{RecordCheck, RecordRule};
use headway_operators::shape::Shape;
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::Value;
use headway_operators::view::text::Text;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;

/// What `set` expects of the views that `pipeline` keeps, and of the records that it reads.
///
/// # Errors
/// Exit 2, with line and column, for a view or a column that is not there, and for what cannot be judged of it.
pub(crate) fn expectations(
    set: &Settings,
    pipeline: &dyn Pipeline,
    origin: &Origin<'_>,
) -> Result<Expectations, Failure> {
    let warn = set.job.expect_warn.as_deref().unwrap_or_default();
    let names: Vec<&str> = set.expect.iter().map(|expect| expect.name.get_ref().as_str()).collect();
    if let Some(name) = warn.iter().find(|name| !names.contains(&name.as_str())) {
        let what = format!("there is no expectation \"{name}\"");
        let hint = match names.as_slice() {
            [] => "The job expects nothing: [[expect]] is not in its configuration file.".to_string(),
            names => suggest(name, names, "expectations"),
        };
        return Err(origin.refuse("job", "expect_warn", "--expect-warn", what).hint(hint));
    }
    let Some(file) = origin.file.filter(|_| !set.expect.is_empty()) else {
        return Ok(Expectations::default());
    };
    // What is wrong with the pipeline itself is not said here.
    let Ok(shape) = Shape::of(pipeline) else { return Ok(Expectations::default()) };
    let reader = Reader { file, shape: &shape };
    let (mut rules, mut records) = (Vec::new(), Vec::new());
    for (at, expect) in set.expect.iter().enumerate() {
        let name = expect.name.get_ref();
        reader.name(expect, &names[..at])?;
        let severity = expect.severity.as_ref().map_or(Severity::Warn, |severity| *severity.get_ref());
        let severity = if warn.contains(name) { Severity::Warn } else { severity };
        match (&expect.view, &expect.input) {
            (Some(view), None) => rules.push(reader.rule(expect, view, severity)?),
            (None, Some(input)) => records.push(reader.records(expect, input, severity)?),
            _ => {
                let what = format!("expectation \"{name}\" is not about one thing");
                let hint = "Give it a view, or an input: view = \"NAME\".";
                return Err(reader.refuse(expect.name.span(), what, hint));
            }
        }
    }
    Ok(Expectations::new(rules, records))
}

/// Reads expectations of the file for a pipeline of this shape.
struct Reader<'a> {
    file: &'a File,
    shape: &'a Shape,
}

/// What has columns: a view, or the records of an input.
#[derive(Clone, Copy)]
struct Thing<'a> {
    on: &'a str,
    columns: &'a [Column],
}

impl Thing<'_> {
    /// The names of `columns`, as a list in a sentence.
    fn names(&self, columns: &Columns) -> String {
        columns.0.iter().map(|at| self.columns[*at].name.as_ref()).collect::<Vec<_>>().join(", ")
    }
}

/// A view that was found: its number, and what it is.
#[derive(Clone, Copy)]
struct View<'a> {
    number: u16,
    spec: &'a ViewSpec,
}

impl<'a> View<'a> {
    fn thing(self) -> Thing<'a> {
        Thing { on: self.spec.name, columns: &self.spec.columns }
    }
}

/// A condition of rows, what it says in a few words, and the columns it looks at.
struct Expected {
    check: Check,
    about: String,
    columns: Columns,
}

impl Reader<'_> {
    fn refuse(&self, span: Range<usize>, what: impl AsRef<str>, hint: impl AsRef<str>) -> Failure {
        self.file.refuse_at(span, what.as_ref(), hint.as_ref())
    }

    /// Refuses a name that cannot be one, or that an `earlier` expectation has.
    fn name(&self, expect: &Expect, earlier: &[&str]) -> Result<(), Failure> {
        let (name, span) = (expect.name.get_ref(), expect.name.span());
        if Reason::new(name.clone()).is_err() {
            let what = format!("\"{name}\" cannot be the name of an expectation");
            let hint = "Write lower-case words with hyphens between, such as one-row-a-day.";
            return Err(self.refuse(span, what, hint));
        }
        if earlier.contains(&name.as_str()) {
            let what = format!("\"{name}\" is the name of two expectations");
            return Err(self.refuse(span, what, "Give each a name of its own."));
        }
        Ok(())
    }

    /// What is expected of a view.
    fn rule(&self, expect: &Expect, view: &Spanned<String>, severity: Severity) -> Result<Rule, Failure> {
        let view = self.view(view)?;
        let quarantine = expect.severity.iter().find(|given| *given.get_ref() == Severity::Quarantine);
        if let Some(given) = quarantine {
            let hint = "A view has no record to keep apart: use \"warn\" or \"fail\".";
            return Err(self.refuse(given.span(), "\"quarantine\" is for records of an input", hint));
        }
        let Expected { check, about, columns } = self.expected(expect, view)?;
        let mut shown: Vec<usize> = (0..view.spec.key).collect();
        shown.extend(columns.0.iter().filter(|column| **column >= view.spec.key));
        let shown = shown.into_iter().map(|at| (at, view.spec.columns[at].name.to_string())).collect();
        let (name, view_name) = (expect.name.get_ref().clone(), view.spec.name.to_string());
        Ok(Rule { name, view: view.number, view_name, check, about, shown, severity })
    }

    /// What is expected of the records of an input.
    fn records(
        &self,
        expect: &Expect,
        input: &Spanned<String>,
        severity: Severity,
    ) -> Result<Records, Failure> {
        let known: Vec<&str> = self.shape.inputs.iter().map(|input| input.name).collect();
        let found = known.iter().position(|known| known == input.get_ref());
        let number = found.ok_or_else(|| {
            let what = format!("there is no input \"{}\"", input.get_ref());
            self.refuse(input.span(), what, suggest(input.get_ref(), &known, "inputs"))
        })?;
        let columns = &self.shape.record_columns[number];
        if columns.is_empty() {
            let what = format!("the records of input \"{}\" have no columns", input.get_ref());
            return Err(self.refuse(input.span(), what, "Expect something of a view that is made of them."));
        }
        let thing = Thing { on: input.get_ref(), columns };
        let Expected { check, about, .. } = self.row_check(self.only(expect)?, expect, thing)?;
        let check = match check {
            Check::NotNull(Columns(columns)) => RecordCheck::NotNull(columns.into_iter().collect()),
            Check::AcceptedValues { column, values } => RecordCheck::AcceptedValues { column, values },
            Check::Unique(_) | Check::Relationships { .. } | Check::RowCountChange { .. } => {
                let what = format!("expectation \"{}\" is not about one record", expect.name.get_ref());
                let hint = "Of a record not_null and accepted_values can be expected; the others of a view.";
                return Err(self.refuse(expect.name.span(), what, hint));
            }
        };
        let name = expect.name.get_ref().clone();
        let reason = Reason::of_rule(&name).expect("the name was looked at");
        let refuses = (severity == Severity::Quarantine).then_some(reason);
        let rule = RecordRule { name, check, refuses };
        Ok(Records { input: number, input_name: input.get_ref().clone(), rule, about, severity })
    }

    fn view(&self, name: &Spanned<String>) -> Result<View<'_>, Failure> {
        let views = &self.shape.views;
        let found = (0..).zip(views).find(|(_, spec)| spec.name == name.get_ref());
        found.map(|(number, spec)| View { number, spec }).ok_or_else(|| {
            let what = format!("there is no view \"{}\"", name.get_ref());
            let known: Vec<&str> = views.iter().map(|view| view.name).collect();
            let hint = match known.as_slice() {
                [] => {
                    "The job keeps no views. Where its pipeline has them, they are switched on with --views."
                        .to_string()
                }
                known => suggest(name.get_ref(), known, "views"),
            };
            self.refuse(name.span(), what, hint)
        })
    }

    fn column(&self, thing: Thing<'_>, name: &Spanned<String>) -> Result<usize, Failure> {
        let known: Vec<&str> = thing.columns.iter().map(|column| column.name.as_ref()).collect();
        known.iter().position(|known| known == name.get_ref()).ok_or_else(|| {
            let what = format!("\"{}\" has no column \"{}\"", thing.on, name.get_ref());
            let hint = suggest(name.get_ref(), &known, &format!("columns of \"{}\"", thing.on));
            self.refuse(name.span(), what, hint)
        })
    }

    fn columns(&self, thing: Thing<'_>, names: &Spanned<Names>) -> Result<Columns, Failure> {
        if names.get_ref().is_empty() {
            return Err(self.refuse(names.span(), "no column is named", "Name one at least."));
        }
        let columns = names.get_ref().iter().map(|name| self.column(thing, name));
        columns.collect::<Result<Vec<_>, _>>().map(Columns)
    }

    /// The one thing that `expect` expects of a view.
    fn expected(&self, expect: &Expect, view: View<'_>) -> Result<Expected, Failure> {
        let name = self.only(expect)?;
        match (&expect.relationships, &expect.row_count_change) {
            (Some(related), _) => self.relationships(view, related),
            (None, Some(change)) => self.row_count_change(view, change),
            (None, None) => self.row_check(name, expect, view.thing()),
        }
    }

    /// The name of the one thing that `expect` expects.
    fn only(&self, expect: &Expect) -> Result<&'static str, Failure> {
        let given = [
            expect.unique.is_some(),
            expect.not_null.is_some(),
            expect.accepted_values.is_some(),
            expect.relationships.is_some(),
            expect.row_count_change.is_some(),
        ];
        let mut names = CHECKS.into_iter().zip(given).filter(|(_, given)| *given).map(|(name, _)| name);
        let how_many = match (names.next(), names.next()) {
            (Some(name), None) => return Ok(name),
            (None, _) => "nothing",
            (Some(_), Some(_)) => "two things",
        };
        let what = format!("expectation \"{}\" expects {how_many}", expect.name.get_ref());
        Err(self.refuse(expect.name.span(), what, format!("Give it one of {}.", CHECKS.join(", "))))
    }

    /// What `expect`, whose check is called `name`, expects of rows or records whose columns are those of `thing`.
    fn row_check(&self, name: &str, expect: &Expect, thing: Thing<'_>) -> Result<Expected, Failure> {
        if let Some(accepted) = &expect.accepted_values {
            return self.accepted_values(thing, accepted);
        }
        let names = expect.unique.as_ref().or(expect.not_null.as_ref()).ok_or_else(|| {
            let what = format!("{name} cannot be expected of records");
            self.refuse(expect.name.span(), what, "Expect it of a view that is made of them.")
        })?;
        let columns = self.columns(thing, names)?;
        let about = format!("{name} ({})", thing.names(&columns));
        let is_unique = expect.unique.is_some();
        let check = if is_unique { Check::Unique(columns.clone()) } else { Check::NotNull(columns.clone()) };
        Ok(Expected { check, about, columns })
    }

    fn accepted_values(&self, thing: Thing<'_>, accepted: &AcceptedValues) -> Result<Expected, Failure> {
        let column = self.column(thing, &accepted.column)?;
        let values = accepted.values.iter().map(|value| self.value(&thing.columns[column], value));
        let values = values.collect::<Result<BTreeSet<Value>, _>>()?;
        if values.is_empty() {
            return Err(self.refuse(accepted.column.span(), "no value is accepted", "Name one at least."));
        }
        let columns = Columns(vec![column]);
        let about = format!("accepted_values ({})", thing.names(&columns));
        Ok(Expected { check: Check::AcceptedValues { column, values }, about, columns })
    }

    /// A value as it stands in `column`.
    fn value(&self, column: &Column, value: &Spanned<toml::Value>) -> Result<Value, Failure> {
        let found = match (column.kind, value.get_ref()) {
            (Kind::Text, toml::Value::String(text)) => Some(Value::Text(Text::from(text.as_str()))),
            (Kind::Int, toml::Value::Integer(number)) => Some(Value::Int(*number)),
            (Kind::Wide, toml::Value::Integer(number)) => Some(Value::Wide(i128::from(*number))),
            (Kind::Bool, toml::Value::Boolean(value)) => Some(Value::Bool(*value)),
            _ => None,
        };
        found.ok_or_else(|| {
            let (name, kind) = (&column.name, value.get_ref().type_str());
            let what = format!("column \"{name}\" never has a value of the type {kind}");
            let hint = match column.kind {
                Kind::Text => "It has texts: write them in quotes.",
                Kind::Int | Kind::Wide => "It has whole numbers: write them without quotes.",
                Kind::Bool => "It has true and false.",
                Kind::Time | Kind::Float => "Only texts, whole numbers, true and false can be listed.",
            };
            self.refuse(value.span(), what, hint)
        })
    }

    fn relationships(&self, view: View<'_>, related: &Relationships) -> Result<Expected, Failure> {
        let columns = self.columns(view.thing(), &related.columns)?;
        let other = self.view(&related.to)?;
        let to_columns = self.columns(other.thing(), &related.to_columns)?;
        let kinds = |view: View<'_>, columns: &Columns| -> Vec<Kind> {
            columns.0.iter().map(|at| view.spec.columns[*at].kind).collect()
        };
        if kinds(view, &columns) != kinds(other, &to_columns) {
            let what = "the columns are not as many, or not of the same types";
            let (from, to) = (view.spec.name, other.spec.name);
            let hint = format!("Name for each column of \"{from}\" the one of \"{to}\" that it refers to.");
            return Err(self.refuse(related.to_columns.span(), what, hint));
        }
        let (from, to) = (view.thing().names(&columns), other.thing().names(&to_columns));
        let about = format!("relationships ({from}) to {} ({to})", other.spec.name);
        let check = Check::Relationships { columns: columns.clone(), to: other.number, to_columns };
        Ok(Expected { check, about, columns })
    }

    fn row_count_change(&self, view: View<'_>, change: &RowCountChange) -> Result<Expected, Failure> {
        let day = self.column(view.thing(), &change.day)?;
        if !matches!(view.spec.columns[day].kind, Kind::Text | Kind::Time) {
            let what = format!("column \"{}\" has no days", change.day.get_ref());
            let hint = "A day is a text such as 2024-01-31, or that of an instant.";
            return Err(self.refuse(change.day.span(), what, hint));
        }
        let max_ppm = millionths(change.max.get_ref()).ok_or_else(|| {
            let what = format!("\"{}\" says not by how much days may differ", change.max.get_ref());
            self.refuse(change.max.span(), what, "Write it in percent of the day before, such as 50%.")
        })?;
        let about = format!("row_count_change ({}) at most {}", change.day.get_ref(), change.max.get_ref());
        Ok(Expected { check: Check::RowCountChange { day, max_ppm }, about, columns: Columns(vec![day]) })
    }
}

/// A percentage, 100 % and more too, in millionths.
fn millionths(text: &str) -> Option<u64> {
    const PERCENT_MAX: f64 = 1e9;
    let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    // What is left of the comma fits by far into the 53 bits that are exact.
    (0.0..=PERCENT_MAX).contains(&percent).then(|| (percent * 1e4).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_may_be_more_than_a_hundred() {
        let cases = [
            ("50%", Some(500_000)),
            ("0.5 %", Some(5_000)),
            ("300%", Some(3_000_000)),
            ("0%", Some(0)),
            ("-1%", None),
            ("50", None),
            ("NaN%", None),
            ("inf%", None),
        ];
        for (text, expected) in cases {
            assert_eq!(millionths(text), expected, "{text}");
        }
    }
}
