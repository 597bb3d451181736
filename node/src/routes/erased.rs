//! A handler whose type nobody has to know.
//!
//! A router of axum wraps each handler several times before it is a route, and of each wrapping the
//! compiler makes code for every handler. Functions that handle box what they await by themselves,
//! so a handler behind a pointer to a function costs nothing more, and is wrapped as one type.

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use futures::future::BoxFuture;
use std::sync::Arc;

/// What a function that handles is while it does.
pub type Answering = BoxFuture<'static, Response>;

pub(super) struct Erased<S>(Arc<dyn Fn(Request, S) -> Answering + Send + Sync>);

impl<S: 'static> Erased<S> {
    pub fn new<H: Handler<T, S, Future = Answering>, T: 'static>(handler: H) -> Self {
        Self(Arc::new(move |request, state| handler.clone().call(request, state)))
    }
}

impl<S> Clone for Erased<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: 'static> Handler<(), S> for Erased<S> {
    type Future = Answering;

    fn call(self, request: Request, state: S) -> Answering {
        (self.0)(request, state)
    }
}
