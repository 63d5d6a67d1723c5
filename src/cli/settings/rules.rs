//! The expectations of a configuration file as a job of this pipeline can judge them.

use super::config::Settings;
use super::expect::{AcceptedValues, CHECKS, Expect, Names, Relationships, RowCountChange};
use super::file::File;
use super::origin::Origin;
use super::suggest::suggest;
use crate::cli::terminal::failure::Failure;
use crate::engine::format::manifest::Severity;
use crate::engine::run::expect::{Check, Columns, Expectations, Rule};
use headway_operators::error::Reason;
use headway_operators::pipeline::Pipeline;
use headway_operators::row::{Column, Kind};
use headway_operators::shape::Shape;
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::Value;
use headway_operators::view::text::Text;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;

/// What `set` expects of the views that `pipeline` keeps.
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
        return Err(origin.refuse(("job", "expect_warn"), "--expect-warn", what).hint(hint));
    }
    let Some(file) = origin.file.filter(|_| !set.expect.is_empty()) else {
        return Ok(Expectations::default());
    };
    // What is wrong with the pipeline itself is not said here.
    let Ok(Shape { views, .. }) = Shape::of(pipeline) else { return Ok(Expectations::default()) };
    let (mut rules, reader) = (Vec::<Rule>::new(), Reader { file, views: &views });
    for expect in &set.expect {
        let mut rule = reader.rule(expect)?;
        if rules.iter().any(|earlier| earlier.name == rule.name) {
            let what = format!("\"{}\" is the name of two expectations", rule.name);
            return Err(reader.refuse(expect.name.span(), what, "Give each a name of its own."));
        }
        if warn.contains(&rule.name) {
            rule.severity = Severity::Warn;
        }
        rules.push(rule);
    }
    Ok(Expectations::new(rules))
}

/// Reads expectations of the file for a pipeline with these views.
struct Reader<'a> {
    file: &'a File,
    views: &'a [ViewSpec],
}

/// A view that was found: its number, and what it is.
#[derive(Clone, Copy)]
struct View<'a> {
    number: u16,
    spec: &'a ViewSpec,
}

impl View<'_> {
    fn column(&self, at: usize) -> &Column {
        &self.spec.columns[at]
    }

    /// The names of `columns`, as a list in a sentence.
    fn names(&self, columns: &Columns) -> String {
        columns.0.iter().map(|at| self.column(*at).name.as_ref()).collect::<Vec<_>>().join(", ")
    }
}

/// What is expected, what that is in a few words, and the columns it looks at.
struct Expected {
    check: Check,
    about: String,
    columns: Columns,
}

impl Reader<'_> {
    fn refuse(&self, span: Range<usize>, what: impl AsRef<str>, hint: impl AsRef<str>) -> Failure {
        self.file.refuse_at(span, what.as_ref(), hint.as_ref())
    }

    fn rule(&self, expect: &Expect) -> Result<Rule, Failure> {
        let name = expect.name.get_ref();
        if Reason::new(name.clone()).is_err() {
            let what = format!("\"{name}\" cannot be the name of an expectation");
            let hint = "Write lower-case words with hyphens between, such as one-row-a-day.";
            return Err(self.refuse(expect.name.span(), what, hint));
        }
        let view = self.view(&expect.view)?;
        let Expected { check, about, columns } = self.expected(expect, view)?;
        let mut shown: Vec<usize> = (0..view.spec.key).collect();
        shown.extend(columns.0.iter().filter(|column| **column >= view.spec.key));
        Ok(Rule {
            name: name.clone(),
            view: view.number,
            view_name: view.spec.name.to_string(),
            check,
            about,
            shown: shown.into_iter().map(|at| (at, view.column(at).name.to_string())).collect(),
            severity: expect.severity,
        })
    }

    fn view(&self, name: &Spanned<String>) -> Result<View<'_>, Failure> {
        let found = (0..).zip(self.views).find(|(_, spec)| spec.name == name.get_ref());
        found.map(|(number, spec)| View { number, spec }).ok_or_else(|| {
            let what = format!("there is no view \"{}\"", name.get_ref());
            let known: Vec<&str> = self.views.iter().map(|view| view.name).collect();
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

    fn column(&self, view: View<'_>, name: &Spanned<String>) -> Result<usize, Failure> {
        let known: Vec<&str> = view.spec.columns.iter().map(|column| column.name.as_ref()).collect();
        known.iter().position(|known| known == name.get_ref()).ok_or_else(|| {
            let what = format!("view \"{}\" has no column \"{}\"", view.spec.name, name.get_ref());
            let hint = suggest(name.get_ref(), &known, &format!("columns of \"{}\"", view.spec.name));
            self.refuse(name.span(), what, hint)
        })
    }

    fn columns(&self, view: View<'_>, names: &Spanned<Names>) -> Result<Columns, Failure> {
        if names.get_ref().is_empty() {
            return Err(self.refuse(names.span(), "no column is named", "Name one at least."));
        }
        let columns = names.get_ref().iter().map(|name| self.column(view, name));
        columns.collect::<Result<Vec<_>, _>>().map(Columns)
    }

    /// The one thing that `expect` expects.
    fn expected(&self, expect: &Expect, view: View<'_>) -> Result<Expected, Failure> {
        let unique = expect.unique.iter().map(|names| self.unique(view, names));
        let not_null = expect.not_null.iter().map(|names| self.not_null(view, names));
        let accepted = expect.accepted_values.iter().map(|accepted| self.accepted_values(view, accepted));
        let relationships = expect.relationships.iter().map(|related| self.relationships(view, related));
        let change = expect.row_count_change.iter().map(|change| self.row_count_change(view, change));
        let mut all = unique.chain(not_null).chain(accepted).chain(relationships).chain(change);
        match (all.next(), all.next()) {
            (Some(expected), None) => expected,
            (found, _) => {
                let what = match found {
                    None => format!("expectation \"{}\" expects nothing", expect.name.get_ref()),
                    Some(_) => format!("expectation \"{}\" expects two things", expect.name.get_ref()),
                };
                let hint = format!("Give it one of {}.", CHECKS.join(", "));
                Err(self.refuse(expect.name.span(), what, hint))
            }
        }
    }

    fn unique(&self, view: View<'_>, names: &Spanned<Names>) -> Result<Expected, Failure> {
        let columns = self.columns(view, names)?;
        let about = format!("unique ({})", view.names(&columns));
        Ok(Expected { check: Check::Unique(columns.clone()), about, columns })
    }

    fn not_null(&self, view: View<'_>, names: &Spanned<Names>) -> Result<Expected, Failure> {
        let columns = self.columns(view, names)?;
        let about = format!("not_null ({})", view.names(&columns));
        Ok(Expected { check: Check::NotNull(columns.clone()), about, columns })
    }

    fn accepted_values(&self, view: View<'_>, accepted: &AcceptedValues) -> Result<Expected, Failure> {
        let column = self.column(view, &accepted.column)?;
        let values = accepted.values.iter().map(|value| self.value(view.column(column), value));
        let values = values.collect::<Result<BTreeSet<Value>, _>>()?;
        if values.is_empty() {
            return Err(self.refuse(accepted.column.span(), "no value is accepted", "Name one at least."));
        }
        let columns = Columns(vec![column]);
        let about = format!("accepted_values ({})", view.names(&columns));
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
        let columns = self.columns(view, &related.columns)?;
        let other = self.view(&related.to)?;
        let to_columns = self.columns(other, &related.to_columns)?;
        let kinds = |view: View<'_>, columns: &Columns| -> Vec<Kind> {
            columns.0.iter().map(|at| view.column(*at).kind).collect()
        };
        if kinds(view, &columns) != kinds(other, &to_columns) {
            let what = "the columns are not as many, or not of the same types";
            let hint = format!(
                "Name for each column of \"{}\" the one of \"{}\" that it refers to.",
                view.spec.name, other.spec.name
            );
            return Err(self.refuse(related.to_columns.span(), what, hint));
        }
        let about = format!(
            "relationships ({}) to {} ({})",
            view.names(&columns),
            other.spec.name,
            other.names(&to_columns)
        );
        let check = Check::Relationships { columns: columns.clone(), to: other.number, to_columns };
        Ok(Expected { check, about, columns })
    }

    fn row_count_change(&self, view: View<'_>, change: &RowCountChange) -> Result<Expected, Failure> {
        let day = self.column(view, &change.day)?;
        if !matches!(view.column(day).kind, Kind::Text | Kind::Time) {
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
