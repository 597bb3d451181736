//! What of the desired section a device does not report.
//!
//! Only paths that are desired count: what a device says besides is its own affair. A path that a
//! device does not report is one that it has not taken yet; one that it reports otherwise it has
//! refused, or not taken yet either.

use super::shown::{Shown, same};
use serde_json::Value as Json;

/// A path where desired and reported differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The path.
    pub path: String,
    /// What the device should have there.
    pub desired: Json,
    /// What it says it has, if it says something.
    pub reported: Option<Json>,
}

/// The paths where a device does not report what is desired.
#[must_use]
pub fn differences(desired: &Shown, reported: &Shown) -> Vec<Difference> {
    let each = desired.iter().filter_map(|(path, wanted)| {
        let said = reported.at(path).map(|leaf| &leaf.value);
        if said.is_some_and(|said| same(said, &wanted.value)) {
            return None;
        }
        let (desired, reported) = (wanted.value.clone(), said.cloned());
        Some(Difference { path: path.to_owned(), desired, reported })
    });
    each.collect()
}
