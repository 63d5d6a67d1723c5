//! One partition, as the feed that reads it knows it: how far it was read, whether it counts, what it waits for.

use crate::connect;
use crate::engine::format::waits::Waits;
use crate::engine::run::first_reads::FirstReads;
use crate::engine::run::held::Held;
use crate::engine::run::waiting::PartState;
use headway_operators::ack::Content;
use headway_operators::record::{LastRead, Offset, Partition, Raw};
use headway_operators::time::Epoch;
use std::collections::VecDeque;
use std::time::Duration;

/// When a run of the job is over by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Forever,
    /// When everything that was there at the start is read; windows stay open.
    CaughtUp,
    /// The same, and every window closes.
    End,
}

impl Until {
    /// Where a partition ends in this run, if it had `end` at the start. A run that goes on for ever has no ends.
    pub(super) fn end(self, end: Option<Offset>) -> Option<Offset> {
        end.filter(|_| self != Until::Forever)
    }
}

/// Whether a partition counts in the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It counts.
    Counting,
    /// It was announced as idle.
    Idle,
    /// It has something to send, and the next cut will say that it joins.
    Waking,
    /// Its joining mark was sent in this epoch.
    Joining(Epoch),
}

pub(super) struct Part {
    pub(super) partition: Partition,
    pub(super) next: Offset,
    /// The last message that was handed on.
    pub(super) last: Option<Offset>,
    /// The end that the partition had at the start, if the run ends there by itself.
    pub(super) end: Option<Offset>,
    pub(super) phase: Phase,
    /// Not read from the source before it has joined.
    pub(super) unassigned: bool,
    /// Since when it is quiet and read to its end.
    pub(super) quiet_since: Option<Duration>,
    /// The time since when it is quiet according to the manifest; `None` once this run has seen a record or an open transaction of it.
    pub(super) quiet_since_ms: Option<i64>,
    /// In the last mark it had been idle long enough for a flush.
    pub(super) flushable: bool,
    /// Read to the end that was there at the start.
    pub(super) complete: bool,
    /// Backlog in the last mark.
    pub(super) backlog: bool,
    pub(super) paused: bool,
    /// Messages that came before it joined.
    pub(super) held: VecDeque<Held>,
    /// The end that it was read to, while messages before that end are held.
    pub(super) held_to: Option<Offset>,
    pub(super) first_reads: FirstReads,
    /// What the partition waits for, and since when.
    pub(super) waits: (Waits, Duration),
    /// Since when it has not been read to its end.
    pub(super) behind_since: Option<Duration>,
}

impl Part {
    pub(super) fn new(partition: Partition, next: Offset, end: Option<Offset>, phase: Phase) -> Part {
        Part {
            partition,
            next,
            last: None,
            end,
            phase,
            unassigned: false,
            quiet_since: None,
            quiet_since_ms: None,
            flushable: false,
            complete: end.is_some_and(|end| next >= end),
            backlog: true,
            paused: false,
            held: VecDeque::new(),
            held_to: None,
            first_reads: FirstReads::default(),
            waits: (Waits::Records, Duration::ZERO),
            behind_since: None,
        }
    }

    /// Notes that `raw` is handed on, as a message of `epoch`.
    pub(super) fn read(&mut self, raw: &Raw<'_>, epoch: Epoch) {
        (self.next, self.last) = (raw.offset + 1, Some(raw.offset));
        self.first_reads.read(epoch, raw);
    }

    /// The last message that was handed on, if its source can tell it from another one.
    pub(super) fn last_read(&self, source: Option<&mut (dyn connect::Source + 'static)>) -> Option<LastRead> {
        let offset = self.last?;
        Some(LastRead { offset, leader_epoch: source?.leader_epoch(self.partition, offset)? })
    }

    /// The hash of everything that was read of it, if its source keeps one and no message is held.
    pub(super) fn content(&self, source: Option<&mut (dyn connect::Source + 'static)>) -> Option<Content> {
        if self.held.is_empty() { source?.content(self.partition, self.next) } else { None }
    }

    /// For how long it is known to have been quiet.
    pub(super) fn quiet(&self, source: Option<&dyn connect::Source>, now: Duration) -> Option<Duration> {
        let (since, heard) = (self.quiet_since?, source?.heard(self.partition)?);
        let (first, last) = (now.saturating_sub(heard.since), now.saturating_sub(heard.last));
        Some(last.saturating_sub(since.max(first)))
    }

    /// Notes that it was read up to `next`, gaps included.
    pub(super) fn read_to(&mut self, next: Offset, until: Until) {
        match self.held.is_empty() {
            true => self.caught_up(next, until),
            false => self.held_to = Some(next),
        }
    }

    /// The same, when nothing is held.
    pub(super) fn caught_up(&mut self, next: Offset, until: Until) {
        // Not beyond the end of the run: what was left there is for the next one.
        self.next = self.next.max(self.end.map_or(next, |end| next.min(end)));
        self.complete |= until != Until::Forever && self.end.is_none_or(|end| self.next >= end);
    }

    pub(super) fn has_backlog(&self) -> bool {
        self.quiet_since.is_none() && !self.complete
    }

    /// What it waits for at `now`, if `gate` keeps the feed from reading.
    pub(super) fn state(&mut self, gate: Option<Waits>, now: Duration) -> PartState {
        let waits = match gate {
            _ if self.complete => Waits::End,
            _ if self.quiet_since.is_some() => Waits::NextRecord,
            _ if self.paused => Waits::Slowest,
            gate => gate.unwrap_or(Waits::Records),
        };
        if waits != self.waits.0 {
            self.waits = (waits, now);
        }
        self.behind_since = if self.has_backlog() { self.behind_since.or(Some(now)) } else { None };
        let (partition, (waits, since)) = (self.partition, self.waits);
        PartState { partition, waits, since, behind_since: self.behind_since }
    }
}
