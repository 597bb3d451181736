//! A program as its file has it: what is loaded where.
//!
//! The layout of a file is that of the ELF specification (TIS, 1995), chapter 1.

use crate::workspace::Problem;
use std::path::Path;

/// The kind of segments that are loaded.
const LOADED: u32 = 1;

/// A piece of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where the processor sees it.
    pub address: u32,
    /// Where it lies before the program starts: a variable's first value in flash.
    pub lies_at: u32,
    /// What is loaded.
    pub bytes: Vec<u8>,
    /// Bytes that it takes at its address, with those that are zero at first.
    pub takes: u32,
}

/// The pieces of the program in a file.
pub fn segments(path: &Path) -> Result<Vec<Segment>, Problem> {
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    read(&bytes).ok_or_else(|| format!("{} is no 32-bit program", path.display()))
}

fn read(bytes: &[u8]) -> Option<Vec<Segment>> {
    if !bytes.starts_with(b"\x7fELF\x01\x01") {
        return None;
    }
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let (first, each, count) = (word(28)?, half(42)?, half(44)?);
    let mut all = Vec::new();
    for number in 0..usize::from(count) {
        let at = first as usize + number * usize::from(each);
        if word(at)? != LOADED {
            continue;
        }
        let (from, len) = (word(at + 4)? as usize, word(at + 16)? as usize);
        all.push(Segment {
            address: word(at + 8)?,
            lies_at: word(at + 12)?,
            bytes: bytes.get(from..from.checked_add(len)?)?.to_vec(),
            takes: word(at + 20)?,
        });
    }
    Some(all)
}

/// What lies in flash of a program, from its first byte on; between pieces as if erased.
pub fn image(segments: &[Segment]) -> Vec<u8> {
    let mut loaded: Vec<_> = segments.iter().filter(|one| !one.bytes.is_empty()).collect();
    loaded.sort_by_key(|one| one.lies_at);
    let first = loaded.first().map_or(0, |one| one.lies_at);
    let mut image = Vec::new();
    for segment in loaded {
        image.resize((segment.lies_at - first) as usize, 0xff);
        image.extend_from_slice(&segment.bytes);
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these pieces: address, where it lies, bytes, bytes that it takes.
    fn file(pieces: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x01\x01".to_vec();
        let mut content = 52 + 32 * (pieces.len() as u32 + 1);
        bytes.resize(content as usize, 0);
        bytes[28..32].copy_from_slice(&52_u32.to_le_bytes());
        bytes[42..44].copy_from_slice(&32_u16.to_le_bytes());
        bytes[44..46].copy_from_slice(&(pieces.len() as u16 + 1).to_le_bytes());
        // A note, which nobody loads.
        bytes[52] = 4;
        for (number, (address, lies_at, loaded, takes)) in (1..).zip(pieces) {
            let head = [LOADED, content, *address, *lies_at, loaded.len() as u32, *takes];
            for (place, word) in (52 + 32 * number..).step_by(4).zip(head) {
                bytes[place..place + 4].copy_from_slice(&word.to_le_bytes());
            }
            content += loaded.len() as u32;
            bytes.extend_from_slice(loaded);
        }
        bytes
    }

    #[test]
    fn an_image_is_what_lies_in_flash_in_its_order() {
        let pieces: [(u32, u32, &[u8], u32); 3] = [
            (0x2000_0000, 0x8006, &[5, 6], 2),
            (0x8000, 0x8000, &[1, 2, 3, 4], 4),
            (0x2000_0002, 0x8008, &[], 300),
        ];
        let segments = read(&file(&pieces)).unwrap();
        assert_eq!(segments.len(), 3);
        assert_eq!(image(&segments), [1, 2, 3, 4, 0xff, 0xff, 5, 6]);
    }

    #[test]
    fn what_is_no_program_has_no_segments() {
        assert_eq!(read(b"\x7fELF\x02\x01"), None);
        assert_eq!(read(&file(&[(0, 0, &[1; 8], 8)])[..60]), None);
        let whole = file(&[(0, 0, &[1; 8], 8)]);
        assert_eq!(read(&whole[..whole.len() - 1]), None);
    }
}
