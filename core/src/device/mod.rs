//! What a device that runs our firmware and its gateway say to each other.
//!
//! A message is one or more [envelopes](crate::envelope) behind each other; the kind of each says
//! what it is, and one that a reader does not know is passed over. Up go [`samples`], each with the
//! device's own name for it, (boot, sequence), and what is known of the device's [`health`]; down
//! come the [`gateway`]'s word of what is on its disk, which is when a device lets go of a sample,
//! and what time it is. State goes both ways, what a device should be ([`desired`]) and what it is
//! ([`reported`]), and so do [`command`]s and what came of them, workflows and what their runs do
//! ([`flows`]), and the device's own [`firmware`]. Everything may be said twice.
//! Byte-exact page: `docs/formats/device.md`.

pub mod command;
pub mod desired;
pub mod firmware;
pub mod flows;
pub mod gateway;
pub mod health;
pub mod reported;
pub mod samples;

use crate::Reject;
use crate::codec::{Reader, Window};
use crate::envelope::Envelope;

/// [`samples::Samples`], from the device.
pub const SAMPLES: u8 = 1;
/// [`health::Health`], from the device.
pub const HEALTH: u8 = 2;
/// [`desired::Ask`], from the device.
pub const ASK: u8 = 3;
/// [`reported::Reported`], from the device.
pub const REPORTED: u8 = 4;
/// [`command::Reply`], from the device.
pub const REPLY: u8 = 5;
/// [`flows::Held`], from the device.
pub const FLOWS_HELD: u8 = 6;
/// [`flows::Fetch`], from the device.
pub const FETCH: u8 = 7;
/// [`flows::Steps`], from the device.
pub const STEPS: u8 = 8;
/// [`firmware::Firmware`], from the device.
pub const FIRMWARE: u8 = 9;
/// [`gateway::Watermark`], from the gateway.
pub const WATERMARK: u8 = 64;
/// [`gateway::Time`], from the gateway.
pub const TIME: u8 = 65;
/// [`desired::Desired`], from the gateway.
pub const DESIRED: u8 = 66;
/// [`reported::Joined`], from the gateway.
pub const JOINED: u8 = 67;
/// [`command::Command`], from the gateway.
pub const COMMAND: u8 = 68;
/// [`command::Named`], from the gateway: it needs no more answers to this command.
pub const REPLIED: u8 = 69;
/// [`command::Named`], from the gateway: this is the oldest command that may still come.
pub const COMMANDS: u8 = 70;
/// [`flows::Wanted`], from the gateway.
pub const FLOWS: u8 = 71;
/// [`flows::Piece`], from the gateway.
pub const PIECE: u8 = 72;
/// [`flows::Stepped`], from the gateway.
pub const STEPPED: u8 = 73;
/// [`firmware::Wanted`], from the gateway.
pub const FIRMWARE_WANTED: u8 = 74;

/// Bytes of a message, up or down: what a device's buffers hold.
pub const MESSAGE_MAX_BYTES: usize = 1024;

/// The envelopes of a message, in their order. It ends behind the first that is damaged: where the
/// next one would begin is then not known.
#[derive(Clone, Copy, Debug)]
pub struct Envelopes<'a> {
    reader: Reader<'a>,
    is_over: bool,
}

impl<'a> Envelopes<'a> {
    /// Those of `message`.
    #[must_use]
    pub const fn new(message: &'a [u8]) -> Self {
        Self { reader: Reader::new(message), is_over: message.is_empty() }
    }
}

impl<'a> Iterator for Envelopes<'a> {
    type Item = Result<Envelope<'a>, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let envelope = Envelope::decode(&mut self.reader);
        self.is_over = envelope.is_err() || self.reader.rest().is_empty();
        Some(envelope)
    }
}

/// Puts an envelope of `kind` at the front of `out`; how long it is.
///
/// # Errors
/// [`Reject::Full`] when there is no room; `out` holds a part of it then.
pub fn put(out: &mut [u8], kind: u8, payload: &[u8]) -> Result<usize, Reject> {
    let room = out.len();
    let mut window = Window::new(out);
    Envelope { kind, flags: 0, payload }.encode(&mut window)?;
    Ok(room - window.room())
}

#[cfg(any(test, feature = "vectors"))]
pub mod vectors;

#[cfg(test)]
mod tests;
