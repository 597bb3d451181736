//! Our own fault: what went wrong on this node, and so what a caller can do about it.
//!
//! The peer's faults are [`holdfast_core::Reject`]; these are for retry, degrade or stop.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong on this node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The disk or the quota is full: retry when there is room.
    #[error("no room on disk: {0}")]
    Full(String),
    /// Stored data is damaged: what is undamaged goes on, the store repairs itself at its next
    /// start.
    #[error("damaged data in {what}: {detail}")]
    Damaged {
        /// Which file or record.
        what: String,
        /// What was found.
        detail: String,
    },
    /// The store was written by a newer program.
    #[error(
        "the store has version {found} and was last opened by release {program}; this program \
         knows up to version {known}: use release {program} or a later one"
    )]
    Newer {
        /// Version of the store.
        found: u32,
        /// Greatest version this program knows.
        known: u32,
        /// The release that opened it last.
        program: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The database refused.
    #[error("database: {0}")]
    Database(String),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// Another process uses the data directory.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
}

impl Fault {
    /// A file fault at `path`.
    pub fn file(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full(format!("{}: {source}", path.display()))
            }
            _ => Self::File { path: path.to_owned(), source },
        }
    }

    /// Damage found in `what`.
    pub fn damaged(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), detail: detail.into() }
    }

    /// Whether waiting for room may help.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether stored bytes are damaged.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}
