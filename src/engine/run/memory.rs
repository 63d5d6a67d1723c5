//! How much memory a process may take. Near the limit its sources pause; at the limit the job stops by name, with a table of
//! what is counted, before the system kills the process without a word.
//!
//! Two figures: *resident* memory, as the system counts it, decides; *counted* bytes, by operator and input, say where to look. The
//! second is smaller: it leaves out views, buffers of clients, and what the allocator holds in reserve.

use crate::engine::commit::state_files::{Headers, StateFiles};
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::format::board::{Counted, MemoryUse};
use crate::engine::format::manifest::StateId;
use crate::engine::guard::guard;
use crate::engine::run::board::Board;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use headway_operators::state::{Sections, Shard};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often resident memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The share of the limit, in hundredths, from which on sources pause.
const TIGHT: u64 = 90;

/// After how long a pause without anything to commit is no help: what is left is state.
const HELPLESS: Duration = Duration::from_secs(60);

/// What says how many bytes the process takes; `None` if the system does not say.
pub type Measure = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// The memory of one process. A clone is the same. Without a limit nothing is counted. One memory serves one run.
#[derive(Clone, Default)]
pub struct Memory(Option<Arc<Inner>>);

struct Inner {
    limit: u64,
    measure: Measure,
    is_tight: AtomicBool,
    inputs: Mutex<Vec<(String, Arc<AtomicU64>)>>,
    state: Mutex<StateFiles>,
}

/// The messages of one input that are read and not committed.
#[derive(Clone, Default)]
pub struct OpenMessages {
    memory: Memory,
    bytes: Arc<AtomicU64>,
}

impl Memory {
    /// At most `limit` bytes, as the system counts them; `None` is no limit.
    pub fn of(limit: Option<u64>) -> Memory {
        limit.map_or_else(Memory::default, |limit| Memory::measured(limit, Box::new(resident)))
    }

    /// At most `limit` bytes, as `measure` counts them.
    pub fn measured(limit: u64, measure: Measure) -> Memory {
        let (is_tight, inputs, state) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        Memory(Some(Arc::new(Inner { limit, measure, is_tight, inputs, state })))
    }

    /// True while sources are to pause.
    pub fn is_tight(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.is_tight.load(Ordering::Relaxed))
    }

    /// Lets sources pause, or read again.
    pub(super) fn pause(&self, paused: bool) {
        if let Some(inner) = &self.0 {
            inner.is_tight.store(paused, Ordering::Relaxed);
        }
    }

    /// Where the feeds of input `name` count its open messages.
    pub fn messages_of(&self, name: &str) -> OpenMessages {
        let open = OpenMessages { memory: self.clone(), bytes: Arc::default() };
        if let Some(inner) = &self.0 {
            locked(&inner.inputs).push((name.to_string(), Arc::clone(&open.bytes)));
        }
        open
    }

    /// Counts the state that this process reads, in place of what it has foreseen: those shards of the files with `headers` that are
    /// `mine`.
    pub fn restored(&self, headers: &Headers, mine: impl Fn(Shard) -> bool) {
        if let Some(inner) = &self.0 {
            *locked(&inner.state) = StateFiles::default();
        }
        for (id, sections) in headers {
            let list = sections.list.iter().filter(|section| mine(section.shard)).copied().collect();
            self.wrote(*id, &Sections { operators: sections.operators.clone(), list });
        }
    }

    /// Counts the sections of a state file that a worker of this process has read or written.
    pub fn wrote(&self, id: StateId, sections: &Sections) {
        if let Some(inner) = &self.0 {
            locked(&inner.state).add(id, sections);
        }
    }

    /// True if `more` bytes fit into what the process may take. It is asked where a start reads state, before [`Memory::watch`].
    pub fn has_room(&self, more: u64) -> bool {
        let fits =
            |inner: &Arc<Inner>| (inner.measure)().is_none_or(|held| held.saturating_add(more) < inner.limit);
        self.0.as_ref().is_none_or(fits)
    }

    /// The error of a process that has no room, with what is counted.
    pub fn full(&self) -> Error {
        let limit = self.0.as_ref().map_or(u64::MAX, |inner| inner.limit);
        let resident = self.0.as_ref().and_then(|inner| (inner.measure)()).unwrap_or_default();
        Error::MemoryLimit { limit, resident, counted: self.counted() }
    }

    /// What is counted, the most first.
    pub fn counted(&self) -> Vec<Counted> {
        let Some(inner) = &self.0 else { return Vec::new() };
        let state = locked(&inner.state).operator_bytes();
        let operators = state.into_iter().map(|(name, bytes)| (format!("state of {name}"), bytes));
        let inputs = locked(&inner.inputs).clone().into_iter();
        let inputs =
            inputs.map(|(name, bytes)| (format!("open messages of {name}"), bytes.load(Ordering::Relaxed)));
        let mut all: Vec<Counted> =
            operators.chain(inputs).map(|(name, bytes)| Counted { name, bytes }).collect();
        all.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
        all
    }

    /// Looks at the memory of the process until `stopped`; a thread of its own, if there is a limit.
    pub fn watch(&self, board: Board, stopped: Receiver<()>, control: &Control) -> Option<JoinHandle<()>> {
        let inner = Arc::clone(self.0.as_ref()?);
        let (memory, shared) = (self.clone(), control.clone());
        let body = move || {
            let mut helpless = None;
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let Some(resident) = (inner.measure)() else { continue };
                let state = memory.judge(resident, &mut helpless, Instant::now());
                let paused = state != Judged::Fits;
                memory.pause(paused);
                board.memory(MemoryUse { resident, limit: inner.limit, paused });
                if state == Judged::Over {
                    let (limit, counted) = (inner.limit, memory.counted());
                    return shared.fail(Error::MemoryLimit { limit, resident, counted });
                }
            }
        };
        let thread = std::thread::Builder::new().name("headway-memory".into());
        Some(thread.spawn(guard(control.clone(), body)).expect("a thread can be started"))
    }

    /// What `resident` bytes mean at `now`; `helpless` is since when sources pause and nothing is left to commit.
    fn judge(&self, resident: u64, helpless: &mut Option<Instant>, now: Instant) -> Judged {
        let Some(inner) = &self.0 else { return Judged::Fits };
        if resident < inner.limit / 100 * TIGHT {
            *helpless = None;
            return Judged::Fits;
        }
        let is_open = locked(&inner.inputs).iter().any(|(_, bytes)| bytes.load(Ordering::Relaxed) > 0);
        if is_open {
            *helpless = None;
        } else {
            helpless.get_or_insert(now);
        }
        let too_long = helpless.is_some_and(|since| now.saturating_duration_since(since) >= HELPLESS);
        if resident >= inner.limit || too_long { Judged::Over } else { Judged::Tight }
    }
}

/// What memory means for the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// Sources may read.
    Fits,
    /// Sources pause.
    Tight,
    /// The job stops.
    Over,
}

/// Nothing is half written where a thread panics: each change is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenMessages {
    /// True while the source is to pause.
    pub fn is_paused(&self) -> bool {
        self.memory.is_tight()
    }

    /// Counts messages that were read.
    pub fn opened(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts messages whose epoch is resolved.
    pub fn closed(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The resident memory of this process in bytes; `None` if the system does not say.
fn resident() -> Option<u64> {
    resident_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The resident memory in the text of `/proc/self/status`, which counts in units of 1,024 bytes.
fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Manual;
    use crate::engine::format::names::Generation;
    use headway_operators::state::{OperatorHead, SectionHead, SectionKind};
    use headway_operators::time::Epoch;

    #[test]
    fn sources_pause_at_nine_tenths_and_the_job_stops_at_the_limit() {
        let memory = Memory::of(Some(1_000));
        let (now, mut helpless) = (Instant::now(), None);
        let mut judge =
            |resident, seconds| memory.judge(resident, &mut helpless, now + Duration::from_secs(seconds));
        assert_eq!([judge(899, 0), judge(900, 1), judge(999, 2), judge(1_000, 3)], {
            use Judged::{Fits, Over, Tight};
            [Fits, Tight, Tight, Over]
        });
        assert_eq!(judge(10, 4), Judged::Fits);
        assert_eq!(judge(900, 5), Judged::Tight);
        assert_eq!(judge(900, 64), Judged::Tight);
        assert_eq!(judge(900, 65), Judged::Over, "a pause of a minute has freed nothing");
        assert_eq!(judge(10, 66), Judged::Fits);
        let open = memory.messages_of("gate");
        open.opened(5);
        let mut judge =
            |resident, seconds| memory.judge(resident, &mut helpless, now + Duration::from_secs(seconds));
        assert_eq!(
            (judge(900, 70), judge(900, 1_000)),
            (Judged::Tight, Judged::Tight),
            "commits will free it"
        );
        open.closed(5);
        assert_eq!((judge(900, 1_001), judge(900, 1_061)), (Judged::Tight, Judged::Over));
        assert_eq!(Memory::default().judge(u64::MAX, &mut None, now), Judged::Fits);
    }

    #[test]
    fn bytes_are_counted_by_operator_and_input_the_most_first() {
        let memory = Memory::of(Some(1_000));
        let id = |epoch| StateId { generation: Generation(1), epoch: Epoch(epoch), worker: 0, part: 0 };
        let sections = |bytes| Sections {
            operators: vec![OperatorHead { name: "Dedup".into(), version: 1 }],
            list: vec![SectionHead { operator: 0, shard: Shard(3), kind: SectionKind::Base, bytes, xxh3: 0 }],
        };
        memory.wrote(id(1), &sections(70));
        let open = memory.messages_of("gate");
        open.opened(200);
        // The new base takes the place of the one before it.
        memory.wrote(id(2), &sections(90));
        let counted = |name: &str, bytes| Counted { name: name.into(), bytes };
        assert_eq!(memory.counted(), [counted("open messages of gate", 200), counted("state of Dedup", 90)]);
    }

    #[test]
    fn process_that_takes_more_than_it_may_stops_by_name() {
        let (memory, control) = (Memory::of(Some(1 << 20)), Control::new());
        let board = Board::new(Arc::new(Manual::default()));
        let (_stop, stopped) = crossbeam_channel::bounded(0);
        let thread = memory.watch(board.clone(), stopped, &control).expect("there is a limit");
        thread.join().expect("it ends by itself");
        let error = control.take_failure().expect("a test takes more than a megabyte");
        assert_eq!((error.code(), memory.is_tight()), ("memory-limit", true));
        let shown = board.snapshot().memory.expect("it was looked at");
        assert!(shown.paused && shown.resident > shown.limit, "{shown:?}");
    }

    #[test]
    fn start_asks_for_room_before_it_reads_state() {
        let memory = Memory::of(Some(u64::MAX));
        assert!(memory.has_room(1 << 30) && !memory.has_room(u64::MAX));
        assert!(!Memory::of(Some(1 << 20)).has_room(0), "a test takes more than a megabyte");
        assert!(Memory::default().has_room(u64::MAX));
        assert_eq!(memory.full().code(), "memory-limit");
    }

    #[test]
    fn resident_memory_is_what_the_system_says() {
        assert_eq!(resident_of("VmPeak:\t  9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_of("VmRSS: lots\n"), None);
        assert!(resident().is_some_and(|bytes| bytes > 1 << 20), "this test takes some");
    }
}
