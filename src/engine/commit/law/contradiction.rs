//! What in a manifest can contradict the one before it, or itself.

use headway_operators::ack::InputIx;
use headway_operators::record::{Offset, Partition};
use headway_operators::time::Epoch;

/// The first thing in a manifest that cannot be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Its number or parent is not that of the next manifest.
    #[error("it does not follow the manifest before it")]
    DoesNotFollow,
    /// The chain does not begin with a first claim.
    #[error("the first manifest is missing")]
    NoFirst,
    /// It belongs to another job.
    #[error("its job, pipeline or settings are not those before")]
    OtherJob,
    /// Its run is not the next one.
    #[error("it claims the job for a run that is not the next")]
    ClaimOfAnotherRun,
    /// It ends a run at an epoch that the run did not commit last.
    #[error("it ends a run, and is of another epoch")]
    ClosedAtAnotherEpoch,
    /// Its epoch is not later, or its run is another.
    #[error("its epoch {epoch} does not follow {before}")]
    EpochGoesBack {
        /// The epoch.
        epoch: Epoch,
        /// The epoch of the manifest before.
        before: Epoch,
    },
    /// Only commits add records and files.
    #[error("it commits no epoch, and adds records or files")]
    AddsWithoutCommit,
    /// A state file is neither carried over nor of this epoch.
    #[error("state file \"{path}\" is of another epoch")]
    StateOfAnotherEpoch {
        /// The file.
        path: String,
    },
    /// An operator of the manifest before is missing, and its state was not dropped.
    #[error("operator \"{operator}\" is not in it any more")]
    OperatorGone {
        /// The operator.
        operator: String,
    },
    /// Only a start, or a person, drops state.
    #[error("it commits an epoch, and drops what operator \"{operator}\" had saved")]
    DroppedByAnEpoch {
        /// The operator.
        operator: String,
    },
    /// The watermark of several inputs is less than before.
    #[error("the watermark of inputs {:?} goes back", inputs.iter().map(|input| input.index()).collect::<Vec<_>>())]
    InputsWatermarkGoesBack {
        /// The inputs.
        inputs: Vec<InputIx>,
    },
    /// "Sealed up to" is less than before.
    #[error("what was sealed is not sealed any more")]
    Unsealed,
    /// Its gaps are not those before, or it accepts one that is none.
    #[error("it passes over offsets that no start has accepted as a gap, or does not name a gap any more")]
    Gaps,
    /// A target has acknowledged less than before, or more than there was.
    #[error("target \"{target}\" has acknowledged what was not committed, or less than before")]
    Acknowledged {
        /// The target.
        target: String,
    },
    /// It does not say where the chain of change files ends.
    #[error("it does not say which manifest has the last change file")]
    LastChanges,
    /// It has several change files, or one of another manifest.
    #[error("\"{path}\" is not its one change file")]
    ChangeFile {
        /// The file.
        path: String,
    },
    /// The first change file that is kept lies before the one before, or after the manifest.
    #[error("it keeps change files that were given up, or gives up later ones")]
    KeptChanges,
    /// Rows so far are not those before plus those of its files.
    #[error("its rows are not those before and its files' together")]
    Rows,
    /// Refused records are neither rows nor held.
    #[error("{counted} records of \"{input}\" were {side}, and {rows} are rows and {held} held")]
    RefusedRows {
        /// The input.
        input: String,
        /// `dead` or `late`.
        side: &'static str,
        /// Records by their fate.
        counted: u64,
        /// Rows of the side output.
        rows: u64,
        /// Rows in its open roll.
        held: u64,
    },
    /// The number of inputs is another.
    #[error("it has other inputs")]
    OtherInputs,
    /// An input contradicts.
    #[error("in input \"{input}\", {what}")]
    Input {
        /// The input.
        input: String,
        /// What does.
        what: InputContradiction,
    },
    /// A partition of a first manifest was read already.
    #[error("partition {0} does not start at its first offset")]
    StartsLate(Partition),
    /// A lake file contradicts.
    #[error("lake file \"{path}\" {what}")]
    File {
        /// The file.
        path: String,
        /// What does.
        what: FileContradiction,
    },
}

/// What can be wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputContradiction {
    /// It is another input under the same number.
    #[error("its name, kind or topic is another")]
    Other,
    /// Its watermark is less than before.
    #[error("the watermark goes back")]
    WatermarkGoesBack,
    /// A partition is missing that was not read to its end.
    #[error("partition {0} is gone")]
    PartitionGone(Partition),
    /// The finished partitions are not those before and those that are gone.
    #[error("its finished partitions are not those before and those that are gone")]
    Finished,
    /// A partition contradicts.
    #[error("partition {partition}: {what}")]
    Partition {
        /// The partition.
        partition: Partition,
        /// What does.
        what: PartitionContradiction,
    },
}

/// What can be wrong with a partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionContradiction {
    /// Offsets were skipped.
    #[error("offsets {from}..{to} are in no manifest")]
    Gap {
        /// The first that is missing.
        from: Offset,
        /// The first that is not.
        to: Offset,
    },
    /// Offsets were read twice.
    #[error("offsets {from}..{to} are in two manifests")]
    Twice {
        /// The first that is there twice.
        from: Offset,
        /// The first that is not.
        to: Offset,
    },
    /// The range of offsets ends before it begins.
    #[error("its offsets go back from {from} to {next}")]
    GoesBack {
        /// Where it begins.
        from: Offset,
        /// Where it ends.
        next: Offset,
    },
    /// More records than offsets.
    #[error("{consumed} records were read from {offsets} offsets")]
    MoreThanOffsets {
        /// Records.
        consumed: u64,
        /// Offsets.
        offsets: u64,
    },
    /// A record has no fate, or two.
    #[error("{consumed} records were read, and their fates do not add up to that")]
    Fates {
        /// Records.
        consumed: u64,
    },
    /// The totals are not the sums.
    #[error("its totals are not those before and the epoch's together")]
    Totals,
    /// Another topic or file has its number.
    #[error("it is another partition under the same number")]
    Other,
    /// Its watermark or floor is less than before.
    #[error("its watermark or floor goes back")]
    MarkGoesBack,
}

/// What can be wrong with a lake file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileContradiction {
    /// It began after the epoch that commits it.
    #[error("has records of a later epoch")]
    LaterEpoch,
    /// A partition that fed it is not in the manifest.
    #[error("is fed by a partition that is not there")]
    NoPartition,
    /// Offsets that fed it were not read.
    #[error("is fed by offsets that were not read")]
    NotRead,
}
