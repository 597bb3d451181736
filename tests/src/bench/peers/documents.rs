//! samod and PouchDB: documents that two sides bring to agree.

use super::programs::{self, Measured, node, rust};
use std::io;

/// Runs those that are here.
///
/// # Errors
/// When one fails.
pub fn measure() -> io::Result<Vec<Measured>> {
    let peers = [("samod", rust("samod")), ("pouchdb", node("pouchdb", "pouchdb-core"))];
    programs::measure("docs", peers)
}
