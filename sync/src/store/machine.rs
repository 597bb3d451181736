//! The file that says which machine a data directory belongs to: 32 bytes in an envelope, so that a
//! flipped bit is not taken for another machine.

use super::mark::write_private;
use crate::Fault;
use holdfast_core::codec::Reader;
use holdfast_core::envelope::Envelope;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The file with the hash of the id of the machine that the node belongs to.
pub const MACHINE: &str = "machine";
const KIND: u8 = 3;

/// Which machine the data directory `dir` belongs to; `None` when it belongs to none yet.
///
/// # Errors
/// [`Fault::Damaged`] when the file is not whole, [`Fault::File`] when it cannot be read.
pub fn read_machine(dir: &Path) -> Result<Option<[u8; 32]>, Fault> {
    let path = dir.join(MACHINE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Fault::file(&path, source)),
    };
    let mut reader = Reader::new(&bytes);
    let envelope = Envelope::decode(&mut reader)
        .and_then(|envelope| reader.finish().map(|()| envelope))
        .map_err(|reject| Fault::damaged(MACHINE, reject.to_string()))?;
    match (envelope.kind, envelope.flags, envelope.payload.try_into()) {
        (KIND, 0, Ok(hash)) => Ok(Some(hash)),
        _ => Err(Fault::damaged(MACHINE, "it is not the hash of a machine")),
    }
}

/// Makes the data directory `dir` that machine's.
///
/// # Errors
/// [`Fault::File`] or [`Fault::Full`].
pub fn write_machine(dir: &Path, hash: &[u8; 32]) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    Envelope { kind: KIND, flags: 0, payload: hash }
        .encode(&mut bytes)
        .expect("a hash fits an envelope");
    write_private(&dir.join(MACHINE), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_machine(dir.path()).unwrap(), None);
        write_machine(dir.path(), &[7; 32]).unwrap();
        assert_eq!(read_machine(dir.path()).unwrap(), Some([7; 32]));
        let good = fs::read(dir.path().join(MACHINE)).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(dir.path().join(MACHINE), bytes).unwrap();
            assert!(read_machine(dir.path()).unwrap_err().is_damage(), "bit {bit}");
        }
    }
}
