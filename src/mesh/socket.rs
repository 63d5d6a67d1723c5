//! A socket between two processes: a TCP socket as it is, or one with a TLS session on it. It counts what goes through it after the
//! hello, so that the other end can be told how much there should be.

use crate::mesh::deadline::Deadline;
use crate::mesh::tls::Session;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use timely::communication::allocator::zero_copy::stream::Stream;

/// A socket of a mesh. Clones are the same socket: one may read while another writes.
#[derive(Debug)]
pub struct Socket {
    pub(super) wire: Wire,
    traffic: Arc<Traffic>,
}

/// What a socket is.
#[derive(Debug)]
pub(super) enum Wire {
    /// A mesh without TLS.
    Plain(TcpStream),
    /// A mesh with TLS.
    Tls(Arc<Session>),
}

/// How many bytes have gone through a socket since its hello, in plain text.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    is_read: AtomicBool,
}

impl Traffic {
    /// Bytes that were handed to the system.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Bytes that have come; `None` before anybody has wanted any.
    pub(super) fn received(&self) -> Option<u64> {
        self.is_read.load(Ordering::SeqCst).then(|| self.received.load(Ordering::SeqCst))
    }
}

fn count(counter: &AtomicU64, moved: &io::Result<usize>) {
    if let Ok(bytes) = moved {
        counter.fetch_add(*bytes as u64, Ordering::SeqCst);
    }
}

impl Socket {
    /// A socket without TLS.
    pub(super) fn plain(tcp: TcpStream) -> Socket {
        Socket { wire: Wire::Plain(tcp), traffic: Arc::default() }
    }

    /// A socket with TLS.
    pub(super) fn tls(session: Session) -> Socket {
        Socket { wire: Wire::Tls(Arc::new(session)), traffic: Arc::default() }
    }

    /// The same socket, which counts from 0. Only one that has no clones may become it.
    pub(super) fn counted_from_now(self) -> Socket {
        Socket { wire: self.wire, traffic: Arc::default() }
    }

    /// What has gone through it.
    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// True if what goes over it is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    /// What only the two ends of a TLS session know, and no other session has; nothing without TLS.
    pub(super) fn binding(&self) -> Vec<u8> {
        match &self.wire {
            Wire::Plain(_) => Vec::new(),
            Wire::Tls(session) => session.binding(),
        }
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// If the socket is closed.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &self.wire {
            Wire::Plain(tcp) => tcp.shutdown(how),
            Wire::Tls(session) => session.shutdown(how),
        }
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn try_clone(&self) -> io::Result<Socket> {
        let wire = match &self.wire {
            Wire::Plain(tcp) => Wire::Plain(tcp.try_clone()?),
            Wire::Tls(session) => Wire::Tls(Arc::clone(session)),
        };
        Ok(Socket { wire, traffic: self.traffic() })
    }

    /// The TCP socket below.
    pub(super) fn tcp(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(session) => session.tcp(),
        }
    }

    /// Bounds each wait for bytes, and each for room to write some.
    pub(super) fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp().set_read_timeout(timeout)?;
        self.tcp().set_write_timeout(timeout)
    }

    /// Reads some bytes before `until`.
    pub(super) fn read_by(&self, bytes: &mut [u8], until: Deadline) -> io::Result<usize> {
        match &self.wire {
            Wire::Plain(tcp) => {
                until.bound_read(tcp)?;
                let mut tcp = tcp;
                tcp.read(bytes)
            }
            Wire::Tls(session) => session.read_by(bytes, Some(until)),
        }
    }

    /// Writes all of `bytes`, which are few, before `until`.
    pub(super) fn write_by(&self, bytes: &[u8], until: Deadline) -> io::Result<()> {
        until.bound_write(self.tcp())?;
        let mut socket = self;
        socket.write_all(bytes)
    }
}

impl Read for &Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.traffic.is_read.store(true, Ordering::SeqCst);
        let read = match &self.wire {
            Wire::Plain(tcp) => {
                let mut tcp = tcp;
                tcp.read(bytes)
            }
            Wire::Tls(session) => session.read_by(bytes, None),
        };
        count(&self.traffic.received, &read);
        read
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &self.wire {
            Wire::Plain(tcp) => {
                let mut tcp = tcp;
                tcp.write(bytes)
            }
            Wire::Tls(session) => session.write(bytes),
        };
        count(&self.traffic.sent, &written);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        match &self.wire {
            Wire::Plain(_) => Ok(()),
            Wire::Tls(session) => session.flush(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self).read(bytes)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Stream for Socket {
    fn try_clone(&self) -> io::Result<Socket> {
        Socket::try_clone(self)
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.tcp().set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Socket::shutdown(self, how)
    }
}
