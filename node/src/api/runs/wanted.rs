//! Which runs are asked for: by workflow, by state, and by a text that people remember of one.
//!
//! The text is looked for in what names a run and in what it knows, so that whoever has a device
//! before them finds the runs that are about it. Upper and lower case are the same there.

use super::{Queued, RunQuery, RunShape};
use crate::problem::Problem;
use crate::runs::effect::shown;
use crate::runs::{Flow, Run};
use holdfast_core::flow::image::Named;
use holdfast_core::flow::{Memory, Slot};

const STATES: [&str; 8] =
    ["waiting", "running", "undoing", "succeeded", "failed", "cancelled", "forwarded", "parked"];

/// What is asked for.
pub(super) struct Wanted {
    workflow: Option<String>,
    state: Option<String>,
    /// In lower case.
    text: Option<String>,
}

impl Wanted {
    /// What a query asks for.
    pub fn of(query: &RunQuery) -> Result<Self, Problem> {
        let RunQuery { workflow, state, text, .. } = query;
        if let Some(state) = state.as_deref().filter(|state| !STATES.contains(state)) {
            let detail = format!("`{state}` is no state of a run");
            return Err(Problem::parameter("state", detail).expected(STATES.join(", ")));
        }
        let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let text = text.map(str::to_lowercase);
        Ok(Self { workflow: workflow.clone(), state: state.clone(), text })
    }

    /// Whether a run is meant that waits for room.
    pub fn takes_waiting(&self, shape: &RunShape, value: &[u8]) -> bool {
        let knows = || Queued::decode(value).map(|queued| vec![queued.input]).unwrap_or_default();
        self.takes(shape, knows)
    }

    /// Whether a run is meant that has begun.
    pub fn takes_begun(&self, shape: &RunShape, run: &Run, flow: Option<&Flow>) -> bool {
        self.takes(shape, || flow.map(|flow| texts_of(flow, run)).unwrap_or_default())
    }

    fn takes(&self, shape: &RunShape, knows: impl FnOnce() -> Vec<String>) -> bool {
        let is_in = |state: &str| match state {
            "parked" => shape.waits.iter().any(|wait| wait.wait == "decision"),
            state => shape.state == state,
        };
        self.workflow.as_ref().is_none_or(|workflow| shape.workflow == *workflow)
            && self.state.as_deref().is_none_or(is_in)
            && self.text.as_ref().is_none_or(|text| says(shape, text) || any(&knows(), text))
    }
}

fn any(texts: &[String], text: &str) -> bool {
    texts.iter().any(|one| one.to_lowercase().contains(text))
}

/// Whether what an answer says of a run has a text in it.
fn says(shape: &RunShape, text: &str) -> bool {
    let RunShape { id, device, workflow, version, by, error, waits, .. } = shape;
    let named = [id, workflow, version, by].into_iter().chain(error).chain(device);
    let told = waits.iter().map(|wait| &wait.text);
    named.chain(told).any(|one| one.to_lowercase().contains(text))
}

/// The variables of a run that are texts.
fn texts_of(flow: &Flow, run: &Run) -> Vec<String> {
    let image = flow.image();
    let Some(memory) = Memory::new(&run.memory, image.sizes) else { return Vec::new() };
    let slots = image.names().filter_map(|(named, _)| match named {
        Named::Slot(slot @ Slot::Text(_)) => Some(slot),
        _ => None,
    });
    slots.filter_map(|slot| shown(&image, memory, slot).as_str().map(str::to_owned)).collect()
}
