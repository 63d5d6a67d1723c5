//! The control sockets of a mesh that has joined: messages to others, their messages, and who was lost.
//!
//! Invariant: that a socket ends is a loss, unless its process has said `Bye` before.

use crate::mesh::Process;
use crate::mesh::event::Event;
use crate::mesh::frame::Frame;
use crate::mesh::link::{Heard, Link};
use crossbeam_channel::Receiver;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What happened at another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It has sent a message.
    Body {
        /// The process.
        from: Process,
        /// The message.
        bytes: Vec<u8>,
    },
    /// It was lost.
    Lost {
        /// The process.
        from: Process,
        /// What was seen.
        why: String,
    },
    /// It has done its work.
    Bye {
        /// The process.
        from: Process,
    },
}

/// The control sockets. One thread at a time reads them; any thread may send.
#[derive(Debug)]
pub struct Control {
    links: Vec<Arc<Link>>,
    events: Receiver<Event>,
    done: Mutex<BTreeSet<Process>>,
}

impl Control {
    pub(super) fn new(links: Vec<Arc<Link>>, events: Receiver<Event>) -> Control {
        Control { links, events, done: Mutex::default() }
    }

    /// Sends a message to `to`. That it cannot be sent is reported as a loss, by [`Control::next`].
    pub fn send(&self, to: Process, bytes: &[u8]) {
        let link = self.links.iter().find(|link| link.from.process == to);
        let _ = link.map(|link| link.send(&Frame::Body(bytes.to_vec())));
    }

    /// Sends a message to all others.
    pub fn send_all(&self, bytes: &[u8]) {
        self.links.iter().for_each(|link| drop(link.send(&Frame::Body(bytes.to_vec()))));
    }

    /// Says that this process has done its work: its sockets may close.
    pub fn bye(&self) {
        self.links.iter().for_each(|link| drop(link.send(&Frame::Bye)));
    }

    /// The next signal, if there is one within `wait`.
    pub fn next(&self, wait: Duration) -> Option<Signal> {
        let until = Instant::now() + wait;
        loop {
            let event = self.events.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            let Event::Link(from, heard) = event else { continue };
            let is_current = self.links.iter().any(|link| link.from == from);
            let process = from.process;
            let mut done = self.done.lock().expect("no thread panics with this lock held");
            match heard {
                _ if !is_current => {}
                Heard::Frame(Frame::Body(bytes)) => return Some(Signal::Body { from: process, bytes }),
                Heard::Frame(Frame::Bye) => {
                    done.insert(process);
                    return Some(Signal::Bye { from: process });
                }
                Heard::Closed(why) if !done.contains(&process) => {
                    return Some(Signal::Lost { from: process, why });
                }
                Heard::Closed(_) | Heard::Frame(Frame::Beat(_) | Frame::Roster(_) | Frame::Complete) => {}
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.links.iter().for_each(|link| link.close());
    }
}
