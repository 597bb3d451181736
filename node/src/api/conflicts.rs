//! `GET /v1/conflicts` and `POST /v1/conflicts/{id}/resolve`.

use super::data::fault_problem;
use super::twins::{limit, time};
use crate::auth::{Admin, Auth, Reader};
use crate::conflicts::{self, Choice, Entry, Open, ResolveError, journal, open, why};
use crate::http::{Json as Body, Path, Query};
use crate::problem::Problem;
use crate::routes::Routes;
use crate::time_text::Time;
use crate::twins::{PatchError, Section, Twins, json};
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use holdfast_core::NodeId;
use holdfast_core::state::{Cell, ConflictId, Label, Rule};
use holdfast_sync::docs::{DocumentName, Documents};
use holdfast_sync::store::Snapshot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Conflicts that are listed unless more are asked for, and at most.
const LIST: usize = 50;
const LIST_MAX: usize = 1_000;

/// The routes.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Twins: FromRef<S>,
{
    Routes::new()
        .get("/v1/conflicts", "What was written at once in two places", list)
        .post("/v1/conflicts/{id}/resolve", "Chooses what stays of an open conflict", resolve)
        .with(|operation| {
            operation.may_fail(&[
                StatusCode::CONFLICT,
                StatusCode::PAYLOAD_TOO_LARGE,
                StatusCode::INSUFFICIENT_STORAGE,
                StatusCode::SERVICE_UNAVAILABLE,
            ]);
        })
}

/// What was written at once, and what became of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Conflict")]
struct ConflictShape {
    /// Its id, the same on every node.
    id: String,
    /// `open` while somebody has to choose, else `settled`.
    state: &'static str,
    /// The document.
    document: String,
    /// The device, if it is a device's document.
    device: Option<String>,
    /// The section of its twin, likewise.
    section: Option<&'static str>,
    /// The path: names split by `/`.
    path: String,
    /// The rule by which it is resolved.
    rule: &'static str,
    /// `use_local`, `use_remote`, `merge`, or `hidden` by a write above or below; none while open.
    outcome: Option<&'static str>,
    /// Why, in words.
    why: &'static str,
    /// When this node learned of it; none while open.
    at: Option<Time>,
    /// What is shown.
    shown: Option<WrittenShape>,
    /// What lost, or what else there is to choose from.
    others: Vec<WrittenShape>,
}

/// A value with who wrote it and when.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WrittenValue")]
struct WrittenShape {
    /// The value; null where it was deleted.
    value: Value,
    /// When, by the writer's clock.
    at: Time,
    /// A node's name or a device.
    author: String,
    /// `hub`, `edge` or `device`.
    role: &'static str,
}

/// Conflicts, the open ones by document and path, the settled ones newest first.
#[derive(Debug, Serialize, JsonSchema)]
struct ConflictList {
    conflicts: Vec<ConflictShape>,
    /// Open conflicts of all documents asked for, as far as they are listed.
    open: usize,
    /// Behind this number the next ones are; none when these are all.
    before: Option<u64>,
}

/// Makes shapes of conflicts in one document.
struct Teller<'a> {
    twins: &'a Twins,
    document: &'a DocumentName,
    writers: BTreeSet<NodeId>,
}

impl<'a> Teller<'a> {
    fn new(twins: &'a Twins, view: &Snapshot<'_>, document: &'a DocumentName) -> Self {
        // Without them an author is told by its hash.
        let writers = Documents::writers(view, document).unwrap_or_default();
        Self { twins, document, writers: writers.into_iter().collect() }
    }

    fn written(&self, bytes: &[u8]) -> Option<WrittenShape> {
        let cell = Cell::from_bytes(bytes).ok()?;
        let device = self.document.device().unwrap_or_default();
        Some(WrittenShape {
            value: cell.value().map_or(Value::Null, json),
            at: time(cell.stamp.millis()),
            author: self.twins.author_name(device, (cell.author, cell.role), &self.writers),
            role: cell.role.name(),
        })
    }

    fn shape(
        &self,
        id: ConflictId,
        path: &str,
        rule: Rule,
        outcome: Option<Option<Label>>,
        cells: (Option<&[u8]>, &[Vec<u8>]),
    ) -> ConflictShape {
        let section = Section::of(self.document).map(|(_, section)| section.name());
        ConflictShape {
            id: HEXLOWER.encode(&id.0),
            state: if outcome.is_none() { "open" } else { "settled" },
            document: self.document.as_str().to_owned(),
            device: self.document.device().map(str::to_owned),
            section,
            path: path.to_owned(),
            rule: rule.name(),
            outcome: outcome.map(|label| label.map_or("hidden", Label::name)),
            why: why(rule, outcome),
            at: None,
            shown: cells.0.and_then(|cell| self.written(cell)),
            others: cells.1.iter().filter_map(|cell| self.written(cell)).collect(),
        }
    }

    fn open(&self, open: &Open) -> ConflictShape {
        let (shown, others) = match open.choices.split_first() {
            Some((shown, others)) => (Some(shown.as_slice()), others),
            None => (None, [].as_slice()),
        };
        self.shape(open.id, &open.path, Rule::KeepAll, None, (shown, others))
    }

    fn settled(&self, entry: &Entry) -> ConflictShape {
        let settled = &entry.settled;
        let cells = (settled.winner.as_deref(), settled.losers.as_slice());
        let shape = self.shape(settled.id, &settled.path, settled.rule, Some(settled.label), cells);
        ConflictShape { at: Some(Time(entry.at)), ..shape }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// `open`, `settled` or `all`.
    #[serde(default = "open_ones")]
    state: String,
    /// Only of documents whose names begin so, like `device/ps-017/`.
    #[serde(default)]
    prefix: String,
    /// How many.
    limit: Option<usize>,
    /// Settled ones behind this number, from the answer before.
    before: Option<u64>,
}

fn open_ones() -> String {
    "open".to_owned()
}

async fn list(
    Reader(_): Reader,
    State(twins): State<Twins>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<ConflictList>, Problem> {
    let (with_open, with_settled) = match wanted.state.as_str() {
        "open" => (true, false),
        "settled" => (false, true),
        "all" => (true, true),
        other => {
            let detail = format!("`{other}` is no state of a conflict");
            return Err(Problem::parameter("state", detail).expected("open, settled or all"));
        }
    };
    let limit = limit(wanted.limit, LIST, LIST_MAX)?;
    let this = twins.clone();
    let look = move |view: &Snapshot<'_>| {
        let mut conflicts = Vec::new();
        let found = if with_open && wanted.before.is_none() {
            open::list(view, &wanted.prefix, limit, |document| this.policy(document))?
        } else {
            Vec::new()
        };
        for open in &found {
            conflicts.push(Teller::new(&this, view, &open.document).open(open));
        }
        let room = limit.saturating_sub(conflicts.len());
        let mut before = None;
        if with_settled && room > 0 {
            let entries = journal::list(view, &wanted.prefix, wanted.before, room)?;
            before = entries.last().filter(|_| entries.len() == room).map(|(number, _)| *number);
            for (_, entry) in &entries {
                conflicts.push(Teller::new(&this, view, &entry.document).settled(entry));
            }
        }
        Ok(ConflictList { conflicts, open: found.len(), before })
    };
    Ok(Json(twins.store().read(look).await.map_err(fault_problem)?))
}

/// What stays: one of the values that are there, or another.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Resolution")]
struct ChoiceShape {
    /// Which of the values: 0 for the shown one, from 1 on for the others.
    #[serde(rename = "use")]
    at: Option<usize>,
    /// Another value; null for none.
    #[serde(default, deserialize_with = "given")]
    value: Option<Value>,
}

/// A null that was sent is not the same as nothing.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

async fn resolve(
    Admin(_): Admin,
    State(twins): State<Twins>,
    Path(id): Path<String>,
    Body(choice): Body<ChoiceShape>,
) -> Result<Json<ConflictShape>, Problem> {
    let choice = match (choice.at, choice.value) {
        (Some(at), None) => Choice::Use(at),
        (None, Some(value)) => Choice::Value(value),
        _ => {
            let detail = "say which value stays, one way or the other";
            return Err(Problem::invalid("invalid-choice", detail).expected("`use` or `value`"));
        }
    };
    let unknown = || {
        let detail = format!("there is no open conflict `{id}`: a value may have come since");
        Problem::not_found(detail).expected("an id from GET /v1/conflicts")
    };
    let bytes: Option<[u8; 16]> =
        HEXLOWER.decode(id.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    let found = ConflictId(bytes.ok_or_else(unknown)?);
    let entry = match conflicts::resolve(&twins, found, choice).await {
        Ok(entry) => entry,
        Err(ResolveError::Unknown) => return Err(unknown()),
        Err(ResolveError::Choice(count)) => {
            let detail = format!("there are {count} values");
            let expected = format!("0 to {}", count.saturating_sub(1));
            return Err(Problem::invalid("invalid-choice", detail).at("use").expected(expected));
        }
        Err(ResolveError::Value(wrong)) => {
            let problem = Problem::invalid(wrong.code, wrong.detail);
            return Err(problem.at("value").expected(wrong.expected));
        }
        Err(ResolveError::Write(error)) => return Err(PatchError::Write(error).problem()),
    };
    let this = twins.clone();
    let tell =
        move |view: &Snapshot<'_>| Ok(Teller::new(&this, view, &entry.document).settled(&entry));
    Ok(Json(twins.store().read(tell).await.map_err(fault_problem)?))
}
