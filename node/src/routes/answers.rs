//! Answers whose status or headers are part of their type.

use super::describe::Answer;
use super::operation::{Operation, Reply};
use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

/// 201 with what was made.
#[derive(Clone, Copy, Debug)]
pub struct Created<T>(pub T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> Answer for Created<T> {
    fn describe(operation: &mut Operation) {
        let body = Some(("application/json", SchemaGenerator::subschema_for::<T> as super::Shape));
        operation.answers(Reply { status: StatusCode::CREATED, when: "Made.", body });
    }
}

/// 204: done, and nothing to say.
#[derive(Clone, Copy, Debug)]
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Answer for NoContent {
    fn describe(operation: &mut Operation) {
        let status = StatusCode::NO_CONTENT;
        operation.answers(Reply { status, when: "Done.", body: None });
    }
}

/// An answer that nobody keeps.
#[derive(Clone, Copy, Debug)]
pub struct NoStore<T>(pub T);

impl<T: IntoResponse> IntoResponse for NoStore<T> {
    fn into_response(self) -> Response {
        ([(CACHE_CONTROL, "no-store")], self.0).into_response()
    }
}

impl<T: Answer> Answer for NoStore<T> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

/// An answer with its version; 304 without a body for whoever has that version.
#[derive(Clone, Debug)]
pub struct Tagged<T> {
    /// The entity tag.
    pub etag: String,
    /// What there is; nothing for whoever has it.
    pub body: Option<T>,
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        // It may be kept, and has to be asked for again each time.
        let headers = [(ETAG, self.etag), (CACHE_CONTROL, "no-cache".to_owned())];
        match self.body {
            Some(body) => (headers, Json(body)).into_response(),
            None => (StatusCode::NOT_MODIFIED, headers).into_response(),
        }
    }
}

impl<T: JsonSchema> Answer for Tagged<T> {
    fn describe(operation: &mut Operation) {
        let body = Some(("application/json", SchemaGenerator::subschema_for::<T> as super::Shape));
        let when = "Done. `ETag` is the version.";
        operation.answers(Reply { status: StatusCode::OK, when, body });
    }
}
