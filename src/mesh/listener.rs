//! Who calls: a listener that no stranger can block, and the calls to others.
//!
//! Each caller has a thread of its own for the time of its hello, at most [`CALLERS_MAX`] at once: one that says nothing
//! keeps nobody waiting. Where there is no room for one more, the one that has been there longest is turned out: a process says its
//! hello in milliseconds, and one that was turned out calls again.

use crate::mesh::Process;
use crate::mesh::error::{Failed, Refusal};
use crate::mesh::event::Event;
use crate::mesh::hello::{self, Channel, Me};
use crossbeam_channel::Sender;
use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many callers may be in the middle of their hello. Each takes two open files.
const CALLERS_MAX: usize = 128;

/// How often the listener looks.
const LOOK: Duration = Duration::from_millis(5);

/// How long a call may take to be taken.
const CONNECT: Duration = Duration::from_secs(2);

/// How long to wait before another call.
const CALL_AGAIN: Duration = Duration::from_millis(100);

/// Bytes of stack of a thread that only says hello.
const STACK: usize = 512 << 10;

/// Answers callers until `over` is set. The listener is closed when the thread has ended.
pub(super) fn listen(
    listener: TcpListener,
    me: Arc<Me>,
    events: Sender<Event>,
    over: Arc<AtomicBool>,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let callers = Arc::new(Callers::default());
    let accept = move || {
        while !over.load(Ordering::SeqCst) {
            let Ok((stream, from)) = listener.accept() else {
                std::thread::sleep(LOOK);
                continue;
            };
            // A caller that cannot be greeted calls again.
            let Ok(number) = callers.enter(&stream) else { continue };
            let (me, events, room) = (Arc::clone(&me), events.clone(), Arc::clone(&callers));
            let greet = move || {
                let event = answered(hello::answer(stream, &me), from);
                let event = if room.leave(number) { event } else { turned_out(event, from) };
                // Nobody waits for it any more once the mesh is complete.
                let _ = events.send(event);
            };
            if spawn("headway-hello", greet).is_err() {
                callers.leave(number);
            }
        }
    };
    spawn("headway-listen", accept)
}

/// The callers that are in the middle of their hello.
#[derive(Default)]
struct Callers {
    inside: Mutex<Inside>,
    left: Condvar,
}

#[derive(Default)]
struct Inside {
    /// Those that may stay, the oldest first.
    open: BTreeMap<u64, TcpStream>,
    /// How many callers there have been.
    came: u64,
    /// How many threads there are: those of callers that were turned out, too.
    threads: usize,
}

impl Callers {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("no thread panics with this lock held")
    }

    /// Lets a caller in, in place of the oldest if there is no room; gives its number.
    fn enter(&self, stream: &TcpStream) -> io::Result<u64> {
        let stream = stream.try_clone()?;
        let mut inside = self.inside();
        if inside.threads >= CALLERS_MAX
            && let Some((_, oldest)) = inside.open.pop_first()
        {
            // It may have gone.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        while inside.threads >= CALLERS_MAX {
            // Its thread finds the socket closed, and ends.
            inside = self.left.wait(inside).expect("no thread panics with this lock held");
        }
        inside.came += 1;
        inside.threads += 1;
        let number = inside.came;
        inside.open.insert(number, stream);
        Ok(number)
    }

    /// Notes that the thread of a caller ends; false if the caller was turned out.
    fn leave(&self, number: u64) -> bool {
        let mut inside = self.inside();
        inside.threads -= 1;
        self.left.notify_all();
        inside.open.remove(&number).is_some()
    }
}

/// What there is to say of a caller that was turned out: why its hello failed, if it did.
fn turned_out(event: Event, from: SocketAddr) -> Event {
    match event {
        Event::Stranger { .. } => {
            let why = "it had not said who it is when there was no room for another caller".to_string();
            Event::Stranger { from, why }
        }
        event => event,
    }
}

fn answered(result: Result<hello::Peer, Failed>, from: SocketAddr) -> Event {
    match result {
        Ok(peer) => Event::Peer(peer),
        Err(Failed::Refused(process, refusal)) => Event::Turned { process, refusal, from },
        Err(Failed::Stranger | Failed::Unproved(_)) => {
            Event::Stranger { from, why: "it is no process of a job".to_string() }
        }
        Err(Failed::Silent(error)) => Event::Stranger { from, why: silence(&error) },
        Err(Failed::Distrust(distrust)) => Event::Stranger { from, why: distrust.to_string() },
        Err(Failed::NotTaken(not_taken)) => Event::Left { from, not_taken },
    }
}

/// Why nothing more was heard of a caller.
fn silence(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("it has not said who it is within {} s", hello::WITHIN.as_secs())
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it went before it had said who it is".to_string()
        }
        _ => error.to_string(),
    }
}

/// Calls `process` at `address` until both sockets are there, or `over` is set.
pub(super) fn call(
    me: Arc<Me>,
    process: Process,
    address: String,
    events: Sender<Event>,
    over: Arc<AtomicBool>,
) -> io::Result<()> {
    let calls = move || {
        while !over.load(Ordering::SeqCst) {
            let called = one_call(&me, process, &address, Channel::Data)
                .and_then(|data| Ok([data, one_call(&me, process, &address, Channel::Control)?]));
            match called {
                Ok(peers) => {
                    return peers.into_iter().for_each(|peer| drop(events.send(Event::Peer(peer))));
                }
                Err(Failed::Refused(_, refusal)) => {
                    let _ = events.send(Event::Refused { process, refusal, why: None });
                }
                Err(Failed::Unproved(refusal)) => {
                    let _ = events.send(Event::Unproved { process, refusal });
                }
                Err(Failed::NotTaken(not_taken)) => {
                    let (refusal, why) = (Refusal::Certificate, Some(not_taken.to_string()));
                    let _ = events.send(Event::Refused { process, refusal, why });
                }
                Err(Failed::Distrust(distrust)) => {
                    let _ = events.send(Event::Absent { process, why: distrust.to_string() });
                }
                Err(Failed::Stranger) => {
                    let why = "what listens there is no process of a job".to_string();
                    let _ = events.send(Event::Absent { process, why });
                }
                Err(Failed::Silent(error)) => {
                    let _ = events.send(Event::Absent { process, why: error.to_string() });
                }
            }
            std::thread::sleep(CALL_AGAIN);
        }
    };
    spawn("headway-call", calls).map(drop)
}

fn one_call(me: &Me, process: Process, address: &str, channel: Channel) -> Result<hello::Peer, Failed> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for resolved in way_to(address).to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, CONNECT) {
            Ok(stream) => return hello::call(stream, me, process, channel),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// Where a call of `address` goes: to another one, if a test has put something between, as `MESH_BY=ADDRESS=OTHER` says.
#[cfg(feature = "failpoints")]
fn way_to(address: &str) -> String {
    let by = std::env::var("MESH_BY").unwrap_or_default();
    let other = by.split_once('=').filter(|(meant, _)| *meant == address).map(|(_, other)| other);
    other.unwrap_or(address).to_string()
}

/// Where a call of `address` goes.
#[cfg(not(feature = "failpoints"))]
fn way_to(address: &str) -> &str {
    address
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_string()).stack_size(STACK).spawn(body)
}
