//! The HTTP server of a running job, on one thread of its own, apart from the workers.
//!
//! Whoever sends too much, too slowly, or comes in crowds is turned away; no request can stop or slow the job:
//! 1. At most [`CONNECTIONS_MAX`] connections. Where more come, the oldest one that asks nothing is closed.
//! 2. A request's head must be there within [`HEAD_WITHIN`], an answer be taken within [`ANSWER_WITHIN`]. A stream of events
//!    lasts, and is closed when its client falls behind (`events.rs`).
//! 3. No request has a body that is read.
//! 4. What an answer is made of is immutable: the job goes on while it is read (`feed.rs`). A long search runs on a thread
//!    beside this one, one at a time (`views.rs`).
//! 5. A panic while a request is answered is logged, and ends that connection alone.
//! 6. Who may ask: `guard.rs`.

use crate::engine::guard::contain;
use crate::serve::connections::{Connection, Connections};
use crate::serve::live::Live;
use crate::serve::routes::router;
use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How many connections may be open: fewer than half of the descriptors that a process usually has. The job needs some too.
pub(crate) const CONNECTIONS_MAX: usize = 400;

/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// How long one connection may last, all its requests together: scrapers open another one.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The longest head of a request, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long to wait after a connection could not be accepted, for instance because descriptors ran out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long streams may take at the end of a run to send what they have.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime =
            runtime.enable_io().enable_time().max_blocking_threads(1).on_thread_start(contain).build()?;
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            contain();
            runtime.block_on(async {
                let accepting = tokio::spawn(serve(listener, router(Arc::clone(&live))));
                // An error means that the sender is gone, which says the same.
                let _ = stopped.await;
                accepting.abort();
                live.feed.end();
                let _ = tokio::time::timeout(LAST_WORDS, live.streams.all_ended()).await;
            });
            // A search that goes on is not waited for.
            runtime.shutdown_background();
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

/// Accepts connections until it is dropped.
async fn serve(listener: TcpListener, router: Router) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot listen for requests"),
    };
    let mut connections = Connections::new(CONNECTIONS_MAX);
    loop {
        let permit = connections.room().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let connection = Arc::new(Connection::default());
        let (router, served) = (router.clone(), Arc::clone(&connection));
        let task = tokio::spawn(async move {
            answer(stream, router, served).await;
            drop(permit);
        });
        connection.runs_in(task.abort_handle());
        connections.add(connection);
    }
}

/// Answers the requests of one client. What goes wrong with it is that client's.
async fn answer(stream: TcpStream, router: Router, connection: Arc<Connection>) {
    // An event is small, and must not wait for the next one.
    let _ = stream.set_nodelay(true);
    let known = Arc::clone(&connection);
    let router =
        router.layer(axum::middleware::from_fn(move |mut request: Request, next: axum::middleware::Next| {
            let known = Arc::clone(&known);
            async move {
                let _busy = known.begin();
                request.extensions_mut().insert(known);
                next.run(request).await
            }
        }));
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    while tokio::time::timeout(ANSWER_WITHIN, serving.as_mut()).await.is_err() && connection.is_streaming() {}
}
