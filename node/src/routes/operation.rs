//! What is known of one route.

use axum::http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// How a type's schema is made.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Anybody with a token of these scopes; a page, by its session.
    Token(&'static str),
    /// A token, unless the configuration opens the route.
    TokenUnlessOpened(&'static str),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// When it comes.
    pub when: &'static str,
    /// Media type and shape of its body; none when it has no body.
    pub body: Option<(&'static str, Shape)>,
}

/// A body that is taken.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub media: Vec<(&'static str, Shape)>,
    /// Whether it may be compressed.
    pub coded: bool,
}

/// A header that may be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub name: &'static str,
    pub about: &'static str,
}

/// A route: method, path, and what its handler takes and answers.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) query: Option<Shape>,
    pub(super) headers: Vec<Header>,
    pub(super) body: Option<Body>,
    pub(super) replies: Vec<Reply>,
    pub(super) problems: Vec<StatusCode>,
    /// The shape of every error, when it is not a problem's.
    pub(super) errors: Option<Shape>,
}

impl Operation {
    pub(super) fn new(method: Method, path: &'static str, summary: &'static str) -> Self {
        let mut operation = Self {
            method,
            path,
            summary,
            access: Access::Open,
            query: None,
            headers: Vec::new(),
            body: None,
            replies: Vec::new(),
            problems: Vec::new(),
            errors: None,
        };
        if path.contains('{') {
            operation.may_fail(&[StatusCode::NOT_FOUND]);
        }
        operation
    }

    /// Says who may ask.
    pub fn needs(&mut self, access: Access) {
        self.access = access;
        if access != Access::Open {
            self.may_fail(&[StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
        }
    }

    /// Takes parameters in the query.
    pub fn takes_query<T: JsonSchema>(&mut self) {
        // Inline: a reference could not be told apart into parameters.
        self.query = Some(T::json_schema);
        self.may_fail(&[StatusCode::BAD_REQUEST]);
    }

    /// Takes a body of one of these media types; `coded` when it may be compressed.
    pub fn takes_body(&mut self, media: Vec<(&'static str, Shape)>, coded: bool) {
        self.body = Some(Body { media, coded });
        self.may_fail(&[
            StatusCode::BAD_REQUEST,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ]);
    }

    /// Says which media types a body has that the handler reads by itself.
    pub fn body_is(&mut self, media: &[(&'static str, Shape)]) {
        let body = self.body.as_mut().expect("the handler takes a body");
        body.media = media.to_vec();
    }

    /// Takes a header.
    pub fn takes_header(&mut self, name: &'static str, about: &'static str) {
        self.headers.push(Header { name, about });
    }

    /// Answers with this, too.
    pub fn answers(&mut self, reply: Reply) {
        self.replies.push(reply);
    }

    /// May answer with a problem of these statuses.
    pub fn may_fail(&mut self, statuses: &[StatusCode]) {
        self.problems.extend(statuses);
        self.problems.sort();
        self.problems.dedup();
    }

    /// Has errors of another shape than a problem's.
    pub fn errors_are<T: JsonSchema>(&mut self) {
        self.errors = Some(SchemaGenerator::subschema_for::<T>);
    }
}
