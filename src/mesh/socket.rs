//! A socket between two processes: a TCP socket as it is, or one with a TLS session on it.

use crate::mesh::deadline::Deadline;
use crate::mesh::tls::Session;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use timely::communication::allocator::zero_copy::stream::Stream;

/// A socket of a mesh. Clones are the same socket: one may read while another writes.
#[derive(Debug)]
pub enum Socket {
    /// A mesh without TLS.
    Plain(TcpStream),
    /// A mesh with TLS.
    Tls(Arc<Session>),
}

impl Socket {
    /// True if what goes over it is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }

    /// What only the two ends of a TLS session know, and no other session has; nothing without TLS.
    pub(super) fn binding(&self) -> Vec<u8> {
        match self {
            Socket::Plain(_) => Vec::new(),
            Socket::Tls(session) => session.binding(),
        }
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// If the socket is closed.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Plain(tcp) => tcp.shutdown(how),
            Socket::Tls(session) => session.shutdown(how),
        }
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn try_clone(&self) -> io::Result<Socket> {
        match self {
            Socket::Plain(tcp) => tcp.try_clone().map(Socket::Plain),
            Socket::Tls(session) => Ok(Socket::Tls(Arc::clone(session))),
        }
    }

    /// The TCP socket below.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Socket::Plain(tcp) => tcp,
            Socket::Tls(session) => session.tcp(),
        }
    }

    /// Bounds each wait for bytes, and each for room to write some.
    pub(super) fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp().set_read_timeout(timeout)?;
        self.tcp().set_write_timeout(timeout)
    }

    /// Reads some bytes before `until`.
    pub(super) fn read_by(&self, bytes: &mut [u8], until: Deadline) -> io::Result<usize> {
        match self {
            Socket::Plain(tcp) => {
                until.bound_read(tcp)?;
                let mut tcp = tcp;
                tcp.read(bytes)
            }
            Socket::Tls(session) => session.read_by(bytes, Some(until)),
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
        match self {
            Socket::Plain(tcp) => {
                let mut tcp = tcp;
                tcp.read(bytes)
            }
            Socket::Tls(session) => session.read_by(bytes, None),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(tcp) => {
                let mut tcp = tcp;
                tcp.write(bytes)
            }
            Socket::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Plain(_) => Ok(()),
            Socket::Tls(session) => session.flush(),
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
