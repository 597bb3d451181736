//! The workflows that a device has: each comes in pieces, is judged once it is whole, and stays in
//! flash until it is given up and its last run is over.
//!
//! A slot of the log's keys is one workflow: what is known of it, its manifest until it was judged,
//! and its image in pieces as they came. Nothing of it stays in memory but where it stands.

use crate::log::{Fault, Log};
use crate::signature;
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::Reject;
use holdfast_core::artefact::{ArtefactId, Manifest, block_hash, limits};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::device::flows::{FLOWS_MAX, Fetch, Held, PIECE_BYTES, Piece, Stands};
use holdfast_core::flow::about::{About, Placement};
use holdfast_core::flow::image::Part;
use holdfast_core::flow::verify::{Place, Tier};
use holdfast_core::flow::{Image, verify};
use holdfast_core::id::FleetId;

/// The kind of artefacts that are workflows.
const KIND: &str = "flow";
/// The first key of the first slot.
const FIRST: u8 = 64;
/// Keys of a slot: itself, the manifest, the pieces.
const KEYS: u8 = 8;
/// Bytes of an image.
pub const IMAGE_MAX_BYTES: usize = Tier::DEVICE.image_bytes;
const _: () = assert!(IMAGE_MAX_BYTES.div_ceil(PIECE_BYTES) < KEYS as usize - 1);

/// Memory for an image as it is used.
pub type Room = [u8; IMAGE_MAX_BYTES];

/// A workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Which artefact.
    pub id: ArtefactId,
    /// How it stands.
    pub stands: Stands,
    /// By which its runs know it.
    pub tag: u32,
    size: u16,
    /// Parts that are here, the manifest first.
    parts: u8,
    /// The gateway did not have the next one.
    is_absent: bool,
}

impl Slot {
    fn pieces(&self) -> usize {
        usize::from(self.size).div_ceil(PIECE_BYTES)
    }

    /// How many bytes a part of the image has.
    fn len_of(&self, part: usize) -> usize {
        let before = (part - 1) * PIECE_BYTES;
        usize::from(self.size).saturating_sub(before).min(PIECE_BYTES)
    }

    fn encode(&self) -> Result<heapless::Vec<u8, 48>, Reject> {
        let mut out = heapless::Vec::new();
        out.put(&self.id.0)?;
        out.put_u8(self.stands as u8)?;
        out.put(&self.tag.to_le_bytes())?;
        out.put(&self.size.to_le_bytes())?;
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let id = ArtefactId(reader.array()?);
        let stands = Stands::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let tag = u32::from_le_bytes(reader.array()?);
        let size = u16::from_le_bytes(reader.array()?);
        reader.finish()?;
        Ok(Self { id, stands, tag, size, parts: 0, is_absent: false })
    }
}

const fn key(slot: usize) -> u8 {
    FIRST + slot as u8 * KEYS
}

/// The key of a part of a slot.
const fn part_key(slot: usize, part: usize) -> u8 {
    key(slot) + 1 + part as u8
}

/// The workflows.
#[derive(Debug, Default)]
pub struct Shelf {
    /// One or none in each.
    pub slots: [Option<Slot>; FLOWS_MAX],
    /// One was wanted for which there was no room.
    turned_away: bool,
}

impl Shelf {
    /// Those in flash.
    pub fn open<F: NorFlash>(log: &mut Log<F>) -> Result<Self, Fault<F::Error>> {
        let mut shelf = Self::default();
        for (number, place) in shelf.slots.iter_mut().enumerate() {
            let Some(mut slot) = log.get(key(number))?.and_then(|value| Slot::decode(value).ok())
            else {
                continue;
            };
            if slot.stands == Stands::Fetching {
                while usize::from(slot.parts) < usize::from(KEYS) - 1
                    && log.get(part_key(number, slot.parts.into()))?.is_some()
                {
                    slot.parts += 1;
                }
                // The power went before what the manifest says was written down.
                if slot.parts > 0 && slot.size == 0 {
                    slot.parts = 0;
                }
            }
            // It may have been judged by a firmware that could do less, or with another fleet.
            if slot.stands.is_refused() {
                slot.stands = Stands::Fetching;
            }
            *place = Some(slot);
        }
        Ok(shelf)
    }

    /// How all stand.
    pub fn held(&self) -> Held {
        Held(self.slots.iter().flatten().map(|slot| (slot.id, slot.stands)).collect())
    }

    /// Takes the set that is to be here. What is not in it begins no run any more; what nothing
    /// runs of goes.
    #[inline(never)]
    pub fn want<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        wanted: &[ArtefactId],
        runs: impl Fn(usize) -> bool,
    ) -> Result<(), Fault<F::Error>> {
        for number in 0..FLOWS_MAX {
            let Some(slot) = &mut self.slots[number] else { continue };
            slot.is_absent = false;
            let is_wanted = wanted.contains(&slot.id);
            match slot.stands {
                Stands::On if !is_wanted && runs(number) => {
                    self.stand(log, number, Stands::Ends)?;
                }
                Stands::Ends if is_wanted => self.stand(log, number, Stands::On)?,
                Stands::Ends if runs(number) => {}
                _ if !is_wanted => self.remove(log, number)?,
                _ => {}
            }
        }
        self.turned_away = false;
        for id in wanted {
            if self.slots.iter().flatten().any(|slot| slot.id == *id) {
                continue;
            }
            let Some(number) = self.slots.iter().position(Option::is_none) else {
                self.turned_away = true;
                return Ok(());
            };
            let (stands, tag, size) = (Stands::Fetching, 0, 0);
            let slot = Slot { id: *id, stands, tag, size, parts: 0, is_absent: false };
            log.put(&[(key(number), &slot.encode()?)])?;
            self.slots[number] = Some(slot);
        }
        Ok(())
    }

    /// Whether to ask for what there was no room for: once, as soon as there is some.
    pub fn asks_again(&mut self) -> bool {
        let is_due = self.turned_away && self.slots.iter().any(Option::is_none);
        self.turned_away &= !is_due;
        is_due
    }

    fn stand<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        number: usize,
        stands: Stands,
    ) -> Result<(), Fault<F::Error>> {
        if let Some(slot) = &mut self.slots[number] {
            let now = Slot { stands, ..*slot };
            log.put(&[(key(number), &now.encode()?)])?;
            *slot = now;
        }
        Ok(())
    }

    /// Takes a workflow away.
    pub fn remove<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        number: usize,
    ) -> Result<(), Fault<F::Error>> {
        let first = key(number);
        let none: [(u8, &[u8]); KEYS as usize] =
            core::array::from_fn(|more| (first + more as u8, &[][..]));
        log.put(&none)?;
        self.slots[number] = None;
        Ok(())
    }

    /// The next piece that is lacking.
    pub fn lacks(&self) -> Option<Fetch> {
        let mut all = self.slots.iter().flatten();
        let slot = all.find(|slot| slot.stands == Stands::Fetching && !slot.is_absent)?;
        Some(Fetch { id: slot.id, part: slot.parts.into() })
    }

    /// Takes a piece; the slot that is whole with it.
    pub fn take<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        piece: &Piece<'_>,
    ) -> Result<Option<usize>, Fault<F::Error>> {
        let is_it = |slot: &Option<Slot>| {
            slot.is_some_and(|slot| {
                slot.stands == Stands::Fetching
                    && slot.id == piece.of.id
                    && u64::from(slot.parts) == piece.of.part
            })
        };
        let Some(number) = self.slots.iter().position(is_it) else { return Ok(None) };
        let Some(slot) = &mut self.slots[number] else { return Ok(None) };
        if piece.bytes.is_empty() {
            slot.is_absent = true;
            return Ok(None);
        }
        let part = usize::from(slot.parts);
        if part == 0 {
            let Some(size) = size_of(piece.bytes) else {
                return self.stand(log, number, Stands::Unfit).map(|()| None);
            };
            let now = Slot { size, parts: 1, ..*slot };
            log.put(&[(part_key(number, 0), piece.bytes), (key(number), &now.encode()?)])?;
            *slot = now;
            return Ok(None);
        }
        if piece.bytes.len() != slot.len_of(part) {
            return Err(Reject::Malformed.into());
        }
        log.put(&[(part_key(number, part), piece.bytes)])?;
        slot.parts += 1;
        Ok((part == slot.pieces()).then_some(number))
    }

    /// Judges a workflow that is whole; whether it may run from now on.
    #[inline(never)]
    pub fn judge<F: NorFlash>(
        &mut self,
        log: &mut Log<F>,
        number: usize,
        fleet: Option<FleetId>,
    ) -> Result<bool, Fault<F::Error>> {
        let Some(slot) = self.slots[number] else { return Ok(false) };
        let mut manifest = heapless::Vec::<u8, { limits::MANIFEST_BYTES }>::new();
        let held = log.get(part_key(number, 0))?.unwrap_or_default();
        manifest.extend_from_slice(held).map_err(|_| Reject::Long)?;
        let mut room = [0; IMAGE_MAX_BYTES];
        let bytes = self.load(log, number, &mut room)?;
        let (stands, tag) = match judged(&slot, &manifest, bytes, fleet) {
            Ok(tag) => (Stands::On, tag),
            Err(stands) => (stands, 0),
        };
        let now = Slot { stands, tag, ..slot };
        // What was refused is fetched anew after a start.
        let parts = if stands == Stands::On { 1 } else { usize::from(KEYS) - 1 };
        let encoded = now.encode()?;
        let mut values = heapless::Vec::<(u8, &[u8]), { KEYS as usize }>::new();
        values.push((key(number), &encoded[..])).map_err(|_| Reject::Full)?;
        for part in 0..parts {
            values.push((part_key(number, part), &[])).map_err(|_| Reject::Full)?;
        }
        log.put(&values)?;
        self.slots[number] = Some(now);
        Ok(stands == Stands::On)
    }

    /// Reads the image of a slot.
    pub fn load<'r, F: NorFlash>(
        &self,
        log: &mut Log<F>,
        number: usize,
        room: &'r mut Room,
    ) -> Result<&'r [u8], Fault<F::Error>> {
        let slot = self.slots[number].ok_or(Reject::Malformed)?;
        let size = usize::from(slot.size);
        let image = room.get_mut(..size).ok_or(Reject::Long)?;
        for (piece, place) in image.chunks_mut(PIECE_BYTES).enumerate() {
            let bytes = log.get(part_key(number, piece + 1))?.unwrap_or_default();
            if bytes.len() != place.len() {
                return Err(Reject::Truncated.into());
            }
            place.copy_from_slice(bytes);
        }
        Ok(image)
    }
}

/// How many bytes the image has, as a manifest says, if a device can have it.
fn size_of(manifest: &[u8]) -> Option<u16> {
    let content = Manifest::decode(manifest).ok()?.content;
    let fits = content.kind == KIND && content.size <= IMAGE_MAX_BYTES as u64;
    u16::try_from(content.size).ok().filter(|_| fits)
}

/// The tag of an image that may run here, or why it may not.
fn judged(
    slot: &Slot,
    manifest: &[u8],
    bytes: &[u8],
    fleet: Option<FleetId>,
) -> Result<u32, Stands> {
    let manifest = Manifest::decode(manifest).map_err(|_| Stands::Damaged)?;
    let is_it = manifest.id == slot.id
        && block_hash(manifest.content.size, 0, bytes) == Some(manifest.content.hash);
    if !is_it {
        return Err(Stands::Damaged);
    }
    let trusted = fleet.is_some_and(|fleet| manifest.check(fleet, &signature::is_by).is_ok());
    if !trusted {
        return Err(Stands::Untrusted);
    }
    let mut places = [Place::NOWHERE; Tier::DEVICE.ops as usize];
    let image = verify(bytes, &Tier::DEVICE, &mut places).map_err(|_| Stands::Unfit)?;
    match about(&image) {
        Some(about) if about.placement == Placement::Device => Ok(image.tag()),
        _ => Err(Stands::Unfit),
    }
}

/// What an image is called and how it is to be run.
pub fn about<'a>(image: &Image<'a>) -> Option<About<'a>> {
    About::read(image.part(Part::About)).ok()
}
