//! The frame of a segment: magic, columns, directory and its checksum.

use super::column::{Bytes, ColumnNo, ColumnReader, Columns};
use super::{SegmentError, Source, limits};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::log::Link;
use holdfast_core::{ChainId, Incarnation, NodeId, Reject, Seq, Stream};

const MAGIC: &[u8; 4] = b"HfSg";
/// What most segments are.
pub(super) const PLAIN: u8 = 1;
/// Rollups with sums of squares and sketches.
pub(super) const SPREAD: u8 = 2;
/// Length and checksum of the directory.
const TAIL: usize = 8;

/// Which commits a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The chain.
    pub chain: ChainId,
    /// The first sequence.
    pub first: Seq,
    /// The link before the first commit.
    pub before: Link,
    /// The link after the last commit.
    pub after: Link,
}

/// What a directory says.
#[derive(Clone, Debug)]
pub(super) struct Directory<'a> {
    pub format: u8,
    pub head: Head,
    pub columns: ColumnReader<'a>,
    pub counts: ColumnNo,
    pub received: ColumnNo,
    pub content: &'a [u8],
}

fn checksum(format: u8, directory: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(MAGIC);
    hasher.update(&[format]);
    hasher.update(directory);
    hasher.finalize()
}

/// Puts a segment together.
pub(super) fn seal(
    format: u8,
    head: &Head,
    columns: Columns,
    (counts, received): (ColumnNo, ColumnNo),
    content: &[u8],
) -> Result<Vec<u8>, SegmentError> {
    let (bytes, list) = columns.finish()?;
    let mut directory = Vec::with_capacity(list.len() + content.len() + 256);
    directory.put(&head.chain.origin.0)?;
    directory.put_uint(head.chain.incarnation.boot)?;
    directory.put(&head.chain.incarnation.nonce.to_le_bytes())?;
    directory.put_u8(head.chain.stream as u8)?;
    directory.put_uint(head.first)?;
    directory.put(&head.before.0)?;
    directory.put(&head.after.0)?;
    directory.put(&list)?;
    counts.put(&mut directory)?;
    received.put(&mut directory)?;
    directory.put(content)?;
    let mut out = Vec::with_capacity(MAGIC.len() + 1 + bytes.len() + directory.len() + TAIL);
    out.put(MAGIC)?;
    out.put_u8(format)?;
    out.put(&bytes)?;
    out.put(&directory)?;
    out.put(&(directory.len() as u32).to_le_bytes())?;
    out.put(&checksum(format, &directory).to_le_bytes())?;
    if out.len() > limits::BYTES { Err(Reject::Full.into()) } else { Ok(out) }
}

/// Takes a segment apart.
pub(super) fn open(bytes: &[u8]) -> Result<Directory<'_>, SegmentError> {
    let frame = || -> Option<(u8, &[u8], &[u8], u32)> {
        let (rest, tail) = bytes.split_last_chunk::<TAIL>()?;
        let (length, crc) = tail_of(tail);
        let (format, rest) = rest.strip_prefix(MAGIC)?.split_first()?;
        let (columns, directory) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
        Some((*format, columns, directory, crc))
    };
    let (format, columns, directory, crc) =
        frame().filter(|_| bytes.len() <= limits::BYTES).ok_or(SegmentError::Frame)?;
    read(format, Bytes::Here(columns), directory, crc)
}

/// Takes a segment apart that lies in a source; reads the directory, but no column. What `buffer`
/// holds from before tells how long a directory may be.
pub(super) fn open_at<'a>(
    source: &'a dyn Source,
    buffer: &'a mut Vec<u8>,
) -> Result<Directory<'a>, SegmentError> {
    let (head, len) = (MAGIC.len() + 1, source.size());
    let most = len.checked_sub(head + TAIL).filter(|_| len <= limits::BYTES);
    let most = most.ok_or(SegmentError::Frame)?;
    let mut magic = [0; MAGIC.len() + 1];
    source.read(0, &mut magic)?;
    let format = magic.strip_prefix(MAGIC).and_then(<[u8]>::first).ok_or(SegmentError::Frame)?;
    // Read in one piece with its tail if it is no longer than the one before: a source may have to
    // go through all that lies before what it is asked for.
    let guess = buffer.len().clamp(TAIL, most + TAIL);
    buffer.resize(guess, 0);
    source.read(len - guess, buffer)?;
    let (length, crc) = tail_of(buffer.last_chunk().ok_or(SegmentError::Frame)?);
    if length > most {
        return Err(SegmentError::Frame);
    }
    let at = len - TAIL - length;
    if length + TAIL > guess {
        buffer.resize(length + TAIL, 0);
        source.read(at, buffer)?;
    }
    let whole = &buffer[buffer.len() - TAIL - length..];
    read(*format, Bytes::There(source, head..at), &whole[..length], crc)
}

/// The length of the directory and its checksum.
fn tail_of(tail: &[u8; TAIL]) -> (usize, u32) {
    let [a, b, c, d, crc @ ..] = *tail;
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes(crc))
}

fn read<'a>(
    format: u8,
    columns: Bytes<'a>,
    directory: &'a [u8],
    crc: u32,
) -> Result<Directory<'a>, SegmentError> {
    if !(PLAIN..=SPREAD).contains(&format) || checksum(format, directory) != crc {
        return Err(SegmentError::Frame);
    }
    let mut reader = Reader::new(directory);
    let origin = NodeId(reader.array()?);
    let (boot, nonce) = (reader.uint()?, u64::from_le_bytes(reader.array()?));
    let incarnation = Incarnation { boot, nonce };
    let stream = Stream::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
    let first = reader.uint()?;
    let (before, after) = (Link(reader.array()?), Link(reader.array()?));
    let chain = ChainId { origin, incarnation, stream };
    let head = Head { chain, first, before, after };
    let columns = ColumnReader::new(&mut reader, columns)?;
    let counts = ColumnNo::read(&mut reader)?;
    let received = ColumnNo::read(&mut reader)?;
    if first == 0 || (format == SPREAD && stream != Stream::Rollup) {
        return Err(Reject::Malformed.into());
    }
    Ok(Directory { format, head, columns, counts, received, content: reader.rest() })
}
