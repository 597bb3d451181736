//! The table of routes: a handler gets in only with its description, so the two cannot part.
//!
//! [`Routes`] is a router whose every entry is an [`Operation`]: method, path, a sentence, and what
//! the types of the handler say of themselves. An extractor is a [`Part`] (who may ask, parameters,
//! body), an answer an [`Answer`] (status, media type, shape). Schemas are derived from the types
//! that are really read and written. From the table come the OpenAPI document, served at
//! `/openapi.json`, and the names under which requests are counted.
//!
//! What makes the document weighs more than a third of a megabyte, most of it schemas. A program
//! built without the feature `openapi`, as packages are, has nothing of that: it carries the
//! document that was reviewed, and a test of each service holds the two to be the same.

mod answers;
mod describe;
mod document;
mod erased;
mod operation;

pub use answers::{Created, NoContent, NoStore, Tagged};
pub use describe::{Answer, Described, Part, Text};
pub use document::About;
pub use erased::Answering;
pub use operation::{Access, Operation, Reply, Shape};

use axum::Router;
use axum::handler::Handler;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, get, on};
use bytes::Bytes;
use erased::Erased;
use schemars::JsonSchema;
use serde_json::{Map, Value};
use std::sync::{Arc, OnceLock};

/// Where the document is.
pub const DOCUMENT_PATH: &str = "/openapi.json";

/// Whether the document is made. Not the attribute: all of this compiles either way, and what is
/// behind a condition that never holds is not linked.
const MADE: bool = cfg!(feature = "openapi");

/// Routes with their descriptions.
pub struct Routes<S = ()> {
    router: Router<S>,
    names: Vec<RouteName>,
    /// Empty when the document is carried.
    operations: Vec<Operation>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { router: Router::new(), names: Vec::new(), operations: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `GET path`; `summary` says what with.
    #[must_use]
    pub fn get<H, T, D>(self, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S, Future = Answering> + Described<D>,
        T: 'static,
    {
        self.add((MethodFilter::GET, Method::GET), path, summary, handler)
    }

    /// Answers `POST path`; `summary` says what it does.
    #[must_use]
    pub fn post<H, T, D>(self, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S, Future = Answering> + Described<D>,
        T: 'static,
    {
        self.add((MethodFilter::POST, Method::POST), path, summary, handler)
    }

    /// Answers `PATCH path`; `summary` says what it changes.
    #[must_use]
    pub fn patch<H, T, D>(self, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S, Future = Answering> + Described<D>,
        T: 'static,
    {
        self.add((MethodFilter::PATCH, Method::PATCH), path, summary, handler)
    }

    /// Answers `DELETE path`; `summary` says what it removes.
    #[must_use]
    pub fn delete<H, T, D>(self, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S, Future = Answering> + Described<D>,
        T: 'static,
    {
        self.add((MethodFilter::DELETE, Method::DELETE), path, summary, handler)
    }

    fn add<H, T, D>(
        mut self,
        (filter, method): (MethodFilter, Method),
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S, Future = Answering> + Described<D>,
        T: 'static,
    {
        self.names.push((method.clone(), path));
        if MADE {
            let mut operation = Operation::new(method, path, summary);
            H::describe(&mut operation);
            self.operations.push(operation);
        }
        self.router = self.router.route(path, on(filter, Erased::new(handler)));
        self
    }

    /// Says more of the route that was added last.
    #[must_use]
    pub fn with(mut self, more: impl FnOnce(&mut Operation)) -> Self {
        if MADE {
            more(self.operations.last_mut().expect("a route was added before"));
        }
        self
    }

    /// Wraps all routes so far.
    #[must_use]
    pub fn wrapped(self, wrap: impl FnOnce(Router<S>) -> Router<S>) -> Self {
        Self { router: wrap(self.router), ..self }
    }

    /// Adds the routes of `other`.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.names.extend(other.names);
        self.operations.extend(other.operations);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// The document about these routes.
    #[must_use]
    pub fn document(&self, about: &About) -> Value {
        document(about, &self.operations)
    }

    /// The router with the document as one route more, and the names of all routes.
    pub fn finish(self, about: &About) -> (Router<S>, Vec<RouteName>) {
        let Self { router, mut names, operations } = self;
        names.push((Method::GET, DOCUMENT_PATH));
        // Written when it is asked for first: most nodes never need the memory that this takes.
        let (about, text) = (*about, OnceLock::<Bytes>::new());
        let made = Arc::new(move || {
            text.get_or_init(|| document(&about, &operations).to_string().into()).clone()
        });
        let serve = || async move { ([(CONTENT_TYPE, "application/json")], made()) };
        (router.route(DOCUMENT_PATH, get(serve)), names)
    }
}

fn document(about: &About, operations: &[Operation]) -> Value {
    if !MADE {
        return about.carried();
    }
    let all: Vec<_> = operations.iter().cloned().chain([own()]).collect();
    document::of(about, &all)
}

/// The route of the document itself.
fn own() -> Operation {
    let mut operation = Operation::new(Method::GET, DOCUMENT_PATH, "This description");
    let body = Some(("application/json", Map::<String, Value>::json_schema as Shape));
    operation.answers(Reply { status: StatusCode::OK, when: "OpenAPI 3.1.", body });
    operation
}

/// Method and path of a route.
pub type RouteName = (Method, &'static str);

#[cfg(test)]
mod tests;
