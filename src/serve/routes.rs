//! What is answered where.

use crate::serve::events::events;
use crate::serve::guard;
use crate::serve::live::Live;
use crate::serve::openmetrics::text;
use crate::serve::own::{livez, moment, open_metrics, ready};
use crate::serve::problem::{Code, Problem};
use crate::serve::{member, pages, status, views};
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;

/// The routes of the server.
pub(crate) fn router(live: Arc<Live>) -> Router {
    if let Some(member) = live.member.clone() {
        return member::router(live, &member);
    }
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/status", get(job_status))
        .route("/v1/views", get(views::list))
        .route("/v1/views/{view}", get(views::show))
        .route("/v1/events", get(events))
        .route("/v1/session", post(guard::session))
        .layer(middleware::from_fn_with_state(Arc::clone(&live), guard::with_token));
    Router::new()
        .route("/livez", get(livez))
        // Who starts processes asks both, and has no token.
        .route("/readyz", get(readyz))
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

async fn readyz(State(live): State<Arc<Live>>) -> Response {
    ready(&live, live.board.snapshot().draining)
}

async fn job_status(State(live): State<Arc<Live>>) -> Response {
    let (status, _) = status::of(&live, None);
    ([(header::CONTENT_TYPE, "application/json")], format!("{status}\n")).into_response()
}

async fn metrics(State(live): State<Arc<Live>>) -> Response {
    moment(&live, |moment| open_metrics(text(&live.commits, moment)))
}
