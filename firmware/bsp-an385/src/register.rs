//! One register of a device, which is all that this board support asks of memory outside of Rust.
//!
//! A register is an address among the board's devices, checked when the constant is made, so
//! reading and writing one cannot touch anything that a Rust value lives in.

use core::ptr;

/// Where the board's devices are, up to and with the Ethernet controller.
const DEVICES: core::ops::Range<usize> = 0x4000_0000..0x4020_1000;

/// A 32-bit register.
#[derive(Clone, Copy)]
pub struct Register(usize);

impl Register {
    /// The register at `address`.
    pub const fn at(address: usize) -> Self {
        assert!(address >= DEVICES.start && address < DEVICES.end && address.is_multiple_of(4));
        Self(address)
    }

    /// Reads it, which may change the device.
    pub fn read(self) -> u32 {
        // SAFETY: the address is aligned and within the devices, where no Rust value lives.
        unsafe { ptr::read_volatile(self.0 as *const u32) }
    }

    /// Writes it.
    pub fn write(self, value: u32) {
        // SAFETY: as for reading; no device here writes to memory by itself.
        unsafe { ptr::write_volatile(self.0 as *mut u32, value) }
    }
}
