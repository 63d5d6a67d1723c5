//! The feed of one input on one worker: reads its partitions and decides where epochs end.
//!
//! ```text
//! connect::Source ──events──► Feed ──messages──► ingest        cut when: the epoch is old, or full, or another
//!                              ▲  │                            source of any input has ended it
//!      probe: which epochs are │  └─cuts, marks───► all workers
//!      resolved; pace: wm, W_C, │
//!      floors, cuts of others ─┘
//! ```
//! Numbered rules, from the design:
//! 1. *Gate*: records of epoch `x` are read only when `x - 3` is resolved, and while the process has memory left. Cutting is
//!    always allowed.
//! 2. *Idle by evidence*: a partition becomes idle only after this run has read it to its end, and while its system confirms
//!    that nothing follows. A partition that is paused, that waits at a closed gate, or whose system does not answer, never
//!    becomes idle. Nor does a partition whose end an open transaction holds; such a transaction also ends idleness.
//! 3. *Joining*: a partition that wakes or is first seen sends a joining mark and no record in epoch `e`; its floor is
//!    `wm(e)`; what it had ready waits until `e` is resolved.
//! 4. *Skew*: a partition far ahead of the slowest one with a backlog is paused, and epochs are short while one is, for
//!    marks alone tell how far the slowest has got. Pausing has no meaning for results.
//! 5. *Ends*: a partition has ended when it was read to the end that was there at the start. A drain ends nothing.
//! 6. *Quiet since*: a run that ends when it is caught up has no time to wait for quiet. A partition that it has read to its
//!    end and found no record in, and in which earlier runs saw none for `idle_after`, is idle in its last mark: a job that
//!    cron starts closes windows although one partition is quiet or empty.

use crate::connect::{self, Begins, Event, FirstRead, PartitionInfo, Polled};
use crate::engine::clock::Clock;
use crate::engine::control::Control;
use crate::engine::format::waits::Waits;
use crate::engine::run::held::Held;
use crate::engine::run::memory::OpenMessages;
pub use crate::engine::run::part::Until;
use crate::engine::run::part::{Part, Phase};
use crate::engine::run::waiting::FeedState;
use headway_operators::pace::InputPace;
use headway_operators::port::{Cut, Feed, Intake, Position, Start, Turn};
use headway_operators::record::{Offset, Partition};
use headway_operators::time::Epoch;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use timely::dataflow::ProbeHandle;

/// How many epochs may be read beyond the last resolved one.
pub const EPOCHS_AHEAD: u64 = 3;

/// About how many bytes one turn reads: work per activation is bounded by it.
const SLICE_BYTES: usize = 64 << 10;

/// After how long an epoch ends that holds a partition back: the others' marks decide when it may go on.
const HELD_BACK_MAX: Duration = Duration::from_secs(1);

/// How long to wait where nothing will wake the feed.
const PATIENCE: Duration = Duration::from_millis(1);

/// How long to wait where the source wakes the feed.
const IDLE_PATIENCE: Duration = Duration::from_millis(10);

/// How a feed behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of an epoch.
    pub epoch: Duration,
    /// How many bytes of messages fill an epoch, on one worker: those read, or those they take in memory if that is more.
    pub epoch_bytes: usize,
    /// After how long quiet a partition that was read to its end is idle; `None` is never.
    pub idle_after: Option<Duration>,
    /// After how long idleness of all partitions windows are flushed; `None` is never.
    pub idle_flush: Option<Duration>,
    /// How far ahead of the slowest partition one may read, in milliseconds of event time.
    pub max_skew_ms: i64,
    /// When the run is over.
    pub until: Until,
}

/// A partition that this worker reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Where it starts.
    pub start: Start,
    /// One past the last offset there was when the run started, where that is known.
    pub end: Option<Offset>,
    /// When an earlier run last saw it have a record, or first saw it, by the wall clock; `None` if that is not known.
    pub quiet_since_ms: Option<i64>,
}

/// What a feed needs of its surroundings.
pub struct Surroundings {
    /// How far the inputs have got, from the marks of all workers.
    pub pace: InputPace,
    /// Passes an epoch when it is resolved.
    pub resolved: ProbeHandle<Epoch>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whether to drain, and where to report a failure.
    pub control: Control,
    /// When this worker begins its epochs.
    pub begins: Begins,
    /// What is read and not committed, and whether to pause for that.
    pub open: OpenMessages,
    /// Partitions that were found since the last call and belong to this worker.
    pub found: Box<dyn FnMut() -> Vec<PartitionInfo>>,
    /// Takes the first record of each epoch that is not resolved, of a partition where that has changed.
    pub first_reads: Box<dyn FnMut(Partition, Vec<FirstRead>)>,
    /// Takes what the feed waits for, where that has changed.
    pub waits: Box<dyn FnMut(FeedState)>,
    /// Told of each epoch that the feed ends.
    pub ended: Box<dyn FnMut(Epoch)>,
}

/// An epoch that was ended and is not resolved.
struct OpenEpoch {
    epoch: Epoch,
    bytes: u64,
    /// When its first message was handed on, if there was one.
    first_message: Option<Duration>,
}

/// Reads the partitions of one input that belong to one worker.
pub struct SourceFeed {
    options: Options,
    around: Surroundings,
    source: Option<Box<dyn connect::Source>>,
    parts: Vec<Part>,
    /// Partitions that were not opened at `intake` yet.
    unopened: Vec<Start>,
    first_epoch: Epoch,
    epoch: Epoch,
    epoch_began: Duration,
    /// The same by the wall clock.
    epoch_began_ms: i64,
    epoch_bytes: usize,
    /// Bytes of the epochs that were ended and are not resolved, oldest first. Bounded by the gate.
    open: VecDeque<OpenEpoch>,
    /// When the first message of the current epoch was handed on, if one was.
    first_message: Option<Duration>,
    /// Something happened since the last mark that others must know.
    changed: bool,
    /// Since when nothing is read because the gate is closed.
    deaf_since: Option<Duration>,
    /// What was said last of what it waits for.
    told: FeedState,
}

impl SourceFeed {
    /// A feed that starts in `epoch`, reading `assigned` from `source`.
    pub fn new(
        options: Options,
        around: Surroundings,
        source: Option<Box<dyn connect::Source>>,
        assigned: &[Assigned],
        epoch: Epoch,
    ) -> SourceFeed {
        let epoch_began_ms = around.clock.wall_ms();
        around.begins.note(epoch, epoch_began_ms);
        let part = |a: &Assigned| Part {
            quiet_since_ms: a.quiet_since_ms,
            ..Part::new(a.start.partition, a.start.next, options.until.end(a.end), Phase::Counting)
        };
        SourceFeed {
            parts: assigned.iter().map(part).collect(),
            unopened: assigned.iter().map(|a| a.start).collect(),
            source,
            first_epoch: epoch,
            epoch,
            epoch_began: around.clock.elapsed(),
            epoch_began_ms,
            epoch_bytes: 0,
            open: VecDeque::new(),
            first_message: None,
            changed: false,
            deaf_since: None,
            told: FeedState::default(),
            options,
            around,
        }
    }

    fn is_resolved(&self, epoch: Epoch) -> bool {
        !self.around.resolved.less_equal(&epoch)
    }

    /// Rule 1. Memory that is nearly full closes the gate, too.
    fn may_send(&self) -> bool {
        !self.around.open.is_paused() && self.may_be_ahead()
    }

    fn may_be_ahead(&self) -> bool {
        self.epoch < self.first_epoch + EPOCHS_AHEAD || self.is_resolved(self.epoch - EPOCHS_AHEAD)
    }

    /// Rules 2 and 5, from what is known at `now`: notes what the next mark must say.
    fn look(&mut self, now: Duration) {
        for part in &mut self.parts {
            let quiet = part.quiet(self.source.as_deref(), now);
            let listens = self.deaf_since.is_none();
            let long = |limit: Option<Duration>| {
                listens && quiet.zip(limit).is_some_and(|(quiet, limit)| quiet >= limit)
            };
            if part.phase == Phase::Counting && !part.complete && long(self.options.idle_after) {
                part.phase = Phase::Idle;
                self.changed = true;
            }
            if part.phase == Phase::Idle {
                // What was told may hold no more, and has to be told again then.
                let flushable = long(self.options.idle_flush);
                self.changed |= flushable && !part.flushable;
                part.flushable = flushable;
            }
            if part.backlog != part.has_backlog() {
                self.changed = true;
            }
        }
    }

    /// Rule 6.
    fn idle_by_earlier_runs(&mut self) {
        let Some(idle_after) = self.options.idle_after.filter(|_| self.options.until == Until::CaughtUp)
        else {
            return;
        };
        let limit_ms = i64::try_from(idle_after.as_millis()).unwrap_or(i64::MAX);
        let now_ms = self.around.clock.wall_ms();
        for part in &mut self.parts {
            let quiet = part.quiet_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= limit_ms);
            if part.phase == Phase::Counting && part.complete && quiet {
                part.phase = Phase::Idle;
            }
        }
    }

    /// The end of the current epoch, as marks will tell it.
    fn cut(&mut self) -> Cut {
        let now = self.around.clock.elapsed();
        (self.around.ended)(self.epoch);
        let ends = self.options.until == Until::End;
        let mut partitions = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let joining = part.phase == Phase::Waking;
            if joining {
                part.phase = Phase::Joining(self.epoch);
            }
            let idle = part.phase == Phase::Idle;
            let quiet = part.quiet(self.source.as_deref(), now).unwrap_or_default();
            part.backlog = part.has_backlog();
            partitions.push(Position {
                partition: part.partition,
                next: part.next,
                last_read: part.last_read(self.source.as_deref_mut()),
                idle_ms: idle.then(|| u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX)),
                joining,
                ended: part.complete && ends,
                backlog: part.backlog,
                content: part.content(self.source.as_deref_mut()),
            });
        }
        Cut { wall_ms: self.around.clock.wall_ms(), began_ms: self.epoch_began_ms, partitions }
    }

    /// Ends the epoch and goes on with the next one that nobody has ended yet.
    fn cut_and_go_on(&mut self) -> Turn {
        let cut = self.cut();
        if self.epoch_bytes > 0 {
            let bytes = self.epoch_bytes as u64;
            self.around.open.opened(bytes);
            let (epoch, first_message) = (self.epoch, self.first_message);
            self.open.push_back(OpenEpoch { epoch, bytes, first_message });
        }
        let newest = self.around.pace.newest_ended();
        self.epoch = newest.map_or(self.epoch, |newest| newest.max(self.epoch)) + 1;
        (self.epoch_began, self.epoch_began_ms) = (self.around.clock.elapsed(), cut.wall_ms);
        self.around.begins.note(self.epoch, cut.wall_ms);
        self.epoch_bytes = 0;
        self.first_message = None;
        self.changed = false;
        self.pause_those_ahead();
        Turn::Cut(cut, self.epoch)
    }

    /// What is resolved is open no more.
    fn count_resolved(&mut self) {
        while let Some(open) = self.open.front().filter(|open| self.is_resolved(open.epoch)) {
            self.around.open.closed(open.bytes);
            self.open.pop_front();
        }
        let Surroundings { resolved, first_reads, .. } = &mut self.around;
        self.parts.iter_mut().for_each(|part| part.first_reads.tell(part.partition, resolved, first_reads));
    }

    /// Says what it waits for, if that has changed.
    fn tell(&mut self, now: Duration) {
        let gate = if self.around.open.is_paused() {
            Some(Waits::Memory)
        } else if !self.may_be_ahead() {
            Some(Waits::Commit)
        } else {
            None
        };
        let first_open = self.open.iter().find_map(|open| open.first_message);
        let open_since = first_open.or(self.first_message);
        let mut is_new = std::mem::replace(&mut self.told.open_since, open_since) != open_since;
        // Compared in place: a feed may have thousands of partitions, and is asked in each step.
        for (at, part) in self.parts.iter_mut().enumerate() {
            let state = part.state(gate, now);
            match self.told.partitions.get_mut(at) {
                Some(told) => is_new |= std::mem::replace(told, state) != state,
                None => {
                    self.told.partitions.push(state);
                    is_new = true;
                }
            }
        }
        if is_new {
            (self.around.waits)(self.told.clone());
        }
    }

    /// Rule 4.
    fn pause_those_ahead(&mut self) {
        let pace = &self.around.pace;
        let Some(slowest) = pace.slowest() else { return };
        let limit = slowest.plus_ms(self.options.max_skew_ms);
        for part in &mut self.parts {
            let ahead = pace.own(part.partition) > limit;
            // One that is caught up has nothing to hold back; paused, its quiet would be no evidence.
            let paused = part.complete || (ahead && part.phase == Phase::Counting && part.has_backlog());
            if paused != part.paused {
                part.paused = paused;
                if let Some(source) = &mut self.source {
                    source.pause(part.partition, paused);
                }
            }
        }
    }

    /// Rule 3: takes in partitions that were found.
    fn meet(&mut self, intake: &mut dyn Intake) {
        for PartitionInfo { partition, first, end, .. } in (self.around.found)() {
            intake.open(Start::first(partition, first));
            let mut part = Part::new(partition, first, self.options.until.end(end), Phase::Waking);
            part.unassigned = true;
            self.parts.push(part);
            self.changed = true;
        }
    }

    /// Rule 3: lets those partitions send whose joining epoch is resolved.
    fn join(&mut self, intake: &mut dyn Intake) -> Result<(), connect::error::Error> {
        for at in 0..self.parts.len() {
            let Phase::Joining(epoch) = self.parts[at].phase else { continue };
            let partition = self.parts[at].partition;
            let joined = self.around.pace.joined(partition);
            if joined.is_none_or(|joined| joined < epoch) || !self.is_resolved(epoch) {
                continue;
            }
            let floor = self.around.pace.floor(partition);
            intake.floor(partition, floor);
            let part = &mut self.parts[at];
            part.phase = Phase::Counting;
            part.flushable = false;
            part.first_reads.join();
            for held in std::mem::take(&mut part.held) {
                part.read(&held.raw(partition), self.epoch);
                self.epoch_bytes += held.bytes().max(intake.message(&held.raw(partition)));
                self.first_message.get_or_insert(self.around.clock.elapsed());
                self.changed = true;
            }
            // A source tells of an end once: of this one it may not tell again.
            match part.held_to.take() {
                Some(next) => part.caught_up(next, self.options.until),
                None => part.complete |= part.end.is_some_and(|end| part.next >= end),
            }
            let Some(source) = &mut self.source else { continue };
            if std::mem::take(&mut part.unassigned) {
                source.assign(partition, part.next)?;
            } else {
                source.pause(partition, false);
            }
        }
        Ok(())
    }

    /// Reads a slice and hands it to `intake`.
    fn read(&mut self, intake: &mut dyn Intake) -> Result<Polled, connect::error::Error> {
        let Some(source) = &mut self.source else { return Ok(Polled::Nothing) };
        let room = self.options.epoch_bytes.saturating_sub(self.epoch_bytes).clamp(1, SLICE_BYTES);
        let now = self.around.clock.elapsed();
        let until = self.options.until;
        let (parts, bytes, changed) = (&mut self.parts, &mut self.epoch_bytes, &mut self.changed);
        let (first_message, epoch) = (&mut self.first_message, self.epoch);
        let (mut last, mut woken) = (0, Vec::new());
        let polled = source.poll(room, &mut |event| {
            let partition = match &event {
                Event::Message(raw, _) => raw.partition,
                Event::CaughtUp(partition, _) | Event::Stalled(partition, _) => *partition,
            };
            if parts.get(last).is_none_or(|part| part.partition != partition) {
                let found = parts.iter().position(|part| part.partition == partition);
                last = found.expect("a source gives only what was assigned");
            }
            let part = &mut parts[last];
            match event {
                Event::Message(raw, read) => {
                    // What came after the end that was there at the start is for the next run.
                    if part.complete || part.end.is_some_and(|end| raw.offset >= end) {
                        part.complete = true;
                        return;
                    }
                    (part.quiet_since, part.quiet_since_ms) = (None, None);
                    match part.phase {
                        Phase::Counting => {
                            part.read(&raw, epoch);
                            first_message.get_or_insert(now);
                            *bytes += read.max(intake.message(&raw));
                        }
                        Phase::Idle | Phase::Waking | Phase::Joining(_) => {
                            if part.phase == Phase::Idle {
                                part.phase = Phase::Waking;
                                woken.push(partition);
                            }
                            part.held_to = None;
                            part.first_reads.wait(&raw);
                            part.held.push_back(Held::of(&raw));
                        }
                    }
                    *changed = true;
                    part.complete = part.end.is_some_and(|end| part.next >= end);
                }
                Event::CaughtUp(_, next) => {
                    part.quiet_since.get_or_insert(now);
                    part.read_to(next, until);
                }
                // What the transaction holds has a place in event time, which nobody knows yet.
                Event::Stalled(_, next) => {
                    (part.quiet_since, part.quiet_since_ms) = (None, None);
                    part.read_to(next, until);
                    if part.phase == Phase::Idle && !part.complete {
                        part.phase = Phase::Waking;
                        woken.push(partition);
                        *changed = true;
                    }
                }
            }
        })?;
        for partition in woken {
            source.pause(partition, true);
        }
        for part in self.parts.iter_mut().filter(|part| part.complete && !part.paused) {
            part.paused = true;
            source.pause(part.partition, true);
        }
        Ok(polled)
    }

    /// True when there is nothing left to read in this run.
    fn is_complete(&self) -> bool {
        self.options.until != Until::Forever && self.parts.iter().all(|part| part.complete)
    }

    fn try_turn(&mut self, intake: &mut dyn Intake) -> Result<Turn, connect::error::Error> {
        for start in self.unopened.drain(..) {
            intake.open(start);
        }
        self.meet(intake);
        self.count_resolved();
        let now = self.around.clock.elapsed();
        self.look(now);
        // 1. Is the run over, or the epoch?
        if self.around.control.is_draining() || self.is_complete() {
            self.idle_by_earlier_runs();
            return Ok(Turn::Finish(self.cut()));
        }
        let ended_by_others = self.around.pace.newest_ended().is_some_and(|newest| newest >= self.epoch);
        let age = now.saturating_sub(self.epoch_began);
        let held_back = || self.parts.iter().any(|part| part.paused && !part.complete);
        let old = (self.changed && age >= self.options.epoch) || (age >= HELD_BACK_MAX && held_back());
        if ended_by_others || old || self.epoch_bytes >= self.options.epoch_bytes {
            return Ok(self.cut_and_go_on());
        }
        // 2. Read, if the gate is open.
        if !self.may_send() {
            self.deaf_since.get_or_insert(now);
            return Ok(Turn::Wait(PATIENCE));
        }
        if let Some(since) = self.deaf_since.take() {
            // Records may have come meanwhile: that time does not count as quiet.
            let deaf = now.saturating_sub(since);
            self.parts
                .iter_mut()
                .filter_map(|part| part.quiet_since.as_mut())
                .for_each(|quiet| *quiet += deaf);
        }
        // An epoch begins with its first message: where nothing comes for long, it may have no end for long either.
        if self.first_message.is_none() {
            intake.clock(self.around.clock.wall_ms());
        }
        self.join(intake)?;
        self.pause_those_ahead();
        let polled = self.read(intake)?;
        Ok(if polled == Polled::More { Turn::More } else { Turn::Wait(self.patience()) })
    }

    /// How long nothing will happen by itself.
    fn patience(&self) -> Duration {
        if self.changed || self.parts.iter().any(|part| part.paused) { PATIENCE } else { IDLE_PATIENCE }
    }
}

impl Feed for SourceFeed {
    fn turn(&mut self, intake: &mut dyn Intake) -> Turn {
        if self.around.control.is_stopped() {
            return Turn::Wait(IDLE_PATIENCE);
        }
        let turn = self.try_turn(intake);
        self.tell(self.around.clock.elapsed());
        match turn {
            Ok(turn) => turn,
            Err(error) => {
                self.around.control.fail(error.into());
                Turn::Wait(IDLE_PATIENCE)
            }
        }
    }
}
