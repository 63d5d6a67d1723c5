//! One TLS session over one socket, for a thread that reads and threads that write.
//!
//! ```text
//! read    socket ──► inbound (ciphertext) ──► state ──► plaintext         waits for the socket while `state` is free
//! write   plaintext ──► state ──► outbound (ciphertext) ──► socket        waits for the socket while `state` is free
//! ```
//! 1. Nobody waits for the socket with `state` locked. Two processes that both have much to send would wait for each other for ever
//!    otherwise: neither could read before it has written.
//! 2. Ciphertext is taken from `state` by whoever holds `outbound`, and written before that is let go: records go out in order.
//! 3. A reader never waits for `outbound`, for the reason in 1. The answer to a key update goes out with the next write; TLS 1.3
//!    wants it no earlier.
//! 4. A stream that ends without `close_notify` was cut: an error, as a reset is.

use crate::mesh::deadline::Deadline;
use crate::mesh::error::{Failed, NotTaken};
use crate::mesh::tls::words;
use rustls::{Connection, Error};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Bytes of ciphertext that are read at once.
const READ_BYTES: usize = 32 << 10;

/// How long the last word of an end that goes may wait for room in the socket's buffer.
const LAST_WORD: Duration = Duration::from_millis(10);

/// One session.
pub struct Session {
    tcp: TcpStream,
    state: Mutex<Connection>,
    inbound: Mutex<Inbound>,
    /// Ciphertext on its way to the socket; empty while nobody holds it.
    outbound: Mutex<Vec<u8>>,
}

/// Ciphertext that was read and not understood yet.
struct Inbound {
    raw: Vec<u8>,
    at: usize,
    end: usize,
    /// The socket has no more.
    is_over: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that begins.
    pub(super) fn new(tcp: TcpStream, end: Connection) -> Session {
        let inbound = Inbound { raw: vec![0; READ_BYTES], at: 0, end: 0, is_over: false };
        Session { tcp, state: Mutex::new(end), inbound: Mutex::new(inbound), outbound: Mutex::default() }
    }

    /// The socket below.
    pub(in crate::mesh) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Says what a caller says first.
    pub(in crate::mesh) fn open(&self, until: Deadline) -> io::Result<()> {
        until.bound_write(&self.tcp)?;
        self.flush()
    }

    /// The handshake with a caller.
    pub(in crate::mesh) fn meet_caller(&self, until: Deadline) -> Result<(), Failed> {
        self.handshake(until).map_err(words::of_caller)
    }

    /// The handshake with a called process. That one judges this process's certificate later: an error of the first read says so.
    pub(in crate::mesh) fn meet_called(&self, until: Deadline) -> Result<(), Failed> {
        self.handshake(until).map_err(words::of_called)
    }

    fn handshake(&self, until: Deadline) -> io::Result<()> {
        let mut inbound = self.inbound();
        loop {
            self.open(until)?;
            if !self.state().is_handshaking() {
                return Ok(());
            }
            if inbound.rest().is_empty() {
                inbound.fill(&self.tcp, Some(until))?;
                if inbound.is_over {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let fed = inbound.feed(&mut self.state());
            fed.inspect_err(|_| self.last_word())?;
        }
    }

    /// What only the two ends of this session know (RFC 9266, "tls-exporter").
    ///
    /// # Panics
    /// If the handshake is not over.
    pub(in crate::mesh) fn binding(&self) -> Vec<u8> {
        let made = self.state().export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(&[]));
        made.expect("the handshake is over")
    }

    /// Reads at least one byte of plaintext, 0 at the end of the stream, before `until` if there is one.
    pub(in crate::mesh) fn read_by(&self, bytes: &mut [u8], until: Option<Deadline>) -> io::Result<usize> {
        let mut inbound = self.inbound();
        loop {
            if let Some(read) = self.take(&mut inbound, bytes)? {
                return Ok(read);
            }
            inbound.fill(&self.tcp, until)?;
        }
    }

    /// What there is to read without the socket; `None` if it is needed.
    fn take(&self, inbound: &mut Inbound, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        let mut state = self.state();
        loop {
            match state.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(Some),
            }
            if inbound.rest().is_empty() && !inbound.is_over {
                return Ok(None);
            }
            if let Err(error) = inbound.feed(&mut state) {
                drop(state);
                self.last_word();
                return Err(not_taken(error));
            }
        }
    }

    /// Writes some of `bytes`.
    pub(in crate::mesh) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut outbound = self.outbound();
        let written = self.state().writer().write(bytes)?;
        self.send(&mut outbound)?;
        Ok(written)
    }

    /// Writes what TLS has to say by itself.
    pub(in crate::mesh) fn flush(&self) -> io::Result<()> {
        let mut outbound = self.outbound();
        self.send(&mut outbound)
    }

    /// Ends one direction or both. The other end learns by `close_notify` that nothing was cut.
    pub(in crate::mesh) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match how {
            Shutdown::Read => {}
            Shutdown::Write => {
                self.state().send_close_notify();
                self.flush()?;
            }
            Shutdown::Both => {
                self.state().send_close_notify();
                self.last_word();
            }
        }
        self.tcp.shutdown(how)
    }

    /// Writes why this end goes, unless that would have to wait: then the other end learns it by the end of the socket.
    fn last_word(&self) {
        if let Ok(mut outbound) = self.outbound.try_lock() {
            let _ = self.tcp.set_write_timeout(Some(LAST_WORD));
            let _ = self.send(&mut outbound);
        }
    }

    /// Sends the ciphertext that there is.
    fn send(&self, outbound: &mut Vec<u8>) -> io::Result<()> {
        {
            let mut state = self.state();
            while state.wants_write() {
                state.write_tls(outbound)?;
            }
        }
        let sent = (&self.tcp).write_all(outbound);
        outbound.clear();
        if sent.is_err() {
            // A record may have been sent in part: nothing can follow it.
            let _ = self.tcp.shutdown(Shutdown::Both);
        }
        sent
    }

    fn state(&self) -> MutexGuard<'_, Connection> {
        self.state.lock().expect("no thread panics with this lock held")
    }

    fn inbound(&self) -> MutexGuard<'_, Inbound> {
        self.inbound.lock().expect("no thread panics with this lock held")
    }

    fn outbound(&self) -> MutexGuard<'_, Vec<u8>> {
        self.outbound.lock().expect("no thread panics with this lock held")
    }

    /// Makes new keys for what this end sends, and asks the other end to do so.
    #[cfg(test)]
    pub(in crate::mesh) fn update_keys(&self) {
        self.state().refresh_traffic_keys().expect("the handshake is over");
    }
}

impl Inbound {
    fn rest(&self) -> &[u8] {
        &self.raw[self.at..self.end]
    }

    /// Waits for more, once all that there was is understood.
    fn fill(&mut self, mut tcp: &TcpStream, until: Option<Deadline>) -> io::Result<()> {
        loop {
            if let Some(until) = until {
                until.bound_read(tcp)?;
            }
            match tcp.read(&mut self.raw) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    (self.at, self.end, self.is_over) = (0, read, read == 0);
                    return Ok(());
                }
            }
        }
    }

    /// Gives TLS as much as it takes at once, or the news that there is no more.
    fn feed(&mut self, state: &mut Connection) -> io::Result<()> {
        self.at += state.read_tls(&mut &self.raw[self.at..self.end])?;
        let processed = state.process_new_packets();
        processed.map(drop).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// What a read says after the handshake, if the other end did not take this process's certificate.
fn not_taken(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::AlertReceived(said)) => match words::alert(*said) {
            Some(why) => io::Error::new(io::ErrorKind::PermissionDenied, NotTaken(why)),
            None => error,
        },
        _ => error,
    }
}
