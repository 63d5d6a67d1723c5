//! The acks of one epoch, by subject.

use crate::engine::commit::error::{CheckpointError, Imbalance};
use crate::engine::format::manifest::Input;
use headway_operators::ack::{Ack, InputIx, PartitionAck, StagedFile, StateFile};
use headway_operators::pace::InputsWatermark;
use headway_operators::record::Partition;
use headway_operators::time::{Epoch, EventTime, Watermark};
use std::collections::{BTreeMap, BTreeSet};

/// The acks of one epoch, by subject.
#[derive(Default)]
pub(super) struct EpochAcks<'a> {
    pub(super) partitions: BTreeMap<(InputIx, Partition), Vec<&'a PartitionAck>>,
    /// Inputs whose records an operator counts.
    pub(super) counted: BTreeSet<InputIx>,
    /// What an operator counted of each partition.
    pub(super) kept: BTreeMap<(InputIx, Partition), Kept>,
    pub(super) marks: BTreeMap<InputIx, InputMark>,
    /// `W_C` of each set of several inputs; `None` if no acks say.
    pub(super) watermarks: Option<Vec<InputsWatermark>>,
    /// Entries that each worker holds of each operator.
    pub(super) held: BTreeMap<(&'a str, u32), u64>,
    pub(super) lake: Vec<&'a StagedFile>,
    pub(super) state: Vec<&'a StateFile>,
    /// When the first source began the epoch.
    pub(super) began_ms: Option<i64>,
}

/// What an operator did with the records of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    pub(super) filtered: u64,
}

/// How far an input has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InputMark {
    pub(super) watermark: Watermark,
    pub(super) ended: bool,
    pub(super) flushed: Option<EventTime>,
}

impl Kept {
    pub(super) fn total(self) -> u64 {
        self.accepted + self.duplicate + self.filtered
    }
}

impl<'a> EpochAcks<'a> {
    pub(super) fn of(acks: &'a [Ack]) -> EpochAcks<'a> {
        let mut all = EpochAcks::default();
        acks.iter().for_each(|ack| all.add(ack));
        all.partitions.values_mut().for_each(|parts| parts.sort_by_key(|part| part.from));
        all.lake.sort_by(|a, b| (&a.output, &a.folder, &a.name).cmp(&(&b.output, &b.folder, &b.name)));
        all.state.sort_by_key(|file| file.worker);
        all
    }

    fn add(&mut self, ack: &'a Ack) {
        match ack {
            Ack::Source { input, began_ms, counts_accepted, partitions } => {
                if !counts_accepted {
                    self.counted.insert(*input);
                }
                for partition in partitions {
                    self.partitions.entry((*input, partition.partition)).or_default().push(partition);
                }
                self.began_ms = Some(self.began_ms.map_or(*began_ms, |known| known.min(*began_ms)));
            }
            Ack::Fates { input, partition, accepted, duplicate, filtered } => {
                let kept = self.kept.entry((*input, *partition)).or_default();
                kept.accepted += accepted;
                kept.duplicate += duplicate;
                kept.filtered += filtered;
            }
            Ack::Watermark { input, watermark, ended, flushed } => {
                let (watermark, ended, flushed) = (*watermark, *ended, *flushed);
                self.marks.insert(*input, InputMark { watermark, ended, flushed });
            }
            Ack::InputsWatermark { inputs, watermark } => {
                let set = InputsWatermark { inputs: inputs.clone(), watermark: *watermark };
                self.watermarks.get_or_insert_default().push(set);
            }
            Ack::Held { operator, worker, entries } => {
                self.held.insert((operator, *worker), *entries);
            }
            // No fate: what an operator leaves out was accepted before.
            Ack::Dropped { .. } => {}
            // No fate either: what a rule refuses is among the dead letters.
            Ack::Broken { .. } => {}
            Ack::Lake(file) => self.lake.push(file),
            Ack::State(file) => self.state.push(file),
        }
    }

    /// Refuses acks of inputs and partitions that are not there, and fates of records that nobody read.
    pub(super) fn all_known(&self, epoch: Epoch, inputs: &[Input]) -> Result<(), CheckpointError> {
        let read = self.partitions.keys().map(|key| (key, 0));
        let kept = self.kept.iter().map(|(key, kept)| (key, kept.total()));
        for ((index, partition), kept) in read.chain(kept) {
            let input = inputs.get(index.index());
            let known = input.is_some_and(|i| i.partitions.iter().any(|p| p.partition == *partition));
            let what = if !known {
                Imbalance::Unknown
            } else if kept > 0 && !self.partitions.contains_key(&(*index, *partition)) {
                Imbalance::Operators { sent: 0, told: kept }
            } else {
                continue;
            };
            let input = input.map_or_else(|| index.to_string(), |input| input.name.clone());
            return Err(CheckpointError::Conservation { epoch, input, partition: *partition, what });
        }
        Ok(())
    }
}
