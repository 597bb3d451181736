//! Sends finished spans to the collector, a batch at a time.
//!
//! A batch that the collector did not get is sent again until it is there; meanwhile the queue
//! fills up and new spans are shed. One that the collector refuses is given up.

use super::settings::Place;
use super::{Resource, Span, SpanCounts, otlp};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const BATCH: usize = 512;
/// How long a batch waits for more spans.
const LINGER: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: usize = 64 << 10;

pub(super) struct Exporter {
    place: Place,
    resource: Resource,
    spans: mpsc::Receiver<Span>,
    counts: Arc<SpanCounts>,
}

/// Why a batch was not taken.
enum Failed {
    /// It may be later.
    Later(String),
    /// It never will be.
    Refused(StatusCode),
}

impl Exporter {
    pub(super) fn new(
        place: Place,
        resource: Resource,
        spans: mpsc::Receiver<Span>,
        counts: Arc<SpanCounts>,
    ) -> Self {
        Self { place, resource, spans, counts }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        while !stop.is_cancelled() {
            let room = BATCH - batch.len();
            tokio::select! {
                _ = self.spans.recv_many(&mut batch, room) => {}
                () = stop.cancelled() => break,
            }
            let linger = tokio::time::sleep(LINGER);
            tokio::select! {
                () = linger => {}
                () = stop.cancelled() => {}
            }
            let room = BATCH - batch.len();
            if room > 0 && !self.spans.is_empty() {
                self.spans.recv_many(&mut batch, room).await;
            }
            self.deliver(&mut batch, &stop).await;
        }
        // What is left gets one chance.
        if !self.spans.is_empty() {
            self.spans.recv_many(&mut batch, BATCH).await;
            self.deliver(&mut batch, &stop).await;
        }
        let lost = batch.len() + self.spans.len();
        self.counts.dropped.add(lost as u64);
    }

    /// Sends the batch until it is taken, refused, or the node stops.
    async fn deliver(&self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let body = Bytes::from(otlp::request(&self.resource, batch));
        let mut wait = RETRY_MIN;
        loop {
            match self.send(body.clone()).await {
                Ok(()) => {
                    self.counts.exported.add(batch.len() as u64);
                    return batch.clear();
                }
                Err(Failed::Refused(status)) => {
                    tracing::warn!(%status, spans = batch.len(), "the collector refuses spans");
                    self.counts.dropped.add(batch.len() as u64);
                    return batch.clear();
                }
                Err(Failed::Later(error)) => {
                    tracing::debug!(error, "the collector is not reached");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY_MAX),
                () = stop.cancelled() => return,
            }
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), Failed> {
        let sent = tokio::time::timeout(TIMEOUT, self.exchange(body)).await;
        let status = match sent {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(Failed::Later(error.to_string())),
            Err(_) => return Err(Failed::Later("it took too long".to_owned())),
        };
        // These the protocol has repeated; other refusals concern the batch itself.
        let again = [429, 502, 503, 504].contains(&status.as_u16());
        match status {
            _ if status.is_success() => Ok(()),
            _ if again => Err(Failed::Later(format!("it answers {status}"))),
            _ => Err(Failed::Refused(status)),
        }
    }

    async fn exchange(
        &self,
        body: Bytes,
    ) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.place.authority).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Its errors reach the request, too.
        tokio::spawn(connection);
        let request = Request::post(&self.place.path)
            .header(HOST, &self.place.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        Limited::new(answer.into_body(), ANSWER_MAX).collect().await?;
        Ok(status)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
mod tests {
    use super::super::{Kind, Span};
    use super::*;
    use holdfast_core::Timestamp;
    use holdfast_core::log::trace::SpanContext;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A collector that gives these answers, one for each request.
    async fn collector(answers: &'static [&'static str]) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"]}]}]}") {
                    stream.read_exact(&mut byte).await.unwrap();
                    head.push(byte[0]);
                }
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Place { authority, path: "/v1/traces".to_owned() }
    }

    async fn export(answers: &'static [&'static str]) -> (u64, u64) {
        let resource = Resource { service: "s", version: "1", instance: "i".to_owned() };
        let (queue, spans) = mpsc::channel(4);
        let counts = Arc::<SpanCounts>::default();
        let place = collector(answers).await;
        let exporter = Exporter::new(place, resource, spans, Arc::clone(&counts));
        let (context, at) = (SpanContext { trace: [1; 16], span: [2; 8] }, Timestamp(1));
        let span = Span {
            context,
            parent: None,
            name: "x",
            kind: Kind::Internal,
            start: at,
            end: at,
            counts: Vec::new(),
            error: None,
        };
        queue.send(span).await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(exporter.run(stop.clone()));
        let told = || (counts.exported.get(), counts.dropped.get());
        let done = async {
            while told() == (0, 0) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), done).await.expect("it comes to an end");
        stop.cancel();
        running.await.unwrap();
        told()
    }

    #[tokio::test]
    async fn a_batch_is_sent_until_it_is_taken_or_refused() {
        assert_eq!(export(&["503 Service Unavailable", "200 OK"]).await, (1, 0));
        assert_eq!(export(&["400 Bad Request"]).await, (0, 1));
    }
}
