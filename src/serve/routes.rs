//! What is answered where.

use crate::serve::events::events;
use crate::serve::guard;
use crate::serve::live::Live;
use crate::serve::metrics::Moment;
use crate::serve::openmetrics::text;
use crate::serve::problem::{Code, Problem};
use crate::serve::{pages, status, views};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;

/// The routes of the server.
pub(crate) fn router(live: Arc<Live>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/readyz", get(readyz))
        .route("/v1/status", get(job_status))
        .route("/v1/views", get(views::list))
        .route("/v1/views/{view}", get(views::show))
        .route("/v1/events", get(events))
        .route("/v1/session", post(guard::session))
        .layer(middleware::from_fn_with_state(Arc::clone(&live), guard::with_token));
    Router::new()
        .route("/livez", get(livez))
        .route("/", get(pages::page))
        .route("/assets/{name}", get(pages::asset))
        .merge(guarded)
        .fallback(unknown)
        .layer(middleware::from_fn(guard::headers))
        .with_state(live)
}

async fn unknown() -> Response {
    let known =
        "There are /, /metrics, /livez, /readyz, /v1/views, /v1/views/VIEW, /v1/events and /v1/status.";
    Problem::new(Code::PathUnknown, "there is nothing here").hint(known).into_response()
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

async fn job_status(State(live): State<Arc<Live>>) -> Response {
    let (status, _) = status::of(&live, None);
    ([(header::CONTENT_TYPE, "application/json")], format!("{status}\n")).into_response()
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
