//! Where a job begins: alone, or as one process of several, once all of them are there.

use crate::engine::cluster::crew::Crew;
use crate::engine::cluster::place::Cluster;
use crate::engine::cluster::plan::Plan;
use crate::engine::code::{Code, Exit};
use crate::engine::commit::alive::{self, Alive, WATCH};
use crate::engine::commit::refused;
use crate::engine::commit::site::{self, Site};
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::format::manifest::Nonce;
use crate::engine::format::names::Generation;
use crate::engine::run::launch::{self, Launch, shape};
use crate::engine::run::member;
use crate::engine::run::watched::Summary;
use crate::mesh;
use crate::mesh::LEADER;
use headway_operators::shape::Shape;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a process that goes on with a drain looks whether it is over.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Runs a job until its input ends, it is drained, or something fails. A process that does not lead has nothing to say in its
/// summary but the claim.
///
/// # Errors
/// What refused or stopped it. Nothing after the last commit became visible.
pub fn launch(launch: Launch, control: &Control) -> Result<Summary, Error> {
    let (site, job) = (Site::new(Arc::clone(&launch.store), Arc::clone(&launch.clock)), launch.job.clone());
    let leads = launch.place().process == LEADER;
    let result = begin(launch, control);
    if let Err(error) = &result {
        if error.kind() == Code::Fenced {
            let generation = control.run().map(|generation| generation.0);
            tracing::error!(event = "fenced", job, generation, "another run has taken the job over");
        }
        // What is refused for another reason, such as settings, is the same at the next start: its own words are enough.
        if leads && control.run().is_none() && error.exit_code() == Exit::Unreachable as u8 {
            site::run(refused::note(&site, &job, error.code(), &error.to_string()));
        }
    }
    result
}

fn begin(launch: Launch, control: &Control) -> Result<Summary, Error> {
    let shape = shape(launch.pipeline.pipeline.as_ref())?;
    let Some(cluster) = launch.cluster.clone() else { return launch::lead(launch, shape, None, control) };
    let crew = join(&launch, &shape, &cluster, control)?;
    let result = match crew.leads() {
        true => launch::lead(launch, shape, Some(Arc::clone(&crew)), control),
        false => member::follow(launch, shape, &crew, control),
    };
    crew.pass_on(control);
    crew.end(result.as_ref().map(drop));
    result
}

/// Waits until all processes are there, with the same plan.
fn join(launch: &Launch, shape: &Shape, cluster: &Cluster, control: &Control) -> Result<Arc<Crew>, Error> {
    let pipeline = launch.pipeline.pipeline.as_ref();
    let mut plan = Plan::default();
    plan.note("pipeline", &(pipeline.name(), pipeline.version()));
    plan.note("fingerprint", &launch.fingerprint(shape));
    for input in &shape.inputs {
        // No pointers to functions: they lie elsewhere in each process, and the build says what they are.
        let header = input.header.map(|header| header.columns);
        plan.note("input", &(input.name, &input.topic, input.lateness_ms, input.closing, header));
    }
    plan.note("outputs", &shape.outputs);
    plan.note("operators", &shape.operators);
    plan.note("inputs of operators", &(&shape.sets, &shape.counting));
    let seals = shape.seals.as_ref().map(|seals| (&seals.inputs, seals.sealing.after_ms()));
    plan.note("sealing", &seals);
    plan.note("views", &(&shape.views, &shape.day_files, &shape.keeps, launch.views_from));
    plan.note("unsealed", &launch.unseal);
    for source in &launch.sources {
        let what = (source.connector.kind(), &source.topic, source.discover_every);
        plan.note("source", &(what, source.max_ahead, source.not_after));
    }
    plan.note("rules of records", &launch.expectations.records());
    plan.note("epoch", &(launch.epoch, launch.epoch_bytes));
    plan.note("idle", &(launch.idle_after, launch.idle_flush));
    plan.note("until", &launch.until);
    plan.note("csv", &launch.csv);
    let workers = launch.workers;
    let facts = plan
        .facts(&launch.job, workers, &cluster.addresses)
        .map_err(|error| Error::Start { workers, reason: format!("the program cannot be read: {error}") })?;
    let asked = Cell::new(Instant::now());
    let (other, mut without) = (RefCell::new(None), RefCell::new(Without::default()));
    let size = launch.size();
    let is_over = || {
        if asked.get().elapsed() < ASK_EVERY {
            return false;
        }
        asked.set(Instant::now());
        let size = size.compare();
        let sign = sign(launch);
        let drained = control.drained_before();
        let has_ended =
            drained.is_some_and(|run| sign.as_ref().is_some_and(|sign| has_ended_well(sign, run)));
        without.borrow_mut().look(sign.filter(|_| size.is_committed));
        *other.borrow_mut() = size.other;
        has_ended || other.borrow().is_some() || without.borrow().is_sure
    };
    let result = Crew::join(cluster, launch.place(), facts, control, &is_over);
    let is_taken = without.get_mut().is_sure;
    result.map_err(|error| match (other.take(), error) {
        (Some(to), _) => size.changed(&to),
        (None, Error::Mesh(mesh::Error::Stopped)) if is_taken => {
            mesh::Error::Superseded { process: cluster.process }.into()
        }
        (None, error) => size.refused(error),
    })
}

/// What the last run of the job says of itself.
fn sign(launch: &Launch) -> Option<Alive> {
    let site = Site::new(Arc::clone(&launch.store), Arc::clone(&launch.clock));
    site::run(alive::read(&site, &launch.job)).ok().flatten()
}

/// True if `sign` is of run `generation` of the job, or a later one, and says that it ended as it was asked to.
fn has_ended_well(sign: &Alive, generation: Generation) -> bool {
    sign.generation >= generation && sign.failed().is_none()
}

/// Whether the job runs without this process, though all of its processes are there: then another one has its number. A run that has
/// lost this process ends before it has given three signs of life.
#[derive(Debug, Default)]
struct Without {
    /// The run, and when it gave the first sign that was seen.
    first: Option<(Generation, Option<Nonce>, i64)>,
    is_sure: bool,
}

impl Without {
    /// Takes the last sign of the run that has the members of this process; `None` if there is none, or it is just being replaced.
    fn look(&mut self, sign: Option<Alive>) {
        let Some(sign) = sign.filter(|sign| sign.ending.is_none()) else { return };
        let run = (sign.generation, sign.nonce);
        match self.first {
            Some((generation, nonce, since_ms)) if (generation, nonce) == run => {
                let for_ms = sign.time_ms.saturating_sub(since_ms);
                self.is_sure |= u128::try_from(for_ms).is_ok_and(|for_ms| for_ms >= WATCH.as_millis());
            }
            _ => self.first = Some((sign.generation, sign.nonce, sign.time_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::commit::alive::Ending;
    use crate::engine::commit::process_id::ProcessId;

    #[test]
    fn job_that_goes_on_for_three_signs_has_another_process_of_this_number() {
        let sign = |generation, seconds: i64| Alive {
            generation: Generation(generation),
            process: ProcessId::own(),
            host: String::new(),
            nonce: Some(Nonce(u128::from(generation))),
            time_ms: 1_000 * seconds,
            ending: None,
            ends: Vec::new(),
            board: None,
        };
        let sure = |signs: &[Option<Alive>]| {
            let mut without = Without::default();
            signs.iter().for_each(|sign| without.look(sign.clone()));
            without.is_sure
        };
        assert!(sure(&[Some(sign(1, 0)), Some(sign(1, 5)), Some(sign(1, 15))]));
        assert!(!sure(&[Some(sign(1, 0)), Some(sign(1, 14))]));
        assert!(sure(&[Some(sign(1, 0)), None, Some(sign(1, 15))]), "it was being replaced");
        assert!(!sure(&[Some(sign(1, 0)), Some(sign(2, 15)), Some(sign(2, 29))]), "another run");
        let ended = Alive { ending: Some(Ending { code: None, why: None }), ..sign(1, 15) };
        assert!(!sure(&[Some(sign(1, 0)), Some(ended)]));
    }
}
