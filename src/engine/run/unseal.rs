//! Days that a person unseals for a run, and the committed facts that a run begins with.
//!
//! A sealed day does not change any more, and memory has nothing of it. `--unseal DATE` opens it for one run:
//!
//! 1. Before the job is taken over: is the day sealed, and are its facts there ([`Launch::foresee_facts`])?
//! 2. The claim names the day. It is open in all manifests of the run; the claim of the next run names the days of that run alone.
//! 3. Operators that keep by day give up what they have saved of it, and take its committed facts at the committed epoch in place of
//!    that. All other operators have these facts in their state, and take none. So the rows of the day come as restored ones: no
//!    change file has them.
//! 4. What comes for the day counts, and its gold files are written where they differ.
//! 5. The next run that does not unseal the day gives its rows up, as those of any day that has just been sealed.
//!
//! Invariant: a day is made of its facts at each start that unseals it, whatever was saved: a run that is killed and starts again
//! has nothing of it twice.

use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::Job;
use crate::engine::commit::site::Site;
use crate::engine::format::manifest::Manifest;
use crate::engine::run::launch::Launch;
use crate::engine::run::refill::{self, Asked, Past};
use headway_operators::shape::Shape;
use headway_operators::time::EventTime;
use std::collections::BTreeSet;

impl Launch {
    /// Notes in `job` which days it unseals, and where views that are new to it begin. Reads manifests, and no fact.
    ///
    /// # Errors
    /// A day that is not sealed; a file with facts that is not there, or cannot be used.
    pub(super) fn foresee_facts(
        &self,
        site: &Site,
        shape: &Shape,
        head: Option<&Manifest>,
        job: &mut Job,
    ) -> Result<(), CheckpointError> {
        job.unsealed = starts(shape, head, &self.unseal)?;
        let asked = Asked { from: self.views_from, unsealed: &job.unsealed };
        let has_past = refill::wanted(site, shape, head, asked)?.is_some_and(|past| past.files() > 0);
        let is_some_new = head.is_some_and(|head| refill::is_some_view_new(shape, head));
        job.views_from = self.views_from.filter(|_| is_some_new && has_past);
        Ok(())
    }

    /// The facts that the run of `claim` begins with; `None` if it begins with none.
    ///
    /// # Errors
    /// As [`refill::wanted`].
    pub(super) fn facts(
        &self,
        site: &Site,
        shape: &Shape,
        claim: &Manifest,
    ) -> Result<Option<Past>, CheckpointError> {
        let asked = Asked { from: self.views_from, unsealed: &claim.unsealed };
        let past = refill::wanted(site, shape, Some(claim), asked)?;
        let files = past.as_ref().map_or(0, Past::files);
        if refill::is_some_view_new(shape, claim) {
            tracing::info!(
                event = "views-refilled",
                files,
                "views that are new begin with what was committed"
            );
        }
        if let Some(seals) = shape.seals.as_ref().filter(|_| !claim.unsealed.is_empty()) {
            let name = |start: &EventTime| seals.sealing.name_at(*start).to_string();
            let days: Vec<String> = claim.unsealed.iter().map(name).collect();
            let days = days.join(", ");
            tracing::info!(event = "unsealed", days, files, "these days are open while the run lasts");
        }
        Ok(past)
    }
}

/// The first instants of the days called `names`, in order.
///
/// # Errors
/// The first one that is not sealed as of `head`.
fn starts(
    shape: &Shape,
    head: Option<&Manifest>,
    names: &[String],
) -> Result<Vec<EventTime>, CheckpointError> {
    let sealing = shape.seals.as_ref().map(|seals| &seals.sealing);
    let sealed = sealing.zip(head.and_then(|head| head.sealed_up_to));
    let start = |name: &String| {
        let found = sealed.and_then(|(sealing, up_to)| sealing.sealed_day(name, up_to));
        found.ok_or_else(|| CheckpointError::DayNotSealed {
            day: name.clone(),
            first_open: sealed.map(|(sealing, up_to)| sealing.first_open_name(up_to).to_string()),
        })
    };
    let starts: BTreeSet<EventTime> = names.iter().map(start).collect::<Result<_, _>>()?;
    Ok(starts.into_iter().collect())
}
