//! `GET /v1/events?views=a,b&snapshot=true`: changes of any number of views as they are committed, on one connection.
//!
//! | event | what it says |
//! |---|---|
//! | `snapshot` | rows of a view as of a commit; may come in several parts |
//! | `change` | rows of a view that went (`gone`) and that came (`come`) in a commit; may come in several parts, gone first |
//! | `commit` | the commit is complete: apply what came since the commit before. The only one with an `id` |
//! | `progress` | the run is alive: every few seconds, with `status=true` what it does |
//! | `reset` | forget everything: snapshots follow |
//! | `lagged` | the client is too far behind and is disconnected; it may come back with its last id |
//!
//! A client is at the commit whose `id` it has seen last. With that as `Last-Event-ID` it gets what came after, exactly: of a
//! commit that it has seen in part it gets everything again. An id of another history, or one that was forgotten, gives
//! `reset`. Invariant: all events of a commit come before its `commit`, and no other event has an `id`.
//!
//! A client takes events from the shared steps of the feed when it has room for them: what waits for it is not copied. One
//! that takes nothing for [`Limits::behind_for`](crate::serve::feed::Limits), or that has once caught up and is then further
//! behind than allowed, is disconnected. The job never waits for it.

use crate::serve::connections::Connection;
use crate::serve::encode::{instant, json_row};
use crate::serve::feed::{Feed, Id, Moment, Next, Step, described};
use crate::serve::live::Live;
use crate::serve::problem::{Code, Problem};
use crate::serve::query::pairs;
use crate::serve::views::{PIECE_BYTES, find, known};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::ViewRow;
use http_body::Frame;
use serde_json::json;
use std::convert::Infallible;
use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// How often `progress` comes where nothing is said, and how often it may.
const PROGRESS: Duration = Duration::from_secs(5);
const PROGRESS_SECONDS: RangeInclusive<u64> = 1..=60;

/// How long a client of `EventSource` waits before it comes back.
const RETRY: &str = "retry: 1000\n\n";

/// What a client wants.
#[derive(Debug)]
struct Wanted {
    views: Vec<usize>,
    snapshot: bool,
    status: bool,
    progress: Duration,
    /// The last commit that it has, if it has one: an unreadable one is of another history.
    last: Option<Result<Id, ()>>,
}

impl Wanted {
    fn read(query: &str, headers: &HeaderMap, specs: &[ViewSpec]) -> Result<Wanted, Problem> {
        let refuse = |error: String| Problem::new(Code::QueryInvalid, error);
        let last = headers.get("last-event-id").map(|id| id.to_str().map_err(drop)?.parse());
        let mut wanted = Wanted {
            views: (0..specs.len()).collect(),
            snapshot: false,
            status: false,
            progress: PROGRESS,
            last,
        };
        for (name, value) in pairs(query).map_err(refuse)? {
            let yes = || match value.as_str() {
                "true" | "1" | "" => Ok(true),
                "false" | "0" => Ok(false),
                other => Err(refuse(format!("{name} is true or false, not \"{other}\""))),
            };
            match name.as_str() {
                "views" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    wanted.views = names.map(|name| find(specs, name)).collect::<Result<_, _>>()?;
                    wanted.views.sort_unstable();
                    wanted.views.dedup();
                }
                "snapshot" => wanted.snapshot = yes()?,
                "status" => wanted.status = yes()?,
                "progress" => {
                    let seconds = value.parse().ok().filter(|seconds| PROGRESS_SECONDS.contains(seconds));
                    let seconds =
                        seconds.ok_or_else(|| refuse("progress is 1 to 60, in seconds".to_string()))?;
                    wanted.progress = Duration::from_secs(seconds);
                }
                // A header of that name, which the browser sends by itself when it comes back, counts more.
                "last-event-id" => wanted.last = wanted.last.or(Some(value.parse())),
                other => {
                    let known = "views, snapshot, status, progress and last-event-id";
                    return Err(refuse(format!("there is no \"{other}\": events are asked by {known}")));
                }
            }
        }
        Ok(wanted)
    }
}

/// Opens a stream of events.
pub(crate) async fn events(
    State(live): State<Arc<Live>>,
    Extension(connection): Extension<Arc<Connection>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let wanted = match Wanted::read(&query.unwrap_or_default(), &headers, &live.feed.specs) {
        Ok(wanted) => wanted,
        Err(problem) => return problem.into_response(),
    };
    let Some(permit) = live.streams.open() else {
        return Problem::new(Code::Busy, "too many streams are open").into_response();
    };
    let (out, taken) = mpsc::channel(1);
    connection.streams(true);
    let mut stream = Stream { live, wanted, out, position: 0, status_seq: None, has_caught_up: false };
    tokio::spawn(async move {
        let ended = stream.run().await;
        connection.streams(false);
        drop(permit);
        if matches!(ended, Err(Ended::Stalled)) {
            // The client takes nothing, the end of the answer neither.
            connection.close();
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (kind, [("x-accel-buffering", "no")], Body::new(Taken(taken))).into_response()
}

/// Why a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The client has gone.
    Left,
    /// The client takes nothing.
    Stalled,
    /// The client was too slow, and was told so; or the run is over.
    Done,
}

/// A client.
struct Stream {
    live: Arc<Live>,
    wanted: Wanted,
    out: mpsc::Sender<Bytes>,
    /// The number of the last step that it has.
    position: u64,
    /// The last commit of which it was told what it took.
    status_seq: Option<u64>,
    /// It has once had everything there was.
    has_caught_up: bool,
}

impl Stream {
    async fn run(&mut self) -> Result<(), Ended> {
        let mut changes = self.live.feed.changes();
        self.send(Bytes::from_static(RETRY.as_bytes())).await?;
        self.progress().await?;
        let mut next_progress = Instant::now() + self.wanted.progress;
        while !self.begin().await? {
            self.wait(&mut changes, &mut next_progress).await?;
        }
        loop {
            if Instant::now() >= next_progress {
                self.progress().await?;
                next_progress = Instant::now() + self.wanted.progress;
            }
            match self.live.feed.after(self.position) {
                Next::Step(step, behind) => {
                    let limits = self.live.feed.limits;
                    if self.has_caught_up && (behind > limits.behind_bytes || step.age() > limits.behind_for)
                    {
                        return self.lagged().await;
                    }
                    self.step(&step).await?;
                }
                Next::Forgotten => return self.lagged().await,
                Next::End => return Err(Ended::Done),
                Next::Nothing => {
                    self.has_caught_up = true;
                    self.wait(&mut changes, &mut next_progress).await?;
                }
            }
        }
    }

    /// Waits for a change, and sends progress if that is due first.
    async fn wait(
        &mut self,
        changes: &mut watch::Receiver<()>,
        next_progress: &mut Instant,
    ) -> Result<(), Ended> {
        if timeout_at(*next_progress, changes.changed()).await.is_err() {
            self.progress().await?;
            *next_progress = Instant::now() + self.wanted.progress;
        }
        if self.out.is_closed() { Err(Ended::Left) } else { Ok(()) }
    }

    async fn send(&self, bytes: Bytes) -> Result<(), Ended> {
        match timeout(self.live.feed.limits.behind_for, self.out.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Left),
            Err(_) => Err(Ended::Stalled),
        }
    }

    /// Brings the client to a commit from which it can go on. False while the run has not begun.
    async fn begin(&mut self) -> Result<bool, Ended> {
        let Some(moment) = self.live.feed.newest() else {
            if self.live.feed.is_over() {
                return Err(Ended::Done);
            }
            return Ok(false);
        };
        if let Some(last) = self.wanted.last {
            if let Some(position) = last.ok().and_then(|id| self.live.feed.position(id)) {
                self.position = position;
                return Ok(true);
            }
            self.send(event("reset", &json!({ "seq": moment.id.seq() }).to_string())).await?;
        }
        if self.wanted.snapshot || self.wanted.last.is_some() {
            self.snapshot(&moment).await?;
        }
        self.position = moment.number;
        self.send(commit(&self.live.feed, moment.id, about(&moment), &[])).await?;
        Ok(true)
    }

    async fn snapshot(&self, moment: &Moment) -> Result<(), Ended> {
        for &view in &self.wanted.views {
            let spec = &self.live.feed.specs[view];
            let mut parts = Parts::new("snapshot", spec, moment.id);
            let mut rows = Rows::of(moment.tables[view].rows.iter().map(|row| &**row));
            // A view without rows is said to have none.
            while rows.peek().is_some() || !parts.has_begun {
                let part = parts.next("rows", &mut rows);
                self.send(part).await?;
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Ended> {
        for &view in &self.wanted.views {
            let mut parts = Changed::new(&self.live.feed.specs[view], step, view);
            if let Some(events) = step.events(view, || parts.by_ref().collect()) {
                for event in events {
                    self.send(event.clone()).await?;
                }
                continue;
            }
            for event in parts {
                self.send(event).await?;
            }
        }
        let is_changed = |view: &usize| !step.of_view(*view).is_empty();
        let changed: Vec<usize> = self.wanted.views.iter().copied().filter(is_changed).collect();
        let about = json!({ "watermark": known(step.watermark), "at_ms": step.at_ms });
        self.send(commit(&self.live.feed, step.id, about, &changed)).await?;
        self.position += 1;
        Ok(())
    }

    async fn progress(&mut self) -> Result<(), Ended> {
        let newest = self.live.feed.newest();
        let mut progress = json!({
            "seq": newest.as_ref().map(|moment| moment.id.seq()),
            "watermark": newest.as_ref().and_then(|moment| known(moment.watermark)),
            "now_ms": self.live.clock.wall_ms(),
        });
        if self.wanted.status {
            let (status, seq) = crate::serve::status::of(&self.live, self.status_seq);
            progress["status"] = status;
            self.status_seq = seq.or(self.status_seq);
        }
        self.send(event("progress", &progress.to_string())).await
    }

    async fn lagged(&self) -> Result<(), Ended> {
        self.send(event("lagged", &json!({ "hint": "Come back with the last id." }).to_string())).await?;
        Err(Ended::Done)
    }
}

fn about(moment: &Moment) -> serde_json::Value {
    let mut about = json!({ "watermark": known(moment.watermark) });
    if let Some(from) = moment.from {
        // Days before it are sealed, and in no snapshot.
        about["from"] = json!(instant(from));
    }
    about
}

/// An event without an id; `data` is one line.
fn event(name: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// The event that completes commit `id`.
fn commit(feed: &Feed, id: Id, mut data: serde_json::Value, changed: &[usize]) -> Bytes {
    data["seq"] = json!(id.seq());
    data["changed"] = changed.iter().map(|view| feed.specs[*view].name).collect();
    Bytes::from(format!("event: commit\nid: {id}\ndata: {data}\n\n"))
}

/// Rows that are on their way to a client.
struct Rows<'a>(Peekable<Box<dyn Iterator<Item = &'a ViewRow> + Send + 'a>>);

impl<'a> Rows<'a> {
    fn of(rows: impl Iterator<Item = &'a ViewRow> + Send + 'a) -> Rows<'a> {
        let rows: Box<dyn Iterator<Item = &'a ViewRow> + Send + 'a> = Box::new(rows);
        Rows(rows.peekable())
    }

    fn peek(&mut self) -> Option<&ViewRow> {
        self.0.peek().copied()
    }
}

/// The events of one view and one commit.
struct Parts<'a> {
    event: &'static str,
    spec: &'a ViewSpec,
    id: Id,
    has_begun: bool,
}

impl<'a> Parts<'a> {
    fn new(event: &'static str, spec: &'a ViewSpec, id: Id) -> Parts<'a> {
        Parts { event, spec, id, has_begun: false }
    }

    /// An event with as many of `rows`, called `name`, as it may hold; the first of a snapshot says what the columns are.
    fn next(&mut self, name: &str, rows: &mut Rows<'_>) -> Bytes {
        let ViewSpec { name: view, columns, key, .. } = self.spec;
        let mut data =
            format!("event: {}\ndata: {{\"view\":\"{view}\",\"seq\":{}", self.event, self.id.seq());
        if self.event == "snapshot" && !self.has_begun {
            let key: Vec<&str> = columns[..*key].iter().map(|column| column.name.as_ref()).collect();
            data += &format!(",\"key\":{},\"columns\":{}", json!(key), described(columns));
        }
        self.has_begun = true;
        let mut data = format!("{data},\"{name}\":[").into_bytes();
        let mut is_first = true;
        while data.len() < PIECE_BYTES
            && let Some(row) = rows.0.next()
        {
            if !is_first {
                data.push(b',');
            }
            is_first = false;
            json_row(&mut data, columns, row);
        }
        data.extend_from_slice(b"]}\n\n");
        Bytes::from(data)
    }
}

/// The events of one view and one step: what goes, then what comes.
struct Changed<'a> {
    parts: Parts<'a>,
    gone: Rows<'a>,
    come: Rows<'a>,
}

impl<'a> Changed<'a> {
    fn new(spec: &'a ViewSpec, step: &'a Step, view: usize) -> Changed<'a> {
        let rows = |is_gone: bool| {
            let updates = step.of_view(view).iter().filter(move |update| (update.diff < 0) == is_gone);
            Rows::of(updates.map(|update| &update.row))
        };
        Changed { parts: Parts::new("change", spec, step.id), gone: rows(true), come: rows(false) }
    }
}

impl Iterator for Changed<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.gone.peek().is_some() {
            return Some(self.parts.next("gone", &mut self.gone));
        }
        self.come.peek().is_some().then(|| self.parts.next("come", &mut self.come))
    }
}

/// What a client takes.
struct Taken(mpsc::Receiver<Bytes>);

impl http_body::Body for Taken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
