//! Why a running job stops, with the code that names it and the exit code that a supervisor acts on.

use crate::connect;
use crate::connect::targets;
use crate::engine::cluster::message::Failure;
use crate::engine::code::{self, Code, Exit};
use crate::engine::commit::error::CheckpointError;
use crate::engine::format::board::Counted;
use crate::engine::format::manifest::Subject;
use crate::engine::format::names::Seq;
use crate::mesh::{self, Process, Refusal};
use headway_operators::shape::Problem;
use headway_operators::time::Epoch;
use std::time::Duration;

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
    /// A target has not taken what is committed, and the run has ended.
    #[error("target \"{target}\" has not taken what is committed")]
    TargetBehind {
        /// The target.
        target: &'static str,
        /// The last manifest whose changes it has.
        acknowledged: Option<Seq>,
        /// The newest manifest with changes.
        newest: Seq,
        /// What it does, or says.
        why: String,
    },
    /// A target must not be written into.
    #[error("target \"{target}\" is refused: {source}")]
    Target {
        /// The target.
        target: &'static str,
        /// Why.
        source: targets::target::Error,
    },
    /// Something is not as a person expects it, who wants the job to stop then. Theirs to mend.
    #[error("{}", broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    ExpectationFailed {
        /// The epoch that was judged.
        epoch: Epoch,
        /// It was committed before, when this was not expected yet.
        is_committed: bool,
        /// The expectations that failed; one at least.
        broken: Vec<Broken>,
    },
    /// Writing or committing failed.
    #[error(transparent)]
    Commit(#[from] CheckpointError),
    /// The processes of the job are not all there, or not any more.
    #[error(transparent)]
    Mesh(#[from] mesh::Error),
    /// Another process of the job has stopped, and said why.
    #[error("process {} stopped: {} ({})", process.0, failure.message, failure.code)]
    PeerFailed {
        /// The process.
        process: Process,
        /// Why.
        failure: Failure,
    },
    /// A socket of the dataflow broke, and no process has said why.
    #[error("a process was lost: {why}")]
    Torn {
        /// What was seen.
        why: String,
    },
    /// The job is to have other processes or workers than this process was started for.
    #[error("the job is to run on {to} processes and workers, not on {from}")]
    MembershipChanged {
        /// What this process was started for, such as `2x1`.
        from: String,
        /// What the manifest or a request says.
        to: String,
    },
    /// Process 0 was started with another size than the manifest says, by which this process goes.
    #[error("process 0 has other processes or workers than {size}, which the manifest says")]
    MembershipRefused {
        /// What the manifest says.
        size: String,
    },
    /// The process takes as much memory as it may.
    #[error("the process takes {} MiB of memory, and may take {} MiB", resident >> 20, limit >> 20)]
    MemoryLimit {
        /// What it may take, in bytes.
        limit: u64,
        /// What it takes.
        resident: u64,
        /// What is counted of it, the most first.
        counted: Vec<Counted>,
    },
    /// A worker does not come back from a step.
    #[error("worker {worker} of this process has taken no step for {} s", after.as_secs())]
    WorkerStuck {
        /// Its number in this process.
        worker: usize,
        /// For how long it was waited for.
        after: Duration,
    },
    /// The lake of this process is not that of another one.
    #[error("\"{lake}\" is not the lake of process {}: it has not what that process has just written", process.0)]
    LakeNotShared {
        /// The lake.
        lake: String,
        /// The other process.
        process: Process,
    },
}

/// An expectation that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expectation \"{rule}\" failed: {failures} {unit}{} of {on} {} it", plural(*failures), if *failures == 1 { "breaks" } else { "break" })]
pub struct Broken {
    /// Its name.
    pub rule: String,
    /// What it is about.
    pub on: Subject,
    /// What it expects, in a few words.
    pub about: String,
    /// How many rows, days or records break it.
    pub failures: u64,
    /// What is counted: `row`, `day` or `record`.
    pub unit: &'static str,
    /// The first of them.
    pub examples: Vec<String>,
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
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
            Error::TargetBehind { .. } => Code::TargetBehind,
            Error::Target { .. } => Code::TargetOtherLake,
            Error::ExpectationFailed { .. } => Code::ExpectationFailed,
            Error::Commit(error) => error.kind(),
            Error::Mesh(error) => of_mesh(error),
            Error::PeerFailed { .. } => Code::PeerFailed,
            Error::Torn { .. } => Code::PeerLost,
            Error::MembershipChanged { .. } => Code::MembershipChanged,
            Error::MembershipRefused { .. } => Code::MembershipRefused,
            Error::MemoryLimit { .. } => Code::MemoryLimit,
            Error::WorkerStuck { .. } => Code::WorkerStuck,
            Error::LakeNotShared { .. } => Code::LakeNotShared,
        }
    }

    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        self.kind().name()
    }

    /// The exit code of the process. What ends one process of a job for good ends all of them with its code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::PeerFailed { failure, .. } if code::may_come_back(failure.exit) => Exit::PeerLost as u8,
            Error::PeerFailed { failure, .. } => failure.exit,
            error => error.kind().exit() as u8,
        }
    }
}

fn of_mesh(error: &mesh::Error) -> Code {
    match error {
        mesh::Error::Refused { refusal, .. } => match refusal {
            Refusal::Secret => Code::MeshSecret,
            Refusal::Version => Code::MeshVersion,
            Refusal::Plan => Code::MeshPlan,
            Refusal::Addresses => Code::MeshAddresses,
            Refusal::Index => Code::MeshIndex,
            Refusal::Tls => Code::MeshTls,
            Refusal::Certificate => Code::MeshCertificate,
        },
        mesh::Error::Exposed { .. } => Code::MeshSecret,
        mesh::Error::Timeout { .. } => Code::JoinTimeout,
        mesh::Error::Unbound { .. } => Code::MeshUnbound,
        mesh::Error::Superseded { .. } => Code::MeshSuperseded,
        mesh::Error::Stopped => Code::JoinStopped,
        mesh::Error::Lost { .. } => Code::PeerLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_final_for_one_process_is_final_for_all_and_the_rest_comes_back() {
        for (exit, expected) in [(1, 1), (2, 2), (4, 4), (5, 5), (3, 75), (75, 75), (101, 75)] {
            let failure = Failure { code: "x".into(), exit, message: "y".into() };
            let error = Error::PeerFailed { process: Process(1), failure };
            assert_eq!((error.code(), error.exit_code()), ("peer-failed", expected));
        }
        let lost = mesh::Error::Lost { process: Process(2), why: "its socket was closed".into() };
        assert_eq!((Error::from(lost).exit_code(), Error::from(mesh::Error::Stopped).exit_code()), (75, 3));
    }
}
