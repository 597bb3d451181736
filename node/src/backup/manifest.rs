//! What a backup says of itself, and the check of it.

use super::{BackupError, UNFINISHED, is_unfinished};
use crate::time_text::Time;
use holdfast_sync::Fault;
use holdfast_sync::store::{VERSION, give_to_owner, write_whole};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const MANIFEST: &str = "backup.json";
pub(super) const FORMAT: u32 = 1;
const CHUNK_BYTES: usize = 1 << 20;

/// What a backup is and of which files it consists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format, 1.
    pub format: u32,
    /// The program that made it.
    pub program: String,
    /// Its release.
    pub version: String,
    /// Version of the store.
    pub store: u32,
    /// The node, 64 hexadecimal digits.
    pub node: String,
    /// The moment it shows.
    pub taken: Time,
    /// Its files, by name.
    pub files: Vec<Listed>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content, 64 hexadecimal digits.
    pub blake3: String,
}

/// Lists the files that a backup consists of.
pub(super) fn list(dir: &Path) -> Result<Vec<Listed>, Fault> {
    let fault = |source| Fault::file(dir, source);
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == UNFINISHED || name == MANIFEST {
            continue;
        }
        let (bytes, blake3) = read_through(&entry.path(), &mut |_| Ok(()))?;
        out.push(Listed { name, bytes, blake3 });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

/// Reads a file piece by piece; its length and hash.
fn read_through(
    path: &Path,
    each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(u64, String), Fault> {
    let fault = |source| Fault::file(path, source);
    let mut file = File::open(path).map_err(fault)?;
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(fault)?;
        if read == 0 {
            return Ok((bytes, hasher.finalize().to_string()));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
        each(&buffer[..read]).map_err(fault)?;
    }
}

impl Manifest {
    /// Writes it, whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self).expect("texts and numbers are JSON");
        write_whole(&dir.join(MANIFEST), (text + "\n").as_bytes())
    }

    /// Reads what the backup in `dir` says of itself; its files are not looked at yet.
    ///
    /// # Errors
    /// [`BackupError`] when it is no whole backup, or one that only a newer program understands.
    pub fn read(dir: &Path) -> Result<Self, BackupError> {
        let not_whole = |why: String| BackupError::NotWhole { dir: dir.to_owned(), why };
        if is_unfinished(dir) {
            return Err(not_whole("it was cut off while it was made".to_owned()));
        }
        let text = match fs::read(dir.join(MANIFEST)) {
            Ok(text) => text,
            Err(error) => return Err(not_whole(format!("{MANIFEST} cannot be read: {error}"))),
        };
        let read = serde_json::from_slice(&text);
        let manifest: Self = read.map_err(|error| not_whole(format!("{MANIFEST}: {error}")))?;
        if manifest.format > FORMAT || manifest.store > VERSION {
            let Self { version, store, .. } = manifest;
            return Err(BackupError::Newer { version, store });
        }
        let plain = |file: &Listed| {
            let mut parts = Path::new(&file.name).components();
            matches!(parts.next(), Some(std::path::Component::Normal(_))) && parts.next().is_none()
        };
        match manifest.files.iter().find(|file| !plain(file)) {
            Some(file) => Err(not_whole(format!("`{}` is not the name of a file", file.name))),
            None => Ok(manifest),
        }
    }
}

impl Listed {
    /// Copies the file out of the backup in `from` and checks it meanwhile.
    pub(super) fn copy(
        &self,
        from: &Path,
        to: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), BackupError> {
        let fault = |source| Fault::file(to, source);
        let mut options = fs::OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(to);
        let mut copy = made.map_err(fault)?;
        give_to_owner(&copy, to.parent().unwrap_or(Path::new("."))).map_err(fault)?;
        let (bytes, blake3) = read_through(&from.join(&self.name), &mut |piece| {
            progress(piece.len() as u64);
            copy.write_all(piece)
        })?;
        if (bytes, &blake3) != (self.bytes, &self.blake3) {
            let why = format!("{} has changed since it was backed up", self.name);
            return Err(BackupError::NotWhole { dir: from.to_owned(), why });
        }
        copy.sync_all().map_err(fault)?;
        Ok(())
    }
}
