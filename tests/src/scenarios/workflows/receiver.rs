//! A service at the site that runs make requests of: it keeps under which key each was made.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// Keys, and how often each came.
type Keys = BTreeMap<String, u64>;

/// What was asked of it: path and number of the run, under which keys and how often; clones share
/// it.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    keys: Arc<Mutex<BTreeMap<(String, u64), Keys>>>,
}

impl Receiver {
    /// Starts one on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> std::io::Result<(SocketAddr, Self)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, receiver) = (listener.local_addr()?, Self::default());
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = serving.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|request| receiver.answer(request));
                    // A gateway that is killed leaves in the middle.
                    let served =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                    let _ = served.await;
                });
            }
        });
        Ok((address, receiver))
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let path = request.uri().path().to_owned();
        let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
        let key = key.unwrap_or_default().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut answer = Response::new(Full::default());
        match body["n"].as_u64() {
            Some(n) => {
                let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                *keys.entry((path, n)).or_default().entry(key).or_default() += 1;
            }
            None => *answer.status_mut() = StatusCode::BAD_REQUEST,
        }
        Ok(answer)
    }

    /// Under which keys a request to `path` was made for the run with number `n`, and how often.
    #[must_use]
    pub fn keys(&self, path: &str, n: u64) -> Keys {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(&(path.to_owned(), n)).cloned().unwrap_or_default()
    }
    /// The runs for which a request to `path` was made.
    #[must_use]
    pub fn numbers(&self, path: &str) -> BTreeSet<u64> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.keys().filter(|(known, _)| known == path).map(|(_, n)| *n).collect()
    }
}
