//! What happens at the sockets of a mesh, as one thread takes it in.

use crate::mesh::Process;
use crate::mesh::error::{NotTaken, Refusal};
use crate::mesh::hello::Peer;
use crate::mesh::link::{From, Heard};
use std::net::SocketAddr;

/// Something that happened at a socket.
#[derive(Debug)]
pub(super) enum Event {
    /// A process has said hello on a socket.
    Peer(Peer),
    /// A caller was refused.
    Turned { process: Process, refusal: Refusal, from: SocketAddr },
    /// A caller was none, and why.
    Stranger { from: SocketAddr, why: String },
    /// A caller left, since it does not accept the certificate of this process.
    Left { from: SocketAddr, not_taken: NotTaken },
    /// A called process has refused this one.
    Refused { process: Process, refusal: Refusal, why: Option<String> },
    /// Whatever was called in place of a process refuses this one, and proves nothing.
    Unproved { process: Process, refusal: Refusal },
    /// A called process does not answer.
    Absent { process: Process, why: String },
    /// A control socket reports.
    Link(From, Heard),
}
