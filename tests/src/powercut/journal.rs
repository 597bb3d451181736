//! A journal in memory: its operations by number, and by byte length.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cut::{Aftermath, DataRule, NameRule, Rules, build};
use super::format::Op;
use super::history::History;
use super::tree::{Entry, list};

/// What was on disk at the beginning, and every operation since.
#[derive(Debug)]
pub struct Journal {
    base: PathBuf,
    bytes: Vec<u8>,
    /// End of each operation in `bytes`.
    ends: Vec<usize>,
}

impl Journal {
    pub(super) fn load(base: &Path, journal: &Path) -> io::Result<Self> {
        let bytes = fs::read(journal)?;
        let mut ends = Vec::new();
        let mut at = 0;
        while let Some((_, len)) = Op::decode(&bytes[at..]) {
            at += len;
            ends.push(at);
        }
        Ok(Self { base: base.to_owned(), bytes, ends })
    }

    /// Number of operations: the greatest cut point.
    #[must_use]
    pub fn ops(&self) -> usize {
        self.ends.len()
    }

    /// Number of operations done when the journal was `len` bytes long, as told by
    /// [`super::Recording::len`]. A record being written at that moment counts: its operation was
    /// done, and whoever was told of it was told later.
    #[must_use]
    pub fn ops_within(&self, len: u64) -> usize {
        match len {
            0 => 0,
            _ => (self.ends.partition_point(|end| (*end as u64) < len) + 1).min(self.ops()),
        }
    }

    /// Builds in `out`, which must not exist, what a disk might hold if the power went after
    /// the first `cut` operations. Equal seeds give equal directories.
    ///
    /// # Errors
    /// When the journal contradicts itself or `out` cannot be written.
    pub fn cut(&self, cut: usize, seed: u64, out: &Path) -> io::Result<Aftermath> {
        self.cut_with(cut, seed, Rules::drawn(seed), out)
    }

    /// As [`Journal::cut`] under given rules instead of drawn ones.
    ///
    /// # Errors
    /// As [`Journal::cut`].
    pub fn cut_by(
        &self,
        cut: usize,
        seed: u64,
        names: NameRule,
        data: DataRule,
        out: &Path,
    ) -> io::Result<Aftermath> {
        self.cut_with(cut, seed, Rules { names, data: Some(data) }, out)
    }

    /// Paths at which the directory `real` differs from what the journal says it must be by now:
    /// changes that the shim did not see. Must be empty before a verdict is worth anything.
    ///
    /// # Errors
    /// When a directory cannot be read, or `scratch` not be written.
    pub fn unseen(&self, real: &Path, scratch: &Path) -> io::Result<Vec<PathBuf>> {
        self.cut_with(self.ops(), 0, Rules::kept(), scratch)?;
        let (expected, found) = (list(scratch)?, list(real)?);
        let mut differing = Vec::new();
        for path in expected.keys().chain(found.keys().filter(|p| !expected.contains_key(*p))) {
            let equal = match (expected.get(path), found.get(path)) {
                (Some(Entry::Directory { .. }), Some(Entry::Directory { .. })) => true,
                (Some(Entry::File { source: a, .. }), Some(Entry::File { source: b, .. })) => {
                    fs::read(a)? == fs::read(b)?
                }
                _ => false,
            };
            if !equal {
                differing.push(PathBuf::from(String::from_utf8_lossy(path).into_owned()));
            }
        }
        Ok(differing)
    }

    fn cut_with(&self, cut: usize, seed: u64, rules: Rules, out: &Path) -> io::Result<Aftermath> {
        let history = History::read(&self.base, self.iter().take(cut))?;
        build(&history, seed, rules, out)
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| {
            Op::decode(&self.bytes[start..*end]).expect("`load` decoded every record").0
        })
    }
}
