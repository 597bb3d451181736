//! The chains this store knows, and what it holds of each.
//!
//! A chain gets a small number when its first commit or gap arrives. Its record holds its name, its
//! frontier (held or explained by a gap) and the link after the greatest sequence held.

use super::record::Table;
use crate::Fault;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::limits::FRONTIER_RANGES;
use holdfast_core::log::Link;
use holdfast_core::ranges::RangeSet;
use holdfast_core::{ChainId, Incarnation, NodeId, Reject, Seq, Stream};

/// What of a chain is held or explained.
pub type Frontier = RangeSet<FRONTIER_RANGES>;

/// The number of a chain in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainNo(pub u32);

impl ChainNo {
    /// The key of the chain's records.
    #[must_use]
    pub const fn key(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

/// A chain and what is held of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// Its number here.
    pub no: ChainNo,
    /// Its name everywhere.
    pub id: ChainId,
    /// What is held or explained by a gap.
    pub frontier: Frontier,
    /// The link after the greatest sequence of the frontier.
    pub head: Link,
}

impl ChainInfo {
    pub(super) const fn new(no: ChainNo, id: ChainId) -> Self {
        Self { no, id, frontier: Frontier::new(), head: Link::START }
    }

    /// The greatest sequence held, 0 when there is none.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.frontier.max()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(100);
        let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
            out.put(&self.id.origin.0)?;
            out.put_uint(self.id.incarnation.boot)?;
            out.put(&self.id.incarnation.nonce.to_le_bytes())?;
            out.put_u8(self.id.stream as u8)?;
            out.put(&self.head.0)?;
            self.frontier.encode(out)
        };
        put(&mut out).expect("a growing buffer is never full");
        out
    }

    /// Reads a record of [`Table::Chain`].
    ///
    /// # Errors
    /// [`Fault::Damaged`] when it does not follow the format.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, Fault> {
        let read = || -> Result<Self, Reject> {
            let no = ChainNo(u32::from_be_bytes(Reader::new(key).array()?));
            let mut reader = Reader::new(value);
            let origin = NodeId(reader.array()?);
            let boot = reader.uint()?;
            let nonce = u64::from_le_bytes(reader.array()?);
            let stream = Stream::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
            let id = ChainId { origin, incarnation: Incarnation { boot, nonce }, stream };
            let head = Link(reader.array()?);
            let frontier = Frontier::decode(&mut reader)?;
            reader.finish()?;
            Ok(Self { no, id, frontier, head })
        };
        read().map_err(|reject| Fault::damaged(format!("{:?} record", Table::Chain), reject.code()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::ranges::Range;

    #[test]
    fn a_chain_record_reads_back() {
        let id = ChainId {
            origin: NodeId([4; 32]),
            incarnation: Incarnation { boot: 300, nonce: 7 },
            stream: Stream::Rollup,
        };
        let mut info = ChainInfo::new(ChainNo(9), id);
        info.frontier.add(Range::new(1, 500).unwrap()).unwrap();
        info.head = Link([8; 32]);
        assert_eq!(ChainInfo::decode(&ChainNo(9).key(), &info.encode()).unwrap(), info);
        assert!(ChainInfo::decode(&[1], &info.encode()).unwrap_err().is_damage());
    }
}
