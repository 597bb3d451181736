//! How the types of a handler say what they mean for its route.

use super::Operation;
use super::operation::{Access, Reply};
use crate::auth::{Admin, Poster, Reader, TwinReader, TwinWriter, Who};
use crate::http::{Content, Json as Body, MergePatch, Path, Query, Transport};
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::extract::connect_info::ConnectInfo;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};
use std::future::Future;

/// What a handler takes.
pub trait Part {
    /// Says what it means for the route.
    fn describe(operation: &mut Operation);
}

/// What a handler answers.
pub trait Answer {
    /// Says what it means for the route.
    fn describe(operation: &mut Operation);
}

/// A handler all of whose types say what they mean.
pub trait Described<D> {
    /// Says it.
    fn describe(operation: &mut Operation);
}

macro_rules! described {
    ($($part:ident),*) => {
        impl<F, Fut, R, $($part),*> Described<($($part,)*)> for F
        where
            F: Fn($($part),*) -> Fut,
            Fut: Future<Output = R>,
            R: Answer,
            $($part: Part),*
        {
            fn describe(operation: &mut Operation) {
                $($part::describe(operation);)*
                R::describe(operation);
            }
        }
    };
}

described!();
described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
described!(A, B, C, D, E);
described!(A, B, C, D, E, G);

/// Of these a client sees nothing.
macro_rules! silent {
    ($([$($generic:ident)?] $part:ty),+ $(,)?) => {
        $(impl$(<$generic>)? Part for $part {
            fn describe(_: &mut Operation) {}
        })+
    };
}

// The names in the template of the path say all there is to say of `Path`.
silent!([T] State<T>, [T] ConnectInfo<T>, [T] Path<T>, [] HeaderMap, [] Transport);

/// Who may ask, by the extractor that finds it out.
macro_rules! access {
    ($($part:ty => $scopes:literal),+ $(,)?) => {
        $(impl Part for $part {
            fn describe(operation: &mut Operation) {
                operation.needs(Access::Token($scopes));
            }
        })+
    };
}

access!(
    Admin => "admin",
    Reader => "viewer or admin",
    Poster => "device, ingest or admin",
    TwinReader => "viewer, admin, or the device's own",
    TwinWriter => "admin, or the device's own",
    Who => "any",
);

impl<T: JsonSchema> Part for Query<T> {
    fn describe(operation: &mut Operation) {
        operation.takes_query::<T>();
    }
}

impl<T: JsonSchema> Part for Body<T> {
    fn describe(operation: &mut Operation) {
        let shape = SchemaGenerator::subschema_for::<T>;
        operation.takes_body(vec![("application/json", shape)], false);
    }
}

impl Part for MergePatch {
    fn describe(operation: &mut Operation) {
        let shape: super::Shape = SchemaGenerator::subschema_for::<Map<String, Value>>;
        let media = Self::MEDIA_TYPES.map(|media| (media, shape));
        operation.takes_body(media.to_vec(), false);
    }
}

impl Part for Content {
    fn describe(operation: &mut Operation) {
        operation.takes_body(Vec::new(), true);
    }
}

impl<T: JsonSchema> Answer for Json<T> {
    fn describe(operation: &mut Operation) {
        let body = Some(("application/json", SchemaGenerator::subschema_for::<T> as super::Shape));
        operation.answers(Reply { status: StatusCode::OK, when: "Done.", body });
    }
}

/// A problem may have any status; those that are usual follow from what the handler takes.
impl<T: Answer> Answer for Result<T, Problem> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

impl<S> Answer for Sse<S> {
    fn describe(operation: &mut Operation) {
        let body = Some(("text/event-stream", Text::json_schema as super::Shape));
        let when = "Events from now on, until one side ends it.";
        operation.answers(Reply { status: StatusCode::OK, when, body });
    }
}

/// The shape of what is not JSON.
#[derive(Debug)]
pub struct Text;

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
