//! Two places for images of firmware, and which of them starts.
//!
//! The *active* place is the one that the processor runs from; the *next* one, a page larger, takes
//! an image while the device works. [`embassy_boot`] swaps the two, page by page, when a start
//! finds that this was asked for ([`prepare`]), and swaps them back when a start finds that the
//! image of the last one was never kept ([`Places::keep`]). How far it has come stands in a third
//! place, its *state*, which is made [`steady`] here; so whenever the power goes, one whole image
//! starts.

mod steady;
#[cfg(test)]
mod tests;

pub use embassy_boot::{AlignedBuffer, State};
pub use steady::{Steady, UNIT_MAX_BYTES};

use crate::log::Fault;
use embassy_boot::{BlockingFirmwareState, BootError, BootLoader, BootLoaderConfig};
use embedded_storage::nor_flash::NorFlash;

/// What a loader does before it starts what is in the active place: goes on with a swap, begins
/// one that was asked for, or takes one back. Copies go by `buffer`, of which a page is a multiple.
///
/// # Errors
/// A fault of the flash; what is in the active place may be half of an image then.
pub fn prepare<F: NorFlash>(
    active: F,
    next: F,
    state: F,
    buffer: &mut [u8],
) -> Result<State, BootError> {
    let state = Steady::open(state)?;
    BootLoader::new(BootLoaderConfig { active, dfu: next, state }).prepare_boot(buffer)
}

/// What running firmware has to do with the places.
pub struct Places<F: NorFlash> {
    /// The board: the name of images that are for it.
    pub board: &'static str,
    /// Bytes that an image may have: those of the active place.
    pub room: u32,
    next: F,
    state: Steady<F>,
}

impl<F: NorFlash> Places<F> {
    /// Those of a board.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn open(
        board: &'static str,
        room: u32,
        next: F,
        state: F,
    ) -> Result<Self, Fault<F::Error>> {
        let state = Steady::open(state).map_err(Fault::Flash)?;
        Ok(Self { board, room, next, state })
    }

    fn with_state<T, E>(
        &mut self,
        act: impl FnOnce(&mut BlockingFirmwareState<'_, &mut Steady<F>>) -> Result<T, E>,
    ) -> Result<T, Fault<F::Error>> {
        let mut unit = AlignedBuffer([0; UNIT_MAX_BYTES]);
        let unit = &mut unit.0[..F::WRITE_SIZE];
        act(&mut BlockingFirmwareState::new(&mut self.state, unit)).map_err(|_| Fault::State)
    }

    /// What the last start did: [`State::Swap`] while the image that runs is on trial,
    /// [`State::Revert`] when it is the old one that is back.
    pub(crate) fn stands(&mut self) -> Result<State, Fault<F::Error>> {
        self.with_state(|state| state.get_state())
    }

    /// Has the next start swap the places.
    pub(crate) fn swap(&mut self) -> Result<(), Fault<F::Error>> {
        self.with_state(|state| state.mark_updated())
    }

    /// Keeps the image that runs.
    pub(crate) fn keep(&mut self) -> Result<(), Fault<F::Error>> {
        self.with_state(|state| state.mark_booted())
    }

    /// Writes some of the next image, from a whole unit on; a page is erased when its first unit is
    /// written. What is left of the last unit becomes `ff`.
    pub(crate) fn write(&mut self, mut at: u32, mut bytes: &[u8]) -> Result<(), Fault<F::Error>> {
        let page = F::ERASE_SIZE as u32;
        while !bytes.is_empty() {
            if at.is_multiple_of(page) {
                self.next.erase(at, at + page).map_err(Fault::Flash)?;
            }
            let (some, rest) = bytes.split_at(bytes.len().min((page - at % page) as usize));
            self.write_in_page(at, some)?;
            (at, bytes) = (at + some.len() as u32, rest);
        }
        Ok(())
    }

    fn write_in_page(&mut self, at: u32, bytes: &[u8]) -> Result<(), Fault<F::Error>> {
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % F::WRITE_SIZE);
        self.next.write(at, whole).map_err(Fault::Flash)?;
        if rest.is_empty() {
            return Ok(());
        }
        let mut unit = AlignedBuffer([0xff; UNIT_MAX_BYTES]);
        unit.0[..rest.len()].copy_from_slice(rest);
        let at = at + whole.len() as u32;
        self.next.write(at, &unit.0[..F::WRITE_SIZE]).map_err(Fault::Flash)
    }

    /// Reads some of the next image.
    pub(crate) fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), Fault<F::Error>> {
        self.next.read(at, bytes).map_err(Fault::Flash)
    }
}
