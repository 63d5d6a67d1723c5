//! The ports of a play: messages from its lines, rows and state into memory.

use crate::ack::{InputIx, StagedFile, StateFile};
use crate::error::StateError;
use crate::kit::script::kept::{Refusal, SharedKept, Stand, StartsAt, TextRow, ViewChange, of_input};
use crate::kit::script::lines::{Flags, Item, Play, Source, Unsealing};
use crate::kit::script::spoiler::Spoiler;
use crate::pace::{InputPace, InputsWatermark};
use crate::port::{AtOnce, Cut, Feed, InputStart, Intake, NotAfter, Ports, Position, Stage, Start, Turn};
use crate::progress::Standing;
use crate::record::{File, Offset, Partition, Payload, Raw};
use crate::row::{Cell, Rows};
use crate::spec::{InputSpec, OutputSpec, ViewSpec};
use crate::state::{Saved, StateChange};
use crate::time::{Epoch, EventTime};
use crate::view::refill::{CommittedRow, CommittedRows, Put, Refill};
use crate::view::row::ViewUpdate;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use timely::scheduling::SyncActivator;

/// One worker's ports.
pub(super) struct PlayPorts {
    pub(super) play: Arc<Play>,
    pub(super) files: Arc<Vec<File>>,
    pub(super) start: Arc<StartsAt>,
    pub(super) kept: SharedKept,
    /// The last epoch that is played.
    pub(super) until: Epoch,
    pub(super) seed: u64,
    pub(super) worker: usize,
    pub(super) workers: usize,
    pub(super) unsealing: Option<Arc<Unsealing>>,
    pub(super) spoiler: Option<Arc<dyn Spoiler>>,
}

impl Ports for PlayPorts {
    fn first_epoch(&self) -> Epoch {
        self.start.epoch
    }

    fn watermarks(&self) -> Vec<InputsWatermark> {
        self.start.sets.clone()
    }

    fn start(&mut self, index: InputIx) -> InputStart {
        let input = &self.play.inputs[index.index()];
        let mut partitions: BTreeMap<Partition, Stand> =
            (0..input.partitions).map(|number| (Partition(number), Stand::default())).collect();
        partitions.extend(of_input(&self.start.partitions, index));
        let standing = |(partition, Stand { own, floor, .. })| Standing { partition, own, floor };
        InputStart {
            topic: input.spec.name.to_string(),
            watermark: self.start.watermarks.get(&index).copied().unwrap_or(EventTime::MIN),
            partitions: partitions.into_iter().map(standing).collect(),
            max_ahead_ms: 3_600_000,
            not_after: NotAfter::Never,
            rules: std::sync::Arc::default(),
            idle_flush_ms: self.play.flush_ms,
        }
    }

    fn feed(&mut self, input: InputIx, _: &InputSpec, pace: InputPace, _: SyncActivator) -> Box<dyn Feed> {
        let is_mine = |p: &Partition| (input.index() + p.index()) % self.workers == self.worker;
        let all = (0..self.play.inputs[input.index()].partitions).map(Partition);
        let stand = |partition| {
            let source = Source { input, partition };
            (partition, self.start.partitions.get(&source).copied().unwrap_or_default())
        };
        Box::new(Player {
            play: Arc::clone(&self.play),
            files: Arc::clone(&self.files),
            input,
            until: self.until,
            pace,
            mine: all.filter(is_mine).map(stand).collect(),
            epoch: self.start.epoch,
            is_open: false,
            seed: self.seed,
            joining: BTreeMap::new(),
        })
    }

    fn rows(&mut self, output: &OutputSpec, _: SyncActivator) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        let (kept, output) = (self.kept.clone(), output.clone());
        let inputs: Vec<&'static str> = self.play.inputs.iter().map(|input| input.spec.name).collect();
        Box::new(AtOnce::new(move |epoch, rows: Box<dyn Rows>| {
            let side = output.name.split_once('-').filter(|_| output.prefix.starts_with('_'));
            for row in 0..rows.len() {
                let mut cells = Vec::new();
                rows.cells(row, &mut |cell| cells.push(cell.to_string()));
                let mut kept = kept.lock();
                match side {
                    Some((_, input)) => {
                        let input = inputs.iter().position(|name| *name == input).unwrap_or_default();
                        kept.refused.push((epoch, refusal(input, &output, cells)));
                    }
                    None => kept.rows.push(TextRow { output: output.name.clone(), epoch, cells }),
                }
            }
        }))
    }

    fn views(
        &mut self,
        tables: &BTreeMap<u16, ViewSpec>,
        _: SyncActivator,
    ) -> Box<dyn Stage<Vec<ViewUpdate>, StagedFile>> {
        let names: BTreeMap<u16, _> = tables.iter().map(|(number, spec)| (*number, spec.name)).collect();
        let kept = self.kept.clone();
        let first = self.start.epoch;
        Box::new(AtOnce::new(move |epoch, updates: Vec<ViewUpdate>| {
            let mut kept = kept.lock();
            for ViewUpdate { view, row, diff } in updates {
                let change = ViewChange { view: names[&view], epoch, row, diff };
                if epoch < first { kept.restored_views.push(change) } else { kept.views.push(change) }
            }
        }))
    }

    fn unsealed(&self) -> Vec<EventTime> {
        self.unsealing.as_ref().map(|unsealing| unsealing.days.clone()).unwrap_or_default()
    }

    fn committed_rows(&mut self, outputs: Refill) -> Option<Box<dyn CommittedRows>> {
        let all = self.unsealing.clone().filter(|all| all.output == outputs.facts)?;
        let (next, workers) = (self.worker, self.workers);
        Some(Box::new(RowsOfWorker { all, next, workers }))
    }

    fn state(&mut self, _: SyncActivator) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        let (kept, spoiler) = (self.kept.clone(), self.spoiler.clone());
        Box::new(AtOnce::new(move |epoch, changes: Vec<StateChange>| {
            let mut changes: Vec<_> = changes.into_iter().map(|change| (epoch, change)).collect();
            spoiler.iter().for_each(|spoiler| spoiler.save(&mut changes));
            kept.lock().state.append(&mut changes);
        }))
    }

    fn saved(&mut self, operator: &str) -> Option<Vec<Saved>> {
        let all = self.start.saved.get(operator).map(Vec::as_slice).unwrap_or_default();
        let is_mine = |saved: &&Saved| saved.shard.owner(self.workers) == self.worker;
        let mut mine: Vec<Saved> = all.iter().filter(is_mine).cloned().collect();
        self.spoiler.iter().for_each(|spoiler| spoiler.restore(all, &mut mine));
        (self.start.epoch > Epoch(1)).then_some(mine)
    }

    fn restored(&mut self, operator: &str, held: u64) {
        *self.kept.lock().restored.entry(operator.to_string()).or_default() += held;
    }

    fn refuse(&mut self, error: StateError) {
        panic!("{error}");
    }
}

/// The committed rows that one of `workers` reads: every nth.
struct RowsOfWorker {
    all: Arc<Unsealing>,
    next: usize,
    workers: usize,
}

impl CommittedRows for RowsOfWorker {
    fn next(&mut self, put: Put<'_>) -> bool {
        let Some(row) = self.all.rows.get(self.next) else { return false };
        self.next += self.workers;
        let cells: Vec<Cell<'_>> = row.iter().map(|cell| Cell::Text(cell)).collect();
        let row = CommittedRow { output: self.all.output, columns: &self.all.columns, cells: &cells };
        put(&row).expect("a committed row can be read");
        true
    }
}

/// A row of a side output, read back.
fn refusal(input: usize, output: &OutputSpec, cells: Vec<String>) -> Refusal {
    let cell = |name: &str| {
        let at = output.columns.iter().position(|column| column.name == name);
        at.map(|at| cells[at].clone()).unwrap_or_default()
    };
    let input = InputIx(u16::try_from(input).expect("inputs are few"));
    let partition = Partition(cell("partition").parse().expect("a partition is a number"));
    Refusal {
        source: Source { input, partition },
        offset: Offset(cell("offset").parse().expect("an offset is a number")),
        // A late record's row says "late" there.
        reason: output.prefix.starts_with("_dead").then(|| cell("reason")),
        payload: cell("payload"),
    }
}

/// Plays one line an epoch.
struct Player {
    play: Arc<Play>,
    files: Arc<Vec<File>>,
    input: InputIx,
    until: Epoch,
    pace: InputPace,
    mine: BTreeMap<Partition, Stand>,
    epoch: Epoch,
    is_open: bool,
    seed: u64,
    joining: BTreeMap<Partition, Epoch>,
}

impl Player {
    /// True now and then: the worker takes a turn without doing anything, so that workers do not go in step.
    fn dawdles(&mut self) -> bool {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33).is_multiple_of(3)
    }

    /// The flags of each partition once the lines before `epoch` were played: one that is idle or has ended stays so until a
    /// message of its own comes, or it joins.
    fn flags_before(&self, epoch: Epoch) -> BTreeMap<Partition, Flags> {
        let mut flags: BTreeMap<Partition, Flags> =
            self.mine.keys().map(|partition| (*partition, Flags::default())).collect();
        for item in self.play.lines.iter().take(place(epoch)).flatten() {
            let Some(flags) = flags.get_mut(&item.source().partition).filter(|_| self.is_mine(item)) else {
                continue;
            };
            *flags = match item {
                Item::Message { .. } => Flags::default(),
                Item::Flags { flags, .. } => Flags { joining: false, ..*flags },
            };
        }
        flags
    }

    fn is_mine(&self, item: &Item) -> bool {
        item.source().input == self.input && self.mine.contains_key(&item.source().partition)
    }

    fn has_joined(&self) -> bool {
        self.joining.iter().all(|(p, epoch)| self.pace.joined(*p).is_some_and(|joined| joined >= *epoch))
    }
}

/// The place of the line of `epoch`.
fn place(epoch: Epoch) -> usize {
    usize::try_from(epoch - Epoch(1)).expect("a play has few lines")
}

impl Feed for Player {
    fn turn(&mut self, intake: &mut dyn Intake) -> Turn {
        if !std::mem::replace(&mut self.is_open, true) {
            for (partition, Stand { next, own, floor }) in &self.mine {
                intake.open(Start { own: *own, floor: *floor, ..Start::first(*partition, *next) });
            }
        }
        if self.dawdles() || !self.has_joined() {
            return Turn::Wait(Duration::ZERO);
        }
        for (partition, _) in std::mem::take(&mut self.joining) {
            intake.floor(partition, self.pace.floor(partition));
        }
        let epoch = self.epoch;
        let mut flags = self.flags_before(epoch);
        let play = Arc::clone(&self.play);
        for item in play.lines.get(place(epoch)).into_iter().flatten() {
            let partition = item.source().partition;
            match item {
                _ if !self.is_mine(item) => {}
                Item::Flags { flags: new, .. } => drop(flags.insert(partition, *new)),
                Item::Message { value, timestamp_ms, .. } => {
                    flags.insert(partition, Flags::default());
                    let stand = self.mine.get_mut(&partition).expect("it is mine");
                    let raw = Raw::of(partition, stand.next, Payload::of(value.as_deref()));
                    let file = self.files.get(partition.index());
                    intake.message(&Raw { timestamp_ms: *timestamp_ms, file, ..raw });
                    stand.next += 1;
                }
            }
        }
        let position = |(partition, flags): (&Partition, &Flags)| Position {
            partition: *partition,
            next: self.mine[partition].next,
            last_read: None,
            idle_ms: flags.idle_ms,
            joining: flags.joining,
            ended: flags.ended,
            backlog: true,
            content: None,
        };
        let wall_ms = i64::try_from(epoch.0).unwrap_or(i64::MAX).saturating_mul(1000);
        let partitions = flags.iter().map(position).collect();
        let cut = Cut { wall_ms, began_ms: wall_ms - 1000, partitions };
        self.joining = flags.iter().filter(|(_, f)| f.joining).map(|(p, _)| (*p, epoch)).collect();
        self.epoch = epoch.next();
        if epoch >= self.until { Turn::Finish(cut) } else { Turn::Cut(cut, epoch.next()) }
    }
}
