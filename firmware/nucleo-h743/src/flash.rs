//! The flash inside the processor, as something that outlives power cuts.
//!
//! Each unit of 32 bytes has its error correction with it. A write or an erase in which the power
//! goes may leave a unit that no correction fits, and a read of it is a bus fault: a device whose
//! log ends so would stop at every start. Here such a unit reads as zeros, which is no record, no
//! page and not blank, so it is passed over as what it is.
//!
//! The driver takes any error that the flash has noted for one of its own write, also a bit that
//! was put right when something was read long before. So what reads have noted is cleared first.

use crate::fault;
use core::ptr;
use cortex_m::asm::dsb;
use embassy_stm32::Peri;
use embassy_stm32::flash::{self as driver, Blocking, Error, FLASH_BASE, FLASH_SIZE, WRITE_SIZE};
use embassy_stm32::pac;
use embassy_stm32::peripherals::FLASH;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// What is written at once, and corrected together.
pub const UNIT_BYTES: usize = WRITE_SIZE;
/// What is erased at once.
pub const PAGE_BYTES: u32 = driver::MAX_ERASE_SIZE as u32;

const WORDS: usize = UNIT_BYTES / 4;
const BANK_BYTES: u32 = FLASH_SIZE as u32 / 2;
const _: () = assert!(UNIT_BYTES == 32 && PAGE_BYTES == 128 << 10 && FLASH_SIZE == 2 << 20);

/// The flash.
pub struct Flash(driver::Flash<'static, Blocking>);

impl Flash {
    /// Takes it.
    #[must_use]
    pub fn new(flash: Peri<'static, FLASH>) -> Self {
        Self(driver::Flash::new_blocking(flash))
    }
}

/// Forgets what reads have noted.
fn clear() {
    for bank in 0..2 {
        pac::FLASH.bank(bank).ccr().write(|clear| {
            clear.set_clr_sneccerr(true);
            clear.set_clr_dbeccerr(true);
        });
    }
}

/// The unit that begins at a place of the flash; zeros where no correction fits it.
fn unit(at: u32) -> [u8; UNIT_BYTES] {
    let words = (FLASH_BASE + at as usize) as *const u32;
    let mut read = [0; WORDS];
    clear();
    fault::passed_over(|| {
        for (number, word) in read.iter_mut().enumerate() {
            // SAFETY: the unit is in the flash, whose bytes anybody may read.
            *word = unsafe { ptr::read_volatile(words.add(number)) };
        }
    });
    dsb();
    if pac::FLASH.bank((at / BANK_BYTES) as usize).sr().read().dbeccerr() {
        read = [0; WORDS];
    }
    let mut bytes = [0; UNIT_BYTES];
    for (place, word) in bytes.chunks_exact_mut(4).zip(read) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

impl ErrorType for Flash {
    type Error = Error;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let end = (offset as usize).checked_add(bytes.len());
        end.filter(|end| *end <= FLASH_SIZE).ok_or(Error::Size)?;
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let skipped = at as usize % UNIT_BYTES;
            let (some, behind) = rest.split_at_mut(rest.len().min(UNIT_BYTES - skipped));
            some.copy_from_slice(&unit(at - skipped as u32)[skipped..][..some.len()]);
            (at, rest) = (at + some.len() as u32, behind);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_SIZE
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = UNIT_BYTES;
    const ERASE_SIZE: usize = PAGE_BYTES as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        clear();
        self.0.blocking_erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        clear();
        self.0.blocking_write(offset, bytes)
    }
}
