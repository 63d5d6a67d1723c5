//! Who may ask, and what every answer says about itself.
//!
//! - With a token, every request but `/livez`, `/readyz` and the page itself needs it: `Authorization: Bearer TOKEN`, or the cookie that
//!   `POST /v1/session` gives a browser for the token. Tokens are compared by their hashes.
//! - Without a token, the name by which a request calls this server must be an address or `localhost`. Otherwise a page from
//!   elsewhere could have its own name lead here, and read what a browser on this machine may read.
//! - The cookie is sent by our own pages only (`SameSite=Strict`), and no answer allows pages from elsewhere to read it.

use crate::serve::live::Live;
use crate::serve::problem::{Code, Problem};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// The cookie with the token.
const COOKIE: &str = "headway-token";

/// Nothing from elsewhere, no code in the page, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Lets a request pass if it may.
pub(crate) async fn with_token(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_allowed = match &live.token {
        Some(token) => given(headers).any(|given| is_same(given, token)),
        None => is_called_by_address(headers),
    };
    if is_allowed {
        return next.run(request).await;
    }
    if live.token.is_none() {
        let host =
            headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        return Problem::new(
            Code::HostRefused,
            format!("this server is not \"{}\"", host.unwrap_or_default()),
        )
        .hint("Call it localhost or by its address, or start the job with --listen-token-file.")
        .into_response();
    }
    let problem = Problem::new(Code::TokenMissing, "the request has no valid token")
        .hint("Send the token of --listen-token-file: Authorization: Bearer TOKEN");
    ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response()
}

/// Gives a browser a cookie for the token that it sends.
pub(crate) async fn session(State(live): State<Arc<Live>>) -> Response {
    let Some(token) = &live.token else { return StatusCode::NO_CONTENT.into_response() };
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
    match HeaderValue::from_str(&cookie) {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        // Tokens are printable characters.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Says what holds for every answer.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}

/// The tokens that a request gives.
fn given(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer =
        headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let cookies =
        headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|c| *c == b';'));
    let cookies = cookies.filter_map(|cookie| {
        cookie.trim_ascii().strip_prefix(COOKIE.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
    });
    bearer.into_iter().chain(cookies)
}

/// The hash of a wrong one tells nothing of how much of it was right.
fn is_same(given: &[u8], token: &str) -> bool {
    xxh3_128(given) == xxh3_128(token.as_bytes())
}

/// True if the request calls this server `localhost` or by an address, with a port or without; or not at all.
fn is_called_by_address(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn pages_from_elsewhere_cannot_have_their_name_lead_here() {
        for (host, expected) in [
            ("127.0.0.1:7070", true),
            ("127.0.0.1", true),
            ("localhost:7070", true),
            ("LOCALHOST", true),
            ("[::1]:7070", true),
            ("[::1]", true),
            ("evil.example", false),
            ("evil.example:7070", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_called_by_address(&with(header::HOST, host)), expected, "{host}");
        }
        assert!(is_called_by_address(&HeaderMap::new()), "HTTP/1.0, which browsers do not speak");
    }

    #[test]
    fn token_comes_as_bearer_or_cookie() {
        let has = |headers: &HeaderMap| given(headers).any(|given| is_same(given, "secret"));
        assert!(has(&with(header::AUTHORIZATION, "Bearer secret")));
        assert!(has(&with(header::COOKIE, "a=b; headway-token=secret; c=d")));
        for wrong in ["Bearer secre", "Bearer secret ", "Basic secret", "Bearer", "secret", "Bearer  secret"]
        {
            assert!(!has(&with(header::AUTHORIZATION, wrong)), "{wrong}");
        }
        for wrong in
            ["headway-token=", "headway-tokens=secret", "a=headway-token=secret", "headway-token=secretx"]
        {
            assert!(!has(&with(header::COOKIE, wrong)), "{wrong}");
        }
    }
}
