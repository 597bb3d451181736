//! Directory trees as data: listed, copied, compared.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Files are written in blocks of this size, those of zeros as holes: ballast costs nothing then.
const BLOCK: usize = 4096;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    File { source: PathBuf, mode: u32 },
}

/// Whether a file is volatile by design, as SQLite's shared memory is.
pub(super) fn is_volatile(path: &[u8]) -> bool {
    path.ends_with(b"-shm")
}

/// Everything below `root` by its relative path; volatile files are left out.
pub(super) fn list(root: &Path) -> io::Result<BTreeMap<Vec<u8>, Entry>> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inside) = open.pop() {
        for item in fs::read_dir(root.join(&inside))? {
            let item = item?;
            let path = inside.join(item.file_name());
            let (key, meta) = (path.as_os_str().as_bytes().to_vec(), item.metadata()?);
            if meta.is_dir() {
                found.insert(key, Entry::Directory);
                open.push(path);
            } else if meta.is_file() && !is_volatile(&key) {
                let mode = meta.permissions().mode() & 0o7777;
                found.insert(key, Entry::File { source: item.path(), mode });
            }
        }
    }
    Ok(found)
}

/// Copies a tree, permissions included, volatile files left out.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for (path, entry) in list(from)? {
        let target = to.join(Path::new(std::ffi::OsStr::from_bytes(&path)));
        match entry {
            Entry::Directory => fs::create_dir_all(target)?,
            Entry::File { source, .. } => fs::copy(source, target).map(|_| ())?,
        }
    }
    Ok(())
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
