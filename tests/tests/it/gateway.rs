//! An unreliable gateway in memory, to try client and simulator on: it keeps each item once by
//! (device, boot, sequence), and now and then fails before or after having done so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use holdfast_tests::rng::hash;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Key = (String, u64, u64);

#[derive(Default)]
pub struct Gateway {
    pub kept: Mutex<BTreeMap<Key, Value>>,
    pub connections: AtomicU64,
    pub requests: AtomicU64,
    pub failed_before: AtomicU64,
    pub failed_after: AtomicU64,
    flaky: bool,
}

impl Gateway {
    pub async fn start(flaky: bool) -> (SocketAddr, Arc<Self>) {
        let gateway = Arc::new(Self { flaky, ..Self::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&gateway);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                served.connections.fetch_add(1, SeqCst);
                let served = Arc::clone(&served);
                tokio::spawn(async move {
                    let service = service_fn(|request| served.answer(request));
                    let mut server = http1::Builder::new();
                    // A client that goes away, or a failure made on purpose, ends the connection.
                    let _ = server
                        .half_close(true)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        (address, gateway)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let number = self.requests.fetch_add(1, SeqCst);
        match request.uri().path() {
            "/never" => std::future::pending().await,
            "/v1/readings" => {}
            other => return Ok(reply(StatusCode::NOT_FOUND, &json!({"code": other}))),
        }
        let lines = request.headers()["content-type"] == "application/x-ndjson";
        let Ok(body) = request.into_body().collect().await else {
            return Ok(reply(StatusCode::BAD_REQUEST, &json!({"code": "truncated"})));
        };
        let fate = if self.flaky { hash(5, &[number]) % 10 } else { 9 };
        if fate < 2 {
            self.failed_before.fetch_add(1, SeqCst);
            return Ok(reply(StatusCode::SERVICE_UNAVAILABLE, &json!({})));
        }
        let Ok(items) = parse(&body.to_bytes(), lines) else {
            return Ok(reply(StatusCode::BAD_REQUEST, &json!({"code": "not-json"})));
        };
        let answer = self.keep(items);
        if fate < 4 {
            self.failed_after.fetch_add(1, SeqCst);
            return Err(std::io::Error::other("killed between commit and answer"));
        }
        Ok(reply(StatusCode::OK, &answer))
    }

    fn keep(&self, items: Vec<Value>) -> Value {
        let (mut accepted, mut duplicates, mut rejected) = (0, 0, Vec::new());
        let mut kept = self.kept.lock().unwrap();
        for (index, item) in items.into_iter().enumerate() {
            let (Some(device), Some(boot), Some(seq)) =
                (item["device"].as_str(), item["boot"].as_u64(), item["seq"].as_u64())
            else {
                rejected.push(json!({"index": index, "code": "no-identity", "detail": ""}));
                continue;
            };
            match kept.insert((device.to_owned(), boot, seq), item.clone()) {
                None => accepted += 1,
                Some(_) => duplicates += 1,
            }
        }
        json!({"accepted": accepted, "duplicates": duplicates, "rejected": rejected})
    }
}

fn parse(body: &[u8], lines: bool) -> serde_json::Result<Vec<Value>> {
    if lines {
        return serde_json::Deserializer::from_slice(body).into_iter().collect();
    }
    Ok(match serde_json::from_slice(body)? {
        Value::Array(items) => items,
        item => vec![item],
    })
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(body.to_string()));
    Response::builder().status(status).body(body).unwrap()
}
