//! Spoils the state of a play, as a bug of the driver would: so that a test sees that the test kit notices.

use crate::state::{Saved, StateChange};
use crate::time::Epoch;

/// Spoils what the driver saves and restores, as a bug of the driver would.
pub(crate) trait Spoiler: Send + Sync {
    /// Changes of state that leave in an epoch.
    fn save(&self, changes: &mut Vec<(Epoch, StateChange)>);

    /// State that comes back: all of it, and what belongs to one worker.
    fn restore(&self, all: &[Saved], mine: &mut Vec<Saved>);
}
