//! What answers are made from: the board, the newest commits, the views.

use crate::engine::Control;
use crate::engine::clock::Clock;
use crate::engine::commit::checkpoint::Committed;
use crate::engine::format::manifest::Manifest;
use crate::engine::run::board::Board;
use crate::engine::run::views::Resolved;
use crate::serve::feed::{Feed, Limits};
use crate::serve::openmetrics::Commits;
use crate::serve::recent::Recent;
use crate::serve::streams::Streams;
use headway_operators::spec::ViewSpec;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a server knows of a run.
pub struct Live {
    pub(crate) board: Board,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) groups: Vec<Option<String>>,
    pub(crate) token: Option<String>,
    pub(crate) member: Option<Member>,
    pub(crate) commits: Commits,
    /// The commits of the last minutes.
    recent: Mutex<Recent>,
    /// The views.
    pub(crate) feed: Feed,
    /// The streams of events that are open.
    pub(crate) streams: Streams,
}

/// A process that does not lead.
#[derive(Clone)]
pub struct Member {
    /// Its number.
    pub process: u32,
    /// How many there are.
    pub processes: usize,
    /// The handle of its run: the board of this process does not say that it drains.
    pub control: Control,
}

/// What is known of a run before it begins.
pub struct About {
    /// Where the run says what it is doing.
    pub board: Board,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The group for which it commits the offsets of each input, if there is one.
    pub groups: Vec<Option<String>>,
    /// What requests must send, if they must.
    pub token: Option<String>,
    /// Its views, by number.
    pub views: Vec<ViewSpec>,
    /// Which process this is, if it does not lead: process 0 answers for the job.
    pub member: Option<Member>,
}

impl Live {
    /// What is told of a run that has not begun.
    pub fn new(about: About, limits: Limits) -> Live {
        let About { board, clock, groups, token, views, member } = about;
        let (commits, recent, streams) = (Commits::default(), Mutex::default(), Streams::default());
        Live { board, clock, groups, token, member, commits, recent, feed: Feed::new(views, limits), streams }
    }

    /// Notes a commit.
    pub fn committed(&self, committed: &Committed, head: &Manifest) {
        self.commits.observe(&committed.steps);
        self.recent().note(committed, head);
    }

    /// Readers change nothing: nothing is half written where one of them panics, and the job goes on.
    pub(crate) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a commit made of the views.
    pub fn resolved(&self, resolved: &Resolved<'_>) {
        self.feed.commit(resolved.head, resolved.changes, || resolved.views.open());
    }
}
