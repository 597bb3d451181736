//! Flash memory whose cells are the bytes of a host's file.
//!
//! It keeps the rules of a NOR flash: erasing sets a page of 4 KiB to ones, writing turns ones into
//! zeros, word by word, and nothing but erasing makes a one of a zero. Each word is one write of
//! the host, when erasing, too. So ending the emulator is what losing power is to a device: a write
//! ends between two words, a page is half erased, and the next start finds it so.
//!
//! Where the file is missing or shorter than the flash, what is missing is erased cells.

use crate::semihosting::File;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// What is written at once.
pub const WORD_BYTES: usize = 4;
/// What is erased at once.
pub const PAGE_BYTES: usize = 4096;

const ERASED: [u8; WORD_BYTES] = [0xff; WORD_BYTES];
/// Words that are read from the host at once, to compare them with those to be written.
const STRIDE_BYTES: usize = 64 * WORD_BYTES;

/// Why the flash did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The host has no such file and does not make one.
    CannotOpen,
    /// The file is longer than the flash, so it belongs to another one.
    OtherSize,
    /// The host does not read or write.
    Host,
    /// Not a whole number of words or pages.
    NotAligned,
    /// Beyond the end.
    OutOfBounds,
    /// A zero would have to become a one, in the word at this offset. Nothing was written.
    NotErased {
        /// Where the word is.
        offset: u32,
    },
}

impl NorFlashError for Error {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// A flash of `PAGES` pages.
pub struct Flash<const PAGES: usize> {
    file: File,
    erases: [u32; PAGES],
}

impl<const PAGES: usize> Flash<PAGES> {
    const BYTES: usize = PAGES * PAGE_BYTES;

    /// Opens the flash in the host's file `name`, which may have up to 127 bytes.
    ///
    /// # Errors
    /// [`Error::CannotOpen`], [`Error::OtherSize`] and [`Error::Host`].
    pub fn open(name: &str) -> Result<Self, Error> {
        let file = File::open(name).or_else(|| File::create(name)).ok_or(Error::CannotOpen)?;
        let length = file.length().ok_or(Error::Host)?;
        let mut flash = Self { file, erases: [0; PAGES] };
        if length > Self::BYTES {
            return Err(Error::OtherSize);
        }
        flash.seek(length)?;
        let mut missing = Self::BYTES - length;
        while missing > 0 {
            let some = missing.min(STRIDE_BYTES);
            flash.file.write(&[0xff; STRIDE_BYTES][..some]).ok_or(Error::Host)?;
            missing -= some;
        }
        Ok(flash)
    }

    /// How often each page was erased since the flash was opened.
    #[must_use]
    pub fn erases(&self) -> &[u32; PAGES] {
        &self.erases
    }

    fn seek(&mut self, offset: usize) -> Result<(), Error> {
        self.file.seek(offset).ok_or(Error::Host)
    }

    /// Whether nothing but ones become zeros.
    fn check_erased(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.seek(offset)?;
        let mut there = [0; STRIDE_BYTES];
        for (stride, new) in (offset..).step_by(STRIDE_BYTES).zip(bytes.chunks(STRIDE_BYTES)) {
            let there = &mut there[..new.len()];
            self.file.read(there).ok_or(Error::Host)?;
            if let Some(at) = there.iter().zip(new).position(|(there, new)| new & !there != 0) {
                let word = stride + at - at % WORD_BYTES;
                return Err(Error::NotErased { offset: word as u32 });
            }
        }
        Ok(())
    }
}

/// The place of `bytes` bytes from `offset` on, if it is one of whole units within the flash.
fn place(offset: u32, bytes: usize, unit: usize, capacity: usize) -> Result<usize, Error> {
    let offset = offset as usize;
    if !offset.is_multiple_of(unit) || !bytes.is_multiple_of(unit) {
        return Err(Error::NotAligned);
    }
    let end = offset.checked_add(bytes).filter(|end| *end <= capacity);
    end.map(|_| offset).ok_or(Error::OutOfBounds)
}

impl<const PAGES: usize> ErrorType for Flash<PAGES> {
    type Error = Error;
}

impl<const PAGES: usize> ReadNorFlash for Flash<PAGES> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let place = place(offset, bytes.len(), Self::READ_SIZE, Self::BYTES)?;
        self.seek(place)?;
        self.file.read(bytes).ok_or(Error::Host)
    }

    fn capacity(&self) -> usize {
        Self::BYTES
    }
}

impl<const PAGES: usize> NorFlash for Flash<PAGES> {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = PAGE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let bytes = to.checked_sub(from).ok_or(Error::OutOfBounds)? as usize;
        let start = place(from, bytes, PAGE_BYTES, Self::BYTES)?;
        self.seek(start)?;
        for page in start / PAGE_BYTES..(start + bytes) / PAGE_BYTES {
            self.erases[page] += 1;
            for _ in 0..PAGE_BYTES / WORD_BYTES {
                self.file.write(&ERASED).ok_or(Error::Host)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        let start = place(offset, bytes.len(), WORD_BYTES, Self::BYTES)?;
        self.check_erased(start, bytes)?;
        self.seek(start)?;
        for word in bytes.chunks_exact(WORD_BYTES) {
            self.file.write(word).ok_or(Error::Host)?;
        }
        Ok(())
    }
}
