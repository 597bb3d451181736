//! What a table of routes says of them.

use super::*;
use crate::http::{Json as Body, Path, Query};
use crate::problem::Problem;
use axum::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const ABOUT: About = About { title: "A", summary: "B", version: "1", reviewed: &[] };

/// A question.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// How many.
    limit: Option<u32>,
    name: String,
}

/// A thing to be made.
#[derive(Deserialize, JsonSchema)]
struct NewThing {
    name: String,
}

/// A thing.
#[derive(Serialize, JsonSchema)]
struct Thing {
    /// What it is called.
    name: String,
    size: Option<u32>,
}

async fn list(Query(asked): Query<Asked>) -> Result<Json<Vec<Thing>>, Problem> {
    Ok(Json(vec![Thing { name: asked.name, size: asked.limit }]))
}

async fn make(Body(thing): Body<NewThing>) -> Created<Thing> {
    Created(Thing { name: thing.name, size: None })
}

async fn remove(Path(_): Path<String>) -> NoContent {
    NoContent
}

fn table() -> Routes {
    Routes::new()
        .get("/things", "All things", list)
        .post("/things", "Makes a thing", make)
        .with(|operation| operation.takes_header("Idempotency-Key", "Once."))
        .merge(Routes::new().delete("/things/{id}", "Removes a thing", remove))
}

fn document() -> Value {
    table().document(&ABOUT)
}

#[test]
fn a_route_says_what_its_handler_takes_and_answers() {
    let document = document();
    let list = &document["paths"]["/things"]["get"];
    assert_eq!(list["operationId"], "get_things");
    let limit = &list["parameters"][0];
    assert_eq!((&limit["name"], &limit["in"]), (&"limit".into(), &"query".into()));
    assert_eq!(
        (&limit["description"], &limit["schema"]["type"]),
        (&"How many.".into(), &"integer".into())
    );
    assert_eq!((limit.get("required"), &list["parameters"][1]["required"]), (None, &true.into()));
    let shape = &list["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(shape["items"]["$ref"], "#/components/schemas/Thing");
    assert_eq!(list["responses"]["400"]["$ref"], "#/components/responses/Problem");

    let make = &document["paths"]["/things"]["post"];
    assert_eq!(make["parameters"][0]["name"], "Idempotency-Key");
    assert!(make["requestBody"]["content"]["application/json"]["schema"].is_object());
    assert!(make["responses"]["201"].is_object() && make["responses"]["422"].is_object());

    let remove = &document["paths"]["/things/{id}"]["delete"];
    assert_eq!(
        (&remove["parameters"][0]["in"], &remove["operationId"]),
        (&"path".into(), &"delete_things_id".into())
    );
    assert_eq!(remove["responses"]["204"].get("content"), None);
    assert!(remove["responses"]["404"].is_object());
}

#[test]
fn every_route_has_a_name() {
    let names = table().finish(&ABOUT).1;
    let names: Vec<_> = names.iter().map(|(method, path)| format!("{method} {path}")).collect();
    let all = ["GET /things", "POST /things", "DELETE /things/{id}", "GET /openapi.json"];
    assert_eq!(names, all);
}
