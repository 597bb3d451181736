//! The listener: takes connections, over TCP, TLS and WebSocket, and lets clients in.
//!
//! Each connection has a task ([`driver`]); how many there may be is bounded, and more have to
//! wait, or are told so over [`websocket`]. Who a client is is found out here, by its token or
//! its certificate, before the broker hears of it.

mod driver;
mod outbox;
pub mod websocket;

pub use driver::serve;

use super::access::User;
use super::broker::Reach;
use super::connection::Options;
use super::door::Door;
use super::packet::Connect;
use super::reason::Reason;
use crate::device_commands::DeviceCommands;
use crate::settings::Access;
use axum::http::StatusCode;
use holdfast_node::auth::{Auth, Grant, Scope};
use holdfast_node::http::{accept, listen};
use holdfast_node::tls::{Clients, Tls, refused_certificate};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long connections have to end once the node stops.
const DRAIN: Duration = Duration::from_secs(5);

/// What is known of a client before it says anything.
#[derive(Debug)]
pub struct Caller {
    /// From where it connects.
    pub peer: SocketAddr,
    /// Who it is by its certificate.
    pub known: Option<User>,
    /// Whether it may be a page in somebody's browser.
    pub in_page: bool,
}

impl From<SocketAddr> for Caller {
    fn from(peer: SocketAddr) -> Self {
        Self { peer, known: None, in_page: false }
    }
}

/// A connection of any kind but the most frequent.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What all connections share.
pub struct Server {
    reach: Reach,
    door: Arc<Door>,
    commands: DeviceCommands,
    auth: Auth,
    rules: Vec<Access>,
    anonymous: bool,
    options: Options,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Server {
    /// One for at most `connections` at a time.
    #[must_use]
    pub fn new(
        (reach, door, commands): (Reach, Arc<Door>, DeviceCommands),
        auth: Auth,
        access: (Vec<Access>, bool),
        options: Options,
        connections: usize,
    ) -> Self {
        let (rules, anonymous) = access;
        let (permits, tasks) = (Arc::new(Semaphore::new(connections)), TaskTracker::new());
        Self { reach, door, commands, auth, rules, anonymous, options, permits, tasks }
    }

    /// Finds out who a client is. A token says more than a certificate: it was given on purpose,
    /// and may be for more than one device.
    fn let_in(
        &self,
        caller: Caller,
        connect: &Connect,
    ) -> Result<User, (Reason, Cow<'static, str>)> {
        let Caller { peer, known, in_page } = caller;
        let Some(password) = &connect.password else {
            if let Some(user) = known {
                return Ok(user);
            }
            if self.anonymous && !in_page {
                return Ok(User::anonymous(&self.rules));
            }
            let text = "a token is needed as the password; \
                        `holdfast-edge token new --device ID` makes one";
            return Err((Reason::NotAuthorized, text.into()));
        };
        let token = std::str::from_utf8(password.bytes()).unwrap_or_default().trim();
        let grant = self.auth.password(peer.ip(), connect.client_id.as_str(), token);
        let grant = grant.map_err(|problem| {
            let reason = match problem.status() {
                StatusCode::TOO_MANY_REQUESTS => Reason::Banned,
                _ => Reason::BadUserNameOrPassword,
            };
            (reason, problem.to_string().into())
        })?;
        Ok(User::of(&grant, &self.rules))
    }

    /// Who a device is that has shown its certificate: what it is with a token of its own. There is
    /// none with a name that a rule could mean.
    fn user_of(&self, device: String) -> User {
        let (id, name) = (String::new(), String::new());
        let grant = Grant { id, name, scope: Scope::Device(device), expires: None };
        User::of(&Arc::new(grant), &self.rules)
    }

    /// Waits until all connections have ended, once the node stops.
    pub async fn drained(&self) {
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "MQTT connections did not end in time");
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Opens a listener; port 0 takes any free one.
///
/// # Errors
/// What the operating system says, with the address.
pub async fn bind(address: SocketAddr) -> io::Result<Listener> {
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {address} for MQTT: {error}"))
    };
    let socket = listen(address).map_err(explain)?;
    let address = socket.local_addr().map_err(explain)?;
    Ok(Listener { socket, address })
}

impl Listener {
    /// The address it got.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections until `stop`.
    pub async fn run(self, server: Arc<Server>, tls: Option<Secure>, stop: CancellationToken) {
        loop {
            let (stream, peer) = tokio::select! {
                accepted = accept(&self.socket) => accepted,
                () = stop.cancelled() => break,
            };
            // Not before: a listener to which nobody comes must not hold a place.
            let permit = Arc::clone(&server.permits).acquire_owned();
            let permit = tokio::select! {
                permit = permit => permit.expect("the semaphore is never closed"),
                () = stop.cancelled() => break,
            };
            let (of, tls, stop) = (Arc::clone(&server), tls.clone(), stop.clone());
            server.tasks.spawn(async move {
                take(of, stream, peer, tls, stop).await;
                drop(permit);
            });
        }
    }
}

async fn take(
    server: Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Secure>,
    stop: CancellationToken,
) {
    let Some(tls) = tls else { return serve(server, stream, peer.into(), stop).await };
    let opened = tokio::select! {
        opened = tokio::time::timeout(HANDSHAKE, tls.open(stream)) => opened,
        () = stop.cancelled() => return,
    };
    match opened {
        Ok(Ok((stream, device))) => {
            let known = device.map(|device| server.user_of(device));
            let caller = Caller { known, ..peer.into() };
            serve(server, stream, caller, stop).await;
        }
        Ok(Err(error)) => match refused_certificate(&error) {
            Some(reason) => {
                server.reach.counts.refused.add(1);
                tracing::info!(%peer, reason, "the certificate of a client was refused");
            }
            None => tracing::debug!(%peer, %error, "no handshake for MQTT"),
        },
        Err(_) => tracing::debug!(%peer, "closing a connection whose handshake takes too long"),
    }
}

/// How a port with TLS is served.
#[derive(Clone, Debug)]
pub enum Secure {
    /// To everybody.
    Open(Tls),
    /// To clients that may have certificates.
    Known(Clients),
}

impl Secure {
    /// Shakes hands: the connection, and the device whose certificate was shown, if one was.
    async fn open(&self, stream: TcpStream) -> io::Result<(Box<dyn Stream>, Option<String>)> {
        match self {
            Self::Open(tls) => Ok((Box::new(tls.open(stream).await?), None)),
            Self::Known(clients) => {
                let (stream, device) = clients.open(stream).await?;
                Ok((Box::new(stream), device))
            }
        }
    }
}
