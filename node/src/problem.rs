//! Errors as RFC 9457 problems: what is wrong, where, and what was expected.
//!
//! Every error answer is one of these, so a client needs one way to read them. `code` is stable and
//! meant for programs, `detail` for people. What went wrong inside the node stays in its log.

use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, HeaderName, RETRY_AFTER,
    UPGRADE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use holdfast_core::Reject;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use std::fmt;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error: what is wrong, where, and what was expected (RFC 9457). Some have more members.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Shape {
    /// `urn:holdfast:problem:` and the code.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What it is, for programs; stable.
    pub code: String,
    /// What it is, for people.
    pub detail: String,
    /// Where: a JSON pointer, a line, a header or a parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What would have been taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// After how many seconds to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// An error answer.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of any status; the other constructors say more.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    /// Says where: a JSON pointer, a line, a header or parameter.
    #[must_use]
    pub fn at(self, at: impl Into<String>) -> Self {
        self.with("at", at.into())
    }

    /// Says what would have been accepted.
    #[must_use]
    pub fn expected(self, expected: impl Into<String>) -> Self {
        self.with("expected", expected.into())
    }

    /// Adds an extension member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("headers of problems are plain text");
        self.headers.push((name, value));
        self
    }

    fn retry_after(self, seconds: u64) -> Self {
        self.with("retry_after", seconds).header(RETRY_AFTER, &seconds.to_string())
    }

    /// 400: the request does not follow its format.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// 400: a query or path parameter is not what it should be.
    #[must_use]
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail).at(name)
    }

    /// 401: nobody known asks.
    #[must_use]
    pub fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
            .header(WWW_AUTHENTICATE, "Bearer realm=\"holdfast\"")
    }

    /// 403: who asks may not.
    #[must_use]
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 405: the path exists, the method does not.
    #[must_use]
    pub fn method_not_allowed(method: &Method) -> Self {
        let detail = format!("{method} is not possible here; the Allow header says what is");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
    }

    /// 408: the client was too slow.
    #[must_use]
    pub fn too_slow(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail)
    }

    /// 409: the present state forbids it.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412: it is not what the request was made for; `etag` is what it is now.
    #[must_use]
    pub fn stale(detail: impl Into<String>, etag: &str) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", detail)
            .with("etag", etag)
            .header(ETAG, etag)
    }

    /// 413: more than is taken at once.
    #[must_use]
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// 415: the format is not read here.
    #[must_use]
    pub fn unsupported_media(detail: impl Into<String>, accepted: &[&str]) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
            .expected(accepted.join(", "))
            .with("accepted", accepted.to_vec())
    }

    /// 415: the content coding is not read here.
    #[must_use]
    pub fn unsupported_coding(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-content-encoding", detail)
            .expected("gzip, identity")
            .header(ACCEPT_ENCODING, "gzip, identity")
    }

    /// 422: well-formed, yet not valid.
    #[must_use]
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 426: another protocol is spoken here.
    #[must_use]
    pub fn upgrade_required(detail: impl Into<String>, protocol: &str) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", detail)
            .expected(protocol)
            .header(UPGRADE, protocol)
            .header(CONNECTION, "upgrade")
    }

    /// 429: more often than allowed.
    #[must_use]
    pub fn too_many(detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail)
            .retry_after(retry_after_s)
    }

    /// 500: our fault. What happened is in the log under the request's id, not in the answer.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "the node failed to do this; its log says why under this request's id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(retry_after_s)
    }

    /// 507: no room on disk or in the quota.
    #[must_use]
    pub fn no_room(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "no-room", detail)
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:holdfast:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        for (name, value) in &self.members {
            body[name] = value.clone();
        }
        body
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl From<Reject> for Problem {
    fn from(reject: Reject) -> Self {
        Self::invalid(reject.code(), reject.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.body().to_string();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        // A layer may have to say the same in another shape.
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer for a path that no route has.
pub async fn unknown_route(request: Request) -> Problem {
    Problem::not_found(format!("there is nothing at `{}`", request.uri().path()))
}

/// The answer for a method that a route does not have. The router adds `Allow`.
pub async fn unknown_method(request: Request) -> Problem {
    Problem::method_not_allowed(request.method())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_where_and_what_was_expected() {
        let problem = Problem::malformed("the time is no time").at("/3/time").expected("RFC 3339");
        assert_eq!(
            problem.body(),
            json!({
                "type": "urn:holdfast:problem:malformed", "title": "Bad Request", "status": 400,
                "code": "malformed", "detail": "the time is no time", "at": "/3/time",
                "expected": "RFC 3339",
            })
        );
        let response = problem.into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
    }

    #[test]
    fn headers_that_belong_to_a_status_are_set() {
        let response = Problem::too_many("slow down", 7).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        let response = Problem::unauthorized("no-token", "who are you").into_response();
        assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
        let media = Problem::unsupported_media("no", &["a/b", "c/d"]).body();
        assert_eq!(media["accepted"], json!(["a/b", "c/d"]));
    }

    #[test]
    fn a_reject_keeps_its_code() {
        let problem = Problem::from(Reject::Device);
        assert_eq!((problem.status().as_u16(), problem.code()), (422, "invalid-device"));
        assert!(problem.to_string().starts_with("422 invalid-device: a device id"));
    }
}
