//! Processes that join by TLS: what each end says of the other, strangers, and a session under load.

use crate::mesh::deadline::Deadline;
use crate::mesh::error::{Distrust, Failed, NotTaken};
use crate::mesh::hello::{self, Channel, Me, Peer};
use crate::mesh::join_tests::{PATIENCE, Strangers, addresses, joins, me, options, talk};
use crate::mesh::socket::{Socket, Wire};
use crate::mesh::trust::Pem;
use crate::mesh::{Error, Options, Process, Refusal, Tls, join, wire};
use certificates::{Ca, Flaw, Signed};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{scope, spawn};
use std::time::{Duration, Instant};

#[path = "../../tests/certificates.rs"]
mod certificates;

/// Where all processes of these tests are.
const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

fn pem<'a>(signed: &'a Signed, ca: &'a Ca) -> Pem<'a> {
    Pem { certificate: signed.certificate.as_bytes(), key: signed.key.as_bytes(), ca: ca.pem.as_bytes() }
}

/// The end of a process with a certificate that `signer` has signed, which trusts `ca`.
fn tls(signer: &Ca, ca: &Ca, names: &[&str], flaw: Flaw) -> Option<Tls> {
    Some(Tls::unchecked(pem(&signer.signs(names, flaw), ca)).unwrap())
}

fn sound(ca: &Ca) -> Option<Tls> {
    Some(Tls::of(pem(&ca.signs(&HERE, Flaw::None), ca)).unwrap())
}

/// A process of a job at `addresses` with `tls`.
fn with(process: u32, addresses: &[String], tls: Option<Tls>) -> Options {
    Options { tls, ..options(process, addresses) }
}

/// What both ends make of a call of process 1 to process 0, whose certificates are `caller` and `called`.
fn meet(caller: Option<Tls>, called: Option<Tls>) -> [Result<Peer, Failed>; 2] {
    let addresses = addresses(2);
    let [caller, called] =
        [(1, caller), (0, called)].map(|(process, tls)| me(&with(process, &addresses, tls), 7));
    let listener = TcpListener::bind(&addresses[0]).unwrap();
    scope(|scope| {
        let answered = scope.spawn(|| hello::answer(listener.accept().unwrap().0, &called));
        let stream = TcpStream::connect(&addresses[0]).unwrap();
        [hello::call(stream, &caller, Process(0), Channel::Data), answered.join().unwrap()]
    })
}

/// What an end says, in short.
fn said(result: &Result<Peer, Failed>) -> String {
    match result {
        Ok(peer) => format!("joined, {}", if peer.stream.is_tls() { "TLS" } else { "plain" }),
        Err(Failed::Refused(process, refusal)) => {
            format!("process {} refused: {}", process.0, refusal.code())
        }
        Err(Failed::Unproved(refusal)) => format!("refused, without a proof: {}", refusal.code()),
        Err(Failed::Distrust(Distrust { refusal, why })) => format!("{}: {why}", refusal.code()),
        Err(Failed::NotTaken(NotTaken(why))) => format!("not taken: {why}"),
        Err(Failed::Stranger) => "stranger".to_string(),
        Err(Failed::Silent(error)) => format!("silent: {error}"),
    }
}

#[test]
fn each_end_says_why_there_is_no_trust() {
    let (ca, other) = (Ca::new(), Ca::new());
    let nameless = Some(Tls::nameless(pem(&ca.signs(&HERE, Flaw::None), &ca)).unwrap());
    let flawed = |flaw| tls(&ca, &ca, &HERE, flaw);
    let cases = [
        (None, None, "joined, plain", "joined, plain"),
        (sound(&ca), sound(&ca), "joined, TLS", "joined, TLS"),
        (None, sound(&ca), "refused, without a proof: mesh-tls", "mesh-tls: it speaks no TLS, and says"),
        (
            sound(&ca),
            None,
            "mesh-tls: it says that it was started without --mesh-cert",
            "mesh-tls: it speaks TLS, and this process",
        ),
        (nameless, sound(&ca), "not taken: none was shown", "mesh-certificate: it has shown no certificate"),
        (
            flawed(Flaw::Expired),
            sound(&ca),
            "not taken: it has expired",
            "mesh-certificate: its certificate has expired",
        ),
        (
            flawed(Flaw::NotYetValid),
            sound(&ca),
            "not taken: it has expired, or is not valid yet",
            "mesh-certificate: its certificate is not valid yet",
        ),
        (
            flawed(Flaw::ForServersOnly),
            sound(&ca),
            "not taken: its extended key usage",
            "mesh-certificate: its certificate may not be used by both",
        ),
        (
            tls(&other, &ca, &HERE, Flaw::None),
            sound(&ca),
            "not taken: it is not signed by the CA",
            "mesh-certificate: its certificate is not signed by the CA",
        ),
        (
            sound(&ca),
            tls(&other, &ca, &HERE, Flaw::None),
            "mesh-certificate: its certificate is not signed by the CA",
            "not taken: it is not signed by the CA",
        ),
        (
            sound(&ca),
            flawed(Flaw::Expired),
            "mesh-certificate: its certificate has expired",
            "not taken: it has expired",
        ),
        (
            sound(&ca),
            tls(&ca, &ca, &["a-0.jobs"], Flaw::None),
            "mesh-certificate: its certificate is not for the host \"127.0.0.1\", only for a-0.jobs",
            "not taken: it is not for the host",
        ),
        // A caller may have any name.
        (tls(&ca, &ca, &["a-0.jobs"], Flaw::None), sound(&ca), "joined, TLS", "joined, TLS"),
    ];
    for (at, (caller, called, expected_caller, expected_called)) in cases.into_iter().enumerate() {
        let began = Instant::now();
        let [caller, called] = meet(caller, called);
        for (found, expected) in [(said(&caller), expected_caller), (said(&called), expected_called)] {
            assert!(found.starts_with(expected), "case {at}: \"{found}\" instead of \"{expected}\"");
        }
        assert!(began.elapsed() < hello::WITHIN, "case {at} took {:?}", began.elapsed());
    }
}

#[test]
fn files_that_do_not_fit_are_refused_before_anything_starts() {
    use crate::mesh::trust::{File, Unfit};
    let (ca, other) = (Ca::new(), Ca::new());
    let own = ca.signs(&HERE, Flaw::None);
    let of = |certificate: &str, key: &str, ca: &str| {
        Tls::of(Pem { certificate: certificate.as_bytes(), key: key.as_bytes(), ca: ca.as_bytes() })
    };
    assert!(of(&own.certificate, &own.key, &ca.pem).is_ok());
    // The key may lie in the file of the certificate, and more than one CA may sign.
    let both = format!("{}{}", own.key, own.certificate);
    assert!(of(&both, &both, &format!("{}{}", other.pem, ca.pem)).is_ok());
    let cases = [
        (of("", &own.key, &ca.pem), Unfit::Empty(File::Certificate)),
        (of(&own.certificate, "", &ca.pem), Unfit::Empty(File::Key)),
        (of(&own.certificate, &own.key, ""), Unfit::Empty(File::Ca)),
        (of(&own.key, &own.certificate, &ca.pem), Unfit::Empty(File::Certificate)),
        (of(&own.certificate, &other.signs(&HERE, Flaw::None).key, &ca.pem), Unfit::OtherKey),
    ];
    for (found, expected) in cases {
        assert_eq!(found.err(), Some(expected));
    }
    let damaged = own.certificate.replace("MII", "MIJ");
    assert!(matches!(of(&damaged, &own.key, &ca.pem), Err(Unfit::Damaged(File::Certificate, _))));
    for (flaw, word) in [
        (Flaw::Expired, "has expired"),
        (Flaw::NotYetValid, "is not valid yet"),
        (Flaw::ForServersOnly, "may not be used by both ends"),
    ] {
        let Signed { certificate, key } = ca.signs(&HERE, flaw);
        let Err(Unfit::Refused(why)) = of(&certificate, &key, &ca.pem) else { panic!("{flaw:?} is taken") };
        assert!(why.starts_with(word), "{why}");
    }
    let Err(Unfit::Refused(why)) = of(&own.certificate, &own.key, &other.pem) else { panic!("it is taken") };
    assert!(why.starts_with("is not signed by the CA"), "{why}");
}

#[test]
fn certificate_must_name_the_host_of_its_own_process() {
    let ca = Ca::new();
    let names = |names: &[&str], address: &str| {
        let own = Tls::of(pem(&ca.signs(names, Flaw::None), &ca)).unwrap();
        own.check_host(address).is_ok()
    };
    let cases: [(&[&str], &str, bool); 11] = [
        (&["headway-1.headway", "10.0.0.11"], "headway-1.headway:7000", true),
        (&["headway-1.headway", "10.0.0.11"], "10.0.0.11:7000", true),
        (&["headway-1.headway"], "HEADWAY-1.headway:7000", true),
        (&["headway-1.headway"], "headway-2.headway:7000", false),
        (&["headway-1.headway"], "10.0.0.11:7000", false),
        (&[], "headway-1.headway:7000", false),
        // A star stands for one label, the first one, of a name of three or more.
        (&["*.headway.example"], "headway-1.headway.example:7000", true),
        (&["*.headway.example"], "headway.example:7000", false),
        (&["*.headway.example"], "a.b.headway.example:7000", false),
        (&["*.headway"], "headway-1.headway:7000", false),
        (&["*.0.0.11"], "10.0.0.11:7000", false),
    ];
    for (found, address, is_named) in cases {
        assert_eq!(names(found, address), is_named, "{found:?} {address}");
    }
}

#[test]
fn certificate_that_ends_within_14_days_is_noticed() {
    let ca = Ca::new();
    let ends = |flaw| Tls::of(pem(&ca.signs(&HERE, flaw), &ca)).unwrap().ends_soon();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let day = 24 * 3600;
    let found = ends(Flaw::EndsInDays(13)).expect("it ends soon");
    assert!((now + 12 * day..=now + 13 * day).contains(&found), "{found}, now {now}");
    assert_eq!((ends(Flaw::EndsInDays(15)), ends(Flaw::None)), (None, None));
}

#[test]
fn strangers_neither_join_nor_block_nor_end_processes_with_tls() {
    let (ca, other, addresses) = (Ca::new(), Ca::new(), addresses(3));
    let joining = [0, 1].map(|process| joins(with(process, &addresses, sound(&ca))));
    let unsigned = Some(Tls::nameless(pem(&ca.signs(&HERE, Flaw::None), &ca)).unwrap());
    let wrong = [
        None,
        unsigned,
        tls(&other, &ca, &HERE, Flaw::None),
        tls(&other, &other, &HERE, Flaw::None),
        tls(&ca, &ca, &HERE, Flaw::Expired),
    ];
    let mut wrong: Vec<Options> = wrong.into_iter().map(|tls| with(2, &addresses, tls)).collect();
    // Processes of another job with the same CA.
    let of_another = with(2, &addresses, sound(&ca));
    wrong.push(Options { secret: b"of another job".to_vec(), ..of_another.clone() });
    wrong.push(of_another);
    wrong[6].facts.plan = [9; 32];
    let wrong: Vec<Me> = wrong.iter().map(|options| me(options, 5)).collect();
    let said: [&[u8]; 13] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
        b"HWMESH01",
        b"TLS-MUST",
        // The begin of a handshake, a second one, one without a body, and one whose record is too long.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x16\x03\x01\x00\x05noise\x16\x03\x03\xff\xff",
        b"\x16",
        b"\x16\x03\x01\xff\xff\x01\xff\xff\xff",
        // An alert and data of an application before any handshake.
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x05hello",
        &[0x16; 5_000],
    ];
    assert_eq!(said.len() + wrong.len(), 20, "kinds of strangers");
    let strangers = Strangers { said: &said, wrong: &wrong, rounds: 19 };
    assert!(strangers.calls() > 1_000);
    let meshes = strangers.hold_nothing_up(joining, with(2, &addresses, sound(&ca)));
    assert!(meshes.iter().flat_map(|mesh| mesh.data.iter().flatten()).all(Socket::is_tls));
}

#[test]
fn process_ends_by_name_if_process_0_refuses_its_certificate_or_that_it_has_none() {
    let (ca, other, addresses) = (Ca::new(), Ca::new(), addresses(2));
    let leader = joins(with(0, &addresses, sound(&ca)));
    let within = Duration::from_millis(700);
    for (tls, expected) in [(None, Refusal::Tls), (tls(&other, &ca, &HERE, Flaw::None), Refusal::Certificate)]
    {
        // That process 0 has TLS is not proved in plain text: the process waits for one that has none.
        let within = if tls.is_none() { within } else { PATIENCE };
        match join(Options { within, ..with(1, &addresses, tls) }, &|| false) {
            Err(Error::Refused { process: Process(0), refusal, .. }) => assert_eq!(refusal, expected),
            joined => panic!("{expected:?}: {joined:?}"),
        }
    }
    // Nobody has proved to be process 0 here: the process waits for the right one.
    let distrusts = Options { within, ..with(1, &addresses, tls(&ca, &other, &HERE, Flaw::None)) };
    let error = join(distrusts, &|| false).unwrap_err();
    let detail = error.detail().unwrap();
    assert!(matches!(error, Error::Timeout { .. }) && detail.contains("(mesh-certificate)"), "{detail}");
    let meshes = [leader, joins(with(1, &addresses, sound(&ca)))].map(|mesh| mesh.join().unwrap().unwrap());
    talk(&meshes);
}

#[test]
fn caller_that_drips_a_handshake_gets_no_more_time_than_others() {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let dripping = spawn(move || {
        // A handshake message that would be 16 KiB long; it ends when the other end closes.
        while caller.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]).is_ok() {
            if caller.write_all(&[0; 40]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let began = Instant::now();
    let tcp = listener.accept().unwrap().0;
    let answered = wire::answer(tcp, sound(&ca).as_ref(), Deadline::within(Duration::from_millis(500)));
    assert!(answered.is_err());
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    dripping.join().unwrap();
}

/// Two ends of one session.
fn pair() -> [Socket; 2] {
    let ca = Ca::new();
    let [caller, called] = meet(sound(&ca), sound(&ca)).map(|peer| peer.unwrap().stream);
    [caller, called]
}

/// The byte at place `at` of what an end sends.
fn byte(at: usize, from: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8)) as u8 ^ from as u8
}

#[test]
fn both_ends_send_more_than_the_network_takes_while_keys_change() {
    const BYTES: usize = 24 << 20;
    let ends = pair();
    scope(|scope| {
        for (from, end) in ends.iter().enumerate() {
            let writes = move || {
                let mut writer = end.try_clone().unwrap();
                let block: Vec<u8> = (0..1 << 20).map(|at| byte(at, from)).collect();
                for round in 0..BYTES >> 20 {
                    writer.write_all(&block).unwrap();
                    if let (Wire::Tls(session), true) = (&writer.wire, round % 5 == from) {
                        session.update_keys();
                    }
                }
                writer.flush().unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            };
            let reads = move || {
                let mut reader = end.try_clone().unwrap();
                // Both send before anybody reads.
                std::thread::sleep(Duration::from_millis(200));
                let mut all = Vec::new();
                reader.read_to_end(&mut all).unwrap();
                assert_eq!(all.len(), BYTES);
                let is_right = |(at, found): (usize, &u8)| *found == byte(at % (1 << 20), 1 - from);
                assert!(all.iter().enumerate().all(is_right), "bytes are not as they were sent");
            };
            scope.spawn(writes);
            scope.spawn(reads);
        }
    });
}

#[test]
fn one_end_that_has_said_all_still_hears_the_other() {
    let [mut one, mut other] = pair();
    one.write_all(b"last words").unwrap();
    one.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    other.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"last words");
    other.write_all(b"an answer").unwrap();
    other.shutdown(Shutdown::Both).unwrap();
    heard.clear();
    one.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"an answer");
}

#[test]
fn stream_that_was_cut_is_an_error_and_no_end() {
    let [mut one, mut other] = pair();
    one.write_all(b"some").unwrap();
    one.tcp().shutdown(Shutdown::Write).unwrap();
    let mut heard = [0; 4];
    other.read_exact(&mut heard).unwrap();
    assert_eq!(other.read(&mut heard).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

/// Copies what comes from `from` to `to`, and notes it.
fn tap(mut from: TcpStream, mut to: TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        seen.lock().unwrap().extend(&bytes[..read]);
        if to.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn who_listens_on_the_wire_hears_neither_hello_nor_message() {
    let (ca, addresses) = (Ca::new(), addresses(2));
    let [caller, called] = [1, 0].map(|process| me(&with(process, &addresses, sound(&ca)), 7));
    let (between, listener) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    scope(|scope| {
        let answering = scope.spawn(|| {
            let mut peer = hello::answer(listener.accept().unwrap().0, &called).unwrap();
            peer.stream.write_all(b"HWMESH01 and a record").unwrap();
            peer.stream.shutdown(Shutdown::Write).unwrap();
            peer.stream.read_to_end(&mut Vec::new()).unwrap();
        });
        let client = TcpStream::connect(between.local_addr().unwrap()).unwrap();
        let near = between.accept().unwrap().0;
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        scope.spawn(|| tap(near, far, &seen));
        scope.spawn(|| tap(far_too, near_too, &seen));
        let mut peer = hello::call(client, &caller, Process(0), Channel::Data).unwrap();
        let mut heard = Vec::new();
        peer.stream.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"HWMESH01 and a record");
        peer.stream.shutdown(Shutdown::Write).unwrap();
        answering.join().unwrap();
    });
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 1_000, "both handshakes went this way: {} bytes", seen.len());
    assert!(!seen.windows(8).any(|bytes| bytes == b"HWMESH01"), "the hello is in plain text");
}
