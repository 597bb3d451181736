//! What a device keeps in flash: one log, in a ring of pages.
//!
//! Records stand in it in the order they were written, each with a checksum, none ever written
//! over. Some are samples, which wait here for the gateway ([`crate::samples`]); the others are
//! values under keys, of which the last record counts ([`crate::memory`]); several in one record
//! change together or not at all. A step of a run is both: what it leaves is a value, and waits for
//! the gateway as well ([`crate::steps`]). When the head of the ring is full, the one page that is
//! kept out of the log becomes the new head and the oldest goes out: values that stand only there
//! are copied first. So pages are erased in turn, wear alike, and the power may go at any word:
//! `docs/formats/device-flash.md` has every byte and the argument.
//!
//! The flash is a blocking one. What a word takes is less than a task switch between others is
//! worth, and an erase stops the processor on most parts anyway; in return a record is written
//! without anybody else in between.

mod frame;
mod ring;
#[cfg(test)]
mod tests;

pub use frame::PAYLOAD_MAX_BYTES;

use core::ops::Range;
use embedded_storage::nor_flash::NorFlash;
use frame::{COPIED, HEAD, VALUES};
pub(crate) use frame::{Entry, SAMPLE, STEP, TORN, values_at};
use holdfast_core::Reject;
use holdfast_core::codec::{Sink, Window};
use holdfast_core::device::flows::STEP_MAX_BYTES;
use ring::Ring;
pub(crate) use ring::{Place, Step};

/// Keys of values, at most.
const KEYS: usize = 50;

/// Bytes of the record of a step: what it left, what stands before it, and what changes with it.
const STEP_RECORD_BYTES: usize = STEP_MAX_BYTES + 128;

/// Where the last value of a key lies.
struct Held {
    key: u8,
    place: Place,
    /// How far into the record, and how long.
    at: u16,
    len: u16,
}

/// The name of a sample: its boot, and its number in it.
pub type Name = (u64, u64);

/// The log.
pub struct Log<F> {
    ring: Ring<F>,
    /// Where the next record goes.
    end: Place,
    values: heapless::Vec<Held, KEYS>,
    /// The oldest sample that was not let go of is here or behind.
    pub(crate) first: Place,
    pub(crate) released: Name,
    /// Samples let go of since that was written down.
    pub(crate) unwritten: u32,
    pub(crate) dropped: u32,
    pub(crate) damaged: u32,
    /// The oldest step that was not let go of is here or behind.
    pub(crate) first_step: Place,
    /// The number of the last step that was let go of, and of the last there is.
    pub(crate) stepped: u64,
    pub(crate) last_step: u64,
}

/// Why something was not kept or found.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault<E> {
    /// It cannot be kept.
    Reject(Reject),
    /// The flash.
    Flash(E),
    /// What stands of the images of firmware cannot be read or written.
    State,
}

impl<E> From<Reject> for Fault<E> {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

/// What a look at a page finds beside its values.
#[derive(Clone, Copy, Debug, Default)]
struct Scanned {
    /// The power went in its last record.
    is_torn: bool,
    /// It has all values of the page that was left out for it.
    is_copied: bool,
}

impl<F: NorFlash> Log<F> {
    /// Opens the log in `range` of the flash, three whole pages of it or more; where there is none,
    /// an empty one.
    ///
    /// # Errors
    /// A fault of the flash.
    ///
    /// # Panics
    /// When the range is less than three pages.
    pub fn open(flash: F, range: Range<u32>) -> Result<Self, Fault<F::Error>> {
        assert!(range.end - range.start >= 3 * Ring::<F>::PAGE, "a log has three pages or more");
        let ring = Ring::open(flash, range).map_err(Fault::Flash)?;
        let first = Place { page: ring.oldest, at: Ring::<F>::FIRST };
        let mut log = Self {
            end: Place { page: ring.head, at: Ring::<F>::PAGE },
            ring,
            values: heapless::Vec::new(),
            first,
            released: (0, 0),
            unwritten: 0,
            dropped: 0,
            damaged: 0,
            first_step: first,
            stepped: 0,
            last_step: 0,
        };
        let mut head = Scanned::default();
        for page in log.ring.oldest..=log.ring.head {
            (log.end, head) = log.scan(page)?;
        }
        if log.ring.is_full() && !head.is_copied {
            log.copy_again()?;
            head.is_torn = false;
        }
        if log.ring.is_full() {
            log.leave_out();
        }
        log.take_up()?;
        log.take_up_steps()?;
        if head.is_torn {
            log.append(TORN, &[])?;
        }
        Ok(log)
    }

    /// Takes note of the values of a page; where the next record of it would go.
    fn scan(&mut self, page: u32) -> Result<(Place, Scanned), Fault<F::Error>> {
        let mut place = Place { page, at: Ring::<F>::FIRST };
        let mut scanned = Scanned::default();
        loop {
            match self.ring.step(place).map_err(Fault::Flash)? {
                Step::Record { kind, payload, next } => {
                    if let Some(from) = values_at(kind, payload) {
                        note(&mut self.values, place, payload, from)?;
                    }
                    scanned.is_copied |= kind == COPIED;
                    (place, scanned.is_torn) = (next, false);
                }
                Step::Damaged { next } => (place, scanned.is_torn) = (next, true),
                Step::End => break,
            }
        }
        // A part that writes a record's end first leaves it where nothing seems to begin.
        if !self.ring.is_blank(place).map_err(Fault::Flash)? {
            (place.at, scanned.is_torn) = (Ring::<F>::PAGE, false);
        }
        Ok((place, scanned))
    }

    /// Begins the head of a full ring anew: the power went while the values of the oldest page were
    /// copied to it, so there is nothing else in it.
    fn copy_again(&mut self) -> Result<(), Fault<F::Error>> {
        let (oldest, head) = (self.ring.oldest, self.ring.head);
        self.values.clear();
        for page in oldest..head {
            self.scan(page)?;
        }
        self.ring.begin().map_err(Fault::Flash)?;
        self.end = Place { page: head, at: Ring::<F>::FIRST };
        self.copy_values(oldest)
    }

    /// Writes values, all of them or none; an empty one takes its key away.
    ///
    /// # Errors
    /// [`Reject::Full`] when they are too long for a record, or all that is kept for the flash; a
    /// fault of the flash.
    pub fn put(&mut self, values: &[(u8, &[u8])]) -> Result<(), Fault<F::Error>> {
        let mut len = holdfast_core::codec::Count::default();
        let mut size = |key: u8, value: &[u8]| len.put_u8(key).and_then(|()| len.put_bytes(value));
        for (key, value) in values {
            size(*key, value)?;
        }
        let len = len.bytes();
        if len > PAYLOAD_MAX_BYTES.min(F::ERASE_SIZE / 2 - HEAD) || !self.has_room(values) {
            return Err(Reject::Full.into());
        }
        self.make_room(len)?;
        let mut window = Window::new(&mut self.ring.buffer[HEAD..]);
        for (key, value) in values {
            window.put_u8(*key)?;
            window.put_bytes(value)?;
        }
        self.write_values(VALUES, len, 0)
    }

    /// Writes a record of values, of which the first is a step, made at `uptime_ms` of `boot`.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(crate) fn put_step(
        &mut self,
        (boot, uptime_ms): (u64, u64),
        values: &[(u8, &[u8])],
    ) -> Result<(), Fault<F::Error>> {
        if !self.has_room(values) {
            return Err(Reject::Full.into());
        }
        let mut payload = heapless::Vec::<u8, STEP_RECORD_BYTES>::new();
        payload.put_uint(boot)?;
        payload.put_uint(uptime_ms)?;
        let from = payload.len();
        for (key, value) in values {
            payload.put_u8(*key)?;
            payload.put_bytes(value)?;
        }
        self.make_room(payload.len())?;
        self.ring.buffer[HEAD..HEAD + payload.len()].copy_from_slice(&payload);
        self.write_values(STEP, payload.len(), from)
    }

    fn write_values(&mut self, kind: u8, len: usize, from: usize) -> Result<(), Fault<F::Error>> {
        let place = self.write(kind, len)?;
        note(&mut self.values, place, &self.ring.buffer[HEAD..HEAD + len], from)
    }

    /// Whether the flash would have room for all values twice over.
    fn has_room(&self, values: &[(u8, &[u8])]) -> bool {
        let is_new = |key: u8| values.iter().any(|(new, _)| *new == key);
        let kept = self.values.iter().filter(|held| !is_new(held.key));
        let sizes = kept.map(|held| held.len.into()).chain(values.iter().map(|(_, v)| v.len()));
        let bytes: u32 = sizes.clone().map(|len: usize| Ring::<F>::size(4 + len)).sum();
        sizes.count() <= KEYS && bytes <= self.ring.room() / 2
    }

    /// The value of a key.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn get(&mut self, key: u8) -> Result<Option<&[u8]>, Fault<F::Error>> {
        let Some(held) = self.values.iter().find(|held| held.key == key) else { return Ok(None) };
        let (mut place, len) = (held.place, held.len.into());
        place.at += HEAD as u32 + u32::from(held.at);
        self.ring.bytes(place, len).map(Some).map_err(Fault::Flash)
    }

    /// Writes a record behind all others.
    pub(crate) fn append(&mut self, kind: u8, payload: &[u8]) -> Result<(), Fault<F::Error>> {
        self.make_room(payload.len())?;
        self.ring.buffer[HEAD..HEAD + payload.len()].copy_from_slice(payload);
        self.write(kind, payload.len()).map(drop)
    }

    /// Where the next record goes.
    pub(crate) const fn end(&self) -> Place {
        self.end
    }

    /// Where the oldest record stands.
    pub(crate) const fn begin(&self) -> Place {
        Place { page: self.ring.oldest, at: Ring::<F>::FIRST }
    }

    /// What lies at a place.
    pub(crate) fn step(&mut self, place: Place) -> Result<Step<'_>, Fault<F::Error>> {
        self.ring.step(place).map_err(Fault::Flash)
    }

    /// Where the page behind that of a place begins, if it is in the log.
    pub(crate) fn next_page(&self, place: Place) -> Option<Place> {
        let page = place.page + 1;
        (page <= self.ring.head).then_some(Place { page, at: Ring::<F>::FIRST })
    }

    /// Writes the record in the buffer; where it is.
    fn write(&mut self, kind: u8, len: usize) -> Result<Place, Fault<F::Error>> {
        let place = self.end;
        self.end = self.ring.write(place, kind, len).map_err(Fault::Flash)?;
        Ok(place)
    }

    /// Sees to it that the head has room for a payload.
    fn make_room(&mut self, len: usize) -> Result<(), Fault<F::Error>> {
        // What a page holds has to fit the next one, with the word that it is all there.
        while self.end.at + Ring::<F>::size(len) + Ring::<F>::size(0) > Ring::<F>::PAGE {
            self.ring.advance().map_err(Fault::Flash)?;
            self.end = Place { page: self.ring.head, at: Ring::<F>::FIRST };
            if self.ring.is_full() {
                let oldest = self.ring.oldest;
                self.copy_values(oldest)?;
                self.count_lost(oldest)?;
                self.leave_out();
            }
        }
        Ok(())
    }

    /// Leaves the oldest page out. A value that still stands only there was taken away since, and
    /// what said so is gone already.
    fn leave_out(&mut self) {
        let oldest = self.ring.oldest;
        self.values.retain(|held| held.place.page != oldest);
        self.ring.oldest += 1;
        let first = Place { page: self.ring.oldest, at: Ring::<F>::FIRST };
        self.first = self.first.max(first);
        self.first_step = self.first_step.max(first);
    }

    /// Writes the values that stand only in a page to the head, and that this is done.
    fn copy_values(&mut self, page: u32) -> Result<(), Fault<F::Error>> {
        let mut place = Place { page, at: Ring::<F>::FIRST };
        loop {
            let (from, len, next) = match self.step(place)? {
                Step::Record { kind, payload, next } => {
                    (values_at(kind, payload), payload.len(), next)
                }
                Step::Damaged { next } => (None, 0, next),
                Step::End => return self.write(COPIED, 0).map(drop),
            };
            if let Some(from) = from
                && self.values.iter().any(|held| held.place == place)
            {
                self.copy(place, from, len)?;
            }
            place = next;
        }
    }

    /// Writes the values of a record that are the last of their keys to the head.
    fn copy(&mut self, place: Place, mut from: usize, len: usize) -> Result<(), Fault<F::Error>> {
        self.ring.load(place).map_err(Fault::Flash)?;
        let payload = &mut self.ring.buffer[HEAD..HEAD + len];
        let mut kept = 0;
        while let Some(entry) = Entry::read(payload, from) {
            let is_last = |held: &Held| held.place == place && usize::from(held.at) == entry.at;
            if self.values.iter().any(is_last) {
                payload.copy_within(from..entry.end(), kept);
                kept += entry.end() - from;
            }
            from = entry.end();
        }
        self.write_values(VALUES, kept, 0)
    }

    /// Counts the samples and steps of a page that nobody let go of: they are given up with it.
    fn count_lost(&mut self, page: u32) -> Result<(), Fault<F::Error>> {
        let mut place = Place { page, at: Ring::<F>::FIRST };
        loop {
            match self.step(place)? {
                Step::Record { kind, next, .. } => {
                    let waits = (kind == SAMPLE && place >= self.first)
                        || (kind == STEP && place >= self.first_step);
                    self.dropped += u32::from(waits);
                    place = next;
                }
                Step::Damaged { next } => place = next,
                Step::End => break,
            }
        }
        Ok(())
    }

    /// Bytes of flash from the oldest sample on.
    #[must_use]
    pub fn used(&self) -> u32 {
        (self.end.page - self.first.page) * Ring::<F>::PAGE + self.end.at - self.first.at
    }
}

/// Takes note of where the values of a record are.
fn note<E>(
    values: &mut heapless::Vec<Held, KEYS>,
    place: Place,
    payload: &[u8],
    mut from: usize,
) -> Result<(), Fault<E>> {
    while let Some(entry) = Entry::read(payload, from) {
        values.retain(|held| held.key != entry.key);
        if entry.len > 0 {
            let (at, len) = (entry.at as u16, entry.len as u16);
            let held = Held { key: entry.key, place, at, len };
            values.push(held).map_err(|_| Reject::Full)?;
        }
        from = entry.end();
    }
    Ok(())
}
