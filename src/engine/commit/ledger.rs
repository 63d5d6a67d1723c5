//! What a committer remembers between two epochs, and how the next manifest follows from it. No I/O.
//!
//! 1. The acks of an epoch are added up, and checked: offsets tile, every record has exactly one fate.
//! 2. Where nothing happened there is no manifest; the ledger only notes how far each partition was read.
//! 3. Else the next manifest is the last one plus the epoch: positions, marks, floors, fates, state, lake files.
//!
//! Invariant: [`Ledger::plan`] changes nothing. What it planned counts only after [`Ledger::resolved`].

use crate::engine::commit::change_files::{Entry, Keeping, keep};
use crate::engine::commit::epoch_acks::{EpochAcks, InputMark, Kept};
use crate::engine::commit::error::{CheckpointError, Imbalance};
use crate::engine::commit::history::History;
use crate::engine::commit::inconsistency::Inconsistency;
use crate::engine::commit::state_files::StateFiles;
use crate::engine::format::manifest::{
    Expectation, FORMAT, Fed, Input, Kind, LakeFile, LakeKind, Manifest, ManifestId, Nonce, Operator,
    PartitionEntry, StateEntry, Target, TimeRange, Unjudged, View,
};
use crate::engine::format::names;
use headway_operators::ack::{Ack, InputIx, PartitionAck, StateFile};
use headway_operators::pace::{InputsWatermark, join_floor};
use headway_operators::record::{Offset, Partition, Refused};
use headway_operators::shape::Seals;
use headway_operators::spec::{OperatorSpec, OutputSpec, ViewSpec};
use headway_operators::state::Sections;
use headway_operators::time::{Epoch, EventTime};
use std::collections::{BTreeMap, BTreeSet};

/// How many records must have been read before the share of dead letters among them is judged.
const DEAD_SAMPLE_MIN: u64 = 1_000;

/// Fixed facts of a run.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The share of dead letters, 0 to 1, above which the job stops.
    pub dead_max: f64,
    /// The pipeline's outputs, side outputs included.
    pub outputs: Vec<OutputSpec>,
    /// The operators with state.
    pub operators: Vec<OperatorSpec>,
    /// Workers of this run.
    pub workers: u32,
    /// How long change files are kept.
    pub keeping: Keeping,
    /// The views, and the tables of day files.
    pub views: Vec<ViewSpec>,
    /// The version of what the views keep.
    pub keeps: u32,
    /// When days are sealed; `None`: never.
    pub seals: Option<Seals>,
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
    /// Entries that each worker holds of each operator, by its last ack.
    held: BTreeMap<(String, u32), u64>,
    /// The state files of the last manifest.
    state: StateFiles,
    /// The change files that are kept, oldest first.
    change_files: Vec<Entry>,
    /// What targets have acknowledged by now.
    targets: BTreeMap<String, Target>,
    /// What expectations have found by now.
    expectations: BTreeMap<String, Expectation>,
    /// The views that the next epoch changes.
    changed: BTreeSet<&'static str>,
}

/// What is unique to the next manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its nonce.
    pub nonce: Nonce,
    /// When it is built, by the committer's clock.
    pub written_ms: i64,
}

impl Ledger {
    /// A ledger whose last manifest is `head`, with its state files.
    pub fn new(rules: Rules, head: Manifest, history: History, state: StateFiles) -> Ledger {
        let (read, announced, held, change_files, changed) = Default::default();
        let (targets, expectations) = (head.targets.clone(), head.expectations.clone());
        Ledger {
            rules,
            head,
            history,
            read,
            announced,
            held,
            state,
            change_files,
            targets,
            expectations,
            changed,
        }
    }

    /// Notes the change files that there are, oldest first.
    pub fn found(&mut self, change_files: Vec<Entry>) {
        self.change_files = change_files;
    }

    /// The change files that are kept, oldest first.
    pub fn change_files(&self) -> &[Entry] {
        &self.change_files
    }

    /// Notes what target `name` has acknowledged. What it has acknowledged once it has.
    pub fn acknowledge(&mut self, name: &str, target: Target) {
        let before = self.targets.get(name).copied().unwrap_or(target);
        let is_newer = target.acknowledged > before.acknowledged;
        let rebuild = target.rebuild || (before.rebuild && !is_newer);
        let acknowledged = target.acknowledged.max(before.acknowledged);
        self.targets.insert(name.to_string(), Target { acknowledged, rebuild });
    }

    /// Notes what expectations have found; the next manifest says so.
    pub fn expect(&mut self, found: BTreeMap<String, Expectation>) {
        self.expectations = found;
    }

    /// Notes which views, and tables of day files, the next epoch changes; its manifest says so.
    pub fn changes(&mut self, views: BTreeSet<&'static str>) {
        self.changed = views;
    }

    /// The change files that `manifest` does not keep any more.
    pub fn gone(&self, manifest: &Manifest) -> Vec<String> {
        let folder = names::changes_folder(&manifest.job);
        let from = manifest.changes_from.unwrap_or_default();
        let gone = self.change_files.iter().take_while(|file| file.seq < from);
        gone.map(|file| format!("{folder}{}", names::change_file(file.seq, file.written_ms))).collect()
    }

    /// The last manifest.
    pub fn head(&self) -> &Manifest {
        &self.head
    }

    /// Makes a partition known before its first ack.
    pub fn announce(&mut self, input: InputIx, partition: Partition, identity: &str) {
        self.announced.entry((input, partition)).or_insert_with(|| identity.to_string());
    }

    /// The manifest that commits `epoch`; `None` if nothing happened in it.
    ///
    /// # Errors
    /// If records do not add up, or too many of them are dead letters. The epoch must not be committed then.
    pub fn plan(
        &self,
        epoch: Epoch,
        acks: &[Ack],
        stamp: Stamp,
    ) -> Result<Option<Manifest>, CheckpointError> {
        assert!(epoch > self.head.epoch, "epoch {epoch} was committed before");
        let acks = EpochAcks::of(acks);
        let watermarks = self.watermarks(&acks);
        let mut inputs = Vec::with_capacity(self.head.inputs.len());
        for index in (0..).map(InputIx).take(self.head.inputs.len()) {
            inputs.push(self.input(epoch, index, &acks, &watermarks)?);
        }
        acks.all_known(epoch, &inputs)?;
        let quiet = inputs.iter().zip(&self.head.inputs).all(|(new, old)| is_quiet(new, old));
        let sealed_up_to = self.sealed_up_to(&inputs, &watermarks);
        let seals_more = sealed_up_to != self.head.sealed_up_to;
        if quiet && !seals_more && acks.lake.is_empty() && acks.state.is_empty() {
            return Ok(None);
        }
        let lake = self.lake(epoch, &inputs, &acks)?;
        let kept = keep(&self.change_files, stamp.written_ms, &self.targets, self.rules.keeping);
        let id = ManifestId { seq: self.head.seq.next(), nonce: stamp.nonce };
        let changes = lake.iter().any(|file| file.kind == LakeKind::Changes).then_some(id);
        let targets = self.targets.iter().map(|(name, target)| {
            let rebuild = target.rebuild || kept.behind.contains(name);
            (name.clone(), Target { rebuild, ..*target })
        });
        let targets = targets.collect();
        let mut written = self.head.written.clone();
        for file in lake.iter().filter(|file| file.adds_rows()) {
            let rows = written.entry(file.output.clone()).or_default();
            *rows = rows.saturating_add(file.rows);
        }
        Ok(Some(Manifest {
            format: FORMAT,
            seq: self.head.seq.next(),
            nonce: stamp.nonce,
            parent: Some(self.head.nonce),
            kind: Kind::Commit,
            epoch,
            began_ms: acks.began_ms,
            written_ms: stamp.written_ms,
            allowed: Vec::new(),
            inputs,
            watermarks,
            sealed_up_to,
            operators: self.operators(&acks),
            written,
            state: self.state.named(&self.head.state, &self.new_state(epoch, &acks)),
            lake,
            views: self.views(),
            changes: changes.or(self.head.changes),
            changes_from: kept.from.or(self.head.changes_from),
            targets,
            expectations: self.expectations.clone(),
            released: Vec::new(),
            retired_before: None,
            ..self.head.clone()
        }))
    }

    /// The manifest by which a bounded run ends: the last one, and nothing more.
    pub fn closed(&self, stamp: Stamp) -> Manifest {
        let (targets, expectations) = (self.targets.clone(), self.expectations.clone());
        Manifest { targets, expectations, ..closed(&self.head, stamp) }
    }

    /// Notes that `manifest`, as planned from `acks`, is committed; or that the epoch was empty.
    pub fn resolved(&mut self, acks: &[Ack], manifest: Option<Manifest>) {
        let acks = EpochAcks::of(acks);
        self.changed.clear();
        for (key, parts) in &acks.partitions {
            self.read.extend(parts.last().map(|part| (*key, part.next)));
        }
        for ((operator, worker), entries) in &acks.held {
            self.held.insert((operator.to_string(), *worker), *entries);
        }
        if let Some(manifest) = manifest {
            for (entry, sections) in self.new_state(manifest.epoch, &acks) {
                self.state.add(entry.id(), sections);
            }
            self.history.push(&manifest);
            for (name, target) in &manifest.targets {
                self.acknowledge(name, *target);
            }
            if let Some(from) = manifest.changes_from {
                self.change_files.retain(|file| file.seq >= from);
            }
            let new = manifest.lake.iter().filter(|file| file.kind == LakeKind::Changes);
            let (seq, written_ms) = (manifest.seq, manifest.written_ms);
            self.change_files.extend(new.map(|file| Entry { seq, written_ms, bytes: file.bytes }));
            self.head = manifest;
        }
    }

    /// The instant before which days are sealed once `inputs` and `sets` of them have got so far. Operators of views do the same
    /// with the same watermark.
    fn sealed_up_to(&self, inputs: &[Input], sets: &[InputsWatermark]) -> Option<EventTime> {
        let Some(Seals { inputs: of, sealing }) = &self.rules.seals else { return self.head.sealed_up_to };
        let watermark = match of.as_slice() {
            [one] => inputs.get(one.index()).map(|input| input.watermark),
            several => sets.iter().find(|set| set.inputs == several).map(|set| set.watermark),
        };
        watermark.and_then(|watermark| sealing.up_to(watermark)).max(self.head.sealed_up_to)
    }

    /// Every view as the next manifest names it.
    fn views(&self) -> BTreeMap<String, View> {
        let seq = self.head.seq.next();
        let view = |spec: &ViewSpec| {
            let known = self.head.views.get(spec.name).copied();
            let changed = if self.changed.contains(spec.name) { Some(seq) } else { known?.changed };
            let (keeps, from_epoch) = (self.rules.keeps, known.and_then(|known| known.from_epoch));
            Some((spec.name.to_string(), View { keeps, shows: spec.version, changed, from_epoch }))
        };
        self.rules.views.iter().filter_map(view).collect()
    }

    /// `W_C` of each set of several inputs, as of the epoch.
    fn watermarks(&self, acks: &EpochAcks<'_>) -> Vec<InputsWatermark> {
        let Some(combined) = &acks.watermarks else { return self.head.watermarks.clone() };
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
        index: InputIx,
        told: &EpochAcks<'_>,
        sets: &[InputsWatermark],
    ) -> Result<Input, CheckpointError> {
        let input = &self.head.inputs[index.index()];
        let still = InputMark { watermark: input.watermark, ended: input.ended, flushed: None };
        let InputMark { watermark, ended, flushed } = told.marks.get(&index).copied().unwrap_or(still);
        assert!(watermark >= input.watermark, "the watermark of \"{}\" went back", input.name);
        let mut partitions: BTreeMap<Partition, PartitionEntry> =
            input.partitions.iter().map(|part| (part.partition, part.carried())).collect();
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
                partitions.insert(*number, PartitionEntry::new(*number, identity, parts[0].from));
            }
            let entry = partitions.get_mut(number).expect("inserted above where it was absent");
            let read = self.read.get(&(index, *number)).copied().unwrap_or(entry.next);
            let kept = told.kept.get(&(index, *number)).copied();
            let kept = kept.or(told.counted.contains(&index).then(Kept::default));
            add_epoch(entry, parts, read, kept).map_err(unknown)?;
        }
        let acks: Vec<&PartitionAck> = acked.flat_map(|(_, parts)| parts.iter().copied()).collect();
        let unjudged = self.judge_dead(epoch, input, &acks)?;
        // A flush closes windows: whatever comes later must not be stamped below them.
        let join_floor = join_floor(index, watermark, sets);
        for entry in partitions.values_mut() {
            let joined = if entry.joining { join_floor } else { EventTime::MIN };
            raise_floor(entry, flushed.unwrap_or(EventTime::MIN).max(joined), entry.next);
        }
        let partitions = partitions.into_values().collect();
        Ok(Input { watermark, ended, partitions, unjudged, ..input.clone() })
    }

    /// Stops the job where most of an input cannot be decoded; gives what is still to be judged. Whether too many records are
    /// late was judged before, by whoever knows how late they are: here they are only counted.
    fn judge_dead(
        &self,
        epoch: Epoch,
        input: &Input,
        acks: &[&PartitionAck],
    ) -> Result<Unjudged, CheckpointError> {
        let mut reasons = BTreeMap::new();
        for (reason, count) in acks.iter().flat_map(|ack| &ack.dead) {
            *reasons.entry(reason.clone()).or_insert(0_u64) += count;
        }
        let unfiltered = acks.iter().map(|ack| ack.consumed - ack.filtered).sum::<u64>();
        let late = acks.iter().map(|ack| ack.late).sum::<u64>();
        let mut unjudged = Unjudged {
            unfiltered: input.unjudged.unfiltered + unfiltered,
            late: input.unjudged.late + late,
            ..Unjudged::default()
        };
        if unjudged.judges_late() {
            unjudged = Unjudged::default();
        }
        let records = input.unjudged.records + acks.iter().map(|ack| ack.consumed).sum::<u64>();
        let dead = input.unjudged.dead + reasons.values().sum::<u64>();
        if records < DEAD_SAMPLE_MIN {
            return Ok(Unjudged { records, dead, ..unjudged });
        }
        // Counts between two judgements are far below 2^53: the quotient is good enough for a limit.
        if dead as f64 <= self.rules.dead_max * records as f64 {
            return Ok(unjudged);
        }
        let before = input.partitions.iter().flat_map(|part| part.total.dead.clone());
        let top = reasons.into_iter().max_by_key(|(_, count)| *count);
        let top = top.or_else(|| before.max_by_key(|(_, count)| *count));
        let reason = top.expect("there are dead letters, so there is a reason").0;
        let samples: Vec<&Refused> = acks.iter().filter_map(|ack| ack.sample.as_ref()).collect();
        let sample = samples.iter().find(|s| s.reason.as_ref() == Some(&reason)).or(samples.first());
        let sample = sample.map(|sample| Box::new((*sample).clone()));
        let input = input.name.clone();
        Err(CheckpointError::TooManyDead {
            epoch,
            input,
            dead,
            consumed: records,
            reason,
            sample,
            whole_run: false,
        })
    }

    /// The lake files of `epoch`, with the offsets that fed them.
    fn lake(
        &self,
        epoch: Epoch,
        inputs: &[Input],
        acks: &EpochAcks<'_>,
    ) -> Result<Vec<LakeFile>, CheckpointError> {
        let mut files = Vec::with_capacity(acks.lake.len());
        let mut taken = BTreeSet::new();
        for file in &acks.lake {
            let spec = self.rules.outputs.iter().find(|spec| spec.name == file.output);
            let mine = spec.is_some_and(|spec| file.folder.starts_with(&format!("{}/", spec.prefix)));
            let path = format!("{}{}", file.folder, file.name);
            let is_changes = file.folder == names::changes_folder(&self.head.job);
            if !mine && !is_changes {
                return Err(Inconsistency::UnknownOutput { epoch, path, output: file.output.clone() }.into());
            }
            if !taken.insert(path.clone()) {
                return Err(Inconsistency::SameNameTwice { epoch, path }.into());
            }
            files.push(LakeFile {
                kind: if is_changes { LakeKind::Changes } else { LakeKind::of_folder(&file.folder) },
                output: file.output.clone(),
                folder: file.folder.clone(),
                name: file.name.clone(),
                staged: file.staged.clone(),
                rows: file.rows,
                bytes: file.bytes,
                checksum: file.checksum.clone(),
                event_time: file.event_time.map(|(least, greatest)| TimeRange { least, greatest }),
                since: file.since,
                fed: if is_changes { Vec::new() } else { self.fed(file.since, inputs) },
                replaces: Vec::new(),
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

    /// Every operator with what it holds on all workers; as before, where not all of this run have reported yet.
    fn operators(&self, acks: &EpochAcks<'_>) -> BTreeMap<String, Operator> {
        let mut operators = self.head.operators.clone();
        let reported: BTreeSet<&str> = acks.held.keys().map(|(operator, _)| *operator).collect();
        for name in reported {
            let of = |worker| {
                let now = acks.held.get(&(name, worker));
                now.or_else(|| self.held.get(&(name.to_string(), worker))).copied()
            };
            if let Some(held) = (0..self.rules.workers).map(of).sum::<Option<u64>>() {
                let known = self.rules.operators.iter().find(|known| known.name == name);
                let version = known.map_or(0, |known| known.version);
                operators.insert(name.to_string(), Operator { version, held: Some(held) });
            }
        }
        operators
    }

    /// The state files of `epoch`.
    fn new_state<'a>(&self, epoch: Epoch, acks: &EpochAcks<'a>) -> Vec<(StateEntry, &'a Sections)> {
        let entry = |file: &&'a StateFile| {
            let entry = StateEntry {
                generation: self.head.generation,
                epoch,
                worker: file.worker,
                part: 0,
                bytes: file.bytes,
                header_bytes: file.header_bytes,
                checksum: file.checksum.clone(),
                place: file.place.clone(),
                v1: None,
            };
            (entry, &file.sections)
        };
        acks.state.iter().map(entry).collect()
    }
}

/// The manifest after `head` that adds nothing to it.
pub(super) fn closed(head: &Manifest, stamp: Stamp) -> Manifest {
    Manifest {
        seq: head.seq.next(),
        nonce: stamp.nonce,
        parent: Some(head.nonce),
        kind: Kind::Closed,
        began_ms: None,
        written_ms: stamp.written_ms,
        allowed: Vec::new(),
        inputs: head.inputs.iter().map(carried_input).collect(),
        lake: Vec::new(),
        released: Vec::new(),
        retired_before: None,
        ..head.clone()
    }
}

/// `input` in a manifest that adds nothing to it.
fn carried_input(input: &Input) -> Input {
    Input { partitions: input.partitions.iter().map(PartitionEntry::carried).collect(), ..input.clone() }
}

/// Adds what one epoch did to a partition that was `read` so far; `kept` is what an operator counted,
/// if one counts in place of the source.
fn add_epoch(
    entry: &mut PartitionEntry,
    parts: &[&PartitionAck],
    mut read: Offset,
    kept: Option<Kept>,
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
        entry.quiet_since_ms = part.quiet_since_ms.or(entry.quiet_since_ms);
        entry.content = part.content.clone().or(entry.content.take());
        if let Some(limit) = part.limit {
            entry.limits.push(limit);
            entry.limit_ms = entry.limit_ms.max(Some(limit.limit_ms));
        }
        (entry.idle, entry.joining, entry.ended) = (part.idle, part.joining, part.ended);
        raise_floor(entry, part.floor, part.from);
    }
    let kept = kept.unwrap_or(Kept { accepted: sent, ..Kept::default() });
    if sent != kept.total() {
        return Err(Imbalance::Operators { sent, told: kept.total() });
    }
    entry.fates.accepted = kept.accepted;
    entry.fates.duplicate = kept.duplicate;
    entry.fates.filtered += kept.filtered;
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
        let at_end = |part: &PartitionEntry| part.content.as_ref().is_some_and(|content| content.at_end);
        let flags = |part: &PartitionEntry| (part.idle, part.joining, part.ended, part.floor, at_end(part));
        new.partition == old.partition && new.fates.consumed == 0 && flags(new) == flags(old)
    };
    new.ended == old.ended
        && new.partitions.len() == old.partitions.len()
        && new.partitions.iter().zip(&old.partitions).all(same)
}
