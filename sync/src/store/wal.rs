//! A look at the write-ahead log before SQLite opens it.
//!
//! SQLite stops reading at the first frame whose checksum fails and says nothing of what follows.
//! Frames of the present round behind that point were written and are about to be dropped: the tail
//! torn by a power cut, which nobody was promised, or damage. Layout and checksum: SQLite's file
//! format, section 4.

use crate::Fault;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24;

/// What a write-ahead log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WalState {
    /// Frames up to the last whole transaction.
    pub committed: u64,
    /// Frames of this round behind the first one that fails its checksum.
    pub stray: u64,
    /// Bytes behind the last whole transaction when no frame fails its checksum: a transaction that
    /// was cut off.
    pub unfinished: u64,
    /// Whether the header itself is not valid although frames follow it.
    pub header_damaged: bool,
}

impl WalState {
    /// What is not as it should be, if anything.
    pub(super) fn finding(&self) -> Option<String> {
        if self.header_damaged {
            return Some(
                "the header of the write-ahead log is damaged: its content is lost".into(),
            );
        }
        (self.stray > 0).then(|| {
            format!(
                "the write-ahead log has {} frames behind its last valid one: torn by a power cut \
                 before they were acknowledged, or damaged",
                self.stray
            )
        })
    }
}

/// The path of the write-ahead log of the database at `path`.
pub(super) fn path_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Looks through the write-ahead log of the database at `path`.
pub(super) fn inspect(path: &Path) -> Result<WalState, Fault> {
    let path = path_of(path);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(WalState::default()),
        Err(source) => return Err(Fault::file(&path, source)),
    };
    walk(&mut BufReader::with_capacity(1 << 20, file)).map_err(|source| Fault::file(&path, source))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*bytes[at..].first_chunk().expect("within a fixed header"))
}

struct Checksum {
    big_endian: bool,
    sums: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let read = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        for pair in bytes.as_chunks::<8>().0 {
            let (a, b) = pair.split_at(4);
            let a = read(a.try_into().expect("four bytes"));
            let b = read(b.try_into().expect("four bytes"));
            self.sums.0 = self.sums.0.wrapping_add(a).wrapping_add(self.sums.1);
            self.sums.1 = self.sums.1.wrapping_add(b).wrapping_add(self.sums.0);
        }
    }
}

/// Fills `buffer` as far as the file goes, and says how far that is.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn walk(input: &mut impl Read) -> std::io::Result<WalState> {
    let mut state = WalState::default();
    let mut header = [0; HEADER_BYTES];
    let read = fill(input, &mut header)?;
    if read < HEADER_BYTES {
        state.unfinished = read as u64;
        return Ok(state);
    }
    let magic = word(&header, 0);
    let page = word(&header, 8) as usize;
    let mut checksum = Checksum { big_endian: magic & 1 == 1, sums: (0, 0) };
    checksum.add(&header[..24]);
    let sums = (word(&header, 24), word(&header, 28));
    let plausible = magic & !1 == 0x377f_0682 && page.is_power_of_two() && page <= 65536;
    if !plausible || checksum.sums != sums {
        let mut next = [0; FRAME_BYTES];
        state.header_damaged =
            header != [0; HEADER_BYTES] && fill(input, &mut next)? == FRAME_BYTES;
        return Ok(state);
    }
    let salts = (word(&header, 16), word(&header, 20));
    let mut frame = vec![0; FRAME_BYTES + page];
    let (mut valid, mut index) = (true, 0);
    loop {
        let read = fill(input, &mut frame)?;
        if read < frame.len() {
            let whole = (index - state.committed) * frame.len() as u64;
            state.unfinished = if valid { whole + read as u64 } else { 0 };
            return Ok(state);
        }
        index += 1;
        let own = (word(&frame, 8), word(&frame, 12));
        if valid {
            checksum.add(&frame[..8]);
            checksum.add(&frame[FRAME_BYTES..]);
            valid = own == salts && (word(&frame, 16), word(&frame, 20)) == checksum.sums;
            if valid && word(&frame, 4) != 0 {
                state.committed = index;
            }
        }
        // Frames of an earlier round have other salts; one equal half is this round's, damaged.
        if !valid && (own.0 == salts.0 || own.1 == salts.1) {
            state.stray += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use std::fs;

    const FRAME: usize = FRAME_BYTES + 4096;

    fn write(connection: &Connection, rows: i64) {
        for row in 0..rows {
            let sql = "INSERT INTO t (body) VALUES (zeroblob(3000 + ?1))";
            connection.execute(sql, [row]).unwrap();
        }
    }

    /// A database with a log of its own making, as kill -9 leaves it, and the log's bytes.
    fn killed(dir: &Path, rounds: &[i64]) -> (PathBuf, Vec<u8>) {
        let live = dir.join("live.db");
        let connection = Connection::open(&live).unwrap();
        let sql = "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t (body);";
        connection.execute_batch(sql).unwrap();
        for (i, rows) in rounds.iter().enumerate() {
            if i > 0 {
                let sql = "PRAGMA wal_checkpoint(RESTART)";
                connection.query_row(sql, [], |_| Ok(())).unwrap();
            }
            write(&connection, *rows);
        }
        let path = dir.join("copy.db");
        fs::copy(&live, &path).unwrap();
        let log = fs::read(path_of(&live)).unwrap();
        fs::write(path_of(&path), &log).unwrap();
        (path, log)
    }

    /// Rows that SQLite finds with this log.
    fn rows(path: &Path, log: &[u8]) -> i64 {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("look.db");
        fs::copy(path, &copy).unwrap();
        fs::write(path_of(&copy), log).unwrap();
        let connection = Connection::open(&copy).unwrap();
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap_or(0)
    }

    #[test]
    fn a_sound_log_has_no_finding() {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = killed(dir.path(), &[5]);
        let state = inspect(&path).unwrap();
        assert_eq!(state.committed as usize, (log.len() - HEADER_BYTES) / FRAME);
        assert_eq!(state, WalState { committed: state.committed, ..WalState::default() });
        assert_eq!(state.finding(), None);
        fs::write(path_of(&path), []).unwrap();
        assert_eq!(inspect(&path).unwrap(), WalState::default());
        fs::remove_file(path_of(&path)).unwrap();
        assert_eq!(inspect(&path).unwrap(), WalState::default());
    }

    /// One flipped bit makes SQLite drop rows and say nothing: that is what this module is for.
    #[test]
    fn every_flipped_bit_is_found_where_sqlite_is_silent() {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = killed(dir.path(), &[5]);
        assert_eq!(rows(&path, &log), 5);
        let mut dropped = 0;
        for bit in (0..256).chain((256..log.len() * 8).step_by(1009)) {
            let mut bytes = log.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let state = walk(&mut bytes.as_slice()).unwrap();
            assert!(state.finding().is_some(), "bit {bit}: {state:?}");
            if bit % 101 == 0 {
                dropped += u32::from(rows(&path, &bytes) < 5);
            }
        }
        assert!(dropped > 0, "SQLite has dropped rows without an error");
    }

    #[test]
    fn a_torn_end_is_told_from_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let (_, log) = killed(dir.path(), &[4]);
        for keep in (HEADER_BYTES..log.len()).step_by(509) {
            let state = walk(&mut &log[..keep]).unwrap();
            let whole = HEADER_BYTES + state.committed as usize * FRAME;
            assert_eq!(state.unfinished as usize, keep - whole, "cut at {keep}");
            assert_eq!(state.finding(), None, "nobody was promised what is cut off");
        }
        assert_eq!(walk(&mut &log[..7]).unwrap().unfinished, 7);
    }

    #[test]
    fn frames_of_an_earlier_round_are_not_taken_for_lost_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = killed(dir.path(), &[8, 2]);
        let state = inspect(&path).unwrap();
        let frames = (log.len() - HEADER_BYTES) / FRAME;
        assert!((state.committed as usize) < frames, "old frames follow: {state:?}");
        assert_eq!((state.stray, state.unfinished, state.finding()), (0, 0, None));
        assert_eq!(rows(&path, &log), 10);
        // Damage to the new round is found all the same.
        let mut bytes = log;
        bytes[HEADER_BYTES + FRAME_BYTES + 100] ^= 1;
        assert_eq!(walk(&mut bytes.as_slice()).unwrap().stray, state.committed);
    }
}
