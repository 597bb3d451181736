//! The HTTP shell around the routes of a service: bounded, timed, and answering in problems.
//!
//! [`bind`] opens a listener, [`Listener::serve`] runs a router on it until told to stop.
//! `connection` bounds what one client can hold (time, headers, memory), `secure` begins one in
//! TLS, `body` reads requests, `inflate` what is compressed in them, `extract` turns them into
//! values, `guard` surrounds every handler with an id, a span and a safety net for panics, `counts`
//! counts what they answer. `upgrade` is how a connection becomes one of WebSocket.

mod body;
mod connection;
mod counts;
mod extract;
mod guard;
mod inflate;
mod secure;
mod upgrade;

pub use body::{BodyFault, LimitedBody, RawBody};
pub use counts::HttpCounts;
pub use extract::{Json, MergePatch, Path, Query};
pub use guard::REQUEST_ID;
pub use inflate::Content;
pub use upgrade::{Switched, Switching, WebSocket};

use crate::problem;
use crate::tls::Tls;
use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What one client may hold, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// Bytes of a request's line and headers.
    pub header_bytes: usize,
    /// Bytes of a body.
    pub body_bytes: u64,
    /// From the first byte of a request to the end of its headers.
    pub header_read: Duration,
    /// Between two chunks of a body.
    pub body_chunk: Duration,
    /// For a whole body.
    pub body_total: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
    /// For a client that does not take its answer.
    pub write_stall: Duration,
    /// For requests to end once the service stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Each costs about 20 KB, so the most is 20 MB.
            connections: 1_024,
            header_bytes: 16 << 10,
            body_bytes: 8 << 20,
            header_read: Duration::from_secs(10),
            body_chunk: Duration::from_secs(10),
            // At 2 kB/s, the slowest link we serve, that is 120 kB.
            body_total: Duration::from_secs(60),
            // Longer than the minute in which most devices report again.
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// How a request came, for handlers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transport {
    /// Over HTTPS.
    pub is_tls: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Transport {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

/// A bound socket that does not serve yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    counts: Arc<HttpCounts>,
    tls: Option<Tls>,
}

/// Opens a listener; port 0 takes any free one.
///
/// # Errors
/// What the operating system says, with the address.
pub async fn bind(address: SocketAddr) -> io::Result<Listener> {
    let explain =
        |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}"));
    let socket = listen(address).map_err(explain)?;
    let address = socket.local_addr().map_err(explain)?;
    Ok(Listener { socket, address, counts: Arc::default(), tls: None })
}

impl Listener {
    /// The listener with HTTPS in place of HTTP, if there is something to serve it with.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// The address it got.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts requests here.
    #[must_use]
    pub fn counted(self, counts: Arc<HttpCounts>) -> Self {
        Self { counts, ..self }
    }

    /// Serves `router` until `stop`, then lets requests end for as long as the limits say.
    pub async fn serve(self, router: Router, limits: Limits, stop: CancellationToken) {
        let router = router
            .fallback(problem::unknown_route)
            .method_not_allowed_fallback(problem::unknown_method)
            .layer(axum::middleware::from_fn_with_state(self.counts, guard::surround));
        let permits = Arc::new(Semaphore::new(limits.connections));
        let tasks = tokio_util::task::TaskTracker::new();
        let acceptor = self.tls.as_ref().map(Tls::acceptor);
        loop {
            let permit = Arc::clone(&permits).acquire_owned();
            let permit = tokio::select! {
                permit = permit => permit.expect("the semaphore is never closed"),
                () = stop.cancelled() => break,
            };
            let (stream, peer) = tokio::select! {
                accepted = accept(&self.socket) => accepted,
                () = stop.cancelled() => break,
            };
            let (router, tls) = (router.clone(), acceptor.clone());
            let served = connection::serve(stream, peer, router, limits, stop.clone(), tls);
            tasks.spawn(async move {
                served.await;
                drop(permit);
            });
        }
        drop(self.socket);
        tasks.close();
        // A connection that does not end in time ends with the process.
        if tokio::time::timeout(limits.drain, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "requests did not end in time");
        }
    }
}

/// Connections that may wait to be accepted: all devices of a site come at once when its power or
/// its network is back, and those beyond tokio's 128 would be without for seconds. The kernel takes
/// `net.core.somaxconn` if that is less.
const BACKLOG: u32 = 4096;

/// Listens at `address` for any protocol.
///
/// # Errors
/// What the operating system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A node that is started again must not wait for the connections of the last start to be
    // forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts one connection of any protocol, waiting out a lack of file descriptors.
pub async fn accept(socket: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "the connection is gone already");
                    continue;
                }
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
