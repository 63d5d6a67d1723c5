//! The commit protocol: starts or resumes a job, and makes epochs true, one manifest at a time.
//!
//! ```text
//! begin    read the chain ─► does the job fit? ─► publish the head again ─► claim: create n+1 ─► counts? ─► sweep
//! commit   acks of e ─► plan ─► create n+1 ─► counts? ─► publish ─► is head? collect, fold
//! ```
//!
//! **The create is the commit point.** Before it nothing happened; after it everything did, and what is left to do
//! (publish) is repeated by the next run until it is done.
//!
//! 1. State and lake files are durable before their acks arrive, so a manifest never names what can be lost.
//! 2. `n` is published, durably, before `n+1` is written: only the head can be half published.
//! 3. A create has four outcomes; what is not known is read back by its nonce ([`decide::written`]).
//! 4. A run starts by taking a number itself, so the run before finds it there and stops: nothing but that create
//!    decides who is fenced ([`decide::counts`]); no lease and no clock does.
//!
//! Every decision is a function in [`decide`], [`crate::engine::commit::ledger`] or [`crate::engine::commit::job`].

use crate::engine::clock::Clock;
use crate::engine::commit::decide::{self, Base, Link, Written};
use crate::engine::commit::discovered::Discovered;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::finished;
use crate::engine::commit::history::History;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::commit::job::{IfRunning, Job, fits};
use crate::engine::commit::ledger::{Ledger, Rules, Stamp};
use crate::engine::commit::loose;
use crate::engine::commit::recover::{self, Chain};
use crate::engine::commit::site::{Site, run};
use crate::engine::commit::state_files::{Headers, StateFiles};
use crate::engine::commit::{alive, change_files, claim, publish, restore, segment, takeover};
use crate::engine::failpoint;
use crate::engine::format::board::{Snapshot, Steps};
use crate::engine::format::changes::{Changes, ViewVersion};
use crate::engine::format::manifest::{Expectation, Kind, Manifest, ManifestId, PartitionEntry, Target};
use crate::engine::format::names::{self, Generation, Seq};
use crate::store::{Error as StoreError, Store};
use headway_operators::ack::{Ack, InputIx};
use headway_operators::record::Partition;
use headway_operators::time::Epoch;
use headway_operators::view::row::ViewUpdate;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often a create whose outcome is not known is tried again.
const CREATES_MAX: u32 = 8;

/// How often a start may lose a number to a run that is still committing.
const CLAIMS_MAX: u32 = 100;

/// After how many manifests the leavings of earlier runs are looked for again.
const SWEEP_EVERY: u64 = 256;

/// What a run starts from.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The claim of this run: positions, marks, watermarks, state files.
    pub manifest: Manifest,
    /// What sections those files have.
    pub headers: Headers,
    /// True if the job never committed an epoch.
    pub fresh: bool,
    /// The first epoch of this run.
    pub first_epoch: Epoch,
    /// How long ago the last epoch was committed, in milliseconds; `None` if none was.
    pub age_ms: Option<i64>,
}

/// What a start has read before it takes the job over, so that it need not be read again.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The chain of manifests.
    pub chain: Option<Chain>,
    /// Headers of the state files that its head names.
    pub headers: Headers,
}

/// What a commit made true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The manifest.
    pub seq: Seq,
    /// The epoch.
    pub epoch: Epoch,
    /// Rows of all lake files, without dead letters and late records.
    pub rows: u64,
    /// Lake files.
    pub files: usize,
    /// How long it took.
    pub steps: Steps,
}

/// Makes the epochs of one run true.
pub struct Committer {
    site: Site,
    job: Job,
    ledger: Ledger,
    base: Option<Base>,
    discovered: Vec<Discovered>,
    alive: alive::Sign,
    /// What is unique to the next manifest, where its change file says so already.
    stamp: Option<Stamp>,
}

/// The chain of manifests of `job` in `store`. Changes nothing.
///
/// # Errors
/// If the manifests cannot be read, or are damaged.
pub fn look(store: &Arc<dyn Store>, clock: &Arc<dyn Clock>, job: &str) -> Result<Chain, CheckpointError> {
    let site = Site::new(Arc::clone(store), Arc::clone(clock));
    run(recover::chain(&site, job))
}

/// Refuses what [`begin`] would refuse of a job that goes on from `chain`. Changes nothing.
///
/// # Errors
/// As [`begin`].
pub fn inspect(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    job: &Job,
    chain: &Chain,
) -> Result<(), CheckpointError> {
    let (site, head) = (Site::new(Arc::clone(store), Arc::clone(clock)), chain.head());
    run(async {
        chain.is_sound()?;
        claim::check_names(job)?;
        alive::admit(&site, &job.name, job.if_running).await?;
        if let Some(head) = head {
            fits(job, head)?;
        }
        claim::check_prefixes(&site, job).await?;
        claim::is_last(&site, job, head).await?;
        Ok(())
    })
}

/// Starts or resumes `job`: fences the run before, publishes what it had committed, and claims the next number.
///
/// # Errors
/// If the job does not fit the lake, is not to be taken over, or the lake is damaged. Then nothing was claimed.
pub fn begin(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    job: Job,
    found: Found,
) -> Result<(Committer, Resume), CheckpointError> {
    run(async {
        let (mut committer, resume) = begin_on(Site::new(store, clock), job, found).await?;
        // From now on a cautious start sees it, not only once it has committed.
        committer.alive.give(&committer.site).await;
        Ok((committer, resume))
    })
}

pub(crate) async fn begin_on(
    site: Site,
    job: Job,
    found: Found,
) -> Result<(Committer, Resume), CheckpointError> {
    claim::check_names(&job)?;
    alive::admit(&site, &job.name, job.if_running).await?;
    let failed = alive::read(&site, &job.name).await?.and_then(|sign| sign.failed());
    let Found { chain: mut known, headers } = found;
    for _ in 0..CLAIMS_MAX {
        let chain = recover::newest(&site, &job.name, known.take()).await?;
        chain.is_sound()?;
        if let Some(head) = chain.head() {
            fits(&job, head)?;
        }
        failpoint::at("begin.read");
        claim::claim_prefixes(&site, &job).await?;
        failpoint::at("begin.prefixes");
        let published = finish(&site, chain.head()).await?;
        if !published || !claim::is_last(&site, &job, chain.head()).await? {
            if job.if_running != IfRunning::TakeOver {
                return Err(overtaken(&job));
            }
            continue;
        }
        let stamp = Stamp { nonce: site.nonce(), written_ms: site.now_ms() };
        let mut manifest = takeover::claim(&job, chain.head(), stamp);
        if let (Some(code), true) = (&failed, chain.head().is_some()) {
            *manifest.restarts.entry(code.clone()).or_default() += 1;
        }
        finished::note(&site, chain.head(), &mut manifest).await?;
        match create(&site, &manifest).await {
            Ok(()) => {
                failpoint::at("begin.claimed");
                let changes = match manifest.changes {
                    Some(_) => change_files::found(&site, &job.name, manifest.changes_from).await?,
                    None => Vec::new(),
                };
                // What has changed since the headers were read; only this run takes files away now.
                let headers = match restore::headers(&site, &manifest, &headers).await {
                    Ok(headers) => headers,
                    Err(error) => {
                        // A run that took over in this moment takes away what it does not need.
                        publish::still_head(&site, &manifest).await?;
                        return Err(error);
                    }
                };
                struck_off(chain.head(), &manifest);
                return Ok(started(site, job, chain, Claimed { manifest, headers, changes }));
            }
            // Another run starts just now, or the one before gave no sign of life.
            Err(CheckpointError::Fenced { .. }) if job.if_running != IfRunning::TakeOver => {
                return Err(overtaken(&job));
            }
            // The run before was faster: look again.
            Err(CheckpointError::Fenced { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(CheckpointError::Running {
        job: job.name,
        who: "It commits faster than it can be taken over.".into(),
    })
}

/// Publishes what the run before had committed; false if a run has gone on since its head was read.
async fn finish(site: &Site, head: Option<&Manifest>) -> Result<bool, CheckpointError> {
    let Some(head) = head else { return Ok(true) };
    match publish::finish(site, head).await {
        Err(CheckpointError::Fenced { .. }) => return Ok(false),
        result => result?,
    }
    failpoint::at("begin.published");
    Ok(true)
}

/// The refusal of a cautious start that met another run, which had given no sign of life before.
fn overtaken(job: &Job) -> CheckpointError {
    let who = "Another run has started, or has committed, in this very moment.".to_string();
    CheckpointError::Running { job: job.name.clone(), who }
}

/// Says which targets of the run before this one does not have.
fn struck_off(before: Option<&Manifest>, claim: &Manifest) {
    let before = before.iter().flat_map(|before| &before.targets);
    for (target, acknowledged) in before.filter(|(name, _)| !claim.targets.contains_key(*name)) {
        let seq = acknowledged.acknowledged;
        tracing::info!(event = "target struck off", %target, acknowledged = %seq, "it is not among the targets of this run");
    }
}

/// What a run has claimed, the headers of the state files in it, and the change files there are.
struct Claimed {
    manifest: Manifest,
    headers: Headers,
    changes: Vec<change_files::Entry>,
}

fn started(site: Site, job: Job, chain: Chain, claimed: Claimed) -> (Committer, Resume) {
    let Claimed { manifest, headers, changes } = claimed;
    let all = chain.folded.iter().chain(&chain.loose).chain(std::iter::once(&manifest));
    let history = History::of(all);
    let rules = Rules {
        dead_max: job.dead_max,
        outputs: job.outputs.clone(),
        operators: job.operators.clone(),
        workers: job.members.total(),
        keeping: job.keeping,
        views: job.views.clone(),
        keeps: job.kept_version(),
        seals: job.seals.clone(),
    };
    let state = StateFiles::of(&headers, &manifest.dropped);
    let mut ledger = Ledger::new(rules, manifest.clone(), history, state);
    ledger.found(changes);
    for (index, input) in (0..).zip(&job.inputs) {
        input
            .partitions
            .iter()
            .for_each(|part| ledger.announce(InputIx(index), part.partition, &part.identity));
    }
    let last = chain.folded.iter().chain(&chain.loose).rfind(|manifest| manifest.kind == Kind::Commit);
    let age_ms = last.map(|last| manifest.written_ms.saturating_sub(last.written_ms));
    let fresh = manifest.epoch == Epoch(0);
    let resume = Resume { fresh, first_epoch: manifest.epoch + 1, age_ms, manifest, headers };
    let alive = alive::Sign::new(&job.name, resume.manifest.generation, resume.manifest.nonce);
    let (discovered, stamp) = (Vec::new(), None);
    (Committer { site, job, ledger, base: chain.base, discovered, alive, stamp }, resume)
}

/// Writes `manifest` and sees whether it counts.
///
/// # Errors
/// [`CheckpointError::Fenced`] if another run has the number or has gone on; then it does not count.
pub(crate) async fn create(site: &Site, manifest: &Manifest) -> Result<(), CheckpointError> {
    let (job, seq, generation) = (manifest.job.clone(), manifest.seq, manifest.generation);
    // A manifest that no start can read would be the end of the lake.
    manifest.check().map_err(|what| Inconsistency::Unreadable { seq, what })?;
    let (name, bytes) = (names::manifest(&job, seq), manifest.encode());
    let fenced = || CheckpointError::Fenced { job: job.clone(), generation, seq };
    // 1. Write it, until it is known what happened.
    let mut pause = Duration::from_millis(2);
    let mut tries = 1;
    loop {
        let doubt = match site.create(&name, &bytes).await {
            Ok(crate::store::Created::Yes) => break,
            Ok(crate::store::Created::Exists) => None,
            Err(error @ (StoreError::Unknown { .. } | StoreError::Failed { .. })) => Some(error),
            Err(error) => return Err(error.into()),
        };
        let found = loose::manifest(site, &job, seq).await?.map(|found| found.nonce);
        match decide::written(manifest.nonce, found) {
            Written::Mine => {
                // It is there; the store did not confirm that its name is durable.
                site.sync_folder(names::parent(&name)).await?;
                break;
            }
            Written::Other => return Err(fenced()),
            Written::Absent => match doubt {
                // There, and gone again: folded by another run.
                None => return Err(fenced()),
                Some(error) if tries == CREATES_MAX => return Err(error.into()),
                Some(_) => site.pause(pause).await,
            },
        }
        (tries, pause) = (tries + 1, pause * 2);
    }
    failpoint::at("commit.created");
    // 2. It counts only on the manifest that this run holds, and as the highest.
    let parent = match seq.0.checked_sub(1) {
        None => None,
        Some(before) => loose::manifest(site, &job, Seq(before)).await?.map(|parent| parent.nonce),
    };
    let highest = loose::highest(site, &job).await?;
    let link = Link::of(manifest);
    if decide::counts(link, parent, highest) {
        Ok(())
    } else if decide::is_lost(link, parent, highest) {
        Err(publish::lost(site, manifest))
    } else {
        Err(fenced())
    }
}

impl Committer {
    /// Where partitions that appear during the run are announced, one for each input.
    pub fn watch(&mut self, discovered: Vec<Discovered>) {
        self.discovered = discovered;
    }

    /// The last manifest.
    pub fn head(&self) -> &Manifest {
        self.ledger.head()
    }

    /// Time by the clock of the run; never goes back.
    pub fn elapsed(&self) -> Duration {
        self.site.elapsed()
    }

    /// The number of this run.
    pub fn generation(&self) -> Generation {
        self.head().generation
    }

    /// Stages what `epoch` changes in `views`, and gives the ack of its file, which belongs to those of the epoch.
    ///
    /// # Errors
    /// If the file could not be written.
    pub fn stage_changes(
        &mut self,
        epoch: Epoch,
        views: Vec<ViewVersion>,
        updates: Vec<ViewUpdate>,
    ) -> Result<(Ack, Changes), CheckpointError> {
        let (head, stamp) = (self.ledger.head(), self.new_stamp());
        let id = ManifestId { seq: head.seq.next(), nonce: stamp.nonce };
        let changes = Changes { id, after: head.changes, epoch, updates };
        let file =
            self.site.stage(|store| change_files::stage(store, head, stamp.written_ms, views, &changes))?;
        self.stamp = Some(stamp);
        Ok((Ack::Lake(file), changes))
    }

    /// The change files that are kept, oldest first.
    pub fn change_files(&self) -> Vec<change_files::Entry> {
        self.ledger.change_files().to_vec()
    }

    /// Notes what target `name` has acknowledged; the next manifest says so.
    pub fn acknowledge(&mut self, name: &str, target: Target) {
        self.ledger.acknowledge(name, target);
    }

    /// Notes which views, and tables of day files, the epoch that is committed next changes; its manifest says so.
    pub fn changes(&mut self, views: BTreeSet<&'static str>) {
        self.ledger.changes(views);
    }

    /// Notes what expectations have found; the next manifest says so.
    pub fn expect(&mut self, found: BTreeMap<String, Expectation>) {
        self.ledger.expect(found);
    }

    fn new_stamp(&self) -> Stamp {
        Stamp { nonce: self.site.nonce(), written_ms: self.site.now_ms() }
    }

    /// Commits `epoch`; `None` if nothing happened in it and nothing was written. Blocks until it is resolved.
    ///
    /// # Errors
    /// If it was not committed, or cannot be told, or not published. This run must stop; the next finds out.
    pub fn commit(&mut self, epoch: Epoch, acks: &[Ack]) -> Result<Option<Committed>, CheckpointError> {
        run(self.commit_on(epoch, acks))
    }

    pub(crate) async fn commit_on(
        &mut self,
        epoch: Epoch,
        acks: &[Ack],
    ) -> Result<Option<Committed>, CheckpointError> {
        for (index, discovered) in (0..).map(InputIx).zip(&self.discovered) {
            for part in discovered.all() {
                self.ledger.announce(index, part.partition, &part.identity);
            }
        }
        let began = self.site.elapsed();
        // 1. What follows from the acks.
        let stamp = self.stamp.take().unwrap_or_else(|| self.new_stamp());
        let Some(manifest) = self.ledger.plan(epoch, acks, stamp)? else {
            self.ledger.resolved(acks, None);
            return Ok(None);
        };
        failpoint::at("commit.planned");
        // 2. The commit point. That it counts was seen after it was there: this run is the head when it publishes.
        create(&self.site, &manifest).await?;
        failpoint::at("commit.counted");
        let mut dropped = decide::dropped_state(self.ledger.head(), &manifest);
        dropped.extend(self.ledger.gone(&manifest));
        let (rows, files) = (manifest.rows(), manifest.lake.len());
        self.ledger.resolved(acks, Some(manifest));
        let written = self.site.elapsed();
        // 3. Make it visible.
        publish::publish(&self.site, self.ledger.head()).await?;
        let published = self.site.elapsed();
        // 4. Take away what nothing needs.
        self.clean(&dropped).await?;
        let steps = Steps {
            manifest: written.saturating_sub(began),
            publish: published.saturating_sub(written),
            clean: self.site.elapsed().saturating_sub(published),
            ..Steps::default()
        };
        Ok(Some(Committed { seq: self.head().seq, epoch, rows, files, steps }))
    }

    /// Deletes garbage and folds old manifests. A file that cannot be deleted does not stop the job.
    async fn clean(&mut self, dropped: &BTreeSet<String>) -> Result<(), CheckpointError> {
        let head = self.ledger.head();
        publish::still_head(&self.site, head).await?;
        let sweeps = head.seq.0.is_multiple_of(SWEEP_EVERY);
        let folds = decide::fold(self.base, head.seq, self.job.folding).is_some();
        if sweeps || folds {
            publish::is_highest(&self.site, head).await?;
        }
        let result = async {
            publish::collect(&self.site, head, dropped).await?;
            if sweeps {
                publish::sweep(&self.site, head, decide::first_loose(self.base)).await?;
            }
            segment::fold(&self.site, &head.job, self.base, head.seq, self.job.folding).await
        };
        match result.await {
            Ok(base) => self.base = base,
            Err(CheckpointError::Store(error)) if !matches!(error, StoreError::Sync { .. }) => {
                tracing::warn!(%error, "could not remove all garbage; it is tried again later");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Ends a bounded run by a manifest that adds nothing, so that the files of the one before it may be moved away.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub fn close(&mut self) -> Result<(), CheckpointError> {
        run(self.close_on())
    }

    pub(crate) async fn close_on(&mut self) -> Result<(), CheckpointError> {
        if self.head().lake.is_empty() {
            return Ok(());
        }
        let manifest = self.ledger.closed(self.new_stamp());
        create(&self.site, &manifest).await?;
        self.ledger.resolved(&[], Some(manifest));
        Ok(())
    }

    /// Removes what earlier runs left, and folds their manifests: runs that die before they commit fold none. Called once,
    /// after [`begin`]; a job may already read meanwhile.
    ///
    /// # Errors
    /// If this run was fenced.
    pub fn sweep(&mut self) -> Result<(), CheckpointError> {
        run(self.sweep_on())
    }

    pub(crate) async fn sweep_on(&mut self) -> Result<(), CheckpointError> {
        match self.tidy().await {
            Err(CheckpointError::Store(error)) if !matches!(error, StoreError::Sync { .. }) => {
                tracing::warn!(%error, "could not remove all that earlier runs left; it is tried again later");
                Ok(())
            }
            result => result,
        }
    }

    async fn tidy(&mut self) -> Result<(), CheckpointError> {
        let head = self.ledger.head();
        publish::is_highest(&self.site, head).await?;
        publish::sweep(&self.site, head, decide::first_loose(self.base)).await?;
        loop {
            publish::is_highest(&self.site, head).await?;
            let base = segment::fold(&self.site, &head.job, self.base, head.seq, self.job.folding).await?;
            if base == self.base {
                return Ok(());
            }
            self.base = base;
        }
    }

    /// Looks whether this run is still the one, and gives a sign of life. For about once a second.
    ///
    /// # Errors
    /// [`CheckpointError::Fenced`] if it is not.
    pub fn heartbeat(&mut self) -> Result<(), CheckpointError> {
        run(self.heartbeat_on())
    }

    pub(crate) async fn heartbeat_on(&mut self) -> Result<(), CheckpointError> {
        let head = self.ledger.head();
        publish::still_head(&self.site, head).await?;
        self.alive.give(&self.site).await;
        Ok(())
    }

    /// True if a sign of life is due, and should be told what is going on.
    pub fn is_sign_due(&self) -> bool {
        self.alive.is_due(&self.site)
    }

    /// Notes what the next sign of life is to say: where the sources end, and what the run is doing.
    pub fn tell(&mut self, ends: alive::Ends, board: Snapshot) {
        (self.alive.ends, self.alive.board) = (ends, Some(board));
    }

    /// Writes the sign of life, if it is due. Called while commits follow each other so closely that no heartbeat comes between.
    pub fn sign(&mut self) {
        run(self.alive.give(&self.site));
    }

    /// Where partition `partition` of `input` stands after the last commit.
    pub fn partition(&self, input: InputIx, partition: Partition) -> Option<&PartitionEntry> {
        let input = self.head().inputs.get(input.index())?;
        input.partitions.iter().find(|entry| entry.partition == partition)
    }
}
