//! duroxide and Node-RED: one keeps durable runs, the other acts on messages and keeps nothing.

use super::programs::{self, Measured, node, rust};
use std::io;

/// Runs those that are here.
///
/// # Errors
/// When one fails.
pub fn measure() -> io::Result<Vec<Measured>> {
    let peers = [("duroxide", rust("duroxide")), ("node-red", node("node-red", "node-red"))];
    programs::measure("workflow", peers)
}
