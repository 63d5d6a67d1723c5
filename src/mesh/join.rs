//! Brings all processes of a job together, or says who is missing.
//!
//! ```text
//! every process   listens at its own address, calls those with lower numbers: data, then control
//! process 0       all are there ─► roster (the nonces of all) ──────────► waits for Complete of all ─► Mesh
//! others                            roster ─► all that it names are there ─► Complete ──────────────► Mesh
//! ```
//! 1. Until the roster is out, the newest start of a process wins: the one before may be gone without a word.
//! 2. From then on only those in the roster are let in, and one that goes is lost.
//! 3. A process that does not belong here ends by name if process 0 says so and proves that it knows the secret. Whatever else refuses
//!    it at that address may be a stranger: it waits for the right one, and ends by that name when nobody else was there in time. So
//!    it does when process 0 is another build: while a new one is installed, each process takes it up at its next start.
//!    Process 0 itself waits for the right ones.
//! 4. Who is missing is logged every 5 s, and ends the join after [`Options::within`].
//! 5. The listener is closed when the mesh is there.
//! 6. With TLS a process has proved that it belongs here before it says hello, and nothing that an end says before that ends the
//!    join.

use crate::mesh::control::Control;
use crate::mesh::error::{Error, Refusal};
use crate::mesh::event::Event;
use crate::mesh::frame::Frame;
use crate::mesh::hello::{Channel, Facts, Me, Peer};
use crate::mesh::link::{From, Heard, Link};
use crate::mesh::socket::Socket;
use crate::mesh::table::Table;
use crate::mesh::tls::Tls;
use crate::mesh::{LEADER, Process, listener};
use crate::random::random;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the log says who is missing.
const SAY: Duration = Duration::from_secs(5);

/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// How many different failures of callers are warnings. All further ones are in the debug log only.
const REFUSALS_MAX: usize = 64;

/// How a process joins.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its number.
    pub process: Process,
    /// What all processes must have in common.
    pub facts: Facts,
    /// What only processes of the job know. Without it every address must be on this machine.
    pub secret: Vec<u8>,
    /// What proves to the others that this process belongs to them; with it all sockets are TLS.
    pub tls: Option<Tls>,
    /// How long to wait for the others.
    pub within: Duration,
}

/// All processes of a job, connected.
#[derive(Debug)]
pub struct Mesh {
    /// The sockets of the dataflow, by process; none to itself.
    pub data: Vec<Option<Socket>>,
    /// Messages between processes.
    pub control: Control,
}

/// Waits until all processes are there. `is_stopped` is asked now and then whether to give up.
///
/// # Errors
/// If one is missing, this process does not belong there, or its address cannot be used.
pub fn join(options: Options, is_stopped: &dyn Fn() -> bool) -> Result<Mesh, Error> {
    let listener = bind(&options, Instant::now() + options.within, is_stopped)?;
    let nonce = random();
    let Options { process, facts, secret, tls, within } = options;
    let me = Arc::new(Me { process, facts, secret, tls, nonce });
    let (events, heard) = crossbeam_channel::unbounded();
    let over = Arc::new(AtomicBool::new(false));
    let table = Table::new(process, nonce, &me.facts.addresses);
    let mut joining = Joining {
        me,
        table,
        events,
        over: Arc::clone(&over),
        early: Vec::new(),
        refusals: BTreeSet::new(),
        refused: None,
    };
    let listening =
        listener::listen(listener, Arc::clone(&joining.me), joining.events.clone(), Arc::clone(&over));
    let result = match listening {
        Ok(thread) => {
            let result = joining.run(&heard, within, is_stopped);
            over.store(true, Ordering::SeqCst);
            // Whoever starts after this one finds the address free.
            drop(thread.join());
            result
        }
        Err(source) => Err(joining.unbound(source)),
    };
    for (from, frame) in std::mem::take(&mut joining.early) {
        let _ = joining.events.send(Event::Link(from, Heard::Frame(frame)));
    }
    match result {
        Ok(()) => {
            let (data, links) = joining.table.into_sockets();
            Ok(Mesh { data, control: Control::new(links, heard) })
        }
        Err(error) => {
            joining.table.close();
            Err(error)
        }
    }
}

/// Listens at the own address. A name may be new, and not known everywhere yet; somebody else may listen there for a moment: another
/// program that was given the port while this process started itself again, or the start of this process before this one.
fn bind(options: &Options, until: Instant, is_stopped: &dyn Fn() -> bool) -> Result<TcpListener, Error> {
    let Options { process, facts, secret, .. } = options;
    if secret.is_empty() {
        for address in &facts.addresses {
            let on_this_machine = |found: SocketAddr| found.ip().is_loopback();
            if !address.to_socket_addrs().is_ok_and(|mut all| all.all(on_this_machine)) {
                return Err(Error::Exposed { address: address.clone() });
            }
        }
    }
    let address = &facts.addresses[process.index()];
    let mut said: Option<Instant> = None;
    loop {
        match TcpListener::bind(address.as_str()) {
            Ok(listener) => return Ok(listener),
            Err(error) if Instant::now() >= until => {
                let (process, address) = (*process, address.clone());
                return Err(Error::Unbound { process, address, source: error });
            }
            Err(_) if is_stopped() => return Err(Error::Stopped),
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() >= SAY) {
                    said = Some(Instant::now());
                    tracing::warn!(
                        event = "waiting-for-address",
                        address,
                        "cannot listen there yet: {error}"
                    );
                }
                std::thread::sleep(LOOK);
            }
        }
    }
}

struct Joining {
    me: Arc<Me>,
    table: Table,
    events: Sender<Event>,
    over: Arc<AtomicBool>,
    /// Messages of processes that had met all before this one has: they are read later.
    early: Vec<(From, Frame)>,
    /// The callers that have not joined, and why, once each.
    refusals: BTreeSet<(IpAddr, String)>,
    /// Why process 0, or a stranger in its place, has refused this process last, where that may pass.
    refused: Option<Refusal>,
}

impl Joining {
    fn run(
        &mut self,
        heard: &Receiver<Event>,
        within: Duration,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let me = self.me.process;
        (0..me.0).map(Process).try_for_each(|process| self.call(process))?;
        let (began, mut said) = (Instant::now(), Instant::now());
        loop {
            if is_stopped() {
                return Err(Error::Stopped);
            }
            if began.elapsed() >= within {
                let missing = self.table.missing();
                return Err(self.refused.map_or(Error::Timeout { missing, within }, |refusal| {
                    let why = format!("Nobody else has answered there within {} s.", within.as_secs());
                    self.refused_by_leader(refusal, Some(why))
                }));
            }
            if said.elapsed() >= SAY {
                said = Instant::now();
                for missing in self.table.missing() {
                    tracing::warn!(
                        event = "waiting-for-process",
                        process = missing.process.0,
                        "waits for {missing}"
                    );
                }
            }
            match heard.recv_timeout(LOOK) {
                Ok(event) => {
                    if self.take(event)? {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn unbound(&self, source: std::io::Error) -> Error {
        let address = self.me.facts.addresses[self.me.process.index()].clone();
        Error::Unbound { process: self.me.process, address, source }
    }

    fn call(&self, process: Process) -> Result<(), Error> {
        let address = self.me.facts.addresses[process.index()].clone();
        let (me, events, over) = (Arc::clone(&self.me), self.events.clone(), Arc::clone(&self.over));
        listener::call(me, process, address, events, over).map_err(|source| self.unbound(source))
    }

    /// Takes one event in; true when the mesh is there.
    fn take(&mut self, event: Event) -> Result<bool, Error> {
        match event {
            Event::Peer(peer) => self.sit(peer),
            Event::Turned { process, refusal, from } => {
                let why = format!("{refusal} ({}, called from {})", refusal.code(), from.ip());
                if self.table.note(process, why) {
                    let code = refusal.code();
                    tracing::warn!(event = "process-refused", code, process = process.0, %from, "refused a process: {refusal}");
                }
                Ok(false)
            }
            Event::Stranger { from, why } => {
                if self.is_new(from, &why) {
                    tracing::warn!(event = "caller-refused", %from, "refused a caller: {why}");
                } else {
                    tracing::debug!(%from, "refused a caller: {why}");
                }
                Ok(false)
            }
            Event::Left { from, not_taken } => {
                if self.is_new(from, &not_taken.to_string()) {
                    tracing::warn!(event = "caller-left", %from, "a caller left: {not_taken}");
                } else {
                    tracing::debug!(%from, "a caller left: {not_taken}");
                }
                Ok(false)
            }
            Event::Refused { process, refusal, why } if process == LEADER && refusal != Refusal::Version => {
                Err(self.refused_by_leader(refusal, why))
            }
            Event::Refused { process, refusal, .. } | Event::Unproved { process, refusal } => {
                if process == LEADER {
                    self.refused = Some(refusal);
                }
                if self.table.note(process, format!("{refusal} ({})", refusal.code())) {
                    tracing::warn!(
                        event = "process-refuses",
                        process = process.0,
                        "refused by a process: {refusal}"
                    );
                }
                Ok(false)
            }
            Event::Absent { process, why } => {
                if process == LEADER {
                    self.refused = None;
                }
                self.table.note(process, why);
                Ok(false)
            }
            Event::Link(from, Heard::Frame(frame)) => self.hear(from, frame),
            Event::Link(from, Heard::Closed(why)) => self.leave(from, why),
        }
    }

    /// What ends a process that process 0 refuses.
    fn refused_by_leader(&self, refusal: Refusal, why: Option<String>) -> Error {
        let address = self.me.facts.addresses[LEADER.index()].clone();
        Error::Refused { process: LEADER, address, refusal, why }
    }

    /// True if no caller from there has failed for this reason before: that is a warning, since somebody may have meant to join.
    fn is_new(&mut self, from: SocketAddr, why: &str) -> bool {
        self.refusals.len() < REFUSALS_MAX && self.refusals.insert((from.ip(), why.to_string()))
    }

    fn sit(&mut self, peer: Peer) -> Result<bool, Error> {
        let from = From { process: peer.process, nonce: peer.nonce };
        if peer.process == LEADER {
            self.refused = None;
        }
        if !self.table.may_sit(from) {
            return Ok(false);
        }
        match peer.channel {
            Channel::Data => self.table.sit_data(from, peer.stream),
            Channel::Control => match Link::start(peer.stream, from, self.events.clone(), Event::Link) {
                Ok(link) => self.table.sit_control(link),
                // It calls again.
                Err(error) => drop(self.table.note(from.process, error.to_string())),
            },
        }
        self.advance()
    }

    /// Goes on, if all are there.
    fn advance(&mut self) -> Result<bool, Error> {
        if !self.table.is_full() {
            return Ok(false);
        }
        if self.me.process != LEADER {
            let is_met = self.table.roster().is_some();
            if is_met {
                self.send(LEADER, &Frame::Complete)?;
            }
            return Ok(is_met);
        }
        if self.table.roster().is_none() {
            let roster = self.table.nonces();
            self.table.fix(roster.clone());
            for process in (1..).map(Process).take(roster.len() - 1) {
                self.send(process, &Frame::Roster(roster.clone()))?;
            }
        }
        Ok(false)
    }

    fn send(&self, to: Process, frame: &Frame) -> Result<(), Error> {
        let sent = self.table.link(to).map_or(Ok(()), |link| link.send(frame));
        sent.map_err(|error| Error::Lost { process: to, why: error.to_string() })
    }

    fn hear(&mut self, from: From, frame: Frame) -> Result<bool, Error> {
        match frame {
            Frame::Roster(roster) if from.process == LEADER && self.me.process != LEADER => {
                if !self.table.fix(roster) {
                    return Err(Error::Superseded { process: self.me.process });
                }
                self.advance()
            }
            Frame::Complete if self.me.process == LEADER => Ok(self.table.complete(from)),
            Frame::Body(_) | Frame::Bye => {
                self.early.push((from, frame));
                Ok(false)
            }
            Frame::Beat(_) | Frame::Roster(_) | Frame::Complete => Ok(false),
        }
    }

    fn leave(&mut self, from: From, why: String) -> Result<bool, Error> {
        let process = from.process;
        if self.table.leave(from, &why) {
            if self.table.roster().is_some() {
                return Err(Error::Lost { process, why });
            }
            if process < self.me.process {
                self.call(process)?;
            }
        }
        Ok(false)
    }
}
