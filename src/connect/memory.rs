//! Lists in memory in place of topics, and a lake that is a list: for tests, examples and measurements.

use crate::connect::{
    Begins, Connector, Event, Heard, MESSAGE_BYTES_MIN, PartitionInfo, Polled, Sink, Source, Wake,
    WorkerSink, error,
};
use headway_operators::ack::{StagedFile, StateFile};
use headway_operators::port::{AtOnce, Stage};
use headway_operators::record::{Offset, Partition, Payload, Raw};
use headway_operators::row::Rows;
use headway_operators::sections::read_back;
use headway_operators::spec::OutputSpec;
use headway_operators::state::{Saved, StateChange};
use headway_operators::time::Epoch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// One message of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its time stamp in milliseconds.
    pub timestamp_ms: Option<i64>,
}

/// Partitions that are lists: offset = position.
#[derive(Clone, Debug, Default)]
pub struct Lists(Arc<Vec<Vec<Message>>>);

impl Lists {
    /// One partition for each of `lists`.
    pub fn new(lists: Vec<Vec<Message>>) -> Lists {
        Lists(Arc::new(lists))
    }
}

impl Connector for Lists {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn partitions(&self) -> Result<Vec<PartitionInfo>, error::Error> {
        let info = |(number, list): (usize, &Vec<Message>)| PartitionInfo {
            partition: Partition(number as u32),
            identity: format!("memory:{number}"),
            first: Offset(0),
            end: Some(Offset(list.len() as i64)),
        };
        Ok(self.0.iter().enumerate().map(info).collect())
    }

    fn open(&self, assigned: &[(Partition, Offset)], _wake: Wake) -> Result<Box<dyn Source>, error::Error> {
        let cursors = assigned.iter().map(|(partition, next)| Cursor::new(*partition, *next)).collect();
        Ok(Box::new(ListSource { lists: Arc::clone(&self.0), cursors, turn: 0 }))
    }
}

struct Cursor {
    partition: Partition,
    next: usize,
    paused: bool,
    told: bool,
}

impl Cursor {
    fn new(partition: Partition, next: Offset) -> Cursor {
        Cursor { partition, next: usize::try_from(next.0).unwrap_or(0), paused: false, told: false }
    }
}

struct ListSource {
    lists: Arc<Vec<Vec<Message>>>,
    cursors: Vec<Cursor>,
    /// Whose turn it is: partitions are read in slices, one after the other.
    turn: usize,
}

impl Source for ListSource {
    fn poll(&mut self, bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<Polled, error::Error> {
        for _ in 0..self.cursors.len() {
            self.turn = (self.turn + 1) % self.cursors.len();
            let cursor = &mut self.cursors[self.turn];
            let list = &self.lists[cursor.partition.index()];
            if cursor.paused || (cursor.told && cursor.next >= list.len()) {
                continue;
            }
            let mut bytes = 0;
            while let Some(message) = list.get(cursor.next).filter(|_| bytes < bytes_max) {
                let payload = Payload::of(message.value.as_deref());
                let (partition, offset) = (cursor.partition, Offset(cursor.next as i64));
                let read = message.value.as_ref().map_or(0, Vec::len);
                let raw = Raw { timestamp_ms: message.timestamp_ms, ..Raw::of(partition, offset, payload) };
                each(Event::Message(raw, read));
                bytes += read.max(MESSAGE_BYTES_MIN);
                cursor.next += 1;
            }
            if cursor.next >= list.len() {
                cursor.told = true;
                each(Event::CaughtUp(cursor.partition, Offset(cursor.next as i64)));
            }
            return Ok(Polled::More);
        }
        Ok(Polled::Nothing)
    }

    fn assign(&mut self, partition: Partition, next: Offset) -> Result<(), error::Error> {
        self.cursors.push(Cursor::new(partition, next));
        Ok(())
    }

    fn pause(&mut self, partition: Partition, paused: bool) {
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.partition == partition) {
            cursor.paused = paused;
        }
    }

    fn heard(&self, _partition: Partition) -> Option<Heard> {
        // It is all there.
        Some(Heard::ALWAYS)
    }
}

/// A row as text, with the output it came from and the epoch it left in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextRow {
    /// The output's name.
    pub output: String,
    /// The epoch.
    pub epoch: Epoch,
    /// Its cells as text; an empty string where there is none.
    pub cells: Vec<String>,
}

/// Rows and state in memory. Clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    rows: Vec<TextRow>,
    /// State by epoch, in the order it came.
    state: Vec<(Epoch, StateChange)>,
    /// What a run starts from.
    saved: BTreeMap<String, Vec<Saved>>,
}

impl Kept {
    /// All rows so far.
    pub fn rows(&self) -> Vec<TextRow> {
        self.lock().rows.clone()
    }

    /// Forgets rows and state of epochs after `epoch`, and makes the state up to it what the next run starts from.
    pub fn crash(&self, epoch: Option<Epoch>) {
        let mut inner = self.lock();
        let lives = |e: Epoch| epoch.is_some_and(|epoch| e <= epoch);
        inner.rows.retain(|row| lives(row.epoch));
        inner.state.retain(|(e, _)| lives(*e));
        inner.saved = read_back(&inner.state);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no thread panicked with this lock held")
    }
}

impl Sink for Kept {
    fn worker(&self, index: usize, workers: usize) -> Box<dyn WorkerSink> {
        Box::new(KeptWorker { kept: self.clone(), index, workers })
    }
}

struct KeptWorker {
    kept: Kept,
    index: usize,
    workers: usize,
}

impl WorkerSink for KeptWorker {
    fn rows(
        &mut self,
        output: &OutputSpec,
        _: Begins,
        _wake: Wake,
    ) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        let (kept, output) = (self.kept.clone(), output.name.clone());
        Box::new(AtOnce::new(move |epoch, rows: Box<dyn Rows>| {
            let mut inner = kept.lock();
            for row in 0..rows.len() {
                let mut cells = Vec::new();
                rows.cells(row, &mut |cell| cells.push(cell.to_string()));
                inner.rows.push(TextRow { output: output.clone(), epoch, cells });
            }
        }))
    }

    fn state(&mut self, _wake: Wake) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        let kept = self.kept.clone();
        Box::new(AtOnce::new(move |epoch, changes: Vec<StateChange>| {
            kept.lock().state.extend(changes.into_iter().map(|change| (epoch, change)));
        }))
    }

    fn saved(&mut self, operator: &str) -> Vec<Saved> {
        let mut saved = self.kept.lock().saved.get(operator).cloned().unwrap_or_default();
        saved.retain(|saved| saved.shard.owner(self.workers) == self.index);
        saved
    }
}
