//! What can go wrong between us and another system.

use std::path::PathBuf;

/// Why a connector cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read. The user's turn; exit 3 at start.
    #[error("could not read \"{path}\"")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written. The user's turn.
    #[error("could not write \"{path}\"")]
    Unwritable {
        /// The file, or what stands for it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was found cannot be an input. The user's turn; exit 2 at start, 5 while running.
    #[error("\"{what}\" is not a usable input: {why}")]
    Unusable {
        /// What was looked at: a path, with its line where there is one.
        what: String,
        /// What does not fit.
        why: String,
        /// The way out.
        hint: String,
    },
    /// The system does not answer. Retried while a job runs; exit 3 at start.
    #[error("could not reach {what}")]
    Unreachable {
        /// The system: `broker "localhost:9092"`.
        what: String,
        /// What it said last.
        detail: String,
    },
    /// Records that the job has not read yet are no longer there. Never skipped; exit 4.
    #[error("records {from}..{to} are gone from partition {partition} of \"{input}\"")]
    RecordsGone {
        /// The input.
        input: String,
        /// The partition.
        partition: u32,
        /// The first record missing.
        from: i64,
        /// The first record that is there.
        to: i64,
    },
    /// The partition is not the one the state was made from. Exit 4.
    #[error(
        "partition {partition} of \"{input}\" is \"{found}\", and the state was made from \"{expected}\""
    )]
    OtherIdentity {
        /// The input.
        input: String,
        /// The partition.
        partition: u32,
        /// The identity in the manifest.
        expected: String,
        /// The identity found.
        found: String,
    },
}
