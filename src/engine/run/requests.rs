//! Finds out whether a person has asked for another number of processes or workers.

use crate::engine::commit::rescale;
use crate::engine::commit::site::{self, Site};
use crate::engine::control::Control;
use crate::engine::format::manifest::Members;
use crate::engine::format::names::Generation;
use std::time::{Duration, Instant};

/// How often process 0 looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The requests of one run, as process 0 looks for them.
pub struct Requests {
    site: Site,
    job: String,
    generation: Generation,
    members: Members,
    looked: Instant,
}

impl Requests {
    /// Looks for requests to run `generation` of `job`, which has these `members`.
    pub fn of(site: Site, job: &str, generation: Generation, members: Members) -> Requests {
        let looked = Instant::now();
        Requests { site, job: job.to_string(), generation, members, looked }
    }

    /// Deletes the request that this run has taken. One that came too late for its claim is made again.
    pub fn clear(&self) {
        site::run(rescale::taken(&self.site, &self.job, self.generation, &self.members));
    }

    /// Drains the run of `control`, if a person has asked for other members. Looks now and then only; a file that cannot be read
    /// is looked at again.
    pub fn look(&mut self, control: &Control) {
        if self.looked.elapsed() < LOOK_EVERY || control.is_draining() {
            return;
        }
        self.looked = Instant::now();
        let request = site::run(rescale::request(&self.site, &self.job)).ok().flatten();
        let new =
            request.filter(|request| request.after == self.generation && request.members != self.members);
        if let Some(request) = new {
            let (from, to) = (self.members.size(), request.members.size());
            tracing::info!(
                event = "rescaling",
                from,
                to,
                "drains, then goes on with other processes or workers"
            );
            control.rescale();
        }
    }
}
