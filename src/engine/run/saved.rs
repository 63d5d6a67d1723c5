//! Saved state, as a start reads it.

use crate::engine::cluster::place::Place;
use crate::engine::commit::checkpoint::Resume;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::Job;
use crate::engine::commit::loose;
use crate::engine::commit::restore::{self, SavedState};
use crate::engine::commit::site::{self, Site};
use crate::engine::commit::state_files::Headers;
use crate::engine::error::Error;
use crate::engine::format::manifest::Manifest;
use crate::engine::run::sink::SavedByWorker;
use headway_operators::error::StateError;
use headway_operators::spec::OperatorSpec;
use headway_operators::state::OperatorHead;

/// What is known of saved state before a job is taken over.
pub struct Foreseen {
    /// The headers of its files.
    pub headers: Headers,
    /// What the workers of this process own of it.
    pub saved: SavedState,
}

/// The state that `head` names, read before the job is taken over; `None` if there is none, or a run that goes on has
/// just taken some of it away.
///
/// # Errors
/// If it cannot be read, or a later version has written it.
pub fn foresee(
    (site, place): (&Site, &Place),
    job: &Job,
    head: Option<&Manifest>,
) -> Result<Option<Foreseen>, Error> {
    let Some(head) = head else { return Ok(None) };
    let read = async {
        let headers = restore::headers(site, head, &Headers::new()).await?;
        newer(&job.operators, &headers)?;
        let saved = restore::sections(site, head, &headers, |_, shard| place.owns(shard)).await?;
        Ok::<_, CheckpointError>(Foreseen { headers, saved })
    };
    match site::run(read) {
        Ok(foreseen) => Ok(Some(foreseen)),
        Err(error) if site::run(loose::highest(site, &job.name))? == Some(head.seq) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// What the workers of this process own of the state; read again if it is not what was foreseen.
///
/// # Errors
/// If it cannot be read.
pub fn saved(
    (site, place): (&Site, &Place),
    foreseen: Option<Foreseen>,
    resume: &Resume,
) -> Result<SavedState, Error> {
    match foreseen {
        Some(foreseen) if foreseen.headers == resume.headers => Ok(foreseen.saved),
        _ => {
            let mine = |_: &str, shard| place.owns(shard);
            Ok(site::run(restore::sections(site, &resume.manifest, &resume.headers, mine))?)
        }
    }
}

/// Refuses state that a later version of one of `operators` has saved.
fn newer(operators: &[OperatorSpec], headers: &Headers) -> Result<(), StateError> {
    for OperatorHead { name, version: found } in headers.values().flat_map(|sections| &sections.operators) {
        let known = operators.iter().find(|known| known.name == *name).map(|known| known.version);
        if let Some(known) = known.filter(|known| found > known) {
            return Err(StateError::Newer { operator: name.clone(), found: *found, known });
        }
    }
    Ok(())
}

/// Saved state by operator and the worker, of `workers`, that owns it.
pub fn by_worker(saved: SavedState, workers: usize) -> SavedByWorker {
    let mut all = SavedByWorker::new();
    for (operator, sections) in saved {
        for section in sections {
            all.entry((operator.clone(), section.shard.owner(workers))).or_default().push(section);
        }
    }
    all
}
