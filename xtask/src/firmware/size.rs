//! What a program takes of a device: bytes of flash and of memory, as its ELF file says.
//!
//! What is loaded is what lies in flash: code, constants, and the first values of variables. What
//! has an address in memory is what variables take; the stack has the rest. The layout of a file is
//! that of the ELF specification (TIS, 1995), chapter 1.

use crate::workspace::Problem;
use std::path::Path;

/// Where the memory of a Cortex-M begins, and ends.
const MEMORY: std::ops::Range<u32> = 0x2000_0000..0x4000_0000;
const LOADED: u32 = 1;

/// What a program takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes of flash.
    pub flash: u32,
    /// Bytes of memory, without the stack.
    pub memory: u32,
}

/// Reads what the program in a file takes.
pub fn of(path: &Path) -> Result<Size, Problem> {
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    read(&bytes).ok_or_else(|| format!("{} is no 32-bit program", path.display()))
}

fn read(bytes: &[u8]) -> Option<Size> {
    if !bytes.starts_with(b"\x7fELF\x01\x01") {
        return None;
    }
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let (first, each, count) = (word(28)?, half(42)?, half(44)?);
    let mut size = Size { flash: 0, memory: 0 };
    for number in 0..usize::from(count) {
        let at = first as usize + number * usize::from(each);
        let (kind, address) = (word(at)?, word(at + 8)?);
        if kind != LOADED {
            continue;
        }
        size.flash += word(at + 16)?;
        if MEMORY.contains(&address) {
            size.memory += word(at + 20)?;
        }
    }
    Some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(segments: &[[u32; 8]]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x01\x01".to_vec();
        bytes.resize(52, 0);
        bytes[28..32].copy_from_slice(&52_u32.to_le_bytes());
        bytes[42..44].copy_from_slice(&32_u16.to_le_bytes());
        bytes[44..46].copy_from_slice(&(segments.len() as u16).to_le_bytes());
        bytes.extend(segments.iter().flatten().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    #[test]
    fn code_lies_in_flash_variables_in_both_and_zeros_in_memory() {
        let code = [1, 0, 0, 0, 1_000, 1_000, 0, 0];
        let data = [1, 0, 0x2000_0000, 1_000, 24, 24, 0, 0];
        let zeros = [1, 0, 0x2000_0018, 0, 0, 300, 0, 0];
        let note = [4, 0, 0, 0, 77, 77, 0, 0];
        let size = read(&program(&[code, data, zeros, note]));
        assert_eq!(size, Some(Size { flash: 1_024, memory: 324 }));
    }

    #[test]
    fn what_is_no_program_has_no_size() {
        assert_eq!(read(b"\x7fELF\x02\x01"), None);
        assert_eq!(read(&program(&[[1; 8]])[..60]), None);
    }
}
