//! Directory trees as data: listed, copied, compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Files are written in blocks of this size, those of zeros as holes: ballast costs nothing then.
const BLOCK: usize = 4096;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Directory { mode: u32 },
    File { source: PathBuf, mode: u32 },
}

/// Whether a file is volatile by design, as SQLite's shared memory is.
pub(super) fn is_volatile(path: &[u8]) -> bool {
    path.ends_with(b"-shm")
}

/// `root` as the empty path, and everything below it by its relative path; volatile files are
/// left out.
pub(super) fn list(root: &Path) -> io::Result<BTreeMap<Vec<u8>, Entry>> {
    let mode = fs::metadata(root)?.permissions().mode() & 0o7777;
    let mut found = BTreeMap::from([(Vec::new(), Entry::Directory { mode })]);
    let mut open = vec![PathBuf::new()];
    while let Some(inside) = open.pop() {
        for item in fs::read_dir(root.join(&inside))? {
            let item = item?;
            let path = inside.join(item.file_name());
            let (key, meta) = (path.as_os_str().as_bytes().to_vec(), item.metadata()?);
            let mode = meta.permissions().mode() & 0o7777;
            if meta.is_dir() {
                found.insert(key, Entry::Directory { mode });
                open.push(path);
            } else if meta.is_file() && !is_volatile(&key) {
                found.insert(key, Entry::File { source: item.path(), mode });
            }
        }
    }
    Ok(found)
}

/// Copies a tree, permissions included, volatile files left out.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for (path, entry) in list(from)? {
        let target = at(to, &path);
        match entry {
            Entry::Directory { mode } => make_directory(&target, mode)?,
            Entry::File { source, .. } => fs::copy(source, target).map(|_| ())?,
        }
    }
    Ok(())
}

/// The place of a relative path below `root`.
pub(super) fn at(root: &Path, path: &[u8]) -> PathBuf {
    // Joining the empty path would add a slash.
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

/// Makes a directory that must not exist.
pub(super) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    // Whatever its mode, what belongs in it must be made first; only root could do otherwise.
    fs::DirBuilder::new().mode(mode | 0o700).create(path)
}

/// Writes a new file, leaving blocks of zeros as holes.
pub(super) fn write_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_len(content.len() as u64)?;
    let mut at = 0;
    for run in content.chunks(BLOCK) {
        if run.iter().any(|b| *b != 0) {
            file.seek(SeekFrom::Start(at as u64))?;
            file.write_all(run)?;
        }
        at += run.len();
    }
    Ok(())
}
