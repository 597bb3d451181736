//! A collector of OpenTelemetry: takes spans as OTLP in JSON over HTTP and keeps them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// A span as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The service that made it.
    pub service: String,
    /// Its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The span it is a part of; empty when it is of none.
    pub parent: String,
    /// What was done.
    pub name: String,
    /// From when, nanoseconds.
    pub start: u64,
    /// Until when.
    pub end: u64,
}

/// What was received; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The spans of a request; `None` when it is not one of OTLP.
fn read(body: &[u8]) -> Option<Vec<Span>> {
    let request: Value = serde_json::from_slice(body).ok()?;
    let mut out = Vec::new();
    for told in request["resourceSpans"].as_array()? {
        let attributes = told["resource"]["attributes"].as_array()?;
        let service = attributes.iter().find(|a| a["key"] == "service.name")?;
        let service = text(&service["value"]["stringValue"]);
        for scope in told["scopeSpans"].as_array()? {
            for span in scope["spans"].as_array()? {
                let nanos = |name: &str| span[name].as_str()?.parse().ok();
                out.push(Span {
                    service: service.clone(),
                    trace: text(&span["traceId"]),
                    id: text(&span["spanId"]),
                    parent: text(&span["parentSpanId"]),
                    name: text(&span["name"]),
                    start: nanos("startTimeUnixNano")?,
                    end: nanos("endTimeUnixNano")?,
                });
            }
        }
    }
    Some(out)
}

impl Collector {
    /// Starts one on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> std::io::Result<(SocketAddr, Self)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, collector) = (listener.local_addr()?, Self::default());
        let served = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                let service = service_fn(move |request| served.clone().answer(request));
                // A client that goes away ends its own connection only.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok((address, collector))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.lock().clone()
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|t| t == "application/json");
        let place = (request.method() == Method::POST, request.uri().path() == "/v1/traces");
        let body = request.into_body().collect().await?.to_bytes();
        let spans = read(&body).filter(|_| is_json && place == (true, true));
        let status = if spans.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        self.lock().extend(spans.into_iter().flatten());
        let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
        *answer.status_mut() = status;
        Ok(answer)
    }
}
