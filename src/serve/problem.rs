//! Why a request is refused: a status, a code, and what to do.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// No token, or a wrong one.
    TokenMissing,
    /// The server is called by a name that is not its own.
    HostRefused,
    /// Another process of the job has the answer.
    OtherProcess,
    /// There is nothing at that path.
    PathUnknown,
    /// There is no such view.
    ViewUnknown,
    /// The query cannot be read.
    QueryInvalid,
    /// The job reads its state, or waits for its sources.
    NotBegun,
    /// Too many ask at once.
    Busy,
    /// The answer could not be made.
    AnswerFailed,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Code::TokenMissing => StatusCode::UNAUTHORIZED,
            Code::HostRefused | Code::OtherProcess => StatusCode::MISDIRECTED_REQUEST,
            Code::PathUnknown | Code::ViewUnknown => StatusCode::NOT_FOUND,
            Code::QueryInvalid => StatusCode::BAD_REQUEST,
            Code::NotBegun | Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Code::AnswerFailed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Code::TokenMissing => "token-missing",
            Code::HostRefused => "host-refused",
            Code::OtherProcess => "other-process",
            Code::PathUnknown => "path-unknown",
            Code::ViewUnknown => "view-unknown",
            Code::QueryInvalid => "query-invalid",
            Code::NotBegun => "not-begun",
            Code::Busy => "busy",
            Code::AnswerFailed => "answer-failed",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    error: String,
    hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, error: impl Into<String>) -> Problem {
        Problem { code, error: error.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Problem {
        Problem { hint: Some(hint.into()), ..self }
    }

    /// While the job reads its state, or waits for its sources.
    pub(crate) fn not_begun() -> Problem {
        Problem::new(Code::NotBegun, "the job has not begun: it reads its state, or waits for its sources")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "code": self.code.name(), "hint": self.hint });
        let mut response = (
            self.code.status(),
            [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")],
            format!("{body}\n"),
        )
            .into_response();
        if self.code.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}
