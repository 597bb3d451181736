//! MQTT over WebSocket: the same connection, which begins as a request on the port of HTTP.
//!
//! [`frames`] has the bytes of it, [`stream`] makes a stream of bytes of a connection, so that the
//! rest of the server sees no difference. A connection counts among those of MQTT as soon as it has
//! left HTTP. No cookie is looked at: whoever connects shows a token in the CONNECT, so a page of
//! another origin gains nothing by the browser that it is in. All that it has without a token is
//! what `anonymous` allows, and that is not for pages: they would bring the whole Internet to a
//! port that only the site reaches.

mod frames;
mod stream;

pub use stream::Frames;

use super::{Caller, Server, Stream, serve};
use crate::service::App;
use axum::extract::State;
use axum::extract::connect_info::ConnectInfo;
use axum::http::StatusCode;
use holdfast_node::http::{Switching, WebSocket};
use holdfast_node::problem::Problem;
use holdfast_node::routes::Routes;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The subprotocol, of version 3.1.1 as of 5 (section 6 of either).
const PROTOCOL: &str = "mqtt";
/// After how many seconds somebody who found no place may try again.
const RETRY_S: u64 = 10;

/// The route.
pub fn routes() -> Routes<App> {
    Routes::new()
        .get("/mqtt", "MQTT over WebSocket", connect)
        .with(|operation| operation.may_fail(&[StatusCode::NOT_FOUND]))
        .with(|operation| operation.may_fail(&[StatusCode::SERVICE_UNAVAILABLE]))
}

/// Takes connections that leave HTTP.
#[derive(Clone)]
pub struct Taker {
    server: Arc<Server>,
    stop: CancellationToken,
}

impl Taker {
    /// One that ends its connections at `stop`.
    #[must_use]
    pub const fn new(server: Arc<Server>, stop: CancellationToken) -> Self {
        Self { server, stop }
    }

    fn take(&self, peer: SocketAddr, asked: WebSocket) -> Result<Switching, Problem> {
        let caller = Caller { peer, known: None, in_page: asked.is_by_page() };
        let (answer, switched) = asked.speak(PROTOCOL)?;
        let permit = Arc::clone(&self.server.permits).try_acquire_owned().map_err(|_| {
            let detail = "there are as many connections as `mqtt.connections` allows";
            Problem::unavailable("no-place", detail, RETRY_S)
        })?;
        let (server, stop) = (Arc::clone(&self.server), self.stop.clone());
        self.server.tasks.spawn(async move {
            match switched.stream().await {
                Ok(stream) => {
                    let stream: Box<dyn Stream> = Box::new(Frames::new(stream));
                    serve(server, stream, caller, stop).await;
                }
                Err(error) => tracing::debug!(%peer, %error, "a WebSocket broke as it began"),
            }
            drop(permit);
        });
        Ok(answer)
    }
}

async fn connect(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    asked: WebSocket,
) -> Result<Switching, Problem> {
    match &app.mqtt.websocket {
        Some(taker) => taker.take(peer, asked),
        None => Err(Problem::not_found("MQTT over WebSocket is off: `mqtt.websocket`")),
    }
}
