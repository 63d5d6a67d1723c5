//! A process that does not lead: it reads its partitions and its shards of the state, and stages what they give. The leader
//! commits.

use crate::connect::error::Error as SourceError;
use crate::connect::{Connector, End, PartitionInfo};
use crate::engine::cluster::crew::Crew;
use crate::engine::cluster::message::Card;
use crate::engine::cluster::shared;
use crate::engine::cluster::watch::{Ear, Watch};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::site::Site;
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::failpoint;
use crate::engine::format::board::Snapshot;
use crate::engine::format::manifest::Manifest;
use crate::engine::run::launch::Launch;
use crate::engine::run::outcome::Outcome;
use crate::engine::run::ports::HeldBefore;
use crate::engine::run::saved::{self, by_worker};
use crate::engine::run::sink::Lake;
use crate::engine::run::standing::{remember, start_point};
use crate::engine::run::watched::Summary;
use crate::engine::run::watched_store::WatchedStore;
use crate::engine::run::worker::{Options, run_workers};
use headway_operators::shape::Shape;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a partition that the leader has found may be unknown here.
const APPEARS: Duration = Duration::from_secs(10);

/// How often it is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Runs this process's part of a job.
///
/// # Errors
/// What refused or stopped it, or another process of the job.
pub(super) fn follow(
    mut launch: Launch,
    shape: Shape,
    crew: &Arc<Crew>,
    control: &Control,
) -> Result<Summary, Error> {
    launch.store = WatchedStore::of(launch.store, launch.board.clone());
    let (store, name) = (Arc::clone(&launch.store), launch.job.clone());
    let site = Site::new(Arc::clone(&store), Arc::clone(&launch.clock));
    // 1. What the leader has claimed, and what there is to read.
    shared::Start { site: &site, job: &name, crew, control }.answer()?;
    let Card { claim, partitions, answers } = crew.card(control)?;
    answers.into_iter().for_each(|address| launch.board.leader_answers_at(address));
    let claim = Manifest::decode(claim.as_bytes()).map_err(|error| {
        let file = "the claim that process 0 sent".to_string();
        CheckpointError::Invalid { file, what: error.to_string() }
    })?;
    let generation = claim.generation;
    control.runs(generation);
    let blamed = launch.blamed(generation);
    failpoint::at("member.card");
    look(&launch, &site, &claim, &partitions, &|| crew.check(control))?;
    // 2. This process's part of the state.
    let (place, memory) = (launch.place(), launch.memory.clone());
    let reader = saved::Reader { site: &site, place: &place, memory: &memory };
    let saved = reader.read(&claim).map_err(&blamed)?;
    let facts = launch.facts(&site, &shape, &claim).map_err(|error| blamed(error.into()))?;
    crew.start(control)?;
    failpoint::at("member.started");
    // 3. Run.
    control.works();
    let (inputs, discovered) = launch.inputs(&shape.inputs, &partitions, &claim);
    let teller = Arc::clone(crew);
    let held = HeldBefore::elsewhere(Box::new(move |operator, held| teller.restored(operator, held)));
    let start = start_point(&claim, held);
    let ear = Ear {
        control: control.clone(),
        discovered: discovered.clone(),
        ends: ends(&launch),
        board: board(&launch),
        on_restored: Box::new(|_, _| Ok(())),
        on_board: Box::new(|_, _| ()),
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
        board: launch.board.clone(),
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

/// What is on the board of this process.
fn board(launch: &Launch) -> Box<dyn Fn() -> Snapshot + Send> {
    let board = launch.board.clone();
    Box::new(move || board.report())
}

/// Finds the leader's partitions again, by the leader's numbers. One that is not there yet is looked for again for a while, as long as
/// `check` agrees: what has answered this process may not know it yet.
fn look(
    launch: &Launch,
    site: &Site,
    claim: &Manifest,
    partitions: &[Vec<PartitionInfo>],
    check: &dyn Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    remember(site, &launch.connectors(), claim, partitions)?;
    let sources = launch.sources.iter().zip(partitions);
    for (source, expected) in sources.filter(|(source, _)| !source.leader_reads()) {
        look_at(source.connector.as_ref(), &source.topic, expected, check)?;
    }
    Ok(())
}

fn look_at(
    connector: &dyn Connector,
    input: &str,
    expected: &[PartitionInfo],
    check: &dyn Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let seen = connector.partitions()?;
        let of = |info: &PartitionInfo| seen.iter().find(|seen| seen.partition == info.partition);
        let Some(info) =
            expected.iter().find(|info| of(info).is_none_or(|seen| seen.identity != info.identity))
        else {
            return Ok(());
        };
        let found = of(info).map(|seen| seen.identity.clone());
        if found.is_some() || began.elapsed() >= APPEARS {
            let (input, partition) = (input.to_string(), info.partition);
            let (expected, found) = (info.identity.clone(), found.unwrap_or_else(|| "nothing".to_string()));
            return Err(SourceError::OtherIdentity { input, partition, expected, found }.into());
        }
        check()?;
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::Source;
    use headway_operators::record::{Offset, Partition};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A broker that knows its second partition from the third answer on.
    #[derive(Default)]
    struct Late(AtomicU32);

    fn info(partition: u32, identity: &str) -> PartitionInfo {
        PartitionInfo {
            partition: Partition(partition),
            identity: identity.to_string(),
            first: Offset(0),
            end: Some(Offset(1)),
        }
    }

    impl Connector for Late {
        fn kind(&self) -> &'static str {
            "late"
        }

        fn partitions(&self) -> Result<Vec<PartitionInfo>, SourceError> {
            let asked = self.0.fetch_add(1, Ordering::SeqCst);
            Ok((0..if asked < 2 { 1 } else { 2 }).map(|partition| info(partition, "t")).collect())
        }

        fn open(
            &self,
            _assigned: &[(Partition, Offset)],
            _wake: crate::connect::Wake,
        ) -> Result<Box<dyn Source>, SourceError> {
            unreachable!("nothing is read")
        }
    }

    #[test]
    fn partition_that_is_not_known_yet_is_looked_for_again() {
        let late = Late::default();
        let expected = [info(0, "t"), info(1, "t")];
        look_at(&late, "gate", &expected, &|| Ok(())).expect("it appears");
        assert_eq!(late.0.load(Ordering::SeqCst), 3);
        let other = look_at(&late, "gate", &[info(1, "another")], &|| Ok(()));
        assert_eq!(other.expect_err("it has another identity").code(), "other-identity");
        let absent = |check: &dyn Fn() -> Result<(), Error>| look_at(&late, "gate", &[info(2, "t")], check);
        let lost = || Err(crate::mesh::Error::Stopped.into());
        assert_eq!(absent(&lost).expect_err("another process is lost").code(), "join-stopped");
    }
}
