//! What a committer remembers between two epochs, and how the next manifest follows from it. No I/O.
//!
//! 1. The acks of an epoch are added up, and checked: offsets tile, every record has exactly one fate.
//! 2. Where nothing happened there is no manifest; the ledger only notes how far each partition was read.
//! 3. Else the next manifest is the last one plus the epoch: positions, marks, floors, fates, state, lake files.
//!
//! Invariant: [`Ledger::plan`] changes nothing. What it planned counts only after [`Ledger::resolved`].

use crate::engine::commit::error::{CheckpointError, Imbalance};
use crate::engine::commit::history::History;
use crate::engine::format::manifest::{
    Fates, Fed, Input, Kind, LakeFile, Manifest, Nonce, PartitionEntry, StateEntry,
};
use headway_operators::ack::{Ack, InputIx, PartitionAck, StagedFile, StateFile};
use headway_operators::pace::{InputsWatermark, join_floor};
use headway_operators::record::{Offset, Partition, Refused};
use headway_operators::spec::OutputSpec;
use headway_operators::time::{Epoch, EventTime, Watermark};
use std::collections::{BTreeMap, BTreeSet};

/// How many records an epoch must have before its share of dead letters can stop a job.
const DEAD_SAMPLE_MIN: u64 = 1_000;

/// Fixed facts of a run.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The share of dead letters, 0 to 1, above which the job stops.
    pub dead_max: f64,
    /// The pipeline's outputs, side outputs included.
    pub outputs: Vec<OutputSpec>,
    /// Workers of this run.
    pub workers: u32,
}

/// What a committer remembers between two epochs.
#[derive(Clone, Debug)]
pub struct Ledger {
    rules: Rules,
    /// The last manifest.
    head: Manifest,
    /// Offsets at the end of past epochs.
    history: History,
    /// How far each partition was read in resolved epochs: at least as far as the last manifest says.
    read: BTreeMap<(InputIx, Partition), Offset>,
    /// Identities of partitions that are not in a manifest yet.
    announced: BTreeMap<(InputIx, Partition), String>,
    /// Entries that each worker holds of each operator, as last told.
    held: BTreeMap<(String, u32), u64>,
}

/// The acks of one epoch, by subject.
#[derive(Default)]
struct Told<'a> {
    partitions: BTreeMap<(InputIx, Partition), Vec<&'a PartitionAck>>,
    /// Inputs whose records an operator counts.
    counted: BTreeSet<InputIx>,
    kept: BTreeMap<(InputIx, Partition), [u64; 3]>,
    watermarks: BTreeMap<InputIx, (Watermark, bool, Option<EventTime>)>,
    /// `W_C` of each set of several inputs; `None` if no acks say.
    combined: Option<Vec<InputsWatermark>>,
    held: BTreeMap<(&'a str, u32), u64>,
    lake: Vec<&'a StagedFile>,
    state: Vec<&'a StateFile>,
}

impl<'a> Told<'a> {
    fn of(acks: &'a [Ack]) -> Told<'a> {
        let mut told = Told::default();
        for ack in acks {
            match ack {
                Ack::Source { input, counts_accepted, partitions } => {
                    if !counts_accepted {
                        told.counted.insert(*input);
                    }
                    for partition in partitions {
                        told.partitions.entry((*input, partition.partition)).or_default().push(partition);
                    }
                }
                Ack::Fates { input, partition, accepted, duplicate, filtered } => {
                    let kept = told.kept.entry((*input, *partition)).or_default();
                    *kept = [kept[0] + accepted, kept[1] + duplicate, kept[2] + filtered];
                }
                Ack::Watermark { input, watermark, ended, flushed } => {
                    told.watermarks.insert(*input, (*watermark, *ended, *flushed));
                }
                Ack::InputsWatermark { inputs, watermark } => {
                    let set = InputsWatermark { inputs: inputs.clone(), watermark: *watermark };
                    told.combined.get_or_insert_default().push(set);
                }
                Ack::Held { operator, worker, entries } => {
                    told.held.insert((operator, *worker), *entries);
                }
                Ack::Lake(file) => told.lake.push(file),
                Ack::State(file) => told.state.push(file),
            }
        }
        told.partitions.values_mut().for_each(|parts| parts.sort_by_key(|part| part.from));
        told.lake.sort_by(|a, b| (&a.output, a.part, &a.staged).cmp(&(&b.output, b.part, &b.staged)));
        told.state.sort_by(|a, b| {
            (&a.operator, a.worker, !a.base, &a.path).cmp(&(&b.operator, b.worker, !b.base, &b.path))
        });
        told
    }
}

impl Told<'_> {
    /// Refuses acks of inputs and partitions that are not there, and fates of records that nobody read.
    fn all_known(&self, epoch: Epoch, inputs: &[Input]) -> Result<(), CheckpointError> {
        let told = self.partitions.keys().map(|key| (key, 0));
        let kept = self.kept.iter().map(|(key, kept)| (key, kept.iter().sum()));
        for ((index, partition), kept) in told.chain(kept) {
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

impl Ledger {
    /// A ledger whose last manifest is `head`.
    pub fn new(rules: Rules, head: Manifest, history: History) -> Ledger {
        let (read, announced, held) = Default::default();
        Ledger { rules, head, history, read, announced, held }
    }

    /// The last manifest.
    pub fn head(&self) -> &Manifest {
        &self.head
    }

    /// Makes a partition known before its first ack.
    pub fn announce(&mut self, input: InputIx, partition: Partition, identity: &str) {
        self.announced.entry((input, partition)).or_insert_with(|| identity.to_string());
    }

    /// The manifest that commits `epoch`; `None` if nothing happened in it. `name` gives lake files their final name.
    ///
    /// # Errors
    /// If records do not add up, or too many of them are dead letters. The epoch must not be committed then.
    pub fn plan(
        &self,
        epoch: Epoch,
        acks: &[Ack],
        (nonce, written_ms): (Nonce, i64),
        name: impl Fn(&OutputSpec, &StagedFile) -> String,
    ) -> Result<Option<Manifest>, CheckpointError> {
        assert!(epoch > self.head.epoch, "epoch {epoch} was committed before");
        let told = Told::of(acks);
        let watermarks = self.watermarks(&told);
        let mut inputs = Vec::with_capacity(self.head.inputs.len());
        for (index, input) in (0..).zip(&self.head.inputs) {
            inputs.push(self.input(epoch, (InputIx(index), input), &told, &watermarks)?);
        }
        told.all_known(epoch, &inputs)?;
        let quiet = inputs.iter().zip(&self.head.inputs).all(|(new, old)| is_quiet(new, old));
        if quiet && told.lake.is_empty() && told.state.is_empty() {
            return Ok(None);
        }
        let lake = self.lake(epoch, &inputs, &told, name)?;
        let state = self.state(epoch, &told);
        let mut written = self.head.written.clone();
        for file in &lake {
            *written.entry(file.output.clone()).or_default() += file.rows;
        }
        let held = self.held(&told);
        Ok(Some(Manifest {
            program: env!("CARGO_PKG_VERSION").to_string(),
            seq: self.head.seq.next(),
            nonce,
            parent: Some(self.head.nonce),
            kind: Kind::Epoch,
            epoch,
            workers: self.rules.workers,
            written_ms,
            allowed: Vec::new(),
            inputs,
            watermarks,
            written,
            held,
            state,
            lake,
            ..self.head.clone()
        }))
    }

    /// Notes that `manifest`, as planned from `acks`, is committed; or that the epoch was empty.
    pub fn resolved(&mut self, acks: &[Ack], manifest: Option<Manifest>) {
        let told = Told::of(acks);
        for (key, parts) in &told.partitions {
            self.read.extend(parts.last().map(|part| (*key, part.next)));
        }
        for ((operator, worker), entries) in told.held {
            self.held.insert((operator.to_string(), worker), entries);
        }
        if let Some(manifest) = manifest {
            self.history.push(&manifest);
            self.head = manifest;
        }
    }

    /// `W_C` of each set of several inputs, as of the epoch.
    fn watermarks(&self, told: &Told<'_>) -> Vec<InputsWatermark> {
        let Some(combined) = &told.combined else { return self.head.watermarks.clone() };
        for old in &self.head.watermarks {
            let falls = combined.iter().any(|new| new.inputs == old.inputs && new.watermark < old.watermark);
            assert!(!falls, "the watermark of inputs {:?} went back", old.inputs);
        }
        combined.clone()
    }

    /// Input `index` after `epoch`.
    fn input(
        &self,
        epoch: Epoch,
        (index, input): (InputIx, &Input),
        told: &Told<'_>,
        sets: &[InputsWatermark],
    ) -> Result<Input, CheckpointError> {
        let (watermark, ended, flushed) =
            told.watermarks.get(&index).copied().unwrap_or((input.watermark, input.ended, None));
        assert!(watermark >= input.watermark, "the watermark of \"{}\" went back", input.name);
        let mut partitions: BTreeMap<Partition, PartitionEntry> =
            input.partitions.iter().map(|part| (part.partition, carried(part))).collect();
        let acked = told.partitions.range((index, Partition(0))..=(index, Partition(u32::MAX)));
        for ((_, number), parts) in acked.clone() {
            let unknown = |found| CheckpointError::Conservation {
                epoch,
                input: input.name.clone(),
                partition: *number,
                what: found,
            };
            if !partitions.contains_key(number) {
                let identity =
                    self.announced.get(&(index, *number)).ok_or_else(|| unknown(Imbalance::Unknown))?;
                partitions.insert(*number, new_partition(*number, identity, parts[0].from));
            }
            let entry = partitions.get_mut(number).expect("inserted above where it was absent");
            let read = self.read.get(&(index, *number)).copied().unwrap_or(entry.next);
            let kept = told.kept.get(&(index, *number)).copied();
            let kept = kept.or(told.counted.contains(&index).then_some([0; 3]));
            add_epoch(entry, parts, (read, kept)).map_err(unknown)?;
        }
        let acks: Vec<&PartitionAck> = acked.flat_map(|(_, parts)| parts.iter().copied()).collect();
        self.check_dead(epoch, &input.name, &acks)?;
        // A flush closes windows: whatever comes later must not be stamped below them.
        let join_floor = join_floor(index, watermark, sets);
        for entry in partitions.values_mut() {
            let joined = if entry.joining { join_floor } else { EventTime::MIN };
            raise_floor(entry, flushed.unwrap_or(EventTime::MIN).max(joined), entry.next);
        }
        let partitions = partitions.into_values().collect();
        Ok(Input { watermark, ended, partitions, ..input.clone() })
    }

    /// Stops the job where most of an input cannot be decoded.
    fn check_dead(&self, epoch: Epoch, input: &str, acks: &[&PartitionAck]) -> Result<(), CheckpointError> {
        let consumed: u64 = acks.iter().map(|ack| ack.consumed).sum();
        let mut reasons = BTreeMap::new();
        for (reason, count) in acks.iter().flat_map(|ack| &ack.dead) {
            *reasons.entry(reason).or_insert(0_u64) += count;
        }
        let dead: u64 = reasons.values().sum();
        // Counts of one epoch are far below 2^53: the quotient is good enough for a limit.
        if consumed < DEAD_SAMPLE_MIN || dead as f64 <= self.rules.dead_max * consumed as f64 {
            return Ok(());
        }
        let top = reasons.iter().max_by_key(|(_, count)| **count);
        let reason = (*top.expect("there are dead letters, so there is a reason").0).clone();
        let samples: Vec<&Refused> = acks.iter().filter_map(|ack| ack.sample.as_ref()).collect();
        let sample = samples.iter().find(|s| s.reason.as_ref() == Some(&reason)).or(samples.first());
        let sample = sample.map(|sample| Box::new((*sample).clone()));
        Err(CheckpointError::TooManyDead { epoch, input: input.to_string(), dead, consumed, reason, sample })
    }

    /// The lake files of `epoch`, with their final names and the offsets that fed them.
    fn lake(
        &self,
        epoch: Epoch,
        inputs: &[Input],
        told: &Told<'_>,
        name: impl Fn(&OutputSpec, &StagedFile) -> String,
    ) -> Result<Vec<LakeFile>, CheckpointError> {
        let mut files = Vec::with_capacity(told.lake.len());
        let mut taken = BTreeSet::new();
        for file in &told.lake {
            let Some(spec) = self.rules.outputs.iter().find(|spec| spec.name == file.output) else {
                let what = format!(
                    "epoch {epoch} has a file of output \"{}\", which the job does not have",
                    file.output
                );
                return Err(CheckpointError::Inconsistent { what });
            };
            let path = name(spec, file);
            if !taken.insert(path.clone()) {
                let what = format!("epoch {epoch} has two files called \"{path}\"");
                return Err(CheckpointError::Inconsistent { what });
            }
            files.push(LakeFile {
                output: file.output.clone(),
                path,
                staged: file.staged.clone(),
                rows: file.rows,
                bytes: file.bytes,
                checksum: file.checksum.clone(),
                event_time: file.event_time,
                since: file.since,
                fed: self.fed(file.since, inputs),
            });
        }
        Ok(files)
    }

    /// The offsets read since the start of epoch `since`.
    fn fed(&self, since: Epoch, inputs: &[Input]) -> Vec<Fed> {
        let before = self.history.before(since);
        let mut fed = Vec::new();
        for (input, entry) in (0..).map(InputIx).zip(inputs) {
            for part in &entry.partitions {
                let (partition, next) = (part.partition, part.next);
                let from = before.and_then(|before| before.get(&(input, partition))).copied();
                let from = from.unwrap_or(part.first);
                if from < next {
                    fed.push(Fed { input, partition, from, next });
                }
            }
        }
        fed
    }

    /// What each operator holds on all workers; as before, where not all of this run have told yet.
    fn held(&self, told: &Told<'_>) -> BTreeMap<String, u64> {
        let mut held = self.head.held.clone();
        let operators: BTreeSet<&str> = told.held.keys().map(|(operator, _)| *operator).collect();
        for operator in operators {
            let of = |worker| self.entries(told, (operator, worker));
            if let Some(entries) = (0..self.rules.workers).map(of).sum::<Option<u64>>() {
                held.insert(operator.to_string(), entries);
            }
        }
        held
    }

    /// What a worker holds of an operator, as last told in this run.
    fn entries(&self, told: &Told<'_>, (operator, worker): (&str, u32)) -> Option<u64> {
        let now = told.held.get(&(operator, worker));
        now.or_else(|| self.held.get(&(operator.to_string(), worker))).copied()
    }

    /// The state files as of `epoch`, in the order they are read back.
    fn state(&self, epoch: Epoch, told: &Told<'_>) -> Vec<StateEntry> {
        let generation = self.head.generation;
        let new = told.state.iter().map(|file| StateEntry { generation, epoch, file: (*file).clone() });
        let all: Vec<StateEntry> = self.head.state.iter().cloned().chain(new).collect();
        let is_empty = |operator: &str, worker| self.entries(told, (operator, worker)) == Some(0);
        crate::engine::commit::decide::live_state(all, (generation, self.rules.workers), is_empty)
    }
}

/// `part` in a manifest that adds nothing to it.
fn carried(part: &PartitionEntry) -> PartitionEntry {
    PartitionEntry { from: part.next, fates: Fates::default(), ..part.clone() }
}

fn new_partition(partition: Partition, identity: &str, first: Offset) -> PartitionEntry {
    PartitionEntry {
        partition,
        identity: identity.to_string(),
        first,
        from: first,
        next: first,
        last_read: None,
        own: EventTime::MIN,
        floor: EventTime::MIN,
        floor_from: first,
        idle: false,
        joining: false,
        ended: false,
        fates: Fates::default(),
        total: Fates::default(),
    }
}

/// Adds what one epoch did to a partition that was `read` so far; `kept` is what an operator counted,
/// if one counts in place of the source.
fn add_epoch(
    entry: &mut PartitionEntry,
    parts: &[&PartitionAck],
    (mut read, kept): (Offset, Option<[u64; 3]>),
) -> Result<(), Imbalance> {
    let mut sent = 0;
    for part in parts {
        let dead: u64 = part.dead.iter().map(|(_, count)| count).sum();
        let told = part.sent + part.late + part.filtered + dead;
        if part.from != read || part.next < part.from {
            return Err(Imbalance::Offsets { expected: read, found: part.from });
        }
        if part.consumed != told {
            return Err(Imbalance::Source { consumed: part.consumed, told });
        }
        read = part.next;
        sent += part.sent;
        entry.fates.consumed += part.consumed;
        entry.fates.late += part.late;
        entry.fates.filtered += part.filtered;
        for (reason, count) in &part.dead {
            *entry.fates.dead.entry(reason.clone()).or_default() += count;
        }
        (entry.next, entry.own) = (part.next, part.own);
        entry.last_read = part.last_read.or(entry.last_read);
        (entry.idle, entry.joining, entry.ended) = (part.idle, part.joining, part.ended);
        raise_floor(entry, part.floor, part.from);
    }
    let [accepted, duplicate, filtered] = kept.unwrap_or([sent, 0, 0]);
    let told = accepted + duplicate + filtered;
    if sent != told {
        return Err(Imbalance::Operators { sent, told });
    }
    (entry.fates.accepted, entry.fates.duplicate) = (accepted, duplicate);
    entry.fates.filtered += filtered;
    let fates = entry.fates.clone();
    entry.total.add(&fates);
    Ok(())
}

fn raise_floor(entry: &mut PartitionEntry, floor: EventTime, from: Offset) {
    if floor > entry.floor {
        (entry.floor, entry.floor_from) = (floor, from);
    }
}

/// True if nothing happened to an input that a manifest must say.
fn is_quiet(new: &Input, old: &Input) -> bool {
    let same = |(new, old): (&PartitionEntry, &PartitionEntry)| {
        let flags = |part: &PartitionEntry| (part.idle, part.joining, part.ended, part.floor);
        new.partition == old.partition && new.fates.consumed == 0 && flags(new) == flags(old)
    };
    new.ended == old.ended
        && new.partitions.len() == old.partitions.len()
        && new.partitions.iter().zip(&old.partitions).all(same)
}
