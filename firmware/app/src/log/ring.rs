//! Pages in a ring, and the records in one of them.

use super::frame::{self, BUFFER, HEAD, Head, PAGE_HEAD};
use core::ops::Range;
use embedded_storage::nor_flash::NorFlash;

/// Where a record lies: in which page of the log, and how far in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub page: u32,
    pub at: u32,
}

/// What lies at a place.
pub enum Step<'b> {
    /// A record, and behind it the next place.
    Record { kind: u8, payload: &'b [u8], next: Place },
    /// Nothing that can be read, up to there.
    Damaged { next: Place },
    /// Nothing more in this page.
    End,
}

/// The pages of a log. Those in it have the numbers `oldest..=head`; none while it is empty.
pub struct Ring<F> {
    flash: F,
    start: u32,
    pages: u32,
    /// Which page of the ring the head is.
    head_at: u32,
    pub head: u32,
    pub oldest: u32,
    /// A record in the making, or bytes that were read.
    pub buffer: [u8; BUFFER],
    /// Which bytes of the flash they are.
    read: Range<u32>,
}

impl<F: NorFlash> Ring<F> {
    pub const PAGE: u32 = F::ERASE_SIZE as u32;
    /// Where the first record of a page begins.
    pub const FIRST: u32 = PAGE_HEAD.next_multiple_of(F::WRITE_SIZE) as u32;

    /// Finds the pages of the log that is in `range`.
    pub fn open(flash: F, range: Range<u32>) -> Result<Self, F::Error> {
        const { assert!(F::READ_SIZE == 1 && F::WRITE_SIZE <= frame::UNIT_MAX_BYTES) };
        let pages = (range.end - range.start) / Self::PAGE;
        let (head_at, head, oldest) = (pages - 1, 0, 1);
        let (start, buffer, read) = (range.start, [0; BUFFER], 0..0);
        let mut ring = Self { flash, start, pages, head_at, head, oldest, buffer, read };
        for at in 0..pages {
            if let Some(number) = ring.number(at)?.filter(|number| *number > ring.head) {
                (ring.head, ring.head_at) = (number, at);
            }
        }
        ring.oldest = ring.head + 1;
        for back in 0..pages.min(ring.head) {
            let number = ring.number((ring.head_at + pages - back) % pages)?;
            if number != Some(ring.head - back) {
                break;
            }
            ring.oldest = ring.head - back;
        }
        Ok(ring)
    }

    fn number(&mut self, at: u32) -> Result<Option<u32>, F::Error> {
        let mut head = [0; PAGE_HEAD];
        self.flash.read(self.start + at * Self::PAGE, &mut head)?;
        Ok(frame::page_number(&head))
    }

    /// Whether no page is left out of the log.
    pub const fn is_full(&self) -> bool {
        self.head + 1 - self.oldest == self.pages
    }

    /// Bytes of records in the log, at most, less a page.
    pub const fn room(&self) -> u32 {
        (self.pages - 2) * (Self::PAGE - Self::FIRST)
    }

    const fn address(&self, place: Place) -> u32 {
        let at = (self.head_at + self.pages - (self.head - place.page)) % self.pages;
        self.start + at * Self::PAGE + place.at
    }

    /// Makes the page behind the head, which is not in the log, the new head.
    pub fn advance(&mut self) -> Result<(), F::Error> {
        self.head_at = (self.head_at + 1) % self.pages;
        self.head += 1;
        self.begin()
    }

    /// Erases the head and begins it anew.
    pub fn begin(&mut self) -> Result<(), F::Error> {
        let from = self.address(Place { page: self.head, at: 0 });
        self.read = 0..0;
        self.flash.erase(from, from + Self::PAGE)?;
        let first = Self::FIRST as usize;
        self.buffer[..first].fill(0xff);
        self.buffer[..PAGE_HEAD].copy_from_slice(&frame::page_head(self.head));
        self.flash.write(from, &self.buffer[..first])
    }

    /// `len` bytes from a place on, which are within its page.
    pub fn bytes(&mut self, place: Place, len: usize) -> Result<&[u8], F::Error> {
        let from = self.address(place);
        if from < self.read.start || from + len as u32 > self.read.end {
            self.load(place)?;
        }
        let at = (from - self.read.start) as usize;
        Ok(&self.buffer[at..at + len])
    }

    /// Reads from a place on into the front of the buffer.
    pub fn load(&mut self, place: Place) -> Result<(), F::Error> {
        let from = self.address(place);
        let len = BUFFER.min((Self::PAGE - place.at) as usize);
        // What was there is there no more, whether this can be read or not.
        self.read = 0..0;
        self.flash.read(from, &mut self.buffer[..len])?;
        self.read = from..from + len as u32;
        Ok(())
    }

    /// Whether the rest of a page is as it was erased.
    pub fn is_blank(&mut self, mut place: Place) -> Result<bool, F::Error> {
        while place.at < Self::PAGE {
            let len = ((Self::PAGE - place.at) as usize).min(HEAD);
            if self.bytes(place, len)?.iter().any(|byte| *byte != 0xff) {
                return Ok(false);
            }
            place.at += len as u32;
        }
        Ok(true)
    }

    /// What lies at a place.
    pub fn step(&mut self, place: Place) -> Result<Step<'_>, F::Error> {
        let Place { page, at } = place;
        if page > self.head || at as usize + HEAD > F::ERASE_SIZE {
            return Ok(Step::End);
        }
        let mut head = [0; HEAD];
        head.copy_from_slice(self.bytes(place, HEAD)?);
        let (kind, len) = match frame::head(head) {
            Head::Blank => return Ok(Step::End),
            Head::Record { kind, len } if at as usize + HEAD + len <= F::ERASE_SIZE => (kind, len),
            _ => {
                let next = Place { page, at: at + F::WRITE_SIZE as u32 };
                return Ok(Step::Damaged { next });
            }
        };
        let next = Place { page, at: at + (HEAD + len).next_multiple_of(F::WRITE_SIZE) as u32 };
        let record = self.bytes(place, HEAD + len)?;
        if !frame::is_whole(record) {
            return Ok(Step::Damaged { next });
        }
        Ok(Step::Record { kind, payload: &record[HEAD..], next })
    }

    /// Writes the record whose payload of `len` bytes is in the buffer behind a place for its head;
    /// the place behind it.
    pub fn write(&mut self, place: Place, kind: u8, len: usize) -> Result<Place, F::Error> {
        self.read = 0..0;
        let size = frame::seal(&mut self.buffer, kind, len, F::WRITE_SIZE);
        self.flash.write(self.address(place), &self.buffer[..size])?;
        Ok(Place { at: place.at + size as u32, ..place })
    }

    /// Bytes of flash that a record takes.
    pub const fn size(len: usize) -> u32 {
        (HEAD + len).next_multiple_of(F::WRITE_SIZE) as u32
    }
}
