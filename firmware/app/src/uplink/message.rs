//! A message that is composed where it lies: the payload of its first envelope with room ahead,
//! then the envelope around it. So no second buffer is needed.

use core::ops::Range;
use holdfast_core::Reject;
use holdfast_core::codec::Sink;
use holdfast_core::device::{self, MESSAGE_MAX_BYTES};
use holdfast_core::envelope::{FORMAT, checksum};

/// Bytes ahead of a payload: format, kind, flags, and its length in two bytes.
const AHEAD: usize = 5;
/// Bytes behind it: the checksum.
const BEHIND: usize = 4;
/// The longest payload; a few bytes of the message stay over.
pub(super) const PAYLOAD_BYTES: usize = MESSAGE_MAX_BYTES - 16;

const _: () = assert!(AHEAD + PAYLOAD_BYTES + BEHIND <= MESSAGE_MAX_BYTES);
const _: () = assert!(PAYLOAD_BYTES < 1 << 14, "its length takes two bytes");

/// Memory for a message.
pub(super) struct Message {
    room: [u8; MESSAGE_MAX_BYTES],
    used: Range<usize>,
}

impl Message {
    pub(super) const fn new() -> Self {
        Self { room: [0; MESSAGE_MAX_BYTES], used: 0..0 }
    }

    /// Where the payload of the first envelope goes.
    pub(super) fn payload(&mut self) -> &mut [u8] {
        &mut self.room[AHEAD..AHEAD + PAYLOAD_BYTES]
    }

    /// Makes the message an envelope of `kind` around the first `len` bytes of [`Self::payload`].
    ///
    /// # Errors
    /// [`Reject::Full`] when that is not so long.
    pub(super) fn wrap(&mut self, kind: u8, len: usize) -> Result<(), Reject> {
        let mut head = heapless::Vec::<u8, AHEAD>::new();
        head.put(&[FORMAT, kind, 0])?;
        head.put_uint(len as u64)?;
        let (start, end) = (AHEAD - head.len(), AHEAD + len);
        let (covered, rest) = self.room.split_at_mut_checked(end).ok_or(Reject::Full)?;
        let covered = &mut covered[start..];
        covered[..head.len()].copy_from_slice(&head);
        let behind = rest.first_chunk_mut::<BEHIND>().ok_or(Reject::Full)?;
        *behind = checksum(covered).to_le_bytes();
        self.used = start..end + BEHIND;
        Ok(())
    }

    /// Puts an envelope of `kind` behind those that are there.
    ///
    /// # Errors
    /// [`Reject::Full`] when there is no room.
    pub(super) fn add(&mut self, kind: u8, payload: &[u8]) -> Result<(), Reject> {
        self.used.end += device::put(&mut self.room[self.used.end..], kind, payload)?;
        Ok(())
    }

    /// The message as it is sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.room[self.used.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn an_envelope_around_a_payload_is_the_one_that_it_would_be_put_into() {
        let mut message = Message::new();
        for len in 0..=PAYLOAD_BYTES {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            message.payload()[..len].copy_from_slice(&payload);
            message.wrap(device::SAMPLES, len).unwrap();
            let mut expected = [0; MESSAGE_MAX_BYTES];
            let end = device::put(&mut expected, device::SAMPLES, &payload).unwrap();
            assert_eq!(message.bytes(), &expected[..end], "{len} bytes");
            if len < PAYLOAD_BYTES / 2 {
                message.add(device::ASK, &[7; 16]).unwrap();
                let more = device::put(&mut expected[end..], device::ASK, &[7; 16]).unwrap();
                assert_eq!(message.bytes(), &expected[..end + more], "{len} bytes and more");
            }
        }
    }

    #[test]
    fn what_has_no_room_is_refused() {
        let mut message = Message::new();
        for len in [PAYLOAD_BYTES + 8, MESSAGE_MAX_BYTES, 1 << 14] {
            assert_eq!(message.wrap(device::SAMPLES, len), Err(Reject::Full), "{len} bytes");
        }
        message.wrap(device::SAMPLES, PAYLOAD_BYTES).unwrap();
        assert_eq!(message.add(device::ASK, &[0; 16]), Err(Reject::Full));
    }
}
