//! Workflows that sites have their gateways use: what is installed follows what is assigned.
//!
//! A site's document refers to artefacts ([`crate::artefacts`]); those of the kind `flow` that are
//! here whole are installed as soon as the verifier takes them. A version that its site does not
//! use any more begins no runs from then on, and goes when the last of its runs is over. What
//! somebody installed here by hand is left alone. How each version stands is said in the node's own
//! document, `workflows/ID/VERSION`, which the hub holds, too.

use super::library::Flow;
use super::record::Origin;
use super::{NotForHere, RunError, Runs};
use crate::artefacts::{Assigned, SiteChanges, Sites, assigned};
use crate::twins::{Condition, Patch, PatchError, Twins};
use holdfast_core::artefact::ArtefactId;
use holdfast_core::flow::about::Placement;
use holdfast_core::state::Role;
use holdfast_sync::Fault;
use holdfast_sync::artefact::shelf;
use holdfast_sync::docs::DocumentName;
use holdfast_sync::store::Snapshot;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[cfg(test)]
pub(super) mod tests;

/// The kind of artefacts that are workflows.
pub const KIND: &str = "flow";
/// Where versions of workflows are in a node's document.
pub const FOLDER: &str = "workflows";
/// How often it is looked again while an artefact is still to come.
const LOOK: Duration = Duration::from_secs(2);
/// How often otherwise: for runs that end, and for what nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Bytes of how a version stands.
const STANDS_MAX_BYTES: usize = 200;

/// Versions of workflows, and how each stands.
type Standing = BTreeMap<(String, String), String>;

/// What follows the assignments of sites.
pub struct Assignments {
    /// The documents.
    pub twins: Twins,
    /// Where workflows are installed.
    pub runs: Runs,
    /// The sites.
    pub sites: Sites,
}

/// An artefact that a site uses, as it is here.
struct Wanted {
    origin: Origin,
    /// Name and version, as its publisher says; none before its manifest is here.
    called: Option<(String, String)>,
    publisher: String,
    /// None before all of it is here.
    image: Option<Vec<u8>>,
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("{0}")]
    Document(String),
}

impl From<PatchError> for RoundError {
    fn from(error: PatchError) -> Self {
        Self::Document(format!("{error:?}"))
    }
}

impl Assignments {
    /// Follows them until told to stop.
    pub async fn follow(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.follow_sites(&stop).await {
                tracing::warn!(%error, "what sites have installed waits");
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Looks at each change of a site's document.
    async fn follow_sites(&self, stop: &CancellationToken) -> Result<(), RoundError> {
        let mut sites = SiteChanges::follow(self.twins.store()).await?;
        loop {
            let pause = if self.round().await? { LOOK_AGAIN } else { LOOK };
            tokio::select! {
                changed = sites.next() => if !changed? { return Ok(()) },
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Looks once; whether no artefact is still to come.
    async fn round(&self) -> Result<bool, RoundError> {
        let (sites, known) = ((self.sites)(), self.origins());
        let look = move |view: &Snapshot<'_>| wanted(view, &sites, &known);
        let wanted = self.twins.store().read(look).await?;
        let mut standing = Standing::new();
        let mut is_settled = true;
        for one in &wanted {
            if let Some((called, stands)) = self.install(one).await {
                is_settled &= stands != "fetching";
                standing.insert(called, stands);
            } else {
                is_settled &= one.called.is_some();
            }
        }
        let ids: Vec<_> = wanted.iter().map(|one| one.origin.artefact).collect();
        self.give_up(&ids).await;
        for flow in self.runs.library().all() {
            let called = (flow.id.clone(), flow.version.clone());
            standing.entry(called).or_insert_with(|| stands(flow));
        }
        if self.runs.role() == Role::Edge {
            self.say(&standing).await?;
        }
        Ok(is_settled)
    }

    /// The artefacts that are installed as they are wanted, with the tags of their sites.
    fn origins(&self) -> Vec<Origin> {
        let library = self.runs.library();
        let origins = library.all().filter_map(|flow| flow.installed.origin.clone());
        origins.filter(|origin| !origin.is_given_up).collect()
    }

    /// Installs what is here whole; how it stands where that is not said by what is installed.
    async fn install(&self, wanted: &Wanted) -> Option<((String, String), String)> {
        let called = wanted.called.clone()?;
        let Some(image) = wanted.image.clone() else {
            let is_installed = self.origins().contains(&wanted.origin);
            return (!is_installed).then(|| (called, "fetching".to_owned()));
        };
        let by = format!("{}, for the site", wanted.publisher);
        let now_ms = self.twins.store().env().now().millis();
        let origin = Some(wanted.origin.clone());
        let flow = match self.runs.accept_from(image, (&by, origin), now_ms) {
            Ok(flow) => flow,
            // A site's workflows are for its gateways; the hub takes those that are for it.
            Err(NotForHere::Elsewhere(_)) => return None,
            Err(why) => return Some((called, refused(&why.to_string()))),
        };
        if self.runs.role() == Role::Hub && flow.about().placement != Placement::Hub {
            return None;
        }
        let called = (flow.id.clone(), flow.version.clone());
        match self.runs.install(flow).await {
            Ok(()) => {
                let (workflow, version) = &called;
                tracing::info!(workflow, version, "installed, as its site has it used");
                None
            }
            Err(error) => Some((called, refused(&error.to_string()))),
        }
    }

    /// Gives up what no site uses any more; what runs are pinned to goes at a later look.
    async fn give_up(&self, wanted: &[ArtefactId]) {
        let unwanted = |flow: &&Arc<Flow>| {
            let origin = flow.installed.origin.as_ref();
            origin.is_some_and(|origin| !wanted.contains(&origin.artefact))
        };
        let unwanted: Vec<_> = self.runs.library().all().filter(unwanted).cloned().collect();
        for flow in unwanted {
            let (id, version) = (flow.id.as_str(), flow.version.as_str());
            let is_given_up = flow.installed.origin.as_ref().is_some_and(|o| o.is_given_up);
            if !is_given_up && let Err(error) = self.runs.install(flow.given_up()).await {
                tracing::warn!(workflow = id, version, %error, "it goes on beginning runs");
                continue;
            }
            match self.runs.remove(id, version).await {
                Ok(()) => tracing::info!(workflow = id, version, "no site uses it any more"),
                Err(RunError::InUse(_)) => {}
                Err(error) => {
                    tracing::warn!(workflow = id, version, %error, "it stays installed");
                }
            }
        }
    }

    /// Says in this node's document how each version stands, where that has changed.
    async fn say(&self, standing: &Standing) -> Result<(), RoundError> {
        let name = DocumentName::new(&format!("node/{}", self.twins.store().node()));
        let name = name.expect("a node's id makes a name");
        let shown = self.twins.part(name.clone()).await?.shown;
        let said: BTreeMap<String, Json> = shown
            .iter()
            .filter(|(path, _)| path.split('/').next() == Some(FOLDER))
            .map(|(path, leaf)| (path.to_owned(), leaf.value.clone()))
            .collect();
        let now = |((id, version), stands): (&(String, String), &String)| {
            (format!("{FOLDER}/{id}/{version}"), Json::from(stands.as_str()))
        };
        let now: BTreeMap<String, Json> = standing.iter().map(now).collect();
        let gone = said.keys().filter(|path| !now.contains_key(*path));
        let changed: BTreeMap<&str, Json> = now
            .iter()
            .filter(|(path, stands)| said.get(*path) != Some(*stands))
            .map(|(path, stands)| (path.as_str(), stands.clone()))
            .chain(gone.map(|path| (path.as_str(), Json::Null)))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let patch: Map<String, Json> = crate::twins::nest(changed.into_iter());
        let patch = Patch::read(&Json::Object(patch));
        let patch = patch.map_err(|wrong| RoundError::Document(wrong.detail))?;
        self.twins.patch(name, patch, Condition::default()).await?;
        Ok(())
    }
}

/// What sites use, as it is here; the content only of what is not installed yet.
fn wanted(view: &Snapshot<'_>, sites: &[String], known: &[Origin]) -> Result<Vec<Wanted>, Fault> {
    let mut out: Vec<Wanted> = Vec::new();
    for site in sites {
        for Assigned { id, only, .. } in assigned(view, site)? {
            if out.iter().any(|one| one.origin.artefact == id) {
                continue;
            }
            let origin = Origin { artefact: id, only, is_given_up: false };
            let Some(stored) = shelf::find(view, &id)? else {
                let (called, publisher, image) = (None, String::new(), None);
                out.push(Wanted { origin, called, publisher, image });
                continue;
            };
            let manifest = stored.manifest()?;
            if manifest.content.kind != KIND {
                continue;
            }
            let called = (manifest.content.name.to_owned(), manifest.content.version.to_owned());
            let publisher = manifest.publisher.name.to_owned();
            let is_new = stored.is_whole() && !known.contains(&origin);
            let image = if is_new { shelf::content(view, &stored)? } else { None };
            out.push(Wanted { origin, called: Some(called), publisher, image });
        }
    }
    Ok(out)
}

/// How an installed version stands.
fn stands(flow: &Flow) -> String {
    let is_given_up = flow.installed.origin.as_ref().is_some_and(|origin| origin.is_given_up);
    let word = match (is_given_up, flow.installed.is_enabled) {
        (true, _) => "ends",
        (false, true) => "on",
        (false, false) => "off",
    };
    word.to_owned()
}

fn refused(why: &str) -> String {
    let mut text = format!("refused: {why}");
    text.truncate(text.floor_char_boundary(STANDS_MAX_BYTES));
    text
}
