//! Extractors that refuse in problems: query, path and JSON body.

use super::RawBody;
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// The query of the request; an unknown or wrong parameter is a problem that names it, when the
/// type denies unknown fields.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| {
            let text = error.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            // serde names the parameter first, or in backquotes.
            let named = text.split_once(": ").map(|(name, _)| name);
            let quoted = text.split('`').nth(1);
            Problem::parameter(named.or(quoted).unwrap_or("query"), text)
        })
    }
}

/// The parameters in the path of the request.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(path) => Ok(Self(path.0)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(Problem::parameter("path", error.body_text()))
            }
            Err(error) => {
                tracing::error!(%error, "a route takes parameters that its path does not have");
                Err(Problem::internal())
            }
        }
    }
}

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read_json(request, state, &["application/json"]).await.map(Self)
    }
}

/// A merge patch (RFC 7396).
#[derive(Clone, Debug)]
pub struct MergePatch(pub serde_json::Value);

impl MergePatch {
    /// The media types of one; who says only JSON means the same.
    pub const MEDIA_TYPES: [&str; 2] = ["application/merge-patch+json", "application/json"];
}

impl<S: Send + Sync> FromRequest<S> for MergePatch {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read_json(request, state, &Self::MEDIA_TYPES).await.map(Self)
    }
}

/// The JSON of a request of one of the media types that are taken.
async fn read_json<T: DeserializeOwned, S: Send + Sync>(
    request: Request,
    state: &S,
    accepted: &[&str],
) -> Result<T, Problem> {
    let header = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = header.and_then(|header| header.split(';').next()).unwrap_or_default().trim();
    if !accepted.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        let detail = format!("the Content-Type is `{media_type}`");
        return Err(Problem::unsupported_media(detail, accepted));
    }
    let RawBody(body) = RawBody::from_request(request, state).await?;
    serde_json::from_slice(&body).map_err(|error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        match error.classify() {
            Category::Data => Problem::invalid("invalid-body", error.to_string()).at(at),
            _ => Problem::malformed(format!("not JSON: {error}")).at(at),
        }
    })
}
