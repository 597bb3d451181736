//! Requests over HTTP that a run makes of services at its site.
//!
//! A request carries the key of its effect as `Idempotency-Key`. The answer is an object with
//! `status` and `body`, which is JSON where it is such. What is not a success is an error of the
//! run: the other side said no, failed, or is busy.

use super::effect::{Asked, Failure};
use bytes::Bytes;
use holdfast_core::flow::Code;
use holdfast_core::flow::effect::Argument;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};

/// Bytes of an answer.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// Makes a request.
///
/// # Errors
/// [`Failure`]
pub async fn request(asked: &Asked) -> Result<Json, Failure> {
    let (method, url) = (asked.need(Argument::Method)?, asked.need(Argument::Url)?);
    let invalid = |text: String| Failure::new(Code::INVALID, text);
    let uri: Uri = url.parse().map_err(|error| invalid(format!("`{url}`: {error}")))?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("http"));
    let host = host.ok_or_else(|| invalid(format!("`{url}`: expected http://HOST/...")))?;
    let port = uri.port_u16().unwrap_or(80);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let body = asked.get(Argument::Body).unwrap_or_default().to_owned();
    let content_type = asked.get(Argument::ContentType).unwrap_or("application/json");
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, content_type)
        .header("idempotency-key", asked.key())
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| invalid(error.to_string()))?;
    let away = |error: &dyn std::fmt::Display| {
        Failure::new(Code::UNREACHABLE, format!("{authority}: {error}"))
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = tokio::net::TcpStream::connect((bare, port)).await.map_err(|e| away(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| away(&e))?;
    // Its errors reach the request too.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|e| away(&e))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
    let body = body.map_err(|e| away(&e))?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    if status.is_success() {
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Json::from(text));
        return Ok(json!({ "status": status.as_u16(), "body": body }));
    }
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Code::BUSY,
        status if status.is_client_error() => Code::REFUSED,
        _ => Code::FAILED,
    };
    let line = text.lines().next().unwrap_or_default();
    Err(Failure::new(code, format!("{authority} answered {status}: {line}")))
}
