//! The lake as a sink: what an epoch gave is written, synced and verified where no reader looks.
//!
//! ```text
//! worker ──put (rows, state)──► stager thread: encode ► write ► fsync ► read back ──done, wake──► worker ► ack
//! ```
//!
//! One thread a worker does the I/O of all its outputs and its state, in the order it was given. A file that could not
//! be written, synced or verified stops the job, and its epoch is never acked, so it can never be committed.

use crate::connect::{Sink, Wake, WorkerSink, csv_gz, ndjson_gz};
use crate::engine::checkpoint_error::CheckpointError;
use crate::engine::control::Control;
use crate::engine::names;
use crate::engine::state;
use crate::engine::worker::guard;
use crate::store::{self, Store};
use crossbeam_channel::{Receiver, Sender};
use headway_operators::ack::{StagedFile, StateFile};
use headway_operators::pipeline::{Format, OutputSpec};
use headway_operators::port::Stage;
use headway_operators::row::Rows;
use headway_operators::state::{Saved, StateChange};
use headway_operators::time::Epoch;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// How many epochs of one stage may wait for the thread. More than sources may be ahead, so `put` never waits.
const QUEUE: usize = 64;

/// What a run needs to write to a lake.
#[derive(Clone)]
pub struct Lake {
    /// The lake.
    pub store: Arc<dyn Store>,
    /// The job's name.
    pub job: String,
    /// The generation of this run.
    pub generation: u64,
    /// How CSV files look.
    pub csv: csv_gz::Options,
    /// What the run starts from, by operator, oldest first.
    pub saved: Arc<BTreeMap<String, Vec<Saved>>>,
    /// Where failures are reported.
    pub control: Control,
}

/// A piece of work for a stager thread.
type Job = Box<dyn FnOnce(&Lake) -> Result<(), store::Error> + Send>;

impl Sink for Lake {
    fn worker(&self, index: usize, workers: usize) -> Box<dyn WorkerSink> {
        let (jobs, todo) = crossbeam_channel::bounded::<Job>(QUEUE);
        let lake = self.clone();
        let run = move || {
            for job in todo {
                if lake.control.is_stopped() {
                    return;
                }
                if let Err(error) = job(&lake) {
                    return lake.control.fail(CheckpointError::from(error).into());
                }
            }
        };
        let name = format!("headway-stage-{index}");
        let thread = std::thread::Builder::new().name(name).spawn(guard(self.control.clone(), run));
        thread.expect("a thread can be started");
        Box::new(LakeWorker { lake: self.clone(), index, workers, jobs })
    }
}

struct LakeWorker {
    lake: Lake,
    index: usize,
    workers: usize,
    jobs: Sender<Job>,
}

impl LakeWorker {
    /// A stage whose work `write` does on the thread.
    fn stage<Work: Send + 'static, Done: Send + 'static>(
        &self,
        wake: Wake,
        write: impl Fn(&Lake, Epoch, Epoch, Work) -> Result<Vec<Done>, store::Error> + Send + Sync + 'static,
    ) -> Box<dyn Stage<Work, Done>> {
        let (answer, done) = crossbeam_channel::unbounded();
        let shared = Arc::new((wake, write, answer));
        let jobs = self.jobs.clone();
        let put = Box::new(move |epoch, since, work| {
            let shared = Arc::clone(&shared);
            // If the thread is gone, it has told why.
            let _ = jobs.send(Box::new(move |lake: &Lake| {
                let (wake, write, answer) = &*shared;
                let written = write(lake, epoch, since, work)?;
                let _ = answer.send((epoch, written));
                wake();
                Ok(())
            }));
        });
        Box::new(ThreadStage { put, done })
    }
}

impl WorkerSink for LakeWorker {
    fn rows(&mut self, output: &OutputSpec, wake: Wake) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        let (output, part) = (output.clone(), part_number(self.index));
        self.stage(wake, move |lake, epoch, since, rows: Box<dyn Rows>| {
            lake.stage_rows(&output, (epoch, since, part), rows.as_ref())
        })
    }

    fn state(&mut self, wake: Wake) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        let worker = part_number(self.index);
        self.stage(wake, move |lake, epoch, _since, changes| lake.stage_state(epoch, worker, changes))
    }

    fn saved(&mut self, operator: &str) -> Vec<Saved> {
        let all = self.lake.saved.get(operator).map_or(&[][..], Vec::as_slice);
        all.iter().filter(|saved| saved.shard.owner(self.workers) == self.index).cloned().collect()
    }
}

fn part_number(worker: usize) -> u32 {
    u32::try_from(worker).expect("there are not that many workers")
}

/// Hands work to the thread of a worker.
struct ThreadStage<Work, Done> {
    put: Box<dyn Fn(Epoch, Epoch, Work)>,
    done: Receiver<(Epoch, Vec<Done>)>,
}

impl<Work, Done> Stage<Work, Done> for ThreadStage<Work, Done> {
    fn put(&mut self, epoch: Epoch, since: Epoch, work: Work) {
        (self.put)(epoch, since, work);
    }

    fn done(&mut self) -> Option<(Epoch, Vec<Done>)> {
        self.done.try_recv().ok()
    }
}

impl Lake {
    /// Writes the rows of one output, epoch and worker.
    fn stage_rows(
        &self,
        output: &OutputSpec,
        (epoch, since, part): (Epoch, Epoch, u32),
        rows: &dyn Rows,
    ) -> Result<Vec<StagedFile>, store::Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let staged = names::staged(&self.job, (self.generation, epoch), (&output.name, part));
        let (bytes, checksum) = self.write(&staged, |out| match output.format {
            Format::CsvGz => csv_gz::write(rows, output, self.csv, out),
            Format::NdjsonGz => ndjson_gz::write(rows, output, out),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "no writer for this format")),
        })?;
        let (output, event_time, rows) = (output.name.clone(), rows.event_time(), rows.len() as u64);
        Ok(vec![StagedFile { output, part, staged, rows, bytes, checksum, event_time, since }])
    }

    /// Writes the changes of one epoch and worker: a file an operator.
    fn stage_state(
        &self,
        epoch: Epoch,
        worker: u32,
        changes: Vec<StateChange>,
    ) -> Result<Vec<StateFile>, store::Error> {
        let mut operators: BTreeMap<String, Vec<StateChange>> = BTreeMap::new();
        for change in changes {
            operators.entry(change.operator.clone()).or_default().push(change);
        }
        let write = |(operator, changes): (String, Vec<StateChange>)| {
            let (base, version, shards) = (changes[0].base, changes[0].version, changes.len());
            let file = state::encode(&self.job, self.generation, epoch, worker, &changes);
            let path = names::state(&self.job, (self.generation, epoch), (&operator, worker), base);
            let (bytes, checksum) = self.write(&path, |out| out.write_all(&file))?;
            let shards = u32::try_from(shards).expect("there are not that many shards");
            Ok(StateFile { operator, version, worker, base, path, bytes, checksum, shards })
        };
        operators.into_iter().map(write).collect()
    }

    /// Writes a file that no reader is told of, syncs it and reads it back; its size and checksum.
    fn write(
        &self,
        name: &str,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(u64, String), store::Error> {
        let failed = |source| store::Error::Failed { verb: "write", name: self.store.describe(name), source };
        let mut staged = Counted { inner: self.store.stage(name)?, hash: Xxh3::new(), bytes: 0 };
        content(&mut staged).map_err(failed)?;
        let (written, checksum) = (staged.bytes, staged.hash.digest128());
        staged.inner.finish()?;
        // 2. What a reader would see is what was meant.
        let found = self.store.open(name)?.map(digest).transpose().map_err(failed)?;
        if found != Some((written, checksum)) {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it reads back differently")));
        }
        Ok((written, format!("{checksum:032x}")))
    }
}

/// Length and xxh3-128 of what `reader` gives.
fn digest(mut reader: Box<dyn Read + Send>) -> io::Result<(u64, u128)> {
    let (mut hash, mut bytes, mut buffer) = (Xxh3::new(), 0, vec![0; 64 << 10]);
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hash.digest128()));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Counts and hashes what passes.
struct Counted {
    inner: Box<dyn store::Staged>,
    hash: Xxh3,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
