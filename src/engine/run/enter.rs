//! Where a job begins: alone, or as one process of several, once all of them are there.

use crate::engine::cluster::crew::Crew;
use crate::engine::cluster::place::Cluster;
use crate::engine::cluster::plan::Plan;
use crate::engine::commit::alive;
use crate::engine::commit::site::{self, Site};
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::format::names::Generation;
use crate::engine::run::launch::{self, Launch, shape};
use crate::engine::run::member;
use crate::engine::run::watched::Summary;
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
    let other = RefCell::new(None);
    let size = launch.size();
    let is_over = || {
        if asked.get().elapsed() < ASK_EVERY {
            return false;
        }
        asked.set(Instant::now());
        *other.borrow_mut() = size.other();
        control.drained_before().is_some_and(|run| has_ended_well(launch, run)) || other.borrow().is_some()
    };
    let result = Crew::join(cluster, launch.place(), facts, control, &is_over);
    result.map_err(|error| other.take().map_or_else(|| size.refused(error), |to| size.changed(&to)))
}

/// True if run `generation` of the job, or a later one, has said that it ended as it was asked to.
fn has_ended_well(launch: &Launch, generation: Generation) -> bool {
    let site = Site::new(Arc::clone(&launch.store), Arc::clone(&launch.clock));
    let sign = site::run(alive::read(&site, &launch.job)).ok().flatten();
    sign.is_some_and(|sign| sign.generation >= generation && sign.failed().is_none())
}
