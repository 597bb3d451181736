//! What a message of a device says beside its samples, read as a whole before any of it is done.

use super::boots::Start;
use super::updates::Says;
use super::{Said, of_health};
use crate::mqtt::rules::{OTHER_DEVICE, PayloadError};
use holdfast_core::Reject;
use holdfast_core::device::command::Reply;
use holdfast_core::device::desired::Ask;
use holdfast_core::device::firmware::Firmware;
use holdfast_core::device::flows::{Fetch, Held, Steps};
use holdfast_core::device::gateway::Watermark;
use holdfast_core::device::health::Health;
use holdfast_core::device::reported::Reported;
use holdfast_core::device::samples::Samples;
use holdfast_core::device::{self, Envelopes, MESSAGE_MAX_BYTES};
use holdfast_core::envelope::Envelope;
use holdfast_core::reading::Device;
use holdfast_core::state::Author;

/// What a message says.
#[derive(Debug, Default)]
pub struct Heard<'a> {
    /// How the device is, as a patch of what it reports.
    pub health: Option<serde_json::Value>,
    /// The start that it is in.
    pub start: Option<Start>,
    /// What it reports itself.
    pub reported: Vec<Reported<'a>>,
    /// What came of commands.
    pub replies: Vec<Reply<'a>>,
    /// Which workflows it has, and how they stand.
    pub held: Option<Held>,
    /// What it says of its firmware.
    pub firmware: Option<Says>,
    /// Steps of its runs, with the numbers of their envelopes.
    pub steps: Vec<(usize, &'a [u8])>,
    /// What it is to be answered, as far as that is known before any of this is done.
    pub said: Said,
}

impl<'a> Heard<'a> {
    /// Reads a message of `device`.
    ///
    /// # Errors
    /// Where it does not follow the format, or is not the device's to say; then nothing of it is
    /// taken.
    pub fn read(device: Device<'_>, payload: &'a [u8]) -> Result<Self, PayloadError> {
        if payload.len() > MESSAGE_MAX_BYTES {
            let detail = format!(
                "the message has {} bytes; expected at most {MESSAGE_MAX_BYTES}",
                payload.len()
            );
            let (code, at) = (Reject::Long.code(), String::new());
            return Err(PayloadError { code, detail: detail.into(), at });
        }
        let mut heard = Self::default();
        for (number, envelope) in Envelopes::new(payload).enumerate() {
            let place = || format!("envelope {number}");
            let at = |reject: Reject| PayloadError::from(reject).at(place());
            let envelope = envelope.map_err(at)?;
            heard.envelope(number, &envelope).map_err(at)?;
            if envelope.kind == device::REPORTED
                && let Some(reported) = heard.reported.last()
                && let Some(path) = reported.foreign(Author::device(device))
            {
                let detail = format!(
                    "the cell at `{path}` is not this device's to report: it is by somebody else, \
                     or at or below `device`"
                );
                return Err(PayloadError {
                    code: OTHER_DEVICE,
                    detail: detail.into(),
                    at: place(),
                });
            }
        }
        Ok(heard)
    }

    fn envelope(&mut self, number: usize, envelope: &Envelope<'a>) -> Result<(), Reject> {
        let payload = envelope.payload;
        match envelope.kind {
            device::SAMPLES => {
                let samples = Samples::read(payload)?;
                let boot = samples.boot;
                for sample in samples {
                    let sequence = sample?.sequence;
                    self.said.watermark = Some(Watermark { boot, sequence });
                }
            }
            device::HEALTH => {
                let health = Health::decode(payload)?;
                self.start = Some(Start::from(&health));
                self.health = Some(of_health(&health));
                self.said.is_health = true;
            }
            device::ASK => self.said.ask = Some(Ask::decode(payload)?.version),
            device::REPORTED => self.reported.push(Reported::decode(payload)?),
            device::REPLY => self.replies.push(Reply::decode(payload)?),
            device::FLOWS_HELD => {
                self.held = Some(Held::decode(payload)?);
                self.said.holds_flows = true;
            }
            device::FIRMWARE => {
                let says = Says::from(Firmware::decode(payload)?);
                self.said.slot = Some(says.slot.clone());
                self.firmware = Some(says);
            }
            device::FETCH => self.said.fetches.push(Fetch::decode(payload)?),
            device::STEPS => {
                let last = Steps::read(payload)?.last();
                self.said.stepped = self.said.stepped.max(last.map(|(_, step)| step.number));
                self.steps.push((number, payload));
            }
            _ => {}
        }
        Ok(())
    }
}
