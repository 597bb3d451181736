//! What was measured and is not on the gateway's disk: samples in the log, oldest first.
//!
//! A sample is in it for good once [`Log::push`] has returned: a power cut in the middle leaves it
//! whole or not there. When the flash is full the oldest page of them goes, and they are counted:
//! what happens now matters more on the device than what happened weeks ago.

use crate::log::{Fault, Log, Name, Place, SAMPLE, Step, TORN};
use crate::record::{RECORD_MAX_BYTES, Record};
use embedded_storage::nor_flash::NorFlash;

/// The key of the name of the last sample that was let go of.
const RELEASED: u8 = 3;
/// Samples let go of after which that is written down.
const WRITTEN_EVERY: u32 = 32;

/// What a look at the samples says of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// To go on with the next.
    On,
    /// That it is enough.
    Enough,
}

/// A sample, and where it was found.
struct Found<'b> {
    record: Record<'b>,
    place: Place,
    next: Place,
    /// Others before it that cannot be read any more.
    damaged: u32,
}

impl<F: NorFlash> Log<F> {
    /// Puts a sample behind all others.
    ///
    /// # Errors
    /// [`holdfast_core::Reject::Full`] for a text that is too long to be kept; a fault of the
    /// flash.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), Fault<F::Error>> {
        let mut bytes = heapless::Vec::<u8, RECORD_MAX_BYTES>::new();
        record.encode(&mut bytes)?;
        self.append(SAMPLE, &bytes)
    }

    /// Shows the samples to `look`, oldest first, until it has seen enough.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn look(
        &mut self,
        mut look: impl FnMut(&Record<'_>) -> Look,
    ) -> Result<(), Fault<F::Error>> {
        let mut place = self.first;
        while let Ok(found) = self.find(place)? {
            if look(&found.record) == Look::Enough {
                break;
            }
            place = found.next;
        }
        Ok(())
    }

    /// The boot of the oldest sample, if there are any.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn oldest_boot(&mut self) -> Result<Option<u64>, Fault<F::Error>> {
        let mut oldest = None;
        self.look(|record| {
            oldest = Some(record.boot);
            Look::Enough
        })?;
        Ok(oldest)
    }

    /// Lets go of all samples up to one, which are on the gateway's disk.
    ///
    /// # Errors
    /// A fault of the flash.
    pub fn release(&mut self, upto: Name) -> Result<(), Fault<F::Error>> {
        self.pass_over(upto)?;
        if self.unwritten < WRITTEN_EVERY {
            return Ok(());
        }
        self.unwritten = 0;
        let (boot, sequence) = self.released;
        let mut value = [0; 16];
        value[..8].copy_from_slice(&boot.to_le_bytes());
        value[8..].copy_from_slice(&sequence.to_le_bytes());
        self.put(&[(RELEASED, &value)])
    }

    fn pass_over(&mut self, upto: Name) -> Result<(), Fault<F::Error>> {
        self.released = self.released.max(upto);
        loop {
            let (name, place, next, damaged) = match self.find(self.first)? {
                Ok(found) => (found.record.name(), found.place, found.next, found.damaged),
                Err(end) => {
                    self.first = end;
                    return Ok(());
                }
            };
            self.damaged += damaged;
            if name > self.released {
                self.first = place;
                return Ok(());
            }
            self.first = next;
            self.unwritten += 1;
        }
    }

    /// Passes over what was let go of before this start.
    pub(crate) fn take_up(&mut self) -> Result<(), Fault<F::Error>> {
        if let Some(value) = self.get(RELEASED)?
            && let Some((boot, rest)) = value.split_first_chunk()
            && let Some(sequence) = rest.first_chunk()
        {
            let upto = (u64::from_le_bytes(*boot), u64::from_le_bytes(*sequence));
            self.pass_over(upto)?;
        }
        self.unwritten = 0;
        Ok(())
    }

    /// The first sample from a place on; the end where there is none.
    fn find(&mut self, from: Place) -> Result<Result<Found<'_>, Place>, Fault<F::Error>> {
        let (mut place, mut damaged, mut is_wrong) = (from, 0, false);
        // The record is read again when it is found: what is borrowed in a loop cannot leave it.
        loop {
            let (is_sample, next) = match self.step(place)? {
                Step::Record { kind, payload, next } => {
                    // What the power went in was never whole, so it is no loss.
                    damaged += u32::from(core::mem::take(&mut is_wrong) && kind != TORN);
                    let is_sample = kind == SAMPLE && Record::decode(payload).is_ok();
                    damaged += u32::from(kind == SAMPLE && !is_sample);
                    (is_sample, next)
                }
                Step::Damaged { next } => {
                    is_wrong = true;
                    (false, next)
                }
                Step::End => match self.next_page(place) {
                    Some(next) => {
                        is_wrong = false;
                        (false, next)
                    }
                    None => return Ok(Err(place)),
                },
            };
            if is_sample {
                break;
            }
            place = next;
        }
        match self.step(place)? {
            Step::Record { payload, next, .. } => {
                Ok(Ok(Found { record: Record::decode(payload)?, place, next, damaged }))
            }
            _ => Ok(Err(place)),
        }
    }

    /// Samples that were given up or could not be read back, since this was last asked.
    pub fn lost(&mut self) -> (u32, u32) {
        (core::mem::take(&mut self.dropped), core::mem::take(&mut self.damaged))
    }
}
