//! A file system of a given size, so that a disk can really be full.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tempfile::TempDir;

/// A mounted tmpfs; dropping it unmounts it and removes its directory.
#[derive(Debug)]
pub struct Tmpfs {
    // Emptied only by `drop`, after unmounting.
    dir: TempDir,
}

/// Why no tmpfs could be mounted; a scenario prints it and skips.
#[derive(Debug)]
pub struct Skipped(pub String);

impl Tmpfs {
    /// Mounts a tmpfs that holds `bytes`.
    ///
    /// # Errors
    /// A reason to skip where mounting is not permitted: it takes root.
    pub fn mount(bytes: u64) -> Result<Self, Skipped> {
        let skipped = |e: io::Error| Skipped(format!("skipped: cannot mount a tmpfs: {e}"));
        let dir = tempfile::Builder::new().prefix("holdfast-tmpfs-").tempdir().map_err(skipped)?;
        let (target, options) = (text(dir.path().as_os_str().as_bytes()), format!("size={bytes}"));
        let (kind, options) = (text(b"tmpfs"), text(options.as_bytes()));
        // SAFETY: all pointers are to terminated strings that outlive the call.
        let result = unsafe {
            let flags = libc::MS_NOSUID | libc::MS_NODEV;
            let data = options.as_ptr().cast();
            libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data)
        };
        if result != 0 {
            return Err(skipped(io::Error::last_os_error()));
        }
        Ok(Self { dir })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file `ballast` that takes all space but `left` bytes; removing it gives the space
    /// back.
    ///
    /// # Errors
    /// When the free space cannot be asked for or taken.
    pub fn fill(&self, left: u64) -> io::Result<()> {
        let free = self.free()?.saturating_sub(left);
        let file = std::fs::File::create(self.path().join("ballast"))?;
        if free == 0 {
            return Ok(());
        }
        let len = i64::try_from(free).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open; the call takes no memory.
        match unsafe { libc::posix_fallocate(std::os::fd::AsRawFd::as_raw_fd(&file), 0, len) } {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    }

    /// Takes what has become free since [`Tmpfs::fill`], into a second file.
    ///
    /// # Errors
    /// When the space cannot be asked for or taken.
    pub fn fill_more(&self) -> io::Result<()> {
        use std::io::Write as _;
        let path = self.path().join("more-ballast");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        let free = usize::try_from(self.free()?).map_err(io::Error::other)?;
        match file.write_all(&vec![1; free]) {
            // The node was faster.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            other => other,
        }
    }

    /// Removes what [`Tmpfs::fill`] and [`Tmpfs::fill_more`] wrote.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn relieve(&self) -> io::Result<()> {
        let more = self.path().join("more-ballast");
        if more.exists() {
            std::fs::remove_file(more)?;
        }
        std::fs::remove_file(self.path().join("ballast"))
    }

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    pub fn free(&self) -> io::Result<u64> {
        let path = text(self.path().as_os_str().as_bytes());
        // SAFETY: all-zero is a valid `statvfs`, which the call fills; the path is terminated.
        unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            match libc::statvfs(path.as_ptr(), &raw mut stat) {
                0 => Ok(stat.f_bavail * stat.f_frsize),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let path = text(self.dir.path().as_os_str().as_bytes());
        // Detached at once even if a dying process still holds a file on it.
        // SAFETY: the path is terminated and is that of our own mount.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}

fn text(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("paths and options have no zero byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_system_takes_nothing_until_it_is_relieved() {
        let tmpfs = match Tmpfs::mount(1 << 20) {
            Ok(tmpfs) => tmpfs,
            Err(Skipped(reason)) => return eprintln!("{reason}"),
        };
        let path = tmpfs.path().to_owned();
        tmpfs.fill(0).unwrap();
        let full = std::fs::write(path.join("more"), [1; 8192]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        tmpfs.relieve().unwrap();
        std::fs::write(path.join("more"), [1; 8192]).unwrap();
        drop(tmpfs);
        assert!(!path.exists());
    }
}
