//! Which workflows a device is to have.
//!
//! Those for devices that its site uses, as far as something of this device can begin them: by its
//! id and by its tags, which a device does not know itself. So what begins its runs is judged here,
//! before it has the workflow, and not by whoever finds it.

use super::desk::Desk;
use super::library::Flow;
use super::local::is_tagged;
use crate::glob;
use crate::twins::Shown;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device::flows::FLOWS_MAX;
use holdfast_core::flow::trigger::On;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The workflows that a device is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The artefacts, that which was installed first before the others.
    pub artefacts: Vec<ArtefactId>,
    /// Those for which it has no place: `ID VERSION`.
    pub left_out: Vec<String>,
}

impl Desk {
    /// What a device with these tags is to have.
    #[must_use]
    pub fn offer(&self, device: &str, tags: &Shown) -> Offer {
        let library = self.library();
        let mut flows: Vec<_> = library
            .all()
            .filter_map(|flow| Some((artefact_for(flow, device, tags)?, flow)))
            .collect();
        // In the order of their names where they came at once.
        flows.sort_by_key(|(_, flow)| flow.installed.added_ms);
        // Of the versions of a workflow the one that was installed last begins runs.
        let newest: BTreeMap<&str, ArtefactId> =
            flows.iter().map(|(artefact, flow)| (flow.id.as_str(), *artefact)).collect();
        flows.retain(|(artefact, flow)| newest.get(flow.id.as_str()) == Some(artefact));
        let rest = flows.split_off(flows.len().min(FLOWS_MAX));
        let name = |flow: &Arc<Flow>| format!("{} {}", flow.id, flow.version);
        Offer {
            artefacts: flows.into_iter().map(|(artefact, _)| artefact).collect(),
            left_out: rest.into_iter().map(|(_, flow)| name(flow)).collect(),
        }
    }

    /// Id and version of the workflow that came as an artefact.
    #[must_use]
    pub fn called(&self, artefact: &ArtefactId) -> Option<(String, String)> {
        let library = self.library();
        let is_it = |flow: &&Arc<Flow>| {
            flow.installed.origin.as_ref().is_some_and(|origin| origin.artefact == *artefact)
        };
        library.all().find(is_it).map(|flow| (flow.id.clone(), flow.version.clone()))
    }
}

/// The artefact as which a workflow came, if it is for this device.
fn artefact_for(flow: &Flow, device: &str, tags: &Shown) -> Option<ArtefactId> {
    let is_used = flow.installed.is_enabled && flow.installed.is_used();
    let origin = flow.installed.origin.as_ref().filter(|_| is_used && flow.is_for_devices())?;
    let has = |(name, value): (&str, &str)| is_tagged(tags, name, value);
    let only = || flow.only().iter().all(|(name, value)| has((name, value)));
    let image = flow.image();
    let is_of = |on: &On<'_>| match on {
        On::Reading { of, .. } => glob::fits(of.pattern, device) && of.tags.iter().all(has),
        _ => false,
    };
    let begins = || image.triggers().any(|(_, trigger)| is_of(&trigger.on));
    (only() && begins()).then_some(origin.artefact)
}
