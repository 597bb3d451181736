//! The machine that a data directory belongs to.
//!
//! Two nodes with one key would each be taken for the other. So a directory remembers, by a hash of
//! the machine's id, where its node was made, and a node on another machine does not start until
//! somebody says that it has moved. A machine without an id (some containers) is not told apart;
//! there the hub notices.

use holdfast_sync::Fault;
use holdfast_sync::store::{MACHINE, read_machine, write_machine};
use std::fs;
use std::path::Path;

const CONTEXT: &str = "holdfast 2026-11 machine v1";

/// What the directory's file says of this machine; `None` when it has no id.
fn this(id_file: &Path) -> Option<[u8; 32]> {
    let id = fs::read(id_file).ok()?;
    let id = id.trim_ascii();
    // A system image that has not started yet has an empty one, or this word.
    if id.is_empty() || id == b"uninitialized" {
        return None;
    }
    Some(blake3::derive_key(CONTEXT, id))
}

/// Binds the data directory `dir` to this machine, whose id is in the file `id_file`.
///
/// # Errors
/// When the file cannot be written.
pub fn bind(dir: &Path, id_file: &Path) -> Result<(), Fault> {
    this(id_file).map_or(Ok(()), |hash| write_machine(dir, &hash))
}

/// Whether the data directory `dir` belongs to this machine. One that belongs to none yet, or whose
/// file is damaged, does from now on.
///
/// # Errors
/// When its file cannot be read or written.
pub fn is_home(dir: &Path, id_file: &Path) -> Result<bool, Fault> {
    let bound = read_machine(dir).or_else(|fault| {
        if !fault.is_damage() {
            return Err(fault);
        }
        tracing::warn!(file = MACHINE, %fault, "the node is taken to belong to this machine");
        Ok(None)
    });
    match (bound?, this(id_file)) {
        (None, _) => bind(dir, id_file).map(|()| true),
        (Some(bound), this) => Ok(this.is_none_or(|hash| hash == bound)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_the_machine_that_had_it_first() {
        let dir = tempfile::tempdir().unwrap();
        let [home, other, none] = ["home", "other", "none"].map(|name| dir.path().join(name));
        fs::write(&home, "0123\n").unwrap();
        fs::write(&other, "4567\n").unwrap();
        let data = dir.path();
        assert!(is_home(data, &none).unwrap(), "nothing to compare");
        assert!(!data.join(MACHINE).exists());
        assert!(is_home(data, &home).unwrap());
        assert!(!is_home(data, &other).unwrap());
        assert!(is_home(data, &none).unwrap(), "an id that is gone keeps nobody from starting");
        let written = fs::read(data.join(MACHINE)).unwrap();
        assert!(!written.windows(4).any(|four| four == b"0123"));
        bind(data, &other).unwrap();
        assert!(is_home(data, &other).unwrap());
        assert!(!is_home(data, &home).unwrap());
        fs::write(data.join(MACHINE), "damaged").unwrap();
        assert!(is_home(data, &home).unwrap(), "damage keeps nobody from starting");
        assert!(!is_home(data, &other).unwrap());
    }
}
