//! The commands in a store: what was ordered, and what came of it.

use super::record::{CommandId, Record, Reply, key};
use crate::mqtt::message::Moment;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store, Table, WriteError};
use std::sync::Arc;
use tokio::sync::watch;

/// The commands of a store; clones share it.
#[derive(Clone)]
pub struct Book {
    store: Store,
    changed: Arc<watch::Sender<()>>,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is on disk.
    Now,
    /// The command was answered before; that answer stays.
    Before,
    /// There is no such command of the device.
    Unknown,
}

impl Book {
    /// The one of a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, changed: Arc::new(watch::Sender::new(())) }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::now(self.store.env(), self.store.incarnation().boot)
    }

    /// Is woken when a command was ordered or answered.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Wakes whoever watches.
    pub(super) fn wake(&self) {
        self.changed.send_replace(());
    }

    /// A command of a device.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn get(&self, device: &str, id: CommandId) -> Result<Option<Record>, Fault> {
        let key = key(device, &id.0);
        let found = self.store.read(move |view| view.get(Table::DeviceCommand, &key)).await?;
        Ok(found.and_then(|value| read(device, id, &value)))
    }

    /// The commands of a device, the oldest first.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn of(&self, device: &str) -> Result<Vec<(CommandId, Record)>, Fault> {
        let prefix = key(device, &[]);
        let scan =
            move |view: &Snapshot<'_>| view.scan(Table::DeviceCommand, &prefix, &[], usize::MAX);
        let read_one = |(key, value): (Vec<u8>, Vec<u8>)| {
            let id = CommandId(*key.last_chunk()?);
            Some((id, read(device, id, &value)?))
        };
        Ok(self.store.read(scan).await?.into_iter().filter_map(read_one).collect())
    }

    /// Which command an Idempotency-Key stands for, and of which order.
    ///
    /// # Errors
    /// A fault of the store.
    pub(super) async fn by_key(
        &self,
        device: &str,
        idempotency: &str,
    ) -> Result<Option<(CommandId, [u8; 8])>, Fault> {
        let key = key(device, idempotency.as_bytes());
        let found = self.store.read(move |view| view.get(Table::DeviceCommandKey, &key)).await?;
        Ok(found.and_then(|value| {
            let (id, order) = value.split_first_chunk::<16>()?;
            Some((CommandId(*id), order.try_into().ok()?))
        }))
    }

    /// Puts down what a device answered; the first answer counts.
    ///
    /// # Errors
    /// What kept it from the disk.
    pub async fn answer(
        &self,
        device: &str,
        id: CommandId,
        reply: Reply,
    ) -> Result<Answered, WriteError> {
        let (now, key, of) = (self.now(), key(device, &id.0), device.to_owned());
        let put = move |tx: &mut holdfast_sync::store::WriteTx<'_>| {
            let found = tx.view().get(Table::DeviceCommand, &key)?;
            let Some(mut record) = found.and_then(|value| read(&of, id, &value)) else {
                return Ok(Answered::Unknown);
            };
            if record.reply.is_some() {
                return Ok(Answered::Before);
            }
            record.reply = Some((now, reply));
            tx.put(Table::DeviceCommand, &key, &record.encode())?;
            Ok(Answered::Now)
        };
        let (_committed, answered) = self.store.write(put).await?;
        if answered == Answered::Now {
            self.wake();
        }
        Ok(answered)
    }
}

/// A record that does not read is none: its seal held, so a later version wrote it.
fn read(device: &str, id: CommandId, value: &[u8]) -> Option<Record> {
    Record::decode(value)
        .inspect_err(|reject| tracing::warn!(device, %id, %reject, "a command cannot be read"))
        .ok()
}
