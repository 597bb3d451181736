//! The fleet a node belongs to: what it knows of its hub, and the invitation that waits.
//!
//! `join` leaves the invitation as a file in the data directory, so it works whether the node runs
//! or not and whether the link is up or not. The running node takes it up, keeps trying, and when
//! the hub has answered stores fleet, addresses and membership in one transaction.

use crate::settings;
use crate::steward::SiteSteward;
use futures::FutureExt;
use holdfast_core::Reject;
use holdfast_core::codec::{Reader, Sink};
use holdfast_node::config::Duration;
use holdfast_sync::Fault;
use holdfast_sync::artefact::Librarian;
use holdfast_sync::docs::Documents;
use holdfast_sync::identity::{FleetId, Invitation, Membership, NodeKey};
use holdfast_sync::net::{Library, Transport, Uplink, UplinkOptions, UplinkState};
use holdfast_sync::session::Backfill;
use holdfast_sync::store::{INVITATION, Snapshot, Store, Table, WriteError, write_private};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const META_FLEET: &[u8] = b"fleet";
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);
const ADDRESS_MAX: usize = 255;

/// What a member knows of its fleet.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Where the hub is.
    pub addresses: Vec<String>,
    /// The node's membership.
    pub membership: Membership,
}

impl Fleet {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = || -> Result<(), Reject> {
            out.put_uint(self.addresses.len() as u64)?;
            self.addresses.iter().try_for_each(|address| out.put_bytes(address.as_bytes()))?;
            out.put(&self.membership.encode())
        };
        put().expect("a growing buffer is never full");
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Fault> {
        let damaged = |text: String| Fault::damaged("fleet record", text);
        let mut reader = Reader::new(value);
        let mut read = || -> Result<Vec<String>, Reject> {
            (0..reader.uint()?).map(|_| reader.str(ADDRESS_MAX).map(str::to_owned)).collect()
        };
        let addresses = read().map_err(|reject| damaged(reject.to_string()))?;
        let membership = Membership::decode(reader.rest()).map_err(|e| damaged(e.to_string()))?;
        Ok(Self { addresses, membership })
    }

    /// The fleet this store's node belongs to, if it has joined one.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(view: &Snapshot<'_>) -> Result<Option<Self>, Fault> {
        view.get(Table::Meta, META_FLEET)?.map(|value| Self::decode(&value)).transpose()
    }
}

/// What a node is to its fleet.
#[derive(Clone, Debug)]
pub struct Called {
    /// The fleet.
    pub fleet: FleetId,
    /// The node's site.
    pub site: String,
    /// Its name there.
    pub name: String,
}

impl Fleet {
    /// What this store's node is to its fleet, if it has joined one.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load_called(store: &Store) -> Result<Option<Called>, Fault> {
        let fleet = store.read_blocking(|view: &Snapshot<'_>| Self::load(view))?;
        Ok(fleet.map(|Self { membership, .. }| {
            let (fleet, grant) = (membership.fleet(), membership.grant());
            Called { fleet, site: grant.site.clone(), name: grant.name.clone() }
        }))
    }
}

/// Leaves an invitation for the node of a data directory.
///
/// # Errors
/// A fault of the file.
pub fn leave_invitation(dir: &Path, invitation: &Invitation) -> Result<(), Fault> {
    write_private(&dir.join(INVITATION), invitation.to_text().as_bytes())
}

/// The invitation that waits in a data directory.
#[must_use]
pub fn waiting_invitation(dir: &Path) -> Option<Invitation> {
    let text = std::fs::read_to_string(dir.join(INVITATION)).ok()?;
    match Invitation::from_text(&text) {
        Ok(invitation) => Some(invitation),
        Err(reject) => {
            tracing::warn!(%reject, "the invitation that waits is not whole: run `join` again");
            None
        }
    }
}

/// How the uplink is configured.
#[derive(Clone, Debug)]
pub struct UplinkSettings {
    /// What carries it.
    pub transport: Transport,
    /// The order of a backlog.
    pub backfill: Backfill,
    /// The least wait.
    pub backoff_min: Duration,
    /// The greatest wait.
    pub backoff_max: Duration,
}

impl From<&settings::Sync> for UplinkSettings {
    fn from(settings: &settings::Sync) -> Self {
        Self {
            transport: settings.transport.into(),
            backfill: settings.backfill.into(),
            backoff_min: settings.backoff_min,
            backoff_max: settings.backoff_max,
        }
    }
}

/// Keeps an uplink to the hub of the node's fleet, and joins when invited.
pub struct Keeper {
    store: Store,
    key: NodeKey,
    settings: UplinkSettings,
    dir: PathBuf,
    state: watch::Sender<UplinkState>,
    documents: Arc<Documents>,
    steward: Arc<SiteSteward>,
}

impl Keeper {
    /// A keeper that does not run yet.
    #[must_use]
    pub fn new(
        store: Store,
        key: NodeKey,
        settings: UplinkSettings,
        documents: Arc<Documents>,
        steward: Arc<SiteSteward>,
    ) -> Self {
        let since = store.env().now();
        let dir = store.dir().to_owned();
        let joined = steward.site().is_some();
        let state = watch::channel(UplinkState { since, joined, ..UplinkState::default() }).0;
        Self { store, key, settings, dir, state, documents, steward }
    }

    /// Follows how the uplink is.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<UplinkState> {
        self.state.subscribe()
    }

    /// The documents and artefacts of the node, and who decides about them.
    #[must_use]
    pub fn library(&self) -> Library {
        let (documents, steward) = (Arc::clone(&self.documents), Arc::clone(&self.steward));
        let librarian = Some(Arc::clone(&self.steward) as Arc<dyn Librarian>);
        Library { documents, steward, librarian }
    }

    /// Works until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let fleet = match self.store.read(|view: &Snapshot<'_>| Fleet::load(view)).await {
                Ok(fleet) => fleet,
                Err(fault) => {
                    tracing::error!(%fault, "the fleet record is lost: join again");
                    None
                }
            };
            let invitation = waiting_invitation(&self.dir);
            let Some(uplink) = self.uplink(fleet, invitation.clone()) else {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => continue,
                    () = stop.cancelled() => return,
                }
            };
            let mut state = uplink.state();
            self.state.send_replace(state.borrow().clone());
            loop {
                tokio::select! {
                    Ok(()) = state.changed() => {
                        let now = state.borrow_and_update().clone();
                        self.state.send_replace(now);
                    }
                    () = tokio::time::sleep(LOOK) => {
                        // A new invitation replaces what was tried before.
                        let waiting = waiting_invitation(&self.dir);
                        if waiting.is_some() && waiting != invitation {
                            break;
                        }
                    }
                    () = stop.cancelled() => return uplink.stop("the node is stopping").await,
                }
            }
            uplink.stop("the node was invited anew").await;
        }
    }

    fn uplink(&self, fleet: Option<Fleet>, invitation: Option<Invitation>) -> Option<Uplink> {
        let (id, addresses): (FleetId, Vec<String>) = match (&invitation, &fleet) {
            (Some(invitation), _) => (invitation.fleet, invitation.addresses.clone()),
            (None, Some(fleet)) => (fleet.membership.fleet(), fleet.addresses.clone()),
            (None, None) => return None,
        };
        let membership = fleet.filter(|_| invitation.is_none()).map(|fleet| fleet.membership);
        if let Some(membership) = &membership {
            self.steward.know(membership);
        }
        let milliseconds = |d: Duration| u64::try_from(d.0.as_millis()).unwrap_or(u64::MAX);
        let backoff_ms =
            (milliseconds(self.settings.backoff_min), milliseconds(self.settings.backoff_max));
        let (store, dir, kept) = (self.store.clone(), self.dir.clone(), addresses.clone());
        let joined = Arc::clone(&self.steward);
        Some(Uplink::start(UplinkOptions {
            store: self.store.clone(),
            key: self.key.clone(),
            fleet: id,
            addresses,
            membership,
            invitation,
            keep: Arc::new(move |membership| {
                joined.know(&membership);
                let fleet = Fleet { addresses: kept.clone(), membership };
                keep(store.clone(), dir.clone(), fleet).boxed()
            }),
            transport: self.settings.transport,
            backfill: self.settings.backfill,
            backoff_ms,
            version: crate::VERSION.to_owned(),
            library: self.library(),
        }))
    }
}

async fn keep(store: Store, dir: PathBuf, fleet: Fleet) -> Result<(), Fault> {
    let value = fleet.encode();
    match store.write(move |tx| Ok(tx.put(Table::Meta, META_FLEET, &value)?)).await {
        Ok(_committed) => {}
        Err(WriteError::Fault(fault)) => return Err(fault),
        Err(error) => return Err(Fault::Database(error.to_string())),
    }
    // The secret has done its work; a renewal finds no file.
    let _ = std::fs::remove_file(dir.join(INVITATION));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::state;
    use holdfast_sync::env::System;
    use holdfast_sync::identity::{Grant, Role};
    use holdfast_sync::store::{Options, Overflow};

    /// In the first moments of a start, `status` said that a member had joined no fleet.
    #[tokio::test]
    async fn a_member_is_one_from_the_first_moment_of_a_start() {
        let (dir, env) = (tempfile::tempdir().unwrap(), System::env());
        let key = NodeKey::generate(&env);
        let options = Options {
            dir: dir.path().to_owned(),
            key: key.clone(),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 10,
            seal_after: 0,
            version: "test",
            scrub_every: std::time::Duration::ZERO,
            unsafe_normal_sync: true,
        };
        let store = Store::open(options, env.clone()).unwrap().0;
        let keeper = || {
            let documents = Arc::new(Documents::new(&store, key.clone(), state::Role::Edge));
            let steward = Arc::new(SiteSteward::load(&store).unwrap());
            let settings = (&settings::Sync::default()).into();
            Keeper::new(store.clone(), key.clone(), settings, documents, steward)
        };
        assert!(!keeper().state().borrow().joined);
        let (site, name) = ("north".to_owned(), "ps-001".to_owned());
        let (node, role, not_after_s) = (key.id(), Role::Edge, i64::MAX);
        let grant = Grant { key_id: 1, serial: 1, node, role, site, name, not_after_s };
        let membership = Membership::sign(&NodeKey::generate(&env), grant).unwrap();
        let fleet = Fleet { addresses: Vec::new(), membership };
        keep(store.clone(), dir.path().to_owned(), fleet).await.unwrap();
        let keeper = keeper();
        assert!(keeper.state().borrow().joined);
        assert_eq!(keeper.steward.site().as_deref(), Some("north"));
    }
}
