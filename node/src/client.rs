//! A small HTTP client for the commands that talk to the running node of the same data directory.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("nothing answers at {0}: is the node running?")]
    NotRunning(SocketAddr),
    /// The connection failed.
    #[error("the answer did not come: {0}")]
    Broken(String),
    /// The node refused, with its reason.
    #[error("{0}")]
    Refused(String),
}

/// Asks the node at `address`; `body` makes it a request with content.
///
/// # Errors
/// [`ClientError`].
pub async fn call(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    let asked = tokio::time::timeout(TIMEOUT, ask(address, token, method, path, body)).await;
    asked.unwrap_or_else(|_| Err(ClientError::Broken("it took too long".to_owned())))
}

async fn ask(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    let broken = |error: &dyn std::fmt::Display| ClientError::Broken(error.to_string());
    let stream = tokio::net::TcpStream::connect(address).await;
    let stream = stream.map_err(|_| ClientError::NotRunning(address))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken(&e))?;
    // Its errors reach the request too.
    tokio::spawn(connection);
    let content = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(content)))
        .map_err(|e| broken(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
    let status = answer.status();
    let limited = http_body_util::Limited::new(answer.into_body(), ANSWER_MAX);
    let bytes = limited.collect().await.map_err(|e| broken(&e))?.to_bytes();
    let value = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).map_err(|e| broken(&e))?
    };
    if status.is_success() {
        return Ok(value);
    }
    let detail = value["detail"].as_str().unwrap_or("no reason was given");
    Err(ClientError::Refused(format!("the node refused ({}): {detail}", status.as_u16())))
}
