//! How many streams of events are open.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many there may be: connections are left for everyone else.
pub(crate) const STREAMS_MAX: usize = 256;

/// The open streams.
pub(crate) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Streams {
        Streams(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

impl Streams {
    /// Room for one more, until what it gives is dropped; `None` if there is none.
    pub(crate) fn open(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }

    /// Returns when none is open.
    pub(crate) async fn all_ended(&self) {
        let all = u32::try_from(STREAMS_MAX).expect("it is small");
        // Invariant: the semaphore is never closed.
        drop(self.0.acquire_many(all).await);
    }
}
