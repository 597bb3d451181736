//! A mark outside the database: how far each stream was, to notice a silently dropped tail.
//!
//! One flipped bit in a write-ahead log makes SQLite drop what follows it without a word. The mark
//! is written at most once a second and never ahead of a commit; a store that is behind its mark at
//! start has lost committed entries, and says so.

use crate::Fault;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::envelope::Envelope;
use holdfast_core::log::Link;
use holdfast_core::{Incarnation, Reject, Seq, Stream};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt, fchown};
use std::path::Path;

const NAME: &str = "mark";
const KIND: u8 = 1;

/// One of this node's chains at the time of the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedChain {
    /// The start that wrote it.
    pub incarnation: Incarnation,
    /// Its stream.
    pub stream: Stream,
    /// Its last sequence.
    pub seq: Seq,
    /// The link after it.
    pub link: Link,
}

/// How far the node's own open chains were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The open chains with at least one entry.
    pub chains: Vec<MarkedChain>,
}

impl Mark {
    /// The greatest boot count that the mark knows of.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.chains.iter().map(|chain| chain.incarnation.boot).max().unwrap_or(0)
    }

    fn encode(&self) -> Result<Vec<u8>, Reject> {
        let mut payload = Vec::new();
        for chain in &self.chains {
            payload.put_uint(chain.incarnation.boot)?;
            payload.put(&chain.incarnation.nonce.to_le_bytes())?;
            payload.put_u8(chain.stream as u8)?;
            payload.put_uint(chain.seq)?;
            payload.put(&chain.link.0)?;
        }
        let mut out = Vec::new();
        Envelope { kind: KIND, flags: 0, payload: &payload }.encode(&mut out)?;
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let envelope = Envelope::decode(&mut reader)?;
        reader.finish()?;
        if envelope.kind != KIND || envelope.flags != 0 {
            return Err(Reject::Version);
        }
        let mut payload = Reader::new(envelope.payload);
        let mut chains = Vec::new();
        while !payload.rest().is_empty() {
            let boot = payload.uint()?;
            let nonce = u64::from_le_bytes(payload.array()?);
            chains.push(MarkedChain {
                incarnation: Incarnation { boot, nonce },
                stream: Stream::from_u8(payload.u8()?).ok_or(Reject::Malformed)?,
                seq: payload.uint()?,
                link: Link(payload.array()?),
            });
        }
        Ok(Self { chains })
    }

    /// Puts the mark into `dir`, whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Fault> {
        let bytes = self.encode().map_err(|reject| Fault::damaged(NAME, reject.code()))?;
        write_whole(&dir.join(NAME), &bytes)
    }

    /// The mark in `dir`, `None` when there is none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Fault> {
        let path = dir.join(NAME);
        match fs::read(&path) {
            Ok(bytes) => match Self::decode(&bytes) {
                Ok(mark) => Ok(Some(mark)),
                Err(reject) => Err(Fault::damaged(NAME, reject.code())),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Fault::file(&path, source)),
        }
    }
}

/// Replaces the file at `path`: temporary file, fsync, rename, directory fsync.
///
/// # Errors
/// [`Fault::File`] or [`Fault::Full`]; the old file is then untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    write_mode(path, bytes, 0o644)
}

/// As [`write_whole`], readable by its owner only from the first byte on.
///
/// # Errors
/// As [`write_whole`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    write_mode(path, bytes, 0o600)
}

fn write_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Fault> {
    let fault = |source| Fault::file(path, source);
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(&temporary).map_err(fault)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    give_to_owner(&file, dir).map_err(fault)?;
    file.write_all(bytes).map_err(fault)?;
    file.sync_all().map_err(fault)?;
    fs::rename(&temporary, path).map_err(fault)?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault)
}

/// Makes a new file in `dir` the directory's owner's: what root writes for a service has to be
/// readable for the service. Nobody else can give files away, nor has to.
///
/// # Errors
/// What the operating system says of either.
pub fn give_to_owner(file: &fs::File, dir: &Path) -> io::Result<()> {
    let of_dir = fs::metadata(dir)?;
    if of_dir.uid() != file.metadata()?.uid() {
        let _ = fchown(file, Some(of_dir.uid()), Some(of_dir.gid()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(dir.path()).unwrap(), None);
        let chain = MarkedChain {
            incarnation: Incarnation { boot: 3, nonce: 77 },
            stream: Stream::Reading,
            seq: 1000,
            link: Link([1; 32]),
        };
        let mark = Mark { chains: vec![chain] };
        mark.write(dir.path()).unwrap();
        assert_eq!(Mark::read(dir.path()).unwrap(), Some(mark));
        let path = dir.path().join(NAME);
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            assert!(Mark::read(dir.path()).unwrap_err().is_damage(), "bit {bit}");
        }
    }
}
