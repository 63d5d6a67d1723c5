//! Processes that join, among strangers, late ones, wrong ones and those that come twice.

use crate::mesh::error::Error;
use crate::mesh::hello::{self, Channel, Facts, Me};
use crate::mesh::{Mesh, Options, Process, Refusal, Signal, join};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Addresses on this machine at which nobody listens.
pub(super) fn addresses(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

pub(super) fn options(process: u32, addresses: &[String]) -> Options {
    let addresses = addresses.to_vec();
    let facts = Facts { job: "gate".into(), build: 7, plan: [3; 32], workers: 1, addresses };
    let secret = b"a secret of the job".to_vec();
    Options { process: Process(process), facts, secret, tls: None, within: PATIENCE }
}

/// A process that joins.
pub(super) type Joining = JoinHandle<Result<Mesh, Error>>;

pub(super) fn joins(options: Options) -> Joining {
    spawn(move || join(options, &|| false))
}

/// The process of `options` as it calls others, with a nonce of its own.
pub(super) fn me(options: &Options, nonce: u128) -> Me {
    let Options { process, facts, secret, tls, .. } = options.clone();
    Me { process, facts, secret, tls, nonce }
}

/// A socket to `address`, as soon as somebody listens there.
pub(super) fn connect(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn next(mesh: &Mesh) -> Signal {
    mesh.control.next(PATIENCE).expect("something happens")
}

/// Every process sends to every other one, on both sockets.
pub(super) fn talk(meshes: &[Mesh]) {
    for (at, mesh) in meshes.iter().enumerate() {
        mesh.control.send_all(&[at as u8; 70_000]);
        for stream in mesh.data.iter().flatten() {
            let mut stream = stream;
            stream.write_all(&[at as u8]).unwrap();
        }
    }
    for (at, mesh) in meshes.iter().enumerate() {
        for _ in 1..meshes.len() {
            let Signal::Body { from, bytes } = next(mesh) else { panic!("a message") };
            assert_eq!(bytes, [from.0 as u8; 70_000]);
        }
        for (other, stream) in mesh.data.iter().enumerate() {
            assert_eq!(stream.is_some(), other != at);
            let Some(mut stream) = stream.as_ref() else { continue };
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            assert_eq!(usize::from(byte[0]), other);
        }
    }
}

#[test]
fn processes_join_in_any_order_and_a_lost_one_is_noticed() {
    let addresses = addresses(3);
    let joining: Vec<_> = [2, 0, 1].map(|process| joins(options(process, &addresses))).into();
    let mut meshes: Vec<Mesh> = joining.into_iter().map(|mesh| mesh.join().unwrap().unwrap()).collect();
    meshes.rotate_left(1);
    talk(&meshes);
    // One says that it has done its work, another one just goes.
    meshes[2].control.bye();
    drop(meshes.pop());
    for mesh in &meshes {
        assert_eq!(next(mesh), Signal::Bye { from: Process(2) });
    }
    drop(meshes.pop());
    let Signal::Lost { from, why } = next(&meshes[0]) else { panic!("a loss") };
    assert_eq!((from, why.as_str()), (Process(1), "its socket was closed"));
}

#[test]
fn strangers_neither_stop_nor_join_nor_delay_a_mesh() {
    let addresses = addresses(3);
    let joining = [0, 1].map(|process| joins(options(process, &addresses)));
    let wrong = |change: fn(&mut Options)| {
        let mut wrong = options(2, &addresses);
        change(&mut wrong);
        wrong
    };
    let wrong = [
        wrong(|options| options.secret = b"guessed".to_vec()),
        wrong(|options| options.facts.build = 8),
        wrong(|options| options.facts.plan = [4; 32]),
        wrong(|options| options.facts.workers = 2),
        wrong(|options| options.facts.addresses[2] = "127.0.0.1:1".into()),
    ];
    let mut magic = b"HWMESH01".to_vec();
    magic.resize(500, 0xff);
    let said: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
        b"H",
        b"HWMESH01",
        b"HWMESH02................................................................................",
        &[0; 5_000],
        &magic,
    ];
    let wrong = wrong.map(|options| me(&options, 5));
    let strangers = Strangers { said: &said, wrong: &wrong, rounds: 20 };
    strangers.hold_nothing_up(joining, options(2, &addresses));
}

/// Callers that are none of a job.
pub(super) struct Strangers<'a> {
    /// What those say who know nothing of it. One in two keeps its socket open.
    pub(super) said: &'a [&'a [u8]],
    /// Those who are almost right.
    pub(super) wrong: &'a [Me],
    /// How often each of them calls each process.
    pub(super) rounds: usize,
}

impl Strangers<'_> {
    /// How many calls they make.
    pub(super) fn calls(&self) -> usize {
        2 * self.rounds * (self.said.len() + 2 * self.wrong.len())
    }

    /// Lets them call processes 0 and 1, which are `joining`, and then `last` join. Gives the mesh, which has been tried.
    pub(super) fn hold_nothing_up(&self, joining: [Joining; 2], last: Options) -> Vec<Mesh> {
        let mut open = Vec::new();
        for address in &last.facts.addresses[..2] {
            for round in 0..self.rounds {
                for bytes in self.said {
                    let mut stream = connect(address);
                    // The other side may close at once.
                    let _ = stream.write_all(bytes);
                    if round % 2 == 0 {
                        open.push(stream);
                    }
                }
                for wrong in self.wrong {
                    for channel in [Channel::Data, Channel::Control] {
                        assert!(hello::call(connect(address), wrong, Process(0), channel).is_err());
                    }
                }
            }
        }
        // All of them are there still, and the right one comes.
        let began = Instant::now();
        let last = joins(last);
        let meshes: Vec<Mesh> =
            joining.into_iter().chain([last]).map(|mesh| mesh.join().unwrap().unwrap()).collect();
        assert!(began.elapsed() < hello::WITHIN, "strangers held it up for {:?}", began.elapsed());
        talk(&meshes);
        meshes
    }
}

#[test]
fn thousand_callers_that_say_nothing_keep_nobody_out() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: most.maximum, ..most }).unwrap();
    let addresses = addresses(2);
    let leader = joins(options(0, &addresses));
    let open: Vec<_> = (0..1_000).map(|_| connect(&addresses[0])).collect();
    let began = Instant::now();
    let member = joins(options(1, &addresses));
    let meshes = [leader, member].map(|mesh| mesh.join().unwrap().unwrap());
    assert!(began.elapsed() < hello::WITHIN, "{} callers held it up for {:?}", open.len(), began.elapsed());
    talk(&meshes);
}

#[test]
fn newest_start_of_a_process_wins_until_the_roster_is_out_and_none_after_it() {
    let addresses = addresses(2);
    let leader = joins(options(0, &addresses));
    // A start of process 1 that has one of two sockets, and is gone without a word.
    let old = me(&options(1, &addresses), 99);
    let mut stale = hello::call(connect(&addresses[0]), &old, Process(0), Channel::Control).unwrap();
    let meshes = [leader, joins(options(1, &addresses))].map(|mesh| mesh.join().unwrap().unwrap());
    let mut rest = Vec::new();
    stale.stream.set_timeouts(Some(PATIENCE)).unwrap();
    stale.stream.read_to_end(&mut rest).expect("it was turned out");
    talk(&meshes);
    // The listener is closed by then, or closes this caller.
    let late = me(&options(1, &addresses), 98);
    if let Ok(stream) = TcpStream::connect(&addresses[0])
        && let Ok(peer) = hello::call(stream, &late, Process(0), Channel::Data)
    {
        peer.stream.set_timeouts(Some(PATIENCE)).unwrap();
        assert_eq!((&peer.stream).read(&mut [0]).unwrap_or_default(), 0);
    }
    talk(&meshes);
}

/// A process with another secret: that it is refused proves nothing, so it waits for the right one first.
fn with_another_secret(options: &mut Options) {
    (options.secret, options.within) = (b"another".to_vec(), Duration::from_millis(700));
}

/// A process of another build: process 0 may be started from that one in a moment.
fn of_another_build(options: &mut Options) {
    (options.facts.build, options.within) = (8, Duration::from_millis(700));
}

#[test]
fn nothing_that_a_stranger_says_at_the_address_of_process_0_ends_a_join() {
    let addresses = addresses(2);
    let stranger = TcpListener::bind(&addresses[0]).unwrap();
    let member = joins(options(1, &addresses));
    let wrong = Me { secret: b"guessed".to_vec(), ..me(&options(0, &addresses), 5) };
    for round in 0..6 {
        let mut caller = stranger.accept().unwrap().0;
        if round % 2 == 0 {
            // The magic, and a proof that is none.
            assert!(hello::answer(caller, &wrong).is_err());
        } else {
            caller.write_all(b"TLS-MUST").unwrap();
            let _ = caller.read_to_end(&mut Vec::new());
        }
        assert!(!member.is_finished());
    }
    drop(stranger);
    let meshes = [joins(options(0, &addresses)), member].map(|mesh| mesh.join().unwrap().unwrap());
    talk(&meshes);
}

#[test]
fn process_0_goes_on_only_when_all_have_met_all() {
    let addresses = addresses(3);
    let within = Duration::from_millis(700);
    let leader = joins(Options { within, ..options(0, &addresses) });
    // Both have met process 0, and neither ever says that it has met the other.
    let open: Vec<_> = [1, 2]
        .into_iter()
        .flat_map(|process| {
            let caller = me(&options(process, &addresses), 90 + u128::from(process));
            [Channel::Data, Channel::Control]
                .map(|channel| hello::call(connect(&addresses[0]), &caller, Process(0), channel).unwrap())
        })
        .collect();
    match leader.join().unwrap() {
        Err(Error::Timeout { missing, .. }) => {
            let waits: Vec<_> = missing.iter().map(|missing| missing.why.as_str()).collect();
            assert_eq!(waits, ["it waits for others"; 2], "{} sockets", open.len());
        }
        other => panic!("it goes on: {other:?}"),
    }
}

#[test]
fn process_that_process_0_refuses_ends_by_name_and_the_right_one_joins() {
    type Change = fn(&mut Options);
    let cases: [(Change, Refusal); 4] = [
        (with_another_secret, Refusal::Secret),
        (of_another_build, Refusal::Version),
        (|options| options.facts.plan[0] = 8, Refusal::Plan),
        (|options| options.facts.workers = 3, Refusal::Addresses),
    ];
    let addresses = addresses(2);
    let leader = joins(options(0, &addresses));
    for (change, expected) in cases {
        let mut wrong = options(1, &addresses);
        change(&mut wrong);
        match join(wrong, &|| false) {
            Err(Error::Refused { process, refusal, .. }) => {
                assert_eq!((process, refusal), (Process(0), expected))
            }
            other => panic!("{expected:?}: {other:?}"),
        }
    }
    let meshes = [leader, joins(options(1, &addresses))].map(|mesh| mesh.join().unwrap().unwrap());
    talk(&meshes);
}

#[test]
fn who_is_missing_is_named_with_the_reason() {
    let addresses = addresses(3);
    let within = Duration::from_millis(700);
    let short = |process| Options { within, ..options(process, &addresses) };
    let joining = [0, 1].map(|process| joins(short(process)));
    for result in joining.map(|joining| joining.join().unwrap()) {
        let Err(error @ Error::Timeout { .. }) = result else { panic!("{result:?}") };
        let detail = error.detail().unwrap();
        assert!(detail.contains(&format!("process 2 at {}: it has not called", addresses[2])), "{detail}");
    }
    let alone = join(short(2), &|| false).unwrap_err();
    let detail = alone.detail().unwrap();
    assert!(detail.contains("process 0") && detail.contains("refused"), "{detail}");
}

#[test]
fn address_that_others_can_reach_needs_a_secret() {
    let open = |address: &str, secret: &str| {
        let addresses = vec![address.to_string(), "127.0.0.1:1".to_string()];
        Options { secret: secret.into(), within: Duration::ZERO, ..options(0, &addresses) }
    };
    for address in ["0.0.0.0:0", "192.0.2.1:70", "no such host:70"] {
        let result = join(open(address, ""), &|| false);
        assert!(matches!(result, Err(Error::Exposed { .. })), "{address}: {result:?}");
    }
    assert!(matches!(join(open("127.0.0.1:0", ""), &|| false), Err(Error::Timeout { .. })));
    assert!(matches!(join(open("192.0.2.1:70", "secret"), &|| false), Err(Error::Unbound { .. })));
}

#[test]
fn address_that_is_taken_is_waited_for() {
    let addresses = addresses(2);
    let taken = TcpListener::bind(&addresses[1]).unwrap();
    let within = Duration::from_millis(300);
    let late = join(Options { within, ..options(1, &addresses) }, &|| false);
    assert!(matches!(late, Err(Error::Unbound { .. })), "{late:?}");
    let stopped = join(options(1, &addresses), &|| true);
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    // It comes free while the process waits: this one has looked by the time the listener has let a caller go.
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let member = scope
            .spawn(|| join(options(1, &addresses), &|| asked.fetch_add(1, Ordering::SeqCst) == usize::MAX));
        while asked.load(Ordering::SeqCst) == 0 {
            assert!(!member.is_finished(), "it does not wait");
            std::thread::yield_now();
        }
        drop(taken);
        let meshes = [joins(options(0, &addresses)).join(), member.join()].map(|mesh| mesh.unwrap().unwrap());
        talk(&meshes);
    });
}

#[test]
fn join_ends_when_it_is_told_to() {
    let stop = AtomicBool::new(false);
    let options = options(0, &addresses(2));
    std::thread::scope(|scope| {
        let joining = scope.spawn(|| join(options, &|| stop.load(Ordering::SeqCst)));
        stop.store(true, Ordering::SeqCst);
        assert!(matches!(joining.join().unwrap(), Err(Error::Stopped)));
    });
}
