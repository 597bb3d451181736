//! What a program takes of a device: bytes of flash and of memory, as its file says.
//!
//! What is loaded is what lies in flash: code, constants, and the first values of variables. What
//! has an address in memory is what variables take; the stack has the rest.

use super::elf::{self, Segment};
use crate::workspace::Problem;
use std::path::Path;

/// Where the memory of a Cortex-M begins, and ends.
const MEMORY: std::ops::Range<u32> = 0x2000_0000..0x4000_0000;

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
    Ok(sum(&elf::segments(path)?))
}

fn sum(segments: &[Segment]) -> Size {
    let variables = segments.iter().filter(|one| MEMORY.contains(&one.address));
    Size {
        flash: segments.iter().map(|one| one.bytes.len() as u32).sum(),
        memory: variables.map(|one| one.takes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_lies_in_flash_variables_in_both_and_zeros_in_memory() {
        let segment =
            |address, loaded, takes| Segment { address, lies_at: 0, bytes: vec![0; loaded], takes };
        let code = segment(0, 1_000, 1_000);
        let data = segment(0x2000_0000, 24, 24);
        let zeros = segment(0x2000_0018, 0, 300);
        assert_eq!(sum(&[code, data, zeros]), Size { flash: 1_024, memory: 324 });
    }
}
