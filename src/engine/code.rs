//! The codes of the engine's errors, and the exit code of a process that stops for one of them.

use crate::connect::error::Code as SourceCode;

/// The exit codes, as `headway --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command ran, and a check failed.
    Check = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A source or the lake cannot be reached.
    Unreachable = 3,
    /// The state in the lake does not fit this job.
    Misfit = 4,
    /// What was read is damaged, or storage cannot be relied on.
    Corrupt = 5,
    /// An invariant is broken. Ours to mend; the last commit holds.
    Panicked = 101,
}

/// Declares the codes: variant, name, exit code.
macro_rules! codes {
    ($($(#[$about:meta])* $variant:ident = $name:literal, $exit:ident;)*) => {
        /// Why a job stopped, in one word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$about])* $variant,)*
            /// A source cannot go on.
            Source(SourceCode),
        }

        impl Code {
            /// All codes, those of sources too.
            pub fn all() -> impl Iterator<Item = Code> {
                [$(Code::$variant,)*].into_iter().chain(SourceCode::ALL.iter().copied().map(Code::Source))
            }

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $name,)*
                    Code::Source(code) => code.name(),
                }
            }

            /// The exit code of a process that stops for it.
            pub fn exit(self) -> Exit {
                match self {
                    $(Code::$variant => Exit::$exit,)*
                    Code::Source(code) => of_source(code),
                }
            }
        }
    };
}

codes! {
    /// Another run has taken the job over.
    Fenced = "fenced", Misfit;
    /// Another run works, and was not to be taken over.
    AlreadyRunning = "already-running", Misfit;
    /// The lake was made with other settings, or has state that no operator takes back.
    StateDoesNotFit = "state-does-not-fit", Misfit;
    /// Another job writes below an output prefix.
    PrefixTaken = "prefix-taken", Misfit;
    /// A later release wrote a file of the checkpoint.
    CheckpointNewer = "checkpoint-newer", Misfit;
    /// The records of an epoch do not add up.
    ConservationFailed = "conservation-failed", Corrupt;
    /// A file of the checkpoint is not what was written.
    CheckpointInvalid = "checkpoint-invalid", Corrupt;
    /// What is in the lake contradicts itself.
    StoreInconsistent = "store-inconsistent", Corrupt;
    /// The medium could not make something durable.
    DiskSyncFailed = "disk-sync-failed", Corrupt;
    /// There is no room left.
    DiskFull = "disk-full", Unreachable;
    /// Storage did not do what it was asked.
    StoreFailed = "store-failed", Unreachable;
    /// The dataflow could not be started.
    StartFailed = "start-failed", Unreachable;
    /// More dead letters than may be.
    TooManyDead = "too-many-dead", Check;
    /// More late records than may be.
    TooManyLate = "too-many-late", Check;
    /// A lake file may not be moved away.
    NotMovable = "not-movable", Usage;
    /// A name cannot be one in a lake.
    BadName = "bad-name", Usage;
    /// The pipeline cannot run as it is built.
    PipelineBroken = "pipeline-broken", Usage;
    /// This build leaves the format of an output out.
    FormatAbsent = "format-absent", Usage;
    /// A thread panicked.
    Panicked = "panicked", Panicked;
}

fn of_source(code: SourceCode) -> Exit {
    match code {
        SourceCode::RecordsGone
        | SourceCode::FileBelowPosition
        | SourceCode::OtherIdentity
        | SourceCode::TopicDeleted => Exit::Misfit,
        SourceCode::InputUnusable
        | SourceCode::SettingsUnusable
        | SourceCode::BadHeader
        | SourceCode::HeaderChanged => Exit::Usage,
        SourceCode::BrokerUnresolved | SourceCode::TopicMissing | SourceCode::SourceFailed => {
            Exit::Unreachable
        }
    }
}
