//! Workflows that devices run: which a device is to have, and how those that it has stand.

use super::letters::envelope;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device;
use holdfast_core::device::flows::{Held, Wanted};
use holdfast_core::device::reported::RESERVED;
use holdfast_core::state::Path;
use holdfast_node::runs::Desk;
use holdfast_node::runs::assigned::FOLDER;
use holdfast_node::twins::{Shown, nest};
use holdfast_sync::Fault;
use holdfast_sync::artefact::shelf;
use holdfast_sync::store::Snapshot;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// Hexadecimal digits by which an artefact is shown of which nothing is known here.
pub const SHORT: usize = 16;

/// The envelope with the workflows that a device is to have.
#[must_use]
pub fn wanted(artefacts: &[ArtefactId]) -> Option<Vec<u8>> {
    let some = artefacts.iter().copied().take(device::flows::FLOWS_MAX).collect();
    envelope(device::FLOWS, |out| Wanted(some).encode(out))
}

/// How the workflows stand that a device has, by their paths in what it reports.
///
/// # Errors
/// A database fault, or damage.
pub fn standing(
    view: &Snapshot<'_>,
    desk: &Desk,
    held: &Held,
) -> Result<BTreeMap<String, Json>, Fault> {
    let mut out = BTreeMap::new();
    for (id, stands) in &held.0 {
        let called = match desk.called(id) {
            Some(called) => Some(called),
            None => match shelf::find(view, id)? {
                Some(stored) => {
                    let content = stored.manifest()?.content;
                    Some((content.name.to_owned(), content.version.to_owned()))
                }
                None => None,
            },
        };
        let path = called.map(|(name, version)| format!("{RESERVED}/{FOLDER}/{name}/{version}"));
        // Two artefacts may be called the same.
        let path = path.filter(|path| Path::new(path).is_ok() && !out.contains_key(path));
        let path = path.unwrap_or_else(|| {
            let mut digits = id.to_string();
            digits.truncate(SHORT);
            format!("{RESERVED}/{FOLDER}/{digits}")
        });
        out.insert(path, Json::from(stands.words()));
    }
    Ok(out)
}

/// What is to be changed of what a device reports, so that its workflows stand there so; nothing
/// where they do.
#[must_use]
pub fn change(shown: &Shown, now: &BTreeMap<String, Json>) -> Option<Json> {
    let folder = format!("{RESERVED}/{FOLDER}/");
    let said = shown.iter().filter(|(path, _)| path.starts_with(&folder));
    let gone =
        said.filter(|(path, _)| !now.contains_key(*path)).map(|(path, _)| (path, Json::Null));
    let is_new =
        |path: &str, stands: &Json| shown.at(path).is_none_or(|leaf| leaf.value != *stands);
    let new = now.iter().filter(|(path, stands)| is_new(path, stands));
    let changes = new.map(|(path, stands)| (path.as_str(), stands.clone()));
    let changes: BTreeMap<&str, Json> = changes.chain(gone).collect();
    let patch: Map<String, Json> = nest(changes.into_iter());
    (!patch.is_empty()).then_some(Json::Object(patch))
}
