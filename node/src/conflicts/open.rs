//! Conflicts that wait for a person: the values that are kept side by side at a path.
//!
//! Nothing is stored of them but the document itself; the store knows which documents have cells
//! that have not seen each other, and of those few the views tell.

use super::encode;
use holdfast_core::state::{ConflictId, Policy, Resolved, conflict_id};
use holdfast_sync::Fault;
use holdfast_sync::docs::{Contents, DocumentName};
use holdfast_sync::store::{ReadRecords, Table};

/// A conflict that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its name, the same on every node.
    pub id: ConflictId,
    /// The document.
    pub document: DocumentName,
    /// The path.
    pub path: String,
    /// The cells to choose from, the shown one first.
    pub choices: Vec<Vec<u8>>,
}

/// The open conflicts of documents whose names begin with `prefix`, by document and path, at most
/// `limit`; `policy` says how a document is resolved.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn list(
    records: &(impl ReadRecords + ?Sized),
    prefix: &str,
    limit: usize,
    policy: impl Fn(&DocumentName) -> std::sync::Arc<[u8]>,
) -> Result<Vec<Open>, Fault> {
    let mut out = Vec::new();
    for (key, _) in records.scan(Table::DocumentContested, prefix.as_bytes())? {
        let text = std::str::from_utf8(&key).ok();
        let Some(document) = text.and_then(|text| DocumentName::new(text).ok()) else { continue };
        let bytes = policy(&document);
        let policy = Policy::from_bytes(&bytes).unwrap_or(Policy::LWW);
        let contents = Contents::read(records, &document)?;
        contents.view(&document, &policy, |view| {
            let open = view.filter(|resolved| !resolved.is_hidden && resolved.outcome.is_open());
            out.extend(open.map(|resolved| found(&document, &resolved)));
        });
        if out.len() >= limit {
            out.truncate(limit);
            break;
        }
    }
    Ok(out)
}

fn found(document: &DocumentName, resolved: &Resolved<'_, '_, '_>) -> Open {
    Open {
        id: conflict_id(document.path(), resolved),
        document: document.clone(),
        path: resolved.path.as_str().to_owned(),
        choices: resolved.outcome.choices().map(encode).collect(),
    }
}
