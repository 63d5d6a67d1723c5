//! The answers of a process that does not lead its job: `/livez`, `/readyz` and its own metrics. For all else it names the
//! address of process 0.

use crate::engine::Control;
use crate::serve::guard;
use crate::serve::live::{Live, Member};
use crate::serve::openmetrics::text_of_process;
use crate::serve::own::{livez, moment, open_metrics, ready};
use crate::serve::problem::{Code, Problem};
use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;

/// The routes of such a process.
pub(crate) fn router(live: Arc<Live>, member: &Member) -> Router {
    let (elsewhere, ready_of) = (member.clone(), member.control.clone());
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/session", post(guard::session))
        .fallback(move |State(live): State<Arc<Live>>, uri: Uri| ask_leader(live, elsewhere.clone(), uri))
        .layer(middleware::from_fn_with_state(Arc::clone(&live), guard::with_token));
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(move |State(live): State<Arc<Live>>| readyz(live, ready_of.clone())))
        .merge(guarded)
        .layer(middleware::from_fn(guard::headers))
        .with_state(live)
}

async fn readyz(live: Arc<Live>, control: Control) -> Response {
    ready(&live, control.is_draining())
}

async fn metrics(State(live): State<Arc<Live>>) -> Response {
    moment(&live, |moment| open_metrics(text_of_process(moment)))
}

/// Says where the answer is.
async fn ask_leader(live: Arc<Live>, member: Member, uri: Uri) -> Response {
    let Member { process, processes, .. } = member;
    let what = format!("this is process {process} of {processes}: views, status and events are process 0's");
    let hint = match live.board.leader_answers() {
        Some(address) => format!("Ask process 0: http://{address}{}", uri.path()),
        None if live.board.committed_head().is_none() => {
            "Ask process 0. Where it answers is known here once the job has begun.".to_string()
        }
        None => "Start process 0 with --listen, too, and ask it.".to_string(),
    };
    Problem::new(Code::OtherProcess, what).hint(hint).into_response()
}
