//! The machine that a data directory belongs to.
//!
//! Two nodes with one key would each be taken for the other. So a directory remembers, by a hash of
//! the machine's id, where its node was made, and a node on another machine does not start until
//! somebody says that it has moved. A machine without an id (some containers) is not told apart;
//! there the hub notices.

use holdfast_sync::Fault;
use holdfast_sync::store::{MACHINE, write_private};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const CONTEXT: &str = "holdfast 2026-11 machine v1";

/// What the directory's file says of this machine; `None` when it has no id.
fn this(id_file: &Path) -> Option<String> {
    let id = fs::read(id_file).ok()?;
    let id = id.trim_ascii();
    // A system image that has not started yet has an empty one, or this word.
    if id.is_empty() || id == b"uninitialized" {
        return None;
    }
    Some(blake3::Hash::from(blake3::derive_key(CONTEXT, id)).to_string())
}

/// Binds the data directory `dir` to this machine, whose id is in the file `id_file`.
///
/// # Errors
/// When the file cannot be written.
pub fn bind(dir: &Path, id_file: &Path) -> Result<(), Fault> {
    match this(id_file) {
        Some(hash) => write_private(&dir.join(MACHINE), format!("{hash}\n").as_bytes()),
        None => Ok(()),
    }
}

/// Whether the data directory `dir` belongs to this machine. One that belongs to none yet does from
/// now on.
///
/// # Errors
/// When its file cannot be read or written.
pub fn is_home(dir: &Path, id_file: &Path) -> Result<bool, Fault> {
    let path = dir.join(MACHINE);
    let bound = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return bind(dir, id_file).map(|()| true);
        }
        Err(source) => return Err(Fault::file(&path, source)),
    };
    Ok(this(id_file).is_none_or(|hash| hash == bound.trim()))
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
        assert!(!fs::read_to_string(data.join(MACHINE)).unwrap().contains("0123"));
        bind(data, &other).unwrap();
        assert!(is_home(data, &other).unwrap());
        assert!(!is_home(data, &home).unwrap());
    }
}
