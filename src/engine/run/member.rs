//! A process that does not lead: it reads its partitions and its shards of the state, and stages what they give. The leader
//! commits.

use crate::connect::error::Error as SourceError;
use crate::connect::{End, PartitionInfo};
use crate::engine::cluster::crew::Crew;
use crate::engine::cluster::message::Card;
use crate::engine::cluster::place::Place;
use crate::engine::cluster::watch::{Ear, Watch};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::loose;
use crate::engine::commit::restore::{self, SavedState};
use crate::engine::commit::site::{self, Site};
use crate::engine::commit::state_files::Headers;
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::failpoint;
use crate::engine::format::manifest::Manifest;
use crate::engine::run::launch::Launch;
use crate::engine::run::memory::Memory;
use crate::engine::run::outcome::Outcome;
use crate::engine::run::ports::HeldBefore;
use crate::engine::run::saved::by_worker;
use crate::engine::run::sink::Lake;
use crate::engine::run::standing::{remember, start_point};
use crate::engine::run::watched::Summary;
use crate::engine::run::worker::{Options, run_workers};
use headway_operators::shape::Shape;
use std::sync::{Arc, Mutex};

/// Runs this process's part of a job.
///
/// # Errors
/// What refused or stopped it, or another process of the job.
pub(super) fn follow(
    launch: Launch,
    shape: Shape,
    crew: &Arc<Crew>,
    control: &Control,
) -> Result<Summary, Error> {
    // 1. What the leader has claimed, and what there is to read.
    let Card { claim, partitions, answers } = crew.card(control)?;
    answers.into_iter().for_each(|address| launch.board.leader_answers_at(address));
    let claim = Manifest::decode(claim.as_bytes()).map_err(|error| {
        let file = "the claim that process 0 sent".to_string();
        CheckpointError::Invalid { file, what: error.to_string() }
    })?;
    let (store, name) = (Arc::clone(&launch.store), launch.job.clone());
    let site = Site::new(Arc::clone(&store), Arc::clone(&launch.clock));
    let generation = claim.generation;
    control.runs(generation);
    let blamed = launch.blamed(generation);
    let there = site::run(loose::manifest(&site, &name, claim.seq))?.map(|found| found.nonce);
    if there != Some(claim.nonce) {
        return Err(Error::LakeNotShared { lake: store.describe("") });
    }
    failpoint::at("member.card");
    look(&launch, &site, &claim, &partitions)?;
    // 2. This process's part of the state.
    let (place, memory) = (launch.place(), Memory::of(launch.memory_limit));
    let saved = read_state(&site, &claim, (&place, &memory)).map_err(|error| blamed(error.into()))?;
    let facts = launch.facts(&site, &shape, &claim).map_err(|error| blamed(error.into()))?;
    crew.start(control)?;
    failpoint::at("member.started");
    // 3. Run.
    let (inputs, discovered) = launch.inputs(&shape.inputs, &partitions, &claim);
    let teller = Arc::clone(crew);
    let held = HeldBefore::elsewhere(Box::new(move |operator, held| teller.restored(operator, held)));
    let start = start_point(&claim, held);
    let ear = Ear {
        control: control.clone(),
        discovered: discovered.clone(),
        ends: ends(&launch),
        on_restored: Box::new(|_, _| Ok(())),
    };
    let watch = Watch::start(Arc::clone(crew), ear);
    launch.board.begin(launch.workers, launch.epoch, launch.max_skew_ms(&shape));
    launch.board.head(Arc::new(claim.clone()));
    let lake = Lake {
        store: Arc::clone(&store),
        job: name.clone(),
        generation,
        csv: launch.csv,
        saved: Arc::new(Mutex::new(by_worker(saved, place.peers()))),
        views: None,
        facts: facts.map(Arc::new),
        control: control.clone(),
        memory: memory.clone(),
    };
    let options = Options {
        pipeline: launch.pipeline.pipeline,
        inputs,
        discovered,
        sink: Arc::new(lake),
        commit: None,
        start,
        workers: launch.workers,
        crew: Some(Arc::clone(crew)),
        clock: launch.clock,
        board: launch.board,
        memory,
        stuck_after: launch.stuck_after,
    };
    run_workers(options, control).map_err(blamed)?;
    drop(watch);
    let outcome = Outcome::new(&claim.inputs, &[]);
    Ok(Summary { head: claim, outcome, views: Vec::new() })
}

/// Where the partitions end that this process reads, and what it has read first of them.
fn ends(launch: &Launch) -> Box<dyn Fn() -> Vec<Vec<End>> + Send> {
    let (sources, board) = (launch.connectors(), launch.board.clone());
    Box::new(move || {
        let mut ends = sources.iter().map(|source| source.ends()).collect();
        board.add_first_reads(&mut ends);
        ends
    })
}

/// Reads the shards that belong to `place` of the state that `claim` names, and counts them.
fn read_state(
    site: &Site,
    claim: &Manifest,
    (place, memory): (&Place, &Memory),
) -> Result<SavedState, CheckpointError> {
    let read = async {
        let headers = restore::headers(site, claim, &Headers::new()).await?;
        memory.restored(&headers, |shard| place.owns(shard));
        restore::sections(site, claim, &headers, |_, shard| place.owns(shard)).await
    };
    site::run(read)
}

/// Finds the leader's partitions again, by the leader's numbers.
fn look(
    launch: &Launch,
    site: &Site,
    claim: &Manifest,
    partitions: &[Vec<PartitionInfo>],
) -> Result<(), Error> {
    remember(site, &launch.connectors(), claim, partitions)?;
    let sources = launch.sources.iter().zip(partitions);
    for (source, expected) in sources.filter(|(source, _)| !source.leader_reads()) {
        let seen = source.connector.partitions()?;
        for info in expected {
            let found = seen.iter().find(|seen| seen.partition == info.partition);
            let found = found.map_or("nothing", |seen| seen.identity.as_str());
            if found != info.identity {
                let (input, partition) = (source.topic.clone(), info.partition);
                let (expected, found) = (info.identity.clone(), found.to_string());
                return Err(SourceError::OtherIdentity { input, partition, expected, found }.into());
            }
        }
    }
    Ok(())
}
