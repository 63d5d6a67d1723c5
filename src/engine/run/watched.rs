//! The committer of a run, and those around it who have a say before a commit, or hear of it.
//!
//! Before: each source whose records the epoch holds confirms that it is still what the manifests call it. A source
//! that cannot be asked is waited for, as it is while it cannot be read; only a drain does not wait.
//! After: it reports to the sources how far their partitions are committed, then to the caller that started the job.

use crate::connect::Connector;
use crate::engine::cluster::crew::Crew;
use crate::engine::commit::alive;
use crate::engine::commit::checkpoint::{Committed, Committer};
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::failpoint;
use crate::engine::format::board::{Doing, Steps};
use crate::engine::format::changes::{self, Changes};
use crate::engine::format::manifest::Manifest;
use crate::engine::run::board::Board;
use crate::engine::run::committing::Commit;
use crate::engine::run::expect::Judge;
use crate::engine::run::gold::{Gold, ViewOutcome};
use crate::engine::run::journal::Journal;
use crate::engine::run::late_judge::LateJudge;
use crate::engine::run::outcome::Outcome;
use crate::engine::run::ports::HeldBefore;
use crate::engine::run::requests::Requests;
use crate::engine::run::targets::Targets;
use crate::engine::run::views::{OnViews, Resolved};
use crate::mesh;
use headway_operators::ack::Ack;
use headway_operators::record::{Offset, Partition};
use headway_operators::time::Epoch;
use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long to wait before a source is asked again that could not answer.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How often to look whether all workers have restored their state.
const LOOK: Duration = Duration::from_millis(5);

/// Called after each commit, with what it made true and the manifest that says so.
pub type OnCommit = Box<dyn FnMut(&Committed, &Manifest) + Send>;

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The last manifest.
    pub head: Manifest,
    /// What this run did to its records.
    pub outcome: Outcome,
    /// What this run did to its views, in the order they were built.
    pub views: Vec<ViewOutcome>,
}

/// A committer, and who is around it.
pub struct Watched {
    /// What makes epochs true.
    pub committer: Committer,
    /// Where messages come from, in the order of the pipeline's inputs.
    pub sources: Vec<Arc<dyn Connector>>,
    /// The other processes of the job; `None` if this is the only one.
    pub crew: Option<Arc<Crew>>,
    /// What operators held before: nothing is committed before all workers have restored that.
    pub held: Arc<HeldBefore>,
    /// Whether to drain.
    pub control: Control,
    /// Called after each commit.
    pub on_commit: OnCommit,
    /// Called once what earlier runs left is restored, and after each resolved epoch.
    pub on_views: OnViews,
    /// Whether the run ends by itself: then its last manifest says so.
    pub is_bounded: bool,
    /// Stops the job if too many records are late; at a bounded end, if too many of all that were read are late or dead.
    pub late_judge: LateJudge,
    /// Stops the job if a view or a record breaks an expectation that must hold.
    pub judge: Judge,
    /// Where views are delivered to.
    pub targets: Targets,
    /// Where views are written for readers of files.
    pub gold: Gold,
    /// Requests for other processes or workers; `None` where nobody would start them.
    pub requests: Option<Requests>,
    /// What the log says of it.
    pub journal: Journal,
    /// Where the run says what it is doing.
    pub board: Board,
    /// What the run did, once it has ended.
    pub summary: Arc<Mutex<Summary>>,
}

impl Watched {
    /// Waits until every source has confirmed what `acks` say was read from it.
    fn confirm(&mut self, acks: &[Ack]) -> Result<(), Error> {
        for index in 0..self.sources.len() {
            let is_read = |ack: &Ack| match ack {
                Ack::Source { input, partitions, .. } => {
                    input.index() == index && partitions.iter().any(|part| part.consumed > 0)
                }
                Ack::Fates { .. }
                | Ack::Watermark { .. }
                | Ack::InputsWatermark { .. }
                | Ack::Held { .. }
                | Ack::Dropped { .. }
                | Ack::Broken { .. }
                | Ack::Lake(_)
                | Ack::State(_) => false,
            };
            if !acks.iter().any(is_read) {
                continue;
            }
            while let Err(error) = self.sources[index].confirm() {
                if !error.is_transient() || self.control.is_ending() || self.control.is_stopped() {
                    return Err(error.into());
                }
                tracing::debug!(%error, "a commit waits for its source");
                // It is still the run that commits, and alive: its sign says what it waits for.
                self.look_at_ends();
                self.committer.heartbeat()?;
                std::thread::sleep(ASK_AGAIN);
            }
        }
        Ok(())
    }

    /// Waits until the workers of all processes have restored what was held; one of another process may say so late.
    ///
    /// # Errors
    /// If the job was stopped meanwhile.
    fn await_restored(&self) -> Result<(), Error> {
        let Some(crew) = &self.crew else { return Ok(()) };
        while !self.held.is_restored(crew.place().peers()) {
            if self.control.is_stopped() {
                return Err(mesh::Error::Stopped.into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Tells the sources how far they are committed.
    pub fn tell(&self, manifest: &Manifest) {
        for (source, input) in self.sources.iter().zip(&manifest.inputs) {
            let positions: Vec<(Partition, Offset)> =
                input.partitions.iter().map(|part| (part.partition, part.next)).collect();
            source.committed(&positions);
        }
    }

    /// Notes what targets have acknowledged, so that the next manifest says so.
    fn acknowledge(&mut self) {
        for (name, target) in self.targets.acknowledged() {
            self.committer.acknowledge(name, target);
        }
    }

    fn look_at_ends(&mut self) {
        let mut ends: alive::Ends = self.sources.iter().map(|source| source.ends()).collect();
        if let Some(crew) = &self.crew {
            crew.add_ends(&mut ends);
        }
        self.journal.ends(&ends, self.committer.head());
        self.board.ends(&ends);
        self.board.targets(self.targets.lags(self.board.now_ms()));
        if let Some(written) = self.gold.written() {
            self.board.tables(written);
        }
        if let Some(requests) = &mut self.requests {
            requests.look(&self.control);
        }
        if self.control.is_draining() {
            self.board.draining();
        }
        if self.committer.is_sign_due() {
            self.committer.tell(ends, self.board.snapshot());
        }
    }

    /// Records what was committed, and reports it to the caller that started the job.
    fn note(&mut self, committed: &Committed, acks: &[Ack]) {
        let head = self.committer.head();
        self.board.head(Arc::new(head.clone()));
        self.board.dropped(acks);
        self.journal.committed(committed, head, acks);
        (self.on_commit)(committed, head);
    }

    /// Judges what `epoch` changes in the views, if it does, and stages it; its file belongs to the `acks` of the epoch.
    fn stage_changes(&mut self, epoch: Epoch, acks: &mut Vec<Ack>) -> Result<Option<Changes>, Error> {
        let updates = self.gold.views.upcoming(epoch);
        self.committer.changes(self.gold.views.changed_by(&updates));
        let leaving = self.gold.views.leaving();
        if !leaving.is_empty() {
            // What leaves memory is in its files first: nothing else has it then.
            self.gold.look_again(&leaving);
            self.gold.write(&mut self.committer)?;
        }
        // A rule is about the rows that views have.
        let mut all = Cow::Borrowed(&updates);
        if !leaving.is_empty() {
            all.to_mut().extend(leaving);
        }
        if !all.is_empty() {
            self.judge.judge(epoch, &all, &|| self.gold.views.tables())?;
        }
        if updates.is_empty() {
            return Ok(None);
        }
        let versions = changes::versions(self.gold.views.specs());
        let (file, changes) = self.committer.stage_changes(epoch, versions, updates)?;
        acks.push(file);
        Ok(Some(changes))
    }

    /// Puts what a resolved epoch changed in the views into their tables, and gives it to whoever delivers them.
    fn deliver(&mut self, changes: Option<Changes>) {
        let (views, head) = (&self.gold.views, self.committer.head());
        let changes = changes.map(Arc::new);
        self.targets.head(head);
        if let Some(changes) = &changes {
            views.apply(changes);
            self.targets.committed(changes, head);
        }
        views.resolved(head);
        (self.on_views)(&Resolved { head, changes: changes.as_ref(), views });
    }
}

impl Commit for Watched {
    fn restored(&mut self) -> Result<(), Error> {
        self.await_restored()?;
        // It is what was committed: no change.
        let epoch = self.committer.head().epoch;
        self.gold.views.upcoming(epoch);
        if !self.judge.is_idle() {
            self.judge.restore(self.committer.head(), &self.gold.views.tables())?;
            self.committer.expect(self.judge.expectations().entries());
        }
        self.deliver(None);
        self.targets.wake();
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, mut acks: Vec<Ack>) -> Result<(), Error> {
        let clock = Instant::now();
        self.board.doing(Doing::Confirming);
        self.confirm(&acks)?;
        let confirm = clock.elapsed();
        let many_late = self.late_judge.judge(epoch, &acks, &self.committer.head().inputs)?;
        self.journal.many_late(&many_late);
        self.board.doing(Doing::Committing);
        self.judge.records(epoch, &acks)?;
        let changes = self.stage_changes(epoch, &mut acks)?;
        self.committer.expect(self.judge.expectations().entries());
        self.acknowledge();
        let committed = self.committer.commit(epoch, &acks)?;
        self.board.doing(Doing::Nothing);
        let (close, stage) = self.board.epoch_steps(epoch);
        if let Some(mut committed) = committed {
            let target = self.targets.delivered();
            committed.steps = Steps { close, stage, confirm, target, ..committed.steps };
            self.board.committed(epoch, committed.steps);
            self.tell(self.committer.head());
            self.note(&committed, &acks);
        }
        self.deliver(changes);
        self.gold.turn(&mut self.committer)?;
        self.look_at_ends();
        self.committer.sign();
        Ok(())
    }

    fn heartbeat(&mut self) -> Result<(), Error> {
        self.look_at_ends();
        self.committer.heartbeat()?;
        Ok(self.gold.turn(&mut self.committer)?)
    }

    fn finish(&mut self) -> Result<(), Error> {
        failpoint::at("finish.begin");
        let delivered = self.targets.finish();
        self.acknowledge();
        if self.is_bounded {
            self.committer.close()?;
        }
        let (head, outcome) = (self.committer.head().clone(), self.journal.outcome.clone());
        self.gold.write(&mut self.committer)?;
        *self.summary.lock().expect("no thread panics while it holds the summary") =
            Summary { head, outcome, views: self.gold.outcomes() };
        self.journal.end(self.control.is_draining());
        delivered?;
        if self.is_bounded && !self.control.is_draining() {
            self.late_judge.judge_run(&self.journal.outcome, self.committer.head().epoch)?;
        }
        Ok(())
    }
}
