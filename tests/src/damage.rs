//! Damage to a data directory at rest: one flipped bit, or a lost tail, anywhere in any file.
//!
//! The place is drawn over all bytes of all files, so large files are struck in proportion, or
//! evenly per file, so that a small file (a key, a mark) is not spared by chance. Volatile `-shm`
//! files are left out.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::rng::Rng;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// One bit of a byte was inverted.
    FlippedBit {
        /// The file, relative to the directory.
        file: PathBuf,
        /// The byte.
        offset: u64,
        /// The bit of it, 0 being the least.
        bit: u8,
    },
    /// The end of a file is gone.
    LostTail {
        /// The file, relative to the directory.
        file: PathBuf,
        /// How much is left.
        left: u64,
        /// How much there was.
        was: u64,
    },
}

impl Damage {
    /// The damaged file, relative to the directory.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::FlippedBit { file, .. } | Self::LostTail { file, .. } => file,
        }
    }
}

/// Flips one bit of one file below `dir`, or `None` if there is no byte to flip.
///
/// # Errors
/// When a file cannot be read or written.
pub fn flip_bit(dir: &Path, seed: u64) -> io::Result<Option<Damage>> {
    let mut rng = Rng::keyed(seed, &[0]);
    let Some((file, offset, _)) = place(dir, &mut rng)? else { return Ok(None) };
    let bit = rng.index(8) as u8;
    let open = OpenOptions::new().read(true).write(true).open(dir.join(&file))?;
    let mut byte = [0];
    open.read_exact_at(&mut byte, offset)?;
    open.write_all_at(&[byte[0] ^ (1 << bit)], offset)?;
    Ok(Some(Damage::FlippedBit { file, offset, bit }))
}

/// Cuts the tail of one file below `dir` at a random length, or `None` if all are empty.
///
/// # Errors
/// When a file cannot be read or cut.
pub fn cut_tail(dir: &Path, seed: u64) -> io::Result<Option<Damage>> {
    let mut rng = Rng::keyed(seed, &[1]);
    let Some((file, left, was)) = place(dir, &mut rng)? else { return Ok(None) };
    OpenOptions::new().write(true).open(dir.join(&file))?.set_len(left)?;
    Ok(Some(Damage::LostTail { file, left, was }))
}

/// A byte of a file: its path, its offset and the file's length.
fn place(dir: &Path, rng: &mut Rng) -> io::Result<Option<(PathBuf, u64, u64)>> {
    let mut files = Vec::new();
    collect(dir, Path::new(""), &mut files)?;
    files.sort();
    if files.is_empty() {
        return Ok(None);
    }
    if rng.chance(0.5) {
        let (file, len) = files.swap_remove(rng.index(files.len()));
        return Ok(Some((file, rng.below(len), len)));
    }
    let mut at = rng.below(files.iter().map(|(_, len)| len).sum());
    for (file, len) in files {
        if at < len {
            return Ok(Some((file, at, len)));
        }
        at -= len;
    }
    unreachable!("the offset was drawn below the sum of all lengths")
}

fn collect(root: &Path, inside: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for item in fs::read_dir(root.join(inside))? {
        let item = item?;
        let (path, meta) = (inside.join(item.file_name()), item.metadata()?);
        if meta.is_dir() {
            collect(root, &path, files)?;
        } else if meta.is_file() && meta.len() > 0 && !path.to_string_lossy().ends_with("-shm") {
            files.push((path, meta.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("key"), [7; 32]).unwrap();
        fs::write(dir.path().join("inner/big"), vec![1; 10_000]).unwrap();
        fs::write(dir.path().join("empty"), []).unwrap();
        fs::write(dir.path().join("db-shm"), [9; 100]).unwrap();
        dir
    }

    #[test]
    fn one_bit_differs_and_every_file_gets_its_turn() {
        let mut struck = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let dir = sample();
            let damage = flip_bit(dir.path(), seed).unwrap().unwrap();
            let Damage::FlippedBit { file, offset, bit } = &damage else { panic!("{damage:?}") };
            let content = fs::read(dir.path().join(file)).unwrap();
            let was = if file == Path::new("key") { 7 } else { 1 };
            let differing: Vec<_> = content.iter().filter(|b| **b != was).collect();
            assert_eq!(differing, [&(was ^ (1 << bit))]);
            assert_eq!(content[*offset as usize], was ^ (1 << bit));
            struck.insert(file.clone());
        }
        assert_eq!(struck.len(), 2, "{struck:?}");
    }

    #[test]
    fn a_tail_is_lost_and_equal_seeds_do_equal_damage() {
        let (a, b) = (sample(), sample());
        for seed in 0..10 {
            let damage = cut_tail(a.path(), seed).unwrap().unwrap();
            assert_eq!(Some(&damage), cut_tail(b.path(), seed).unwrap().as_ref());
            let Damage::LostTail { file, left, was } = damage else { panic!("{damage:?}") };
            assert!(left < was);
            assert_eq!(fs::metadata(a.path().join(file)).unwrap().len(), left);
        }
    }
}
