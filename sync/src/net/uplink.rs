//! The edge's side: one hub, always being reached for.
//!
//! Dial, enrol if need be, run the session, wait with full jitter, again, without end. After
//! repeated failures the whole network part is made anew: sockets have been seen to stay dead after
//! a connectivity event until someone restarted the process.

use super::desk::{Desk, Library};
use super::driver::{Driver, PeerEvent};
use super::enrol;
use super::transport::{Net, SYNC, Stream, Transport};
use crate::Fault;
use crate::identity::{FleetId, Invitation, Membership, NodeKey, Role};
use crate::session::{Admission, Backfill, Config, End, Policy, RefusalCode};
use crate::store::Store;
use futures::future::BoxFuture;
use holdfast_core::backoff::Backoff;
use holdfast_core::log::events::{Event, Severity};
use holdfast_core::{NodeId, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Failures in a row after which the network part is made anew.
const WATCHDOG: u32 = 6;
/// A session of at least this length was a success: waiting starts over.
const PROVEN_MS: u64 = 10_000;

/// Keeps what the uplink learns; it is on disk when the future ends.
pub type KeepMembership =
    Arc<dyn Fn(Membership) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;

/// What an uplink needs.
pub struct UplinkOptions {
    /// The node's store.
    pub store: Store,
    /// The node's key.
    pub key: NodeKey,
    /// The fleet.
    pub fleet: FleetId,
    /// Where its hub is, as `host:port`, tried in this order.
    pub addresses: Vec<String>,
    /// The node's membership, if it has joined.
    pub membership: Option<Membership>,
    /// The invitation, if it has yet to join.
    pub invitation: Option<Invitation>,
    /// Stores a membership that was given to the node.
    pub keep: KeepMembership,
    /// What carries the sync.
    pub transport: Transport,
    /// The order in which a backlog is sent.
    pub backfill: Backfill,
    /// The least and the greatest wait between attempts, milliseconds.
    pub backoff_ms: (u64, u64),
    /// The program's version.
    pub version: String,
    /// The documents that are exchanged.
    pub library: Library,
}

/// How the uplink is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UplinkState {
    /// Whether a session is established.
    pub online: bool,
    /// Since when it is so.
    pub since: Timestamp,
    /// Whether the node is a member of the fleet.
    pub joined: bool,
    /// The hub, once it was reached.
    pub hub: Option<NodeId>,
    /// Attempts since the last success.
    pub attempts: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it is tried again, while it waits for that.
    pub next_attempt: Option<Timestamp>,
    /// Entries that the hub does not have yet, as far as the present session knows.
    pub behind: Option<u64>,
    /// Entries of this node that the hub had and this data directory had not, at the first hello
    /// of this start that found any.
    pub ahead: Option<u64>,
    /// When something came from the hub last.
    pub heard: Option<Timestamp>,
    /// The hub's clock less ours at the last hello, milliseconds.
    pub clock_ahead_ms: Option<i64>,
}

/// Lets in the hub of one fleet and nobody else.
pub struct UplinkPolicy(pub FleetId);

impl Policy for UplinkPolicy {
    fn admit(&self, peer: NodeId, membership: &Membership) -> Admission {
        // The hub's own end is not judged: a wrong clock here must not cut the site off.
        match membership.check(self.0, peer, Role::Hub) {
            Ok(()) => Admission::Admit,
            Err(error) if membership.fleet() == self.0 => {
                Admission::Refuse(RefusalCode::Membership, error.to_string())
            }
            Err(error) => Admission::Refuse(RefusalCode::ForeignFleet, error.to_string()),
        }
    }
}

/// A running uplink; it ends when this is dropped.
pub struct Uplink {
    state: watch::Receiver<UplinkState>,
    task: tokio::task::JoinHandle<()>,
    stop: watch::Sender<Option<(RefusalCode, String)>>,
}

impl Uplink {
    /// Starts reaching for the hub.
    #[must_use]
    pub fn start(options: UplinkOptions) -> Self {
        let now = options.store.env().now();
        let joined = options.membership.is_some();
        let initial = UplinkState { since: now, joined, ..UplinkState::default() };
        let (sender, state) = watch::channel(initial);
        let (stop, signal) = watch::channel(None);
        let backoff = Backoff::new(options.backoff_ms.0, options.backoff_ms.1);
        let runner = Runner { options, state: Arc::new(sender), backoff, net: None, signal };
        Self { state, task: tokio::spawn(runner.run()), stop }
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<UplinkState> {
        self.state.clone()
    }

    /// Ends the session with a word to the hub.
    pub async fn stop(mut self, reason: &str) {
        self.stop.send_replace(Some((RefusalCode::Unavailable, reason.to_owned())));
        // A hub that takes nothing must not hold up the stop.
        let _ = tokio::time::timeout(Duration::from_secs(3), &mut self.task).await;
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Runner {
    options: UplinkOptions,
    state: Arc<watch::Sender<UplinkState>>,
    backoff: Backoff,
    net: Option<Net>,
    signal: watch::Receiver<Option<(RefusalCode, String)>>,
}

impl Runner {
    async fn run(mut self) {
        loop {
            let mut signal = self.signal.clone();
            let counts = self.options.store.counts();
            let connected = counts.connected.get();
            counts.attempts.add(1);
            let error = tokio::select! {
                error = self.attempt() => error,
                // Between sessions there is nobody to say it to.
                _ = stopped(&mut signal), if !self.state.borrow().online => return,
            };
            if self.signal.borrow().is_some() {
                return;
            }
            let counts = self.options.store.counts();
            if counts.connected.get() == connected {
                counts.failures.add(1);
            }
            let wait = self.backoff.next_ms(self.options.store.env().entropy());
            let attempts = self.backoff.attempts();
            self.went_offline(&error, attempts, wait);
            let peer = self.options.addresses.join(",");
            tracing::info!(
                peer,
                reason = error,
                attempts,
                wait_ms = wait,
                "no session with the hub"
            );
            if attempts.is_multiple_of(WATCHDOG) && self.net.take().is_some() {
                tracing::warn!("the network part is made anew after {attempts} failures");
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
                _ = stopped(&mut signal) => return,
            }
            self.state.send_modify(|state| state.next_attempt = None);
        }
    }

    fn went_offline(&self, error: &str, attempts: u32, wait_ms: u64) {
        let now = self.options.store.env().now();
        let wait_ns = i64::try_from(wait_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        self.state.send_modify(|state| {
            if state.online {
                state.since = now;
            }
            state.online = false;
            state.behind = None;
            state.attempts = attempts;
            state.last_error = Some(error.to_owned());
            state.next_attempt = Some(now.saturating_add(wait_ns));
        });
    }

    /// One attempt, from the dial to the end of the session; returns what ended it.
    async fn attempt(&mut self) -> String {
        let net = match self.net.clone() {
            Some(net) => net,
            None => match Net::start(self.options.transport, &self.options.key, None).await {
                Ok(net) => self.net.insert(net).clone(),
                Err(error) => return error.to_string(),
            },
        };
        let mut error = "no address of a hub is known".to_owned();
        for address in self.options.addresses.clone() {
            match net.dial(&address).await {
                Ok(hub) => {
                    error = self.at_hub(&net, hub, &address).await;
                    break;
                }
                Err(failed) => error = failed.to_string(),
            }
        }
        error
    }

    async fn at_hub(&mut self, net: &Net, hub: NodeId, address: &str) -> String {
        if self.options.membership.is_none() {
            let Some(invitation) = self.options.invitation.clone() else {
                return "the node has not joined a fleet: run `join`".to_owned();
            };
            let store = self.options.store.clone();
            match enrol::join(net, store.node(), hub, &invitation, store.env()).await {
                Ok(membership) => {
                    if let Err(fault) = (self.options.keep)(membership.clone()).await {
                        return fault.to_string();
                    }
                    tracing::info!(%membership, address, "joined the fleet");
                    self.options.membership = Some(membership);
                    self.state.send_modify(|state| state.joined = true);
                }
                Err(error) => {
                    net.disconnect(&hub).await;
                    return error.to_string();
                }
            }
        }
        let stream = match net.open(&hub, SYNC).await {
            Ok(stream) => stream,
            Err(error) => {
                net.disconnect(&hub).await;
                return error.to_string();
            }
        };
        let started = self.options.store.env().monotonic_ms();
        let end = self.session(hub, stream).await;
        net.disconnect(&hub).await;
        let lasted = self.options.store.env().monotonic_ms().saturating_sub(started);
        if lasted >= PROVEN_MS && self.state.borrow().online {
            self.backoff.reset();
        }
        let by = if end.by_peer { "the hub ended the session" } else { "the session ended" };
        format!("{by}: {}: {}", end.code.name(), end.reason)
    }

    async fn session(&mut self, hub: NodeId, stream: Stream) -> End {
        let options = &self.options;
        let membership = options.membership.as_ref().map(Membership::encode).unwrap_or_default();
        let config = Config {
            node: options.store.node(),
            peer: hub,
            initiator: true,
            membership,
            incarnation: options.store.incarnation(),
            version: options.version.clone(),
            backfill: options.backfill,
        };
        let (renewed, mut fresh) = tokio::sync::mpsc::unbounded_channel();
        let driver = Driver {
            store: options.store.clone(),
            desk: Arc::new(Desk::new(&options.library, hub)),
            policy: Arc::new(UplinkPolicy(options.fleet)),
            events: self.events(renewed),
            stop: self.signal.clone(),
        };
        let keep = Arc::clone(&options.keep);
        let mut latest = None;
        let session = driver.run(config, stream);
        tokio::pin!(session);
        let end = loop {
            tokio::select! {
                end = &mut session => break end,
                Some(membership) = fresh.recv() => {
                    let membership: Membership = membership;
                    match keep(membership.clone()).await {
                        Ok(()) => latest = Some(membership),
                        Err(fault) => tracing::warn!(%fault, "the new membership was not stored"),
                    }
                }
            }
        };
        if latest.is_some() {
            self.options.membership = latest;
        }
        end
    }

    fn events(
        &self,
        renewed: tokio::sync::mpsc::UnboundedSender<Membership>,
    ) -> super::driver::PeerEvents {
        let state = Arc::clone(&self.state);
        let store = self.options.store.clone();
        let env = Arc::clone(store.env());
        Arc::new(move |hub, event| {
            let now = env.now();
            match event {
                PeerEvent::Established { membership, version, clock_ahead_ms, .. } => {
                    tracing::info!(hub = %membership, version, clock_ahead_ms, "online");
                    state.send_modify(|state| {
                        state.online = true;
                        state.since = now;
                        state.hub = Some(hub);
                        state.attempts = 0;
                        state.last_error = None;
                        state.heard = Some(now);
                        state.clock_ahead_ms = Some(clock_ahead_ms);
                    });
                }
                PeerEvent::Renewed(membership) => {
                    tracing::info!(%membership, "the membership was renewed");
                    // The session that asks for it may have ended meanwhile.
                    let _ = renewed.send(*membership);
                }
                PeerEvent::Behind(entries) => {
                    state.send_modify(|state| state.behind = Some(entries));
                }
                PeerEvent::PeerAhead(entries) => {
                    if state.borrow().ahead.is_none() {
                        tokio::spawn(tell_ahead(store.clone(), entries));
                    }
                    state.send_modify(|state| state.ahead = state.ahead.max(Some(entries)));
                }
                PeerEvent::Heard => state.send_modify(|state| state.heard = Some(now)),
                PeerEvent::PeerBehind(_) | PeerEvent::Ended(_) => {}
            }
        })
    }
}

/// Puts into the log that the node is an earlier state of itself.
async fn tell_ahead(store: Store, entries: u64) {
    let text = format!(
        "the hub has {entries} entries of this node that are not here: the data directory was put \
         back from a copy, the disk has lost its last writes, or another node runs with this \
         node's key; what the hub has comes back"
    );
    tracing::warn!("{text}");
    let written = store.write(move |tx| {
        let (severity, code) = (Severity::Warning, "earlier-state");
        tx.append_events(&[Event::Notice { severity, code, text: &text }])
    });
    if let Err(error) = written.await {
        tracing::warn!(%error, "that could not be written to the log");
    }
}

async fn stopped(signal: &mut watch::Receiver<Option<(RefusalCode, String)>>) {
    if signal.wait_for(Option::is_some).await.is_err() {
        // The handle is gone: the task is about to be aborted.
        std::future::pending::<()>().await;
    }
}
