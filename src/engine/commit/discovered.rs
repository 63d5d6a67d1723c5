//! The partitions that appeared while a job runs, as workers and manifests learn of them.

use crate::connect::PartitionInfo;
use headway_operators::record::Partition;
use std::sync::{Arc, Mutex};

/// What was found, as one worker reads it. Each clone reads all of it once.
#[derive(Clone, Debug, Default)]
pub struct Discovered {
    found: Arc<Mutex<Vec<PartitionInfo>>>,
    taken: usize,
}

impl Discovered {
    /// What was found since the last call, of the partitions that are `mine`.
    pub fn take(&mut self, mine: impl Fn(Partition) -> bool) -> Vec<PartitionInfo> {
        let found = self.found.lock().expect("no thread panicked with this lock held");
        let new = &found[self.taken..];
        self.taken = found.len();
        new.iter().filter(|info| mine(info.partition)).cloned().collect()
    }

    /// Adds a partition for every worker to see.
    pub fn announce(&self, info: PartitionInfo) {
        self.found.lock().expect("no thread panicked with this lock held").push(info);
    }

    /// All that was found so far, for the manifest.
    pub fn all(&self) -> Vec<PartitionInfo> {
        self.found.lock().expect("no thread panicked with this lock held").clone()
    }
}
