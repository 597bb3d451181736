//! What a device has to know after a power cut: who it is, which start this is, when the last
//! starts were, what it has lost.
//!
//! Values of the log; one is replaced as a whole, so it is the old one or the new one whenever the
//! power goes. Keys and values: `docs/formats/device-flash.md`.

use crate::log::{Fault, Log};
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::Reject;
use holdfast_core::id::FleetId;
use holdfast_core::limits::DEVICE_MAX_BYTES;
use holdfast_core::reading::Device;

const BOOT: u8 = 1;
const LOSSES: u8 = 2;
const DEVICE: u8 = 16;
const TOKEN: u8 = 17;
const GATEWAY: u8 = 18;
const FLEET: u8 = 19;
const ANCHORS: u8 = 32;
/// Bytes of one anchor: its boot and its time.
const ANCHOR: usize = 16;
/// Starts of which the time is remembered: samples of older ones have none any more.
const ANCHORS_KEPT: usize = 16;
/// Bytes of a token.
pub const TOKEN_MAX_BYTES: usize = 96;
/// Bytes of the name of a gateway with its port.
pub const GATEWAY_MAX_BYTES: usize = 96;

/// Who a device is and whom it talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub device: heapless::String<DEVICE_MAX_BYTES>,
    /// Its token at the gateway.
    pub token: heapless::String<TOKEN_MAX_BYTES>,
    /// `ADDRESS:PORT` of the gateway.
    pub gateway: heapless::String<GATEWAY_MAX_BYTES>,
    /// The fleet whose publishers it trusts; with none it takes no workflow.
    pub fleet: Option<FleetId>,
}

impl Identity {
    /// Checks what a device is told.
    ///
    /// # Errors
    /// [`Reject::Device`] for an id that cannot be, [`Reject::Long`] for what does not fit.
    pub fn new(device: &str, token: &str, gateway: &str) -> Result<Self, Reject> {
        let long = |_| Reject::Long;
        Ok(Self {
            device: Device::new(device)?.as_str().try_into().map_err(|_| Reject::Device)?,
            token: token.try_into().map_err(long)?,
            gateway: gateway.try_into().map_err(long)?,
            fleet: None,
        })
    }
}

/// What a device has lost or refused, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Samples given up because the flash was full.
    pub dropped: u64,
    /// Samples that could not be read back.
    pub damaged: u64,
    /// Messages of the gateway that did not follow the format.
    pub rejected: u64,
}

impl<F: NorFlash> Log<F> {
    /// Counts this start; the first is 1.
    ///
    /// # Errors
    /// A fault of the flash: the device must not go on, or it would name samples twice.
    pub fn count_start(&mut self) -> Result<u64, Fault<F::Error>> {
        let boot = self.get(BOOT)?.map_or(0, |value| word(value, 0)) + 1;
        self.put(&[(BOOT, &boot.to_le_bytes())])?;
        Ok(boot)
    }

    /// Who the device is, once it has been told.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn identity(&mut self) -> Result<Option<Identity>, Fault<F::Error>> {
        let mut identity = Identity::default();
        let found = self.text(DEVICE, &mut identity.device)?
            && self.text(TOKEN, &mut identity.token)?
            && self.text(GATEWAY, &mut identity.gateway)?;
        let fleet = self.get(FLEET)?.and_then(|id| id.try_into().ok());
        identity.fleet = fleet.map(FleetId);
        Ok(found.then_some(identity))
    }

    /// Remembers who the device is; what it knows already is not written again.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn tell(&mut self, identity: &Identity) -> Result<(), Fault<F::Error>> {
        if self.identity()?.as_ref() == Some(identity) {
            return Ok(());
        }
        let Identity { device, token, gateway, fleet } = identity;
        let texts = [(DEVICE, device.as_str()), (TOKEN, token), (GATEWAY, gateway)];
        let [device, token, gateway] = texts.map(|(key, text)| (key, text.as_bytes()));
        let fleet = fleet.as_ref().map_or(&[][..], |fleet| &fleet.0);
        self.put(&[device, token, gateway, (FLEET, fleet)])
    }

    /// Remembers when a start was: what the clock said when nothing of it had passed.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn set_anchor(&mut self, boot: u64, unix_ms: i64) -> Result<(), Fault<F::Error>> {
        let mut anchors = heapless::Vec::<u8, { ANCHOR * ANCHORS_KEPT }>::new();
        let held = self.get(ANCHORS)?.unwrap_or_default().chunks_exact(ANCHOR);
        let others = held.filter(|anchor| word(anchor, 0) != boot);
        let spare = (others.clone().count() + 1).saturating_sub(ANCHORS_KEPT);
        for anchor in others.skip(spare) {
            anchors.extend_from_slice(anchor).map_err(|_| Reject::Full)?;
        }
        for word in [boot.to_le_bytes(), unix_ms.to_le_bytes()] {
            anchors.extend_from_slice(&word).map_err(|_| Reject::Full)?;
        }
        self.put(&[(ANCHORS, &anchors)])
    }

    /// When a start was, if that was ever known.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn anchor(&mut self, boot: u64) -> Result<Option<i64>, Fault<F::Error>> {
        let mut held = self.get(ANCHORS)?.unwrap_or_default().chunks_exact(ANCHOR);
        Ok(held.find(|anchor| word(anchor, 0) == boot).map(|anchor| word(anchor, 1).cast_signed()))
    }

    /// What was lost so far.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn losses(&mut self) -> Result<Losses, Fault<F::Error>> {
        let held = self.get(LOSSES)?.unwrap_or_default();
        let [dropped, damaged, rejected] = [0, 1, 2].map(|number| word(held, number));
        Ok(Losses { dropped, damaged, rejected })
    }

    /// Adds to it.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn lose(&mut self, more: Losses) -> Result<(), Fault<F::Error>> {
        if more == Losses::default() {
            return Ok(());
        }
        let held = self.losses()?;
        let all = [
            held.dropped.saturating_add(more.dropped),
            held.damaged.saturating_add(more.damaged),
            held.rejected.saturating_add(more.rejected),
        ];
        let mut value = [0; 24];
        for (place, number) in value.chunks_exact_mut(8).zip(all) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        self.put(&[(LOSSES, &value)])
    }

    fn text<const N: usize>(
        &mut self,
        key: u8,
        out: &mut heapless::String<N>,
    ) -> Result<bool, Fault<F::Error>> {
        let text = self.get(key)?.and_then(|bytes| core::str::from_utf8(bytes).ok());
        Ok(text.is_some_and(|text| out.push_str(text).is_ok()))
    }
}

/// The word of that number in a value, 0 where it is not there.
fn word(value: &[u8], number: usize) -> u64 {
    let bytes = value.get(number * 8..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
