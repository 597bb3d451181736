//! The envelope around every record that has to outlive the program that wrote it.
//!
//! `[format u8][kind u8][flags u8][len uint][payload][crc32 u32 LE]`. The checksum covers all that
//! precedes it. A reader skips and relays kinds it does not know; a shipped payload is never
//! edited, a new shape is a new kind. Byte-exact page: `docs/formats/envelope.md`.

use crate::Reject;
use crate::codec::{Reader, Sink};
use crate::limits::ENVELOPE_MAX_BYTES;
use crc::{CRC_32_ISO_HDLC, Crc, Table};

/// The CRC of IEEE 802.3, with a table of a kilobyte: a faster one would take a tenth of the flash
/// of a small device.
static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// CRC-32 of some bytes, as in the envelope.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// The format written today.
pub const FORMAT: u8 = 1;

/// A record with its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What the payload is; the place where the envelope stands gives the numbering.
    pub kind: u8,
    /// Bits whose meaning belongs to the kind; unknown bits are kept.
    pub flags: u8,
    /// The record itself.
    pub payload: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Appends the envelope to `out`.
    ///
    /// # Errors
    /// [`Reject::Full`] when the payload is over the limit or the sink has no room; what was
    /// already put into the sink is then to be thrown away.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        if self.payload.len() > ENVELOPE_MAX_BYTES {
            return Err(Reject::Full);
        }
        let mut head = heapless::Vec::<u8, 16>::new();
        head.put(&[FORMAT, self.kind, self.flags])?;
        head.put_uint(self.payload.len() as u64)?;
        let mut crc = CRC.digest();
        crc.update(&head);
        crc.update(self.payload);
        out.put(&head)?;
        out.put(self.payload)?;
        out.put(&crc.finalize().to_le_bytes())
    }

    /// Reads one envelope off the front of `reader`.
    ///
    /// # Errors
    /// [`Reject::Version`] for an unknown format, [`Reject::Checksum`] for damaged bytes,
    /// [`Reject::Truncated`] and [`Reject::Malformed`] for anything else.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let start = reader.rest();
        let [format, kind, flags] = reader.array::<3>()?;
        if format != FORMAT {
            return Err(Reject::Version);
        }
        let payload = reader.bytes(ENVELOPE_MAX_BYTES)?;
        let covered = &start[..start.len() - reader.rest().len()];
        let crc = u32::from_le_bytes(reader.array::<4>()?);
        if checksum(covered) != crc {
            return Err(Reject::Checksum);
        }
        Ok(Self { kind, flags, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The vector of `docs/formats/envelope.md`.
    const GOLDEN: &[u8] = b"\x01\x07\x80\x04pump\x90\x3d\x4c\x3e";

    #[test]
    fn golden_vector() {
        let mut out = Vec::new();
        let envelope = Envelope { kind: 7, flags: 0x80, payload: b"pump" };
        envelope.encode(&mut out).unwrap();
        assert_eq!(out, GOLDEN);
        assert_eq!(Envelope::decode(&mut Reader::new(GOLDEN)), Ok(envelope));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..GOLDEN.len() * 8 {
            let mut bytes = GOLDEN.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Envelope::decode(&mut Reader::new(&bytes)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_shorter_prefix_is_truncated() {
        for len in 0..GOLDEN.len() {
            let result = Envelope::decode(&mut Reader::new(&GOLDEN[..len]));
            assert_eq!(result, Err(Reject::Truncated), "{len}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            kind in any::<u8>(),
            flags in any::<u8>(),
            payload in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut out = Vec::new();
            let envelope = Envelope { kind, flags, payload: &payload };
            envelope.encode(&mut out).unwrap();
            let mut reader = Reader::new(&out);
            prop_assert_eq!(Envelope::decode(&mut reader), Ok(envelope));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Envelope::decode(&mut Reader::new(&bytes));
        }
    }
}
