//! The engine from inside: golden vectors, and what it must never see.

mod golden;
mod hostile;
mod pair;
mod seen;

use super::actor::Introduction;
use super::change::Change;
use super::engine::Engine;
use super::parcel::pack;
use super::signed::SignedHead;
use super::{DocumentName, Documents, Judge, Parcel, Roster};
use crate::Fault;
use crate::env::System;
use crate::identity::NodeKey;
use crate::store::{Options, Overflow, ReadRecords, Record, Records, Store, Table};
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Author, Cell, Content, Key, Path, Policy, Role, Value};
use holdfast_core::{Incarnation, NodeId};
use std::collections::BTreeMap;
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
        pack(&[self.who], &[head], changes)
    }
}

/// Records in memory; a copy is what a disk would have at that moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl ReadRecords for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        let found = self.0.range((table, prefix.to_vec())..);
        let found = found.take_while(|((t, key), _)| *t == table && key.starts_with(prefix));
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn scan_after(&self, table: Table, after: &[u8], limit: usize) -> Result<Vec<Record>, Fault> {
        let found = self.0.range((table, after.to_vec())..);
        let found = found.take_while(|((t, _), _)| *t == table);
        let found = found.filter(|((_, key), _)| key.as_slice() > after).take(limit);
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn scan_back(
        &self,
        table: Table,
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, Fault> {
        Ok(self.back(table, before).take(limit).collect())
    }
}

impl Memory {
    fn back(&self, table: Table, before: Option<&[u8]>) -> impl Iterator<Item = Record> {
        let below = move |key: &[u8]| before.is_none_or(|before| key < before);
        let of = self.0.iter().rev().filter(move |((t, key), _)| *t == table && below(key));
        of.map(|((_, key), value)| (key.clone(), value.clone()))
    }
}

impl Records for Memory {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.0.insert((table, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, Fault> {
        Ok(self.0.remove(&(table, key.to_vec())).is_some())
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
