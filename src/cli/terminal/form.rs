//! The form of a command's answer on standard output.

use clap::ValueEnum;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people; may change
    Text,
    /// For programs: JSON, to which fields are only ever added
    Json,
}

/// The form of the answer of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusForm {
    /// For people; may change
    Text,
    /// For programs: JSON, to which fields are only ever added
    Json,
    /// For collectors that read files: metrics in Prometheus' text format
    Prometheus,
}
