//! Why a job cannot start, or an epoch cannot be committed: each with its code, exit code, detail and way out.

use crate::connect;
use crate::engine::code::Code;
use crate::engine::commit::difference::{self, Difference};
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::format::names::{Generation, Seq};
use crate::store;
use headway_operators::duration;
use headway_operators::error::{Reason, StateError};
use headway_operators::record::{Offset, Partition, Refused};
use headway_operators::time::Epoch;
use std::fmt;
use std::io;

/// What stands between a job and its next manifest.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another run has taken the job over. Never retried: this run must stop.
    #[error("job \"{job}\" was taken over by another run")]
    Fenced {
        /// The job.
        job: String,
        /// This run.
        generation: Generation,
        /// The first manifest that is not ours.
        seq: Seq,
    },
    /// Another run works, and this one was told not to take over.
    #[error("job \"{job}\" is running already")]
    Running {
        /// The job.
        job: String,
        /// What it says of itself.
        who: String,
    },
    /// The records of an epoch do not add up. Ours to mend; nothing of the epoch was committed.
    #[error("epoch {epoch} does not add up in partition {partition} of \"{input}\"")]
    Conservation {
        /// The epoch.
        epoch: Epoch,
        /// The input.
        input: String,
        /// The partition.
        partition: Partition,
        /// What does not.
        what: Imbalance,
    },
    /// Most of what was read cannot be decoded: probably the wrong topic or the wrong settings.
    #[error("{dead} of {consumed} records of \"{input}\" in epoch {epoch} could not be decoded")]
    TooManyDead {
        /// The epoch.
        epoch: Epoch,
        /// The input.
        input: String,
        /// Dead letters.
        dead: u64,
        /// Records read.
        consumed: u64,
        /// The reason of most of them.
        reason: Reason,
        /// One of them.
        sample: Option<Box<Refused>>,
        /// A whole run was judged, at its end.
        whole_run: bool,
    },
    /// More records came after their windows had closed than may.
    #[error("{late} of {records} records of \"{input}\" came too late, as of epoch {epoch}")]
    TooManyLate {
        /// The epoch.
        epoch: Epoch,
        /// The input.
        input: String,
        /// Late records.
        late: u64,
        /// Records read since the share was last judged.
        records: u64,
        /// A lateness that would have kept nine of ten of them, in milliseconds.
        enough_ms: Option<i64>,
        /// A whole run was judged, at its end.
        whole_run: bool,
    },
    /// A file of the checkpoint is not what was written. Never skipped, never started over.
    #[error("\"{file}\" is not what was written: {what}")]
    Invalid {
        /// The file.
        file: String,
        /// What does not fit.
        what: String,
    },
    /// A gold file that only files have is not the one that this run has written: the run cannot go on with it.
    #[error("somebody has replaced or removed \"{file}\", which this run has written")]
    GoldChanged {
        /// The file.
        file: String,
    },
    /// Written by a later release.
    #[error("\"{file}\" was written by a later release: {what}")]
    Newer {
        /// The file.
        file: String,
        /// The format found.
        what: String,
    },
    /// Saved state that its operator cannot take back.
    #[error(transparent)]
    State(#[from] StateError),
    /// What is in the store contradicts itself or a manifest.
    #[error("the lake contradicts itself: {0}")]
    Inconsistent(Inconsistency),
    /// The saved state was made by another job, pipeline or setting.
    #[error("the state of job \"{job}\" was made with {}", difference::list(differences))]
    DoesNotFit {
        /// The job.
        job: String,
        /// Everything that differs.
        differences: Vec<Difference>,
    },
    /// Saved state that no operator of this pipeline takes back.
    #[error("job \"{job}\" has state of {}, which this pipeline does not have", operators.join(", "))]
    StateWithoutOperator {
        /// The job.
        job: String,
        /// The operators' names in the manifest.
        operators: Vec<String>,
    },
    /// A view that is new to the job cannot be made of what was committed.
    #[error("\"{path}\" has facts that views are made of: {why}")]
    FactsMissing {
        /// The file, relative to the lake.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A day is to be unsealed of which nothing was committed.
    #[error("no committed file has facts of day \"{day}\"")]
    NoFactsOfDay {
        /// The day.
        day: String,
    },
    /// A day is to be unsealed that is not sealed.
    #[error("day \"{day}\" is not sealed")]
    DayNotSealed {
        /// The day, as a person named it.
        day: String,
        /// The first day that is not sealed, nor any later one; `None`: no day is sealed.
        first_open: Option<String>,
    },
    /// Another job writes below this prefix.
    #[error("output prefix \"{prefix}\" belongs to job \"{owner}\"")]
    PrefixTaken {
        /// The prefix.
        prefix: String,
        /// Its owner.
        owner: String,
    },
    /// A lake file that may not be moved away.
    #[error("\"{path}\" may not be moved away: {why}")]
    NotMovable {
        /// The file, relative to the lake.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// A gap was accepted that is not there.
    #[error("the gap {gap} was accepted, and the records of the source have no such gap")]
    GapNotSeen {
        /// The gap, as it was accepted.
        gap: String,
    },
    /// A folder that no backup of this lake may be written into.
    #[error("\"{folder}\" is no earlier backup of this lake: {why}")]
    NotABackup {
        /// The folder.
        folder: String,
        /// What it is instead.
        why: String,
    },
    /// A job deletes files faster than a backup copies them.
    #[error("job \"{job}\" went on {rounds} times before a backup had the files of one commit")]
    Overtaken {
        /// The job.
        job: String,
        /// How often the backup began anew.
        rounds: u32,
    },
    /// The name of a job or prefix cannot be a name in a lake.
    #[error("\"{name}\" cannot be the name of a {what}")]
    BadName {
        /// What it was to name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// What a source holds does not continue what the manifest has.
    #[error(transparent)]
    Source(#[from] connect::error::Error),
    /// Storage did not do what it was asked, also when asked again.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// How records can fail to add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imbalance {
    /// Offsets were skipped or read twice.
    Offsets {
        /// Where the epoch should have begun.
        expected: Offset,
        /// Where it began.
        found: Offset,
    },
    /// The source lost or invented records.
    Source {
        /// Records read.
        consumed: u64,
        /// Records with a fate.
        told: u64,
    },
    /// The operators lost or invented records.
    Operators {
        /// Records sent to them.
        sent: u64,
        /// Records with a fate.
        told: u64,
    },
    /// A partition that was read and never announced.
    Unknown,
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Imbalance::Offsets { expected, found } => {
                write!(f, "it should have begun at offset {expected} and began at {found}")
            }
            Imbalance::Source { consumed, told } => {
                write!(f, "{consumed} records were read, and {told} were sent, late, dead or filtered")
            }
            Imbalance::Operators { sent, told } => {
                write!(f, "{sent} records were sent, and {told} were accepted, duplicate or filtered")
            }
            Imbalance::Unknown => f.write_str("the partition was never announced"),
        }
    }
}

/// True if there is no room left, on the medium or for this user.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn of_store(error: &store::Error) -> Code {
    match error {
        store::Error::Sync { .. } => Code::DiskSyncFailed,
        store::Error::Failed { source, .. } if is_full(source) => Code::DiskFull,
        store::Error::Failed { .. }
        | store::Error::Unknown { .. }
        | store::Error::OtherFileSystem { .. }
        | store::Error::Symlink { .. } => Code::StoreFailed,
        store::Error::TooLong { .. } => Code::CheckpointInvalid,
    }
}

/// Not a source of the error, since its sentence is the error's own.
impl From<Inconsistency> for CheckpointError {
    fn from(what: Inconsistency) -> CheckpointError {
        CheckpointError::Inconsistent(what)
    }
}

impl CheckpointError {
    /// Why in one word.
    pub fn kind(&self) -> Code {
        match self {
            CheckpointError::Fenced { .. } => Code::Fenced,
            CheckpointError::Running { .. } => Code::AlreadyRunning,
            CheckpointError::Conservation { .. } => Code::ConservationFailed,
            CheckpointError::TooManyDead { .. } => Code::TooManyDead,
            CheckpointError::TooManyLate { .. } => Code::TooManyLate,
            CheckpointError::Invalid { .. } => Code::CheckpointInvalid,
            CheckpointError::Newer { .. } => Code::CheckpointNewer,
            CheckpointError::State(error) => match error {
                StateError::Newer { .. } => Code::CheckpointNewer,
                StateError::NotMigrated { .. } | StateError::Held { .. } | StateError::Malformed { .. } => {
                    Code::CheckpointInvalid
                }
            },
            CheckpointError::Inconsistent(_) => Code::StoreInconsistent,
            CheckpointError::GoldChanged { .. } => Code::GoldChanged,
            CheckpointError::DoesNotFit { .. } | CheckpointError::StateWithoutOperator { .. } => {
                Code::StateDoesNotFit
            }
            CheckpointError::FactsMissing { .. } | CheckpointError::NoFactsOfDay { .. } => Code::FactsMissing,
            CheckpointError::DayNotSealed { .. } => Code::DayNotSealed,
            CheckpointError::PrefixTaken { .. } => Code::PrefixTaken,
            CheckpointError::NotMovable { .. } => Code::NotMovable,
            CheckpointError::GapNotSeen { .. } => Code::GapNotSeen,
            CheckpointError::NotABackup { .. } => Code::NotABackup,
            CheckpointError::Overtaken { .. } => Code::BackupOvertaken,
            CheckpointError::BadName { .. } => Code::BadName,
            CheckpointError::Source(error) => Code::Source(error.kind()),
            CheckpointError::Store(error) => of_store(error),
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.kind().name()
    }

    /// The exit code of a process that stops for it.
    pub fn exit_code(&self) -> u8 {
        self.kind().exit() as u8
    }

    /// True if a run meets this after it was taken over, too: its successor sweeps its folders and goes on with its manifests.
    pub fn may_follow_from_a_take_over(&self) -> bool {
        match self.kind() {
            Code::StoreFailed | Code::StoreInconsistent | Code::CheckpointInvalid | Code::GoldChanged => true,
            Code::Fenced
            | Code::AlreadyRunning
            | Code::StateDoesNotFit
            | Code::FactsMissing
            | Code::DayNotSealed
            | Code::PrefixTaken
            | Code::CheckpointNewer
            | Code::ConservationFailed
            | Code::DiskSyncFailed
            | Code::DiskFull
            | Code::StartFailed
            | Code::TooManyDead
            | Code::TooManyLate
            | Code::ExpectationFailed
            | Code::TargetBehind
            | Code::TargetOtherLake
            | Code::NotMovable
            | Code::GapNotSeen
            | Code::NotABackup
            | Code::BackupOvertaken
            | Code::BadName
            | Code::PipelineBroken
            | Code::FormatAbsent
            | Code::Panicked
            | Code::MeshSecret
            | Code::MeshVersion
            | Code::MeshPlan
            | Code::MeshAddresses
            | Code::MeshIndex
            | Code::MeshTls
            | Code::MeshCertificate
            | Code::MeshUnbound
            | Code::MeshSuperseded
            | Code::JoinTimeout
            | Code::JoinStopped
            | Code::PeerLost
            | Code::PeerFailed
            | Code::MembershipChanged
            | Code::MembershipRefused
            | Code::MemoryLimit
            | Code::WorkerStuck
            | Code::LakeNotShared
            | Code::Source(_) => false,
        }
    }

    /// More than the first line says.
    pub fn detail(&self) -> Option<String> {
        match self {
            CheckpointError::Fenced { generation, seq, .. } => Some(format!(
                "This was run {generation}; manifest {seq} is not its own. It published nothing."
            )),
            CheckpointError::Running { who, .. } => Some(who.clone()),
            CheckpointError::Conservation { what, .. } => {
                Some(format!("In it, {what}. Nothing of the epoch was committed."))
            }
            CheckpointError::TooManyDead { reason, sample, whole_run, .. } => {
                let sample = sample.as_ref().map_or(String::new(), |sample| {
                    let text = sample.payload.as_deref().unwrap_or_default();
                    let text: String = String::from_utf8_lossy(text).chars().take(160).collect();
                    format!(" One is at offset {} of partition {}: {text:?}", sample.offset, sample.partition)
                });
                Some(format!("Most are \"{reason}\". {}{sample}", committed(*whole_run)))
            }
            CheckpointError::TooManyLate { whole_run, .. } => {
                Some(format!("Their windows had closed. {}", committed(*whole_run)))
            }
            CheckpointError::Store(error) => std::error::Error::source(error).map(|cause| cause.to_string()),
            CheckpointError::Source(error) => error.detail(),
            CheckpointError::DayNotSealed { first_open, .. } => Some(match first_open {
                Some(first) => format!("The sealed days are those before {first} that have facts."),
                None => "No day of the job is sealed.".to_string(),
            }),
            CheckpointError::GoldChanged { .. } => {
                Some("Its rows are not in memory. All that was committed is there still.".to_string())
            }
            CheckpointError::Invalid { .. }
            | CheckpointError::Newer { .. }
            | CheckpointError::State(_)
            | CheckpointError::Inconsistent(_)
            | CheckpointError::DoesNotFit { .. }
            | CheckpointError::StateWithoutOperator { .. }
            | CheckpointError::FactsMissing { .. }
            | CheckpointError::NoFactsOfDay { .. }
            | CheckpointError::PrefixTaken { .. }
            | CheckpointError::NotMovable { .. }
            | CheckpointError::GapNotSeen { .. }
            | CheckpointError::NotABackup { .. }
            | CheckpointError::Overtaken { .. }
            | CheckpointError::BadName { .. } => None,
        }
    }

    /// The way out.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            CheckpointError::Fenced { .. } => {
                "Only one run of a job may commit. The one that took over was started with --if-running take-over, or saw no sign of life of this one for 15 s."
                    .into()
            }
            CheckpointError::Running { .. } => "Stop it first, or use --if-running take-over.".into(),
            CheckpointError::Conservation { .. } => {
                "This is a bug. The last commit is whole: please report it with this message.".into()
            }
            CheckpointError::TooManyDead { reason, .. }
                if [Reason::BAD_TIMESTAMP, Reason::FUTURE_EVENT_TIME].contains(reason) =>
            {
                "Check the zone in which the job reads times (--zone, where its pipeline has that), and --topic.".into()
            }
            CheckpointError::TooManyDead { .. } => {
                "Check --topic, and that the pipeline is the one for this input.".into()
            }
            CheckpointError::Newer { .. } | CheckpointError::State(StateError::Newer { .. }) => {
                "Use the release that wrote it, or a later one.".into()
            }
            CheckpointError::State(_)
            | CheckpointError::Invalid { .. }
            | CheckpointError::Inconsistent(_) => {
                "See what else is damaged with: headway audit --deep.".into()
            }
            CheckpointError::TooManyLate { enough_ms, .. } => {
                let lateness = enough_ms.map_or("a greater --lateness".to_string(), |ms| {
                    format!("--lateness {}", duration::show(ms))
                });
                format!(
                    "Fill a new --lake with {lateness}: the lateness of a lake never changes. Or raise --late-max."
                )
            }
            CheckpointError::DoesNotFit { differences, .. } => difference::hint(differences),
            CheckpointError::StateWithoutOperator { operators, .. } => {
                let flags: Vec<String> =
                    operators.iter().map(|operator| format!("--allow-dropped-state {operator}")).collect();
                format!("To lose that state for good: {}.", flags.join(" "))
            }
            CheckpointError::FactsMissing { .. } => {
                "Move the file back. To let new views begin with the epochs behind it: --views-from EPOCH.".into()
            }
            CheckpointError::NoFactsOfDay { .. } | CheckpointError::DayNotSealed { .. } => {
                "Leave --unseal out. Or name a sealed day that has facts, as the views do: 2024-01-05.".into()
            }
            CheckpointError::PrefixTaken { owner, .. } => {
                format!("Choose another lake, or go on with that job: --job {owner}.")
            }
            CheckpointError::NotMovable { .. } => {
                "List those that may with: headway lake files --movable.".into()
            }
            CheckpointError::GapNotSeen { .. } => {
                "Leave --accept-gap out: where records are gone, the refusal names the gap to accept.".into()
            }
            CheckpointError::GoldChanged { .. } => {
                "Start the job again: it writes the file anew from its state.".into()
            }
            CheckpointError::NotABackup { .. } => "Use --to with a new folder.".into(),
            CheckpointError::Overtaken { .. } => {
                "Run the command again: it copies only what is new.".into()
            }
            CheckpointError::BadName { .. } => {
                "Use letters, digits, dots, \"_\" and \"-\", at most 100 of them.".into()
            }
            CheckpointError::Store(_) if self.kind() == Code::DiskFull => {
                "Make room and start the job again: it goes on from the last commit.".into()
            }
            CheckpointError::Source(error) => error.hint().to_string(),
            CheckpointError::Store(_) => return None,
        })
    }
}

/// What is committed of records that were judged.
fn committed(whole_run: bool) -> &'static str {
    if whole_run {
        "The run has committed them, and they are kept with what was refused."
    } else {
        "Nothing of the epoch was committed."
    }
}
