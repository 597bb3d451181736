//! One run of a node under the shim.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::journal::Journal;
use super::shim;
use super::tree::copy_tree;

/// A data directory as it was, and the journal of what happened to it since.
#[derive(Debug)]
pub struct Recording {
    data: PathBuf,
    base: PathBuf,
    journal: PathBuf,
}

impl Recording {
    /// Copies `data` to `work`: all of that counts as being on disk. No process may be using it.
    ///
    /// # Errors
    /// When a directory cannot be made or copied.
    pub fn begin(data: &Path, work: &Path) -> io::Result<Self> {
        fs::create_dir_all(work)?;
        let (base, journal) = (work.join("base"), work.join("journal"));
        copy_tree(data, &base)?;
        fs::write(&journal, [])?;
        // The shim compares paths as text, so it must be given the one without links.
        Ok(Self { data: data.canonicalize()?, base, journal: journal.canonicalize()? })
    }

    /// What the process to be recorded needs in its environment. Several processes may be
    /// recorded one after the other; two at a time are refused by the shim.
    #[must_use]
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        vec![
            ("LD_PRELOAD".into(), shim::library().into()),
            ("HOLDFAST_POWERCUT_DIR".into(), self.data.clone().into()),
            ("HOLDFAST_POWERCUT_JOURNAL".into(), self.journal.clone().into()),
        ]
    }

    /// Length of the journal in bytes at this moment. Whatever a client had been told before was
    /// done within it.
    ///
    /// # Errors
    /// When the journal is gone.
    pub fn len(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.journal)?.len())
    }

    /// Whether nothing was recorded so far.
    ///
    /// # Errors
    /// When the journal is gone.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads the journal so far.
    ///
    /// # Errors
    /// When it cannot be read, or a record in it is not understood.
    pub fn load(&self) -> io::Result<Journal> {
        Journal::load(&self.base, &self.journal)
    }

    /// The recorded data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }
}
