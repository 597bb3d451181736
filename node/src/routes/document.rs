//! The OpenAPI 3.1 document of a table of routes, made or carried.

use super::Operation;
use super::operation::{Access, Body, Shape};
use crate::problem;
use axum::http::StatusCode;
use flate2::read::GzDecoder;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::io::Read as _;

/// Where schemas that have a name are.
const SCHEMAS: &str = "/components/schemas";

/// What a document is about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The service's name.
    pub title: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The document as it was reviewed, in gzip.
    pub reviewed: &'static [u8],
}

impl About {
    /// The document as it was reviewed.
    ///
    /// # Panics
    ///
    /// When the build has put no document there.
    #[must_use]
    pub fn carried(&self) -> Value {
        let mut text = String::new();
        let read = GzDecoder::new(self.reviewed).read_to_string(&mut text);
        read.expect("the build has compressed it");
        serde_json::from_str(&text).expect("the build has compressed a document")
    }
}

/// What is read has other schemas than what is written: there, defaults may be left out.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = SCHEMAS.into();
                settings.meta_schema = None;
            })
        };
        let read = settings().for_deserialize().into_generator();
        Self { read, written: settings().for_serialize().into_generator() }
    }

    /// All schemas that have a name.
    fn named(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(true);
        for (name, schema) in self.read.take_definitions(true) {
            let known = all.insert(name.clone(), schema.clone());
            debug_assert!(known.is_none_or(|known| known == schema), "two shapes named {name}");
        }
        all
    }
}

pub(super) fn of(about: &About, operations: &[Operation]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method.as_str().to_lowercase()] = described(operation, &mut schemas);
    }
    let problem = json!({
        "description": "What is wrong, where, and what was expected.",
        "content": content(
            &[(problem::MEDIA_TYPE, SchemaGenerator::subschema_for::<problem::Shape>)],
            &mut schemas.written,
        ),
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "summary": about.summary,
            "version": about.version,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas.named(),
            "responses": { "Problem": problem },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An access token, as `token new` makes it.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "holdfast_session_PORT",
                    "description": "The session of a page, as `POST /v1/session` opens it.",
                },
            },
        },
    })
}

fn described(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut out = json!({
        "operationId": id(operation),
        "summary": operation.summary,
        "security": security(operation.access),
        "responses": responses(operation, schemas),
    });
    match operation.access {
        Access::Open => {}
        Access::Token(scopes) => out["description"] = format!("Needs a token: {scopes}.").into(),
        Access::TokenUnlessOpened(scopes) => {
            let text = format!("Needs a token ({scopes}) unless the configuration opens it.");
            out["description"] = text.into();
        }
    }
    let parameters = parameters(operation, schemas);
    if !parameters.is_empty() {
        out["parameters"] = parameters.into();
    }
    if let Some(Body { media, .. }) = &operation.body {
        let content = content(media, &mut schemas.read);
        out["requestBody"] = json!({ "required": true, "content": content });
    }
    out
}

/// A name for programs that are generated: `GET /v1/nodes/{site}` is `get_v1_nodes_site`.
fn id(operation: &Operation) -> String {
    let path = operation.path.split(['/', '{', '}', '.']).filter(|part| !part.is_empty());
    let method = operation.method.as_str().to_lowercase();
    std::iter::once(method.as_str()).chain(path).collect::<Vec<_>>().join("_")
}

fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Token(_) => json!([{ "token": [] }, { "session": [] }]),
        Access::TokenUnlessOpened(_) => json!([{}, { "token": [] }, { "session": [] }]),
    }
}

fn parameters(operation: &Operation, schemas: &mut Schemas) -> Vec<Value> {
    let names = operation.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let in_path = names.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let mut out: Vec<Value> = in_path.collect();
    if let Some(shape) = operation.query {
        out.extend(in_query(&shape(&mut schemas.read).to_value()));
    }
    let coded = operation.body.as_ref().is_some_and(|body| body.coded);
    if coded {
        out.push(json!({
            "name": "Content-Encoding",
            "in": "header",
            "schema": { "type": "string", "enum": ["gzip", "identity"] },
        }));
    }
    out.extend(operation.headers.iter().map(|header| {
        json!({
            "name": header.name,
            "in": "header",
            "description": header.about,
            "schema": { "type": "string" },
        })
    }));
    out
}

/// The members of an object as parameters.
fn in_query(object: &Value) -> Vec<Value> {
    let required: Vec<_> = object["required"].as_array().into_iter().flatten().collect();
    let members = object["properties"].as_object().into_iter().flatten();
    let each = members.map(|(name, schema)| {
        let mut schema = schema.clone();
        let mut out = json!({ "name": name, "in": "query" });
        if required.iter().any(|named| *named == name) {
            out["required"] = true.into();
        }
        if let Some(members) = schema.as_object_mut() {
            // What a parameter means stands beside its schema. One that is missing is no `null`.
            out["description"] = members.remove("description").unwrap_or_default();
            if let Some(Value::Array(kinds)) = members.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [kind] = kinds.as_slice() {
                    let kind = kind.clone();
                    members.insert("type".to_owned(), kind);
                }
            }
        }
        out["schema"] = schema;
        out
    });
    each.collect()
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut out = Map::new();
    for reply in &operation.replies {
        let mut told = json!({ "description": reply.when });
        if let Some(body) = reply.body {
            told["content"] = content(&[body], &mut schemas.written);
        }
        out.insert(reply.status.as_u16().to_string(), told);
    }
    let mut told = |status: Option<StatusCode>| {
        let Some(shape) = operation.errors else {
            return json!({ "$ref": "#/components/responses/Problem" });
        };
        let when = status.and_then(|s| s.canonical_reason()).unwrap_or("Any other error");
        let content = content(&[("application/json", shape)], &mut schemas.written);
        json!({ "description": when, "content": content })
    };
    for status in &operation.problems {
        let error = told(Some(*status));
        out.entry(status.as_u16().to_string()).or_insert(error);
    }
    out.insert("default".to_owned(), told(None));
    out.into()
}

fn content(media: &[(&'static str, Shape)], schemas: &mut SchemaGenerator) -> Value {
    let each = media
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), json!({ "schema": shape(schemas).to_value() })));
    each.collect::<Map<_, _>>().into()
}
