//! The desk between those who find something and the engine that takes it.
//!
//! Pipeline and broker look here for what begins runs, and for the conditions that runs wait for;
//! what they find they write down with what they found it in ([`super::due`]) and hand in. It is
//! there before the engine is, so that nothing that comes first is overlooked.

use super::afar::Away;
use super::due::Due;
use super::engine::Command;
use super::library::{Flow, Library};
use holdfast_core::condition::Rule;
use holdfast_core::flow::about::Placement;
use holdfast_core::flow::trigger::{On, Trigger};
use holdfast_core::log::runs::RunId;
use holdfast_core::state::Role;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::{Notify, mpsc, watch};

/// A condition that a run waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Of which device.
    pub device: String,
    /// Of which metric.
    pub metric: String,
    /// What is looked for.
    pub rule: Rule,
}

/// What changes in what runs wait for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WaitChange {
    /// A run waits for a condition, or for another one than before.
    Begin(RunId, u8, Watched),
    /// It does not at present, and will perhaps again.
    Pause(RunId, u8),
    /// It is over.
    End(RunId),
}

/// A trigger of a workflow, with that.
#[derive(Clone, Debug)]
pub struct Begins {
    /// The workflow.
    pub flow: Arc<Flow>,
    /// The number of the trigger.
    pub trigger: u16,
}

impl Begins {
    /// The trigger.
    ///
    /// # Panics
    /// Where the workflow has no such trigger.
    #[must_use]
    pub fn trigger(&self) -> Trigger<'_> {
        self.flow.image().trigger(self.trigger).expect("it was found in this image")
    }

    /// By which its state is known, whatever the version of the workflow.
    #[must_use]
    pub fn mark(&self) -> [u8; 8] {
        let mut what = Vec::new();
        self.trigger().on.encode(&mut what).expect("a vector has room");
        let mut out = [0; 8];
        out.copy_from_slice(&blake3::hash(&what).as_bytes()[..8]);
        out
    }
}

/// What the parts of a node share that begin runs; clones are the same desk.
#[derive(Clone)]
pub struct Desk {
    role: Role,
    library: Arc<RwLock<Library>>,
    changes: Arc<watch::Sender<u64>>,
    away: Away,
    waits: Arc<Mutex<Vec<WaitChange>>>,
    wake: Arc<Notify>,
    found: mpsc::UnboundedSender<Command>,
}

/// What is handed in.
pub struct Tray(pub(super) mpsc::UnboundedReceiver<Command>);

impl Desk {
    /// Reads the workflows that are installed on a gateway, or on the hub.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(store: &Store, role: Role) -> Result<(Self, Tray), Fault> {
        let load = |view: &Snapshot<'_>| Ok((Library::load(view)?, Away::load(view)?));
        let (library, away) = store.read_blocking(load)?;
        let (found, tray) = mpsc::unbounded_channel();
        let library = Arc::new(RwLock::new(library));
        let (changes, waits, wake) = (Arc::default(), Arc::default(), Arc::default());
        Ok((Self { role, library, changes, away, waits, wake, found }, Tray(tray)))
    }

    /// Runs on devices.
    pub(super) const fn away(&self) -> &Away {
        &self.away
    }

    pub(super) fn library(&self) -> RwLockReadGuard<'_, Library> {
        self.library.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the library; whoever looks for triggers notices.
    pub(super) fn change(&self, change: impl FnOnce(&mut Library)) {
        change(&mut self.library.write().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// How often the library has changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Tells whenever the library changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What this node is.
    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// The triggers of the workflows of which new runs may begin here, or are to be handed on from
    /// here, of each of its newest version. Devices find themselves what begins theirs.
    #[must_use]
    pub fn triggers(&self, is: impl Fn(&On<'_>) -> bool) -> Vec<Begins> {
        let library = self.library();
        let newest = library.ids().filter_map(|id| library.newest(id));
        let all = newest.flat_map(|flow| {
            let placement = flow.about().placement;
            let is_here = |on: &On<'_>| match placement {
                Placement::Device => false,
                Placement::Hub => is_hubs(on) == (self.role == Role::Hub),
                Placement::Any | Placement::Edge => true,
            };
            let image = flow.image();
            let triggers =
                image.triggers().filter(|(_, trigger)| is_here(&trigger.on) && is(&trigger.on));
            let numbers: Vec<u16> = triggers.map(|(number, _)| number).collect();
            let begins = |trigger| Begins { flow: Arc::clone(flow), trigger };
            numbers.into_iter().map(begins).collect::<Vec<_>>()
        });
        all.collect()
    }

    /// Hands in what was found and is on disk.
    pub fn found(&self, all: impl IntoIterator<Item = Due>) {
        for due in all {
            // Where the engine has stopped it finds this at its next start.
            let _ = self.found.send(Command::Due(due));
        }
    }

    pub(super) fn sender(&self) -> mpsc::UnboundedSender<Command> {
        self.found.clone()
    }

    pub(super) fn waits_changed(&self, change: WaitChange) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        self.wake.notify_one();
    }

    /// Whether something has changed in what runs wait for.
    pub(crate) fn has_waits(&self) -> bool {
        !self.waits.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits until something changes in what runs wait for.
    pub(crate) async fn waits_change(&self) {
        self.wake.notified().await;
    }

    /// What has changed in what runs wait for since this was asked last.
    pub(crate) fn take_waits(&self) -> Vec<WaitChange> {
        std::mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the hub looks for itself: the time, and alerts, of which it hears from everywhere. All else
/// is found where it happens.
pub(super) const fn is_hubs(on: &On<'_>) -> bool {
    matches!(on, On::Schedule { .. } | On::Alert { .. })
}
