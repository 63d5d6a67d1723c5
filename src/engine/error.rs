//! Why a running job stops, with the code that names it and the exit code that a supervisor acts on.

use crate::connect;
use crate::engine::code::Code;
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
    /// Writing or committing failed.
    #[error(transparent)]
    Commit(#[from] CheckpointError),
}

impl Error {
    /// Why in one word.
    pub fn kind(&self) -> Code {
        match self {
            Error::Source(error) => Code::Source(error.kind()),
            Error::Panicked { .. } => Code::Panicked,
            Error::Pipeline { .. } => Code::PipelineBroken,
            Error::FormatAbsent { .. } => Code::FormatAbsent,
            Error::Start { .. } => Code::StartFailed,
            Error::Commit(error) => error.kind(),
        }
    }

    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        self.kind().name()
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        self.kind().exit() as u8
    }
}
