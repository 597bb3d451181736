//! How pages and records look in flash; nothing here touches any. Byte-exact page:
//! `docs/formats/device-flash.md`.

use holdfast_core::codec::Reader;
use holdfast_core::envelope::checksum;

const MAGIC: [u8; 4] = *b"HFL1";
/// Bytes with which a page begins.
pub const PAGE_HEAD: usize = 12;
/// Bytes with which a record begins.
pub const HEAD: usize = 8;
/// Bytes of a record's payload, at most.
pub const PAYLOAD_MAX_BYTES: usize = 1024;
/// What is written at once, at most.
pub const UNIT_MAX_BYTES: usize = 64;
/// Memory for one record as it is written.
pub const BUFFER: usize = PAYLOAD_MAX_BYTES + UNIT_MAX_BYTES;

/// A record that is a sample.
pub const SAMPLE: u8 = 1;
/// A record of values.
pub const VALUES: u8 = 2;
/// A record that says that the power went in what stands before it.
pub const TORN: u8 = 3;
/// A record that says that the page begins with all values of the page that was left out for it.
pub const COPIED: u8 = 4;
/// A record of values of which the first is a step of a run; when it was made stands before them.
pub const STEP: u8 = 5;

/// The first bytes of a page.
pub fn page_head(number: u32) -> [u8; PAGE_HEAD] {
    let mut head = [0; PAGE_HEAD];
    head[..4].copy_from_slice(&MAGIC);
    head[4..8].copy_from_slice(&number.to_le_bytes());
    let sum = checksum(&head[..8]);
    head[8..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// The number of the page that begins so, if it is one of a log.
pub fn page_number(head: &[u8; PAGE_HEAD]) -> Option<u32> {
    let number = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    (*head == page_head(number)).then_some(number)
}

/// Puts a head before the payload of `len` bytes that stands behind its place, and what fills up
/// the last unit behind it; how many bytes that is.
pub fn seal(buffer: &mut [u8; BUFFER], kind: u8, len: usize, unit: usize) -> usize {
    let [low, high] = (len as u16).to_le_bytes();
    buffer[4..HEAD].copy_from_slice(&[low, high, kind, check(low, high, kind)]);
    let end = HEAD + len;
    let sum = checksum(&buffer[4..end]);
    buffer[..4].copy_from_slice(&sum.to_le_bytes());
    let size = end.next_multiple_of(unit);
    buffer[end..size].fill(0xff);
    size
}

/// What a place of a page looks like from its first bytes.
pub enum Head {
    /// As it was erased.
    Blank,
    /// A record's: so many bytes of payload.
    Record { kind: u8, len: usize },
    /// Neither.
    Damaged,
}

/// Reads the first bytes of a record.
pub fn head(bytes: [u8; HEAD]) -> Head {
    let [_, _, _, _, low, high, kind, sum] = bytes;
    let len = usize::from(u16::from_le_bytes([low, high]));
    if bytes == [0xff; HEAD] {
        Head::Blank
    } else if sum == check(low, high, kind) && len <= PAYLOAD_MAX_BYTES {
        Head::Record { kind, len }
    } else {
        Head::Damaged
    }
}

/// Whether a record, head and payload, is as it was written.
pub fn is_whole(record: &[u8]) -> bool {
    record.split_first_chunk().is_some_and(|(sum, rest)| *sum == checksum(rest).to_le_bytes())
}

const fn check(low: u8, high: u8, kind: u8) -> u8 {
    low ^ high ^ kind ^ 0x5a
}

/// Where the values begin in the payload of a record; none where it has none.
pub fn values_at(kind: u8, payload: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(payload);
    match kind {
        VALUES => Some(0),
        STEP => {
            reader.uint().and_then(|_| reader.uint()).ok()?;
            Some(payload.len() - reader.rest().len())
        }
        _ => None,
    }
}

/// A value in the payload of a record.
pub struct Entry {
    pub key: u8,
    /// Where its bytes begin in the payload, and how many they are.
    pub at: usize,
    pub len: usize,
}

impl Entry {
    /// The one that begins at a place of a payload; none at its end, or where it does not fit.
    pub fn read(payload: &[u8], from: usize) -> Option<Self> {
        let mut reader = Reader::new(payload.get(from..)?);
        let key = reader.u8().ok()?;
        let len = reader.bytes(PAYLOAD_MAX_BYTES).ok()?.len();
        Some(Self { key, at: payload.len() - reader.rest().len() - len, len })
    }

    /// Where the next begins.
    pub const fn end(&self) -> usize {
        self.at + self.len
    }
}
