//! One connection: what phase it is in, since when, and when that is too long.
//!
//! hyper parses and frames; this watches. The socket tells when bytes come and when they cannot go
//! out, the service tells when a request begins and when its answer is done. From these follows one
//! deadline at a time; a connection that passes it is closed. With an answer that ends HTTP on it,
//! a connection leaves: it is the route's, and so is its time.

use super::{LimitedBody, Limits, Transport, secure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::ConnectInfo;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Headers of one request.
const HEADERS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between requests.
    Idle,
    /// Some bytes of a request are there, or it is the first and none came yet.
    Header,
    /// A handler works, or its answer is on the way.
    Request,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    write_blocked: Option<Instant>,
}

/// Shared by the socket, the service and the watcher of one connection.
#[derive(Clone, Debug)]
struct Watch(Arc<Mutex<State>>);

impl Watch {
    fn new() -> Self {
        // Whoever connects has something to ask: silence is no more welcome than a slow header.
        let state = State { phase: Phase::Header, since: Instant::now(), write_blocked: None };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        (state.phase, state.since) = (phase, Instant::now());
    }

    fn bytes_came(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Header, Instant::now());
        }
    }

    fn write(&self, is_blocked: bool) {
        let mut state = self.state();
        state.write_blocked = match (is_blocked, state.write_blocked) {
            (true, None) => Some(Instant::now()),
            (true, since) => since,
            (false, _) => None,
        };
    }

    /// When the connection is to be closed if nothing changes.
    fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let state = self.state();
        let phase = match state.phase {
            Phase::Idle => Some(state.since + limits.idle),
            Phase::Header => Some(state.since + limits.header_read),
            Phase::Request => None,
        };
        let write = state.write_blocked.map(|since| since + limits.write_stall);
        [phase, write].into_iter().flatten().min()
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    tls: Option<TlsAcceptor>,
) {
    let watch = Watch::new();
    let stream = Watched { stream, watch: watch.clone() };
    let transport = Transport { is_tls: tls.is_some() };
    let service = Service { router, peer, limits, watch: watch.clone(), transport };
    let Some(acceptor) = tls else { return exchange(stream, service, stop).await };
    let opening = tokio::time::timeout(limits.header_read, secure::open(stream, &acceptor));
    let opened = tokio::select! {
        opened = opening => opened,
        // Nothing was asked yet.
        () = stop.cancelled() => return,
    };
    match opened {
        Ok(Ok(Some(stream))) => {
            watch.enter(Phase::Header);
            exchange(stream, service, stop).await;
        }
        Ok(Ok(None)) => tracing::debug!(%peer, "plain HTTP, or nothing, on the port of HTTPS"),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no handshake"),
        Err(_) => tracing::debug!(%peer, "closing a connection whose handshake takes too long"),
    }
}

/// Requests and answers, to the end of the connection.
async fn exchange<S>(stream: S, service: Service, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (watch, limits, peer) = (service.watch.clone(), service.limits, service.peer);
    let io = TokioIo::new(stream);
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_buf_size(limits.header_bytes.max(8_192)).max_headers(HEADERS_MAX);
    let connection = builder.serve_connection(io, service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut is_stopping = false;
    loop {
        // A phase may change while the timer runs, so look again at least once a second.
        let soon = Instant::now() + Duration::from_secs(1);
        let look = watch.deadline(&limits).map_or(soon, |deadline| deadline.min(soon));
        tokio::select! {
            // After a stall of this node, what the client sent meanwhile counts before its
            // deadline.
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "the connection broke");
                }
                return;
            }
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep_until(look) => {}
        }
        if watch.deadline(&limits).is_some_and(|deadline| deadline <= Instant::now()) {
            let phase = watch.state().phase;
            tracing::debug!(%peer, ?phase, "closing a connection that takes too long");
            return;
        }
    }
}

/// Hands requests to the router, with the peer's address and a limited body.
struct Service {
    router: Router,
    peer: SocketAddr,
    limits: Limits,
    watch: Watch,
    transport: Transport,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.watch.enter(Phase::Request);
        let end = EndOfRequest(self.watch.clone());
        let limits = self.limits;
        let mut request = request.map(|body| Body::new(LimitedBody::new(body, limits)));
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(limits);
        request.extensions_mut().insert(self.transport);
        let router = TowerToHyperService::new(self.router.clone());
        Box::pin(async move {
            let answer = hyper::service::Service::call(&router, request).await?;
            Ok(answer.map(|inner| AnswerBody { inner, _end: end }))
        })
    }
}

/// Puts the connection back to idle once an answer is out or given up.
struct EndOfRequest(Watch);

impl Drop for EndOfRequest {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// The body of an answer.
struct AnswerBody {
    inner: Body,
    _end: EndOfRequest,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A socket that tells when bytes come, and when they cannot go out.
pub(super) struct Watched {
    stream: TcpStream,
    watch: Watch,
}

impl Watched {
    /// Looks at the first bytes without taking them.
    pub(super) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(buffer).await
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.watch.bytes_came();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, data);
        self.watch.write(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, data);
        self.watch.write(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
