//! The broker: who is connected, who wants what, what is kept for whom.
//!
//! One task has all of it. Connections send it [`Command`]s; it takes what is waiting as one group,
//! decides ([`state`], without I/O), hands readings and changes to the store as one transaction,
//! and only when that is on disk are messages acknowledged and sent on. While it waits, the next
//! group gathers, so its transactions are as large as the disk is slow. A full queue of commands
//! stops the connections from reading: nothing is taken that cannot be kept.
//!
//! Messages of QoS 0 that nobody keeps do not come here: their connection puts them into the
//! mailboxes of whom [`routes`] names.

mod look;
mod mailbox;
mod messages;
mod routes;
mod session;
mod sessions;
mod state;
mod subscriptions;
mod task;
#[cfg(test)]
mod tests;
mod told;
mod watch;
mod work;

pub use mailbox::{Answer, Granted, Mailbox, Next, Opened};
pub use routes::{Routes, SessionKey};
pub use session::SPAN;
pub use state::State;
pub use task::{Broker, Reach};
pub use watch::{Shown, Watch};
pub use work::{Effect, Work};

use super::connection::{Ended, Outcome};
use super::ledger::{Change, Seen};
use super::message::Message;
use super::packet::{Connect, PacketId, Subscribe, Unsubscribe};
use super::reason::Reason;
use crate::ingest::Prepared;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A connection, for as long as the process runs.
pub type ConnectionId = u64;

/// The readings of a message, ready to be stored.
pub type Brought = Prepared;

/// How much there may be of everything.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions.
    pub sessions: usize,
    /// Subscriptions of one.
    pub subscriptions: usize,
    /// Seconds that one outlives its connection.
    pub session_expiry_s: u32,
    /// Bytes in the queue of one: beyond, the oldest go.
    pub queue_bytes: u64,
    /// Bytes in all queues: beyond, nothing is added.
    pub queues_bytes: u64,
    /// Topics with a retained message.
    pub retained: usize,
    /// Bytes of all retained messages.
    pub retained_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 20_000,
            subscriptions: 1_000,
            session_expiry_s: 30 * 86_400,
            queue_bytes: 64 << 20,
            queues_bytes: 1 << 30,
            retained: 50_000,
            retained_bytes: 32 << 20,
        }
    }
}

/// A client wants to be let in; that it is who it says has been found out.
#[derive(Debug)]
pub struct Open {
    /// Its connection.
    pub id: ConnectionId,
    /// What it said.
    pub connect: Box<Connect>,
    /// Who it is: only the same may take up the session later.
    pub owner: String,
    /// A client identifier, should it have none.
    pub fresh_id: String,
    /// From where it connects.
    pub peer: SocketAddr,
    /// Where answers and messages for it go.
    pub mailbox: Arc<Mailbox>,
}

/// A client has published.
#[derive(Debug)]
pub struct Incoming {
    /// Its connection.
    pub id: ConnectionId,
    /// Which of its messages it is.
    pub serial: u64,
    /// Its packet identifier, unless the QoS is 0.
    pub packet_id: Option<PacketId>,
    /// The message.
    pub message: Message,
    /// The readings in it.
    pub brought: Option<Brought>,
    /// How it is known if it comes again, where its readings have no name of their own or it
    /// begins runs.
    pub seen: Option<Seen>,
    /// Whether it has come before, and has begun its runs then.
    pub is_known: bool,
    /// Its part of the memory for messages on their way, from [`Reach::room_for`].
    pub room: OwnedSemaphorePermit,
}

/// A client wants messages.
#[derive(Debug)]
pub struct Asked {
    /// Its connection.
    pub id: ConnectionId,
    /// Which.
    pub subscribe: Subscribe,
    /// Why it may not, for each filter that it may not have.
    pub refused: Vec<Option<Reason>>,
}

/// A message that is of no connection.
#[derive(Debug)]
pub struct Spread {
    /// The message.
    pub message: Arc<Message>,
    /// The readings in it.
    pub brought: Option<Brought>,
    /// Who waits for what became of it.
    pub waits: Option<Arc<Mailbox>>,
    /// What goes to disk with it, of a message by which the node steers something: that is taken
    /// when the store is too full for readings, too.
    pub changes: Option<Vec<Change>>,
}

impl Spread {
    /// One that nobody waits for.
    #[must_use]
    pub const fn new(message: Arc<Message>, brought: Option<Brought>) -> Self {
        Self { message, brought, waits: None, changes: None }
    }
}

/// A connection is over.
#[derive(Debug)]
pub struct Gone {
    /// Which.
    pub id: ConnectionId,
    /// And how.
    pub ended: Ended,
    /// Messages below this number may have been sent.
    pub sent: u64,
}

/// Looks at the state of the broker, or changes it.
pub type Look = Box<dyn FnOnce(&mut State, &mut Work) + Send>;

/// What connections ask of the broker.
pub enum Command {
    /// To let a client in.
    Open(Box<Open>),
    /// To take a message.
    Publish(Box<Incoming>),
    /// To publish the will of a session, now that its readings are known.
    Will(SessionKey, Arc<Message>, Option<Brought>),
    /// To publish a message of a session that is over, or of the node.
    Spread(Box<Spread>),
    /// To forget the packet identifier of a message of QoS 2.
    Release(ConnectionId, PacketId),
    /// To subscribe.
    Subscribe(Box<Asked>),
    /// To unsubscribe.
    Unsubscribe(ConnectionId, Box<Unsubscribe>),
    /// The client is done with a message.
    Done(ConnectionId, u64),
    /// The client has a message of QoS 2.
    Received(ConnectionId, u64, PacketId),
    /// The connection is over.
    Ended(Gone),
    /// To look at the state, or change it, for people.
    Look(Look),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::Publish(_) => "Publish",
            Self::Will(..) => "Will",
            Self::Spread(..) => "Spread",
            Self::Release(..) => "Release",
            Self::Subscribe(_) => "Subscribe",
            Self::Unsubscribe(..) => "Unsubscribe",
            Self::Done(..) => "Done",
            Self::Received(..) => "Received",
            Self::Ended(_) => "Ended",
            Self::Look(_) => "Look",
        })
    }
}
