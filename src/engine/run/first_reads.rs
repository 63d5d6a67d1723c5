//! The first record that was read of each epoch that is not committed yet, of one partition: the lag in time counts from it.
//!
//! Commits end where epochs end, so the first record that is not committed is the first one of an epoch, or one that waits until
//! its partition has joined.

use crate::connect::FirstRead;
use headway_operators::record::{Partition, Raw};
use headway_operators::time::Epoch;
use std::collections::VecDeque;
use timely::dataflow::ProbeHandle;

/// The first records of one partition, oldest first. Records without a timestamp are left out.
#[derive(Debug, Default)]
pub(super) struct FirstReads {
    // Invariant: at most one for each epoch that the gate of the feed lets in.
    epochs: VecDeque<(Epoch, FirstRead)>,
    /// The newest epoch that a record was read of.
    newest: Option<Epoch>,
    /// The first record that waits until the partition has joined.
    waiting: Option<FirstRead>,
    changed: bool,
}

fn first(raw: &Raw<'_>) -> Option<FirstRead> {
    Some(FirstRead { offset: raw.offset, time_ms: raw.timestamp_ms? })
}

impl FirstReads {
    /// Notes that `raw` is a record of `epoch`.
    pub(super) fn read(&mut self, epoch: Epoch, raw: &Raw<'_>) {
        if self.newest.is_some_and(|newest| newest >= epoch) {
            return;
        }
        self.newest = Some(epoch);
        if let Some(first) = first(raw) {
            self.epochs.push_back((epoch, first));
            self.changed = true;
        }
    }

    /// Notes that `raw` waits until the partition has joined.
    pub(super) fn wait(&mut self, raw: &Raw<'_>) {
        if self.waiting.is_none() {
            self.waiting = first(raw);
            self.changed = true;
        }
    }

    /// Notes that the partition has joined: what waited is read now.
    pub(super) fn join(&mut self) {
        self.changed |= self.waiting.take().is_some();
    }

    /// Forgets epochs that `resolved` has passed, and gives what is left to `take` if that has changed.
    pub(super) fn tell(
        &mut self,
        partition: Partition,
        resolved: &ProbeHandle<Epoch>,
        take: &mut dyn FnMut(Partition, Vec<FirstRead>),
    ) {
        self.resolve(|epoch| !resolved.less_equal(&epoch));
        if let Some(firsts) = self.changed() {
            take(partition, firsts);
        }
    }

    /// Forgets epochs that are resolved.
    fn resolve(&mut self, is_resolved: impl Fn(Epoch) -> bool) {
        while self.epochs.front().is_some_and(|(epoch, _)| is_resolved(*epoch)) {
            self.epochs.pop_front();
            self.changed = true;
        }
    }

    /// All of them, if they have changed since the last call.
    fn changed(&mut self) -> Option<Vec<FirstRead>> {
        let all = || self.epochs.iter().map(|(_, first)| *first).chain(self.waiting).collect();
        std::mem::take(&mut self.changed).then(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::record::{Offset, Payload};

    fn raw(offset: i64, time_ms: Option<i64>) -> Raw<'static> {
        let raw = Raw::of(Partition(0), Offset(offset), Payload::Bytes(b"x"));
        Raw { timestamp_ms: time_ms, ..raw }
    }

    fn offsets(firsts: &mut FirstReads) -> Option<Vec<i64>> {
        Some(firsts.changed()?.iter().map(|first| first.offset.0).collect())
    }

    #[test]
    fn first_record_of_each_epoch_is_there_until_its_epoch_is_resolved() {
        let mut firsts = FirstReads::default();
        for (epoch, offset) in [(1, 5), (1, 6), (2, 7), (4, 9), (4, 10)] {
            firsts.read(Epoch(epoch), &raw(offset, Some(1_000 * offset)));
        }
        assert_eq!(offsets(&mut firsts), Some(vec![5, 7, 9]));
        assert_eq!(offsets(&mut firsts), None, "nothing has changed");
        firsts.resolve(|epoch| epoch <= Epoch(2));
        assert_eq!(firsts.changed(), Some(vec![FirstRead { offset: Offset(9), time_ms: 9_000 }]));
        firsts.wait(&raw(11, Some(1)));
        firsts.wait(&raw(12, Some(1)));
        assert_eq!(offsets(&mut firsts), Some(vec![9, 11]));
        firsts.join();
        firsts.read(Epoch(5), &raw(11, Some(1)));
        firsts.resolve(|epoch| epoch <= Epoch(4));
        assert_eq!(offsets(&mut firsts), Some(vec![11]));
        firsts.read(Epoch(6), &raw(13, None));
        firsts.read(Epoch(6), &raw(14, Some(1)));
        assert_eq!(offsets(&mut firsts), None, "it is not the first record that has a time");
    }
}
