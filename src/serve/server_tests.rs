//! The server as clients see it: sockets, requests and answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use crate::engine::clock::{Clock, System};
use crate::engine::format::manifest::tests::first;
use crate::engine::guard;
use crate::engine::run::board::Board;
use crate::serve::feed::{Limits, tests as feed_tests};
use crate::serve::live::{About, Live};
use crate::serve::server::{CONNECTIONS_MAX, HEAD_BYTES_MAX, Server};
use feed_tests::{Job, row};
use headway_operators::spec::ViewSpec;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A server, and the job that it tells of.
struct Served {
    server: Server,
    board: Board,
    job: Job,
}

fn start(token: Option<&str>) -> Served {
    start_with(token, Limits::default())
}

fn start_with(token: Option<&str>, limits: Limits) -> Served {
    start_at(token, limits, Arc::new(System::default()))
}

fn start_at(token: Option<&str>, limits: Limits, clock: Arc<dyn Clock>) -> Served {
    start_of(feed_tests::specs(), token, limits, clock)
}

fn start_of(views: Vec<ViewSpec>, token: Option<&str>, limits: Limits, clock: Arc<dyn Clock>) -> Served {
    let board = Board::new(Arc::new(System::default()));
    let about = About {
        board: board.clone(),
        clock,
        groups: Vec::new(),
        token: token.map(str::to_string),
        views,
        member: None,
    };
    let live = Arc::new(Live::new(about, limits));
    let server = Server::start("127.0.0.1:0".parse().unwrap(), Arc::clone(&live)).unwrap();
    Served { server, board, job: Job::of(live) }
}

/// What the server answers to `request`, whole.
fn ask(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: &Server, path: &str, more: &str) -> String {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{more}\r\n"))
}

/// What follows the head of an answer that is not chunked.
fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("there is a head").1
}

/// The body of an HTTP/1.0 answer: never chunked.
fn plain(server: &Server, path: &str) -> String {
    body(&ask(server, &format!("GET {path} HTTP/1.0\r\n\r\n"))).to_string()
}

/// A client of events.
struct Client(BufReader<TcpStream>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    id: String,
    data: String,
}

impl Client {
    fn open(server: &Server, query: &str, last: Option<&str>) -> Client {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
        stream.write_all(format!("GET /v1/events?{query} HTTP/1.0\r\n{last}\r\n").as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the head ends");
        }
        Client(lines)
    }

    /// The next event; `None` at the end.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            // A client that is closed may see a reset.
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("event", name)) => event.name = name.into(),
                Some(("id", id)) => event.id = id.into(),
                Some(("data", data)) => event.data += data,
                Some(_) => {}
                None if event.name.is_empty() => {}
                None => return Some(event),
            }
        }
    }

    /// The next event that is not progress.
    fn news(&mut self) -> Event {
        loop {
            let event = self.next().expect("the stream goes on");
            if event.name != "progress" {
                return event;
            }
        }
    }
}

#[test]
fn health_follows_the_run() {
    let Served { server, board, .. } = start(None);
    assert!(get(&server, "/livez", "").starts_with("HTTP/1.1 200"));
    assert!(get(&server, "/readyz", "").starts_with("HTTP/1.1 503"), "it has not begun");
    assert!(get(&server, "/metrics", "").starts_with("HTTP/1.1 503"));
    assert!(get(&server, "/v1/status", "").contains("\"state\":\"starting\""));
    board.head(Arc::new(first(1)));
    assert!(get(&server, "/readyz", "").starts_with("HTTP/1.1 200"));
    assert!(get(&server, "/metrics", "").contains("headway_commit_epoch"));
    board.draining();
    let draining = get(&server, "/readyz", "");
    assert!(draining.starts_with("HTTP/1.1 503") && draining.contains("told to end"), "{draining}");
    assert!(get(&server, "/else", "").starts_with("HTTP/1.1 404"));
    let post = "POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert!(ask(&server, post).contains("405"));
}

#[test]
fn token_is_asked_for() {
    let Served { server, board, mut job } = start(Some("secret"));
    board.head(Arc::new(first(1)));
    job.begin();
    for path in ["/livez", "/readyz"] {
        assert!(get(&server, path, "").starts_with("HTTP/1.1 200"), "supervisors have no token: {path}");
    }
    for path in ["/metrics", "/v1/views", "/v1/views/numbers", "/v1/events", "/v1/status"] {
        let refused = get(&server, path, "");
        assert!(refused.starts_with("HTTP/1.1 401") && !refused.contains("secret"), "{refused}");
        assert!(get(&server, path, "Authorization: Bearer wrong\r\n").starts_with("HTTP/1.1 401"));
    }
    assert!(get(&server, "/metrics", "Authorization: Bearer secret\r\n").starts_with("HTTP/1.1 200"));
    // A browser gets a cookie for it, which only its own pages send.
    let post = |more: &str| {
        ask(&server, &format!("POST /v1/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"))
    };
    assert!(post("").starts_with("HTTP/1.1 401"));
    let given = post("Authorization: Bearer secret\r\n");
    assert!(given.contains("headway-token=secret; HttpOnly; SameSite=Strict"), "{given}");
    assert!(get(&server, "/v1/views", "Cookie: headway-token=secret\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn noise_and_mute_clients_do_not_keep_others_from_their_answers() {
    let Served { server, board, .. } = start(None);
    board.head(Arc::new(first(1)));
    // More than there is room for: the oldest make room.
    let mute: Vec<TcpStream> =
        (0..CONNECTIONS_MAX + 50).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for (at, mut client) in mute.iter().enumerate() {
        let noise =
            [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET /metrics HTTP/1.1\r\nX: ", b"", b"\0\0\0\0"][at % 4];
        let _ = client.write_all(noise);
    }
    let asked = Instant::now();
    assert!(get(&server, "/livez", "").starts_with("HTTP/1.1 200"));
    assert!(asked.elapsed() < Duration::from_secs(3), "it did not wait for them: {:?}", asked.elapsed());
    let long = format!("X: {}\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
    let refused = get(&server, "/livez", &long);
    assert!(refused.starts_with("HTTP/1.1 431") || refused.is_empty(), "{refused}");
    drop(mute);
    assert!(get(&server, "/readyz", "").starts_with("HTTP/1.1 200"));
}

/// A clock that cannot be read: whatever answer needs it panics.
#[derive(Debug, Default)]
struct Broken {
    was_contained: AtomicBool,
}

impl Clock for Broken {
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> i64 {
        self.was_contained.store(guard::is_contained(), Ordering::SeqCst);
        panic!("the clock is broken")
    }
}

#[test]
fn panic_of_an_answer_ends_one_connection_and_nothing_else() {
    let clock = Arc::new(Broken::default());
    let Served { server, mut job, .. } = start_at(None, Limits::default(), clock.clone());
    job.begin();
    for _ in 0..3 {
        assert_eq!(get(&server, "/v1/status", ""), "", "it has no answer");
        assert!(clock.was_contained.swap(false, Ordering::SeqCst), "the process would end");
    }
    job.commit(&[row(1, "one")], &[]);
    assert!(get(&server, "/v1/views/numbers", "").starts_with("HTTP/1.1 200"));
    assert!(!guard::is_contained(), "a panic of another thread is none of a request");
}

#[test]
fn page_from_elsewhere_that_has_its_name_lead_here_reads_nothing() {
    let Served { server, mut job, .. } = start(None);
    job.begin();
    let answer = ask(&server, "GET /v1/views HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("host-refused"), "{answer}");
}

#[test]
fn view_is_read_as_of_a_commit_in_any_form() {
    let Served { server, mut job, .. } = start(None);
    assert!(get(&server, "/v1/views/numbers", "").starts_with("HTTP/1.1 503"), "it has not begun");
    job.begin();
    let id = job.commit(&[row(1, "one"), row(2, "two"), row(3, "a,b")], &[]);
    job.commit(&[], &[]);
    let listed: serde_json::Value = serde_json::from_str(&plain(&server, "/v1/views")).unwrap();
    assert_eq!((&listed["views"][0]["name"], &listed["views"][0]["rows"]), (&"numbers".into(), &3.into()));
    assert_eq!(listed["views"][0]["changed"], id.to_string());
    let answer = get(&server, "/v1/views/numbers?where=key%3E1&order=-key", "");
    assert!(answer.contains("\r\nheadway-seq: 2\r\n"), "{answer}");
    let etag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).expect("there is an ETag");
    assert_eq!(etag, format!("\"{id}.1\""), "of the commit that changed it");
    let rows: serde_json::Value =
        serde_json::from_str(&plain(&server, "/v1/views/numbers?where=key%3E1&order=-key")).unwrap();
    assert_eq!(rows["rows"][1], serde_json::json!({ "key": 2, "value": "two" }));
    assert_eq!((&rows["seq"], &rows["more"]), (&2.into(), &false.into()));
    assert_eq!(plain(&server, "/v1/views/numbers?format=csv&limit=1&order=-key"), "key,value\n3,\"a,b\"\n");
    assert_eq!(plain(&server, "/v1/views/numbers?format=ndjson&limit=1"), "{\"key\":1,\"value\":\"one\"}\n");
    let same = get(&server, "/v1/views/numbers", &format!("If-None-Match: {etag}\r\n"));
    assert!(same.starts_with("HTTP/1.1 304"), "{same}");
    job.commit(&[row(4, "four")], &[row(1, "one")]);
    let other = get(&server, "/v1/views/numbers", &format!("If-None-Match: {etag}\r\n"));
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    for (path, code) in [
        ("/v1/views/none", "view-unknown"),
        ("/v1/views/..%2f..%2fetc%2fpasswd", "view-unknown"),
        ("/v1/views/numbers?limit=x", "query-invalid"),
        ("/v1/views/numbers?where=none=1", "query-invalid"),
        ("/v1/events?views=none", "view-unknown"),
        ("/v1/../../etc/passwd", "path-unknown"),
    ] {
        let answer = get(&server, path, "");
        assert!(answer.contains(code), "{path}: {answer}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn view_is_read_as_parquet_too() {
    let Served { server, mut job, .. } = start(None);
    job.begin();
    job.commit(&(0..50_000).map(|key| row(key, "n")).collect::<Vec<_>>(), &[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /v1/views/numbers?format=parquet&limit=all HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let at = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("there is a head") + 4;
    let mut rows = 0;
    crate::connect::formats::parquet::read(answer[at..].to_vec(), &mut |_| rows += 1).unwrap();
    assert_eq!(rows, 50_000);
    let text = plain(&server, "/v1/views/numbers?limit=all&format=csv");
    assert_eq!(text.lines().count(), 50_001, "an answer of many pieces is whole");
}

#[test]
fn events_are_complete_at_their_commit_and_only_that_has_an_id() {
    let Served { server, mut job, .. } = start(None);
    let mut client = Client::open(&server, "views=numbers&snapshot=true", None);
    assert_eq!(client.next().unwrap().name, "progress", "it lives, and has not begun");
    job.begin();
    let first = job.commit(&[row(1, "one")], &[]);
    let second = job.commit(&[row(1, "uno"), row(2, "two")], &[row(1, "one")]);
    // Which commits are in the snapshot depends on who was faster: together they are all.
    let mut events = vec![client.news()];
    while events.last().unwrap().id != second.to_string() {
        events.push(client.news());
    }
    assert_eq!(events[0].name, "snapshot");
    assert!(events[0].data.contains("\"key\":[\"key\"],\"columns\":[{\"name\":\"key\""), "{events:?}");
    for event in &events {
        assert_eq!(event.id.is_empty(), event.name != "commit", "{event:?}");
    }
    let third = job.commit(&[row(3, "three")], &[row(2, "two")]);
    let [gone, come, commit] = [client.news(), client.news(), client.news()];
    assert_eq!(gone.data, "{\"view\":\"numbers\",\"seq\":3,\"gone\":[{\"key\":2,\"value\":\"two\"}]}");
    assert_eq!(come.data, "{\"view\":\"numbers\",\"seq\":3,\"come\":[{\"key\":3,\"value\":\"three\"}]}");
    assert_eq!((commit.name.as_str(), commit.id), ("commit", third.to_string()));
    assert!(commit.data.contains("\"changed\":[\"numbers\"]"), "{}", commit.data);
    // Who saw part of a commit gets all of it again.
    let mut again = Client::open(&server, "views=numbers", Some(&second.to_string()));
    assert_eq!([again.news(), again.news()].map(|event| event.data), [gone.data, come.data]);
    assert_eq!(again.news().id, third.to_string());
    // Who has an id of another history begins anew.
    for strange in ["2-00000000", "99-abc00000", "x", "", &format!("{first}0")] {
        let mut client = Client::open(&server, "views=numbers", Some(strange));
        let names = [client.news(), client.news(), client.news()].map(|event| event.name);
        assert_eq!(names, ["reset", "snapshot", "commit"], "{strange}");
    }
    drop(server);
    assert_eq!(client.next(), None, "the end of the run ends it");
}

#[test]
fn dashboard_is_there_for_whoever_has_the_token_and_for_others_an_empty_page() {
    let Served { server, .. } = start(Some("secret"));
    let page = get(&server, "/", "");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    assert!(get(&server, "/assets/app.js", "").contains("content-type: text/javascript"));
    for path in ["/assets/none", "/assets/..%2findex.html", "/assets/", "//"] {
        assert!(get(&server, path, "").starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[test]
fn streams_of_no_view_and_of_all_have_the_same_commits() {
    let Served { server, mut job, .. } = start(None);
    job.begin();
    let [mut none, mut all] = ["views=", "snapshot=true"].map(|query| Client::open(&server, query, None));
    let id = job.commit(&[row(1, "one")], &[]);
    for client in [&mut none, &mut all] {
        while client.news().id != id.to_string() {}
    }
}

#[test]
fn client_that_takes_nothing_is_closed_and_the_others_get_every_commit() {
    let limits = Limits { behind_for: Duration::from_secs(2), ..Limits::default() };
    let Served { server, mut job, .. } = start_with(None, limits);
    job.begin();
    let stalled: Vec<Client> = (0..5).map(|_| Client::open(&server, "views=numbers", None)).collect();
    let mut reading = Client::open(&server, "views=numbers", None);
    let begin = reading.news();
    let text = "x".repeat(2_000);
    let address = server.address();
    let (taken, takes) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut seqs = Vec::new();
        while seqs.last() != Some(&200) {
            let event = reading.news();
            assert_ne!(event.name, "lagged", "it takes what comes");
            if let Some((seq, _)) = event.id.split_once('-') {
                seqs.push(seq.parse::<u64>().unwrap());
                taken.send(()).unwrap();
            }
        }
        seqs
    });
    // More than sockets hold: 40 MB.
    for commit in 0..200_i64 {
        let rows: Vec<_> = (0..100).map(|at| row(commit * 100 + at, &text)).collect();
        job.commit(&rows, &[]);
        // The reader is as fast as the job.
        takes.recv().unwrap();
    }
    assert_eq!(reader.join().unwrap(), (1..=200).collect::<Vec<_>>());
    // They are closed from this side: nothing waits for them.
    for mut client in stalled {
        while client.next().is_some() {}
    }
    // And one comes back where it was, or is told that this is too long ago.
    let mut back = BufReader::new(TcpStream::connect(address).unwrap());
    let head = format!("GET /v1/events?views= HTTP/1.0\r\nLast-Event-ID: {}\r\n\r\n", begin.id);
    back.get_mut().write_all(head.as_bytes()).unwrap();
    let mut lines = back.lines().map(|line| line.unwrap());
    assert!(lines.any(|line| line.starts_with("id: 200-")), "it catches up");
}

#[test]
fn twelve_views_come_on_one_connection_and_a_stalled_client_holds_no_commit_but_its_next() {
    const STALLED: usize = 12;
    // Some ten commits.
    let behind_for = Duration::from_secs(3600);
    let limits = Limits { history_bytes: 500_000, behind_for, ..Limits::default() };
    let views = feed_tests::twelve();
    let Served { server, mut job, .. } = start_of(views.clone(), None, limits, Arc::new(System::default()));
    job.begin();
    let open = || Client::open(&server, "snapshot=true", None);
    let (mut reading, mut stalled) = (open(), (0..STALLED).map(|_| open()).collect::<Vec<_>>());
    for client in stalled.iter_mut().chain([&mut reading]) {
        let begin: Vec<String> = (0..13).map(|_| client.news().name).collect();
        assert!(begin[..12].iter().all(|name| name == "snapshot") && begin[12] == "commit", "{begin:?}");
    }
    // More than sockets hold: 600 commits of 48 kB. The rows go again, so that all that grows is what waits.
    let text = "x".repeat(2_000);
    let rows = |at: i64| [row(2 * at, &text), row(2 * at + 1, &text)];
    for at in 0..600 {
        let gone = if at > 0 { rows(at - 1).to_vec() } else { Vec::new() };
        let id = job.commit(&rows(at), &gone);
        let mut seen = Vec::new();
        loop {
            let event = reading.news();
            if event.name == "commit" {
                assert_eq!(event.id, id.to_string(), "each commit once, in order");
                break;
            }
            assert_eq!(event.name, "change");
            let change: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(change["seq"], id.seq());
            if change["come"].is_array() {
                seen.push(change["view"].as_str().unwrap().to_string());
            }
        }
        assert!(seen.iter().eq(views.iter().map(|view| view.name)), "{seen:?}");
        // What the history has, what the reader has just taken, and for each stalled client the commit that it waits with.
        assert!(job.held() <= 8 + 1 + STALLED, "{} commits are held after {at}", job.held());
    }
    assert!(
        stalled.iter_mut().any(|client| std::iter::from_fn(|| client.next()).any(|e| e.name == "lagged"))
    );
}
