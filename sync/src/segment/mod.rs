//! Segments: consecutive whole commits of a chain as columns, lossless and small.
//!
//! Rows are taken apart by series and by field; each column is packed by the codec that makes it
//! smallest, and equal columns are stored once. The canonical bodies are made anew from the
//! columns, and the links from the bodies, so a segment proves the same chain as the commits it was
//! made of. Nothing here knows a file or a database. Byte-exact page: `docs/formats/segment.md`.

mod column;
mod directory;
mod order;
mod readings;
mod rollups;
mod series;
mod spread;
mod texts;

pub use directory::Head;
pub use readings::Want;
pub use series::SeriesSpan;

use column::{ColumnReader, Columns};
use directory::Directory;
use holdfast_core::codec::Reader;
use holdfast_core::log::Link;
use holdfast_core::log::readings::Row;
use holdfast_core::log::rollups::Row as Rollup;
use holdfast_core::sketch::Sketch;
use holdfast_core::{ChainId, Reject, Seq, SeriesKey, Stream, Timestamp};

/// Bounds of a segment; beyond them it is refused.
pub mod limits {
    /// Entries: one page of Pcodec.
    pub const ENTRIES: usize = 1 << 18;
    /// Commits.
    pub const COMMITS: usize = 1 << 16;
    /// Bytes of a segment, and of any column once unpacked.
    pub const BYTES: usize = 16 << 20;
    /// Bytes of all its bodies: what it may unfold to.
    pub const BODIES: usize = 8 << 20;
}

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The checksum of a column does not match its bytes.
    #[error("column {column} does not match its checksum")]
    Damaged {
        /// Its place in the list.
        column: u32,
    },
    /// It does not begin or end as a segment does, or its directory does not match its checksum.
    #[error("it does not begin or end as a segment does")]
    Frame,
    /// The content is not what the encoder writes.
    #[error("its content is not valid: {0}")]
    Content(#[from] Reject),
    /// The commits do not lead from the link before to the link after.
    #[error("its commits do not lead to the link it ends with")]
    Chain,
}

/// A commit to be put into a segment, or taken from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its first sequence.
    pub first: Seq,
    /// How many entries it has.
    pub count: u32,
    /// The link after it.
    pub link: Link,
    /// The canonical body.
    pub body: Vec<u8>,
}

/// What comes before the first of the commits that are put into a segment.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The chain.
    pub chain: ChainId,
    /// The link before the first commit.
    pub before: Link,
}

/// Encodes consecutive commits.
///
/// # Errors
/// [`SegmentError::Content`] when a body is not canonical, they are not consecutive, or there are
/// too many; [`SegmentError::Chain`] when their links do not follow.
pub fn encode(start: &Start, commits: &[Commit]) -> Result<Vec<u8>, SegmentError> {
    let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
        return Err(Reject::Malformed.into());
    };
    let mut link = start.before;
    let mut next = first.first;
    for commit in commits {
        link = link.next(&start.chain, commit.first, commit.count, &commit.body);
        if commit.first != next || commit.count == 0 {
            return Err(Reject::Malformed.into());
        }
        if link != commit.link {
            return Err(SegmentError::Chain);
        }
        next += u64::from(commit.count);
    }
    let bodies: usize = commits.iter().map(|commit| commit.body.len()).sum();
    let entries = next - first.first;
    if commits.len() > limits::COMMITS
        || entries > limits::ENTRIES as u64
        || bodies > limits::BODIES
    {
        return Err(Reject::Full.into());
    }
    let mut columns = Columns::default();
    let mut content = Vec::new();
    let mut format = directory::PLAIN;
    let received = match start.chain.stream {
        Stream::Reading => readings::encode(commits, &mut columns, &mut content)?,
        Stream::Rollup => {
            let received;
            (format, received) = rollups::encode(commits, &mut columns, &mut content)?;
            received
        }
        Stream::Event | Stream::Log => texts::encode(commits, &mut columns, &mut content)?,
    };
    let counts: Vec<_> = commits.iter().map(|commit| i64::from(commit.count)).collect();
    let (chain, before) = (start.chain, start.before);
    let head = Head { chain, first: first.first, before, after: last.link };
    let heads = (columns.ints(&counts), columns.ints(&received));
    directory::seal(format, &head, columns, heads, &content)
}

/// A place where the bytes of a segment lie, of which only some are read.
pub trait Source: std::fmt::Debug {
    /// How many bytes there are.
    fn size(&self) -> usize;

    /// Fills `into` with the bytes from `at` on.
    ///
    /// # Errors
    /// An error when they cannot be read.
    fn read(&self, at: usize, into: &mut [u8]) -> Result<(), SegmentError>;
}

/// A segment being read. Its frame, its directory and its head are checked; columns are when they
/// are used.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    directory: Directory<'a>,
    counts: Vec<u32>,
    entries: usize,
}

impl<'a> Segment<'a> {
    /// Reads the directory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(bytes: &'a [u8]) -> Result<Self, SegmentError> {
        Self::with(directory::open(bytes)?)
    }

    /// As [`Self::open`], of a segment that lies elsewhere: reads its directory, into `buffer`, and
    /// then the columns that are used.
    ///
    /// # Errors
    /// What is wrong with it, or that it cannot be read.
    pub fn open_at(source: &'a dyn Source, buffer: &'a mut Vec<u8>) -> Result<Self, SegmentError> {
        Self::with(directory::open_at(source, buffer)?)
    }

    fn with(directory: Directory<'a>) -> Result<Self, SegmentError> {
        let counts = directory.columns.all_ints(directory.counts)?;
        let counts: Option<Vec<u32>> =
            counts.iter().map(|n| u32::try_from(*n).ok().filter(|n| *n > 0)).collect();
        let counts = counts.ok_or(Reject::Malformed)?;
        let entries: u64 = counts.iter().map(|n| u64::from(*n)).sum();
        let bounded = entries <= limits::ENTRIES as u64 && counts.len() <= limits::COMMITS;
        if counts.is_empty() || !bounded || directory.head.first.checked_add(entries).is_none() {
            return Err(Reject::Malformed.into());
        }
        Ok(Self { directory, counts, entries: entries as usize })
    }

    /// Which commits it holds.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.directory.head
    }

    /// How many commits it holds.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.counts.len()
    }

    /// How many entries it holds.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// Checks the checksum of every column, and so every byte.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`].
    pub fn check(&self) -> Result<(), SegmentError> {
        self.columns().check()
    }

    /// Makes every commit anew and hands it to `each`. That the last link is the one in the head
    /// proves that nothing of it differs.
    ///
    /// # Errors
    /// What is wrong with the columns; [`SegmentError::Chain`] after the last commit.
    pub fn each_commit(&self, mut each: impl FnMut(Commit)) -> Result<(), SegmentError> {
        let head = self.head();
        let received = self.columns().ints(self.directory.received, self.counts.len())?;
        let (mut first, mut link) = (head.first, head.before);
        let mut bodies = 0;
        let mut made = |count: u32, body: Vec<u8>| {
            bodies += body.len();
            if bodies > limits::BODIES {
                return Err(Reject::Full.into());
            }
            link = link.next(&head.chain, first, count, &body);
            each(Commit { first, count, link, body });
            first += u64::from(count);
            Ok(())
        };
        let plan = Plan { counts: &self.counts, received: &received, entries: self.entries };
        let content = Reader::new(self.directory.content);
        match head.chain.stream {
            Stream::Reading => readings::decode(self.columns(), content, &plan, &mut made)?,
            Stream::Rollup => self.rollups().decode(content, &plan, &mut made)?,
            Stream::Event | Stream::Log => {
                texts::decode(self.columns(), content, &plan, &mut made)?;
            }
        }
        if link == head.after { Ok(()) } else { Err(SegmentError::Chain) }
    }

    /// The series of a segment of readings or rollups, by first use.
    ///
    /// # Errors
    /// What is wrong with the directory.
    pub fn series(&self) -> Result<Vec<SeriesSpan<'a>>, SegmentError> {
        let content = Reader::new(self.directory.content);
        match self.head().chain.stream {
            Stream::Reading => readings::series(content),
            Stream::Rollup => self.rollups().series(content),
            Stream::Event | Stream::Log => Ok(Vec::new()),
        }
    }

    /// Hands every reading of one series to `each`, with the time it was received, in log order and
    /// without touching the columns of others. The row's series says nothing.
    ///
    /// # Errors
    /// What is wrong with the columns.
    pub fn each_row(
        &self,
        key: &SeriesKey<'_>,
        want: Want,
        each: impl FnMut(Timestamp, &Row<'_>),
    ) -> Result<(), SegmentError> {
        let content = Reader::new(self.directory.content);
        let Some((at, order, place)) = readings::find(content, key)? else { return Ok(()) };
        let fields = place.unpack(self.columns(), want.source)?;
        if !want.received && !fields.rests_on_receipt() {
            return fields.each(std::iter::repeat_n(0, place.rows()), each);
        }
        let received = self.columns().ints(self.directory.received, self.counts.len())?;
        let plan = Plan { counts: &self.counts, received: &received, entries: self.entries };
        let turns = order.rows(self.columns(), self.entries)?;
        fields.each(readings::received_of(at, &turns, &plan).into_iter(), each)
    }

    /// Hands every rollup of one series to `each`, in log order and without touching the columns of
    /// others. The row's series says nothing.
    ///
    /// # Errors
    /// What is wrong with the columns.
    pub fn each_rollup(
        &self,
        key: &SeriesKey<'_>,
        each: impl FnMut(Rollup, Option<Sketch>),
    ) -> Result<(), SegmentError> {
        self.rollups().each_row(Reader::new(self.directory.content), key, each)
    }

    const fn rollups(&self) -> rollups::Content<'_, 'a> {
        rollups::Content { format: self.directory.format, columns: &self.directory.columns }
    }

    const fn columns(&self) -> &ColumnReader<'a> {
        &self.directory.columns
    }
}

/// How entries are spread over commits.
struct Plan<'a> {
    counts: &'a [u32],
    received: &'a [i64],
    entries: usize,
}

#[cfg(test)]
mod tests;
