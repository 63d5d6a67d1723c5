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
    /// Another process of the job was lost: all of them start again.
    PeerLost = 75,
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
    /// Committed facts that a view is to be made of are not there.
    FactsMissing = "facts-missing", Misfit;
    /// A day is to be unsealed that is not sealed.
    DayNotSealed = "day-not-sealed", Misfit;
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
    /// A gold file that only files have is not the one that the run has written.
    GoldChanged = "gold-changed", Unreachable;
    /// Storage did not do what it was asked.
    StoreFailed = "store-failed", Unreachable;
    /// The dataflow could not be started.
    StartFailed = "start-failed", Unreachable;
    /// More dead letters than may be.
    TooManyDead = "too-many-dead", Check;
    /// More late records than may be.
    TooManyLate = "too-many-late", Check;
    /// Something is not as it is expected to be.
    ExpectationFailed = "expectation-failed", Check;
    /// A target did not take what was committed before the run ended.
    TargetBehind = "target-behind", Check;
    /// A target has the tables of another lake.
    TargetOtherLake = "target-other-lake", Misfit;
    /// A lake file may not be moved away.
    NotMovable = "not-movable", Usage;
    /// A gap was accepted that is not there.
    GapNotSeen = "gap-not-seen", Misfit;
    /// A folder is no earlier backup of the lake.
    NotABackup = "not-a-backup", Usage;
    /// The job deletes files faster than a backup copies them.
    BackupOvertaken = "backup-overtaken", Unreachable;
    /// A name cannot be one in a lake.
    BadName = "bad-name", Usage;
    /// The pipeline cannot run as it is built.
    PipelineBroken = "pipeline-broken", Usage;
    /// This build leaves the format of an output out.
    FormatAbsent = "format-absent", Usage;
    /// A thread panicked.
    Panicked = "panicked", Panicked;
    /// Process 0 was started with another size than the manifest says.
    MembershipRefused = "membership-refused", PeerLost;
    /// The process takes as much memory as it may.
    MemoryLimit = "memory-limit", Unreachable;
    /// A worker does not come back from a step.
    WorkerStuck = "worker-stuck", Panicked;
    /// The processes of the job have other secrets, or none.
    MeshSecret = "mesh-secret", Usage;
    /// The processes of the job are other builds.
    MeshVersion = "mesh-version", Usage;
    /// The processes of the job were started with other settings.
    MeshPlan = "mesh-plan", Usage;
    /// The processes of the job have other lists of hosts, or other numbers of processes or workers.
    MeshAddresses = "mesh-addresses", Usage;
    /// The number of a process does not fit its address.
    MeshIndex = "mesh-index", Usage;
    /// One process of the job has TLS, and another has not.
    MeshTls = "mesh-tls", Usage;
    /// The certificate of a process of the job is refused.
    MeshCertificate = "mesh-certificate", Usage;
    /// A process cannot listen on its address.
    MeshUnbound = "mesh-unbound", Unreachable;
    /// Another process with the same number has joined.
    MeshSuperseded = "mesh-superseded", Unreachable;
    /// Processes of the job are missing.
    JoinTimeout = "join-timeout", Unreachable;
    /// A process was told to end before the job began.
    JoinStopped = "join-stopped", Unreachable;
    /// Another process of the job is gone.
    PeerLost = "peer-lost", PeerLost;
    /// Another process of the job has stopped.
    PeerFailed = "peer-failed", PeerLost;
    /// The job is to have other processes or workers.
    MembershipChanged = "membership-changed", PeerLost;
    /// The processes of the job have other lakes.
    LakeNotShared = "lake-not-shared", Usage;
}

/// True if a job on several processes may get over `exit` by starting again: a lost process, a bug, something that could not
/// be reached. Whatever else ends one process ends all.
pub fn may_come_back(exit: u8) -> bool {
    [Exit::Unreachable, Exit::PeerLost, Exit::Panicked].iter().any(|known| *known as u8 == exit)
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
