//! What process 0 does for the other processes of a job: it says what the job starts from, and listens to them.

use crate::connect::PartitionInfo;
use crate::engine::cluster::crew::Crew;
use crate::engine::cluster::message::Card;
use crate::engine::cluster::watch::{Ear, Watch};
use crate::engine::commit::checkpoint::Resume;
use crate::engine::commit::error::CheckpointError;
use crate::engine::control::Control;
use crate::engine::run::ports::StartPoint;
use std::sync::Arc;

/// Listens to the other processes while the job runs.
pub(super) fn watch(crew: &Arc<Crew>, start: &StartPoint, control: &Control) -> Watch {
    let (held, peers) = (Arc::clone(&start.held), crew.place().peers());
    let restored = move |operator: &str, count: u64| {
        held.restored(operator, count, peers).map_err(|error| CheckpointError::State(error).into())
    };
    let (control, discovered, ends) = (control.clone(), Vec::new(), Box::new(Vec::new));
    Watch::start(Arc::clone(crew), Ear { control, discovered, ends, on_restored: Box::new(restored) })
}

/// What the other processes of the job start from.
pub(super) fn card(resume: &Resume, partitions: &[Vec<PartitionInfo>], answers: Option<String>) -> Card {
    let claim = String::from_utf8(resume.manifest.encode()).expect("a manifest is JSON");
    Card { claim, partitions: partitions.to_vec(), answers }
}
