//! Commands to devices: something is to be done once, soon, and somebody waits for what came of it.
//!
//! What a device should *be* is its twin's; a command is for what is to be *done*. It is ordered
//! once (by its `Idempotency-Key`, however often the order comes), kept in one transaction with its
//! message in the device's queue, done once by the device (by its id, however often the message
//! comes), and over when the device has answered or when it has expired. Nothing is asked twice for
//! an answer that was given: [`Book`] has it until a hundred newer commands are over.
//!
//! A device with our firmware is told besides, once it has asked ([`Downlink`]).
//!
//! [`record`] is a command on disk, [`message`] what goes to the device and what comes back,
//! [`api`] and [`cli`] are for people and programs. Page: `docs/formats/commands.md`.

pub mod api;
mod book;
pub mod cli;
mod message;
mod record;

pub use book::{Answered, Book};
pub use message::{ReplyBody, ReplyError, replies, reply};
pub use record::{CommandId, ERROR_MAX, JSON_MAX, KEY_MAX, NAME_MAX, Record, Reply, is_name};

use crate::mqtt::broker::Reach;
use crate::mqtt::firmware::Downlink;
use crate::mqtt::ledger::Change;
use crate::mqtt::packet::Filter;
use crate::mqtt::reason::Reason;
use holdfast_sync::Fault;
use holdfast_sync::store::Table;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Commands of a device that wait for its answer. Beyond, whoever orders goes too fast for it.
pub const WAITING_MAX: usize = 100;
/// Commands of a device that wait no more and are kept.
pub const OVER_MAX: usize = 100;

/// An order of a command.
#[derive(Clone, Debug)]
pub struct Order {
    /// For which device.
    pub device: String,
    /// What is to be done.
    pub name: String,
    /// With what.
    pub args: Option<Json>,
    /// Seconds until it is not to be begun any more.
    pub lasts_s: u64,
    /// Who orders it.
    pub by: String,
    /// By which the order is known when it comes again; empty for none.
    pub key: String,
}

impl Order {
    /// By which it is told from another one under the same key.
    fn hash(&self) -> [u8; 8] {
        let mut hash = blake3::Hasher::new();
        hash.update(&(self.name.len() as u32).to_le_bytes());
        hash.update(self.name.as_bytes());
        hash.update(self.args.as_ref().map(Json::to_string).unwrap_or_default().as_bytes());
        *hash.finalize().as_bytes().first_chunk().expect("a hash is longer")
    }
}

/// What became of an order.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// What the command is called.
    pub id: CommandId,
    /// The command.
    pub record: Record,
    /// Whether it had been ordered before.
    pub replayed: bool,
}

/// Why nothing was ordered.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The key stands for another order.
    #[error("this Idempotency-Key came with another command of the device")]
    KeyReused,
    /// The device has too many commands to answer.
    #[error("{WAITING_MAX} commands of this device wait for its answer")]
    TooMany,
    /// The broker did not take the message.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Commands to devices; clones share them.
#[derive(Clone)]
pub struct DeviceCommands {
    book: Book,
    reach: Reach,
    downlink: Downlink,
    /// Orders are judged one after the other.
    ordering: Arc<Mutex<()>>,
}

impl DeviceCommands {
    /// Those of a book, sent by a broker, and to devices with our firmware.
    #[must_use]
    pub fn new(book: Book, reach: Reach, downlink: Downlink) -> Self {
        Self { book, reach, downlink, ordering: Arc::default() }
    }

    /// How devices with our firmware are told.
    #[must_use]
    pub const fn downlink(&self) -> &Downlink {
        &self.downlink
    }

    /// The commands in the store.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Orders a command. It is on disk when this returns, and so is its message in the queues of
    /// kept sessions that want it. Whoever asked may go away meanwhile: the order goes to its end
    /// all the same, or the next under its key would find nothing and be a second command.
    ///
    /// # Errors
    /// [`OrderError`]
    pub async fn order(&self, order: Order) -> Result<Ordered, OrderError> {
        let this = self.clone();
        let ordering = tokio::spawn(async move {
            let device = order.device.clone();
            let ordered = this.order_alone(order).await?;
            if !ordered.replayed {
                this.downlink.ordered(&device, ordered.id).await;
            }
            Ok(ordered)
        });
        ordering.await.unwrap_or(Err(OrderError::Fault(Fault::Stopping)))
    }

    async fn order_alone(&self, order: Order) -> Result<Ordered, OrderError> {
        let _alone = self.ordering.lock().await;
        let (device, hash) = (order.device.clone(), order.hash());
        if !order.key.is_empty()
            && let Some((id, before)) = self.book.by_key(&device, &order.key).await?
        {
            if before != hash {
                return Err(OrderError::KeyReused);
            }
            if let Some(record) = self.book.get(&device, id).await? {
                return Ok(Ordered { id, record, replayed: true });
            }
        }
        let now = self.book.now();
        let all = self.book.of(&device).await?;
        let (waiting, over): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, record)| record.is_waiting(&now));
        if waiting.len() >= WAITING_MAX {
            return Err(OrderError::TooMany);
        }
        let mut changes = Vec::new();
        let too_many = over.len().saturating_sub(OVER_MAX - 1);
        for (id, old) in &over[..too_many] {
            changes.push(Change::Record(Table::DeviceCommand, record::key(&device, &id.0), None));
            if !old.key.is_empty() {
                let key = record::key(&device, old.key.as_bytes());
                changes.push(Change::Record(Table::DeviceCommandKey, key, None));
            }
        }
        let env = self.book.store().env();
        let id = CommandId::new(now.wall_ms, [env.entropy(), env.entropy()]);
        let Order { name, args, lasts_s, by, key, .. } = order;
        let record = Record { name, args, by, ordered: now, lasts_s, key, reply: None };
        let value = Some(record.encode());
        changes.push(Change::Record(Table::DeviceCommand, record::key(&device, &id.0), value));
        if !record.key.is_empty() {
            let key = record::key(&device, record.key.as_bytes());
            let value = [id.0.as_slice(), &hash].concat();
            changes.push(Change::Record(Table::DeviceCommandKey, key, Some(value)));
        }
        let message = message::of(&device, id, &record, &now);
        let outcome = self.reach.steer(&message, changes).await?;
        if outcome.reason.is_failure() {
            let name = outcome.reason.name().into();
            return Err(OrderError::Refused(outcome.text.unwrap_or(name)));
        }
        let (command, by) = (record.name.as_str(), record.by.as_str());
        let nobody = outcome.reason == Reason::NoMatchingSubscribers;
        tracing::info!(device, command, %id, by, nobody, "a command was ordered");
        self.book.wake();
        Ok(Ordered { id, record, replayed: false })
    }

    /// Sends a device again what it has not answered, now that it has subscribed to `filters`.
    pub async fn send_waiting(&self, device: &str, filters: &[Filter]) {
        let waiting = match self.book.of(device).await {
            Ok(all) => all,
            Err(fault) => return tracing::error!(device, %fault, "commands cannot be read"),
        };
        let now = self.book.now();
        for (id, record) in waiting.iter().filter(|(_, record)| record.is_waiting(&now)) {
            let message = message::of(device, *id, record, &now);
            let is_wanted = |filter: &Filter| filter.matches(&message.topic);
            if filters.iter().any(is_wanted)
                && self.reach.steer(&message, Vec::new()).await.is_err()
            {
                return;
            }
        }
    }
}
