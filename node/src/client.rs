//! A small HTTP client for the commands that talk to the running node of the same data directory.
//!
//! A [`Target`] says where the node listens and, with HTTPS, by which certificate it is recognised.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("nothing answers at {0}: is the node running?")]
    NotRunning(SocketAddr),
    /// Whoever listens there is not the node with this certificate, or speaks no HTTPS.
    #[error(
        "no HTTPS with {0} as this node's: {1}. If the configuration was changed, restart the node"
    )]
    NotOurs(SocketAddr, String),
    /// The connection failed.
    #[error("the answer did not come: {0}")]
    Broken(String),
    /// The node refused, with its reason.
    #[error("{0}")]
    Refused(String),
}

/// A node to talk to.
#[derive(Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connects with HTTPS; plain HTTP without it.
    pub tls: Option<TlsConnector>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// A text as a part of a path or the value of a parameter: percent-encoded (RFC 3986, section 2).
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Asks the node at `target`; `body` makes it a request with content.
///
/// # Errors
/// [`ClientError`].
pub async fn call(
    target: &Target,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    let content = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(content)));
    let answer = send(target, token, request).await?;
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(ClientError::Refused(answer.reason()))
}

/// What is posted to a node by [`post`].
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// Where.
    pub path: &'a str,
    /// In which format.
    pub content_type: &'a str,
    /// By what a repetition is recognised.
    pub key: &'a str,
    /// The content.
    pub body: Bytes,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Whether it was given before, to the same request.
    pub is_replayed: bool,
    /// The body; `Null` when there is none.
    pub body: Value,
}

impl Answer {
    /// Why the node refused, for people.
    #[must_use]
    pub fn reason(&self) -> String {
        let detail = self.body["detail"].as_str().unwrap_or("no reason was given");
        format!("the node refused ({}): {detail}", self.status.as_u16())
    }
}

/// Posts to the node at `target`.
///
/// # Errors
/// [`ClientError`]; what became of the request is unknown unless nobody listens.
pub async fn post(target: &Target, token: &str, post: &Post<'_>) -> Result<Answer, ClientError> {
    let request = Request::post(post.path)
        .header(CONTENT_TYPE, post.content_type)
        .header("idempotency-key", post.key)
        .body(Full::new(post.body.clone()));
    send(target, token, request).await
}

async fn send(
    target: &Target,
    token: &str,
    request: hyper::http::Result<Request<Full<Bytes>>>,
) -> Result<Answer, ClientError> {
    let sent = tokio::time::timeout(TIMEOUT, exchange(target, token, request)).await;
    sent.unwrap_or_else(|_| Err(ClientError::Broken("it took too long".to_owned())))
}

/// Follows what a node says without end, and hands each line to `each`; it ends when the node ends
/// it.
///
/// # Errors
/// [`ClientError`].
pub async fn follow(
    target: &Target,
    token: &str,
    path: &str,
    mut each: impl FnMut(&str),
) -> Result<(), ClientError> {
    let request = Request::get(path).body(Full::default());
    let asked = tokio::time::timeout(TIMEOUT, ask(target, token, request)).await;
    let answer =
        asked.unwrap_or_else(|_| Err(ClientError::Broken("it took too long".to_owned())))?;
    if !answer.status().is_success() {
        return Err(ClientError::Refused(read(answer).await?.reason()));
    }
    let (mut body, mut rest) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|e| broken(&e))?.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            each(String::from_utf8_lossy(&rest[..end]).trim_end());
            rest.drain(..=end);
        }
        if rest.len() > ANSWER_MAX {
            return Err(ClientError::Broken("a line of it does not end".to_owned()));
        }
    }
    Ok(())
}

async fn exchange(
    target: &Target,
    token: &str,
    request: hyper::http::Result<Request<Full<Bytes>>>,
) -> Result<Answer, ClientError> {
    read(ask(target, token, request).await?).await
}

/// Sends a request, and waits for the head of its answer.
async fn ask(
    target: &Target,
    token: &str,
    request: hyper::http::Result<Request<Full<Bytes>>>,
) -> Result<Response<Incoming>, ClientError> {
    let address = target.address;
    let mut request = request.map_err(|e| broken(&e))?;
    for (name, value) in [(HOST, address.to_string()), (AUTHORIZATION, format!("Bearer {token}"))] {
        request.headers_mut().insert(name, value.parse().map_err(|e| broken(&e))?);
    }
    let stream = tokio::net::TcpStream::connect(address).await;
    let stream = stream.map_err(|_| ClientError::NotRunning(address))?;
    let Some(tls) = &target.tls else { return converse(stream, request).await };
    let name = ServerName::IpAddress(address.ip().into());
    let stream = tls.connect(name, stream).await;
    let stream = stream.map_err(|error| ClientError::NotOurs(address, error.to_string()))?;
    converse(stream, request).await
}

fn broken(error: &dyn fmt::Display) -> ClientError {
    ClientError::Broken(error.to_string())
}

async fn converse<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken(&e))?;
    // Its errors reach the request too.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|e| broken(&e))
}

/// Reads an answer to its end.
async fn read(answer: Response<Incoming>) -> Result<Answer, ClientError> {
    let status = answer.status();
    let is_replayed = answer.headers().contains_key("idempotency-replayed");
    let limited = http_body_util::Limited::new(answer.into_body(), ANSWER_MAX);
    let bytes = limited.collect().await.map_err(|e| broken(&e))?.to_bytes();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).map_err(|_| {
            let text = String::from_utf8_lossy(&bytes);
            broken(&format_args!("{status} without JSON: {}", text.lines().next().unwrap_or("")))
        })?
    };
    Ok(Answer { status, is_replayed, body })
}
