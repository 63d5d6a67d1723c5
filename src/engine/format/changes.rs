//! What one commit changed in the views of a job: what everyone who delivers views is given.
//!
//! Changes form a chain of their own: each names the manifest of the changes before it. Whoever stands at `after` may apply
//! them, and stands at `id` then; whoever stands elsewhere has missed some, or comes from another history.

use crate::engine::format::manifest::ManifestId;
use headway_operators::time::Epoch;
use headway_operators::view::row::ViewUpdate;

/// What one commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The manifest that made them true.
    pub id: ManifestId,
    /// The manifest that made the changes before them true; `None` if there were none.
    pub after: Option<ManifestId>,
    /// The epoch that was committed.
    pub epoch: Epoch,
    /// One update for each row that came or went, by view, in the order of rows. A row that changed goes and comes.
    pub updates: Vec<ViewUpdate>,
}

impl Changes {
    /// The updates of view `view`, by its number.
    pub fn of_view(&self, view: u16) -> &[ViewUpdate] {
        let first = self.updates.partition_point(|update| update.view < view);
        let last = self.updates.partition_point(|update| update.view <= view);
        &self.updates[first..last]
    }
}
