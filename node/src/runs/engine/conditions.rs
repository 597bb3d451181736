//! Which conditions over readings runs wait for, told to the desk as it changes.

use crate::runs::desk::{Desk, WaitChange, Watched};
use crate::runs::library::Flow;
use holdfast_core::flow::signal::{Source, Word, signal};
use holdfast_core::flow::view::{self, Wait};
use holdfast_core::flow::{Image, Memory};
use holdfast_core::log::runs::RunId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(super) struct Conditions {
    desk: Desk,
    /// What the desk knows: by run and signal what is watched, and whether the run waits for it.
    told: HashMap<RunId, BTreeMap<u8, (Watched, bool)>>,
}

impl Conditions {
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, told: HashMap::new() }
    }

    /// Tells what a run waits for as it stands now.
    pub(super) fn look(&mut self, run: RunId, flow: &Flow, memory: &[u8]) {
        if !flow.has_conditions() {
            return;
        }
        let image = flow.image();
        let Some(memory) = Memory::new(memory, image.sizes) else { return };
        let waited: BTreeSet<u8> = awaited(&image, memory).collect();
        let told = self.told.entry(run).or_default();
        for number in 0..image.sizes.signals {
            let is_waited = waited.contains(&number);
            let known = told.get_mut(&number);
            if !is_waited {
                if let Some((_, waits @ true)) = known {
                    *waits = false;
                    self.desk.waits_changed(WaitChange::Pause(run, number));
                }
                continue;
            }
            let Some(watched) = watched(&image, memory, number) else { continue };
            let now = (watched, true);
            if known.is_none_or(|known| *known != now) {
                self.desk.waits_changed(WaitChange::Begin(run, number, now.0.clone()));
                told.insert(number, now);
            }
        }
    }

    /// Has a condition looked at for which a run does not wait at present: its state is kept.
    pub(super) fn keep(&mut self, run: RunId, number: u8, flow: &Flow, memory: &[u8]) {
        let image = flow.image();
        let Some(memory) = Memory::new(memory, image.sizes) else { return };
        let told = self.told.entry(run).or_default();
        if told.contains_key(&number) {
            return;
        }
        if let Some(watched) = watched(&image, memory, number) {
            self.desk.waits_changed(WaitChange::Begin(run, number, watched.clone()));
            self.desk.waits_changed(WaitChange::Pause(run, number));
            told.insert(number, (watched, false));
        }
    }

    /// A condition was found true: whoever waits for it again has to say so.
    pub(super) fn found(&mut self, run: RunId, number: u8) {
        let told = self.told.get_mut(&run).and_then(|told| told.get_mut(&number));
        if let Some((_, waits)) = told {
            *waits = false;
        }
    }

    /// A run is over.
    pub(super) fn end(&mut self, run: RunId) {
        if self.told.remove(&run).is_some() {
            self.desk.waits_changed(WaitChange::End(run));
        }
    }
}

/// The signals that a run waits for.
pub(in crate::runs) fn awaited<'m>(
    image: &Image<'_>,
    memory: Memory<'m>,
) -> impl Iterator<Item = u8> + 'm {
    view::waits(image, memory).filter_map(|waiting| match waiting.wait {
        Wait::Signal(number) => Some(number),
        _ => None,
    })
}

fn watched(image: &Image<'_>, memory: Memory<'_>, number: u8) -> Option<Watched> {
    let Source::Condition { device, metric, rule } = signal(image, number)?.source else {
        return None;
    };
    let text = |word| match word {
        Word::Literal(text) => text.to_owned(),
        Word::Register(reg) => memory.text(reg).to_owned(),
    };
    Some(Watched { device: text(device), metric: text(metric), rule })
}
