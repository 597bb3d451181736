//! What simulations are made of: keys, memberships, canonical bodies.

pub use crate::state::Rng;
use holdfast_core::log::{events, readings, rollups};
use holdfast_core::rollup::{Revision, Sample, Summary, Window};
use holdfast_core::sketch::Sketch;
use holdfast_core::{Incarnation, NodeId, Quality, SeriesKey, Stream, Timestamp, Value};
use holdfast_sync::env::{Env, Source};
use holdfast_sync::identity::{FleetId, Grant, Membership, NodeKey, Role};
use holdfast_sync::session::{Admission, Backfill, Config, Policy, RefusalCode};
use std::sync::{Arc, Mutex};

struct Seeded(Mutex<Rng>);

impl Source for Seeded {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic_ms(&self) -> u64 {
        0
    }
    fn entropy(&self) -> u64 {
        self.0.lock().unwrap().next()
    }
    fn fill(&self, out: &mut [u8]) {
        out.fill_with(|| self.entropy() as u8);
    }
}

/// A key that one number determines.
pub fn key(seed: u64) -> NodeKey {
    let env: Env = Arc::new(Seeded(Mutex::new(Rng(seed))));
    NodeKey::generate(&env)
}

pub fn grant(node: NodeId, role: Role, serial: u64) -> Grant {
    let (site, name) = ("north".to_owned(), "ps-017".to_owned());
    Grant { key_id: 1, serial, node, role, site, name, not_after_s: 1_900_000_000 }
}

/// A fleet of one hub and one edge.
pub struct Fleet {
    pub root: NodeKey,
    pub hub: NodeKey,
    pub edge: NodeKey,
}

impl Fleet {
    pub fn new(seed: u64) -> Self {
        Self { root: key(seed), hub: key(seed + 1), edge: key(seed + 2) }
    }

    pub fn id(&self) -> FleetId {
        FleetId::of(&self.root.id())
    }

    pub fn membership(&self, role: Role) -> Membership {
        let node = if role == Role::Hub { self.hub.id() } else { self.edge.id() };
        Membership::sign(&self.root, grant(node, role, 1)).unwrap()
    }

    pub fn config(&self, role: Role, incarnation: Incarnation, backfill: Backfill) -> Config {
        let (hub, edge) = (self.hub.id(), self.edge.id());
        let initiator = role == Role::Edge;
        let (node, peer) = if initiator { (edge, hub) } else { (hub, edge) };
        Config {
            node,
            peer,
            initiator,
            membership: self.membership(role).encode(),
            incarnation,
            version: "sim".to_owned(),
            backfill,
        }
    }

    /// The policy of the side in `role`: lets in the other role of this fleet.
    pub fn policy(&self, role: Role) -> Arc<dyn Policy> {
        let other = if role == Role::Hub { Role::Edge } else { Role::Hub };
        Arc::new(Members(self.id(), other))
    }
}

struct Members(FleetId, Role);

impl Policy for Members {
    fn admit(&self, peer: NodeId, membership: &Membership) -> Admission {
        match membership.check(self.0, peer, self.1) {
            Ok(()) => Admission::Admit,
            Err(error) => Admission::Refuse(RefusalCode::ForeignFleet, error.to_string()),
        }
    }
}

/// A canonical body of `stream` with `count` entries.
pub fn body(stream: Stream, count: u32, received: Timestamp, rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let series = [SeriesKey::new("pump-7", "pressure", "bar").unwrap()];
    match stream {
        Stream::Event | Stream::Log => {
            events::start_body(&mut out, received).unwrap();
            for _ in 0..count {
                let text = format!("seen {:x}", rng.next());
                let severity = events::Severity::Info;
                let event = events::Event::Notice { severity, code: "sim", text: &text };
                event.encode(&mut out, Vec::new()).unwrap();
            }
        }
        Stream::Rollup => {
            let sample = Sample { time: received, value: rng.within(0, 1000) as f64 };
            let summary = Summary::of(sample, Revision { boot: 1, seq: 1 });
            let row = rollups::Row { series: 0, window: Window::tumbling(60, received), summary };
            let rows = std::iter::repeat_n((row, None::<Sketch>), count as usize);
            rollups::encode(&mut out, rollups::FORMAT, received, &series, rows).unwrap();
        }
        Stream::Reading => {
            let row = |value| readings::Row {
                series: 0,
                time: Some(received),
                value: Value::Int(value),
                quality: Quality::GOOD,
                source: None,
            };
            let rows: Vec<_> = (0..count).map(|_| row(rng.next() as i64)).collect();
            readings::encode(&mut out, received, &series, rows.iter().copied()).unwrap();
        }
    }
    out
}
