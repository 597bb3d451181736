//! A small HTTP/1.1 client for tests: one kept connection, JSON or raw bodies, a limit on each
//! request. Nothing is repeated behind the caller's back: whether a request that got no answer
//! was done is exactly what a scenario wants to find out.

pub mod mqtt;
mod raw;
pub mod websocket;

pub use raw::{RawRequest, Reply};

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::contract::Contract;

/// How long a request may take unless the client is told otherwise.
const LIMIT: Duration = Duration::from_secs(30);

/// An answer read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `Null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of a problem (RFC 9457): its member `code`, else the last part of its `type`.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let json = self.json();
        let code = json.get("code").or_else(|| json.get("type"))?.as_str()?;
        Some(code.rsplit(['/', ':']).next().unwrap_or(code).to_owned())
    }
}

/// Why a request has no answer. What became of it is unknown unless it was never sent.
#[derive(Debug)]
pub enum NoAnswer {
    /// No connection: the request was never sent.
    Unreachable(std::io::Error),
    /// The connection broke under the request.
    Broken(hyper::Error),
    /// The limit passed.
    TimedOut,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(e) => write!(f, "no connection: {e}"),
            Self::Broken(e) => write!(f, "connection broken: {e}"),
            Self::TimedOut => write!(f, "no answer in time"),
        }
    }
}

impl std::error::Error for NoAnswer {}

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    token: Option<String>,
    limit: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
    contract: Option<&'static Contract>,
}

impl Client {
    /// A client without a token. It connects when it is first used.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, token: None, limit: LIMIT, connection: None, contract: None }
    }

    /// The client with a bearer token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The client whose server must answer as its routes are described.
    #[must_use]
    pub fn held_to(mut self, contract: &'static Contract) -> Self {
        self.contract = Some(contract);
        self
    }

    /// The client with another limit per request.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Speaks to another address from now on: the node was restarted.
    pub fn move_to(&mut self, address: SocketAddr) {
        self.address = address;
        self.connection = None;
    }

    /// `GET`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&mut self, path: &str) -> Result<Answer, NoAnswer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_json(&mut self, path: &str, body: &Value) -> Result<Answer, NoAnswer> {
        self.post(path, "application/json", body.to_string()).await
    }

    /// `POST` of any body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, NoAnswer> {
        let headers = [(CONTENT_TYPE.as_str(), content_type)];
        self.send(Method::POST, path, &headers, body.into()).await
    }

    /// Any request.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When path or headers are not fit for HTTP; use a [`RawRequest`] for those. When the answer
    /// is not what the contract says.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, NoAnswer> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("path and headers are fit for HTTP");
        let limit = self.limit;
        let answer = tokio::time::timeout(limit, self.exchange(request)).await;
        let answer = answer.unwrap_or(Err(NoAnswer::TimedOut));
        if answer.is_err() {
            // A late answer must not be taken for that of the next request.
            self.connection = None;
        }
        if let (Ok(answer), Some(contract)) = (&answer, self.contract) {
            contract.check(&method, path, answer).expect("the answer is as it is described");
        }
        answer
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let mut connection = self.connect().await?;
        let answer = connection.send_request(request).await.map_err(NoAnswer::Broken)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(NoAnswer::Broken)?.to_bytes();
        self.connection = Some(connection);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// The kept connection if the server has not closed it meanwhile, else a new one.
    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, NoAnswer> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let stream = TcpStream::connect(self.address).await.map_err(NoAnswer::Unreachable)?;
        stream.set_nodelay(true).map_err(NoAnswer::Unreachable)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(NoAnswer::Broken)?;
        tokio::spawn(async move {
            // Its errors reach the request that waits for them.
            let _ = driver.await;
        });
        Ok(sender)
    }
}
