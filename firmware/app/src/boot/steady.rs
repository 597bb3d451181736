//! A place of flash whose erase is done or not done, whenever the power goes.
//!
//! [`embassy_boot`] erases the state of its swap as one page. A part that loses its power in an
//! erase may be left with any of the page cleared: the word that says "swap" still there, half of
//! the marks behind it gone. The next start would take that for a swap that stands half way, and go
//! on with it, over both images. So there are two halves here, of which one counts; an erase erases
//! the other one, and then writes into its first two units that from now on it counts.
//!
//! It passes over two writes. That of what is there already: on some parts a unit takes one only.
//! And that of the second unit, by which [`embassy_boot`] says before an erase that the marks
//! behind it are void: there is no such moment here, and a power cut behind it would leave an image
//! that was just kept as one that was taken back.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Bytes of a unit, at most.
pub const UNIT_MAX_BYTES: usize = 64;

/// A place of flash over one twice as large.
pub struct Steady<F> {
    flash: F,
    /// Erases so far: the half with the greater number counts, which is the second for an odd one.
    number: u32,
}

/// A fault of the flash, or a place that a steady one does not have.
#[derive(Debug)]
pub enum Error<E> {
    /// The flash.
    Flash(E),
    /// Erased is the whole place only.
    OutOfBounds,
}

impl<E: NorFlashError> NorFlashError for Error<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Flash(error) => error.kind(),
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
        }
    }
}

impl<F: NorFlash> Steady<F> {
    /// Bytes of a half that say that it counts.
    const HEAD: u32 = 2 * F::WRITE_SIZE as u32;

    /// Opens it; one that was never used is erased.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn open(flash: F) -> Result<Self, F::Error> {
        const { assert!(F::WRITE_SIZE >= 4 && F::WRITE_SIZE <= UNIT_MAX_BYTES) };
        let mut steady = Self { flash, number: 0 };
        let numbers = [steady.number_of(0)?, steady.number_of(1)?];
        match numbers.into_iter().flatten().max() {
            Some(number) => steady.number = number,
            None => steady.erase_all()?,
        }
        Ok(steady)
    }

    fn half(&self) -> u32 {
        self.flash.capacity() as u32 / 2
    }

    /// The number of a half that counts or has counted.
    fn number_of(&mut self, half: u32) -> Result<Option<u32>, F::Error> {
        let mut words = [[0; 4]; 2];
        for (unit, word) in (0..).zip(&mut words) {
            self.flash.read(half * self.half() + unit * F::WRITE_SIZE as u32, word)?;
        }
        let [number, check] = words.map(u32::from_le_bytes);
        // A unit that is erased beside one that the power left without sense, which may read as
        // zeros, looks like a number and its check, too.
        let is_one = (1..u32::MAX).contains(&number);
        Ok((is_one && number == !check && number % 2 == half).then_some(number))
    }

    fn erase_all(&mut self) -> Result<(), F::Error> {
        let number = self.number + 1;
        let from = number % 2 * self.half();
        self.flash.erase(from, from + self.half())?;
        for (unit, word) in (0..).zip([number, !number]) {
            let mut bytes = [0xff; UNIT_MAX_BYTES];
            bytes[..4].copy_from_slice(&word.to_le_bytes());
            self.flash.write(from + unit * F::WRITE_SIZE as u32, &bytes[..F::WRITE_SIZE])?;
        }
        self.number = number;
        Ok(())
    }

    /// Where something of the place lies in the flash.
    fn place(&self, offset: u32, bytes: usize) -> Result<u32, Error<F::Error>> {
        let end = (offset as usize).checked_add(bytes).filter(|end| *end <= self.capacity());
        let from = self.number % 2 * self.half() + Self::HEAD;
        end.map(|_| from + offset).ok_or(Error::OutOfBounds)
    }
}

impl<F: NorFlash> ErrorType for Steady<F> {
    type Error = Error<F::Error>;
}

impl<F: NorFlash> ReadNorFlash for Steady<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let place = self.place(offset, bytes.len())?;
        self.flash.read(place, bytes).map_err(Error::Flash)
    }

    fn capacity(&self) -> usize {
        (self.half() - Self::HEAD) as usize
    }
}

impl<F: NorFlash> NorFlash for Steady<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        if from != 0 || to as usize != self.capacity() {
            return Err(Error::OutOfBounds);
        }
        self.erase_all().map_err(Error::Flash)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let first = self.place(offset, bytes.len())?;
        if offset == F::WRITE_SIZE as u32 {
            return Ok(());
        }
        for (place, unit) in (first..).step_by(F::WRITE_SIZE).zip(bytes.chunks(F::WRITE_SIZE)) {
            let mut there = [0; UNIT_MAX_BYTES];
            let there = &mut there[..unit.len()];
            self.flash.read(place, there).map_err(Error::Flash)?;
            if there != unit {
                self.flash.write(place, unit).map_err(Error::Flash)?;
            }
        }
        Ok(())
    }
}
