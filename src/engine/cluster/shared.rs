//! Proves that all processes of a job write into one lake: before the job is taken over, process 0 finds a file of each other
//! process in its lake, and each of them finds the file of process 0 in its own.
//!
//! ```text
//! process 0   writes its file ─► Token ─► waits for Seen of all ─► sees a file of each ─► deletes all ─► claims
//! others                         Token ─► see its file ─► write theirs ─► Seen
//! ```
//! A cluster whose processes have different lakes must not end a run that can go on. What one machine writes may be seen late on
//! another, so each look is repeated for a while. Two clusters may do this at once: the names of their files differ. Files of a start that
//! was killed here are deleted by a later one.

use crate::engine::cluster::crew::Crew;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::site::{self, Site};
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::format::names;
use crate::mesh::{LEADER, Process};
use crate::random::random;
use std::time::{Duration, Instant};

/// How long a file may take to be seen.
const WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The most bytes of a file that are read.
const BYTES_MAX: u64 = 64;

/// A file that is older is of a start that was killed, in milliseconds.
const LEFT_MS: i64 = 3_600_000;

/// A start of a job on several processes, as one of them sees it.
pub struct Start<'a> {
    /// Its lake.
    pub site: &'a Site,
    /// The job.
    pub job: &'a str,
    /// The processes.
    pub crew: &'a Crew,
    /// How the start is ended.
    pub control: &'a Control,
}

impl Start<'_> {
    /// In process 0: makes sure that it and all others see each other's files.
    ///
    /// # Errors
    /// [`Error::LakeNotShared`], or what happened to another process.
    pub fn prove(&self) -> Result<(), Error> {
        let Start { site, job, crew, control } = *self;
        let token = format!("{:013}-{:032x}", site.now_ms(), random());
        sweep(site, job)?;
        leave(site, job, LEADER, &token)?;
        crew.show(&token);
        crew.await_seen(control)?;
        let seen = crew.others().try_for_each(|process| self.find(process, &token));
        for process in crew.others().chain([LEADER]) {
            site::run(site.delete(&names::token(job, &token, process.0))).map_err(CheckpointError::from)?;
        }
        seen
    }

    /// In another process: sees the file of process 0, and leaves one to be seen.
    ///
    /// # Errors
    /// As [`Start::prove`].
    pub fn answer(&self) -> Result<(), Error> {
        let token = self.crew.token(self.control)?;
        self.find(LEADER, &token)?;
        leave(self.site, self.job, self.crew.place().process, &token)?;
        self.crew.saw();
        Ok(())
    }

    /// Waits until the file of `process` is there, with `token` in it.
    fn find(&self, process: Process, token: &str) -> Result<(), Error> {
        let Start { site, job, crew, control } = *self;
        let (name, began) = (names::token(job, token, process.0), Instant::now());
        loop {
            let found = site::run(site.read(&name, BYTES_MAX)).map_err(CheckpointError::from)?;
            if found.is_some_and(|found| found == token.as_bytes()) {
                return Ok(());
            }
            crew.check(control)?;
            if began.elapsed() >= WITHIN {
                return Err(Error::LakeNotShared { lake: site.describe(""), process });
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Deletes files of starts that were killed.
fn sweep(site: &Site, job: &str) -> Result<(), CheckpointError> {
    let folder = names::token_folder(job);
    let is_left = |file: &String| {
        let written_ms = file.split('-').next().and_then(|digits| digits.parse::<i64>().ok());
        written_ms.is_none_or(|written_ms| site.now_ms().saturating_sub(written_ms) > LEFT_MS)
    };
    for file in site::run(site.list(&folder))?.into_iter().filter(is_left) {
        site::run(site.delete(&format!("{folder}{file}")))?;
    }
    Ok(())
}

/// Writes the file of `process`.
fn leave(site: &Site, job: &str, process: Process, token: &str) -> Result<(), CheckpointError> {
    Ok(site::run(site.create(&names::token(job, token, process.0), token.as_bytes())).map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Manual;
    use crate::store::memory::Memory;
    use std::sync::Arc;

    #[test]
    fn files_of_starts_that_were_killed_go_after_an_hour() {
        let clock = Arc::new(Manual::default());
        let site = Site::new(Arc::new(Memory::new()), clock.clone());
        let token = |at: i64| format!("{at:013}-{:032x}", 7);
        for at in [0, LEFT_MS] {
            leave(&site, "gate", Process(1), &token(site.now_ms() + at)).expect("the lake can be written");
        }
        clock.advance(Duration::from_secs(3_601));
        sweep(&site, "gate").expect("the lake can be written");
        let left = site::run(site.list(&names::token_folder("gate"))).expect("it can be read");
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
