//! Who wrote an entry: node, process start, stream and sequence.
//!
//! An entry is named by (origin, incarnation, stream, sequence). An incarnation is one process
//! start, so no restore, copy or lying disk can make two different entries share a name.

use core::fmt;

/// A position in a chain; the first entry is 1.
pub type Seq = u64;

/// A node: its Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// The first eight hexadecimal digits, for log lines and tables.
    #[must_use]
    pub fn short(&self) -> heapless::String<8> {
        short(&self.0)
    }

    /// Reads the 64 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_digits(f, &self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.short())
    }
}

/// A fleet: the hash of its first root key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FleetId(pub [u8; 32]);

impl FleetId {
    /// The fleet of a root key.
    #[must_use]
    pub fn of(root: &NodeId) -> Self {
        Self(blake3::derive_key("holdfast 2026-11 fleet id v1", &root.0))
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }

    /// The first eight hexadecimal digits.
    #[must_use]
    pub fn short(&self) -> heapless::String<8> {
        short(&self.0)
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_digits(f, &self.0)
    }
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex_digits(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// Reads 64 hexadecimal digits.
pub(crate) fn hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let digits = text.as_bytes();
    // A number may have a sign before it, which is no digit of ours.
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = core::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(out)
}

fn short(bytes: &[u8; 32]) -> heapless::String<8> {
    let mut out = heapless::String::new();
    let pushed = hex_digits(&mut out, &bytes[..4]);
    debug_assert!(pushed.is_ok(), "four bytes are eight digits");
    out
}

/// One start of a node's process: the how-manieth, and 64 random bits that tell copies apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// Counts the starts of this node, from 1.
    pub boot: u64,
    /// Drawn at the start, before the first write.
    pub nonce: u64,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.boot, self.nonce)
    }
}

/// The streams of a node's history, in the order in which a thin link carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stream {
    /// Alerts, commands, starts, gaps: small, first, never dropped unacknowledged.
    Event = 0,
    /// Window summaries.
    Rollup = 1,
    /// Raw readings.
    Reading = 2,
    /// The node's own log.
    Log = 3,
}

impl Stream {
    /// All streams, in priority order.
    pub const ALL: [Self; 4] = [Self::Event, Self::Rollup, Self::Reading, Self::Log];

    /// Reads the number under which a stream is stored and sent.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Event),
            1 => Some(Self::Rollup),
            2 => Some(Self::Reading),
            3 => Some(Self::Log),
            _ => None,
        }
    }

    /// The word used in paths, tables and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Rollup => "rollup",
            Self::Reading => "reading",
            Self::Log => "log",
        }
    }
}

/// One hash chain: a stream of one incarnation of one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId {
    /// The node that wrote it.
    pub origin: NodeId,
    /// The process start that wrote it.
    pub incarnation: Incarnation,
    /// Which of the origin's streams.
    pub stream: Stream,
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin.short(), self.incarnation, self.stream.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_node_id_reads_back_what_it_shows() {
        let id = NodeId(core::array::from_fn(|i| i as u8 * 7));
        assert_eq!(NodeId::from_hex(&id.to_string()), Some(id));
        assert_eq!(id.short().as_str(), &id.to_string()[..8]);
        assert_eq!(NodeId::from_hex("00"), None);
        assert_eq!(NodeId::from_hex(&"zz".repeat(32)), None);
        assert_eq!(NodeId::from_hex(&"+1".repeat(32)), None, "a sign is no digit");
    }

    #[test]
    fn stream_numbers_read_back() {
        for stream in Stream::ALL {
            assert_eq!(Stream::from_u8(stream as u8), Some(stream));
        }
        assert_eq!(Stream::from_u8(4), None);
    }
}
