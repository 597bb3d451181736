//! Requests over HTTP and HTTPS that a node makes of services at its site and elsewhere.
//!
//! A request carries a key as `Idempotency-Key`, the same however often it is repeated. What an
//! `http` step gets is an object with `status` and `body`, which is JSON where it is such. What is
//! not a success is an error of the run: the other side said no, failed, or is busy. No redirection
//! is followed, since a request goes where the definition says or nowhere. Before each stands a
//! [`guard`], by target: scheme, host and port. The time of a request begins when it has a place.

mod guard;

pub use guard::{Limits, PLACES};

use crate::metrics::Exposition;
use crate::runs::{Asked, Failure};
use crate::tls::Authorities;
use bytes::Bytes;
use guard::{Gate, Outcome, Pass, Refused};
use holdfast_core::flow::Code;
use holdfast_core::flow::effect::Argument;
use holdfast_sync::counts::Counter;
use holdfast_sync::env::Env;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Bytes of an answer.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a request without a limit of its own may take.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Makes requests; clones are the same.
#[derive(Clone)]
pub struct Requests(Arc<Inner>);

struct Inner {
    tls: TlsConnector,
    env: Env,
    gate: Mutex<Gate<oneshot::Sender<Result<Held, Refused>>>>,
    made: Counter,
    failed: Counter,
    refused: [Counter; Refused::WORDS.len()],
    opened: Counter,
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
    /// How much it matters where others wait, too: 0 to 9.
    pub priority: u8,
    /// How long it may take once it has a place.
    pub limit: Duration,
}

/// Where a request goes: `http://HOST:PORT/PATH`, or `https` with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    is_secure: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
    /// By which it is guarded.
    target: String,
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
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let scheme = if is_secure { "https" } else { "http" };
        Ok(Self {
            is_secure,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            target: format!("{scheme}://{}:{port}", host.to_ascii_lowercase()),
            authority: authority.to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

impl fmt::Display for Place {
    /// The target without the path, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.target)
    }
}

/// A connection, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A place that a request has until it is over.
struct Held {
    of: Requests,
    pass: Pass,
    outcome: Outcome,
}

impl Drop for Held {
    fn drop(&mut self) {
        let inner = &self.of.0;
        let now_ms = inner.env.monotonic_ms();
        if inner.gate().leave(&self.pass, self.outcome, now_ms) {
            inner.opened.add(1);
            let service = &self.pass.target;
            tracing::warn!(service, "a service does not answer: it is left alone for a while");
        }
        self.of.hand_out();
    }
}

impl Inner {
    fn gate(&self) -> MutexGuard<'_, Gate<oneshot::Sender<Result<Held, Refused>>>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    /// With the authorities that a site has of its own beside those that the machine knows.
    ///
    /// # Errors
    /// A sentence when there can be no TLS.
    pub fn new(authorities: &Authorities, limits: Limits, env: Env) -> Result<Self, String> {
        let (made, failed, refused, opened) = Default::default();
        let (tls, gate) = (authorities.connector()?, Mutex::new(Gate::new(limits)));
        Ok(Self(Arc::new(Inner { tls, env, gate, made, failed, refused, opened })))
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
            priority: asked.priority,
            limit: match asked.timeout_ms {
                0 => LONGEST,
                timeout_ms => Duration::from_millis(timeout_ms),
            },
        };
        let (status, text) = self.call(call).await?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Json::from(text));
        Ok(json!({ "status": status.as_u16(), "body": body }))
    }

    /// Makes a request when it has a place; the answer is one of success.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn call(&self, call: Call<'_>) -> Result<(StatusCode, String), Failure> {
        let place = call.place;
        let request = Request::builder()
            .method(call.method)
            .uri(&place.path)
            .header(HOST, &place.authority)
            .header(USER_AGENT, concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, call.content_type)
            .header("idempotency-key", call.key)
            .body(Full::new(call.body))
            .map_err(|error| Failure::new(Code::INVALID, error.to_string()))?;
        let mut held = self.enter(place, call.priority).await?;
        self.0.made.add(1);
        let done = tokio::time::timeout(call.limit, self.exchange(place, request)).await;
        let late =
            || Failure::new(Code::TIMEOUT, format!("{}: no answer in time", place.authority));
        let done = done.unwrap_or_else(|_| Err(late()));
        let broken = [Code::UNREACHABLE, Code::TIMEOUT, Code::FAILED];
        held.outcome = match &done {
            Err(failure) if broken.contains(&failure.code) => Outcome::Failed,
            _ => Outcome::Answered,
        };
        if done.is_err() {
            self.0.failed.add(1);
        }
        done
    }

    /// Waits for a place.
    async fn enter(&self, place: &Place, priority: u8) -> Result<Held, Failure> {
        let refused = |refused: Refused| {
            self.0.refused[refused.place()].add(1);
            Failure::new(Code::BUSY, format!("{place}: {refused}"))
        };
        let (who, answer) = oneshot::channel();
        let now_ms = self.0.env.monotonic_ms();
        let entered = self.0.gate().enter(who, (&place.target, priority), now_ms);
        let wait_ms = entered.map_err(refused)?;
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        self.hand_out();
        let answer = answer.await.expect("whoever waits is answered: the gate is in `self`");
        answer.map_err(refused)
    }

    /// Gives places to those who wait, as long as there are any.
    fn hand_out(&self) {
        loop {
            let now_ms = self.0.env.monotonic_ms();
            // It is locked for no longer than this: what is dropped below takes it, too.
            let next = self.0.gate().next(now_ms);
            match next {
                None => return,
                Some((who, Ok(pass))) if who.is_closed() => {
                    self.0.gate().leave(&pass, Outcome::Unknown, now_ms);
                }
                Some((who, outcome)) => {
                    let (of, unknown) = (self.clone(), Outcome::Unknown);
                    let held = outcome.map(|pass| Held { of, pass, outcome: unknown });
                    // Of one who has gone just now it is dropped, and so free again.
                    drop(who.send(held));
                }
            }
        }
    }

    /// Tells how much was asked.
    pub fn tell(&self, out: &mut Exposition) {
        let (under_way, waiting, open) = self.0.gate().counts();
        let help = "Requests of workflows that are under way.";
        out.gauge("holdfast_requests_under_way", help).is(under_way);
        out.gauge("holdfast_requests_waiting", "Requests that wait for a place.").is(waiting);
        let help = "Targets of requests that are left alone because they do not answer.";
        out.gauge("holdfast_requests_open_circuits", help).is(open);
        out.counter("holdfast_requests_made_total", "Requests made.").is(self.0.made.get());
        let help = "Requests that came to no success.";
        out.counter("holdfast_requests_failed_total", help).is(self.0.failed.get());
        let help = "Requests that were not made, by why.";
        let mut family = out.counter("holdfast_requests_refused_total", help);
        for (word, count) in Refused::WORDS.iter().zip(&self.0.refused) {
            family.with(&[("reason", word)], count.get());
        }
        let help = "Times that a target was left alone from then on.";
        out.counter("holdfast_requests_opened_circuits_total", help).is(self.0.opened.get());
    }

    async fn exchange(
        &self,
        place: &Place,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, String), Failure> {
        let away = |error: &dyn fmt::Display| {
            Failure::new(Code::UNREACHABLE, format!("{}: {error}", place.authority))
        };
        let connected = tokio::time::timeout(CONNECT, self.connect(place)).await;
        let connected = connected.unwrap_or_else(|_| Err("no connection in time".to_owned()));
        let stream = connected.map_err(|error| away(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| away(&error))?;
        // Its errors reach the request too.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| away(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
        let body = body.map_err(|error| away(&error))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        let code = match status {
            status if status.is_success() => return Ok((status, text)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Code::BUSY,
            status if status.is_client_error() => Code::REFUSED,
            _ => Code::FAILED,
        };
        let line = text.lines().next().unwrap_or_default();
        Err(Failure::new(code, format!("{} answered {status}: {line}", place.authority)))
    }

    async fn connect(&self, place: &Place) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        if !place.is_secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(place.host.clone());
        let name = name.map_err(|_| "no certificate can be made out to that name".to_owned())?;
        let secured = self.0.tls.connect(name, stream).await;
        secured
            .map(|stream| Box::new(stream) as Box<dyn Stream>)
            .map_err(|error| format!("no HTTPS: {error}"))
    }
}

#[cfg(test)]
mod tests;
