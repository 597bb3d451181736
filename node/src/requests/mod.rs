//! Requests over HTTP and HTTPS that a node makes of services at its site and elsewhere.
//!
//! A request carries a key as `Idempotency-Key`, the same however often it is repeated. What an
//! `http` step gets is an object with `status` and `body`, which is JSON where it is such. What is
//! not a success is an error of the run: the other side said no, failed, or is busy. No redirection
//! is followed, since a request goes where the definition says or nowhere.

use crate::runs::{Asked, Failure};
use crate::tls::Authorities;
use bytes::Bytes;
use holdfast_core::flow::Code;
use holdfast_core::flow::effect::Argument;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use std::fmt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Bytes of an answer.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// Makes requests; clones are the same.
#[derive(Clone)]
pub struct Requests {
    tls: TlsConnector,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a str,
    /// Where to.
    pub place: &'a Place,
    /// By what a repetition is recognised.
    pub key: &'a str,
    /// What kind of content it has.
    pub content_type: &'a str,
    /// The content.
    pub body: Bytes,
}

/// Where a request goes: `http://HOST:PORT/PATH`, or `https` with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    is_secure: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl Place {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence about what is wrong with it, in which it does not stand itself.
    pub fn of(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("no URL: {error}"))?;
        let expected = || "expected http://HOST/... or https://HOST/...".to_owned();
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(expected()),
        };
        let authority = uri.authority().ok_or_else(expected)?.as_str();
        if authority.contains('@') {
            return Err("a user in a URL is not sent: expected a HOST without `@`".to_owned());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(expected)?;
        Ok(Self {
            is_secure,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            authority: authority.to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

impl fmt::Display for Place {
    /// The target without the path, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// A connection, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Requests {
    /// With the authorities that a site has of its own beside those that browsers know.
    ///
    /// # Errors
    /// A sentence when there can be no TLS.
    pub fn new(authorities: &Authorities) -> Result<Self, String> {
        Ok(Self { tls: authorities.connector()? })
    }

    /// Makes the request that a run asks for.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn step(&self, asked: &Asked) -> Result<Json, Failure> {
        let (method, url) = (asked.need(Argument::Method)?, asked.need(Argument::Url)?);
        let place = Place::of(url);
        let place = place.map_err(|why| Failure::new(Code::INVALID, format!("`{url}`: {why}")))?;
        let call = Call {
            method,
            place: &place,
            key: &asked.key(),
            content_type: asked.get(Argument::ContentType).unwrap_or("application/json"),
            body: Bytes::from(asked.get(Argument::Body).unwrap_or_default().to_owned()),
        };
        let (status, text) = self.call(call).await?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Json::from(text));
        Ok(json!({ "status": status.as_u16(), "body": body }))
    }

    /// Makes a request; the answer is one of success.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn call(&self, call: Call<'_>) -> Result<(StatusCode, String), Failure> {
        let place = call.place;
        let (status, text) = self.exchange(&call).await?;
        if status.is_success() {
            return Ok((status, text));
        }
        let code = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Code::BUSY,
            status if status.is_client_error() => Code::REFUSED,
            _ => Code::FAILED,
        };
        let line = text.lines().next().unwrap_or_default();
        Err(Failure::new(code, format!("{} answered {status}: {line}", place.authority)))
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<(StatusCode, String), Failure> {
        let place = call.place;
        let request = Request::builder()
            .method(call.method)
            .uri(&place.path)
            .header(HOST, &place.authority)
            .header(USER_AGENT, concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, call.content_type)
            .header("idempotency-key", call.key)
            .body(Full::new(call.body.clone()))
            .map_err(|error| Failure::new(Code::INVALID, error.to_string()))?;
        let away = |error: &dyn fmt::Display| {
            Failure::new(Code::UNREACHABLE, format!("{}: {error}", place.authority))
        };
        let stream = self.connect(place).await.map_err(|error| away(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| away(&error))?;
        // Its errors reach the request too.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| away(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
        let body = body.map_err(|error| away(&error))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn connect(&self, place: &Place) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        if !place.is_secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(place.host.clone());
        let name = name.map_err(|_| "no certificate can be made out to that name".to_owned())?;
        let secured = self.tls.connect(name, stream).await;
        secured
            .map(|stream| Box::new(stream) as Box<dyn Stream>)
            .map_err(|error| format!("no HTTPS: {error}"))
    }
}

#[cfg(test)]
mod tests;
