//! The HTTP server of a running job: `/metrics`, `/livez`, `/readyz`. One thread of its own, apart from the workers.
//!
//! Whoever sends too much, too slowly, or comes in crowds is turned away; no request can stop or slow the job:
//! 1. At most [`CONNECTIONS_MAX`] connections; further ones wait in the system's queue.
//! 2. A request's head must be there within [`HEAD_WITHIN`], an answer be taken within [`ANSWER_WITHIN`].
//! 3. No request has a body that is read.
//! 4. Elsewhere than on loopback every request but `/livez` needs the token. Tokens are compared by their hashes.

use crate::engine::clock::Clock;
use crate::engine::commit::checkpoint::Committed;
use crate::engine::run::board::Board;
use crate::serve::metrics::Moment;
use crate::serve::openmetrics::{Commits, text};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use xxhash_rust::xxh3::xxh3_128;

/// How many connections may be open.
const CONNECTIONS_MAX: usize = 128;

/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// How long one connection may last, all its requests together: scrapers open another one.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long to wait after a connection could not be accepted, for instance because descriptors ran out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What the answers are made from.
pub struct Live {
    board: Board,
    clock: Arc<dyn Clock>,
    group: Option<String>,
    token: Option<String>,
    commits: Commits,
}

impl Live {
    /// What is told of the run that writes to `board`; it commits offsets for `group`. With a `token`, requests need it.
    pub fn new(board: Board, clock: Arc<dyn Clock>, group: Option<String>, token: Option<String>) -> Live {
        Live { board, clock, group, token, commits: Commits::default() }
    }

    /// Notes a commit.
    pub fn committed(&self, committed: &Committed) {
        self.commits.observe(&committed.steps);
    }
}

/// A server that answers until it is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` and answers from `live`.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    ///
    /// # Panics
    /// If no thread can be started.
    pub fn start(address: SocketAddr, live: Arc<Live>) -> io::Result<Server> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            runtime.block_on(async {
                let accepting = tokio::spawn(serve(listener, router(live)));
                // An error means that the sender is gone, which says the same.
                let _ = stopped.await;
                accepting.abort();
            });
        };
        let thread = std::thread::Builder::new().name("headway-http".into()).spawn(body)?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, by a panic that its thread has reported.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Accepts connections; is dropped when it is to stop, and every connection with it.
async fn serve(listener: TcpListener, router: Router) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot listen for requests"),
    };
    let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Invariant: the semaphore is never closed.
        let permit = Arc::clone(&open).acquire_owned().await.expect("it is open");
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // What went wrong with one client is that client's.
            let _ = tokio::time::timeout(ANSWER_WITHIN, connection).await;
            drop(permit);
        });
    }
}

fn router(live: Arc<Live>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/readyz", get(readyz))
        .layer(middleware::from_fn_with_state(Arc::clone(&live), with_token));
    Router::new().route("/livez", get(livez)).merge(guarded).fallback(unknown).with_state(live)
}

async fn with_token(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let Some(token) = &live.token else { return next.run(request).await };
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // The hash of a wrong one tells nothing of how much of it was right.
    if given.is_some_and(|given| xxh3_128(given) == xxh3_128(token.as_bytes())) {
        return next.run(request).await;
    }
    let how = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, how, "Send the token of --listen-token-file: Authorization: Bearer TOKEN\n")
        .into_response()
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "There are /metrics, /livez and /readyz.\n").into_response()
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(live): State<Arc<Live>>) -> Response {
    let no = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    if live.board.committed_head().is_none() {
        return no("The job has not begun: it reads its state, or waits for its sources.\n");
    }
    if live.board.snapshot().draining {
        return no("The job was told to end: it commits what it has read.\n");
    }
    "ok\n".into_response()
}

async fn metrics(State(live): State<Arc<Live>>) -> Response {
    let Some(head) = live.board.committed_head() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "The job has not begun.\n").into_response();
    };
    let board = live.board.snapshot();
    let group = live.group.as_deref();
    let moment = Moment { head: &head, board: &board, now_ms: live.clock.wall_ms(), group };
    match text(&live.commits, &moment) {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            (kind, text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::System;
    use crate::engine::format::manifest::tests::first;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn start(token: Option<&str>) -> (Server, Board) {
        let board = Board::new(Arc::new(System::default()));
        let live = Live::new(board.clone(), Arc::new(System::default()), None, token.map(str::to_string));
        (Server::start("127.0.0.1:0".parse().unwrap(), Arc::new(live)).unwrap(), board)
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
        ask(server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"))
    }

    #[test]
    fn health_follows_the_run() {
        let (server, board) = start(None);
        assert!(get(&server, "/livez", "").starts_with("HTTP/1.1 200"));
        assert!(get(&server, "/readyz", "").starts_with("HTTP/1.1 503"), "it has not begun");
        assert!(get(&server, "/metrics", "").starts_with("HTTP/1.1 503"));
        board.head(Arc::new(first(1)));
        assert!(get(&server, "/readyz", "").starts_with("HTTP/1.1 200"));
        assert!(get(&server, "/metrics", "").contains("headway_commit_epoch"));
        board.draining();
        let draining = get(&server, "/readyz", "");
        assert!(draining.starts_with("HTTP/1.1 503") && draining.contains("told to end"), "{draining}");
        assert!(get(&server, "/else", "").starts_with("HTTP/1.1 404"));
        assert!(
            ask(
                &server,
                "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            .contains("405")
        );
    }

    #[test]
    fn token_is_asked_for() {
        let (server, board) = start(Some("secret"));
        board.head(Arc::new(first(1)));
        assert!(get(&server, "/livez", "").starts_with("HTTP/1.1 200"), "supervisors need no token");
        let refused = get(&server, "/metrics", "");
        assert!(refused.starts_with("HTTP/1.1 401") && !refused.contains("secret"), "{refused}");
        assert!(get(&server, "/metrics", "Authorization: Bearer wrong\r\n").starts_with("HTTP/1.1 401"));
        assert!(get(&server, "/metrics", "Authorization: Bearer secret\r\n").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn noise_and_mute_clients_do_not_keep_others_from_their_answers() {
        let (server, board) = start(None);
        board.head(Arc::new(first(1)));
        let mute: Vec<TcpStream> =
            (0..CONNECTIONS_MAX - 1).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
        for (at, mut client) in mute.iter().enumerate() {
            let noise =
                [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET /metrics HTTP/1.1\r\nX: ", b"", b"\0\0\0\0"][at % 4];
            let _ = client.write_all(noise);
        }
        assert!(get(&server, "/livez", "").starts_with("HTTP/1.1 200"));
        let long = format!("X: {}\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
        let refused = get(&server, "/livez", &long);
        assert!(refused.starts_with("HTTP/1.1 431") || refused.is_empty(), "{refused}");
        drop(mute);
        assert!(get(&server, "/readyz", "").starts_with("HTTP/1.1 200"));
    }
}
