//! A control socket with one other process: who reads it, who writes it, and how a lost process is noticed.
//!
//! A link has two threads. One reads, and reports every frame and the end. One sends a beat every [`BEAT`]. If nothing comes from a
//! process for [`LOST`], it is lost: stopped, hung, or cut off. Timely itself never notices that.
//!
//! The network may cut the socket of the dataflow alone. So each beat says how many bytes its sender has written to that socket. If
//! some of them have not arrived, and no byte arrives for [`LOST`], the sender is lost, too.

use crate::mesh::Process;
use crate::mesh::frame::Frame;
use crate::mesh::socket::{Socket, Traffic};
use crossbeam_channel::Sender;
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

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
    /// The socket of the dataflow with the same process, once the mesh is there.
    data: OnceLock<Arc<Traffic>>,
}

/// How the bytes of the dataflow come in.
#[derive(Debug)]
struct Inflow {
    received: u64,
    since: Instant,
    /// How many beats since then have said that more bytes were sent than have arrived.
    beats: u32,
}

impl Inflow {
    fn new(now: Instant) -> Inflow {
        Inflow { received: 0, since: now, beats: 0 }
    }

    /// Notes at `now` a beat that says that `sent` bytes were sent, of which `received` have arrived; `None` while nobody reads them.
    /// False once bytes are missing, none has arrived for [`LOST`], and as many beats have come as are sent in that time. The beats are
    /// counted because they come all at once after a pause of this process.
    fn goes_on(&mut self, sent: u64, received: Option<u64>, now: Instant) -> bool {
        match received {
            Some(received) if received < sent && received == self.received => {
                self.beats += 1;
                u64::from(self.beats) * BEAT.as_secs() < LOST.as_secs()
                    || now.saturating_duration_since(self.since) < LOST
            }
            _ => {
                *self = Inflow { received: received.unwrap_or_default(), ..Inflow::new(now) };
                true
            }
        }
    }
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
        let link = Arc::new(Link {
            from,
            stream: Mutex::new(stream),
            closed: AtomicBool::new(false),
            data: OnceLock::new(),
        });
        let reading = Arc::clone(&link);
        let read = move || {
            let (mut reader, mut inflow) = (BufReader::new(reader), Inflow::new(Instant::now()));
            loop {
                let heard = match Frame::read(&mut reader) {
                    Ok(Frame::Beat(sent)) if inflow.goes_on(sent, reading.received(), Instant::now()) => {
                        continue;
                    }
                    Ok(Frame::Beat(_)) => {
                        let why = format!("nothing of its dataflow comes through for {} s", LOST.as_secs());
                        Heard::Closed(why)
                    }
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
            while !beating.closed.load(Ordering::SeqCst) && beating.send(&Frame::Beat(beating.sent())).is_ok()
            {
                std::thread::sleep(BEAT);
            }
        };
        spawn(&format!("headway-beat-{}", from.process.0), beat)?;
        Ok(link)
    }

    /// From now on the beats that are sent say how many bytes were written to `data`, and each beat that comes is compared with how
    /// many have arrived there.
    pub(super) fn watch(&self, data: &Socket) {
        // Once a mesh.
        let _ = self.data.set(data.traffic());
    }

    fn sent(&self) -> u64 {
        self.data.get().map_or(0, |data| data.sent())
    }

    fn received(&self) -> Option<u64> {
        self.data.get().and_then(|data| data.received())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_were_sent_and_do_not_come_are_a_loss_after_ten_beats_and_ten_seconds() {
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let lost_at = |sent: fn(u64) -> u64, received: fn(u64) -> Option<u64>| {
            let mut inflow = Inflow::new(began);
            (1..60).find(|second| !inflow.goes_on(sent(*second), received(*second), after(*second)))
        };
        // The first of ten beats finds bytes missing, and the time counts from the beat before.
        assert_eq!(lost_at(|_| 9, |_| Some(0)), Some(10));
        assert_eq!(lost_at(|second| 9 * second, |second| Some(second.min(20))), Some(30));
        assert_eq!(lost_at(|_| 9, |_| Some(9)), None, "all of it is there");
        assert_eq!(lost_at(|second| 9 * second, Some), None, "some of it comes each time");
        assert_eq!(lost_at(|_| 9, |_| None), None, "nobody reads yet");
        // Beats of a minute that come at once, and few beats in a minute.
        let mut inflow = Inflow::new(began);
        assert!((1..60).all(|_| inflow.goes_on(9, Some(0), after(9))));
        let mut inflow = Inflow::new(began);
        assert!((1..10).all(|beat| inflow.goes_on(9, Some(0), after(10 * beat))));
    }
}
