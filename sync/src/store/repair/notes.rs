//! What a repair has to tell: kept in the repaired database until it stands in the event stream.

use crate::Fault;
use crate::store::record::{Table, seal};
use crate::store::schema::fault;
use crate::store::tx::{decode_gap, encode_gap};
use holdfast_core::Reject;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::log::events::Gap;
use rusqlite::{Connection, params};

/// The key of the notes in [`Table::Meta`].
pub(in crate::store) const NOTES: &[u8] = b"repaired";
/// Findings that are kept; each becomes an event.
const FINDINGS_MAX: usize = 64;
const FINDING_MAX_BYTES: usize = 1000;

/// Findings, and gaps of this node's own chains that are to be declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Notes {
    pub findings: Vec<String>,
    pub gaps: Vec<Gap>,
    left_out: u64,
}

impl Notes {
    pub(super) fn find(&mut self, mut text: String) {
        if self.findings.len() >= FINDINGS_MAX {
            self.left_out += 1;
            return;
        }
        text.truncate(text.floor_char_boundary(FINDING_MAX_BYTES));
        self.findings.push(text);
    }

    pub(super) fn put(mut self, connection: &Connection) -> Result<(), Fault> {
        if self.left_out > 0 {
            self.findings.push(format!("{} more findings are not listed", self.left_out));
        }
        let sealed = seal(Table::Meta, NOTES, &self.encode());
        let sql = "INSERT OR REPLACE INTO records (tab, key, value) VALUES (?1, ?2, ?3)";
        let row = params![Table::Meta as u8, NOTES, sealed];
        connection.execute(sql, row).map_err(fault).map(drop)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = || -> Result<(), Reject> {
            out.put_uint(self.findings.len() as u64)?;
            for text in &self.findings {
                out.put_bytes(text.as_bytes())?;
            }
            out.put_uint(self.gaps.len() as u64)?;
            self.gaps.iter().try_for_each(|gap| out.put_bytes(&encode_gap(gap)))
        };
        put().expect("a growing buffer is never full");
        out
    }

    pub(in crate::store) fn decode(value: &[u8]) -> Result<Self, Fault> {
        const GAP_MAX_BYTES: usize = 128;
        let bad = |reject: Reject| Fault::damaged("notes of a repair", reject.code());
        let mut reader = Reader::new(value);
        let mut out = Self::default();
        for _ in 0..reader.uint().map_err(bad)? {
            out.findings.push(reader.str(FINDING_MAX_BYTES).map_err(bad)?.to_owned());
        }
        for _ in 0..reader.uint().map_err(bad)? {
            out.gaps.push(decode_gap(reader.bytes(GAP_MAX_BYTES).map_err(bad)?)?);
        }
        reader.finish().map_err(bad)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::log::Link;
    use holdfast_core::log::events::GapReason;
    use holdfast_core::ranges::Range;
    use holdfast_core::{Incarnation, Stream};

    #[test]
    fn notes_read_back() {
        let gap = Gap {
            incarnation: Incarnation { boot: u64::MAX, nonce: 1 },
            stream: Stream::Reading,
            range: Range::new(1 << 60, u64::MAX - 1).unwrap(),
            link_after: Link([7; 32]),
            reason: GapReason::Damaged,
        };
        let mut notes = Notes { gaps: vec![gap; 3], ..Notes::default() };
        notes.find("é".repeat(FINDING_MAX_BYTES));
        assert_eq!(Notes::decode(&notes.encode()).unwrap(), notes);
        assert!(Notes::decode(&[1]).is_err());
    }
}
