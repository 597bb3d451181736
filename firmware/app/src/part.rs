//! One flash for several users: each operation has it for itself for as long as it takes.
//!
//! What is kept in it lies in ranges that do not overlap ([`crate::Layout`]), so the users never
//! wait for more than one operation of another: a sample is written while a backlog is read.
//!
//! An erase that the power ends leaves a page of which any part may still be as it was, and which
//! may look erased to whoever looks at its first and last word only. A page is begun with its first
//! word, so before that is written the page is looked at as a whole, and erased if it is not blank.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embedded_storage_async::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};

/// Bytes that are looked at at a time; pages of every part are multiples of it.
const LOOK_BYTES: usize = 128;

/// The flash of a device, shared by the tasks of one executor.
pub type Flash<F> = Mutex<NoopRawMutex, F>;

/// A user's hold of the flash.
pub struct Part<'a, F> {
    flash: &'a Flash<F>,
    capacity: usize,
}

impl<'a, F: ReadNorFlash> Part<'a, F> {
    /// One of `flash`, which nobody may be using at this moment.
    ///
    /// # Panics
    /// When somebody is.
    #[must_use]
    pub fn new(flash: &'a Flash<F>) -> Self {
        let capacity = flash.try_lock().expect("it is taken before the tasks begin").capacity();
        Self { flash, capacity }
    }
}

impl<F: ErrorType> ErrorType for Part<'_, F> {
    type Error = F::Error;
}

impl<F: ReadNorFlash> ReadNorFlash for Part<'_, F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.flash.lock().await.read(offset, bytes).await
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl<F: NorFlash> NorFlash for Part<'_, F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.flash.lock().await.erase(from, to).await
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let mut flash = self.flash.lock().await;
        let page = F::ERASE_SIZE as u32;
        if offset.is_multiple_of(page) && !is_blank(&mut *flash, offset, page).await? {
            flash.erase(offset, offset + page).await?;
        }
        flash.write(offset, bytes).await
    }
}

impl<F: MultiwriteNorFlash> MultiwriteNorFlash for Part<'_, F> {}

async fn is_blank<F: ReadNorFlash>(flash: &mut F, from: u32, len: u32) -> Result<bool, F::Error> {
    let mut bytes = [0; LOOK_BYTES];
    for at in (from..from + len).step_by(LOOK_BYTES) {
        flash.read(at, &mut bytes).await?;
        if bytes.iter().any(|byte| *byte != 0xff) {
            return Ok(false);
        }
    }
    Ok(true)
}
