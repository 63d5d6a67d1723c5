//! `[[expect]]` as the configuration file has it: what is expected of views and records. [`super::rules`] makes rules of it.

use crate::engine::format::manifest::Severity;
use serde::Deserialize;
use toml::Spanned;

/// The name of the section.
pub(crate) const SECTION: &str = "expect";

/// What can be expected.
pub(super) const CHECKS: [&str; 5] =
    ["unique", "not_null", "accepted_values", "relationships", "row_count_change"];

/// The keys of an expectation.
pub(crate) const KEYS: [&str; 9] = [
    "name",
    "view",
    "input",
    "severity",
    "unique",
    "not_null",
    "accepted_values",
    "relationships",
    "row_count_change",
];

/// An expectation as the file has it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Its name.
    pub(super) name: Spanned<String>,
    /// The view, or the input.
    pub(super) view: Option<Spanned<String>>,
    pub(super) input: Option<Spanned<String>>,
    /// What follows where it does not hold.
    pub(super) severity: Option<Spanned<Severity>>,
    pub(super) unique: Option<Spanned<Names>>,
    pub(super) not_null: Option<Spanned<Names>>,
    pub(super) accepted_values: Option<AcceptedValues>,
    pub(super) relationships: Option<Relationships>,
    pub(super) row_count_change: Option<RowCountChange>,
}

/// Names of columns.
pub(super) type Names = Vec<Spanned<String>>;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptedValues {
    pub(super) column: Spanned<String>,
    pub(super) values: Vec<Spanned<toml::Value>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Relationships {
    pub(super) columns: Spanned<Names>,
    pub(super) to: Spanned<String>,
    pub(super) to_columns: Spanned<Names>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct RowCountChange {
    pub(super) day: Spanned<String>,
    pub(super) max: Spanned<String>,
}
