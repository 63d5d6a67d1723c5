//! Who calls: a listener that no stranger can block, and the calls to others.
//!
//! Each caller has a thread of its own for the time of its hello, at most [`CALLERS_MAX`] at once: one that says nothing
//! keeps nobody waiting. A process that finds no room calls again.

use crate::mesh::Process;
use crate::mesh::error::{Failed, Refusal};
use crate::mesh::event::Event;
use crate::mesh::hello::{self, Channel, Me};
use crossbeam_channel::Sender;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many callers may be in the middle of their hello.
const CALLERS_MAX: usize = 512;

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
    let callers = Arc::new(AtomicUsize::new(0));
    let accept = move || {
        while !over.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((stream, from)) if callers.fetch_add(1, Ordering::SeqCst) < CALLERS_MAX => {
                    let (me, events, left) = (Arc::clone(&me), events.clone(), Arc::clone(&callers));
                    let greet = move || {
                        let event = answered(hello::answer(stream, &me), from);
                        left.fetch_sub(1, Ordering::SeqCst);
                        // Nobody waits for it any more once the mesh is complete.
                        let _ = events.send(event);
                    };
                    if spawn("headway-hello", greet).is_err() {
                        callers.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                Ok(_) => drop(callers.fetch_sub(1, Ordering::SeqCst)),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    };
    spawn("headway-listen", accept)
}

fn answered(result: Result<hello::Peer, Failed>, from: SocketAddr) -> Event {
    match result {
        Ok(peer) => Event::Peer(peer),
        Err(Failed::Refused(process, refusal)) => Event::Turned { process, refusal, from },
        Err(Failed::Stranger) => Event::Stranger { from, why: "it is no process of a job".to_string() },
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
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, CONNECT) {
            Ok(stream) => return hello::call(stream, me, process, channel),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_string()).stack_size(STACK).spawn(body)
}
