//! Server-sent events: what happens now, for pages and scripts.
//!
//! One bounded ring serves all subscribers. Who is too slow is told how many events it missed and
//! goes on with the newest; nobody waits for anybody. History is asked for by query, not here.

use crate::auth::{Auth, Reader};
use crate::http::Query;
use crate::problem::Problem;
use crate::routes::Routes;
use axum::extract::{FromRef, State};
use axum::response::sse::{Event as SseEvent, KeepAlive, KeepAliveStream, Sse};
use futures::stream::{self, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

/// Events kept for a slow subscriber.
pub const RING: usize = 256;
/// Keeps the connection alive through proxies, and finds out when it is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
struct Event {
    kind: &'static str,
    data: Arc<str>,
}

/// The hub of events; cheap to clone, part of a service's state.
#[derive(Clone, Debug)]
pub struct Events {
    kinds: &'static [&'static str],
    ring: broadcast::Sender<Event>,
    stop: CancellationToken,
}

impl Events {
    /// Knows events of these `kinds`; streams end when `stop` is cancelled.
    #[must_use]
    pub fn new(kinds: &'static [&'static str], stop: CancellationToken) -> Self {
        Self { kinds, ring: broadcast::Sender::new(RING), stop }
    }

    /// Cancelled when the service stops, which ends all streams.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether anybody listens; what it costs to make an event can be saved otherwise.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        self.ring.receiver_count() > 0
    }

    /// Tells all subscribers.
    pub fn publish(&self, kind: &'static str, data: &impl Serialize) {
        debug_assert!(self.kinds.contains(&kind), "kinds are declared");
        if !self.has_listeners() {
            return;
        }
        match serde_json::to_string(data) {
            Ok(json) => {
                // Fails only when the last subscriber has just gone.
                let _ = self.ring.send(Event { kind, data: json.into() });
            }
            Err(error) => tracing::error!(kind, %error, "an event cannot be written"),
        }
    }

    /// Events of the kinds named, from now on.
    ///
    /// # Errors
    /// 400 when a kind is not known.
    pub fn subscribe(
        &self,
        kinds: Option<&str>,
    ) -> Result<impl Stream<Item = Result<SseEvent, Infallible>> + use<>, Problem> {
        let named = kinds.unwrap_or_default().split(',').map(str::trim);
        let wanted: Vec<String> = named.filter(|k| !k.is_empty()).map(str::to_owned).collect();
        if let Some(unknown) = wanted.iter().find(|kind| !self.kinds.contains(&kind.as_str())) {
            let detail = format!("`{unknown}` is not a type of event");
            return Err(Problem::parameter("types", detail).expected(self.kinds.join(", ")));
        }
        let state = (self.ring.subscribe(), self.stop.clone(), wanted);
        Ok(stream::unfold(state, |(mut ring, stop, wanted)| async move {
            loop {
                let received = tokio::select! {
                    received = ring.recv() => received,
                    () = stop.cancelled() => return None,
                };
                let event = match received {
                    Ok(event) if wanted.is_empty() || wanted.iter().any(|k| k == event.kind) => {
                        SseEvent::default().event(event.kind).data(&*event.data)
                    }
                    Ok(_) => continue,
                    Err(RecvError::Lagged(missed)) => {
                        let data = format!("{{\"missed\":{missed}}}");
                        SseEvent::default().event("lagged").data(data)
                    }
                    Err(RecvError::Closed) => return None,
                };
                return Some((Ok(event), (ring, stop, wanted)));
            }
        }))
    }
}

/// Answers with a stream that says something every 15 s at least.
pub fn kept_alive<S>(stream: S) -> Sse<KeepAliveStream<S>>
where
    S: Stream<Item = Result<SseEvent, Infallible>> + Send + 'static,
{
    Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only these types, separated by commas; all otherwise.
    types: Option<String>,
}

/// `GET /v1/events?types=a,b`. `lagged` tells how many events of any type were missed.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Events: FromRef<S>,
{
    Routes::new().get("/v1/events", "What happens from now on, as server-sent events", listen)
}

async fn listen(
    _: Reader,
    State(events): State<Events>,
    Query(wanted): Query<Wanted>,
) -> Result<Sse<KeepAliveStream<impl Stream<Item = Result<SseEvent, Infallible>>>>, Problem> {
    let stream = events.subscribe(wanted.types.as_deref())?;
    Ok(kept_alive(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Grant, Scope, TokenMap, hash};
    use crate::http::{Limits, bind};
    use crate::routes::About;
    use crate::sources::by_hand::Hand;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    const KINDS: &[&str] = &["readings", "uplink"];

    #[derive(Clone)]
    struct Service {
        auth: Auth,
        events: Events,
    }

    impl FromRef<Service> for Auth {
        fn from_ref(service: &Service) -> Self {
            service.auth.clone()
        }
    }

    impl FromRef<Service> for Events {
        fn from_ref(service: &Service) -> Self {
            service.events.clone()
        }
    }

    async fn serve() -> (Events, std::net::SocketAddr) {
        let (stop, book) = (CancellationToken::new(), TokenMap::default());
        let (id, name) = ("1".to_owned(), "page".to_owned());
        book.insert(hash("t"), Grant { id, scope: Scope::Viewer, name, expires: None });
        let auth = Auth::new(Arc::new(book), Hand::default().sources());
        let events = Events::new(KINDS, stop.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let about = About { title: "", summary: "", version: "", reviewed: &[] };
        let router = routes().finish(&about).0.with_state(Service { auth, events: events.clone() });
        tokio::spawn(listener.serve(router, Limits::default(), stop));
        (events, address)
    }

    async fn open(address: std::net::SocketAddr, query: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET /v1/events{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Reads until `end` was seen.
    async fn until(stream: &mut TcpStream, end: &str) -> String {
        let mut all = String::new();
        let mut buffer = vec![0; 64 << 10];
        while !all.contains(end) {
            let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer));
            let length = read.await.expect("events arrive").unwrap();
            assert_ne!(length, 0, "closed before {end}: {all}");
            all.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        all
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_it_asked_for_until_the_service_stops() {
        let (events, address) = serve().await;
        let mut stream = open(address, "?types=uplink").await;
        let head = until(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        events.publish("readings", &json!({ "n": 1 }));
        events.publish("uplink", &json!({ "up": false }));
        let text = until(&mut stream, "\n\n").await;
        assert!(text.contains("event: uplink\ndata: {\"up\":false}\n\n"), "{text}");
        assert!(!text.contains("readings"), "{text}");
        events.stop.cancel();
        until(&mut stream, "0\r\n\r\n").await;
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_what_it_missed_and_goes_on() {
        let (events, address) = serve().await;
        let mut stream = open(address, "").await;
        until(&mut stream, "\r\n\r\n").await;
        // This test has one thread: the stream cannot be polled while the loop runs.
        for n in 0..RING + 7 {
            events.publish("readings", &n);
        }
        let text = until(&mut stream, &format!("data: {}\n\n", RING + 6)).await;
        assert!(text.contains("event: lagged\ndata: {\"missed\":7}\n\n"), "{text}");
        assert!(text.contains("data: 7\n\n") && !text.contains("data: 6\n\n"), "{text}");
    }

    #[tokio::test]
    async fn an_unknown_type_is_refused_by_name() {
        let (_, address) = serve().await;
        let answer = until(&mut open(address, "?types=uplink,x").await, "readings, uplink").await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("`x`"), "{answer}");
    }
}
