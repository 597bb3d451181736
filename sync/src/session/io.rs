//! What goes into a session and what comes out of it, as data.

use super::frame::{Frame, HeldDocuments, RefusalCode};
use super::plan::Backfill;
use crate::docs::exchange::{Batch, Pushed};
use crate::identity::Membership;
use crate::store::{ChainInfo, ChainNo, Frontier, Received, StoredCommit};
use holdfast_core::log::Link;
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Incarnation, NodeId, Stream};

/// The present moment, by both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Time that only goes forward, milliseconds.
    pub mono_ms: u64,
    /// Wall time, Unix milliseconds.
    pub wall_ms: i64,
}

/// What does not change during a session.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// The peer, as the transport has proven it.
    pub peer: NodeId,
    /// Whether this side opened the session; it is the one whose history is carried.
    pub initiator: bool,
    /// This node's membership.
    pub membership: Vec<u8>,
    /// This node's start.
    pub incarnation: Incarnation,
    /// The program's version.
    pub version: String,
    /// The order of a backlog.
    pub backfill: Backfill,
}

/// A chain as this side holds it.
#[derive(Clone, Debug)]
pub struct LocalChain {
    /// The chain.
    pub info: ChainInfo,
    /// What the peer acknowledged of it in earlier sessions.
    pub acked: Frontier,
}

/// A wish for commits of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The chain.
    pub chain: ChainNo,
    /// Its stream.
    pub stream: Stream,
    /// Which entries.
    pub range: Range,
    /// About how many bytes.
    pub max_bytes: usize,
    /// From the end of the range instead of from its start.
    pub back: bool,
    /// Whether these are new entries rather than backlog.
    pub live: bool,
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input {
    /// A frame of the peer.
    Frame(Frame),
    /// Before the chains: up to where the peer's document changes are held here. Without it no
    /// documents are exchanged.
    Held(HeldDocuments),
    /// The chains asked for by [`Output::LoadChains`].
    Chains(Vec<LocalChain>),
    /// The commits asked for, ascending, and the link before the first.
    Commits(Vec<StoredCommit>, Option<Link>),
    /// How far an own chain is now.
    Head(ChainNo, ChainId, u64),
    /// What was to be stored is on disk: by the peer's chain index, what is held now, and what is
    /// to be answered to messages about documents.
    Stored(Vec<(u32, Frontier)>, Vec<Batch>),
    /// Documents may have changed.
    DocumentsChanged,
    /// What is to be said of documents, as [`Output::Begin`] or [`Output::Gather`] asked.
    Documents(Batch),
    /// It could not be stored.
    NotStored(RefusalCode, String),
    /// This node is stopping, or the peer was removed.
    Stop(RefusalCode, String),
    /// A deadline has passed.
    Tick,
}

/// What a session wants.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Send(Vec<u8>),
    /// Load the chains of an origin.
    LoadChains(NodeId),
    /// Read commits.
    Read(ReadRequest),
    /// Store these runs and take these messages about documents, in this order, and say what is
    /// held then.
    Store(Vec<(u32, Received)>, Vec<Vec<u8>>),
    /// Begin to send documents, of which the peer holds what is said.
    Begin(HeldDocuments),
    /// Say what is to be sent of documents, about so many bytes of it.
    Gather(usize),
    /// The peer has this of documents on disk.
    Delivered(Pushed),
    /// The peer has this of a chain on disk.
    Acked(ChainNo, Box<Frontier>),
    /// The peer lacks this part of an own chain, and it is not here any more.
    Unfilled(ChainNo, Range),
    /// The peer has so many entries of this node that are not here: this side is an earlier state
    /// of itself, or another node runs with its key.
    PeerAhead(u64),
    /// The peer is let in.
    Established {
        /// Who it is.
        membership: Box<Membership>,
        /// Its start.
        incarnation: Incarnation,
        /// Its program's version.
        version: String,
        /// Its wall clock less ours, milliseconds.
        clock_ahead_ms: i64,
    },
    /// The peer gave us a fresh membership.
    Renewed(Box<Membership>),
    /// So many entries of a stream are on their way to the peer.
    Sent(Stream, u64),
    /// How many entries the peer has that are not here yet.
    PeerBehind(u64),
    /// How many entries are not at the peer yet.
    Behind(u64),
    /// The session is over.
    End(End),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether the peer ended it.
    pub by_peer: bool,
    /// The reason's code.
    pub code: RefusalCode,
    /// The reason in words.
    pub reason: String,
}
