//! What every process answers of itself: that it lives, whether it is ready, metrics.

use crate::serve::live::Live;
use crate::serve::metrics::Moment;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt;

/// It answers: it lives.
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether a process has begun its work, and goes on with it.
pub(crate) fn ready(live: &Live, is_draining: bool) -> Response {
    let no = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    if let Some(why) = live.board.standby() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("This process stands by: {why}.\n"))
            .into_response();
    }
    if live.board.committed_head().is_none() {
        return no(
            "The job has not begun: it reads its state, or waits for its sources or other processes.\n",
        );
    }
    if is_draining {
        return no("The job was told to end: it commits what it has read.\n");
    }
    "ok\n".into_response()
}

/// What `answer` makes of the job as it is now, once it has begun.
pub(crate) fn moment(live: &Live, answer: impl FnOnce(&Moment<'_>) -> Response) -> Response {
    let Some(head) = live.board.committed_head() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "The job has not begun.\n").into_response();
    };
    let board = live.board.snapshot();
    let (now_ms, groups) = (live.clock.wall_ms(), &live.groups);
    answer(&Moment { head: &head, board: &board, now_ms, groups, state: "running" })
}

/// Metrics as an answer.
pub(crate) fn open_metrics(text: Result<String, fmt::Error>) -> Response {
    match text {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            (kind, text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
