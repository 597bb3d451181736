//! Choosing: a person ends an open conflict by a write that has seen all its values.
//!
//! The choice is made against the conflict's name, which is a hash of what was there to choose
//! from. If another value has come meanwhile, it has another name and nothing is chosen blindly.

use super::{Open, encode, journal, open};
use crate::twins::{Patch, Twins, Wrong, nest};
use holdfast_core::state::{Author, Cell, ConflictId, Content, Label, Path, Policy, Rule};
use holdfast_sync::docs::{Contents, Edit, Settled, What};
use holdfast_sync::store::{WriteError, WriteTx};
use serde_json::Value as Json;

/// Open conflicts that are looked through for one.
pub(super) const OPEN_MAX: usize = 10_000;

/// What stays.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// One of the values there are, counted from 0, the shown one first.
    Use(usize),
    /// Another value; null for none.
    Value(Json),
}

/// Why a conflict was not resolved.
#[derive(Debug)]
pub enum ResolveError {
    /// There is no such open conflict.
    Unknown,
    /// It has fewer values.
    Choice(usize),
    /// No document takes the value.
    Value(Wrong),
    /// The store or the document did not take it.
    Write(WriteError),
}

impl From<WriteError> for ResolveError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

/// Ends an open conflict; gives what was settled. It is on disk then.
///
/// # Errors
/// [`ResolveError`]; nothing has changed then.
pub async fn resolve(
    twins: &Twins,
    id: ConflictId,
    choice: Choice,
) -> Result<journal::Entry, ResolveError> {
    let this = twins.clone();
    let change = move |tx: &mut WriteTx<'_>| resolve_in(&this, tx, id, &choice);
    let (_committed, outcome) = twins.store().write(change).await?;
    outcome
}

type Resolved = Result<journal::Entry, ResolveError>;

fn resolve_in(
    twins: &Twins,
    tx: &mut WriteTx<'_>,
    id: ConflictId,
    choice: &Choice,
) -> Result<Resolved, WriteError> {
    let open = open::list(tx, "", OPEN_MAX, |document| twins.policy(document))?;
    let Some(open) = open.into_iter().find(|open| open.id == id) else {
        return Ok(Err(ResolveError::Unknown));
    };
    let cells: Vec<Cell<'_>> =
        open.choices.iter().filter_map(|cell| Cell::from_bytes(cell).ok()).collect();
    let (values, label) = match choice {
        Choice::Value(json) => (Given::Json(json.clone()), Label::Merge),
        Choice::Use(at) => match cells.get(*at) {
            None => return Ok(Err(ResolveError::Choice(cells.len()))),
            Some(cell) => {
                let here = cell.author == Author::node(&twins.store().node());
                let label = if here { Label::UseLocal } else { Label::UseRemote };
                (Given::Cell(cell), label)
            }
        },
    };
    if let Err(error) = write(twins, tx, &open, &values)? {
        return Ok(Err(error));
    }
    let path = Path::new(&open.path)?;
    let now = Contents::read(tx, &open.document)?;
    let winner = now.at(path).first().map(encode);
    let chosen = winner.as_deref().and_then(|bytes| Cell::from_bytes(bytes).ok());
    let lost = |cell: &&Cell<'_>| chosen.is_none_or(|chosen| chosen.content != cell.content);
    let losers = cells.iter().filter(lost).map(encode).collect();
    let (rule, label) = (Rule::KeepAll, Some(label));
    let settled = Settled { id, path: open.path.clone(), rule, label, winner, losers };
    let at = tx.now();
    journal::add(tx, &open.document, at, std::slice::from_ref(&settled))?;
    Ok(Ok(journal::Entry { document: open.document, at, settled }))
}

/// What is to stand at the path.
enum Given<'a> {
    Cell(&'a Cell<'a>),
    Json(Json),
}

fn write(
    twins: &Twins,
    tx: &mut WriteTx<'_>,
    open: &Open,
    given: &Given<'_>,
) -> Result<Result<(), ResolveError>, WriteError> {
    let path = Path::new(&open.path)?;
    let patch = match given {
        Given::Cell(_) => Patch::default(),
        Given::Json(json) => {
            let nested = nest(std::iter::once((open.path.as_str(), json.clone())));
            match Patch::read(&Json::Object(nested)) {
                Ok(patch) => patch,
                Err(wrong) => return Ok(Err(ResolveError::Value(wrong))),
            }
        }
    };
    let edits: Vec<Edit<'_>> = match given {
        Given::Json(_) => patch.edits(|_| true),
        Given::Cell(cell) => vec![Edit { path, what: again(cell.content) }],
    };
    let bytes = twins.policy(&open.document);
    let policy = Policy::from_bytes(&bytes).unwrap_or(Policy::LWW);
    let writer = twins.writer(tx)?;
    twins.documents().write(tx, &open.document, &policy, writer, &edits)?;
    twins.steward().written(tx, &open.document)?;
    Ok(Ok(()))
}

/// What is written to have a cell's content once more.
fn again(content: Content<'_>) -> What<'_> {
    match content {
        Content::Value(value) => What::Put(value),
        Content::Tombstone | Content::Counter(_) | Content::Set(_) => What::Delete,
    }
}
