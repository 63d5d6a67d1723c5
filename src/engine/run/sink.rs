//! The lake as a sink: what an epoch gave is written, synced and verified where no reader looks.
//!
//! ```text
//! worker ──put (rows, state)──► stager thread: encode ► write ► fsync ► read back ──done, wake──► worker ► ack
//! ```
//!
//! One thread a worker does the I/O of all its outputs and its state, in the order it was given. A file that could not
//! be written, synced or verified stops the job (`disk-full`, `disk-sync-failed`, `store-inconsistent`), and its epoch
//! is never acked, so it can never be committed. The thread ends before the worker does: once a run has ended, nothing
//! of it writes any more.

use crate::connect::formats::{csv_gz, encoder};
use crate::connect::{Begins, Sink, Wake, WorkerSink};
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::staged;
use crate::engine::control::Control;
use crate::engine::failpoint;
use crate::engine::format::folders::parts;
use crate::engine::format::manifest::StateId;
use crate::engine::format::names;
use crate::engine::format::names::Generation;
use crate::engine::format::state;
use crate::engine::guard::guard;
use crate::engine::run::board::Board;
use crate::engine::run::memory::Memory;
use crate::engine::run::refill::{Past, WorkerFacts};
use crate::engine::run::views::{NoViews, ViewStage, Views};
use crate::store::Store;
use crossbeam_channel::{Receiver, Sender};
use headway_operators::ack::{Place, StagedFile, StateFile};
use headway_operators::port::{RestoredRows, Stage};
use headway_operators::row::Rows;
use headway_operators::spec::{OutputSpec, roll_of};
use headway_operators::state::{Saved, StateChange};
use headway_operators::time::Epoch;
use headway_operators::view::refill::{CommittedRows, Refill};
use headway_operators::view::row::ViewUpdate;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How many pieces of work may wait for the thread of a worker. Sources are at most a few epochs ahead, so it is more
/// than there ever are; if not, `put` waits for the oldest to be written.
const QUEUE: usize = 256;

/// Saved state by operator and owning worker.
pub type SavedByWorker = BTreeMap<(String, usize), Vec<Saved>>;

/// What a run needs to write to a lake.
#[derive(Clone)]
pub struct Lake {
    /// The lake.
    pub store: Arc<dyn Store>,
    /// The job's name.
    pub job: String,
    /// The generation of this run.
    pub generation: Generation,
    /// How CSV files look.
    pub csv: csv_gz::Options,
    /// What the run starts from, by operator and owning worker. Each worker takes its own, once.
    pub saved: Arc<Mutex<SavedByWorker>>,
    /// The content of views; `None` in a process that does not commit.
    pub views: Option<Arc<Views>>,
    /// Committed facts for operators of views that are new to the job; `None` if none is new.
    pub facts: Option<Arc<Past>>,
    /// Where failures are reported.
    pub control: Control,
    /// Where the bytes of state are counted.
    pub memory: Memory,
    /// Where the threads that write say what they do.
    pub board: Board,
}

/// A piece of work for a stager thread, and the epoch that it is of.
type Job = (Epoch, Box<dyn FnOnce(&Lake) -> Result<(), CheckpointError> + Send>);

impl Sink for Lake {
    fn worker(&self, index: usize, workers: usize) -> Box<dyn WorkerSink> {
        let thread = Rc::new(Stager::start(self.clone(), index));
        Box::new(LakeWorker { lake: self.clone(), index, workers, thread, open: BTreeMap::new() })
    }
}

/// The thread of a worker that writes. Shared by the stages of that worker; ends with the last of them.
struct Stager {
    jobs: Option<Sender<Job>>,
    /// Nobody waits for what is still queued.
    abandoned: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stager {
    fn start(lake: Lake, index: usize) -> Stager {
        let (jobs, todo) = crossbeam_channel::bounded::<Job>(QUEUE);
        let abandoned = Arc::new(AtomicBool::new(false));
        let (given_up, control) = (Arc::clone(&abandoned), lake.control.clone());
        let run = move || {
            for (epoch, job) in todo.iter() {
                if given_up.load(Ordering::SeqCst) || lake.control.is_stopped() {
                    return;
                }
                lake.board.stage_begins(index, todo.len());
                if let Err(error) = job(&lake) {
                    return lake.control.fail(error.into());
                }
                lake.board.stage_ends(index, todo.len(), epoch);
            }
        };
        let thread = std::thread::Builder::new().name(format!("headway-stage-{index}"));
        let thread = thread.spawn(guard(control, run)).expect("a thread can be started");
        Stager { jobs: Some(jobs), abandoned, thread: Some(thread) }
    }
}

impl Drop for Stager {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::SeqCst);
        self.jobs = None;
        // A panic was reported by the guard.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

struct LakeWorker {
    lake: Lake,
    index: usize,
    workers: usize,
    thread: Rc<Stager>,
    /// If new views need the facts of open files: by roll, a copy of the saved state that the roll has taken, for the view that reads it.
    open: BTreeMap<String, Vec<Saved>>,
}

/// Which epoch a piece of work belongs to.
#[derive(Clone, Copy)]
struct At {
    epoch: Epoch,
    /// The first epoch whose records may be in it.
    since: Epoch,
    /// When the worker began the epoch.
    began_ms: i64,
}

impl LakeWorker {
    /// A stage whose work `write` does on the thread.
    fn stage<Work: Send + 'static, Done: Send + 'static>(
        &self,
        begins: Begins,
        wake: Wake,
        write: impl Fn(&Lake, At, Work) -> Result<Vec<Done>, CheckpointError> + Send + Sync + 'static,
    ) -> Box<dyn Stage<Work, Done>> {
        let (answer, done) = crossbeam_channel::unbounded();
        let shared = Arc::new((wake, write, answer));
        let (thread, board) = (Rc::clone(&self.thread), self.lake.board.clone());
        let put = Box::new(move |epoch, since, work| {
            let shared = Arc::clone(&shared);
            let at = At { epoch, since, began_ms: begins.of(epoch) };
            let job = move |lake: &Lake| {
                let (wake, write, answer) = &*shared;
                let written = write(lake, at, work)?;
                // Nobody listens any more only where the worker has ended.
                let _ = answer.send((epoch, written));
                wake();
                Ok(())
            };
            board.handed(epoch);
            // If the thread is gone, it has told why.
            let _ = thread.jobs.as_ref().map(|jobs| jobs.send((epoch, Box::new(job))));
        });
        Box::new(ThreadStage { put, done })
    }
}

impl WorkerSink for LakeWorker {
    fn rows(
        &mut self,
        output: &OutputSpec,
        begins: Begins,
        wake: Wake,
    ) -> Box<dyn Stage<Box<dyn Rows>, StagedFile>> {
        let (output, worker) = (output.clone(), part_number(self.index));
        let part = (self.workers > 1).then_some(worker);
        self.stage(begins, wake, move |lake, at, rows: Box<dyn Rows>| {
            let name = names::lake_file(&output, at.epoch, at.began_ms, part);
            let file = NewFile { name, since: at.since };
            lake.stage_rows(&output, lake.stage(at.epoch, worker), file, rows.as_ref())
        })
    }

    fn state(&mut self, wake: Wake) -> Box<dyn Stage<Vec<StateChange>, StateFile>> {
        let worker = part_number(self.index);
        self.stage(Begins::default(), wake, move |lake, at, changes| {
            lake.stage_state(lake.stage(at.epoch, worker), changes)
        })
    }

    fn views(&mut self) -> Option<Box<dyn Stage<Vec<ViewUpdate>, StagedFile>>> {
        Some(match &self.lake.views {
            Some(views) => Box::new(ViewStage::new(Arc::clone(views))),
            None => Box::new(NoViews::default()),
        })
    }

    fn restored_rows(&mut self) -> Option<RestoredRows> {
        let views = Arc::clone(self.lake.views.as_ref()?);
        Some(Box::new(move |updates| views.restore(updates)))
    }

    fn committed_rows(&mut self, outputs: Refill) -> Option<Box<dyn CommittedRows>> {
        let past = Arc::clone(self.lake.facts.as_ref()?);
        let part = past.parts.iter().position(|part| part.output == outputs.facts)?;
        // The roll takes its state for itself, before or after this.
        let roll = roll_of(outputs.facts);
        let open =
            self.open.remove(&roll).or_else(|| self.of_worker(&roll, |saved, at| saved.get(at).cloned()));
        let (store, control) = (Arc::clone(&self.lake.store), self.lake.control.clone());
        let (next, workers) = (self.index, self.workers);
        Some(Box::new(WorkerFacts { store, past, part, next, workers, open, control }))
    }

    fn saved(&mut self, operator: &str) -> Vec<Saved> {
        let saved = self.of_worker(operator, |saved, at| saved.remove(at)).unwrap_or_default();
        let is_read = |past: &Arc<Past>| past.parts.iter().any(|part| roll_of(&part.output) == operator);
        if self.lake.facts.as_ref().is_some_and(is_read) {
            self.open.insert(operator.to_string(), saved.clone());
        }
        saved
    }
}

impl LakeWorker {
    /// What `take` does with the saved state of `operator` on this worker.
    fn of_worker<T>(
        &self,
        operator: &str,
        take: impl FnOnce(&mut SavedByWorker, &(String, usize)) -> T,
    ) -> T {
        let mut saved = self.lake.saved.lock().expect("no thread panicked with this lock held");
        take(&mut saved, &(operator.to_string(), self.index))
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

/// A lake file before it is written.
struct NewFile {
    /// What it will be called when it is published.
    name: String,
    /// The first epoch whose records may be in it.
    since: Epoch,
}

impl Lake {
    fn stage(&self, epoch: Epoch, worker: u32) -> names::Stage {
        names::Stage { generation: self.generation, epoch, worker }
    }

    /// Writes the rows of one output, epoch and worker: a file for each folder that they lie in.
    fn stage_rows(
        &self,
        output: &OutputSpec,
        at: names::Stage,
        file: NewFile,
        rows: &dyn Rows,
    ) -> Result<Vec<StagedFile>, CheckpointError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let encoder = encoder(output.format, self.csv);
        let mut files = Vec::new();
        for part in parts(rows, output) {
            let name = names::staged(&self.job, at, &output.name, files.len());
            let (bytes, checksum) =
                staged::write(self.store.as_ref(), &name, |out| encoder.write(&part, output, out))?;
            failpoint::at("stage.rows");
            files.push(StagedFile {
                output: output.name.clone(),
                folder: format!("{}/{}", output.prefix, part.folder),
                name: file.name.clone(),
                staged: Place::whole(name),
                rows: part.len() as u64,
                bytes,
                checksum,
                event_time: part.event_time(),
                since: file.since,
            });
        }
        Ok(files)
    }

    /// Writes the changes of one epoch and worker: one file, whatever operators there are.
    fn stage_state(
        &self,
        at: names::Stage,
        mut changes: Vec<StateChange>,
    ) -> Result<Vec<StateFile>, CheckpointError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let names::Stage { generation, epoch, worker } = at;
        let author = state::Author { job: &self.job, generation, epoch, worker };
        changes.sort_by(|a, b| (&a.operator, a.shard).cmp(&(&b.operator, b.shard)));
        let mut written = None;
        let (bytes, checksum) = staged::write(self.store.as_ref(), &names::state(&self.job, at), |out| {
            written = Some(state::write(out, author, &changes)?);
            Ok(())
        })?;
        failpoint::at("stage.state");
        let state::Written { header_bytes, sections } = written.expect("it was written");
        self.memory.wrote(StateId { generation, epoch, worker, part: 0 }, &sections);
        Ok(vec![StateFile { worker, bytes, header_bytes, checksum, place: None, sections }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::System;
    use crate::engine::commit::staged::digest;
    use crate::engine::error::Error;
    use crate::engine::run::memory;
    use crate::store::faulty::{Fault, Faulty};
    use crate::store::memory::{Call, Memory};
    use headway_operators::row::{Cell, Column, Kind, Row};
    use headway_operators::spec::Format;
    use headway_operators::state::{SectionHead, SectionKind, Shard};
    use headway_operators::time::EventTime;
    use std::io::{self, Read};

    #[derive(Clone)]
    struct Number(i64);

    impl Row for Number {
        fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
            assert!(self.0 >= 0, "a number that a test planted");
            put(Cell::Int(self.0));
        }

        fn time(&self) -> EventTime {
            EventTime(self.0)
        }
    }

    fn output() -> OutputSpec {
        OutputSpec {
            name: "numbers".into(),
            prefix: "numbers".into(),
            stem: "batch".into(),
            format: Format::CsvGz,
            columns: vec![Column::new("N", Kind::Int)],
            folders: None,
        }
    }

    /// A worker that writes to `store`; the second value hears each wake.
    struct Worker {
        control: Control,
        rows: Box<dyn Stage<Box<dyn Rows>, StagedFile>>,
        state: Box<dyn Stage<Vec<StateChange>, StateFile>>,
        woken: Receiver<()>,
    }

    fn worker(store: Arc<dyn Store>) -> Worker {
        let control = Control::new();
        let lake = Lake {
            store,
            job: "gate".into(),
            generation: Generation(3),
            csv: csv_gz::Options::default(),
            saved: Arc::default(),
            views: None,
            facts: None,
            control: control.clone(),
            memory: memory::Memory::default(),
            board: Board::new(Arc::new(System::default())),
        };
        let mut sink = lake.worker(1, 2);
        let (wake, woken) = crossbeam_channel::unbounded();
        let waker = || -> Wake {
            let wake = wake.clone();
            Box::new(move || {
                let _ = wake.send(());
            })
        };
        let begins = Begins::default();
        begins.note(Epoch(7), 1_706_659_199_999);
        Worker { control, rows: sink.rows(&output(), begins, waker()), state: sink.state(waker()), woken }
    }

    fn numbers(numbers: &[i64]) -> Box<dyn Rows> {
        Box::new(numbers.iter().map(|number| Number(*number)).collect::<Vec<_>>())
    }

    fn change(operator: &str, shard: u16, bytes: Vec<u8>) -> StateChange {
        StateChange {
            operator: operator.into(),
            shard: Shard(shard),
            version: 1,
            kind: SectionKind::Base,
            bytes,
        }
    }

    #[test]
    fn rows_are_staged_durably_with_what_a_manifest_says_of_them() {
        let files = Memory::new();
        let mut worker = worker(Arc::new(files.clone()));
        worker.rows.put(Epoch(7), Epoch(5), numbers(&[40, 2, 9]));
        worker.rows.put(Epoch(8), Epoch(8), numbers(&[]));
        worker.rows.put(Epoch(9), Epoch(9), numbers(&[1]));
        hear(&worker.control, &worker.woken, 3);
        let (epoch, done) = worker.rows.done().unwrap();
        let staged = done.into_iter().next().unwrap();
        assert_eq!((epoch, staged.rows, staged.since), (Epoch(7), 3, Epoch(5)));
        let name = (staged.folder.as_str(), staged.name.as_str());
        assert_eq!(
            name,
            ("numbers/", "batch_7_20240130_235959_1.csv.gz"),
            "when the epoch began, and which worker"
        );
        assert_eq!(staged.event_time, Some((EventTime(2), EventTime(40))));
        assert_eq!(worker.rows.done(), Some((Epoch(8), Vec::new())), "an epoch without rows has no file");
        assert_eq!(worker.rows.done().map(|(epoch, done)| (epoch, done.len())), Some((Epoch(9), 1)));
        assert_eq!(worker.rows.done(), None);
        files.power_cut();
        let bytes = &files.files()[&staged.staged.name];
        assert_eq!((bytes.len() as u64, digest(Box::new(io::Cursor::new(Arc::clone(bytes)))).unwrap().1), {
            (staged.bytes, u128::from_str_radix(&staged.checksum, 16).unwrap())
        });
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "N\n40\n2\n9\n");
    }

    #[test]
    fn state_of_all_operators_is_one_file_and_comes_back() {
        let files = Memory::new();
        let mut worker = worker(Arc::new(files.clone()));
        let changes =
            vec![change("Sum", 3, vec![3; 9]), change("Roll", 1, vec![]), change("Sum", 5, vec![5])];
        worker.state.put(Epoch(7), Epoch(7), changes);
        hear(&worker.control, &worker.woken, 1);
        let (epoch, done) = worker.state.done().unwrap();
        let [file] = &done[..] else { panic!("one file: {done:?}") };
        assert_eq!((epoch, file.worker), (Epoch(7), 1));
        files.power_cut();
        let bytes = &files.files()["_headway/gate/state/3/7/0001.state"];
        let (header, sections) = state::decode(bytes).unwrap();
        assert_eq!((&header.sections, bytes.len() as u64), (&file.sections, file.bytes));
        let operator =
            |head: &SectionHead| header.sections.operators[usize::from(head.operator)].name.as_str();
        let shards: Vec<_> = header.sections.list.iter().map(|head| (operator(head), head.shard.0)).collect();
        assert_eq!(shards, [("Roll", 1), ("Sum", 3), ("Sum", 5)]);
        assert_eq!(sections, [&[][..], &[3; 9], &[5]]);
    }

    /// Waits for `answers` wakes. That the job stops before is a failure.
    fn hear(control: &Control, woken: &Receiver<()>, mut answers: usize) {
        while answers > 0 {
            answers -= woken.try_iter().take(answers).count();
            assert!(!control.is_stopped(), "the job stopped: {:?}", control.take_failure());
            std::thread::yield_now();
        }
    }

    /// Waits until the job has stopped. That every put was answered and it still runs is a failure.
    fn until_stopped(control: &Control, woken: &Receiver<()>, puts: usize) {
        let mut answers = 0;
        while !control.is_stopped() {
            answers += woken.try_iter().count();
            assert!(answers < puts, "all was written, and nothing stopped the job");
            std::thread::yield_now();
        }
    }

    /// The code, exit code and message a job stops with when `fault` strikes.
    fn stopped_by(call: Call, fault: Fault) -> (&'static str, u8, String) {
        let files = Memory::new();
        let store = Faulty::new(Arc::new(files.clone()), 1);
        let Worker { control, mut rows, mut state, woken } = worker(Arc::new(store.clone()));
        rows.put(Epoch(7), Epoch(7), numbers(&[1]));
        hear(&control, &woken, 1);
        assert_eq!(rows.done().map(|(epoch, _)| epoch), Some(Epoch(7)));
        let next = store.calls(call) + 1;
        drop(store.at(call, next, fault));
        rows.put(Epoch(8), Epoch(8), numbers(&[2]));
        rows.put(Epoch(9), Epoch(9), numbers(&[3]));
        state.put(Epoch(9), Epoch(9), vec![change("Sum", 3, vec![3; 9])]);
        until_stopped(&control, &woken, 3);
        assert_eq!(rows.done(), None, "what was not written is not done");
        assert_eq!(state.done(), None, "nothing is written after a failure");
        drop((rows, state));
        assert!(files.files().keys().all(|name| !name.contains("/9/")));
        let error: Error = control.take_failure().unwrap();
        (error.code(), error.exit_code(), error.to_string())
    }

    #[test]
    fn failure_stops_the_job_by_name_and_the_epoch_is_never_done() {
        let full = Fault::Refused(io::ErrorKind::StorageFull);
        let (code, exit, message) = stopped_by(Call::Write, full);
        assert_eq!((code, exit), ("disk-full", 3));
        assert!(message.contains("_headway/gate/stage/3/8/"), "{message}");
        assert_eq!(stopped_by(Call::Stage, full).0, "disk-full");
        let other = Fault::Refused(io::ErrorKind::Other);
        let (code, exit, message) = stopped_by(Call::Finish, other);
        assert_eq!((code, exit), ("disk-sync-failed", 5));
        assert!(message.contains("_headway/gate/stage/3/8/"), "{message}");
        assert_eq!(stopped_by(Call::Stage, other).0, "store-failed");
        assert_eq!(stopped_by(Call::Open, other).0, "store-failed");
    }

    #[test]
    fn panic_on_the_thread_stops_the_job() {
        let Worker { control, mut rows, state, woken } = worker(Arc::new(Memory::new()));
        rows.put(Epoch(1), Epoch(1), numbers(&[-1]));
        until_stopped(&control, &woken, 1);
        drop((rows, state));
        assert!(woken.recv().is_err());
        assert_eq!(control.take_failure().map(|error| error.code()), Some("panicked"));
    }
}
