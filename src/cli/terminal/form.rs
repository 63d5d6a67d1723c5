//! The form of a command's answer on standard output.

use clap::ValueEnum;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people; may change
    Text,
    /// JSON; only grows, and has a `schema_version`
    Json,
}
