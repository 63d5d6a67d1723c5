//! TLS or not: both ends of a socket must agree before the hello.
//!
//! The first byte of a caller says which it speaks. A process that speaks the other kind answers with a mark of eight bytes in
//! plain text and ends the call, so that the one who started the processes learns which flag is missing. Nothing else is ever
//! sent in plain text by a process with TLS. The mark is no proof: to a process with TLS it says why a call has failed, and nothing
//! more; to one without TLS it is the name of its failure, if nobody else answers in time.

use crate::mesh::deadline::Deadline;
use crate::mesh::error::{Distrust, Failed};
use crate::mesh::socket::{Socket, Wire};
use crate::mesh::tls::Tls;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// What a process says in plain text to one that speaks the other kind.
type Mark = [u8; 8];

/// Said to a caller in plain text: this mesh has TLS.
const MUST: Mark = *b"TLS-MUST";

/// Said to a caller that speaks TLS: this mesh has none.
const NONE: Mark = *b"TLS-NONE";

/// Most bytes of a refused caller that are read, so that it can read why.
const REST_BYTES: u64 = 64 << 10;

/// The socket of a caller on `tcp`. It may be a plain one though `tls` is there: what is heard on it decides how it is refused.
pub(super) fn answer(tcp: TcpStream, tls: Option<&Tls>, until: Deadline) -> Result<Socket, Failed> {
    prepare(&tcp)?;
    let is_tls = first(&tcp, until)? == HANDSHAKE;
    match tls {
        Some(tls) if is_tls => {
            let session = tls.server(tcp)?;
            session.meet_caller(until).inspect_err(|_| linger(session.tcp(), until))?;
            Ok(Socket::tls(session))
        }
        None if is_tls => {
            say(&tcp, NONE, until);
            let why = "it speaks TLS, and this process was started without --mesh-cert".to_string();
            Err(Failed::Distrust(Distrust::tls(why)))
        }
        _ => Ok(Socket::plain(tcp)),
    }
}

/// The socket with the process at `address`, on a fresh `tcp`.
pub(super) fn call(
    tcp: TcpStream,
    tls: Option<&Tls>,
    address: &str,
    until: Deadline,
) -> Result<Socket, Failed> {
    prepare(&tcp)?;
    let Some(tls) = tls else { return Ok(Socket::plain(tcp)) };
    let session = tls.client(tcp, address)?;
    session.open(until)?;
    if is_marked(session.tcp(), NONE, until)? {
        let why = "it says that it was started without --mesh-cert, and this process has it".to_string();
        return Err(Failed::Distrust(Distrust::tls(why)));
    }
    session.meet_called(until)?;
    Ok(Socket::tls(session))
}

/// Tells a caller in plain text that this mesh has TLS.
pub(super) fn refuse_plain(socket: &Socket, until: Deadline) {
    say(socket.tcp(), MUST, until);
}

/// True if the called process answers a hello in plain text with the word that it has TLS.
pub(super) fn is_refused_as_plain(socket: &Socket, until: Deadline) -> Result<bool, Failed> {
    match &socket.wire {
        Wire::Plain(tcp) => is_marked(tcp, MUST, until),
        Wire::Tls(_) => Ok(false),
    }
}

fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nonblocking(false)?;
    tcp.set_nodelay(true)
}

/// The first byte that comes. It stays there to be read.
fn first(tcp: &TcpStream, until: Deadline) -> io::Result<u8> {
    let mut byte = [0];
    loop {
        until.bound_read(tcp)?;
        match tcp.peek(&mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// True if `mark` comes next; then it is read.
fn is_marked(mut tcp: &TcpStream, mark: Mark, until: Deadline) -> Result<bool, Failed> {
    if first(tcp, until)? != mark[0] {
        return Ok(false);
    }
    let (mut found, mut at) = (Mark::default(), 0);
    // Neither a hello nor TLS begins like a mark.
    while at < found.len() {
        first(tcp, until)?;
        at += tcp.read(&mut found[at..])?;
    }
    if found == mark { Ok(true) } else { Err(Failed::Stranger) }
}

/// Says `mark`, as far as the caller listens.
fn say(mut tcp: &TcpStream, mark: Mark, until: Deadline) {
    if until.bound_write(tcp).and_then(|()| tcp.write_all(&mark)).is_ok() {
        linger(tcp, until);
    }
}

/// Waits until the caller goes: a socket that is closed with bytes unread is reset, and takes the answer back.
fn linger(tcp: &TcpStream, until: Deadline) {
    let _ = tcp.shutdown(Shutdown::Write);
    let mut left = REST_BYTES;
    let mut bytes = [0; 512];
    while left > 0 && until.bound_read(tcp).is_ok() {
        let mut tcp = tcp;
        match tcp.read(&mut bytes) {
            Ok(read @ 1..) => left = left.saturating_sub(read as u64),
            Ok(0) | Err(_) => return,
        }
    }
}
