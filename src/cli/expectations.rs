//! What became of expectations, a line each.

#[cfg(feature = "parquet")]
use super::terminal::form::Form;
use super::terminal::table::counted;
use crate::engine::format::manifest::{Expectation, Severity};
#[cfg(feature = "parquet")]
use crate::engine::run::expect::{Expectations, Found};
use serde_json::{Value, json};
use std::collections::BTreeMap;
#[cfg(feature = "parquet")]
use std::io::{self, Write};

/// What became of an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// It holds.
    Pass,
    /// It does not hold.
    Warn,
    /// It does not hold, and must.
    Fail,
    /// It was not judged.
    Skip,
}

impl Status {
    fn of(severity: Severity, failures: Option<u64>) -> Status {
        match (failures, severity) {
            (None, _) => Status::Skip,
            (Some(0), _) => Status::Pass,
            (Some(_), Severity::Warn) => Status::Warn,
            (Some(_), Severity::Fail) => Status::Fail,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Status::Pass => "PASS",
            Status::Warn => "WARN",
            Status::Fail => "FAIL",
            Status::Skip => "SKIP",
        }
    }
}

/// Writes what a run found of each of its expectations, a line each.
#[cfg(feature = "parquet")]
pub(crate) fn write(expectations: &Expectations, output: Form, out: &mut dyn Write) -> io::Result<()> {
    let found = expectations.found();
    let width = found.iter().map(|found| found.rule.name.len()).max().unwrap_or_default();
    for (number, found) in (1..).zip(&found) {
        let Found { rule, failures } = *found;
        let status = Status::of(rule.severity, failures).name();
        match output {
            Form::Text => {
                let broken = failures.map_or("not judged".to_string(), |count| counted(count, found.unit()));
                let (all, name, view, about) =
                    (expectations.rules().len(), &rule.name, &rule.view_name, &rule.about);
                writeln!(out, "{number:>2} of {all}  {status:<7}  {name:width$}  {broken}: {view}, {about}")?;
            }
            Form::Json => {
                let line = json!({
                    "schema_version": 1,
                    "expectation": rule.name,
                    "status": status.to_lowercase(),
                    "severity": rule.severity,
                    "view": rule.view_name,
                    "about": rule.about,
                    "failures": failures,
                });
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

/// What a manifest says of expectations, a line each.
pub(crate) fn lines(expectations: &BTreeMap<String, Expectation>) -> Vec<String> {
    let line = |(name, Expectation { on, severity, failures }): (&String, &Expectation)| {
        let status = Status::of(*severity, *failures).name().to_lowercase();
        let broken = failures.map_or("not judged yet".to_string(), |count| counted(count, "failure"));
        format!("{name} {status}: {broken} in {on}")
    };
    expectations.iter().map(line).collect()
}

/// The same in JSON.
pub(crate) fn answer(expectations: &BTreeMap<String, Expectation>) -> Vec<Value> {
    let one = |(name, Expectation { on, severity, failures }): (&String, &Expectation)| {
        json!({
            "name": name,
            "on": on,
            "severity": severity,
            "status": Status::of(*severity, *failures).name().to_lowercase(),
            "failures": failures,
        })
    };
    expectations.iter().map(one).collect()
}
