//! Why a running job stops, with the code that names it and the exit code that a supervisor acts on.

use crate::connect;
use crate::engine::commit::error::CheckpointError;
use headway_operators::shape::Problem;

/// Why a job stopped. Every variant has a stable code and an exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source cannot go on without skipping or repeating records.
    #[error(transparent)]
    Source(#[from] connect::error::Error),
    /// An engine thread panicked: a broken invariant. Ours to mend; a restart resumes from the last commit.
    #[error("thread \"{thread}\" panicked: {reason}")]
    Panicked {
        /// The thread's name.
        thread: String,
        /// What the panic said.
        reason: String,
    },
    /// The pipeline cannot run as it is built. Its author's to mend.
    #[error("pipeline \"{pipeline}\" cannot run")]
    Pipeline {
        /// Its name.
        pipeline: String,
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
    /// This build does not write the files of an output.
    #[error("output \"{output}\" is written as {format}, and this build of Headway has no {format}")]
    FormatAbsent {
        /// The output.
        output: String,
        /// The name of the format, which is also the name of the cargo feature.
        format: &'static str,
    },
    /// The dataflow could not be started.
    #[error("could not start {workers} workers: {reason}")]
    Start {
        /// How many were asked for.
        workers: usize,
        /// Why.
        reason: String,
    },
    /// Writing or committing failed. The commit protocol gives the code.
    #[error("{message}")]
    Commit {
        /// The stable code: `fenced`, `conservation-failed`, `disk-sync-failed`, …
        code: &'static str,
        /// What a person is told.
        message: String,
        /// More, and the way out.
        detail: Option<String>,
        /// The way out.
        hint: Option<String>,
        /// See [`Error::exit_code`].
        exit: u8,
    },
}

impl Error {
    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Source(error) => error.code(),
            Error::Panicked { .. } => "panicked",
            Error::Pipeline { .. } => "pipeline-broken",
            Error::FormatAbsent { .. } => "format-absent",
            Error::Start { .. } => "start-failed",
            Error::Commit { code, .. } => code,
        }
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        use connect::error::Error as Source;
        match self {
            Error::Source(
                Source::Unusable { .. } | Source::BadHeader { .. } | Source::HeaderChanged { .. },
            ) => 2,
            Error::Source(
                Source::RecordsGone { .. } | Source::OtherIdentity { .. } | Source::TopicDeleted { .. },
            ) => 4,
            Error::Source(_) | Error::Start { .. } => 3,
            Error::Panicked { .. } => 101,
            Error::Pipeline { .. } | Error::FormatAbsent { .. } => 2,
            Error::Commit { exit, .. } => *exit,
        }
    }
}

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Error {
        let (code, exit) = (error.code(), error.exit_code());
        let (detail, hint) = (error.detail(), error.hint());
        Error::Commit { code, message: error.to_string(), detail, hint, exit }
    }
}
