//! What a node tells Prometheus: `GET /metrics`.
//!
//! Nearly everything is known already where it happens (the store's counts, watched states, the
//! books) and is read when somebody asks; nothing runs in between. `text` writes the format,
//! `common` what both services tell, `process` what the operating system knows of the process; each
//! service adds its own by [`Source`]. Labels come from lists that the program has, never from what
//! others send, so no device or client can make the answer grow. docs/metrics.md names each metric.

mod common;
mod process;
mod text;

pub use common::{About, node, timestamp};
pub use text::{Exposition, Family};

use crate::auth::{Auth, Reader};
use crate::problem::Problem;
use crate::routes::{self, Answer, Operation, Part, Reply, Routes, Text};
use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version 0.0.4 of the format, which every reader of it takes.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A service that tells its metrics.
pub trait Source: Clone + Send + Sync + 'static {
    /// Writes all of them.
    fn tell(&self, out: &mut Exposition);
}

/// Who may read the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Who has a token that may read.
    #[default]
    Token,
    /// Everybody.
    Open,
}

/// The route.
pub fn routes<S: Source>() -> Routes<S>
where
    Auth: FromRef<S>,
    Access: FromRef<S>,
{
    Routes::new().get("/metrics", "Metrics in the text format of Prometheus", scrape::<S>)
}

/// May read the metrics.
struct Scraper;

impl<S: Send + Sync> FromRequestParts<S> for Scraper
where
    Auth: FromRef<S>,
    Access: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if Access::from_ref(state) == Access::Token {
            Reader::from_request_parts(parts, state).await?;
        }
        Ok(Self)
    }
}

impl Part for Scraper {
    fn describe(operation: &mut Operation) {
        operation.needs(routes::Access::TokenUnlessOpened("viewer or admin"));
    }
}

/// The text of all metrics.
struct Scrape(String);

impl IntoResponse for Scrape {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, MEDIA_TYPE), (CACHE_CONTROL, "no-store")], self.0).into_response()
    }
}

impl Answer for Scrape {
    fn describe(operation: &mut Operation) {
        let body = Some(("text/plain", Text::json_schema as routes::Shape));
        operation.answers(Reply { status: StatusCode::OK, when: "All metrics.", body });
    }
}

async fn scrape<S: Source>(_: Scraper, State(source): State<S>) -> Scrape {
    let mut out = Exposition::default();
    source.tell(&mut out);
    Scrape(out.finish())
}
