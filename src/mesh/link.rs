//! A control socket with one other process: who reads it, who writes it, and how a lost process is noticed.
//!
//! Two threads a link. One reads, and reports every frame and the end. One sends a beat every [`BEAT`]. A process of which
//! nothing comes for [`LOST`] is lost: stopped, hung, or cut off. Timely itself never notices that.

use crate::mesh::Process;
use crate::mesh::frame::Frame;
use crate::mesh::socket::Socket;
use crossbeam_channel::Sender;
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a process says that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// After how long without a sign a process is lost.
pub(super) const LOST: Duration = Duration::from_secs(10);

/// What a link reports.
#[derive(Debug)]
pub(super) enum Heard {
    /// A frame, beats left out.
    Frame(Frame),
    /// Nothing more will come, and why.
    Closed(String),
}

/// Which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct From {
    pub(super) process: Process,
    pub(super) nonce: u128,
}

/// A control socket.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) from: From,
    stream: Mutex<Socket>,
    closed: AtomicBool,
}

impl Link {
    /// Takes `stream` over, and reports what `from` says by `report`.
    pub(super) fn start<E: Send + 'static>(
        stream: Socket,
        from: From,
        events: Sender<E>,
        wrap: impl Fn(From, Heard) -> E + Send + 'static,
    ) -> io::Result<Arc<Link>> {
        stream.set_timeouts(Some(LOST))?;
        let reader = stream.try_clone()?;
        let link = Arc::new(Link { from, stream: Mutex::new(stream), closed: AtomicBool::new(false) });
        let read = move || {
            let mut reader = BufReader::new(reader);
            loop {
                let heard = match Frame::read(&mut reader) {
                    Ok(Frame::Beat) => continue,
                    Ok(frame) => Heard::Frame(frame),
                    Err(error) => Heard::Closed(why(&error)),
                };
                let is_end = matches!(heard, Heard::Closed(_));
                // If nobody listens any more, the process ends.
                if events.send(wrap(from, heard)).is_err() || is_end {
                    return;
                }
            }
        };
        spawn(&format!("headway-mesh-{}", from.process.0), read)?;
        let beating = Arc::clone(&link);
        let beat = move || {
            while !beating.closed.load(Ordering::SeqCst) && beating.send(&Frame::Beat).is_ok() {
                std::thread::sleep(BEAT);
            }
        };
        spawn(&format!("headway-beat-{}", from.process.0), beat)?;
        Ok(link)
    }

    /// Sends `frame`. After a failure nothing more can be sent, and the reader reports the end.
    pub(super) fn send(&self, frame: &Frame) -> io::Result<()> {
        let mut stream = self.stream.lock().expect("no thread panics while it writes");
        let sent = frame.write(&mut *stream);
        if sent.is_err() {
            // A frame may have been sent in part.
            let _ = stream.shutdown(Shutdown::Both);
        }
        sent
    }

    /// Ends it without a word.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = self.stream.lock().expect("no thread panics while it writes").shutdown(Shutdown::Both);
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_string()).spawn(body).map(drop)
}

/// What ended a link, in words.
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no sign of life for {} s", LOST.as_secs())
        }
        io::ErrorKind::UnexpectedEof => "its socket was closed".to_string(),
        _ => error.to_string(),
    }
}
