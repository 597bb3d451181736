//! Columns: many numbers or bytes under the encoding that makes them smallest, each stored once.

use super::{SegmentError, Source, limits};
use holdfast_core::Reject;
use holdfast_core::codec::{Reader, Sink};
use pco::ChunkConfig;
use pco::data_types::Number;
use pco::errors::PcoResult;
use pco::wrapped::{FileCompressor, FileDecompressor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

const SAME: u8 = 0;
const STEPS: u8 = 1;
const PCO_INTS: u8 = 2;
const PCO_DOUBLES: u8 = 3;
const BYTES: u8 = 4;
const ZSTD: u8 = 5;

/// Below this many numbers Pcodec's tables cost more than they save.
const PCO_FROM: usize = 24;
const ZSTD_LEVEL: i32 = 9;

/// The place of a column in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnNo(pub u32);

impl ColumnNo {
    pub fn put(self, out: &mut Vec<u8>) -> Result<(), Reject> {
        out.put_uint(u64::from(self.0))
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        Ok(Self(u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?))
    }
}

/// One column of the list.
#[derive(Clone, Copy, Debug)]
struct Entry {
    encoding: u8,
    numbers: u32,
    length: u32,
    crc: u32,
}

/// Columns being written.
#[derive(Debug, Default)]
pub(super) struct Columns {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// Where a column with this content stands.
    known: HashMap<[u8; 32], ColumnNo>,
}

impl Columns {
    /// Adds a column, or finds the equal one.
    pub fn ints(&mut self, numbers: &[i64]) -> ColumnNo {
        let content = numbers.iter().flat_map(|n| n.to_le_bytes());
        self.add(b'i', content, numbers.len(), || pack_ints(numbers))
    }

    /// As [`Self::ints`], of doubles that are no short decimals.
    pub fn doubles(&mut self, numbers: &[f64]) -> ColumnNo {
        let content = numbers.iter().flat_map(|n| n.to_bits().to_le_bytes());
        self.add(b'd', content, numbers.len(), || (PCO_DOUBLES, pco_pack(numbers)))
    }

    /// As [`Self::ints`], of bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> ColumnNo {
        self.add(b'b', bytes.iter().copied(), bytes.len(), || {
            let packed = zstd::bulk::compress(bytes, ZSTD_LEVEL).expect("memory to memory");
            if packed.len() < bytes.len() { (ZSTD, packed) } else { (BYTES, bytes.to_vec()) }
        })
    }

    fn add(
        &mut self,
        kind: u8,
        content: impl Iterator<Item = u8>,
        numbers: usize,
        pack: impl FnOnce() -> (u8, Vec<u8>),
    ) -> ColumnNo {
        let mut plain = vec![kind];
        plain.extend(content);
        let hash = *blake3::hash(&plain).as_bytes();
        if let Some(no) = self.known.get(&hash) {
            return *no;
        }
        let (encoding, packed) = pack();
        let no = ColumnNo(self.entries.len() as u32);
        let (length, crc) = (packed.len() as u32, crc32fast::hash(&packed));
        self.entries.push(Entry { encoding, numbers: numbers as u32, length, crc });
        self.bytes.extend(packed);
        self.known.insert(hash, no);
        no
    }

    /// The columns' bytes, and their list for the directory.
    pub fn finish(self) -> Result<(Vec<u8>, Vec<u8>), Reject> {
        let mut list = Vec::with_capacity(10 * self.entries.len());
        list.put_uint(self.entries.len() as u64)?;
        for entry in &self.entries {
            list.put_u8(entry.encoding)?;
            list.put_uint(u64::from(entry.numbers))?;
            list.put_uint(u64::from(entry.length))?;
            list.put(&entry.crc.to_le_bytes())?;
        }
        Ok((self.bytes, list))
    }
}

fn pack_ints(numbers: &[i64]) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    let first = numbers.first().copied().unwrap_or(0);
    if numbers.iter().all(|n| *n == first) {
        out.put_int(first).expect("a growing buffer is never full");
        return (SAME, out);
    }
    let mut last = 0;
    for number in numbers {
        out.put_int(number.wrapping_sub(last)).expect("a growing buffer is never full");
        last = *number;
    }
    if numbers.len() >= PCO_FROM {
        let packed = pco_pack(numbers);
        if packed.len() < out.len() {
            return (PCO_INTS, packed);
        }
    }
    (STEPS, out)
}

fn pco_pack<T: Number>(numbers: &[T]) -> Vec<u8> {
    let pack = || -> PcoResult<Vec<u8>> {
        let file = FileCompressor::default();
        let mut out = file.write_header(Vec::new())?;
        if numbers.is_empty() {
            return Ok(out);
        }
        let mut chunk = file.chunk_compressor(numbers, &ChunkConfig::default())?;
        out = chunk.write_meta(out)?;
        for page in 0..chunk.n_per_page().len() {
            out = chunk.write_page(page, out)?;
        }
        Ok(out)
    };
    pack().expect("a segment's columns are within Pcodec's limits, and memory takes all")
}

/// Columns being read.
#[derive(Clone, Debug)]
pub(super) struct ColumnReader<'a> {
    entries: Vec<(Entry, usize)>,
    bytes: Bytes<'a>,
}

/// The bytes of all columns.
#[derive(Clone, Debug)]
pub(super) enum Bytes<'a> {
    Here(&'a [u8]),
    /// In this range of a source; only the columns that are used are read.
    There(&'a dyn Source, Range<usize>),
}

impl<'a> Bytes<'a> {
    fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::There(_, range) => range.len(),
        }
    }

    fn get(&self, range: Range<usize>) -> Result<Cow<'a, [u8]>, SegmentError> {
        match self {
            Self::Here(bytes) => Ok(Cow::Borrowed(&bytes[range])),
            Self::There(source, all) => {
                let mut out = vec![0; range.len()];
                source.read(all.start + range.start, &mut out)?;
                Ok(Cow::Owned(out))
            }
        }
    }
}

impl<'a> ColumnReader<'a> {
    /// Reads the list; `bytes` are the columns.
    pub fn new(list: &mut Reader<'_>, bytes: Bytes<'a>) -> Result<Self, SegmentError> {
        let count = list.uint()?;
        // Each takes at least seven bytes of the list, so this allocates no more than came.
        if count > list.rest().len() as u64 / 7 {
            return Err(Reject::Malformed.into());
        }
        let (mut entries, mut at) = (Vec::with_capacity(count as usize), 0usize);
        for _ in 0..count {
            let encoding = list.u8()?;
            let number = |value: u64| u32::try_from(value).map_err(|_| Reject::Malformed);
            let (numbers, length) = (number(list.uint()?)?, number(list.uint()?)?);
            let crc = u32::from_le_bytes(list.array()?);
            entries.push((Entry { encoding, numbers, length, crc }, at));
            at = at.saturating_add(length as usize);
        }
        if at == bytes.len() { Ok(Self { entries, bytes }) } else { Err(Reject::Malformed.into()) }
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn column(&self, no: ColumnNo, of: &[u8]) -> Result<(Entry, Cow<'a, [u8]>), SegmentError> {
        let (entry, at) = self.entries.get(no.0 as usize).ok_or(Reject::Malformed)?;
        let bytes = self.bytes.get(*at..*at + entry.length as usize)?;
        if crc32fast::hash(&bytes) != entry.crc {
            return Err(SegmentError::Damaged { column: no.0 });
        }
        if of.contains(&entry.encoding) {
            Ok((*entry, bytes))
        } else {
            Err(Reject::Malformed.into())
        }
    }

    /// Checks every column's checksum.
    pub fn check(&self) -> Result<(), SegmentError> {
        let all = [SAME, STEPS, PCO_INTS, PCO_DOUBLES, BYTES, ZSTD];
        (0..self.len()).try_for_each(|no| self.column(ColumnNo(no as u32), &all).map(drop))
    }

    /// A column of exactly `count` integers.
    pub fn ints(&self, no: ColumnNo, count: usize) -> Result<Vec<i64>, SegmentError> {
        let (entry, bytes) = self.column(no, &[SAME, STEPS, PCO_INTS])?;
        if entry.numbers as usize != count || count > limits::ENTRIES {
            return Err(Reject::Malformed.into());
        }
        let mut reader = Reader::new(&bytes);
        let out = match entry.encoding {
            SAME => vec![reader.int()?; count],
            STEPS => {
                let mut last = 0i64;
                let mut next = || -> Result<i64, Reject> {
                    last = last.wrapping_add(reader.int()?);
                    Ok(last)
                };
                (0..count).map(|_| next()).collect::<Result<_, _>>()?
            }
            _ => return pco_unpack(&bytes, count),
        };
        reader.finish()?;
        Ok(out)
    }

    /// A column of exactly `count` doubles.
    pub fn doubles(&self, no: ColumnNo, count: usize) -> Result<Vec<f64>, SegmentError> {
        let (entry, bytes) = self.column(no, &[PCO_DOUBLES])?;
        if entry.numbers as usize != count || count > limits::ENTRIES {
            return Err(Reject::Malformed.into());
        }
        pco_unpack(&bytes, count)
    }

    /// A column of integers, as many as it has.
    pub fn all_ints(&self, no: ColumnNo) -> Result<Vec<i64>, SegmentError> {
        let (entry, _) = self.entries.get(no.0 as usize).ok_or(Reject::Malformed)?;
        self.ints(no, entry.numbers as usize)
    }

    /// A column of bytes.
    pub fn bytes(&self, no: ColumnNo) -> Result<Vec<u8>, SegmentError> {
        let (entry, bytes) = self.column(no, &[BYTES, ZSTD])?;
        let size = entry.numbers as usize;
        if size > limits::BYTES {
            return Err(Reject::Malformed.into());
        }
        let out = match entry.encoding {
            ZSTD => zstd::bulk::decompress(&bytes, size).map_err(|_| Reject::Malformed)?,
            _ => bytes.to_vec(),
        };
        if out.len() == size { Ok(out) } else { Err(Reject::Malformed.into()) }
    }
}

/// Pcodec checks what it reads; a mistake of its own on bytes made by somebody else must not take
/// the process with it.
fn pco_unpack<T: Number + Default>(bytes: &[u8], count: usize) -> Result<Vec<T>, SegmentError> {
    let unpack = || -> PcoResult<Option<Vec<T>>> {
        let (file, rest) = FileDecompressor::new(bytes)?;
        let mut out = vec![T::default(); count];
        let mut rest = rest;
        if count > 0 {
            let (mut chunk, after) = file.chunk_decompressor::<T, _>(rest)?;
            let mut page = chunk.page_decompressor(after, count)?;
            let progress = page.read(&mut out)?;
            if progress.n_processed != count {
                return Ok(None);
            }
            rest = page.into_src();
        }
        Ok(rest.is_empty().then_some(out))
    };
    match std::panic::catch_unwind(unpack) {
        Ok(Ok(Some(out))) => Ok(out),
        _ => Err(Reject::Malformed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(columns: Columns) -> (Vec<u8>, Vec<u8>) {
        columns.finish().unwrap()
    }

    #[test]
    fn equal_columns_are_stored_once_and_kinds_are_kept_apart() {
        let mut columns = Columns::default();
        let a = columns.ints(&[1, 2, 4]);
        assert_eq!(columns.ints(&[1, 2, 4]), a);
        assert_ne!(columns.doubles(&[f64::from_bits(1); 3]), columns.ints(&[1; 3]));
        let (bytes, list) = round(columns);
        let read = ColumnReader::new(&mut Reader::new(&list), Bytes::Here(&bytes)).unwrap();
        assert_eq!(read.len(), 3);
        assert_eq!(read.ints(a, 3).unwrap(), [1, 2, 4]);
        assert!(read.ints(a, 2).is_err() && read.doubles(a, 3).is_err());
    }

    proptest! {
        #[test]
        fn numbers_and_bytes_read_back(
            ints in prop::collection::vec(any::<i64>(), 0..200),
            near in prop::collection::vec(-5i64..5, 0..200),
            doubles in prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..200),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut columns = Columns::default();
            let numbers = [columns.ints(&ints), columns.ints(&near)];
            let (d, b) = (columns.doubles(&doubles), columns.bytes(&bytes));
            let (packed, list) = round(columns);
            let read = ColumnReader::new(&mut Reader::new(&list), Bytes::Here(&packed)).unwrap();
            read.check().unwrap();
            prop_assert_eq!(read.ints(numbers[0], ints.len()).unwrap(), ints);
            prop_assert_eq!(read.ints(numbers[1], near.len()).unwrap(), near);
            let bits = |all: &[f64]| all.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&read.doubles(d, doubles.len()).unwrap()), bits(&doubles));
            prop_assert_eq!(read.bytes(b).unwrap(), bytes);
        }

        #[test]
        fn any_bytes_are_unpacked_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            count in 0usize..300,
        ) {
            let _ = pco_unpack::<i64>(&bytes, count);
            let _ = pco_unpack::<f64>(&bytes, count);
        }
    }
}
