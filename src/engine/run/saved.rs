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

/// Reads the part of a job's state that the workers of this process own.
pub struct Reader<'a> {
    /// The lake.
    pub site: &'a Site,
    /// Where this process stands in the job.
    pub place: &'a Place,
    /// Counts what is read, and says how much there may be.
    pub memory: &'a Memory,
}

impl Reader<'_> {
    /// The state that `head` names, read before `job` is taken over; `None` if there is none, or a run that goes on has just taken
    /// some of it away.
    ///
    /// # Errors
    /// If it cannot be read, a later version has written it, or it takes more memory than the process may.
    pub fn foresee(&self, job: &Job, head: Option<&Manifest>) -> Result<Option<Foreseen>, Error> {
        let Some(head) = head else { return Ok(None) };
        let read = async {
            let headers = restore::headers(self.site, head, &Headers::new()).await?;
            newer(&job.operators, &headers)?;
            let saved = self.sections(head, &headers).await?;
            Ok::<_, CheckpointError>(saved.map(|saved| Foreseen { headers, saved }))
        };
        match site::run(read) {
            Ok(Some(foreseen)) => Ok(Some(foreseen)),
            Ok(None) => Err(self.memory.full()),
            Err(error) if site::run(loose::highest(self.site, &job.name))? == Some(head.seq) => {
                Err(error.into())
            }
            Err(_) => Ok(None),
        }
    }

    /// The state that the job starts from; read again if it is not what was foreseen.
    ///
    /// # Errors
    /// If it cannot be read, or takes more memory than the process may.
    pub fn saved(&self, foreseen: Option<Foreseen>, resume: &Resume) -> Result<SavedState, Error> {
        match foreseen {
            Some(foreseen) if foreseen.headers == resume.headers => {
                self.count(&resume.headers);
                Ok(foreseen.saved)
            }
            _ => {
                site::run(self.sections(&resume.manifest, &resume.headers))?.ok_or_else(|| self.memory.full())
            }
        }
    }

    /// The state that `claim` names.
    ///
    /// # Errors
    /// As [`Reader::saved`].
    pub fn read(&self, claim: &Manifest) -> Result<SavedState, Error> {
        let read = async {
            let headers = restore::headers(self.site, claim, &Headers::new()).await?;
            self.sections(claim, &headers).await
        };
        site::run(read)?.ok_or_else(|| self.memory.full())
    }

    /// Reads the sections of the files with `headers`; `None` if there is no room for them.
    async fn sections(
        &self,
        head: &Manifest,
        headers: &Headers,
    ) -> Result<Option<SavedState>, CheckpointError> {
        self.count(headers);
        let (mine, has_room) = (|_: &str, shard| self.place.owns(shard), |more| self.memory.has_room(more));
        restore::sections_within(self.site, head, headers, mine, &has_room).await
    }

    fn count(&self, headers: &Headers) {
        self.memory.restored(headers, |shard| self.place.owns(shard));
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
