//! What does it cost that a job says what it does? The turnstile job in process, with its board, its meters and a scrape of its
//! metrics each second, against the same job on a board to which no thread tells anything.
//!
//! ```text
//! cargo bench --bench board [-- MESSAGES PAIRS]
//! ```
//!
//! The two take turns; CPU time is that of the process, the scraper included. Two costs are in both, and so are not measured: a feed
//! compares what its partitions wait for with what it said before, and the board notes each commit.

#![allow(clippy::print_stdout, reason = "a measurement is told on stdout")]

mod figures;
mod made;

use figures::{cpu_seconds, median, spread};
use headway::connect::Connector;
use headway::connect::memory::Lists;
use headway::engine::clock::System;
use headway::engine::{Board, Control, Launch, launch};
use headway::serve::feed::Limits;
use headway::serve::live::{About, Live};
use headway::serve::server::Server;
use headway::store::memory::Memory;
use headway_operators::pipeline::Configured;
use made::lists;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

const MESSAGES: u64 = 3_000_000;
const PAIRS: usize = 9;
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let messages = numbers.next().unwrap_or(MESSAGES);
    let pairs = numbers.next().map_or(PAIRS, |pairs| usize::try_from(pairs).unwrap_or(PAIRS));
    let lists = Lists::new(lists(turnstile().pipeline.as_ref(), messages));
    // This also warms everything up.
    let (with, without) = (run(&lists, true), run(&lists, false));
    assert_eq!(with.rows, without.rows, "the rows do not depend on what is told");
    let (mut told, mut untold, mut scrapes) = (Vec::new(), Vec::new(), 0);
    for pair in 0..pairs {
        for turn in 0..2 {
            if (pair + turn) % 2 == 0 {
                let run = run(&lists, true);
                scrapes += run.scrapes;
                told.push(run.cpu);
            } else {
                untold.push(run(&lists, false).cpu);
            }
        }
    }
    println!("{messages} messages, {} rows, equal on both sides; {scrapes} scrapes", with.rows);
    println!("CPU s with     {}", spread(&told, 2));
    println!("CPU s without  {}", spread(&untold, 2));
    let each = (median(&told) - median(&untold)) * 1e9 / messages as f64;
    println!("the board costs {each:.1} ns a message");
    let ratios: Vec<f64> = told.iter().zip(&untold).map(|(with, without)| with / without).collect();
    println!("CPU, with the board and a scrape a second / without  {}", spread(&ratios, 3));
}

/// What a run took, and gave.
struct Took {
    cpu: f64,
    rows: u64,
    scrapes: u64,
}

/// The turnstile pipeline by its default settings.
fn turnstile() -> Configured {
    let entry = headway_pipelines::find("turnstile").expect("the catalogue has the turnstile pipeline");
    entry.configure([]).expect("the default settings make a job")
}

fn run(lists: &Lists, is_told: bool) -> Took {
    let made = turnstile();
    let clock = Arc::new(System::default());
    let board = if is_told { Board::new(clock.clone()) } else { Board::muted(clock.clone()) };
    let connectors = [Arc::new(lists.clone()) as Arc<dyn Connector>];
    let mut job = Launch { board, clock, ..Launch::new(made, connectors, Arc::new(Memory::new())) };
    let cpu = cpu_seconds();
    let server = is_told.then(|| serve(&mut job));
    let scraper = server.as_ref().map(|server| {
        let (stop, stopped) = channel::<()>();
        let address = server.address();
        (stop, std::thread::spawn(move || scrape(address, &stopped)))
    });
    let ended = launch(job, &Control::new()).expect("the job runs to its end");
    let scrapes = scraper.map_or(0, |(stop, thread)| {
        drop(stop);
        thread.join().expect("the scraper does not panic")
    });
    drop(server);
    Took { cpu: cpu_seconds() - cpu, rows: ended.head.written["turnstile"], scrapes }
}

/// Answers by HTTP for `job`, as the program does with `--listen`.
fn serve(job: &mut Launch) -> Server {
    let about = About {
        board: job.board.clone(),
        clock: Arc::clone(&job.clock),
        groups: vec![None],
        token: None,
        views: Vec::new(),
        member: None,
    };
    let live = Arc::new(Live::new(about, Limits::default()));
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(anywhere, Arc::clone(&live)).expect("there is a free port");
    let noted = Arc::clone(&live);
    job.on_commit = Box::new(move |committed, head| noted.committed(committed, head));
    job.on_views = Box::new(move |resolved| live.resolved(resolved));
    server
}

/// Scrapes once a second until `stopped`; how often.
fn scrape(address: SocketAddr, stopped: &Receiver<()>) -> u64 {
    let mut scrapes = 0;
    while stopped.recv_timeout(SCRAPE_EVERY) == Err(RecvTimeoutError::Timeout) {
        let mut socket = TcpStream::connect(address).expect("the job answers");
        socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("the job takes requests");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("the answer is text");
        // Before the claim there is nothing to tell.
        scrapes += u64::from(answer.contains("headway_records_total"));
    }
    scrapes
}
