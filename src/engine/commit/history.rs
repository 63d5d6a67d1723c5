//! How far every partition was read at the end of past epochs: says which offsets fed a file.

use crate::engine::format::manifest::Manifest;
use headway_operators::ack::InputIx;
use headway_operators::record::{Offset, Partition};
use headway_operators::time::Epoch;
use std::collections::BTreeMap;

/// The next offset of each partition.
pub type Offsets = BTreeMap<(InputIx, Partition), Offset>;

/// Bound on the epochs that are remembered.
const EPOCHS_MAX: usize = 2_048;

/// Offsets at the end of past epochs, oldest first. Remembers old ones ever more coarsely.
#[derive(Clone, Debug, Default)]
pub struct History {
    epochs: Vec<(Epoch, Offsets)>,
}

impl History {
    /// The history that `manifests`, oldest first, tell.
    pub fn of<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> History {
        let mut history = History::default();
        manifests.into_iter().for_each(|manifest| history.push(manifest));
        history
    }

    /// Notes the offsets of a manifest that follows those before it.
    pub fn push(&mut self, manifest: &Manifest) {
        let inputs = (0..).map(InputIx).zip(&manifest.inputs);
        let offsets = inputs.flat_map(|(input, entry)| {
            entry.partitions.iter().map(move |part| ((input, part.partition), part.next))
        });
        self.epochs.push((manifest.epoch, offsets.collect()));
        if self.epochs.len() > EPOCHS_MAX {
            // Every second one of the older half goes: the answers for them stay true, and become wider.
            let mut at = 0;
            self.epochs.retain(|_| {
                at += 1;
                at > EPOCHS_MAX / 2 || at % 2 == 1
            });
        }
    }

    /// Offsets at the end of an epoch before `since`, the last one that is remembered; `None` if none is.
    pub fn before(&self, since: Epoch) -> Option<&Offsets> {
        let at = self.epochs.partition_point(|(epoch, _)| *epoch < since);
        at.checked_sub(1).map(|at| &self.epochs[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::first;

    #[test]
    fn answer_is_never_narrower_than_the_truth_and_memory_is_bounded() {
        let mut history = History::default();
        for epoch in 1..=20_000 {
            let mut manifest = first(1);
            manifest.epoch = Epoch(epoch);
            manifest.inputs[0].partitions[0].next = Offset(i64::try_from(epoch).unwrap() * 10);
            history.push(&manifest);
        }
        assert!(history.epochs.len() <= EPOCHS_MAX);
        assert!(history.before(Epoch(1)).is_none());
        for since in [2, 3, 17, 4_000, 19_000, 20_000, 20_001] {
            let from = history
                .before(Epoch(since))
                .map_or(Offset(0), |offsets| offsets[&(InputIx(0), Partition(0))]);
            assert!(from <= Offset(i64::try_from(since - 1).unwrap() * 10), "epoch {since}: {from}");
        }
        assert_eq!(
            history.before(Epoch(20_001)).unwrap()[&(InputIx(0), Partition(0))],
            Offset(200_000),
            "recent epochs are exact"
        );
    }
}
