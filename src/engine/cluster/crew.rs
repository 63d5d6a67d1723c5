//! One process's end of a job on several processes: what it hears, what it tells, and how it ends.
//!
//! Invariant: one thread at a time reads the control sockets. Before a run and after it, that is whoever started the job;
//! during the run it is a thread of its own ([`crate::engine::cluster::watch`]).
//!
//! A member whose dataflow has ended goes by the leader alone: `Bye` means that the last commit is made. If another member is lost
//! then, the leader says whether that matters; a member that decided for itself would come back to a job that has ended.

use crate::connect::{End, PartitionInfo};
use crate::engine::cluster::message::{Card, Failure, Message};
use crate::engine::cluster::place::{Cluster, Place};
use crate::engine::cluster::torn;
use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::failpoint;
use crate::engine::format::board::Snapshot;
use crate::mesh::hello::Facts;
use crate::mesh::{self, LEADER, Mesh, Process, Signal, Socket};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a look for messages waits.
const LOOK: Duration = Duration::from_millis(20);

/// How long a process that failed waits for the others to hear why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The other processes of a job.
pub struct Crew {
    place: Place,
    control: mesh::Control,
    sockets: Mutex<Option<Vec<Option<Socket>>>>,
    has_told_drain: AtomicBool,
    has_told_rescale: AtomicBool,
    /// This process does not lead, and its dataflow has ended.
    has_told_done: AtomicBool,
    heard: Mutex<Heard>,
}

/// A message of another process.
pub(super) struct Received {
    /// The process.
    pub(super) from: Process,
    /// What it says.
    pub(super) message: Message,
}

/// What was heard of the others so far.
#[derive(Debug, Default)]
struct Heard {
    seen: BTreeSet<Process>,
    ready: BTreeSet<Process>,
    done: BTreeSet<Process>,
    bye: BTreeSet<Process>,
    lost: BTreeSet<Process>,
    ends: BTreeMap<Process, Vec<Vec<End>>>,
}

impl Crew {
    /// Waits until all processes are there. `is_over` is true once there is nothing to wait for any more: the drain that this process
    /// resumed is over, or the job is to have other processes.
    ///
    /// # Errors
    /// If they are not in time, or this one does not belong to them.
    pub fn join(
        cluster: &Cluster,
        place: Place,
        facts: Facts,
        control: &Control,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Arc<Crew>, Error> {
        let Cluster { process, secret, tls, within, .. } = cluster.clone();
        let options = mesh::Options { process, facts, secret, tls, within };
        // One that started again in the middle of a drain joins, to end it with the others.
        let goes_on = control.is_draining();
        failpoint::at("join.begin");
        let joined = mesh::join(options, &|| is_over() || control.is_draining() && !goes_on);
        let Mesh { data, control: signals } = joined.map_err(|error| match error {
            // It was told to end, and what is committed is whole without it.
            mesh::Error::Timeout { .. } if goes_on => mesh::Error::Stopped,
            error => error,
        })?;
        failpoint::at("join.met");
        let processes = place.processes();
        let is_tls = data.iter().flatten().all(Socket::is_tls);
        let tls = is_tls.then_some("1.3");
        tracing::info!(event = "joined", process = process.0, processes, tls, "all processes are there");
        Ok(Arc::new(Crew {
            place,
            control: signals,
            sockets: Mutex::new(Some(data)),
            has_told_drain: AtomicBool::new(false),
            has_told_rescale: AtomicBool::new(false),
            has_told_done: AtomicBool::new(false),
            heard: Mutex::default(),
        }))
    }

    /// Where this process stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// True for the process that commits.
    pub fn leads(&self) -> bool {
        self.place.process == LEADER
    }

    /// The sockets of the dataflow, once.
    pub(in crate::engine) fn sockets(&self) -> Vec<Option<Socket>> {
        let sockets = self.sockets.lock().expect("no thread panics while it takes them").take();
        sockets.expect("one dataflow a process")
    }

    pub(super) fn others(&self) -> impl Iterator<Item = Process> {
        let me = self.place.process;
        (0..).map(Process).take(self.place.processes()).filter(move |process| *process != me)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no thread panics while it notes what it hears")
    }

    fn send(&self, to: Process, message: &Message) {
        self.control.send(to, &serde_json::to_vec(message).expect("plain values encode"));
    }

    fn send_all(&self, message: &Message) {
        self.control.send_all(&serde_json::to_vec(message).expect("plain values encode"));
    }

    /// Refuses to go on if another process has failed or was lost meanwhile.
    ///
    /// # Errors
    /// What has happened to it.
    pub fn check(&self, control: &Control) -> Result<(), Error> {
        while let Some(message) = self.receive(control, Duration::ZERO)? {
            self.note(message);
        }
        Ok(())
    }

    /// From the leader: what it has written into its lake.
    pub(super) fn show(&self, token: &str) {
        self.send_all(&Message::Token(token.to_string()));
    }

    /// To a member: what the leader has written into its lake.
    pub(super) fn token(&self, control: &Control) -> Result<String, Error> {
        self.await_leader(control, |message| match message {
            Message::Token(token) => Ok(token),
            other => Err(other),
        })
    }

    /// From a member: it has seen that in its own lake.
    pub(super) fn saw(&self) {
        self.send(LEADER, &Message::Seen);
    }

    /// In the leader: waits until all others have seen it.
    pub(super) fn await_seen(&self, control: &Control) -> Result<(), Error> {
        self.await_others(control, |heard| &heard.seen)
    }

    /// From the leader: what the job starts from.
    pub fn deal(&self, card: Card) {
        self.send_all(&Message::Card(card));
    }

    /// To a member: what the job starts from.
    ///
    /// # Errors
    /// If another process has failed or was lost.
    pub fn card(&self, control: &Control) -> Result<Card, Error> {
        self.await_leader(control, |message| match message {
            Message::Card(card) => Ok(card),
            other => Err(other),
        })
    }

    /// Waits until every process has read its part of the state.
    ///
    /// # Errors
    /// If another process has failed or was lost.
    pub fn start(&self, control: &Control) -> Result<(), Error> {
        if self.leads() {
            self.await_others(control, |heard| &heard.ready)?;
            self.send_all(&Message::Start);
            return Ok(());
        }
        self.send(LEADER, &Message::Ready);
        self.await_leader(control, |message| match message {
            Message::Start => Ok(()),
            other => Err(other),
        })
    }

    /// In a member: waits for the message of the leader from which `take` makes something; `take` gives all others back.
    fn await_leader<T>(
        &self,
        control: &Control,
        take: impl Fn(Message) -> Result<T, Message>,
    ) -> Result<T, Error> {
        loop {
            let Some(Received { from, message }) = self.receive(control, LOOK)? else { continue };
            match if from == LEADER { take(message) } else { Err(message) } {
                Ok(taken) => return Ok(taken),
                Err(message) => self.note(Received { from, message }),
            }
        }
    }

    /// In the leader: waits until all others are in the set that `of` gives.
    fn await_others(&self, control: &Control, of: fn(&Heard) -> &BTreeSet<Process>) -> Result<(), Error> {
        while !self.have_all(of) {
            self.receive(control, LOOK)?.into_iter().for_each(|received| self.note(received));
        }
        Ok(())
    }

    fn have_all(&self, of: fn(&Heard) -> &BTreeSet<Process>) -> bool {
        let heard = self.heard();
        self.others().all(|process| of(&heard).contains(&process))
    }

    /// From the leader: a partition has appeared.
    pub fn found(&self, input: usize, info: &PartitionInfo) {
        self.send_all(&Message::Found { input, info: info.clone() });
    }

    /// From a member: what one of its workers has restored of an operator.
    pub fn restored(&self, operator: &str, held: u64) {
        self.send(LEADER, &Message::Restored { operator: operator.to_string(), held });
    }

    /// From a member: where partitions end.
    pub(super) fn tell_ends(&self, ends: Vec<Vec<End>>) {
        self.send(LEADER, &Message::Ends(ends));
    }

    /// From a member: what is on its board.
    pub(super) fn tell_board(&self, board: Snapshot) {
        self.send(LEADER, &Message::Board(Box::new(board)));
    }

    /// To the leader: where partitions end that others read, added to `ends`.
    pub fn add_ends(&self, ends: &mut [Vec<End>]) {
        for told in self.heard().ends.values() {
            ends.iter_mut().zip(told).for_each(|(ends, told)| ends.extend(told.iter().cloned()));
        }
    }

    /// Waits until the dataflow has ended in all processes; in a member, until the leader has made its last commit. Called
    /// when the own dataflow has ended, while [`crate::engine::cluster::watch`] listens.
    pub fn finish(&self, control: &Control) {
        if !self.leads() {
            // From here on nothing is read from other members.
            torn::set(None);
            self.has_told_done.store(true, Ordering::SeqCst);
            self.send(LEADER, &Message::Done);
        }
        let is_over = || match self.leads() {
            true => self.have_all(|heard| &heard.done),
            false => self.heard().bye.contains(&LEADER),
        };
        while !control.is_stopped() && !is_over() {
            std::thread::sleep(LOOK);
        }
        if !control.is_stopped() {
            torn::set(None);
        }
    }

    /// Says how this process ends. Of a failure the others hear before the sockets close.
    pub fn end(&self, result: Result<(), &Error>) {
        let Err(error) = result else { return self.control.bye() };
        let (code, exit, message) = (error.code().to_string(), error.exit_code(), error.to_string());
        self.send_all(&Message::Failed(Failure { code, exit, message }));
        let began = Instant::now();
        let mut gone = self.heard().lost.clone();
        while began.elapsed() < LAST_WORDS && gone.len() < self.others().count() {
            match self.control.next(LOOK) {
                Some(Signal::Lost { from, .. } | Signal::Bye { from }) => drop(gone.insert(from)),
                // One that fails, too, needs no reason any more.
                Some(Signal::Body { from, bytes }) => {
                    if let Ok(Message::Failed(_)) = serde_json::from_slice(&bytes) {
                        gone.insert(from);
                    }
                }
                None => {}
            }
        }
    }

    /// Tells the others that the job is to drain, or to go on with another size, unless it has told them.
    pub fn pass_on(&self, control: &Control) {
        if control.is_ending() && !self.has_told_drain.swap(true, Ordering::SeqCst) {
            self.send_all(&Message::Drain);
        }
        if control.is_rescaling() && self.leads() && !self.has_told_rescale.swap(true, Ordering::SeqCst) {
            self.send_all(&Message::Rescale);
        }
    }

    /// The next message. That the job is to drain goes both ways here, whoever hears of it.
    pub(super) fn receive(&self, control: &Control, wait: Duration) -> Result<Option<Received>, Error> {
        self.pass_on(control);
        match self.control.next(wait) {
            None => Ok(None),
            Some(Signal::Lost { from, why }) => {
                self.heard().lost.insert(from);
                if self.leaves_to_leader(from) {
                    tracing::debug!(process = from.0, why, "another member has gone at the end");
                    return Ok(None);
                }
                Err(mesh::Error::Lost { process: from, why }.into())
            }
            Some(Signal::Bye { from }) => {
                self.heard().bye.insert(from);
                Ok(None)
            }
            Some(Signal::Body { from, bytes }) => match serde_json::from_slice(&bytes) {
                Ok(Message::Failed(failure)) => Err(Error::PeerFailed { process: from, failure }),
                Ok(Message::Drain) => {
                    if !control.is_ending() {
                        tracing::info!(
                            event = "draining",
                            process = from.0,
                            "another process was told to drain"
                        );
                    }
                    self.has_told_drain.store(true, Ordering::SeqCst);
                    control.drain();
                    Ok(None)
                }
                Ok(Message::Rescale) => {
                    control.rescale();
                    Ok(None)
                }
                Ok(message) => Ok(Some(Received { from, message })),
                Err(error) => {
                    let why = format!("it says what this build does not understand: {error}");
                    Err(mesh::Error::Lost { process: from, why }.into())
                }
            },
        }
    }

    /// True if the loss of `lost` is no matter of this process: its dataflow has ended, and the leader alone says whether the job
    /// has. The leader notices the loss, too; if it matters there, this process hears of that.
    fn leaves_to_leader(&self, lost: Process) -> bool {
        let is_over = self.has_told_done.load(Ordering::SeqCst) || self.heard().bye.contains(&LEADER);
        !self.leads() && lost != LEADER && is_over
    }

    /// Notes what only has to be known.
    pub(super) fn note(&self, Received { from, message }: Received) {
        let mut heard = self.heard();
        match message {
            Message::Seen => drop(heard.seen.insert(from)),
            Message::Ready => drop(heard.ready.insert(from)),
            Message::Done => drop(heard.done.insert(from)),
            Message::Ends(ends) => drop(heard.ends.insert(from, ends)),
            Message::Token(_)
            | Message::Card(_)
            | Message::Start
            | Message::Restored { .. }
            | Message::Found { .. }
            | Message::Board(_)
            | Message::Drain
            | Message::Rescale
            | Message::Failed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

    use super::*;

    /// The processes of a job, in this one.
    fn crews(processes: u32) -> Vec<Arc<Crew>> {
        let free: Vec<_> =
            (0..processes).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<String> = free.iter().map(|free| free.local_addr().unwrap().to_string()).collect();
        drop(free);
        let join = |process| {
            let addresses = addresses.clone();
            let work = move || {
                let within = Duration::from_secs(20);
                let (secret, tls, process) = (Vec::new(), None, Process(process));
                let facts = Facts {
                    job: "j".into(),
                    build: 1,
                    plan: [1; 32],
                    workers: 1,
                    addresses: addresses.clone(),
                };
                let cluster = Cluster { process, addresses, secret, tls, within };
                let place = Place::of(Some(&cluster), 1);
                Crew::join(&cluster, place, facts, &Control::new(), &|| false).unwrap()
            };
            std::thread::spawn(work)
        };
        let joining: Vec<_> = (0..processes).map(join).collect();
        joining.into_iter().map(|thread| thread.join().unwrap()).collect()
    }

    /// What `crew` hears of the others, until `over`.
    fn hear(crew: &Crew, over: impl Fn(&Heard) -> bool) -> Result<(), Error> {
        let control = Control::new();
        while !over(&crew.heard()) {
            crew.receive(&control, LOOK)?.into_iter().for_each(|received| crew.note(received));
        }
        Ok(())
    }

    #[test]
    fn member_that_has_ended_leaves_the_loss_of_another_to_the_leader() {
        let lost = |heard: &Heard| heard.lost.contains(&Process(1));
        let mut crew = crews(3);
        drop(crew.remove(1));
        let error = hear(&crew[1], lost).expect_err("its dataflow still needs the other one");
        assert_eq!(error.code(), "peer-lost");
        let mut crew = crews(3);
        crew[2].has_told_done.store(true, Ordering::SeqCst);
        drop(crew.remove(1));
        hear(&crew[1], lost).expect("it has ended");
        assert!(hear(&crew[0], lost).is_err(), "the leader decides for itself");
        crew[0].end(Ok(()));
        hear(&crew[1], |heard| heard.bye.contains(&LEADER)).expect("the job has ended");
        let mut crew = crews(2);
        crew[1].has_told_done.store(true, Ordering::SeqCst);
        drop(crew.remove(0));
        assert!(hear(&crew[0], |_| false).is_err(), "without the leader nobody knows");
    }
}
