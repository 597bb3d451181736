//! `/v1/artefacts` and `/v1/sites/{site}/artefacts`: what was published, and which sites use it.
//!
//! An artefact is published in parts, so that whoever is cut off goes on where it was: first its
//! manifest and outline, then its blocks in their order. Each part is checked before it is stored.

use super::data::fault_problem;
use super::site_document;
use crate::artefacts::{Assigned, assigned};
use crate::auth::{Admin, Auth, Reader};
use crate::http::{Json as Body, Path};
use crate::problem::Problem;
use crate::routes::{Created, NoContent, Routes};
use crate::time_text::Time;
use crate::twins::{Condition, Patch, Twins};
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use data_encoding::BASE64;
use holdfast_core::Timestamp;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::artefact::limits::BLOCK_BYTES;
use holdfast_core::id::FleetId;
use holdfast_sync::Fault;
use holdfast_sync::artefact::{ArtefactError, Stored, shelf};
use holdfast_sync::docs::{DocumentName, Documents};
use holdfast_sync::identity::valid_name;
use holdfast_sync::store::{Snapshot, Store, WriteError, WriteTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The routes of both services.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Twins: FromRef<S>,
{
    let may_fail = [
        StatusCode::CONFLICT,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INSUFFICIENT_STORAGE,
    ];
    Routes::new()
        .get("/v1/artefacts", "What was published, and how much of it is here", list)
        .get("/v1/artefacts/{id}", "One artefact", one)
        .get("/v1/sites/{site}/artefacts", "What a site uses", uses)
        .post("/v1/sites/{site}/artefacts", "Has a site use an artefact", assign)
        .with(|operation| operation.may_fail(&may_fail))
        .delete("/v1/sites/{site}/artefacts/{name}", "Has a site use it no more", unassign)
        .with(|operation| operation.may_fail(&may_fail))
}

/// The routes of the hub, to which artefacts are published.
pub fn publish_routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Twins: FromRef<S>,
    FleetId: FromRef<S>,
{
    let may_fail = [
        StatusCode::CONFLICT,
        StatusCode::UNPROCESSABLE_ENTITY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INSUFFICIENT_STORAGE,
    ];
    Routes::new()
        .post("/v1/artefacts", "Publishes the manifest of an artefact", publish)
        .with(|operation| operation.may_fail(&may_fail))
        .post("/v1/artefacts/{id}/blocks", "Publishes the next blocks of an artefact", blocks)
        .with(|operation| operation.may_fail(&may_fail))
        .delete("/v1/artefacts/{id}", "Removes an artefact that no site uses", remove)
        .with(|operation| operation.may_fail(&may_fail))
}

/// An artefact, as far as it is here.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Artefact")]
struct ArtefactShape {
    /// Its id: the hash of its manifest, 64 hexadecimal digits.
    id: String,
    /// What it is for: `flow`, `firmware`, `bundle`.
    kind: String,
    /// Its name, the same in all versions.
    name: String,
    /// Its version.
    version: String,
    /// When it was made, by the publisher's clock.
    made: Time,
    /// Who published it.
    publisher: String,
    /// Bytes of content.
    size: u64,
    /// BLAKE3 of the content, as `b3sum` prints it.
    hash: String,
    /// Blocks of 16,384 bytes that it has.
    blocks: u64,
    /// Blocks that are here, from the first on; all of them when it is whole.
    held: u64,
    /// The sites that use it.
    sites: Vec<String>,
}

/// Artefacts.
#[derive(Debug, Serialize, JsonSchema)]
struct ArtefactList {
    /// By kind, name, version.
    artefacts: Vec<ArtefactShape>,
}

/// What is published first.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Publication {
    /// The signed manifest, in base64.
    manifest: String,
    /// The hashes of all blocks, in base64.
    outline: String,
}

/// Blocks that follow those that are here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Blocks {
    /// The number of the first, from 0: as many as are here.
    from: u64,
    /// The blocks, one behind the other, in base64.
    bytes: String,
}

/// A reference of a site to an artefact.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AssignedShape {
    /// What the site calls it.
    name: String,
    /// The artefact's id.
    id: String,
    /// Tags that a device must have: for what is found of it to begin a run of a workflow, or to be
    /// offered an image of firmware.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    only: BTreeMap<String, String>,
}

/// What a site uses.
#[derive(Debug, Serialize, JsonSchema)]
struct AssignedList {
    /// The site.
    site: String,
    /// By name.
    artefacts: Vec<AssignedShape>,
}

fn shape(view: &Snapshot<'_>, stored: &Stored) -> Result<ArtefactShape, Fault> {
    let manifest = stored.manifest()?;
    let content = manifest.content;
    let mut sites = Vec::new();
    for document in Documents::list(view, "site/")? {
        let site = document.as_str().strip_prefix("site/").unwrap_or_default();
        if assigned(view, site)?.iter().any(|one| one.id == stored.id) {
            sites.push(site.to_owned());
        }
    }
    Ok(ArtefactShape {
        id: stored.id.to_string(),
        kind: content.kind.to_owned(),
        name: content.name.to_owned(),
        version: content.version.to_owned(),
        made: Time(Timestamp(content.made_s.saturating_mul(1_000_000_000))),
        publisher: manifest.publisher.name.to_owned(),
        size: content.size,
        hash: data_encoding::HEXLOWER.encode(&content.hash),
        blocks: stored.blocks(),
        held: stored.held,
        sites,
    })
}

async fn list(
    Reader(_): Reader,
    State(twins): State<Twins>,
) -> Result<Json<ArtefactList>, Problem> {
    let look = |view: &Snapshot<'_>| {
        let all = shelf::list(view)?;
        all.iter().map(|stored| shape(view, stored)).collect::<Result<Vec<_>, Fault>>()
    };
    let mut artefacts = twins.store().read(look).await.map_err(fault_problem)?;
    let key = |a: &ArtefactShape| (a.kind.clone(), a.name.clone(), a.version.clone(), a.made);
    artefacts.sort_by_cached_key(key);
    Ok(Json(ArtefactList { artefacts }))
}

async fn one(
    Reader(_): Reader,
    State(twins): State<Twins>,
    Path(id): Path<String>,
) -> Result<Json<ArtefactShape>, Problem> {
    tell(twins.store(), id_of(&id)?).await.map(Json)
}

fn id_of(text: &str) -> Result<ArtefactId, Problem> {
    ArtefactId::from_hex(text).ok_or_else(|| {
        Problem::malformed(format!("`{text}` is no id of an artefact"))
            .at("id")
            .expected("64 hexadecimal digits, as GET /v1/artefacts tells them")
    })
}

async fn tell(store: &Store, id: ArtefactId) -> Result<ArtefactShape, Problem> {
    let look = move |view: &Snapshot<'_>| {
        let stored = shelf::find(view, &id)?;
        stored.map(|stored| shape(view, &stored)).transpose()
    };
    store.read(look).await.map_err(fault_problem)?.ok_or_else(|| unknown(&id))
}

fn unknown(id: &ArtefactId) -> Problem {
    Problem::not_found(format!("there is no artefact {id} here"))
        .expected("one of GET /v1/artefacts")
}

/// What became of a part.
type Taken = Result<Stored, ArtefactError>;

/// Runs a change that may refuse what it is given without undoing it.
async fn change(
    store: &Store,
    change: impl FnOnce(&mut WriteTx<'_>) -> Result<Taken, WriteError> + Send + 'static,
) -> Result<Stored, Problem> {
    match store.write(change).await {
        Ok((_, Ok(stored))) => Ok(stored),
        Ok((_, Err(error))) => Err(refused(&error)),
        Err(error) => Err(not_stored(&error)),
    }
}

fn not_stored(error: &WriteError) -> Problem {
    match error {
        WriteError::Fault(fault) if fault.is_full() => {
            Problem::no_room(format!("nothing was stored: {fault}"))
        }
        WriteError::Refused(why) => {
            Problem::invalid("artefact-refused", format!("it was not taken: {why}"))
        }
        error => {
            tracing::error!(%error, "an artefact could not be stored");
            Problem::unavailable("store-unavailable", "nothing was stored; try again", 5)
        }
    }
}

fn refused(error: &ArtefactError) -> Problem {
    match error {
        ArtefactError::Order { expected, .. } => {
            Problem::conflict("out-of-order", error.to_string()).with("held", *expected)
        }
        error => Problem::invalid("artefact-refused", format!("it was not taken: {error}")),
    }
}

fn bytes_of(text: &str, at: &str) -> Result<Vec<u8>, Problem> {
    BASE64.decode(text.as_bytes()).map_err(|error| {
        Problem::malformed(format!("it is not base64: {error}")).at(at).expected("RFC 4648 base64")
    })
}

async fn publish(
    Admin(_): Admin,
    State(twins): State<Twins>,
    State(fleet): State<FleetId>,
    Body(publication): Body<Publication>,
) -> Result<Created<ArtefactShape>, Problem> {
    let manifest = bytes_of(&publication.manifest, "/manifest")?;
    let outline = bytes_of(&publication.outline, "/outline")?;
    let stored = change(twins.store(), move |tx| {
        let now_s = tx.now().seconds();
        let take = |tx: &mut WriteTx<'_>| {
            let stored = shelf::take_manifest(tx, fleet, &manifest)?;
            if stored.manifest()?.publisher.expired(now_s) {
                return Err(ArtefactError::Ended);
            }
            shelf::take_outline(tx, &stored, &outline)?;
            Ok(stored)
        };
        match take(tx) {
            Err(ArtefactError::Fault(fault)) => Err(fault.into()),
            // A manifest without its outline does not stay.
            Err(error) => Err(WriteError::Refused(error.to_string())),
            Ok(stored) => Ok(Ok(stored)),
        }
    });
    let stored = stored.await?;
    tell(twins.store(), stored.id).await.map(Created)
}

async fn blocks(
    Admin(_): Admin,
    State(twins): State<Twins>,
    Path(id): Path<String>,
    Body(blocks): Body<Blocks>,
) -> Result<Json<ArtefactShape>, Problem> {
    let (id, from) = (id_of(&id)?, blocks.from);
    let bytes = bytes_of(&blocks.bytes, "/bytes")?;
    if bytes.is_empty() {
        let problem = Problem::malformed("there is no block").at("/bytes");
        return Err(problem.expected("at least one block of 16,384 bytes, or the last"));
    }
    tell(twins.store(), id).await?;
    change(twins.store(), move |tx| {
        let Some(mut stored) = shelf::find(tx, &id)? else {
            return Err(WriteError::Refused("it was removed meanwhile".to_owned()));
        };
        for (at, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            match shelf::take_block(tx, &mut stored, from + at as u64, block) {
                Err(ArtefactError::Fault(fault)) => return Err(fault.into()),
                Err(error) => return Ok(Err(error)),
                Ok(()) => {}
            }
        }
        Ok(Ok(stored))
    })
    .await?;
    tell(twins.store(), id).await.map(Json)
}

async fn remove(
    Admin(_): Admin,
    State(twins): State<Twins>,
    Path(id): Path<String>,
) -> Result<NoContent, Problem> {
    let id = id_of(&id)?;
    let known = tell(twins.store(), id).await?;
    if let Some(site) = known.sites.first() {
        let detail = format!("the site {site} uses it: have it use another one first");
        return Err(Problem::conflict("in-use", detail));
    }
    let removed = twins.store().write(move |tx| Ok(shelf::remove(tx, &id)?)).await;
    removed.map_err(|error| not_stored(&error))?;
    Ok(NoContent)
}

async fn used(twins: &Twins, site: String) -> Result<AssignedList, Problem> {
    let of = site.clone();
    let look = move |view: &Snapshot<'_>| assigned(view, &of);
    let found = twins.store().read(look).await.map_err(fault_problem)?;
    let shape = |Assigned { name, id, only }| {
        let only = only.into_iter().collect();
        AssignedShape { name, id: id.to_string(), only }
    };
    Ok(AssignedList { site, artefacts: found.into_iter().map(shape).collect() })
}

async fn uses(
    Reader(_): Reader,
    State(twins): State<Twins>,
    Path(site): Path<String>,
) -> Result<Json<AssignedList>, Problem> {
    site_document(&twins, &site)?;
    used(&twins, site).await.map(Json)
}

async fn assign(
    Admin(_): Admin,
    State(twins): State<Twins>,
    Path(site): Path<String>,
    Body(AssignedShape { name, id, only }): Body<AssignedShape>,
) -> Result<Json<AssignedList>, Problem> {
    let document = site_document(&twins, &site)?;
    if !valid_name(&name) {
        let detail = format!("`{name}` is no name");
        let expected = "1 to 64 of A-Z a-z 0-9 . _ -";
        return Err(Problem::malformed(detail).at("/name").expected(expected));
    }
    let id = id_of(&id)?;
    // What nobody has all of would not arrive.
    let known = tell(twins.store(), id).await?;
    if known.held < known.blocks {
        let detail = format!("{} of {} blocks of it are here", known.held, known.blocks);
        return Err(Problem::conflict("not-whole", detail).expected("one that is here whole"));
    }
    let text = Assigned { name: name.clone(), id, only: only.into_iter().collect() }.text();
    if Assigned::read(&name, &text).is_none() {
        let detail = "these are no tags: a name and a value have 1 to 64 bytes, no space, and a \
                      name no `=`";
        return Err(Problem::malformed(detail).at("/only").expected("at most 8 of them"));
    }
    refer(&twins, document, &name, text.into()).await?;
    used(&twins, site).await.map(Json)
}

async fn unassign(
    Admin(_): Admin,
    State(twins): State<Twins>,
    Path((site, name)): Path<(String, String)>,
) -> Result<Json<AssignedList>, Problem> {
    let document = site_document(&twins, &site)?;
    let before = used(&twins, site.clone()).await?;
    if before.artefacts.iter().all(|one| one.name != name) {
        return Err(Problem::not_found(format!("{site} uses nothing that is called `{name}`")));
    }
    refer(&twins, document, &name, Value::Null).await?;
    used(&twins, site).await.map(Json)
}

async fn refer(
    twins: &Twins,
    document: DocumentName,
    name: &str,
    id: Value,
) -> Result<(), Problem> {
    let patch = Patch::read(&json!({"artefacts": {name: id}}))
        .map_err(|wrong| Problem::malformed(wrong.detail).at("/name").expected(wrong.expected))?;
    let done = twins.patch(document, patch, Condition::default()).await;
    done.map(drop).map_err(|error| error.problem())
}
