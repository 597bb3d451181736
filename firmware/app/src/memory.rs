//! What a device has to know after a power cut: who it is, which start this is, when the last
//! starts were, what it has lost.
//!
//! A map in flash; a value is replaced as a whole, so it is the old one or the new one whenever the
//! power goes. Keys and values: `docs/formats/device-flash.md`.

use crate::part::Part;
use crate::samples::Fault;
use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use holdfast_core::Reject;
use holdfast_core::limits::DEVICE_MAX_BYTES;
use holdfast_core::reading::Device;
use sequential_storage::cache::page_states::CalculatedPageStates;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};

const BOOT: u8 = 1;
const DROPPED: u8 = 2;
const DAMAGED: u8 = 3;
const REJECTED: u8 = 4;
const DEVICE: u8 = 16;
const TOKEN: u8 = 17;
const GATEWAY: u8 = 18;
/// The first of the places of the last starts' times.
const ANCHORS: u8 = 32;
/// Starts of which the time is remembered: samples of older ones have none any more.
const ANCHORS_KEPT: u64 = 16;
/// Bytes of a value and what is around it.
const BUFFER: usize = 160;
/// Bytes of a token.
pub const TOKEN_MAX_BYTES: usize = 96;
/// Bytes of the name of a gateway with its port.
pub const GATEWAY_MAX_BYTES: usize = 96;

type Map<'a, F> = MapStorage<u8, Part<'a, F>, Cache<CalculatedPageStates, Uncached, Uncached, u8>>;

/// Who a device is and whom it talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub device: heapless::String<DEVICE_MAX_BYTES>,
    /// Its token at the gateway.
    pub token: heapless::String<TOKEN_MAX_BYTES>,
    /// `ADDRESS:PORT` of the gateway.
    pub gateway: heapless::String<GATEWAY_MAX_BYTES>,
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

/// The map.
pub struct Memory<'a, F: NorFlash> {
    map: Map<'a, F>,
}

impl<'a, F: NorFlash> Memory<'a, F> {
    /// Opens the map in `range` of the flash, whole pages of it.
    #[must_use]
    pub fn open(part: Part<'a, F>, range: Range<u32>) -> Self {
        let pages = (range.end - range.start) as usize / F::ERASE_SIZE;
        let cache = Cache::new(CalculatedPageStates::new(pages), Uncached, Uncached);
        Self { map: MapStorage::new(part, MapConfig::new(range), cache) }
    }

    /// Counts this start; the first is 1.
    ///
    /// # Errors
    /// A fault of the flash: the device must not go on, or it would name samples twice.
    pub async fn start(&mut self) -> Result<u64, Fault<F::Error>> {
        let boot = self.number(BOOT).await? + 1;
        self.put_number(BOOT, boot).await?;
        Ok(boot)
    }

    /// Who the device is, once it has been told.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn identity(&mut self) -> Result<Option<Identity>, Fault<F::Error>> {
        let mut identity = Identity::default();
        let found = self.text(DEVICE, &mut identity.device).await?
            && self.text(TOKEN, &mut identity.token).await?
            && self.text(GATEWAY, &mut identity.gateway).await?;
        Ok(found.then_some(identity))
    }

    /// Remembers who the device is; what it knows already is not written again.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn tell(&mut self, identity: &Identity) -> Result<(), Fault<F::Error>> {
        if self.identity().await?.as_ref() == Some(identity) {
            return Ok(());
        }
        self.put(TOKEN, identity.token.as_bytes()).await?;
        self.put(GATEWAY, identity.gateway.as_bytes()).await?;
        self.put(DEVICE, identity.device.as_bytes()).await
    }

    /// Remembers when a start was: what the clock said when nothing of it had passed.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn set_anchor(&mut self, boot: u64, unix_ms: i64) -> Result<(), Fault<F::Error>> {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&boot.to_le_bytes());
        value[8..].copy_from_slice(&unix_ms.to_le_bytes());
        self.put(anchor_key(boot), &value).await
    }

    /// When a start was, if that was ever known.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn anchor(&mut self, boot: u64) -> Result<Option<i64>, Fault<F::Error>> {
        let mut buffer = [0; BUFFER];
        let value: Option<[u8; 16]> = self.map.fetch_item(&mut buffer, &anchor_key(boot)).await?;
        Ok(value.and_then(|value| {
            let (of, at) = value.split_at(8);
            let at = i64::from_le_bytes(at.try_into().ok()?);
            (of == boot.to_le_bytes()).then_some(at)
        }))
    }

    /// What was lost so far.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn losses(&mut self) -> Result<Losses, Fault<F::Error>> {
        let (dropped, damaged) = (self.number(DROPPED).await?, self.number(DAMAGED).await?);
        Ok(Losses { dropped, damaged, rejected: self.number(REJECTED).await? })
    }

    /// Adds to it.
    ///
    /// # Errors
    /// A fault of the flash.
    pub async fn lose(&mut self, more: Losses) -> Result<(), Fault<F::Error>> {
        let kept = self.losses().await?;
        let all = [
            (DROPPED, kept.dropped, more.dropped),
            (DAMAGED, kept.damaged, more.damaged),
            (REJECTED, kept.rejected, more.rejected),
        ];
        for (key, kept, more) in all.into_iter().filter(|(_, _, more)| *more > 0) {
            self.put_number(key, kept.saturating_add(more)).await?;
        }
        Ok(())
    }

    async fn number(&mut self, key: u8) -> Result<u64, Fault<F::Error>> {
        let mut buffer = [0; BUFFER];
        let value: Option<[u8; 8]> = self.map.fetch_item(&mut buffer, &key).await?;
        Ok(value.map_or(0, u64::from_le_bytes))
    }

    async fn put_number(&mut self, key: u8, number: u64) -> Result<(), Fault<F::Error>> {
        self.put(key, &number.to_le_bytes()).await
    }

    async fn text<const N: usize>(
        &mut self,
        key: u8,
        out: &mut heapless::String<N>,
    ) -> Result<bool, Fault<F::Error>> {
        let mut buffer = [0; BUFFER];
        let value: Option<&[u8]> = self.map.fetch_item(&mut buffer, &key).await?;
        let text = value.and_then(|bytes| core::str::from_utf8(bytes).ok());
        Ok(text.is_some_and(|text| out.push_str(text).is_ok()))
    }

    async fn put(&mut self, key: u8, value: &[u8]) -> Result<(), Fault<F::Error>> {
        let mut buffer = [0; BUFFER];
        Ok(self.map.store_item(&mut buffer, &key, &value).await?)
    }
}

const fn anchor_key(boot: u64) -> u8 {
    ANCHORS + (boot % ANCHORS_KEPT) as u8
}
