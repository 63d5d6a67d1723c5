//! The open connections: a limited number; when it is reached, the oldest idle connection is closed for a new one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// One connection, as those who answer on it know it.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Requests that are being answered.
    busy: AtomicU32,
    /// A stream of events runs on it: it lasts.
    is_streaming: AtomicBool,
    task: OnceLock<AbortHandle>,
}

/// Counts as a request until it is dropped.
pub(crate) struct Busy(Arc<Connection>);

impl Connection {
    /// Notes the task that serves it.
    pub(crate) fn runs_in(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Notes that a request begins.
    pub(crate) fn begin(self: &Arc<Connection>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Notes that it carries a stream from now on, or no more.
    pub(crate) fn streams(&self, is_streaming: bool) {
        self.is_streaming.store(is_streaming, Ordering::Relaxed);
    }

    /// True while it carries a stream.
    pub(crate) fn is_streaming(&self) -> bool {
        self.is_streaming.load(Ordering::Relaxed)
    }

    /// Closes it, whatever the client does.
    pub(crate) fn close(&self) {
        self.task.get().into_iter().for_each(AbortHandle::abort);
    }

    fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0 && !self.is_streaming()
    }

    fn is_over(&self) -> bool {
        self.task.get().is_some_and(AbortHandle::is_finished)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections.
pub(crate) struct Connections {
    room: Arc<Semaphore>,
    /// Oldest first; those that are over stay in it until it is `longest`.
    open: VecDeque<Arc<Connection>>,
    longest: usize,
}

impl Connections {
    /// Room for `max`.
    pub(crate) fn new(max: usize) -> Connections {
        Connections { room: Arc::new(Semaphore::new(max)), open: VecDeque::new(), longest: 2 * max }
    }

    /// Waits for room. Where there is none, the oldest connection that asks nothing is closed.
    pub(crate) async fn room(&mut self) -> OwnedSemaphorePermit {
        // Invariant: the semaphore is never closed.
        let room = Arc::clone(&self.room);
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            return permit;
        }
        self.open.retain(|connection| !connection.is_over());
        if let Some(at) = self.open.iter().position(|connection| connection.is_idle()) {
            self.open.remove(at).into_iter().for_each(|connection| connection.close());
        }
        room.acquire_owned().await.expect("it is open")
    }

    /// Notes a new one.
    pub(crate) fn add(&mut self, connection: Arc<Connection>) {
        if self.open.len() >= self.longest {
            self.open.retain(|connection| !connection.is_over());
        }
        self.open.push_back(connection);
    }
}
