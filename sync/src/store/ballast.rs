//! A file that only takes up room, to be given up when the disk is full from outside.
//!
//! With a full disk SQLite can neither delete nor checkpoint, so nothing could be shed to make
//! room. The ballast's blocks are that first room.

use crate::Fault;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Its file name in a data directory.
pub(super) const BALLAST: &str = "ballast";
/// What it takes up.
pub(super) const BALLAST_BYTES: usize = 4 << 20;
/// What it is full of: no zeros, which some filesystems do not store.
pub(super) const BALLAST_BYTE: u8 = 0x5a;

#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    present: bool,
}

impl Ballast {
    /// Finds or makes the ballast of a data directory; on a full disk there is none for now.
    pub(super) fn find(dir: &Path) -> Self {
        let path = dir.join(BALLAST);
        let present = fs::metadata(&path).is_ok_and(|meta| meta.len() == BALLAST_BYTES as u64);
        let mut ballast = Self { path, present };
        ballast.restore();
        ballast
    }

    /// Gives the room away; `true` if there was any to give.
    pub(super) fn release(&mut self) -> bool {
        let released = self.present && fs::remove_file(&self.path).is_ok();
        self.present = self.present && !released;
        released
    }

    /// Takes the room back if the disk has it twice over.
    pub(super) fn restore(&mut self) {
        if !self.present && free_bytes(&self.path) > 2 * BALLAST_BYTES as u64 {
            self.present = self.write().is_ok();
            if !self.present {
                // Half a ballast is no ballast, and it must not keep what room is left.
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    fn write(&self) -> Result<(), Fault> {
        let fault = |source| Fault::file(&self.path, source);
        let mut file = fs::File::create(&self.path).map_err(fault)?;
        let block = [BALLAST_BYTE; 64 << 10];
        for _ in 0..BALLAST_BYTES / block.len() {
            file.write_all(&block).map_err(fault)?;
        }
        file.sync_all().map_err(fault)
    }
}

/// Bytes an ordinary process may still write on the filesystem that holds `path`'s directory.
pub(super) fn free_bytes(path: &Path) -> u64 {
    let dir = path.parent().unwrap_or(path);
    rustix::fs::statvfs(dir).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_room_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::find(dir.path());
        let path = dir.path().join("ballast");
        assert_eq!(fs::metadata(&path).unwrap().len(), BALLAST_BYTES as u64);
        assert!(ballast.release());
        assert!(!path.exists());
        assert!(!ballast.release(), "there is nothing left to release");
        ballast.restore();
        assert!(path.exists());
    }
}
