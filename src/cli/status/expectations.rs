//! What became of expectations, a line each.

#[cfg(feature = "parquet")]
use crate::cli::terminal::form::Form;
use crate::cli::terminal::table::counted;
use crate::engine::format::manifest::{Expectation, Severity, Subject};
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
    /// What a manifest says of an expectation. Records that were committed are no failure: they came with a warning.
    fn of(Expectation { on, severity, failures }: &Expectation) -> Status {
        match (failures, severity, on) {
            (None, _, _) => Status::Skip,
            (Some(0), _, _) => Status::Pass,
            (Some(_), Severity::Fail, Subject::View(_)) => Status::Fail,
            (Some(_), _, _) => Status::Warn,
        }
    }

    #[cfg(feature = "parquet")]
    fn of_run(found: &Found<'_>) -> Status {
        match found.failures {
            None => Status::Skip,
            _ if found.is_failed => Status::Fail,
            Some(0) => Status::Pass,
            Some(_) => Status::Warn,
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
    let width = found.iter().map(|found| found.name.len()).max().unwrap_or_default();
    let all = found.len();
    for (number, found) in (1..).zip(&found) {
        let status = Status::of_run(found).name();
        let Found { name, on, about, severity, failures, unit, .. } = found;
        match output {
            Form::Text => {
                let broken = failures.map_or("not judged".to_string(), |count| counted(count, unit));
                writeln!(out, "{number:>2} of {all}  {status:<7}  {name:width$}  {broken}: {on}, {about}")?;
            }
            Form::Json => {
                let line = json!({
                    "schema_version": 1,
                    "expectation": name,
                    "status": status.to_lowercase(),
                    "severity": severity,
                    "on": on,
                    "about": about,
                    "failures": failures,
                });
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

/// What is expected, a line each.
pub(crate) fn expected(expectations: &Expectations) -> Vec<String> {
    let line = |Found { name, on, about, severity, .. }: Found<'_>| {
        format!("{name}: {on}, {about}; else {}", severity.word())
    };
    expectations.found().into_iter().map(line).collect()
}

/// What a manifest says of expectations, a line each.
pub(crate) fn lines(expectations: &BTreeMap<String, Expectation>) -> Vec<String> {
    let line = |(name, found): (&String, &Expectation)| {
        let (status, Expectation { on, failures, .. }) = (Status::of(found).name().to_lowercase(), found);
        let broken = failures.map_or("not judged yet".to_string(), |count| counted(count, "failure"));
        format!("{name} {status}: {broken} in {on}")
    };
    expectations.iter().map(line).collect()
}

/// The same in JSON.
pub(crate) fn answer(expectations: &BTreeMap<String, Expectation>) -> Vec<Value> {
    let one = |(name, found): (&String, &Expectation)| {
        json!({
            "name": name,
            "on": found.on,
            "severity": found.severity,
            "status": Status::of(found).name().to_lowercase(),
            "failures": found.failures,
        })
    };
    expectations.iter().map(one).collect()
}
