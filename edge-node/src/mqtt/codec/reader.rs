//! A packet that is complete, read field by field.
//!
//! Each field is named as it is taken, so that a violation says where the packet went wrong. Fields
//! are slices of the packet: nothing is copied.

use super::header::{self, Kind};
use super::{FILTERS_MAX, Violation};
use crate::mqtt::packet::{PacketId, Version};
use crate::mqtt::reason::Reason;
use crate::mqtt::text::{Binary, Utf8};
use crate::mqtt::topic::{Filter, Topic, TopicFault};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// What is left of a packet, or of its properties.
pub struct Reader {
    kind: Kind,
    frame: Bytes,
    at: usize,
    end: usize,
}

impl Reader {
    /// Begins at byte `at` of `frame`, which is one whole packet.
    pub const fn new(kind: Kind, frame: Bytes, at: usize) -> Self {
        let end = frame.len();
        Self { kind, frame, at, end }
    }

    /// The next `len` bytes by themselves.
    pub fn part(&mut self, len: usize, field: &'static str) -> Result<Self, Violation> {
        let range = self.advance(len, field)?;
        Ok(Self { kind: self.kind, frame: self.frame.clone(), at: range.start, end: range.end })
    }

    /// A violation of the field that begins at byte `at`.
    pub fn violation(
        &self,
        reason: Reason,
        field: &'static str,
        at: usize,
        wrong: impl fmt::Display,
    ) -> Violation {
        let name = self.kind.name();
        Violation::new(reason, format_args!("{name}: {field} at byte {at}: {wrong}"))
    }

    /// Where the next field begins.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub const fn left(&self) -> usize {
        self.end - self.at
    }

    /// The bytes of a range of the packet.
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        self.frame.slice(range)
    }

    /// There must be nothing left.
    pub fn end(&self) -> Result<(), Violation> {
        match self.left() {
            0 => Ok(()),
            left => {
                let wrong = format_args!("{left} bytes too many, expected none");
                Err(self.violation(Reason::MalformedPacket, "end", self.at, wrong))
            }
        }
    }

    fn advance(&mut self, len: usize, field: &'static str) -> Result<Range<usize>, Violation> {
        let (at, left) = (self.at, self.left());
        if len > left {
            let wrong = format_args!("{left} bytes left, expected {len}");
            return Err(self.violation(Reason::MalformedPacket, field, at, wrong));
        }
        self.at += len;
        Ok(at..at + len)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Violation> {
        let range = self.advance(N, field)?;
        Ok(self.frame[range].try_into().expect("so long"))
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Violation> {
        Ok(self.array::<1>(field)?[0])
    }

    /// Two bytes.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Violation> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Violation> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A number of one to four bytes.
    pub fn variable(&mut self, field: &'static str) -> Result<u32, Violation> {
        let bytes = &self.frame[self.at..self.end];
        let read = header::variable(bytes).and_then(|read| read.ok_or("cut short"));
        let (value, len) =
            read.map_err(|wrong| self.violation(Reason::MalformedPacket, field, self.at, wrong))?;
        self.at += len;
        Ok(value)
    }

    /// A packet identifier.
    pub fn packet_id(&mut self) -> Result<PacketId, Violation> {
        const FIELD: &str = "packet identifier";
        let at = self.at;
        PacketId::new(self.u16(FIELD)?).ok_or_else(|| {
            self.violation(Reason::ProtocolError, FIELD, at, "0, expected 1 to 65,535")
        })
    }

    fn string(&mut self, field: &'static str) -> Result<Bytes, Violation> {
        let len = self.u16(field)?;
        let range = self.advance(usize::from(len), field)?;
        Ok(self.frame.slice(range))
    }

    /// A text.
    pub fn utf8(&mut self, field: &'static str) -> Result<Utf8, Violation> {
        let at = self.at;
        let text = Utf8::new(self.string(field)?);
        text.map_err(|wrong| self.violation(Reason::MalformedPacket, field, at, wrong))
    }

    /// Bytes behind their length.
    pub fn binary(&mut self, field: &'static str) -> Result<Binary, Violation> {
        Ok(Binary::new(self.string(field)?).expect("its length has two bytes"))
    }

    /// A topic name.
    pub fn topic(&mut self, field: &'static str) -> Result<Topic, Violation> {
        let at = self.at;
        let name = self.utf8(field)?;
        Topic::of(name).map_err(|wrong| self.violation(Reason::TopicNameInvalid, field, at, wrong))
    }

    /// The topic name of a publish, which may be empty where an alias may follow.
    pub fn topic_or_none(&mut self, version: Version) -> Result<Topic, Violation> {
        let empty = self.frame[self.at..self.end].starts_with(&[0, 0]);
        if empty && version == Version::V5 {
            self.at += 2;
            return Ok(Topic::by_alias());
        }
        self.topic("topic name")
    }

    /// A topic filter. Only version 5 knows shared ones; in 3.1.1 one that is well formed is taken
    /// as shared nevertheless, as other servers do, and any other literally.
    pub fn filter(&mut self, version: Version) -> Result<Filter, Violation> {
        const FIELD: &str = "topic filter";
        let at = self.at;
        let text = self.utf8(FIELD)?;
        let filter = match Filter::of(text.clone()) {
            Err(TopicFault::Share) if version == Version::V311 => Filter::plain(text),
            judged => judged,
        };
        filter.map_err(|wrong| self.violation(Reason::TopicFilterInvalid, FIELD, at, wrong))
    }

    /// At least one filter, each with what `more` reads in the `behind` bytes after it, to the end
    /// of the packet.
    pub fn filters<T>(
        &mut self,
        version: Version,
        behind: usize,
        mut more: impl FnMut(&mut Self, Filter) -> Result<T, Violation>,
    ) -> Result<Vec<T>, Violation> {
        const FIELD: &str = "topic filters";
        if self.left() == 0 {
            let wrong = "none, expected at least one";
            return Err(self.violation(Reason::ProtocolError, FIELD, self.at, wrong));
        }
        let count = self.count_strings(behind);
        if count > FILTERS_MAX {
            let wrong = "too many, expected at most 1,000";
            return Err(self.violation(Reason::QuotaExceeded, FIELD, self.at, wrong));
        }
        let mut all = Vec::with_capacity(count);
        while self.left() > 0 {
            let filter = self.filter(version)?;
            all.push(more(self, filter)?);
        }
        Ok(all)
    }

    /// How many strings begin up to the end, with `behind` bytes after each, as far as it matters.
    /// A vector that grows would take twice as much.
    fn count_strings(&self, behind: usize) -> usize {
        let mut left = &self.frame[self.at..self.end];
        let mut count = 0;
        while let Some((len, rest)) = left.split_first_chunk::<2>() {
            count += 1;
            let len = usize::from(u16::from_be_bytes(*len)) + behind;
            left = rest.get(len..).filter(|_| count <= FILTERS_MAX).unwrap_or_default();
        }
        count
    }

    /// All that is left.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.frame.slice(self.at..self.end);
        self.at = self.end;
        rest
    }
}
