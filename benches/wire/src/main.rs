//! What a record costs from one process to another, encoding by encoding, over a socket of this machine.
//!
//! The program starts itself a second time as the reader. Each series sends the same batches; the reader looks at every record
//! and answers how many there were and what they add up to, which is compared. A record's cost is the CPU time of both processes.

mod encodings;
#[path = "../../figures.rs"]
mod figures;
mod records;

use encodings::{Abomonation, Bincode, Bytemuck, Encoding, InColumns};
use records::{Music, Record, Turnstile};
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};

/// As many series of each kind, one kind after the other, so that a busy moment of the machine meets all.
const ROUNDS: usize = 5;

/// Records that go together: about what timely sends at once.
const BATCH: u64 = 1024;

/// Series of one record type in one encoding.
struct Kind {
    shape: &'static str,
    encoding: &'static str,
    /// In a series.
    records: u64,
    send: fn(&mut TcpStream) -> std::io::Result<Sent>,
    serve: fn(&mut BufReader<TcpStream>) -> std::io::Result<Answer>,
}

fn kind<R: Record, E: Encoding<R> + Default>() -> Kind {
    Kind { shape: R::NAME, encoding: E::NAME, records: R::SERIES, send: send::<R, E>, serve: serve::<R, E> }
}

fn kinds() -> Vec<Kind> {
    vec![
        kind::<Turnstile, Bincode>(),
        kind::<Turnstile, Bytemuck>(),
        kind::<Turnstile, InColumns<Turnstile>>(),
        kind::<Turnstile, Abomonation>(),
        kind::<Music, Bincode>(),
        kind::<Music, InColumns<Music>>(),
        kind::<Music, Abomonation>(),
    ]
}

/// What the reader of a series has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answer {
    records: u64,
    sum: u64,
    cpu_us: u64,
}

/// What a series has cost.
struct Sent {
    bytes: u64,
    /// Of both processes.
    cpu_s: f64,
}

fn send<R: Record, E: Encoding<R> + Default>(peer: &mut TcpStream) -> std::io::Result<Sent> {
    let batch: Vec<R> = (0..BATCH).map(R::of).collect();
    let sum = batch.iter().map(Record::read).fold(0, u64::wrapping_add);
    let (mut encoding, mut bytes, mut sent) = (E::default(), Vec::new(), 0);
    let before = figures::cpu_seconds();
    for _ in 0..R::SERIES / BATCH {
        bytes.clear();
        bytes.extend_from_slice(&[0; 8]);
        encoding.encode(&batch, &mut bytes);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let payload = bytes.len() - 8;
        bytes[..8].copy_from_slice(&(payload as u64).to_le_bytes());
        peer.write_all(&bytes)?;
        sent += payload as u64;
    }
    peer.write_all(&[0; 8])?;
    let mut answer = [0; 24];
    peer.read_exact(&mut answer)?;
    let cpu_s = figures::cpu_seconds() - before;
    let word = |at: usize| u64::from_le_bytes(answer[8 * at..8 * at + 8].try_into().expect("eight bytes"));
    let answer = Answer { records: word(0), sum: word(1), cpu_us: word(2) };
    assert_eq!(answer.records, R::SERIES, "{} by {}: each record arrives", R::NAME, E::NAME);
    assert_eq!(answer.sum, sum.wrapping_mul(R::SERIES / BATCH), "{} by {}: as it was sent", R::NAME, E::NAME);
    Ok(Sent { bytes: sent, cpu_s: cpu_s + answer.cpu_us as f64 / 1e6 })
}

fn serve<R: Record, E: Encoding<R>>(stream: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
    let mut answer = Answer::default();
    // Words, so that the bytes of a batch are aligned to eight.
    let mut words: Vec<u64> = Vec::new();
    let before = figures::cpu_seconds();
    loop {
        let mut length = [0; 8];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u64::from_le_bytes(length)).expect("a length in memory");
        if length == 0 {
            break;
        }
        words.resize(length / 8, 0);
        let bytes = bytemuck::cast_slice_mut(&mut words);
        stream.read_exact(bytes)?;
        let (records, sum) = E::read(bytes);
        answer.records += records;
        answer.sum = answer.sum.wrapping_add(sum);
    }
    answer.cpu_us = ((figures::cpu_seconds() - before) * 1e6) as u64;
    Ok(answer)
}

/// The second process: serves one series after the other, each named by its number, until the first one is gone.
fn reader(address: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    let kinds = kinds();
    let mut number = [0];
    while stream.read(&mut number)? == 1 {
        let answer = (kinds[usize::from(number[0])].serve)(&mut stream)?;
        let words = [answer.records, answer.sum, answer.cpu_us];
        stream.get_mut().write_all(bytemuck::cast_slice(&words.map(u64::to_le)))?;
    }
    Ok(())
}

fn measure() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let mut child = Command::new(std::env::current_exe()?).args(["--read", &address]).spawn()?;
    let (mut peer, _) = listener.accept()?;
    let kinds = kinds();
    let mut costs = vec![Vec::new(); kinds.len()];
    let mut bytes = vec![0; kinds.len()];
    for _ in 0..ROUNDS {
        for (number, kind) in kinds.iter().enumerate() {
            peer.write_all(&[u8::try_from(number).expect("few kinds")])?;
            let sent = (kind.send)(&mut peer)?;
            costs[number].push(sent.cpu_s * 1e9 / kind.records as f64);
            bytes[number] = sent.bytes / kind.records;
        }
    }
    drop(peer);
    assert!(child.wait()?.success(), "the reader ends");
    println!("{ROUNDS} series each, two processes, loopback; a record of each batch of {BATCH}:");
    println!("{:18} {:12} {:>7} {:>25}", "", "", "bytes", "ns of CPU in both, median");
    for (number, kind) in kinds.iter().enumerate() {
        let cost = figures::spread(&costs[number], 0);
        println!("{:18} {:12} {:7} {cost:>25}", kind.shape, kind.encoding, bytes[number]);
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match &args[..] {
        [flag, address] if flag == "--read" => reader(address),
        [] => measure(),
        _ => {
            eprintln!("error: the program takes no arguments");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the two processes could not talk: {error}");
            ExitCode::from(3)
        }
    }
}
