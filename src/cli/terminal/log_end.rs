//! Where the log goes: to standard error, by a thread of its own.
//!
//! The reader of standard error may stop reading without going away, such as a pager or a stopped terminal: a write to it
//! waits then, for as long as it likes. No job may wait with it. So lines go through a bounded queue; what does not fit is
//! dropped, and counted in one line when the reader goes on. What cannot be written at all, since the reader has gone or its
//! disk is full, is dropped too: no log is worth a job.

use super::form::Form;
use super::text::visible_event;
use crossbeam_channel::{Sender, TrySendError, bounded};
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many lines may wait for their reader.
const LINES_MAX: usize = 4_096;

/// How long the end of the program waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

static QUEUE: OnceLock<Sender<Vec<u8>>> = OnceLock::new();
static QUEUED: AtomicU64 = AtomicU64::new(0);
static WRITTEN: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static IN_JSON: AtomicBool = AtomicBool::new(false);

/// Standard error as the log's end. Never waits, never fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd;

impl Write for LogEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        put(visible_event(&String::from_utf8_lossy(bytes)).into_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says in which form the log is.
pub(crate) fn form(form: Form) {
    IN_JSON.store(form == Form::Json, Ordering::SeqCst);
}

/// Queues a line.
fn put(line: Vec<u8>) {
    let queue = QUEUE.get_or_init(start);
    QUEUED.fetch_add(1, Ordering::SeqCst);
    if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(line) {
        QUEUED.fetch_sub(1, Ordering::SeqCst);
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

/// Starts the thread that writes.
fn start() -> Sender<Vec<u8>> {
    let (queue, lines) = bounded::<Vec<u8>>(LINES_MAX);
    let write = move || {
        for line in lines {
            let _ = io::stderr().write_all(&line);
            let dropped = DROPPED.swap(0, Ordering::SeqCst);
            if dropped > 0 {
                let what = format!("{dropped} lines of the log were dropped: nobody read them in time");
                let json =
                    format!("{{\"level\":\"WARN\",\"event\":\"log-dropped\",\"message\":\"{what}\"}}\n");
                let note = if IN_JSON.load(Ordering::SeqCst) { json } else { format!("{what}\n") };
                let _ = io::stderr().write_all(note.as_bytes());
            }
            WRITTEN.fetch_add(1, Ordering::SeqCst);
        }
    };
    // Without the thread every line is dropped, and counted.
    let _ = std::thread::Builder::new().name("headway-log".into()).spawn(write);
    queue
}

/// Writes `last`, the last words of the program, behind all that waits; gives up on a reader that does not read.
pub(crate) fn end(last: Option<&str>) {
    if let Some(last) = last {
        put(last.as_bytes().to_vec());
    }
    let began = Instant::now();
    while WRITTEN.load(Ordering::SeqCst) < QUEUED.load(Ordering::SeqCst) && began.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
}
