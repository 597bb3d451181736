//! Calls to the host that the emulator carries out.
//!
//! A call stops the processor until the host has answered. Files are opened relative to the
//! directory the emulator was started in.

use cortex_m_semihosting::{nr, syscall, syscall1};

/// What the host answers where it cannot.
const REFUSED: usize = usize::MAX;

/// A file of the host, closed when it is dropped.
pub struct File(usize);

impl File {
    /// Opens a file that is there, for reading and writing.
    pub fn open(name: &str) -> Option<Self> {
        Self::open_as(name, nr::open::RW_BINARY)
    }

    /// Makes a file, or empties one.
    pub fn create(name: &str) -> Option<Self> {
        Self::open_as(name, nr::open::RW_TRUNC_BINARY)
    }

    fn open_as(name: &str, mode: usize) -> Option<Self> {
        let mut path = [0u8; 128];
        // One byte stays for the zero at the end.
        path[..127].get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        // SAFETY: the host reads the path, which is as long as it is told and ends with a zero.
        let handle = unsafe { syscall!(OPEN, path.as_ptr(), mode, name.len()) };
        (handle != REFUSED).then_some(Self(handle))
    }

    /// How long it is.
    pub fn length(&self) -> Option<usize> {
        // SAFETY: no memory is handed over.
        let length = unsafe { syscall!(FLEN, self.0) };
        (length != REFUSED).then_some(length)
    }

    /// Goes to a place from its start.
    pub fn seek(&mut self, place: usize) -> Option<()> {
        // SAFETY: no memory is handed over.
        let answer = unsafe { syscall!(SEEK, self.0, place) };
        (answer == 0).then_some(())
    }

    /// Fills all of `bytes`.
    pub fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        // SAFETY: the host writes at most as many bytes as it is told, and the slice has them.
        let missing = unsafe { syscall!(READ, self.0, bytes.as_mut_ptr(), bytes.len()) };
        (missing == 0).then_some(())
    }

    /// Writes all of `bytes`, as one write of the host.
    pub fn write(&mut self, bytes: &[u8]) -> Option<()> {
        // SAFETY: the host reads the slice.
        let missing = unsafe { syscall!(WRITE, self.0, bytes.as_ptr(), bytes.len()) };
        (missing == 0).then_some(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: no memory is handed over, and the handle is not used again.
        unsafe { syscall!(CLOSE, self.0) };
    }
}

/// The words the emulator was started with, into `buffer`; none if they do not fit it.
pub fn command_line(buffer: &mut [u8]) -> Option<&[u8]> {
    let mut block = [buffer.as_mut_ptr() as usize, buffer.len()];
    // SAFETY: the host writes at most as many bytes as the block says, which the buffer has, and
    // the length into the block.
    let answer = unsafe { syscall1(nr::GET_CMDLINE, block.as_mut_ptr() as usize) };
    if answer != 0 {
        return None;
    }
    buffer.get(..block[1])
}
