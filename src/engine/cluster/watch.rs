//! The thread that listens to the other processes while a job runs.

use crate::connect::End;
use crate::engine::cluster::crew::{Crew, Received};
use crate::engine::cluster::message::Message;
use crate::engine::cluster::torn;
use crate::engine::commit::discovered::Discovered;
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::format::board::Snapshot;
use crate::engine::guard::guard;
use crate::mesh::Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long one look for a message waits.
const LOOK: Duration = Duration::from_millis(20);

/// How often a member says where its partitions end, and what is on its board.
const TELL: Duration = Duration::from_secs(1);

/// Takes what a worker of another process has restored of an operator.
pub type OnRestored = Box<dyn Fn(&str, u64) -> Result<(), Error> + Send>;

/// Takes what is on the board of another process.
pub type OnBoard = Box<dyn Fn(Process, Snapshot) + Send>;

/// What the thread acts on.
pub struct Ear {
    /// The job's handle.
    pub control: Control,
    /// Partitions that have appeared, by input.
    pub discovered: Vec<Discovered>,
    /// Where partitions end that this process reads, by input.
    pub ends: Box<dyn Fn() -> Vec<Vec<End>> + Send>,
    /// What is on the board of this process.
    pub board: Box<dyn Fn() -> Snapshot + Send>,
    /// Takes what other processes have restored.
    pub on_restored: OnRestored,
    /// Takes what is on the board of another process.
    pub on_board: OnBoard,
}

/// The thread. Dropped, it ends.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Listens from now on.
    pub fn start(crew: Arc<Crew>, ear: Ear) -> Watch {
        torn::set(Some(ear.control.clone()));
        let over = Arc::new(AtomicBool::new(false));
        let (ending, control) = (Arc::clone(&over), ear.control.clone());
        let listen = move || {
            let mut told = Instant::now();
            while !ending.load(Ordering::SeqCst) {
                match crew.receive(&ear.control, LOOK) {
                    Ok(received) => received.into_iter().for_each(|received| hear(&crew, &ear, received)),
                    Err(error) => return ear.control.fail(error),
                }
                if !crew.leads() && told.elapsed() >= TELL {
                    told = Instant::now();
                    crew.tell_ends((ear.ends)());
                    crew.tell_board((ear.board)());
                }
            }
        };
        let thread = std::thread::Builder::new().name("headway-crew".into()).spawn(guard(control, listen));
        Watch { over, thread: Some(thread.expect("a thread can be started")) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // A panic was reported by the guard.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn hear(crew: &Crew, ear: &Ear, Received { from, message }: Received) {
    match message {
        Message::Found { input, info } => {
            if let Some(discovered) = ear.discovered.get(input) {
                discovered.announce(info);
            }
        }
        Message::Restored { operator, held } => {
            if let Err(error) = (ear.on_restored)(&operator, held) {
                ear.control.fail(error);
            }
        }
        Message::Board(board) => (ear.on_board)(from, *board),
        message => crew.note(Received { from, message }),
    }
}
