//! The journal's records: what a node did to its files, one operation after the other.
//!
//! A record is a 24-byte little-endian header (length of the rest, kind, flags, file, number,
//! length of the first text) followed by up to two byte strings. The shim writes it and the
//! harness reads it; both compile this file.

/// Length of the fixed part of a record.
pub const HEADER: usize = 24;

/// One operation that succeeded. Paths are relative to the recorded directory; the directory
/// itself is the empty path. File numbers are valid within one process, from its `Start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// A process begins; the files it opens are numbered anew.
    Start,
    /// A file or directory was opened, and from now on has this number.
    Open {
        /// Number of the file.
        file: u32,
        /// The call made the file.
        created: bool,
        /// It is a directory.
        directory: bool,
        /// Its permission bits.
        mode: u32,
        /// Where.
        path: &'a [u8],
    },
    /// Bytes were written.
    Write {
        /// Number of the file.
        file: u32,
        /// Where in the file.
        offset: u64,
        /// What.
        data: &'a [u8],
    },
    /// The file's length was set.
    Truncate {
        /// Number of the file.
        file: u32,
        /// The new length.
        len: u64,
    },
    /// Space was reserved; the file is at least this long now.
    Allocate {
        /// Number of the file.
        file: u32,
        /// The least length.
        len: u64,
    },
    /// The file or directory was synced.
    Sync {
        /// Number of the file.
        file: u32,
        /// Number of operations of this process, `Start` included, when the sync began.
        begun: u64,
    },
    /// A name was moved, replacing what was there.
    Rename {
        /// The old name.
        from: &'a [u8],
        /// The new name.
        to: &'a [u8],
    },
    /// A file got a second name.
    Link {
        /// The existing name.
        from: &'a [u8],
        /// The new name.
        to: &'a [u8],
    },
    /// A name was removed.
    Unlink {
        /// The name.
        path: &'a [u8],
    },
    /// A directory was made.
    Mkdir {
        /// Its path.
        path: &'a [u8],
    },
    /// A directory was removed.
    Rmdir {
        /// Its path.
        path: &'a [u8],
    },
}

const CREATED: u8 = 1;
const DIRECTORY: u8 = 2;

impl<'a> Op<'a> {
    /// The header of the record, and the two byte strings that follow it.
    #[must_use]
    #[allow(dead_code, reason = "the harness only reads")]
    pub fn encode(&self) -> ([u8; HEADER], &'a [u8], &'a [u8]) {
        const NONE: &[u8] = &[];
        let (kind, flags, file, number, first, second) = match *self {
            Self::Start => (0, 0, 0, 0, NONE, NONE),
            Self::Open { file, created, directory, mode, path } => {
                let flags =
                    if created { CREATED } else { 0 } | if directory { DIRECTORY } else { 0 };
                (1, flags, file, u64::from(mode), path, NONE)
            }
            Self::Write { file, offset, data } => (2, 0, file, offset, data, NONE),
            Self::Truncate { file, len } => (3, 0, file, len, NONE, NONE),
            Self::Allocate { file, len } => (4, 0, file, len, NONE, NONE),
            Self::Sync { file, begun } => (5, 0, file, begun, NONE, NONE),
            Self::Rename { from, to } => (6, 0, 0, 0, from, to),
            Self::Link { from, to } => (7, 0, 0, 0, from, to),
            Self::Unlink { path } => (8, 0, 0, 0, path, NONE),
            Self::Mkdir { path } => (9, 0, 0, 0, path, NONE),
            Self::Rmdir { path } => (10, 0, 0, 0, path, NONE),
        };
        let rest = HEADER - 4 + first.len() + second.len();
        let rest = u32::try_from(rest).expect("a single write is below 2 GiB on Linux");
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&rest.to_le_bytes());
        header[4] = kind;
        header[5] = flags;
        header[8..12].copy_from_slice(&file.to_le_bytes());
        header[12..20].copy_from_slice(&number.to_le_bytes());
        header[20..].copy_from_slice(&(first.len() as u32).to_le_bytes());
        (header, first, second)
    }

    /// The record at the start of `bytes` and its whole length; `None` where no whole record is,
    /// as at the end of the journal of a process that was killed while writing it.
    #[must_use]
    #[allow(dead_code, reason = "the shim only writes")]
    pub fn decode(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let whole = record_len(bytes.get(..4)?.try_into().ok()?);
        let record = bytes.get(..whole)?;
        let number = u64::from_le_bytes(record.get(12..20)?.try_into().ok()?);
        let file = u32::from_le_bytes(record[8..12].try_into().ok()?);
        let split = u32::from_le_bytes(record.get(20..HEADER)?.try_into().ok()?) as usize;
        let (path, to) = record[HEADER..].split_at_checked(split)?;
        let flags = record[5];
        let op = match record[4] {
            0 => Self::Start,
            1 => Self::Open {
                file,
                created: flags & CREATED != 0,
                directory: flags & DIRECTORY != 0,
                mode: u32::try_from(number).ok()?,
                path,
            },
            2 => Self::Write { file, offset: number, data: path },
            3 => Self::Truncate { file, len: number },
            4 => Self::Allocate { file, len: number },
            5 => Self::Sync { file, begun: number },
            6 => Self::Rename { from: path, to },
            7 => Self::Link { from: path, to },
            8 => Self::Unlink { path },
            9 => Self::Mkdir { path },
            10 => Self::Rmdir { path },
            _ => return None,
        };
        Some((op, whole))
    }
}

/// Length of a whole record, from its first four bytes.
#[must_use]
pub fn record_len(prefix: [u8; 4]) -> usize {
    4 + u32::from_le_bytes(prefix) as usize
}
