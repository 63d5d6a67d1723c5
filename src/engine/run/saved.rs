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
use crate::engine::run::memory::Memory;
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

/// The state that `head` names, read before the job is taken over, and counted in `memory`; `None` if there is none, or a run that
/// goes on has just taken some of it away.
///
/// # Errors
/// If it cannot be read, a later version has written it, or it takes more memory than the process may.
pub fn foresee(
    (site, place): (&Site, &Place),
    job: &Job,
    head: Option<&Manifest>,
    memory: &Memory,
) -> Result<Option<Foreseen>, Error> {
    let Some(head) = head else { return Ok(None) };
    let read = async {
        let headers = restore::headers(site, head, &Headers::new()).await?;
        newer(&job.operators, &headers)?;
        memory.restored(&headers, |shard| place.owns(shard));
        let mine = |_: &str, shard| place.owns(shard);
        let saved =
            restore::sections_within(site, head, &headers, mine, &|more| memory.has_room(more)).await?;
        Ok::<_, CheckpointError>(saved.map(|saved| Foreseen { headers, saved }))
    };
    match site::run(read) {
        Ok(Some(foreseen)) => Ok(Some(foreseen)),
        Ok(None) => Err(memory.full()),
        Err(error) if site::run(loose::highest(site, &job.name))? == Some(head.seq) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// What the workers of this process own of the state; read again if it is not what was foreseen.
///
/// # Errors
/// If it cannot be read, or takes more memory than the process may.
pub fn saved(
    (site, place): (&Site, &Place),
    foreseen: Option<Foreseen>,
    resume: &Resume,
    memory: &Memory,
) -> Result<SavedState, Error> {
    memory.restored(&resume.headers, |shard| place.owns(shard));
    match foreseen {
        Some(foreseen) if foreseen.headers == resume.headers => Ok(foreseen.saved),
        _ => {
            let (mine, room) = (|_: &str, shard| place.owns(shard), |more| memory.has_room(more));
            let read = restore::sections_within(site, &resume.manifest, &resume.headers, mine, &room);
            site::run(read)?.ok_or_else(|| memory.full())
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
