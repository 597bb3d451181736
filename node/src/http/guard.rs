//! What surrounds every handler: an id to find it in the log, a span, a net for panics, and the
//! count of what was answered.

use super::HttpCounts;
use crate::problem::Problem;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;
use tracing::Instrument;

/// The header of a request's id: the client's own, or one that counts up since the start.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of a client's own id; longer ones are replaced.
const ID_MAX_BYTES: usize = 64;

static NEXT: AtomicU64 = AtomicU64::new(1);

pub(super) async fn surround(
    State(counts): State<Arc<HttpCounts>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let id = request.headers().get(REQUEST_ID).filter(|id| is_plain(id)).cloned();
    let id = id.unwrap_or_else(|| HeaderValue::from(NEXT.fetch_add(1, Ordering::Relaxed)));
    let span = tracing::debug_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
    );
    // A handler shares nothing with others but what is behind locks that survive poisoning.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = answer.unwrap_or_else(|panic| {
        let _entered = span.enter();
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        tracing::error!(panic = text, id = ?id, "a handler panicked");
        Problem::internal().into_response()
    });
    response.headers_mut().insert(REQUEST_ID, id);
    let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    counts.note(&method, path.as_ref(), &response, took_us);
    response
}

fn is_plain(id: &HeaderValue) -> bool {
    (1..=ID_MAX_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}
