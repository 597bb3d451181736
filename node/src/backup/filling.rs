//! A directory that is being filled: until that is finished, a file in it says so.
//!
//! Whatever cuts the work off, the directory is not taken for what it was to become, and the same
//! command may be given again.

use super::BackupError;
use holdfast_sync::Fault;
use holdfast_sync::store::write_private;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The file that is there until the directory is filled.
pub const UNFINISHED: &str = "unfinished";

pub(super) struct Filling {
    dir: PathBuf,
}

impl Filling {
    /// Begins with a new directory, an empty one, or one that was begun before.
    pub(super) fn begin(dir: &Path, what: &str) -> Result<Self, BackupError> {
        let fault = |source| Fault::file(dir, source);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault)?;
        for entry in fs::read_dir(dir).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let is_mark = path.file_stem().is_some_and(|stem| stem == UNFINISHED);
            if !is_mark && !is_unfinished(dir) {
                return Err(BackupError::NotEmpty(dir.to_owned()));
            }
            if !is_mark {
                fs::remove_file(&path).map_err(|source| Fault::file(&path, source))?;
            }
        }
        let text = format!("{what} into this directory was begun and not finished\n");
        write_private(&dir.join(UNFINISHED), text.as_bytes())?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Says that it is whole.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let sync = || fs::File::open(&self.dir).and_then(|dir| dir.sync_all());
        let finished =
            sync().and_then(|()| fs::remove_file(self.dir.join(UNFINISHED))).and_then(|()| sync());
        finished.map_err(|source| Fault::file(&self.dir, source))
    }
}

/// Whether the filling of `dir` was cut off.
#[must_use]
pub fn is_unfinished(dir: &Path) -> bool {
    dir.join(UNFINISHED).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_is_begun_again_and_what_is_whole_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let begin = || Filling::begin(&path, "a backup");
        drop(begin().unwrap());
        fs::write(path.join("half"), "a file").unwrap();
        let filling = begin().unwrap();
        assert!(!path.join("half").exists());
        fs::write(path.join("whole"), "a file").unwrap();
        filling.finish().unwrap();
        assert!(matches!(begin(), Err(BackupError::NotEmpty(_))));
        assert!(path.join("whole").exists());
        // Cut off before anything but the mark's temporary file was there.
        fs::remove_file(path.join("whole")).unwrap();
        fs::write(path.join("unfinished.new"), "").unwrap();
        begin().unwrap().finish().unwrap();
    }
}
