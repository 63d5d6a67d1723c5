//! What in a store can contradict itself or a manifest. None of it is retried or passed over: going on could lose rows or
//! write them twice.

use crate::engine::commit::law::Contradiction;
use crate::engine::format::names::Seq;
use headway_operators::time::Epoch;

/// A contradiction that stops a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// The manifests of a job do not make a chain.
    #[error("of job \"{job}\", {broken}")]
    Chain {
        /// The job.
        job: String,
        /// Where the chain breaks.
        broken: BrokenChain,
    },
    /// The newest manifest cannot be the one after the manifest before it.
    #[error("manifest {seq} of job \"{job}\" is not what was written: {what}")]
    Head {
        /// The job.
        job: String,
        /// The manifest.
        seq: Seq,
        /// What contradicts.
        what: Contradiction,
    },
    /// The manifests of a running job were deleted.
    #[error("manifest {seq} is not in \"{folder}\" any more, and no other run has gone on: it was deleted")]
    ManifestsDeleted {
        /// The manifest before the one of this run.
        seq: Seq,
        /// The folder of manifests.
        folder: String,
    },
    /// The ranges of the segments have a gap or overlap.
    #[error("the segments in \"{folder}\" leave out manifest {seq}, or have it twice")]
    SegmentGap {
        /// The folder of segments.
        folder: String,
        /// The first manifest that is missing or there twice.
        seq: Seq,
    },
    /// A segment has other manifests than the loose ones that it was made of.
    #[error("\"{segment}\" has other manifests than the loose ones")]
    SegmentDiffers {
        /// The segment.
        segment: String,
    },
    /// A staged file is not the one that a manifest names.
    #[error("\"{staged}\" is not the file that manifest {seq} committed")]
    StagedDiffers {
        /// The staged file.
        staged: String,
        /// The manifest.
        seq: Seq,
    },
    /// Another file has the final name of a committed file.
    #[error("\"{path}\" is there and is not the file that was committed as \"{staged}\"")]
    NameTaken {
        /// The final name.
        path: String,
        /// The staged file.
        staged: String,
    },
    /// A committed file is neither staged nor published.
    #[error("\"{path}\" was committed, and neither it nor \"{staged}\" is there")]
    Lost {
        /// The final name.
        path: String,
        /// The staged file.
        staged: String,
    },
    /// A file that only a commit can have published is there, and the commit is not.
    #[error("\"{path}\" was published, and its commit is gone: {}", last(*.newest))]
    CommitGone {
        /// The published file.
        path: String,
        /// The epoch of the newest commit that is there, if there is one.
        newest: Option<Epoch>,
    },
    /// What this run staged reads back differently.
    #[error("\"{name}\" reads back differently than it was written")]
    ReadsBackDifferently {
        /// The staged file.
        name: String,
    },
    /// A worker has staged a file of an output that the job does not have.
    #[error("epoch {epoch} has file \"{path}\" of output \"{output}\", which the job does not have")]
    UnknownOutput {
        /// The epoch.
        epoch: Epoch,
        /// The file.
        path: String,
        /// The output.
        output: String,
    },
    /// Two staged files of an epoch have one final name.
    #[error("epoch {epoch} has two files called \"{path}\"")]
    SameNameTwice {
        /// The epoch.
        epoch: Epoch,
        /// The name.
        path: String,
    },
    /// The saved list of finished partitions is not as long as the manifest says.
    #[error("{expected} partitions of input \"{input}\" are finished, and the list of them has {found}")]
    FinishedPartitions {
        /// The input.
        input: String,
        /// Finished partitions by the manifest.
        expected: u64,
        /// Finished partitions in the list.
        found: u64,
    },
    /// A file that only this claim can write is there before it is written.
    #[error("\"{name}\" exists, although only the claim that is written now can name it")]
    WrittenByNobody {
        /// The file.
        name: String,
    },
    /// A committed file that is to be merged is gone or has changed.
    #[error("\"{path}\" is not there as it was committed: it cannot be merged")]
    CannotMerge {
        /// The file.
        path: String,
    },
    /// A committed file that is to be copied is gone or has changed.
    #[error("\"{path}\" is not there as it was committed: it cannot be copied")]
    CannotCopy {
        /// The file.
        path: String,
    },
    /// A copy does not have the manifests that were just written into it.
    #[error("the copy \"{folder}\" does not end with manifest {seq}, which was written into it")]
    CopyDiffers {
        /// The copy.
        folder: String,
        /// The last manifest that was copied.
        seq: Seq,
    },
    /// A committed file that is to be merged has a format that this build cannot merge.
    #[error("\"{path}\" has no format that is known: it cannot be merged")]
    UnknownFormat {
        /// The file.
        path: String,
    },
    /// Files that are to be merged do not have the rows that were committed.
    #[error("the files up to \"{path}\" were committed with {expected} rows, and have {found}")]
    RowsDiffer {
        /// The newest of them.
        path: String,
        /// Rows by the manifests.
        expected: u64,
        /// Rows in the files.
        found: u64,
    },
    /// A manifest that this build could not read again. It was not written.
    #[error("manifest {seq} was not written, for it could not be read again: {what}")]
    Unreadable {
        /// Its number.
        seq: Seq,
        /// What in it is out of bounds.
        what: String,
    },
    /// The file that claims a prefix disappears whenever it is written.
    #[error("the file that claims prefix \"{prefix}\" disappears whenever it is written")]
    ClaimGoesAway {
        /// The prefix.
        prefix: String,
    },
}

/// Where the chain of a job's manifests breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A number is missing below one that is there.
    #[error("manifest {missing} is missing, and {found} is there")]
    Gap {
        /// The lowest number that is missing.
        missing: Seq,
        /// The next number that is there.
        found: Seq,
    },
    /// A manifest does not name the one before it as its parent.
    #[error("manifest {seq} does not follow the one before it")]
    OtherParent {
        /// The manifest.
        seq: Seq,
    },
    /// Only folded manifests are left.
    #[error("every manifest after {last} is missing")]
    OnlyFolded {
        /// The last folded number.
        last: Seq,
    },
    /// A manifest disappeared while the chain was read.
    #[error("manifest {seq} disappeared while the chain was read")]
    WentAway {
        /// The manifest.
        seq: Seq,
    },
}

fn last(newest: Option<Epoch>) -> String {
    newest.map_or("there is none".to_string(), |epoch| format!("the last one is of epoch {epoch}"))
}
