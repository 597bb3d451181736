//! The engine from inside: golden vectors, and what it must never see.

mod device;
mod epochs;
mod golden;
mod hostile;
mod late;
mod pair;
mod seen;

use super::actor::Introduction;
use super::change::Change;
use super::engine::Engine;
use super::parcel::pack;
use super::signed::SignedHead;
use super::{DocumentName, Documents, Judge, Parcel, Roster};
use crate::env::System;
use crate::identity::NodeKey;
use crate::store::{Options, Overflow, Store};
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Author, Cell, Content, Key, Path, Policy, Role, Value};
use holdfast_core::{Incarnation, NodeId};
use std::sync::Arc;

pub(super) fn name() -> DocumentName {
    DocumentName::new("device/pump-1/desired").unwrap()
}

pub(super) fn start(boot: u64) -> Incarnation {
    Incarnation { boot, nonce: 0x0807_0605_0403_0201 }
}

/// A cell of `author`, with its key.
pub(super) fn cell(
    path: &str,
    stamp: u64,
    author: Author,
    content: Content<'_>,
) -> (String, Vec<u8>) {
    let cell = Cell { stamp: Stamp(stamp), author, role: Role::Hub, content };
    let mut bytes = Vec::new();
    cell.encode(&mut bytes).unwrap();
    (Key::of(Path::new(path).unwrap(), &cell).to_string(), bytes)
}

/// A hub that writes by hand, without a store.
pub(super) struct Hand {
    pub key: NodeKey,
    pub who: Introduction,
    pub engine: Engine,
}

impl Hand {
    pub(super) fn new(seed: u8) -> Self {
        let key = NodeKey::for_test(seed);
        let who = Introduction { node: key.id(), incarnation: start(u64::from(seed)) };
        Self { key, who, engine: Engine::new() }
    }

    pub(super) fn put(&mut self, path: &str, stamp: u64, value: i64) -> Change {
        let content = Content::Value(Value::Int(value));
        let put = cell(path, stamp, Author::node(&self.key.id()), content);
        self.engine.commit(self.who.actor(&name(), 0), 7, &[put]).unwrap()
    }

    /// A parcel of `changes`, with what belongs to it.
    pub(super) fn parcel(&self, changes: &[u8]) -> Vec<u8> {
        let heads = self.engine.heads();
        let head = SignedHead::sign(&self.key, &name(), 0, heads[0]);
        pack(0, &[self.who], &[head], changes)
    }
}

/// Everybody is a hub.
pub(super) struct Anybody;

impl Roster for Anybody {
    fn role(&self, _: &NodeId, _: &DocumentName) -> Option<Role> {
        Some(Role::Hub)
    }
}

/// A store with documents, thrown away at the end.
pub(super) struct Node {
    pub store: Store,
    pub documents: Arc<Documents>,
    _dir: tempfile::TempDir,
}

impl Node {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = NodeKey::for_test(99);
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
        let (store, _) = Store::open(options, System::env()).unwrap();
        let documents = Arc::new(Documents::new(&store, key, Role::Hub));
        Self { store, documents, _dir: dir }
    }

    pub(super) async fn apply(
        &self,
        from: NodeId,
        parcel: Parcel,
    ) -> Result<super::Applied, crate::store::WriteError> {
        let documents = Arc::clone(&self.documents);
        let applied = self.store.write(move |tx| {
            let judge = Judge { roster: &Anybody, policy: &Policy::LWW, is_local: &|_| false };
            documents.apply(tx, &from, &name(), parcel, &judge)
        });
        applied.await.map(|(_, applied)| applied)
    }
}
