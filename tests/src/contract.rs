//! The description of the routes, held against what nodes really answer.
//!
//! A client that is [held to](crate::client::Client::held_to) a contract looks at each answer: its
//! status, media type and body must be among those that the route's description names. So every
//! scenario checks the OpenAPI documents on its way.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use hyper::Method;
use hyper::header::CONTENT_TYPE;
use serde_json::Value;

use crate::client::Answer;

/// What a gateway says of its routes.
pub static EDGE: LazyLock<Contract> =
    LazyLock::new(|| Contract::read(include_str!("../../docs/openapi/edge.json")));
/// What a hub says of its routes.
pub static HUB: LazyLock<Contract> =
    LazyLock::new(|| Contract::read(include_str!("../../docs/openapi/hub.json")));

/// Bodies by media type; of one without a schema only the type is known.
type Bodies = BTreeMap<String, SchemaIndex>;

struct Operation {
    method: String,
    path: String,
    /// By status, and `default`.
    responses: BTreeMap<String, Bodies>,
    taken: Bodies,
}

/// What a document says.
pub struct Contract {
    schemas: Schemas,
    operations: Vec<Operation>,
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contract of {} operations", self.operations.len())
    }
}

/// The members of an object, by name.
fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A step of a JSON pointer.
fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Compiles the schemas of `content`, which lies at `place`.
struct Reader {
    compiler: Compiler,
    schemas: Schemas,
}

impl Reader {
    const NAME: &str = "http://holdfast.test/openapi.json";

    fn bodies(&mut self, content: &Value, place: &str) -> Bodies {
        let each = members(content).map(|(media, _)| {
            // In a fragment of an address, a step is percent-encoded.
            let step = step(media).replace('+', "%2B");
            let at = format!("{}#{place}/content{step}/schema", Self::NAME);
            let schema = self.compiler.compile(&at, &mut self.schemas);
            (media.clone(), schema.unwrap_or_else(|error| panic!("{at}: {error:#}")))
        });
        each.collect()
    }
}

impl Contract {
    /// Reads a document.
    ///
    /// # Panics
    /// When it is not one, or a schema in it is not valid.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let document: Value = serde_json::from_str(text).expect("the document is JSON");
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource(Reader::NAME, document.clone()).expect("the document is a resource");
        let mut reader = Reader { compiler, schemas: Schemas::new() };
        let mut operations = Vec::new();
        for (path, item) in members(&document["paths"]) {
            for (method, told) in members(item) {
                let encoded = step(path).replace('{', "%7B").replace('}', "%7D");
                let place = format!("/paths{encoded}/{method}");
                let responses = members(&told["responses"]).map(|(status, response)| {
                    let bodies = match response["$ref"].as_str() {
                        Some(name) => {
                            let place = name.trim_start_matches('#');
                            let shared = document.pointer(place).expect("a response that is there");
                            reader.bodies(&shared["content"], place)
                        }
                        None => {
                            let place = format!("{place}/responses/{status}");
                            reader.bodies(&response["content"], &place)
                        }
                    };
                    (status.clone(), bodies)
                });
                let responses = responses.collect();
                let place = format!("{place}/requestBody");
                let taken = reader.bodies(&told["requestBody"]["content"], &place);
                let (method, path) = (method.to_uppercase(), path.clone());
                operations.push(Operation { method, path, responses, taken });
            }
        }
        Self { schemas: reader.schemas, operations }
    }

    /// Method and path of every route.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.operations.iter().map(|operation| (&*operation.method, &*operation.path))
    }

    fn operation(&self, method: &Method, target: &str) -> Option<&Operation> {
        let path = target.split('?').next().unwrap_or_default();
        let fits = |template: &str| {
            let (mut here, mut there) = (path.split('/'), template.split('/'));
            loop {
                match (here.next(), there.next()) {
                    (None, None) => return true,
                    (Some(_), Some(name)) if name.starts_with('{') => {}
                    (Some(one), Some(two)) if one == two => {}
                    _ => return false,
                }
            }
        };
        self.operations.iter().find(|o| o.method == method.as_str() && fits(&o.path))
    }

    /// Whether a body is one that a route takes.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// # Panics
    /// When the route or the media type is not in the document.
    pub fn takes(
        &self,
        method: &Method,
        target: &str,
        media: &str,
        body: &Value,
    ) -> Result<(), String> {
        let operation = self.operation(method, target).expect("a route");
        let schema = operation.taken.get(media).expect("a media type that is taken");
        self.schemas.validate(body, *schema).map_err(|error| format!("{error:#}"))
    }

    /// Holds an answer against the description of its route; of paths that are no routes, such as
    /// pages, nothing is said.
    ///
    /// # Errors
    /// What is not as described.
    pub fn check(&self, method: &Method, target: &str, answer: &Answer) -> Result<(), String> {
        let Some(operation) = self.operation(method, target) else { return Ok(()) };
        let wrong = |what: String| {
            let text = answer.text();
            Err(format!("{method} {target}: {}: {what}: {text}", answer.status))
        };
        let status = answer.status.as_u16().to_string();
        let responses = &operation.responses;
        let Some(bodies) = responses.get(&status).or_else(|| responses.get("default")) else {
            return wrong("this status is not described".to_owned());
        };
        let media = answer.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok());
        let media = media.map(|media| media.split(';').next().unwrap_or(media));
        match (media.and_then(|media| bodies.get(media)), media) {
            (None, None) if bodies.is_empty() => Ok(()),
            (None, media) => wrong(format!("the media type {media:?} is not described")),
            (Some(_), Some(media)) if !media.ends_with("json") => Ok(()),
            (Some(schema), _) => match self.schemas.validate(&answer.json(), *schema) {
                Ok(()) => Ok(()),
                Err(error) => wrong(format!("{error:#}")),
            },
        }
    }
}
