//! A connection: at each end a real session with the exchange behind it, and a pipe each way.
//!
//! A pipe carries packets, which arrive in their order: what is lost on the way is sent again, and
//! what is behind it waits. Several connections of the same two nodes may be under way, because
//! one that its gateway has given up goes on to deliver what had left.

use super::node::{At, Desk, Node};
use super::rng::Rng;
use holdfast_sync::docs::exchange::{Batch, Exchange, Pushed};
use holdfast_sync::session::{FrameReader, Session};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Messages that came together and are being stored.
pub struct Storing {
    pub left: usize,
    pub answers: Vec<Batch>,
}

/// One end.
pub struct End {
    pub node: usize,
    pub peer: usize,
    pub session: Session,
    pub desk: Desk,
    pub reader: FrameReader,
    pub storing: VecDeque<Storing>,
    /// What the peer has and is not noted yet.
    pub delivered: Pushed,
    pub noting: bool,
    /// The peer was let in.
    pub open: bool,
    /// When it is to be ticked.
    pub tick: u64,
}

impl End {
    pub fn new(node: &Node, peer: &Node, session: Session) -> Self {
        let steward = Arc::clone(&node.steward);
        let exchange = Exchange::new(Arc::clone(&node.documents), steward, peer.id());
        Self {
            node: node.number,
            peer: peer.number,
            session,
            desk: Rc::new(RefCell::new(exchange)),
            reader: FrameReader::default(),
            storing: VecDeque::new(),
            delivered: Pushed::new(),
            noting: false,
            open: false,
            tick: u64::MAX,
        }
    }
}

/// One direction.
#[derive(Default)]
pub struct Pipe {
    free: u64,
    pub last_arrival: u64,
    pub packets: VecDeque<Vec<u8>>,
}

/// What a pipe is like at present.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Bytes per second.
    pub rate: u64,
    pub delay_ms: u64,
    /// Bytes of a packet at most.
    pub packet: u64,
    /// How many of a hundred packets are lost and sent again.
    pub loss: u64,
}

impl Line {
    /// A line with which nothing is wrong.
    pub fn heal(&mut self) {
        *self = Self { rate: 1_000_000, delay_ms: 5, packet: 1_400, loss: 0 };
    }
}

impl Pipe {
    /// Puts a frame in, cut into packets; returns when each arrives.
    pub fn send(&mut self, frame: &[u8], now: u64, line: Line, rng: &mut Rng) -> Vec<u64> {
        let mut arrivals = Vec::new();
        let mut rest = frame;
        while !rest.is_empty() {
            let len = (rng.within(1, line.packet) as usize).min(rest.len());
            let (packet, after) = rest.split_at(len);
            rest = after;
            self.free = self.free.max(now) + (len as u64 * 1000).div_ceil(line.rate);
            let again = if rng.percent(line.loss) { rng.within(100, 2_000) } else { 0 };
            let way = rng.within(line.delay_ms, line.delay_ms * 2) + again;
            self.last_arrival = self.last_arrival.max(self.free + way);
            self.packets.push_back(packet.to_vec());
            arrivals.push(self.last_arrival);
        }
        arrivals
    }
}

/// A connection of a gateway (end 0) with the hub (end 1).
pub struct Conn {
    pub gateway: usize,
    pub ends: [Option<End>; 2],
    pub pipes: [Pipe; 2],
}

impl Conn {
    pub fn is_open(&self) -> bool {
        self.ends.iter().all(|end| end.as_ref().is_some_and(|end| end.open))
    }
}

/// The other end.
pub const fn across(at: At) -> At {
    (at.0, 1 - at.1)
}
