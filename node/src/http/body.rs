//! Request bodies: bounded in bytes, in time between chunks, and in time altogether.
//!
//! The connection wraps what it receives in a [`LimitedBody`]; [`RawBody`] collects it and says in
//! a problem what went wrong.

use super::Limits;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Memory set aside for a body before any of it is seen; its announced length is only a claim.
const RESERVE_MAX_BYTES: u64 = 64 << 10;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// It has more bytes than taken.
    #[error("the body has more than {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// A chunk, or the whole, took too long.
    #[error("the body did not arrive within {0:?}")]
    TooSlow(Duration),
    /// The connection broke or the framing is wrong.
    #[error("the body ends too early or is not framed correctly")]
    Broken(#[source] hyper::Error),
}

impl From<&BodyFault> for Problem {
    fn from(fault: &BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge { max } => Self::too_large(fault.to_string()).with("max", *max),
            BodyFault::TooSlow(_) => Self::too_slow(fault.to_string()),
            BodyFault::Broken(_) => Self::malformed(fault.to_string()).at("body"),
        }
    }
}

/// A body under the limits of its connection.
#[derive(Debug)]
pub struct LimitedBody {
    inner: Incoming,
    received: u64,
    limits: Limits,
    /// When the whole must be there; set at the first read.
    deadline: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl LimitedBody {
    /// Puts `inner` under `limits`.
    #[must_use]
    pub fn new(inner: Incoming, limits: Limits) -> Self {
        let timer = Box::pin(tokio::time::sleep(limits.body_chunk));
        Self { inner, received: 0, limits, deadline: None, timer, is_waiting: false }
    }

    /// Starts the clock of the next chunk.
    fn arm(&mut self) {
        let now = Instant::now();
        let total = *self.deadline.get_or_insert(now + self.limits.body_total);
        self.timer.as_mut().reset(total.min(now + self.limits.body_chunk));
        self.is_waiting = true;
    }

    fn too_large(&self) -> BodyFault {
        BodyFault::TooLarge { max: self.limits.body_bytes }
    }
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        if this.inner.size_hint().lower() > this.limits.body_bytes - this.received {
            return Poll::Ready(Some(Err(this.too_large())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.is_waiting = false;
            let Some(frame) = frame else { return Poll::Ready(None) };
            let frame = frame.map_err(BodyFault::Broken)?;
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            if length > this.limits.body_bytes - this.received {
                return Poll::Ready(Some(Err(this.too_large())));
            }
            this.received += length;
            return Poll::Ready(Some(Ok(frame)));
        }
        if !this.is_waiting {
            this.arm();
        }
        std::task::ready!(this.timer.as_mut().poll(context));
        let is_over = this.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let limits = &this.limits;
        let limit = if is_over { limits.body_total } else { limits.body_chunk };
        Poll::Ready(Some(Err(BodyFault::TooSlow(limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The whole body of a request, as it was sent.
#[derive(Clone, Debug)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        collect(request.into_body()).await.map(Self)
    }
}

/// Collects a body. One chunk, the usual case, is not copied.
async fn collect(mut body: Body) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| explain(&error))?.into_data() else { continue };
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            let expected = first.len() as u64 + body.size_hint().lower().min(RESERVE_MAX_BYTES);
            all.reserve(expected as usize);
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn explain(error: &axum::Error) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref::<BodyFault>() {
            return fault.into();
        }
        cause = error.source();
    }
    Problem::malformed("the body cannot be read").at("body")
}
