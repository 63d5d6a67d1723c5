//! The hello: how two processes find out that they belong together. Spoken on every socket, both ways, within 5 s.
//!
//! ```text
//! caller ── hello ──► called        magic, job, build, plan, n, w, address list, number, channel, nonce, challenge
//!        ◄── hello ──
//!        ── mac ────►               HMAC-SHA256(secret, "caller", hello of the caller, hello of the called, session)
//!        ◄ verdict, mac ──          HMAC-SHA256(secret, "called", verdict, both hellos, session)
//! ```
//! 1. The caller proves the secret first: a stranger hears no mac.
//! 2. Both hellos hold a new challenge, so nothing that was heard on the wire can be said again.
//! 3. A verdict other than `welcome` names the refusal. Without the secret nobody can make one: it counts as `mesh-secret`, which proves
//!    nothing about who has answered, unless that was proved by TLS.
//! 4. A hello has no generation of the run, which is not claimed yet. A nonce, new at each start of a process, replaces it.
//! 5. In a mesh with TLS all of this goes on inside a session ([`crate::mesh::wire`]), which is part of the 5 s. Both macs hold what
//!    only the two ends of the session know (RFC 9266): who has a certificate and no secret cannot hand hellos on between two of its
//!    own sessions. Without TLS that part is empty.

use crate::mesh::Process;
use crate::mesh::deadline::Deadline;
use crate::mesh::error::{Distrust, Failed, Refusal};
use crate::mesh::socket::Socket;
use crate::mesh::tls::Tls;
use crate::mesh::wire;
use crate::random::random;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::io;
use std::net::TcpStream;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// How long a hello may take.
pub const WITHIN: Duration = Duration::from_secs(5);

/// What every hello begins with. Another protocol has another one.
const MAGIC: [u8; 8] = *b"HWMESH01";

/// Bytes of a hello.
const BYTES: usize = 8 + 16 + 16 + 32 + 4 + 4 + 16 + 4 + 4 + 1 + 16 + 16;

/// Bytes of a mac.
const MAC_BYTES: usize = 32;

/// The verdict of a called process that takes the caller.
const WELCOME: u8 = 0;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The dataflow.
    Data,
    /// Messages between processes.
    Control,
}

/// What must be the same in all processes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The job's name.
    pub job: String,
    /// The program: a hash of its executable.
    pub build: u128,
    /// A hash of everything that shapes the dataflow.
    pub plan: [u8; 32],
    /// Workers of each process.
    pub workers: u32,
    /// Where the processes listen, by number.
    pub addresses: Vec<String>,
}

/// One process, as it introduces itself.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its number.
    pub process: Process,
    /// What it must have in common with the others.
    pub facts: Facts,
    /// What only processes of the job know; empty on one machine.
    pub secret: Vec<u8>,
    /// Its certificates, in a mesh with TLS.
    pub tls: Option<Tls>,
    /// Unique to this start of the process.
    pub nonce: u128,
}

/// What a hello says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hello {
    job: u128,
    build: u128,
    plan: [u8; 32],
    processes: u32,
    workers: u32,
    addresses: u128,
    from: Process,
    to: Process,
    channel: Channel,
    nonce: u128,
    challenge: u128,
}

/// A process that was taken.
#[derive(Debug)]
pub struct Peer {
    /// Its number.
    pub process: Process,
    /// Its nonce.
    pub nonce: u128,
    /// What the socket is for.
    pub channel: Channel,
    /// The socket, as it is after the hello: blocking, without time-outs.
    pub stream: Socket,
}

/// Answers a caller.
///
/// # Errors
/// If the caller is none of the mesh. It was told why, if it is a process of one.
pub fn answer(tcp: TcpStream, me: &Me) -> Result<Peer, Failed> {
    let until = Deadline::within(WITHIN);
    let stream = wire::answer(tcp, me.tls.as_ref(), until)?;
    // 1. Nothing is sent before what was heard begins like a hello.
    let their_bytes: [u8; BYTES] = read(&stream, until)?;
    let theirs = Hello::decode(&their_bytes).ok_or(Failed::Stranger)?;
    if me.tls.is_some() && !stream.is_tls() {
        wire::refuse_plain(&stream, until);
        let why = format!("it speaks no TLS, and says that it is process {}", theirs.from.0);
        return Err(Failed::Distrust(Distrust::tls(why)));
    }
    let mine = Hello::of(me, theirs.from, theirs.channel);
    let my_bytes = mine.encode();
    stream.write_by(&my_bytes, until)?;
    // 2. The caller proves that it knows the secret.
    let session = stream.binding();
    let proof: [u8; MAC_BYTES] = read(&stream, until)?;
    if !is_mac(&me.secret, &[b"caller", &their_bytes, &my_bytes, &session], &proof) {
        stream.write_by(&[&[Refusal::Secret.byte()][..], &[0; MAC_BYTES]].concat(), until)?;
        return Err(Failed::Refused(theirs.from, Refusal::Secret));
    }
    // 3. The verdict.
    let refusal = judge(&mine, &theirs).or((theirs.from <= me.process).then_some(Refusal::Index));
    let verdict = refusal.map_or(WELCOME, Refusal::byte);
    let proof = mac(&me.secret, &[b"called", &[verdict], &their_bytes, &my_bytes, &session]);
    stream.write_by(&[&[verdict][..], &proof].concat(), until)?;
    match refusal {
        Some(refusal) => Err(Failed::Refused(theirs.from, refusal)),
        None => peer(stream, &theirs),
    }
}

/// Calls `process` on a fresh `stream`.
///
/// # Errors
/// If it is none of the mesh, or refused this process.
pub fn call(tcp: TcpStream, me: &Me, process: Process, channel: Channel) -> Result<Peer, Failed> {
    let until = Deadline::within(WITHIN);
    let address = me.facts.addresses.get(process.index()).map_or("", String::as_str);
    let stream = wire::call(tcp, me.tls.as_ref(), address, until)?;
    let mine = Hello::of(me, process, channel);
    let my_bytes = mine.encode();
    stream.write_by(&my_bytes, until)?;
    if wire::is_refused_as_plain(&stream, until)? {
        return Err(Failed::Unproved(Refusal::Tls));
    }
    let their_bytes: [u8; BYTES] = read(&stream, until)?;
    let theirs = Hello::decode(&their_bytes).ok_or(Failed::Stranger)?;
    let session = stream.binding();
    stream.write_by(&mac(&me.secret, &[b"caller", &my_bytes, &their_bytes, &session]), until)?;
    let answer: [u8; 1 + MAC_BYTES] = read(&stream, until)?;
    let (verdict, proof) = (answer[0], &answer[1..]);
    if !is_mac(&me.secret, &[b"called", &[verdict], &my_bytes, &their_bytes, &session], proof) {
        return Err(match stream.is_tls() {
            true => Failed::Refused(process, Refusal::Secret),
            false => Failed::Unproved(Refusal::Secret),
        });
    }
    let refusal = Refusal::ALL.into_iter().find(|refusal| refusal.byte() == verdict);
    let refusal = refusal.or_else(|| judge(&mine, &theirs));
    match refusal.or((theirs.from != process).then_some(Refusal::Index)) {
        Some(refusal) => Err(Failed::Refused(process, refusal)),
        None => peer(stream, &theirs),
    }
}

/// Why the process that said `theirs` is none of the mesh of the one that says `mine`; `None` if it is one.
fn judge(mine: &Hello, theirs: &Hello) -> Option<Refusal> {
    if theirs.build != mine.build {
        Some(Refusal::Version)
    } else if (theirs.job, theirs.plan) != (mine.job, mine.plan) {
        Some(Refusal::Plan)
    } else if (theirs.processes, theirs.workers, theirs.addresses)
        != (mine.processes, mine.workers, mine.addresses)
    {
        Some(Refusal::Addresses)
    } else if theirs.to != mine.from || theirs.from == mine.from || theirs.from.0 >= mine.processes {
        Some(Refusal::Index)
    } else {
        None
    }
}

fn peer(stream: Socket, hello: &Hello) -> Result<Peer, Failed> {
    // Timely reads without time-outs; a read that had one would end its thread.
    stream.set_timeouts(None)?;
    let stream = stream.counted_from_now();
    Ok(Peer { process: hello.from, nonce: hello.nonce, channel: hello.channel, stream })
}

impl Hello {
    fn of(me: &Me, to: Process, channel: Channel) -> Hello {
        let Facts { job, build, plan, workers, addresses } = &me.facts;
        Hello {
            job: xxh3_128(job.as_bytes()),
            build: *build,
            plan: *plan,
            processes: u32::try_from(addresses.len()).unwrap_or(u32::MAX),
            workers: *workers,
            addresses: xxh3_128(addresses.join("\n").as_bytes()),
            from: me.process,
            to,
            channel,
            nonce: me.nonce,
            challenge: random(),
        }
    }

    fn encode(&self) -> [u8; BYTES] {
        let channel = match self.channel {
            Channel::Data => 0,
            Channel::Control => 1,
        };
        let parts: [&[u8]; 12] = [
            &MAGIC,
            &self.job.to_le_bytes(),
            &self.build.to_le_bytes(),
            &self.plan,
            &self.processes.to_le_bytes(),
            &self.workers.to_le_bytes(),
            &self.addresses.to_le_bytes(),
            &self.from.0.to_le_bytes(),
            &self.to.0.to_le_bytes(),
            &[channel],
            &self.nonce.to_le_bytes(),
            &self.challenge.to_le_bytes(),
        ];
        parts.concat().try_into().expect("the parts have the length of a hello")
    }

    /// What `bytes` say; `None` if they are no hello.
    fn decode(bytes: &[u8; BYTES]) -> Option<Hello> {
        let mut rest = &bytes[..];
        if take::<8>(&mut rest) != MAGIC {
            return None;
        }
        Some(Hello {
            job: u128::from_le_bytes(take(&mut rest)),
            build: u128::from_le_bytes(take(&mut rest)),
            plan: take(&mut rest),
            processes: u32::from_le_bytes(take(&mut rest)),
            workers: u32::from_le_bytes(take(&mut rest)),
            addresses: u128::from_le_bytes(take(&mut rest)),
            from: Process(u32::from_le_bytes(take(&mut rest))),
            to: Process(u32::from_le_bytes(take(&mut rest))),
            channel: match take::<1>(&mut rest) {
                [0] => Channel::Data,
                [1] => Channel::Control,
                _ => return None,
            },
            nonce: u128::from_le_bytes(take(&mut rest)),
            challenge: u128::from_le_bytes(take(&mut rest)),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_at(N);
    *rest = tail;
    head.try_into().expect("it was split there")
}

fn hmac(secret: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
    parts.iter().for_each(|part| hmac.update(part));
    hmac
}

fn mac(secret: &[u8], parts: &[&[u8]]) -> [u8; MAC_BYTES] {
    hmac(secret, parts).finalize().into_bytes().into()
}

/// Compares in constant time.
fn is_mac(secret: &[u8], parts: &[&[u8]], mac: &[u8]) -> bool {
    hmac(secret, parts).verify_slice(mac).is_ok()
}

/// Exactly `N` bytes, before `until`: a stranger that drips them gets no more time than others.
fn read<const N: usize>(stream: &Socket, until: Deadline) -> io::Result<[u8; N]> {
    let (mut bytes, mut at) = ([0; N], 0);
    while at < N {
        match stream.read_by(&mut bytes[at..], until) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // What cannot become a hello is not waited for.
        let begin = at.min(MAGIC.len());
        if N == BYTES && bytes[..begin] != MAGIC[..begin] {
            return Ok(bytes);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn me(process: u32) -> Me {
        let addresses = ["a:1", "b:2", "c:3"].map(String::from).to_vec();
        let facts = Facts { job: "gate".into(), build: 7, plan: [3; 32], workers: 2, addresses };
        Me {
            process: Process(process),
            facts,
            secret: b"a secret".to_vec(),
            tls: None,
            nonce: u128::from(process) + 100,
        }
    }

    /// What both sides make of a call of `caller` that means `target`.
    fn meet(caller: &Me, called: &Me, target: u32) -> (Result<Peer, Failed>, Result<Peer, Failed>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            let answered = scope.spawn(|| answer(listener.accept().unwrap().0, called));
            let stream = TcpStream::connect(address).unwrap();
            let called = call(stream, caller, Process(target), Channel::Control);
            (called, answered.join().unwrap())
        })
    }

    #[test]
    fn processes_of_a_job_know_each_other() {
        let (called, answered) = meet(&me(2), &me(1), 1);
        let (called, answered) = (called.unwrap(), answered.unwrap());
        assert_eq!((called.process, called.nonce), (Process(1), 101));
        assert_eq!((answered.process, answered.nonce, answered.channel), (Process(2), 102, Channel::Control));
    }

    #[test]
    fn both_sides_name_why_they_do_not_belong_together() {
        type Case = (fn(&mut Me), u32, Refusal);
        let cases: [Case; 9] = [
            (|me| me.secret = b"another".to_vec(), 1, Refusal::Secret),
            (|me| me.facts.build = 8, 1, Refusal::Version),
            (|me| me.facts.job = "other".into(), 1, Refusal::Plan),
            (|me| me.facts.plan[31] = 4, 1, Refusal::Plan),
            (|me| me.facts.workers = 1, 1, Refusal::Addresses),
            (|me| me.facts.addresses[0] = "z:1".into(), 1, Refusal::Addresses),
            (|me| me.facts.addresses.truncate(2), 1, Refusal::Addresses),
            (|me| me.process = Process(1), 1, Refusal::Index),
            (|_| (), 0, Refusal::Index),
        ];
        for (change, target, expected) in cases {
            let mut caller = me(2);
            change(&mut caller);
            let (called, answered) = meet(&caller, &me(1), target);
            for result in [called, answered] {
                let found = match result {
                    Err(Failed::Refused(_, refusal)) => refusal,
                    Err(Failed::Unproved(refusal)) if refusal == Refusal::Secret => refusal,
                    other => panic!("{expected:?}: {other:?}"),
                };
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn what_was_heard_on_the_wire_cannot_be_said_again() {
        let (caller, called) = (me(2), me(1));
        let first = Hello::of(&caller, Process(1), Channel::Data).encode();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut proof = None;
        for _ in 0..2 {
            std::thread::scope(|scope| {
                let answered = scope.spawn(|| answer(listener.accept().unwrap().0, &called));
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&first).unwrap();
                let mut theirs = [0; BYTES];
                stream.read_exact(&mut theirs).unwrap();
                let is_replay = proof.is_some();
                let proof = *proof.get_or_insert_with(|| mac(&caller.secret, &[b"caller", &first, &theirs]));
                stream.write_all(&proof).unwrap();
                assert_eq!(answered.join().unwrap().is_err(), is_replay);
            });
        }
    }
}
