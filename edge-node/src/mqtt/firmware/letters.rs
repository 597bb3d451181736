//! Envelopes to a device, in as few messages as they fit into.

use holdfast_core::Reject;
use holdfast_core::device::MESSAGE_MAX_BYTES;
use holdfast_core::envelope::Envelope;

/// An envelope of `kind`; none when a message has no room for it.
#[must_use]
pub fn envelope(
    kind: u8,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Reject>,
) -> Option<Vec<u8>> {
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    encode(&mut payload).ok()?;
    Envelope { kind, flags: 0, payload: &payload }.encode(&mut out).ok()?;
    (out.len() <= MESSAGE_MAX_BYTES).then_some(out)
}

/// Messages that are being put together.
#[derive(Debug, Default)]
pub struct Letters(Vec<Vec<u8>>);

impl Letters {
    /// Adds an envelope behind those before it, in a message of its own where it does not fit.
    pub fn push(&mut self, envelope: &[u8]) {
        match self.0.last_mut() {
            Some(last) if last.len() + envelope.len() <= MESSAGE_MAX_BYTES => {
                last.extend_from_slice(envelope);
            }
            _ => self.0.push(envelope.to_vec()),
        }
    }

    /// The messages.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<u8>> {
        self.0
    }
}
