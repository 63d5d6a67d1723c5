//! What a play leaves behind, as a lake would have it: by epoch, so that a kill can forget what was not committed.

use crate::ack::{Ack, InputIx};
use crate::kit::script::lines::Source;
use crate::pace::{InputsWatermark, join_floor};
use crate::record::{Offset, Partition};
use crate::sections::read_back;
use crate::state::{Saved, StateChange};
use crate::time::{Epoch, EventTime};
use crate::view::row::ViewRow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A row of an output, as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextRow {
    /// The output's name.
    pub output: String,
    /// The epoch it left in.
    pub epoch: Epoch,
    /// Its cells; an empty string where there is no value.
    pub cells: Vec<String>,
}

/// A message that was refused: dead or late.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Where it came from.
    pub source: Source,
    /// Its position.
    pub offset: Offset,
    /// Why it is dead; `None` for a late record.
    pub reason: Option<String>,
    /// Its payload, where that is text.
    pub payload: String,
}

/// How many messages had which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Read.
    pub consumed: u64,
    /// Accepted.
    pub accepted: u64,
    /// Repeats of accepted ones.
    pub duplicate: u64,
    /// Too late.
    pub late: u64,
    /// Refused as dead letters.
    pub dead: u64,
    /// Left out by the decoder, or by the operator that counts.
    pub filtered: u64,
}

/// A change of a view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewChange {
    /// The epoch it belongs to.
    pub epoch: Epoch,
    /// The view's name.
    pub view: &'static str,
    /// The row.
    pub row: ViewRow,
    /// How many copies came, or went.
    pub diff: i64,
}

/// What the views hold: by name, each row with how many copies there are.
pub type Content = BTreeMap<&'static str, BTreeMap<ViewRow, i64>>;

/// What views hold after `changes`.
pub(super) fn content<'a>(changes: impl Iterator<Item = &'a ViewChange>) -> Content {
    let mut content = Content::new();
    for ViewChange { view, row, diff, .. } in changes {
        *content.entry(view).or_default().entry(row.clone()).or_default() += diff;
    }
    for rows in content.values_mut() {
        rows.retain(|_, copies| *copies != 0);
    }
    content.retain(|_, rows| !rows.is_empty());
    content
}

/// Everything that runs of a play have said so far.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) rows: Vec<TextRow>,
    pub(super) refused: Vec<(Epoch, Refusal)>,
    pub(super) views: Vec<ViewChange>,
    /// What the newest run has given of views at the epoch that it starts from.
    pub(super) restored_views: Vec<ViewChange>,
    pub(super) state: Vec<(Epoch, StateChange)>,
    pub(super) acks: Vec<(Epoch, Ack)>,
    /// What each operator held once its state was back, on all workers.
    pub(super) restored: BTreeMap<String, u64>,
}

/// Shared between the workers of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedKept(Arc<Mutex<Kept>>);

/// Where a run starts.
#[derive(Clone, Debug)]
pub(super) struct StartsAt {
    pub(super) epoch: Epoch,
    pub(super) watermarks: BTreeMap<InputIx, EventTime>,
    pub(super) sets: Vec<InputsWatermark>,
    pub(super) partitions: BTreeMap<Source, Stand>,
    pub(super) saved: BTreeMap<String, Vec<Saved>>,
}

/// Where a partition stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub(super) next: Offset,
    pub(super) own: EventTime,
    pub(super) floor: EventTime,
}

impl Default for Stand {
    fn default() -> Self {
        Stand { next: Offset(0), own: EventTime::MIN, floor: EventTime::MIN }
    }
}

impl Default for StartsAt {
    /// The first line of a play is epoch 1.
    fn default() -> Self {
        let (watermarks, sets, partitions, saved) = Default::default();
        StartsAt { epoch: Epoch(1), watermarks, sets, partitions, saved }
    }
}

impl SharedKept {
    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no thread panicked with this lock held")
    }
}

impl Kept {
    /// Forgets what came after `last`, as a kill after its commit would, and says where the next run starts.
    pub(super) fn forget_after(&mut self, last: Epoch) -> StartsAt {
        self.rows.retain(|row| row.epoch <= last);
        self.refused.retain(|(epoch, _)| *epoch <= last);
        self.views.retain(|change| change.epoch <= last);
        self.restored_views.clear();
        self.state.retain(|(epoch, _)| *epoch <= last);
        self.acks.retain(|(epoch, _)| *epoch <= last);
        self.restored.clear();
        let mut start = StartsAt { epoch: last + 1, ..StartsAt::default() };
        self.acks.sort_by_key(|(epoch, _)| *epoch);
        let mut at = 0;
        while at < self.acks.len() {
            let epoch = self.acks[at].0;
            let to = self.acks[at..].iter().position(|(e, _)| *e > epoch).map_or(self.acks.len(), |n| at + n);
            start.apply(&self.acks[at..to]);
            at = to;
        }
        start.saved = read_back(&self.state);
        start
    }

    /// What each operator held after the last epoch, on all workers together. Every worker says it of every epoch.
    pub(super) fn held(&self) -> BTreeMap<String, u64> {
        let mut newest: BTreeMap<&str, (Epoch, u64)> = BTreeMap::new();
        for (epoch, ack) in &self.acks {
            let Ack::Held { operator, entries, .. } = ack else { continue };
            let (known, held) = newest.entry(operator).or_default();
            if *epoch > *known {
                (*known, *held) = (*epoch, 0);
            }
            *held += if *epoch == *known { *entries } else { 0 };
        }
        newest.into_iter().map(|(operator, (_, held))| (operator.to_string(), held)).collect()
    }

    pub(super) fn fates(&self) -> Fates {
        let mut fates = Fates::default();
        for (_, ack) in &self.acks {
            match ack {
                Ack::Source { counts_accepted, partitions, .. } => {
                    for part in partitions {
                        fates.accepted += if *counts_accepted { part.sent } else { 0 };
                        fates.consumed += part.consumed;
                        fates.late += part.late;
                        fates.filtered += part.filtered;
                        fates.dead += part.dead.iter().map(|(_, count)| count).sum::<u64>();
                    }
                }
                Ack::Fates { accepted, duplicate, filtered, .. } => {
                    fates.accepted += accepted;
                    fates.duplicate += duplicate;
                    fates.filtered += filtered;
                }
                _ => {}
            }
        }
        fates
    }

    /// How many records operators have left out, by operator and reason.
    pub(super) fn dropped(&self) -> BTreeMap<(String, String), u64> {
        let mut all = BTreeMap::new();
        for (_, ack) in &self.acks {
            if let Ack::Dropped { operator, reason, records } = ack {
                *all.entry((operator.clone(), reason.name().to_string())).or_default() += records;
            }
        }
        all
    }
}

impl StartsAt {
    /// Goes on by the acks of one epoch.
    fn apply(&mut self, acks: &[(Epoch, Ack)]) {
        let mut joining: Vec<Source> = Vec::new();
        for (_, ack) in acks {
            let Ack::Source { input, partitions, .. } = ack else { continue };
            for part in partitions {
                let source = Source { input: *input, partition: part.partition };
                let stand = self.partitions.entry(source).or_default();
                (stand.next, stand.own) = (part.next, part.own);
                stand.floor = stand.floor.max(part.floor);
                joining.extend(part.joining.then_some(source));
            }
        }
        for (_, ack) in acks {
            match ack {
                Ack::Watermark { input, watermark, flushed, .. } => {
                    self.watermarks.insert(*input, *watermark);
                    let floor = flushed.unwrap_or(EventTime::MIN);
                    for (_, stand) in self.partitions.iter_mut().filter(|(source, _)| source.input == *input)
                    {
                        stand.floor = stand.floor.max(floor);
                    }
                }
                Ack::InputsWatermark { inputs, watermark } => {
                    self.sets.retain(|set| set.inputs != *inputs);
                    self.sets.push(InputsWatermark { inputs: inputs.clone(), watermark: *watermark });
                }
                _ => {}
            }
        }
        for source in joining {
            let watermark = self.watermarks.get(&source.input).copied().unwrap_or(EventTime::MIN);
            let floor = join_floor(source.input, watermark, &self.sets);
            let stand = self.partitions.entry(source).or_default();
            stand.floor = stand.floor.max(floor);
        }
    }
}

/// The partitions of `input`.
pub(super) fn of_input(
    partitions: &BTreeMap<Source, Stand>,
    input: InputIx,
) -> impl Iterator<Item = (Partition, Stand)> {
    partitions
        .iter()
        .filter(move |(source, _)| source.input == input)
        .map(|(source, stand)| (source.partition, *stand))
}
