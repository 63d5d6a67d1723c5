//! What process 0 does for the other processes of a job: it says what the job starts from, and listens to them.

use crate::connect::PartitionInfo;
use crate::engine::cluster::crew::Crew;
use crate::engine::cluster::message::Card;
use crate::engine::cluster::watch::{Ear, Watch};
use crate::engine::commit::checkpoint::Resume;
use crate::engine::commit::error::CheckpointError;
use crate::engine::control::Control;
use crate::engine::format::board::Snapshot;
use crate::engine::run::board::Board;
use crate::engine::run::ports::StartPoint;
use crate::mesh::Process;
use std::sync::Arc;

/// Listens to the other processes while the job runs.
pub(super) fn watch(crew: &Arc<Crew>, start: &StartPoint, board: Board, control: &Control) -> Watch {
    let (held, peers) = (Arc::clone(&start.held), crew.place().peers());
    let restored = move |operator: &str, count: u64| {
        held.restored(operator, count, peers).map_err(|error| CheckpointError::State(error).into())
    };
    let ear = Ear {
        control: control.clone(),
        discovered: Vec::new(),
        ends: Box::new(Vec::new),
        board: Box::new(Snapshot::default),
        on_restored: Box::new(restored),
        on_board: Box::new(move |process: Process, said| board.reported(process.0, said)),
    };
    Watch::start(Arc::clone(crew), ear)
}

/// What the other processes of the job start from.
pub(super) fn card(resume: &Resume, partitions: &[Vec<PartitionInfo>], answers: Option<String>) -> Card {
    let claim = String::from_utf8(resume.manifest.encode()).expect("a manifest is JSON");
    Card { claim, partitions: partitions.to_vec(), answers }
}
